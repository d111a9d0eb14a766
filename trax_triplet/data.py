"""From a CSV of question pairs to checked pairs, duplicate groups, and parts that share no question."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
_QID = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Question pairs, n of them.

    Attributes:
        question1, question2: the texts, n each.
        is_duplicate: int8 (n,), 1 for a duplicate pair and 0 for another, or None where nobody labelled them.
        qid1, qid2: int64 (n,), numbers of the questions, or None.
        skipped: (line number, reason) of each row of the file that is not here.

    Raises:
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

    def __post_init__(self):
        for name in ("question1", "question2"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if (self.qid1 is None) != (self.qid2 is None):
            raise ValueError("qid1 and qid2 come together, but one of them is None")
        if self.is_duplicate is not None and not np.isin(self.is_duplicate, (0, 1)).all():
            raise ValueError(f"is_duplicate must hold 0 and 1 only, got {np.unique(self.is_duplicate)}")
        for name, dtype in (("is_duplicate", np.int8), ("qid1", np.int64), ("qid2", np.int64)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        for name in ("question2", "is_duplicate", "qid1", "qid2"):
            column = getattr(self, name)
            if column is not None and np.shape(column)[:1] != (len(self.question1),):
                raise ValueError(f"{len(self.question1)} pairs, but {name} has the shape {np.shape(column)}")

    def __len__(self) -> int:
        return len(self.question1)

    def select(self, indices: np.ndarray) -> Pairs:
        """The pairs at `indices` (int (m,)), in that order; what was skipped stays with the whole."""
        indices = np.asarray(indices, np.int64)
        texts = [[side[i] for i in indices.tolist()] for side in (self.question1, self.question2)]
        columns = [None if column is None else column[indices]
                   for column in (self.is_duplicate, self.qid1, self.qid2)]
        return Pairs(*texts, *columns)


def joined(first: Pairs, second: Pairs) -> Pairs:
    """The pairs of both, in this order; labels and qids where both have them.

    Example:
        >>> joined(Pairs(["a"], ["b"], [1]), Pairs(["c"], ["d"], [0])).is_duplicate.tolist()
        [1, 0]
    """
    columns = [(getattr(first, name), getattr(second, name)) for name in ("is_duplicate", "qid1", "qid2")]
    return Pairs(first.question1 + second.question1, first.question2 + second.question2,
                 *(None if a is None or b is None else np.concatenate([a, b]) for a, b in columns))


class Split(NamedTuple):
    """What `split_pairs` returns: the parts, and the rows (int64, ascending) that fit in none."""

    parts: tuple[Pairs, ...]
    left_out: np.ndarray


def read_pairs(path: str | os.PathLike, *, question1: str = "question1", question2: str = "question2",
               label: str | None = "is_duplicate", max_skipped: float = 0.01) -> Pairs:
    """Read question pairs from a CSV file with a header line.

    Columns come in any order, further ones are ignored; header names are matched exactly, else without regard
    to case and outer blanks. The separator (comma, semicolon or tab) is the one that finds the columns. UTF-8
    with or without a byte order mark, line feeds in quotes, any line ends, gzip (known by its first bytes).
    Columns `qid1` and `qid2` are kept where both are there and hold whole numbers only.

    Blank lines are no rows. A row is skipped, and reported in `skipped` with the line it starts on (the
    header is line 1), if a text is blank, it has too few or too many fields, its quotes are malformed or a
    field is huge (`csv.field_size_limit`), or its label is not 0 or 1 (0.0 and 1.0 count too).

    Args:
        path: the file.
        question1, question2, label: names of the columns; `label=None` reads a file without labels.
        max_skipped: the share of rows, 0 to 1, that may be skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an empty file, a missing column, no good row, more than `max_skipped` skipped rows, text
            that is not UTF-8, NUL characters, a damaged gzip file, malformed quotes over several lines.
    """
    if not 0 <= max_skipped <= 1:
        raise ValueError(f"max_skipped is a share from 0 to 1, got {max_skipped}")
    names = [question1, question2] + ([] if label is None else [label])
    if len(set(names)) < len(names):
        raise ValueError(f"question1, question2 and label must name different columns, got {names}")
    lines = io.StringIO(_text(path), newline="")
    header, separator, columns = _read_header(next(lines, ""), names, path)
    qids = [_positions(header, name) for name in ("qid1", "qid2")]
    wanted = columns + [found[0] for found in qids if len(found) == 1]
    rows, skipped = [], []
    for line, fields, reason in _rows(lines, separator, path):
        reason = reason or _why_skipped(fields, header, columns)
        if reason:
            skipped.append((line, reason))
        else:
            rows.append([fields[i] for i in wanted])
    _check_skipped(len(rows), skipped, max_skipped, path)
    texts1, texts2, *rest = zip(*rows)
    labels = None if label is None else [_LABELS[value.strip()] for value in rest.pop(0)]
    numbers = [None, None]
    if len(rest) == 2 and all(_QID.fullmatch(value.strip()) for column in rest for value in column):
        numbers = [[int(value) for value in column] for column in rest]
    return Pairs(texts1, texts2, labels, *numbers, tuple(skipped))


def _text(path) -> str:
    with open(path, "rb") as file:
        data = file.read()
    try:
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        text = data.decode("utf-8").removeprefix("\ufeff")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the gzip file is damaged or truncated ({error})") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte {error.start} of the file is not UTF-8; save it as 'CSV "
                         "UTF-8', or convert it: iconv -f WINDOWS-1252 -t UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: a NUL character; expected a text file in UTF-8")
    return text


def _positions(header: list[str], name: str) -> list[int]:
    exact = [i for i, column in enumerate(header) if column == name]
    return exact or [i for i, column in enumerate(header) if question_key(column) == question_key(name)]


def _read_header(line: str, names: list[str], path) -> tuple[list[str], str, list[int]]:
    """The columns' names, the separator that gives the wanted ones, and the wanted ones' positions."""
    if not line.strip():
        raise ValueError(f"{path}: the first line must name the columns, but "
                         f"{'it is blank' if line else 'the file is empty'}")
    headers = [next(csv.reader([line], delimiter=separator)) for separator in ",;\t"]
    for separator, header in zip(",;\t", headers):
        found = [_positions(header, name) for name in names]
        if all(found):
            double = [name for name, positions in zip(names, found) if len(positions) > 1]
            if double:
                raise ValueError(f"{path}: several columns are named {double[0]!r}: {header}")
            return header, separator, [positions[0] for positions in found]
    raise ValueError(f"{path}: expected the columns {names} (separated by comma, semicolon or tab), got "
                     f"{max(headers, key=len)}; name yours by question1=, question2= and label= (None: no "
                     "labels), on the command line by --question1, --question2 and --label")


def _rows(lines: Iterator[str], separator: str, path) -> Iterator[tuple[int, list[str], str]]:
    """(line the row starts on, fields, reason to skip it or '') of each row that is not blank."""
    # strict: without it a stray quote moves text into other columns, and nobody is told.
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 2  # the header was read before
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num + 1 > line:
                raise ValueError(f"{path}, lines {line} to {reader.line_num + 1}: a quote is not closed, or "
                                 f"not doubled inside of text ({error})") from None
            yield line, [], f"malformed: {error}"
        else:
            if fields:
                yield line, fields, ""


def _why_skipped(fields: list[str], header: list[str], columns: list[int]) -> str:
    if len(fields) < len(header) or any(extra.strip() for extra in fields[len(header):]):
        return f"{len(fields)} fields, the header has {len(header)}"
    for column in columns[:2]:
        if not fields[column].strip():
            return f"{header[column]} is blank"
    for column in columns[2:]:
        if fields[column].strip() not in _LABELS:
            return f"{header[column]} is {fields[column]!r:.40}, not 0 or 1"
    return ""


def _check_skipped(kept: int, skipped: list[tuple[int, str]], max_skipped: float, path) -> None:
    total = kept + len(skipped)
    if not total:
        raise ValueError(f"{path}: a header but no rows below it")
    if not kept or len(skipped) > max_skipped * total:
        shown = "; ".join(f"line {line}: {reason}" for line, reason in skipped[:5])
        raise ValueError(f"{path}: {len(skipped)} of {total} rows cannot be used, more than the share "
                         f"max_skipped={max_skipped:g}: {shown}{'; ...' if len(skipped) > 5 else ''}")


def question_groups(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The duplicate group of each side's question.

    Two questions are the same if their texts are equal but for case and blanks, or if they have the same qid.
    Same questions are in one group; so are the two of every pair labelled 1, and so on through any chain of
    these. Pairs labelled 0, and pairs without labels, connect nothing.

    Returns:
        int64 (n,) for question 1 and for question 2: equal numbers, same group; 0 to groups - 1.

    Example:
        >>> pairs = Pairs(["Why?", "how  come?", "Who?"], ["How come?", "For what?", "Why?"], [1, 1, 0])
        >>> [side.tolist() for side in question_groups(pairs)]
        [[0, 0, 1], [0, 0, 0]]
    """
    numbers = {}
    texts = pairs.question1 + pairs.question2
    ids = np.array([numbers.setdefault(question_key(text), len(numbers)) for text in texts], np.int64)
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
    return groups[:len(pairs)], groups[len(pairs):]


def question_key(text: str) -> str:
    """What questions have in common that count as the same: the text without case and with single blanks.

    Example:
        >>> question_key("  Why  NOT?")
        'why not?'
    """
    return " ".join(text.casefold().split())


def _connect(roots: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Give all nodes that edges a - b connect one root: hook each root to a smaller one, flatten, repeat."""
    while True:
        a, b = roots[a], roots[b]
        a, b = np.minimum(a, b)[a != b], np.maximum(a, b)[a != b]
        if not len(a):
            return
        np.minimum.at(roots, b, a)
        while (roots[roots] != roots).any():
            roots[:] = roots[roots]


def split_pairs(pairs: Pairs, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 0) -> Split:
    """Split pairs into parts that have no question in common, nor two questions known to be duplicates.

    The groups of `question_groups` stay whole. A pair labelled 0 (or not labelled) that connects two groups
    joins them, as long as the joined component has at most 1 % of all pairs (at least 4); such pairs could
    otherwise chain nearly all questions together. A connecting pair that joined nothing is kept if both its
    groups come to the same part, else it is left out, and reported. Pairs labelled 1 are never left out.

    Components go to the parts largest first, equal ones in random order, each to the part that lacks most of
    its share. A part exceeds its share by less than the largest component, and may stay empty where there are
    fewer components than parts.

    Args:
        pairs: n pairs.
        fractions: the share of each part; positive, sum 1.
        seed: of the random order.

    Returns:
        `parts`, one `Pairs` a fraction, rows in the order of `pairs`; `left_out`, the rows in no part.

    Raises:
        ValueError: fractions that are not positive or do not sum to 1.
    """
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
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
    """The component of each group: pairs between two groups join them while the result has <= limit pairs."""
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
    """The part of each component; the relative lack decides, so all parts get components of all sizes."""
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
