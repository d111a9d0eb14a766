"""Folders of arrays, text and JSON that are read as they were written, or refused.

A folder holds arrays (safetensors), maybe other files, and one JSON file, its manifest, with the
format, the settings, and length and SHA-256 of everything else. It is written beside the old one,
flushed to disk and renamed, so that one complete folder is there whatever happens. Nothing that is
read can run code. Of a run's checkpoints the last two stay.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from trax_triplet import _files as files

__all__ = [
    "checkpoints",
    "invalid",
    "load_checkpoint",
    "read_files",
    "read_folder",
    "save_checkpoint",
    "settled",
    "unused",
    "write_folder",
]

_Read = TypeVar("_Read")
FORMAT = 1
MAX_MANIFEST_BYTES = 4 * 2**20  # parsing takes some fifty times as much memory
MAX_FILE_BYTES = 8 * 2**30
ARRAYS, CHECKPOINT = "weights.safetensors", "checkpoint.json"


def write_folder(
    new: Path, manifest: str, settings: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes arrays, and a manifest of everything in a folder.

    Args:
        new: path of the folder, as from `_files.new_folder`; may hold other files.
        manifest: name of the JSON file.
        settings: what JSON can hold.
        arrays: named NumPy arrays.

    Raises:
        OSError: what the system reports.
        ValueError: more settings than would be read again, or NaN or infinity among them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_folder(Path(folder), "all.json", {"step": 3}, {"w": np.arange(2)})
        ...     read_folder(Path(folder), "all.json")
        ({'step': 3}, {'w': array([0, 1])})
    """
    # Not written by safetensors itself, whose error for a full disk is not Python's.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (new / ARRAYS).write_bytes(safetensors.numpy.save(contiguous))
    described = {path.name: _description(path.read_bytes()) for path in sorted(new.iterdir())}
    content = {"format": FORMAT, "settings": settings, "files": described}
    try:
        text = json.dumps({**content, "sha256": _digest(content)}, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"settings must be what JSON can hold: {error}") from None
    if len(text.encode()) > MAX_MANIFEST_BYTES:
        raise ValueError(
            f"settings and history take {len(text):,} characters, more than the "
            f"{MAX_MANIFEST_BYTES:,} bytes that are read again; evaluate less often"
        )
    (new / manifest).write_text(text, encoding="utf-8")


def read_folder(folder: Path, manifest: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the arrays of `read_files`; raises what it does."""
    settings, arrays, _ = read_files(folder, manifest, ())
    return settings, arrays


def read_files(
    folder: Path, manifest: str, others: Iterable[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, bytes]]:
    """Reads a folder that `write_folder` completed.

    Args:
        folder: path.
        manifest: name of the JSON file.
        others: names of other files that must be in it, as they were written.

    Returns:
        (settings, arrays, the bytes of the others by name). What was checked is what is returned:
        a file that is opened once more may be another one by then.

    Raises:
        ValueError: of another format, truncated, or changed since it was written.
    """
    content = _read_manifest(folder, manifest)
    read = {name: _read_file(folder, name, content["files"].get(name)) for name in others}
    data = _read_file(folder, ARRAYS, content["files"].get(ARRAYS))
    try:
        return content["settings"], safetensors.numpy.load(data), read
    except KeyError as error:  # the format has types that NumPy does not have
        raise invalid(
            folder, f"{ARRAYS} holds numbers of type {error}, which NumPy does not have"
        ) from error
    # The last two come from NumPy, for shapes.
    except (safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise invalid(folder, f"{ARRAYS} is not a safetensors file of arrays ({error})") from error


def settled(read: Callable[[], _Read], version: Callable[[], object]) -> _Read:
    """What `read` gives of files that another process may be replacing meanwhile: all of one state.

    Args:
        read: reads the files.
        version: what is different after they were replaced, such as the bytes of their manifest.

    Raises:
        BlockingIOError: they were replaced at each of ten attempts.
        Exception: what `read` raises of files that stayed as they were.

    Example:
        >>> settled(lambda: "the files", version=lambda: 1)
        'the files'
    """

    def state() -> object:
        try:
            return version()
        except OSError:
            return object()  # in the middle of a replacement: as nothing else

    for attempt in range(10):
        before = state()
        try:
            found = read()
        except (ValueError, OSError):
            if state() == before or attempt == 9:
                raise
            continue
        if state() == before:
            return found
    raise BlockingIOError("the files keep being replaced; try again later")


def invalid(folder: Path, what: str) -> ValueError:
    """The error for a folder that is not as it was written.

    Example:
        >>> invalid(Path("run/model"), "model.json is missing")
        ValueError('run/model is not a valid folder of trax-triplet: model.json is missing')
    """
    return ValueError(f"{folder} is not a valid folder of trax-triplet: {what}")


def _description(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise invalid(folder, f"{name} is missing")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise invalid(folder, f"{name} is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("sha256", None) if isinstance(content, dict) else None
        unchanged = digest == _digest(content)
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        raise invalid(folder, f"{name} is not readable as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise invalid(folder, f"{name} has format {found!r}; this version reads format {FORMAT}")
    if not unchanged:
        raise invalid(folder, f"{name} was changed since it was written (its SHA-256 differs)")
    if not isinstance(content.get("settings"), dict) or not isinstance(content.get("files"), dict):
        raise invalid(folder, f"{name} lacks its settings or its list of files")
    return content


def _read_file(folder: Path, name: str, expected: object) -> bytes:
    path = folder / name
    if not isinstance(expected, dict) or not path.is_file():
        raise invalid(folder, f"{name} is missing")
    size = path.stat().st_size
    if size != expected.get("bytes") or size > MAX_FILE_BYTES:
        raise invalid(folder, f"{name} should have {expected.get('bytes')} bytes, but has {size}")
    data = path.read_bytes()
    if _description(data) != expected:
        raise invalid(folder, f"{name} was changed since it was written (its SHA-256 differs)")
    return data


def save_checkpoint(
    folder: str | os.PathLike[str],
    step: int,
    arrays: Mapping[str, np.ndarray],
    settings: dict[str, Any],
) -> None:
    """Writes a checkpoint, and removes all but it and the one before.

    Args:
        folder: path of the folder of checkpoints; this one's is `folder/<step>`, in eight digits.
        step: after which it was made; the newest checkpoint is that of the largest.
        arrays: named NumPy arrays.
        settings: what JSON can hold.

    Raises:
        OSError: what the system reports; the checkpoints that were there are unchanged.
        ValueError: more settings than would be read again.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     for step in (5, 6, 7):
        ...         save_checkpoint(parent, step, {"w": np.arange(step)}, {"loss": 0.5})
        ...     arrays, settings, path = load_checkpoint(parent)
        ...     [checkpoint.name for checkpoint in checkpoints(parent)]
        ['00000006', '00000007']
        >>> arrays["w"].tolist(), settings, path.name
        ([0, 1, 2, 3, 4, 5, 6], {'loss': 0.5}, '00000007')
    """
    folder = Path(folder)
    for leftover in folder.glob(".[0-9]*.new"):  # of a run that was killed while it wrote
        shutil.rmtree(leftover)
    with files.new_folder(folder / f"{step:08d}") as new:
        write_folder(new, CHECKPOINT, settings, arrays)
    ours = [path for path in checkpoints(folder) if (path / CHECKPOINT).is_file()]
    for old in ours[:-2]:
        shutil.rmtree(old)


def load_checkpoint(
    folder: str | os.PathLike[str], log: Callable[[str], object] = lambda text: None
) -> tuple[dict[str, np.ndarray], dict[str, Any], Path]:
    """Reads the newest valid checkpoint.

    A newer one that is damaged is moved aside, to `<step>.damaged`, so that somebody can look at
    it.

    Args:
        folder: as in `save_checkpoint`.
        log: function that takes what to tell the user: which one was damaged, and how.

    Returns:
        (arrays, settings, path): what `save_checkpoint` was given, and the checkpoint's own folder.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: none is valid: of another format, truncated, or changed since it was written.
    """
    damaged = []
    for checkpoint in reversed(checkpoints(folder)):
        try:
            settings, arrays = read_folder(checkpoint, CHECKPOINT)
        except ValueError as error:
            damaged.append((checkpoint, error))
            continue
        for path, error in damaged:
            aside = unused(path.with_name(f"{path.name}.damaged"))
            os.replace(path, aside)
            log(f"{error}. It is kept as {aside}; {checkpoint} is used")
        return arrays, settings, checkpoint
    if damaged:
        raise ValueError(
            f"none of the checkpoints in {folder} is valid: {damaged[0][1]}. Name another output "
            "folder to start over"
        )
    raise FileNotFoundError(
        f"there is no {CHECKPOINT} in {folder}: expected the folder of checkpoints"
    )


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders of the checkpoints in `folder`, valid or not, the oldest first.

    Example:
        >>> checkpoints("no such folder")
        []
    """
    return sorted(
        path for path in Path(folder).glob("[0-9]*") if path.name.isdigit() and path.is_dir()
    )


def unused(path: Path) -> Path:
    """This path, or with the first number after it for which nothing is there yet.

    Example:
        >>> unused(Path("no such file")).name
        'no such file'
    """
    numbered = (path.with_name(f"{path.name}{n}") for n in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not os.path.lexists(each))
