"""How well a trained model recognises duplicates among labelled pairs, and which it gets wrong.

The metrics are those of `evaluation.report`; what is added here needs the texts and the vocabulary.
No framework is needed but what the model itself brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.tokenizer import tokenizer_named
from trax_triplet.evaluation import accuracy, check_scores, report, roc_auc

if TYPE_CHECKING:
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.vocabulary import Vocabulary
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["evaluate"]


def evaluate(
    trained: TrainedModel,
    pairs: Pairs,
    *,
    threshold: float | None = None,
    seed: int = 0,
    mistakes: int = 0,
) -> dict[str, Any]:
    """How well a trained model recognises duplicates among labelled pairs, as numbers for JSON.

    Args:
        trained: a `TrainedModel`; or anything with its `similarity` and `threshold`, and, where
            words are to be looked up, its `vocabulary`.
        pairs: `Pairs` with labels, of both classes.
        threshold: similarity above which a pair is called a duplicate; None for the model's own.
        seed: of the bootstrap intervals and of the split into halves.
        mistakes: how many of the worst mistakes of each kind to list; 0 for none.

    Returns:
        The dict of `report`, and in addition:

        * unknown_words: None without a vocabulary, else a dict: share (of the pairs with a word
          that the vocabulary lacks, in at least one of their questions), and two dicts of n,
          duplicates (their count), roc_auc and accuracy: with (of those pairs) and without (of the
          others). The two metrics are None where there are no duplicates, or only duplicates.
        * mistakes: None where none were asked for, else a dict of two lists, the worst first:
          false_positives (labelled 0, but above the threshold; the highest similarities) and
          false_negatives (labelled 1, but not above it; the lowest). Each is a dict of question1,
          question2, similarity and line (where the pair starts in its file, or None).

    Raises:
        TypeError: an argument of another type.
        ValueError: pairs without labels or of one class only, a threshold that is not finite, a
            negative seed or number of mistakes, or no `threshold` where the model has none.

    Example:
        >>> from types import SimpleNamespace
        >>> from trax_triplet import Pairs
        >>> trained = SimpleNamespace(threshold=0.5, similarity=lambda q1, q2: np.array([0.9, 0.7]))
        >>> pairs = Pairs(["How old?", "Who?"], ["What age?", "Why?"], [1, 0])
        >>> numbers = evaluate(trained, pairs, mistakes=1)
        >>> numbers["n"], numbers["threshold"], numbers["accuracy"], numbers["best_f1"]["value"]
        (2, 0.5, 0.5, 1.0)
        >>> numbers["mistakes"]["false_positives"]
        [{'question1': 'Who?', 'question2': 'Why?', 'similarity': 0.7, 'line': None}]
    """
    if not hasattr(trained, "similarity"):
        raise check.wrong_type("trained", "a TrainedModel", trained, "load one by load_model(path)")
    if not hasattr(pairs, "is_duplicate"):
        raise check.wrong_type("pairs", "trax_triplet.Pairs", pairs, "see read_pairs(path)")
    if pairs.is_duplicate is None:
        raise ValueError("pairs must have labels, but these do not; read them with their labels")
    limit = check.threshold_or_own(threshold, trained.threshold)
    mistakes = check.integer("mistakes", mistakes)
    similarities = trained.similarity(pairs.question1, pairs.question2)
    scores, labels = check_scores(similarities, pairs.is_duplicate)
    numbers = report(scores, labels, limit, seed=seed)
    vocabulary: Vocabulary | None = getattr(trained, "vocabulary", None)
    numbers["unknown_words"] = None
    if vocabulary is not None:
        unknown = _has_unknown_words(pairs, vocabulary)
        numbers["unknown_words"] = {
            "share": float(unknown.mean()),
            "with": _part(scores[unknown], labels[unknown], limit),
            "without": _part(scores[~unknown], labels[~unknown], limit),
        }
    numbers["mistakes"] = None
    if mistakes:
        numbers["mistakes"] = _worst(pairs, scores, labels, numbers["confusion"], mistakes)
    return numbers


def _has_unknown_words(pairs: Pairs, vocabulary: Vocabulary) -> np.ndarray:
    """Whether a question of each pair has a word that the vocabulary lacks: bools (n,)."""
    cut = tokenizer_named(vocabulary.tokenizer)
    has_unknown = {
        question: any(word not in vocabulary for word in cut(question))
        for question in {*pairs.question1, *pairs.question2}
    }
    both = zip(pairs.question1, pairs.question2, strict=True)
    return np.array([has_unknown[first] or has_unknown[second] for first, second in both])


def _part(scores: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, Any]:
    """The metrics of some of the pairs, None where a class is missing among them."""
    duplicates = int(labels.sum())
    has_both = 0 < duplicates < len(labels)
    return {
        "n": len(labels),
        "duplicates": duplicates,
        "roc_auc": roc_auc(scores, labels) if has_both else None,
        "accuracy": accuracy(scores, labels, threshold) if has_both else None,
    }


def _worst(
    pairs: Pairs, scores: np.ndarray, labels: np.ndarray, confusion: dict[str, int], count: int
) -> dict[str, list[dict[str, Any]]]:
    """The mistakes that are farthest from the threshold; of equal ones, the first of the pairs."""
    worst = {}
    for kind, label, ranked in (("false_positives", 0, -scores), ("false_negatives", 1, scores)):
        rows = np.flatnonzero(labels == label)
        # Those on the wrong side of the threshold come first, so their number is enough to know.
        rows = rows[np.argsort(ranked[rows], kind="stable")][: min(count, confusion[kind])]
        worst[kind] = [
            {
                "question1": pairs.question1[row],
                "question2": pairs.question2[row],
                "similarity": float(scores[row]),
                "line": None if pairs.lines is None else int(pairs.lines[row]),
            }
            for row in rows.tolist()
        ]
    return worst
