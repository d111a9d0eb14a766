"""Arrays out of bytes that a stranger wrote; no size is believed before its bytes are there."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence

import numpy as np

__all__ = ["CODES", "NPY_MAGIC", "array_of", "npy_arrays", "printable", "upcast_bfloat16"]

MAX_DIMENSIONS = 32
MAX_SIZE = 2**40  # of one dimension; with another of 0 the product of all says nothing
# The types of an array's values by NumPy's codes.
CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")

NPY_MAGIC = b"\x93NUMPY"
# What np.save writes for numbers. NumPy hands a stranger's header to Python's parser; this does
# not.
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|]\w{2,3})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,15}, ?)*(?:\d{1,15})?)\), \} *\n"
)


def printable(text: object) -> str:
    """What a stranger wrote, short and without control characters.

    Example:
        >>> printable("\\x1b[31m red")
        '\\\\x1b[31m red'
    """
    text = ascii(str(text))[1:-1]
    return text if len(text) <= 100 else text[:100] + "..."


def array_of(
    shape: Sequence[int], dtype: np.dtype, data: bytes | bytearray, is_fortran: bool = False
) -> np.ndarray:
    """An array of these bytes, if they are as many as its shape says; it has memory of its own.

    Args:
        shape: tuple of int.
        dtype: NumPy dtype of numbers.
        data: the values.
        is_fortran: whether the first index runs fastest.

    Returns:
        Array, in this machine's byte order.

    Raises:
        ValueError: an impossible shape, or another number of bytes.

    Example:
        >>> array_of((2, 1), np.dtype(">u2"), bytes([0, 1, 1, 0])).tolist()
        [[1], [256]]
    """
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= size < MAX_SIZE for size in shape):
        raise ValueError(
            f"of a shape that has more than {MAX_DIMENSIONS} sizes, or one that is negative or at "
            f"least {MAX_SIZE:,}: {printable(shape)}"
        )
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(
            f"of shape {shape} and dtype {dtype}, for which its {len(data):,} bytes are not the "
            f"{math.prod(shape) * dtype.itemsize:,} that it takes"
        )
    array = np.ndarray(shape, dtype, data, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def upcast_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 values as float32, which has all of them.

    Args:
        bits: array of any shape, uint16: the values' bits.

    Returns:
        Array of the same shape, float32.

    Example:
        >>> upcast_bfloat16(np.array([0x3F80, 0xC000], np.uint16)).tolist()
        [1.0, -2.0]
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)


def npy_arrays(data: bytes, path: object) -> list[np.ndarray]:
    """The arrays that `np.save` wrote one after the other.

    Args:
        data: bytes of the file.
        path: that errors name.

    Raises:
        ValueError: truncated or damaged, or arrays of something other than numbers.

    Example:
        >>> from io import BytesIO
        >>> file = BytesIO()
        >>> np.save(file, np.arange(3))
        >>> npy_arrays(file.getvalue(), "a.npy")
        [array([0, 1, 2])]
    """
    if not data:
        raise ValueError(f"{path} is empty; it is truncated: take another copy")
    arrays, start = [], 0
    while start < len(data):
        which = f"{path}: array {len(arrays) + 1}"
        version = data[start + 6 : start + 8]
        length, head = {b"\x01\x00": ("<H", 10), b"\x02\x00": ("<I", 12)}.get(version, ("", 0))
        if data[start : start + 6] != NPY_MAGIC or not length or len(data) < start + head:
            raise ValueError(
                f"{which} should begin at byte {start:,}, but does not; the file is truncated or "
                "damaged: take another copy"
            )
        start += head
        end = start + struct.unpack(length, data[start - struct.calcsize(length) : start])[0]
        # No header of numbers is longer; a search of some millions of bytes would take long.
        header = _NPY_HEADER.fullmatch(data, start, min(end, start + 1000))
        if not header or header[1][1:].decode() not in CODES:
            found = printable(data[start : min(end, start + 200)].decode("latin1"))
            raise ValueError(
                f"{which} is described by {found}; expected a plain array of numbers "
                f"({', '.join(CODES)}), as np.save writes it"
            )
        dtype, shape = np.dtype(header[1].decode()), tuple(map(int, re.findall(rb"\d+", header[3])))
        start, end = end, end + math.prod(shape) * dtype.itemsize
        if end > len(data):
            raise ValueError(
                f"{which} takes {end - start:,} bytes, but {len(data) - start:,} are left; the "
                "file is truncated: take another copy"
            )
        try:
            arrays.append(array_of(shape, dtype, data[start:end], is_fortran=header[2] == b"True"))
        except ValueError as error:
            raise ValueError(f"{which} is {error}") from None
        start = end
    return arrays
