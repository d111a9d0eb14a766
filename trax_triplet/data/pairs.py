"""Question pairs: checked, in duplicate groups, and in parts that share no question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trax_triplet._validation import whole_number


@dataclass(frozen=True, eq=False)
class Pairs:
    """Question pairs, n of them.

    Attributes:
        question1, question2: the texts, n each.
        is_duplicate: int8 (n,), 1 for a duplicate pair and 0 for another, or None where nobody
        labelled them.
        qid1, qid2: int64 (n,), numbers of the questions, or None.
        skipped: (line number, reason) of each row of the file that is not here.
        lines: int64 (n,), the line of the file that each pair starts on, or None.

    Raises:
        TypeError: one str for a list of texts, a text that is no str, qids or lines that are no
        whole numbers.
        ValueError: lengths that differ, labels other than 0 and 1, or only one of qid1 and qid2.

    Example:
        >>> pairs = Pairs(["Why?", "Who?"], ["How come?", "When?"], [1, 0])
        >>> len(pairs), pairs.select([1]).question2
        (2, ('When?',))
    """

    question1: Sequence[str]
    question2: Sequence[str]
    is_duplicate: np.ndarray | None = None
    qid1: np.ndarray | None = None
    qid2: np.ndarray | None = None
    skipped: tuple[tuple[int, str], ...] = ()
    lines: np.ndarray | None = None

    def __post_init__(self):
        for name in ("question1", "question2"):
            object.__setattr__(self, name, _texts(getattr(self, name), name))
        if (self.qid1 is None) != (self.qid2 is None):
            raise ValueError("qid1 and qid2 come together, but one of them is None")
        if self.is_duplicate is not None and not np.isin(self.is_duplicate, (0, 1)).all():
            raise ValueError(
                f"is_duplicate must hold 0 and 1 only, got {np.unique(self.is_duplicate)}"
            )
        for name in ("qid1", "qid2", "lines"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole_numbers(getattr(self, name), name))
        if self.is_duplicate is not None:
            object.__setattr__(self, "is_duplicate", np.asarray(self.is_duplicate, np.int8))
        for name in ("question2", "is_duplicate", "qid1", "qid2", "lines"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (len(self.question1),):
                raise ValueError(
                    f"{len(self.question1)} pairs, but {name} has the shape {np.shape(column)}"
                )

    def __len__(self) -> int:
        return len(self.question1)

    def select(self, indices: np.ndarray) -> Pairs:
        """The pairs at `indices` (int (m,)), in that order; what was skipped stays with the whole.

        Raises:
            TypeError: indices that are no whole numbers; for a mask pass `np.flatnonzero(mask)`.
            IndexError: an index that is not from 0 to n - 1.

        Example:
            >>> Pairs(["a", "b"], ["c", "d"]).select([1, 0]).question1
            ('b', 'a')
        """
        indices = _whole_numbers(indices, "indices")
        bad = indices[(indices < 0) | (indices >= len(self))]
        if indices.ndim != 1 or bad.size:
            raise IndexError(
                f"indices must be an array (m,) of rows from 0 to {len(self) - 1}, got "
                f"{bad[0] if bad.size else f'shape {indices.shape}'}"
            )
        texts = [[side[i] for i in indices.tolist()] for side in (self.question1, self.question2)]
        columns = {
            name: getattr(self, name)[indices]
            for name in ("is_duplicate", "qid1", "qid2", "lines")
            if getattr(self, name) is not None
        }
        return Pairs(*texts, **columns)


def _texts(texts: Iterable[str], name: str) -> tuple[str, ...]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        kind = "one str" if isinstance(texts, str) else type(texts).__name__
        raise TypeError(f"{name} must be a list of texts, got {kind}")
    texts = tuple(texts)
    for kind in set(map(type, texts)):
        if not issubclass(kind, str):
            where = next(i for i, text in enumerate(texts) if type(text) is kind)
            raise TypeError(
                f"{name} must hold texts (str), but number {where} is a {kind.__name__}"
            )
    return texts


def _whole_numbers(numbers, name: str) -> np.ndarray:
    numbers = np.asarray(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":  # of nothing NumPy makes floats
        raise TypeError(f"{name} must be whole numbers, got {numbers.dtype}")
    return numbers.astype(np.int64)


def check_pairs(pairs: Pairs) -> None:
    """Refuses what is no `Pairs`.

    Raises:
        TypeError: it is something else.

    Example:
        >>> check_pairs(Pairs(["a"], ["b"]))
    """
    if not isinstance(pairs, Pairs):
        raise TypeError(
            f"pairs must be trax_triplet.Pairs, got {type(pairs).__name__}; make them by read_pairs(path) "
            "or Pairs(question1, question2, is_duplicate)"
        )


def joined(first: Pairs, second: Pairs) -> Pairs:
    """The pairs of both, in this order; labels and qids where both have them.

    Raises:
        TypeError: something else than `Pairs`.

    Example:
        >>> joined(Pairs(["a"], ["b"], [1]), Pairs(["c"], ["d"], [0])).is_duplicate.tolist()
        [1, 0]
    """
    for pairs in (first, second):
        check_pairs(pairs)
    columns = [
        (getattr(first, name), getattr(second, name)) for name in ("is_duplicate", "qid1", "qid2")
    ]
    return Pairs(
        first.question1 + second.question1,
        first.question2 + second.question2,
        *(None if a is None or b is None else np.concatenate([a, b]) for a, b in columns),
    )


class Split(NamedTuple):
    """What `split_pairs` returns: the parts, and the rows (int64, ascending) that fit in none."""

    parts: tuple[Pairs, ...]
    left_out: np.ndarray


def question_groups(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The duplicate group of each side's question.

    Two questions are the same if their texts are equal but for case and blanks, or if they have the
    same qid. Same questions are in one group; so are the two of every pair labelled 1, and so on
    through any chain of these. Pairs labelled 0, and pairs without labels, connect nothing.

    Returns:
        int64 (n,) for question 1 and for question 2: equal numbers, same group; 0 to groups - 1.

    Raises:
        TypeError: something else than `Pairs`.

    Example:
        >>> pairs = Pairs(["Why?", "how  come?", "Who?"], ["How come?", "For what?", "Why?"], [1, 1, 0])
        >>> [side.tolist() for side in question_groups(pairs)]
        [[0, 0, 1], [0, 0, 0]]
    """
    check_pairs(pairs)
    numbers = {}
    texts = pairs.question1 + pairs.question2
    ids = np.array(
        [numbers.setdefault(question_key(text), len(numbers)) for text in texts], np.int64
    )
    edges, nodes = [], len(numbers)
    if pairs.is_duplicate is not None:
        edges.append(ids.reshape(2, -1)[:, pairs.is_duplicate == 1])
    if pairs.qid1 is not None:
        distinct, qids = np.unique(np.concatenate([pairs.qid1, pairs.qid2]), return_inverse=True)
        edges.append(np.stack([ids, nodes + qids]))
        nodes += len(distinct)
    roots = np.arange(nodes)
    if edges:
        _connect(roots, *np.concatenate(edges, axis=1))
    _, groups = np.unique(roots[ids], return_inverse=True)
    return groups[: len(pairs)], groups[len(pairs) :]


def question_key(text: str) -> str:
    """What questions have in common that count as the same: the text without case and with single
    blanks.

    Raises:
        TypeError: `text` is no str.

    Example:
        >>> question_key("  Why  NOT?")
        'why not?'
    """
    if not isinstance(text, str):
        raise TypeError(f"a question must be a str, got {type(text).__name__}: {text!r:.60}")
    return " ".join(text.casefold().split())


def _connect(roots: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Give all nodes that edges a - b connect one root: hook each root to a smaller one, flatten,
    repeat."""
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
    """Split pairs into parts that have no question in common, nor two questions known to be
    duplicates.

    The groups of `question_groups` stay whole. A pair labelled 0 (or not labelled) that connects
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
        `parts`, one `Pairs` a fraction, rows in the order of `pairs`; `left_out`, the rows in no
        part.

    Raises:
        TypeError: something else than `Pairs`, fractions that are no numbers, a seed that is no
        whole number.
        ValueError: fractions that are not positive or do not sum to 1, a negative seed.
    """
    check_pairs(pairs)
    whole_number("seed", seed)
    shares = np.asarray(fractions)
    if shares.dtype.kind not in "iuf":
        raise TypeError(f"fractions must be numbers such as (0.8, 0.1, 0.1), got {fractions!r:.60}")
    shares = shares.astype(np.float64)
    if (
        shares.ndim != 1
        or not len(shares)
        or not (shares > 0).all()
        or abs(shares.sum() - 1) > 1e-6
    ):
        raise ValueError(f"fractions must be positive and sum to 1, got {fractions}")
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
    """The component of each group: pairs between two groups join them while the result has <= limit
    pairs."""
    inside = group1 == group2
    count = max(group1.max(initial=-1), group2.max(initial=-1)) + 1
    size = np.bincount(group1[inside], minlength=count).tolist()
    parent = list(range(count))

    def root(node):
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in zip(group1[~inside].tolist(), group2[~inside].tolist()):
        a, b = root(a), root(b)
        if a == b:
            size[a] += 1
        elif size[a] + size[b] < limit:
            parent[b] = a
            size[a] += size[b] + 1
    roots = np.array([root(node) for node in range(count)], np.int64)
    return np.unique(roots, return_inverse=True)[1]


def _deal(sizes: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part of each component; the relative lack decides, so all parts get components of all
    sizes."""
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    targets, part = targets.tolist(), np.zeros(len(sizes), np.int64)
    lacks = list(targets)
    for component, size in zip(order.tolist(), sizes[order].tolist()):
        roomy = [number for number, lack in enumerate(lacks) if lack >= size]
        if roomy:
            best = max(roomy, key=lambda number: lacks[number] / max(targets[number], 1e-9))
        else:
            best = max(range(len(lacks)), key=lacks.__getitem__)
        lacks[best] -= size
        part[component] = best
    return part
