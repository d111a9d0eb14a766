"""The walk in NumPy: plain loops' vectors, in blocks of any size, in any number of threads."""

import concurrent.futures
import contextlib
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracles
import pytest
from threadpoolctl import threadpool_limits

from trax_triplet import _threads as threads
from trax_triplet.model import walk as module
from trax_triplet.model.walk import CENTRE, POOLINGS, PROJECTION, Walk, centre_of, centred

D, VOCAB = 5, 30


def weights_of(d=D, vocab_size=VOCAB, seed=0):
    random = np.random.default_rng(seed)
    shapes = {"embedding": (vocab_size, d), "lstm/kernel": (2 * d, 4 * d), "lstm/bias": (4 * d,)}
    return {name: random.normal(size=shape).astype("f") for name, shape in shapes.items()}


def questions_of(lengths, vocab_size=VOCAB):
    random = np.random.default_rng(1)
    return [random.integers(2, vocab_size, n) for n in lengths]


def by_plain_loops(weights, pooling, question):
    """What a course's model pads is padded to a multiple of 8, at least 8."""
    ids = [*question]
    if pooling == "course":
        ids += [1] * (max(8, -(-len(ids) // 8) * 8) - len(ids))
    if not ids:
        return np.zeros(D)
    steps = weights["embedding"].astype(float)[ids]
    lstm = weights["lstm/kernel"].astype(float), weights["lstm/bias"].astype(float)
    first = len(ids) if pooling == "last" else 1
    states = [oracles.lstm_last_state(steps[:n], *lstm) for n in range(first, len(ids) + 1)]
    return oracles.unit(np.mean(states, axis=0))


@pytest.mark.parametrize("block", [1, 7, module.BLOCK])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_vectors_are_those_of_plain_loops(pooling, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    weights, questions = weights_of(), questions_of((3, 8, 0, 1, 17, 3, 9))
    expected = [by_plain_loops(weights, pooling, question) for question in questions]
    walk = Walk(weights, pooling)
    for size in (2, module.ROWS):
        np.testing.assert_allclose(walk(questions, size), expected, atol=1e-6)
    alone = np.concatenate([walk([question]) for question in questions])
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    assert walk([]).shape == (0, D) and walk(questions).dtype == np.float32


@pytest.mark.parametrize("pooling", POOLINGS)
def test_states_are_projected_and_a_centre_subtracted_but_not_from_zeros(pooling):
    weights, questions = weights_of(), questions_of((3, 8, 0, 1, 17))
    centre = np.array([0.3, -0.2, 0.1, 0.4, 0])
    projection = np.random.default_rng(2).normal(size=(D, D))
    expected = [by_plain_loops(weights, pooling, question) for question in questions]
    expected = [oracles.unit(np.array(v) @ projection) for v in expected]
    expected = [oracles.unit(v - centre) if np.any(v) else v for v in expected]
    more = {CENTRE: centre.astype("f"), PROJECTION: projection.astype("f")}
    found = Walk(weights | more, pooling)(questions)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    if pooling != "course":  # whose padding is read like words
        assert not found[2].any()


def test_the_centre_has_the_direction_of_the_mean_and_one_length():
    vectors = np.random.default_rng(0).normal(size=(50, 3)) + [1, 0, 0.5]
    mean = sum(vectors) / 50
    length = sum(x * x for x in mean) ** 0.5
    np.testing.assert_allclose(centre_of(vectors), 0.6 * mean / length, rtol=1e-6)
    assert centre_of(np.zeros((3, 2), "f")).tolist() == [0, 0]  # questions without words
    assert np.isnan(centre_of(np.array([[1, np.nan]]))).all()
    # An earlier centre counts as a thousand vectors whose mean has the length 0.15, or 150.
    moved = centre_of(np.array([[0, 1]] * 200), earlier=np.array([0.6, 0]))
    np.testing.assert_allclose(moved, [0.6 * 0.6, 0.6 * 0.8], rtol=1e-6)


def test_what_is_zero_is_seen_nowhere_from_a_centre():
    # (0.6, 0.8) - (0.6, 0) is (0, 0.8), of the direction (0, 1).
    seen = centred(np.array([[0.6, 0.8], [0, 0]]), np.array([0.6, 0]))
    np.testing.assert_allclose(seen, [[0, 1], [0, 0]], atol=1e-9)


def test_vectors_that_are_not_finite_stay_so():
    weights = weights_of() | {CENTRE: np.full(D, 0.1, "f")}
    weights["embedding"][3] = np.nan
    found = Walk(weights, "last")([np.array([2, 3]), np.array([2, 4])])
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_more_embeddings_follow_on_those_of_the_model():
    weights, questions = weights_of(), questions_of((3, 8, 0, 1, 17))
    known = {**weights, "embedding": weights["embedding"][:20]}
    found = Walk(known, "last")(questions, more=weights["embedding"][20:])
    np.testing.assert_allclose(found, Walk(weights, "last")(questions), atol=1e-6)


def test_blocks_cover_all_steps_and_hold_no_more_words_than_they_may():
    counts = np.array([5, 5, 4, 2, 2, 1, 1])
    with pytest.MonkeyPatch.context() as patch:
        for block, expected in (
            (4, [(0, 1), (1, 2), (2, 3), (3, 5), (5, 7)]),  # 5 | 5 | 4 | 2 + 2 | 1 + 1
            (10, [(0, 2), (2, 7)]),  # 5 + 5 | 4 + 2 + 2 + 1 + 1
            (20, [(0, 7)]),
        ):
            patch.setattr(module, "BLOCK", block)
            assert [*module._blocks(counts)] == expected


def test_a_question_as_long_as_a_book_takes_bounded_memory(monkeypatch):
    d, vocab_size, n_words, block = 64, 2000, 5000, 256
    monkeypatch.setattr(module, "BLOCK", block)
    weights = {name: 0.1 * array for name, array in weights_of(d, vocab_size).items()}
    walk, [question] = Walk(weights, "last"), questions_of([n_words], vocab_size)
    tracemalloc.start()
    vectors = walk([question, *[question[:3]] * 10])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The words of a block, embedded and projected, and some integers for each word of the question.
    # The products of all distinct words would take 7 times as much as those of a block.
    assert peak < 2 * block * 5 * d * 4 + 6 * 8 * n_words < vocab_size * 4 * d * 4
    np.testing.assert_allclose(vectors[0], walk([question])[0], atol=1e-6)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    walk, questions = Walk(weights_of(), "mean"), questions_of(range(200))
    pools = []

    class Noted(ThreadPoolExecutor):
        def __init__(self, n):
            pools.append(n)
            super().__init__(n)

    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", Noted)
    with threadpool_limits(1, "blas"):
        expected = walk(questions, 16)
    assert pools == []
    monkeypatch.setattr(threads.blas, "one_thread", lambda: contextlib.nullcontext(3))
    np.testing.assert_array_equal(walk(questions, 16), expected)
    assert pools == [3]


def test_weights_that_are_not_finite_give_nan_without_a_warning():
    weights = weights_of()
    weights["lstm/bias"][:] = np.inf
    weights["lstm/kernel"][:, 0] = -np.inf
    assert np.isnan(Walk(weights, "last")([np.array([2, 3])])).any()


def test_a_vector_that_all_but_vanishes_is_zero_and_a_small_one_is_not():
    weights = {name: np.zeros_like(array) for name, array in weights_of().items()}
    walk = Walk(weights, "last")
    assert not walk([np.array([2])]).any()
    weights["lstm/kernel"][0, D] = 1  # the first entry of the word goes into the first new value
    weights["embedding"][2, 0], weights["embedding"][3, 0] = 1e-28, 1e-32
    vectors = Walk(weights, "last")([np.array([2]), np.array([3])])
    np.testing.assert_array_equal(vectors, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
