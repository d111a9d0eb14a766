"""What each trick of the training step gives on its own: the step as it is, and with one of them
left out.

    python benchmarks/tricks.py pairs.csv --json tricks.json

The step is forward, backward and Adam on batches of 256 real pairs, d = 128, made before the
timing. All variants take turns in one run, on the same twenty batches of one epoch.
"""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import sys
from pathlib import Path
from unittest import mock

import measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import step as step_benchmark

from trax_triplet.data.stream import BatchStream
from trax_triplet.model import packing, recurrence
from trax_triplet.model.packing import CHUNK, Workspace
from trax_triplet.training import packed_trainer as trainer
from trax_triplet.training.lazy_adam import MAX_DELAY, LazyRows, catch_up
from trax_triplet.training.settings import TrainSettings

D, BATCH = 128, 256
DEFAULTS = dataclasses.asdict(TrainSettings())
RULE = {name: DEFAULTS[name] for name in ("margin", "closest", "anchor")}
WORKSPACE_SIZE = trainer.workspace_size(BATCH, DEFAULTS["max_words"])
ALL = "the step as it is"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("csv", help="question pairs, as the package's train reads them")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument(
        "--batches", type=int, default=20, help="of an epoch, spread over its lengths"
    )
    parser.add_argument("--json", help="file to write")
    parser.add_argument(
        "--quick", action="store_true", help="few pairs and rounds; the figures mean nothing"
    )
    args = parser.parse_args()
    pairs = step_benchmark._read(args)
    chosen = _batches(pairs, args.batches)
    calls = {name: prepare(chosen, pairs["vocabulary"]) for name, prepare in VARIANTS.items()}
    times = measure.interleaved(calls, seconds=args.seconds, rounds=2 if args.quick else None)
    n = len(chosen)
    rows = [
        [name, 1e3 * measure.median(times, name) / n, measure.ratio(times, name, ALL)]
        for name in times
    ]
    measure.report(
        f"{n} batches of {BATCH} real pairs, vocabulary {pairs['vocabulary']}; "
        f"{len(times[ALL])} rounds",
        ["variant", "ms a batch", "x as it is"],
        rows,
        packages=("trax", "jax", "numpy"),
        path=args.json,
        results={name: [t / n for t in list_] for name, list_ in times.items()},
    )


def _batches(pairs, n):
    stream = BatchStream(
        *pairs["ids"],
        pairs["groups"],
        batch_size=BATCH,
        seed=0,
        max_words=DEFAULTS["max_words"],
        neighbours=16,
        vectors=None,
    )
    epoch = stream.rest_of_epoch()
    return epoch[:: max(len(epoch) // n, 1)][:n]


def _packed(batch, vocab_size, seed=0):
    packed = trainer.pack_batch(
        batch, vocab_size, DEFAULTS["buckets"], dropout=DEFAULTS["word_dropout"], seed=seed
    )
    return trainer.pad_to_workspace(packed, *WORKSPACE_SIZE, vocab_size)


def _steps(batches, vocab_size, new_workspace=False):
    """A function that takes one step on each of the batches, as `PackedTrainer` does."""
    rng = np.random.default_rng(0)

    def first(*shape):
        w = jnp.asarray(0.1 * rng.standard_normal(shape), "float32")
        return w, jnp.zeros_like(w), jnp.zeros_like(w)

    rows = LazyRows(*first(vocab_size, D), jnp.zeros(vocab_size, "int32"))
    rest = tuple((w, (m, v)) for w, m, v in (first(2 * D, 4 * D), first(4 * D)))
    options = {
        "learning_rate": 0.005,
        "weight_decay_rate": 1e-5,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-5,
    }
    options, rates = (
        {k: np.float32(v) for k, v in options.items()},
        np.full(MAX_DELAY, 0.005, np.float32),
    )

    size = WORKSPACE_SIZE[0], len(batches[0].words)

    def in_new_workspace(rows, rest, *others):
        rows, rest, _, loss = trainer._step(rows, rest, Workspace.of(*size, D), *others, rule=RULE)
        return rows, rest, loss

    if new_workspace:
        jitted = jax.jit(in_new_workspace, donate_argnums=(0, 1))
        state = [rows, rest]
    else:
        jitted = jax.jit(functools.partial(trainer._step, rule=RULE), donate_argnums=(0, 1, 2))
        state = [rows, rest, Workspace.of(*size, D)]
    catch_up_jitted, number = jax.jit(catch_up, donate_argnums=0), itertools.count()

    def run():
        for batch in batches:
            step = next(number)
            if step % MAX_DELAY == 0:
                state[0] = catch_up_jitted(state[0], step, rates, options)
            *state[:], loss = jitted(*state, step, rates, options, batch)
        jax.block_until_ready(state)
        return float(loss)

    run()
    return run


# --- variants: each a function of batches and vocabulary size ---


def as_it_is(batches, vocab_size):
    return _steps([_packed(batch, vocab_size) for batch in batches], vocab_size)


def new_memory(batches, vocab_size):
    return _steps([_packed(batch, vocab_size) for batch in batches], vocab_size, new_workspace=True)


def padding_computed(batches, vocab_size):
    with (
        mock.patch.object(packing, "row_bucket_sizes", lambda rows: (rows,)),
        mock.patch.object(recurrence, "row_bucket_sizes", lambda rows: (rows,)),
    ):
        return _steps([_packed(batch, vocab_size) for batch in batches], vocab_size)


def all_rows(batches, vocab_size):
    """The whole table takes part in every step: Adam as it stands in the book."""
    everything = np.arange(-(-vocab_size // CHUNK) * CHUNK, dtype=np.int32)

    def whole(batch):
        packed = _packed(batch, vocab_size)
        place = np.minimum(packed.words, vocab_size - 1)[packed.packed.index]
        return packed._replace(
            words=everything, used=np.int32(vocab_size), packed=packed.packed._replace(index=place)
        )

    return _steps([whole(batch) for batch in batches], vocab_size)


def trax_step(lstm):
    """Trax's own step on the same model: padding, the whole table, new memory; the LSTM by autodiff
    or closed form."""

    def prepare(batches, vocab_size):
        import sides

        with (
            mock.patch.object(sides, "Siamese", functools.partial(sides.Siamese, lstm=lstm)),
            _no_packed_trainer(),
        ):
            steps, _ = sides.ours(itertools.cycle(batches), vocab_size, d_model=D, batch_size=BATCH)
        steps(len(batches))
        return lambda: steps(len(batches))

    return prepare


@contextlib.contextmanager
def _no_packed_trainer():
    from trax_triplet.training import loop

    with mock.patch.object(
        loop,
        "PackedTrainer",
        lambda model_with_loss, optimizer, *_: loop.optimizers.Trainer(
            model_with_loss, optimizer, n_devices=1
        ),
    ):
        yield


VARIANTS = {
    ALL: as_it_is,
    "new memory in each step": new_memory,
    "all rows up to the longest": padding_computed,
    "the whole table in each step": all_rows,
    "Trax's step, LSTM in closed form": trax_step("closed form"),
    "Trax's step, LSTM by autodiff": trax_step("trax"),
}

if __name__ == "__main__":
    main()
