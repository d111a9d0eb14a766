"""First derivatives of the losses of `blockwise`, forward and reverse, and those of any order.

Between two changes of who is closest to whom, and of which hinge is active, each loss is a sum of
products of vectors; `blockwise` has the formulas. Forward mode walks through the panels again.
Reverse mode has a closed form, which costs a matrix product less, so JAX is told that the one is
the transpose of the other. For higher orders JAX differentiates the forward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from trax_triplet.loss.negative_sums import Groups, spread_to_negatives, sum_of_negatives
from trax_triplet.loss.panels import (
    Closest,
    Rule,
    are_negatives,
    counted,
    cut,
    cut_others,
    panel,
)
from trax_triplet.loss.rules import NO_NEGATIVE

__all__ = ["Hinges", "directions", "losses_along"]


class Hinges(NamedTuple):
    """What the derivatives of the anchors' losses are made from; itself without a derivative."""

    closest: Closest
    negatives: jax.Array  # how many
    mean_active: jax.Array
    closest_active: jax.Array

    def weights(self, g) -> tuple[jax.Array, jax.Array]:
        """What the mean, and what the closest negative, adds to sum(g * losses)."""
        return jnp.where(self.mean_active, g, 0), jnp.where(self.closest_active, g, 0)

    def constants(self, rule: Rule, n: int) -> jax.Array:
        """How many values without a derivative are as close as the closest negative."""
        if rule.closest != "shifted":
            return jnp.zeros_like(self.negatives)
        return jnp.where(self.closest.value == NO_NEGATIVE, n - self.negatives, 0)


def losses_along(rule: Rule, vectors, groups, hinges: tuple[Hinges, ...], direction) -> tuple:
    """Derivatives (m,) of the losses along a direction, in a tuple as the losses are.

    They are written as the third part of the solution x of a system that is solved already, (1 - N)
    x = (direction, zeros), where N is the derivative of the losses by the vectors; N N = 0. JAX has
    a rule to transpose, batch and differentiate a system, whose solution may come from elsewhere.
    """
    groups, hinges = _of_each_device((groups, hinges), vectors)

    # Nothing of it is kept: JAX would work on its transpose at once, even if it is never asked for.
    along = jax.checkpoint(functools.partial(_along, rule))

    def derivative(x):
        return along(vectors, groups, hinges, x[0])

    def matrix(x):
        product = x[0], tuple(part - d for part, d in zip(x[1], derivative(x), strict=True))
        return _joined(product, x, vectors)

    def solve(_, x):
        return x[0], tuple(part + d for part, d in zip(x[1], derivative(x), strict=True))

    def solve_transposed(_, x):
        by_vectors = _gradients(rule, vectors, groups, hinges, x[1])
        return tuple(part + d for part, d in zip(x[0], by_vectors, strict=True)), x[1]

    zeros = tuple(jnp.zeros(hinge.negatives.shape, hinge.negatives.dtype) for hinge in hinges)
    right = _joined((direction, zeros), direction, vectors)
    first, losses = lax.custom_linear_solve(matrix, right, solve, solve_transposed)
    return _joined(losses, first, vectors)


def _joined(parts, x, vectors):
    """The parts, each with a nothing of all of x and of the vectors in it, which costs nothing once
    it is compiled: JAX transposes a system if either all of its right side depends on what is
    differentiated by, or none of it does."""
    leaves = map(jax.tree_util.tree_leaves, (x, vectors))
    # Of shape (1,), as JAX 0.4's shard_map keeps no scalars.
    sums = [sum(part.reshape(-1).sum(keepdims=True) for part in some) for some in leaves]
    # Twice, so that the transpose is nothing, too: 0 * NaN is not.
    never, zero = jnp.zeros((1,), bool), jnp.zeros_like(sums[1])
    nothing = jnp.where(never, jnp.where(never, sums[0], zero) * sums[1], zero)
    return jax.tree_util.tree_map(lambda part: part + nothing.reshape((1,) * part.ndim), parts)


def _of_each_device(tree, vectors):
    """The same arrays, for shard_map: they may become each device's own between a system and its
    transpose, and JAX wants to have been told before."""
    any_choice = jnp.greater(vectors[0][:1, :1] + vectors[1][:1, :1], 0)
    return jax.tree_util.tree_map(
        lambda x: jnp.where(any_choice.reshape((1,) * x.ndim), x, x), tree
    )


def directions(rule: Rule, anchors, others, groups: Groups | None) -> Iterator[tuple]:
    """(anchors, others, groups) once, or with rule.both also the other way round."""
    yield anchors, others, groups
    if rule.both:
        yield others, anchors, groups and groups.swapped()


# --- forward: a block of anchors at a time --------------------------------------------------------


def _along(rule, vectors, groups, hinges, direction) -> tuple[jax.Array, ...]:
    def losses(*vectors):
        each_way = directions(rule, vectors[0], vectors[1], groups)
        return tuple(
            _as_products(rule, v, w, ids, hinge)
            for (v, w, ids), hinge in zip(each_way, hinges, strict=True)
        )

    return jax.jvp(losses, tuple(vectors), tuple(direction))[1]


def _as_products(rule, v, w, groups, hinge: Hinges) -> jax.Array:
    """Of each anchor (m,) the weighted sum of its scores whose derivatives are those of its loss:
    all but the margins."""
    m, found = len(v), hinge.closest
    own = () if groups is None else (groups.own[:m], groups.real[:m])
    others = cut_others(rule, w, groups)
    columns = others.columns()
    by_mean, by_closest = hinge.weights(jnp.ones_like(hinge.negatives))
    each = by_mean / jnp.maximum(hinge.negatives, 1)
    by_any = jnp.where(found.value > -jnp.inf, by_closest, 0)

    # Not kept for the derivatives of it: the weights of all blocks are the matrix.
    @jax.checkpoint
    def block(of_block):
        a, found, each, by_any, own_weight, constants = of_block
        across = a.across()
        scores = lax.map(lambda piece: panel(piece, a.vectors), others.vectors)
        scores = scores.reshape(-1, rule.block)
        fixed = lax.stop_gradient(scores)
        positive = found.positive[None]
        values = counted(rule, fixed, positive, across.numbers, across.ids, columns)
        hits = jnp.logical_and(found.tied[None], found.value[None] == values)
        hits = jnp.logical_or(hits, found.place[None] == columns.numbers)
        share = by_any / jnp.maximum(hits.sum(axis=0, dtype=scores.dtype) + constants, 1)
        negative = are_negatives(across.numbers, across.ids, columns)
        weights = jnp.where(negative, each[None], 0) + jnp.where(hits, share[None], 0)
        weights = jnp.where(across.numbers == columns.numbers, -own_weight[None], weights)
        return jnp.where(weights != 0, weights * scores, 0).sum(axis=0)

    own_weight = by_mean + by_closest
    constants = hinge.constants(rule, len(w))
    of_anchors = jax.tree_util.tree_map(
        lambda x: cut(x, rule.block).vectors, (found, each, by_any, own_weight, constants)
    )
    return lax.map(block, (cut(v, rule.block, *own), *of_anchors)).reshape(-1)[:m]


# --- reverse: the closed form ---------------------------------------------------------------------


def _gradients(rule, vectors, groups, hinges, cotangents) -> tuple[jax.Array, ...]:
    total = [jnp.zeros_like(v) for v in vectors]
    each_way = directions(rule, vectors[0], vectors[1], groups)
    for k, ((v, w, ids), hinge, g) in enumerate(zip(each_way, hinges, cotangents, strict=True)):
        dv, dw = _gradient(rule, v, w, ids, hinge, g)
        total = [t + d for t, d in zip(total, (dw, dv) if k else (dv, dw), strict=True)]
    return tuple(total)


def _gradient(rule, v, w, groups, hinge: Hinges, g) -> tuple[jax.Array, jax.Array]:
    """Gradients of sum(g * losses) by anchors v and others w."""
    m, closest = len(v), hinge.closest
    by_mean, by_closest = hinge.weights(g)
    exists = closest.value > -jnp.inf
    alone = jnp.logical_and(exists, jnp.logical_not(closest.tied))
    alone = jnp.where(alone, by_closest, 0)[:, None]
    each = (by_mean / jnp.maximum(hinge.negatives, 1))[:, None]
    own = (by_mean + by_closest)[:, None]
    total, _ = sum_of_negatives(v, w, groups)
    dv = each * total + alone * w[closest.place] - own * w[:m]
    dw = spread_to_negatives(each * v, w, groups).at[:m].add(-own * v)
    dw = dw.at[closest.place].add(alone * v)
    shared = jnp.where(jnp.logical_and(exists, closest.tied), by_closest, 0)
    constants = hinge.constants(rule, len(w))
    return _share_ties(rule, v, w, groups, closest, shared, constants, dv, dw)


def _share_ties(rule, v, w, groups, found: Closest, gradient, constants, dv, dw):
    """The gradients dv and dw with those of the anchors that have several equally close negatives.

    There are few, as a rule, so those are gathered, and compared with all others again, a block of
    anchors at a time: once to count their closest negatives, once to give each its share.

    `gradient` (m,) is that of the loss by the value of the closest negative, 0 where there is
    nothing to share; `constants` (m,) is how many values without a gradient are as close.
    """
    others = cut_others(rule, w, groups)
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
            scores = panel(o.vectors, a)
            return o.vectors, value[None] == counted(
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
