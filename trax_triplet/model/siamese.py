"""The Siamese LSTM: the course's definition, layer for layer, and a form in which padding never
counts."""

import math
import numbers

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.compat import fastmath, jnp, shapes, tl
from trax_triplet.data.vocabulary import OOV_ID, PAD_ID
from trax_triplet.loss.similarity import l2_normalize
from trax_triplet.model.lstm import LSTM

POOLINGS = ("course", "mean", "last")
WEIGHT_NAMES = ("embedding", "lstm/kernel", "lstm/bias")


def Siamese(
    vocab_size=41699,
    d_model=128,
    mode="train",
    *,
    pooling="course",
    word_dropout=0.0,
    buckets=0,
    embedding_stddev=None,
    lstm="closed form",
):
    """Returns a model that turns two batches of questions into two batches of unit vectors.

    The layer takes two inputs, word ids (batch, length) of the first and of the second questions,
    int32 in [0, vocab_size), and gives two outputs (batch, d_model), float32, of length 1. Both
    towers are one and the same stack of layers, so they share their weights. With
    `pooling='course'` and the other defaults that stack is the course's: Embedding, LSTM, Mean,
    Normalize. There the padding (id 1) runs through LSTM and Mean, so that a question's vector
    depends on how long its batch was padded. With 'mean' or 'last' padding never counts, wherever
    it stands: a vector is the same alone, in any batch and at any padded length, and a question of
    nothing but padding gets the zero vector.

    Args:
        vocab_size: number of word ids, at least 2 (0 is out of vocabulary, 1 is padding).
        d_model: width of the word embedding, of the LSTM and of the vectors.
        mode: 'train', 'eval' or 'predict'; word dropout acts in 'train' alone.
        pooling: what becomes of the LSTM's states: 'course' (mean over all steps, padding too),
            'mean' (over the words), or 'last' (the state after the last word).
        word_dropout: share of the vocabulary that reads as unknown in a batch, in [0, 1), see
            `WordDropout`. The model learns to do without any one word, and what unknown words mean.
        buckets: how many of the ids, the last ones, are for unknown words (`Vocabulary`).
        embedding_stddev: standard deviation of the normal distribution that the embedding starts
            from; None for Trax's own initialiser.
        lstm: 'closed form' (`lstm.LSTM`, faster), or 'trax' (`tl.Scan` and autodiff, which has
            derivatives of any order). Both give the same, and print alike.

    Returns:
        A `tl.Parallel` layer of the two towers; with 'mean' or 'last' behind a `WordDropout` layer.

    Raises:
        TypeError: a share or deviation that is no number.
        ValueError: a size, mode, pooling, share or deviation outside its range.

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
    _check_settings(
        vocab_size, d_model, mode, pooling, word_dropout, buckets, lstm, embedding_stddev
    )
    initializer = (
        {}
        if embedding_stddev is None
        else {"kernel_initializer": tl.RandomNormalInitializer(embedding_stddev)}
    )
    embedding = tl.Embedding(vocab_size, d_model, **initializer)
    normalize = tl.Fn("Normalize", l2_normalize)
    if pooling == "course":
        if word_dropout:
            raise ValueError(
                "the course's model has no word dropout; take pooling='mean' or 'last' with it"
            )
        states = LSTM(d_model, mode, closed_form=lstm == "closed form")
        tower = tl.Serial(embedding, states, tl.Mean(axis=1), normalize)
        return _pooled(tl.Parallel(tower, tower), pooling)
    pool = MeanOfWords() if pooling == "mean" else LastWord()
    states = tl.Serial(embedding, SpreadLSTM(d_model, mode, lstm=lstm))
    tower = tl.Serial(PaddingLast(), tl.Branch(states, WordCount()), pool, normalize)
    # Every mode has the same layers, so that a Loop can hand weights from one to the other.
    dropout = WordDropout(vocab_size, word_dropout if mode == "train" else 0.0, buckets=buckets)
    return _pooled(tl.Serial(dropout, tl.Parallel(tower, tower)), pooling)


def _pooled(model, pooling):
    model._pooling = pooling  # Trax's layers take no public attribute
    return model


def pooling_of(model):
    """The `pooling` that `Siamese` made a model with.

    Raises:
        TypeError: something else than such a model.

    Example:
        >>> pooling_of(Siamese(vocab_size=10, d_model=4, pooling="last"))
        'last'
    """
    if not hasattr(model, "_pooling"):
        raise TypeError(f"expected a model from Siamese, but it is {model!r:.60}")
    return model._pooling


def SpreadLSTM(d_model, mode="train", *, lstm="closed form"):
    """Returns `tl.LSTM` with another first bias: 1 for the forget gate, 0 for the others.

    `tl.LSTM` starts with 1 in every gate, the new value's too. That adds the same to every state,
    so that at first all vectors are nearly equal, and a triplet loss starts out collapsed.

    Args:
        d_model: width of input and state.
        mode: 'train', 'eval' or 'predict'.
        lstm: as in `Siamese`.

    Returns:
        A layer that takes (batch, length, d_model) to the states after each step, of the same
        shape.

    Raises:
        ValueError: a width, mode or kind that is none.

    Example:
        >>> SpreadLSTM(8)
        LSTM_8
    """
    _check_sizes(d_model=d_model)
    _check_choices(mode=mode, lstm=lstm)

    def bias(shape, rng):
        gate = jnp.arange(shape[0]) // d_model  # input, new, forget, output
        return jnp.where(gate == 2, jnp.ones(shape, "float32"), jnp.zeros(shape, "float32"))

    cell = tl.LSTMCell(d_model, forget_bias=0.0, bias_initializer=bias)
    return LSTM(d_model, mode, cell=cell, closed_form=lstm == "closed form")


class WordDropout(tl.Layer):
    """Layer: two arrays of word ids, in which a random share of the vocabulary reads as unknown.

    A word that is hidden is hidden wherever it stands, on both sides of all pairs of the batch, as
    a word is that the vocabulary lacks. With buckets it reads as one of them, drawn for it anew
    each time. So the model learns what unknown words mean: equal ones on both sides speak for a
    duplicate, others against. Padding stays padding. Each call with another random key draws anew.

    Args:
        vocab_size: number of word ids.
        rate: the share, in [0, 1); at 0 the ids pass as they are.
        buckets: how many of the ids, the last ones, are for unknown words; 0: id 0 is.

    Raises:
        TypeError: a rate that is no number.
        ValueError: a size or rate outside its range.

    Example:
        >>> WordDropout(100, 0.25)
        WordDropout_0.25_in2_out2
    """

    def __init__(self, vocab_size, rate, *, buckets=0):
        _check_sizes(vocab_size=vocab_size, buckets=buckets)
        _check_share(rate)
        super().__init__(n_in=2, n_out=2, name=f"WordDropout_{rate:g}")
        self._vocab_size, self._rate, self._buckets = vocab_size, rate, buckets

    def forward(self, both):
        """Args: two arrays (batch, length), integers. Returns: two of the same shape and dtype."""
        if not self._rate:
            return both
        key1, key2 = fastmath.random.split(self.rng)
        hidden = fastmath.random.bernoulli(key1, self._rate, (self._vocab_size,))
        if self._buckets:
            unknown = fastmath.random.randint(
                key2, (self._vocab_size,), self._vocab_size - self._buckets, self._vocab_size
            )
        else:
            unknown = jnp.full((self._vocab_size,), OOV_ID)
        reads_as = jnp.where(hidden, unknown, jnp.arange(self._vocab_size))
        return tuple(jnp.where(ids == PAD_ID, ids, reads_as[ids].astype(ids.dtype)) for ids in both)


def PaddingLast():
    """Returns a layer that moves padding behind the words, which keep their order.

    An LSTM reads from left to right, so padding behind a word cannot touch that word's state.

    Example:
        >>> PaddingLast()(np.array([[1, 5, 1, 7]])).tolist()
        [[5, 7, 1, 1]]
    """

    def f(ids):
        order = jnp.argsort(
            jnp.asarray(ids == PAD_ID, "int32"), axis=1
        )  # stable in JAX old and new
        return jnp.take_along_axis(ids, order, axis=1)

    return tl.Fn("PaddingLast", f)


def WordCount():
    """Returns a layer that counts the words of each question: (batch, length) -> (batch,), int32.

    Example:
        >>> WordCount()(np.array([[5, 7, 1, 1], [1, 1, 1, 1]])).tolist()
        [2, 0]
    """
    return tl.Fn("WordCount", lambda ids: jnp.sum(jnp.asarray(ids != PAD_ID, "int32"), axis=1))


def MeanOfWords():
    """Returns a layer that averages the states of the words: two inputs, (batch, length, d) and
    (batch,).

    Example:
        >>> states = np.array([[[2.0], [4.0], [9.0]], [[9.0], [9.0], [9.0]]], np.float32)
        >>> MeanOfWords()((states, np.array([2, 0]))).tolist()
        [[3.0], [0.0]]
    """

    def f(states, count):
        is_word = jnp.arange(states.shape[1])[None, :] < count[:, None]
        total = jnp.sum(jnp.where(is_word[:, :, None], states, jnp.zeros_like(states)), axis=1)
        return total / jnp.maximum(count, 1)[:, None].astype(states.dtype)

    return tl.Fn("MeanOfWords", f)


def LastWord():
    """Returns a layer that takes the state of the last word: two inputs, (batch, length, d) and
    (batch,).

    Example:
        >>> states = np.array([[[2.0], [4.0], [9.0]], [[9.0], [9.0], [9.0]]], np.float32)
        >>> LastWord()((states, np.array([2, 0]))).tolist()
        [[4.0], [0.0]]
    """

    def f(states, count):
        last = jnp.take_along_axis(states, jnp.maximum(count - 1, 0)[:, None, None], axis=1)[:, 0]
        return jnp.where(count[:, None] > 0, last, jnp.zeros_like(last))

    return tl.Fn("LastWord", f)


def init_model(model, seed=0):
    """Gives every layer of `model` its first weights.

    Args:
        model: from `Siamese`.
        seed: integer; the same seed gives the same weights.

    Returns:
        The model.

    Raises:
        TypeError: something else than such a model, or a seed that is no whole number.

    Example:
        >>> model = init_model(Siamese(vocab_size=10, d_model=4))
        >>> get_weights(model)["lstm/kernel"].shape
        (8, 16)
    """
    _check_layer(model)
    whole_number("seed", seed, None)
    model.rng = fastmath.random.get_prng(seed)
    model.init((shapes.ShapeDtype((1, 8), np.int32),) * 2)
    return model


def get_weights(model):
    """The weights of a `Siamese` model as named NumPy arrays.

    Args:
        model: from `Siamese`, initialised.

    Returns:
        dict: 'embedding' (vocab_size, d_model), 'lstm/kernel' (2 d_model, 4 d_model), rows for the
        input and then for the state, gates in the order input, new, forget, output, and 'lstm/bias'
        (4 d_model,), float32.

    Raises:
        TypeError: something else than such a model.
        ValueError: the model has no weights yet.

    Example:
        >>> sorted(get_weights(init_model(Siamese(vocab_size=10, d_model=4))))
        ['embedding', 'lstm/bias', 'lstm/kernel']
    """
    arrays = _arrays(model)
    if len(arrays) != len(WEIGHT_NAMES):
        raise ValueError(
            f"expected a Siamese model with {len(WEIGHT_NAMES)} weight arrays, but this one "
            f"has {len(arrays)}; initialise it first, for example with init_model"
        )
    return {name: np.asarray(w) for name, w in zip(WEIGHT_NAMES, arrays, strict=True)}


def _check_layer(model):
    if not isinstance(model, tl.Layer):  # one with the course's layers will do, too
        raise TypeError(f"expected a model from Siamese, but it is {model!r:.60}")


def _arrays(model):
    _check_layer(model)
    return [w for w in fastmath.tree_leaves(model.weights) if hasattr(w, "shape")]


def set_weights(model, weights):
    """Puts named arrays, as from `get_weights`, into a model of the same sizes.

    Args:
        model: from `Siamese`; need not be initialised.
        weights: dict of arrays as in `get_weights`.

    Returns:
        The model.

    Raises:
        TypeError: no model, or no dict.
        ValueError: names or shapes that are not the model's.

    Example:
        >>> a, b = (init_model(Siamese(vocab_size=10, d_model=4), seed) for seed in (1, 2))
        >>> _ = set_weights(b, get_weights(a))
        >>> bool((get_weights(b)["embedding"] == get_weights(a)["embedding"]).all())
        True
    """
    if not isinstance(weights, dict):
        raise TypeError(
            f"weights must be a dict of arrays, as from get_weights, but it is a {type(weights).__name__}"
        )
    if not _arrays(model):
        init_model(model)  # which says what shapes it has
    expected = {name: w.shape for name, w in get_weights(model).items()}
    found = {name: tuple(np.shape(w)) for name, w in weights.items()}
    if found != expected:
        raise ValueError(f"these weights do not fit the model: it has {expected}, they are {found}")
    arrays = iter([jnp.asarray(weights[name]) for name in WEIGHT_NAMES])

    def replaced(tree):
        if isinstance(tree, (tuple, list)):
            return type(tree)(replaced(branch) for branch in tree)
        return next(arrays) if hasattr(tree, "shape") else tree

    model.weights = replaced(model.weights)
    return model


def _check_settings(
    vocab_size, d_model, mode, pooling, word_dropout, buckets, lstm, embedding_stddev
):
    _check_sizes(vocab_size=vocab_size, d_model=d_model, buckets=buckets)
    _check_choices(mode=mode, pooling=pooling, lstm=lstm)
    _check_share(word_dropout)
    if buckets > vocab_size - 2:
        raise ValueError(
            f"buckets are among the {vocab_size} ids of vocab_size, behind 0 and 1, but there are {buckets}"
        )
    if embedding_stddev is not None:
        _check_number("embedding_stddev", embedding_stddev)
        if not 0 <= embedding_stddev < math.inf:
            raise ValueError(
                f"embedding_stddev must be finite and at least 0, but it is {embedding_stddev!r}"
            )


def _check_sizes(**sizes):
    least = {"vocab_size": 2, "d_model": 1, "buckets": 0}
    for name, value in sizes.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, np.integer))
            or value < least[name]
        ):
            raise ValueError(
                f"{name} must be a whole number of at least {least[name]}, but it is {value!r}"
            )


def _check_choices(**chosen):
    allowed = {
        "mode": ("train", "eval", "predict"),
        "pooling": POOLINGS,
        "lstm": ("closed form", "trax"),
    }
    for name, value in chosen.items():
        if value not in allowed[name]:
            raise ValueError(
                f"{name} must be one of {', '.join(map(repr, allowed[name]))}, but it is {value!r}"
            )


def _check_share(word_dropout):
    _check_number("word_dropout", word_dropout)
    if not 0 <= word_dropout < 1:
        raise ValueError(f"word_dropout is a share of words in [0, 1), but it is {word_dropout!r}")


def _check_number(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, but it is {value!r}")
