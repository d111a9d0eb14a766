"""How well a trained model finds duplicates in a corpus: nearest questions, and pairs above a
threshold.

Labelled pairs on their own flatter a model: nearly all pairs of a corpus are not duplicates, and
each of them is a chance for a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._threads import in_threads
from trax_triplet.data.pairs import Pairs, distinct_questions
from trax_triplet.search.duplicates import check_model, embed_all
from trax_triplet.search.products import Found, pairs_above
from trax_triplet.search.ranking import mean_metrics, ranking_metrics

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["QUERIES", "evaluate_corpus"]

QUERIES = ("groups", "question1", "question2", "all")
RANKED = 1_000_000  # pairs, about, that are ranked at least
_SAMPLE = 20_000


def evaluate_corpus(
    trained: TrainedModel,
    pairs: Pairs,
    *,
    queries: str = "groups",
    threshold: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How well a trained model finds duplicates among all questions of labelled pairs.

    The corpus is the questions of the pairs, labelled 0 or 1; those that differ only in case and
    whitespace count once. Duplicates are the questions of one group (`data.question_groups`); all
    others are not, so that a duplicate nobody marked is a mistake here.

    Args:
        trained: a `TrainedModel`; or anything with its `embed` and `threshold`.
        pairs: `Pairs` with labels.
        queries: which questions are asked: of each group of duplicates the first one ('groups'), or
            of one side ('question1', 'question2') or of both ('all') those that have a duplicate.
        threshold: similarity above which a pair is called a duplicate; None for the model's own.
        seed: of the bootstrap.

    Returns:
        A dict ready for JSON: questions (of the corpus), groups (of two and more), queries (their
        number), the means over queries of what `ranking_metrics` returns, each with its interval
        (`<metric>_interval`: 95 %, by bootstrap over the queries), and pairs: of all pairs of the
        corpus. That is a dict of duplicates (their number), called (pairs above the threshold),
        threshold, precision, recall, f1, average_precision, average_precision_at_most, and best_f1
        (value and threshold, chosen on these very pairs: too good). In a large corpus only the most
        similar million of pairs is ranked; duplicates that are not among it count 0 for
        average_precision, and as much as they can for average_precision_at_most. Equal similarities
        enter together there.

    Raises:
        TypeError: an argument of another type.
        ValueError: pairs without labels or without duplicates, other `queries`, a threshold that is
            not finite, no `threshold` where the model has none, or a bad seed.

    Example:
        >>> from types import SimpleNamespace
        >>> angle = {"How old?": 0.0, "What age?": 0.1, "How tall?": 0.3, "Who?": 3.0}
        >>> model = SimpleNamespace(threshold=0.9, embed=lambda questions: np.float32(
        ...     [[np.cos(angle[q]), np.sin(angle[q])] for q in questions]))
        >>> pairs = Pairs(["How old?", "Who?"], ["What age?", "How tall?"], [1, 0])
        >>> numbers = evaluate_corpus(model, pairs)
        >>> numbers["questions"], numbers["queries"], numbers["mrr@10"]
        (4, 1, 1.0)
        >>> numbers["pairs"]["called"], numbers["pairs"]["recall"], numbers["pairs"]["precision"]
        (3, 1.0, 0.3333333333333333)
    """
    check_model(trained)
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", "make them with read_pairs(path)")
    check.one_of("queries", queries, QUERIES)
    limit = check.threshold_or_own(threshold, getattr(trained, "threshold", None))
    check.integer("seed", seed)
    if pairs.is_duplicate is None:
        raise ValueError("pairs must have labels, but these do not; read them with their labels")
    questions, places, groups = distinct_questions(pairs)
    sizes = np.bincount(groups, minlength=1)
    if sizes.max() < 2:
        raise ValueError("pairs must include duplicates, but no two different questions are")
    asked = _asked(queries, places, groups, sizes)
    vectors = embed_all(questions, trained)
    return {
        "questions": len(questions),
        "groups": int((sizes > 1).sum()),
        "queries": len(asked),
        **mean_metrics(_rankings(vectors, groups, asked), seed=seed),
        "pairs": _of_pairs(vectors, groups, limit),
    }


def _asked(queries: str, places: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The rows of the questions that are asked, all of which have a duplicate."""
    if queries == "groups":
        first = np.unique(groups, return_index=True)[1]
        return np.sort(first[sizes > 1])
    rows = places if queries == "all" else places[QUERIES.index(queries) - 1]
    rows = np.unique(rows)
    return rows[sizes[groups[rows]] > 1]


def _rankings(vectors: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> list[dict[str, float]]:
    """The metrics of each query."""

    def of_some(rows: np.ndarray) -> list[dict[str, float]]:
        return [_ranking(vectors, groups, row) for row in rows.tolist()]

    parts = [asked[start : start + 16] for start in range(0, len(asked), 16)]
    return [metrics for some in in_threads(of_some, parts) for metrics in some]


def _ranking(vectors: np.ndarray, groups: np.ndarray, row: int) -> dict[str, float]:
    # No matrix product: its last digit depends on the place of a row, and equal vectors must tie.
    scores = np.einsum("nd,d->n", vectors, vectors[row])
    relevant = groups == groups[row]
    scores[row], relevant[row] = -np.inf, False
    return ranking_metrics(scores, relevant)


def _of_pairs(vectors: np.ndarray, groups: np.ndarray, threshold: float) -> dict[str, Any]:
    """The metrics of all pairs of the corpus."""
    sizes = np.bincount(groups)
    duplicates = int((sizes * (sizes - 1) // 2).sum())
    floor = min(threshold, _floor(vectors, max(RANKED, 20 * duplicates)))
    found = (found for _, found in pairs_above(vectors, floor))
    values, hits, others = _counted(found, groups)
    hits, called = np.cumsum(hits), np.cumsum(hits + others)
    at = int(np.count_nonzero(values > np.float32(threshold)))
    hits, called = np.append(0, hits), np.append(0, called)
    f1 = 2 * hits / (called + duplicates)
    best = int(f1.argmax())
    below = values[best] if best < len(values) else _below_all(values, floor)
    gained = np.diff(hits) / duplicates
    average = float((gained * hits[1:] / np.maximum(called[1:], 1)).sum())
    missing = duplicates - int(hits[-1])
    return {
        "duplicates": duplicates,
        "called": int(called[at]),
        "threshold": float(threshold),
        "precision": float(hits[at] / called[at]) if called[at] else 0.0,
        "recall": float(hits[at] / duplicates),
        "f1": float(f1[at]),
        "average_precision": average,
        # At best, all that is missing comes next.
        "average_precision_at_most": average + missing / max(1, int(called[-1]) + missing),
        "best_f1": {"value": float(f1[best]), "threshold": float(below)},
    }


def _below_all(values: np.ndarray, floor: float) -> np.float32:
    """The threshold that all ranked pairs are above: the next number, if nothing lies below it."""
    if not len(values):
        return np.float32(floor)
    return max(np.float32(floor), np.nextafter(values[-1], np.float32(-2)))


def _floor(vectors: np.ndarray, wanted: int) -> float:
    """A similarity that about so many pairs are above, by a sample; -2 if there are no more."""
    n = len(vectors)
    share = wanted / max(1, n * (n - 1) / 2)
    if share >= 1:
        return -2.0
    rows = np.linspace(0, n - 1, min(n, 512)).astype(np.int64)
    columns = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)
    products = vectors[rows] @ vectors[columns].T
    products[rows[:, None] == columns] = -2
    return float(np.quantile(products, 1 - share))


def _counted(
    parts: Iterable[Found], groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different similarities, falling, and how many duplicates and other pairs have each."""
    values, hits, others = np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)
    for found in parts:
        is_hit = groups[found.first] == groups[found.second]
        values, inverse = np.unique(np.concatenate([values, found.similarity]), return_inverse=True)
        hits = np.bincount(inverse, np.concatenate([hits, is_hit]), len(values)).astype(np.int64)
        others = np.bincount(inverse, np.concatenate([others, ~is_hit]), len(values))
        others = others.astype(np.int64)
    return values[::-1], hits[::-1], others[::-1]
