"""Question pairs: checked, in duplicate groups, and in parts that share no question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trax_triplet import _validation as check

__all__ = [
    "Pairs",
    "Split",
    "concatenate",
    "connect",
    "distinct_questions",
    "normalize_text",
    "question_groups",
    "split_pairs",
]

_HOW_TO_MAKE = "make them with read_pairs(path)"


@dataclass(frozen=True, eq=False, init=False)
class Pairs:
    """Question pairs, n of them.

    Attributes:
        question1, question2: the texts, n each.
        is_duplicate: int8 (n,), 1 for a duplicate pair and 0 for another, or None where nobody
            labelled them.
        qid1, qid2: int64 (n,), numbers of the questions, or None.
        skipped: (line number, reason) of each row of the file that is not here.
        lines: int64 (n,), the line of the file that each pair starts on, or None.
        notes: how the file was read, in sentences, where that is not plain.

    Raises:
        TypeError: something other than a list of strings, qids or lines that are not integers.
        ValueError: lengths that differ, labels other than 0 and 1, missing entries of arrays, or
            only one of qid1 and qid2.

    Example:
        >>> pairs = Pairs(["Why?", "Who?"], ["How come?", "When?"], [1, 0])
        >>> len(pairs), pairs.select([1]).question2
        (2, ('When?',))
    """

    question1: tuple[str, ...]
    question2: tuple[str, ...]
    is_duplicate: np.ndarray | None
    qid1: np.ndarray | None
    qid2: np.ndarray | None
    skipped: tuple[tuple[int, str], ...]
    lines: np.ndarray | None
    notes: tuple[str, ...]

    def __init__(
        self,
        question1: Iterable[str],
        question2: Iterable[str],
        is_duplicate: Any = None,
        qid1: Any = None,
        qid2: Any = None,
        skipped: Iterable[tuple[int, str]] = (),
        lines: Any = None,
        notes: Iterable[str] = (),
    ):
        texts1 = tuple(check.strings("question1", question1))
        texts2 = tuple(check.strings("question2", question2))
        if (qid1 is None) != (qid2 is None):
            raise ValueError("qid1 and qid2 come together, but one of them is None")
        if is_duplicate is not None:
            is_duplicate = check.zeros_and_ones("is_duplicate", is_duplicate)
        columns = {"is_duplicate": is_duplicate, "qid1": qid1, "qid2": qid2, "lines": lines}
        for name, values in columns.items():
            if values is not None:
                columns[name] = values if name == "is_duplicate" else _integers(name, values)
        for name, values in {"question2": texts2, **columns}.items():
            if values is not None and np.shape(values) != (len(texts1),):
                raise ValueError(
                    f"{name} must have one entry for each of the {len(texts1)} pairs, but its "
                    f"shape is {np.shape(values)}"
                )
        columns |= {"question1": texts1, "question2": texts2, "skipped": tuple(skipped)}
        columns["notes"] = tuple(notes)
        for name, values in columns.items():
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.question1)

    def select(self, indices: Any) -> Pairs:
        """The pairs at `indices` (int (m,)), in that order; `skipped` is not taken along.

        Raises:
            TypeError: indices that are not integers; for a mask pass `np.flatnonzero(mask)`.
            IndexError: an index that is not from 0 to n - 1.

        Example:
            >>> Pairs(["a", "b"], ["c", "d"]).select([1, 0]).question1
            ('b', 'a')
        """
        indices = _integers("indices", indices)
        bad = indices[(indices < 0) | (indices >= len(self))]
        if indices.ndim != 1 or bad.size:
            raise IndexError(
                f"indices must be an array (m,) of rows from 0 to {len(self) - 1}, but "
                + (f"one is {bad[0]}" if bad.size else f"its shape is {indices.shape}")
            )
        where = indices.tolist()
        texts1, texts2 = [self.question1[i] for i in where], [self.question2[i] for i in where]
        columns = (self.is_duplicate, self.qid1, self.qid2, self.lines)
        labels, qid1, qid2, lines = (None if c is None else c[indices] for c in columns)
        return Pairs(texts1, texts2, labels, qid1, qid2, lines=lines)


def _integers(name: str, values: Any) -> np.ndarray:
    array, limits = check.integers(name, values), np.iinfo(np.int64)
    for extreme in (array.min(), array.max()) if array.size else ():
        if not limits.min <= extreme <= limits.max:
            raise check.wrong_value(name, "integers that int64 holds", extreme)
    return array.astype(np.int64)


def concatenate(first: Pairs, second: Pairs) -> Pairs:
    """The pairs of both, in this order; labels and qids where both have them; all notes.

    Raises:
        TypeError: something other than `Pairs`.

    Example:
        >>> concatenate(Pairs(["a"], ["b"], [1]), Pairs(["c"], ["d"], [0])).is_duplicate.tolist()
        [1, 0]
    """
    for name, pairs in (("first", first), ("second", second)):
        check.instance(name, pairs, Pairs, "trax_triplet.Pairs", _HOW_TO_MAKE)
    columns = [
        (getattr(first, name), getattr(second, name)) for name in ("is_duplicate", "qid1", "qid2")
    ]
    labels, qid1, qid2 = (
        None if a is None or b is None else np.concatenate([a, b]) for a, b in columns
    )
    texts1, texts2 = first.question1 + second.question1, first.question2 + second.question2
    notes = dict.fromkeys((*first.notes, *second.notes))
    return Pairs(texts1, texts2, labels, qid1, qid2, notes=notes)


class Split(NamedTuple):
    """What `split_pairs` returns: the parts, and the rows (int64, ascending) that are in none."""

    parts: tuple[Pairs, ...]
    left_out: np.ndarray


def question_groups(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The duplicate group of each side's question.

    Two questions are the same if their texts differ only in case and spaces, or if they have the
    same qid. Same questions are in one group; so are the two of every pair labelled 1, and so on
    through any chain of these. Pairs labelled 0, and pairs without labels, connect nothing.

    Returns:
        int64 (n,) for question 1 and for question 2: equal numbers, same group; 0 to groups - 1.

    Raises:
        TypeError: something other than `Pairs`.

    Example:
        >>> texts = ["Why?", "how  come?", "Who?"], ["How come?", "For what?", "Why?"]
        >>> pairs = Pairs(*texts, [1, 1, 0])
        >>> [side.tolist() for side in question_groups(pairs)]
        [[0, 0, 1], [0, 0, 0]]
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", _HOW_TO_MAKE)
    numbers: dict[str, int] = {}
    texts = pairs.question1 + pairs.question2
    ids = np.array(
        [numbers.setdefault(normalize_text(text), len(numbers)) for text in texts], np.int64
    )
    edges, nodes = [], len(numbers)
    if pairs.is_duplicate is not None:
        edges.append(ids.reshape(2, -1)[:, pairs.is_duplicate == 1])
    if pairs.qid1 is not None and pairs.qid2 is not None:
        distinct, qids = np.unique(np.concatenate([pairs.qid1, pairs.qid2]), return_inverse=True)
        edges.append(np.stack([ids, nodes + qids]))
        nodes += len(distinct)
    roots = np.arange(nodes)
    if edges:
        connect(roots, *np.concatenate(edges, axis=1))
    _, groups = np.unique(roots[ids], return_inverse=True)
    return groups[: len(pairs)], groups[len(pairs) :]


def distinct_questions(pairs: Pairs) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The questions of pairs; those that differ only in case and whitespace come once.

    Returns:
        (questions, places, groups): n texts, in the order of question 1 and then of question 2;
        int64 (2, pairs), where the question of each side is among them; int64 (n,), the group of
        each, as of `question_groups`.

    Raises:
        TypeError: something other than `Pairs`.

    Example:
        >>> questions, places, groups = distinct_questions(Pairs(["Why?", "Who?"], ["why?", "X"]))
        >>> questions, places.tolist(), groups.tolist()
        (['Why?', 'Who?', 'X'], [[0, 1], [0, 2]], [0, 1, 2])
    """
    group_of_sides = np.stack(question_groups(pairs))
    numbers: dict[str, int] = {}
    questions: list[str] = []
    rows = []
    for text in pairs.question1 + pairs.question2:
        number = numbers.setdefault(normalize_text(text), len(numbers))
        if number == len(questions):
            questions.append(text)
        rows.append(number)
    places = np.array(rows, np.int64).reshape(2, -1)
    groups = np.empty(len(questions), np.int64)
    groups[places] = group_of_sides
    return questions, places, groups


def normalize_text(text: str) -> str:
    """The text in lower case with single spaces: questions are the same if this is equal.

    Raises:
        TypeError: `text` is not a string.

    Example:
        >>> normalize_text("  Why  NOT?")
        'why not?'
    """
    if not isinstance(text, str):
        raise check.wrong_type("text", "a string", text)
    return " ".join(text.casefold().split())


def connect(roots: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Gives all nodes that edges a - b connect one root: hooks each to a smaller one, flattens.

    Args:
        roots: int (n,), the root of each node, changed in place; at first `np.arange(n)`.
        a, b: int (m,), the nodes of each edge.

    Example:
        >>> roots = np.arange(4)
        >>> connect(roots, np.array([2, 3]), np.array([3, 0]))
        >>> roots.tolist()
        [0, 1, 0, 0]
    """
    while True:
        a, b = roots[a], roots[b]
        a, b = np.minimum(a, b)[a != b], np.maximum(a, b)[a != b]
        if not len(a):
            return
        np.minimum.at(roots, b, a)
        while (roots[roots] != roots).any():
            roots[:] = roots[roots]


def split_pairs(
    pairs: Pairs, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 0
) -> Split:
    """Splits pairs into parts that share no question, nor two questions known to be duplicates.

    The groups of `question_groups` stay together. A pair labelled 0 (or not labelled) that connects
    two groups joins them, as long as the joined component has at most 1 % of all pairs (at least
    4); such pairs could otherwise chain nearly all questions together. A connecting pair that
    joined nothing is kept if both its groups come to the same part, else it is left out, and
    reported. Pairs labelled 1 are never left out.

    Components go to the parts largest first, equal ones in random order, each to the part that
    lacks most of its share. A part exceeds its share by less than the largest component, and may
    stay empty where there are fewer components than parts.

    Args:
        pairs: n pairs.
        fractions: the share of each part; positive, sum 1.
        seed: of the random order.

    Returns:
        `parts`, one `Pairs` for each fraction, rows in the order of `pairs`; `left_out`, the rows
        in none.

    Raises:
        TypeError: something other than `Pairs`, fractions that are not numbers, a seed that is not
            an integer.
        ValueError: fractions that are not positive or do not sum to 1, a negative seed.
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", _HOW_TO_MAKE)
    check.integer("seed", seed)
    shares, expected = np.asarray(fractions), "positive numbers that sum to 1"
    if shares.dtype.kind not in "iuf":
        raise check.wrong_type("fractions", expected, fractions)
    shares = shares.astype(np.float64)
    adds_up = shares.ndim == 1 and len(shares) and abs(shares.sum() - 1) <= 1e-6
    if not adds_up or not (shares > 0).all():
        raise check.wrong_value("fractions", expected, fractions)
    group1, group2 = question_groups(pairs)
    component = _join_groups(group1, group2, limit=max(4, len(pairs) // 100))
    c1, c2 = component[group1], component[group2]
    sizes = np.bincount(c1[c1 == c2], minlength=component.max(initial=-1) + 1)
    part = _deal(sizes, shares * sizes.sum(), np.random.default_rng(seed))
    # Components without a pair of their own go where most of their connecting pairs can be kept.
    votes = np.zeros((len(sizes), len(shares)), np.int64)
    np.add.at(votes, (c1, part[c2]), 1)
    np.add.at(votes, (c2, part[c1]), 1)
    part = np.where(sizes == 0, votes.argmax(axis=1), part)
    home = np.where(part[c1] == part[c2], part[c1], -1)
    parts = tuple(pairs.select(np.flatnonzero(home == number)) for number in range(len(shares)))
    return Split(parts, np.flatnonzero(home == -1))


def _join_groups(group1: np.ndarray, group2: np.ndarray, limit: int) -> np.ndarray:
    """The component of each group: a pair joins two if the result has at most `limit` pairs."""
    inside = group1 == group2
    count = max(group1.max(initial=-1), group2.max(initial=-1)) + 1
    size = np.bincount(group1[inside], minlength=count).tolist()
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in zip(group1[~inside].tolist(), group2[~inside].tolist(), strict=True):
        a, b = root(a), root(b)
        if a == b:
            size[a] += 1
        elif size[a] + size[b] < limit:
            parent[b] = a
            size[a] += size[b] + 1
    roots = np.array([root(node) for node in range(count)], np.int64)
    return np.unique(roots, return_inverse=True)[1]


def _deal(sizes: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part of each component: the relative lack decides, so all parts get all sizes."""
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    part, wanted, lacks = np.zeros(len(sizes), np.int64), targets.tolist(), targets.tolist()
    for component, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        roomy = [number for number, lack in enumerate(lacks) if lack >= size]
        if roomy:
            best = max(roomy, key=lambda number: lacks[number] / max(wanted[number], 1e-9))
        else:
            best = max(range(len(lacks)), key=lacks.__getitem__)
        lacks[best] -= size
        part[component] = best
    return part
