"""From text to tokens to ids. Look-ups never change a vocabulary."""

from __future__ import annotations

import array
import collections
import itertools
import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._files import new_file
from trax_triplet.data.tokenizer import (
    TOKENIZER_VERSIONS,
    tokenize,
    tokenizer_named,
    tokenizer_of_version,
)

__all__ = ["OOV_ID", "PAD", "PAD_ID", "Vocabulary", "unknown_ids"]

OOV_ID = 0  # out of vocabulary: every word that the vocabulary does not hold
PAD_ID = 1  # padding: no text is ever encoded to it
# To how many ids a model whose padding counts (the course's pooling) pads each question: a multiple
# of 8, above 64 a power of two, so that few shapes are compiled.
PADDED_LENGTHS = (*range(8, 65, 8), *(1 << power for power in range(7, 31)))
PAD = "<PAD>"

_FORMAT = 1
_MAX_BYTES = 256 * 2**20
_NUMBER = "([0-9]{1,9})"
_HEADER = re.compile(
    rf"# trax-triplet vocabulary {_NUMBER} tokenizer=(\S+)/{_NUMBER} words={_NUMBER} "
    rf"buckets={_NUMBER}"
)


def unknown_ids(vocab_size: int, buckets: int) -> tuple[int, int]:
    """The ids that unknown words get: from the first number up to, but not including, the second.

    Example:
        >>> unknown_ids(100, 0), unknown_ids(100, 8)
        ((0, 1), (92, 100))
    """
    return (vocab_size - buckets, vocab_size) if buckets else (OOV_ID, OOV_ID + 1)


class _Ids(dict[str, int]):
    """The ids of known words. A look-up of another word gives its id, too, and adds nothing."""

    __slots__ = ("buckets",)
    buckets: int

    def __missing__(self, word: str) -> int:
        if not self.buckets:
            return OOV_ID
        return (
            len(self)
            + PAD_ID
            + 1
            + zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.buckets
        )


class _OwnIds(dict[str, int]):
    """Ids of the words that were looked up, of which unknown ones get the next numbers.

    Attributes:
        unknown: the unknown ones.
    """

    def __init__(self, known: _Ids, first: int):
        super().__init__()
        self._known, self._first = known, first
        self.unknown: list[str] = []

    def __missing__(self, word: str) -> int:
        if word in self._known:
            number = self._known[word]
        else:
            number = self._first + len(self.unknown)
            self.unknown.append(word)
        # Also of a known word: only its first look-up takes this method.
        return self.setdefault(word, number)


class Vocabulary:
    """The ids of the words of a set of questions; immutable.

    Id 0 is any word unknown to the vocabulary, id 1 padding, id 2 the first word. With `buckets`
    unknown words are told apart: each gets one of that many ids after the words', by a hash of its
    text (CRC-32), the same in every process. `len` counts all ids, 0, 1 and buckets too: it is
    the `vocab_size` of a model. Equal vocabularies have the same words, order, tokenizer and
    buckets.

    Args:
        words: the words in id order, id 2 first.
        tokenizer: the name of the rule that cut them, see `tokenize`.
        buckets: ids for unknown words; 0: all of them get id 0.

    Raises:
        TypeError: `words` is not a list of strings, buckets not an integer.
        ValueError: an unknown tokenizer; buckets below 0; a word that is empty, there twice,
            ``'<PAD>'``, holds a line feed, or cannot be written as UTF-8 (half of a surrogate
            pair).

    Example:
        >>> vocabulary = Vocabulary.build(["How are you?", "How old are you?"])
        >>> vocabulary.words
        ('how', 'are', 'you', '?', 'old')
        >>> vocabulary.encode("How old is he?").tolist()
        [2, 6, 0, 0, 5]
        >>> len(vocabulary), "is" in vocabulary, vocabulary["is"]
        (7, False, 0)
        >>> Vocabulary(["how", "old"], buckets=4).encode("how old are dogs").tolist()
        [2, 3, 6, 7]
    """

    __slots__ = ("_buckets", "_ids", "_tokenizer", "_words")

    def __init__(self, words: Iterable[str], *, tokenizer: str = "words", buckets: int = 0):
        tokenizer_named(tokenizer)
        self._tokenizer, self._buckets = tokenizer, check.integer("buckets", buckets)
        self._words = tuple(check.strings("words", words))
        for word in self._words:
            if not word or word == PAD or "\n" in word:
                expected = f"neither empty nor {PAD!r}, and without line feeds"
                raise check.wrong_value("each of words", expected, word)
        self._ids = _Ids(zip(self._words, itertools.count(PAD_ID + 1)))
        self._ids.buckets = self._buckets
        if len(self._ids) < len(self._words):
            double, _ = collections.Counter(self._words).most_common(1)[0]
            raise ValueError(f"words must be distinct, but {double!r:.60} comes twice")
        _encode_utf8(self._words)

    @classmethod
    def build(
        cls,
        questions: Iterable[str],
        *,
        tokenizer: str = "words",
        min_count: int = 1,
        max_size: int | None = None,
        buckets: int = 0,
    ) -> Vocabulary:
        """Numbers the words of `questions` in order of first appearance.

        Args:
            questions: texts, in the order that decides the ids (of pairs: question 1, question 2,
                next pair).
            tokenizer: see `tokenize`.
            min_count: leave out words that come fewer times than this in all questions together.
            max_size: keep at most this many words (ids 0 and 1 not counted), the most frequent
                ones, of equally frequent ones those that came first; None keeps all.
            buckets: see `Vocabulary`.

        Returns:
            The vocabulary.

        Raises:
            TypeError: `questions` is not a list of strings, a number not an integer.
            ValueError: an unknown tokenizer, `min_count` or `max_size` below 1, buckets or a word
                as above.
            FileNotFoundError: see `tokenize`.

        Example:
            >>> Vocabulary.build(["How old?", "How new?"], min_count=2).words
            ('how', '?')
        """
        return cls.build_encoded(
            questions, tokenizer=tokenizer, min_count=min_count, max_size=max_size, buckets=buckets
        )[0]

    @classmethod
    def build_encoded(
        cls,
        questions: Iterable[str],
        *,
        tokenizer: str = "words",
        min_count: int = 1,
        max_size: int | None = None,
        buckets: int = 0,
    ) -> tuple[Vocabulary, list[np.ndarray]]:
        """`build` and `encode_all` of the same questions, each cut only once.

        Args: as of `build`. Raises as `build` does.

        Returns:
            The vocabulary, and what its `encode_all(questions)` gives.

        Example:
            >>> vocabulary, ids = Vocabulary.build_encoded(["How old?", "How new?"], max_size=2)
            >>> vocabulary.words, [row.tolist() for row in ids]
            (('how', '?'), [[2, 0, 3], [2, 0, 3]])
        """
        texts = check.strings("questions", questions)
        check.integer("min_count", min_count, 1)
        if max_size is not None:
            check.integer("max_size", max_size, 1)
        times = collections.Counter(texts)
        # Of words, in order of first appearance.
        numbers: dict[str, int] = collections.defaultdict(itertools.count().__next__)
        flat, ends = _cut_all(times, tokenizer_named(tokenizer), numbers)
        weights = np.repeat(np.array([*times.values()], np.int64), np.diff(ends, prepend=0))
        counts = np.bincount(flat, weights, len(numbers))
        kept = np.flatnonzero(counts >= min_count)
        if max_size is not None:
            most = np.argsort(-counts[kept], kind="stable")[:max_size]  # stable: ties by appearance
            kept = kept[np.sort(most)]
        words = np.array([*numbers], object)
        vocabulary = cls(words[kept].tolist(), tokenizer=tokenizer, buckets=buckets)
        ids = np.array([vocabulary._ids[word] for word in words], np.int32)
        return vocabulary, _rows(texts, times, ids[flat], ends)

    @property
    def words(self) -> tuple[str, ...]:
        """The words in id order; `words[0]` has id 2."""
        return self._words

    @property
    def tokenizer(self) -> str:
        """The name of the rule that cuts text for this vocabulary."""
        return self._tokenizer

    @property
    def buckets(self) -> int:
        """How many ids unknown words share, the last ones; 0: they all get id 0."""
        return self._buckets

    def __len__(self) -> int:
        return len(self._words) + PAD_ID + 1 + self._buckets

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word in self._ids

    def __getitem__(self, word: str) -> int:
        if not isinstance(word, str):
            raise check.wrong_type("word", "a string", word)
        return self._ids[word]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self._tokenizer, self._buckets, self._words) == (
            other._tokenizer,
            other._buckets,
            other._words,
        )

    def __hash__(self) -> int:
        return hash((self._tokenizer, self._buckets, self._words))

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self)} ids, tokenizer {self._tokenizer!r}>"

    def encode(self, question: str) -> np.ndarray:
        """The ids of a question's tokens, int32 (n_tokens,); never 1. Raises as `tokenize` does.

        Example:
            >>> Vocabulary.build(["Why?"]).encode("<PAD> why ?").tolist()
            [0, 0, 0, 2, 3]
        """
        return np.array([self._ids[word] for word in tokenize(question, self._tokenizer)], np.int32)

    def encode_all(self, questions: Iterable[str]) -> list[np.ndarray]:
        """The ids of each question's tokens. Raises as `build` does.

        Returns:
            One int32 array (n_tokens,) for each question, in order: read-only, as equal questions
            share one.

        Example:
            >>> [ids.tolist() for ids in Vocabulary(["why"]).encode_all(["Why why", ""])]
            [[2, 2], []]
        """
        return self._encoded(questions, self._ids)

    def encode_apart(self, questions: Iterable[str]) -> tuple[list[np.ndarray], list[str]]:
        """`encode_all`, with an id of its own for each unknown word. Raises as `build` does.

        Returns:
            The rows of ids, and the distinct unknown words in order of appearance: the first has
            the id `len(self)`, the second the next one.

        Example:
            >>> ids, words = Vocabulary(["why"]).encode_apart(["why not", "not now"])
            >>> [row.tolist() for row in ids], words
            ([[2, 3], [3, 4]], ['not', 'now'])
        """
        ids = _OwnIds(self._ids, len(self))
        return self._encoded(questions, ids), ids.unknown

    def _encoded(self, questions: Iterable[str], ids: dict[str, int]) -> list[np.ndarray]:
        texts = check.strings("questions", questions)
        distinct = dict.fromkeys(texts)
        flat, ends = _cut_all(distinct, tokenizer_named(self._tokenizer), ids)
        return _rows(texts, distinct, flat, ends)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the vocabulary as UTF-8 text: one header line, then one word a line in id order.

        The header reads ``# trax-triplet vocabulary 1 tokenizer=words/2 words=25369 buckets=256``:
        number of the format, tokenizer and its version, number of words, buckets. The file is
        written beside `path` and then renamed.

        Raises:
            FileNotFoundError: the folder of `path` does not exist.
            ValueError: the file would be larger than 256 MiB.
        """
        name = self._tokenizer.partition("/")[0]
        tokenizer = f"{name}/{TOKENIZER_VERSIONS[self._tokenizer]}"
        header = (
            f"# trax-triplet vocabulary {_FORMAT} tokenizer={tokenizer} words={len(self._words)} "
            f"buckets={self._buckets}"
        )
        data = _encode_utf8([header, *self._words])
        if len(data) > _MAX_BYTES:
            raise ValueError(
                f"a vocabulary file holds at most {_MAX_BYTES:,} bytes, this one would have "
                f"{len(data):,}; build it with a larger min_count or a max_size"
            )
        with new_file(path, "wb") as file:
            file.write(data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Reads a file that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            IsADirectoryError: it is a folder.
            ValueError: the file is larger than 256 MiB, is not UTF-8, has no or another header,
                another format number, an unknown tokenizer or another version of it, more or fewer
                words than its header says (truncated), an empty line, or a word twice.
        """
        size = os.path.getsize(path)
        if size > _MAX_BYTES:
            raise ValueError(
                f"{path}: {size:,} bytes, but a vocabulary file holds at most {_MAX_BYTES:,}"
            )
        return cls.from_bytes(Path(path).read_bytes(), path)

    @classmethod
    def from_bytes(cls, data: bytes, path: object) -> Vocabulary:
        """`load` of a file that was read already; raises ValueError as it does.

        Args:
            data: the file's content.
            path: where it came from, for errors.

        Example:
            >>> header = b"# trax-triplet vocabulary 1 tokenizer=words/2 words=1 buckets=0"
            >>> Vocabulary.from_bytes(header + b"\\nwhy\\n", "words.txt").words
            ('why',)
        """
        try:
            # Only the line feed separates: words may hold others that str.splitlines cuts at.
            header, *words = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: a vocabulary is UTF-8 text, but byte {error.start} is not: "
                "truncated, or another kind of file"
            ) from None
        tokenizer, expected, buckets = _read_header(header, path)
        if len(words) != expected + 1 or words.pop() != "":
            raise ValueError(
                f"{path}: the header promises {expected} words, each ended by a line feed, but "
                "that is not what follows; the file is truncated or was edited"
            )
        try:
            return cls(words, tokenizer=tokenizer, buckets=buckets)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _read_header(header: str, path: object) -> tuple[str, int, int]:
    """The tokenizer, the number of words and of buckets that a file's first line names."""
    if not (match := _HEADER.fullmatch(header)):
        raise ValueError(
            f"{path}: not a vocabulary file; its first line must read '# trax-triplet vocabulary "
            f"{_FORMAT} tokenizer=NAME/VERSION words=COUNT buckets=COUNT', not {header!r:.80}"
        )
    found_format, tokenizer, version, count, buckets = match.groups()
    if int(found_format) != _FORMAT:
        raise ValueError(
            f"{path}: vocabulary format {found_format}, but this release reads format {_FORMAT}"
        )
    name = tokenizer_of_version(tokenizer, int(version))
    if name is None:
        known = ", ".join(
            f"{name.partition('/')[0]}/{number}" for name, number in TOKENIZER_VERSIONS.items()
        )
        raise ValueError(
            f"{path}: made with tokenizer {tokenizer}/{version}, but this release has {known}; "
            "it would cut text differently: rebuild the vocabulary or use the right release"
        )
    return name, int(count), int(buckets)


def _cut_all(
    questions: Iterable[str], cut: Callable[[str], list[str]], ids: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all tokens, int32 (n_tokens,), and where each question's end, int64 (n,)."""
    flat, ends, id_of = array.array("i"), array.array("q"), ids.__getitem__
    for question in questions:
        flat.extend(map(id_of, cut(question)))
        ends.append(len(flat))
    return np.array(flat, np.int32), np.array(ends, np.int64)


def _rows(
    questions: list[str], distinct: Iterable[str], flat: np.ndarray, ends: np.ndarray
) -> list[np.ndarray]:
    flat.flags.writeable = False
    starts = np.append(0, ends)[:-1].tolist()
    slices = (flat[start:end] for start, end in zip(starts, ends.tolist(), strict=True))
    rows = dict(zip(distinct, slices, strict=True))
    return [rows[question] for question in questions]


def _encode_utf8(lines: Iterable[str]) -> bytes:
    try:
        return "".join(f"{line}\n" for line in lines).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"words must be UTF-8, but one holds {error.object[error.start]!r}, half of a "
            "surrogate pair; clean the texts: text.encode('utf-8', 'replace').decode()"
        ) from None
