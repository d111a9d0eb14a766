"""Folders on disk: a model to use, a checkpoint to go on from. Reading one runs no code of the
file's author.

A folder holds arrays (safetensors), for a model also its vocabulary, and one JSON file that names
the format, the settings, and length and SHA-256 of everything else. It is written beside the old
one, flushed to disk and renamed, so that whatever happens one whole folder is there. Of a run's
checkpoints the last two stay.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from trax_triplet import _files as files
from trax_triplet.data.tokenizer import TOKENIZER_VERSIONS
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import POOLINGS, Siamese, get_weights, set_weights

FORMAT = 1
MAX_SETTINGS_BYTES = 4 * 2**20  # parsing takes some fifty times as much memory
MAX_FILE_BYTES = 8 * 2**30
MODEL, CHECKPOINT = "model.json", "checkpoint.json"
WEIGHTS, VOCABULARY = "weights.safetensors", "vocabulary.txt"


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with its vocabulary and settings: what a model folder holds.

    Attributes:
        model: the `Siamese` layer, in mode 'eval', with its weights.
        vocabulary: the `Vocabulary` that turns questions into its ids.
        settings: dict: 'pooling', 'threshold' and 'threshold_source' (None where none was chosen),
            'training'.

    Raises:
        TypeError: a part that is something else.
        ValueError: a vocabulary of more or fewer ids than the model has.

    Example:
        >>> from trax_triplet.model.siamese import init_model
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

    def __post_init__(self):
        for name, kind in (("vocabulary", Vocabulary), ("settings", dict)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} must be a {kind.__name__}, but it is a {type(value).__name__}"
                )
        vocab_size = len(get_weights(self.model)["embedding"])
        if vocab_size != len(self.vocabulary):
            raise ValueError(
                f"the vocabulary has {len(self.vocabulary)} ids, but the model has {vocab_size}; take the "
                "vocabulary that it was trained with"
            )

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
            raise TypeError(
                f"embed takes a list of questions, but got one string; write [{questions!r:.60}]"
            )
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
        for questions in (questions1, questions2):
            if isinstance(questions, (str, bytes)) or not hasattr(questions, "__len__"):
                kind = "one string" if isinstance(questions, str) else type(questions).__name__
                raise TypeError(
                    f"similarity takes two lists of questions, but got {kind}; write [first], [second]"
                )
        if len(questions1) != len(questions2):
            raise ValueError(
                f"similarity compares pairs, but there are {len(questions1)} first and "
                f"{len(questions2)} second questions"
            )
        vectors = self.embed([*questions1, *questions2])
        return np.einsum("nd,nd->n", vectors[: len(questions1)], vectors[len(questions1) :])

    @functools.cached_property
    def _encoder(self):
        return Encoder(self.model)  # kept: it holds the compiled code


def save_model(folder, trained):
    """Writes a model folder, replacing an older model folder of that name.

    Args:
        folder: path of the folder; parents are made.
        trained: a `TrainedModel`.

    Raises:
        TypeError: `folder` is no path, `trained` no `TrainedModel`.
        FileExistsError: something stands there that is not a model folder.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model.siamese import init_model
        >>> vocabulary = Vocabulary.build(["How old are you?"])
        >>> layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     save_model(f"{parent}/model", TrainedModel(layer, vocabulary, {"pooling": "last"}))
        ...     again = load_model(f"{parent}/model")
        >>> again.vocabulary == vocabulary
        True
    """
    if not isinstance(trained, TrainedModel):
        raise TypeError(f"save_model takes a TrainedModel, but got a {type(trained).__name__}")
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, but it is {folder!r:.60}")
    weights = get_weights(trained.model)
    vocab_size, d_model = weights["embedding"].shape
    settings = {
        "threshold": None,
        "threshold_source": None,
        "training": {},
        **trained.settings,
        "vocab_size": vocab_size,
        "d_model": d_model,
        "tokenizer": trained.vocabulary.tokenizer,
        "tokenizer_version": TOKENIZER_VERSIONS[trained.vocabulary.tokenizer],
    }
    folder = Path(folder)
    if folder.exists() and not (folder / MODEL).is_file():
        raise FileExistsError(
            f"{folder} is there already and holds no {MODEL}; it is not replaced. Name another "
            "folder, or move this one away"
        )
    with files.new_folder(folder) as new:
        trained.vocabulary.save(new / VOCABULARY)
        _write_arrays(new / WEIGHTS, weights)
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
    # Killed between its two renames, a run leaves the old folder alone.
    found = [f for f in (Path(folder), files.previous(folder)) if (f / MODEL).is_file()]
    if not found:
        raise FileNotFoundError(
            f"there is no {MODEL} in {folder}: expected the folder of a model; `trax-triplet train` "
            "writes one"
        )
    folder = found[0]
    settings, content = _read_folder(folder, MODEL, (WEIGHTS, VOCABULARY))
    _check_model_settings(folder, settings)
    vocab_size, d_model = settings["vocab_size"], settings["d_model"]
    weights = _arrays(folder, WEIGHTS, content[WEIGHTS])
    shapes = {
        "embedding": (vocab_size, d_model),
        "lstm/kernel": (2 * d_model, 4 * d_model),
        "lstm/bias": (4 * d_model,),
    }
    found = {name: w.shape for name, w in weights.items()}
    if found != shapes:
        raise _broken(folder, f"the weights should be {shapes}, but {WEIGHTS} holds {found}")
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
        raise _broken(folder, f"{WEIGHTS} holds numbers that are not finite float32")
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    if len(vocabulary) != vocab_size or vocabulary.tokenizer != settings["tokenizer"]:
        raise _broken(
            folder,
            f"{MODEL} tells of {vocab_size} ids by {settings['tokenizer']!r}, but {VOCABULARY} "
            f"holds {len(vocabulary)} by {vocabulary.tokenizer!r}",
        )
    layer = Siamese(vocab_size, d_model, "eval", pooling=settings["pooling"])
    return TrainedModel(set_weights(layer, weights), vocabulary, settings)


def save_checkpoint(folder, step, arrays, settings):
    """Writes a checkpoint, and removes all but it and the one before.

    Args:
        folder: path of the folder of checkpoints; this one's is `folder/<step>`, in eight digits.
        step: int, after which it was made; the newest checkpoint is that of the largest.
        arrays: dict of named NumPy arrays.
        settings: what JSON can hold.

    Raises:
        OSError: what the system says; the checkpoints that were there are as they were then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     for step in (5, 6, 7):
        ...         save_checkpoint(parent, step, {"w": np.arange(step)}, {"loss": 0.5})
        ...     arrays, settings, name = load_checkpoint(parent)
        ...     [checkpoint.name for checkpoint in checkpoints(parent)]
        ['00000006', '00000007']
        >>> arrays["w"].tolist(), settings, name.name
        ([0, 1, 2, 3, 4, 5, 6], {'loss': 0.5}, '00000007')
    """
    folder = Path(folder)
    for leftover in folder.glob("*.new"):  # of a run that was killed while it wrote
        shutil.rmtree(leftover)
    with files.new_folder(folder / f"{step:08d}") as new:
        _write_arrays(new / WEIGHTS, arrays)
        _write_settings(new, CHECKPOINT, settings)
    for old in checkpoints(folder)[:-2]:
        shutil.rmtree(old)


def load_checkpoint(folder, say=lambda text: None):
    """Reads the newest checkpoint that is whole.

    A newer one that is damaged is moved aside, to `<step>.damaged`, so that somebody can look at
    it.

    Args:
        folder: as in `save_checkpoint`.
        say: function that takes what to tell the user: which one was damaged, and how.

    Returns:
        (arrays, settings, path): what `save_checkpoint` was given, and the checkpoint's own folder.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: none is whole: of another format, truncated, or changed since it was written.
    """
    damaged = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            settings, found = _read_folder(checkpoint, CHECKPOINT, (WEIGHTS,))
            arrays = _arrays(checkpoint, WEIGHTS, found[WEIGHTS])
        except ValueError as error:
            damaged.append((checkpoint, error))
            continue
        for bad, error in damaged:
            aside = _free(bad.with_name(bad.name + ".damaged"))
            os.replace(bad, aside)
            say(f"{error}. It is kept as {aside}; {checkpoint} is used")
        return arrays, settings, checkpoint
    if damaged:
        raise ValueError(
            f"none of the checkpoints in {folder} is whole: {damaged[0][1]}. Name another output folder "
            "to start anew"
        )
    raise FileNotFoundError(
        f"there is no {CHECKPOINT} in {folder}: expected the folder of checkpoints"
    )


def checkpoints(folder):
    """The folders of the checkpoints in `folder`, whole or not, the oldest first.

    Example:
        >>> checkpoints("no such folder")
        []
    """
    return sorted(
        path for path in Path(folder).glob("[0-9]*") if path.name.isdigit() and path.is_dir()
    )


def _free(path):
    """This path, or with the first number behind it that makes it free."""
    candidates = itertools.chain(
        [path], (path.with_name(f"{path.name}{n}") for n in itertools.count(2))
    )
    return next(candidate for candidate in candidates if not candidate.exists())


def _write_arrays(path, arrays):
    # Written here, not by safetensors, whose error for a full disk is none of Python's.
    path.write_bytes(
        safetensors.numpy.save(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        )
    )


def _write_settings(folder, name, settings):
    manifest = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
    }
    content = {"format": FORMAT, "settings": settings, "files": manifest}
    content["sha256"] = _digest(content)
    text = json.dumps(content, indent=1) + "\n"
    if len(text.encode()) > MAX_SETTINGS_BYTES:
        raise ValueError(
            f"settings and history take {len(text):,} characters, more than the {MAX_SETTINGS_BYTES:,} bytes "
            "that are read again; evaluate less often"
        )
    (folder / name).write_text(text, encoding="utf-8")


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_folder(folder, name, expected_files):
    """The settings of a folder, and its other files' bytes, each checked for length and SHA-256."""
    if not (folder / name).is_file():
        raise _broken(folder, f"{name} is missing")
    if (folder / name).stat().st_size > MAX_SETTINGS_BYTES:
        raise _broken(folder, f"{name} is larger than {MAX_SETTINGS_BYTES} bytes")
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        digest = content.pop("sha256", None) if isinstance(content, dict) else None
        whole = digest == _digest(content)
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        raise _broken(folder, f"{name} is not readable as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise _broken(folder, f"{name} has format {found!r}; this version reads format {FORMAT}")
    if not whole:
        raise _broken(folder, f"{name} was changed since it was written (its SHA-256 differs)")
    if not isinstance(content.get("settings"), dict) or not isinstance(content.get("files"), dict):
        raise _broken(folder, f"{name} lacks its settings or its list of files")
    return content["settings"], {
        f: _read_file(folder, f, content["files"].get(f)) for f in expected_files
    }


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
    except KeyError as error:  # the format has types that NumPy has not
        raise _broken(
            folder, f"{name} holds numbers of type {error}, which NumPy does not know"
        ) from error
    except (
        safetensors.SafetensorError,
        ValueError,
        OverflowError,
    ) as error:  # the last two: shapes, from NumPy
        raise _broken(folder, f"{name} is no safetensors file of arrays ({error})") from error


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
