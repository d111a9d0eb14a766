"""Work in threads: as many as the linear algebra library is set to use, which works in one each."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["blas", "in_threads"]

T = TypeVar("T")
Result = TypeVar("Result")
AHEAD = 4  # parts a thread that may be done before they are asked for: bounds the memory


def in_threads(function: Callable[[T], Result], parts: Sequence[T]) -> Iterator[Result]:
    """Calls the function with each part, several at once.

    The library's own threads (`OMP_NUM_THREADS`, `threadpoolctl`) pay for large products only, and
    on a busy machine they wait for each other.

    Args:
        function: of one part; NumPy's work in it should take longer than Python's.
        parts: what it is called with.

    Yields:
        The results, in the order of the parts.

    Example:
        >>> list(in_threads(abs, [-1, 2]))
        [1, 2]
    """
    with blas.one_thread() as n_threads:
        n = min(n_threads, len(parts))
        if n < 2:
            yield from map(function, parts)
            return
        from concurrent.futures import ThreadPoolExecutor  # two questions do without it

        with ThreadPoolExecutor(n) as pool:
            waiting = deque()
            for part in parts:
                waiting.append(pool.submit(function, part))
                if len(waiting) == AHEAD * n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


class _Blas:
    """The threads of the linear algebra library: a setting of the process, shared by its threads.

    So the first that enters `one_thread` sets it, and the last that leaves puts it back.
    """

    def __init__(self) -> None:
        self._inside, self._own, self._limit = 0, 1, contextlib.ExitStack()
        self._lock = threading.Lock()
        self._controller: Any = None

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[int]:
        """Context: products run in the thread that asks for them. How many there were before."""
        with self._lock:
            if not self._inside:
                self._controller = self._controller or ThreadpoolController()
                found = self._controller.select(user_api="blas")
                self._own = max(
                    (library.num_threads for library in found.lib_controllers), default=1
                )
                self._limit.enter_context(found.limit(limits=1))
            self._inside += 1
        try:
            yield self._own
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._limit.close()

    def after_fork(self) -> None:
        """In the child only the thread that forked lives on; others may have been inside."""
        if self._inside:
            self._inside = 0
            self._limit.close()
        self._lock = threading.Lock()


blas = _Blas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=blas.after_fork)
