"""Embeddings for words never seen, and better ones for rare words, from how they are spelled.

After training, each row of a table stands for some character n-grams, and is fitted so that the
rows of a word's n-grams add up to its embedding. A word that the vocabulary lacks has n-grams, too.

The method is that of Zhao, Mudgal and Liang, "Generalizing Word Embeddings using Bag of Subwords"
(2018), on hashed n-grams as in Bojanowski et al., "Enriching Word Vectors with Subword Information"
(2017). NumPy alone composes an embedding; fitting needs SciPy.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trax_triplet.model.walk import unit_rows

__all__ = ["LENGTH", "TABLE", "Spelling", "compose", "warn_of_shared_embeddings"]

TABLE, LENGTH = "spelling/table", "spelling/length"  # names of the arrays beside a model's weights
SHORTEST, LONGEST = 3, 5  # characters of an n-gram; the word's two ends count as one each
MOST_CHARACTERS = 40  # of a word that are read: bounds what a "word" of a megabyte costs
SELDOM = 3  # a word that comes this often counts half in the fit
RARE = 10  # a word that comes this often is spelled half by its own embedding, half by its n-grams
STRENGTH = 1.5  # length of a spelled embedding, in typical lengths of embeddings
FREQUENT = 5  # whose embeddings are typical: words that come at least this often
DAMPING, ITERATIONS = 3.0, 10  # of the fit; 3 to 30 times the iterations change no third digit


def _ngrams(word: str) -> Iterator[str]:
    """The n-grams of a word between its two ends, which tell a beginning from a middle.

    Example:
        >>> list(_ngrams("cat"))
        ['<ca', 'cat', 'at>', '<cat', 'cat>', '<cat>']
    """
    ended = f"<{word[:MOST_CHARACTERS]}>"
    for n in range(SHORTEST, LONGEST + 1):
        for start in range(len(ended) - n + 1):
            yield ended[start : start + n]


def _rows(words: Sequence[str], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the n-grams of all words, int64, and how many each word has, int64 (n,)."""
    rows = [
        [zlib.crc32(gram.encode("utf-8", "surrogatepass")) % n_rows for gram in _ngrams(word)]
        for word in words
    ]
    counts = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter((row for of_word in rows for row in of_word), np.int64), counts


def compose(words: Sequence[str], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the spelling of words adds to the embedding that unknown words share.

    Args:
        words: n strings.
        weights: with the arrays TABLE (rows, d) and LENGTH (1,); see `Spelling`.

    Returns:
        float32 array (n, d), each row of length LENGTH; 0 where a word has no n-grams.

    Example:
        >>> table = np.full((64, 4), 0.3, np.float32)
        >>> compose(["cats"], {TABLE: table, LENGTH: np.array([2], np.float32)}).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    table = weights[TABLE]
    rows, counts = _rows(words, len(table))
    vectors = np.zeros((len(words), table.shape[1]), np.float32)
    ends = np.cumsum(counts)
    for i, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        vectors[i] = table[rows[start:end]].sum(axis=0)
    return unit_rows(vectors) * weights[LENGTH]


def warn_of_shared_embeddings(weights: Mapping[str, np.ndarray], where: str) -> None:
    """Warns of what a model loses in a format that knows only the buckets of unknown words.

    Args:
        weights: of the model.
        where: the format's name.
    """
    if TABLE in weights:
        warnings.warn(
            f"in {where}, words that the vocabulary lacks share the embeddings of its buckets: "
            "pairs with such words get other similarities than from the trained model, which also "
            "reads their spelling; train with spelling=0 where both must agree",
            stacklevel=3,
        )


class Spelling:
    """Fits a table of n-grams to the embeddings of a vocabulary's words.

    Args:
        words: n strings, those of the vocabulary.
        counts: int (n,), how often each comes in the training questions: embeddings of words that
            come often count for more in the fit.
        n_rows: rows of the table; n-grams that share one by their hash add up.

    Example:
        >>> spelling = Spelling(["cat", "cats"], [90, 90], n_rows=64)
        >>> embedding = np.array([[0, 2], [0, 2]], np.float32)
        >>> weights = spelling({"embedding": np.concatenate([np.zeros((2, 2), "f"), embedding])})
        >>> compose(["cats!"], weights).round(2).tolist()
        [[0.0, 3.0]]
    """

    def __init__(self, words: Sequence[str], counts: np.ndarray | Sequence[int], n_rows: int):
        from scipy import sparse

        self._counts = np.asarray(counts, np.float32)
        rows, n_grams = _rows(words, n_rows)
        # By the square root: sums of n-grams grow about so, as if they were independent.
        share = np.repeat(1 / np.sqrt(np.maximum(n_grams, 1)), n_grams).astype(np.float32)
        ends = np.concatenate([[0], np.cumsum(n_grams)])
        grams: Any = sparse.csr_matrix((share, rows, ends), (len(words), n_rows))
        self._grams = grams
        self._own = (self._counts / (self._counts + RARE))[:, None]
        self._importance = np.sqrt(self._counts / (self._counts + SELDOM))[:, None]
        self._weighted = grams.multiply(self._importance).tocsr()
        self._transposed = self._weighted.T.tocsr()

    def __call__(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The weights to answer with.

        Args:
            weights: of a model, as `get_weights` gives them.

        Returns:
            Those, where rare words have embeddings that lean on their spelling, and TABLE and
            LENGTH, for `compose`.
        """
        embedding = np.array(weights["embedding"], np.float32)
        words = slice(2, 2 + len(self._counts))  # after the ids of unknown words and of padding
        lengths = np.linalg.norm(embedding[words], axis=1)
        frequent = lengths[self._counts >= FREQUENT]
        typical = np.float32(np.median(frequent if len(frequent) else [*lengths, 0][:1]))
        table = self._fit(embedding[words])
        spelled = unit_rows(self._grams @ table) * typical
        embedding[words] = self._own * embedding[words] + (1 - self._own) * spelled
        new = {TABLE: table, LENGTH: np.array([STRENGTH * typical], np.float32)}
        return {**weights, "embedding": embedding, **new}

    def _fit(self, embedding: np.ndarray) -> np.ndarray:
        """Ridge regression by conjugate gradients, every column by itself: float32 (rows, d)."""
        residual = self._transposed @ (self._importance * embedding)
        table, direction = np.zeros_like(residual), residual.copy()
        squares = np.square(residual).sum(axis=0)
        for _ in range(ITERATIONS):
            image = self._transposed @ (self._weighted @ direction) + DAMPING * direction
            # A column that is already exact has nothing left to divide by.
            step = squares / np.maximum((direction * image).sum(axis=0), 1e-30)
            table += step * direction
            residual -= step * image
            last, squares = squares, np.square(residual).sum(axis=0)
            direction = residual + squares / np.maximum(last, 1e-30) * direction
        return table.astype(np.float32)
