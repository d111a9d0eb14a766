"""Endless training batches whose place can be saved and found again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.batches import epoch_batches
from trax_triplet.data.padding import id_rows, pad, rounded_length

__all__ = ["MOST_OTHERS", "OTHERS_PER_EPOCH", "PADDING_GROUP", "Batch", "BatchStream"]

PADDING_GROUP = -1  # group of the rows that fill up a partial batch
OTHERS_PER_EPOCH = 3  # how often a pair labelled 0 comes while each duplicate comes once
MOST_OTHERS = 3 / 8  # pairs labelled 0 in a batch, as a share of the duplicates

Batch = tuple[np.ndarray, ...]  # ids1, ids2, groups1, groups2, and labels where there are others


class BatchStream:
    """Endless training batches of duplicate pairs; its place can be saved and found again.

    Batches are (ids1, ids2, groups1, groups2): int32 (batch_size, length) twice and int32
    (batch_size,) twice, as the loss takes them. `epoch_batches` says what an epoch holds; pairs
    of groups larger than the number of batches take turns, and `n_deferred` counts those whose turn
    is in another epoch. A partial batch is filled up with rows of padding in group -1, which the
    loss leaves out, so that shapes repeat.

    With `others`, pairs labelled 0, each batch goes on with `others_per_batch` of them, in group
    -1, and has a fifth part, labels int32: 1, 0, and -1 for padding. All of them come in random
    order before one comes again. There are as many in a batch as let each come about
    `OTHERS_PER_EPOCH` times in an epoch of the duplicates, but at most `MOST_OTHERS` as many as
    duplicates: more take more time than they teach.

    Args:
        ids1, ids2: word ids of each pair's questions, sequences of n integer arrays.
        groups: int (n,), the duplicate group of each pair, see `data.question_groups`. Any integers
            but -1; large ones are numbered anew.
        batch_size, seed, max_words, neighbours: as in `train`.
        vectors: function without arguments that encodes the first questions, called when hard
            batches are planned; or None.
        others: (ids1, ids2) of the pairs labelled 0; or None.
        multiple: of which `others_per_batch` is to be one, such as the number of devices.

    Raises:
        TypeError: ids or groups that are not integers, `vectors` that is not a function.
        ValueError: no pair, sides or groups of different lengths, a number outside its range.

    Example:
        >>> stream = BatchStream([[2], [3], [4]], [[5], [6], [7]], [0, 1, 2], batch_size=2, seed=0,
        ...                      max_words=8)
        >>> next(stream)[0].shape, next(stream)[2].tolist()[1]
        ((2, 8), -1)
    """

    def __init__(
        self,
        ids1: Sequence[Any],
        ids2: Sequence[Any],
        groups: Any,
        *,
        batch_size: int,
        seed: int,
        max_words: int,
        neighbours: int = 16,
        vectors: Callable[[], np.ndarray] | None = None,
        others: tuple[Sequence[Any], Sequence[Any]] | None = None,
        multiple: int = 1,
    ):
        self._batch_size = check.integer("batch_size", batch_size, 1)
        self._seed = check.integer("seed", seed)
        self._neighbours = check.integer("neighbours", neighbours, 1)
        max_words = check.integer("max_words", max_words, 1)
        if vectors is not None:
            check.function("vectors", vectors, "a function without arguments, or None")
        self._vectors = vectors
        self._sides = _cut_sides(("ids1", ids1), ("ids2", ids2), max_words)
        n = len(self._sides[0])
        if not n:
            raise check.wrong_value("ids1", "the ids of at least one question", ids1)
        (self._groups,) = check.small_ids(check.group_ids("groups", groups, n))
        if (self._groups == PADDING_GROUP).any():
            raise check.wrong_value("groups", "integers other than -1, which is padding", groups)
        self._lengths = np.array(
            [max(map(len, pair)) for pair in zip(*self._sides, strict=True)], np.int64
        )
        self._epoch, self._position = -1, 0
        self._batches: list[np.ndarray] = []
        self._given: list[np.ndarray] = []
        self.hard, self.n_deferred = False, 0
        self._others: list[list[np.ndarray]] = [[], []]
        if others is not None:
            self._others = _cut_sides(("others[0]", others[0]), ("others[1]", others[1]), max_words)
        n_others, n_batches = len(self._others[0]), -(-n // batch_size)
        by_epoch = math.ceil(OTHERS_PER_EPOCH * n_others / n_batches)
        # As many for any number of devices: what they lack to a multiple is padding.
        self._n_others = min(by_epoch, n_others, math.ceil(MOST_OTHERS * batch_size))
        self.others_per_batch = -(-self._n_others // multiple) * multiple
        self.unlabelled_per_batch = 0
        self._turns = Turns(n_others, [seed, 1])

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._position == len(self._batches):
            self._epoch, self._position = self._epoch + 1, 0
            self._batches = self._plan()
            self.n_deferred = len(self._groups) - sum(map(len, self._batches))
        rows = self._batches[self._position]
        self._position += 1
        self._given.append(rows)
        return self._batch(rows, self._turns.next(self._n_others))

    def start_hard_mining(self) -> None:
        """From now on batches hold similar pairs; what is left of the epoch is planned anew.

        Raises:
            ValueError: the stream was made without `vectors`.
        """
        if self._vectors is None:
            raise check.wrong_value("vectors", "a function for hard batches", None)
        self.hard = True
        rest = self._batches[self._position :]
        if rest:
            self._batches, self._position = self._plan(np.sort(np.concatenate(rest))), 0

    def take_rows(self) -> list[np.ndarray]:
        """The numbers of the pairs of each batch since the last call, int64 arrays."""
        rows, self._given = self._given, []
        return rows

    def state(self) -> dict[str, np.ndarray]:
        """Where the stream stands, as arrays; `restore` takes them."""
        return {
            "batches": np.concatenate([*self._batches, []]).astype(np.int64),
            "sizes": np.array([len(batch) for batch in self._batches], np.int64),
            "place": np.array(
                [self._epoch, self._position, self.hard, self._turns.given], np.int64
            ),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes to where another stream over the same pairs stood."""
        ends = np.cumsum(state["sizes"])
        self._batches = np.split(state["batches"], ends[:-1]) if len(ends) else []
        # Version 0.1 knew no others, and wrote three numbers.
        place = [*state["place"].tolist(), 0]
        self._epoch, self._position, hard, self._turns.given = place[:4]
        self.hard = bool(hard)

    def rest_of_epoch(self) -> list[Batch]:
        """The batches up to the end of this epoch, or of the first, if it has not begun."""
        batches = [next(self)]
        while self._position < len(self._batches):
            batches.append(next(self))
        return batches

    @property
    def epoch(self) -> int:
        """Number of the epoch of the last batch, from 0."""
        return max(self._epoch, 0)

    def _plan(self, rows: np.ndarray | None = None) -> list[np.ndarray]:
        return epoch_batches(
            self._groups,
            self._batch_size,
            seed=self._seed,
            epoch=self._epoch,
            lengths=self._lengths,
            vectors=self._vectors() if self.hard and self._vectors else None,
            neighbours=self._neighbours,
            rows=rows,
        )

    def _batch(self, rows: np.ndarray, others: np.ndarray) -> Batch:
        size, spare = self._batch_size, [np.empty(0, np.int64)]
        sides = [
            [side[row] for row in rows.tolist()]
            + spare * (size - len(rows))
            + [other[row] for row in others.tolist()]
            for side, other in zip(self._sides, self._others, strict=True)
        ]
        longest = max(len(row) for side in sides for row in side)
        n_rows = size + self.others_per_batch
        ids1, ids2 = (pad(side, rounded_length(longest), n_rows) for side in sides)
        groups = np.full(n_rows, PADDING_GROUP, np.int32)
        groups[: len(rows)] = self._groups[rows]
        if not self.others_per_batch:
            return ids1, ids2, groups, groups.copy()
        labels = np.full(n_rows, -1, np.int32)
        labels[: len(rows)], labels[size : size + len(others)] = 1, 0
        return ids1, ids2, groups, groups.copy(), labels


class Turns:
    """Numbers 0 to n - 1 in random order, all of them before one comes again; each time anew.

    Args:
        n: how many there are.
        seed: two integers.

    Attributes:
        given: how many numbers were handed out; to be set where another one stood.

    Example:
        >>> turns = Turns(3, [0, 1])
        >>> sorted(turns.next(3).tolist()), len(turns.next(2))
        ([0, 1, 2], 2)
    """

    def __init__(self, n: int, seed: list[int]):
        self._n, self._seed, self.given = n, seed, 0
        self._order = -1, np.empty(0, np.int64)  # a turn, and the order in it

    def next(self, wanted: int) -> np.ndarray:
        """The next numbers, int64, as many as there are at most."""
        wanted, first = min(wanted, self._n), self.given
        if not wanted:
            return np.empty(0, np.int64)
        self.given += wanted
        turns = range(first // self._n, -(-(first + wanted) // self._n))
        order = np.concatenate([self._order_of(turn) for turn in turns])
        return order[first % self._n :][:wanted]

    def _order_of(self, turn: int) -> np.ndarray:
        if self._order[0] != turn:
            rng = np.random.default_rng([self._seed[0], turn, *self._seed[1:]])
            self._order = turn, rng.permutation(self._n)
        return self._order[1]


def _cut_sides(first: tuple[str, Any], second: tuple[str, Any], max_words: int) -> list[list]:
    """The rows of ids of both sides, each with its name, of at most `max_words`."""
    sides = [id_rows(name, rows) for name, rows in (first, second)]
    if len(sides[0]) != len(sides[1]):
        expected = f"as many questions as {first[0]} has, {len(sides[0])}"
        raise ValueError(f"{second[0]} must be {expected}, but there are {len(sides[1])}")
    return [[row[:max_words] for row in side] for side in sides]
