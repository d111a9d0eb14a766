"""The packed step against Trax's own."""

import dataclasses

import numpy as np
import pytest

from trax_triplet.compat import fastmath
from trax_triplet.data.stream import PADDING_GROUP
from trax_triplet.model.packing import row_bucket_sizes
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import get_weights, init_model
from trax_triplet.training.loop import make_loop
from trax_triplet.training.packed_trainer import PackedTrainer, pack_batch
from trax_triplet.training.settings import TrainSettings

pytestmark = pytest.mark.integration  # compiles Trax's own trainings beside ours

VOCAB, BUCKETS, BATCH = 300, 7, 8
SETTINGS = TrainSettings(
    batch_size=BATCH,
    max_words=8,
    learning_rate=0.01,
    warmup_steps=5,
    steps=300,
    seed=3,
    word_dropout=0.0,
    buckets=BUCKETS,
)


def batches(seed):
    """Endless batches of random questions of 0 to 8 words, with padding anywhere and one filled
    row."""
    rng = np.random.default_rng(seed)
    while True:
        ids = rng.integers(2, VOCAB, (2, BATCH, 8))
        ids = np.where(rng.random(ids.shape) < rng.random((2, BATCH, 1)), 1, ids).astype(np.int32)
        ids[:, -1] = 1
        groups = np.arange(BATCH, dtype=np.int32)
        groups[-1] = PADDING_GROUP
        groups[1] = groups[0]
        yield (*ids, groups, groups)


def with_others(stream, width):
    """The same batches, of which the last three pairs are labelled 0; with a teacher's vectors, if
    they have a width."""
    rng = np.random.default_rng(0)
    for ids1, ids2, *_ in stream:
        labels = np.array([1] * (BATCH - 4) + [-1] + [0] * 3, np.int32)
        groups = np.where(labels == 1, np.arange(BATCH), PADDING_GROUP).astype(np.int32)
        taught = rng.normal(size=(2 if width else 0, BATCH, width)).astype(np.float32)
        yield ids1, ids2, groups, groups, labels, *taught


def loop_of(settings, others_per_batch=0, teacher_width=0):
    sizes = (VOCAB, 6)
    shape = {"pooling": "last", "embedding_stddev": 0.1, "buckets": BUCKETS}
    model = init_model(Siamese(*sizes, "train", **shape), 1)
    stream = with_others(batches(5), teacher_width) if others_per_batch else batches(5)
    return make_loop(
        model,
        Siamese(*sizes, "eval", **shape),
        stream,
        [next(batches(6))],
        settings,
        others_per_batch=others_per_batch,
        teacher_width=teacher_width,
    )


@pytest.mark.parametrize(
    "parts",  # rows catch up after each: also at steps that are not multiples of 16
    [(1, 2, 30), pytest.param((1, 2, 30, 67, 100), marks=pytest.mark.slow)],
)
def test_its_steps_are_those_of_trax(parts):
    packed = loop_of(SETTINGS)
    dense = loop_of(dataclasses.replace(SETTINGS, pooling="mean"))  # the layers pool 'last'
    assert isinstance(packed._trainer, PackedTrainer)
    assert not isinstance(dense._trainer, PackedTrainer)
    for n_steps in parts:
        packed.run_quietly(n_steps)
        dense.run_quietly(n_steps)
        np.testing.assert_allclose(packed.take_losses(), dense.take_losses(), rtol=1e-4, atol=1e-5)
        for name, expected in get_weights(dense.model).items():
            np.testing.assert_allclose(
                get_weights(packed.model)[name], expected, rtol=0, atol=2e-4, err_msg=name
            )
        slots = (fastmath.tree_leaves(loop._trainer.slots) for loop in (packed, dense))
        for found, expected in zip(*slots, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [0, pytest.param(4, marks=pytest.mark.slow)])
def test_pairs_labelled_0_and_a_teacher_move_the_weights_as_in_trax(width):
    weights = {"labelled_weight": 5.0, "teacher_weight": 20.0}
    settings = dataclasses.replace(SETTINGS, batch_size=BATCH - 3, **weights)
    loops = [
        loop_of(changed, 3, width)
        for changed in (settings, dataclasses.replace(settings, pooling="mean"))
    ]
    for loop in loops:
        loop.run_quietly(5)
    losses = [loop.take_losses() for loop in loops]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for name, expected in get_weights(loops[1].model).items():
        found = get_weights(loops[0].model)[name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4, err_msg=name)
    if width:
        assert losses[0][0] > 10  # random vectors: most of it is the teacher's
        return
    lighter = loop_of(dataclasses.replace(settings, labelled_weight=1.0), 3)
    lighter.run_quietly(1)
    assert lighter.take_losses()[0] < losses[0][0] - 0.02


def test_packing_and_unpacking_gives_the_words_back():
    ids1, ids2, *groups = next(batches(0))
    batch = pack_batch((ids1, ids2, *groups), VOCAB, BUCKETS)
    questions = [q[q != 1].tolist() for q in (*ids1, *ids2)]
    rows, start = [[] for _ in questions], 0
    for count in batch.packed.counts[batch.packed.counts > 0]:
        for row, place in zip(batch.packed.order[:count], batch.packed.index[start:]):
            rows[row].append(int(batch.words[place]))
        start += min(size for size in row_bucket_sizes(len(questions)) if size >= count)
    assert rows == questions
    assert batch.packed.order[batch.back].tolist() == list(range(len(questions)))
    assert len(np.unique(batch.words[batch.words < VOCAB])) == (batch.words < VOCAB).sum()


def words_read(batch, ids):
    """What each of the ids is replaced by, by where the two batches put it."""
    plain = pack_batch(batch, VOCAB, BUCKETS)
    hidden = pack_batch(batch, VOCAB, BUCKETS, dropout=0.4, seed=(3, 4))
    was, reads = (
        b.words[b.packed.index[: batch[0].size * 2]] for b in (plain, hidden)
    )  # all rows are full
    return np.array([np.unique(reads[was == word]).item() for word in ids])


@pytest.mark.parametrize("buckets", [BUCKETS, 0])
def test_a_hidden_word_becomes_one_unknown_word_wherever_it_is(buckets, monkeypatch):
    monkeypatch.setitem(globals(), "BUCKETS", buckets)
    ids = np.arange(2, 258, dtype=np.int32)
    batch = (ids.reshape(32, 8), ids[::-1].reshape(32, 8), np.arange(32), np.arange(32))
    reads = words_read(batch, ids)
    hidden = reads != ids
    assert 0.3 < hidden.mean() < 0.5
    unknown = set(range(VOCAB - buckets, VOCAB)) if buckets else {0}
    assert set(reads[hidden]) == unknown
    np.testing.assert_array_equal(reads, words_read(batch, ids))


def test_a_step_that_was_interrupted_leaves_what_was_settled():
    loop = loop_of(SETTINGS)
    loop.run_quietly(2)
    settled, trainer = get_weights(loop.model), loop._trainer
    one_step = trainer._step

    def interrupted(*arguments):
        one_step(*arguments)
        raise KeyboardInterrupt

    trainer._step = interrupted
    with pytest.raises(KeyboardInterrupt):
        loop.run_quietly(1)
    for name, weights in get_weights(loop.model).items():
        np.testing.assert_array_equal(weights, settled[name])
    trainer._step = one_step
    loop.run_quietly(1)  # in a new workspace
    assert np.isfinite(loop.take_losses()).all()
