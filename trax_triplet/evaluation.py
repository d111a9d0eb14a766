"""How well similarities separate duplicates from other pairs: metrics, intervals, a threshold.

All take `scores`, one similarity a pair, and `labels`, 1 for a duplicate pair, 0 for another (see
`check_scores`). A pair is called a duplicate where `score > threshold`. NumPy only. For a
trained model and labelled pairs there is `trax_triplet.evaluate`.

Choose a threshold on validation pairs (`best_threshold`), apply it to test pairs (`report`): a
metric at a threshold chosen on the same pairs is too good, so never report it without saying so.
With one labelled file, `split_half` gives one half to choose on and another to apply it to.

Scores are compared in their own precision: float32 scores meet the threshold rounded to float32, as
in `scores > threshold` with a NumPy array and a Python float. All else is in float64 or integers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trax_triplet import _validation as check

__all__ = [
    "COURSE_THRESHOLD",
    "Confusion",
    "Threshold",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "best_threshold",
    "bootstrap_interval",
    "check_scores",
    "confusion",
    "f1",
    "precision",
    "recall",
    "report",
    "roc_auc",
    "split_half",
]

COURSE_THRESHOLD = 0.7


class Confusion(NamedTuple):
    """Counts of right and wrong answers, Python ints; "positive" means "called a duplicate"."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


class Threshold(NamedTuple):
    """A chosen threshold, the metric's value there on the pairs it was chosen on, and its name."""

    threshold: float
    value: float
    metric: str


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as arrays, once they are known to be fit for use.

    Args:
        scores: similarities (n,), n >= 1, finite floats or integers, in a list or an array.
        labels: (n,), 1 or True for a duplicate pair, 0 or False for another.

    Returns:
        (scores, labels): floats (n,) as precise as they came (integers: float64), bools (n,).

    Raises:
        TypeError: not numbers, or floats other than float16, float32 and float64.
        ValueError: another shape, no pairs, different lengths, a score not finite, a label not 0 or
            1.

    Example:
        >>> check_scores([0.9, 0.2], [1, 0])[1].tolist()
        [True, False]
    """
    scores, labels = _column("scores", scores, "iuf"), _column("labels", labels, "biuf")
    if scores.size != labels.size:
        raise check.wrong_value("labels", f"{scores.size} numbers, one per score", labels)
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    if scores.dtype.type not in (np.float16, np.float32, np.float64):
        raise check.wrong_type("scores", "float16, float32 or float64", scores, "convert them")
    for name, array, bad, expected, advice in (
        ("scores", scores, ~np.isfinite(scores), "finite", "look at the vectors of this pair"),
        ("labels", labels, (labels != 0) & (labels != 1), "0 or 1", "1 is a duplicate"),
    ):
        if bad.any():
            first = int(bad.argmax())
            raise check.wrong_value(f"{name}[{first}]", expected, array[first].item(), advice)
    return scores, labels.astype(bool)


def confusion(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Confusion:
    """Counts of right and wrong answers where a pair is called a duplicate at `score > threshold`.

    Args:
        scores, labels: (n,) each, as for `check_scores`.
        threshold: a finite number, on the scale of the scores.

    Returns:
        The four counts.

    Raises:
        TypeError, ValueError: as `check_scores`; also a threshold that is not one finite number.

    Example:
        >>> confusion([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
        Confusion(true_positives=1, false_positives=1, false_negatives=1, true_negatives=1)
    """
    scores, labels = check_scores(scores, labels)
    limit = check.number("threshold", threshold)
    with np.errstate(over="ignore"):  # beyond float16's range it becomes infinite, compares right
        called = scores > scores.dtype.type(limit)
    tn, fn, fp, tp = np.bincount(2 * called + labels, minlength=4).tolist()
    return Confusion(tp, fp, fn, tn)


# Numerator and denominator in integers: the quotient is rounded once, so equal thresholds tie.
_RATIOS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
    "precision": lambda tp, fp, fn, tn: (tp, tp + fp),
    "recall": lambda tp, fp, fn, tn: (tp, tp + fn),
    "f1": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (
        tp * (fp + tn) + tn * (tp + fn),
        2 * (tp + fn) * (fp + tn),
    ),
}


def _at_threshold(metric: str, scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    numerator, denominator = _RATIOS[metric](*confusion(scores, labels, threshold))
    return numerator / denominator if denominator else 0.0


def accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of pairs answered right. Arguments: `confusion`.

    Example:
        >>> accuracy([0.9, 0.8, 0.7, 0.1], [1, 1, 1, 0], 0.7)
        0.75
    """
    return _at_threshold("accuracy", scores, labels, threshold)


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Mean share answered right of duplicates and of others, both needed. Arguments: `confusion`.

    Example:
        >>> balanced_accuracy([0.9, 0.8, 0.7, 0.1], [1, 1, 0, 0], 0.85)
        0.75
    """
    _need("balanced accuracy", check_scores(scores, labels)[1])
    return _at_threshold("balanced_accuracy", scores, labels, threshold)


def precision(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of duplicates among the pairs called so; 0.0 where none is. Arguments: `confusion`.

    Example:
        >>> precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
        0.5
    """
    return _at_threshold("precision", scores, labels, threshold)


def recall(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the duplicates that are called so; 0.0 where there are none. Arguments: `confusion`.

    Example:
        >>> recall([0.9, 0.8, 0.7, 0.1], [1, 1, 1, 1], 0.7)
        0.5
    """
    return _at_threshold("recall", scores, labels, threshold)


def f1(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn) or 0. Arguments: `confusion`.

    Example:
        >>> f1([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
        0.5
    """
    return _at_threshold("f1", scores, labels, threshold)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a duplicate scores above another pair.

    A tie counts half; scores without meaning give about 0.5. From ranks, in O(n log n); see Hanley
    and McNeil, Radiology 143 (1982). As `check_scores`; also ValueError where a class is missing.

    Example:
        >>> roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])  # (1 + 1 + 0.5 + 1) / 4
        0.875
    """
    scores, labels = check_scores(scores, labels)
    _need("ROC AUC", labels)
    _, duplicates, others = _counts_below(scores, labels)
    # Twice the sum, so that half a tie stays an integer.
    twice = np.sum(np.diff(duplicates) * (others[:-1] + others[1:]))
    return int(twice) / (2 * int(duplicates[-1]) * int(others[-1]))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Precision at each distinct score, from the highest down, averaged by the recall gained there.

    The sum of (R_k - R_(k-1)) P_k, equal scores entering together; about the share of duplicates
    for scores without meaning. As `check_scores`; also ValueError without duplicates.

    Example:
        >>> round(average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]), 4)  # 1/2 * 1/1 + 1/2 * 2/3
        0.8333
    """
    scores, labels = check_scores(scores, labels)
    _need("average precision", labels, (1,))
    _, duplicates, others = _counts_below(scores, labels)
    found = duplicates[-1] - duplicates[:-1]
    precisions = found / (found + others[-1] - others[:-1])
    return float(np.sum(np.diff(duplicates) * precisions) / duplicates[-1])


def best_threshold(scores: ArrayLike, labels: ArrayLike, *, metric: str = "accuracy") -> Threshold:
    """The threshold at which `metric` is highest on these pairs; choose on validation pairs.

    There is one candidate for each cut through the sorted scores: halfway between neighbouring
    distinct scores; the largest score ("none are duplicates"); the next number below the smallest
    ("all are"), if it is finite. Among equally good ones the widest gap wins, then the lowest
    threshold; "none" and "all" lie in no gap, so they win only where no cut between scores is as
    good. The threshold is a finite number of the scores' own precision: it cuts the same way
    whether scores are compared as they came or as Python floats. Where halfway rounds onto the
    upper neighbour, it is the lower one. The value is recomputed with the threshold.

    Args:
        scores, labels: (n,) each, as for `check_scores`.
        metric: "accuracy", "balanced_accuracy" or "f1".

    Returns:
        The threshold, the value of the metric there, and the metric's name.

    Raises:
        TypeError, ValueError: as `check_scores`; also another metric, "f1" without duplicates,
            "balanced_accuracy" where a class is missing.

    Example:
        >>> best_threshold([0.875, 0.75, 0.25, 0.125], [1, 1, 0, 0])
        Threshold(threshold=0.5, value=1.0, metric='accuracy')
    """
    needed = {"accuracy": (), "f1": (1,), "balanced_accuracy": (1, 0)}
    check.one_of("metric", metric, needed)
    scores, labels = check_scores(scores, labels)
    _need(metric, labels, needed[metric])
    distinct, duplicates, others = _counts_below(scores, labels)
    candidates, gaps = _candidates(distinct)  # the k-th calls distinct[k] and above duplicates
    called = duplicates[-1] - duplicates, others[-1] - others
    numerator, denominator = _RATIOS[metric](*called, duplicates, others)
    values = np.where(np.isfinite(candidates), numerator / denominator, -1.0)
    best = np.flatnonzero(values == values.max())
    # argmax takes the first, so the lowest.
    threshold = float(candidates[best[np.argmax(gaps[best])]])
    return Threshold(threshold, _at_threshold(metric, scores, labels, threshold), metric)


def bootstrap_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    metric: Callable[..., float],
    *,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """How far a metric moves with the choice of pairs: an interval by the percentile bootstrap.

    n pairs are drawn with replacement, the metric is taken, and again; the interval holds the
    middle `level` of the values (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch.
    13). Where the data have both classes, a resample that lost one is drawn again. Pairs count as
    independent, the model as given.

    Args:
        scores, labels: (n,) each, as for `check_scores`.
        metric: (scores, labels) -> number, blind to the order of the pairs (resamples come sorted
            by score, quick for ranks): `roc_auc`, or `functools.partial(accuracy, threshold=0.7)`.
        level: share of the values inside, between 0 and 1.
        n_resamples: at least 1; a 95 % interval wants 1000 or more.
        seed: the same seed gives the same interval.

    Returns:
        (low, high), two floats.

    Raises:
        TypeError, ValueError: as `check_scores`; also a metric that is not a function or gives NaN
            or infinity, a level outside (0, 1), fewer than one resample, a bad seed. What `metric`
            raises comes through.

    Example:
        >>> low, high = bootstrap_interval([0.9, 0.6, 0.7, 0.1], [1, 1, 0, 0], roc_auc)
        >>> 0 <= low < high <= 1
        True
    """
    scores, labels = check_scores(scores, labels)
    check.function("metric", metric, "a function of (scores, labels), such as roc_auc")
    level = check.number("level", level, above=0, below=1)
    n_resamples = check.integer("n_resamples", n_resamples, 1)
    seed = check.integer("seed", seed)
    generator = np.random.default_rng(seed)
    order = np.argsort(scores, kind="stable")
    scores, labels = scores[order], labels[order]
    one_class = labels.all() or not labels.any()
    values = []
    while len(values) < n_resamples:
        times = np.bincount(
            generator.integers(labels.size, size=labels.size), minlength=labels.size
        )
        drawn = np.repeat(labels, times)
        if one_class or (drawn.any() and not drawn.all()):
            values.append(metric(np.repeat(scores, times), drawn))
    if not np.isfinite(values).all():
        raise ValueError(
            "metric must return finite numbers, but it returned NaN or infinity for a resample"
        )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def report(
    scores: ArrayLike, labels: ArrayLike, threshold: float, *, seed: int = 0
) -> dict[str, Any]:
    """The numbers a reader asks for about these pairs, at a threshold chosen elsewhere.

    Args:
        scores, labels, threshold: as for `confusion`; both classes must occur.
        seed: of the three bootstrap intervals and of the split into halves.

    Returns:
        A dict ready for JSON: n, duplicates (their count), share (of duplicates), threshold,
        accuracy, accuracy_interval ([low, high], 95 %), majority_accuracy (of giving every pair the
        commoner answer), precision, recall, f1, confusion (a dict), roc_auc, roc_auc_interval,
        average_precision, average_precision_interval, accuracy_at_0.7 (the course's threshold),
        half (a dict: the accuracy on one half of the pairs at the threshold that was best on the
        other; how many pairs it was chosen_on and applied_to), and best_accuracy and best_f1 (dicts
        of value and threshold). The threshold of these two is chosen on the very pairs that it is
        applied to, so their values are too good: bounds, not what to expect of other pairs.

    Raises:
        TypeError, ValueError: as `confusion`; also a bad seed, and a missing class.

    Example:
        >>> numbers = report([0.9, 0.8, 0.7, 0.1, 0.2], [1, 0, 1, 0, 0], 0.5)
        >>> numbers["accuracy"], numbers["majority_accuracy"], numbers["half"]["chosen_on"]
        (0.8, 0.6, 2)
    """
    scores, labels = check_scores(scores, labels)
    _need("a report", labels)
    n, duplicates = labels.size, int(labels.sum())
    rates = {
        rate.__name__: rate(scores, labels, threshold) for rate in (accuracy, precision, recall, f1)
    }
    interval = partial(bootstrap_interval, scores, labels, seed=seed)
    chosen_on, applied_to = split_half(n, seed=seed)
    chosen = best_threshold(scores[chosen_on], labels[chosen_on]).threshold
    return {
        "n": n,
        "duplicates": duplicates,
        "share": duplicates / n,
        "threshold": float(threshold),
        **rates,
        "accuracy_interval": list(interval(partial(accuracy, threshold=threshold))),
        "majority_accuracy": max(duplicates, n - duplicates) / n,
        "confusion": confusion(scores, labels, threshold)._asdict(),
        "roc_auc": roc_auc(scores, labels),
        "roc_auc_interval": list(interval(roc_auc)),
        "average_precision": average_precision(scores, labels),
        "average_precision_interval": list(interval(average_precision)),
        f"accuracy_at_{COURSE_THRESHOLD}": accuracy(scores, labels, COURSE_THRESHOLD),
        "half": {
            "threshold": chosen,
            "chosen_on": len(chosen_on),
            "applied_to": len(applied_to),
            "accuracy": accuracy(scores[applied_to], labels[applied_to], chosen),
        },
        **{f"best_{metric}": _best(metric, scores, labels) for metric in ("accuracy", "f1")},
    }


def _best(metric: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    best = best_threshold(scores, labels, metric=metric)
    return {"value": best.value, "threshold": best.threshold}


def split_half(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of n pairs: choose the threshold on the first, apply it to the second.

    Args:
        n: number of pairs, at least 2.
        seed: the same seed gives the same halves.

    Returns:
        (first, second): ascending int64 indices (n // 2,) and (n - n // 2,), each of 0..n-1 in one
        of them.

    Raises:
        TypeError: n or seed is not an integer.
        ValueError: n below 2 or seed below 0.

    Example:
        >>> first, second = split_half(5)
        >>> sorted(first.tolist() + second.tolist())
        [0, 1, 2, 3, 4]
    """
    n, seed = check.integer("n", n, 2), check.integer("seed", seed)
    shuffled = np.random.default_rng(seed).permutation(np.arange(n, dtype=np.int64))
    return np.sort(shuffled[: n // 2]), np.sort(shuffled[n // 2 :])


def _column(name: str, values: ArrayLike, kinds: str) -> np.ndarray:
    expected = "numbers of shape (n,), n >= 1, one per pair"
    array = check.array(name, values, expected)
    if array.dtype.kind not in kinds:
        raise check.wrong_type(name, expected, values)
    if array.ndim != 1 or array.size == 0:
        raise check.wrong_value(name, expected, array)
    return array


def _need(what: str, labels: np.ndarray, classes: tuple[int, ...] = (1, 0)) -> None:
    for wanted in classes:
        if not (labels == wanted).any():
            raise ValueError(
                f"labels must include {wanted} for {what}, but none of the {labels.size} is; add "
                f"pairs labelled {wanted}"
            )


def _counts_below(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, ascending (m,); duplicates and others below each, then in all (m + 1,)."""
    # Linear where the scores come sorted, as in the bootstrap.
    order = np.argsort(scores, kind="stable")
    scores, labels = scores[order], labels[order]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    bounds = np.append(starts, scores.size).astype(np.int64)
    duplicates = np.append(0, np.cumsum(labels, dtype=np.int64))[bounds]
    return scores[starts], duplicates, bounds - duplicates


def _candidates(distinct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A threshold for each cut, and its gap (m + 1,): below all, between two, at the largest."""
    lower, upper = distinct[:-1].astype(np.float64), distinct[1:].astype(np.float64)
    halfway = (lower / 2 + upper / 2).astype(distinct.dtype)
    halfway = np.where((lower <= halfway) & (halfway < upper), halfway, distinct[:-1])
    with np.errstate(over="ignore"):  # at the ends of the range of a precision
        below_all = np.nextafter(distinct[:1], distinct.dtype.type(-np.inf))
        gaps = np.concatenate(([0.0], upper - lower, [0.0]))
    return np.concatenate((below_all, halfway, distinct[-1:])), gaps
