"""The loss without the matrix: against the plain form and plain loops, ties, equal rows, blocks of
any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from vectors import random_pairs

from trax_triplet.loss import blockwise
from trax_triplet.loss import triplet as loss
from trax_triplet.loss.blockwise import blockwise_losses
from trax_triplet.loss.rules import CLOSEST
from trax_triplet.loss.triplet import triplet_loss


def eighths(n, d=4, seed=0):
    """Vectors whose scores are exact in float32 whatever the order of the sums, with many equal
    ones."""
    rng = np.random.default_rng(seed)
    return tuple((rng.integers(-3, 4, (n, d)) / 8).astype(np.float32) for _ in range(2))


@functools.cache
def compiled(block, closest, anchor, margin, grouped):
    """Losses, and both gradients of a weighted sum of them, so that no two pairs weigh the same.
    Block 0: the plain form."""

    def weighted(v1, v2, groups):
        rule = {"closest": closest, "anchor": anchor, "margin": margin, "groups": groups}
        if block == 0:
            losses = triplet_loss(v1, v2, normalize=False, reduction="none", block=0, **rule)
        else:
            losses = blockwise_losses(v1, v2, block=block, **rule)
        return jnp.sum(losses * jnp.linspace(0.5, 1.5, len(losses), dtype=losses.dtype)), losses

    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))


def assert_as_plain(
    v1, v2, block=None, groups=None, *, closest, anchor, margin=0.6, tolerance=1e-6
):
    got, expected = (
        compiled(b, closest, anchor, margin, groups is not None)(v1, v2, groups) for b in (block, 0)
    )
    for a, b in zip((got[0][1], *got[1]), (expected[0][1], *expected[1])):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


# Each with another size of the block; 37 is the batch. The other rules take long to compile.
CASES = [
    ("semi-hard", "both", 7, True),
    ("shifted", "first", None, True),
    ("hardest", "second", 20, False),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("semi-hard", "first", 1, True),
            ("semi-hard", "second", 37, False),
            ("shifted", "second", 1, False),
            ("shifted", "both", 20, False),
            ("hardest", "first", 7, True),
            ("hardest", "both", 37, False),
        )
    ),
]


@pytest.mark.filterwarnings("ignore:the rows of:UserWarning")  # their lengths: on purpose here
@pytest.mark.parametrize("closest, anchor, block, grouped", CASES)
def test_equals_the_plain_form_on_ties_too(closest, anchor, block, grouped):
    rng = np.random.default_rng(1)
    groups = (rng.integers(-1, 12, 37), rng.integers(-1, 12, 37)) if grouped else None
    assert_as_plain(*random_pairs(37, 4), block, groups, closest=closest, anchor=anchor)
    v1, v2 = eighths(37)
    v2[5], v2[6], v1[9] = v2[4], v2[4], v1[8]
    assert_as_plain(v1, v2, block, groups, closest=closest, anchor=anchor)
    assert_as_plain(
        v1[[0] * 37], v2[[0] * 37], block, groups, closest=closest, anchor=anchor
    )  # collapse
    assert_as_plain(np.zeros_like(v1), v2, block, groups, closest=closest, anchor=anchor)


@pytest.mark.parametrize("closest", CLOSEST)
def test_several_chunks_equal_plain_loops(monkeypatch, closest):
    monkeypatch.setattr(blockwise, "CHUNK", 16)
    v1, v2 = random_pairs(37, 4, seed=2)
    v1[3], v2[3], v1[20], v2[20] = v1[4], v2[4], v1[4], v2[4]  # equal pairs in several chunks
    losses = blockwise_losses(v1, v2, margin=0.6, closest=closest, block=8)
    expected = oracles.triplet_loss(v1, v2, 0.6, closest, reduction="none", normalize=False)
    alone = np.setdiff1d(
        np.arange(37), [3, 4, 20]
    )  # there the oracle's negatives equal the positive up to rounding
    np.testing.assert_allclose(np.asarray(losses)[alone], np.array(expected)[alone], atol=1e-5)


def test_a_negative_equal_to_the_positive_is_not_above_it():
    v1, v2 = (np.repeat(v, 37, axis=0) for v in random_pairs(1, 50, seed=4))
    for block in (1, 7, 37):
        losses = blockwise_losses(v1, v2, margin=0.25, block=block)
        np.testing.assert_allclose(losses, np.full(37, 0.25 + 0.25), atol=1e-6)


def test_what_is_shifted_to_minus_2_shares_with_the_place_of_the_positive():
    v1, v2 = np.zeros((2, 37, 4), np.float32)
    v1[3], v2[3], v2[5] = [1, 0, 0, 0], [-2, 0, 0, 0], [0, 1, 0, 0]
    groups = (np.arange(37),) * 2
    (_, losses), (d_v1, _) = compiled(None, "shifted", "first", 0.6, True)(v1, v2, groups)
    # The 36 negatives have the score 0, above the positive, -2, whose own place counts as -2, too.
    assert losses[3] == pytest.approx((0 + 2 + 0.6) + (-2 + 2 + 0.6))
    weight = 0.5 + 3 / 36  # of the pair, in the sum
    expected = [weight * (2 + 2), weight * (1 / 36 + 1 / 37), 0, 0]
    np.testing.assert_allclose(d_v1[3], expected, rtol=1e-5)


def test_nearly_all_of_one_id_leave_no_rounding_errors():
    v1, v2 = random_pairs(600, 4)
    v1[:], v2[:] = v1[0] + 1e-3 * v1, v2[0] + 1e-3 * v2
    ids = np.zeros(600, np.int32)
    ids[7] = 1  # the one negative of all others
    mean = np.asarray(blockwise_losses(v1, v2, (ids, ids), margin=2.5, closest="hardest"))
    negative = (v1.astype(float) @ v2[7].astype(float)) - (v1.astype(float) * v2.astype(float)).sum(
        axis=1
    )
    np.testing.assert_allclose(np.delete(mean, 7), np.delete(2 * (negative + 2.5), 7), atol=2e-6)


def test_other_precisions(x64):
    v1, v2 = random_pairs(12, 6, dtype=np.float64)
    f = functools.partial(blockwise_losses, margin=0.6, block=5)
    np.testing.assert_allclose(
        f(v1, v2), oracles.triplet_loss(v1, v2, 0.6, reduction="none"), atol=1e-13
    )
    half = f(v1.astype(np.float16), v2.astype(np.float16))
    assert half.dtype == np.float16
    expected = oracles.triplet_loss(
        v1.astype(np.float16), v2.astype(np.float16), 0.6, reduction="none", normalize=False
    )
    np.testing.assert_allclose(half, expected, atol=2e-3)


def test_one_pair_and_none():
    assert blockwise_losses(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32)).tolist() == [
        0.0
    ]
    assert blockwise_losses(np.ones((0, 3), np.float32), np.ones((0, 3), np.float32)).shape == (0,)
    gradient = jax.grad(lambda v: blockwise_losses(v, -v).sum())(np.ones((1, 3), np.float32))
    assert not np.asarray(gradient).any()


@pytest.mark.slow
def test_large_batches_are_computed_without_the_matrix(monkeypatch):
    v1, v2 = random_pairs(40)
    used = []
    monkeypatch.setattr(loss, "BLOCKWISE_FROM", 30)
    monkeypatch.setattr(
        loss,
        "blockwise_losses",
        lambda *a, **k: used.append(k["block"]) or blockwise_losses(*a, **k),
    )
    values = [float(triplet_loss(v1, v2, margin=0.6, block=block)) for block in (None, 0, 16)]
    small = [float(triplet_loss(v1[:20], v2[:20], margin=0.6, block=block)) for block in (None, 16)]
    layer = loss.TripletLoss(0.6, block=16)
    assert used == [None, 16, 16]
    np.testing.assert_allclose([*values, float(layer((v1, v2)))], values[1], atol=1e-6)
    assert small[0] == pytest.approx(small[1], abs=1e-6)


@pytest.mark.parametrize(
    "shapes, settings, name",
    [
        (((3, 2), (2, 2)), {}, "v2"),
        (((2, 2), (3, 3)), {}, "v2"),
        (((2, 2), (3, 2)), {"anchor": "both"}, "v2"),
        (((2, 2), (2, 2)), {"block": 0}, "block"),
        (((2, 2), (2, 2)), {"groups": (np.zeros(3, int),) * 2}, "groups"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, settings, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        blockwise_losses(*map(np.zeros, shapes), **settings)


@pytest.mark.parametrize("block", [0, 4])
def test_groups_pass_jax_strict_promotion(block):
    v1, v2 = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    ids = np.arange(8) // 2
    expected = triplet_loss(v1, v2, groups=(ids, ids), block=block)
    with jax.numpy_dtype_promotion("strict"):
        assert triplet_loss(v1, v2, groups=(ids, ids), block=block) == expected
