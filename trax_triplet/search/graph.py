"""Approximate nearest rows by a graph of neighbours (HNSW), which FAISS builds and walks.

The graph is kept as plain arrays that are checked when they are read: no file of FAISS's own is
parsed. What it finds is compared in full once more, so that similarities are exact; only which rows
are found is approximate.

Source: Y. Malkov and D. Yashunin, Efficient and robust approximate nearest neighbor search using
hierarchical navigable small world graphs, IEEE TPAMI 42 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trax_triplet.search.products import Found, _keep_top, nearest, similarities

__all__ = ["Graph", "has_engine"]

LINKS, BUILD_EFFORT = 32, 80
EFFORTS = (64, 128, 256, 512, 1024)  # of a search: how many rows are kept in sight
ENOUGH = 0.99
_SAMPLE = 200


def has_engine() -> bool:
    """Whether FAISS is installed.

    Example:
        >>> has_engine() in (True, False)
        True
    """
    from importlib.util import find_spec

    return find_spec("faiss") is not None


class Graph:
    """A graph of vectors.

    Args:
        vectors: float32 (n, d); or none, for a graph that `read` fills.

    Attributes:
        effort: of a search.
        recall: recall@10 at this effort, measured on some of the vectors.
    """

    def __init__(self, vectors: np.ndarray):
        import faiss

        self._faiss: Any = faiss
        self._index: Any = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_EFFORT
        self.effort, self.recall = EFFORTS[0], 0.0

    @classmethod
    def build(cls, vectors: np.ndarray) -> Graph:
        """A graph of vectors float32 (n, d), with the least effort that reaches the recall."""
        graph = cls(vectors)
        graph._index.add(vectors)
        graph.measure(vectors, np.zeros(len(vectors), bool))
        return graph

    def measure(self, vectors: np.ndarray, hidden: np.ndarray) -> None:
        """Chooses the effort, and measures the recall; of equal rows any may be found."""
        rows = np.flatnonzero(~hidden)
        sample = vectors[rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)]]
        k = min(10, len(rows))
        kth = nearest(sample, vectors[rows], k)[1][:, -1]
        for self.effort in EFFORTS:
            found = self.search(sample, vectors, k, hidden)
            hits = found.similarity >= kth[found.first] - 1e-6
            self.recall = float(hits.sum() / (k * len(sample)))
            if self.recall >= ENOUGH:
                return

    def add(self, vectors: np.ndarray) -> None:
        """Adds rows after those that are there."""
        self._index.add(vectors)

    def search(self, queries: np.ndarray, vectors: np.ndarray, k: int, hidden: np.ndarray) -> Found:
        """The k nearest rows of each query that it finds and that are not hidden, sorted."""
        faiss = self._faiss
        options = {"efSearch": max(self.effort, k)}
        if hidden.any():
            bits = np.packbits(~hidden, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        params = faiss.SearchParametersHNSW(**options)
        columns = self._index.search(queries, k, params=params)[1]
        rows, place = np.nonzero(columns >= 0)
        columns = columns[rows, place]
        found = Found(rows, columns, similarities(queries, vectors, rows, columns))
        return _keep_top(found, k, len(queries))[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """What `read` takes, without the vectors."""
        vector_to_array = self._faiss.vector_to_array
        hnsw: Any = self._index.hnsw
        return {
            "levels": vector_to_array(hnsw.levels),
            "neighbours": vector_to_array(hnsw.neighbors),
            "about": np.array([hnsw.entry_point, hnsw.max_level, self.effort], np.int64),
            "recall": np.array([self.recall]),
        }

    @classmethod
    def read(cls, vectors: np.ndarray, arrays: Mapping[str, np.ndarray]) -> Graph:
        """The graph of `arrays`.

        Raises:
            ValueError: they are not those of a graph of these vectors.
        """
        graph, n = cls(vectors), len(vectors)
        faiss = graph._faiss
        hnsw: Any = graph._index.hnsw
        levels, neighbours = arrays["levels"], arrays["neighbours"]
        entry, top, effort = arrays["about"].tolist()
        room = faiss.vector_to_array(hnsw.cum_nneighbor_per_level)
        fits = (
            levels.dtype == neighbours.dtype == np.int32
            and levels.shape == (n,)
            and levels.min(initial=1) >= 1
            and levels.max(initial=1) < len(room)
            and neighbours.ndim == 1
            and neighbours.min(initial=0) >= -1
            and neighbours.max(initial=0) < n
            and 0 <= entry < n
            and top + 1 == levels.max(initial=1) == levels[entry]
            and effort in EFFORTS
        )
        offsets = np.append(0, np.cumsum(room[levels] if fits else [], dtype=np.uint64))
        if not fits or offsets[-1] != len(neighbours) or not _stays(levels, neighbours, offsets):
            raise ValueError("the graph does not fit its vectors")
        graph._index.storage.add(vectors)
        graph._index.ntotal = n
        faiss.copy_array_to_vector(levels, hnsw.levels)
        faiss.copy_array_to_vector(offsets.astype(np.uint64), hnsw.offsets)
        hnsw.neighbors.resize(len(neighbours))
        faiss.rev_swig_ptr(hnsw.neighbors.data(), len(neighbours))[:] = neighbours
        hnsw.entry_point, hnsw.max_level = entry, top
        graph.effort, graph.recall = effort, float(arrays["recall"][0])
        return graph


def _stays(levels: np.ndarray, neighbours: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether the neighbours on an upper level are on that level, too: a walk never falls off."""
    upper = np.flatnonzero(levels > 1)
    for row in upper.tolist():
        start, stop = int(offsets[row]) + 2 * LINKS, int(offsets[row + 1])
        for level, first in enumerate(range(start, stop, LINKS), 2):
            some = neighbours[first : first + LINKS]
            if (levels[some[some >= 0]] < level).any():
                return False
    return True
