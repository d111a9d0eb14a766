"""Requests a second and their times: single pairs from 1, 8 and 64 clients on loopback.

    python benchmarks/serve.py --model run --csv pairs.csv --json serve.json

The server is `trax-triplet serve` in a process of its own; the clients are coroutines of another
one, which speak HTTP/1.1 over connections that stay open. Every answer is compared with what the
model says about that very pair. Beside it, in the process of the clients, the same model as a
SavedModel in TensorFlow, called by as many threads (--tensorflow).
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import measure
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trax_triplet import load_model, read_pairs
from trax_triplet.data import sample

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fastapi", "uvicorn", "numpy", "tensorflow")


def main():
    args = _arguments()
    folder = Path(args.model, "model")
    trained = load_model(folder if folder.is_dir() else args.model)
    pairs = _pairs(args.csv, args.requests)
    expected = trained.similarity(*zip(*pairs))
    rows, results = [], {}
    with _Server(args.model) as address:
        for n in args.clients:
            seconds, times = asyncio.run(_ask_all(address, pairs, expected, n))
            rows.append(_row(f"serve, {n} clients", seconds, times))
            results[rows[-1][0]] = times
    if args.tensorflow:
        ask = _saved_model(trained)
        for n in args.clients:
            seconds, times = _call_all(ask, pairs, expected, n)
            rows.append(_row(f"SavedModel, {n} threads", seconds, times))
            results[rows[-1][0]] = times
    measure.report(
        f"{len(pairs)} pairs each, every answer compared with the model's own",
        ["side", "requests/s", "p50 ms", "p99 ms"],
        rows,
        packages=PACKAGES,
        results=results,
        path=args.json,
    )


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="a folder that `trax-triplet train` wrote")
    parser.add_argument("--csv", help="question pairs; left out: generated ones")
    parser.add_argument("--requests", type=int, default=10_000, help="for each number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--tensorflow", action="store_true", help="also the SavedModel")
    parser.add_argument("--json", help="file for the results, with all raw times")
    return parser.parse_args()


def _pairs(csv, n):
    if csv:
        pairs = read_pairs(csv, label=None)
        both = zip(pairs.question1, pairs.question2)
    else:
        _, _, _, first, second, _ = zip(*sample.generate(min(n, 12_000)))
        both = zip(first, second)
    return list(itertools.islice(itertools.cycle(list(both)), n))


def _row(name, seconds, times):
    p50, p99 = 1000 * np.quantile(times, [0.5, 0.99])
    return [name, len(times) / seconds, p50, p99]


def _check(found, expected):
    if abs(found - expected) > 1e-5:
        raise SystemExit(f"an answer is {found}, but the model says {expected}")


class _Server:
    def __init__(self, model):
        command = [sys.executable, "-m", "trax_triplet", "serve", "--port", "0", "--model", model]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        line = self._process.stderr.readline()
        return "127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])

    def __exit__(self, *_):
        self._process.terminate()
        self._process.communicate()


async def _ask_all(address, pairs, expected, n_clients):
    """Seconds from the first request to the last answer, and the time of each."""
    waiting, times = iter(range(len(pairs))), []

    async def client():
        reader, writer = await asyncio.open_connection(*address)
        for i in waiting:
            question1, question2 = pairs[i]
            body = json.dumps({"pairs": [{"question1": question1, "question2": question2}]})
            head = (
                "POST /similarity HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            start = time.perf_counter()
            writer.write((head + body).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", answer)[1])
            found = json.loads(await reader.readexactly(length))
            times.append(time.perf_counter() - start)
            _check(found["answers"][0]["similarity"], expected[i])
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_clients)))
    return time.perf_counter() - start, times


def _saved_model(trained):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from trax_triplet.keras import export

    folder = tempfile.mkdtemp()
    export(trained, f"{folder}/served")
    loaded = tf.saved_model.load(f"{folder}/served")
    similarity = loaded.signatures["similarity"]

    def ask(question1, question2):
        found = similarity(question1=tf.constant([question1]), question2=tf.constant([question2]))
        return float(found["similarity"][0]), loaded  # which must live as long as its function

    ask("Why?", "How come?")
    return ask


def _call_all(ask, pairs, expected, n_threads):
    waiting, lock, times = iter(range(len(pairs))), threading.Lock(), []

    def client():
        while True:
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            start = time.perf_counter()
            found, _ = ask(*pairs[i])
            times.append(time.perf_counter() - start)
            _check(found, expected[i])

    threads = [threading.Thread(target=client) for _ in range(n_threads)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start, times


if __name__ == "__main__":
    main()
