"""Checks of what users pass that many rooms share."""

from __future__ import annotations

from operator import index

import numpy as np


def whole_number(name: str, value: int, least: int | None = 0) -> int:
    """`value` as an int; an error that calls it `name` unless it is whole, and at least `least`
    (unless None).

    Raises:
        TypeError: no whole number; a bool is none.
        ValueError: it is smaller.

    Example:
        >>> whole_number("batch_size", np.int32(8), 1)
        8
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} must be a whole number, got {value!r:.60}")
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def check_threshold(threshold: float) -> None:
    """Refuses a threshold of similarities that is no single number.

    Raises:
        TypeError: no number, or an array of them.
        ValueError: NaN, which no similarity is above.

    Example:
        >>> check_threshold(0.7)
    """
    number = np.asarray(threshold)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise TypeError(f"threshold must be a number such as 0.7, but it is {threshold!r:.60}")
    if np.isnan(number):
        raise ValueError(f"threshold must be a number such as 0.7, but it is {threshold!r}")
