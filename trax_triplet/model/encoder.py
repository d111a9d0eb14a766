"""Questions to unit vectors in bulk, without a step of padding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.data.padding import course_length, id_rows, pad
from trax_triplet.data.vocabulary import PAD_ID
from trax_triplet.kernels.lstm import lstm_step
from trax_triplet.loss.similarity import l2_normalize
from trax_triplet.model.siamese import pooling_of
from trax_triplet.model.weights import get_weights

__all__ = ["Encoder"]

# Few shapes to compile: rows of a batch below the full one, distinct words below the vocabulary,
# and the length of a batch, or a power of two where one question is longer.
_ROWS, _WORDS, _LENGTH = (16, 128), (256, 4096), 64
_MAX_BATCH_WORDS = 1024 * _LENGTH  # bounds the memory where a question is as long as a book


class Encoder:
    """Questions, as word ids, to unit vectors, in bulk.

    Questions of equal length are computed together, step by step up to their end, and each distinct
    word meets the LSTM's input weights once; equal questions are computed once. A course's model,
    whose vectors depend on the padding, is run as it is, on each question padded to a multiple of 8
    words of its own (above 64: to a power of two), so that an answer does not depend on the other
    questions.

    The model's weights are read at each call, so one encoder serves a model while it trains.

    Args:
        model: from `Siamese`; no words are dropped, whatever its mode.
        batch_size: questions computed at once.

    Raises:
        TypeError: something other than such a model, a batch size that is not an integer.
        ValueError: a batch size below 1.

    Example:
        >>> from trax_triplet.model import Siamese, init_model
        >>> model = init_model(Siamese(vocab_size=10, d_model=4, mode="eval", pooling="last"))
        >>> Encoder(model)([[2, 3, 4], [5], []]).shape
        (3, 4)
    """

    def __init__(self, model: tl.Layer, batch_size: int = 1024):
        self._model, self._batch_size = model, check.integer("batch_size", batch_size, 1)
        self._course = pooling_of(model) == "course"
        self._forward = fastmath.jit(self._tower.pure_fn) if self._course else None

    @property
    def _tower(self) -> tl.Layer:
        model: Any = self._model
        towers = model if self._course else model.sublayers[-1]  # there after the word dropout
        return towers.sublayers[0]

    def __call__(self, questions: Sequence[Any]) -> np.ndarray:
        """Encodes questions.

        Args:
            questions: sequence of n integer arrays (words,), without padding; may be empty arrays.

        Returns:
            NumPy float32 array (n, d_model).

        Raises:
            TypeError: not a list of questions, or a question that is not a row of integers.
            ValueError: an id that the model does not have, or a model without weights.
        """
        weights = get_weights(self._model)
        numbers: dict[bytes, int] = {}  # of the distinct questions
        rows = [row.tobytes() for row in id_rows("questions", questions)]
        which = [numbers.setdefault(row, len(numbers)) for row in rows]
        distinct = [np.frombuffer(row, np.int64) for row in numbers]
        _check_ids(distinct, which, len(weights["embedding"]))
        lengths = np.array([len(row) for row in distinct], np.int64)
        if self._course:
            lengths = np.array([course_length(n) for n in lengths.tolist()], np.int64)
        order = np.argsort(lengths, kind="stable")
        encode = self._run_tower if self._course else self._walker(distinct, weights)
        computed, start = [], 0
        while start < len(order):
            left = lengths[order[start:]]
            if self._course:  # padding counts: only what has the same length is computed together
                left = left[left == left[0]]
            size, length = self._shape(left)
            batch = order[start : start + min(size, len(left))]
            start += len(batch)
            computed.append((batch, encode(pad([distinct[i] for i in batch], length, size))))
        vectors = np.zeros((len(order), weights["embedding"].shape[1]), np.float32)
        for batch, encoded in computed:  # only now, as JAX computes while the loop goes on
            vectors[batch] = np.asarray(encoded)[: len(batch)]
        return vectors[np.array(which, np.int64)]

    def _shape(self, lengths: np.ndarray) -> tuple[int, int]:
        """Rows and length of the next batch; `lengths` (m,) ascends. Long rows are fewer."""
        size = min([n for n in _ROWS if n >= len(lengths)] + [self._batch_size])

        def longest(size: int) -> int:
            n_words = int(lengths[:size][-1])
            return n_words if self._course else max(_LENGTH, 1 << (n_words - 1).bit_length())

        while size > 1 and size * longest(size) > _MAX_BATCH_WORDS:
            size //= 2
        return size, longest(size)

    def _run_tower(self, ids: np.ndarray) -> Array:
        assert self._forward is not None
        return self._forward(ids, self._tower.weights, self._tower.state, None)[0]

    def _walker(
        self, questions: list[np.ndarray], weights: dict[str, np.ndarray]
    ) -> Callable[[np.ndarray], Array]:
        """The function from a batch of ids to unit vectors, for the words of these questions."""
        embedding, pooling = weights["embedding"], pooling_of(self._model)
        words = np.unique(np.concatenate([[PAD_ID], *questions])).astype(np.int32)
        n_words = min([n for n in _WORDS if n >= len(words)] + [len(embedding)])
        places = np.zeros(len(embedding), np.int32)
        places[words] = np.arange(len(words))
        into, onward = np.split(weights["lstm/kernel"], [embedding.shape[1]])
        known = embedding[np.resize(words, max(n_words, len(words)))]
        table, onward = _project(known, into, weights["lstm/bias"]), jnp.asarray(onward)

        def encode(ids: np.ndarray) -> Array:
            lengths = np.count_nonzero(ids != PAD_ID, axis=1).astype(np.int32)
            return _walk(table, onward, places[ids], lengths, pooling=pooling)

        return encode


@fastmath.jit
def _project(embedding: Array, kernel: Array, bias: Array) -> Array:
    return embedding @ kernel + bias


@functools.partial(fastmath.jit, static_argnames="pooling")
def _walk(table: Array, kernel: Array, ids: Array, lengths: Array, *, pooling: str) -> Array:
    """Unit vectors of questions: an LSTM that stops at the end of the longest.

    Args:
        table: (words, 4 d), what each word adds to the gates input, new, forget, output, bias
            included.
        kernel: (d, 4 d), what the state adds.
        ids: int (batch, length), rows of `table`.
        lengths: int (batch,), how many of them count.
        pooling: 'last' or 'mean'.

    Returns:
        float (batch, d).
    """

    def step(t: Array, carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        state, cell, total = carried
        new_state, new_cell, _ = lstm_step(table[ids[:, t]], state, cell, kernel)
        is_word = (t < lengths)[:, None]
        return (
            jnp.where(is_word, new_state, state),
            jnp.where(is_word, new_cell, cell),
            total + jnp.where(is_word, new_state, 0) if pooling == "mean" else total,
        )

    zeros = jnp.zeros((len(ids), len(kernel)), table.dtype)
    total = zeros if pooling == "mean" else ()
    state, _, total = fastmath.fori_loop(0, jnp.max(lengths), step, (zeros, zeros, total))
    if pooling == "mean":
        state = total / jnp.maximum(lengths, 1)[:, None].astype(total.dtype)
    return l2_normalize(state)


def _check_ids(distinct: list[np.ndarray], which: list[int], vocab_size: int) -> None:
    every = np.concatenate([[PAD_ID], *distinct])
    if every.min() < 0 or every.max() >= vocab_size:
        bad = every[(every < 0) | (every >= vocab_size)][0]
        number = next(i for i, row in enumerate(which) if bad in distinct[row])
        expected = f"ids from 0 to {vocab_size - 1}, which the model has"
        raise ValueError(
            f"questions[{number}] must hold {expected}, but it holds {bad}; is it of another "
            "vocabulary?"
        )
