"""The threshold that a trained model answers by, chosen on the validation pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from trax_triplet import evaluation
from trax_triplet._wording import counted
from trax_triplet.data.pairs import Pairs, question_groups
from trax_triplet.inference.calibration import similarity_of_half
from trax_triplet.model.walk import cosines_of_rows

MOST_PAIRS = 5000  # among which a question's nearest is looked for; bounds time and memory


def choose_threshold(
    vectors: np.ndarray,
    pairs: Pairs,
    n_drawn: int,
    seed: int,
    calibration: dict[str, Any] | None = None,
) -> tuple[float, str]:
    """The threshold that makes the fewest mistakes to be expected, and how it came about.

    Where the pairs have labels of both kinds, it is where a calibrated probability is a half; where
    that falls with the similarity, the one of the best accuracy. Where negatives had to be drawn by
    shared words, these are much easier than those that people meet, and a threshold chosen on them
    calls too many pairs duplicates. There each duplicate pair's similarity is compared with that of
    its first question and the nearest question of another duplicate group, by the model.

    Args:
        vectors: float (2 n, d), unit vectors of the first questions, then of the second ones.
        pairs: n validation pairs, with labels.
        n_drawn: how many of them, the last ones, were drawn.
        seed: of the choice of `MOST_PAIRS` pairs, where there are more.
        calibration: from `fit_calibration`, where no pairs were drawn.

    Returns:
        The threshold, and a sentence for `TrainedModel.settings`.

    Example:
        Duplicates are at 1 and 0.8. The drawn pair, at 0, would allow 0.4; but one question of
        another pair is as near as 0.6.

        >>> pairs = Pairs(["a", "b", "a"], ["c", "d", "b"], [1, 1, 0])
        >>> vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0.6, 0.8], [0, 1]])
        >>> choose_threshold(vectors, pairs, n_drawn=1, seed=0)[0]
        0.7
    """
    first, second = np.split(vectors, 2)
    scores = cosines_of_rows(first, second)
    labels = np.asarray(pairs.is_duplicate)
    half = None if calibration is None else similarity_of_half(calibration)
    if calibration is not None and half is not None:
        how, _, _ = calibration["source"].partition(";")  # what follows is about probabilities
        return half, f"a probability of 0.5, by {how}"
    if not n_drawn:
        chosen = evaluation.best_threshold(scores, labels, metric="accuracy")
        return (
            chosen.threshold,
            f"best accuracy, {chosen.value:.4f}, on {counted(len(labels), 'pair')}",
        )
    n = len(pairs) - n_drawn
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:MOST_PAIRS])
    nearest = _nearest_of_other_groups(first[rows], second[rows], pairs.select(rows))
    chosen = evaluation.best_threshold(
        np.concatenate([scores[rows], nearest]), np.repeat([1, 0], len(rows)), metric="accuracy"
    )
    return chosen.threshold, (
        f"best accuracy, {chosen.value:.4f}, on {len(rows)} duplicate pairs and as many of a "
        "question and the most similar one of another pair; there were no pairs labelled 0"
    )


def _nearest_of_other_groups(first: np.ndarray, second: np.ndarray, pairs: Pairs) -> np.ndarray:
    """The largest similarity of each first question to one of another duplicate group."""
    groups1, groups2 = question_groups(pairs)
    every, groups = np.concatenate([first, second]), np.concatenate([groups1, groups2])
    nearest = np.full(len(first), -1, first.dtype)  # where all are of one group
    for start in range(0, len(first), 512):
        part = slice(start, start + 512)
        similarity = first[part] @ every.T
        similarity[groups1[part, None] == groups] = -1
        nearest[part] = similarity.max(axis=1)
    return nearest
