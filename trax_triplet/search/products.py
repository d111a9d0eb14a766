"""All products of unit vectors, in blocks of bounded memory: the pairs above a threshold, the
nearest rows. NumPy only, and exact.

Most products need not be computed in full. Vectors are turned so that their first coordinates hold
most of their length. If h are the first coordinates and r is the length of the rest, then
`u . v <= h_u . h_v + r_u r_v` (Cauchy and Schwarz), a product of far shorter rows; only pairs whose
bound is above the threshold are computed, always by the same sum, so that the result does not
depend on the size of the blocks.

The work is cut into tiles whose products fit into the cache of a core, and spread over threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from trax_triplet._threads import in_threads

__all__ = ["Found", "nearest", "pairs_above", "similarities"]

BLOCK = 4096
# What float32 may lose of a product: a bound that is this much below the threshold is kept.
SLACK = 4e-5
# Rows and columns of a tile: its products, 1 MiB, stay in the cache of a core (measured: 0.6 ns a
# product of 16 coordinates, and 0.9 where a tile is four times as large).
_TILE = 512
# What a product costs beside its coordinates, and what one in full costs, gathered from anywhere;
# in the time that one coordinate takes in a tile (measured: 0.02 ns).
_WRITTEN, _GATHERED = 13.0, 10_000.0
_AT_ONCE = 2**16  # products in full: 64 MiB of rows of 128
# Of a search for the nearest: rows that give a first limit, and those that are compared with it.
_FIRST, _SPAN = 4096, 2**14


class Found(NamedTuple):
    """Pairs of rows: first and second (int64), their similarity (float32), each (n,)."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray

    @classmethod
    def none(cls) -> Found:
        """No pairs.

        Example:
            >>> len(Found.none().first)
            0
        """
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: list[Found]) -> Found:
        """The pairs of all parts.

        Example:
            >>> len(Found.joined([Found.none()]).first)
            0
        """
        return cls(*map(np.concatenate, zip(*(parts or [cls.none()]), strict=True)))

    def select(self, rows: np.ndarray) -> Found:
        """Some of the pairs, by a mask or by positions.

        Example:
            >>> len(Found.none().select(np.empty(0, bool)).first)
            0
        """
        return Found(self.first[rows], self.second[rows], self.similarity[rows])

    def ordered(self) -> Found:
        """The most similar first; equal ones by the first row, then by the second.

        Example:
            >>> found = Found(np.array([0, 0]), np.array([1, 2]), np.float32([0.5, 0.75]))
            >>> found.ordered().second.tolist()
            [2, 1]
        """
        return self.select(np.lexsort((self.second, self.first, -self.similarity)))


def similarities(
    first: np.ndarray, second: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """The products of chosen rows, in [-1, 1].

    Args:
        first: float32 (n, d).
        second: float32 (m, d).
        rows, columns: int (k,), into first and into second.

    Returns:
        float32 (k,); each the same whatever the others are, and which of two rows comes first.

    Example:
        >>> unit = np.eye(2, dtype="float32")
        >>> similarities(unit, unit, np.array([0, 1]), np.array([0, 0])).tolist()
        [1.0, 0.0]
    """
    products = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        np.einsum("nd,nd->n", first[rows[part]], second[columns[part]], out=products[part])
    return np.clip(products, -1, 1, out=products)


class _Bounds:
    """Short rows, whose products are bounds of the products of the vectors."""

    def __init__(self, vectors: np.ndarray, threshold: float):
        n, d = vectors.shape
        sample = vectors[np.linspace(0, n - 1, min(n, 4096)).astype(np.int64)]
        _, axes = np.linalg.eigh(sample.T.astype(np.float64) @ sample)
        axes = np.ascontiguousarray(axes[:, ::-1].astype(np.float32))
        kept = _coordinates_to_keep(sample[:: max(1, len(sample) // 1024)] @ axes, threshold)
        if kept >= d:
            self.rows = vectors
            return
        self.rows = np.empty((n, kept + 1), np.float32)
        for start in range(0, n, 2**16):
            part = slice(start, start + 2**16)
            turned = vectors[part] @ axes
            self.rows[part, :kept] = turned[:, :kept]
            self.rows[part, kept] = np.sqrt(np.square(turned[:, kept:]).sum(axis=1))


def _coordinates_to_keep(turned: np.ndarray, threshold: float) -> int:
    """The number that is estimated to cost least, on a sample."""
    n, d = turned.shape
    square = np.square(turned)
    costs = {d + _WRITTEN: d}
    for kept in range(4, d, 4):
        rest = np.sqrt(square[:, kept:].sum(axis=1))
        bounds = turned[:, :kept] @ turned[:, :kept].T + np.outer(rest, rest)
        share = ((bounds > threshold - SLACK).sum() - n) / max(1, n * (n - 1))
        costs[kept + 1 + _WRITTEN + _GATHERED * max(0.0, float(share))] = kept
    return costs[min(costs)]


def pairs_above(
    vectors: np.ndarray,
    threshold: float,
    *,
    top_k: int | None = None,
    block: int = BLOCK,
    start: int = 0,
) -> Iterator[tuple[int, Found]]:
    """The pairs of different rows whose product is above a threshold, block by block.

    Args:
        vectors: float32 (n, d), unit vectors or zeros.
        threshold: number.
        top_k: of the pairs of each row, only so many of the most similar (of equal ones those with
            the smaller row); a pair may then come twice, once for each of its rows.
        block: of how many rows the pairs come together.
        start: the first row to begin with, where what came before is known.

    Yields:
        (stop, found): all pairs of rows start to stop - 1, the smaller row first; without `top_k`
        those with larger rows. A block of rows comes in several pieces if it has many pairs; all
        but the last have the stop of the block before.

    Example:
        >>> vectors = np.float32([[1, 0], [0, 1], [1, 0]])
        >>> [(stop, found.first.tolist(), found.second.tolist())
        ...  for stop, found in pairs_above(vectors, 0.5)]
        [(3, [0], [2])]
    """
    if start >= len(vectors):
        return
    short = _Bounds(vectors, threshold).rows
    limit = np.float32(threshold)
    for first in range(start, len(vectors), block):
        stop = min(first + block, len(vectors))
        if top_k is not None:
            yield stop, _top_of_rows(vectors, short, slice(first, stop), top_k, limit)
            continue
        parts: list[Found] = []
        count = 0
        tasks = [
            (rows, columns)
            for columns in _slices(first, len(vectors), block)
            for rows in _slices(first, min(stop, columns.stop), _TILE)
        ]
        for found in in_threads(partial(_above, vectors, short, limit), tasks):
            parts.append(found)
            count += len(found.first)
            if count > block * block:
                yield first, Found.joined(parts)
                parts, count = [], 0
        yield stop, Found.joined(parts)


def _slices(start: int, stop: int, step: int) -> list[slice]:
    return [slice(at, min(at + step, stop)) for at in range(start, stop, step)]


def _above(
    vectors: np.ndarray, short: np.ndarray, limit: np.float32, task: tuple[slice, slice]
) -> Found:
    """The pairs above a limit of some rows with some larger ones."""
    block, span = task
    rows, columns = _candidates(short[block], short[span], limit - np.float32(SLACK))
    rows, columns = rows + block.start, columns + span.start
    if span.start < block.stop:
        above = columns > rows
        rows, columns = rows[above], columns[above]
    products = similarities(vectors, vectors, rows, columns)
    return Found(rows, columns, products).select(products > limit)


def _candidates(
    first: np.ndarray, second: np.ndarray, limits: np.float32 | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, int64 (m,), of the products that are no less than their limits.

    Args:
        first: float32 (a, d), of at most `_TILE` rows.
        second: float32 (b, d).
        limits: one for all, or (a, 1).
    """
    width = min(len(second), _TILE * max(1, _TILE // len(first)))
    size = len(first) * width
    products, mask = np.empty(size, np.float32), np.empty(size, bool)
    rows, columns = [], []
    for part in _slices(0, len(second), width):
        shape = len(first), part.stop - part.start
        tile = products[: shape[0] * shape[1]].reshape(shape)
        np.matmul(first, second[part].T, out=tile)
        is_near = np.greater_equal(tile, limits, out=mask[: tile.size].reshape(shape))
        # `np.nonzero` of two axes takes ten times as long where hardly anything is True.
        near = np.flatnonzero(is_near)
        if len(near):
            row, column = np.divmod(near, shape[1])
            rows.append(row)
            columns.append(column + part.start)
    if not rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(rows), np.concatenate(columns)


def _top_of_rows(
    vectors: np.ndarray, short: np.ndarray, rows: slice, k: int, floor: np.float32
) -> Found:
    """The k nearest other rows of each of these, the smaller row first."""
    parts = []
    for part in _slices(rows.start, rows.stop, _TILE):
        own = np.arange(part.start, part.stop)
        found = _top(vectors[part], vectors, short[part], short, k, floor, own)
        first = found.first + part.start
        ends = np.minimum(first, found.second), np.maximum(first, found.second)
        parts.append(Found(*ends, found.similarity))
    return Found.joined(parts)


def nearest(
    queries: np.ndarray, vectors: np.ndarray, k: int, *, block: int = _TILE
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `vectors` that are nearest to each query, by all products.

    Args:
        queries: float32 (m, d), unit vectors or zeros.
        vectors: float32 (n, d), the same; k <= n.
        k: number of rows, at least 1.
        block: how many queries are compared at once, at most 512.

    Returns:
        (rows, similarities): int64 (m, k) and float32 (m, k), the nearest first; of equal ones the
        smaller row.

    Example:
        >>> rows, similar = nearest(np.float32([[1, 0]]), np.float32([[0, 1], [1, 0], [1, 0]]), 2)
        >>> rows.tolist(), similar.tolist()
        ([[1, 2]], [[1.0, 1.0]])
    """
    m = len(queries)
    rows, similar = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    lowest = np.float32(-np.inf)
    for part in _slices(0, m, min(block, _TILE)):
        found = _top(queries[part], vectors, queries[part], vectors, k, lowest)
        rows[part] = found.second.reshape(-1, k)
        similar[part] = found.similarity.reshape(-1, k)
    return rows, similar


def _top(
    queries: np.ndarray,
    vectors: np.ndarray,
    short_queries: np.ndarray,
    short: np.ndarray,
    k: int,
    floor: np.float32,
    own: np.ndarray | None = None,
) -> Found:
    """The k nearest rows above `floor` of each query but its own, sorted by query and nearness."""
    n = len(queries)
    limits = np.full(n, floor, np.float32)
    first = min(max(_FIRST, 8 * k), len(vectors))
    if k < first - 1:
        # No bound of the k-th nearest yet; where the floor is low, nearly all products would be
        # computed in full.
        bounds = short_queries @ short[:first].T
        if np.count_nonzero(bounds >= floor - SLACK) > 4 * k * n:
            limits = np.maximum(limits, _kth_of_block(queries, vectors, bounds, k + 1))

    def compare(span: slice) -> Found:
        near = _candidates(short_queries, short[span], (limits - np.float32(SLACK))[:, None])
        rows, columns = near[0], near[1] + span.start
        if own is not None:
            other = columns != own[rows]
            rows, columns = rows[other], columns[other]
        products = similarities(queries, vectors, rows, columns)
        return Found(rows, columns, products).select(products > floor)

    best, new, count = Found.none(), [], 0
    spans = _slices(0, first, first) + _slices(first, len(vectors), _SPAN)
    for found in in_threads(compare, spans):
        new.append(found)
        count += len(found.first)
        if count > k * n:
            best, kth = _keep_top(Found.joined([best, *new]), k, n)
            np.maximum(limits, kth, out=limits)  # for the spans that follow
            new, count = [], 0
    return _keep_top(Found.joined([best, *new]), k, n)[0]


def _kth_of_block(
    queries: np.ndarray, vectors: np.ndarray, bounds: np.ndarray, k: int
) -> np.ndarray:
    """A similarity for each query that at least k rows of the block have, float32 (m,)."""
    columns = np.argpartition(bounds, -k, axis=1)[:, -k:]
    rows = np.repeat(np.arange(len(queries)), k)
    return similarities(queries, vectors, rows, columns.ravel()).reshape(-1, k).min(axis=1)


def _keep_top(found: Found, k: int, n_queries: int) -> tuple[Found, np.ndarray]:
    """The k best of each query, sorted; and the k-th similarity (-inf where there are fewer)."""
    found = found.select(np.lexsort((found.second, -found.similarity, found.first)))
    starts = np.searchsorted(found.first, np.arange(n_queries + 1))
    rank = np.arange(len(found.first)) - starts[found.first]
    kth = np.full(n_queries, -np.inf, np.float32)
    has_k = np.flatnonzero(np.diff(starts) >= k)
    kth[has_k] = found.similarity[starts[has_k] + k - 1]
    return found.select(rank < k), kth
