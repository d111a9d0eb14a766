"""Questions to unit vectors in bulk, without a step of padding."""

import functools

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.data.vocabulary import PAD_ID, PADDED_LENGTHS
from trax_triplet.loss.similarity import l2_normalize
from trax_triplet.model.siamese import get_weights, pooling_of

_ROWS = (16, 128)  # sizes of a batch below the full one: few shapes to compile
_WORDS = (256, 4096)  # likewise numbers of distinct words below the whole vocabulary
_LENGTH = (
    64  # ids of a batch have room for this many words, or a power of two if one question is longer
)
_WORDS_AT_ONCE = (
    1024 * _LENGTH
)  # a bound on memory: one question of a whole book must not meet 1023 others


class Encoder:
    """Questions, as word ids, to unit vectors, in bulk.

    Questions of equal length are computed together, step by step up to their end, and each distinct
    word meets the LSTM's input weights once; a question that comes as the same array again
    (`encode_all`) is computed once. A course's model, whose vectors depend on the padding, is run
    as it is, on each question padded to a multiple of 8 words of its own (above 64: to a power of
    two), so that an answer does not depend on batch-mates.

    The model's weights are read at each call, so one encoder serves a model while it trains.

    Args:
        model: from `Siamese`; no words are dropped, whatever its mode.
        batch_size: questions computed at once.

    Raises:
        TypeError: something else than such a model, a batch size that is no whole number.
        ValueError: a batch size below 1.

    Example:
        >>> from trax_triplet.model.siamese import Siamese, init_model
        >>> encode = Encoder(init_model(Siamese(vocab_size=10, d_model=4, mode="eval", pooling="last")))
        >>> encode([[2, 3, 4], [5], []]).shape
        (3, 4)
    """

    def __init__(self, model, batch_size=1024):
        self._model, self._batch_size = model, whole_number("batch_size", batch_size, 1)
        self._pooling = pooling_of(model)
        self._forward = fastmath.jit(self._tower.pure_fn) if self._pooling == "course" else None

    @property
    def _tower(self):
        return (
            self._model if isinstance(self._model, tl.Parallel) else self._model.sublayers[-1]
        ).sublayers[0]

    def __call__(self, questions):
        """Encodes questions.

        Args:
            questions: sequence of n integer arrays (words,), without padding; may be empty arrays.

        Returns:
            NumPy float32 array (n, d_model).

        Raises:
            TypeError: no list of questions, or a question that is no row of integers.
            ValueError: an id that the model does not have, or a model without weights.
        """
        if isinstance(questions, (str, bytes)) or not hasattr(questions, "__iter__"):
            raise TypeError(
                "an encoder takes a list of questions, each an array of word ids (words,), but got "
                f"{questions!r:.60}"
            )
        weights = get_weights(self._model)
        questions = list(questions)  # which keeps them alive, so that id() tells them apart
        _, firsts, which = np.unique(
            [id(q) for q in questions], return_index=True, return_inverse=True
        )
        distinct = _checked(questions, firsts, len(weights["embedding"]))
        lengths = np.array([len(q) for q in distinct], np.int64)
        if self._pooling == "course":
            lengths = np.array(PADDED_LENGTHS)[np.searchsorted(PADDED_LENGTHS, lengths)]
        order = np.argsort(lengths, kind="stable")
        encode = self._run_tower if self._pooling == "course" else self._walker(distinct, weights)
        vectors, start, waiting = (
            np.zeros((len(order), weights["embedding"].shape[1]), np.float32),
            0,
            [],
        )
        while start < len(order):
            waiting_lengths = lengths[order[start:]]
            if (
                self._pooling == "course"
            ):  # padding counts: only what has the same length is computed together
                waiting_lengths = waiting_lengths[waiting_lengths == waiting_lengths[0]]
            size, length = self._shape(waiting_lengths)
            rows = order[start : start + min(size, len(waiting_lengths))]
            start += len(rows)
            waiting.append((rows, encode(_padded([distinct[i] for i in rows], size, length))))
        for rows, encoded in waiting:
            vectors[rows] = np.asarray(encoded)[: len(rows)]
        return vectors[which.reshape(-1)]

    def _shape(self, lengths):
        """Rows and room for words of the next batch; `lengths` (m,) ascends. Fewer rows where they
        are long."""
        size = min([n for n in _ROWS if n >= len(lengths)] + [self._batch_size])

        def room(size):
            longest = int(lengths[:size][-1])
            return (
                longest
                if self._pooling == "course"
                else max(_LENGTH, 1 << (longest - 1).bit_length())
            )

        while size > 1 and size * room(size) > _WORDS_AT_ONCE:
            size //= 2
        return size, room(size)

    def _run_tower(self, ids):
        return self._forward(ids, self._tower.weights, self._tower.state, None)[0]

    def _walker(self, questions, weights):
        """The function from a batch of ids to unit vectors, for the words of these questions."""
        d_model = weights["embedding"].shape[1]
        words = np.unique(np.concatenate([[PAD_ID], *questions])).astype(np.int32)
        room = min([n for n in _WORDS if n >= len(words)] + [len(weights["embedding"])])
        places = np.zeros(len(weights["embedding"]), np.int32)
        places[words] = np.arange(len(words))
        into, onward = np.split(weights["lstm/kernel"], [d_model])
        known = weights["embedding"][np.resize(words, max(room, len(words)))]
        table, onward = _project(known, into, weights["lstm/bias"]), jnp.asarray(onward)

        def encode(ids):
            lengths = np.count_nonzero(ids != PAD_ID, axis=1).astype(np.int32)
            return _walk(table, onward, places[ids], lengths, pooling=self._pooling)

        return encode


@fastmath.jit
def _project(embedding, kernel, bias):
    return embedding @ kernel + bias


@functools.partial(fastmath.jit, static_argnames="pooling")
def _walk(table, kernel, ids, lengths, *, pooling):
    """Unit vectors of questions: an LSTM that stops at the end of the longest.

    Args:
        table: (words, 4 d), what each word adds to the gates input, new, forget, output, bias
        included.
        kernel: (d, 4 d), what the state adds.
        ids: int (batch, room), rows of `table`; lengths: int (batch,), how many of them count.
        pooling: 'last' or 'mean'.

    Returns:
        float (batch, d).
    """

    def step(t, carried):
        cell, state, total = carried
        gates = table[ids[:, t]] + state @ kernel
        let_in, new, keep, out = jnp.split(gates, 4, axis=1)
        new_cell = cell * fastmath.expit(keep) + fastmath.expit(let_in) * jnp.tanh(new)
        new_state = jnp.tanh(new_cell) * fastmath.expit(out)
        is_word = (t < lengths)[:, None]
        return (
            jnp.where(is_word, new_cell, cell),
            jnp.where(is_word, new_state, state),
            total + jnp.where(is_word, new_state, 0) if pooling == "mean" else total,
        )

    zeros = jnp.zeros((len(ids), len(kernel)), table.dtype)
    total = zeros if pooling == "mean" else ()
    _, state, total = fastmath.fori_loop(0, jnp.max(lengths), step, (zeros, zeros, total))
    if pooling == "mean":
        state = total / jnp.maximum(lengths, 1)[:, None].astype(total.dtype)
    return l2_normalize(state)


def _checked(questions, numbers, vocab_size):
    """These questions as integer arrays (words,): whatever else would be read as other words
    without a sound."""
    arrays = [np.asarray(questions[i]) for i in numbers]
    for array, i in zip(arrays, numbers, strict=True):
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError(
                f"question {i} must be word ids, int (words,), but it is {array.dtype} {array.shape}: "
                f"{questions[i]!r:.60}"
            )
    arrays = [array if array.size else array.astype(np.int32) for array in arrays]  # [] is float64
    every = np.concatenate([[PAD_ID], *arrays])
    if every.min() < 0 or every.max() >= vocab_size:
        bad = every[(every < 0) | (every >= vocab_size)][0]
        i = next(i for array, i in zip(arrays, numbers, strict=True) if bad in array)
        raise ValueError(
            f"question {i} must hold ids from 0 to {vocab_size - 1}, which the model has, but it "
            f"holds {bad}; is it of another vocabulary?"
        )
    return arrays


def _padded(questions, n_rows, length):
    """int32 (n_rows, length): the questions, then rows of padding."""
    ids = np.full((n_rows, length), PAD_ID, np.int32)
    lengths = np.zeros(n_rows, np.int64)
    lengths[: len(questions)] = [len(q) for q in questions]
    ids[np.arange(length) < lengths[:, None]] = np.concatenate(questions)
    return ids
