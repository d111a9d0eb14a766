"""From a CSV of question pairs to checked pairs."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator

from trax_triplet import _validation as check
from trax_triplet._files import gunzip, read_bytes
from trax_triplet.data.pairs import Pairs, normalize_text

__all__ = ["MAX_BYTES", "read_pairs"]

MAX_BYTES = 2 * 2**30

_LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
_QID = re.compile("[0-9]{1,18}")


def read_pairs(
    path: str | os.PathLike[str],
    *,
    question1: str = "question1",
    question2: str = "question2",
    label: str | None = "is_duplicate",
    max_skipped: float = 0.01,
    max_bytes: int = MAX_BYTES,
) -> Pairs:
    """Reads question pairs from a CSV file with a header line.

    Columns come in any order, further ones are ignored; header names are matched exactly, else
    without regard to case and outer blanks. The separator (comma, semicolon or tab) is the one that
    finds the columns. UTF-8 with or without a byte order mark, line feeds in quotes, any line ends,
    gzip (known by its first bytes). Columns `qid1` and `qid2` are kept where both are there and
    hold only integers.

    Blank lines are not rows. A row is skipped, and reported in `skipped` with the line it starts on
    (the header is line 1), if a text is blank, it has too few or too many fields, its quotes are
    malformed or a field is huge (`csv.field_size_limit`), or its label is not 0 or 1 (0.0 and 1.0
    count too).

    Args:
        path: the file.
        question1, question2, label: names of the columns; `label=None` reads a file without labels.
        max_skipped: the share of rows, 0 to 1, that may be skipped.
        max_bytes: the largest text that is read, in bytes, unpacked; reading takes about four times
            as much memory.

    Returns:
        `Pairs`, with the line that each starts on in `lines`.

    Raises:
        TypeError: a path, the name of a column or a number of another type.
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: an empty file, a missing column, no good row, more than `max_skipped` skipped
            rows, text that is not UTF-8, NUL characters, a damaged gzip file, more than
            `max_bytes`, malformed quotes over several lines.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/pairs.csv", "w") as file:
        ...         _ = file.write("question1,question2,is_duplicate\\nWhy?,How come?,1\\n")
        ...     pairs = read_pairs(f"{folder}/pairs.csv")
        >>> pairs.question2, pairs.is_duplicate.tolist(), pairs.lines.tolist()
        (('How come?',), [1], [2])
    """
    if not isinstance(path, (str, os.PathLike)):  # `open` would take a number for an open file's
        raise check.wrong_type("path", "the path of a file", path)
    check.number("max_skipped", max_skipped, 0, 1)
    check.integer("max_bytes", max_bytes, 1)
    names = [question1, question2] + ([] if label is None else [label])
    for name, column in zip(("question1", "question2", "label"), names, strict=False):
        if not isinstance(column, str):
            raise check.wrong_type(name, "the name of a column", column)
    if len(set(names)) < len(names):
        raise ValueError(
            f"question1, question2 and label must name different columns, but they are {names}"
        )
    lines = io.StringIO(_text(path, max_bytes), newline="")
    header, separator, columns = _read_header(next(lines, ""), names, path)
    qids = [_positions(header, name) for name in ("qid1", "qid2")]
    wanted = columns + [found[0] for found in qids if len(found) == 1]
    rows, starts, skipped = [], [], []
    for line, fields, reason in _rows(lines, separator, path):
        reason = reason or _why_skipped(fields, header, columns)
        if reason:
            skipped.append((line, reason))
        else:
            rows.append([fields[i] for i in wanted])
            starts.append(line)
    _check_skipped(len(rows), skipped, max_skipped, path)
    texts1, texts2, *rest = zip(*rows, strict=True)
    labels = None if label is None else [_LABELS[value.strip()] for value in rest.pop(0)]
    qid1 = qid2 = None
    if len(rest) == 2 and all(_QID.fullmatch(value.strip()) for column in rest for value in column):
        # int alone would leave \x1c to \x1f.
        qid1, qid2 = ([int(value.strip()) for value in column] for column in rest)
    return Pairs(texts1, texts2, labels, qid1, qid2, tuple(skipped), starts)


def _text(path: str | os.PathLike[str], max_bytes: int) -> str:
    data = read_bytes(path, max_bytes)
    if data.startswith(b"\x1f\x8b"):
        data = gunzip(data, max_bytes, path)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {error.start} of the file is not UTF-8; save it as 'CSV "
            "UTF-8', or convert it: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: a NUL character; expected a text file in UTF-8")
    return text


def _positions(header: list[str], name: str) -> list[int]:
    exact = [i for i, column in enumerate(header) if column == name]
    return exact or [
        i for i, column in enumerate(header) if normalize_text(column) == normalize_text(name)
    ]


def _read_header(line: str, names: list[str], path: object) -> tuple[list[str], str, list[int]]:
    """The columns' names, the separator that gives the wanted ones, and their positions."""
    if not line.strip():
        raise ValueError(
            f"{path}: the first line must name the columns, but "
            f"{'it is blank' if line else 'the file is empty'}"
        )
    try:
        headers = [next(csv.reader([line], delimiter=separator)) for separator in ",;\t"]
    except csv.Error as error:
        raise ValueError(
            f"{path}: the first line must name the columns, but it cannot be read ({error}); "
            "expected a CSV file with a header line"
        ) from None
    for separator, header in zip(",;\t", headers, strict=True):
        found = [_positions(header, name) for name in names]
        if all(found):
            double = [
                name for name, positions in zip(names, found, strict=True) if len(positions) > 1
            ]
            if double:
                raise ValueError(
                    f"{path}: several columns are named {double[0]!r}: {header!s:.300}"
                )
            return header, separator, [positions[0] for positions in found]
    raise ValueError(
        f"{path}: expected the columns {names} (separated by comma, semicolon or tab), got "
        f"{max(headers, key=len)!s:.300}; name yours by question1=, question2= and label= "
        "(None: no labels), on the command line by --question1, --question2 and --label"
    )


def _rows(
    lines: Iterator[str], separator: str, path: object
) -> Iterator[tuple[int, list[str], str]]:
    """(line the row starts on, fields, reason to skip it or '') of each row that is not blank."""
    # strict: without it a stray quote moves text into other columns without a word.
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 2  # the header was read before
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num + 1 > line:
                raise ValueError(
                    f"{path}, lines {line} to {reader.line_num + 1}: a quote is not closed, or "
                    f"not doubled inside of text ({error})"
                ) from None
            yield line, [], f"malformed: {error}"
        else:
            if fields:
                yield line, fields, ""


def _why_skipped(fields: list[str], header: list[str], columns: list[int]) -> str:
    if len(fields) < len(header) or any(extra.strip() for extra in fields[len(header) :]):
        return f"{len(fields)} fields, the header has {len(header)}"
    for column in columns[:2]:
        if not fields[column].strip():
            return f"{header[column]} is blank"
    for column in columns[2:]:
        if fields[column].strip() not in _LABELS:
            return f"{header[column]} is {fields[column]!r:.40}, not 0 or 1"
    return ""


def _check_skipped(
    kept: int, skipped: list[tuple[int, str]], max_skipped: float, path: object
) -> None:
    total = kept + len(skipped)
    if not total:
        raise ValueError(f"{path}: a header but no rows below it")
    if not kept or len(skipped) > max_skipped * total:
        shown = "; ".join(f"line {line}: {reason}" for line, reason in skipped[:5])
        raise ValueError(
            f"{path}: {len(skipped)} of {total} rows cannot be used, more than the share "
            f"max_skipped={max_skipped:g}: {shown}{'; ...' if len(skipped) > 5 else ''}"
        )
