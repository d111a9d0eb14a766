"""All checks of arguments: one policy, and one form of message.

A wrong type is a `TypeError`, a wrong value a `ValueError`. NumPy's integers and floats are
numbers; bools are not. A message says the argument's name, what was expected, what came, and, where
it is not plain, what to do:

    batch_size must be an integer of at least 1, but it is 0
    pairs must be trax_triplet.Pairs, but it is a list; make them with read_pairs(path)
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from operator import index
from pathlib import Path
from typing import Any

import numpy as np


def wrong_type(name: str, expected: str, value: object, advice: str = "") -> TypeError:
    """The error for an argument of a wrong type.

    Args:
        name: of the argument, as the user knows it.
        expected: what it must be, such as "an integer".
        value: what came.
        advice: what to do, where it is not plain.

    Returns:
        The error, to be raised.

    Example:
        >>> raise wrong_type("words", "a list of strings", "how", "put it into a list")
        Traceback (most recent call last):
        ...
        TypeError: words must be a list of strings, but it is 'how'; put it into a list
    """
    return TypeError(_message(name, expected, shown(value), advice))


def wrong_value(name: str, expected: str, value: object, advice: str = "") -> ValueError:
    """The error for an argument of the right type with a wrong value; as `wrong_type`.

    Example:
        >>> raise wrong_value("steps", "an integer of at least 1", 0)
        Traceback (most recent call last):
        ...
        ValueError: steps must be an integer of at least 1, but it is 0
    """
    return ValueError(_message(name, expected, shown(value), advice))


def _message(name: str, expected: str, came: str, advice: str) -> str:
    return f"{name} must be {expected}, but it is {came}" + (f"; {advice}" if advice else "")


def shown(value: Any) -> str:
    """A value as messages show it: short, and an array by its dtype and shape.

    Example:
        >>> shown(np.zeros((2, 3), "float32")), shown(1.5), shown([1, 2])
        ('float32 of shape (2, 3)', '1.5', '[1, 2]')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape):
        dtype = getattr(value.dtype, "name", value.dtype)
        return f"{dtype} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def integer(name: str, value: Any, minimum: int | None = 0, maximum: int | None = None) -> int:
    """`value` as an int, once it is known to be an integer within the bounds.

    Args:
        name: of the argument, as the user knows it.
        value: any integer, NumPy's among them; a bool is not one.
        minimum, maximum: bounds, both allowed themselves; None: no bound.

    Raises:
        TypeError: not an integer.
        ValueError: outside the bounds.

    Example:
        >>> integer("batch_size", np.int32(8), 1)
        8
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise wrong_type(name, "an integer" + _bounds(minimum, maximum), value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise wrong_value(name, "an integer" + _bounds(minimum, maximum), number)
    return number


def _bounds(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    return "" if maximum is None else f" of at most {maximum}"


def number(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a float, once it is known to be a finite number within the bounds.

    Args:
        name: of the argument, as the user knows it.
        value: any real number, NumPy's and arrays of no dimension among them; a bool is not one.
        minimum, maximum: bounds that are allowed themselves; None: no bound.
        above, below: bounds that are not.

    Raises:
        TypeError: not a number.
        ValueError: outside the bounds, infinite or NaN.

    Example:
        >>> number("margin", np.float32(0.25), 0)
        0.25
    """
    expected = "a finite number" + _bounds(minimum, maximum)
    limits = [
        f"{word} {bound:g}"
        for word, bound in (("above", above), ("below", below))
        if bound is not None
    ]
    if limits:
        expected += (" and " if minimum is not None else " ") + " and ".join(limits)
    if isinstance(value, (str, bytes, bool, np.bool_)) or value is None:
        raise wrong_type(name, expected, value)
    if not isinstance(value, numbers.Real):
        try:
            array = np.asarray(value)
        except (TypeError, NotImplementedError, ValueError):  # JAX, TensorFlow; ragged lists
            advice = (
                "a number that is being traced has no value yet: make it an argument that jit does "
                "not trace (static_argnames), or a constant"
            )
            raise wrong_type(name, expected, value, advice) from None
        is_number = array.dtype.kind in "iuf" or array.dtype.name == "bfloat16"
        if array.ndim or not is_number:
            raise wrong_type(name, expected, value)
    real = float(value)
    if (
        not math.isfinite(real)
        or (minimum is not None and real < minimum)
        or (maximum is not None and real > maximum)
        or (above is not None and real <= above)
        or (below is not None and real >= below)
    ):
        raise wrong_value(name, expected, real)
    return real


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool, once it is known to be True or False.

    Raises:
        TypeError: anything else.

    Example:
        >>> boolean("normalize", np.True_)
        True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(name, "True or False", value)
    return bool(value)


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value`, once it is known to be one of those allowed.

    Raises:
        TypeError: strings are allowed, and it is not one.
        ValueError: not one of those allowed; the message lists them.

    Example:
        >>> one_of("closest", "hardest", ("semi-hard", "hardest"))
        'hardest'
    """
    allowed = tuple(allowed)
    expected = f"one of {', '.join(map(repr, allowed))}"
    if all(isinstance(a, str) for a in allowed) and not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if value not in allowed:
        raise wrong_value(name, expected, value)
    return value


def instance(name: str, value: Any, kind: type | tuple[type, ...], expected: str, advice="") -> Any:
    """`value`, once it is known to be of a class.

    Args:
        name: of the argument, as the user knows it.
        value: what came.
        kind: the class, or several.
        expected: the class in words, such as "trax_triplet.Pairs".
        advice: how to make one, where it is not plain.

    Raises:
        TypeError: it is of another class.

    Example:
        >>> instance("words", ["how"], (list, tuple), "a list of strings")
        ['how']
    """
    if not isinstance(value, kind):
        raise TypeError(_message(name, expected, f"{_article(type(value).__name__)}", advice))
    return value


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def function(name: str, value: Any, expected: str = "a function") -> Callable:
    """`value`, once it is known to be callable.

    Raises:
        TypeError: it cannot be called.

    Example:
        >>> function("vectors", len)
        <built-in function len>
    """
    if not callable(value):
        raise wrong_type(name, expected, value)
    return value


def path(name: str, value: Any) -> Path:
    """`value` as a `Path`, once it is known to be the path of a file or a folder.

    Raises:
        TypeError: not a string or another path.
        ValueError: the empty string, which `Path` would take as the present folder.

    Example:
        >>> path("folder", "run/model").name
        'model'
    """
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_type(name, "a path", value)
    if not os.fspath(value):
        raise wrong_value(name, "a path", value)
    return Path(value)


def strings(name: str, value: Any, advice: str = "") -> list[str]:
    """`value` as a list, once it is known to hold nothing but strings.

    Raises:
        TypeError: not a list or other sequence of strings; a single string is not one.

    Example:
        >>> strings("questions", ("How old?", "Who?"))
        ['How old?', 'Who?']
    """
    is_flat = getattr(value, "ndim", 1) == 1  # a table's items would be the names of its columns
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Iterable):
        raise wrong_type(name, "a list of strings", value, advice)
    if not is_flat:
        raise wrong_type(name, "a list of strings", value, "take one column, as in table['column']")
    items = list(value)
    for position, item in enumerate(items):
        if not isinstance(item, str):
            raise wrong_type(f"{name}[{position}]", "a string", item, advice)
    return items


def equal_lengths(**sequences: Any) -> int:
    """The common length of several sequences, at least 1.

    Args:
        **sequences: by the names of the arguments.

    Raises:
        ValueError: different lengths, or empty ones.

    Example:
        >>> equal_lengths(test_Q1=["How?"], test_Q2=["Why?"], y=[0])
        1
    """
    lengths = [len(sequence) for sequence in sequences.values()]
    if len(set(lengths)) > 1 or not lengths[0]:
        names, found = " and ".join(sequences), " and ".join(map(str, lengths))
        raise ValueError(f"{names} must have one length, at least 1, but they have {found}")
    return lengths[0]


def threshold(value: Any, name: str = "threshold") -> float:
    """A threshold of similarities as a float. Infinite ones are allowed: all, or none, lie above.

    Raises:
        TypeError: not a number, or an array of several.
        ValueError: NaN, which no similarity is above.

    Example:
        >>> threshold(0.7)
        0.7
    """
    expected = "a number such as 0.7"
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise wrong_type(name, expected, value)
    if np.isnan(array):
        raise wrong_value(name, expected, value)
    return float(array)


def threshold_or_own(value: Any, own: float | None, name: str = "threshold") -> float:
    """The threshold of cosines that was given, else the model's own.

    Raises:
        TypeError, ValueError: as `threshold`; also one outside of [-1, 1], such as a percentage;
            and none where the model has none.

    Example:
        >>> threshold_or_own(None, 0.5)
        0.5
    """
    if value is None and own is None:
        raise ValueError(
            "threshold must be given, because the model has none; choose it on validation pairs "
            "with trax_triplet.evaluation.best_threshold"
        )
    if value is None:  # which may lie just below -1, where all pairs are to be above it
        return threshold(own)
    limit = threshold(value, name)
    if abs(limit) > 1 and math.isfinite(limit):
        raise wrong_value(name, "a cosine, from -1 to 1", limit)
    return limit


def margin(value: Any, name: str = "margin") -> float:
    """A margin of the loss as a float.

    Raises:
        TypeError: not a number.
        ValueError: negative, infinite or NaN.

    Example:
        >>> margin(0.25)
        0.25
    """
    return number(name, value, 0)


def matrix(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Finite numbers of a shape, as float32.

    Example:
        >>> matrix("centre", [0.5, 0], shape=(3,))
        Traceback (most recent call last):
        ...
        ValueError: centre must be finite numbers of shape (3,), but it is [0.5, 0]
    """
    array, expected = np.asarray(complete(name, value)), f"numbers of shape {shape}"
    if array.dtype.kind not in "fiu":
        raise wrong_type(name, expected, value)
    if array.shape != shape or not np.isfinite(array).all():
        raise wrong_value(name, f"finite {expected}", value)
    return array.astype(np.float32)


def complete(name: str, value: Any) -> Any:
    """`value`, once it is known that no entry of it is missing.

    Masked arrays and columns of pandas' own dtypes come back as plain arrays, all else as it is.

    Raises:
        ValueError: an entry is masked, or pandas' NA.

    Example:
        >>> complete("labels", np.ma.array([1, 0], mask=[False, True]))
        Traceback (most recent call last):
        ...
        ValueError: labels[1] must be a value, but it is masked; leave out its row, or fill it
    """
    for position, item in enumerate(value) if isinstance(value, (list, tuple)) else ():
        if isinstance(item, np.ma.MaskedArray):
            complete(f"{name}[{position}]", item)
    dtype, isna = getattr(value, "dtype", None), getattr(value, "isna", None)
    if isinstance(value, np.ma.MaskedArray):
        missing, word = np.ma.getmaskarray(value), "masked"
    elif callable(isna) and dtype is not None and not isinstance(dtype, np.dtype):
        missing, word = np.asarray(isna()), "missing"
        dtype = getattr(dtype, "numpy_dtype", None)
    else:
        return value
    if missing.any():
        where = ", ".join(map(str, np.argwhere(missing)[0]))
        name += where and f"[{where}]"
        raise ValueError(_message(name, "a value", word, "leave out its row, or fill it"))
    return np.asarray(value, dtype)


def array(name: str, value: Any, expected: str) -> np.ndarray:
    """An array, a column or a list as an array of NumPy's.

    Raises:
        ValueError: an entry is missing, or rows of different lengths.
    """
    value = complete(name, value)
    try:
        return np.asarray(value)
    except ValueError:
        raise wrong_value(name, expected, value) from None


def integers(name: str, value: Any, expected: str = "integers") -> np.ndarray:
    """Integers as an array of NumPy's; those that no dtype holds together, as Python's own.

    Raises:
        TypeError, ValueError: something else, bools among it; as `array`.

    Example:
        >>> integers("groups", [-1, 2**63]).dtype
        dtype('O')
    """
    found = array(name, value, expected)
    if not hasattr(value, "dtype") and found.dtype.kind == "f":  # as of [-1, 2**63], and of []
        found = np.asarray(value, object)
    if found.dtype.kind == "O" and all(
        issubclass(kind, (int, np.integer)) and kind is not bool
        for kind in {*map(type, found.flat)}
    ):
        return np.array([*map(int, found.flat)], object).reshape(found.shape)
    if found.dtype.kind not in "iu" and found.size:
        raise wrong_type(name, expected, value)
    return found


def zeros_and_ones(name: str, value: Any, expected: str = "an array of 0 and 1") -> np.ndarray:
    """Labels as int8, once each is known to be 0 or 1.

    Raises:
        ValueError: others, missing ones among them.
    """
    found = array(name, value, expected)
    real = found.dtype.kind in "biuf" or all(  # pandas' NA, for one, cannot be compared
        isinstance(each, (numbers.Number, np.bool_)) and not isinstance(each, complex)
        for each in found.flat
    )
    if not real or not np.isin(found, (0, 1)).all():
        raise wrong_value(name, expected, value)
    return found.astype(np.int8)


def group_ids(name: str, value: Any, length: int) -> np.ndarray:
    """Integer ids as an array (length,).

    Raises:
        TypeError, ValueError: as `integers`; of another shape.
    """
    expected = f"integers of shape ({length},)"
    ids = integers(name, value, expected)
    if ids.shape != (length,):
        raise wrong_value(name, expected, ids)
    return ids


def small_ids(*columns: np.ndarray) -> list[np.ndarray]:
    """Integer ids as int32: equal ones stay equal, others stay apart, and -1 stays -1.

    Args:
        *columns: integer arrays, also of Python's own integers (dtype object), in any mixture.

    Returns:
        The same ids where int32 holds them all, else numbers from 0 on.

    Example:
        >>> [ids.tolist() for ids in small_ids(np.array([2**40, -1]), np.array([7, 2**40]))]
        [[2, -1], [1, 2]]
    """
    limits = np.iinfo(np.int32)
    if all(not ids.size or limits.min <= ids.min() <= ids.max() <= limits.max for ids in columns):
        return [ids.astype(np.int32) for ids in columns]
    if len({ids.dtype for ids in columns}) > 1:  # int64 and uint64 would become floats
        columns = tuple(ids.astype(object) for ids in columns)
    distinct, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    is_padding = (distinct == -1) if distinct.dtype.kind != "u" else np.zeros(len(distinct), bool)
    renumbered = np.where(is_padding, -1, np.arange(len(distinct), dtype=np.int32))[numbers]
    ends = np.cumsum([len(ids) for ids in columns])[:-1]
    return np.split(renumbered.astype(np.int32), ends)
