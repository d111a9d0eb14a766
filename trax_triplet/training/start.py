"""A training that starts from a trained model: its words keep their vectors, new ones are added."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.vocabulary import PAD_ID, Vocabulary
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.model.walk import CENTRE, PROJECTION
from trax_triplet.training.settings import TrainSettings

__all__ = ["Start"]

# How often a word of the model counts as seen, so that the spelling does not replace its vector.
SEEN = 1000


class Start:
    """What a training takes from an earlier model.

    Args:
        trained: the model.
        settings: of the new training.

    Raises:
        TypeError: not a `TrainedModel`.
        ValueError: settings that do not fit the model.

    Example:
        >>> random = np.random.default_rng(0).normal
        >>> shapes = {"embedding": (4, 4), "lstm/kernel": (8, 16), "lstm/bias": 16}
        >>> weights = {name: random(size=shape) for name, shape in shapes.items()}
        >>> trained = TrainedModel(weights, Vocabulary(["how", "old"]), {"pooling": "last"})
        >>> start = Start(trained, TrainSettings(d_model=4, buckets=2))
        >>> vocabulary = start.vocabulary(Vocabulary(["old", "are"], buckets=2))
        >>> vocabulary.words
        ('how', 'old', 'are')
        >>> new = {**weights, "embedding": np.zeros((len(vocabulary), 4))}
        >>> np.allclose(start.weights(new, vocabulary)["embedding"][:4], weights["embedding"])
        True
    """

    def __init__(self, trained: TrainedModel, settings: TrainSettings) -> None:
        advice = "load_model(folder) reads one"
        check.instance("start", trained, TrainedModel, "a trax_triplet.TrainedModel", advice)
        self._trained = trained
        found = {
            "d_model": trained.weights["embedding"].shape[1],
            "pooling": trained.pooling,
            "tokenizer": trained.vocabulary.tokenizer,
        }
        for name, value in found.items():
            if getattr(settings, name) != value:
                advice = f"give {name}={value!r}, or start without a model"
                expected = f"that of the model to start from, {value!r}"
                raise check.wrong_value(name, expected, getattr(settings, name), advice)

    @property
    def centre(self) -> np.ndarray | None:
        """The model's centre; None if it has none."""
        return self._trained.weights.get(CENTRE)

    @property
    def projection(self) -> np.ndarray | None:
        """The model's projection, which a teacher gave it; None if it has none."""
        return self._trained.weights.get(PROJECTION)

    def vocabulary(self, new: Vocabulary) -> Vocabulary:
        """The words of the model, as they are numbered there, and after them the new ones."""
        words = self._trained.vocabulary.words
        added = [word for word in new.words if word not in self._trained.vocabulary]
        return Vocabulary([*words, *added], tokenizer=new.tokenizer, buckets=new.buckets)

    def word_counts(self, counts: np.ndarray) -> np.ndarray:
        """The counts of the words of `vocabulary`, high for those that the model knows."""
        known = np.arange(len(counts)) < len(self._trained.vocabulary.words)
        return np.where(known, counts + SEEN, counts)

    def weights(
        self, initial: Mapping[str, np.ndarray], vocabulary: Vocabulary
    ) -> dict[str, np.ndarray]:
        """The weights to start with.

        Args:
            initial: those that a training from nothing would start with: new words keep theirs,
                unless the model has buckets, whose vectors they had.
            vocabulary: that this object's `vocabulary` gave.
        """
        old, own = self._trained.weights["embedding"], self._trained.vocabulary
        embedding = np.array(initial["embedding"])
        n_old = PAD_ID + 1 + len(own.words)
        embedding[:n_old] = old[:n_old]
        if own.buckets:
            added = itertools.islice(vocabulary.words, len(own.words), None)
            rows = [own[word] for word in added]
            embedding[n_old : n_old + len(rows)] = old[rows]
        if vocabulary.buckets and own.buckets == vocabulary.buckets:
            embedding[-own.buckets :] = old[-own.buckets :]
        names = ("lstm/kernel", "lstm/bias")
        return {"embedding": embedding, **{name: self._trained.weights[name] for name in names}}

    def fingerprint(self) -> str:
        """SHA-256 of the model."""
        digest = hashlib.sha256()
        for name, array in sorted(self._trained.weights.items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
