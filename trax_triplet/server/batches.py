"""Questions of many requests, embedded together: what arrives during one batch is the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Batches"]


class Batches:
    """Requests for vectors, answered in batches by one thread, so that the server stays awake.

    Args:
        embed: function from strings to an array with a row for each.
        most: questions in a batch, unless a single request has more.

    Example:
        >>> batches = Batches(lambda texts: np.array([[len(text)] for text in texts]))
        >>> asyncio.run(batches.embed(["a", "abc"])).tolist()
        [[1], [3]]
    """

    def __init__(self, embed: Callable[[Sequence[str]], np.ndarray], *, most: int = 2048):
        self._embed, self._most = embed, most
        self._waiting: list[tuple[Sequence[str], asyncio.Future[np.ndarray]]] = []
        self._working: asyncio.Task[None] | None = None

    async def embed(self, questions: Sequence[str]) -> np.ndarray:
        """The vectors of these questions; raises what `embed` raised."""
        vectors = asyncio.get_running_loop().create_future()
        self._waiting.append((questions, vectors))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await vectors

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next())
        finally:
            self._working = None

    def _next(self) -> list[tuple[Sequence[str], asyncio.Future[np.ndarray]]]:
        """The requests of the next batch, the first that came first."""
        n_requests, n_questions = 0, 0
        for questions, _ in self._waiting:
            n_questions += len(questions)
            if n_requests and n_questions > self._most:
                break
            n_requests += 1
        batch, self._waiting = self._waiting[:n_requests], self._waiting[n_requests:]
        return batch

    async def _answer(self, batch: list[tuple[Sequence[str], asyncio.Future[np.ndarray]]]) -> None:
        every = [question for questions, _ in batch for question in questions]
        try:
            rows = await asyncio.to_thread(self._embed, every)
        except Exception as error:  # whoever asked gets it, and nobody else waits for ever
            for _, vectors in batch:
                if not vectors.done():
                    vectors.set_exception(error)
            return
        start = 0
        for questions, vectors in batch:
            if not vectors.done():  # else its client has gone
                vectors.set_result(rows[start : start + len(questions)])
            start += len(questions)
