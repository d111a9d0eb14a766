"""Sums over the negatives of each anchor, and over the anchors of each negative; plain JAX."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["Groups", "spread_to_negatives", "sum_of_negatives"]


class Groups(NamedTuple):
    """The ids of both sides of all pairs, in one dtype, and which pairs are real."""

    own: jax.Array  # of the anchors' side
    other: jax.Array
    real: jax.Array

    def swapped(self) -> Groups:
        return Groups(self.other, self.own, self.real)


def sum_of_negatives(v, w, groups: Groups | None) -> tuple[jax.Array, jax.Array]:
    """For each anchor the sum (m, d) and the number (m,) of its negatives among w."""
    m, n = len(v), len(w)
    if groups is None:
        return _total(w)[None] - w[:m], jnp.full((m,), n - 1, v.dtype)
    ids, other_ids, real = groups
    total, count = _sum_of_others(jnp.where(real[:, None], w, 0), real, other_ids, ids[:m])
    apart = jnp.logical_and(real, ids != other_ids)[:m]
    total = total - jnp.where(apart[:, None], w[:m], 0)
    return total, jnp.where(real[:m], count - apart.astype(count.dtype), 0).astype(v.dtype)


def spread_to_negatives(weighted, w, groups: Groups | None) -> jax.Array:
    """For each other the sum (n, d) of `weighted` (m, d) over the anchors it is a negative of."""
    m = len(weighted)
    if groups is None:
        return jnp.broadcast_to(_total(weighted), w.shape).at[:m].add(-weighted)
    ids, other_ids, real = groups
    total, _ = _sum_of_others(weighted, real[:m], ids[:m], other_ids)  # padding weighs nothing
    apart = (ids != other_ids)[:m]
    return jnp.where(real[:, None], total.at[:m].add(-jnp.where(apart[:, None], weighted, 0)), 0)


def _total(rows: jax.Array) -> jax.Array:
    """Sum of the rows, in two steps: one long sum of equal numbers in float32 drifts."""
    n, d = rows.shape
    length = max(1, math.isqrt(n))
    whole = n - n % length
    parts = rows[:whole].reshape(-1, length, d).sum(axis=1)
    return parts.sum(axis=0) + rows[whole:].sum(axis=0)


def _sum_of_others(rows, counted, ids, wanted) -> tuple[jax.Array, jax.Array]:
    """For each of `wanted` the sum of the rows of other ids, and how many of them are counted.

    Sorted by their ids the rows of one id stand together, so the others are those before and those
    after: two running sums. (All minus those of the id would be left with rounding errors where
    nearly all are of one id.)
    """
    order = jnp.argsort(ids)
    rows, counted, ids = rows[order], counted[order].astype(jnp.int32), ids[order]
    first, end = (jnp.searchsorted(ids, wanted, side=side) for side in ("left", "right"))

    before, after = _running_sum(rows), _running_sum(rows[::-1])[::-1]
    count = jnp.pad(jnp.cumsum(counted), (1, 0))
    return before[first] + after[end], count[first] + count[-1] - count[end]


def _running_sum(rows: jax.Array) -> jax.Array:
    """Sums (n + 1, d) of the first 0 to n rows, in two steps as `_total`; XLA's cumsum is slow."""
    n, d = rows.shape
    length = max(1, math.isqrt(n))
    parts = jnp.pad(rows, ((0, -n % length), (0, 0))).reshape(-1, length, d)

    def add(total, row):
        return total + row, total

    totals, inside = lax.scan(add, jnp.zeros_like(parts[:, 0]), jnp.swapaxes(parts, 0, 1))
    everything, before = lax.scan(add, jnp.zeros_like(totals[0]), totals)
    sums = (jnp.swapaxes(inside, 0, 1) + before[:, None]).reshape(-1, d)[:n]
    return jnp.concatenate([sums, everything[None]])
