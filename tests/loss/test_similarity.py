"""Unit vectors and cosine similarity, on every backend."""

import math

import jax
import ml_dtypes
import numpy as np
import oracles
import pytest
from backends import cast
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vectors import V1, V2

from trax_triplet.loss.similarity import cosine_similarity, l2_normalize, similarity_matrix

LAB = [
    [0.92318164, 0.82121858, -0.58311118, -0.03325245],
    [0.65914413, 0.9928074, -0.23792202, 0.00197919],
    [-0.83132527, -0.83786699, 0.64725552, 0.46059109],
    [-0.35023115, -0.35060605, 0.55463501, 0.93643015],
]


def test_two_vectors_of_the_lecture(backend):
    # (1 + 4 + 10.5) / (sqrt(14) sqrt(17.25)), then the same vector, its opposite, and [0, -42, 1]
    expected = {
        (1, 2, 3.5): 15.5 / math.sqrt(14 * 17.25),
        (1, 2, 3): 1.0,
        (-1, -2, -3): -1.0,
        (0, -42, 1): (-84 + 3) / math.sqrt(14 * 1765),
    }
    for v2, value in expected.items():
        assert float(cosine_similarity([1, 2, 3], list(v2))) == pytest.approx(value, abs=1e-6)


def test_two_batches_of_the_lecture_by_both_methods(backend):
    matrix = np.asarray(similarity_matrix(np.array(V1, float), np.array(V2)))
    loops = [[float(cosine_similarity(np.array(a, float), np.array(b))) for b in V2] for a in V1]
    digits = 8 if backend != "jax" else 6
    np.testing.assert_array_almost_equal(matrix, LAB, digits)
    np.testing.assert_array_almost_equal(loops, LAB, digits)


def test_rows_are_normalised_each_on_its_own(backend):
    unit = np.asarray(l2_normalize(np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float32"])
def test_results_have_the_dtype_of_the_input(backend, dtype):
    v = cast(np.array([[3.0, 4.0], [0.0, 2.0]]), dtype, backend)
    for result in (l2_normalize(v), similarity_matrix(v, v), cosine_similarity(v, v)):
        assert np.asarray(result).dtype.name == np.dtype(dtype).name


def test_float64_stays_float64_where_the_backend_has_it(backend):
    result = np.asarray(similarity_matrix(np.eye(2), np.eye(2)))
    assert result.dtype == (np.float32 if backend == "jax" else np.float64)


def test_half_precision_is_computed_in_float32(backend):
    # 300 entries of 200: the sum of squares, 12 000 000, is far above the largest float16, 65 504.
    v = np.full((1, 300), 200, np.float16)
    assert float(np.asarray(cosine_similarity(v, v))[0]) == 1.0


def test_mixed_dtypes_give_the_wider_one(backend):
    result = similarity_matrix(np.eye(2, dtype=np.float16), np.eye(2, dtype=np.float32))
    assert np.asarray(result).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(result), np.eye(2))


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e12, 1e30])
def test_length_does_not_matter(scale):
    unit = np.asarray(l2_normalize(np.array([[3 * scale, 4 * scale]], np.float32)))
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)


def test_gradients_are_finite():
    weights = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    gradient = jax.jit(jax.grad(lambda v: (l2_normalize(v) * weights).sum()))
    for x in (0, 1e-38, 1, 1e30):
        assert np.isfinite(gradient(np.full((2, 3), x, np.float32))).all()
    assert not np.asarray(gradient(np.zeros((2, 3), np.float32))).any()


def test_gradient_of_normalize_is_the_projection():
    # d/dx (x . u / |x|) = (u - (u . y) y) / |x| with y = x / |x|; x = (3, 4), u = (1, 0): (0.64,
    # -0.48) / 5
    gradient = jax.jit(jax.grad(lambda v: l2_normalize(v)[0]))(np.array([3.0, 4.0], np.float32))
    np.testing.assert_allclose(gradient, [0.64 / 5, -0.48 / 5], rtol=1e-5)


numbers = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@settings(deadline=None, max_examples=15)
@given(
    hnp.arrays(np.float32, (3, 4), elements=numbers),
    hnp.arrays(np.float32, (3, 4), elements=numbers),
)
def test_equals_plain_loops(a, b):
    np.testing.assert_allclose(
        np.asarray(similarity_matrix(a, b)), oracles.scores_of(a, b), atol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(similarity_matrix(a, b, normalize=False)),
        oracles.scores_of(a, b, normalize=False),
        atol=1e-1,
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    "f, arguments, error, words",
    [
        (cosine_similarity, (np.ones(2, int), np.ones(2)), TypeError, "a must .*np.asarray"),
        (cosine_similarity, (np.ones(2), np.ones(3)), ValueError, "b must .*similarity_matrix"),
        (similarity_matrix, (np.ones((2, 3)), np.ones((2, 4))), ValueError, "v2 must"),
        (similarity_matrix, (np.ones(3), np.ones((2, 3))), ValueError, "v1 must"),
        (l2_normalize, (np.float32(3),), ValueError, "x must"),
    ],
)
def test_what_does_not_fit_is_refused(f, arguments, error, words):
    with pytest.raises(error, match=words):
        f(*arguments)
