"""The search for the closest negatives, panel by panel; plain JAX.

A panel holds the scores (chunk of others, block of anchors), small enough for the cache, and is
reduced to the closest negatives of its anchors while it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from trax_triplet.loss.negative_sums import Groups
from trax_triplet.loss.rules import by_rule

__all__ = [
    "Closest",
    "Rows",
    "Rule",
    "are_negatives",
    "counted",
    "cut",
    "cut_others",
    "panel",
    "search",
]

WINDOW = 32  # others of which only the maximum is looked at first


class Rule(NamedTuple):
    """What a search is about; all static."""

    margin: float
    closest: str
    both: bool  # whether the others are anchors, too
    block: int  # anchors in a panel
    chunk: int  # others in a panel, a multiple of block


class Closest(NamedTuple):
    """What the search finds for each anchor."""

    positive: jax.Array
    value: jax.Array  # of the closest negative, as its rule counts it; -inf: none
    place: jax.Array  # of the first such negative
    tied: jax.Array  # whether others have that value, too


class Rows(NamedTuple):
    """Vectors in pieces (pieces, size, ...), the last filled up, and what makes them negatives."""

    vectors: Any
    numbers: Any
    ids: Any  # None: there are no groups
    real: Any  # neither filling nor padding; None: all are

    def piece(self, k) -> Rows:
        return Rows(*(None if x is None else x[k] for x in self))

    def told(self, shaped: Callable[[Any], Any]) -> Rows:
        """What tells who is whose negative, without the vectors, in another shape."""
        return Rows(None, *(None if x is None else shaped(x) for x in self[1:]))

    def columns(self) -> Rows:
        return self.told(lambda x: x.reshape(-1, 1))

    def across(self) -> Rows:
        return self.told(lambda x: x.reshape(1, -1))


def cut(vectors, size: int, ids=None, real=None) -> Rows:
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
    return Rows(filled[0], jnp.arange(n + more, dtype=jnp.int32).reshape(-1, size), *filled[1:])


def cut_others(rule, others, groups: Groups | None) -> Rows:
    return cut(others, rule.chunk, *(() if groups is None else (groups.other, groups.real)))


def search(rule, anchors, others, groups, want_index: bool) -> tuple[Closest, ...]:
    """The closest negatives of the anchors; with rule.both also those of the others."""
    m = len(anchors)
    own = () if groups is None else (groups.own[:m], groups.real[:m])
    sides = cut(anchors, rule.block, *own), cut_others(rule, others, groups)
    found = (_search_both if rule.both else _search_one)(rule, *sides, want_index)
    return tuple(
        Closest(*(x.reshape(-1)[:size] for x in side))
        for side, size in zip(found, (m, len(others)), strict=False)
    )


def _search_one(rule, anchors: Rows, others: Rows, want_index):
    chunks = len(others.vectors)

    def block(b):
        a = anchors.piece(b)
        own = b * rule.block // rule.chunk  # the chunk that holds the positives comes first
        scores = panel(others.vectors[own], a.vectors)
        positive = _diagonal(scores, b * rule.block - own * rule.chunk)
        best = _best(rule, scores, positive, a, others.piece(own), want_index)

        def chunk(best, k):
            o = others.piece((own + k) % chunks)
            found = _best(rule, panel(o.vectors, a.vectors), positive, a, o, want_index)
            return _closer(best, found), None

        if chunks > 1:
            best, _ = lax.scan(chunk, best, jnp.arange(1, chunks))
        return Closest(positive, *best)

    return (lax.map(block, jnp.arange(len(anchors.vectors))),)


def _search_both(rule, anchors: Rows, others: Rows, want_index):
    """Both directions from one product of each panel."""

    def positives(b):
        own = b * rule.block // rule.chunk
        scores = panel(others.vectors[own], anchors.vectors[b])
        return _diagonal(scores, b * rule.block - own * rule.chunk)

    blocks, filling = len(anchors.vectors), others.numbers.size - anchors.numbers.size
    by_block = lax.map(positives, jnp.arange(blocks))
    by_chunk = jnp.pad(by_block.reshape(-1), (0, filling)).reshape(others.numbers.shape)

    def block(seconds, b) -> tuple[Any, Any]:
        a, positive = anchors.piece(b), by_block[b]

        def chunk(first, k):
            o = others.piece(k)
            scores = panel(o.vectors, a.vectors)
            second = tuple(x[k] for x in seconds)
            return (
                _closer(first, _best(rule, scores, positive, a, o, want_index)),
                _closer(second, _best(rule, scores.T, by_chunk[k], o, a, want_index)),
            )

        first, seconds = lax.scan(chunk, _nothing(positive), jnp.arange(len(others.vectors)))
        return seconds, first

    seconds, firsts = lax.scan(block, _nothing(by_chunk), jnp.arange(blocks))
    return Closest(by_block, *firsts), Closest(by_chunk, *seconds)


def _nothing(positive) -> tuple[jax.Array, ...]:
    """A finding, (value, index, tied), than which every other one is closer, or equal to it."""
    value = jnp.full_like(positive, -jnp.inf)
    return value, jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool)


def panel(others, anchors) -> jax.Array:
    """Scores (chunk, block). All panels have one shape, so that equal rows have equal scores, to
    the last bit: otherwise a negative equal to the positive could seem to be above it."""
    return lax.dot_general(others, anchors, (((1,), (1,)), ((), ())))


def _diagonal(scores, start) -> jax.Array:
    block = scores.shape[1]
    return jnp.diagonal(lax.dynamic_slice(scores, (start, 0), (block, block)))


def counted(rule, scores, positive, number, ids, other: Rows) -> jax.Array:
    """The scores as the rule counts them; -inf for those that do not qualify. All broadcast."""
    negative = are_negatives(number, ids, other)
    counted, qualifies = by_rule(jnp, rule.closest, scores, positive, negative)
    return jnp.where(qualifies, counted, -jnp.inf)


def are_negatives(number, ids, other: Rows) -> jax.Array:
    """Which of the others are negatives of the anchors of these numbers and ids. All broadcast."""
    negative = number != other.numbers
    if other.real is not None:
        negative = jnp.logical_and(negative, other.real)
    if ids is not None:
        negative = jnp.logical_and(negative, ids != other.ids)
    return negative


def _best(rule, scores, positive, anchors: Rows, others: Rows, want_index):
    """Closest value, its first index and whether it is there twice, for each column of a panel.

    A CPU takes a maximum along the first axis fast, and an index beside every maximum slowly: so
    the index is looked for in one window of each column only.
    """
    across = anchors.across()
    candidates = counted(rule, scores, positive[None], across.numbers, across.ids, others.columns())
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
    near = others.told(lambda x: x[there])
    ids = None if anchors.ids is None else anchors.ids[:, None]
    inside = counted(rule, inside, positive[:, None], anchors.numbers[:, None], ids, near)
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
