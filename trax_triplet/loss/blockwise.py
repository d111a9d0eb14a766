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
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.loss.negative_sums import Groups, spread_to_negatives, sum_of_negatives
from trax_triplet.loss.rules import NO_NEGATIVE, by_rule, real_pairs

__all__ = ["blockwise_losses"]

BLOCK = 128
CHUNK = 8192  # others in a panel: 8192 x 128 scores in float32 are 4 MB
CHUNK_BOTH = 1024  # here the positives must be known before, which costs one panel a block
WINDOW = 32  # others of which only the maximum is looked at first


class _Rule(NamedTuple):
    """What a search is about; all static."""

    margin: float
    closest: str
    both: bool  # whether the others are anchors, too
    block: int  # anchors in a panel
    chunk: int  # others in a panel, a multiple of block


class _Closest(NamedTuple):
    """What the search finds for each anchor."""

    positive: jax.Array
    value: jax.Array  # of the closest negative, as its rule counts it; -inf: none
    place: jax.Array  # of the first such negative
    tied: jax.Array  # whether others have that value, too


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
    gradient is shared evenly, as JAX's `max` does it. It can be differentiated once, in reverse
    mode.

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
        NotImplementedError: in forward mode, or when the gradient is differentiated again.

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
    rule = _Rule(float(margin), closest, both, block, block * -(-n // (chunks * block)))
    try:
        losses = _losses(rule, v1, v2, sides)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise NotImplementedError(
            "the blockwise triplet loss has no forward mode (jvp, jacfwd); ask for the plain form, "
            "triplet_loss(..., block=0)"
        ) from None
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _one_or_both(rule, anchors, others, groups):
    """Losses (m,) of the anchors, in a tuple; with rule.both also those of the others."""
    return _forward(rule, anchors, others, groups, want_index=False)[0]


def _forward(rule, anchors, others, groups, want_index=True):
    found = _search(rule, anchors, others, groups, want_index)
    losses, hinges = [], []
    for (v, w, ids), closest in zip(_directions(rule, anchors, others, groups), found, strict=True):
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
        hinges.append((closest, count, *active))
    return tuple(losses), (anchors, others, groups, tuple(hinges))


def _settle(rule: _Rule, found: _Closest) -> tuple[_Closest, jax.Array]:
    """The closest negative where there may be none: -2 stands there, without a gradient."""
    if rule.closest != "shifted":
        return found, jnp.where(found.value > -jnp.inf, found.value, NO_NEGATIVE)
    # In the Keras assignment's row the places that are not negatives hold -2, and share in ties.
    value = jnp.where(found.value < NO_NEGATIVE, -jnp.inf, found.value)
    tied = jnp.logical_or(found.tied, value == NO_NEGATIVE)
    return found._replace(value=value, tied=tied), jnp.maximum(found.value, NO_NEGATIVE)


def _backward(rule, kept, cotangents):
    anchors, others, groups, hinges = kept
    floats = _gradients(rule, (anchors, others), groups, hinges, cotangents)
    return *floats, jax.tree_util.tree_map(
        lambda ids: np.zeros(ids.shape, jax.dtypes.float0), groups
    )


_one_or_both.defvjp(_forward, _backward)
_losses = jax.jit(_one_or_both, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(rule, vectors, groups, hinges, cotangents):
    total = [jnp.zeros_like(v) for v in vectors]
    directions = _directions(rule, vectors[0], vectors[1], groups)
    for k, ((v, w, ids), hinge, g) in enumerate(zip(directions, hinges, cotangents, strict=True)):
        dv, dw = _gradient(rule, v, w, ids, hinge, g)
        total = [t + d for t, d in zip(total, (dw, dv) if k else (dv, dw), strict=True)]
    return tuple(total)


@_gradients.defjvp
def _no_second_derivative(rule, primals, tangents):
    raise NotImplementedError(
        "the blockwise triplet loss can be differentiated only once; for second derivatives ask "
        "for the plain form, triplet_loss(..., block=0)"
    )


def _gradient(rule, v, w, groups, hinge, g) -> tuple[jax.Array, jax.Array]:
    """Gradients of sum(g * losses) by anchors v and others w."""
    closest, count, mean_active, closest_active = hinge
    m = len(v)
    by_mean = jnp.where(mean_active, g, 0)
    by_closest = jnp.where(closest_active, g, 0)
    exists = closest.value > -jnp.inf
    alone = jnp.logical_and(exists, jnp.logical_not(closest.tied))
    alone = jnp.where(alone, by_closest, 0)[:, None]
    each = (by_mean / jnp.maximum(count, 1))[:, None]
    own = (by_mean + by_closest)[:, None]
    total, _ = sum_of_negatives(v, w, groups)
    dv = each * total + alone * w[closest.place] - own * w[:m]
    dw = spread_to_negatives(each * v, w, groups).at[:m].add(-own * v)
    dw = dw.at[closest.place].add(alone * v)
    shared = jnp.where(jnp.logical_and(exists, closest.tied), by_closest, 0)
    constants = jnp.zeros_like(count)
    if rule.closest == "shifted":
        constants = jnp.where(closest.value == NO_NEGATIVE, len(w) - count, 0)
    return _share_ties(rule, v, w, groups, closest, shared, constants, dv, dw)


def _directions(rule, anchors, others, groups) -> Iterator[tuple]:
    """(anchors, others, groups) once, or with rule.both also the other way round."""
    yield anchors, others, groups
    if rule.both:
        yield others, anchors, groups and groups.swapped()


# --- the search for the closest negatives, panel by panel -----------------------------------------


class _Rows(NamedTuple):
    """Vectors in pieces (pieces, size, ...), the last filled up, and what makes them negatives."""

    vectors: Any
    numbers: Any
    ids: Any  # None: there are no groups
    real: Any  # neither filling nor padding; None: all are

    def piece(self, k) -> _Rows:
        return _Rows(*(None if x is None else x[k] for x in self))

    def columns(self) -> _Rows:
        """What tells who is whose negative, as columns."""
        return _Rows(None, *(None if x is None else x[:, None] for x in self[1:]))


def _cut(vectors, size: int, ids=None, real=None) -> _Rows:
    n = len(vectors)
    more = -n % size
    if more and real is None:
        real = jnp.ones((n,), bool)
    filled = [
        None
        if x is None
        else jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, size, *x.shape[1:])
        for x in (vectors, ids, real)
    ]
    return _Rows(filled[0], jnp.arange(n + more, dtype=jnp.int32).reshape(-1, size), *filled[1:])


def _cut_others(rule, others, groups: Groups | None) -> _Rows:
    return _cut(others, rule.chunk, *(() if groups is None else (groups.other, groups.real)))


def _search(rule, anchors, others, groups, want_index: bool) -> tuple[_Closest, ...]:
    """The closest negatives of the anchors; with rule.both also those of the others."""
    m = len(anchors)
    own = () if groups is None else (groups.own[:m], groups.real[:m])
    sides = _cut(anchors, rule.block, *own), _cut_others(rule, others, groups)
    found = (_search_both if rule.both else _search_one)(rule, *sides, want_index)
    return tuple(
        _Closest(*(x.reshape(-1)[:size] for x in side))
        for side, size in zip(found, (m, len(others)), strict=False)
    )


def _search_one(rule, anchors: _Rows, others: _Rows, want_index):
    chunks = len(others.vectors)

    def block(b):
        a = anchors.piece(b)
        own = b * rule.block // rule.chunk  # the chunk that holds the positives comes first
        scores = _panel(others.vectors[own], a.vectors)
        positive = _diagonal(scores, b * rule.block - own * rule.chunk)
        best = _best(rule, scores, positive, a, others.piece(own), want_index)

        def chunk(best, k):
            o = others.piece((own + k) % chunks)
            found = _best(rule, _panel(o.vectors, a.vectors), positive, a, o, want_index)
            return _closer(best, found), None

        if chunks > 1:
            best, _ = lax.scan(chunk, best, jnp.arange(1, chunks))
        return _Closest(positive, *best)

    return (lax.map(block, jnp.arange(len(anchors.vectors))),)


def _search_both(rule, anchors: _Rows, others: _Rows, want_index):
    """Both directions from one product of each panel."""

    def positives(b):
        own = b * rule.block // rule.chunk
        scores = _panel(others.vectors[own], anchors.vectors[b])
        return _diagonal(scores, b * rule.block - own * rule.chunk)

    blocks, filling = len(anchors.vectors), others.numbers.size - anchors.numbers.size
    by_block = lax.map(positives, jnp.arange(blocks))
    by_chunk = jnp.pad(by_block.reshape(-1), (0, filling)).reshape(others.numbers.shape)

    def block(seconds, b) -> tuple[Any, Any]:
        a, positive = anchors.piece(b), by_block[b]

        def chunk(first, k):
            o = others.piece(k)
            scores = _panel(o.vectors, a.vectors)
            second = tuple(x[k] for x in seconds)
            return (
                _closer(first, _best(rule, scores, positive, a, o, want_index)),
                _closer(second, _best(rule, scores.T, by_chunk[k], o, a, want_index)),
            )

        first, seconds = lax.scan(chunk, _nothing(positive), jnp.arange(len(others.vectors)))
        return seconds, first

    seconds, firsts = lax.scan(block, _nothing(by_chunk), jnp.arange(blocks))
    return _Closest(by_block, *firsts), _Closest(by_chunk, *seconds)


def _nothing(positive) -> tuple[jax.Array, ...]:
    """A finding, (value, index, tied), than which every other one is closer, or equal to it."""
    value = jnp.full_like(positive, -jnp.inf)
    return value, jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool)


def _panel(others, anchors) -> jax.Array:
    """Scores (chunk, block). All panels have one shape, so that equal rows have equal scores, to
    the last bit: otherwise a negative equal to the positive could seem to be above it."""
    return lax.dot_general(others, anchors, (((1,), (1,)), ((), ())))


def _diagonal(scores, start) -> jax.Array:
    block = scores.shape[1]
    return jnp.diagonal(lax.dynamic_slice(scores, (start, 0), (block, block)))


def _candidates(rule, scores, positive, number, ids, other: _Rows) -> jax.Array:
    """The scores as the rule counts them; -inf for those that do not qualify. All broadcast."""
    negative = number != other.numbers
    if other.real is not None:
        negative = jnp.logical_and(negative, other.real)
    if ids is not None:
        negative = jnp.logical_and(negative, ids != other.ids)
    counted, qualifies = by_rule(jnp, rule.closest, scores, positive, negative)
    return jnp.where(qualifies, counted, -jnp.inf)


def _best(rule, scores, positive, anchors: _Rows, others: _Rows, want_index):
    """Closest value, its first index and whether it is there twice, for each column of a panel.

    A CPU takes a maximum along the first axis fast, and an index beside every maximum slowly: so
    the index is looked for in one window of each column only.
    """
    across = _Rows(None, *(None if x is None else x[None] for x in anchors[1:]))
    candidates = _candidates(
        rule, scores, positive[None], across.numbers, across.ids, others.columns()
    )
    chunk, block = scores.shape
    if not want_index:
        value = candidates.max(axis=0)
        return value, jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool)
    size = math.gcd(chunk, WINDOW)
    maxima = candidates.reshape(-1, size, block).max(axis=1)
    value = maxima.max(axis=0)
    in_window = maxima == value[None]
    window = _first(in_window, 0)
    inside = scores.reshape(-1, size, block)[window, :, jnp.arange(block)]
    there = window[:, None] * size + jnp.arange(size, dtype=jnp.int32)[None]
    near = _Rows(None, *(None if x is None else x[there] for x in others[1:]))
    ids = None if anchors.ids is None else anchors.ids[:, None]
    inside = _candidates(rule, inside, positive[:, None], anchors.numbers[:, None], ids, near)
    hits = inside == value[:, None]
    index = jnp.take_along_axis(near.numbers, _first(hits, 1)[:, None], axis=1)[:, 0]
    return value, index, hits.sum(axis=1) + in_window.sum(axis=0) > 2


def _first(hits, axis: int) -> jax.Array:
    """Index of the first hit along the axis; 0 where there is none."""
    place = lax.broadcasted_iota(jnp.int32, hits.shape, axis)
    return jnp.where(hits, place, hits.shape[axis]).min(axis=axis) % hits.shape[axis]


def _closer(one, two) -> tuple[jax.Array, ...]:
    """The closer of two findings, each (value, index, tied)."""
    more, equal = two[0] > one[0], two[0] == one[0]
    return (
        jnp.maximum(one[0], two[0]),
        jnp.where(more, two[1], one[1]),
        jnp.logical_or(equal, jnp.where(more, two[2], one[2])),
    )


def _share_ties(rule, v, w, groups, found: _Closest, gradient, constants, dv, dw):
    """The gradients dv and dw with those of the anchors that have several equally close negatives.

    There are few, as a rule, so those are gathered, and compared with all others again, a block of
    anchors at a time: once to count their closest negatives, once to give each its share.

    `gradient` (m,) is that of the loss by the value of the closest negative, 0 where there is
    nothing to share; `constants` (m,) is how many values without a gradient are as close.
    """
    others = _cut_others(rule, w, groups)
    m, n, block = len(v), len(w), rule.block
    order = jnp.pad(jnp.argsort(gradient == 0), (0, -m % block))
    how_many = jnp.sum(gradient != 0)
    chunks = jnp.arange(len(others.vectors))

    def some(state):
        done, dv, dw = state
        rows = lax.dynamic_slice(order, (done,), (block,))
        a, positive, value = v[rows], found.positive[rows], found.value[rows]
        numbers = rows.astype(jnp.int32)[None]
        own = None if groups is None else groups.own[:m][rows][None]

        def hits(k):
            o = others.piece(k)
            scores = _panel(o.vectors, a)
            return o.vectors, value[None] == _candidates(
                rule, scores, positive[None], numbers, own, o.columns()
            )

        def count(total, k):
            return total + jnp.sum(hits(k)[1], axis=0, dtype=a.dtype), None

        def give(total, k):
            vectors, hit = hits(k)
            weights = jnp.where(hit, share[None], 0)
            return total + weights.T @ vectors, weights @ a

        sharers = constants[rows] + lax.scan(count, _zeros_of(value), chunks)[0]
        to_share = done + jnp.arange(block) < how_many
        share = jnp.where(to_share, gradient[rows] / jnp.maximum(sharers, 1), 0)
        more, pieces = lax.scan(give, _zeros_of(a), chunks)
        return done + block, dv.at[rows].add(more), dw + pieces.reshape(-1, dw.shape[1])[:n]

    start = jnp.zeros_like(how_many), dv, dw
    return lax.while_loop(lambda state: state[0] < how_many, some, start)[1:]


def _zeros_of(x: jax.Array) -> jax.Array:
    """Zeros made of x: inside shard_map JAX 0.6 wants to see that they are each device's own, as
    sums to come are."""
    return jnp.where(x > 0, jnp.zeros_like(x), 0)
