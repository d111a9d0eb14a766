"""Requests a second and their times: single pairs, and single questions to be found in an index,
from 1, 8 and 64 clients on loopback.

    python benchmarks/serve.py --model run --csv pairs.csv --index idx --json serve.json

The server is `trax-triplet serve` in a process of its own; the clients are coroutines of another
one, which speak HTTP/1.1 over connections that stay open. Every answer is compared with what the
model, or the index, says about that very question. With --rough the eight clients are measured once
more beside others that hang, send half a body or send garbage, over and over.

Beside it, in the process of the clients and without HTTP, called by as many threads: the same model
as a SavedModel in TensorFlow (--tensorflow), and MiniLM in sentence-transformers (--minilm).
"""

import argparse
import asyncio
import contextlib
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
from trax_triplet.search import QuestionIndex

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fastapi", "uvicorn", "numpy", "tensorflow", "torch", "sentence-transformers")
TOP = 10


def main():
    args = _arguments()
    folder = Path(args.model, "model")
    trained = load_model(folder if folder.is_dir() else args.model)
    pairs = _pairs(args.csv, args.requests)
    results = {}

    def measured(name, seconds, times):
        rows.append(_row(name, seconds, times))
        results[name] = times
        print(*rows[-1], flush=True)

    rows, kinds = [], [_similarity(trained, pairs)]
    if args.index:
        kinds.append(_search(args.index, trained, pairs))
    with _Server(args.model, args.index) as address:
        for path, requests, check in kinds:
            for n in args.clients:
                found = asyncio.run(_ask_all(address, path, requests, check, n))
                measured(f"serve {path}, {n} clients", *found)
            if args.rough:
                found = asyncio.run(_beside_rough(address, path, requests, check))
                measured(f"serve {path}, 8 clients, beside 30 rough ones", *found)
    expected = trained.similarity(*zip(*pairs))
    if args.tensorflow:
        ask = _saved_model(trained)
        for n in args.clients:
            measured(f"SavedModel, {n} threads", *_call_all(ask, pairs, expected, n))
    if args.minilm:
        ask, some = _minilm(args.minilm), pairs[: args.minilm_requests]
        expected = [ask(*pair)[0] for pair in some]
        for n in args.clients:
            measured(f"MiniLM, {n} threads", *_call_all(ask, some, expected, n))
    measure.report(
        f"{len(pairs)} requests each, every answer compared with the model's own",
        ["side", "requests/s", "p50 ms", "p99 ms"],
        rows,
        packages=PACKAGES,
        results=results,
        path=args.json,
    )


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--model", required=True, help="a folder that `trax-triplet train` wrote")
    parser.add_argument("--csv", help="question pairs; left out: generated ones")
    parser.add_argument("--index", help="an index of that model: also /search")
    parser.add_argument("--requests", type=int, default=10_000, help="for each number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rough", action="store_true", help="also beside clients that misbehave")
    parser.add_argument("--tensorflow", action="store_true", help="also the SavedModel")
    parser.add_argument("--minilm", help="also MiniLM: the folder of its files")
    parser.add_argument("--minilm-requests", type=int, default=1000)
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


def _similarity(trained, pairs):
    expected = trained.similarity(*zip(*pairs))
    bodies = [{"pairs": [{"question1": a, "question2": b}]} for a, b in pairs]

    def check(i, found):
        _check(found["answers"][0]["similarity"], expected[i])

    return "/similarity", bodies, check


def _search(folder, trained, pairs):
    queries = [first for first, _ in pairs]
    index = QuestionIndex.load(folder, model=trained)
    print(index.info(), flush=True)
    expected = index.search(queries, TOP)

    def check(i, found):
        [hits] = found["answers"]
        if len(hits) != len(expected[i]):
            raise SystemExit(f"{len(hits)} were found, but {len(expected[i])} by the index")
        # Of equally similar ones the sum's last bit may change the order.
        for hit, own in zip(hits, expected[i]):
            _check(hit["similarity"], own.similarity)
        if len({hit.id for hit in expected[i]} & {hit["id"] for hit in hits}) < len(hits) - 1:
            raise SystemExit(f"{hits} were found, but {expected[i]} by the index")

    return "/search", [{"questions": [query], "top": TOP} for query in queries], check


class _Server:
    def __init__(self, model, index):
        command = [sys.executable, "-m", "trax_triplet", "serve", "--port", "0", "--model", model]
        command += ["--index", index] if index else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        line = self._process.stderr.readline()
        # Or else its warnings about garbage fill the pipe, and it waits.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        return "127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()


def _head(path, length):
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def _ask_all(address, path, requests, check, n_clients):
    """Seconds from the first request to the last answer, and the time of each."""
    waiting, times = iter(range(len(requests))), []

    async def client():
        reader, writer = await asyncio.open_connection(*address, limit=2**20)
        for i in waiting:
            body = json.dumps(requests[i]).encode()
            start = time.perf_counter()
            writer.write(_head(path, len(body)) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", answer)[1])
            found = json.loads(await reader.readexactly(length))
            times.append(time.perf_counter() - start)
            check(i, found)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_clients)))
    if len(times) != len(requests):
        raise SystemExit(f"{len(requests) - len(times)} requests were not answered")
    return time.perf_counter() - start, times


async def _beside_rough(address, path, requests, check):
    """As `_ask_all` with eight clients, while thirty others misbehave until these are done."""
    rough = [
        b"POST /sim",  # who hangs in the head
        _head(path, 100) + b'{"pairs": [{"que',  # in the body
        b"\x16\x03\x01\x02\x00\x01\x00" * 1000,  # garbage
    ]

    done = asyncio.Event()

    async def misbehave(what):
        while not done.is_set():
            reader, writer = await asyncio.open_connection(*address)
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
                writer.write(what)
                await asyncio.wait_for(reader.read(1000), 1)
            writer.close()
            await asyncio.sleep(0.1)

    jobs = [asyncio.create_task(misbehave(rough[n % 3])) for n in range(30)]
    try:
        return await _ask_all(address, path, requests, check, 8)
    finally:
        done.set()
        await asyncio.gather(*jobs)


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


def _minilm(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", local_files_only=True)

    def ask(question1, question2):
        first, second = model.encode(
            [question1, question2], normalize_embeddings=True, show_progress_bar=False
        )
        return float(first @ second), None

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
