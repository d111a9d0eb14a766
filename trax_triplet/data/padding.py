"""Rows of word ids as one padded array: how long it is, and how it is filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.vocabulary import PAD_ID

__all__ = [
    "LENGTH_MULTIPLE",
    "LONGEST_MULTIPLE",
    "course_length",
    "id_rows",
    "pad",
    "rounded_length",
]

LENGTH_MULTIPLE = 8  # lengths are rounded up to multiples: few shapes to compile, little padding
LONGEST_MULTIPLE = 64  # where padding counts, longer questions go up to a power of two


def rounded_length(n_words: int) -> int:
    """The least multiple of `LENGTH_MULTIPLE`, but not 0, that holds so many words.

    Example:
        >>> rounded_length(0), rounded_length(8), rounded_length(9)
        (8, 8, 16)
    """
    return max(1, -(-n_words // LENGTH_MULTIPLE)) * LENGTH_MULTIPLE


def course_length(n_words: int) -> int:
    """The length that a question is padded to for a course's model, whose vectors depend on it.

    Example:
        >>> course_length(9), course_length(64), course_length(65)
        (16, 64, 128)
    """
    if n_words <= LONGEST_MULTIPLE:
        return rounded_length(n_words)
    return 1 << (n_words - 1).bit_length()


def pad(rows: Sequence[np.ndarray], length: int, n_rows: int | None = None) -> np.ndarray:
    """Puts rows of ids into one array, padded on the right with `PAD_ID`.

    Args:
        rows: int arrays (n_tokens,) of at most `length` ids; any may be empty.
        length: the common length.
        n_rows: rows of the array; those after the given ones hold only padding. None: no further
            ones.

    Returns:
        int32 (n_rows, length).

    Example:
        >>> pad([[5, 6, 7], [8]], 4, 3).tolist()
        [[5, 6, 7, 1], [8, 1, 1, 1], [1, 1, 1, 1]]
    """
    n_rows = len(rows) if n_rows is None else n_rows
    padded = np.full((n_rows, length), PAD_ID, np.int32)
    lengths = np.zeros(n_rows, np.int64)
    lengths[: len(rows)] = [len(row) for row in rows]
    if lengths.any():
        padded[np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    return padded


def id_rows(name: str, rows: Any) -> list[np.ndarray]:
    """Rows of word ids as arrays, int64 (n_tokens,), once they are known to be that.

    Args:
        name: of the argument, as the user knows it.
        rows: a sequence of rows; any may be empty.

    Raises:
        TypeError: not a list, or a row that does not hold integers.

    Example:
        >>> [row.tolist() for row in id_rows("ids", [[5, 6], ()])]
        [[5, 6], []]
    """
    if isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__"):
        raise check.wrong_type(name, "a list of word ids, each int (n_tokens,)", rows)
    rows = check.complete(name, rows)
    arrays = [np.asarray(row) for row in rows]
    for number, row in enumerate(arrays):
        if row.ndim != 1 or (len(row) and row.dtype.kind not in "iu"):
            raise check.wrong_type(f"{name}[{number}]", "word ids, int (n_tokens,)", row)
    return [row.astype(np.int64, copy=False) for row in arrays]
