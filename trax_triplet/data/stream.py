"""Endless training batches whose place can be saved and found again."""

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.data.batches import epoch_batches, id_rows, neighbour_batches
from trax_triplet.data.vocabulary import PAD_ID

STEP = 8  # lengths are padded to multiples of this: few shapes to compile, little padding
PADDING_PAIR = -1  # group id of the rows that fill up a partial batch


class BatchStream:
    """Endless training batches; its place can be saved and found again.

    Batches are (ids1, ids2, groups1, groups2): int32 (batch_size, length) twice and int32
    (batch_size,) twice. Within an epoch every pair comes once, but for duplicate groups larger than
    the number of batches: their pairs take turns (`whose_turn`), and `waiting` counts those whose
    turn is another epoch. A partial batch is filled up with rows of padding in group -1, which the
    loss leaves out, so that shapes repeat.

    Args:
        ids1, ids2: word ids of each pair's questions, sequences of integer arrays.
        groups: pair of arrays, duplicate group of each question (`data.question_groups`); equal on
            both sides where the pairs are duplicates.
        batch_size, seed, max_words, neighbours: as in `train`.
        vectors: function without arguments that encodes the first questions, called at the
            start of an epoch of hard batches; or None.

    Raises:
        TypeError: ids that are no integers, a number that is not whole, `vectors` that is no
        function.
        ValueError: no pair, sides or groups of another length, a number outside its range.

    Example:
        >>> stream = BatchStream([[2], [3], [4]], [[5], [6], [7]], ([0, 1, 2], [0, 1, 2]), batch_size=2,
        ...                      seed=0, max_words=8, neighbours=2, vectors=None)
        >>> next(stream)[0].shape, next(stream)[2].tolist()[1]
        ((2, 8), -1)
    """

    def __init__(self, ids1, ids2, groups, *, batch_size, seed, max_words, neighbours, vectors):
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("max_words", max_words, 1),
            ("neighbours", neighbours, 1),
        ):
            whole_number(name, value, least)
        if vectors is not None and not callable(vectors):
            raise TypeError(
                f"vectors must be a function without arguments, or None, but it is {vectors!r:.60}"
            )
        self._sides = [_Questions(ids, max_words) for ids in (ids1, ids2)]
        self._groups = _checked_groups(groups, *(len(side.lengths) for side in self._sides))
        self._lengths = np.maximum(*(side.lengths for side in self._sides))
        self._batch_size, self._seed, self._neighbours, self._vectors = (
            batch_size,
            seed,
            neighbours,
            vectors,
        )
        self._epoch, self._position, self._batches = -1, 0, []
        self._given = []
        self.hard, self.waiting = False, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self._position == len(self._batches):
            self._epoch, self._position = self._epoch + 1, 0
            self._batches = self._plan()
        rows = self._batches[self._position]
        self._position += 1
        self._given.append(rows)
        return self._batch(rows)

    def harden(self):
        """From now on batches hold similar pairs; what is left of the epoch is batched anew."""
        self.hard = True
        rest = self._batches[self._position :]
        if rest:
            self._batches, self._position = self._plan(np.sort(np.concatenate(rest))), 0

    def take_rows(self):
        """The numbers of the pairs of each batch since the last call: a list of int64 arrays."""
        rows, self._given = self._given, []
        return rows

    def state(self):
        """Where the stream stands, as arrays; `restore` takes them."""
        sizes = [len(b) for b in self._batches]
        return {
            "batches": np.concatenate([*self._batches, []]).astype(np.int64),
            "sizes": np.array(sizes, np.int64),
            "place": np.array([self._epoch, self._position, self.hard], np.int64),
        }

    def restore(self, state):
        """Goes to where another stream over the same pairs stood."""
        self._batches = (
            np.split(state["batches"], np.cumsum(state["sizes"])[:-1])
            if len(state["sizes"])
            else []
        )
        self._epoch, self._position, self.hard = (int(n) for n in state["place"])
        self.hard = bool(self.hard)

    def rest_of_epoch(self):
        """The batches up to the end of this epoch (of the first, if it has not begun), as a
        list."""
        batches = [next(self)]
        while self._position < len(self._batches):
            batches.append(next(self))
        return batches

    @property
    def epoch(self):
        """Number of the epoch of the last batch, from 0."""
        return max(self._epoch, 0)

    def _plan(self, rows=None):
        where = {"seed": self._seed, "epoch": self._epoch}
        if rows is None:
            rows = whose_turn(self._groups[0], self._batch_size, **where)
            self.waiting = len(self._groups[0]) - len(rows)
        groups = [g[rows] for g in self._groups]
        if self.hard:
            batches = neighbour_batches(
                self._vectors()[rows],
                *groups,
                self._batch_size,
                neighbours=min(self._neighbours, self._batch_size),
                **where,
            )
        else:
            batches = epoch_batches(self._lengths[rows], *groups, self._batch_size, **where)
        return [rows[b] for b in batches]

    def _batch(self, rows):
        length = -(-max(int(self._lengths[rows].max()), 1) // STEP) * STEP
        missing = self._batch_size - len(rows)
        ids = [side.padded(rows, self._batch_size, length) for side in self._sides]
        groups = [
            np.concatenate([g[rows], np.full(missing, PADDING_PAIR)]).astype(np.int32)
            for g in self._groups
        ]
        return (*ids, *groups)


class _Questions:
    """Word ids of questions one after the other, from which a batch is cut without a loop."""

    def __init__(self, ids, max_words):
        ids = [row[:max_words] for row in id_rows(ids)]
        self.lengths = np.array([len(q) for q in ids], np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._ids = np.concatenate([*ids, [PAD_ID]]).astype(
            np.int32
        )  # what lies behind a question reads the last one

    def padded(self, rows, n_rows, length):
        """int32 (n_rows, length): the questions of these numbers, then rows of padding."""
        place = np.arange(length)
        where = np.where(
            place < self.lengths[rows, None], self._starts[rows, None] + place, len(self._ids) - 1
        )
        padded = np.full((n_rows, length), PAD_ID, np.int32)
        padded[: len(rows)] = self._ids[where]
        return padded


def _checked_groups(groups, n1, n2):
    if n1 != n2 or not n1:
        raise ValueError(
            "a stream takes as many questions on the one side as on the other, at least one pair; got "
            f"{n1}, {n2}"
        )
    if not isinstance(groups, (tuple, list)) or len(groups) != 2:
        raise ValueError("groups must be a pair of arrays, as from data.question_groups")
    groups = [np.asarray(side) for side in groups]
    for side in groups:
        if side.shape != (n1,) or side.dtype.kind not in "iu":
            raise ValueError(
                f"groups must be two arrays, int ({n1},), but one of them is {side.dtype} {side.shape}"
            )
    return groups


def whose_turn(groups, batch_size, *, seed, epoch):
    """The pairs that come in an epoch: all, but of a duplicate group too large for it only some.

    A batch takes one pair of a group, so an epoch of k batches has room for k pairs of it; the
    others would be left for batches of few pairs, all of the same groups. They take turns instead:
    the group's m pairs stand in a circle, in random order, and each epoch takes the next k of them.
    So each pair comes at least once in any ceil(m / k) epochs, and pairs of groups of at most k
    come in every one.

    Args:
        groups: int (n,), the duplicate group of each pair.
        batch_size: pairs a batch.
        seed: of the order in the circles.
        epoch: number of the epoch, from 0.

    Returns:
        int64 array, ascending: the numbers of the pairs that come.

    Raises:
        TypeError: a number that is not whole.
        ValueError: groups that are not int (n,), a number outside its range.

    Example:
        A group of three pairs, and one of one: two batches of two, with room for two of the three.

        >>> [whose_turn([5, 5, 5, 6], 2, seed=0, epoch=epoch).tolist() for epoch in range(3)]
        [[0, 2, 3], [1, 2, 3], [0, 1, 3]]
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("epoch", epoch, 0),
    ):
        whole_number(name, value, least)
    groups = np.asarray(groups)
    if groups.ndim != 1 or (groups.size and groups.dtype.kind not in "iu"):
        raise ValueError(f"groups must be int (n,), but it is {groups.dtype} {groups.shape}")
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # Room for k of each group leaves sum(min(size, k)) pairs; the largest k for which they fill k
    # batches.
    counts_of_sizes = np.bincount(sizes, minlength=1)
    pairs_at = np.cumsum(np.cumsum(counts_of_sizes[::-1])[::-1][1:])
    room = np.count_nonzero(pairs_at > np.arange(len(pairs_at)) * batch_size)
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    order = shuffled[
        np.argsort(groups[shuffled], kind="stable")
    ]  # group by group, each in random order
    size = np.repeat(sizes, sizes)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[(place - epoch * room) % size < room])
