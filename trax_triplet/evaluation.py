"""How well similarities tell duplicates from other pairs: metrics, their uncertainty, and a
threshold.

Everything here takes `scores`, one similarity a pair, and `labels`, 1 for a duplicate pair, 0 for
another; `check_scores` says what is accepted. A pair is called a duplicate where `score >
threshold`. Plain NumPy.

Choose the threshold on validation pairs (`best_threshold`), apply it to test pairs (`report`). A
metric at a threshold chosen on the same pairs is too good: never report it without saying so. With
one labelled file, `split_half` gives one half to choose on and another to apply it to.

The comparison is done in the scores' own precision: float32 scores meet the threshold rounded to
float32, as in `scores > threshold` with a NumPy array and a Python float. All else is in float64 or
whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Real
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Confusion(NamedTuple):
    """Counts of right and wrong answers, Python ints; "positive" means "called a duplicate"."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


class Threshold(NamedTuple):
    """A chosen threshold, the value of the metric there on the pairs it was chosen on, the metric's
    name."""

    threshold: float
    value: float
    metric: str


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as arrays, once they are known to be fit for use.

    Args:
      scores: similarities (n,), finite floats or integers, n >= 1; a list, a NumPy or a JAX array.
      labels: (n,), 1 or True for a duplicate pair, 0 or False for another.

    Returns:
      (scores, labels): floats (n,) in the precision that came (integers become float64), bools
      (n,).

    Raises:
      TypeError: something other than numbers, or floats that are not float16, float32 or float64.
      ValueError: another shape, no pairs, different lengths, a score not finite, a label not 0 or
          1.

    >>> check_scores([0.9, 0.2], [1, 0])[1].tolist()
    [True, False]
    """
    scores, labels = _array("scores", scores), _array("labels", labels)
    for name, array in (("scores", scores), ("labels", labels)):
        if array.ndim != 1 or array.size == 0:
            raise ValueError(
                f"{name}: expected shape (n,), n >= 1, got {array.shape}; one number per pair"
            )
    if scores.size != labels.size:
        raise ValueError(
            f"expected one label per score, got {scores.size} scores, {labels.size} labels"
        )
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    if scores.dtype.type not in (np.float16, np.float32, np.float64):
        raise TypeError(
            f"scores: expected float16, float32 or float64, got {scores.dtype}; convert first"
        )
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"labels: expected numbers 0, 1 or booleans, got {labels.dtype}; convert first"
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ValueError(
            f"scores: expected finite numbers, got {scores[bad[0]]} at index {bad[0]} "
            f"({bad.size} in all); look at the embeddings of these pairs"
        )
    bad = np.flatnonzero((labels != 0) & (labels != 1))
    if bad.size:
        raise ValueError(
            f"labels: expected 0 or 1, got {labels[bad[0]]} at index {bad[0]}; 1 is a duplicate"
        )
    return scores, labels.astype(bool)


def confusion(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Confusion:
    """Counts of right and wrong answers where a pair is called a duplicate at `score > threshold`.

    Args:
      scores, labels: (n,) each, as for `check_scores`.
      threshold: a finite number, on the scale of the scores.

    Raises TypeError and ValueError as `check_scores`; also for a threshold that is not one finite
    number.

    >>> confusion([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
    Confusion(true_positives=1, false_positives=1, false_negatives=1, true_negatives=1)
    """
    scores, labels = check_scores(scores, labels)
    cut = np.asarray(threshold)
    if cut.ndim != 0 or cut.dtype.kind not in "iuf":
        raise TypeError(
            f"threshold: expected one number, got {threshold!r}; pass a float such as 0.7"
        )
    if not np.isfinite(cut):
        raise ValueError(
            f"threshold: expected a finite number, got {cut}; pass a float such as 0.7"
        )
    with np.errstate(
        over="ignore"
    ):  # a threshold beyond float16's range becomes infinite, compares right
        called = scores > scores.dtype.type(float(cut))
    tn, fn, fp, tp = np.bincount(2 * called + labels, minlength=4).tolist()
    return Confusion(tp, fp, fn, tn)


# (numerator, denominator) in whole numbers: the quotient is rounded once, so equally good
# thresholds tie.
_RATIOS: dict[str, Callable] = {
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
    """Share of pairs answered right. Arguments and errors: `confusion`.

    >>> accuracy([0.9, 0.8, 0.7, 0.1], [1, 1, 1, 0], 0.7)
    0.75
    """
    return _at_threshold("accuracy", scores, labels, threshold)


def balanced_accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Mean share answered right of duplicates and of others; ValueError without either. Else as
    `confusion`.

    >>> balanced_accuracy([0.9, 0.8, 0.7, 0.1], [1, 1, 0, 0], 0.85)
    0.75
    """
    _need("balanced accuracy", check_scores(scores, labels)[1])
    return _at_threshold("balanced_accuracy", scores, labels, threshold)


def precision(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of duplicates among the pairs called so; 0.0 where none is. Arguments and errors:
    `confusion`.

    >>> precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
    0.5
    """
    return _at_threshold("precision", scores, labels, threshold)


def recall(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the duplicates that are called so; 0.0 where none exist. Arguments and errors:
    `confusion`.

    >>> recall([0.9, 0.8, 0.7, 0.1], [1, 1, 1, 1], 0.7)
    0.5
    """
    return _at_threshold("recall", scores, labels, threshold)


def f1(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn), 0.0 where 0/0. Else as
    `confusion`.

    >>> f1([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 0.7)
    0.5
    """
    return _at_threshold("f1", scores, labels, threshold)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a duplicate scores above another pair, a tie counting half: the area under the
    ROC curve.

    From 0 to 1; scores without meaning give about 0.5. From ranks, in O(n log n). Source: Hanley
    and McNeil, Radiology 143 (1982). Arguments and errors: `check_scores`; also ValueError where a
    class is missing.

    >>> roc_auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])  # (1 + 1 + 0.5 + 1) / 4
    0.875
    """
    scores, labels = check_scores(scores, labels)
    _need("ROC AUC", labels)
    _, duplicates, others = _counts_below(scores, labels)
    twice = np.sum(
        np.diff(duplicates) * (others[:-1] + others[1:])
    )  # twice: half a tie stays whole
    return int(twice) / (2 * int(duplicates[-1]) * int(others[-1]))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Precision at each distinct score, from the highest down, averaged by the recall gained there.

    The sum of (R_k - R_(k-1)) P_k, equal scores entering together; up to 1, about the share of
    duplicates for scores without meaning. Arguments and errors: `check_scores`; also ValueError
    without duplicates.

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
    """The threshold at which `metric` is highest on these pairs; choose on validation, apply
    elsewhere.

    One candidate for each cut through the sorted scores: halfway between neighbouring distinct
    scores; the largest score ("none are duplicates"); the next number below the smallest ("all
    are"), if it is finite. Among equally good ones the widest gap wins, then the lowest threshold;
    "none" and "all" lie in no gap, so they win only where no cut between scores is as good. The
    threshold is a finite number of the scores' own
    precision: it cuts the same way whether scores are compared as they came or as Python floats.
    Where halfway rounds onto the upper neighbour, it is the lower one. The value is recomputed with
    the threshold.

    Args:
      scores, labels: (n,) each, as for `check_scores`.
      metric: "accuracy", "balanced_accuracy" or "f1".

    Raises TypeError and ValueError as `check_scores`; also ValueError for another metric, for "f1"
    without duplicates (it would be 0 throughout), for "balanced_accuracy" where a class is missing.

    >>> best_threshold([0.875, 0.75, 0.25, 0.125], [1, 1, 0, 0])
    Threshold(threshold=0.5, value=1.0, metric='accuracy')
    """
    needed = {"accuracy": (), "f1": (1,), "balanced_accuracy": (1, 0)}
    if not isinstance(metric, str) or metric not in needed:
        raise ValueError(f"metric: expected one of {', '.join(needed)}, got {metric!r}")
    scores, labels = check_scores(scores, labels)
    _need(metric, labels, needed[metric])
    distinct, duplicates, others = _counts_below(scores, labels)
    candidates, gaps = _candidates(
        distinct
    )  # candidate k calls a duplicate what is at or above distinct[k]
    called = duplicates[-1] - duplicates, others[-1] - others
    numerator, denominator = _RATIOS[metric](*called, duplicates, others)
    values = np.where(np.isfinite(candidates), numerator / denominator, -1.0)
    best = np.flatnonzero(values == values.max())
    threshold = float(
        candidates[best[np.argmax(gaps[best])]]
    )  # argmax takes the first, so the lowest
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
    """An interval that says how far a metric moves with the choice of pairs: the percentile
    bootstrap.

    n pairs are drawn with replacement, the metric is taken, and again; the interval holds the
    middle `level` of the values (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch.
    13). Where the data have both classes, a resample that lost one is drawn again. Pairs count as
    independent, the model as given.

    Args:
      scores, labels: (n,) each, as for `check_scores`.
      metric: (scores, labels) -> number, blind to the order of the pairs (resamples come sorted by
        score, quick for ranks): `roc_auc`, or `functools.partial(accuracy, threshold=0.7)`.
      level: share of the values inside, between 0 and 1.
      n_resamples: at least 1; a 95 % interval wants 1000 or more.
      seed: the same seed gives the same two floats, (low, high).

    Raises TypeError and ValueError as `check_scores`; also for a metric that is no function or
    gives NaN or infinity, a level outside (0, 1), fewer than one resample, a bad seed. What
    `metric` raises comes through.

    >>> low, high = bootstrap_interval([0.9, 0.6, 0.7, 0.1], [1, 1, 0, 0], roc_auc)
    >>> 0 <= low < high <= 1
    True
    """
    scores, labels = check_scores(scores, labels)
    if not callable(metric):
        raise TypeError(
            f"metric: expected a function of (scores, labels), got {metric!r}; pass e.g. roc_auc"
        )
    if isinstance(level, bool) or not isinstance(level, Real):
        raise TypeError(f"level: expected a number such as 0.95, got {level!r}")
    _integer("seed", seed)
    if not 0 < level < 1 or _integer("n_resamples", n_resamples, None) < 1:
        raise ValueError(
            f"expected 0 < level < 1 and n_resamples >= 1, got {level!r} and {n_resamples!r}"
        )
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
            "metric: expected finite numbers, got NaN or infinity for at least one resample"
        )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def report(scores: ArrayLike, labels: ArrayLike, threshold: float, *, seed: int = 0) -> dict:
    """The numbers a reader asks for about these pairs, at a threshold chosen elsewhere, ready for
    JSON.

    Args:
      scores, labels, threshold: as for `confusion`; both classes must occur.
      seed: of the two bootstrap intervals.

    Returns:
      A dict of ints and floats: n, duplicates (their count), share (of duplicates), threshold,
      accuracy, accuracy_interval ([low, high], 95 %), majority_accuracy (of giving every pair the
      commoner answer), precision, recall, f1, confusion (a dict), roc_auc, roc_auc_interval,
      average_precision.

    Raises TypeError and ValueError as `confusion`; also for a bad seed, and ValueError where a
    class is missing.

    >>> numbers = report([0.9, 0.8, 0.7, 0.1, 0.2], [1, 0, 1, 0, 0], 0.5)
    >>> numbers["accuracy"], numbers["majority_accuracy"], numbers["confusion"]["false_positives"]
    (0.8, 0.6, 1)
    """
    scores, labels = check_scores(scores, labels)
    _need("a report", labels)
    n, duplicates = labels.size, int(labels.sum())
    rates = {
        rate.__name__: rate(scores, labels, threshold) for rate in (accuracy, precision, recall, f1)
    }
    interval = partial(bootstrap_interval, scores, labels, seed=seed)
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
    }


def split_half(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of n pairs: choose the threshold on the first, apply it to the second.

    Returns (first, second): ascending int64 indices (n // 2,) and (n - n // 2,), each of 0..n-1 in
    one of them. Raises TypeError where n or seed is not a whole number, ValueError where n is below
    2 or seed below 0.

    >>> first, second = split_half(5)
    >>> sorted(first.tolist() + second.tolist())
    [0, 1, 2, 3, 4]
    """
    _integer("seed", seed)
    if _integer("n", n, None) < 2:
        raise ValueError(f"n: expected at least 2 pairs, one for each half, got {n}")
    shuffled = np.random.default_rng(seed).permutation(np.arange(n, dtype=np.int64))
    return np.sort(shuffled[: n // 2]), np.sort(shuffled[n // 2 :])


def _array(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:  # NumPy makes no array of rows of different lengths
        raise ValueError(
            f"{name}: expected shape (n,), one number per pair, got rows of different lengths"
        ) from None


def _integer(name: str, value: int, least: int | None = 0) -> int:
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {number}")
    return number


def _need(what: str, labels: np.ndarray, classes: tuple[int, ...] = (1, 0)) -> None:
    for wanted in classes:
        if not (labels == wanted).any():
            raise ValueError(
                f"{what} needs pairs labelled {wanted}, got none among {labels.size}; add some"
            )


def _counts_below(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, ascending (m,); duplicates and others below each, then all of them (m +
    1,)."""
    order = np.argsort(
        scores, kind="stable"
    )  # linear where the scores come sorted, as in the bootstrap
    scores, labels = scores[order], labels[order]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
    bounds = np.append(starts, scores.size).astype(np.int64)
    duplicates = np.append(0, np.cumsum(labels, dtype=np.int64))[bounds]
    return scores[starts], duplicates, bounds - duplicates


def _candidates(distinct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A threshold for each cut and its gap (m + 1,): below all, between neighbours, at the
    largest."""
    lower, upper = distinct[:-1].astype(np.float64), distinct[1:].astype(np.float64)
    halfway = (lower / 2 + upper / 2).astype(distinct.dtype)
    halfway = np.where((lower <= halfway) & (halfway < upper), halfway, distinct[:-1])
    with np.errstate(over="ignore"):  # at the ends of the range of a precision
        below_all = np.nextafter(distinct[:1], distinct.dtype.type(-np.inf))
        gaps = np.concatenate(([0.0], upper - lower, [0.0]))
    return np.concatenate((below_all, halfway, distinct[-1:])), gaps
