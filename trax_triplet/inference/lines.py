"""Pairs of questions from a stream of lines, and an answer to each at once."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from trax_triplet import _validation as check
from trax_triplet.data.encodings import checked_encoding
from trax_triplet.data.questions import without_repeats
from trax_triplet.data.tokenizer import is_blank

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["answer_lines", "json_line", "read_lines", "unused_name"]

MAX_LINE_BYTES = 2**20
_EXPECTED = (
    'two questions with a tab between them, or JSON such as {"question1": "Why?", "question2": '
    '"How come?"}'
)


def answer_lines(
    trained: TrainedModel,
    source: BinaryIO,
    write: Callable[[str], object],
    *,
    threshold: float | None = None,
    as_json: bool = False,
    encoding: str | None = None,
) -> tuple[int, list[str]]:
    """Answers pairs of questions as soon as they are there, line by line.

    A line with a tab holds two questions, and maybe further columns. Another line is JSON: an
    object with `question1` and `question2`, or a list of both; it is JSON in the strict sense, in
    which NaN and infinity are not numbers. The answer is the same line with two columns more, the
    similarity and whether the pair is a duplicate (1 or 0; in JSON true or false, and a key that
    the object has already is kept: the answer's is called `answer_similarity` then). A line that is
    neither, or has a blank question, gets an answer, too, an object with `line` and `error`, so
    that answers stay in step. Blank lines are passed over.

    Args:
        trained: the model.
        source: open binary file, such as `sys.stdin.buffer`. Lines that are there together are
            computed together.
        write: function that takes text, some complete lines of answers, and flushes it.
        threshold: similarity above which a pair is a duplicate; None for the model's own.
        as_json: answer lines with tabs in JSON, too; further columns become the list `columns`.
        encoding: of the lines, such as 'cp1252'; None: UTF-8.

    Returns:
        How many lines were answered, and what was wrong with those that could not be read.

    Raises:
        ValueError: a line is longer than 1 MiB, no `threshold` where the model has none, or an
            `encoding` as for `read_lines`.

    Example:
        >>> import io
        >>> from types import SimpleNamespace
        >>> trained = SimpleNamespace(threshold=0.5, similarity=lambda first, second: [0.75])
        >>> answer_lines(trained, io.BytesIO(b'["Why?", "How come?"]\\n'), print)
        {"question1": "Why?", "question2": "How come?", "similarity": 0.75, "is_duplicate": true}
        <BLANKLINE>
        (1, [])
    """
    limit = check.threshold_or_own(threshold, trained.threshold)
    answered, errors = 0, []
    for lines in read_lines(source, encoding):
        pairs = [_Pair.read(*line) for line in lines]
        _compare(trained, [pair for pair in pairs if pair.error is None], limit)
        if pairs:
            write("".join(pair.answer(as_json) + "\n" for pair in pairs))
        answered += len(pairs)
        errors += [f"line {pair.line}: {pair.error}" for pair in pairs if pair.error is not None]
    return answered, errors


def json_line(content: dict[str, Any]) -> str:
    """JSON on one line, in ASCII: whatever encoding the other side reads, half a surrogate pair
    among it.

    Example:
        >>> json_line({"question": "¿Qué?"})
        '{"question": "\\\\u00bfQu\\\\u00e9?"}'
    """
    return json.dumps(content, allow_nan=False)


@dataclass
class _Pair:
    """A line: its columns, and the object that it was in JSON; or what is wrong with it."""

    line: int
    columns: list[Any]  # the first two are the questions
    fields: dict[str, Any] | None = None
    error: str | None = None
    similarity: float = 0.0
    is_duplicate: bool = False

    @classmethod
    def read(cls, number: int, text: str | None, shown: str) -> _Pair:
        found, problem = None, ""
        if text is not None and "\t" in text:
            columns = text.split("\t")
            return cls(number, columns, error=_blank(columns))
        try:
            found = json.loads(
                text or "",
                parse_constant=_refuse,
                parse_float=_finite,
                object_pairs_hook=without_repeats,
            )
        except (ValueError, RecursionError) as error:  # what JSON raises are ValueErrors
            problem = f" ({error})" if (text or "").lstrip().startswith(("{", "[")) else ""
        if isinstance(found, list) and len(found) == 2:
            found = {"question1": found[0], "question2": found[1]}
        if isinstance(found, dict):
            questions = [found.get("question1"), found.get("question2")]
            if all(isinstance(question, str) for question in questions):
                return cls(number, questions, found, _blank(questions))
        return cls(number, [], error=f"expected {_EXPECTED}, but it is {shown}{problem}")

    def answer(self, as_json: bool) -> str:
        if self.error is not None:
            return json_line({"line": self.line, "error": self.error})
        similarity = round(self.similarity, 6)
        if self.fields is None and not as_json:
            return "\t".join([*self.columns, f"{similarity:.6f}", str(int(self.is_duplicate))])
        fields = self.fields or {"question1": self.columns[0], "question2": self.columns[1]}
        if len(self.columns) > 2:
            fields = {**fields, "columns": self.columns[2:]}
        for name, value in (("similarity", similarity), ("is_duplicate", self.is_duplicate)):
            fields = {**fields, unused_name(name, fields): value}
        return json_line(fields)


def unused_name(name: str, taken: Container[str]) -> str:
    """The name of a column or key of the answers that none of the user's own has.

    Example:
        >>> unused_name("similarity", ["id", "similarity"])
        'answer_similarity'
    """
    while name in taken:
        name = f"answer_{name}"
    return name


def _blank(columns: list[Any]) -> str | None:
    """Why there is no answer to two questions: one of them has no text."""
    names = [f"question{k}" for k in (1, 2) if is_blank(columns[k - 1])]
    return f"{' and '.join(names)} must not be blank" if names else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):  # it would come back as Infinity
        _refuse(text)
    return number


def _compare(trained: TrainedModel, pairs: list[_Pair], threshold: float) -> None:
    if not pairs:
        return
    similarities = trained.similarity(*zip(*(pair.columns[:2] for pair in pairs), strict=True))
    for pair, similarity in zip(pairs, similarities, strict=True):
        pair.similarity, pair.is_duplicate = float(similarity), bool(similarity > threshold)


def read_lines(
    source: BinaryIO, encoding: str | None = None
) -> Iterator[list[tuple[int, str | None, str]]]:
    """The lines of a stream that are not blank; those that are there together come together.

    Args:
        source: open binary file, such as `sys.stdin.buffer`.
        encoding: of the lines; None: UTF-8.

    Yields:
        (number from 1, text or None if the bytes are not in this encoding, how messages show it).

    Raises:
        ValueError: a line is longer than 1 MiB; an unknown encoding, or one of which a line feed is
            more than a byte.

    Example:
        >>> import io
        >>> list(read_lines(io.BytesIO(b"Why?\\n\\n\\xe9\\n")))
        [[(1, 'Why?', "'Why?'"), (3, None, "'\\ufffd', which is not UTF-8")]]
    """
    name = _line_encoding(encoding)
    number = 0
    for lines in _batches(source):
        found = []
        # Carriage returns alone are line ends, too, as in old Macintosh files.
        split = (part for line in lines for part in line.removesuffix(b"\r").split(b"\r"))
        for line in split:
            number += 1
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                continue
            shown = repr(line[:60].decode(name, "replace"))
            try:
                found.append((number, line.decode(name), shown))
            except UnicodeDecodeError:
                found.append((number, None, f"{shown}, which is not {name.upper()}"))
        yield found


def _line_encoding(encoding: str | None) -> str:
    name = checked_encoding(encoding) or "utf-8"
    if "\n".encode(name) != b"\n":
        raise check.wrong_value("encoding", "one of lines, such as utf-8 or cp1252", name)
    return name


def _batches(source: BinaryIO) -> Iterator[list[bytes]]:
    """The lines that are there, without their ends; waits only where there is none."""
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    begun, size = [], 0  # of a line that has not ended yet
    while chunk := read(2**16):
        *ends, rest = chunk.split(b"\n")
        if ends:
            yield [b"".join([*begun, ends[0]]), *ends[1:]]
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            raise ValueError(f"a line has more than {MAX_LINE_BYTES:,} bytes")
    if size:
        yield [b"".join(begun)]
