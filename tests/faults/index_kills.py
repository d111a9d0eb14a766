"""Kills processes that build an index and add to it, at random moments; looks at what is left.

PYTHONPATH=.:tests/support python tests/faults/index_kills.py --kills 30 --folder FOLDER
"""

import argparse
import json
import os
import random
import signal
import time
import warnings
from pathlib import Path

import numpy as np

from trax_triplet.search.index import QuestionIndex

N, D, MORE = 20_000, 64, 500


def vectors(n, seed):
    rows = np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def work(folder):
    """Builds the index if there is none, then adds to it again and again."""
    try:
        index = QuestionIndex.load(folder)
    except FileNotFoundError:
        index = QuestionIndex.build(vectors(N, 0), approximate=False)
        index.save(folder)
    while True:
        index.add(vectors(MORE, len(index)))
        index.save(folder)


def is_whole(folder, least):
    """The number of questions, if the index is one that `work` had completed; else None."""
    try:
        index = QuestionIndex.load(folder)
    except FileNotFoundError:
        return 0 if least == 0 else None
    except ValueError:
        return None
    n = len(index)
    expected = [vectors(N, 0)] + [vectors(MORE, at) for at in range(N, n, MORE)]
    same = (
        (n - N) % MORE == 0
        and n >= least
        and np.array_equal(index._vectors, np.concatenate(expected))
    )
    return n if same else None


def run(folder, kills, seed=0):
    """Kills `kills` processes; the counts of what happened."""
    warnings.filterwarnings("ignore", message=".*fork")
    rng, n, counts = random.Random(seed), 0, {"kills": 0, "damaged": 0, "while writing": 0}
    while counts["kills"] < kills:
        if counts["kills"] % 10 == 0:
            folder, n = folder.with_name(f"{folder.name}.{counts['kills']}"), 0
        pid = os.fork()
        if not pid:
            try:
                work(folder)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0, 0.6))
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the process ended by itself"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        counts["kills"] += 1
        counts["while writing"] += any(folder.glob(".index.*new"))
        left = is_whole(folder, n)
        counts["damaged"] += left is None
        n = left or n
    return {**counts, "questions": n}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(run(options.folder / "index", options.kills)))
