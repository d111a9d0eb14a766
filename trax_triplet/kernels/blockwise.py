"""The modified triplet loss without the batch x batch matrix, value and gradient; JAX alone, no
Trax.

The similarities are made a panel at a time, (chunk of others, block of anchors), and each panel is
reduced to the closest negative of its anchors while it is in the cache. All else has a closed form.
With p the positive of anchor i, n_i its number of negatives, T_i their sum, k its closest negative,
and a, c the gradient of the loss where the hinge of the mean and of the closest negative is active,
else 0:

    mean_i = v1_i . T_i / n_i
    d v1_i = -(a_i + c_i) v2_i + a_i / n_i T_i + c_i v2_k
    d v2_j = -(a_j + c_j) v1_j + sum of a_i / n_i v1_i over the anchors i that j is a negative of
             + sum of c_i v1_i over the anchors i whose closest negative is j

So one matrix product is made, and no matrix is kept. `loss` says what the rules mean.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from trax_triplet.kernels.panels import (
    BLOCK,
    NO_NEGATIVE,
    integer_ids,
    make_rule,
    search,
    share_ties,
)


def blockwise_losses(
    v1, v2, groups=None, *, margin=0.25, closest="semi-hard", anchor="first", block=None
):
    """Loss of each pair, as `triplet_loss(v1, v2, reduction="none", normalize=False)` has it,
    without the matrix.

    Among equally close negatives the gradient is shared evenly, as JAX's `max` does it. It can be
    differentiated once, in reverse mode.

    Args:
        v1: vectors (m, d), float32 or float64; half precision is computed in float32.
        v2: vectors (n, d) of the same dtype, row i the duplicate of row i of `v1`. With m < n the
            first m pairs are anchors, whose negatives come from all n: what one of several devices
            computes.
        groups: None, or two integer arrays (n,), ids of the first and of the second question of
            each pair, as in `triplet_loss`.
        margin, closest: as in `triplet_loss`.
        anchor: 'first': rows of `v1` are anchors; 'second': rows of `v2`; 'both': the mean of the
            two. The last two want m = n.
        block: anchors that are compared with the others at a time. None: 128.

    Returns:
        Array (m,) in the dtype of the inputs.

    Raises:
        ValueError: shapes that do not fit, a block that is no positive integer.
        NotImplementedError: when the gradient is differentiated again.

    Example:
        Collapse: all vectors are equal, so both hinges are the margin.

        >>> blockwise_losses(jnp.ones((3, 1)), jnp.ones((3, 1)), margin=0.25).tolist()
        [0.5, 0.5, 0.5]
    """
    v1, v2, groups = jax.tree_util.tree_map(
        jnp.asarray, (v1, v2, None if groups is None else tuple(groups))
    )
    if v1.ndim != 2 or v2.ndim != 2 or v1.shape[1] != v2.shape[1] or len(v1) > len(v2):
        raise ValueError(
            f"v1 must be (m, d) and v2 (n, d) with m <= n, but they are {v1.shape} and {v2.shape}"
        )
    if anchor != "first" and len(v1) != len(v2):
        raise ValueError(
            f"anchor={anchor!r} needs as many rows of v1 as of v2, but they are {len(v1)} and {len(v2)}"
        )
    if block is not None and (isinstance(block, bool) or not isinstance(block, int) or block < 1):
        raise ValueError(
            f"block must be a positive integer, or None for {BLOCK}, but it is {block!r}"
        )
    if groups is not None and any(g.shape != (len(v2),) for g in groups):
        raise ValueError(
            f"groups must be two arrays ({len(v2)},), but they are {groups[0].shape}, {groups[1].shape}"
        )
    dtype, wide = v1.dtype, jnp.promote_types(jnp.result_type(v1, v2), jnp.float32)
    v1, v2 = v1.astype(wide), v2.astype(wide)
    if not len(v1):
        return jnp.zeros((0,), dtype)
    if anchor == "second":
        v1, v2, groups = v2, v1, None if groups is None else groups[::-1]
    rule = make_rule(len(v1), len(v2), margin, closest, anchor == "both", block)
    losses = _losses(rule, v1, v2, groups)
    return (sum(losses) / len(losses)).astype(dtype)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _losses(rule, anchors, others, groups):
    """Losses (m,) of the anchors, in a tuple; with rule.both also those of the others."""
    return _forward(rule, anchors, others, groups, want_index=False)[0]


def _forward(rule, anchors, others, groups, want_index=True):
    found = search(rule, anchors, others, groups, want_index)
    losses, hinges = [], []
    for (v, w, ids), closest in zip(_directions(rule, anchors, others, groups), found):
        total, count = _negatives(v, w, ids)
        mean = jnp.sum(v * total, axis=1) / jnp.maximum(count, 1)
        closest, value = _settle(rule, closest)
        behind = [compared - closest.positive + rule.margin for compared in (mean, value)]
        active = [jnp.logical_and(b > 0, count > 0) for b in behind]
        losses.append(sum(jnp.where(on, b, 0) for on, b in zip(active, behind)))
        hinges.append((closest, count, *active))
    return tuple(losses), (anchors, others, groups, tuple(hinges))


def _settle(rule, found):
    """The closest negative where there may be none: -2 stands there, without a gradient."""
    if rule.closest != "shifted":
        return found, jnp.where(found.value > -jnp.inf, found.value, NO_NEGATIVE)
    # In the Keras assignment's row the places that are no negatives hold -2, and share in ties.
    value = jnp.where(found.value < NO_NEGATIVE, -jnp.inf, found.value)
    tied = jnp.logical_or(found.tied, value == NO_NEGATIVE)
    return found._replace(value=value, tied=tied), jnp.maximum(found.value, NO_NEGATIVE)


def _backward(rule, kept, cotangents):
    anchors, others, groups, hinges = kept
    floats = _gradients(rule, (anchors, others), groups, hinges, cotangents)
    return *floats, None if groups is None else tuple(
        jnp.zeros(g.shape, jax.dtypes.float0) for g in groups
    )


_losses.__wrapped__.defvjp(_forward, _backward)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(rule, vectors, groups, hinges, cotangents):
    total = [jnp.zeros_like(v) for v in vectors]
    for k, ((v, w, ids), hinge, g) in enumerate(
        zip(_directions(rule, *vectors, groups), hinges, cotangents)
    ):
        dv, dw = _gradient(rule, v, w, ids, hinge, g)
        total = [t + d for t, d in zip(total, (dw, dv) if k else (dv, dw))]
    return tuple(total)


@_gradients.defjvp
def _no_second_derivative(rule, primals, tangents):
    raise NotImplementedError(
        "the blockwise triplet loss can be differentiated once only; for second derivatives ask for the plain form, "
        "triplet_loss(..., block=0)"
    )


def _gradient(rule, v, w, groups, hinge, g):
    """Gradients of sum(g * losses) by anchors v and others w."""
    closest, count, mean_active, closest_active = hinge
    m = len(v)
    by_mean = jnp.where(mean_active, g, 0)
    by_closest = jnp.where(closest_active, g, 0)
    exists = closest.value > -jnp.inf
    alone = jnp.where(jnp.logical_and(exists, jnp.logical_not(closest.tied)), by_closest, 0)[
        :, None
    ]
    each = (by_mean / jnp.maximum(count, 1))[:, None]
    own = (by_mean + by_closest)[:, None]
    total, _ = _negatives(v, w, groups)
    dv = each * total + alone * w[closest.index] - own * w[:m]
    dw = _spread(each * v, w, groups).at[:m].add(-own * v)
    dw = dw.at[closest.index].add(alone * v)
    shared = jnp.where(jnp.logical_and(exists, closest.tied), by_closest, 0)
    constants = (
        jnp.where(closest.value == NO_NEGATIVE, len(w) - count, 0)
        if rule.closest == "shifted"
        else (jnp.zeros_like(count))
    )
    return share_ties(rule, v, w, groups, closest, shared, constants, dv, dw)


def _directions(rule, anchors, others, groups):
    """(anchors, others, ids) once, or with rule.both also the other way round."""
    yield anchors, others, groups
    if rule.both:
        yield others, anchors, None if groups is None else groups[::-1]


# --- sums over the negatives
# ------------------------------------------------------------------------------


def _negatives(v, w, groups):
    """For each anchor the sum (m, d) and the number (m,) of its negatives among w."""
    m, n = len(v), len(w)
    if groups is None:
        return _total(w) - w[:m], jnp.full((m,), n - 1, v.dtype)
    ids, other_ids, present = integer_ids(groups)
    total, count = _sum_of_others(jnp.where(present[:, None], w, 0), present, other_ids, ids[:m])
    apart = jnp.logical_and(present, ids != other_ids)[:m]
    total = total - jnp.where(apart[:, None], w[:m], 0)
    return total, jnp.where(present[:m], count - apart, 0).astype(v.dtype)


def _spread(weighted, w, groups):
    """For each other the sum (n, d) of `weighted` (m, d) over the anchors that it is a negative
    of."""
    m = len(weighted)
    if groups is None:
        return jnp.broadcast_to(_total(weighted), w.shape).at[:m].add(-weighted)
    ids, other_ids, present = integer_ids(groups)
    total, _ = _sum_of_others(
        weighted, present[:m], ids[:m], other_ids
    )  # padding anchors weigh nothing
    apart = (ids != other_ids)[:m]
    return jnp.where(present[:, None], total.at[:m].add(-jnp.where(apart[:, None], weighted, 0)), 0)


def _total(rows):
    """Sum of the rows, in two steps: one long sum of equal numbers in float32 drifts."""
    n, d = rows.shape
    length = max(1, math.isqrt(n))
    whole = n - n % length
    parts = rows[:whole].reshape(-1, length, d).sum(axis=1)
    return parts.sum(axis=0) + rows[whole:].sum(axis=0)


def _sum_of_others(rows, counted, ids, wanted):
    """For each of `wanted` the sum of the rows of other ids, and how many of them are counted.

    Sorted by their ids the rows of one id stand together, so the others are those before and those
    behind: two running sums. (All minus those of the id would be left with rounding errors where
    nearly all are of one id.)
    """
    order = jnp.argsort(ids)
    rows, counted, ids = rows[order], counted[order].astype(jnp.int32), ids[order]
    first, behind = (jnp.searchsorted(ids, wanted, side=side) for side in ("left", "right"))

    before, after = _running_sum(rows), _running_sum(rows[::-1])[::-1]
    count = jnp.pad(jnp.cumsum(counted), (1, 0))
    return before[first] + after[behind], count[first] + count[-1] - count[behind]


def _running_sum(rows):
    """Sums (n + 1, d) of the first 0, 1, ... n rows, in two steps as `_total`; XLA's own cumsum is
    slow on a CPU."""
    n, d = rows.shape
    length = max(1, math.isqrt(n))
    parts = jnp.pad(rows, ((0, -n % length), (0, 0))).reshape(-1, length, d)

    def add(total, row):
        return total + row, total

    totals, inside = lax.scan(add, jnp.zeros_like(parts[:, 0]), jnp.swapaxes(parts, 0, 1))
    everything, before = lax.scan(add, jnp.zeros_like(totals[0]), totals)
    sums = (jnp.swapaxes(inside, 0, 1) + before[:, None]).reshape(-1, d)[:n]
    return jnp.concatenate([sums, everything[None]])
