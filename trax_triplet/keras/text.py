"""A Keras layer that gives the ids which `Vocabulary.encode` gives, in TensorFlow ops: a saved
model takes questions.

Keras, TensorFlow and the vocabulary only; where the model answers, neither Trax nor this package is
needed.
"""

from __future__ import annotations

import copy

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.graph_text import crc32, split_words
from trax_triplet.keras.layers import keras, tf

OOV_ID = 1  # Keras' numbering: 0 is padding; in `Vocabulary` the two are the other way round


@keras.saving.register_keras_serializable(package="trax_triplet")
class QuestionIds(keras.layers.Layer):
    """Questions to the ids of their words, in Keras' numbering.

    Id 0 is padding, id 1 any unknown word, id 2 the first word: the ids of `Vocabulary` with 0 and
    1 exchanged. With `buckets` unknown words read as one of that many ids behind the words', chosen
    by CRC-32, and id 1 is not used. Text is cut by the rule ``'words'`` of `tokenizer.tokenize`,
    exactly as Python cuts it, whatever the script. Upper and lower case, letters and composed forms
    are those of the Unicode of the Python that builds the layer; a SavedModel keeps them. The
    longest unknown word of a batch (with buckets) and its longest run of combining marks
    are gone through step by step: ten thousand letters or marks in a row take some tenths of a
    second.

    Takes tf.string (n,) or (n, 1), UTF-8 (what is not is read as U+FFFD); gives int64 (n, length),
    padded with 0 to the longest question of the batch and at least one column wide. It computes no
    mask, needs Keras' TensorFlow backend, and runs on the CPU, uncompiled: a model that holds it
    cannot be compiled by XLA as a whole.

    Args:
        words: the words in id order, id 2 first.
        buckets: ids for unknown words; 0: all of them read as id 1.
        settings: dict that JSON can hold: what the model folder says of the model whose first layer
            this is, such as its threshold. The layer only keeps it.
        **kwargs: what every Keras layer takes, such as `name`.

    Raises:
        TypeError: `words` is one str or no list, a word is no str, `buckets` is no whole number,
            `settings` no dict; called with something else than strings.
        ValueError: words that `Vocabulary` refuses, `buckets` below 0; called with another shape.

    Example:
        >>> layer = QuestionIds(["how", "old", "?"])
        >>> layer(tf.constant(["How old is he?", "", "How?"])).numpy().tolist()
        [[2, 3, 1, 1, 4], [0, 0, 0, 0, 0], [2, 4, 0, 0, 0]]
    """

    def __init__(self, words, buckets: int = 0, settings: dict | None = None, **kwargs):
        super().__init__(**kwargs)
        if settings is not None and not isinstance(settings, dict):
            raise TypeError(f"settings must be a dict, but it is {settings!r:.60}")
        self._vocabulary, self._settings = (
            Vocabulary(words, buckets=buckets),
            copy.deepcopy(settings or {}),
        )
        # Strings: not to be converted to the dtype of the layer, nor compiled.
        self._convert_input_args, self._allow_non_tensor_positional_args = False, True
        self.supports_jit = False
        with tf.init_scope():
            # "" is no word, but a table must not be empty.
            keys = tf.constant([b"", *(word.encode() for word in self._vocabulary.words)])
            ids = tf.range(OOV_ID, OOV_ID + tf.size(keys, tf.int64))
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, ids), OOV_ID
            )

    @classmethod
    def from_vocabulary(cls, vocabulary: Vocabulary, **kwargs) -> QuestionIds:
        """The layer with the words and buckets of `vocabulary`.

        Raises:
            TypeError: it is no Vocabulary.
            ValueError: its tokenizer is ``'course'``: NLTK's rules are no TensorFlow ops.

        Example:
            >>> QuestionIds.from_vocabulary(Vocabulary.build(["Why?"], buckets=8)).vocabulary()
            <Vocabulary of 12 ids, tokenizer 'words'>
        """
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                f"from_vocabulary takes a trax_triplet Vocabulary, got {type(vocabulary).__name__}; "
                "of a list of words make QuestionIds(words)"
            )
        if vocabulary.tokenizer != "words":
            raise ValueError(
                f"the tokenizer {vocabulary.tokenizer!r} cannot run in a Keras model: its rules are "
                "NLTK's, no TensorFlow ops; give the model ids instead of text, or train with "
                "tokenizer='words'"
            )
        return cls(vocabulary.words, vocabulary.buckets, **kwargs)

    def vocabulary(self) -> Vocabulary:
        """The words and buckets as a `Vocabulary`, whose ids have 0 and 1 exchanged."""
        return self._vocabulary

    @property
    def settings(self) -> dict:
        """What the model folder said, a dict of its own."""
        return copy.deepcopy(self._settings)

    def get_config(self) -> dict:
        """What Keras saves: words, buckets, settings, and what every layer has."""
        return {
            **super().get_config(),
            "words": list(self._vocabulary.words),
            "buckets": self._vocabulary.buckets,
            "settings": self.settings,
        }

    def compute_output_shape(self, input_shape) -> tuple:
        """(n, length), where length is known only for a batch."""
        return input_shape[0], None

    def compute_output_spec(self, questions):
        """As above; refuses what `call` refuses."""
        _check(questions.dtype, questions.shape)
        return keras.KerasTensor(self.compute_output_shape(questions.shape), dtype="int64")

    def call(self, questions):
        """Questions, tf.string (n,) or (n, 1), to ids, int64 (n, length)."""
        questions = tf.convert_to_tensor(questions)
        _check(questions.dtype.name, questions.shape)
        if questions.shape.rank == 2:
            questions = tf.ensure_shape(questions, (None, 1))[:, 0]
        with tf.device("CPU:0"):
            words = split_words(questions)
            ids = words.with_values(self._ids(words.values)).to_tensor(0)
            ids = tf.pad(ids, [[0, 0], [0, tf.cast(tf.shape(ids)[1] == 0, tf.int32)]])
        ids.set_shape((questions.shape[0], None))
        return ids

    def _ids(self, words):
        ids = self._table.lookup(words)
        if not self._vocabulary.buckets:
            return ids
        unknown = tf.where(ids == OOV_ID)
        hashed = crc32(tf.gather_nd(words, unknown)) % self._vocabulary.buckets
        return tf.tensor_scatter_nd_update(
            ids, unknown, len(self._vocabulary) - self._vocabulary.buckets + hashed
        )


def _check(dtype: str, shape) -> None:
    if dtype != "string":
        raise TypeError(
            f"QuestionIds takes questions (tf.string), got {dtype}; a model that is given ids needs none"
        )
    shape = tuple(shape)
    if len(shape) not in (1, 2) or len(shape) == 2 and shape[1] not in (1, None):
        raise ValueError(
            f"QuestionIds takes questions of shape (n,) or (n, 1), got {shape}; of a single one make "
            "a list"
        )
