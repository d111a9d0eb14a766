"""Checks of what users pass that many rooms share."""

from __future__ import annotations

from operator import index

import numpy as np


def whole_number(name: str, value: int, least: int | None = 0) -> int:
    """`value` as an int; an error that calls it `name` unless it is whole, and at least `least` (unless None).

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
