"""The modified triplet loss without the batch x batch matrix, value and gradient; plain JAX.

The similarities are made a panel at a time, (chunk of others, block of anchors), small enough for
the cache, and each panel is reduced to the closest negatives of its anchors while it is there. All
else has a closed form. With n_i the number of negatives of anchor i, T_i their sum, k its closest
negative, and a, c the gradient of the loss where the hinge of the mean and of the closest negative
is active, else 0:

    mean_i = v1_i . T_i / n_i
    d v1_i = -(a_i + c_i) v2_i + a_i / n_i T_i + c_i v2_k
    d v2_j = -(a_j + c_j) v1_j + sum of a_i / n_i v1_i over the anchors i that j is a negative of
             + sum of c_i v1_i over the anchors i whose closest negative is j

So one matrix product is made, and no matrix is kept. `loss` says what the rules mean.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.loss.derivatives import Hinges, directions, losses_along
from trax_triplet.loss.negative_sums import Groups, sum_of_negatives
from trax_triplet.loss.panels import Closest, Rule, search
from trax_triplet.loss.rules import NO_NEGATIVE, real_pairs

__all__ = ["blockwise_losses"]

BLOCK = 128
CHUNK = 8192  # others in a panel: 8192 x 128 scores in float32 are 4 MB
CHUNK_BOTH = 1024  # here the positives must be known before, which costs one panel a block


def blockwise_losses(
    v1: Array,
    v2: Array,
    groups: tuple[Array, Array] | None = None,
    *,
    margin: float = 0.25,
    closest: str = "semi-hard",
    anchor: str = "first",
    block: int | None = None,
) -> jax.Array:
    """Loss of each pair without the matrix, as `triplet_loss` has it for reduction 'none'.

    The vectors are taken as they are, as with normalize=False. Among equally close negatives the
    gradient is shared evenly, as JAX's `max` does it.

    Args:
        v1: vectors (m, d), float32 or float64; half precision is computed in float32.
        v2: vectors (n, d) of the same dtype, row i the duplicate of row i of `v1`. With m < n the
            first m pairs are anchors, whose negatives come from all n: what one of several devices
            computes.
        groups: None, or two integer arrays (n,), ids of the first and of the second question of
            each pair, as in `triplet_loss`.
        margin, closest: as in `triplet_loss`.
        anchor: 'first': rows of `v1` are anchors; 'second': rows of `v2`; 'both': the mean of the
            two. The last two need m = n.
        block: anchors that are compared with the others at a time. None: 128.

    Returns:
        Array (m,) in the dtype of the inputs.

    Raises:
        TypeError: a block that is not an integer.
        ValueError: shapes that do not fit, a block that is not positive.

    Example:
        Collapse: all vectors are equal, so both hinges are the margin.

        >>> blockwise_losses(jnp.ones((3, 1)), jnp.ones((3, 1)), margin=0.25).tolist()
        [0.5, 0.5, 0.5]
    """
    if groups is not None and not any(isinstance(ids, jax.Array) for ids in groups):
        first, second = check.small_ids(*map(np.asarray, groups))  # JAX would cut them to int32
        groups = first, second
    v1, v2, groups = jax.tree_util.tree_map(
        jnp.asarray, (v1, v2, None if groups is None else tuple(groups))
    )
    _check(v1, v2, groups, anchor, block)
    dtype, wide = v1.dtype, jnp.promote_types(jnp.result_type(v1, v2), jnp.float32)
    v1, v2 = v1.astype(wide), v2.astype(wide)
    if not len(v1):
        return jnp.zeros((0,), dtype)
    sides = None
    if groups is not None:
        common = jnp.promote_types(groups[0].dtype, groups[1].dtype)
        ids1, ids2 = (ids.astype(common) for ids in groups)
        sides = Groups(ids1, ids2, real_pairs(groups))
    if anchor == "second":
        v1, v2, sides = v2, v1, sides and sides.swapped()
    both, m, n = anchor == "both", len(v1), len(v2)
    block = min(block or BLOCK, m)
    chunks = -(-n // (CHUNK_BOTH if both else CHUNK))
    rule = Rule(float(margin), closest, both, block, block * -(-n // (chunks * block)))
    losses = _losses(rule, v1, v2, sides)
    return jnp.asarray(sum(losses) / len(losses), dtype)


def _check(v1: Array, v2: Array, groups: Any, anchor: str, block: int | None) -> None:
    if v1.ndim != 2:
        raise check.wrong_value("v1", "vectors (m, d)", v1)
    if v2.ndim != 2 or v1.shape[1] != v2.shape[1] or len(v1) > len(v2):
        raise check.wrong_value("v2", f"vectors (n, {v1.shape[1]}), n >= {len(v1)}", v2)
    if anchor != "first" and len(v1) != len(v2):
        raise check.wrong_value("v2", f"as many rows as v1, {len(v1)}, for anchor={anchor!r}", v2)
    if block is not None:
        check.integer("block", block, 1)
    for ids in groups or ():
        if ids.shape != (len(v2),):
            raise check.wrong_value("groups", f"two arrays of shape ({len(v2)},)", ids)


# --- value and gradient ---------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _one_or_both(rule, anchors, others, groups) -> tuple[jax.Array, ...]:
    """Losses (m,) of the anchors, in a tuple; with rule.both also those of the others."""
    return _judge(rule, anchors, others, groups, want_index=False)[0]


@_one_or_both.defjvp
def _derivative(rule, primals, tangents):
    fixed = jax.tree_util.tree_map(lax.stop_gradient, primals)
    return _derivative_of_found(rule, (*primals, *_losses_and_hinges(rule, *fixed)), tangents)


_losses = jax.jit(_one_or_both, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _found(rule, anchors, others, groups, losses, hinges):
    """The losses that were found, for what is differentiated again."""
    return losses


@_found.defjvp
def _derivative_of_found(rule, primals, tangents):
    anchors, others, groups, _, hinges = primals
    along = losses_along(rule, (anchors, others), groups, hinges, tuple(tangents[:2]))
    return _found(rule, *primals), along


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _losses_and_hinges(rule, anchors, others, groups) -> tuple[tuple, tuple]:
    """What `_judge` says, in one piece, which JAX does not look into on its way to a gradient: it
    would move constants out of the loops."""
    return _judge(rule, anchors, others, groups, want_index=True)


@_losses_and_hinges.defjvp
def _never(rule, primals, tangents):
    raise AssertionError("the search for the closest negatives is not differentiated")


def _judge(rule, anchors, others, groups, want_index) -> tuple[tuple, tuple]:
    found = search(rule, anchors, others, groups, want_index)
    losses, hinges = [], []
    each_way = directions(rule, anchors, others, groups)
    for (v, w, ids), closest in zip(each_way, found, strict=True):
        total, count = sum_of_negatives(v, w, ids)
        mean = jnp.sum(v * total, axis=1) / jnp.maximum(count, 1)
        closest, value = _settle(rule, closest)
        lacks = [compared - closest.positive + rule.margin for compared in (mean, value)]
        # Not `lack > 0`: NaN must not pass for a lack of nothing. What is NaN makes the mean so.
        active = [jnp.logical_and(~(lack <= 0), count > 0) for lack in lacks]
        loss = sum(jnp.where(on, lack, 0) for on, lack in zip(active, lacks, strict=True))
        is_lost = ~jnp.isfinite(jnp.where(count > 0, lacks[0], closest.positive))
        if ids is not None:
            is_lost = jnp.logical_and(is_lost, ids.real[: len(v)])
        losses.append(jnp.where(is_lost, jnp.nan, loss))
        hinges.append(Hinges(closest, count, *active))
    return tuple(losses), tuple(hinges)


def _settle(rule: Rule, found: Closest) -> tuple[Closest, jax.Array]:
    """The closest negative where there may be none: -2 stands there, without a gradient."""
    if rule.closest != "shifted":
        return found, jnp.where(found.value > -jnp.inf, found.value, NO_NEGATIVE)
    # In the Keras assignment's row the places that are not negatives hold -2, and share in ties.
    value = jnp.where(found.value < NO_NEGATIVE, -jnp.inf, found.value)
    tied = jnp.logical_or(found.tied, value == NO_NEGATIVE)
    return found._replace(value=value, tied=tied), jnp.maximum(found.value, NO_NEGATIVE)
