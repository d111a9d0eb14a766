"""Padding, and the guarantees of an epoch's batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.batches import epoch_batches, neighbour_batches, pad
from trax_triplet.data.pairs import question_groups
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.vocabulary import PAD_ID, Vocabulary


@pytest.mark.parametrize(
    "lengths, multiple, common",
    [
        ([3, 1], 8, 8),
        ([8], 8, 8),
        ([9, 2], 8, 16),
        ([0, 0], 8, 8),
        ([], 4, 4),
        ([3, 5], 1, 5),
        ([0], 1, 1),
    ],
)
def test_pad_rounds_the_longest_row_up(lengths, multiple, common):
    rows = [np.arange(2, 2 + length) for length in lengths]
    padded = pad(rows, multiple=multiple)
    assert padded.shape == (len(rows), common) and padded.dtype == np.int32
    for row, out in zip(rows, padded.tolist()):
        assert out == row.tolist() + [PAD_ID] * (common - len(row))


def test_pad_to_a_length_and_cut():
    rows = [[5, 6, 7], [8]]
    assert pad(rows, length=4).tolist() == [[5, 6, 7, 1], [8, 1, 1, 1]]
    assert pad(rows, max_length=2, multiple=2).tolist() == [[5, 6], [8, 1]]
    assert pad(rows, length=2, max_length=2).tolist() == [[5, 6], [8, 1]]
    with pytest.raises(
        ValueError, match="a row of 3 ids does not fit into length=2; cut it by max_length="
    ):
        pad(rows, length=2)


@pytest.mark.parametrize("options", [{"multiple": 0}, {"length": 0}, {"max_length": 0}])
def test_pad_refuses_lengths_below_one(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least 1, got 0"):
        pad([[5]], **options)


@pytest.mark.parametrize("row", [[1.5], 3, [[1]], ["a"]])
def test_pad_refuses_what_is_no_row_of_ids(row):
    with pytest.raises((TypeError, ValueError, IndexError), match="row 1 is|too many indices"):
        pad([[5], row])


def check_guarantees(batches, groups1, groups2, batch_size):
    """Every pair once; no group twice in a batch; full batches but for the last; sizes fall."""
    assert sorted(pair for batch in batches for pair in batch.tolist()) == list(range(len(groups1)))
    for batch in batches:
        seen = set()
        for pair in batch.tolist():
            sides = {int(groups1[pair]), int(groups2[pair])}
            assert not sides & seen
            seen |= sides
    sizes = [len(batch) for batch in batches]
    assert sizes == sorted(sizes, reverse=True) and all(1 <= size <= batch_size for size in sizes)
    assert all(batch.dtype == np.int64 for batch in batches)


GROUPS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), max_size=60
).map(
    lambda sides: (
        np.array([(a, a if same else b) for a, b, same in sides], np.int64).reshape(-1, 2).T
    )
)


@settings(deadline=None, max_examples=200)
@given(GROUPS, st.integers(1, 9), st.booleans(), st.integers(0, 2), st.integers(0, 99))
def test_epoch_guarantees_whatever_the_groups(groups, batch_size, bucketed, epoch, seed):
    lengths = np.random.default_rng(seed).integers(0, 30, groups.shape[1])
    options = {"seed": seed, "epoch": epoch, "bucketed": bucketed}
    batches = epoch_batches(lengths, *groups, batch_size, **options)
    check_guarantees(batches, *groups, batch_size)
    again = epoch_batches(lengths, *groups, batch_size, **options)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@settings(deadline=None, max_examples=200)
@given(GROUPS, st.integers(1, 9), st.integers(0, 2), st.integers(0, 99), st.data())
def test_neighbour_guarantees_whatever_the_groups(groups, batch_size, epoch, seed, drawn):
    vectors = np.random.default_rng(seed).normal(size=(groups.shape[1], 3))
    options = {"seed": seed, "epoch": epoch, "neighbours": drawn.draw(st.integers(1, batch_size))}
    batches = neighbour_batches(vectors, *groups, batch_size, **options)
    check_guarantees(batches, *groups, batch_size)
    again = neighbour_batches(vectors, *groups, batch_size, **options)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@pytest.mark.parametrize("make", ["epoch", "neighbour"])
def test_another_epoch_or_seed_gives_other_batches(make):
    groups = np.arange(64)
    vectors = np.random.default_rng(0).normal(size=(64, 4))

    def batches(seed, epoch):
        if make == "epoch":
            found = epoch_batches(np.full(64, 5), groups, groups, 8, seed=seed, epoch=epoch)
        else:
            found = neighbour_batches(
                vectors, groups, groups, 8, neighbours=4, seed=seed, epoch=epoch
            )
        return [batch.tolist() for batch in found]

    assert batches(0, 0) == batches(0, 0)
    assert batches(0, 0) != batches(0, 1) and batches(0, 0) != batches(1, 0)


def test_without_clashes_one_batch_is_smaller():
    groups = np.arange(103)
    sizes = [len(b) for b in epoch_batches(np.full(103, 5), groups, groups, 10, seed=0)]
    assert sizes == [10] * 10 + [3]
    vectors = np.eye(103)
    assert [
        len(b) for b in neighbour_batches(vectors, groups, groups, 10, neighbours=5, seed=0)
    ] == sizes


def test_exchange_keeps_the_tail_short():
    # 400 pairs, batches of 10; ten groups of 35 pairs and 50 single pairs: 40 batches can hold them
    # all, though the first batches of any greedy order use up too few of the large groups.
    groups = np.concatenate([np.repeat(np.arange(10), 35), np.arange(100, 150)])
    for seed in range(5):
        batches = epoch_batches(np.full(400, 5), groups, groups, 10, seed=seed)
        check_guarantees(batches, groups, groups, 10)
        assert len(batches) <= 42


def test_one_large_group_leaves_a_tail_of_its_own():
    # A group of 30 pairs needs 30 batches; 40 others fill some of them up to 7.
    groups = np.concatenate([np.zeros(30, int), np.arange(1, 41)])
    batches = epoch_batches(np.full(70, 5), groups, groups, 7, seed=0)
    check_guarantees(batches, groups, groups, 7)
    assert len(batches) == 30


def padding_share(batches, lengths):
    steps = sum(len(batch) * max(lengths[batch]) for batch in batches)
    return 1 - lengths.sum() / steps


def test_bucketed_batches_need_little_padding_and_are_not_in_order_of_length():
    rng = np.random.default_rng(0)
    lengths, groups = rng.integers(5, 45, 20_000), rng.integers(0, 9_000, 20_000)
    by_length = epoch_batches(lengths, groups, groups, 64, seed=0)
    any_length = epoch_batches(lengths, groups, groups, 64, seed=0, bucketed=False)
    check_guarantees(by_length, groups, groups, 64)
    # 50 batches share 40 lengths, so a batch spans one or two of them; unbucketed all 40 (mean 24.5
    # of 44).
    assert padding_share(by_length, lengths) < 0.05
    assert 0.4 < padding_share(any_length, lengths) < 0.5
    longest = [int(max(lengths[batch])) for batch in by_length[:200]]
    assert abs(np.corrcoef(longest, np.arange(200))[0, 1]) < 0.3


def test_neighbours_share_a_batch():
    # 16 clusters of 16 pairs in 16 directions: each batch of 32 must be two whole clusters.
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(16), 16))
    vectors = np.eye(16)[cluster] + 0.01 * rng.normal(size=(256, 16))
    batches = neighbour_batches(vectors, np.arange(256), np.arange(256), 32, neighbours=16, seed=3)
    assert len(batches) == 8
    assert all(len(set(cluster[batch].tolist())) == 2 for batch in batches)


def test_neighbours_of_the_seeds_own_group_are_passed_over():
    # Each pair has 20 copies in its group, all nearer than anything else: the neighbours come from
    # elsewhere.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 20)
    vectors = (rng.normal(size=(40, 8)))[groups] + 1e-4 * rng.normal(size=(800, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    batches = neighbour_batches(vectors, groups, groups, 20, neighbours=5, seed=0)
    check_guarantees(batches, groups, groups, 20)
    assert [len(batch) for batch in batches[:30]] == [20] * 30


def test_wrong_arguments():
    good = [np.zeros(3, int), np.arange(3), np.arange(3), 2]
    for position, wrong, phrase in [
        (0, np.zeros((3, 1), int), "lengths must be int"),
        (0, np.zeros(3), "lengths must be int"),
        (1, np.arange(2), r"groups1 must be int \(3,\)"),
        (2, np.zeros(3), r"groups2 must be int \(3,\), got float64"),
        (3, 0, "batch_size must be at least 1"),
    ]:
        arguments = good[:position] + [wrong] + good[position + 1 :]
        with pytest.raises(ValueError, match=phrase):
            epoch_batches(*arguments, seed=0)
    for numbers in ({"seed": -1}, {"seed": 0, "epoch": -1}):
        with pytest.raises(ValueError, match="seed and epoch at least 0"):
            epoch_batches(*good, **numbers)
    for vectors in (np.zeros(3), [[np.nan], [0], [0]]):
        with pytest.raises(ValueError, match="vectors must be finite"):
            neighbour_batches(vectors, *good[1:], seed=0, neighbours=1)
    with pytest.raises(ValueError, match="neighbours must be from 1 to batch_size=2, got 16"):
        neighbour_batches(np.zeros((3, 2)), *good[1:], seed=0)


@pytest.mark.real_data
def test_real_pairs(real_data):
    pairs = read_pairs(real_data / "quora_duplicates.csv")
    questions = pairs.question1 + pairs.question2
    ids = Vocabulary.build(questions).encode_all(questions)
    lengths = np.array([len(row) for row in ids]).reshape(2, -1).max(axis=0)
    groups = question_groups(pairs)
    batches = epoch_batches(lengths, *groups, 256, seed=0)
    check_guarantees(batches, *groups, 256)
    largest_group = int(np.bincount(groups[0]).max())
    assert len(batches) == max(largest_group, -(-len(pairs) // 256))
    assert padding_share(batches, lengths) < 0.1
