"""The Siamese LSTM: the course's definition, and a form in which padding never counts."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.data.vocabulary import PAD_ID, unknown_ids
from trax_triplet.loss.similarity import l2_normalize, nan_like
from trax_triplet.model.lstm import KINDS, LSTM, MODES, SpreadLSTM
from trax_triplet.model.walk import CENTRE, POOLINGS, PROJECTION

__all__ = [
    "LastWord",
    "MeanOfWords",
    "PaddingLast",
    "Siamese",
    "WordCount",
    "WordDropout",
    "constants_of",
    "pooling_of",
]


def Siamese(
    vocab_size: int = 41699,
    d_model: int = 128,
    mode: str = "train",
    *,
    pooling: str = "course",
    word_dropout: float = 0.0,
    buckets: int = 0,
    embedding_stddev: float | None = None,
    lstm: str = "closed form",
    projection: Array | None = None,
    centre: Array | None = None,
) -> tl.Layer:
    """Returns a model that turns two batches of questions into two batches of unit vectors.

    `trax_triplet.course.Siamese` is this one with the assignment's arguments,
    `trax_triplet.keras.Siamese` the same model in Keras.

    The layer takes two inputs, word ids (batch, length) of the first and of the second questions,
    int32 in [0, vocab_size), and gives two outputs (batch, d_model), float32, of length 1. Both
    towers are one and the same stack of layers, so they share their weights. With
    `pooling='course'` and the other defaults that stack is the course's: Embedding, LSTM, Mean,
    Normalize. There the padding (id 1) runs through LSTM and Mean, so that a question's vector
    depends on how long its batch was padded. With 'mean' or 'last' padding never counts, wherever
    it stands: a vector is the same by itself, in any batch and at any padded length, and a question
    of nothing but padding gets the zero vector. One with an id that the vocabulary lacks gets NaN
    (in the course's form, as Trax has it, the vector of the id next to it).

    Args:
        vocab_size: number of word ids, at least 2 (0 is out of vocabulary, 1 is padding).
        d_model: width of the word embedding, of the LSTM and of the vectors.
        mode: 'train', 'eval' or 'predict'; word dropout acts only in 'train'.
        pooling: what becomes of the LSTM's states: 'course' (mean over all steps, padding too),
            'mean' (over the words), or 'last' (the state after the last word).
        word_dropout: share of the vocabulary that is treated as unknown in a batch, in [0, 1), see
            `WordDropout`. The model learns to do without any one word, and what unknown words mean.
        buckets: how many of the ids, the last ones, are for unknown words (`Vocabulary`).
        embedding_stddev: standard deviation of the normal distribution that the embedding starts
            from; None for Trax's own initialiser.
        lstm: 'closed form' (`lstm.LSTM`, faster), or 'trax' (`tl.Scan` and autodiff, which has
            derivatives of any order). Both give the same, and print alike.
        projection: None, or a matrix (d_model, d_model), a constant: what is pooled is multiplied
            by it from the right, before it becomes a unit vector.
        centre: None, or a vector (d_model,), a constant: unit vectors are shifted by it and scaled
            to length 1 again. A model from `train` has a centre, and after a teacher a projection.

    Returns:
        A `tl.Parallel` layer of the two towers; with 'mean' or 'last' after a `WordDropout` layer.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: a size, mode, pooling, share or deviation outside its range, a projection or a
            centre of another shape.

    Example:
        >>> Siamese(vocab_size=100, d_model=8)
        Parallel_in2_out2[
          Serial[
            Embedding_100_8
            LSTM_8
            Mean
            Normalize
          ]
          Serial[
            Embedding_100_8
            LSTM_8
            Mean
            Normalize
          ]
        ]
    """
    check.integer("vocab_size", vocab_size, 2)
    check.integer("d_model", d_model, 1)
    check.one_of("mode", mode, MODES)
    check.one_of("pooling", pooling, POOLINGS)
    check.one_of("lstm", lstm, KINDS)
    check.number("word_dropout", word_dropout, 0, below=1)
    check.integer("buckets", buckets, 0, vocab_size - 2)
    initializer = {}
    if embedding_stddev is not None:
        stddev = check.number("embedding_stddev", embedding_stddev, 0)
        initializer["kernel_initializer"] = tl.RandomNormalInitializer(stddev)
    kind = tl.Embedding if pooling == "course" else _Embedding
    embedding = kind(vocab_size, d_model, **initializer)
    constants = {}
    if projection is not None:
        constants[PROJECTION] = check.matrix("projection", projection, (d_model, d_model))
    if centre is not None:
        constants[CENTRE] = check.matrix("centre", centre, (d_model,))
    last = _last_layers(constants)
    if pooling == "course":
        if word_dropout:
            raise ValueError(
                "word_dropout must be 0 in the course's model; take pooling='mean' or 'last'"
            )
        states = LSTM(d_model, mode, closed_form=lstm == "closed form")
        tower = tl.Serial(embedding, states, tl.Mean(axis=1), *last)
        return _described(tl.Parallel(tower, tower), pooling, constants)
    pool = MeanOfWords() if pooling == "mean" else LastWord()
    states = tl.Serial(embedding, SpreadLSTM(d_model, mode, lstm=lstm))
    tower = tl.Serial(PaddingLast(), tl.Branch(states, WordCount()), pool, *last)
    # Every mode has the same layers, so that a Loop can hand weights from one to the other.
    dropout = WordDropout(vocab_size, word_dropout if mode == "train" else 0.0, buckets=buckets)
    return _described(tl.Serial(dropout, tl.Parallel(tower, tower)), pooling, constants)


class _Embedding(tl.Embedding):
    """Trax's, in which an id that the vocabulary lacks has NaN: Trax takes the row next to it."""

    def forward(self, x: Array) -> Array:
        rows, weights = super().forward(x), cast("Array", self.weights)
        is_known = jnp.logical_and(x >= 0, x < weights.shape[0])
        return jnp.where(is_known[..., None], rows, nan_like(rows))


def _described(model: tl.Layer, pooling: str, constants: dict[str, np.ndarray]) -> tl.Layer:
    model._pooling, model._constants = pooling, constants  # Trax's layers take no public attribute
    return model


def _last_layers(constants: dict[str, np.ndarray]) -> list[Any]:
    """From what is pooled to vectors."""
    layers: list[Any] = [tl.Fn("Normalize", l2_normalize)]
    if PROJECTION in constants:
        projection = constants[PROJECTION]
        layers.insert(0, tl.Fn("Projection", lambda x: x @ jnp.asarray(projection, x.dtype)))
    if CENTRE in constants:
        layers.append(_centred(constants[CENTRE]))
    return layers


def _centred(centre: Array) -> tl.Layer:
    """The layer that does what `walk.centred` does."""

    def f(vectors: Array) -> Array:
        is_zero = jnp.all(vectors == 0, axis=-1, keepdims=True)
        away = l2_normalize(vectors - jnp.asarray(centre, vectors.dtype))
        return jnp.where(is_zero, vectors, away)

    return tl.Fn("Centre", f)


def pooling_of(model: tl.Layer) -> str:
    """The `pooling` that `Siamese` made a model with.

    Raises:
        TypeError: something other than such a model.

    Example:
        >>> pooling_of(Siamese(vocab_size=10, d_model=4, pooling="last"))
        'last'
    """
    pooling = getattr(model, "_pooling", None)
    if pooling is None:
        raise check.wrong_type("model", "a model from Siamese", model)
    return pooling


def constants_of(model: tl.Layer) -> dict[str, np.ndarray]:
    """The `projection` and the `centre` that `Siamese` made a model with, as far as it has them.

    Raises:
        TypeError: something other than such a model.

    Example:
        >>> constants_of(Siamese(vocab_size=10, d_model=2, centre=[0.5, 0]))
        {'centre': array([0.5, 0. ], dtype=float32)}
    """
    pooling_of(model)
    return dict(getattr(model, "_constants", {}))


class WordDropout(tl.Layer):
    """Layer: replaces a random share of the vocabulary by unknown words in two arrays of ids.

    A word that is hidden is hidden wherever it stands, on both sides of all pairs of the batch, as
    a word is that the vocabulary lacks. With buckets it becomes one of them, drawn for it anew each
    time. So the model learns what unknown words mean: equal ones on both sides speak for a
    duplicate, others against. Padding stays padding. Each call with another random key draws anew.

    Args:
        vocab_size: number of word ids.
        rate: the share, in [0, 1); at 0 the ids pass as they are.
        buckets: how many of the ids, the last ones, are for unknown words; 0: id 0 is.

    Raises:
        TypeError: a size that is not an integer, a rate that is not a number.
        ValueError: a size or rate outside its range.

    Example:
        >>> WordDropout(100, 0.25)
        WordDropout_0.25_in2_out2
    """

    def __init__(self, vocab_size: int, rate: float, *, buckets: int = 0):
        self._vocab_size = check.integer("vocab_size", vocab_size, 2)
        self._unknown = unknown_ids(vocab_size, check.integer("buckets", buckets))
        self._rate = check.number("rate", rate, 0, below=1)
        super().__init__(n_in=2, n_out=2, name=f"WordDropout_{rate:g}")

    def forward(self, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        """Args: two arrays (batch, length), integers. Returns: two of the same shape, in which ids
        that the vocabulary lacks are as they were; narrow types become int32.
        """
        if not self._rate:
            return inputs
        key1, key2 = fastmath.random.split(self.rng)
        hidden = fastmath.random.bernoulli(key1, self._rate, (self._vocab_size,))
        unknown = fastmath.random.randint(key2, (self._vocab_size,), *self._unknown)
        seen_as = jnp.where(hidden, unknown, jnp.arange(self._vocab_size))

        def seen(ids: Array) -> Array:
            ids = jnp.asarray(ids)
            ids = ids if ids.dtype.itemsize >= 4 else ids.astype("int32")  # which holds all ids
            is_word = jnp.logical_and(ids >= 0, ids < self._vocab_size)
            is_word = jnp.logical_and(is_word, ids != PAD_ID)
            return jnp.where(is_word, seen_as[jnp.where(is_word, ids, 0)].astype(ids.dtype), ids)

        first, second = map(seen, inputs)
        return first, second


def PaddingLast() -> tl.Layer:
    """Returns a layer that moves padding after the words, which keep their order.

    An LSTM reads from left to right, so padding after a word cannot touch that word's state.

    Example:
        >>> import numpy as np
        >>> PaddingLast()(np.array([[1, 5, 1, 7]])).tolist()
        [[5, 7, 1, 1]]
    """

    def f(ids: Array) -> Array:
        # A stable sort, in old and new JAX.
        order = jnp.argsort(jnp.asarray(ids == PAD_ID, "int32"), axis=1)
        return jnp.take_along_axis(ids, order, axis=1)

    return tl.Fn("PaddingLast", f)


def WordCount() -> tl.Layer:
    """Returns a layer that counts the words of each question: (batch, length) -> (batch,), int32.

    Example:
        >>> import numpy as np
        >>> WordCount()(np.array([[5, 7, 1, 1], [1, 1, 1, 1]])).tolist()
        [2, 0]
    """
    return tl.Fn("WordCount", lambda ids: jnp.sum(jnp.asarray(ids != PAD_ID, "int32"), axis=1))


def MeanOfWords() -> tl.Layer:
    """Returns a layer that averages the words' states; inputs (batch, length, d) and (batch,).

    Example:
        >>> import numpy as np
        >>> states = np.array([[[2.0], [4.0], [9.0]], [[9.0], [9.0], [9.0]]], np.float32)
        >>> MeanOfWords()((states, np.array([2, 0]))).tolist()
        [[3.0], [0.0]]
    """

    def f(states: Array, count: Array) -> Array:
        is_word = jnp.arange(states.shape[1])[None, :] < count[:, None]
        total = jnp.sum(jnp.where(is_word[:, :, None], states, jnp.zeros_like(states)), axis=1)
        return total / jnp.maximum(count, 1)[:, None].astype(states.dtype)

    return tl.Fn("MeanOfWords", f)


def LastWord() -> tl.Layer:
    """Returns a layer that takes the last word's state; inputs (batch, length, d) and (batch,).

    Example:
        >>> import numpy as np
        >>> states = np.array([[[2.0], [4.0], [9.0]], [[9.0], [9.0], [9.0]]], np.float32)
        >>> LastWord()((states, np.array([2, 0]))).tolist()
        [[4.0], [0.0]]
    """

    def f(states: Array, count: Array) -> Array:
        last = jnp.take_along_axis(states, jnp.maximum(count - 1, 0)[:, None, None], axis=1)[:, 0]
        return jnp.where(count[:, None] > 0, last, jnp.zeros_like(last))

    return tl.Fn("LastWord", f)
