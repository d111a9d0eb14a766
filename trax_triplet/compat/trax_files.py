"""Weights in Trax's own files, such as the course's model.pkl.gz, read without trusting them.

Trax reads them with `pickle.load`, which runs whatever functions a file names; `unpickler` says
what is done here instead. Nothing here loads Trax.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _validation as check
from trax_triplet.compat.saved_arrays import NPY_MAGIC, npy_arrays, printable, upcast_bfloat16
from trax_triplet.compat.unpickler import values_of

__all__ = ["MAX_BYTES", "read_pickle", "read_trax_weights"]

MAX_BYTES = 512 * 2**20


def read_pickle(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Any:
    """What a pickle of weights holds; no file can make this run code.

    Args:
        path: of the file, gzipped or not.
        max_bytes: the most that is read, on the disk and unpacked. For a moment memory can be
            taken for about four times as many bytes as the file unpacks to.

    Returns:
        Lists, tuples, dictionaries, numbers, strings, bytes, booleans, None, NumPy arrays
        (writable, in this machine's byte order), NumPy dtypes, and `unpickler.ShapeDtype`. JAX
        arrays are NumPy arrays here, and bfloat16 is float32, which has all of its values.

    Raises:
        FileNotFoundError, OSError: as `open`.
        TypeError: `path` is not a path, or `max_bytes` not an integer.
        ValueError: the file names a function that weights do not need (no function was run), says
            something impossible of an array, is damaged, or larger than `max_bytes`; or `max_bytes`
            is below 1.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/model.pkl", "wb") as file:
        ...         pickle.dump({"flat_weights": [np.ones(2, np.float32)], "version": 3}, file)
        ...     content = read_pickle(file.name)
        >>> content["version"], content["flat_weights"][0].tolist()
        (3, [1.0, 1.0])
    """
    return values_of(_unpacked(path, max_bytes), path)


def read_trax_weights(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES
) -> list[np.ndarray]:
    """The weights in a file of `layer.save_to_file` or in a checkpoint of a Trax Loop.

    Args:
        path: of the pickle (`model.pkl.gz`), gzipped or not. Where the weights are not in it, the
            file beside it is read that Trax puts them in (`model.weights.npy.gz`). That file's
            path, or that of another with arrays by `np.save`, can be given, too.
        max_bytes: the most that is read of each file, on the disk and unpacked.

    Returns:
        The arrays in Trax's order. uint16 stands for bfloat16 in these files; both come as float32.

    Raises:
        FileNotFoundError: one of the files is not there.
        TypeError: as `read_pickle`.
        ValueError: as `read_pickle`; or the file holds no weights.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/model.pkl", "wb") as file:
        ...         pickle.dump({"flat_weights": [np.ones(2, np.float32)]}, file)
        ...     read_trax_weights(file.name)
        [array([1., 1.], dtype=float32)]
    """
    data = _unpacked(path, max_bytes)
    if data.startswith(NPY_MAGIC):
        return _weights(npy_arrays(data, path), path)
    content = values_of(data, path)
    if not isinstance(content, dict) or "flat_weights" not in content:
        holds = f"a {type(content).__name__}"
        if isinstance(content, dict):
            holds = printable(sorted(map(str, content)))
        raise ValueError(
            f"{path} holds {holds}; expected a dictionary with 'flat_weights', as Trax's "
            "save_to_file and its Loop write it"
        )
    stored = content["flat_weights"]
    if type(stored) is int:  # how strongly the file beside it is compressed
        path = _file_of_arrays(path)
        stored = npy_arrays(_unpacked(path, max_bytes), path)
    return _weights(stored, path)


def _unpacked(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The bytes of a file, unpacked where they are gzipped, as its first two bytes tell."""
    max_bytes = check.integer("max_bytes", max_bytes, 1)
    data = files.read_bytes(path, max_bytes)
    return files.gunzip(data, max_bytes, path) if data[:2] == b"\x1f\x8b" else data


def _file_of_arrays(path: str | os.PathLike[str]) -> str:
    """Where Trax puts the weights of a checkpoint whose pickle has none."""
    path = os.fspath(path)
    names = [path[:-6] + "weights.npy.gz"] if path.endswith(".pkl.gz") else []
    names.append(path + ".npy")
    for name in names:
        if os.path.exists(name):
            return name
    raise FileNotFoundError(
        f"the weights of {path} are in a file of their own, but there is no "
        f"{' and no '.join(names)}; copy it there, too"
    )


def _weights(stored: Any, path: object) -> list[np.ndarray]:
    """A file's `flat_weights` as a list of arrays, whatever lists and tuples they are in."""
    arrays, upcast = _flat(stored), {}
    for array in arrays:
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"{path}: among the weights is a {type(array).__name__}; expected arrays only"
            )
        # As Trax's Loop stores bfloat16. Once, in however many places the array occurs.
        if array.dtype == np.uint16 and id(array) not in upcast:
            upcast[id(array)] = upcast_bfloat16(array)
    return [upcast.get(id(array), array) for array in arrays]


def _flat(stored: Any) -> list[Any]:
    if not isinstance(stored, (list, tuple)):
        return [stored]
    return [array for each in stored for array in _flat(each)]
