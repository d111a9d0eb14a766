"""The ranking loss: the oracle on three backends, gradients, devices, padding, single labels."""

import jax
import ml_dtypes
import numpy as np
import oracles
import pytest
import tensorflow as tf
from backends import cast
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import random_pairs

from trax_triplet.loss.ranking import RankingLoss, ranking_loss

LABELS = np.array([1, 0, 0, 1, 0, -1])


def value(loss):
    return float(loss.numpy() if isinstance(loss, tf.Tensor) else np.asarray(loss, float))


def test_pairs_of_known_similarity(backend):
    # Similarities 1 and 0.6 labelled 1; 0.8, 0 and -1 labelled 0, margin 0.25: the hinges are
    # 0.8 - 1 + 0.25 and 0.8 - 0.6 + 0.25, and four of 0.
    v1 = np.array([[1.0, 0.0]] * 5)
    v2 = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    loss = ranking_loss(v1, v2, np.array([1, 1, 0, 0, 0]), margin=0.25)
    assert value(loss) == pytest.approx((0.05**2 + 0.45**2) / 6, abs=1e-7)


@pytest.mark.parametrize(
    "dtype, tolerance", [("float16", 2e-3), (ml_dtypes.bfloat16, 2e-2), ("float32", 1e-6)]
)
def test_dtypes_against_the_oracle(backend, dtype, tolerance):
    v1, v2 = random_pairs()
    loss = ranking_loss(cast(3 * v1, dtype, backend), cast(v2, dtype, backend), LABELS)
    wide = ((3 * v1).astype(dtype).astype(float), v2.astype(dtype).astype(float))
    assert np.dtype(loss.dtype.name if hasattr(loss.dtype, "name") else loss.dtype) == dtype
    assert value(loss) == pytest.approx(oracles.ranking_loss(*wide, LABELS), rel=tolerance)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-1, 1), min_size=6, max_size=6), st.floats(0, 2), st.integers(0, 99))
def test_equals_plain_loops(labels, margin, seed):
    v1, v2 = random_pairs(seed=seed)
    expected = oracles.ranking_loss(v1, v2, labels, margin)
    assert value(ranking_loss(v1, v2, labels, margin=margin)) == pytest.approx(expected, abs=1e-5)


def test_gradient_is_that_of_finite_differences():
    v1, v2 = (v.astype(np.float64) for v in random_pairs())
    gradient_of = jax.jit(jax.grad(lambda a, b: ranking_loss(a, b, LABELS), argnums=(0, 1)))
    found = gradient_of(v1.astype(np.float32), v2.astype(np.float32))
    for side, gradient in enumerate(found):
        expected = np.zeros_like(v1)
        for place in np.ndindex(*v1.shape):
            ends = []
            for shift in (1e-6, -1e-6):
                moved = [v1.copy(), v2.copy()]
                moved[side][place] += shift
                ends.append(oracles.ranking_loss(*moved, LABELS))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(gradient, expected, atol=2e-6)
        assert np.abs(gradient[:5]).max() > 0.01 and (gradient[5] == 0).all()


def test_gradient_is_tensorflows():
    from trax_triplet.compat import fastmath

    v1, v2 = random_pairs()
    with tf.GradientTape() as tape, fastmath.use_backend("tensorflow-numpy"):
        x = tf.constant(v1)
        tape.watch(x)
        loss = ranking_loss(x, v2, LABELS)
    expected = jax.grad(lambda a: ranking_loss(a, v2, LABELS))(v1)
    np.testing.assert_allclose(tape.gradient(loss, x), expected, atol=1e-6)


@pytest.mark.slow
def test_pairs_are_compared_across_devices():
    v1, v2 = random_pairs()

    def loss(v1, v2, labels):
        return ranking_loss(v1, v2, labels)

    whole, gradient = jax.value_and_grad(loss)(v1, v2, LABELS)
    shards = [part.reshape(2, 3, *part.shape[1:]) for part in (v1, v2, LABELS)]
    values, gradients = jax.vmap(jax.value_and_grad(loss), axis_name="batch")(*shards)
    assert float(np.mean(values)) == pytest.approx(float(whole), abs=1e-6)
    # Averaged over the devices, each of which has its own rows: half of what it found.
    np.testing.assert_allclose(gradients.reshape(v1.shape) / 2, gradient, atol=1e-6)


def test_what_stands_in_padding_does_not_count(backend):
    v1, v2 = random_pairs()
    v1[5] = np.nan
    assert value(ranking_loss(v1, v2, LABELS)) == pytest.approx(
        oracles.ranking_loss(v1[:5], v2[:5], LABELS[:5]), abs=1e-6
    )
    v1[0] = np.nan
    assert np.isnan(value(ranking_loss(v1, v2, LABELS)))


@pytest.mark.parametrize("labels", [[1] * 6, [0] * 6, [-1, 0] * 3, [-1] * 6])
def test_without_both_labels_there_is_nothing_to_rank(labels):
    v1, v2 = np.zeros((6, 5), np.float32), np.ones((6, 5), np.float32)
    found, gradient = jax.value_and_grad(lambda v: ranking_loss(v, v2, labels))(v1)
    assert float(found) == 0 and (gradient == 0).all()


def test_zero_vectors_have_finite_gradients():
    v = np.zeros((6, 5), np.float32)
    found, gradient = jax.value_and_grad(lambda v: ranking_loss(v, v, [1, 0] * 3))(v)
    assert float(found) == pytest.approx(0.4**2) and np.isfinite(gradient).all()


def test_layer():
    v1, v2 = random_pairs()
    layer = RankingLoss(margin=0.3)
    assert str(layer) == "RankingLoss_in3"
    assert value(layer((v1, v2, LABELS))) == pytest.approx(
        oracles.ranking_loss(v1, v2, LABELS, 0.3), abs=1e-6
    )
