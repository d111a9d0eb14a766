"""How well a ranking finds what is relevant: recall@k, MRR@10, MAP and nDCG@10.

Ties: of equal scores each order is as likely as any other, and a metric is its mean over all of
them. So a metric depends neither on the order of the corpus nor on how something is sorted.

Source: F. McSherry and M. Najork, Computing information retrieval performance measures efficiently
in the presence of tied scores, ECIR 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trax_triplet import _validation as check

__all__ = ["METRICS", "mean_metrics", "ranking_metrics"]

RECALL_AT, DEPTH = (1, 5, 10, 100), 10
METRICS = (*(f"recall@{k}" for k in RECALL_AT), f"mrr@{DEPTH}", "map", f"ndcg@{DEPTH}")
_SORTED_FROM = 32  # different scores of what is relevant: from here on, sorting all is quicker


def ranking_metrics(scores: ArrayLike, relevant: ArrayLike) -> dict[str, float]:
    """How well one query ranks a corpus, the highest score first.

    Args:
        scores: numbers (n,), n >= 1; not NaN.
        relevant: bools (n,), at least one True.

    Returns:
        recall@1, recall@5, recall@10, recall@100 (share of what is relevant that is among the first
        k), mrr@10 (one over the place of the first relevant one, 0 beyond 10), map (average
        precision over the whole ranking; its mean over queries is MAP), ndcg@10 (gains of 1,
        discounted by log2(place + 1), as a share of the best possible). Of equal scores, the mean
        over all their orders.

    Raises:
        TypeError: not numbers, or not bools.
        ValueError: another shape, a score that is NaN, or nothing relevant.

    Example:
        >>> numbers = ranking_metrics([0.9, 0.8, 0.7], [False, True, True])
        >>> numbers["mrr@10"], numbers["recall@1"]
        (0.5, 0.0)
        >>> round(numbers["map"], 4)  # (1/2 + 2/3) / 2
        0.5833
        >>> ranking_metrics([0.5, 0.5], [True, False])["mrr@10"]  # (1/1 + 1/2) / 2
        0.75
    """
    scores = check.array("scores", scores, "numbers of shape (n,)")
    relevant = check.array("relevant", relevant, "bools of shape (n,)")
    if scores.dtype.kind not in "iuf":
        raise check.wrong_type("scores", "numbers of shape (n,)", scores)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise check.wrong_value("scores", "numbers of shape (n,), n >= 1, not NaN", scores)
    if relevant.dtype.kind != "b":
        raise check.wrong_type("relevant", "bools of shape (n,)", relevant)
    if relevant.shape != scores.shape or not relevant.any():
        raise check.wrong_value(
            "relevant", f"bools of shape {scores.shape}, at least one True", relevant
        )
    return dict(zip(METRICS, _metrics(*_steps(scores, scores[relevant])), strict=True))


def _steps(scores: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where what is relevant stands, by falling score: how many are before, tied, and relevant."""
    values, hits = np.unique(wanted, return_counts=True)
    values, hits = values[::-1], hits[::-1]
    if len(values) < _SORTED_FROM:
        before = np.array([np.count_nonzero(scores > value) for value in values])
        tied = np.array([np.count_nonzero(scores == value) for value in values])
    else:
        rising = np.sort(scores)
        up_to = np.searchsorted(rising, values, "right")
        before, tied = len(scores) - up_to, up_to - np.searchsorted(rising, values, "left")
    return before, tied, hits


def _metrics(before: np.ndarray, tied: np.ndarray, hits: np.ndarray) -> list[float]:
    """The means over all orders of ties, in the order of METRICS."""
    n = hits.sum()
    share = hits / tied

    def within(k: int) -> np.ndarray:
        """How many of each step are expected among the first k."""
        return np.clip(k - before, 0, tied) * share

    discounts = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, DEPTH + 2))))
    gained = discounts[np.minimum(before + tied, DEPTH)] - discounts[np.minimum(before, DEPTH)]
    return [
        *(float(within(k).sum() / n) for k in RECALL_AT),
        _reciprocal_rank(int(before[0]), int(tied[0]), int(hits[0])),
        _average_precision(before, tied, hits) / int(n),
        float((gained * share).sum() / discounts[min(n, DEPTH)]),
    ]


def _reciprocal_rank(before: int, tied: int, hits: int) -> float:
    """The mean of one over the place of the first of `hits` among `tied`; 0 beyond DEPTH."""
    chance, total = hits / tied, 0.0  # that it is the next one
    for place in range(1, min(tied - hits + 1, DEPTH - before) + 1):
        total += chance / (before + place)
        chance *= (tied - place - hits + 1) / (tied - place) if place < tied else 0.0
    return total


def _average_precision(before: np.ndarray, tied: np.ndarray, hits: np.ndarray) -> float:
    """The sum of the precisions that are expected at what is relevant."""
    total, found = 0.0, 0
    for start, size, some in zip(before.tolist(), tied.tolist(), hits.tolist(), strict=True):
        place = np.arange(size)
        # Of those of this step that stand before a relevant one, so many are relevant.
        others = place * ((some - 1) / (size - 1)) if size > 1 else np.zeros(1)
        total += some / size * float(((found + 1 + others) / (start + 1 + place)).sum())
        found += some
    return total


def mean_metrics(rows: Sequence[dict[str, float]], *, seed: int = 0) -> dict[str, Any]:
    """The means over queries, each with its interval (95 %, by bootstrap over the queries).

    Args:
        rows: of each query what `ranking_metrics` returned; at least one.
        seed: of the resamples.

    Returns:
        A dict ready for JSON: each metric, and `<metric>_interval`, [low, high].

    Raises:
        TypeError, ValueError: no rows, rows of other names, or a bad seed.

    Example:
        >>> mean_metrics([{"map": 1.0}, {"map": 0.5}])["map"]
        0.75
    """
    if not rows:
        raise check.wrong_value("rows", "the metrics of at least one query", rows)
    names = list(rows[0])
    if any(list(row) != names for row in rows):
        raise check.wrong_value("rows", f"metrics of the same names, {names}", rows)
    values = np.array([list(row.values()) for row in rows])
    lows, highs = _bootstrap_means(values, seed=check.integer("seed", seed))
    result: dict[str, Any] = {}
    for name, mean, low, high in zip(names, values.mean(axis=0), lows, highs, strict=True):
        result |= {name: float(mean), f"{name}_interval": [float(low), float(high)]}
    return result


def _bootstrap_means(
    values: np.ndarray, *, n_resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the middle 95 % of the means of resamples: float64 (m,) each.

    Args:
        values: float64 (n, m), a row for each query.
        n_resamples: how often n rows are drawn with replacement.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    n = len(values)
    means = np.empty((n_resamples, values.shape[1]))
    for row in means:
        times = np.bincount(generator.integers(n, size=n), minlength=n)
        row[:] = times @ values / n
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high
