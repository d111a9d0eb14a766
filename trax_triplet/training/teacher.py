"""What a run learns from a teacher: a projection, and batches that carry its vectors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from trax_triplet import _validation as check
from trax_triplet.data.padding import pad, rounded_length
from trax_triplet.data.stream import PADDING_GROUP, Batch, BatchStream, Turns
from trax_triplet.data.vocabulary import PAD_ID
from trax_triplet.model.walk import unit_rows

__all__ = ["TaughtStream", "projection_of", "taught_vectors"]

RIDGE, SHARE = 0.5, 0.7  # see `projection_of`
AT_ONCE = 4096  # questions that a teacher is asked for in one call


def taught_vectors(teacher: Any, questions: Sequence[str], progress: bool = False) -> np.ndarray:
    """A teacher's vectors of questions, of length 1 (or 0), as float16: half the memory.

    Args:
        teacher: array (n, width) of floating point numbers; or a function that takes a list of
            strings and gives such an array.
        questions: n strings.
        progress: show a progress bar while the function is asked.

    Returns:
        float16 array (n, width).

    Raises:
        TypeError: something else, or vectors that are not floating point.
        ValueError: vectors of another number, not finite, or of another width than before.

    Example:
        >>> def lengths(texts):
        ...     return np.array([[len(text), 0.0] for text in texts])
        >>> taught_vectors(lengths, ["Why?", ""]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    n = len(questions)
    if not callable(teacher):
        return _unit_vectors("teacher", teacher, n)
    found = np.empty((n, 0), np.float16)
    bar = tqdm.tqdm(
        total=n,
        desc="teacher",
        unit="question",
        disable=None if progress else True,
        file=sys.stderr,
    )
    with contextlib.closing(bar):
        for start in range(0, n, AT_ONCE):
            texts = [*questions[start : start + AT_ONCE]]
            vectors = _unit_vectors("teacher(questions)", teacher(texts), len(texts))
            if not start:
                found = np.empty((n, vectors.shape[1]), np.float16)
            if vectors.shape[1] != found.shape[1]:
                expected = f"as wide as before, {found.shape[1]}"
                raise check.wrong_value("teacher(questions)", expected, vectors)
            found[start : start + len(texts)] = vectors
            bar.update(len(texts))
    return found


def _unit_vectors(name: str, vectors: Any, n: int) -> np.ndarray:
    expected = "an array of floating point numbers, or a function"
    array = check.array(name, vectors, expected)
    if array.dtype.kind != "f":
        raise check.wrong_type(name, expected, vectors)
    if array.ndim != 2 or len(array) != n or not array.shape[1]:
        expected = f"of shape ({n}, width), a row for each question"
        raise check.wrong_value(name, expected, array)
    unit = np.empty(array.shape, np.float16)
    for start in range(0, n, AT_ONCE):
        part = array[start : start + AT_ONCE].astype(np.float32)
        if not np.isfinite(part).all():
            raise check.wrong_value(name, "an array of finite numbers", vectors)
        unit[start : start + AT_ONCE] = unit_rows(part)
    return unit


def projection_of(vectors: np.ndarray, taught: np.ndarray) -> np.ndarray:
    """The matrix that gives more room to what a teacher's vectors can be told from.

    A linear map W is fitted (ridge regression) that predicts the teacher's vectors from the
    student's, minus their means. With the matrix P, the dot product of x P and y P is that of x and
    y, plus that of their predictions, at SHARE of the length that these have:
    P P^T = 1 + (SHARE / length)^2 W W^T.

    Args:
        vectors: float (n, d), unit vectors by the student.
        taught: float (n, width), unit vectors of the same questions by the teacher.

    Returns:
        float32 (d, d); the identity where there is nothing to be told.

    Example:
        The teacher speaks of the first direction only: it becomes longer.

        >>> vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> print(projection_of(vectors, vectors[:, :1]).round(2))
        [[1.72 0.  ]
         [0.   1.  ]]
    """
    x, t = (part - part.mean(axis=0) for part in (vectors.astype(float), taught.astype(float)))
    d, gram = x.shape[1], x.T @ x
    damping = max(RIDGE * np.trace(gram) / d, 1e-30)
    found = np.linalg.solve(gram + damping * np.eye(d), x.T @ t)
    length = np.linalg.norm(x @ found, axis=1).mean()
    scaled = found * (SHARE / length) if length > 0 else found
    return np.linalg.cholesky(np.eye(d) + scaled @ scaled.T).astype(np.float32)


class TaughtStream(BatchStream):
    """A `BatchStream` whose batches carry a teacher's vectors, and maybe unlabelled questions.

    Batches are (ids1, ids2, groups1, groups2, labels, teacher1, teacher2), the last two float32
    (rows, width), zero for padding. Behind the pairs come `unlabelled_per_batch` rows, two
    unlabelled questions each, which are labelled -1 and in group -1: only the teacher speaks of
    them.

    Args:
        ids1, ids2, groups: as in `BatchStream`.
        taught: the teacher's vectors, float (questions, width).
        places: which row of `taught` is that of each pair's first question, of each second one,
            likewise of the others', and of the unlabelled questions: five integer arrays.
        unlabelled: word ids of the unlabelled questions.
        options: as in `BatchStream`.
    """

    def __init__(
        self,
        ids1: Sequence[Any],
        ids2: Sequence[Any],
        groups: Any,
        *,
        taught: np.ndarray,
        places: Sequence[np.ndarray],
        unlabelled: Sequence[np.ndarray] = (),
        **options: Any,
    ):
        super().__init__(ids1, ids2, groups, **options)
        self._taught, self._places = taught, places
        self._unlabelled = [row[: options["max_words"]] for row in unlabelled]
        multiple = options.get("multiple", 1)
        wanted = min(len(unlabelled) // 2, options["batch_size"] // 4)
        self.unlabelled_per_batch = wanted // multiple * multiple
        self._unlabelled_turns = Turns(len(unlabelled), [options["seed"], 2])

    def state(self) -> dict[str, np.ndarray]:
        """As of `BatchStream`, and which unlabelled questions come next."""
        given = np.array([self._unlabelled_turns.given], np.int64)
        return {**super().state(), "unlabelled": given}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes to where another stream over the same questions stood."""
        super().restore(state)
        self._unlabelled_turns.given = int(state["unlabelled"][0])

    def _batch(self, rows: np.ndarray, others: np.ndarray) -> Batch:
        ids1, ids2, groups, _, *given = super()._batch(rows, others)
        labels = given[0] if given else np.where(groups == PADDING_GROUP, -1, 1)
        n = self.unlabelled_per_batch
        free = np.split(self._unlabelled_turns.next(2 * n), 2)
        longest = max((len(self._unlabelled[i]) for half in free for i in half), default=0)
        width = max(ids1.shape[1], rounded_length(longest))
        sides, taught = [], []
        for number, ids in enumerate((ids1, ids2)):
            more = pad([self._unlabelled[i] for i in free[number]], width, n)
            wider = ((0, 0), (0, width - ids.shape[1]))
            sides.append(np.concatenate([np.pad(ids, wider, constant_values=PAD_ID), more]))
            vectors = np.zeros((len(ids) + n, self._taught.shape[1]), np.float32)
            vectors[: len(rows)] = self._taught[self._places[number][rows]]
            after = slice(self._batch_size, self._batch_size + len(others))
            vectors[after] = self._taught[self._places[2 + number][others]]
            vectors[len(ids) :] = self._taught[self._places[4][free[number]]]
            taught.append(vectors)
        groups, labels = (
            np.concatenate([column, np.full(n, -1)]).astype(np.int32) for column in (groups, labels)
        )
        return *sides, groups, groups.copy(), labels, *taught
