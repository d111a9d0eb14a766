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
from collections.abc import Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.data.tokenizer import ZERO_WIDTH_JOINER, ZERO_WIDTH_SPACE
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.layers import KERAS_OOV_ID, KERAS_PAD_ID, NamesItsPackage, keras, tf
from trax_triplet.keras.unicode_forms import (
    BLANK,
    CHARACTER,
    IGNORED_KIND,
    LETTER,
    MARK,
    composed,
    following,
    has,
    keep,
    kinds_of,
    lower,
    previous,
)

__all__ = ["QuestionIds", "crc32", "split_words"]

_APOSTROPHE, _CURLY_APOSTROPHE = ord("'"), ord("’")
_DOT_ABOVE = 0x307


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
    texts, kinds = composed(lower(texts))
    if tokenizer == "words":
        texts, kinds = _without_dots(texts, kinds)
    codes, rows = texts.flat_values, texts.value_rowids()
    apostrophe = (codes == _APOSTROPHE) | (codes == _CURLY_APOSTROPHE)
    blank = has(kinds, BLANK)
    begin = _begins_word if tokenizer == "words" else _begins_word_1
    is_first = begin(codes, kinds, rows, apostrophe)
    codes = tf.where(apostrophe, _APOSTROPHE, codes)
    codes, firsts = tf.boolean_mask(codes, ~blank), tf.boolean_mask(is_first, ~blank)
    words = tf.RaggedTensor.from_row_starts(codes, tf.where(firsts)[:, 0], validate=False)
    return tf.RaggedTensor.from_value_rowids(
        tf.strings.unicode_encode(words, "UTF-8"),
        tf.boolean_mask(rows, is_first),
        nrows=texts.nrows(),
        validate=False,
    )


def _begins_word_1(codes: Array, kinds: Array, rows: Array, apostrophe: Array) -> Array:
    """Which code points begin a word, by the rule "words/1"."""
    letter, blank = has(kinds, LETTER), has(kinds, BLANK)
    inside = letter | (apostrophe & previous(letter, rows) & following(letter, rows))
    return ~blank & ~(inside & previous(inside, rows))


def _begins_word(codes: Array, kinds: Array, rows: Array, apostrophe: Array) -> Array:
    """Which code points begin a word, by the rule "words"."""
    blank, mark = has(kinds, BLANK), has(kinds, MARK)
    lonely = mark & ~previous(~blank, rows)
    # What remains is cut as if there were no marks; but what an emoji is joined to goes on with it.
    joined = previous(codes == ZERO_WIDTH_JOINER, rows)
    kept = tf.where(~mark)
    kinds, rows, apostrophe, joined, blank = (
        tf.gather_nd(each, kept) for each in (kinds, rows, apostrophe, joined, blank)
    )
    character = has(kinds, CHARACTER)
    letter = has(kinds, LETTER) & ~character
    inside = letter | (apostrophe & previous(letter, rows) & following(letter, rows))
    other = ~inside & ~blank & ~character
    goes_on = (inside & previous(inside, rows)) | (joined & other & previous(other, rows))
    return tf.tensor_scatter_nd_update(lonely, kept, ~blank & ~goes_on)


def _without_ignored(texts: Array) -> Array:
    """The texts without what is not seen, and blanks for zero-width spaces."""
    codes = texts.flat_values
    codes = tf.where(codes == ZERO_WIDTH_SPACE, ord(" "), codes)
    return keep(texts.with_flat_values(codes), ~has(kinds_of(codes), IGNORED_KIND))


def _without_dots(texts: Array, kinds: Array) -> tuple[Array, Array]:
    """The texts with i for i and a dot above: what a dotted capital I is in lower case."""
    codes, rows = texts.flat_values, texts.value_rowids()
    kept = ~((codes == _DOT_ABOVE) & previous(codes == ord("i"), rows))
    return keep(texts, kept), tf.boolean_mask(kinds, kept)


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
