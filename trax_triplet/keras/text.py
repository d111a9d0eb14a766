"""A Keras layer from questions to word ids, in TensorFlow operations only.

It gives the ids of `Vocabulary.encode`, and cuts text exactly as `tokenizer.tokenize` does by the
rules "words" and "words/1", so that a saved model takes questions and needs neither this package
nor Python.

All texts lie in one flat tensor of code points; `rows` tells for each code point which text it
belongs to. The tables are built from the Unicode data of the Python that builds the graph, and are
saved with the graph.
"""

from __future__ import annotations

import copy
import functools
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.data.tokenizer import (
    IGNORED,
    ZERO_WIDTH_JOINER,
    ZERO_WIDTH_SPACE,
    is_character,
    is_mark,
)
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.layers import KERAS_OOV_ID, KERAS_PAD_ID, NamesItsPackage, keras, tf

__all__ = ["QuestionIds", "crc32", "split_words"]

_SIGMA, _FINAL_SIGMA = ord("Σ"), ord("ς")
_APOSTROPHE, _CURLY_APOSTROPHE = ord("'"), ord("’")
# Kinds of code points, which add up. Letters are digits, too; composing may change what is
# unsettled, or what precedes it. The last three are of the rule "words".
_LETTER, _BLANK, _UNSETTLED, _MARK, _CHARACTER, _IGNORED = 1, 2, 4, 8, 16, 32
_DOT_ABOVE = 0x307
# What the rule for a final Σ skips, and what it looks for.
_SKIPPED, _CASED = 1, 2
# Code points beyond these have no properties in any Unicode up to 17: planes without characters,
# and private use.
_CODES = (*range(0x40000), *range(0xE0000, 0xE1000))


@keras.saving.register_keras_serializable(package="trax_triplet")
class QuestionIds(NamesItsPackage, keras.layers.Layer):
    """A layer from questions to the ids of their words, in Keras' numbering.

    Id 0 is padding, id 1 any unknown word, id 2 the first word: the ids of `Vocabulary` with 0 and
    1 swapped. With `buckets`, an unknown word gets one of that many ids that follow those of the
    words, chosen by CRC-32, and id 1 is not used. Text is cut by a rule of `tokenizer.tokenize`,
    exactly as Python cuts it, whatever the script. Upper and lower case,
    letters and composed forms are those of the Unicode of the Python that builds the layer; a
    SavedModel keeps them. The longest unknown word of a batch (with buckets) and its longest run of
    combining marks are processed step by step: ten thousand letters or marks in a row take some
    tenths of a second.

    It takes tf.string (n,) or (n, 1), UTF-8 (invalid bytes become U+FFFD), and returns int64
    (n, length), padded with 0 to the longest question of the batch and at least one column wide. It
    computes no mask, needs Keras' TensorFlow backend, and runs on the CPU, uncompiled: XLA cannot
    compile a model that contains it.

    Args:
        words: the words in id order, id 2 first.
        buckets: number of ids for unknown words; 0: all of them get id 1.
        settings: a dict that JSON can hold: what the model folder says of the model whose first
            layer this is, such as its threshold. The layer only keeps it.
        tokenizer: ``'words'`` or ``'words/1'``, the rule.
        **kwargs: what every Keras layer takes, such as `name`.

    Raises:
        TypeError: `words` that are not a list of strings, `buckets` that is not an integer,
            `settings` that is not a dict; called on anything but strings.
        ValueError: words that `Vocabulary` refuses, `buckets` below 0, the tokenizer ``'course'``:
            NLTK's rules are not TensorFlow operations; called on another shape.

    Example:
        >>> layer = QuestionIds(["how", "old", "?"])
        >>> layer(tf.constant(["How old is he?", "", "How?"])).numpy().tolist()
        [[2, 3, 1, 1, 4], [0, 0, 0, 0, 0], [2, 4, 0, 0, 0]]
    """

    def __init__(
        self,
        words: Sequence[str],
        buckets: int = 0,
        settings: dict[str, Any] | None = None,
        tokenizer: str = "words",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check.one_of("tokenizer", tokenizer, ("words", "words/1"))
        if settings is not None:
            check.instance("settings", settings, dict, "a dict")
        self._vocabulary = Vocabulary(words, tokenizer=tokenizer, buckets=buckets)
        self._settings = copy.deepcopy(settings or {})
        # Strings must neither be converted to the dtype of the layer, nor compiled.
        self._convert_input_args, self._allow_non_tensor_positional_args = False, True
        self.supports_jit = False
        with tf.init_scope():
            # "" is not a word, but a table must not be empty.
            keys = tf.constant([b"", *(word.encode() for word in self._vocabulary.words)])
            ids = tf.range(KERAS_OOV_ID, KERAS_OOV_ID + tf.size(keys, tf.int64))
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, ids), KERAS_OOV_ID
            )

    @classmethod
    def from_vocabulary(cls, vocabulary: Vocabulary, **kwargs: Any) -> QuestionIds:
        """Returns the layer with the words and buckets of a vocabulary.

        Args:
            vocabulary: one whose tokenizer is ``'words'`` or ``'words/1'``.
            **kwargs: `settings`, and what every Keras layer takes.

        Raises:
            TypeError: not a `Vocabulary`.
            ValueError: its tokenizer is ``'course'``: NLTK's rules are not TensorFlow operations.

        Example:
            >>> QuestionIds.from_vocabulary(Vocabulary.build(["Why?"], buckets=8)).vocabulary()
            <Vocabulary of 12 ids, tokenizer 'words'>
        """
        advice = "make QuestionIds(words) from a list of words"
        check.instance("vocabulary", vocabulary, Vocabulary, "a trax_triplet.Vocabulary", advice)
        if vocabulary.tokenizer == "course":
            raise ValueError(
                f"the tokenizer {vocabulary.tokenizer!r} cannot run in a Keras model: its rules "
                "are NLTK's, not TensorFlow operations; give the model ids instead of text, or "
                "train with tokenizer='words'"
            )
        return cls(vocabulary.words, vocabulary.buckets, tokenizer=vocabulary.tokenizer, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> QuestionIds:
        """The layer that `get_config` described; version 0.1 knew one tokenizer only."""
        return cls(**{"tokenizer": "words/1", **config})

    def vocabulary(self) -> Vocabulary:
        """The words and buckets as a `Vocabulary`, whose ids 0 and 1 are swapped."""
        return self._vocabulary

    @property
    def settings(self) -> dict[str, Any]:
        """A copy of what the model folder said."""
        return copy.deepcopy(self._settings)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves: words, buckets, settings, and what every layer has."""
        return {
            **super().get_config(),
            "words": list(self._vocabulary.words),
            "buckets": self._vocabulary.buckets,
            "settings": self.settings,
            "tokenizer": self._vocabulary.tokenizer,
        }

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, None]:
        """(n, length), where the length depends on the batch."""
        return input_shape[0], None

    def compute_output_spec(self, questions: Array) -> Array:
        """The symbolic ids of symbolic questions; refuses what `call` refuses."""
        _check_questions(questions)
        return keras.KerasTensor(self.compute_output_shape(questions.shape), dtype="int64")

    def call(self, questions: Array) -> Array:
        """Questions, tf.string (n,) or (n, 1), to ids, int64 (n, length)."""
        questions = tf.convert_to_tensor(questions)
        _check_questions(questions)
        if questions.shape.rank == 2:
            questions = tf.ensure_shape(questions, (None, 1))[:, 0]
        with tf.device("CPU:0"):
            words = split_words(questions, self._vocabulary.tokenizer)
            ids = words.with_values(self._ids(words.values)).to_tensor(KERAS_PAD_ID)
            ids = tf.pad(ids, [[0, 0], [0, tf.cast(tf.shape(ids)[1] == 0, tf.int32)]])
        ids.set_shape((questions.shape[0], None))
        return ids

    def _ids(self, words: Array) -> Array:
        ids = self._table.lookup(words)
        if not self._vocabulary.buckets:
            return ids
        unknown = tf.where(ids == KERAS_OOV_ID)
        hashed = crc32(tf.gather_nd(words, unknown)) % self._vocabulary.buckets
        first_bucket = len(self._vocabulary) - self._vocabulary.buckets
        return tf.tensor_scatter_nd_update(ids, unknown, first_bucket + hashed)


def _check_questions(questions: Array) -> None:
    expected = "strings (tf.string) of shape (n,) or (n, 1)"
    if getattr(questions.dtype, "name", questions.dtype) != "string":
        raise check.wrong_type(
            "questions", expected, questions, "a model that takes ids does not need QuestionIds"
        )
    shape = tuple(questions.shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] not in (1, None)):
        raise check.wrong_value(
            "questions", expected, questions, "put a single question into a list"
        )


# --- words


def split_words(texts: Array, tokenizer: str = "words") -> Array:
    """Cuts texts into words, exactly as `tokenizer.tokenize` does.

    Args:
        texts: tf.string (n,), UTF-8. Invalid bytes become U+FFFD, as in
            ``bytes.decode("utf-8", "replace")``.
        tokenizer: ``'words'`` or ``'words/1'``, the rule.

    Returns:
        Ragged tf.string (n, None), UTF-8; a blank text has no words.

    Example:
        >>> split_words(tf.constant(["Don’t panic: what's C++?".encode()])).to_list()
        [[b"don't", b'panic', b':', b"what's", b'c', b'+', b'+', b'?']]
    """
    texts = tf.strings.unicode_decode(texts, "UTF-8")
    if tokenizer == "words":
        texts = _without_ignored(texts)
    texts, kinds = _composed(_lower(texts))
    if tokenizer == "words":
        texts, kinds = _without_dots(texts, kinds)
    codes, rows = texts.flat_values, texts.value_rowids()
    apostrophe = (codes == _APOSTROPHE) | (codes == _CURLY_APOSTROPHE)
    blank = _has(kinds, _BLANK)
    begin = _begins_word if tokenizer == "words" else _begins_word_1
    begins = begin(codes, kinds, rows, apostrophe)
    codes = tf.where(apostrophe, _APOSTROPHE, codes)
    codes, firsts = tf.boolean_mask(codes, ~blank), tf.boolean_mask(begins, ~blank)
    words = tf.RaggedTensor.from_row_starts(codes, tf.where(firsts)[:, 0], validate=False)
    return tf.RaggedTensor.from_value_rowids(
        tf.strings.unicode_encode(words, "UTF-8"),
        tf.boolean_mask(rows, begins),
        nrows=texts.nrows(),
        validate=False,
    )


def _begins_word_1(codes: Array, kinds: Array, rows: Array, apostrophe: Array) -> Array:
    """Which code points begin a word, by the rule "words/1"."""
    letter, blank = _has(kinds, _LETTER), _has(kinds, _BLANK)
    inside = letter | (apostrophe & _previous(letter, rows) & _next(letter, rows))
    return ~blank & ~(inside & _previous(inside, rows))


def _begins_word(codes: Array, kinds: Array, rows: Array, apostrophe: Array) -> Array:
    """Which code points begin a word, by the rule "words"."""
    blank, mark = _has(kinds, _BLANK), _has(kinds, _MARK)
    lonely = mark & ~_previous(~blank, rows)
    # What remains is cut as if there were no marks; but what an emoji is joined to goes on with it.
    joined = _previous(codes == ZERO_WIDTH_JOINER, rows)
    kept = tf.where(~mark)
    kinds, rows, apostrophe, joined, blank = (
        tf.gather_nd(each, kept) for each in (kinds, rows, apostrophe, joined, blank)
    )
    character = _has(kinds, _CHARACTER)
    letter = _has(kinds, _LETTER) & ~character
    inside = letter | (apostrophe & _previous(letter, rows) & _next(letter, rows))
    other = ~inside & ~blank & ~character
    goes_on = (inside & _previous(inside, rows)) | (joined & other & _previous(other, rows))
    return tf.tensor_scatter_nd_update(lonely, kept, ~blank & ~goes_on)


def _without_ignored(texts: Array) -> Array:
    """The texts without what is not seen, and blanks for zero-width spaces."""
    codes = texts.flat_values
    codes = tf.where(codes == ZERO_WIDTH_SPACE, ord(" "), codes)
    return _kept(texts.with_flat_values(codes), ~_has(_tables().kinds.look_up(codes), _IGNORED))


def _without_dots(texts: Array, kinds: Array) -> tuple[Array, Array]:
    """The texts with i for i and a dot above: what a dotted capital I is in lower case."""
    codes, rows = texts.flat_values, texts.value_rowids()
    kept = ~((codes == _DOT_ABOVE) & _previous(codes == ord("i"), rows))
    return _kept(texts, kept), tf.boolean_mask(kinds, kept)


def _kept(texts: Array, kept: Array) -> Array:
    """The texts with only those of their code points."""
    return tf.RaggedTensor.from_value_rowids(
        tf.boolean_mask(texts.flat_values, kept),
        tf.boolean_mask(texts.value_rowids(), kept),
        nrows=texts.nrows(),
        validate=False,
    )


def crc32(words: Array) -> Array:
    """The CRC-32 of each word's bytes, as `zlib.crc32` computes it: tf.string (n,) to int64 (n,).

    Example:
        >>> crc32(tf.constant(["123456789"])).numpy() == [0xCBF43926]
        array([ True])
    """
    table = tf.constant(_crc_table())
    lengths = tf.strings.length(words)
    starts = tf.cumsum(lengths, exclusive=True)
    # One more byte, so that there is something to read for words that have ended.
    joined = tf.strings.join([tf.strings.reduce_join(words), "0"])
    data = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int64)

    def step(at: Array, crc: Array) -> tuple[Array, Array]:
        byte = tf.gather(data, tf.where(at < lengths, starts + at, 0))
        entry = tf.gather(table, tf.bitwise.bitwise_xor(crc, byte) % 256)
        return at + 1, tf.where(at < lengths, tf.bitwise.bitwise_xor(entry, crc // 256), crc)

    longest = tf.reduce_max(lengths)  # of no words: the smallest int32
    start = tf.fill(tf.shape(words), tf.constant(0xFFFFFFFF, tf.int64))
    _, crc = tf.while_loop(lambda at, crc: at < longest, step, (0, start))
    return tf.bitwise.bitwise_xor(crc, 0xFFFFFFFF)


@functools.cache
def _crc_table() -> np.ndarray:
    table = np.arange(256)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, 0xEDB88320, 0)
    return table.astype(np.int64)


def _has(kinds: Array, kind: int) -> Array:
    return tf.bitwise.bitwise_and(kinds, kind) > 0


def _previous(flags: Array, rows: Array) -> Array:
    """The flag of the previous code point, False at the start of a row."""
    return tf.pad(flags, [[1, 0]])[:-1] & ~_begins(rows)


def _next(flags: Array, rows: Array) -> Array:
    """The flag of the next code point, False at the end of a row."""
    return tf.pad(flags & ~_begins(rows), [[0, 1]])[1:]


def _begins(rows: Array) -> Array:
    return tf.pad(rows, [[1, 0]], constant_values=-1)[:-1] != rows


# --- Unicode's tables


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
    kinds: _ByCode  # sum of _LETTER, _BLANK, _UNSETTLED, _MARK, _CHARACTER, _IGNORED
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

    def lower(code: int) -> int:
        return ord(chr(code).lower()) - code if len(chr(code).lower()) == 1 else 0

    def kinds(code: int) -> int:
        is_unsettled = code in unsettled or unicodedata.combining(chr(code)) > 0
        flags = {
            _LETTER: chr(code).isalnum(),
            _BLANK: chr(code).isspace(),
            _UNSETTLED: is_unsettled,
            _MARK: is_mark(code),
            _CHARACTER: is_character(code),
            _IGNORED: code in ignored,
        }
        return sum(kind for kind, is_so in flags.items() if is_so)

    return _Tables(
        lower=_ByCode.of(lower),
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


def _lower(texts: Array) -> Array:
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
    ends = tf.boolean_mask(seen, sigma & _previous(cased, rows) & ~_next(cased, rows))
    return tf.tensor_scatter_nd_update(codes, ends, tf.fill(tf.shape(ends)[:1], _FINAL_SIGMA))


# --- composed form


def _composed(texts: Array) -> tuple[Array, Array]:
    """Every text in Unicode's composed form (NFC), and the kinds of its code points.

    Most texts are in that form already.
    """
    kinds = _tables().kinds.look_up(texts.flat_values)
    unsettled = _has(kinds, _UNSETTLED)

    def compose() -> tuple[Array, Array]:
        chosen = tf.reduce_any(texts.with_flat_values(unsettled), axis=1)
        some, others = tf.where(chosen)[:, 0], tf.where(~chosen)[:, 0]
        both = tf.concat([_compose(tf.gather(texts, some)), tf.gather(texts, others)], 0)
        composed = tf.gather(both, tf.argsort(tf.concat([some, others], 0)))
        return composed, _tables().kinds.look_up(composed.flat_values)

    return tf.cond(tf.reduce_any(unsettled), compose, lambda: (texts, kinds))


def _compose(texts: Array) -> Array:
    """The composed form by the steps of Unicode's annex 15: decompose, order the marks, compose."""
    codes, rows = _decompose(texts.flat_values, texts.value_rowids())
    marks = _tables().marks.look_up(codes)
    groups = tf.cumsum(tf.cast((marks == 0) | _begins(rows), tf.int64))
    order = tf.argsort(groups * 256 + tf.cast(marks, tf.int64), stable=True)
    codes, marks = tf.gather(codes, order), tf.gather(marks, order)
    # What composes is one piece: a settled code point, or the first of a text, and the unsettled
    # ones that follow it.
    unsettled = _has(_tables().kinds.look_up(codes), _UNSETTLED)
    codes = _compose_pieces(codes, marks, tf.where(~unsettled | _begins(rows))[:, 0])
    composed = tf.RaggedTensor.from_value_rowids(codes, rows, nrows=texts.nrows(), validate=False)
    return _kept(composed, codes >= 0)


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
    composed = tf.gather(tf.constant(_tables().composed), where)
    return tf.where(tf.gather(pairs, where) == key, composed, -1)
