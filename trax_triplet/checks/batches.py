"""What `checks` knows about the assignment's data_generator.

One generator is right, and some of its parts can be replaced: every replacement is one mistake.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trax_triplet.checks.step import RAGGED, Base, Mistake, Step, array, leaves

__all__ = ["BATCH_STEPS"]

DROPS = (
    "the pairs after the last full batch are dropped in every round; carry them over into the next "
    "batch, or yield them as a smaller one"
)
ENDS = (
    "the generator ends after one round; training needs batches endlessly, so start again with "
    "while True"
)
NEVER_RESET = (
    "the lists are not emptied after a batch, so the second batch still holds the first; reset "
    "both after yield"
)
INDEX_LOST = (
    "the index is not set back to 0 after a round, so it runs past the end of the questions; use "
    "idx = 0 when it reaches the number of questions"
)
FLOOR = (
    "the length is rounded down to a power of two, which is too short for the longest question; "
    "use ceil, not floor"
)
NO_POWER = (
    "the batch is padded to its longest question; pad to the next power of two, "
    "2 ** ceil(log2(longest))"
)
DOUBLE = (
    "a length that is already a power of two is doubled; use ceil(log2(longest)), without adding 1"
)
OWN_LENGTHS = "each side is padded to a length of its own; take the longest question of both sides"
ONE_SIDE = "the padded length depends on one side only; take the longest question of both sides"
ALL_DATA = "the padded length depends on all questions; take the longest one of the batch"
NO_PADDING = (
    "the questions of a batch differ in length; pad all to the next power of two that holds the "
    "longest"
)
PAD_FIXED = "the pad id is hard-coded as {0}; use the argument pad"
PAD_FRONT = "the padding comes before the words; put it after them"
SHUFFLE_IGNORED = (
    "shuffle is ignored, the pairs come in the given order; shuffle their indices if it is True"
)
ALWAYS_SHUFFLES = "the pairs are shuffled although shuffle is False; shuffle only if it is True"
APART = (
    "the two sides are shuffled separately, so pairs are torn apart; shuffle one list of indices "
    "for both"
)
SIDES = "the two sides are swapped; yield the batch of Q1 first"
FLOATS = "the word ids are floating point numbers; an embedding looks up integers"

_READS = 20_000  # far more than any generator needs for the batches that are asked for here


class NeverYields(Exception):
    """Raised inside a student's generator that reads on without a batch: else it would not end."""


class CountedList(list):
    """A list that stops its reader after very many reads."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        self._count()
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self._count()
            yield item

    def __deepcopy__(self, memo: Any) -> CountedList:
        return CountedList([list(item) for item in list.__iter__(self)])

    def _count(self) -> None:
        self.reads += 1
        if self.reads > _READS:
            raise NeverYields("it reads its questions over and over and yields no batch")


# The parts of a right generator.


def _orders(n: int, shuffle: bool, seeds: tuple[int, int] = (0, 0)) -> tuple[list[int], list[int]]:
    """In which order the questions of both sides come in a round."""
    both = list(range(n)), list(range(n))
    for seed, order in zip(seeds, both, strict=True):
        if shuffle:
            random.Random(seed).shuffle(order)
    return both


def _longest(*sides: Any) -> int:
    return max(len(question) for side in sides for question in side)


def _power(*sides: Any) -> int:
    """The power of two that the longest of all these questions needs."""
    return 1 << (_longest(*sides) - 1).bit_length()


def _widths(first: Any, second: Any, data: Any) -> tuple[int, int]:
    """The padded lengths of both sides of a batch."""
    width = _power(first, second)
    return width, width


def _padded(question: list[int], width: int, pad: int) -> list[int]:
    return question + [pad] * (width - len(question))


def _power_below(*sides: Any) -> int:
    return 1 << (_longest(*sides).bit_length() - 1)


def _arrays(first: Any, second: Any, dtype: type = int) -> tuple[Any, Any]:
    """Both sides of a batch as they are yielded; rows of different lengths stay lists."""
    one, two = (np.array(s, dtype) if _is_even(s) else s for s in (first, second))
    return one, two


def _strict_arrays(first: Any, second: Any) -> tuple[Any, Any]:
    """Both sides as arrays, of which NumPy makes none from rows of different lengths."""
    return np.array(first), np.array(second)


def _is_even(side: Any) -> bool:
    return array(side) is not RAGGED


def _generator(
    rest: str = "carry",
    restart: str = "endless",
    reset: str = "after a batch",
    orders: Callable[..., Any] = _orders,
    widths: Callable[..., Any] = _widths,
    padded: Callable[..., Any] = _padded,
    pad_id: Callable[[int], int] = lambda pad: pad,
    batch_of: Callable[..., Any] = _arrays,
) -> Callable[..., Iterator[Any]]:
    """A right data_generator; each part that is replaced is one mistake.

    Only `rest`, what happens to the pairs after the last full batch of a round, may be right in two
    ways: 'carry' them over or 'yield' them as a smaller batch; to 'drop' them is a mistake. So is a
    `restart` other than 'endless': a round 'ends' the generator, or the next question is 'lost'.
    """

    def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
        def batch(rows1, rows2):
            sides = [list(Q1[i]) for i in rows1], [list(Q2[i]) for i in rows2]
            both = zip(sides, widths(*sides, (Q1, Q2)), strict=True)
            return batch_of(
                *([padded(q, width, pad_id(pad)) for q in side] for side, width in both)
            )

        rows1, rows2 = [], []
        while True:
            for i, j in zip(*orders(len(Q1), shuffle), strict=True):
                rows1, rows2 = [*rows1, i], [*rows2, j]
                if len(rows1) > 3 * len(Q1):
                    raise NeverYields("it fills its lists without an end")
                if len(rows1) == batch_size or (reset == "never" and len(rows1) > batch_size):
                    yield batch(rows1, rows2)
                    if reset == "after a batch":
                        rows1, rows2 = [], []
            if rows1 and rest == "yield":
                yield batch(rows1, rows2)
            if restart == "ends":
                return
            if restart == "lost":
                raise IndexError("the index runs past the end")
            if rest != "carry":
                rows1, rows2 = [], []

    return data_generator


_TABLE: tuple[tuple[str, dict[str, Any]], ...] = (
    (INDEX_LOST, {"restart": "lost"}),
    (DROPS, {"rest": "drop"}),
    (ENDS, {"restart": "ends"}),
    (ENDS, {"restart": "ends", "rest": "drop"}),
    (NEVER_RESET, {"reset": "never"}),
    (NEVER_RESET, {"reset": "at no time"}),
    (NO_POWER, {"widths": lambda first, second, data: (_longest(first, second),) * 2}),
    *(
        (FLOOR, {"widths": lambda first, second, data: (_power_below(first, second),) * 2, **more})
        for more in ({}, {"batch_of": _strict_arrays})
    ),
    (
        DOUBLE,
        {"widths": lambda first, second, data: (1 << _longest(first, second).bit_length(),) * 2},
    ),
    (OWN_LENGTHS, {"widths": lambda first, second, data: (_power(first), _power(second))}),
    (ONE_SIDE, {"widths": lambda first, second, data: (_power(first),) * 2}),
    (ONE_SIDE, {"widths": lambda first, second, data: (_power(second),) * 2}),
    (ALL_DATA, {"widths": lambda first, second, data: (_power(*data),) * 2}),
    *(
        (NO_PADDING, {"widths": lambda first, second, data: (0, 0), **more})
        for more in ({}, {"batch_of": _strict_arrays})
    ),
    (PAD_FIXED.format(1), {"pad_id": lambda pad: 1}),
    (PAD_FIXED.format(0), {"pad_id": lambda pad: 0}),
    (
        PAD_FRONT,
        {"padded": lambda question, width, pad: [pad] * (width - len(question)) + question},
    ),
    (SHUFFLE_IGNORED, {"orders": lambda n, shuffle: _orders(n, False)}),
    (ALWAYS_SHUFFLES, {"orders": lambda n, shuffle: _orders(n, True)}),
    (APART, {"orders": lambda n, shuffle: _orders(n, shuffle, (0, 1))}),
    (SIDES, {"batch_of": lambda first, second: _arrays(second, first)}),
    (FLOATS, {"batch_of": lambda first, second: _arrays(first, second, float)}),
)


def _observe_generator(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    arguments = dict(arguments)
    n_batches, summary = arguments.pop("batches"), arguments.pop("summary")
    batches, end = [], "as asked for"
    sides = arguments.pop("Q1"), arguments.pop("Q2")
    generator = function(*sides, arguments.pop("batch_size"), **arguments)
    try:
        while len(batches) < n_batches:
            batches.append(next(generator))
    except StopIteration:
        end = "it ended"
    except NeverYields:
        end = "it read on without an end"
    except Exception as error:  # what the generator raises is reported, with what it gave before
        end = error
    if isinstance(end, Exception) and summary:
        raise end
    if summary:
        return _summary(batches, arguments.get("pad", 1))
    seen = {}
    for number, batch in enumerate(batches, 1):
        for which, side in zip(("first", "second"), batch, strict=False):
            seen[f"batch {number}, {which} questions"] = array(side)
        integers = all(np.asarray(side).dtype.kind in "iu" for side in batch if _is_even(side))
        seen[f"batch {number}, ids are integers"] = integers
    return {**seen, "batches": end}


def _questions(n: int) -> list[CountedList]:
    """n pairs; the first word of a question identifies it."""
    # Batches of two have longest questions of 4 (a power, on the first side), 3 (on the second) and
    # 6.
    lengths = (4, 1, 2, 1, 3, 5, 2, 6, 4, 1, 2, 3), (2, 2, 3, 2, 6, 1, 1, 2, 5, 2, 1, 8)
    return [
        CountedList([start + i, *range(2, 1 + side[i])] for i in range(n))
        for start, side in zip((100, 200), lengths, strict=True)
    ]


def _summary(batches: list[Any], pad: int) -> dict[str, bool]:
    """What holds for every shuffle: each pair once, together and padded; and if it is shuffled."""
    words = {question[0]: question for side in _questions(12) for question in side}
    firsts, padding = ([], []), True
    for batch in batches:
        sides = [[words.get(int(row[0]), [0]) for row in side] for side in batch]
        # Of any length: which one is right depends on the order, and the other cases check it.
        padding &= all(
            [*map(int, row)] == question + [pad] * (len(row) - len(question))
            for rows, side in zip(batch, sides, strict=True)
            for row, question in zip(rows, side, strict=True)
        )
        for found, side, start in zip(firsts, sides, (100, 200), strict=True):
            found += [question[0] - start for question in side]
    first, second = firsts
    return {
        "every pair once": sorted(first) == sorted(second) == [*range(12)],
        "pairs stay together": first == second,
        "words and padding": padding,
        "in the given order": first == [*range(12)],
    }


def _generator_cases() -> dict[str, dict[str, Any]]:
    def case(n: int, batch_size: int, batches: int, summary: bool = False, **more: Any) -> Any:
        Q1, Q2 = _questions(n)
        given = {"Q1": Q1, "Q2": Q2, "batch_size": batch_size, **more}
        return {**given, "batches": batches, "summary": summary}

    return {
        **{
            f"7 pairs in batches of {size}": case(7, size, -(-7 // size) + 1, shuffle=False)
            for size in (2, 3, 5)
        },
        "6 pairs in batches of 3": case(6, 3, 3, shuffle=False),
        "6 pairs in batches of 2, pad -1": case(6, 2, 4, shuffle=False, pad=-1),
        "a round of 12 pairs, not shuffled": case(12, 4, 3, True, shuffle=False),
        "a round of 12 pairs, shuffled": case(12, 3, 4, True, shuffle=True),
        "a round of 12 pairs, shuffled by default": case(12, 2, 6, True),
    }


def _holds_the_first(seen: dict[str, Any], expected: Any) -> bool:
    """Whether some second batch begins with the first one, or never came."""
    for answer in seen.values():
        if not isinstance(answer, dict) or "batches" not in answer:
            continue
        first, second = (answer.get(f"batch {number}, first questions") for number in (1, 2))
        if str(answer["batches"]) == "it read on without an end" and first is not None:
            return True
        if not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)):
            continue
        if (
            first.ndim == second.ndim == 2
            and len(second) > len(first)
            and np.array_equal(second[: len(first), 0], first[:, 0])
        ):
            return True
    return False


def _is_uneven(seen: dict[str, Any], expected: Any) -> bool:
    """Whether NumPy refused to make an array of rows of different lengths."""
    return any(
        isinstance(leaf, Exception) and "inhomogeneous" in str(leaf)
        for answer in seen.values()
        for leaf in leaves(answer)
    )


def _shuffles_always(seen: dict[str, Any], expected: Any) -> bool:
    answer = seen["a round of 12 pairs, not shuffled"]
    return isinstance(answer, dict) and [*answer.values()] == [True, True, True, False]


BATCH_STEPS = {
    "data_generator": Step(
        _generator_cases(),
        _generator,
        tuple(Mistake(sentence, parts) for sentence, parts in _TABLE),
        _observe_generator,
        (Base(), Base({"rest": "yield"})),
        signs=(
            (NEVER_RESET, _holds_the_first),
            (NO_PADDING, _is_uneven),
            (ALWAYS_SHUFFLES, _shuffles_always),
        ),
    ),
}
