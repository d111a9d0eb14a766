"""Hard negatives: for each pair of duplicates, a similar question from another group."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.pairs import Pairs, distinct_questions
from trax_triplet.search.duplicates import check_model, embed_all
from trax_triplet.search.products import nearest, similarities

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["Triplet", "mine_negatives"]

BAND = (0.0, 0.9)
BELOW = 0.95


class Triplet(NamedTuple):
    """A question, a duplicate, a question that is not one; and their similarities to the first."""

    question1: str
    question2: str
    negative: str
    similarity: float
    negative_similarity: float


def mine_negatives(
    pairs: Pairs,
    model: TrainedModel,
    *,
    per_pair: int = 1,
    band: tuple[float, float] = BAND,
    below: float = BELOW,
    neighbours: int = 100,
) -> list[Triplet]:
    """Finds, for each pair of duplicates, similar questions that are not duplicates, to train on.

    Candidates are the nearest questions of the first one among all questions of the pairs, labelled
    0 or 1. Those of its own duplicate group (`data.question_groups`) are left out; so are those
    that may be duplicates which nobody marked: above the band, or nearly as similar as the
    duplicate itself. What is below the band is too easy to teach anything.

    Source of the last limit: G. de Souza P. Moreira et al., NV-Retriever: Improving text embedding
    models with effective hard-negative mining, 2024 (there: TopK-PercPos, 0.95).

    Args:
        pairs: with labels; those labelled 1 get negatives.
        model: the `TrainedModel` that measures similarity.
        per_pair: how many negatives a pair gets at most, the most similar.
        band: (low, high), between which the similarity of a negative is.
        below: a negative is less similar than this times the duplicate.
        neighbours: among how many of the nearest questions it is looked for.

    Returns:
        Triplets in the order of the pairs. A pair that no question fits is not among them.

    Raises:
        TypeError: something other than `Pairs`, a model, or numbers.
        ValueError: pairs without labels, numbers out of range, an empty band.

    Example:
        >>> from types import SimpleNamespace
        >>> angle = {"How old?": 0.0, "What age?": 0.1, "How tall?": 0.8, "Who?": 3.0}
        >>> model = SimpleNamespace(embed=lambda questions: np.float32(
        ...     [[np.cos(angle[q]), np.sin(angle[q])] for q in questions]))
        >>> pairs = Pairs(["How old?", "Who?"], ["What age?", "How tall?"], [1, 0])
        >>> mine_negatives(pairs, model)[0].negative
        'How tall?'
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", "make them with read_pairs(path)")
    check_model(model)
    per_pair = check.integer("per_pair", per_pair, 1)
    neighbours = check.integer("neighbours", neighbours, 1)
    below = check.number("below", below, 0)
    if not isinstance(band, (tuple, list)) or len(band) != 2:
        raise check.wrong_type("band", "two numbers, (low, high)", band)
    low, high = (check.number(f"band[{k}]", band[k], -1, 1) for k in (0, 1))
    if low >= high:
        raise check.wrong_value("band", "(low, high), low below high", tuple(band))
    if pairs.is_duplicate is None:
        raise ValueError("pairs must have labels, of which the duplicates get negatives")
    questions, rows, groups = distinct_questions(pairs)
    vectors = embed_all(questions, model)
    duplicates = np.flatnonzero(pairs.is_duplicate)
    anchors, positives = rows[:, duplicates]
    to_positive = similarities(vectors, vectors, anchors, positives)
    distinct, place = np.unique(anchors, return_inverse=True)
    found, near = nearest(vectors[distinct], vectors, min(neighbours, len(questions)))
    triplets = []
    for pair, anchor, at, similarity in zip(
        duplicates.tolist(), anchors.tolist(), place.tolist(), to_positive.tolist(), strict=True
    ):
        fits = (near[at] > low) & (near[at] < min(high, below * similarity))
        fits &= groups[found[at]] != groups[anchor]
        for k in np.flatnonzero(fits)[:per_pair].tolist():
            texts = pairs.question1[pair], pairs.question2[pair], questions[found[at, k]]
            triplets.append(Triplet(*texts, similarity, float(near[at, k])))
    return triplets
