"""Kills a training at random moments, goes on with it, and compares what it ends with: prints one
line of JSON.

    PYTHONPATH=.:tests/support python tests/faults/kills.py --kills 100 --folder FOLDER

Each training is a fork of this process, which has imported everything and started nothing, so that
it begins at once. Half of the kills come at a random moment of a run, half a random moment
after something began to be written. After each kill the same command goes on; a run that comes to
its end is compared with one that nobody killed.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

from small_run import OPTIONS

from trax_triplet import _folders as folders
from trax_triplet import cli
from trax_triplet.data import sample
from trax_triplet.training import run as training  # noqa: F401

SETTINGS = [*OPTIONS, "--steps", "60", "--evaluate-every", "3", "--hard-from", "30"]
MAX_SECONDS = 120  # of one training; more is a hang


class Child:
    """A training in a fork of this process; what it says goes to a file."""

    def __init__(self, csv, output, log):
        self.output, self.log, self.started = Path(output), log, time.monotonic()
        self.status = None
        self.pid = os.fork()
        if not self.pid:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os._exit(cli.main(["train", str(csv), "--output", str(output), *SETTINGS]))

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, until=lambda: False):
        """Returns when `until()`, or when the training has ended: whether it runs on."""
        while not self.ended():
            if until():
                return True
            if time.monotonic() - self.started > MAX_SECONDS:
                self.kill()
                raise TimeoutError(f"a training did not end: {Path(self.log).read_text()}")
            time.sleep(0.0005)
        return False

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        while not self.ended():
            time.sleep(0.001)

    def writes(self):
        """Whether something is half written now."""
        return any(
            any(self.output.glob(pattern)) for pattern in (".*.new", "checkpoints/.*.new", ".*.old")
        )


def newest(output):
    """Step of the newest checkpoint that can be read, 0 where there is none."""
    return (
        folders.load_checkpoint(output / "checkpoints")[1]["step"]
        if folders.checkpoints(output / "checkpoints")
        else 0
    )


def result(output):
    """What a run ends with: all arrays of its last checkpoint and of its model, and its history
    without speeds."""
    arrays, state, _ = folders.load_checkpoint(output / "checkpoints")
    model = (output / "model" / folders.ARRAYS).read_bytes()
    history = [
        {k: v for k, v in row.items() if k != "pairs_per_second"} for row in state["history"]
    ]
    assert len((output / "history.jsonl").read_text().splitlines()) == len(history)
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}, model, history


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*fork", category=RuntimeWarning)
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    rng, folder = random.Random(options.seed), options.folder
    folder.mkdir(parents=True, exist_ok=True)
    sample.write_csv(folder / "pairs.csv", 300)
    for name in ("first", "uninterrupted"):  # the first one compiles
        start = time.monotonic()
        child = Child(folder / "pairs.csv", folder / name, folder / "log.txt")
        child.wait()
        assert child.status == 0, (folder / "log.txt").read_text()
    seconds, wanted = time.monotonic() - start, result(folder / "uninterrupted")
    assert wanted == result(folder / "first")
    found = {
        "kills": 0,
        "while something was written": 0,
        "failed to resume": [],
        "lost more": [],
        "runs": 0,
        "different": [],
        "seconds of a complete run": round(seconds, 1),
    }
    while found["kills"] < options.kills or child is not None:
        output, child, reached = folder / f"run {found['runs']}", None, 0
        while True:
            child = Child(folder / "pairs.csv", output, folder / "log.txt")
            _one(child, rng, seconds, found, options.kills)
            said = (folder / "log.txt").read_text()
            resumed = int(said.partition("going on from step ")[2].partition(" ")[0] or 0)
            if reached and "going on" in said and resumed < reached:
                found["lost more"].append([reached, resumed])
            if child.status not in (0, -signal.SIGKILL):
                found["failed to resume"].append(said[-300:])
                break
            if child.status == 0:
                break
            reached = newest(output)
        if child.status == 0 and result(output) != wanted:
            found["different"].append(str(output))
        found["runs"] += 1
        child = None
    print(json.dumps(found))


def _one(child, rng, seconds, found, kills):
    """Kills this training, or lets it come to its end."""
    if found["kills"] >= kills:
        child.wait()
        return
    if rng.random() < 0.5:
        moment = child.started + rng.uniform(0, seconds)
        runs = child.wait(lambda: time.monotonic() > moment)
    else:
        begun = rng.randrange(1, 30)  # kill the n-th time that something is being written
        seen = [0, False]

        def writes():
            now = child.writes()
            seen[0] += now and not seen[1]
            seen[1] = now
            return seen[0] >= begun and now

        runs = child.wait(writes)
        if runs:
            time.sleep(rng.uniform(0, 0.003))
    if runs:
        found["while something was written"] += child.writes()
        child.kill()
        found["kills"] += child.status == -signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main())
