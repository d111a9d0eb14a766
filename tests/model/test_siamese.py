"""The Siamese LSTM: the course's layers, and a form in which padding never counts."""

import functools

import jax
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.compat import fastmath, tl
from trax_triplet.loss.triplet import triplet_loss
from trax_triplet.model.siamese import (
    LastWord,
    MeanOfWords,
    PaddingLast,
    Siamese,
    WordCount,
    WordDropout,
)
from trax_triplet.model.weights import get_weights, init_model, set_weights

pytestmark = pytest.mark.integration  # compiles Trax's layers

COURSE = """Parallel_in2_out2[
  Serial[
    Embedding_41699_128
    LSTM_128
    Mean
    Normalize
  ]
  Serial[
    Embedding_41699_128
    LSTM_128
    Mean
    Normalize
  ]
]"""
D = 6


def small(pooling="last", mode="eval", seed=3, **settings):
    return init_model(Siamese(20, D, mode, pooling=pooling, embedding_stddev=1.0, **settings), seed)


shared = functools.cache(small)  # to be left as it is


def padded(question, length, left=0):
    return np.array([[1] * left + list(question) + [1] * (length - left - len(question))], np.int32)


@functools.cache
def compiled(model):
    return fastmath.jit(model.pure_fn)  # eagerly, each call would compile the LSTM's scan anew


def both_vectors(model, ids):
    vectors, _ = compiled(model)(
        (ids, ids), model.weights, model.state, fastmath.random.get_prng(7)
    )
    return [np.asarray(v) for v in vectors]


def vector(model, ids):
    return both_vectors(model, ids)[0]


def test_prints_as_the_course_prints_it():
    assert str(Siamese()) == COURSE


def test_sublayers_are_of_the_kinds_that_graders_look_for():
    model = Siamese(50, 8)
    assert isinstance(model, tl.Parallel)
    kinds = [[type(layer) for layer in tower.sublayers] for tower in model.sublayers]
    pure = type(tl.Fn("f", lambda x: x))
    assert kinds == [[tl.Embedding, tl.Serial, pure, pure]] * 2
    assert [type(tower) for tower in model.sublayers] == [tl.Serial] * 2


def test_both_towers_share_their_weights():
    model = small("course")
    ids = padded([5, 6, 7], 4)
    first, second = both_vectors(model, ids)
    np.testing.assert_array_equal(first, second)
    weights = get_weights(model)
    weights["lstm/bias"] = weights["lstm/bias"] + 1.0
    set_weights(model, weights)
    again_first, again_second = both_vectors(model, ids)
    np.testing.assert_array_equal(again_first, again_second)
    assert np.abs(np.asarray(again_first) - np.asarray(first)).max() > 1e-3


def test_parameter_count():
    # 20 words x 6, kernel (6 + 6) x (4 x 6), bias 4 x 6
    assert sum(w.size for w in get_weights(small("course")).values()) == 20 * 6 + 12 * 24 + 24


@pytest.mark.parametrize("pooling", ["course", "mean", "last"])
def test_vectors_equal_a_plain_loop(pooling):
    model, question = small(pooling), [5, 2, 19, 0]
    weights = {name: w.astype(float) for name, w in get_weights(model).items()}
    steps = weights["embedding"][[5, 2, 19, 0] + ([1, 1] if pooling == "course" else [])]
    states = [
        oracles.lstm_last_state(steps[: n + 1], weights["lstm/kernel"], weights["lstm/bias"])
        for n in range(len(steps))
    ]
    expected = states[-1] if pooling == "last" else np.mean(states, axis=0)
    np.testing.assert_allclose(
        vector(model, padded(question, 6))[0], oracles.unit(expected), atol=1e-6
    )


def test_first_vectors_are_spread_out_but_not_in_the_course_form():
    questions = np.random.default_rng(0).integers(2, 200, (16, 8)).astype(np.int32)
    nearness = {}
    for pooling in ("course", "last"):
        v = vector(
            init_model(Siamese(200, 16, "eval", pooling=pooling, embedding_stddev=0.1), 0),
            questions,
        )
        nearness[pooling] = float((v @ v.T)[~np.eye(16, dtype=bool)].mean())
    assert nearness["course"] > 0.99  # collapsed from the start: every gate starts with bias 1
    assert abs(nearness["last"]) < 0.5
    bias = get_weights(init_model(Siamese(20, 3, pooling="last")))["lstm/bias"]
    assert bias.tolist() == [0, 0, 0] + [0, 0, 0] + [1, 1, 1] + [0, 0, 0]


def test_in_the_course_form_padding_counts():
    model = small("course")
    assert np.abs(vector(model, padded([5, 6], 4)) - vector(model, padded([5, 6], 16))).max() > 1e-3


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["mean", "last"]),
    st.lists(st.integers(2, 19), max_size=8),
    st.integers(0, 8),
    st.just(16),
)
def test_padding_never_counts(pooling, question, left, length):
    model = shared(pooling)
    alone = vector(model, padded(question, 8))
    np.testing.assert_allclose(vector(model, padded(question, length, left)), alone, atol=1e-6)
    others = np.array([[7] * length, [1] * length], np.int32)
    batch = np.concatenate([others[:1], padded(question, length), others[1:]])
    np.testing.assert_allclose(vector(model, batch)[1], alone[0], atol=1e-6)


@pytest.mark.parametrize("pooling", [pytest.param("mean", marks=pytest.mark.slow), "last"])
def test_a_question_without_words_is_zero_with_finite_gradients(pooling):
    model = small(pooling)
    ids = np.array([[1] * 8, [4, 5] + [1] * 6], np.int32)
    assert not vector(model, ids)[0].any()

    def loss(weights):
        (v1, v2), _ = model.pure_fn(
            (ids, ids[::-1]), weights, model.state, fastmath.random.get_prng(0)
        )
        return triplet_loss(v1, v2, normalize=False)

    gradients = fastmath.tree_leaves(jax.jit(jax.grad(loss))(model.weights))
    assert all(np.isfinite(np.asarray(g)).all() for g in gradients if hasattr(g, "shape"))
    assert any(np.asarray(g).any() for g in gradients if hasattr(g, "shape"))


def test_padding_goes_last_and_words_keep_their_order():
    ids = np.array([[1, 9, 1, 4], [3, 2, 1, 1], [1, 1, 1, 1]], np.int32)
    assert np.asarray(PaddingLast()(ids)).tolist() == [[9, 4, 1, 1], [3, 2, 1, 1], [1, 1, 1, 1]]
    assert np.asarray(WordCount()(ids)).tolist() == [2, 2, 0]


def test_pooling_layers():
    states = np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    count = np.array([2, 3, 0], np.int32)
    assert np.asarray(LastWord()((states, count))).tolist() == [[2, 3], [10, 11], [0, 0]]
    assert np.asarray(MeanOfWords()((states, count))).tolist() == [
        [(0 + 2) / 2, (1 + 3) / 2],
        [8, 9],
        [0, 0],
    ]


def dropped(layer, ids1, ids2, seed=0):
    layer.rng = fastmath.random.get_prng(seed)
    return [np.asarray(ids) for ids in layer((ids1, ids2))]


def test_word_dropout_hides_a_word_wherever_it_stands():
    every = np.arange(4000, dtype=np.int32).reshape(40, 100)
    first, second = dropped(WordDropout(4000, 0.25), every, every[::-1])
    np.testing.assert_array_equal(first, second[::-1])  # the same words on both sides
    hidden = first != every
    assert (first[hidden] == 0).all() and first.dtype == np.int32 and first[0, 1] == 1
    # 4 000 draws of probability 1/4: the standard deviation of the share is 0.007
    assert abs(hidden.mean() - 0.25) < 0.035
    assert (dropped(WordDropout(4000, 0.25), every, every, seed=1)[0] != first).any()
    assert str(WordDropout(4000, 0.25)) == "WordDropout_0.25_in2_out2"


def test_an_id_that_the_vocabulary_lacks_is_nan_not_another_word():
    model = init_model(Siamese(vocab_size=300, d_model=D, mode="eval", pooling="last"))
    known = [[2, 299], [299, 2], [0, 1]]
    right, _ = model((np.array(known), np.array(known)))
    for bad in (300, -1, 2**31 - 1):
        ids = np.array([known[0], [bad, 2], known[2]])
        first, second = model((ids, ids))
        assert np.isnan(first[1]).all() and np.isnan(second[1]).all()
        np.testing.assert_array_equal(np.asarray(first)[[0, 2]], np.asarray(right)[[0, 2]])
    dropout = WordDropout(300, 0.5)
    first, _ = dropped(dropout, np.array([[300, -1, 1]]), np.array([[1]]))
    assert first.tolist() == [[300, -1, 1]]


def test_ids_in_a_narrow_type_become_buckets_that_it_does_not_hold():
    ids = np.full((1, 200), 7, np.uint8)
    first, _ = dropped(WordDropout(1000, 0.99, buckets=2), ids, ids)
    assert {*np.unique(first)} <= {7, 998, 999} and first.dtype == np.int32


def test_padding_is_never_dropped():
    padding = np.ones((3, 5), np.int32)
    for seed in range(10):
        assert all(
            (ids == 1).all()
            for ids in dropped(WordDropout(2 + 6, 0.9, buckets=2), padding, padding, seed)
        )


def test_hidden_words_become_buckets():
    every = np.arange(4000, dtype=np.int32).reshape(40, 100)
    first, second = dropped(WordDropout(4000, 0.25, buckets=50), every, every)
    np.testing.assert_array_equal(first, second)
    hidden = first != every
    assert set(first[hidden].tolist()) == set(range(3950, 4000))  # about 1 000 words, 50 buckets
    other = dropped(WordDropout(4000, 0.25, buckets=50), every, every, seed=1)[0]
    again = hidden & (other != every)
    assert (other[again] != first[again]).mean() > 0.9  # a word's bucket is drawn anew each time


def test_words_are_dropped_only_in_training():
    question = padded([5, 6, 7, 8, 9, 10], 8)
    train = small(mode="train", word_dropout=0.9)
    evaluate = set_weights(small(mode="eval", word_dropout=0.9), get_weights(train))
    plain = set_weights(small(mode="eval"), get_weights(train))
    np.testing.assert_array_equal(vector(evaluate, question), vector(plain, question))
    assert np.abs(vector(train, question) - vector(plain, question)).max() > 1e-3


def test_same_seed_same_weights():
    a, b, c = (get_weights(small(seed=s)) for s in (1, 1, 2))
    assert all((a[name] == b[name]).all() for name in a)
    assert (a["embedding"] != c["embedding"]).any()


def test_weights_are_set_by_their_names_in_a_model_without_any():
    shapes = {"lstm/bias": (4 * 6,), "lstm/kernel": (6 + 6, 4 * 6), "embedding": (20, 6)}
    weights = {name: np.full(shape, k) for k, (name, shape) in enumerate(shapes.items())}
    found = get_weights(set_weights(Siamese(20, 6), weights))
    assert {name: (w.shape, w.min(), w.max()) for name, w in found.items()} == {
        name: (shape, k, k) for k, (name, shape) in enumerate(shapes.items())
    }


def test_weights_of_another_model_are_refused():
    weights = get_weights(small())
    with pytest.raises(ValueError, match=r"\(20, 6\).*\(19, 6\)"):
        set_weights(small(), {**weights, "embedding": weights["embedding"][1:]})
    with pytest.raises(ValueError, match="initialise it first"):
        get_weights(Siamese(20, 4))
