"""A step that a student writes, as data, and how answers are compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np

TOLERANCE = 1e-4  # absolute and relative: what float32 keeps of a loss of a few anchors
RAGGED = "rows of different lengths"


class Base(NamedTuple):
    """A right function of a step, made of parts.

    Attributes:
        parts: name of a part -> what stands there; those left out are the step's defaults.
        editions: the editions of the course whose rule it follows; () if it fits any.
    """

    parts: Mapping[str, Any] = {}
    editions: tuple[str, ...] = ()


class Mistake(NamedTuple):
    """A known mistake: parts that are replaced in a right function.

    Attributes:
        sentence: what is wrong, and after a semicolon what to do.
        parts: name of a part -> what the mistake puts there.
        editions: those in which it can be made; () for all.
        mixed: the sentence where it is not known which edition is meant, because what is put there
            is another edition's.
    """

    sentence: str
    parts: Mapping[str, Any]
    editions: tuple[str, ...] = ()
    mixed: str = ""


class Step(NamedTuple):
    """One step that a student writes.

    Attributes:
        cases: name of the case -> arguments, name -> value.
        build: parts by name -> a function. All else is compared with what it builds.
        mistakes: each a line; they are tried alone and in pairs, in every base.
        observe: (function, arguments) -> what is compared: arrays, strings, numbers, or dicts of
            them.
        bases: what is right; a student's function has to agree with one of them in all cases.
        later: more cases, run once those are right. A function that fails only these is accepted by
            the course, and has a flaw.
        flaws: the mistakes that show in the later cases only.
        signs: (sentence, test), for mistakes that are recognised by what was seen:
            test(seen, expected), both case name -> observation; an observation may be an exception.
        every_sign: whether all signs that are seen are mistakes of their own, or the first one
            explains the others.
        probes: (name, probe), run once all cases are right: probe(function) -> a sentence or None.
        changed: argument -> the flaw that it is to change it; of other arguments it is a mistake.
        foreign: whether tensors of another library than the course's are a mistake.
    """

    cases: Mapping[str, dict[str, Any]]
    build: Callable[..., Callable[..., Any]]
    mistakes: tuple[Mistake, ...]
    observe: Callable[[Callable[..., Any], dict[str, Any]], Any]
    bases: tuple[Base, ...] = (Base(),)
    later: Mapping[str, dict[str, Any]] = {}
    flaws: tuple[Mistake, ...] = ()
    signs: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = ()
    every_sign: bool = False
    probes: tuple[tuple[str, Callable[[Callable[..., Any]], str | None]], ...] = ()
    changed: Mapping[str, str] = {}
    foreign: bool = False


def of_part(part: str, table: Iterable[tuple[str, Any]], *editions: str) -> tuple[Mistake, ...]:
    """The mistakes of one part, from a table of (sentence, what is put there)."""
    return tuple(Mistake(sentence, {part: wrong}, editions) for sentence, wrong in table)


def itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """The `build` of a step that is one part, named `function`."""
    return lambda function=function: function


# --- calling, and reading what comes back


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The function's answer. Arguments go by position, a margin by name if the function has it.

    Example:
        >>> call(lambda sim, alpha: sim + alpha, {"sim": 1, "margin": 2})
        3
    """
    values = dict(arguments)
    margin = {"margin": values.pop("margin")} if "margin" in values else {}
    if margin and not takes(function, "margin"):
        return function(*values.values(), *margin.values())
    return function(*values.values(), **margin)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has a parameter of this name.

    Example:
        >>> takes(lambda sim, margin: sim, "margin")
        True
    """
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
    """Whether two observations agree.

    Exceptions count as equal, except that looking up what is not there is told from others.

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
        >>> difference(np.eye(2), np.diag([1.0, 3.0]))
        ('row 1 [0, 1]', 'row 1 [0, 3]')
    """
    where, *values = next(_differences(expected, got))
    row, values = _first_row(*values)
    where = f"{where} {row}".strip()
    shapes = {value.shape if isinstance(value, np.ndarray) else None for value in values}
    shown = [
        f"shape {value.shape}" if len(shapes) == 2 and None not in shapes else text(value)
        for value in values
    ]
    first, second = (f"{where} {value}".strip() for value in shown)
    return first, second


def _first_row(a: Any, b: Any) -> tuple[str, list[Any]]:
    """Of two matrices the first row that differs, with its number; else both as they are."""
    are_matrices = all(isinstance(x, np.ndarray) and x.ndim == 2 for x in (a, b))
    if not are_matrices or a.shape != b.shape:
        return "", [a, b]
    row = next(i for i in range(len(a)) if not same(a[i], b[i]))
    return f"row {row}", [a[row], b[row]]


def _differences(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _differences(a.get(key), b.get(key), key)
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape:
            yield where, a, b
        elif a.shape == ():  # most are, and `allclose` takes its time
            x, y = float(a), float(b)
            if not (abs(x - y) <= TOLERANCE * (1 + abs(y)) or (x != x and y != y)):
                yield where, a, b
        elif not np.allclose(a, b, TOLERANCE, TOLERANCE, equal_nan=True):
            yield where, a, b
    elif isinstance(a, Exception) or isinstance(b, Exception):
        if _kind(a) != _kind(b):
            yield where, a, b
    elif type(a) is not type(b) or a != b:
        yield where, a, b


def _kind(x: Any) -> str:
    if not isinstance(x, Exception):
        return "no exception"
    return "lookup" if isinstance(x, LookupError) else "exception"


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
