"""Folders on disk: a model to use, a checkpoint to go on from. Reading one runs no code of the file's author.

A folder holds arrays (safetensors), for a model also its vocabulary, and one JSON file that names the
format, the settings, and length and SHA-256 of everything else. It is written beside the old one, flushed
to disk and renamed, so that whatever happens one whole folder is there.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from trax_triplet.encoder import Encoder
from trax_triplet.model import POOLINGS, Siamese, get_weights, set_weights
from trax_triplet.tokenizer import TOKENIZER_VERSIONS
from trax_triplet.vocabulary import Vocabulary

FORMAT = 1
MAX_SETTINGS_BYTES = 16 * 2**20
MAX_FILE_BYTES = 8 * 2**30
MODEL, CHECKPOINT = "model.json", "checkpoint.json"
WEIGHTS, VOCABULARY = "weights.safetensors", "vocabulary.txt"


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with its vocabulary and settings: what a model folder holds.

    Attributes:
        model: the `Siamese` layer, in mode 'eval', with its weights.
        vocabulary: the `Vocabulary` that turns questions into its ids.
        settings: dict: 'pooling', 'threshold' and 'threshold_source' (None where none was chosen), 'training'.

    Example:
        >>> from trax_triplet.model import init_model
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
        >>> trained = TrainedModel(layer, vocabulary, {"pooling": "last"})
        >>> trained.embed(["how old?", ""]).shape
        (2, 4)
        >>> [round(float(s), 4) for s in trained.similarity(["Are you old?"], ["are you OLD ?"])]
        [1.0]
    """

    model: object
    vocabulary: Vocabulary
    settings: dict

    def embed(self, questions):
        """Unit vectors of questions.

        Args:
            questions: sequence of n strings; one without words gets the zero vector.

        Returns:
            NumPy float32 array (n, d_model).

        Raises:
            TypeError: one string where a list of them belongs.
        """
        if isinstance(questions, str):
            raise TypeError(f"embed takes a list of questions, but got one string; write [{questions!r}]")
        return self._encoder(self.vocabulary.encode_all(questions))

    def similarity(self, questions1, questions2):
        """Cosine similarity of each pair of questions.

        Args:
            questions1: sequence of n strings.
            questions2: sequence of n strings.

        Returns:
            NumPy float32 array (n,), in [-1, 1].

        Raises:
            ValueError: the two have different lengths.
            TypeError: one string where a list of them belongs.
        """
        if len(questions1) != len(questions2):
            raise ValueError(f"similarity compares pairs, but there are {len(questions1)} first and "
                             f"{len(questions2)} second questions")
        vectors = self.embed([*questions1, *questions2])
        return np.einsum("nd,nd->n", vectors[:len(questions1)], vectors[len(questions1):])

    @functools.cached_property
    def _encoder(self):
        return Encoder(self.model)  # kept: it holds the compiled code


def save_model(folder, trained):
    """Writes a model folder, replacing an older model folder of that name.

    Args:
        folder: path of the folder; parents are made.
        trained: a `TrainedModel`.

    Raises:
        FileExistsError: something stands there that is not a model folder.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model import init_model
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     save_model(f"{parent}/model", TrainedModel(layer, vocabulary, {"pooling": "last"}))
        ...     again = load_model(f"{parent}/model")
        >>> again.vocabulary == vocabulary
        True
    """
    weights = get_weights(trained.model)
    vocab_size, d_model = weights["embedding"].shape
    settings = {"threshold": None, "threshold_source": None, "training": {}, **trained.settings,
                "vocab_size": vocab_size, "d_model": d_model,
                "tokenizer": trained.vocabulary.tokenizer,
                "tokenizer_version": TOKENIZER_VERSIONS[trained.vocabulary.tokenizer]}
    with _new_folder(folder, MODEL) as new:
        trained.vocabulary.save(new / VOCABULARY)
        safetensors.numpy.save_file(weights, new / WEIGHTS)
        _write_settings(new, MODEL, settings)


def load_model(folder):
    """Reads a model folder.

    Args:
        folder: path of a folder that `save_model` wrote.

    Returns:
        A `TrainedModel`.

    Raises:
        FileNotFoundError: no model folder is there.
        ValueError: the folder is of another format, truncated, changed since it was written, or its
            parts do not fit each other.
    """
    folder = _existing(folder, MODEL, "a model; `trax-triplet train` writes one")
    settings, files = _read_folder(folder, MODEL, (WEIGHTS, VOCABULARY))
    _check_model_settings(folder, settings)
    vocab_size, d_model = settings["vocab_size"], settings["d_model"]
    weights = _arrays(folder, WEIGHTS, files[WEIGHTS])
    shapes = {"embedding": (vocab_size, d_model), "lstm/kernel": (2 * d_model, 4 * d_model),
              "lstm/bias": (4 * d_model,)}
    found = {name: w.shape for name, w in weights.items()}
    if found != shapes:
        raise _broken(folder, f"the weights should be {shapes}, but {WEIGHTS} holds {found}")
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
        raise _broken(folder, f"{WEIGHTS} holds numbers that are not finite float32")
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    if len(vocabulary) != vocab_size or vocabulary.tokenizer != settings["tokenizer"]:
        raise _broken(folder, f"{MODEL} tells of {vocab_size} ids by {settings['tokenizer']!r}, but {VOCABULARY} "
                              f"holds {len(vocabulary)} by {vocabulary.tokenizer!r}")
    layer = Siamese(vocab_size, d_model, "eval", pooling=settings["pooling"])
    return TrainedModel(set_weights(layer, weights), vocabulary, settings)


def save_checkpoint(folder, arrays, settings):
    """Writes a checkpoint folder, replacing an older one.

    Args:
        folder: path of the folder.
        arrays: dict of named NumPy arrays.
        settings: what JSON can hold.

    Raises:
        FileExistsError: something stands there that is not a checkpoint folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     save_checkpoint(f"{parent}/checkpoint", {"w": np.arange(3)}, {"step": 5})
        ...     arrays, settings = load_checkpoint(f"{parent}/checkpoint")
        >>> arrays["w"].tolist(), settings["step"]
        ([0, 1, 2], 5)
    """
    with _new_folder(folder, CHECKPOINT) as new:
        safetensors.numpy.save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, new / WEIGHTS)
        _write_settings(new, CHECKPOINT, settings)


def load_checkpoint(folder):
    """Reads a checkpoint folder: (arrays, settings) as given to `save_checkpoint`.

    Raises:
        FileNotFoundError: no checkpoint folder is there.
        ValueError: the folder is of another format, truncated, or changed since it was written.
    """
    folder = _existing(folder, CHECKPOINT, "a checkpoint")
    settings, files = _read_folder(folder, CHECKPOINT, (WEIGHTS,))
    return _arrays(folder, WEIGHTS, files[WEIGHTS]), settings


def has_checkpoint(folder):
    """Whether a checkpoint folder is there to go on from.

    Example:
        >>> has_checkpoint("no such folder")
        False
    """
    folder = Path(folder)
    return any((f / CHECKPOINT).is_file() for f in (folder, _previous(folder)))


class _new_folder:
    """Context: a new folder to fill, which takes the place of `folder` once it is whole."""

    def __init__(self, folder, settings_file):
        self._target = Path(folder)
        self._new = self._target.with_name(self._target.name + ".new")
        if self._target.exists() and not (self._target / settings_file).is_file():
            raise FileExistsError(f"{folder} is there already and holds no {settings_file}; it is not replaced. "
                                  "Name another folder, or move this one away")

    def __enter__(self):
        shutil.rmtree(self._new, ignore_errors=True)  # left by a run that was killed
        self._new.mkdir(parents=True)
        return self._new

    def __exit__(self, error, *_):
        if error:
            shutil.rmtree(self._new, ignore_errors=True)
            return
        for path in (*self._new.iterdir(), self._new):
            _flush(path)
        previous = _previous(self._target)
        if self._target.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(self._target, previous)
        os.replace(self._new, self._target)
        _flush(self._target.parent)
        shutil.rmtree(previous, ignore_errors=True)


def _previous(folder):
    """Where the old folder stands between the two renames; a reader looks there when a run was killed."""
    return folder.with_name(folder.name + ".old")


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_settings(folder, name, settings):
    files = {path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
             for path in sorted(folder.iterdir())}
    content = {"format": FORMAT, "settings": settings, "files": files}
    content["sha256"] = _digest(content)
    (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _existing(folder, settings_file, what):
    folder = Path(folder)
    for candidate in (folder, _previous(folder)):
        if (candidate / settings_file).is_file():
            return candidate
    raise FileNotFoundError(f"there is no {settings_file} in {folder}: expected the folder of {what}")


def _read_folder(folder, name, expected_files):
    """The settings of a folder, and its other files' bytes, each checked for length and SHA-256."""
    if (folder / name).stat().st_size > MAX_SETTINGS_BYTES:
        raise _broken(folder, f"{name} is larger than {MAX_SETTINGS_BYTES} bytes")
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        raise _broken(folder, f"{name} is not readable as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise _broken(folder, f"{name} has format {found!r}; this version reads format {FORMAT}")
    if content.pop("sha256", None) != _digest(content):
        raise _broken(folder, f"{name} was changed since it was written (its SHA-256 differs)")
    if not isinstance(content.get("settings"), dict) or not isinstance(content.get("files"), dict):
        raise _broken(folder, f"{name} lacks its settings or its list of files")
    return content["settings"], {f: _read_file(folder, f, content["files"].get(f)) for f in expected_files}


def _read_file(folder, name, expected):
    path = folder / name
    if not isinstance(expected, dict) or not path.is_file():
        raise _broken(folder, f"{name} is missing")
    size = path.stat().st_size
    if size != expected.get("bytes") or size > MAX_FILE_BYTES:
        raise _broken(folder, f"{name} should have {expected.get('bytes')} bytes, but has {size}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected.get("sha256"):
        raise _broken(folder, f"{name} was changed since it was written (its SHA-256 differs)")
    return content


def _arrays(folder, name, content):
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise _broken(folder, f"{name} is no safetensors file ({error})") from error


def _check_model_settings(folder, settings):
    kinds = {"vocab_size": int, "d_model": int, "pooling": str, "tokenizer": str, "training": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(settings.get(name), kind)]
    threshold = settings.get("threshold")
    if threshold is not None and not (isinstance(threshold, float) and np.isfinite(threshold)):
        wrong.append("threshold")
    if wrong or settings["pooling"] not in POOLINGS:
        raise _broken(folder, f"{MODEL} has no usable {', '.join(wrong) or 'pooling'}")


def _broken(folder, what):
    return ValueError(f"{folder} is not a whole folder of trax-triplet: {what}")
