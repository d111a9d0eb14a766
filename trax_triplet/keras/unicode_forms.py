"""Lower case and Unicode's composed form (NFC) of texts, in TensorFlow operations only.

All texts lie in one flat tensor of code points; `rows` tells for each code point which text it
belongs to. The tables are built from the Unicode data of the Python that builds the graph, and are
saved with the graph.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trax_triplet._typing import Array
from trax_triplet.data.tokenizer import IGNORED, is_character, is_mark
from trax_triplet.keras.layers import tf

__all__ = [
    "BLANK",
    "CHARACTER",
    "IGNORED_KIND",
    "LETTER",
    "MARK",
    "begins",
    "composed",
    "following",
    "has",
    "keep",
    "kinds_of",
    "lower",
    "previous",
]

_SIGMA, _FINAL_SIGMA = ord("Σ"), ord("ς")
# Kinds of code points, which add up. Letters are digits, too; composing may change what is
# unsettled, or what precedes it. The last three are of the rule "words".
LETTER, BLANK, UNSETTLED, MARK, CHARACTER, IGNORED_KIND = 1, 2, 4, 8, 16, 32
# What the rule for a final Σ skips, and what it looks for.
_SKIPPED, _CASED = 1, 2
# Code points beyond these have no properties in any Unicode up to 17: planes without characters,
# and private use.
_CODES = (*range(0x40000), *range(0xE0000, 0xE1000))


def has(kinds: Array, kind: int) -> Array:
    """Which code points are of a kind."""
    return tf.bitwise.bitwise_and(kinds, kind) > 0


def begins(rows: Array) -> Array:
    """Which code points begin a text."""
    return tf.pad(rows, [[1, 0]], constant_values=-1)[:-1] != rows


def keep(texts: Array, kept: Array) -> Array:
    """The texts with only those of their code points."""
    return tf.RaggedTensor.from_value_rowids(
        tf.boolean_mask(texts.flat_values, kept),
        tf.boolean_mask(texts.value_rowids(), kept),
        nrows=texts.nrows(),
        validate=False,
    )


def previous(flags: Array, rows: Array) -> Array:
    """The flag of the previous code point, False at the start of a row."""
    return tf.pad(flags, [[1, 0]])[:-1] & ~begins(rows)


def following(flags: Array, rows: Array) -> Array:
    """The flag of the next code point, False at the end of a row."""
    return tf.pad(flags & ~begins(rows), [[0, 1]])[1:]


def kinds_of(codes: Array) -> Array:
    """The kinds of code points, which `has` asks for."""
    return _tables().kinds.look_up(codes)


class _ByCode(NamedTuple):
    """An integer for every code point, in blocks of 256; equal blocks are stored once."""

    starts: np.ndarray  # where each block begins in `values`, int32 (0x1100,)
    values: np.ndarray  # int32

    @classmethod
    def of(cls, value: Callable[[int], int]) -> _ByCode:
        values = np.zeros(0x110000, np.int32)
        values[list(_CODES)] = [value(code) for code in _CODES]
        blocks: dict[bytes, int] = {}
        starts = [
            blocks.setdefault(block.tobytes(), 256 * len(blocks))
            for block in values.reshape(-1, 256)
        ]
        return cls(np.array(starts, np.int32), np.frombuffer(b"".join(blocks), np.int32))

    def look_up(self, codes: Array) -> Array:
        starts = tf.gather(tf.constant(self.starts), tf.bitwise.right_shift(codes, 8))
        return tf.gather(tf.constant(self.values), starts + tf.bitwise.bitwise_and(codes, 255))


class _Tables(NamedTuple):
    """What the operations below know of Unicode."""

    lower: _ByCode  # what to add for lower case; 0 for U+0130, which becomes two code points
    case: _ByCode  # _SKIPPED, _CASED or 0
    kinds: _ByCode  # sum of LETTER, BLANK, UNSETTLED, MARK, CHARACTER, IGNORED_KIND
    marks: _ByCode  # combining class; 0: a starter, which marks may follow
    parts_of: _ByCode  # code point -> its row in `parts`; 0: it does not decompose
    parts: np.ndarray  # decompositions padded with -1; that of U+0130 is in lower case
    pairs: np.ndarray  # two code points that compose: first * 2**21 + second, int64, sorted
    composed: np.ndarray  # what they compose to


@functools.cache
def _tables() -> _Tables:
    """The tables of this Python's Unicode (built once, in about half a second)."""
    decomposed, pairs = {}, {}
    for code in _CODES:
        char = chr(code)
        parts = unicodedata.normalize("NFD", char.lower() if len(char.lower()) > 1 else char)
        if parts != char:
            decomposed[code] = parts
            if unicodedata.normalize("NFC", parts) == char:
                pairs[ord(unicodedata.normalize("NFC", parts[:-1])) << 21 | ord(parts[-1])] = code
    unsettled = {key % 2**21 for key in pairs} | (decomposed.keys() - set(pairs.values()))
    ignored = frozenset(IGNORED)
    row_of = {code: row for row, code in enumerate(decomposed, 1)}
    longest, keys = max(map(len, decomposed.values())), sorted(pairs)
    rows = [[], *(list(map(ord, parts)) for parts in decomposed.values())]

    def to_lower(code: int) -> int:
        return ord(chr(code).lower()) - code if len(chr(code).lower()) == 1 else 0

    def kinds(code: int) -> int:
        is_unsettled = code in unsettled or unicodedata.combining(chr(code)) > 0
        flags = {
            LETTER: chr(code).isalnum(),
            BLANK: chr(code).isspace(),
            UNSETTLED: is_unsettled,
            MARK: is_mark(code),
            CHARACTER: is_character(code),
            IGNORED_KIND: code in ignored,
        }
        return sum(kind for kind, is_so in flags.items() if is_so)

    return _Tables(
        lower=_ByCode.of(to_lower),
        case=_ByCode.of(_case),
        kinds=_ByCode.of(kinds),
        marks=_ByCode.of(lambda code: unicodedata.combining(chr(code))),
        parts_of=_ByCode.of(lambda code: row_of.get(code, 0)),
        parts=np.array([row + [-1] * (longest - len(row)) for row in rows], np.int32),
        pairs=np.array(keys, np.int64),
        composed=np.array([pairs[key] for key in keys], np.int32),
    )


def _case(code: int) -> int:
    """What a code point is to the rule for a final Σ; Python shows it only in what it does."""
    if (chr(code) + "Σ").lower()[-1] == "ς":
        return _CASED
    return _SKIPPED if ("A" + chr(code) + "Σ").lower()[-1] == "ς" else 0


# --- lower case


def lower(texts: Array) -> Array:
    codes = texts.flat_values
    some_sigma = tf.reduce_any(codes == _SIGMA)
    codes = tf.cond(some_sigma, lambda: _final_sigmas(codes, texts.value_rowids()), lambda: codes)
    return texts.with_flat_values(codes + _tables().lower.look_up(codes))


def _final_sigmas(codes: Array, rows: Array) -> Array:
    """Turns each Σ that ends a word into ς: one after a cased letter and not before another one.

    What is skipped may stand in between.
    """
    case = _tables().case.look_up(codes)
    seen = tf.where(case != _SKIPPED)
    rows, cased = tf.gather(rows, seen[:, 0]), tf.gather(case, seen[:, 0]) == _CASED
    sigma = tf.gather(codes, seen)[:, 0] == _SIGMA
    ends = tf.boolean_mask(seen, sigma & previous(cased, rows) & ~following(cased, rows))
    return tf.tensor_scatter_nd_update(codes, ends, tf.fill(tf.shape(ends)[:1], _FINAL_SIGMA))


# --- composed form


def composed(texts: Array) -> tuple[Array, Array]:
    """Every text in Unicode's composed form (NFC), and the kinds of its code points.

    Most texts are in that form already.
    """
    kinds = kinds_of(texts.flat_values)
    unsettled = has(kinds, UNSETTLED)

    def compose() -> tuple[Array, Array]:
        chosen = tf.reduce_any(texts.with_flat_values(unsettled), axis=1)
        some, others = tf.where(chosen)[:, 0], tf.where(~chosen)[:, 0]
        both = tf.concat([_compose(tf.gather(texts, some)), tf.gather(texts, others)], 0)
        settled = tf.gather(both, tf.argsort(tf.concat([some, others], 0)))
        return settled, kinds_of(settled.flat_values)

    return tf.cond(tf.reduce_any(unsettled), compose, lambda: (texts, kinds))


def _compose(texts: Array) -> Array:
    """The composed form by the steps of Unicode's annex 15: decompose, order the marks, compose."""
    codes, rows = _decompose(texts.flat_values, texts.value_rowids())
    marks = _tables().marks.look_up(codes)
    groups = tf.cumsum(tf.cast((marks == 0) | begins(rows), tf.int64))
    order = tf.argsort(groups * 256 + tf.cast(marks, tf.int64), stable=True)
    codes, marks = tf.gather(codes, order), tf.gather(marks, order)
    # What composes is one piece: a settled code point, or the first of a text, and the unsettled
    # ones that follow it.
    unsettled = has(kinds_of(codes), UNSETTLED)
    codes = _compose_pieces(codes, marks, tf.where(~unsettled | begins(rows))[:, 0])
    texts = tf.RaggedTensor.from_value_rowids(codes, rows, nrows=texts.nrows(), validate=False)
    return keep(texts, codes >= 0)


def _decompose(codes: Array, rows: Array) -> tuple[Array, Array]:
    numbers = _tables().parts_of.look_up(codes)
    parts = tf.gather(tf.constant(_tables().parts), numbers)
    first = tf.where(numbers > 0, parts[:, 0], codes)
    parts = tf.concat([first[:, None], parts[:, 1:]], 1)
    kept = parts >= 0
    counts = tf.reduce_sum(tf.cast(kept, tf.int32), 1)
    return tf.boolean_mask(parts, kept), tf.repeat(rows, counts)


def _compose_pieces(codes: Array, marks: Array, starts: Array) -> Array:
    """Composes all pieces at once, one code point of each per turn.

    A code point that was merged into an earlier one becomes -1.
    """
    lengths = tf.concat([starts[1:], tf.size(codes, tf.int64)[None]], 0) - starts
    longer = lengths > 1
    starts, lengths = tf.boolean_mask(starts, longer), tf.boolean_mask(lengths, longer)

    # base: where each piece's starter is; last: class of the previous mark, or -1.
    def turn(k: Array, codes: Array, base: Array, last: Array) -> tuple[Array, ...]:
        active = k < lengths
        at = tf.where(active, starts + k, base)
        mark = tf.gather(marks, at)
        both = _pair(tf.gather(codes, base), tf.gather(codes, at))
        joins = active & (last < mark) & (both >= 0)
        merged = tf.fill(tf.reduce_sum(tf.cast(joins, tf.int32))[None], -1)
        new = tf.stack([tf.boolean_mask(both, joins), merged], 1)
        where = tf.stack([tf.boolean_mask(base, joins), tf.boolean_mask(at, joins)], 1)
        codes = tf.tensor_scatter_nd_update(codes, where[..., None], new)
        moves = active & ~joins & (mark == 0)
        last = tf.where(moves, -1, tf.where(active & ~joins, mark, last))
        return k + 1, codes, tf.where(moves, at, base), last

    longest = tf.reduce_max(lengths)  # of no pieces: the smallest int64
    turns = tf.while_loop(
        lambda k, *_: k < longest,
        turn,
        (tf.constant(1, tf.int64), codes, starts, tf.fill(tf.shape(starts), -1)),
    )
    return turns[1]


def _pair(first: Array, second: Array) -> Array:
    """The code point that two compose to, -1 where they do not."""
    pairs = tf.constant(_tables().pairs)
    key = tf.cast(first, tf.int64) * 2**21 + tf.cast(second, tf.int64)
    where = tf.minimum(tf.searchsorted(pairs, key), len(_tables().pairs) - 1)
    both = tf.gather(tf.constant(_tables().composed), where)
    return tf.where(tf.gather(pairs, where) == key, both, -1)
