"""Word vectors that a user has, read from a text file, as a start for the embedding of a model."""

from __future__ import annotations

import gzip
import itertools
import os
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from trax_triplet import _validation as check

__all__ = ["MAX_LINE_BYTES", "MAX_WIDTH", "read_word_vectors", "starting_embedding"]

MAX_WIDTH = 4096  # numbers of a vector; bounds the square matrix that finds principal axes
MAX_LINE_BYTES = 128 * 1024

_HEADER = re.compile(rb"\s*([0-9]{1,18})\s+([0-9]{1,18})\s*")
_FORMAT = (
    "a text file of GloVe, word2vec or fastText has a word and its numbers on each line, with "
    "blanks between"
)

_Lines = Iterator[tuple[int, bytes]]  # a line's number, from 1, and the line


def read_word_vectors(
    path: str | os.PathLike[str], words: Iterable[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of some words from a text file, as GloVe, word2vec and fastText write it.

    Each line has a word and its numbers, with blanks or tabs between; a first line of two integers,
    as word2vec and fastText write it, is the number of words and of numbers each. UTF-8,
    but a few words that are not looked for may be anything; gzip (known by its first bytes). The
    file is read line by line, and only the vectors of `words` are kept. Of other words only the
    number of numbers is checked, and words with blanks inside, which some files have, are passed
    over.

    A word is looked for as it is and, failing that, in lower case: where a file has only Paris,
    paris gets its vector, and Paris that of paris in a file of lower-cased words. If a line comes
    twice, the first counts.

    Args:
        path: the file.
        words: the words, distinct.

    Returns:
        The positions in `words` of those that the file has, int64 (n,), ascending, and their
        vectors, float32 (n, width).

    Raises:
        TypeError: not a path, or not a list of strings.
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: the file is not in this format, is damaged, or has none of the words. The
            message names the line: more or fewer numbers than the first one has, a vector of more
            than `MAX_WIDTH` numbers, a line of more than `MAX_LINE_BYTES` bytes, something that is
            not a finite number, or not as many words as the first line says. Words that are looked
            for, or most of all, are of another encoding than UTF-8.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/vectors.txt", "w") as file:
        ...         _ = file.write("the 0.5 1\\nParis 2 -3\\n")
        ...     rows, vectors = read_word_vectors(f"{folder}/vectors.txt", ["how", "paris"])
        >>> rows.tolist(), vectors.tolist()
        ([1], [[2.0, -3.0]])
    """
    check.path("path", path)
    words = check.strings("words", words)
    positions: dict[str, list[int]] = defaultdict(list)
    for position, word in enumerate(words):
        positions[_lower(word)].append(position)
    vectors: dict[int, np.ndarray] = {}
    n_read, n_misread, meant = 0, 0, {}
    is_exact = np.zeros(len(words), bool)
    with open(path, "rb") as file:
        for line, word, numbers in _entries(file, path):
            n_read += 1
            if not word.isascii() and any("\udc80" <= letter <= "\udcff" for letter in word):
                n_misread += 1
                raw = word.encode("utf-8", "surrogateescape")
                for position in positions.get(_lower(raw.decode("cp1252", "replace")), ()):
                    meant.setdefault(position, (line, raw))
            for position in positions.get(_lower(word), ()):
                exact = word == words[position]
                if position in vectors and (is_exact[position] or not exact):
                    continue
                vectors[position] = _vector(numbers.split(), path, line)
                is_exact[position] = exact
    lost = [found for position, found in meant.items() if position not in vectors]
    if lost or n_misread > n_read / 2:
        which = f", line {lost[0][0]}, word {lost[0][1]!r:.60}" if lost else ""
        raise ValueError(
            f"{path}{which}: {n_misread} of its {n_read} words are not UTF-8; convert the file"
        )
    if not vectors:
        raise ValueError(
            f"{path} has none of the {len(words)} words that are looked for, such as "
            f"{words[:3]!s:.100}; take vectors of the language of the questions"
        )
    rows = np.array(sorted(vectors), np.int64)
    return rows, np.stack([vectors[row] for row in rows])


def _lower(word: str) -> str:
    """A word as the tokenizer 'words' would spell it."""
    lower = word.lower().replace("i\u0307", "i")
    return lower if word.isascii() else unicodedata.normalize("NFC", lower).replace("’", "'")


def _entries(file: BinaryIO, path: object) -> Iterator[tuple[int, str, bytes]]:
    """(line, word, numbers) of each line, once their number is known to be right."""
    lines, n_words, width, origin = _begin(_lines(file, path), path)
    n_read = 0
    for line, content in lines:
        n_read += 1
        word, _, numbers = content.replace(b"\t", b" ").strip().partition(b" ")
        if not numbers or numbers.count(b" ") + 1 != width:
            fields = numbers.split()
            if len(fields) > width and not _is_number(fields[0]):
                continue  # a word with blanks inside
            if len(fields) != width:
                raise ValueError(
                    f"{path}, line {line}: expected a word and {width} numbers, as {origin}, but "
                    f"got a word and {len(fields)}; {_FORMAT}"
                )
        yield line, word.decode("utf-8", "surrogateescape"), numbers
    if n_words not in (None, n_read):
        raise ValueError(
            f"{path}: line 1 promises {n_words} words, but {n_read} follow; the file is truncated, "
            "or was edited: then correct line 1, or leave it out"
        )


def _begin(lines: _Lines, path: object) -> tuple[_Lines, int | None, int, str]:
    """The lines with vectors, how many are promised, their width, and what says so."""
    number, first = next(lines, (0, b""))
    if not first:
        raise ValueError(f"{path}: the file is empty; {_FORMAT}")
    if first.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a ZIP file; unpack it, and give the text file that is in it")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or first.count(b"\0") > len(first) // 4:
        raise ValueError(
            f"{path} is not UTF-8, but looks like UTF-16 or UTF-32; convert it to UTF-8"
        )
    if header := _HEADER.fullmatch(first):
        n_words, width, origin = int(header[1]), int(header[2]), "line 1 says"
    else:
        n_words, width, origin = None, len(first.split()) - 1, f"line {number} has"
        _vector(first.split()[1:], path, number)  # else any text would do for a first line
        lines = itertools.chain([(number, first)], lines)
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(
            f"{path}, line {number}: expected vectors of 1 to {MAX_WIDTH} numbers, but got "
            f"{width}; {_FORMAT}"
        )
    return lines, n_words, width, origin


def _lines(file: BinaryIO, path: object) -> _Lines:
    """The lines that are not blank, never more than one of them in memory."""
    buffered: Any = file
    source = gzip.GzipFile(fileobj=file) if buffered.peek(2)[:2] == b"\x1f\x8b" else file
    try:
        for number in itertools.count(1):
            line = source.readline(MAX_LINE_BYTES + 1)
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(
                    f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes; {_FORMAT}"
                )
            if not line:
                return
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
            if not line.isspace():
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the gzip file is damaged or truncated ({error})") from None


def _vector(numbers: list[bytes], path: object, line: int) -> np.ndarray:
    """The numbers as float32 (width,)."""
    try:
        values = [*map(float, numbers)]
    except ValueError:
        values = [float(text) if _is_number(text) else np.nan for text in numbers]
    with np.errstate(over="ignore"):
        vector = np.array(values).astype(np.float32)
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        came = numbers[position].decode("utf-8", "backslashreplace")
        raise ValueError(
            f"{path}, line {line}: expected {len(numbers)} finite numbers that fit in float32 "
            f"after the word, but number {position + 1} is {came!r:.60}; {_FORMAT}"
        )
    return vector


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def starting_embedding(embedding: np.ndarray, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """An embedding that starts from word vectors where there are any.

    The mean of the vectors is subtracted, as all words have it. Vectors wider than the embedding
    are reduced to their principal components; narrower ones replace its first columns only. Then
    they are scaled to the standard deviation that the embedding has.

    Args:
        embedding: (vocab_size, d_model), as it would start without the vectors.
        rows: int (n,), the rows that are replaced.
        vectors: float32 (n, width), what they become.

    Returns:
        float32 (vocab_size, d_model).

    Raises:
        ValueError: all vectors are the same.

    Example:
        The embedding has the deviation 4 and the vectors 1, about their mean of 2.

        >>> embedding = np.array([[0, 8], [0, 8], [8, 0]], np.float32)
        >>> start = starting_embedding(embedding, np.array([0, 2]), np.array([[1.0], [3.0]]))
        >>> start.round(3).tolist()
        [[-4.0, 8.0], [0.0, 8.0], [4.0, 0.0]]
    """
    start = np.array(embedding, np.float32)
    given = np.asarray(vectors, np.float32)
    given = given / max(np.abs(given).max(), np.finfo(np.float32).tiny)  # their squares stay finite
    given = given - given.mean(axis=0, dtype=np.float64).astype(np.float32)
    if np.abs(given).max() < 1e-6:
        raise ValueError(
            f"the {len(given)} word vectors that were found are identical; take a file that "
            "has different ones, or go without"
        )
    if given.shape[1] > start.shape[1]:
        given = _principal_components(given, start.shape[1])
    scale = start.std(dtype=np.float64) / given.std(dtype=np.float64)
    start[rows, : given.shape[1]] = given * np.float32(scale)
    return start


def _principal_components(centred: np.ndarray, n: int) -> np.ndarray:
    """The n components that vary most; fewer where the vectors vary in fewer directions."""
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # ascending
    varies = variances[-n:] > 1e-6 * variances[-1]
    return centred @ axes[:, -n:][:, varies][:, ::-1].astype(np.float32)
