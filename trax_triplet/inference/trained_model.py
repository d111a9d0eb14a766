"""A trained model with its vocabulary and settings, and the folder that it is kept in.

NumPy and safetensors do the work: no framework is loaded to read a model or to answer.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _folders as folders
from trax_triplet import _validation as check
from trax_triplet.data.tokenizer import TOKENIZER_VERSIONS
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.calibration import check_calibration, probabilities
from trax_triplet.inference.card import model_card
from trax_triplet.model.spelling import LENGTH, TABLE, compose
from trax_triplet.model.walk import CENTRE, POOLINGS, PROJECTION, Walk, cosines_of_rows

if TYPE_CHECKING:
    from trax_triplet.compat import tl

__all__ = ["TrainedModel", "load_model", "save_model"]

MANIFEST, WEIGHTS, VOCABULARY = "model.json", folders.ARRAYS, "vocabulary.txt"
CARD, EDITED_CARD = "README.md", "README.edited.md"


class TrainedModel:
    """A model with its vocabulary and settings: what a model folder holds; not to be changed.

    It can be pickled and copied, used from several threads, and sent to other processes.

    Args:
        model: a `Siamese` layer with its weights, of which a copy is taken; or these weights, a
            dict of 'embedding' (vocab_size, d), 'lstm/kernel' (2 d, 4 d) and 'lstm/bias' (4 d,),
            float32, as `model.get_weights` gives them; maybe the two arrays of `model.spelling`, by
            which words that the vocabulary lacks get embeddings; and maybe 'projection' (d, d) and
            'centre' (d,), see `Siamese`.
        vocabulary: the `Vocabulary` that turns questions into its ids.
        settings: dict: 'pooling', 'threshold' and 'threshold_source' (None where none was chosen),
            'training'. Of a layer the pooling is known.

    Raises:
        TypeError: an argument of another type.
        ValueError: a vocabulary of more or fewer ids than the model has, weights of other names or
            shapes, weights that are not finite, an unknown pooling or another one than the
            layer's.

    Example:
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> random = np.random.default_rng(0).normal
        >>> shapes = {"embedding": (len(vocabulary), 4), "lstm/kernel": (8, 16), "lstm/bias": 16}
        >>> weights = {name: random(size=shape) for name, shape in shapes.items()}
        >>> trained = TrainedModel(weights, vocabulary, {"pooling": "last", "threshold": 0.9})
        >>> trained.embed(["how old?", ""]).shape
        (2, 4)
        >>> trained.predict(["Are you old?"], ["are you OLD ?"])
        array([ True])
    """

    def __init__(
        self,
        model: tl.Layer | Mapping[str, np.ndarray],
        vocabulary: Vocabulary,
        settings: dict[str, Any],
    ):
        check.instance("vocabulary", vocabulary, Vocabulary, "trax_triplet.Vocabulary")
        check.instance("settings", settings, dict, "a dict")
        if settings.get("threshold") is not None:
            # A cosine; one above or below all of them lies just outside of [-1, 1].
            check.number("settings['threshold']", settings["threshold"], -1.1, 1.1)
        check_calibration(settings.get("calibration"))
        self._vocabulary, self._settings = vocabulary, settings
        weights, self._pooling = _weights_and_pooling(model, settings)
        vocab_size = len(weights["embedding"])
        if vocab_size != len(vocabulary):
            raise ValueError(
                f"vocabulary must have {vocab_size} ids, as many as the model, but it has "
                f"{len(vocabulary)}; take the vocabulary that the model was trained with"
            )
        self._weights = {name: _kept(array) for name, array in weights.items()}
        for name, array in self._weights.items():
            if not np.isfinite(array).all():  # every answer would be "no duplicate"
                raise ValueError(
                    f"model's weights must be finite, but {name!r} holds NaN or infinity; take "
                    "those of an earlier checkpoint, or train again with a smaller learning_rate"
                )
        self._walk = Walk(self._weights, self._pooling)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name, read-only float32 arrays: as from `model.get_weights`, and where
        unknown words are embedded by their spelling, also the two arrays of `model.spelling`; and
        'centre', which a model from `train` has, and 'projection', if it had a teacher."""
        return dict(self._weights)

    @property
    def vocabulary(self) -> Vocabulary:
        """The `Vocabulary` that turns questions into word ids."""
        return self._vocabulary

    @property
    def settings(self) -> dict[str, Any]:
        """What the model was made with: 'pooling', 'threshold', 'training' and others."""
        return self._settings

    @property
    def pooling(self) -> str:
        """What becomes of the LSTM's states: 'course', 'mean' or 'last', see `Siamese`."""
        return self._pooling

    @functools.cached_property
    def model(self) -> tl.Layer:
        """The `Siamese` layer, in mode 'eval', with these weights; loads Trax.

        It is a copy: training it further changes no answer of this `TrainedModel`. It takes the
        ids of `vocabulary`, in which unknown words share some: it knows nothing of their spelling.
        """
        from trax_triplet.model.siamese import Siamese
        from trax_triplet.model.weights import set_weights

        vocab_size, d_model = self._weights["embedding"].shape
        constants: Any = {n: w for n, w in self._weights.items() if n in (PROJECTION, CENTRE)}
        layer = Siamese(vocab_size, d_model, "eval", pooling=self._pooling, **constants)
        return set_weights(layer, {name: self._weights[name] for name in _shapes(1, 1)})

    def __repr__(self) -> str:
        vocab_size, d_model = self._weights["embedding"].shape
        return f"<TrainedModel of {vocab_size} x {d_model}, pooling {self._pooling!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The content, which is checked again when it comes back.
        settings = {**self._settings, "pooling": self._pooling}
        return TrainedModel, (self._weights, self._vocabulary, settings)

    @property
    def threshold(self) -> float | None:
        """The similarity above which two questions are duplicates; None where none was chosen."""
        threshold = self._settings.get("threshold")
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
        texts = _texts("questions", questions)
        places: dict[str, int] = {}  # equal questions are computed once
        which = [places.setdefault(text, len(places)) for text in texts]
        vectors = self._vectors([*places])
        return vectors if len(places) == len(texts) else vectors[np.array(which, np.int64)]

    def _vectors(self, texts: list[str]) -> np.ndarray:
        if TABLE not in self._weights:
            return self._walk(self._vocabulary.encode_all(texts))
        rows, words = self._vocabulary.encode_apart(texts)
        shared = np.array([self._vocabulary[word] for word in words], np.int64)
        embeddings = self._weights["embedding"][shared] + compose(words, self._weights)
        return self._walk(rows, more=embeddings)

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
        return cosines_of_rows(vectors[: len(first)], vectors[len(first) :])

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

    def probability(self, questions1: Iterable[str], questions2: Iterable[str]) -> np.ndarray:
        """The probability that each pair of questions is a duplicate, among pairs like those that
        the training was validated on.

        It rises with the similarity (Platt scaling); `settings["calibration"]` says on how many
        pairs it was fitted, and how many of them are duplicates. Where duplicates are rarer or more
        frequent than there, it is too high or too low.

        Args:
            questions1: n strings.
            questions2: n strings.

        Returns:
            NumPy float32 array (n,), in [0, 1].

        Raises:
            TypeError: as `similarity`.
            ValueError: as `similarity`; also a model without a calibration, as it was validated on
                duplicates alone or trained before there was one.
        """
        calibration = self._settings.get("calibration")
        if calibration is None:
            raise ValueError(
                "this model gives no probabilities, only similarities: they need validation pairs "
                "that people labelled, duplicates and others, and it was trained without any that "
                "are labelled 0, or before there were probabilities; train with labels of both "
                "kinds (validation=)"
            )
        return probabilities(self.similarity(questions1, questions2), calibration)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes this model to a folder; see `save_model`.

        Args:
            folder: path of the folder; parents are made.

        Raises:
            TypeError, FileExistsError: as `save_model`.
        """
        save_model(folder, self)


def _weights_and_pooling(
    model: Any, settings: dict[str, Any]
) -> tuple[Mapping[str, np.ndarray], str]:
    """The weights of a layer, or those given, and what becomes of the LSTM's states."""
    pooling = settings.get("pooling")
    if isinstance(model, Mapping):
        pooling = check.one_of("settings['pooling']", pooling, POOLINGS)
        return _checked(model), pooling
    from trax_triplet.model.siamese import constants_of, pooling_of
    from trax_triplet.model.weights import get_weights

    weights, own = get_weights(model), pooling_of(model)
    weights.update(constants_of(model))
    if pooling not in (None, own):
        raise check.wrong_value("settings['pooling']", f"the layer's, {own!r}", pooling)
    return weights, own


def _checked(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {
        name: np.asarray(check.complete(f"model[{name!r}]", array))
        for name, array in weights.items()
    }
    found = {name: array.shape for name, array in arrays.items()}
    if not _fit(found):
        expected = (
            "weights of the shapes embedding (V, d), lstm/kernel (2 d, 4 d), lstm/bias (4 d,), "
            f"either both or none of {TABLE} (rows, d) and {LENGTH} (1,), and maybe "
            f"{PROJECTION} (d, d) and {CENTRE} (d,)"
        )
        raise check.wrong_value("model", expected, found)
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise check.wrong_type(f"model[{name!r}]", "floating point", array)
    return arrays


def _shapes(vocab_size: int, d_model: int) -> dict[str, tuple[int, ...]]:
    return {
        "embedding": (vocab_size, d_model),
        "lstm/kernel": (2 * d_model, 4 * d_model),
        "lstm/bias": (4 * d_model,),
    }


def _fit(found: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these are the shapes of a model's weights, with what may be besides or without."""
    shapes = dict(found)
    embedding, table, length = (shapes.get(name) for name in ("embedding", TABLE, LENGTH))
    if embedding is None or len(embedding) != 2:
        return False
    if table is not None and length == (1,) and len(table) == 2 and table[1] == embedding[1]:
        if not table[0]:
            return False
        del shapes[TABLE], shapes[LENGTH]
    for name, shape in ((PROJECTION, 2 * embedding[1:]), (CENTRE, embedding[1:])):
        if shapes.get(name) == shape:
            del shapes[name]
    return shapes == _shapes(*embedding)


def _kept(array: np.ndarray) -> np.ndarray:
    """As float32 that nobody can change; what others may change is copied."""
    kept = np.asarray(array, np.float32)
    if kept.flags.writeable and np.may_share_memory(kept, array):
        kept = kept.copy()
    kept.flags.writeable = False
    return kept


def _texts(name: str, questions: Iterable[str]) -> Sequence[str]:
    return check.strings(name, questions, "write a single question as ['How old are you?']")


def save_model(folder: str | os.PathLike[str], trained: TrainedModel) -> None:
    """Writes a model folder, replacing an older model folder of that name.

    It holds `model.json`, `weights.safetensors`, `vocabulary.txt`, and `README.md`, a model card.
    Other files in an older folder stay; so does a card that somebody edited, as `README.edited.md`.

    Args:
        folder: path of the folder; parents are made.
        trained: the model to write.

    Raises:
        TypeError: `folder` is not a path, or `trained` not a `TrainedModel`.
        FileExistsError: something is there that is not a model folder.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model import Siamese, init_model
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
    weights = trained.weights
    vocab_size, d_model = weights["embedding"].shape
    settings = {
        "threshold_source": None,
        "training": {},
        **trained.settings,
        "pooling": trained.pooling,
        "threshold": trained.threshold,
        "vocab_size": vocab_size,
        "d_model": d_model,
        "tokenizer": trained.vocabulary.tokenizer.partition("/")[0],
        "tokenizer_version": TOKENIZER_VERSIONS[trained.vocabulary.tokenizer],
    }
    check_replaceable(folder)
    edited = _edited_card(folder)
    with files.new_folder(folder) as new:
        trained.vocabulary.save(new / VOCABULARY)
        folders.write_folder(new, MANIFEST, settings, weights)
        # Behind the manifest, which does not list it: it is there to be edited.
        (new / CARD).write_text(model_card(trained), encoding="utf-8")
        if edited is not None:
            (new / folders.unused(folder / EDITED_CARD).name).write_bytes(edited)


def check_replaceable(folder: Path) -> None:
    """Nothing, if a model may be written there.

    Raises:
        FileExistsError: something is there that is not a model folder.

    Example:
        >>> check_replaceable(Path("no such folder"))
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise FileExistsError(
            f"{folder} exists but has no {MANIFEST}, so it is not replaced; name another folder, "
            "or move this one away"
        )


def _edited_card(folder: Path) -> bytes | None:
    """The card in a model folder, if it is not as it was written."""
    try:
        card = (folder / CARD).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    try:
        written = model_card(_load(folder)).encode()
    except (ValueError, OSError):  # a damaged model
        return card
    return None if card == written else card


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

    def version() -> list[bytes]:
        return [(f / MANIFEST).read_bytes() for f in _candidates(folder)]

    return folders.settled(lambda: _load(folder), version)


def _candidates(folder: Path) -> list[Path]:
    # A process killed between its two renames leaves only the old folder.
    return [f for f in (folder, files.previous(folder)) if (f / MANIFEST).is_file()]


def _load(folder: Path) -> TrainedModel:
    found = _candidates(folder)
    if not found:
        raise FileNotFoundError(
            f"there is no {MANIFEST} in {folder}: expected the folder of a model; `trax-triplet "
            "train` writes one"
        )
    folder = found[0]
    settings, weights, others = folders.read_files(folder, MANIFEST, (VOCABULARY,))
    _check_settings(folder, settings)
    vocab_size, d_model = settings["vocab_size"], settings["d_model"]
    shapes, expected = {name: w.shape for name, w in weights.items()}, _shapes(vocab_size, d_model)
    if not _fit(shapes) or shapes["embedding"] != expected["embedding"]:
        raise folders.invalid(
            folder, f"the weights should be {expected}, but {WEIGHTS} holds {shapes}"
        )
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
        raise folders.invalid(folder, f"{WEIGHTS} holds numbers that are not finite float32")
    vocabulary = Vocabulary.from_bytes(others[VOCABULARY], folder / VOCABULARY)
    cut = vocabulary.tokenizer.partition("/")[0]
    if len(vocabulary) != vocab_size or cut != settings["tokenizer"]:
        raise folders.invalid(
            folder,
            f"{MANIFEST} says {vocab_size} ids by {settings['tokenizer']!r}, but {VOCABULARY} "
            f"holds {len(vocabulary)} by {vocabulary.tokenizer!r}",
        )
    return TrainedModel(weights, vocabulary, settings)


def load_trained(folder: str | os.PathLike[str]) -> TrainedModel:
    """`load_model` of a model folder, or of the one inside of the output folder of a training."""
    inside = check.path("folder", folder) / "model"
    has_model = inside.is_dir() or files.previous(inside).is_dir()
    return load_model(inside if has_model else folder)


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    kinds = {"vocab_size": int, "d_model": int, "pooling": str, "tokenizer": str, "training": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(settings.get(name), kind)]
    threshold = settings.get("threshold")
    if threshold is not None and not (isinstance(threshold, float) and np.isfinite(threshold)):
        wrong.append("threshold")
    try:
        check_calibration(settings.get("calibration"))
    except (TypeError, ValueError):
        wrong.append("calibration")
    if wrong or settings["pooling"] not in POOLINGS:
        raise folders.invalid(folder, f"{MANIFEST} has no usable {', '.join(wrong) or 'pooling'}")
