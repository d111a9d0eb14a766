"""All pairs of a corpus that a model calls duplicates, and groups of them."""

from __future__ import annotations

import itertools
import numbers
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.data.pairs import connect
from trax_triplet.search import products
from trax_triplet.search.products import Found
from trax_triplet.search.spool import Spool, identity

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = [
    "check_model",
    "embed_all",
    "find_duplicates",
    "group_duplicates",
    "least_similarities",
    "search_to_folder",
    "unit_vectors",
]

MAX_PAIRS = 100_000_000
LINKAGES = ("single", "complete")
STRETCH = 1_000_000  # pairs that are held before they are written
_CHUNK = 50_000  # questions that are embedded at a time


def find_duplicates(
    corpus: Iterable[str] | np.ndarray,
    *,
    model: TrainedModel | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Found:
    """All pairs of a corpus whose similarity is above a threshold; exact, in bounded memory.

    A threshold that was chosen on labelled pairs is low for a corpus: nearly all pairs of a corpus
    are not duplicates, so that the same share of mistakes among them outnumbers what is found.

    Args:
        corpus: n questions; or their vectors, floats (n, d) of length 1, or 0 for those without
            words, in an array or a list of lists.
        model: the `TrainedModel` that embeds the questions; not needed for vectors.
        threshold: similarity that a pair must be above; None for the model's own. Vectors need one.
        top_k: of each question's pairs only so many, the most similar; None for all.
        max_pairs: the most that may be found.

    Returns:
        (first, second, similarity): int64, int64, float32 (m,): positions in the corpus,
        first < second, each pair once, the most similar first, equal ones by their positions.

    Raises:
        TypeError: questions that are not strings or a single string, questions without a model, a
            model of another type, numbers of another type.
        ValueError: vectors of another shape, not finite or of another length; no threshold where
            the model has none, or NaN; a `top_k` below 1; more than `max_pairs` pairs.

    Example:
        >>> vectors = np.float32([[1, 0], [0, 1], [0.8, 0.6]])
        >>> [column.tolist() for column in find_duplicates(vectors, threshold=0.7)]
        [[0], [2], [0.800000011920929]]
    """
    if top_k is not None:
        top_k = check.integer("top_k", top_k, 1)
    max_pairs = check.integer("max_pairs", max_pairs, 1)
    if are_vectors(corpus):
        vectors = unit_vectors("corpus", corpus)
        limit = check.threshold_or_own(threshold, None)
    else:
        questions = check.strings("corpus", corpus)
        check_model(model)
        limit = check.threshold_or_own(threshold, getattr(model, "threshold", None))
        vectors = embed_all(questions, model)
    with tempfile.TemporaryDirectory() as folder:
        spool = search_to_folder(Path(folder), vectors, limit, top_k=top_k, max_pairs=max_pairs)
        return Found.joined(list(spool.sorted()))


def are_vectors(corpus: Any) -> bool:
    """Whether these are vectors instead of questions, which may come in an array, too.

    Example:
        >>> are_vectors(np.eye(2)), are_vectors(np.array(["How old?"])), are_vectors(["Who?"])
        (True, False, False)
        >>> are_vectors([[0.6, 0.8]])
        True
    """
    if isinstance(corpus, (list, tuple)):
        first = next(iter(corpus), "")
        is_row = isinstance(first, (list, tuple, np.ndarray))
        return is_row and all(isinstance(entry, numbers.Real) for entry in first)
    return getattr(getattr(corpus, "dtype", None), "kind", "O") not in "UOT"


def embed_all(
    questions: list[str],
    model: Any,
    progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """The vectors of many questions, float32 (n, d): the texts' ids take memory only in chunks.

    Args:
        questions: n strings.
        model: a `TrainedModel`.
        progress: is called with how many are done.

    Raises:
        TypeError: a model of another type, or none.
    """
    check_model(model)
    vectors: np.ndarray | None = None
    for start in range(0, max(1, len(questions)), _CHUNK):
        part = model.embed(questions[start : start + _CHUNK])
        if vectors is None:
            vectors = np.empty((len(questions), part.shape[1]), np.float32)
        vectors[start : start + len(part)] = part
        progress(start + len(part))
    assert vectors is not None
    return vectors


def check_model(model: Any) -> None:
    """Nothing, once it is known that this is a model.

    Raises:
        TypeError: it is not.
    """
    if not hasattr(model, "embed"):
        raise check.wrong_type(
            "model", "a TrainedModel", model, "load one by load_model(path), or give vectors"
        )


def unit_vectors(name: str, value: Any) -> np.ndarray:
    """Vectors as contiguous float32 (n, d), once each is known to have length 1 or 0.

    Raises:
        TypeError: not floats.
        ValueError: another shape, not finite, or of another length.

    Example:
        >>> unit_vectors("vectors", np.array([[0.6, 0.8], [0.0, 0.0]])).dtype
        dtype('float32')
    """
    expected = "unit vectors, floats of shape (n, d)"
    array = check.array(name, value, expected)
    if array.dtype.kind != "f":
        raise check.wrong_type(name, expected, value)
    if array.ndim != 2 or not array.shape[1]:
        raise check.wrong_value(name, expected, value)
    array = np.ascontiguousarray(array, np.float32)
    squares = np.einsum("nd,nd->n", array, array)
    bad = np.flatnonzero(~((np.abs(squares - 1) < 1e-2) | (squares == 0)))
    if len(bad):
        if not np.isfinite(array[bad[0]]).all():
            wrong = array[bad[0]][~np.isfinite(array[bad[0]])][0]
            raise ValueError(
                f"{name}[{bad[0]}] must be a vector of finite numbers, but {wrong} is in it"
            )
        raise check.wrong_value(
            f"{name}[{bad[0]}]",
            "a vector of length 1 or 0",
            float(np.sqrt(squares[bad[0]])),
            "divide each vector by its length",
        )
    return array


def search_to_folder(
    folder: Path,
    vectors: np.ndarray,
    threshold: float,
    *,
    top_k: int | None = None,
    max_pairs: int = MAX_PAIRS,
    block: int = products.BLOCK,
    progress: Callable[[int, int], object] = lambda rows, pairs: None,
) -> Spool:
    """Finds all pairs above a threshold, and keeps them in a folder as they are found.

    Args:
        folder: of the found pairs; the same search goes on from what is in it.
        vectors: float32 (n, d), as from `unit_vectors`.
        threshold, top_k, max_pairs: as for `find_duplicates`.
        block: how many rows are compared with as many others at once.
        progress: is called with how many rows are done, and how many pairs were found.

    Returns:
        The `Spool` of all pairs.

    Raises:
        ValueError: more than `max_pairs`.
    """
    _refuse_repeats(vectors, threshold, max_pairs)
    spool = Spool(folder, identity(vectors, threshold=threshold, top_k=top_k))
    held: list[Found] = []
    count, covered = 0, spool.stop
    blocks = products.pairs_above(vectors, threshold, top_k=top_k, block=block, start=spool.stop)
    for stop, found in blocks:
        held.append(found)
        count += len(found.first)
        if spool.count + count > max_pairs:
            raise ValueError(
                f"more than {max_pairs:,} pairs are above the threshold {threshold:g}; choose a "
                "higher one, or only the nearest of each question (top_k)"
            )
        if stop > spool.stop and (count >= STRETCH or stop - covered >= 4 * block):
            spool.write(stop, Found.joined(held))
            held, count, covered = [], 0, stop
        progress(stop, spool.count + count)
    if spool.stop < len(vectors):
        spool.write(len(vectors), Found.joined(held))
    return spool


def _refuse_repeats(vectors: np.ndarray, threshold: float, max_pairs: int) -> None:
    """Known at once instead of after hours, with another remedy than for similar questions."""
    likes_itself = np.flatnonzero(np.einsum("nd,nd->n", vectors, vectors) > threshold)
    hashes = [hash(vectors[row].tobytes()) for row in likes_itself.tolist()]
    times = Counter(hashes)
    pairs = sum(count * (count - 1) // 2 for count in times.values())
    if pairs <= max_pairs:
        return
    most, count = times.most_common(1)[0]
    raise ValueError(
        f"more than {max_pairs:,} pairs are of questions with equal vectors: number "
        f"{likes_itself[hashes.index(most)] + 1} comes {count:,} times; leave out what is repeated"
    )


def group_duplicates(n: int, pairs: Iterable[Found], *, linkage: str = "single") -> np.ndarray:
    """Groups of questions from duplicate pairs.

    Single linkage puts two questions into one group if any chain of pairs leads from one to the
    other. With complete linkage every two questions of a group are a pair: groups join, the most
    similar pair first, once all pairs between them were seen.

    Args:
        n: number of questions.
        pairs: `Found` pairs of `find_duplicates` without `top_k`, or parts of them in their order.
        linkage: 'single' or 'complete'.

    Returns:
        int64 (n,): the group of each question, -1 for those in none. Groups are numbered from 0,
        the largest first, equal ones by their first question.

    Raises:
        TypeError, ValueError: an `n` below 0 or no integer, another linkage.

    Example:
        >>> chain = find_duplicates(np.float32([[1, 0], [0.8, 0.6], [0.3, 0.954]]), threshold=0.7)
        >>> group_duplicates(3, [chain]).tolist()
        [0, 0, 0]
        >>> group_duplicates(3, [chain], linkage="complete").tolist()
        [-1, 0, 0]
    """
    n = check.integer("n", n)
    check.one_of("linkage", linkage, LINKAGES)
    if isinstance(pairs, Found):
        raise check.wrong_type("pairs", "a list of `Found`", pairs, "put a single one into a list")
    pairs = _within(n, pairs)
    roots = _single(n, pairs) if linkage == "single" else _complete(n, pairs)
    _, first, inverse, sizes = np.unique(
        roots, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    number = np.empty(len(sizes), np.int64)
    number[order] = np.arange(len(sizes))
    number[sizes == 1] = -1
    return number[inverse]


def _within(n: int, pairs: Iterable[Found]) -> Iterator[Found]:
    """The pairs, once each is known to be of rows below n."""
    for found in pairs:
        largest = int(max(found.first.max(initial=-1), found.second.max(initial=-1)))
        if largest >= n:
            raise check.wrong_value("n", f"more than the largest row of pairs, {largest}", n)
        yield found


def _single(n: int, pairs: Iterable[Found]) -> np.ndarray:
    roots = np.arange(n)
    for found in pairs:
        connect(roots, found.first, found.second)
    return roots


def _complete(n: int, pairs: Iterable[Found]) -> np.ndarray:
    """Complete linkage: two groups join with the last, least similar pair between them."""
    group = list(range(n))
    members: dict[int, list[int]] = {}  # of the groups of several
    seen: dict[int, Counter[int]] = {}  # pairs between two groups, of those that have any
    for found in pairs:
        for a, b in zip(found.first.tolist(), found.second.tolist(), strict=True):
            a, b = sorted((group[a], group[b]), key=lambda g: len(members.get(g, (g,))))
            mine, others = members.get(a, [a]), members.get(b, [b])
            links = seen.setdefault(a, Counter())
            links[b] += 1
            seen.setdefault(b, Counter())[a] += 1
            if links[b] < len(mine) * len(others):
                continue
            members[b] = others + mine
            members.pop(a, None)
            for question in mine:
                group[question] = b
            del seen[b][a]
            for other, count in seen.pop(a).items():
                if other != b:
                    seen[b][other] += count
                    seen[other][b] += count
                    del seen[other][a]
    return np.array(group, np.int64)


def least_similarities(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The least similarity of any two questions of each group, float32 (groups,).

    A value far below the threshold reveals a chain, whose ends are not duplicates.

    Args:
        vectors: float32 (n, d).
        groups: int (n,), as from `group_duplicates`.

    Example:
        >>> least_similarities(np.float32([[1, 0], [0, 1], [1, 0]]), np.array([0, 0, 0])).tolist()
        [0.0]
    """
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max(initial=-1) + 2))
    members = [order[start:stop] for start, stop in itertools.pairwise(starts.tolist())]
    return np.array([_least(vectors[rows]) for rows in members], np.float32)


def _least(vectors: np.ndarray) -> float:
    parts = [
        slice(start, start + products.BLOCK) for start in range(0, len(vectors), products.BLOCK)
    ]
    least = np.inf
    for number, first in enumerate(parts):
        for second in parts[number:]:
            block = vectors[first] @ vectors[second].T
            row, column = np.unravel_index([block.argmin()], block.shape)
            exact = products.similarities(vectors[first], vectors[second], row, column)
            least = min(least, float(exact[0]))
    return least
