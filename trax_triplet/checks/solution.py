"""A student's file: its functions, taken out without running the rest, and all of them checked.

What runs of a file: its imports, the definitions of functions and classes, and constants. Of
several definitions of one name the last one counts, as at the end of a session.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trax_triplet import _validation
from trax_triplet.checks.runner import STEPS, CheckResult, judge
from trax_triplet.compat import provide_old_names

__all__ = ["check_file", "read_solution"]

# What a default may be where it refers to what a cell has made, such as `len(vocab)`.
_STAND_INS = {"vocab_size": 41699}


def read_solution(
    path: str | os.PathLike[str], *, run: bool = False
) -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """The functions of a Python file or notebook that are named like a step.

    Names that JAX and Trax have removed are put back first, as `compat.provide_old_names` does.

    Args:
        path: a file that ends with .py or .ipynb.
        run: whether all of it is run, not only imports, definitions and constants. What a cell
            raises is reported, and the next one runs.

    Returns:
        name -> function; and lines on what could not be read or run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another ending, or one that is not Python or not a notebook.
        TypeError: a `run` that is not a bool.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mine.py")
        ...     _ = path.write_text("def positives(sim):\\n    return sim.diagonal()\\n1 / 0\\n")
        ...     functions, notes = read_solution(path)
        >>> list(functions), notes
        (['positives'], [])
    """
    _validation.boolean("run", run)
    path = Path(path)
    if path.suffix not in (".py", ".ipynb"):
        expected = "a file that ends with .py or .ipynb"
        raise _validation.wrong_value("path", expected, str(path))
    cells = _cells(path)
    provide_old_names()
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    notes: list[str] = []
    sys.path.insert(0, str(path.parent))  # as Python has it for a file that it runs
    try:
        for place, source in cells:
            for statement in _statements(place, source, notes):
                if run or _defines(statement):
                    _execute(statement, names, place, notes, run)
    finally:
        sys.path.remove(str(path.parent))
    functions = {name: names[name] for name in STEPS if callable(names.get(name))}
    return functions, notes


def check_file(
    path: str | os.PathLike[str], *, edition: str | None = None, run: bool = False
) -> tuple[dict[str, CheckResult], list[str]]:
    """Checks every function of a file that is named like a step.

    Args:
        path, run: as in `read_solution`.
        edition: as in `check`.

    Returns:
        name -> `CheckResult`; and lines on what could not be read or run.

    Raises:
        As `read_solution`; ValueError: an unknown edition, or a file without such a function.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mine.py")
        ...     _ = path.write_text("def positives(sim):\\n    return sim.diagonal()\\n")
        ...     results, _ = check_file(path)
        >>> results["positives"].passed
        True
    """
    functions, notes = read_solution(path, run=run)
    if not functions:
        raise ValueError(
            f"{os.fspath(path)} defines none of the functions that can be checked "
            f"({', '.join(STEPS)})" + "".join(f"; {note}" for note in notes)
        )
    return {name: judge(name, each, edition) for name, each in functions.items()}, notes


def _cells(path: Path) -> list[tuple[str, str]]:
    """(where, source) of every cell; a Python file is one."""
    if path.suffix == ".py":
        return [("the file", _python_text(path))]
    data = path.read_bytes()
    try:
        cells = json.loads(data)["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        sources = [source if isinstance(source, str) else "".join(source) for source in code]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _validation.wrong_value("path", "a Jupyter notebook (version 4)", str(path)) from None
    return [(f"cell {number}", _plain(source)) for number, source in enumerate(sources, 1)]


def _python_text(path: Path) -> str:
    """The text of a Python file, in the encoding that Python would read it in."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        what = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(
            f"{path} is not Python: {what}; save it as UTF-8, or name its encoding in its first "
            "line, such as # -*- coding: latin-1 -*-"
        ) from None


def _plain(source: str) -> str:
    """A cell without IPython's magics, which are not Python."""
    if source.lstrip().startswith("%%"):
        return ""
    lines = source.splitlines()
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _statements(place: str, source: str, notes: list[str]) -> Iterator[ast.stmt]:
    try:
        yield from ast.parse(source).body
    except SyntaxError as error:
        notes.append(f"{place}, line {error.lineno}, is not Python: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:  # NUL, half a surrogate; nesting
        notes.append(f"{place} is not Python: {error or 'nested too deeply'}")


def _defines(statement: ast.stmt) -> bool:
    """Whether a statement only imports, defines, or names a constant or a lambda."""
    if isinstance(statement, ast.Assign):
        value = statement.value
        return isinstance(value, ast.Lambda) or _is_literal(value)
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    return isinstance(statement, kinds)


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _execute(
    statement: ast.stmt, names: dict[str, Any], place: str, notes: list[str], run: bool
) -> None:
    if isinstance(statement, ast.FunctionDef):
        _replace_defaults(statement, names)
        if not run:
            statement.decorator_list = [
                each for each in statement.decorator_list if _evaluates(each, names)
            ]
    module = ast.Module([statement], [])
    try:
        exec(compile(module, place, "exec"), names)
    except (Exception, SystemExit) as error:  # whatever a student's file raises is told
        notes.append(
            f"{place}, line {statement.lineno}, was left out: {type(error).__name__}: {error}"
        )


def _replace_defaults(function: ast.FunctionDef, names: dict[str, Any]) -> None:
    """Puts a stand-in for each default that needs what the file has not made."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    for place, argument in enumerate(with_default):
        if not _evaluates(arguments.defaults[place], names):
            stand_in = ast.Constant(_STAND_INS.get(argument.arg))
            arguments.defaults[place] = ast.copy_location(stand_in, arguments.defaults[place])


def _evaluates(value: ast.expr, names: dict[str, Any]) -> bool:
    try:
        eval(compile(ast.Expression(value), "a default", "eval"), dict(names))
    except (Exception, SystemExit):  # of whatever kind: then it is left out
        return False
    return True
