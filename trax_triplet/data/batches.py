"""From pairs to the batches of an epoch, in which no two pairs ask the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trax_triplet import _validation as check

__all__ = ["epoch_batches"]

# Takes the pairs that must come now and a mask of those that came before; gives the batch.
_Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]


def epoch_batches(
    groups: Any,
    batch_size: int,
    *,
    seed: int,
    epoch: int = 0,
    lengths: Any = None,
    vectors: Any = None,
    neighbours: int = 16,
    rows: Any = None,
) -> list[np.ndarray]:
    """The batches of one epoch: random, of similar lengths, or of similar questions.

    Guarantees:

    * no two pairs of a batch are of one group: a known duplicate is never a negative;
    * a pair comes at most once in an epoch, and at least once in any ceil(m / k) epochs, for a
      group of m pairs and epochs of k batches. So in each one, unless its group is larger than
      the number of batches: then the group's pairs take turns, and only as many sit out as keep
      the epoch from ending in batches of few pairs;
    * every batch has `batch_size` pairs, except some at the end: one, or, where fewer than
      `batch_size` groups have pairs left, several;
    * full batches come in random order, not by length;
    * the same seed and epoch give the same batches, another epoch gives others.

    With `vectors` the negatives are hard: a random pair not yet used brings along its
    `neighbours` - 1 nearest ones (cosine) that fit, then the next random pair, until the batch is
    full.

    Args:
        groups: int (n,), the duplicate group of each pair, see `trax_triplet.data.question_groups`.
        batch_size: pairs in a batch.
        seed, epoch: integers of at least 0.
        lengths: int (n,), tokens of the longer question of each pair: pairs of similar length share
            batches, so that little padding is needed. None: any pairs do.
        vectors: float (n, d), the unit vector of each pair's first question, by the model as it is;
            the lengths then play no part.
        neighbours: pairs that come together, the first one included; at most `batch_size` count.
        rows: int (m,), the pairs that are to come, all of them, instead of those whose turn it is.

    Returns:
        One int64 array of pair numbers for each batch.

    Raises:
        TypeError: a number that is not an integer; arrays that do not hold numbers.
        ValueError: a number outside its range, an array of another shape, vectors that are not
            finite.

    Example:
        Group 5 has three pairs, but two batches of two have room for only two of them.

        >>> for epoch in range(2):
        ...     batches = epoch_batches([5, 5, 5, 6], 2, seed=0, epoch=epoch)
        ...     print([sorted(batch.tolist()) for batch in batches])
        [[0, 3], [2]]
        [[1, 3], [2]]
    """
    n = len(groups) if hasattr(groups, "__len__") else 0
    groups = np.unique(check.group_ids("groups", groups, n), return_inverse=True)[1].reshape(-1)
    check.integer("batch_size", batch_size, 1)
    check.integer("neighbours", neighbours, 1)
    rng = np.random.default_rng([check.integer("seed", seed), check.integer("epoch", epoch)])
    if rows is None:
        rows = _pairs_for_epoch(groups, batch_size, seed, epoch)
    order = rng.permutation(check.group_ids("rows", rows, len(rows)).astype(np.int64))
    if vectors is not None:
        vectors = _checked_vectors(vectors, n)
        fill = _by_similarity(order, groups, batch_size, vectors, min(neighbours, batch_size))
    else:
        if lengths is not None:
            lengths = check.group_ids("lengths", lengths, n)
            order = order[np.argsort(lengths[order], kind="stable")]
        fill = _in_order(order, groups, batch_size)
    batches = _deal(order, groups, batch_size, fill)
    full = [batch for batch in batches if len(batch) == batch_size]
    partial = [batch for batch in batches if len(batch) < batch_size]
    return [full[i] for i in rng.permutation(len(full))] + sorted(partial, key=len, reverse=True)


def _pairs_for_epoch(groups: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The pairs whose turn it is, ascending: of each group as many as the epoch has batches.

    The pairs of a larger group stand in a circle, in random order; each epoch takes the next ones.
    """
    sizes = np.bincount(groups)
    # At most k of each group leave sum(min(size, k)) pairs: the largest k for which they fill k
    # batches, all but the last of them completely.
    at_least = np.cumsum(np.bincount(sizes, minlength=1)[::-1])[::-1]  # groups of so many pairs
    pairs_left = np.cumsum(at_least[1:])
    most = np.count_nonzero(pairs_left > np.arange(len(pairs_left)) * batch_size)
    members = np.random.default_rng(seed).permutation(len(groups))
    members = members[np.argsort(groups[members], kind="stable")]
    size = np.repeat(sizes, sizes)
    place = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(members[(place - epoch * most) % size < most])


def _deal(order: np.ndarray, groups: np.ndarray, batch_size: int, fill: _Fill) -> list[np.ndarray]:
    """All pairs of `order` in as few batches as their number and the largest group allow.

    A group that has as many pairs left as there are batches left must be in each of them. As long
    as those come first, every batch that is not full has a pair of all groups left, so whatever
    else `fill` takes, the rest fits into the batches left.
    """
    left = np.bincount(groups[order], minlength=1)  # pairs of each group that are in no batch yet
    members = order[np.argsort(groups[order], kind="stable")]
    ends = np.cumsum(left)
    starts = ends - left
    used, batches = np.zeros(len(groups), bool), []
    for batches_left in range(max(-(-len(order) // batch_size), int(left.max())), 0, -1):
        due = []
        for group in np.flatnonzero(left == batches_left):
            own = members[starts[group] : ends[group]]
            due.append(own[np.argmin(used[own])])
        batch = fill(np.array(due, np.int64), used)
        used[batch] = True
        left[groups[batch]] -= 1
        batches.append(batch)
    return batches


def _in_order(order: np.ndarray, groups: np.ndarray, batch_size: int) -> _Fill:
    """Fills a batch with the first pairs of `order` that fit; others wait for the next one."""
    waiting, start = order[:0], 0

    def fill(due: np.ndarray, used: np.ndarray) -> np.ndarray:
        nonlocal waiting, start
        waiting = np.concatenate([due, waiting])
        while True:
            waiting = waiting[~used[waiting]]
            firsts = np.sort(np.unique(groups[waiting], return_index=True)[1])
            if len(firsts) >= batch_size or start >= len(order):
                return waiting[firsts[:batch_size]]
            waiting = np.concatenate([waiting, order[start : start + batch_size]])
            start += batch_size

    return fill


def _by_similarity(
    order: np.ndarray,
    groups: np.ndarray,
    batch_size: int,
    vectors: np.ndarray,
    neighbours: int,
) -> _Fill:
    """Fills a batch with the first pairs of `order` that fit, each followed by its nearest ones."""
    left, near = order, vectors[order]  # pairs not used, and their vectors

    def fill(due: np.ndarray, used: np.ndarray) -> np.ndarray:
        nonlocal left, near
        if used[left].sum() * 12 > len(left):  # dropping the used ones copies what is left
            keep = ~used[left]
            left, near = left[keep], near[keep]
        closed = np.zeros(groups.max() + 1, bool)
        closed[groups[due]] = True
        batch, own = list(due), groups[left]
        unused = ~used[left]
        while len(batch) < batch_size:
            seeds = np.flatnonzero(unused & ~closed[own])
            seeds = seeds[: -(-(batch_size - len(batch)) // neighbours)]
            if not len(seeds):
                break
            # NumPy once told of invalid values here, though the vectors are finite: OpenBLAS may
            # compute on what lies beside a small matrix, and raise the processor's flag for it.
            with np.errstate(invalid="ignore"):
                similarities = near[seeds] @ near.T
            for seed, similarity in zip(seeds, similarities, strict=True):
                if closed[own[seed]]:
                    continue
                similarity[~unused | closed[own]] = -np.inf
                similarity[seed] = np.inf
                wanted = min(neighbours, batch_size - len(batch))
                chosen = _nearest(similarity, own, wanted)
                closed[own[chosen]] = True
                batch.extend(left[chosen])
        return np.array(batch, np.int64)

    return fill


def _nearest(similarity: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest finite similarities, at most one of a group."""
    for among in (8 * count, len(similarity)):  # the first is nearly always enough
        among = min(among, len(similarity))
        top = np.argpartition(similarity, -among)[-among:]
        top = top[similarity[top] > -np.inf]
        top = top[np.argsort(-similarity[top], kind="stable")]
        firsts = np.sort(np.unique(groups[top], return_index=True)[1])[:count]
        if len(firsts) == count:
            break
    return top[firsts]


def _checked_vectors(vectors: Any, n: int) -> np.ndarray:
    expected = f"finite numbers of shape ({n}, d)"
    vectors = check.array("vectors", vectors, expected)
    if vectors.dtype.kind not in "iuf" and vectors.dtype.name != "bfloat16":
        raise check.wrong_type("vectors", expected, vectors)
    vectors = vectors.astype(np.float32)
    if vectors.ndim != 2 or len(vectors) != n or not np.isfinite(vectors).all():
        raise check.wrong_value("vectors", expected, vectors)
    return vectors
