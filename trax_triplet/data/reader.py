"""From a file of question pairs to checked pairs: its columns, its labels, and what is skipped."""

from __future__ import annotations

import collections
import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trax_triplet import _validation as check
from trax_triplet._wording import counted
from trax_triplet.data.bytes_literals import unwrapped
from trax_triplet.data.pairs import Pairs, normalize_text
from trax_triplet.data.table import MissingColumns, Row, Table, read_table
from trax_triplet.data.tokenizer import is_blank

__all__ = [
    "MAX_BYTES",
    "Columns",
    "Labels",
    "check_skipped",
    "find_columns",
    "read_pairs",
    "read_rows",
]

MAX_BYTES = 2 * 2**30

# As people write them, in lower case.
_YES = {"true", "t", "yes", "y", "dup", "duplicate", "duplicates", "paraphrase", "equivalent"}
_NO = {"false", "f", "no", "n", "not duplicate", "non duplicate", "nonduplicate", "not a duplicate"}
_NO |= {"not paraphrase", "non paraphrase", "not a paraphrase", "not equivalent"}
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
# As programs write that there is nothing.
_MISSING = {"nan", "null", "<na>", "\\n"}
_ZERO_OR_ONE = re.compile(r"[01](?:[.,]0*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_QID = re.compile(r"([+-]?[0-9]{1,999})(?:\.0*)?")


class Labels(NamedTuple):
    """How `read_pairs` takes labels."""

    column: str | None
    positive: frozenset[str] | None
    grade: float | None

    def value(self, text: str) -> int | None:
        """1, 0, or None for anything that is not a label."""
        text = text.strip()
        lower = text.lower()
        if self.positive is not None:
            is_there = bool(text) and (lower not in _MISSING or lower in self.positive)
            return int(lower in self.positive) if is_there else None
        if self.grade is None and lower in _YES:
            return 1
        if self.grade is None and _BETWEEN_WORDS.sub(" ", lower) in _NO:
            return 0
        if self.grade is None:
            return int(text[0]) if _ZERO_OR_ONE.fullmatch(text) else None
        try:
            number = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
        except ValueError:
            return None
        return int(number >= self.grade) if math.isfinite(number) else None

    def expected(self) -> str:
        """What a label must be."""
        if self.grade is not None:
            return "a number"
        return "a label" if self.positive is not None else "0 or 1 (true, false, yes, no)"


class Columns(NamedTuple):
    """Where things stand in a header."""

    texts: list[int]
    label: int | None
    qids: list[int]


def read_pairs(
    path: str | os.PathLike[str],
    *,
    question1: str = "question1",
    question2: str = "question2",
    label: str | None = "is_duplicate",
    positive: Iterable[str] | None = None,
    threshold_label: float | None = None,
    duplicates_only: bool = False,
    negative: str | None = None,
    encoding: str | None = None,
    quoting: str = "auto",
    escape: str | None = None,
    max_skipped: float = 0.01,
    max_bytes: int = MAX_BYTES,
) -> Pairs:
    """Reads question pairs from a CSV file with a header line.

    Columns come in any order, further ones are ignored; header names are matched exactly, else
    without regard to case and outer spaces. The separator (comma, semicolon or tab) is the one that
    finds the columns. UTF-8, UTF-16 or UTF-32, with a byte order mark or without, line feeds in
    quotes, any line ends, gzip (known by its first bytes). Columns `qid1` and `qid2` are kept where
    both are there and hold only integers, maybe with blanks among them: such a question is known by
    its text. If all texts of a column are Python's bytes literals (b'...'), they are unwrapped.

    Files separated by tabs mostly do not quote: they are taken as they stand, unless they clearly
    quote. In the others a field that begins with a quote ends with one, and quotes in it are
    doubled; the lines of one that holds what looks like another row, as after a stray quote, are
    skipped. A first line such as `sep=;`, which is Excel's, names the separator.

    Blank lines are not rows. A row is skipped, and reported in `skipped` with the line it starts on
    (the header is line 1), if a text is blank, it has too few or too many fields, its quotes are
    malformed or a field is huge (`csv.field_size_limit`), or its label is not one. Labels are 0 and
    1, in any usual writing: 1.0, TRUE, yes, duplicate. `notes` says what was unusual.

    Args:
        path: the file.
        question1, question2, label: names of the columns; `label=None` reads a file without labels.
        positive: the labels that mean duplicate, in upper or lower case; others mean not duplicate.
        threshold_label: labels are grades, and those of at least this much mean duplicate.
        duplicates_only: every row is a pair of duplicates; there is no column of labels, or none
            that says otherwise.
        negative: name of a column of texts that are not duplicates of `question1`, as in files of
            triplets (anchor, positive, negative): each row becomes a pair labelled 1 and one
            labelled 0.
        encoding: of the text, such as 'cp1252'; None: Unicode, as above.
        quoting: 'auto': as above; 'csv': quotes are never text; 'none': they always are.
        escape: the character before a quote that is text inside of quotes, such as a backslash;
            None: it is doubled.
        max_skipped: the share of rows, 0 to 1, that may be skipped.
        max_bytes: the largest text that is read, in bytes, unpacked; reading takes about four times
            as much memory.

    Returns:
        `Pairs`, with the line that each starts on in `lines`.

    Raises:
        TypeError: a path, the name of a column or an option of another type.
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: an empty file, a missing column, no good row, more than `max_skipped` skipped
            rows, text of another encoding, NUL characters, a damaged gzip file, another kind of
            file, more than `max_bytes`, malformed quotes over several lines, options that exclude
            each other, labels 0 in a file of duplicates only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/pairs.csv", "w") as file:
        ...         _ = file.write("question1,question2,is_duplicate\\nWhy?,How come?,yes\\n")
        ...     pairs = read_pairs(f"{folder}/pairs.csv")
        >>> pairs.question2, pairs.is_duplicate.tolist(), pairs.lines.tolist()
        (('How come?',), [1], [2])
        >>> pairs.notes
        ("labels: 'yes' (1 row) is 1",)
    """
    texts = [question1, question2] + ([] if negative is None else [negative])
    labels = _labels_wanted(label, positive, threshold_label, duplicates_only, negative)
    table, columns, sides = read_rows(
        path, texts, labels, encoding=encoding, quoting=quoting, escape=escape, max_bytes=max_bytes
    )
    kept = [row for row in table.rows if not row.reason]
    skipped = [(row.line, row.reason) for row in table.rows if row.reason]
    check_skipped(len(kept), skipped, max_skipped, path)
    lines, is_duplicate = [row.line for row in kept], None
    if columns.label is not None:
        is_duplicate = [labels.value(row.fields[columns.label]) for row in kept]
    elif duplicates_only or negative is not None:
        is_duplicate = [1] * len(kept)
    if duplicates_only and label is not None:
        _refuse_others(kept, table.header, label, path)
    if negative is not None:  # each pair labelled 0 after that labelled 1 of its row
        first = [text for text in sides[0] for _ in range(2)]
        second = [text for both in zip(sides[1], sides[2], strict=True) for text in both]
        lines, is_duplicate = [line for line in lines for _ in range(2)], [1, 0] * len(kept)
        unused = ["qid1 and qid2 are not used, as rows have three questions"] * bool(columns.qids)
        notes = table.notes + unused
        return Pairs(first, second, is_duplicate, None, None, skipped, lines, notes)
    qid1, qid2, notes = _qids(kept, columns.qids, table.header, sides)
    notes = table.notes + notes
    return Pairs(sides[0], sides[1], is_duplicate, qid1, qid2, skipped, lines, notes)


def _refuse_others(rows: list[Row], header: list[str], label: str, path: object) -> None:
    """Raises if a column of labels says that there are not only duplicates."""
    for column in find_columns(header, [label])[0]:
        values = [Labels(label, None, None).value(row.fields[column]) for row in rows]
        if n := values.count(0):
            raise ValueError(
                f"{path}: expected duplicates only (duplicates_only=True), but the column "
                f"{header[column]!r} says that {n} of {counted(len(rows), 'row')} are not "
                "duplicates; leave duplicates_only out; if that column means something else: "
                "label=None"
            )


def _labels_wanted(
    column: str | None,
    positive: Iterable[str] | None,
    threshold_label: float | None,
    duplicates_only: bool,
    negative: str | None,
) -> Labels:
    if column is not None and not isinstance(column, str):
        raise check.wrong_type("label", "the name of a column", column)
    given = {
        "positive": positive is not None,
        "threshold_label": threshold_label is not None,
        "duplicates_only": check.boolean("duplicates_only", duplicates_only),
        "negative": negative is not None,
    }
    both = [name for name, is_given in given.items() if is_given]
    if len(both) > 1:
        raise ValueError(f"{both[0]} and {both[1]} exclude each other: give one of them")
    if positive is not None:
        named = check.strings("positive", positive)
        positive = frozenset(value.strip().lower() for value in named) - {""}
        if not positive:
            raise check.wrong_value("positive", "the labels that mean duplicate", [])
    if threshold_label is not None:
        threshold_label = check.number("threshold_label", threshold_label)
    has_labels = not (duplicates_only or negative is not None)
    return Labels(column if has_labels else None, positive, threshold_label)


def read_rows(
    path: str | os.PathLike[str],
    texts: list[str],
    labels: Labels,
    *,
    encoding: str | None = None,
    quoting: str = "auto",
    escape: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Table, Columns, list[list[str]]]:
    """All rows of a file of pairs, those that cannot be used with the reason; and its columns.

    The rows are as they stand in the file. The third result is, for each name in `texts`, the texts
    of the rows that can be used, without bytes literals.

    Args:
        path, encoding, quoting, escape, max_bytes: as in `read_pairs`.
        texts: names of the columns of texts.
        labels: of the column of labels, and how they are taken.

    Raises:
        As `read_pairs`, but nothing for rows that cannot be used.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/pairs.csv", "w") as file:
        ...         _ = file.write("id,a,b\\n7,Why?,How come?\\n8,Why?,\\n")
        ...     labels = Labels(None, None, None)
        ...     table, _, texts = read_rows(f"{folder}/pairs.csv", ["a", "b"], labels)
        >>> [(row.line, row.reason) for row in table.rows]
        [(2, ''), (3, 'b is blank')]
        >>> texts
        [['Why?'], ['How come?']]
    """
    if not isinstance(path, (str, os.PathLike)):  # `open` would take a number for an open file's
        raise check.wrong_type("path", "the path of a file", path)
    check.integer("max_bytes", max_bytes, 1)
    for name, column in zip(("question1", "question2", "negative"), texts, strict=False):
        if not isinstance(column, str):
            raise check.wrong_type(name, "the name of a column", column)
    names = texts + ([] if labels.column is None else [labels.column])
    if len(set(names)) < len(names):
        raise ValueError(
            f"question1, question2 and label must name different columns, but they are {names}"
        )
    options = {"encoding": encoding, "quoting": quoting, "escape": escape, "max_bytes": max_bytes}
    try:
        table = read_table(path, lambda header: all(find_columns(header, names)), **options)
    except MissingColumns as error:
        raise ValueError(
            f"{path}: expected the columns {names} (separated by comma, semicolon or tab), got "
            f"{error.args[0]!s:.300}; name yours by {_named(texts, labels)}"
        ) from None
    found = find_columns(table.header, names)
    for name, positions in zip(names, found, strict=True):
        if len(positions) > 1:
            raise ValueError(f"{path}: several columns are named {name!r}: {table.header!s:.300}")
    alone = [at for at in find_columns(table.header, ["qid1", "qid2"]) if len(at) == 1]
    first = [positions[0] for positions in found]
    columns = Columns(
        first[: len(texts)],
        first[-1] if labels.column is not None else None,
        [at[0] for at in alone],
    )
    rows = [_judged(row, table.header, columns, labels) for row in table.rows]
    rows, sides, notes = _texts(rows, columns.texts, table.header)
    notes = table.notes + notes + _label_notes(rows, columns, labels)
    return Table(table.header, rows, notes), columns, sides


def _named(texts: list[str], labels: Labels) -> str:
    """How columns are named, for those that are wanted."""
    if labels.column is None:
        return (
            "question1=, question2= and negative="
            if len(texts) > 2
            else "question1= and question2="
        )
    return (
        "question1=, question2= and label=; where every row is a pair of duplicates: "
        "duplicates_only=True; where there are no labels: label=None"
    )


def find_columns(header: list[str], names: list[str]) -> list[list[int]]:
    """The positions of each name in a header, in any case where none is written so."""
    found = []
    for name in names:
        exact = [i for i, column in enumerate(header) if column == name]
        alike = [i for i, col in enumerate(header) if normalize_text(col) == normalize_text(name)]
        found.append(exact or alike)
    return found


def _judged(row: Row, header: list[str], columns: Columns, labels: Labels) -> Row:
    """The row, with the reason if it cannot be used."""
    fields = row.fields
    if row.reason:
        return row
    if len(fields) < len(header) or any(extra.strip() for extra in fields[len(header) :]):
        return row._replace(reason=f"{counted(len(fields), 'field')}, the header has {len(header)}")
    for column in columns.texts:
        if is_blank(fields[column]):
            return row._replace(reason=f"{header[column]} is blank")
    if columns.label is not None and labels.value(fields[columns.label]) is None:
        shown = f"{header[columns.label]} is {fields[columns.label]!r:.40}"
        return row._replace(reason=f"{shown}, not {labels.expected()}")
    return row


def _texts(
    rows: list[Row], columns: list[int], header: list[str]
) -> tuple[list[Row], list[list[str]], list[str]]:
    """The rows, some more of which may be blank; the texts of those that can be used; notes."""
    usable = [i for i, row in enumerate(rows) if not row.reason]
    raw = [[rows[i].fields[column] for i in usable] for column in columns]
    names = [header[column] for column in columns]
    sides, notes = unwrapped(raw, names)
    notes += _missing_notes(sides, names)
    rows, kept = [*rows], []
    for at, i in enumerate(usable):
        blank = [header[c] for c, texts in zip(columns, sides, strict=True) if is_blank(texts[at])]
        if blank:
            rows[i] = rows[i]._replace(reason=f"{blank[0]} is blank")
        else:
            kept.append(at)
    return rows, [[texts[at] for at in kept] for texts in sides], notes


def _missing_notes(sides: list[list[str]], names: list[str]) -> list[str]:
    """What a program may have written where a text was missing."""
    notes = []
    for texts, name in zip(sides, names, strict=True):
        found = collections.Counter(text for text in texts if text.strip().lower() in _MISSING)
        notes += [
            f"texts: {counted(n, 'text')} of {name} {'is' if n == 1 else 'are'} {text!r}; if that "
            "means that there is none, leave out these rows"
            for text, n in found.items()
        ]
    return notes


def _label_notes(rows: list[Row], columns: Columns, labels: Labels) -> list[str]:
    """How labels other than 0 and 1 were taken."""
    if columns.label is None:
        return []
    found = collections.Counter(row.fields[columns.label].strip() for row in rows if not row.reason)
    if labels.grade is not None:
        n = sum(count for text, count in found.items() if labels.value(text))
        total = counted(found.total(), "row")
        return [f"labels: those of at least {labels.grade:g} count as 1, in {n} of {total}"]
    told = [text for text in found if text not in ("0", "1", "0.0", "1.0")]
    never = ""
    if labels.positive is not None:
        told = [*found]
        missing = sorted(labels.positive - {text.lower() for text in found})
        never = f"; no row has {', '.join(map(repr, missing[:6]))}" if missing else ""
    parts = [
        f"{text!r:.30} ({counted(found[text], 'row')}) is {labels.value(text)}" for text in told
    ]
    more = f", and {len(parts) - 6} more" if len(parts) > 6 else ""
    return [f"labels: {', '.join(parts[:6])}{more}{never}"] if parts else []


def _qids(
    rows: list[Row], columns: list[int], header: list[str], sides: list[list[str]]
) -> tuple[list[int] | None, list[int] | None, list[str]]:
    """The numbers of the questions, if all are integers or blank; and notes."""
    if len(columns) < 2:
        there = [header[i] for places in find_columns(header, ["qid1", "qid2"]) for i in places]
        note = f"{' and '.join(there)} not used: one qid1 and one qid2 go together"
        return None, None, [note] if there else []
    found, n_blank, n_long = [], 0, 0
    for column, texts in zip(columns, sides, strict=True):
        values = []
        for row, text in zip(rows, texts, strict=True):
            cell = row.fields[column].strip()
            match = _QID.fullmatch(cell)
            if cell and match is None:
                why = f"{header[column]} is {cell!r:.40} on line {row.line}, not an integer"
                return None, None, [f"qid1 and qid2 are not used: {why}"]
            value = int(match[1]) if match else _number_of(normalize_text(text))
            if not -(2**63) <= value < 2**63:
                value, n_long = _number_of(str(value)), n_long + 1
            n_blank += match is None
            values.append(value)
        found.append(values)
    notes = _qid_notes(found, sides)
    if n_blank:
        blank = counted(n_blank, "blank")
        notes.append(f"qid1 and qid2: {blank}; such a question is known by its text alone")
    if n_long:
        notes.append(
            f"qid1 and qid2: {n_long} too large for int64, replaced by numbers of their own"
        )
    return found[0], found[1], notes


def _qid_notes(qids: list[list[int]], sides: list[list[str]]) -> list[str]:
    """Whether a number stands for texts that differ, and not only in case and blanks."""
    text_of: dict[int, str] = {}
    several: dict[int, str] = {}
    for numbers, texts in zip(qids, sides, strict=True):
        for number, text in zip(numbers, texts, strict=True):
            first = text_of.setdefault(number, text)
            if first != text and normalize_text(first) != normalize_text(text):
                several.setdefault(number, text)
    if not several:
        return []
    number, text = next(iter(several.items()))
    numbers_stand = "number stands" if len(several) == 1 else "numbers stand"
    return [
        f"qid1 and qid2: {len(several)} {numbers_stand} for several texts, such as {number} for "
        f"{text_of[number]!r:.60} and {text!r:.60}; texts of one number count as one question"
    ]


def _number_of(text: str) -> int:
    """A number of 63 bits, the same for a text in every file."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def check_skipped(
    kept: int, skipped: Sequence[tuple[int, str]], max_skipped: float, path: object
) -> None:
    """Refuses a file of which more rows than a share cannot be used.

    Args:
        kept: number of the rows that can be used.
        skipped: (line, reason) of the others.
        max_skipped: the share of rows, 0 to 1, that may be skipped.
        path: that errors name.

    Raises:
        ValueError: there are more, or no rows at all, or none that can be used.

    Example:
        >>> check_skipped(9, [(2, "question1 is blank")], 0.1, "pairs.csv")
    """
    check.number("max_skipped", max_skipped, 0, 1)
    total = kept + len(skipped)
    if not total:
        raise ValueError(f"{path}: a header but no rows below it")
    if not kept or len(skipped) > max_skipped * total:
        shown = "; ".join(f"line {line}: {reason}" for line, reason in skipped[:5])
        limit = (
            f", more than the share max_skipped={max_skipped:g}" if kept else ", which leaves none"
        )
        advice = ""
        if any("not 0 or 1" in reason for _, reason in skipped):
            advice = (
                "; name the labels that mean duplicate by positive=, or the smallest grade by "
                "threshold_label="
            )
        elif any(reason.startswith("malformed") for _, reason in skipped):
            advice = "; see quoting= and escape="
        raise ValueError(
            f"{path}: {len(skipped)} of {counted(total, 'row')} cannot be used{limit}: "
            f"{shown}{'; ...' * (len(skipped) > 5)}{advice}"
        )
