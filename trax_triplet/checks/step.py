"""A step that a student writes, as data, and how answers are compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np

TOLERANCE = 1e-4  # absolute and relative: what float32 keeps of a loss of a few anchors
RAGGED = "rows of different lengths"


class Step(NamedTuple):
    """One step that a student writes.

    Attributes:
        cases: name of the case -> arguments, name -> value.
        right: functions that are right; a student's function has to agree with one of them in all
            cases.
        mistakes: (sentence, function that makes this mistake).
        observe: (function, arguments) -> what is compared: arrays, strings, numbers, or dicts of
            them.
        signs: (sentence, test), for mistakes that are recognised by what was seen:
            test(seen, expected), both case name -> observation; an observation may be an exception.
        probes: (name, probe), run once all cases are right: probe(function) -> a sentence or None.
        changed: argument -> what to report if the function changes it; of others it is reported
            that they were changed in place.
    """

    cases: dict[str, dict[str, Any]]
    right: tuple[Callable[..., Any], ...]
    mistakes: tuple[tuple[str, Callable[..., Any]], ...]
    observe: Callable[[Callable[..., Any], dict[str, Any]], Any]
    signs: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = ()
    probes: tuple[tuple[str, Callable[[Callable[..., Any]], str | None]], ...] = ()
    changed: Mapping[str, str] = {}


# --- calling, and reading what comes back


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The function's answer. Arguments go by position, a margin by name if the function has it.

    Example:
        >>> call(lambda sim, alpha: sim + alpha, {"sim": 1, "margin": 2})
        3
    """
    values = dict(arguments)
    margin = {"margin": values.pop("margin")} if "margin" in values else {}
    if margin and not _takes(function, "margin"):
        return function(*values.values(), *margin.values())
    return function(*values.values(), **margin)


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # Python cannot tell, as for some built-in functions
        return False


def seen_as(view: Callable[[Any], Any]) -> Callable[..., Any]:
    """An `observe` that looks at the function's answer through `view`."""
    return lambda function, arguments: view(call(function, arguments))


def array(value: Any) -> Any:
    """The answer as a float64 array if it consists of numbers, else as text; None stays None.

    Example:
        >>> array([1, 2]).tolist(), array([[1], [2, 3]])
        ([1.0, 2.0], 'rows of different lengths')
    """
    if value is None:
        return None
    try:
        found = np.asarray(value)
    except ValueError:  # NumPy does not make arrays of rows of different lengths
        return RAGGED
    return found.astype(np.float64) if found.dtype.kind in "biuf" else str(value)


def scalar(value: Any) -> Any:
    """A number, also if it is in an array of one.

    Example:
        >>> scalar([[0.5]]).tolist()
        0.5
    """
    found = vector(value)
    return found.reshape(()) if np.size(found) == 1 and isinstance(found, np.ndarray) else found


def vector(value: Any) -> Any:
    """One number per row; the lab has its vectors as columns (batch, 1), which are accepted, too.

    Example:
        >>> vector([[1], [2]]).tolist()
        [1.0, 2.0]
    """
    found = array(value)
    return found[:, 0] if np.ndim(found) == 2 and found.shape[1] == 1 else found


def pair(value: Any) -> Any:
    """Two vectors as one array (2, batch).

    Example:
        >>> pair(([1, 2], [[3], [4]])).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    if isinstance(value, (tuple, list)) and len(value) == 2:
        value = [vector(part) for part in value]
    return array(value)


# --- comparing


def same(a: Any, b: Any) -> bool:
    """Whether two observations agree; all exceptions count as equal.

    Example:
        >>> same({"loss": np.array(0.5)}, {"loss": np.array(0.50001)})
        True
        >>> same(np.zeros(2), np.zeros((2, 1)))
        False
    """
    return next(_differences(a, b), None) is None


def identical(a: Any, b: Any) -> bool:
    """Whether arguments are exactly what they were, down to every entry.

    Example:
        >>> identical([np.zeros(2)], [np.zeros(2)]), identical({"a": 1}, {"a": 1, "b": 0})
        (True, False)
    """
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        # By `list`'s own methods: a list that counts reads must not count these.
        a, b = (x[:] if type(x) in (list, tuple) else list.copy(cast(list, x)) for x in (a, b))
        return len(a) == len(b) and all(map(identical, a, b))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a is b or a == b


def difference(expected: Any, got: Any) -> tuple[str, str]:
    """Where two observations first differ, in words: what was expected there, and what came.

    Example:
        >>> difference(np.zeros(2), np.zeros((2, 2)))
        ('shape (2,)', 'shape (2, 2)')
        >>> difference({"accuracy": np.array(0.5)}, {"accuracy": np.array(1.0)})
        ('accuracy 0.5', 'accuracy 1')
    """
    where, *values = next(_differences(expected, got))
    shapes = {value.shape if isinstance(value, np.ndarray) else None for value in values}
    shown = [
        f"shape {value.shape}" if len(shapes) == 2 and None not in shapes else text(value)
        for value in values
    ]
    first, second = (f"{where} {value}".strip() for value in shown)
    return first, second


def _differences(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _differences(a.get(key), b.get(key), key)
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or not np.allclose(a, b, TOLERANCE, TOLERANCE, equal_nan=True):
            yield where, a, b
    elif isinstance(a, Exception) or isinstance(b, Exception):
        if not (isinstance(a, Exception) and isinstance(b, Exception)):
            yield where, a, b
    elif type(a) is not type(b) or a != b:
        yield where, a, b


def leaves(observation: Any) -> Iterator[Any]:
    """The parts of an observation that are not dicts.

    Example:
        >>> list(leaves({"a": 1, "b": {"c": None}}))
        [1, None]
    """
    if isinstance(observation, dict):
        for part in observation.values():
            yield from leaves(part)
    else:
        yield observation


def text(value: Any) -> str:
    """An observation in one line.

    Example:
        >>> text(np.array([1 / 3, -2.0])), text(ValueError("no"))
        ('[0.33333, -2]', 'ValueError: no')
    """
    if isinstance(value, Exception):
        # Trax wraps what a layer raises into many lines: the first says where, the last one what.
        lines = [
            line
            for line in str(value).splitlines()
            if any(map(str.isalnum, line))
            and not line.startswith("For simplicity, JAX has removed")
        ]
        short = " ... ".join(lines if len(lines) < 3 else [lines[0], lines[-1]])
        value = f"{type(value).__name__}: {short}"
    elif isinstance(value, dict):
        value = ", ".join(f"{name} {text(part)}" for name, part in value.items())
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = np.array2string(
            value, separator=", ", threshold=60, formatter={"float_kind": "{:.5g}".format}
        )
    line = " ".join(str(value).split())
    return line if len(line) <= 300 else f"{line[:297]}..."
