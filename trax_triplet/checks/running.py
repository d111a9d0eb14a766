"""A student's function at work: stopped if it does not end, overheard, its libraries named."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["TIME_LIMIT", "StillRunning", "foreign_library", "limited", "overheard"]

TIME_LIMIT = 30  # seconds that one case may take: training loops that compile a model need ten

_FOREIGN = {"tensorflow": "TensorFlow", "torch": "PyTorch", "keras": "Keras"}


class StillRunning(BaseException):
    """Raised inside a student's function after `TIME_LIMIT`; no `except Exception` catches it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `StillRunning` in what takes longer.

    The alarm of Unix does it, in the main thread, where scripts and notebooks run; elsewhere
    nothing is stopped.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise StillRunning

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: a bare `except:` inside a loop would catch the first one.
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


class _Tee(io.StringIO):
    """Writes to another stream, too."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self._other = other

    def write(self, text: str, /) -> int:
        self._other.write(text)
        return super().write(text)


def overheard() -> contextlib.redirect_stdout[io.StringIO]:
    """Keeps what is printed, which goes to the screen all the same.

    Example:
        >>> with overheard() as printed:
        ...     print("a word")
        a word
        >>> printed.getvalue()
        'a word\\n'
    """
    return contextlib.redirect_stdout(_Tee(sys.stdout))


def foreign_library(function: Callable[..., Any]) -> str | None:
    """Another library than the course's that a function calls, or one of those that it calls.

    Example:
        >>> foreign_library(len) is None
        True
    """
    waiting: list[Any] = [function]
    known = set()
    while waiting:
        # Of a partial, and of what JAX has compiled.
        found = waiting.pop()
        found = getattr(found, "func", getattr(found, "__wrapped__", found))
        if not isinstance(found, types.FunctionType) or found in known:
            continue
        known.add(found)
        names = {name for code in _codes(found.__code__) for name in code.co_names}
        for value in (found.__globals__.get(name) for name in sorted(names)):
            if isinstance(value, types.ModuleType):
                library = _FOREIGN.get(value.__name__.split(".")[0])
                if library:
                    return library
            waiting.append(value)
    return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
