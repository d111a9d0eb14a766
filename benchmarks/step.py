"""One training step of ours, of the course in Trax, of the course in Keras and of PyTorch, side by
side in one run.

    python benchmarks/step.py --json step.json                   # 256 pairs of 32 and 64 words
    python benchmarks/step.py --csv pairs.csv --json step.json   # and batches of real pairs

A step is forward, backward and Adam at batch 256, d = 128, vocabulary 41 699. PyTorch is left out
where it is not installed. Ratios are of medians of slices that took turns in this very run.
"""

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

import measure

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import sides

from trax_triplet import course
from trax_triplet.data import pairs as data
from trax_triplet.data import reader
from trax_triplet.data.mining import implied_duplicates
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.dataset import pairs_dataset

VOCABULARY, D_MODEL, BATCH = 41_699, 128, 256
OURS, IN_KERAS, ADAM = "ours", "ours in Keras", "Adam over the table"
PACKAGES = ("trax", "jax", "tensorflow", "keras", "torch", "numpy")
IDS = {
    "zipf": "word k with probability in proportion to 1 / (k + 2.7)",
    "uniform": "all words equally probable",
    "csv": "the frequencies of the words in the CSV",
}


def main():
    args = _arguments()
    compiled, begun = _Compilations(), measure.machine(*PACKAGES)
    results = {"load_at_start": begun["load"], "parts": []}
    pairs = _read(args) if args.csv else None
    for length in args.lengths:
        results["parts"].append(equal_shapes(args, length, pairs))
    if pairs is not None:
        results["parts"].append(real_batches(args, pairs, compiled))
    results["machine"] = where = measure.machine(*PACKAGES)
    versions = ", ".join(
        f"{name} {version or 'not installed'}" for name, version in where["versions"].items()
    )
    print(
        f"{where['processor']}, {where['threads']} threads, load {begun['load'][0]} at the start, "
        f"{where['load'][0]} at the end; Python {where['python']}, {versions}; {where['when']}"
    )
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[32, 64], help="words a question, each a table"
    )
    parser.add_argument(
        "--ids",
        choices=IDS,
        help="how words are drawn: " + "; ".join(f"{k}: {v}" for k, v in IDS.items()),
    )
    parser.add_argument(
        "--csv",
        help="question pairs, as the package's train reads them: time batches of these, too",
    )
    parser.add_argument(
        "--seconds", type=float, default=45, help="time for the rounds of each table"
    )
    parser.add_argument("--rounds", type=int, help="that many rounds instead")
    parser.add_argument(
        "--slice", type=int, default=20, help="steps of one side before it is another's turn"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and two rounds: only to see that it runs"
    )
    parser.add_argument("--json", help="file for the results, with all raw times")
    args = parser.parse_args()
    if args.ids == "csv" and not args.csv:
        parser.error("--ids csv needs --csv FILE")
    args.ids = args.ids or ("csv" if args.csv else "zipf")
    args.vocabulary, args.batch = VOCABULARY, BATCH
    if args.quick:
        args.rounds, args.slice, args.vocabulary, args.batch = 2, 1, 500, 16
        args.lengths = [min(length, 8) for length in args.lengths[:1]]
    return args


# --- equal shapes ---


def equal_shapes(args, length, pairs):
    """All sides on the same ten batches of full rows; prints and returns the results."""
    batches = _batches(args, length, pairs)
    calls = _sides(args, batches)
    products = {
        "x".join(map(str, shape)): shape
        for shape in ((args.batch * 64, 2 * D_MODEL, 4 * D_MODEL), (args.batch * 8,) * 3)
    }
    calls.update({name: sides.matrix_product(*shape) for name, shape in products.items()})
    calls[ADAM] = sides.dense_adam(args.vocabulary, D_MODEL)
    times = _timed(calls, args.slice, seconds=args.seconds, rounds=args.rounds)
    distinct = np.mean([len(np.unique(np.concatenate(batch[:2]))) for batch in batches])
    flops = (
        2 * args.batch * length * (2 * 2 * D_MODEL * 4 * D_MODEL) * 3
    )  # forward, and two products back
    speeds = {
        name: 2 * int(np.prod(shape)) / measure.median(times, name)
        for name, shape in products.items()
    }
    fastest = max(speeds, key=speeds.get)
    floor, adam = flops / speeds[fastest], measure.median(times, ADAM)
    title = (
        f"A training step, {args.batch} x {length}, all rows full, {args.ids} ids "
        f"({IDS[args.ids]}; {distinct:.0f} distinct ids a batch), vocabulary {args.vocabulary}; "
        f"{len(times[OURS])} slices of {args.slice} steps"
    )
    rows = [
        [
            name,
            1e3 * measure.median(times, name),
            measure.ratio(times, name, OURS),
            measure.median(times, name) / floor,
            measure.median(times, name) / (floor + adam),
        ]
        for name in times
        if name not in products and name != ADAM
    ]
    columns = ["side", "ms", "x ours", "x products", "x (products + Adam)"]
    print(f"\n{title}\n\n{measure.table(columns, rows)}\n")
    print(
        "Floor: {:.1f} GFLOP at {:.0f} GFLOP/s: {:.1f} ms; Adam over all rows: {:.1f} ms. "
        "Products in JAX in this run: {}\n".format(
            flops / 1e9,
            speeds[fastest] / 1e9,
            1e3 * floor,
            1e3 * adam,
            ", ".join(f"{name} {speed / 1e9:.0f} GFLOP/s" for name, speed in speeds.items()),
        )
    )
    return {
        "title": title,
        "rows": [dict(zip(columns, row)) for row in rows],
        "times": times,
        "gflop": flops / 1e9,
        "gflop_per_s": {name: speed / 1e9 for name, speed in speeds.items()},
        "floor_ms": 1e3 * floor,
        "adam_ms": 1e3 * adam,
    }


def _batches(args, length, pairs):
    """Ten batches (ids1, ids2, groups1, groups2) without padding; no pair is another's
    duplicate."""
    words = args.vocabulary - 2
    weights = {"uniform": np.ones(words), "zipf": 1 / (np.arange(1, words + 1) + 2.7)}.get(args.ids)
    if weights is None:
        weights = np.sort(np.bincount(np.concatenate(sum(pairs["ids"], [])), minlength=2)[2:])[
            ::-1
        ][:words]
    rng = np.random.default_rng(0)
    numbers = (
        2 + rng.permutation(words)[: len(weights)]
    )  # else frequent words would stand together in the table
    groups = np.arange(args.batch, dtype=np.int32)
    ids = rng.choice(numbers, size=(10, 2, args.batch, length), p=weights / weights.sum()).astype(
        np.int32
    )
    return [(*both, groups, groups) for both in ids]


def _sides(args, batches):
    import tensorflow as tf

    def stream():
        return itertools.cycle(batches)

    both = [np.stack(side) for side in list(zip(*batches))[:2]]
    dataset = tf.data.Dataset.from_tensor_slices(
        (tuple(both), np.ones(both[0].shape[:2], np.float32))
    ).repeat()
    sizes = (args.vocabulary, D_MODEL)
    changed = {
        "d_model": D_MODEL,
        "batch_size": args.batch,
        "buckets": min(256, args.vocabulary // 4),
    }
    calls = {
        OURS: sides.ours(stream(), args.vocabulary, **changed)[0],
        "ours, course's model": sides.ours(stream(), args.vocabulary, "course", **changed)[0],
        "course in Trax": sides.trax_course(stream(), *sizes),
    }
    labels = np.stack([np.stack(batch[2:], axis=1) for batch in batches])
    calls[IN_KERAS] = sides.keras_ours(
        tf.data.Dataset.from_tensor_slices((tuple(both), labels)).repeat(), *sizes
    )
    for name, jit in (("course in Keras", False), ("course in Keras, jit", True)):
        calls[name] = sides.keras_course(dataset, *sizes, jit)[0]
    calls["PyTorch"] = sides.pytorch(stream(), *sizes)
    return {name: call for name, call in calls.items() if call}


def _timed(calls, n_steps, **how):
    """As `measure.interleaved`, for functions of a number of steps; seconds a step."""

    def call(steps):
        loss = steps(n_steps)
        if not np.isfinite(loss):
            raise FloatingPointError(f"a loss became {loss}: what was timed is no training")

    times = measure.interleaved(
        {name: lambda steps=steps: call(steps) for name, steps in calls.items()}, **how
    )
    return {name: [seconds / n_steps for seconds in list_] for name, list_ in times.items()}


# --- real batches ---


def _read(args):
    """The duplicates of the CSV as `train` uses them (with those that follow), as ids."""
    pairs = reader.read_pairs(args.csv)
    pairs = pairs.select(np.flatnonzero(pairs.is_duplicate)[: 200 if args.quick else None])
    pairs = data.concatenate(pairs, implied_duplicates(pairs, seed=0))
    vocabulary = Vocabulary.build(
        (q for both in zip(pairs.question1, pairs.question2) for q in both), buckets=256
    )
    ids = [vocabulary.encode_all(side) for side in (pairs.question1, pairs.question2)]
    return {
        "ids": ids,
        "groups": data.question_groups(pairs)[0],
        "vocabulary": len(vocabulary),
        "words": vocabulary,
        "pairs": pairs,
    }


def real_batches(args, pairs, compiled):
    """Pairs a second over whole batches of real pairs, making of the batches included; prints and
    returns them."""
    n_steps = 2 * args.slice
    calls, facts = {}, {}
    for name, prepare in _real_sides(args, pairs).items():
        before = compiled.count
        calls[name], facts[name] = prepare()
        facts[name].setdefault("compiled", compiled.count - before)
    before = compiled.count
    how = {"rounds": args.rounds} if args.rounds else {"seconds": args.seconds}
    times = _timed(calls, n_steps, **how)
    late = compiled.count - before
    for name, fact in facts.items():  # an epoch's planning falls on all of its batches
        share = fact.get("planning", 0.0) / fact.get("batches", 1)
        times[name] = [seconds + share for seconds in times[name]]
    rows = [
        [
            name,
            args.batch / measure.median(times, name),
            1e3 * measure.median(times, name),
            measure.ratio(times, name, OURS),
            facts[name].get("planning"),
            facts[name].get("batches"),
            facts[name]["shapes"],
            facts[name]["compiled"],
        ]
        for name in times
    ]
    title = (
        f"Batches of {args.batch} real pairs of {len(pairs['ids'][0])}, from lists of ids to "
        f"updated weights, vocabulary {pairs['vocabulary']}; {len(times[OURS])} slices of "
        f"{n_steps} batches"
    )
    columns = [
        "side",
        "pairs/s",
        "ms a batch",
        "x ours",
        "s planning",
        "batches an epoch",
        "shapes",
        "compiled",
    ]
    print(f"\n{title}\n\n{measure.table(columns, rows)}\n")
    print(
        "Planning is done once an epoch; each batch is charged its share. 'compiled' counts "
        "programs before the timing (those of 'ours' are shared by its three sides); during it JAX "
        f"compiled {late}.\n"
    )
    return {
        "title": title,
        "rows": [dict(zip(columns, row)) for row in rows],
        "times": times,
        "late": late,
    }


def _real_sides(args, pairs):
    """Name to a function that gives `steps`, warmed up over all shapes, and facts for the table."""
    sizes, lists = (
        (pairs["vocabulary"], D_MODEL),
        [[q.tolist() for q in side] for side in pairs["ids"]],
    )

    def trax():
        feed = sides.Feed()
        steps = sides.trax_course(feed, *sizes)
        longest = max(len(q) for side in lists for q in side)
        lengths = [1 << k for k in range(3, max(longest - 1, 0).bit_length() + 1)]
        _warm_up(feed, steps, [(np.full((args.batch, n), 2),) * 2 for n in lengths])
        feed.source = course.data_generator(*lists, args.batch)
        return steps, {"shapes": len(lengths)}

    def keras(jit):
        steps, traced = sides.keras_course(_tf_data(lists, args.batch), *sizes, jit)
        steps(20 if not args.quick else 2)
        return steps, {"shapes": "any", "compiled": traced()}

    def mine_in_keras():
        dataset = pairs_dataset(pairs["pairs"], args.batch, vocabulary=pairs["words"], max_words=32)
        start = time.perf_counter()
        next(iter(dataset))
        planning = time.perf_counter() - start
        steps = sides.keras_ours(dataset.repeat(), *sizes)
        steps(20 if not args.quick else 2)
        return steps, {"shapes": "any", "planning": planning, "batches": int(dataset.cardinality())}

    feed = sides.Feed()
    our_steps, vectors_of = sides.ours(
        feed, pairs["vocabulary"], d_model=D_MODEL, batch_size=args.batch
    )

    def mine(hard=False, **changed):
        how = {"batch_size": args.batch, "seed": 0, "max_words": 32, "neighbours": 16, **changed}
        streams = [
            BatchStream(*pairs["ids"], pairs["groups"], vectors=vectors_of(pairs["ids"][0]), **how)
            for _ in range(3)
        ]
        for stream in streams if hard else ():
            stream.start_hard_mining()
        epoch = streams[0].rest_of_epoch()  # compiles what the encoder needs
        shapes = {tuple(array.shape for array in batch): batch for batch in epoch}
        _warm_up(feed, our_steps, list(shapes.values()))
        start = time.perf_counter()
        next(streams[1])
        planning = time.perf_counter() - start
        next(streams[2])  # plans; what this costs is added to each batch as its share

        def steps(n):
            feed.source = streams[2]
            return our_steps(n)

        return steps, {"shapes": len(shapes), "planning": planning, "batches": len(epoch)}

    return {
        OURS: mine,
        "ours, similar pairs": lambda: mine(hard=True),
        "ours, questions uncut": lambda: mine(max_words=10_000),
        IN_KERAS: mine_in_keras,
        "course in Trax": trax,
        "course in Keras": lambda: keras(False),
    }


def _warm_up(feed, steps, batches):
    """Two steps with each of these batches, so that nothing is compiled later."""
    for batch in batches:
        feed.source = itertools.repeat(batch)
        steps(2)


def _tf_data(lists, batch):
    """The Keras assignment's dataset, with ids for texts: shuffled, each side padded to its own
    longest question."""
    import tensorflow as tf

    both = tuple(tf.ragged.constant(side, dtype=tf.int32) for side in lists)
    dataset = tf.data.Dataset.from_tensor_slices((*both, np.ones(len(lists[0]), np.float32)))
    dataset = dataset.shuffle(len(lists[0]), seed=7).repeat()
    dataset = dataset.ragged_batch(batch, drop_remainder=True)
    return dataset.map(lambda q1, q2, y: ((q1.to_tensor(0), q2.to_tensor(0)), y)).prefetch(2)


class _Compilations:
    """How many programs JAX has compiled since this was made."""

    def __init__(self):
        import jax.monitoring

        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event, *_, **__):
        self.count += event.endswith("backend_compile_duration")


if __name__ == "__main__":
    main()
