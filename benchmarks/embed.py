"""Questions a second from raw text to vectors: ours, and all-MiniLM-L6-v2 of sentence-transformers
if installed.

    python benchmarks/embed.py                                     # generated questions
    python benchmarks/embed.py --csv pairs.csv --json embed.json   # yours
    python benchmarks/embed.py --csv pairs.csv --minilm FOLDER     # and MiniLM, from its files

Ours is of the size that `train` makes (d = 128, state after the last word), with the CSV's
vocabulary and random weights: speed does not depend on them. Each side embeds what it can of the
same questions in a turn; MiniLM gets the first 200 of them, and the rate is what is compared.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import measure

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trax_triplet import Siamese, TrainedModel, Vocabulary, read_pairs
from trax_triplet.data import sample
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.weights import init_model

PACKAGES = ("trax", "jax", "numpy", "torch", "sentence-transformers")
MINILM_QUESTIONS = 200


def main():
    args = _arguments()
    questions = _questions(args.csv, 1000 if args.quick else args.questions)
    vocabulary = Vocabulary.build(questions, buckets=256)
    model = init_model(Siamese(len(vocabulary), 128, "eval", pooling="last"))
    trained, encode = TrainedModel(model, vocabulary, {"pooling": "last"}), Encoder(model)
    start = time.perf_counter()
    trained.embed(questions)
    first = time.perf_counter() - start
    ids = vocabulary.encode_all(questions)
    sides = {
        "ours, text to vectors": lambda: trained.embed(questions),
        "  of which text to ids": lambda: vocabulary.encode_all(questions),
        "  of which ids to vectors": lambda: encode(ids),
    }
    counts = dict.fromkeys(sides, len(questions))
    minilm = _minilm(args.minilm)
    if minilm is not None:
        some = questions[:MINILM_QUESTIONS]
        sides["MiniLM, text to vectors"] = lambda: minilm.encode(some, batch_size=64)
        counts["MiniLM, text to vectors"] = len(some)
    times = measure.interleaved(sides, seconds=1 if args.quick else args.seconds, warmup=1)
    rates = {name: counts[name] / measure.median(times, name) for name in sides}
    ours = rates["ours, text to vectors"]
    rows = [
        [name, counts[name], measure.median(times, name), rates[name], ours / rates[name]]
        for name in sides
    ]
    title = (
        f"Embedding {len(questions)} questions ({len(set(questions))} distinct, "
        f"{len(vocabulary)} ids, {sum(map(len, ids)) / len(ids):.1f} words each); "
        f"the first call took {first:.1f} s"
    )
    measure.report(
        title,
        ["side", "questions", "s", "questions/s", "ours is x times as fast"],
        rows,
        packages=PACKAGES,
        path=args.json,
        results={
            "first_call": first,
            "questions": counts,
            "seconds": times,
            "questions_per_second": rates,
        },
    )
    if minilm is None:
        print("sentence-transformers or MiniLM's files are not there: nothing to compare with")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--csv", help="question pairs, as the package reads them; left out: generated ones"
    )
    parser.add_argument("--questions", type=int, default=100_000, help="at most so many of them")
    parser.add_argument(
        "--minilm",
        default="sentence-transformers/all-MiniLM-L6-v2",
        help="a folder with its files, "
        "or a name that sentence-transformers finds on this machine; nothing is downloaded",
    )
    parser.add_argument("--seconds", type=float, default=20, help="time for the rounds")
    parser.add_argument("--json", help="file for the results, with all raw times")
    parser.add_argument(
        "--quick", action="store_true", help="1000 questions, a second: only to see that it runs"
    )
    return parser.parse_args()


def _questions(csv, n):
    if csv:
        pairs = read_pairs(csv)
        return [*pairs.question1, *pairs.question2][:n]
    _, _, _, first, second, _ = zip(*sample.generate(min(n // 2, 12_000)))
    return [*first, *second]


def _minilm(where):
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(where, device="cpu", local_files_only=True)
    except (ImportError, OSError, ValueError):
        return None


if __name__ == "__main__":
    main()
