"""Closest negatives, looked for panel by panel of the similarities, which are never kept; JAX
alone, no Trax.

A panel is (chunk of others, block of anchors): small enough for the cache, and reduced there. A
maximum along its first axis is what a CPU does fast; the index of the maximum is what it does
slowly, so that is asked of one window an anchor only.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

NO_NEGATIVE = (
    -2.0
)  # what the rules put where no negative qualifies, and take from one that is too hard
BLOCK = 128
CHUNK = 8192  # others in a panel: 8192 x 128 scores in float32 are 4 MB
CHUNK_BOTH = 1024  # here the positives must be known before, which costs one panel a block
WINDOW = 32  # others of which only the maximum is looked at first


class Rule(NamedTuple):
    """What a search is about; all static.

    Example:
        >>> make_rule(300, 300, 0.25, "hardest", both=False, block=None)
        Rule(margin=0.25, closest='hardest', both=False, block=128, chunk=384)
    """

    margin: float
    closest: str
    both: bool  # whether the others are anchors, too
    block: int  # anchors in a panel
    chunk: int  # others in a panel, a multiple of block


class Closest(NamedTuple):
    """What the search finds for each anchor."""

    positive: jax.Array
    value: jax.Array  # of the closest negative, as its rule counts it; -inf: none
    index: jax.Array  # of the first such negative
    tied: jax.Array  # whether others have that value, too


def make_rule(m, n, margin, closest, both, block):
    """The Rule for m anchors and n others, with a block that fits."""
    block = min(block or BLOCK, m)
    chunks = -(-n // (CHUNK_BOTH if both else CHUNK))
    return Rule(float(margin), closest, both, block, block * -(-n // (chunks * block)))


class _Rows(NamedTuple):
    """Vectors cut into pieces (pieces, size, ...), the last one filled up, with what tells who is
    whose negative."""

    vectors: jax.Array
    numbers: jax.Array
    ids: jax.Array | None
    real: jax.Array | None  # neither filling nor padding; None: all are

    def piece(self, k):
        return _Rows(*(None if x is None else x[k] for x in self))

    def upright(self):
        """What tells who is whose negative, as columns."""
        return _Rows(None, *(None if x is None else x[:, None] for x in self[1:]))


def _cut(vectors, size, ids, present):
    n = len(vectors)
    more = -n % size
    if more and present is None:
        present = jnp.ones((n,), bool)
    filled = [
        None
        if x is None
        else jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, size, *x.shape[1:])
        for x in (vectors, ids, present)
    ]
    return _Rows(filled[0], jnp.arange(n + more, dtype=jnp.int32).reshape(-1, size), *filled[1:])


def _cut_both(rule, anchors, others, groups):
    ids, other_ids, present = (None,) * 3 if groups is None else integer_ids(groups)
    m = len(anchors)
    own, own_present = (None, None) if groups is None else (ids[:m], present[:m])
    return _cut(anchors, rule.block, own, own_present), _cut(others, rule.chunk, other_ids, present)


def search(rule, anchors, others, groups, want_index):
    """The closest negatives of the anchors; with rule.both also those of the others. A tuple of
    Closest."""
    sides = _cut_both(rule, anchors, others, groups)
    sizes = (len(anchors), len(others))
    found = (_search_both if rule.both else _search_one)(rule, *sides, want_index)
    return tuple(Closest(*(x.reshape(-1)[:size] for x in side)) for side, size in zip(found, sizes))


def _search_one(rule, anchors, others, want_index):
    chunks = len(others.vectors)

    def block(b):
        a = anchors.piece(b)
        own = b * rule.block // rule.chunk  # the chunk that holds the positives comes first
        scores = _panel(others.vectors[own], a.vectors)
        positive = _diagonal(scores, b * rule.block - own * rule.chunk)
        best = _best(rule, scores, positive, a, others.piece(own), want_index)

        def chunk(best, k):
            o = others.piece((own + k) % chunks)
            return _closer(
                best, _best(rule, _panel(o.vectors, a.vectors), positive, a, o, want_index)
            ), None

        if chunks > 1:
            best, _ = lax.scan(chunk, best, jnp.arange(1, chunks))
        return Closest(positive, *best)

    return (lax.map(block, jnp.arange(len(anchors.vectors))),)


def _search_both(rule, anchors, others, want_index):
    """Both directions from one product of each panel."""

    def positives(b):
        own = b * rule.block // rule.chunk
        return _diagonal(
            _panel(others.vectors[own], anchors.vectors[b]), b * rule.block - own * rule.chunk
        )

    blocks, filling = len(anchors.vectors), others.numbers.size - anchors.numbers.size
    by_block = lax.map(positives, jnp.arange(blocks))
    by_chunk = jnp.pad(by_block.reshape(-1), (0, filling)).reshape(others.numbers.shape)

    def block(seconds, b):
        a, positive = anchors.piece(b), by_block[b]

        def chunk(first, k):
            o = others.piece(k)
            scores = _panel(o.vectors, a.vectors)
            second = tuple(x[k] for x in seconds)
            return (
                _closer(first, _best(rule, scores, positive, a, o, want_index)),
                _closer(second, _best(rule, scores.T, by_chunk[k], o, a, want_index)),
            )

        return lax.scan(chunk, _nothing(positive), jnp.arange(len(others.vectors)))[::-1]

    seconds, firsts = lax.scan(block, _nothing(by_chunk), jnp.arange(blocks))
    return Closest(by_block, *firsts), Closest(by_chunk, *seconds)


def _nothing(positive):
    """A finding that every other one is closer than, or equal to."""
    return (
        jnp.full_like(positive, -jnp.inf),
        jnp.zeros(positive.shape, jnp.int32),
        jnp.zeros(positive.shape, bool),
    )


def _panel(others, anchors):
    """Scores (chunk, block). All panels have one shape, so that equal rows have equal scores, to
    the last bit.

    Otherwise a negative equal to the positive could seem to be above it.
    """
    return lax.dot_general(others, anchors, (((1,), (1,)), ((), ())))


def _diagonal(scores, start):
    block = scores.shape[1]
    return jnp.diagonal(lax.dynamic_slice(scores, (start, 0), (block, block)))


def _candidates(rule, scores, positive, number, ids, other):
    """The scores as the rule counts them; -inf for those that do not qualify. All arguments
    broadcast."""
    excluded = number == other.numbers
    if other.real is not None:
        excluded = jnp.logical_or(excluded, jnp.logical_not(other.real))
    if ids is not None:
        excluded = jnp.logical_or(excluded, ids == other.ids)
    too_hard = scores > positive
    if rule.closest == "semi-hard":
        excluded = jnp.logical_or(excluded, too_hard)
    elif rule.closest == "shifted":
        scores = jnp.where(too_hard, scores + NO_NEGATIVE, scores)
    return jnp.where(excluded, -jnp.inf, scores)


def _best(rule, scores, positive, anchors, others, want_index):
    """Closest value, its first index and whether it is there twice, for each column of a panel.

    The index is looked for in one window a column only: an index beside every maximum would be
    slow.
    """
    candidates = _candidates(rule, scores, positive, anchors.numbers, anchors.ids, others.upright())
    chunk, block = scores.shape
    if not want_index:
        value = candidates.max(axis=0)
        return value, jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool)
    size = math.gcd(chunk, WINDOW)
    maxima = candidates.reshape(-1, size, block).max(axis=1)
    value = maxima.max(axis=0)
    in_window = maxima == value
    window = _first(in_window, 0)
    columns = jnp.arange(block)
    inside = scores.reshape(-1, size, block)[window, :, columns]
    there = window[:, None] * size + jnp.arange(size, dtype=jnp.int32)
    near = _Rows(None, *(None if x is None else x[there] for x in others[1:]))
    ids = None if anchors.ids is None else anchors.ids[:, None]
    inside = _candidates(rule, inside, positive[:, None], anchors.numbers[:, None], ids, near)
    hits = inside == value[:, None]
    index = jnp.take_along_axis(near.numbers, _first(hits, 1)[:, None], axis=1)[:, 0]
    return value, index, hits.sum(axis=1) + in_window.sum(axis=0) > 2


def _first(hits, axis):
    """Index of the first hit along the axis; 0 where there is none."""
    place = lax.broadcasted_iota(jnp.int32, hits.shape, axis)
    return jnp.where(hits, place, hits.shape[axis]).min(axis=axis) % hits.shape[axis]


def _closer(one, two):
    """The closer of two findings, each (value, index, tied)."""
    more, equal = two[0] > one[0], two[0] == one[0]
    return (
        jnp.maximum(one[0], two[0]),
        jnp.where(more, two[1], one[1]),
        jnp.logical_or(equal, jnp.where(more, two[2], one[2])),
    )


def share_ties(rule, v, w, groups, found, gradient, constants, dv, dw):
    """The gradients dv and dw with those of the anchors that have several equally close negatives.

    There are few, as a rule, so those are gathered, and compared with all others again, a block of
    anchors at a time: once to count their closest negatives, once to give each its share.

    Args:
        rule: the Rule of the search.
        v, w, groups: anchors (m, d), others (n, d), and their ids or None.
        found: the Closest of the anchors.
        gradient: of the loss by the value of the closest negative, (m,); 0 for those that are left
        alone.
        constants: how many values without a gradient are as close, (m,).
        dv, dw: gradients so far.

    Returns:
        The two gradients.
    """
    ids, other_ids, present = (None,) * 3 if groups is None else integer_ids(groups)
    others = _cut(w, rule.chunk, other_ids, present)
    m, n, block = len(v), len(w), rule.block
    order = jnp.pad(jnp.argsort(gradient == 0), (0, -m % block))
    how_many = jnp.sum(gradient != 0)

    def some(state):
        done, dv, dw = state
        rows = lax.dynamic_slice(order, (done,), (block,))
        a, positive, value = v[rows], found.positive[rows], found.value[rows]
        own = None if ids is None else ids[:m][rows]

        def hits(k):
            o = others.piece(k)
            candidates = _candidates(
                rule, _panel(o.vectors, a), positive, rows.astype(jnp.int32), own, o.upright()
            )
            return o.vectors, candidates == value

        def give(total, k):
            vectors, hit = hits(k)
            weights = jnp.where(hit, share, 0)
            return total + weights.T @ vectors, weights @ a

        chunks = jnp.arange(len(others.vectors))
        count = (
            constants[rows]
            + lax.scan(
                lambda c, k: (c + jnp.sum(hits(k)[1], axis=0, dtype=a.dtype), None),
                _zeros_of(value),
                chunks,
            )[0]
        )
        share = jnp.where(
            done + jnp.arange(block) < how_many, gradient[rows] / jnp.maximum(count, 1), 0
        )
        more, pieces = lax.scan(give, _zeros_of(a), chunks)
        return done + block, dv.at[rows].add(more), dw + pieces.reshape(-1, dw.shape[1])[:n]

    return lax.while_loop(
        lambda state: state[0] < how_many, some, (jnp.zeros_like(how_many), dv, dw)
    )[1:]


def _zeros_of(x):
    """Zeros made of x: inside shard_map JAX 0.6 wants to see that they are each device's own, as
    sums to come are."""
    return jnp.where(x > 0, jnp.zeros_like(x), 0)


def integer_ids(groups):
    """Both arrays of ids in one dtype, and which pairs are no padding."""
    present = jnp.logical_and(groups[0] >= 0, groups[1] >= 0)
    common = jnp.promote_types(groups[0].dtype, groups[1].dtype)
    return groups[0].astype(common), groups[1].astype(common), present
