"""Text to words in TensorFlow ops: what `tokenizer.tokenize(text, "words")` gives, in a graph that
needs no Python.

All texts lie in one flat tensor of code points; `rows` says for each code point which text it
belongs to. The tables are made from the Unicode data of the Python that builds the graph, and
travel in the graph. Python and TensorFlow only.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

from trax_triplet._quiet import quietly

with quietly():
    import tensorflow as tf

_SIGMA, _FINAL_SIGMA = ord("Σ"), ord("ς")
_APOSTROPHE, _CURLY_APOSTROPHE = ord("'"), ord("’")
_LETTER, _BLANK, _UNSETTLED = (
    1,
    2,
    4,
)  # letter: also a digit; unsettled: composing may change it, or what is before it
_SKIPPED, _CASED = 1, 2  # what the rule for a Σ looks past, and what it looks for
# Code points beyond have no properties in any Unicode up to 17: planes without characters, and
# private use.
_CODES = (*range(0x40000), *range(0xE0000, 0xE1000))


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of each text, as the rule ``'words'`` of `tokenizer.tokenize` cuts them, exactly.

    Args:
        texts: tf.string (n,), UTF-8. What is no UTF-8 is read as U+FFFD, as ``bytes.decode("utf-8",
            "replace")`` does.

    Returns:
        Ragged tf.string (n, None), UTF-8; a blank text has no words.

    Example:
        >>> split_words(tf.constant(["Don’t panic: what's C++?".encode()])).to_list()
        [[b"don't", b'panic', b':', b"what's", b'c', b'+', b'+', b'?']]
    """
    texts, kinds = _composed(_lower(tf.strings.unicode_decode(texts, "UTF-8")))
    codes, rows = texts.flat_values, texts.value_rowids()
    apostrophe = (codes == _APOSTROPHE) | (codes == _CURLY_APOSTROPHE)
    letter, blank = _has(kinds, _LETTER), _has(kinds, _BLANK)
    inside = letter | (apostrophe & _before(letter, rows) & _after(letter, rows))
    begins = ~blank & ~(inside & _before(inside, rows))
    codes = tf.where(apostrophe, _APOSTROPHE, codes)
    codes, firsts = tf.boolean_mask(codes, ~blank), tf.boolean_mask(begins, ~blank)
    words = tf.RaggedTensor.from_row_starts(codes, tf.where(firsts)[:, 0], validate=False)
    return tf.RaggedTensor.from_value_rowids(
        tf.strings.unicode_encode(words, "UTF-8"),
        tf.boolean_mask(rows, begins),
        nrows=texts.nrows(),
        validate=False,
    )


def crc32(words: tf.Tensor) -> tf.Tensor:
    """The CRC-32 of each word's bytes, as `zlib.crc32` has it: tf.string (n,) -> int64 (n,).

    Example:
        >>> crc32(tf.constant(["123456789"])).numpy() == [0xCBF43926]
        array([ True])
    """
    table = tf.constant(_crc_table())
    lengths = tf.strings.length(words)
    starts = tf.cumsum(lengths, exclusive=True)
    # A byte more, so that words which are over have something to read.
    data = tf.cast(
        tf.io.decode_raw(tf.strings.join([tf.strings.reduce_join(words), "0"]), tf.uint8), tf.int64
    )

    def step(at, crc):
        byte = tf.gather(data, tf.where(at < lengths, starts + at, 0))
        new = tf.bitwise.bitwise_xor(
            tf.gather(table, tf.bitwise.bitwise_xor(crc, byte) % 256), crc // 256
        )
        return at + 1, tf.where(at < lengths, new, crc)

    longest = tf.reduce_max(lengths)  # of no words: the least int32
    _, crc = tf.while_loop(
        lambda at, crc: at < longest,
        step,
        (0, tf.fill(tf.shape(words), tf.constant(0xFFFFFFFF, tf.int64))),
    )
    return tf.bitwise.bitwise_xor(crc, 0xFFFFFFFF)


@functools.cache
def _crc_table() -> np.ndarray:
    table = np.arange(256)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, 0xEDB88320, 0)
    return table.astype(np.int64)


class _ByCode(NamedTuple):
    """A whole number for every code point, by blocks of 256 of them; equal blocks are stored
    once."""

    starts: np.ndarray  # where each block begins in `values`, int32 (0x1100,)
    values: np.ndarray  # int32


class _Tables(NamedTuple):
    """What the ops below know of Unicode."""

    lower: (
        _ByCode  # how far away the lower case is; 0 for U+0130, whose lower case is two code points
    )
    case: _ByCode  # _SKIPPED, _CASED or 0
    kinds: _ByCode  # sum of _LETTER, _BLANK, _UNSETTLED
    marks: _ByCode  # combining class; 0: a starter, which marks may follow
    parts_of: _ByCode  # code point -> its row in `parts`; 0: it is in one piece
    parts: np.ndarray  # decompositions padded with -1; U+0130 is there in lower case
    pairs: np.ndarray  # two code points that compose: first * 2**21 + second, int64, sorted
    composed: np.ndarray  # what they compose to


@functools.cache
def _tables() -> _Tables:
    """The tables of this Python's Unicode (built once, about half a second)."""
    decomposed, pairs = {}, {}
    for code in _CODES:
        char = chr(code)
        parts = unicodedata.normalize("NFD", char.lower() if len(char.lower()) > 1 else char)
        if parts != char:
            decomposed[code] = parts
            if unicodedata.normalize("NFC", parts) == char:
                pairs[ord(unicodedata.normalize("NFC", parts[:-1])) << 21 | ord(parts[-1])] = code
    unsettled = {key % 2**21 for key in pairs} | (decomposed.keys() - set(pairs.values()))
    numbers = {code: number for number, code in enumerate(decomposed, 1)}
    keys = sorted(pairs)
    longest = max(map(len, decomposed.values()))
    return _Tables(
        lower=_by_code(
            lambda code: ord(chr(code).lower()) - code if len(chr(code).lower()) == 1 else 0
        ),
        case=_by_code(_case),
        kinds=_by_code(
            lambda code: (
                _LETTER * chr(code).isalnum()
                + _BLANK * chr(code).isspace()
                + _UNSETTLED * (code in unsettled or unicodedata.combining(chr(code)) > 0)
            )
        ),
        marks=_by_code(lambda code: unicodedata.combining(chr(code))),
        parts_of=_by_code(lambda code: numbers.get(code, 0)),
        parts=np.array(
            [
                [-1] * longest,
                *(
                    [*map(ord, parts), *[-1] * (longest - len(parts))]
                    for parts in decomposed.values()
                ),
            ],
            np.int32,
        ),
        pairs=np.array(keys, np.int64),
        composed=np.array([pairs[key] for key in keys], np.int32),
    )


def _by_code(value) -> _ByCode:
    values = np.zeros(0x110000, np.int32)
    values[list(_CODES)] = [value(code) for code in _CODES]
    blocks: dict[bytes, int] = {}
    starts = [
        blocks.setdefault(block.tobytes(), 256 * len(blocks)) for block in values.reshape(-1, 256)
    ]
    return _ByCode(np.array(starts, np.int32), np.frombuffer(b"".join(blocks), np.int32))


def _case(code: int) -> int:
    """What `code` is to the rule for a Σ; Python shows it only in what it does to one."""
    if (chr(code) + "Σ").lower()[-1] == "ς":
        return _CASED
    return _SKIPPED if ("A" + chr(code) + "Σ").lower()[-1] == "ς" else 0


def _look_up(table: _ByCode, codes: tf.Tensor) -> tf.Tensor:
    starts = tf.gather(tf.constant(table.starts), tf.bitwise.right_shift(codes, 8))
    return tf.gather(tf.constant(table.values), starts + tf.bitwise.bitwise_and(codes, 255))


def _has(kinds: tf.Tensor, kind: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(kinds, kind) > 0


def _before(flags: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The flag of the code point before, False at the start of a row."""
    return tf.pad(flags, [[1, 0]])[:-1] & ~_begins(rows)


def _after(flags: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The flag of the code point behind, False at the end of a row."""
    return tf.pad(flags & ~_begins(rows), [[0, 1]])[1:]


def _begins(rows: tf.Tensor) -> tf.Tensor:
    return tf.pad(rows, [[1, 0]], constant_values=-1)[:-1] != rows


def _lower(texts: tf.RaggedTensor) -> tf.RaggedTensor:
    codes = texts.flat_values
    some_sigma = tf.reduce_any(codes == _SIGMA)
    codes = tf.cond(some_sigma, lambda: _final_sigmas(codes, texts.value_rowids()), lambda: codes)
    return texts.with_flat_values(codes + _look_up(_tables().lower, codes))


def _final_sigmas(codes: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Each Σ that ends a word as ς: behind a cased letter and before none, whatever is skipped
    between."""
    case = _look_up(_tables().case, codes)
    seen = tf.where(case != _SKIPPED)
    cased, rows, codes_seen = (
        tf.gather(case, seen[:, 0]) == _CASED,
        tf.gather(rows, seen[:, 0]),
        tf.gather(codes, seen),
    )
    final = (codes_seen[:, 0] == _SIGMA) & _before(cased, rows) & ~_after(cased, rows)
    ends = tf.boolean_mask(seen, final)
    return tf.tensor_scatter_nd_update(codes, ends, tf.fill(tf.shape(ends)[:1], _FINAL_SIGMA))


def _composed(texts: tf.RaggedTensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Every text in Unicode's composed form (NFC), and the kinds of its code points; most texts are
    in that form."""
    kinds = _look_up(_tables().kinds, texts.flat_values)
    unsettled = _has(kinds, _UNSETTLED)

    def compose():
        chosen = tf.reduce_any(texts.with_flat_values(unsettled), axis=1)
        there, others = tf.where(chosen)[:, 0], tf.where(~chosen)[:, 0]
        both = tf.concat([_compose(tf.gather(texts, there)), tf.gather(texts, others)], 0)
        composed = tf.gather(both, tf.argsort(tf.concat([there, others], 0)))
        return composed, _look_up(_tables().kinds, composed.flat_values)

    return tf.cond(tf.reduce_any(unsettled), compose, lambda: (texts, kinds))


def _compose(texts: tf.RaggedTensor) -> tf.RaggedTensor:
    """The composed form by the steps of Unicode's annex 15: take apart, order the marks, put
    together."""
    codes, rows = _decompose(texts.flat_values, texts.value_rowids())
    marks = _look_up(_tables().marks, codes)
    groups = tf.cumsum(tf.cast((marks == 0) | _begins(rows), tf.int64))
    order = tf.argsort(groups * 256 + tf.cast(marks, tf.int64), stable=True)
    codes, marks = tf.gather(codes, order), tf.gather(marks, order)
    # What composes stands in one piece: a settled code point, or the first of a text, and the
    # unsettled behind it.
    unsettled = _has(_look_up(_tables().kinds, codes), _UNSETTLED)
    codes = _compose_pieces(codes, marks, tf.where(~unsettled | _begins(rows))[:, 0])
    kept = codes >= 0
    return tf.RaggedTensor.from_value_rowids(
        tf.boolean_mask(codes, kept),
        tf.boolean_mask(rows, kept),
        nrows=texts.nrows(),
        validate=False,
    )


def _decompose(codes: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    numbers = _look_up(_tables().parts_of, codes)
    parts = tf.gather(tf.constant(_tables().parts), numbers)
    first = tf.where(numbers > 0, parts[:, 0], codes)
    parts = tf.concat([first[:, None], parts[:, 1:]], 1)
    there = parts >= 0
    return tf.boolean_mask(parts, there), tf.repeat(
        rows, tf.reduce_sum(tf.cast(there, tf.int32), 1)
    )


def _compose_pieces(codes: tf.Tensor, marks: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
    """Composes all pieces at once, one code point of each a turn; -1 where one went into that
    before it."""
    lengths = tf.concat([starts[1:], tf.size(codes, tf.int64)[None]], 0) - starts
    longer = lengths > 1
    starts, lengths = tf.boolean_mask(starts, longer), tf.boolean_mask(lengths, longer)

    def turn(
        k, codes, base, last
    ):  # base: where each piece's starter is; last: class of the mark before, or -1
        active = k < lengths
        at = tf.where(active, starts + k, base)
        mark = tf.gather(marks, at)
        both = _pair(tf.gather(codes, base), tf.gather(codes, at))
        joins = active & (last < mark) & (both >= 0)
        new = tf.stack(
            [
                tf.boolean_mask(both, joins),
                tf.fill(tf.reduce_sum(tf.cast(joins, tf.int32))[None], -1),
            ],
            1,
        )
        where = tf.stack([tf.boolean_mask(base, joins), tf.boolean_mask(at, joins)], 1)
        codes = tf.tensor_scatter_nd_update(codes, where[..., None], new)
        moves = active & ~joins & (mark == 0)
        last = tf.where(moves, -1, tf.where(active & ~joins, mark, last))
        return k + 1, codes, tf.where(moves, at, base), last

    longest = tf.reduce_max(lengths)  # of no pieces: the least int64
    turns = tf.while_loop(
        lambda k, *_: k < longest,
        turn,
        (tf.constant(1, tf.int64), codes, starts, tf.fill(tf.shape(starts), -1)),
    )
    return turns[1]


def _pair(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The code point that two compose to, -1 where they do not."""
    pairs = tf.constant(_tables().pairs)
    key = tf.cast(first, tf.int64) * 2**21 + tf.cast(second, tf.int64)
    where = tf.minimum(tf.searchsorted(pairs, key), len(_tables().pairs) - 1)
    return tf.where(
        tf.gather(pairs, where) == key, tf.gather(tf.constant(_tables().composed), where), -1
    )
