"""The teacher's loss: the oracle on three backends, gradients, devices, who takes no part."""

import jax
import ml_dtypes
import numpy as np
import oracles
import pytest
import tensorflow as tf
from backends import cast
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.loss.teacher import teacher_loss


def value(loss):
    return float(loss.numpy() if isinstance(loss, tf.Tensor) else np.asarray(loss, float))


def rows(n=6, d=5, width=7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)).astype("f"), random.normal(size=(n, width)).astype("f")


def test_three_questions(backend):
    # Similarities 0.6, 0 and 0.8; by the teacher 1, 0 and 0.
    v = np.array([[2.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    teacher = np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    expected = 2 * (0.4**2 + 0 + 0.8**2) / 6
    assert value(teacher_loss(v, teacher)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    "dtype, tolerance", [("float16", 2e-3), (ml_dtypes.bfloat16, 2e-2), ("float32", 1e-6)]
)
def test_dtypes_against_the_oracle(backend, dtype, tolerance):
    v, teacher = rows()
    loss = teacher_loss(cast(3 * v, dtype, backend), cast(teacher, dtype, backend))
    wide = (3 * v).astype(dtype).astype(float), teacher.astype(dtype).astype(float)
    assert np.dtype(loss.dtype.name if hasattr(loss.dtype, "name") else loss.dtype) == dtype
    assert value(loss) == pytest.approx(oracles.teacher_loss(*wide), rel=tolerance)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 99))
def test_equals_plain_loops(takes_part, seed):
    v, teacher = rows(seed=seed)
    teacher[~np.array(takes_part)] = 0
    found = value(teacher_loss(v, teacher))
    assert found == pytest.approx(oracles.teacher_loss(v, teacher), abs=1e-5)


def test_gradient_is_that_of_finite_differences():
    v, teacher = rows()
    teacher[2] = 0
    found = jax.grad(teacher_loss)(v, teacher)
    expected, wide = np.zeros(v.shape), v.astype(float)
    for place in np.ndindex(*v.shape):
        ends = []
        for shift in (1e-6, -1e-6):
            moved = wide.copy()
            moved[place] += shift
            ends.append(oracles.teacher_loss(moved, teacher))
        expected[place] = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(found).max() > 0.01 and (found[2] == 0).all()


def test_gradient_is_tensorflows():
    from trax_triplet.compat import fastmath

    v, teacher = rows()
    with tf.GradientTape() as tape, fastmath.use_backend("tensorflow-numpy"):
        x = tf.constant(v)
        tape.watch(x)
        loss = teacher_loss(x, teacher)
    expected = jax.grad(teacher_loss)(v, teacher)
    np.testing.assert_allclose(tape.gradient(loss, x), expected, atol=1e-6)


@pytest.mark.slow  # compiles for several devices
def test_questions_are_compared_across_devices():
    v, teacher = rows()
    teacher[1] = 0  # so that the devices have different numbers of questions
    whole, gradient = jax.value_and_grad(teacher_loss)(v, teacher)
    shards = [part.reshape(2, 3, -1) for part in (v, teacher)]
    values, gradients = jax.vmap(jax.value_and_grad(teacher_loss), axis_name="batch")(*shards)
    assert float(np.mean(values)) == pytest.approx(float(whole), abs=1e-6)
    np.testing.assert_allclose(gradients.reshape(v.shape) / 2, gradient, atol=1e-6)


def test_what_takes_no_part_reaches_nothing(backend):
    v, teacher = rows()
    v[5], teacher[5] = np.nan, 0
    expected = oracles.teacher_loss(v[:5], teacher[:5])
    assert value(teacher_loss(v, teacher)) == pytest.approx(expected, abs=1e-6)
    v[0] = np.nan
    assert np.isnan(value(teacher_loss(v, teacher)))


def test_one_question_has_nothing_to_be_compared_with():
    v, teacher = rows()
    teacher[1:] = 0
    found, gradient = jax.value_and_grad(teacher_loss)(v, teacher)
    assert float(found) == 0 and (gradient == 0).all()


def test_zero_and_equal_vectors_have_finite_gradients():
    v, teacher = np.zeros((6, 5), np.float32), np.eye(6, dtype=np.float32)
    v[1:] = 1
    found, gradient = jax.value_and_grad(teacher_loss)(v, teacher)
    assert float(found) == pytest.approx(5 * 4 / (6 * 5)) and np.isfinite(gradient).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_question_alone_that_is_not_finite_stays_visible(backend, bad):
    v, teacher = rows(n=1)
    assert value(teacher_loss(v, teacher)) == 0
    assert np.isnan(value(teacher_loss(v * bad, teacher)))
    assert np.isnan(value(teacher_loss(v, teacher * bad)))
    assert value(teacher_loss(v * bad, teacher * 0)) == 0  # takes no part
