"""Derivatives of the loss without the matrix, forward and of higher order: those of the plain form,
and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vectors import random_pairs

from trax_triplet.loss import blockwise
from trax_triplet.loss.blockwise import blockwise_losses
from trax_triplet.loss.triplet import triplet_loss

N = 13


def both_forms(closest, anchor, grouped, block=5):
    """The losses (N,) as a function of both sides: without the matrix, and the plain form's."""
    rng = np.random.default_rng(3)
    groups = tuple(rng.integers(-1, 6, (2, N))) if grouped else None
    rule = {"margin": 0.6, "closest": closest, "anchor": anchor, "groups": groups}

    def plain(v1, v2):
        return triplet_loss(v1, v2, normalize=False, reduction="none", block=0, **rule)

    return lambda v1, v2: blockwise_losses(v1, v2, block=block, **rule), plain


def batch(ties):
    """Vectors, and a direction, in float64."""
    rng = np.random.default_rng(4)
    v1, v2 = random_pairs(N, 3, dtype=np.float64)
    if ties:  # scores that are exact whatever the order of the sums, many of them equal
        v1, v2 = rng.integers(-3, 4, (2, N, 3)) / 8.0
        v2[5], v2[6], v1[9] = v2[4], v2[4], v1[8]
    return (v1, v2), tuple(rng.normal(size=(2, N, 3)))


def assert_equal(got, expected):
    leaves = map(jax.tree_util.tree_leaves, (got, expected))
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def summed(losses):
    """A function of the losses of which no derivative is constant."""
    return lambda v1, v2: jnp.sum(losses(v1, v2) ** 2 * jnp.linspace(0.5, 1.5, N))


def second(losses, vectors, direction):
    """The gradient of the gradient along a direction."""

    def along(v1, v2):
        gradients = jax.grad(summed(losses), (0, 1))(v1, v2)
        return sum(jnp.sum(g * d) for g, d in zip(gradients, direction, strict=True))

    return jax.grad(along, (0, 1))(*vectors)


def vectorized(losses, vectors, direction):
    many = tuple(np.stack([v, v + 0.125]) for v in vectors)
    return jax.vmap(lambda *some: jax.jvp(losses, some, direction))(*many)


WAYS = {
    "jvp": lambda f, v, d: jax.jvp(f, v, d),
    "jvp of jit": lambda f, v, d: jax.jvp(jax.jit(f), v, d),
    "vmap of jvp": vectorized,
    "linearize": lambda f, v, d: jax.linearize(f, *v)[1](*d),
    "jacfwd": lambda f, v, d: jax.jacfwd(f, (0, 1))(*v),
    "jacrev": lambda f, v, d: jax.jacrev(f)(*v),
    "checkpoint": lambda f, v, d: jax.grad(jax.checkpoint(summed(f)), (0, 1))(*v),
    "hessian": lambda f, v, d: jax.hessian(summed(f), (0, 1))(*v),
    "grad of grad": second,
}
# Each way by another rule, as most take seconds to compile.
CASES = [
    ("jvp", "semi-hard", "first", True),
    ("jvp", "shifted", "both", True),
    ("jvp", "hardest", "second", False),
    ("jvp of jit", "shifted", "first", False),
    ("vmap of jvp", "hardest", "first", True),
    ("linearize", "semi-hard", "both", False),
    ("jacfwd", "shifted", "second", True),
    ("jacrev", "semi-hard", "second", True),
    ("checkpoint", "hardest", "both", True),
    ("hessian", "hardest", "both", False),
    ("hessian", "semi-hard", "first", True),
    ("grad of grad", "shifted", "first", True),
]


@pytest.mark.filterwarnings("ignore:the rows of:UserWarning")  # their lengths: on purpose here
@pytest.mark.slow
@pytest.mark.parametrize("way, closest, anchor, grouped", CASES)
def test_every_derivative_is_that_of_the_plain_form(x64, way, closest, anchor, grouped):
    losses, plain = both_forms(closest, anchor, grouped)
    losses = jax.jit(losses)  # compiled once for both batches
    for ties in (False, True):
        vectors, direction = batch(ties)
        expected = WAYS[way](plain, vectors, direction)
        assert_equal(WAYS[way](losses, vectors, direction), expected)


def test_forward_mode_is_the_slope(x64):
    losses, _ = both_forms("semi-hard", "first", grouped=True)
    losses = jax.jit(losses)
    (v1, v2), (d1, d2) = batch(ties=False)
    step = 1e-6
    ahead, behind = (losses(v1 + s * d1, v2 + s * d2) for s in (step, -step))
    _, along = jax.jvp(losses, (v1, v2), (d1, d2))
    assert np.abs(along).max() > 0.1
    np.testing.assert_allclose(along, (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.slow
def test_several_chunks_and_fewer_anchors_than_pairs(x64, monkeypatch):
    monkeypatch.setattr(blockwise, "CHUNK", 8)
    _, plain = both_forms("semi-hard", "first", grouped=False)
    (v1, v2), (d1, d2) = batch(ties=True)
    some = jax.jvp(lambda *v: blockwise_losses(*v, margin=0.6, block=4), (v1[:6], v2), (d1[:6], d2))
    expected = jax.jvp(plain, (v1, v2), (d1, d2))
    assert_equal(some, [x[:6] for x in expected])


@pytest.mark.slow
def test_nan_reaches_only_what_is_compared_with_it():
    v1, v2 = random_pairs(8)
    ids = np.array([1, 1, 1, 1, 2, 3, 1, 1])
    v2[0] = np.nan  # a negative of pairs 4 and 5 only
    losses = jax.jit(lambda v1, v2: blockwise_losses(v1, v2, (ids, ids), margin=2.0, block=3))
    _, along = jax.jvp(losses, (v1, v2), (v2, v1))
    assert np.isnan(along).tolist() == [True, False, False, False, True, True, False, False]


@pytest.mark.slow
def test_large_batches_have_forward_mode():
    v1, v2 = random_pairs(600, 3)
    losses = [lambda v, b=block: triplet_loss(v, v2, margin=0.6, block=b) for block in (None, 0)]
    along, expected = (jax.jvp(jax.jit(loss), (v1,), (v2,))[1] for loss in losses)
    np.testing.assert_allclose(along, expected, rtol=1e-4)
