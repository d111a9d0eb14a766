"""From a file of single questions to checked questions."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trax_triplet import _validation as check
from trax_triplet._files import read_bytes
from trax_triplet._wording import counted
from trax_triplet.data.bytes_literals import unwrapped
from trax_triplet.data.encodings import HALVES, read_text
from trax_triplet.data.reader import MAX_BYTES, check_skipped, find_columns
from trax_triplet.data.table import MissingColumns, read_table
from trax_triplet.data.tokenizer import is_blank

__all__ = ["Questions", "read_questions", "without_repeats"]


@dataclass(frozen=True)
class Questions:
    """Questions, n of them.

    Attributes:
        texts: the questions.
        ids: what the file calls them, n strings; or None.
        lines: where each starts in its file (in Parquet: its row), n numbers from 1.
        skipped: (line number, reason) of each row of the file that is not here.
        notes: how the file was read, in sentences, where that is not plain.

    Example:
        >>> len(Questions(("Why?",), None, (2,)))
        1
    """

    texts: tuple[str, ...]
    ids: tuple[str, ...] | None
    lines: tuple[int, ...]
    skipped: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


def read_questions(
    path: str | os.PathLike[str],
    *,
    column: str = "question",
    id: str | None = None,
    encoding: str | None = None,
    quoting: str = "auto",
    escape: str | None = None,
    max_skipped: float = 0.01,
    max_bytes: int = MAX_BYTES,
) -> Questions:
    """Reads questions, one a row, from a table: CSV, TSV, JSON lines or Parquet.

    What the file holds decides, not its name: Parquet begins with `PAR1`, JSON lines with `{`; all
    else is a table with a header line, separated by comma, semicolon or tab, as for `read_pairs`.
    Text may be gzipped. Further columns are ignored. Blank lines are not rows. A row is skipped,
    and reported in `skipped`, if its question is blank or no text, its id is missing, or the row is
    malformed. If all questions are Python's bytes literals (b'...'), they are unwrapped.

    Args:
        path: the file.
        column: the name of the questions' column (of JSON: key).
        id: the name of the column of their ids, texts or integers; None for none.
        encoding, quoting, escape: of text, as for `read_pairs`.
        max_skipped: the share of rows, 0 to 1, that may be skipped.
        max_bytes: the largest file that is read, in bytes, unpacked.

    Returns:
        `Questions`.

    Raises:
        TypeError: a path, the name of a column or a number of another type.
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ImportError: a Parquet file, and pyarrow is not installed.
        ValueError: no such column, no good row, more than `max_skipped` skipped rows, text that is
            not UTF-8, a damaged file, more than `max_bytes`, an id that comes twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/questions.jsonl", "w") as file:
        ...         _ = file.write('{"id": 7, "question": "Why?"}')
        ...     read_questions(f"{folder}/questions.jsonl", id="id")
        Questions(texts=('Why?',), ids=('7',), lines=(1,), skipped=(), notes=())
    """
    path = check.path("path", path)
    for name, value in (("column", column), ("id", id)):
        if not isinstance(value, str) and not (name == "id" and value is None):
            raise check.wrong_type(name, "the name of a column", value)
    check.number("max_skipped", max_skipped, 0, 1)
    check.integer("max_bytes", max_bytes, 1)
    data = read_bytes(path, max_bytes)  # once: a pipe gives them only once
    if data.startswith(b"PAR1"):
        rows, notes = _parquet(data, path, column, id, max_bytes), []
    else:
        text, notes = read_text(path, encoding, max_bytes, data)
        if text.lstrip()[:1] == "{":
            rows = _json_lines(text, path, column, id)
        else:
            options = {"encoding": encoding, "quoting": quoting, "escape": escape}
            options |= {"max_bytes": max_bytes, "read": (text, notes)}
            rows, notes = _table(path, column, id, options)
    texts, ids, lines, skipped = [], [], [], []
    for line, question, its_id, reason in rows:
        reason = reason or _why_skipped(question, its_id, column, id)
        if reason:
            skipped.append((line, reason))
            continue
        texts.append(question)
        ids.append(str(its_id).strip())
        lines.append(line)
    (texts,), found = unwrapped([texts], [column])
    if found and any(map(is_blank, texts)):  # inside of literals
        skipped += [
            (line, f"{column} is blank")
            for line, text in zip(lines, texts, strict=True)
            if is_blank(text)
        ]
        kept = [i for i, text in enumerate(texts) if not is_blank(text)]
        texts, ids = [texts[i] for i in kept], [ids[i] for i in kept]
        lines = [lines[i] for i in kept]
    check_skipped(len(texts), skipped, max_skipped, path)
    if id is not None:
        _check_ids(ids, lines, path, id)
    return Questions(
        tuple(texts),
        None if id is None else tuple(ids),
        tuple(lines),
        tuple(sorted(skipped)),
        (*notes, *found),
    )


def _check_ids(ids: list[str], lines: list[int], path: Path, id: str) -> None:
    first_of: dict[str, int] = {}
    for name, line in zip(ids, lines, strict=True):
        first = first_of.setdefault(name, line)
        if first != line:
            raise ValueError(
                f"{path}: {id} is {name!r} on line {first} and on line {line}; ids must be "
                "different, or answers could not be told apart. Without id= lines are numbered"
            )


def _why_skipped(question: Any, its_id: Any, column: str, id: str | None) -> str:
    if not isinstance(question, str):
        return f"{column} is {question!r:.40}, not a text"
    if is_blank(question):
        return f"{column} is blank"
    for name, value in ((column, question), (id, str(its_id))):
        if HALVES.search(value):
            return f"{name} is not Unicode text: it holds half of a surrogate pair"
    if id is None:
        return ""
    is_id = isinstance(its_id, (str, int)) and not isinstance(its_id, bool)
    return "" if is_id and str(its_id).strip() else f"{id} is {its_id!r:.40}, not an id"


def _table(
    path: Path, column: str, id: str | None, options: dict[str, Any]
) -> tuple[list[tuple[int, Any, Any, str]], list[str]]:
    names = [column] if id is None else [column, id]
    try:
        header, rows, notes = read_table(
            path, lambda header: all(find_columns(header, names)), **options
        )
    except MissingColumns as error:
        raise ValueError(
            f"{path}: expected the columns {names} (separated by comma, semicolon or tab) in the "
            f"first line, got {error.args[0]!s:.300}; name yours by {_named(id)}"
        ) from None
    found = find_columns(header, names)
    for name, positions in zip(names, found, strict=True):
        if len(positions) > 1:
            raise ValueError(f"{path}: several columns are named {name!r}: {header!s:.300}")
    result = []
    for line, fields, reason in rows:
        extra = [field for field in fields[len(header) :] if field.strip()]
        if not reason and (len(fields) < len(header) or extra):
            reason = f"{counted(len(fields), 'field')}, the header has {len(header)}"
        values = [""] if reason else [fields[positions[0]] for positions in found]
        result.append((line, values[0], values[-1], reason))
    return result, notes


def _named(id: str | None) -> str:
    """How columns are named, for those that are wanted."""
    return "column=" if id is None else "column= and id="


def _json_lines(
    text: str, path: object, column: str, id: str | None
) -> Iterator[tuple[int, Any, Any, str]]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=without_repeats)
        except (ValueError, RecursionError) as error:
            yield number, None, None, f"not JSON: {error}"
            continue
        if not isinstance(row, dict) or column not in row:
            if number == 1:
                raise ValueError(
                    f"{path}, line 1: expected an object with the key {column!r}, got {line!s:.100}"
                    "; name yours by column="
                )
            yield number, None, None, f"no key {column!r}"
            continue
        yield number, row[column], None if id is None else row.get(id), ""


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError if a key comes twice, of which one value would be lost.

    Example:
        >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=without_repeats)
        Traceback (most recent call last):
        ...
        ValueError: a key comes twice
    """
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _parquet(
    data: bytes, path: Path, column: str, id: str | None, max_bytes: int
) -> Iterator[tuple[int, Any, Any, str]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            "reading Parquet needs pyarrow: pip install 'trax-triplet[search]'"
        ) from None
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(data))
        size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.num_row_groups))
        if size > max_bytes:
            raise ValueError(f"{path} unpacks to more than {max_bytes:,} bytes (max_bytes)")
        names = [column] if id is None else [column, id]
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"{path}: there is no column {missing[0]!r} among {file.schema_arrow.names!s:.300};"
                f" name yours by {_named(id)}"
            )
        for name in names:
            if file.schema_arrow.names.count(name) > 1:
                raise ValueError(
                    f"{path}: several columns are named {name!r}: {file.schema_arrow.names!s:.300}"
                )
        row = 0
        for batch in file.iter_batches(columns=names):
            values = [batch.column(name).to_pylist() for name in names]
            for question, its_id in zip(values[0], values[-1], strict=True):
                row += 1
                yield row, question, its_id, ""
    # Its bytes are in memory: an OSError is of what they hold.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the Parquet file is damaged ({error})") from None
