"""From a file to a table of texts: its separator, and what its quotes mean."""

from __future__ import annotations

import collections
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from trax_triplet import _validation as check
from trax_triplet._wording import counted
from trax_triplet.data.encodings import HALVES, WHAT_IS_READ, read_text

__all__ = ["QUOTINGS", "Row", "Table", "read_table"]

SEPARATORS = ",;\t"
QUOTINGS = ("auto", "csv", "none")
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[\r\n]*', re.IGNORECASE)  # Excel's
_LINE_END = re.compile("\r\n|\r|\n")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_QUOTED = re.compile('"(?:[^"]|"")*"')
_ADVICE = (
    "if quotes are part of the text: quoting='none'; if backslashes stand before them: "
    "escape='\\\\'"
)


class Row(NamedTuple):
    """A row of a file that is not blank."""

    line: int  # that it starts on; the header is line 1
    fields: list[str]
    reason: str  # why it cannot be used, or ''


class Table(NamedTuple):
    """What a file holds."""

    header: list[str]
    rows: list[Row]
    notes: list[str]  # how it was read, where that is not plain


def read_table(
    path: str | os.PathLike[str],
    has_columns: Callable[[list[str]], bool],
    *,
    encoding: str | None,
    quoting: str,
    escape: str | None,
    max_bytes: int,
    read: tuple[str, list[str]] | None = None,
) -> Table:
    """Reads a table of texts with a header line; `read_pairs` says what its options mean.

    Args:
        path: the file, maybe gzipped.
        has_columns: whether a header is the right one; it decides the separator.
        encoding, quoting, escape, max_bytes: as in `read_pairs`.
        read: what `read_text` gave for the file, if it was read already.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        TypeError, ValueError: as `read_pairs`.

    Example:
        >>> import tempfile
        >>> options = {"encoding": None, "quoting": "auto", "escape": None, "max_bytes": 100}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/t.tsv", "w") as file:
        ...         _ = file.write('a\\tb\\n"Yes," he said.\\t"\\n')
        ...     read_table(f"{folder}/t.tsv", lambda header: "b" in header, **options).rows
        [Row(line=2, fields=['"Yes," he said.', '"'], reason='')]
    """
    check.one_of("quoting", quoting, QUOTINGS)
    if escape is not None and (
        not isinstance(escape, str) or len(escape) != 1 or escape in '"\r\n' + SEPARATORS
    ):
        error = check.wrong_value if isinstance(escape, str) else check.wrong_type
        raise error("escape", "one character such as '\\\\', or None", escape)
    text, notes = read or read_text(path, encoding, max_bytes)
    first, separators, start = next(io.StringIO(text, newline=""), ""), SEPARATORS, 2
    if told := _SEPARATOR_LINE.fullmatch(first):
        separators, start, text = told[1], 3, text[len(first) :]
        notes.append(f"separated by {separators!r}, as the first line says")
        if escape == separators:
            raise check.wrong_value("escape", "another character than the separator", escape)
    lines = io.StringIO(text, newline="")
    first = next(lines, "")
    header, separator = _header(first, separators, has_columns, quoting, escape, path)
    if quoting == "auto" and separator == "\t" and escape is None:
        rows, found = _tabs(text, header, separator, start)
        notes += found
    else:
        rows = _quoted_rows(lines, separator, quoting != "none", escape, path, start)
        cells = first.rstrip("\r\n").split(separator)
        if quoting == "auto" and not all(map(_QUOTED.fullmatch, cells)):
            # Where every text is quoted, a stray quote is malformed.
            rows = _without_swallowed(rows, text, len(header), separator, start)
    if encoding is not None and HALVES.search(text):  # those of Unicode decode to none
        if any(map(HALVES.search, header)):
            raise ValueError(
                f"{path}, line {start - 1}: the columns' names are not Unicode text: one holds "
                "half of a surrogate pair; name another encoding by encoding="
            )
        rows = [_without_halves(row) for row in rows]
    return Table(header, rows, notes)


def _without_halves(row: Row) -> Row:
    if not any(map(HALVES.search, row.fields)):
        return row
    fields = [HALVES.sub("\ufffd", field) for field in row.fields]  # can be written
    reason = "not Unicode text: it holds half of a surrogate pair"
    return Row(row.line, fields, row.reason or reason)


def _header(
    line: str,
    separators: str,
    has_columns: Callable[[list[str]], bool],
    quoting: str,
    escape: str | None,
    path: object,
) -> tuple[list[str], str]:
    """The columns' names, and the separator that gives the wanted ones."""
    if not line.strip():
        raise ValueError(
            f"{path}: the first line must name the columns, but "
            f"{'it is blank' if line else 'the file is empty'}"
        )
    headers, problem = [], None
    for separator in separators:
        for quotes in {"auto": (True, False), "csv": (True,), "none": (False,)}[quoting]:
            try:
                blanks = quotes and bool(_quote_after_blanks(separator).search(line))
                header = next(_reader([line], separator, quotes, escape, blanks, strict=False))
            except csv.Error as error:
                problem = error
                continue
            if has_columns(header):
                return header, separator
            headers.append(header)
    if line.lstrip()[:1] in ("{", "["):
        raise ValueError(
            f"{path}: the first line must name the columns, but it looks like JSON, "
            f"{line.strip()!r:.60}; {WHAT_IS_READ}"
        )
    if not headers:
        raise ValueError(
            f"{path}: the first line must name the columns, but it cannot be read ({problem}); "
            "expected a CSV file with a header line"
        )
    raise MissingColumns(max(headers, key=len))


class MissingColumns(Exception):
    """No separator gives the wanted columns; `args[0]` is the longest header found."""


def _reader(
    lines: Iterable[str],
    separator: str,
    quotes: bool,
    escape: str | None,
    blanks: bool = False,
    strict: bool = True,
) -> Any:
    # strict: without it a stray quote moves text into other columns without a word.
    return csv.reader(
        lines,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        escapechar=escape,
        skipinitialspace=blanks,
        strict=strict,
    )


def _quote_after_blanks(separator: str) -> re.Pattern[str]:
    return re.compile(re.escape(separator) + ' +"')


def _quoted_rows(
    lines: io.StringIO,
    separator: str,
    quotes: bool,
    escape: str | None,
    path: object,
    start: int,
) -> list[Row]:
    """The rows, in which a blank may stand between a separator and the quote after it."""
    place = lines.tell()
    options = {"separator": separator, "quotes": quotes, "escape": escape}
    options |= {"path": path, "start": start}
    if not quotes or not _quote_after_blanks(separator).search(lines.read()):
        lines.seek(place)
        return list(_rows(lines, **options))
    found, problem = [], None
    for blanks in (True, False):  # the first where both are as good
        lines.seek(place)
        try:
            found.append(list(_rows(lines, **options, blanks=blanks)))
        except ValueError as error:
            problem = error
    if not found:
        assert problem is not None
        raise problem
    return min(found, key=_badness)


def _badness(rows: list[Row]) -> tuple[int, int]:
    """How many rows are malformed, or not of the usual length; and how few there are."""
    lengths = collections.Counter(len(row.fields) for row in rows if not row.reason)
    return len(rows) - max(lengths.values(), default=0), -len(rows)


def _rows(
    lines: Iterator[str],
    separator: str,
    quotes: bool,
    escape: str | None,
    path: object,
    start: int,
    blanks: bool = False,
) -> Iterator[Row]:
    """The rows below the header, which was read before; the first is on line `start`."""
    latest = ""

    def remembered() -> Iterator[str]:
        nonlocal latest
        for line in lines:
            latest = line
            yield line

    reader = _reader(remembered(), separator, quotes, escape, blanks)
    while True:
        line = reader.line_num + start
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num + start - 1
            if last > line:
                raise ValueError(
                    f"{path}, lines {line} to {last}: a quote is not closed, or "
                    f"not doubled inside of text ({error}); {_ADVICE}"
                ) from None
            fields = latest.rstrip("\r\n").split(separator)  # for whoever looks for the row
            yield Row(line, fields, f"malformed: {error}")
        else:
            if fields:
                yield Row(line, fields, "")


class _Column(NamedTuple):
    """What a column holds, as far as that tells a cell from prose."""

    values: frozenset[str] | None  # if these are few, as in a column of labels
    is_number: bool
    may_be_blank: bool

    @property
    def is_free(self) -> bool:
        return self.values is None and not self.is_number

    def fits(self, cell: str) -> bool:
        cell = cell.strip().lower()
        if not cell:
            return self.may_be_blank
        if self.values is not None:
            return cell in self.values
        return not self.is_number or bool(_NUMBER.fullmatch(cell))


def _without_swallowed(
    rows: list[Row], text: str, n_columns: int, separator: str, start: int
) -> list[Row]:
    """The rows; for one of which a quoted field seems to have swallowed others, its lines."""
    if not any(map(_LINE_END.search, (field for row in rows for field in row.fields))):
        return rows
    columns, lines, checked = _columns(rows, n_columns), [], []
    for row in rows:
        shown = next(
            filter(None, (_swallowed(row, i, columns, separator) for i in range(len(row.fields)))),
            None,
        )
        if shown is None:
            checked.append(row)
            continue
        reason = (
            f"a quoted field holds what looks like another row, {shown!r:.60}; "
            "if it is text: quoting='csv'; if the quote is: quoting='none'"
        )
        lines = lines or list(io.StringIO(text, newline=""))
        n = 1 + sum(len(_LINE_END.findall(field)) for field in row.fields)
        for number in range(row.line, row.line + n):
            line = lines[number - start + 1].rstrip("\r\n")
            if line:
                checked.append(Row(number, line.split(separator), reason))
    return checked


def _columns(rows: list[Row], n_columns: int) -> list[_Column]:
    """What the columns hold, by a sample of the cells on one line."""
    columns = []
    usual = [row.fields for row in rows if not row.reason and len(row.fields) == n_columns]
    for i in range(n_columns):
        cells = [fields[i].strip().lower() for fields in usual[:: len(usual) // 10_000 + 1]]
        counts = collections.Counter(cell for cell in cells if not _LINE_END.search(cell))
        n_blank = counts.pop("", 0)
        n = counts.total()
        n_numbers = sum(k for cell, k in counts.items() if _NUMBER.fullmatch(cell))
        is_number = n > 0 and n_numbers >= 0.9 * n
        # One number may be all labels of a file that is sorted, or nearly so.
        are_few = 1 + is_number <= len(counts) <= 8 and n >= 2 * len(counts)
        columns.append(
            _Column(
                values=frozenset(counts) if are_few else None,
                is_number=is_number,
                may_be_blank=n_blank > 0.1 * (n + n_blank),
            )
        )
    return columns


def _swallowed(row: Row, place: int, columns: list[_Column], separator: str) -> str | None:
    """The line in a row's field that looks like another row, or like the beginning of one.

    Where a quote that is text opened the field, the text before its first line end completes a row,
    and that after its last one begins another.
    """

    def cells(line: str, begin: int, end: int) -> list[_Column]:
        """The columns from `begin` to `end`, if the line looks like cells of these."""
        those = columns[begin:end]
        # In prose a blank follows; in a number, digits.
        for prose in (r"(?!\s|$)", r"(?!\s|$)(?!(?<=[0-9].)[0-9])"):
            parts = re.split(re.escape(separator) + prose, line)
            if len(parts) == len(those) == end - begin and all(
                column.fits(part) and not (column.is_free and re.match("[0-9]", part) and digit)
                for column, part, digit in zip(
                    those, parts, [None, *(part[-1:].isdecimal() for part in parts)], strict=False
                )
            ):
                return those
        return []

    first, *others = _LINE_END.split(row.fields[place])
    if not others or row.reason:
        return None
    n = len(columns)
    ends = cells(first, place, n)
    begins = cells(others[-1], 0, n - (len(row.fields) - place - 1))
    whole = [line for line in others[:-1] if not all(c.is_free for c in cells(line, 0, n))]
    several = [some for some in (ends, begins) if len(some) > 1]
    if any(not column.is_free for some in several for column in some) or whole:
        return [*whole, others[-1]][0]
    return others[-1] if ends and begins and several else None


def _tabs(text: str, header: list[str], separator: str, start: int) -> tuple[list[Row], list[str]]:
    """The rows of a file that is separated by tabs: as it stands, unless it clearly quotes.

    Such files mostly do not quote, and a quote in them is text.
    """

    def rows(quotes: bool) -> list[Row]:
        lines = io.StringIO(text, newline="")
        next(lines)
        return list(_rows(lines, separator, quotes, None, "", start))

    literal = rows(False)
    if '"' not in text:
        return literal, []
    if (quoted := _clearly_quoted(literal, lambda: rows(True), header, text)) is not None:
        return quoted, []
    cells = (cell for row in literal for cell in row.fields)
    n = sum(bool(_QUOTED.fullmatch(cell.strip())) for cell in cells)
    note = f"quotes around {counted(n, 'field')} are taken as text (quoting='csv' removes them)"
    return literal, [note] if n else []


def _clearly_quoted(
    literal: list[Row], read: Callable[[], list[Row]], header: list[str], text: str
) -> list[Row] | None:
    """The rows as `read` gives them, with quotes that are not part of a text, if that is clear."""
    try:
        quoted = read()
    except ValueError:
        return None
    if any(row.reason or any(map(_is_swallowed, row.fields)) for row in quoted):
        return None
    fits = [sum(len(row.fields) == len(header) for row in some) for some in (literal, quoted)]
    misfits = [len(some) - fit for some, fit in zip((literal, quoted), fits, strict=True)]
    names = next(_reader([text.splitlines()[0]], "\t", False, None))
    is_clear = misfits[1] < misfits[0] or (misfits[0] == misfits[1] and _quotes(names, literal))
    return quoted if is_clear else None


def _is_swallowed(field: str) -> bool:
    return "\t" in field and ("\n" in field or "\r" in field)


def _quotes(header: list[str], rows: list[Row]) -> bool:
    """Whether fields are quoted as a program does it: all of them, or those that must be."""
    cells = [cell for row in rows for cell in row.fields if '"' in cell]
    if not all(_QUOTED.fullmatch(cell) for cell in cells):
        return False
    return all(map(_QUOTED.fullmatch, header)) or (
        bool(cells) and all('"' in cell[1:-1] for cell in cells)
    )
