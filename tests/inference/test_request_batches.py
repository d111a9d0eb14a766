"""What arrives during one batch is the next one; everybody gets their own."""

import asyncio
import threading

import numpy as np
import pytest

from trax_triplet.inference.request_batches import Batches


class Embedding:
    """Rows that say which text they are of; a call waits until it is let through."""

    def __init__(self):
        self.calls, self.open = [], threading.Event()

    def __call__(self, texts):
        self.calls.append(len(texts))
        assert self.open.wait(30)
        return np.array([[int(text)] for text in texts])


async def asked(batches, *requests):
    return [rows.tolist() for rows in await asyncio.gather(*map(batches.ask, requests))]


async def after_the_first(embedding, batches, first, *requests):
    """Asks, and lets the first batch through once all others have asked, too."""
    running = [asyncio.create_task(batches.ask(first))]
    while not embedding.calls:
        await asyncio.sleep(0)
    running += [asyncio.create_task(batches.ask(request)) for request in requests]
    await asyncio.sleep(0)
    return running


def test_what_waits_is_embedded_together_and_each_gets_its_own():
    embedding = Embedding()

    async def run():
        batches = Batches(embedding, most=5)
        running = await after_the_first(
            embedding, batches, ["1"], ["2", "3"], ["4"], [], ["5", "6"], ["7"], list("89123456")
        )
        embedding.open.set()
        return [rows.tolist() for rows in await asyncio.gather(*running)]

    found = asyncio.run(run())
    assert [[row[0] for row in rows] for rows in found] == [
        [1],
        [2, 3],
        [4],
        [],
        [5, 6],
        [7],
        [8, 9, 1, 2, 3, 4, 5, 6],
    ]
    # 2 + 1 + 0 + 2 are the most; one more; and a request that is larger by itself.
    assert embedding.calls == [1, 5, 1, 8]


def test_who_goes_away_takes_nothing_from_others():
    embedding = Embedding()

    async def run():
        batches = Batches(embedding)
        running = await after_the_first(embedding, batches, ["1"], ["2"], ["3"])
        running[0].cancel()
        running[1].cancel()
        embedding.open.set()
        return await asyncio.gather(*running, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert isinstance(first, asyncio.CancelledError) and isinstance(second, asyncio.CancelledError)
    assert third.tolist() == [[3]]


def test_an_error_reaches_those_who_asked_and_the_next_are_answered():
    embedding = Embedding()
    embedding.open.set()

    async def run():
        batches = Batches(embedding)
        for bad in (["1", "x"], ["y"]):
            with pytest.raises(ValueError, match="invalid literal"):
                await batches.ask(bad)
        return await asked(batches, ["1"], ["2"])

    assert asyncio.run(run()) == [[[1]], [[2]]]
