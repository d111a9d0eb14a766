"""Questions, as word ids, to unit vectors in bulk, by a model that may still be trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.compat import tl
from trax_triplet.data.padding import id_rows
from trax_triplet.model.siamese import constants_of, pooling_of
from trax_triplet.model.walk import ROWS, Walk
from trax_triplet.model.weights import get_weights

__all__ = ["Encoder"]


class Encoder:
    """Questions, as word ids, to unit vectors, in bulk.

    Questions of similar length are computed together, each up to its end; equal ones are computed
    once. An answer does not depend on the other questions, see `Walk`. NumPy computes, on the
    processor, whatever JAX runs on.

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

    def __init__(self, model: tl.Layer, batch_size: int = ROWS):
        self._model, self._batch_size = model, check.integer("batch_size", batch_size, 1)
        self._pooling, self._constants = pooling_of(model), constants_of(model)

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
        weights = {
            name: w.astype(np.float32, copy=False) for name, w in get_weights(self._model).items()
        }
        numbers: dict[bytes, int] = {}  # of the distinct questions
        rows = [row.tobytes() for row in id_rows("questions", questions)]
        which = [numbers.setdefault(row, len(numbers)) for row in rows]
        distinct = [np.frombuffer(row, np.int64) for row in numbers]
        _check_ids(distinct, which, len(weights["embedding"]))
        vectors = Walk(weights | self._constants, self._pooling)(distinct, self._batch_size)
        return vectors[np.array(which, np.int64)]


def _check_ids(distinct: list[np.ndarray], which: list[int], vocab_size: int) -> None:
    every = np.concatenate([np.zeros(1, np.int64), *distinct])
    if every.min() < 0 or every.max() >= vocab_size:
        bad = every[(every < 0) | (every >= vocab_size)][0]
        number = next(i for i, row in enumerate(which) if bad in distinct[row])
        expected = f"ids from 0 to {vocab_size - 1}, which the model has"
        raise ValueError(
            f"questions[{number}] must hold {expected}, but it holds {bad}; is it of another "
            "vocabulary?"
        )
