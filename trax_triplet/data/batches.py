"""From pairs to the batches of an epoch, in which no two pairs share a question; from ids to padded
arrays."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Sequence

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.data.vocabulary import PAD_ID

# Pairs sorted by length together, in batches and at least: more saves padding, less mixes the
# epochs better.
_WINDOW, _MIN_WINDOW = 50, 4096


def pad(
    rows: Sequence[np.ndarray],
    *,
    multiple: int = 8,
    length: int | None = None,
    max_length: int | None = None,
) -> np.ndarray:
    """Put rows of ids into one array, padded on the right with `PAD_ID`.

    Args:
        rows: one int array (n_tokens,) a question; any may be empty.
        multiple: the common length is the longest row's, rounded up to a multiple of this, at least
        one.
        length: the common length itself, instead.
        max_length: cut longer rows to this many ids first.

    Returns:
        int32 (len(rows), common length).

    Raises:
        TypeError: rows that hold no integers, a length that is no whole number.
        ValueError: `multiple`, `length` or `max_length` below 1, a row longer than `length`.

    Example:
        >>> pad([[5, 6, 7], [8]], multiple=2).tolist()
        [[5, 6, 7, 1], [8, 1, 1, 1]]
    """
    for name, value in (("multiple", multiple), ("length", length), ("max_length", max_length)):
        if value is not None:
            whole_number(name, value, 1)
    rows = [row[:max_length] for row in id_rows(rows)]
    lengths = np.array([len(row) for row in rows], np.int64)
    longest = int(lengths.max(initial=0))
    if length is None:
        length = max(1, -(-longest // multiple)) * multiple
    elif longest > length:
        raise ValueError(
            f"a row of {longest} ids does not fit into length={length}; cut it by max_length="
        )
    padded = np.full((len(rows), length), PAD_ID, np.int32)
    if longest:
        padded[np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    return padded


def id_rows(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rows of word ids as arrays.

    Raises:
        TypeError: no list of rows, or a row that is not int (n_tokens,).

    Example:
        >>> [row.tolist() for row in id_rows([[5, 6], ()])]
        [[5, 6], []]
    """
    if isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__"):
        raise TypeError(f"rows must be a list of arrays of ids, int (n_tokens,), got {rows!r:.60}")
    rows = [np.asarray(row) for row in rows]
    for number, row in enumerate(rows):
        if row.ndim != 1 or (len(row) and row.dtype.kind not in "iu"):
            raise TypeError(
                f"each row must be ids, int (n_tokens,); row {number} is {row.dtype} {row.shape}"
            )
    return rows


def epoch_batches(
    lengths: np.ndarray,
    groups1: np.ndarray,
    groups2: np.ndarray,
    batch_size: int,
    *,
    seed: int,
    epoch: int = 0,
    bucketed: bool = True,
) -> list[np.ndarray]:
    """The batches of one epoch: shuffled, of similar lengths, without known false negatives.

    Guarantees:

    * every pair comes exactly once;
    * no two pairs of a batch have a group in common (the two sides of one pair may): a pair that
      clashes is deferred to another batch;
    * every batch has `batch_size` pairs, except that some at the end may have fewer. A group of m
      pairs needs m batches, whatever n is, so large groups leave a tail of small ones; else rarely
      two are small;
    * the same seed and epoch give the same batches, another epoch gives others;
    * full batches come in random order, not by length.

    Args:
        lengths: int (n,), tokens of the longer question of each pair.
        groups1, groups2: int (n,), see `trax_triplet.data.question_groups`.
        batch_size: pairs a batch.
        seed, epoch: integers, 0 or larger.
        bucketed: pairs of similar length share batches, so that little padding is needed; False:
            any do.

    Returns:
        One int64 array of pair numbers a batch.

    Raises:
        TypeError: a number that is not whole.
        ValueError: arrays that are not (n,) of one n, `batch_size` below 1, a negative seed or
            epoch.

    Example:
        >>> [batch.tolist() for batch in epoch_batches([3, 3, 3], [7, 7, 8], [7, 7, 8], 2, seed=0)]
        [[2, 0], [1]]
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise ValueError(f"lengths must be int (n,), got {lengths.dtype} {lengths.shape}")
    lengths = lengths.tolist()
    rng, plan = _start(len(lengths), groups1, groups2, batch_size, seed, epoch)
    order, waiting, width = (
        rng.permutation(len(lengths)).tolist(),
        [],
        max(_WINDOW * batch_size, _MIN_WINDOW),
    )
    for start in range(0, len(order), width):
        # What the last window deferred is sorted into this one: there it meets pairs of its length.
        window = waiting + order[start : start + width]
        if bucketed:
            window.sort(key=lengths.__getitem__)
        for pair in window:
            plan.add(pair)
        waiting = plan.take_back()
    return plan.finish(waiting, lengths, rng)


def neighbour_batches(
    vectors: np.ndarray,
    groups1: np.ndarray,
    groups2: np.ndarray,
    batch_size: int,
    *,
    neighbours: int = 16,
    seed: int,
    epoch: int = 0,
) -> list[np.ndarray]:
    """The batches of one epoch, made of groups of look-alikes, so that the negatives of each pair
    are hard.

    A random pair not yet used brings along its `neighbours` - 1 nearest ones (cosine) that are not
    yet used and have no duplicate group in common with the batch; then the next random pair, until
    the batch is full. The guarantees are those of `epoch_batches`; lengths play no part.

    Args:
        vectors: float (n, d), the unit vector of each pair's first question, by the model as it is.
        groups1, groups2, batch_size, seed, epoch: as in `epoch_batches`.
        neighbours: pairs that come together, the first one included; 1 to `batch_size`.

    Returns:
        As `epoch_batches`.

    Raises:
        TypeError: as `epoch_batches`; vectors that are no numbers.
        ValueError: as `epoch_batches`; `neighbours` out of its range; vectors not finite or not (n,
            d).

    Example:
        >>> groups = [0, 1, 2, 3]
        >>> vectors = [[1, 0], [0, 1], [1, 0], [0, 1]]
        >>> batches = neighbour_batches(vectors, groups, groups, 2, neighbours=2, seed=0)
        >>> sorted(sorted(batch.tolist()) for batch in batches)
        [[0, 2], [1, 3]]
    """
    vectors = np.asarray(vectors)
    if vectors.dtype.kind not in "iuf" and vectors.dtype.name != "bfloat16":
        raise TypeError(
            f"vectors must be finite numbers (n, d), got {vectors.dtype} {vectors.shape}"
        )
    vectors = vectors.astype(np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"vectors must be finite numbers (n, d), got shape {vectors.shape}")
    rng, plan = _start(len(vectors), groups1, groups2, batch_size, seed, epoch)
    whole_number("neighbours", neighbours, None)
    if not 1 <= neighbours <= batch_size:
        raise ValueError(f"neighbours must be from 1 to batch_size={batch_size}, got {neighbours}")
    _, groups = np.unique(np.asarray(plan.sides), return_inverse=True)
    groups = groups.reshape(-1, 2).T  # NumPy 2.0 alone keeps the shape of what it is given
    left = rng.permutation(len(vectors))
    while len(left):
        near_by, unused = vectors[left], np.ones(len(left), bool)
        # Dropping the used ones copies what is left, so it waits until a twelfth of it is used.
        while unused.sum() * 12 > len(left) * 11:
            if not _fill_batch(plan, left, near_by, groups[:, left], unused, neighbours):
                # All that is left clashes with the batch under way.
                return plan.finish(
                    left[unused].tolist() + plan.take_back(), [0] * len(vectors), rng
                )
        left = left[unused]
    return plan.finish(plan.take_back(), [0] * len(vectors), rng)


def _fill_batch(plan: _Plan, left, near_by, groups, unused, neighbours) -> bool:
    """Add seeds of `left` (m,) and their nearest until the plan's batch is full; False if no more
    fit.

    `near_by` (m, d) are the vectors and `groups` (2, m) the groups of `left`; `unused` (m,) is
    updated.
    """
    unfinished, closed = len(plan.full), np.zeros(groups.max() + 1, bool)

    def usable() -> np.ndarray:
        return np.flatnonzero(unused & ~(closed[groups[0]] | closed[groups[1]]))

    def use(position: int) -> bool:
        fits = bool(unused[position]) and plan.fits(int(left[position]))
        if fits:
            unused[position] = False
            closed[groups[:, position]] = True
            plan.add(int(left[position]))
        return fits

    while len(seeds := usable()[: -(-(plan.size - len(plan.current)) // neighbours)]):
        for seed, similarities in zip(seeds.tolist(), near_by[seeds] @ near_by.T):
            missing = neighbours - 1 if use(seed) else 0
            nearest = _largest(
                similarities, 8 * neighbours
            )  # nearly always enough, though some are used
            while missing and len(nearest):
                for position in nearest.tolist():
                    if missing and len(plan.full) == unfinished:
                        missing -= use(position)
                candidates = usable() if missing and len(plan.full) == unfinished else nearest[:0]
                nearest = candidates[_largest(similarities[candidates], 8 * neighbours)]
            if len(plan.full) > unfinished:
                return bool(unused.any())
    return False


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The positions of the `count` largest values, the largest first."""
    count = min(count, len(values))
    top = np.sort(np.argpartition(values, -count)[-count:]) if count else np.arange(0)
    return top[np.argsort(-values[top], kind="stable")]


def _start(n, groups1, groups2, batch_size, seed, epoch) -> tuple[np.random.Generator, _Plan]:
    groups1, groups2 = np.asarray(groups1), np.asarray(groups2)
    for name, groups in (("groups1", groups1), ("groups2", groups2)):
        if groups.shape != (n,) or (n and groups.dtype.kind not in "iu"):
            raise ValueError(f"{name} must be int ({n},), got {groups.dtype} {groups.shape}")
    for name, value in (("batch_size", batch_size), ("seed", seed), ("epoch", epoch)):
        whole_number(name, value, None)
    if batch_size < 1 or seed < 0 or epoch < 0:
        raise ValueError(
            "batch_size must be at least 1, seed and epoch at least 0, got "
            f"{batch_size}, {seed} and {epoch}"
        )
    sides = list(zip(groups1.tolist(), groups2.tolist()))
    return np.random.default_rng([seed, epoch]), _Plan(sides, batch_size)


class _Plan:
    """Batches under way: pairs are added one by one, and those that clash wait for the next
    batch."""

    def __init__(self, sides: list[tuple[int, int]], size: int):
        self.sides, self.size = sides, size  # the two groups of each pair; pairs a batch
        self.full: list[tuple[list[int], set[int]]] = []  # pairs, and the groups they have
        self.current, self.taken = [], set()  # the batch under way, likewise
        self.deferred: dict[int, collections.deque] = {}  # by the group that clashed

    def fits(self, pair: int) -> bool:
        return self.taken.isdisjoint(self.sides[pair])

    def add(self, pair: int) -> None:
        for group in self.sides[pair]:
            if group in self.taken:
                self.deferred.setdefault(group, collections.deque()).append(pair)
                return
        self._take(pair)
        while len(self.current) == self.size:
            self.full.append((self.current, self.taken))
            self.current, self.taken = [], set()
            for group, waiting in list(self.deferred.items()):
                if len(self.current) < self.size and self.fits(waiting[0]):
                    self._take(waiting.popleft())
                    if not waiting:
                        del self.deferred[group]

    def _take(self, pair: int) -> None:
        self.current.append(pair)
        self.taken.update(self.sides[pair])

    def take_back(self) -> list[int]:  # the pairs that are in no full batch
        pairs = self.current + [pair for waiting in self.deferred.values() for pair in waiting]
        self.current, self.taken, self.deferred = [], set(), {}
        return pairs

    def finish(
        self, rest: list[int], lengths: list[int], rng: np.random.Generator
    ) -> list[np.ndarray]:
        """All batches: the full ones in random order, then the smaller ones, the largest of them
        first."""
        tails = _Tail(self, rest, lengths).batches
        shuffled = [self.full[number][0] for number in rng.permutation(len(self.full))]
        return [
            np.array(batch, np.int64) for batch in shuffled + sorted(tails, key=len, reverse=True)
        ]


class _Tail:
    """The last batches, kept few by exchange with full batches that lack a group."""

    def __init__(self, plan: _Plan, rest: list[int], lengths: list[int]):
        self.sides, self.size, self.lengths = plan.sides, plan.size, lengths
        self.batches, self.free_from = (
            [],
            {},
        )  # no batch from number free_from[group] on has the group
        full = [(max(lengths[pair] for pair in pairs), pairs, taken) for pairs, taken in plan.full]
        self.full = sorted(full, key=lambda batch: batch[0])
        self.needed = -(-len(rest) // self.size)
        times = collections.Counter(group for pair in rest for group in set(self.sides[pair]))
        crowded = set()  # groups that no exchange helps
        for pair in sorted(rest, key=lambda pair: -max(times[group] for group in self.sides[pair])):
            if self._place(pair, max(self.needed, len(self.batches))):
                continue
            if self.sides[pair] in crowded or not self._exchange(pair):
                crowded.add(self.sides[pair])
                self._place(pair, len(self.batches) + 1)

    def _place(self, pair: int, limit: int) -> bool:
        number = max(self.free_from.get(group, 0) for group in self.sides[pair])
        while number < len(self.batches) and len(self.batches[number]) == self.size:
            number += 1
        if number >= limit:
            return False
        if number == len(self.batches):
            self.batches.append([])
        self.batches[number].append(pair)
        self.free_from.update(dict.fromkeys(self.sides[pair], number + 1))
        return True

    def _exchange(self, pair: int) -> bool:
        """Put `pair` into a full batch without its groups (rather a longer one), one of its pairs
        here."""
        start = bisect.bisect_left(self.full, self.lengths[pair], key=lambda batch: batch[0])
        for _, pairs, taken in self.full[start:] + self.full[:start][::-1]:
            if taken.isdisjoint(self.sides[pair]):
                for position, other in enumerate(pairs):
                    if self._place(other, max(self.needed, len(self.batches))):
                        pairs[position] = pair
                        taken.difference_update(self.sides[other])
                        taken.update(self.sides[pair])
                        return True
        return False
