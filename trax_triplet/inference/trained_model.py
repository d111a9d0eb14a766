"""A trained model with its vocabulary and settings, and the folder that it is kept in."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _validation as check
from trax_triplet.data.tokenizer import TOKENIZER_VERSIONS
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import POOLINGS, Siamese
from trax_triplet.model.weights import get_weights, set_weights
from trax_triplet.storage import folders as storage

__all__ = ["TrainedModel", "load_model", "save_model"]

MANIFEST, WEIGHTS, VOCABULARY = "model.json", storage.ARRAYS, "vocabulary.txt"


@dataclass(frozen=True)
class TrainedModel:
    """A model with its vocabulary and settings: what a model folder holds.

    Attributes:
        model: the `Siamese` layer, in mode 'eval', with its weights.
        vocabulary: the `Vocabulary` that turns questions into its ids.
        settings: dict: 'pooling', 'threshold' and 'threshold_source' (None where none was chosen),
            'training'.

    Raises:
        TypeError: an attribute of another type.
        ValueError: a vocabulary of more or fewer ids than the model has.

    Example:
        >>> from trax_triplet.model.weights import init_model
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
        >>> trained = TrainedModel(layer, vocabulary, {"pooling": "last", "threshold": 0.9})
        >>> trained.embed(["how old?", ""]).shape
        (2, 4)
        >>> trained.predict(["Are you old?"], ["are you OLD ?"])
        array([ True])
    """

    model: Any
    vocabulary: Vocabulary
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        check.instance("vocabulary", self.vocabulary, Vocabulary, "trax_triplet.Vocabulary")
        check.instance("settings", self.settings, dict, "a dict")
        if self.settings.get("threshold") is not None:
            check.number("settings['threshold']", self.settings["threshold"])
        vocab_size = len(get_weights(self.model)["embedding"])
        if vocab_size != len(self.vocabulary):
            raise ValueError(
                f"vocabulary must have {vocab_size} ids, as many as the model, but it has "
                f"{len(self.vocabulary)}; take the vocabulary that the model was trained with"
            )

    @property
    def threshold(self) -> float | None:
        """The similarity above which two questions are duplicates; None where none was chosen."""
        threshold = self.settings.get("threshold")
        return None if threshold is None else float(threshold)

    def embed(self, questions: Iterable[str]) -> np.ndarray:
        """Unit vectors of questions.

        Args:
            questions: n strings; one without words gets the zero vector.

        Returns:
            NumPy float32 array (n, d_model).

        Raises:
            TypeError: one string where a list of them belongs, or an item that is not a string.
        """
        return self._encoder(self.vocabulary.encode_all(_texts("questions", questions)))

    def similarity(self, questions1: Iterable[str], questions2: Iterable[str]) -> np.ndarray:
        """Cosine similarity of each pair of questions.

        Args:
            questions1: n strings.
            questions2: n strings.

        Returns:
            NumPy float32 array (n,), in [-1, 1].

        Raises:
            TypeError: one string where a list of them belongs, or an item that is not a string.
            ValueError: `questions1` and `questions2` have different lengths.
        """
        first, second = _texts("questions1", questions1), _texts("questions2", questions2)
        if len(first) != len(second):
            raise ValueError(
                "questions1 and questions2 must have the same length, one question each for a "
                f"pair, but they have {len(first)} and {len(second)}"
            )
        vectors = self.embed([*first, *second])
        return np.einsum("nd,nd->n", vectors[: len(first)], vectors[len(first) :])

    def predict(
        self,
        questions1: Iterable[str],
        questions2: Iterable[str],
        *,
        threshold: float | None = None,
    ) -> np.ndarray:
        """Whether each pair of questions is a duplicate: its similarity is above a threshold.

        Args:
            questions1: n strings.
            questions2: n strings.
            threshold: the similarity to be above; None for the model's own.

        Returns:
            NumPy bool array (n,).

        Raises:
            TypeError: as `similarity`; also a `threshold` that is not a number.
            ValueError: as `similarity`; also no `threshold` where the model has none, or NaN.
        """
        limit = check.threshold_or_own(threshold, self.threshold)
        return self.similarity(questions1, questions2) > limit

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes this model to a folder; see `save_model`.

        Args:
            folder: path of the folder; parents are made.

        Raises:
            TypeError, FileExistsError: as `save_model`.
        """
        save_model(folder, self)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.model)  # kept: it holds the compiled code


def _texts(name: str, questions: Iterable[str]) -> Sequence[str]:
    return check.strings(name, questions, "write a single question as ['How old are you?']")


def save_model(folder: str | os.PathLike[str], trained: TrainedModel) -> None:
    """Writes a model folder, replacing an older model folder of that name.

    Args:
        folder: path of the folder; parents are made.
        trained: the model to write.

    Raises:
        TypeError: `folder` is not a path, or `trained` not a `TrainedModel`.
        FileExistsError: something is there that is not a model folder.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model.weights import init_model
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     save_model(f"{parent}/model", TrainedModel(layer, vocabulary, {"pooling": "last"}))
        ...     again = load_model(f"{parent}/model")
        >>> again.vocabulary == vocabulary
        True
    """
    folder = check.path("folder", folder)
    check.instance("trained", trained, TrainedModel, "trax_triplet.TrainedModel")
    weights = get_weights(trained.model)
    vocab_size, d_model = weights["embedding"].shape
    settings = {
        "threshold_source": None,
        "training": {},
        **trained.settings,
        "threshold": trained.threshold,
        "vocab_size": vocab_size,
        "d_model": d_model,
        "tokenizer": trained.vocabulary.tokenizer,
        "tokenizer_version": TOKENIZER_VERSIONS[trained.vocabulary.tokenizer],
    }
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise FileExistsError(
            f"{folder} exists but has no {MANIFEST}, so it is not replaced; name another folder, "
            "or move this one away"
        )
    with files.new_folder(folder) as new:
        trained.vocabulary.save(new / VOCABULARY)
        storage.write_folder(new, MANIFEST, settings, weights)


def load_model(folder: str | os.PathLike[str]) -> TrainedModel:
    """Reads a model folder.

    Args:
        folder: path of a folder that `save_model` wrote.

    Returns:
        The model, ready to answer.

    Raises:
        TypeError: `folder` is not a path.
        FileNotFoundError: there is no model folder.
        ValueError: the folder is of another format, truncated, changed since it was written, or its
            parts do not fit each other.

    Example:
        >>> load_model("no such folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no model.json in no such folder: expected ...
    """
    folder = check.path("folder", folder)
    # A process killed between its two renames leaves only the old folder.
    found = [f for f in (folder, files.previous(folder)) if (f / MANIFEST).is_file()]
    if not found:
        raise FileNotFoundError(
            f"there is no {MANIFEST} in {folder}: expected the folder of a model; `trax-triplet "
            "train` writes one"
        )
    folder = found[0]
    settings, weights = storage.read_folder(folder, MANIFEST, (VOCABULARY,))
    _check_settings(folder, settings)
    vocab_size, d_model = settings["vocab_size"], settings["d_model"]
    expected = {
        "embedding": (vocab_size, d_model),
        "lstm/kernel": (2 * d_model, 4 * d_model),
        "lstm/bias": (4 * d_model,),
    }
    shapes = {name: w.shape for name, w in weights.items()}
    if shapes != expected:
        raise storage.invalid(
            folder, f"the weights should be {expected}, but {WEIGHTS} holds {shapes}"
        )
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
        raise storage.invalid(folder, f"{WEIGHTS} holds numbers that are not finite float32")
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    if len(vocabulary) != vocab_size or vocabulary.tokenizer != settings["tokenizer"]:
        raise storage.invalid(
            folder,
            f"{MANIFEST} says {vocab_size} ids by {settings['tokenizer']!r}, but {VOCABULARY} "
            f"holds {len(vocabulary)} by {vocabulary.tokenizer!r}",
        )
    layer = Siamese(vocab_size, d_model, "eval", pooling=settings["pooling"])
    return TrainedModel(set_weights(layer, weights), vocabulary, settings)


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    kinds = {"vocab_size": int, "d_model": int, "pooling": str, "tokenizer": str, "training": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(settings.get(name), kind)]
    threshold = settings.get("threshold")
    if threshold is not None and not (isinstance(threshold, float) and np.isfinite(threshold)):
        wrong.append("threshold")
    if wrong or settings["pooling"] not in POOLINGS:
        raise storage.invalid(folder, f"{MANIFEST} has no usable {', '.join(wrong) or 'pooling'}")
