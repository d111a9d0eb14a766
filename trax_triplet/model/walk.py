"""Word ids to unit vectors in bulk: an LSTM that walks through questions without their padding.

NumPy only, so that a trained model answers where no framework is installed or loaded. Questions are
sorted, the longest first, so that at every step the rows that still read are the first ones: one
product a step, and no step of padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trax_triplet._threads import in_threads
from trax_triplet.data.padding import course_length
from trax_triplet.data.vocabulary import PAD_ID

__all__ = [
    "CENTRE",
    "POOLINGS",
    "PROJECTION",
    "Walk",
    "centre_of",
    "centred",
    "cosines_of_rows",
    "unit_rows",
]

POOLINGS = ("course", "mean", "last")
CENTRE = "centre"  # name of the array beside a model's weights, see `centre_of`
PROJECTION = "projection"  # likewise: states are multiplied by it before they become unit vectors
DISTANCE = 0.6  # of the centre from 0: below 1, so that no vector can lie on it
EARLIER, MEAN_LENGTH = 1000, 0.15  # see `centre_of`; the length of a mean of unit vectors
ROWS = 512  # walked together: more do not fit into the cache of one core
BLOCK = 16_384  # words whose products with the input weights are kept: bounds the memory
ZERO_ENTRY = 1e-30  # as in `loss.similarity`


class Walk:
    """Rows of word ids to unit vectors, by the weights of a `Siamese` model.

    Padding never counts; only a course's model, whose vectors depend on it, reads each question
    padded to a length of its own (`course_length`). So an answer does not depend on the other
    questions. Rows are spread over as many threads as the linear algebra library is set to use
    (`OMP_NUM_THREADS`, `threadpoolctl`), which works in one thread each meanwhile: its own threads
    pay for large products only, and on a busy machine they wait for each other.

    Args:
        weights: as from `get_weights`, maybe with PROJECTION (d, d) and CENTRE (d,); kept, not
            copied.
        pooling: one of POOLINGS, as in `Siamese`.

    Example:
        >>> weights = {"embedding": np.eye(3, 2, dtype="f"), "lstm/bias": np.ones(8, "f")}
        >>> walk = Walk(weights | {"lstm/kernel": np.zeros((4, 8), "f")}, "last")
        >>> walk([np.array([0, 2]), np.array([], int)]).shape
        (2, 2)
    """

    def __init__(self, weights: Mapping[str, np.ndarray], pooling: str):
        self._embedding, self._pooling = weights["embedding"], pooling
        self._projection, self._centre = weights.get(PROJECTION), weights.get(CENTRE)
        d = self._embedding.shape[1]
        # sigmoid(x) is (tanh(x / 2) + 1) / 2: with i, f and o halved here, one tanh serves all.
        half = np.full(4 * d, 0.5, np.float32)
        half[d : 2 * d] = 1
        self._into, self._onward = np.split(weights["lstm/kernel"] * half, [d])
        self._bias = weights["lstm/bias"] * half

    def __call__(
        self, rows: Sequence[np.ndarray], size: int = ROWS, *, more: np.ndarray | None = None
    ) -> np.ndarray:
        """Computes every row, equal ones too.

        Args:
            rows: integer arrays (words,), ids that the model has; may be empty arrays.
            size: rows that are walked together.
            more: float32 (m, d), the embeddings of the ids that follow on the model's, for this
                call.

        Returns:
            float32 array (n, d_model); without words the zero vector.
        """
        if self._pooling == "course":
            rows = [_padded(row) for row in rows]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        order = np.argsort(-lengths, kind="stable")
        order = order[: np.count_nonzero(lengths)]
        vectors = np.zeros((len(rows), self._embedding.shape[1]), np.float32)

        def walk(part: np.ndarray) -> None:
            vectors[part] = self._part([rows[i] for i in part], lengths[part], more)

        parts = [order[i : i + size] for i in range(0, len(order), size)]
        for _ in in_threads(walk, parts):
            pass
        return vectors

    def _part(
        self, rows: list[np.ndarray], lengths: np.ndarray, more: np.ndarray | None
    ) -> np.ndarray:
        """Unit vectors of some rows, the longest first, none of them empty."""
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        # Word after word as they are read: stable, so that rows keep their order within a step.
        words = np.concatenate(rows)[np.argsort(step, kind="stable")]
        counts = np.bincount(step)
        with np.errstate(all="ignore"):  # weights that are not finite give NaN, without a word
            states = _States(len(rows), self._onward, is_mean=self._pooling != "last")
            for first, last in _blocks(counts):
                read = int(counts[first:last].sum())
                distinct, places = np.unique(words[:read], return_inverse=True)
                words = words[read:]
                table = self._embedded(distinct, more) @ self._into
                table += self._bias
                for count in counts[first:last].tolist():
                    states.step(table, places[:count])
                    places = places[count:]
            pooled = states.pooled(lengths)
            if self._projection is not None:
                pooled = pooled @ self._projection
            vectors = unit_rows(pooled)
            return vectors if self._centre is None else centred(vectors, self._centre)

    def _embedded(self, ids: np.ndarray, more: np.ndarray | None) -> np.ndarray:
        """The embeddings of ascending ids."""
        n = len(self._embedding)
        known = np.searchsorted(ids, n)
        if more is None or known == len(ids):
            return self._embedding[ids]
        return np.concatenate([self._embedding[ids[:known]], more[ids[known:] - n]])


class _States:
    """State and cell of each row, and the arrays that every step writes into."""

    def __init__(self, n: int, onward: np.ndarray, *, is_mean: bool):
        d = len(onward)
        self._onward = onward
        self._state, self._cell = np.zeros((2, n, d), np.float32)
        self._total = np.zeros((n, d), np.float32) if is_mean else None
        self._gates, self._words = np.empty((2, n, 4 * d), np.float32)
        self._tanh = np.empty((n, d), np.float32)

    def step(self, table: np.ndarray, places: np.ndarray) -> None:
        """Lets the first rows read a word each, the row of `table` that `places` names."""
        n = len(places)
        state, cell, gates = self._state[:n], self._cell[:n], self._gates[:n]
        np.matmul(state, self._onward, out=gates)
        gates += np.take(table, places, axis=0, out=self._words[:n], mode="clip")
        np.tanh(gates, out=gates)
        d = cell.shape[1]
        i, g, f, o = (gates[:, at : at + d] for at in range(0, 4 * d, d))
        # i, f and o are tanh here: the gate is (i + 1) / 2.
        f += 1
        cell *= f
        i += 1
        i *= g
        cell += i
        cell *= 0.5
        o += 1
        o *= np.tanh(cell, out=self._tanh[:n])
        np.multiply(o, 0.5, out=state)
        if self._total is not None:
            self._total[:n] += state

    def pooled(self, lengths: np.ndarray) -> np.ndarray:
        """The last states, or the mean of the states."""
        if self._total is None:
            return self._state
        return self._total / lengths[:, None].astype(np.float32)


def _padded(row: np.ndarray) -> np.ndarray:
    return np.pad(row, (0, course_length(len(row)) - len(row)), constant_values=PAD_ID)


def _blocks(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of steps that read at most BLOCK words, or of one step: the first, and the one after."""
    ends, first = np.cumsum(counts), 0
    while first < len(counts):
        read = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, read + BLOCK, side="right")))
        yield first, last
        first = last


def unit_rows(x: np.ndarray) -> np.ndarray:
    """As `loss.similarity.unit_vectors`: rows of length 1, or 0 where nothing is in them."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    is_zero = largest < ZERO_ENTRY
    scaled = x / np.where(is_zero, 1, largest)
    length = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    return np.where(is_zero, 0, scaled / np.where(is_zero, 1, length))


def cosines_of_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The similarity of row i of one and row i of the other, unit vectors (n, d): (n,).

    Example:
        >>> cosines_of_rows(np.eye(2), np.array([[1, 0], [1, 0]])).tolist()
        [1.0, 0.0]
    """
    return np.clip(np.einsum("nd,nd->n", first, second), -1, 1)  # rounding may lead outside


def centre_of(vectors: np.ndarray, earlier: np.ndarray | None = None) -> np.ndarray:
    """The point from which a trained model looks at its vectors, see `centred`.

    It lies in the direction of their mean. A question in that direction is similar to many others:
    seen from there, it and its neighbours stand further apart, so that one threshold suits all
    questions better. (Subtracting the mean itself, as Mu and Viswanath do in "All-but-the-Top",
    2018, is half of that, as unit vectors that tell questions apart have a mean of length 0.15.)

    Args:
        vectors: float (n, d), unit vectors of the questions of a training.
        earlier: float (d,), the centre of the model that the training started from; it counts as
            much as `EARLIER` questions do, so that a few new ones do not move it.

    Returns:
        float32 array (d,), of length DISTANCE; 0 where the mean is 0.

    Example:
        >>> centre_of(np.array([[0.6, 0.8], [0.6, -0.8]])).round(6).tolist()
        [0.6000000238418579, 0.0]
    """
    total = np.asarray(vectors, np.float64).sum(axis=0, keepdims=True)
    if earlier is not None:
        total = total + EARLIER * MEAN_LENGTH * unit_rows(np.asarray(earlier, np.float64)[None])
    return (unit_rows(total)[0] * DISTANCE).astype(np.float32)


def centred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Directions in which unit vectors are seen from a centre; a zero vector stays zero.

    Example:
        >>> seen = centred(np.array([[1, 0], [0.6, 0.8], [0, 0]]), np.array([0.6, 0]))
        >>> seen.tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    is_zero = ~vectors.any(axis=1, keepdims=True)
    return np.where(is_zero, vectors, unit_rows(vectors - centre))
