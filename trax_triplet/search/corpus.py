"""What every index is made of: checked questions and ids, vectors, and whose vectors they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.search.duplicates import are_vectors, check_model, embed_all, unit_vectors

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["Hit", "check_width", "checked_ids", "embedded", "hit_rows", "model_digest"]


class Hit(NamedTuple):
    """A question that was found: its id, its similarity, and its text ("" where there is none)."""

    id: str
    similarity: float
    question: str


def hit_rows(hits: Iterable[Hit], threshold: float | None) -> list[dict[str, Any]]:
    """Hits as rows for JSON, with whether each is above the threshold; None without one.

    Example:
        >>> hit_rows([Hit("q1", 0.75, "Why?")], 0.5)
        [{'id': 'q1', 'similarity': 0.75, 'is_duplicate': True, 'question': 'Why?'}]
    """
    return [
        {
            "id": hit.id,
            "similarity": hit.similarity,
            "is_duplicate": None if threshold is None else hit.similarity > threshold,
            "question": hit.question,
        }
        for hit in hits
    ]


def embedded(name: str, corpus: Any, model: Any) -> tuple[list[str] | None, np.ndarray]:
    """Questions and their vectors; None and the vectors where these were given."""
    if are_vectors(corpus):
        return None, unit_vectors(name, corpus)
    questions = check.strings(name, corpus, "write a single question as ['How old are you?']")
    check_model(model)
    return questions, embed_all(questions, model)


def check_width(name: str, vectors: np.ndarray, d: int) -> None:
    """Nothing, if vectors are as wide as those of an index; else a ValueError."""
    if vectors.shape[1] != d:
        raise check.wrong_value(name, f"vectors of {d} numbers, as the index has", vectors)


def checked_ids(ids: Iterable[str] | None, n: int, taken: Any) -> list[str]:
    if ids is None:
        last = max((int(name) for name in taken if name.isdecimal() and len(name) < 19), default=0)
        return [str(last + number) for number in range(1, n + 1)]
    names = check.strings("ids", ids)
    if len(names) != n:
        raise ValueError(f"ids must be {n}, one for each question, but they are {len(names)}")
    there, known = set(taken), set()
    for name in names:
        if name in there:
            raise check.wrong_value(
                "ids", "ids that are not in the index", name, "remove the old one first"
            )
        if name in known:
            raise check.wrong_value("ids", "different ids", name, "it comes twice")
        known.add(name)
    return names


def model_digest(model: TrainedModel) -> str:
    """SHA-256 of what makes a model's vectors: its weights, its pooling and its vocabulary.

    Raises:
        TypeError: it is not a model.
    """
    check_model(model)
    digest = hashlib.sha256(json.dumps([model.pooling, model.vocabulary.words]).encode())
    for name, array in sorted(model.weights.items()):
        digest.update(f"{name} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
