"""The steps of the loss: the lecture's numbers, known duplicates, the hinge's corner, mistakes."""

import jax
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.compat import fastmath
from trax_triplet.loss.rules import CLOSEST
from trax_triplet.loss.steps import closest_negative, hinge, hinges, mean_negative, positives

MATRIX = [
    [0.9, -0.8, 0.3, -0.5],
    [-0.4, 0.5, 0.1, -0.1],
    [0.3, 0.1, -0.4, -0.8],
    [-0.5, -0.2, -0.7, 0.5],
]


def test_steps_of_the_lecture(backend):
    sim = np.array(MATRIX)
    np.testing.assert_allclose(positives(sim), [0.9, 0.5, -0.4, 0.5], rtol=1e-6)
    np.testing.assert_allclose(
        mean_negative(sim), [-1 / 3, -0.4 / 3, -0.4 / 3, -1.4 / 3], rtol=1e-6
    )
    np.testing.assert_allclose(closest_negative(sim), [0.3, 0.1, -0.8, -0.2], rtol=1e-6)
    l1, l2 = hinges(sim)
    full = np.asarray(l1) + np.asarray(l2)
    # Anchor 3: mean hinge -.4/3 + .4 + .25 = .516667, closest hinge max(-.8 + .4 + .25, 0) = 0
    np.testing.assert_allclose(full, [0, 0, -0.4 / 3 + 0.4 + 0.25, 0], atol=1e-6)
    assert round(float(full.sum()), 3) == 0.517
    # By the Trax assignment's rule its closest negative is .3: .516667 + (.3 + .4 + .25) = 1.466667
    l1, l2 = hinges(sim, closest="hardest")
    assert round(float(np.sum(np.asarray(l1) + np.asarray(l2))), 3) == 1.467


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CLOSEST), st.integers(1, 6), st.integers(0, 10**6), st.booleans())
def test_hinges_equal_plain_loops(closest, n, seed, with_groups):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-8, 9, (n, n)) / 8  # exact, with ties
    groups = tuple(rng.integers(-1, 3, (2, n))) if with_groups else None
    ids = groups or (None, None)
    with fastmath.use_backend("numpy"):
        total = sum(hinges(scores, margin=0.6, closest=closest, groups=groups))
    expected = [oracles.anchor_loss(scores, i, 0.6, closest, *ids) for i in range(n)]
    np.testing.assert_allclose(total, expected, atol=1e-12)


def test_no_negative_is_minus_two(backend):
    scores = np.array([[0.0, 0.5], [0.25, 1.0]])
    assert np.asarray(closest_negative(scores)).tolist() == [-2.0, 0.25]
    assert np.asarray(closest_negative(scores, closest="shifted")).tolist() == [-1.5, 0.25]


def test_rows_of_equal_ids_leave_mean_count_and_closest(backend):
    scores = np.array([[0.5, 0.9, 0.1], [0.2, 0.5, 0.4], [0.3, 0.4, 0.5]])
    groups = ([7, 7, 8], [7, 7, 8])
    # Anchor 1 keeps only .1 of (.9, .1); anchor 2 keeps .4 of (.2, .4); anchor 3 keeps both
    np.testing.assert_allclose(mean_negative(scores, groups=groups), [0.1, 0.4, 0.7 / 2], rtol=1e-6)
    np.testing.assert_allclose(
        closest_negative(scores, closest="hardest", groups=groups), [0.1, 0.4, 0.4], rtol=1e-6
    )
    # First question 1 is known to mean second question 2 (id 3), and not the other way round.
    scores = np.array([[0.5, 0.9], [0.2, 0.5]])
    np.testing.assert_allclose(
        mean_negative(scores, groups=([3, 4], [5, 3])), [0.0, 0.2], rtol=1e-6
    )


def test_hinge_is_zero_at_its_corner():
    value, slope = jax.value_and_grad(lambda n: hinge(np.float32([1.0]), n, margin=0.5).sum())(
        np.float32([0.5])
    )
    assert float(value) == 0.0
    assert slope.tolist() == [0.0]


@pytest.mark.parametrize("f", [positives, mean_negative, closest_negative, hinges])
def test_steps_need_a_square_matrix_of_floats(f):
    with pytest.raises(ValueError, match="scores must be a square matrix"):
        f(np.ones((2, 3)))
    with pytest.raises(TypeError, match="scores must be floating point"):
        f(np.ones((2, 2), int))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="negative must be"):
        hinge(np.ones(3), np.ones(1))
    with pytest.raises(ValueError, match=r"groups\[1\] must be"):
        mean_negative(np.eye(3), groups=([1, 2, 3], [1, 2]))
    with pytest.raises(TypeError, match=r"groups\[0\] must be"):
        mean_negative(np.eye(2), groups=([1.0, 2.0], [1, 2]))
