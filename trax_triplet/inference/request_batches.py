"""Questions of many requests, answered together: what arrives during one batch is the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Batches"]


class Batches:
    """Requests answered in batches by one thread, so that the server stays awake.

    Args:
        answer: function from questions to a list or an array with an answer for each.
        most: questions in a batch, unless a single request has more.

    Example:
        >>> batches = Batches(lambda texts: [len(text) for text in texts])
        >>> asyncio.run(batches.ask(["a", "abc"]))
        [1, 3]
    """

    def __init__(self, answer: Callable[[Sequence[Any]], Any], *, most: int = 2048):
        self._answer_all, self._most = answer, most
        self._waiting: list[tuple[Sequence[Any], asyncio.Future[Any]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, questions: Sequence[Any]) -> Any:
        """The answers to these questions; raises what `answer` raised."""
        answers = asyncio.get_running_loop().create_future()
        self._waiting.append((questions, answers))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await answers

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next())
        finally:
            self._working = None

    def _next(self) -> list[tuple[Sequence[Any], asyncio.Future[Any]]]:
        """The requests of the next batch, the first that came first."""
        n_requests, n_questions = 0, 0
        for questions, _ in self._waiting:
            n_questions += len(questions)
            if n_requests and n_questions > self._most:
                break
            n_requests += 1
        batch, self._waiting = self._waiting[:n_requests], self._waiting[n_requests:]
        return batch

    async def _answer(self, batch: list[tuple[Sequence[Any], asyncio.Future[Any]]]) -> None:
        every = [question for questions, _ in batch for question in questions]
        try:
            rows = await asyncio.to_thread(self._answer_all, every)
        except Exception as error:  # whoever asked gets it, and nobody else waits for ever
            for _, answers in batch:
                if not answers.done():
                    answers.set_exception(error)
            return
        start = 0
        for questions, answers in batch:
            if not answers.done():  # else its client has gone
                answers.set_result(rows[start : start + len(questions)])
            start += len(questions)
