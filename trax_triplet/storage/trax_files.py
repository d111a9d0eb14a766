"""Weights in Trax's own files, such as the course's model.pkl.gz, read without trusting them.

Trax reads them with `pickle.load`, which runs whatever functions a file names. `pickled` has what
is done here instead. Trax itself is loaded only by `load_trax_model`.
"""

import math
import os
import re
import struct

import numpy as np

from trax_triplet import _files as files
from trax_triplet.storage.unpickler import CODES, array_of, shown, values_of, widened

MAX_BYTES = 512 * 2**20
NPY_MAGIC = b"\x93NUMPY"
# What np.save writes for numbers. NumPy hands a stranger's header to Python's parser; this does
# not.
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|]\w{2,3})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,15}, ?)*(?:\d{1,15})?)\), \} *\n"
)


def read_pickle(path, *, max_bytes=MAX_BYTES):
    """What a pickle of weights holds; no file can make this run code.

    Args:
        path: of the file, gzipped or not.
        max_bytes: int, the most that is read, on the disk and unpacked. For a moment memory can be
            taken for about four times as many bytes as the file unpacks to.

    Returns:
        Lists, tuples, dictionaries, numbers, strings, bytes, booleans, None, NumPy arrays
        (writable, in this machine's byte order), NumPy dtypes, and `pickled.ShapeDtype`. JAX arrays
        are NumPy arrays here, and bfloat16 is float32, which has all of its values.

    Raises:
        FileNotFoundError, OSError: as `open`.
        TypeError: `max_bytes` is not a whole number.
        ValueError: the file names a function that weights do not need (no function was run), says
            of an array what cannot be, is damaged, or larger than `max_bytes`; or `max_bytes` is
            below 1.

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


def read_trax_weights(path, *, max_bytes=MAX_BYTES):
    """The weights in a file of `layer.save_to_file` or in a checkpoint of a Trax Loop.

    Args:
        path: of the pickle (`model.pkl.gz`), gzipped or not. Where the weights are not in it, the
            file beside it is read that Trax puts them in (`model.weights.npy.gz`). That file's
            path, or that of another with arrays by `np.save`, can be given, too.
        max_bytes: int, the most that is read of each file, on the disk and unpacked.

    Returns:
        list of arrays in Trax's order. uint16 stands for bfloat16 in these files; both come as
        float32.

    Raises:
        FileNotFoundError: one of the files is not there.
        TypeError: `max_bytes` is not a whole number.
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
        return _weights(_npy_arrays(data, path), path)
    content = values_of(data, path)
    if not isinstance(content, dict) or "flat_weights" not in content:
        holds = (
            shown(sorted(map(str, content)))
            if isinstance(content, dict)
            else f"a {type(content).__name__}"
        )
        raise ValueError(
            f"{path} holds {holds}; expected a dictionary with 'flat_weights', as Trax's save_to_file and "
            "its Loop write it"
        )
    stored = content["flat_weights"]
    if type(stored) is int:  # how strongly the file beside it is compressed
        path = _file_of_arrays(path)
        stored = _npy_arrays(_unpacked(path, max_bytes), path)
    return _weights(stored, path)


def _unpacked(path, max_bytes):
    """The bytes of a file, unpacked where they are gzipped, which its first two bytes tell."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, (int, np.integer)):
        raise TypeError(f"max_bytes is a whole number of bytes, but it is {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, but it is {max_bytes}")
    data = files.read_bytes(path, int(max_bytes))
    return files.gunzip(data, int(max_bytes), path) if data[:2] == b"\x1f\x8b" else data


def _file_of_arrays(path):
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


def _weights(stored, path):
    """A file's `flat_weights` as a list of arrays, whatever lists and tuples they stand in."""
    arrays, wide = _flat(stored), {}
    for array in arrays:
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"{path}: among the weights is a {type(array).__name__}; expected arrays alone"
            )
        if (
            array.dtype == np.uint16 and id(array) not in wide
        ):  # once, in however many places it stands
            wide[id(array)] = widened(array)  # as Trax's Loop stores bfloat16
    return [wide.get(id(array), array) for array in arrays]


def _flat(stored):
    return (
        [x for each in stored for x in _flat(each)]
        if isinstance(stored, (list, tuple))
        else [stored]
    )


def _npy_arrays(data, path):
    """The arrays that `np.save` wrote one behind the other; no size is believed before its bytes
    are there."""
    if not data:
        raise ValueError(f"{path} is empty; it is truncated: take another copy")
    arrays, start = [], 0
    while start < len(data):
        which = f"{path}: array {len(arrays) + 1}"
        version = data[start + 6 : start + 8]
        length, head = {b"\x01\x00": ("<H", 10), b"\x02\x00": ("<I", 12)}.get(version, ("", 0))
        if data[start : start + 6] != NPY_MAGIC or not length or len(data) < start + head:
            raise ValueError(
                f"{which} should begin at byte {start:,}, but does not; the file is truncated or damaged: "
                "take another copy"
            )
        start += head
        end = start + struct.unpack(length, data[start - struct.calcsize(length) : start])[0]
        # No header of numbers is longer; a search of some millions of bytes would take long.
        header = _NPY_HEADER.fullmatch(data, start, min(end, start + 1000))
        if not header or header[1][1:].decode() not in CODES:
            raise ValueError(
                f"{which} is described by {shown(data[start : min(end, start + 200)].decode('latin1'))}; "
                f"expected a plain array of numbers ({', '.join(CODES)}), as np.save writes it"
            )
        dtype, shape = np.dtype(header[1].decode()), tuple(map(int, re.findall(rb"\d+", header[3])))
        start, end = end, end + math.prod(shape) * dtype.itemsize
        if end > len(data):
            raise ValueError(
                f"{which} takes {end - start:,} bytes, but {len(data) - start:,} are left; the file is "
                "truncated: take another copy"
            )
        try:
            arrays.append(array_of(shape, dtype, data[start:end], is_fortran=header[2] == b"True"))
        except ValueError as error:
            raise ValueError(f"{which} is {error}") from None
        start = end
    return arrays
