"""The loss without the matrix: against the plain form and plain loops, ties, equal rows, blocks of any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from trax_triplet import loss, steps
from trax_triplet.blockwise import blockwise_losses

RULES = [(closest, anchor) for closest in steps.CLOSEST for anchor in loss.ANCHORS]


@pytest.fixture
def x64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def vectors(n, d=5, seed=0, dtype=np.float32, noise=0.7):
    """Unit vectors of n pairs."""
    rng = np.random.default_rng(seed)
    v1 = rng.normal(size=(n, d))
    v2 = v1 + noise * rng.normal(size=(n, d))
    return tuple((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(dtype) for v in (v1, v2))


def eighths(n, d=4, seed=0):
    """Vectors whose scores are exact in float32 whatever the order of the sums, with many equal ones."""
    rng = np.random.default_rng(seed)
    return tuple((rng.integers(-3, 4, (n, d)) / 8).astype(np.float32) for _ in range(2))


@functools.lru_cache(maxsize=None)
def compiled(block, closest, anchor, margin, grouped):
    """Losses, and both gradients of a weighted sum of them, so that no two pairs weigh the same. Block 0: plain."""
    def weighted(v1, v2, groups):
        rule = {"closest": closest, "anchor": anchor, "margin": margin, "groups": groups}
        losses = blockwise_losses(v1, v2, block=block, **rule) if block != 0 else (
            loss.triplet_loss(v1, v2, normalize=False, reduction="none", block=0, **rule))
        return jnp.sum(losses * jnp.linspace(0.5, 1.5, len(losses), dtype=losses.dtype)), losses

    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))


def assert_as_plain(v1, v2, block=None, groups=None, *, closest, anchor, margin=0.6, tolerance=1e-6):
    got, expected = (compiled(b, closest, anchor, margin, groups is not None)(v1, v2, groups) for b in (block, 0))
    for a, b in zip((got[0][1], *got[1]), (expected[0][1], *expected[1])):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


# Each rule with and without groups, each with another size of the block; 37 is the batch.
CASES = [(closest, anchor, (1, 7, 37, None, 20)[(k + grouped) % 5], grouped)
         for k, (closest, anchor) in enumerate(RULES) for grouped in (False, True)]


@pytest.mark.parametrize("closest, anchor, block, grouped", CASES)
def test_equals_the_plain_form_on_ties_too(closest, anchor, block, grouped):
    rng = np.random.default_rng(1)
    groups = (rng.integers(-1, 12, 37), rng.integers(-1, 12, 37)) if grouped else None
    assert_as_plain(*vectors(37, 4), block, groups, closest=closest, anchor=anchor)
    v1, v2 = eighths(37)
    v2[5], v2[6], v1[9] = v2[4], v2[4], v1[8]
    assert_as_plain(v1, v2, block, groups, closest=closest, anchor=anchor)
    assert_as_plain(v1[[0] * 37], v2[[0] * 37], block, groups, closest=closest, anchor=anchor)  # collapse
    assert_as_plain(np.zeros_like(v1), v2, block, groups, closest=closest, anchor=anchor)
