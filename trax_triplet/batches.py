"""From pairs to the batches of an epoch, of which no two pairs share a question; from ids to padded arrays."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator, Sequence

import numpy as np

from .data import Pairs, question_groups
from .vocabulary import PAD_ID, tokenize

_WINDOW = 50  # batches that are sorted by length together: more saves padding, fewer mixes the epochs better


def pad(rows: Sequence[np.ndarray], *, multiple: int = 8, length: int | None = None,
        max_length: int | None = None) -> np.ndarray:
    """Put rows of ids into one array, padded on the right with `PAD_ID`.

    Args:
        rows: one int array (n_tokens,) a question; any may be empty.
        multiple: the common length is the longest row's, rounded up to a multiple of this (at least one),
            so that few distinct shapes need to be compiled.
        length: the common length itself, instead.
        max_length: cut longer rows to this many ids first.

    Returns:
        int32 (len(rows), common length).

    Raises:
        TypeError: rows that hold no integers.
        ValueError: `multiple`, `length` or `max_length` below 1, a row longer than `length`.

    Example:
        >>> pad([[5, 6, 7], [8]], multiple=2).tolist()
        [[5, 6, 7, 1], [8, 1, 1, 1]]
    """
    for name, value in (("multiple", multiple), ("length", length), ("max_length", max_length)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    rows = [np.asarray(row)[:max_length] for row in rows]
    for number, row in enumerate(rows):
        if row.ndim != 1 or (len(row) and row.dtype.kind not in "iu"):
            raise TypeError(f"each row must be ids, int (n_tokens,); row {number} is {row.dtype} {row.shape}")
    lengths = np.array([len(row) for row in rows], np.int64)
    longest = int(lengths.max(initial=0))
    if length is None:
        length = max(1, -(-longest // multiple)) * multiple
    elif longest > length:
        raise ValueError(f"a row of {longest} ids does not fit into length={length}; to cut, give max_length={length}")
    padded = np.full((len(rows), length), PAD_ID, np.int32)
    if longest:
        padded[np.arange(length) < lengths[:, None]] = np.concatenate(rows)
    return padded


def epoch_batches(lengths: np.ndarray, groups1: np.ndarray, groups2: np.ndarray, batch_size: int, *,
                  seed: int, epoch: int = 0, bucketed: bool = True) -> list[np.ndarray]:
    """The batches of one epoch: shuffled, of similar lengths, without known false negatives.

    Guarantees:

    * every pair comes exactly once;
    * no two pairs of a batch have a group in common (the two sides of one pair may): a pair that clashes is
      deferred to another batch;
    * every batch has `batch_size` pairs, except that some at the end may have fewer. There are ceil(n /
      batch_size) batches wherever the groups allow it; a group of m pairs needs m batches, whatever n is, so
      the largest groups may leave a tail of small ones;
    * the same seed and epoch give the same batches, another epoch gives others;
    * full batches come in random order, not by length.

    Args:
        lengths: int (n,), tokens of the longer question of each pair.
        groups1, groups2: int (n,), see `trax_triplet.data.question_groups`.
        batch_size: pairs a batch.
        seed, epoch: integers, 0 or larger.
        bucketed: pairs of similar length share batches, so that little padding is needed; False: any do.

    Returns:
        One int64 array of pair numbers a batch.

    Raises:
        ValueError: arrays that are not (n,) of one n, `batch_size` below 1, a negative seed or epoch.

    Example:
        >>> [batch.tolist() for batch in epoch_batches([3, 3, 3], [7, 7, 8], [7, 7, 8], 2, seed=0)]
        [[1, 2], [0]]
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise ValueError(f"lengths must be int (n,), got {lengths.dtype} {lengths.shape}")
    lengths = lengths.tolist()
    rng, plan = _start(len(lengths), groups1, groups2, batch_size, seed, epoch)
    order, waiting = rng.permutation(len(lengths)).tolist(), []
    for start in range(0, len(order), _WINDOW * batch_size):
        # What the last window deferred is sorted into this one: there it meets pairs of its length.
        window = waiting + order[start:start + _WINDOW * batch_size]
        if bucketed:
            window.sort(key=lengths.__getitem__)
        for pair in window:
            plan.add(pair)
        waiting = plan.take_back()
    return plan.finish(waiting, lengths, rng)


def neighbour_batches(vectors: np.ndarray, groups1: np.ndarray, groups2: np.ndarray, batch_size: int, *,
                      neighbours: int = 16, seed: int, epoch: int = 0) -> list[np.ndarray]:
    """The batches of one epoch, made of groups of look-alikes, so that the negatives of each pair are hard.

    A random pair not yet used brings along its `neighbours` - 1 nearest ones (cosine) that are not yet used and
    have no duplicate group in common with the batch; then the next random pair, until the batch is full. The
    guarantees are those of `epoch_batches`, all but the one on lengths.

    Args:
        vectors: float (n, d), the unit vector of each pair's first question, by the model as it is.
        groups1, groups2: int (n,), see `trax_triplet.data.question_groups`.
        batch_size: pairs a batch.
        neighbours: pairs that come together, the first one included; 1 to `batch_size`.
        seed, epoch: integers, 0 or larger.

    Returns:
        One int64 array of pair numbers a batch.

    Raises:
        ValueError: as `epoch_batches`; `neighbours` out of its range; vectors that are not finite or not (n, d).

    Example:
        >>> batches = neighbour_batches([[1, 0], [0, 1], [1, 0], [0, 1]], range(4), range(4), 2, neighbours=2, seed=0)
        >>> sorted(sorted(batch.tolist()) for batch in batches)
        [[0, 2], [1, 3]]
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"vectors must be finite numbers (n, d), got shape {vectors.shape}")
    rng, plan = _start(len(vectors), groups1, groups2, batch_size, seed, epoch)
    if not 1 <= neighbours <= batch_size:
        raise ValueError(f"neighbours must be from 1 to batch_size={batch_size}, got {neighbours}")
    unused = np.ones(len(vectors), bool)
    left = rng.permutation(len(vectors))
    while len(left):
        near_by = vectors[left]
        # Dropping the used ones copies what is left, so it waits until a twelfth of it is used.
        while unused[left].sum() > len(left) * 11 // 12:
            _fill_batch(plan, vectors, left, near_by, unused, neighbours)
        left = left[unused[left]]
    return plan.finish(plan.take_back(), [0] * len(vectors), rng)


def _fill_batch(plan: _Plan, vectors, left, near_by, unused, neighbours) -> None:
    """Add seeds and their nearest of `left` (their vectors are `near_by`) until the plan's batch is full."""
    missing = -(-(plan.size - len(plan.current)) // neighbours)
    seeds = left[unused[left]][:missing]
    similarities = vectors[seeds] @ near_by.T
    similarities[:, ~unused[left]] = -np.inf
    batch = len(plan.full)
    for seed, row in zip(seeds.tolist(), similarities):
        if not unused[seed]:
            continue
        unused[seed] = False
        plan.add(seed)
        brought = 1
        for position in _nearest_first(row, 4 * neighbours):
            pair = int(left[position])
            if brought == neighbours or len(plan.full) > batch:
                break
            if unused[pair] and plan.fits(pair):
                unused[pair] = False
                plan.add(pair)
                brought += 1
        if len(plan.full) > batch:
            return


def _nearest_first(similarities: np.ndarray, count: int) -> Iterator[int]:
    """Positions by falling similarity, sorted only as far as they are asked for; some come again."""
    done = 0
    while done < len(similarities):
        done = min(count, len(similarities))
        top = np.sort(np.argpartition(-similarities, done - 1)[:done])
        yield from top[np.argsort(-similarities[top], kind="stable")].tolist()
        count *= 8


def _start(n, groups1, groups2, batch_size, seed, epoch) -> tuple[np.random.Generator, _Plan]:
    groups1, groups2 = np.asarray(groups1), np.asarray(groups2)
    for name, groups in (("groups1", groups1), ("groups2", groups2)):
        if groups.shape != (n,) or (n and groups.dtype.kind not in "iu"):
            raise ValueError(f"{name} must be int ({n},), got {groups.dtype} {groups.shape}")
    if batch_size < 1 or seed < 0 or epoch < 0:
        raise ValueError(f"batch_size must be at least 1, seed and epoch at least 0, got {batch_size}, {seed} and {epoch}")
    return np.random.default_rng([seed, epoch]), _Plan(list(zip(groups1.tolist(), groups2.tolist())), batch_size)


class _Plan:
    """Batches under way: pairs are added one by one, and those that clash wait for the next batch."""

    def __init__(self, sides: list[tuple[int, int]], size: int):
        self.sides, self.size = sides, size  # the two groups of each pair; pairs a batch
        self.full: list[tuple[list[int], set[int]]] = []  # pairs, and the groups they have
        self.current: list[int] = []
        self.taken: set[int] = set()
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
            self._take_deferred()

    def _take(self, pair: int) -> None:
        self.current.append(pair)
        self.taken.update(self.sides[pair])

    def _take_deferred(self) -> None:
        for group in list(self.deferred):
            if len(self.current) < self.size and self.fits(self.deferred[group][0]):
                self._take(self.deferred[group].popleft())
                if not self.deferred[group]:
                    del self.deferred[group]

    def take_back(self) -> list[int]:
        """Remove and return the pairs that are in no full batch."""
        pairs = self.current + [pair for waiting in self.deferred.values() for pair in waiting]
        self.current, self.taken, self.deferred = [], set(), {}
        return pairs

    def finish(self, rest: list[int], lengths: list[int], rng: np.random.Generator) -> list[np.ndarray]:
        """All batches: the full ones in random order, then the smaller ones, the largest of them first."""
        tails = _Tail(self, rest, lengths).batches
        shuffled = [self.full[number][0] for number in rng.permutation(len(self.full))]
        return [np.array(batch, np.int64) for batch in shuffled + sorted(tails, key=len, reverse=True)]


class _Tail:
    """The last batches: as few as the rest's groups allow, by exchange with full batches that lack the group."""

    def __init__(self, plan: _Plan, rest: list[int], lengths: list[int]):
        self.sides, self.size, self.lengths = plan.sides, plan.size, lengths
        self.batches: list[list[int]] = []
        self.free_from: dict[int, int] = {}  # no batch from this number on has the group
        self.full = sorted(((max(lengths[pair] for pair in pairs), pairs, taken) for pairs, taken in plan.full),
                           key=lambda batch: batch[0])
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
        """Put `pair` into a full batch without its groups, of its length or more, and one of that batch here."""
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


def draw_negatives(pairs: Pairs, n: int, *, seed: int = 0) -> Pairs:
    """Draw pairs labelled 0 for a file that has only duplicates, to validate with.

    Each is the first question of a pair and, of the questions of other duplicate groups found through its
    rarer words, the one with the largest word overlap (shared words / words of both). Questions of equal
    words are never paired, nor are two questions twice. Weaker than labels by people: some of these pairs are
    duplicates that nobody marked, and how the others differ is not how judged pairs differ.

    Args:
        pairs: the duplicates.
        n: how many pairs to draw.
        seed: of the order in which first questions are taken; each comes once before one comes again.

    Returns:
        n pairs, `is_duplicate` all 0, with qids if `pairs` has them.

    Raises:
        ValueError: fewer than n such pairs exist, or n is negative.
    """
    texts, groups = pairs.question1 + pairs.question2, np.concatenate(question_groups(pairs))
    rows = {tuple(tokenize(text)): row for row, text in reversed(list(enumerate(texts)))}
    words = {row: {word for word in tokens if word[0].isalnum()} for tokens, row in rows.items()}
    postings = collections.defaultdict(list)
    for row in sorted(words):
        for word in words[row]:
            postings[word].append(row)
    anchors = np.array([row for row in sorted(words) if row < len(pairs)], np.int64)
    order = np.random.default_rng(seed).permutation(anchors).tolist()
    sources = collections.deque((row, _look_alikes(row, words, postings, groups)) for row in order)
    drawn = {}
    while sources and len(drawn) < n:
        row, others = sources.popleft()
        for other in others:
            if (row, other) not in drawn and (other, row) not in drawn:
                drawn[row, other] = 0
                sources.append((row, others))
                break
    if len(drawn) != n:
        raise ValueError(f"{n} negatives wanted, but these {len(pairs)} pairs give {len(drawn)}")
    sides = np.array(list(drawn), np.int64).reshape(-1, 2).T
    qids = [None, None] if pairs.qid1 is None else np.concatenate([pairs.qid1, pairs.qid2])[sides]
    return Pairs(*([texts[i] for i in side] for side in sides), np.zeros(n, np.int8), *qids)


def _look_alikes(row, words, postings, groups) -> Iterator[int]:
    """Questions of other groups that share rarer words with `row`, the largest word overlap first."""
    found, looked_at = [], 0
    for word in sorted(words[row], key=lambda word: (len(postings[word]), word)):
        if looked_at + len(postings[word]) > 5000:
            break
        found.append(postings[word])
        looked_at += len(postings[word])
    others, shared = np.unique(np.array(sum(found, []), np.int64), return_counts=True)
    elsewhere = groups[others] != groups[row]
    others, shared = others[elsewhere], shared[elsewhere]
    likely = others[np.argsort(-shared, kind="stable")[:100]].tolist()
    overlap = {other: len(words[row] & words[other]) / len(words[row] | words[other]) for other in likely}
    yield from sorted((other for other in likely if overlap[other] < 1), key=lambda other: -overlap[other])
