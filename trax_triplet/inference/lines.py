"""Pairs of questions from a stream of lines, and an answer to each at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from trax_triplet import _validation as check

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["answer_lines"]

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
) -> tuple[int, list[str]]:
    """Answers pairs of questions as soon as they are there, line by line.

    A line with a tab holds two questions, and maybe further columns. Another line is JSON: an
    object with `question1` and `question2`, or a list of both. The answer is the same line with two
    columns more, the similarity and whether the pair is a duplicate (1 or 0; in JSON true or
    false). A line that is neither gets an answer, too, an object with `line` and `error`, so that
    answers stay in step. Blank lines are passed over.

    Args:
        trained: the model.
        source: open binary file, such as `sys.stdin.buffer`. Lines that are there together are
            computed together.
        write: function that takes text, some whole lines of answers, and flushes it.
        threshold: similarity above which a pair is a duplicate; None for the model's own.
        as_json: answer lines with tabs in JSON, too; further columns become the list `columns`.

    Returns:
        How many lines were answered, and what was wrong with those that could not be read.

    Raises:
        ValueError: a line is longer than 1 MiB, or no `threshold` where the model has none.

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
    number, answered, errors = 0, 0, []
    for lines in _batches(source):
        pairs = [_Pair.read(line, at) for at, line in enumerate(lines, number + 1) if line.strip()]
        number += len(lines)
        _compare(trained, [pair for pair in pairs if pair.error is None], limit)
        if pairs:
            write("".join(pair.answer(as_json) + "\n" for pair in pairs))
        answered += len(pairs)
        errors += [f"line {pair.line}: {pair.error}" for pair in pairs if pair.error is not None]
    return answered, errors


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
    def read(cls, line: bytes, number: int) -> _Pair:
        found = None
        try:
            text = line.decode("utf-8").removesuffix("\r")
            if "\t" in text:
                return cls(number, text.split("\t"))
            found = json.loads(text)
        except (ValueError, RecursionError):  # what Unicode and JSON raise are ValueErrors
            pass
        if isinstance(found, list) and len(found) == 2:
            found = {"question1": found[0], "question2": found[1]}
        if isinstance(found, dict):
            questions = [found.get("question1"), found.get("question2")]
            if all(isinstance(question, str) for question in questions):
                return cls(number, questions, found)
        shown = line[:60].decode("utf-8", "replace")
        return cls(number, [], error=f"expected {_EXPECTED}, but it is {shown!r}")

    def answer(self, as_json: bool) -> str:
        if self.error is not None:
            return json.dumps({"line": self.line, "error": self.error})
        similarity = round(self.similarity, 6)
        if self.fields is None and not as_json:
            return "\t".join([*self.columns, f"{similarity:.6f}", str(int(self.is_duplicate))])
        fields = self.fields or {"question1": self.columns[0], "question2": self.columns[1]}
        if len(self.columns) > 2:
            fields = {**fields, "columns": self.columns[2:]}
        # Escaped: whatever encoding the other side reads, half a surrogate pair among it.
        return json.dumps({**fields, "similarity": similarity, "is_duplicate": self.is_duplicate})


def _compare(trained: TrainedModel, pairs: list[_Pair], threshold: float) -> None:
    if not pairs:
        return
    similarities = trained.similarity(*zip(*(pair.columns[:2] for pair in pairs), strict=True))
    for pair, similarity in zip(pairs, similarities, strict=True):
        pair.similarity, pair.is_duplicate = float(similarity), bool(similarity > threshold)


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
            raise ValueError(f"a line has more than {MAX_LINE_BYTES:,} bytes; expected {_EXPECTED}")
    if size:
        yield [b"".join(begun)]
