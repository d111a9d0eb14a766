"""Batches of tf.data have the guarantees of the Trax side's, in fit and out of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trax_triplet.data.pairs import Pairs, concatenate, question_groups
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.sample import write_csv
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.vocabulary import PAD_ID, Vocabulary
from trax_triplet.keras import ModifiedTripletLoss, pairs_dataset

pytestmark = pytest.mark.integration  # loads and compiles Keras


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Read from a CSV; then a hundred duplicates chain: a = b and b = c."""
    path = tmp_path_factory.mktemp("csv") / "pairs.csv"
    write_csv(path, 900, seed=1)
    read = read_pairs(path)
    chained = read.select(np.flatnonzero(read.is_duplicate)[:100])
    return concatenate(
        read,
        Pairs(chained.question2, [f"Please tell: {text}" for text in chained.question1], [1] * 100),
    )


def epoch(dataset):
    return [
        tuple(tf.nest.map_structure(lambda tensor: tensor.numpy(), element)) for element in dataset
    ]


@pytest.mark.parametrize("with_ids", [False, True])
def test_no_group_comes_twice_in_a_batch(pairs, with_ids):
    duplicates = pairs.select(np.flatnonzero(pairs.is_duplicate))
    groups = question_groups(duplicates)
    assert len(np.unique(groups[0])) < len(duplicates)  # else this would hold of itself
    vocabulary = (
        Vocabulary.build(pairs.question1 + pairs.question2, buckets=4) if with_ids else None
    )
    batches = epoch(pairs_dataset(pairs, 32, vocabulary=vocabulary, seed=3))
    assert len(batches) == -(-len(duplicates) // 32)
    for (questions1, questions2), ids in batches:
        assert 0 < len(questions1) == len(questions2) == len(ids) <= 32
        assert (
            len(np.unique(ids[:, 0])) == len(ids)
            and (ids[:, 0] == ids[:, 1]).all()
            and ids.min() >= 0
        )


def test_texts_are_the_pairs_with_their_groups(pairs):
    duplicates = pairs.select(np.flatnonzero(pairs.is_duplicate))
    groups = question_groups(duplicates)
    known = {
        (q1, q2): (g1, g2)
        for q1, q2, g1, g2 in zip(duplicates.question1, duplicates.question2, *groups)
    }
    seen = set()
    dataset = pairs_dataset(pairs, 32)
    for _ in range(3):  # as often as a group's pairs take turns
        for (questions1, questions2), ids in epoch(dataset):
            for q1, q2, pair in zip(questions1, questions2, ids):
                assert known[q1.decode(), q2.decode()] == tuple(pair)
                seen.add((q1.decode(), q2.decode()))
    assert seen == set(known)


def test_ids_are_the_trax_sides_batches(pairs):
    duplicates = pairs.select(np.flatnonzero(pairs.is_duplicate))
    vocabulary = Vocabulary.build(pairs.question1 + pairs.question2)
    stream = BatchStream(
        *map(vocabulary.encode_all, (duplicates.question1, duplicates.question2)),
        question_groups(duplicates)[0],
        batch_size=64,
        seed=5,
        max_words=6,
    )
    dataset = pairs_dataset(pairs, 64, seed=5, vocabulary=vocabulary, max_words=6)
    for (ids1, ids2), groups in epoch(dataset) + epoch(dataset):
        expected = next(stream)
        n = len(ids1)
        for found, wanted in zip((ids1, ids2, *groups.T), expected):
            assert found.tolist() == wanted[:n].tolist()
        assert (expected[0][n:] == PAD_ID).all()


def test_each_iteration_differs_and_the_seed_determines_it(pairs):
    def texts(dataset):
        return [questions1.tolist() for (questions1, _), _ in epoch(dataset)]

    first, same, other = (pairs_dataset(pairs, 64, seed=seed) for seed in (1, 1, 2))
    once, twice = texts(first), texts(first)
    assert once != twice and [once, twice] == [texts(same), texts(same)]
    assert texts(other) != once


def test_an_interrupted_iteration_is_repeated(pairs):
    dataset, whole = (pairs_dataset(pairs, 64, seed=1) for _ in range(2))
    next(iter(dataset))
    assert [e[1].tolist() for e in epoch(dataset)] == [e[1].tolist() for e in epoch(whole)]


@pytest.mark.slow
def test_fit_iterates_over_it_without_a_warning(pairs):
    tower = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(2000, 4, mask_zero=False),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    model = keras.Model(inputs, keras.layers.Concatenate(axis=1)([tower(x) for x in inputs]))
    model.compile(loss=ModifiedTripletLoss(with_groups=True), optimizer="adam")
    vocabulary = Vocabulary.build(pairs.question1 + pairs.question2)
    assert len(vocabulary) < 2000
    dataset, seen = pairs_dataset(pairs, 64, vocabulary=vocabulary), []

    def noted(ids):
        seen.append(ids.tolist())
        return ids

    watched = dataset.map(
        lambda questions, ids: (
            questions,
            tf.ensure_shape(tf.numpy_function(noted, [ids], tf.int32), (None, 2)),
        )
    )
    losses = model.fit(watched, epochs=3, shuffle=False, verbose=0).history["loss"]
    n, expected = int(dataset.cardinality()), pairs_dataset(pairs, 64, vocabulary=vocabulary)
    assert seen[-3 * n :] == [
        ids.tolist() for _ in range(3) for _, ids in epoch(expected)
    ]  # each epoch its own
    assert len(losses) == 3 and losses[2] < losses[0]
    assert dataset.cardinality().numpy() == -(-int(pairs.is_duplicate.sum()) // 64)


PAIR = Pairs(["Why?"], ["How come?"], [1])


@pytest.mark.parametrize(
    "error, message, arguments, options",
    [
        (TypeError, "pairs must be trax_triplet.Pairs", ([],), {}),
        (ValueError, "pairs must have .* labelled 1", (Pairs(["Why?"], ["Who?"], [0]),), {}),
        (ValueError, "pairs must have .* labelled 1", (Pairs(["Why?"], ["Who?"]),), {}),
        (ValueError, "batch_size", (PAIR, 0), {}),
        (TypeError, "batch_size", (PAIR, 2.5), {}),
        (ValueError, "seed", (PAIR,), {"seed": -1}),
        (TypeError, "vocabulary", (PAIR,), {"vocabulary": {}}),
        (ValueError, "give a vocabulary with it", (PAIR,), {"max_words": 5}),
        (ValueError, "max_words", (PAIR,), {"max_words": 0, "vocabulary": Vocabulary(["why"])}),
    ],
)
def test_mistakes_are_named(error, message, arguments, options):
    with pytest.raises(error, match=message):
        pairs_dataset(*arguments, **options)
