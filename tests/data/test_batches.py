"""The guarantees of an epoch's batches, whatever the groups and the order; and padding."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.batches import epoch_batches
from trax_triplet.data.padding import course_length, pad, rounded_length
from trax_triplet.data.pairs import question_groups
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.vocabulary import PAD_ID, Vocabulary

ORDERS = ("random", "lengths", "vectors")


def planned(groups, batch_size, order="random", **options):
    """`epoch_batches` in one of the three orders, with lengths or vectors drawn for it."""
    rng = np.random.default_rng(len(groups))
    if order == "lengths":
        options["lengths"] = rng.integers(0, 30, len(groups))
    if order == "vectors":
        options["vectors"] = rng.normal(size=(len(groups), 3))
    return epoch_batches(groups, batch_size, **{"seed": 0, "neighbours": 3, **options})


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def check_guarantees(batches, groups, batch_size):
    """No pair and no group of a batch comes twice; the full batches come first; sizes fall."""
    came = [pair for batch in batches for pair in batch.tolist()]
    assert len(set(came)) == len(came)
    for batch in batches:
        assert batch.dtype == np.int64 and len(np.unique(groups[batch])) == len(batch)
    sizes = [len(batch) for batch in batches]
    assert sizes == sorted(sizes, reverse=True) and all(1 <= size <= batch_size for size in sizes)
    # A batch that is not full holds a pair of every group left.
    partial = [set(groups[batch].tolist()) for batch in batches if len(batch) < batch_size]
    assert all(later <= earlier for earlier, later in pairwise(partial))


GROUPS = st.lists(st.integers(0, 9), max_size=60).map(lambda groups: np.array(groups, np.int64))


@settings(deadline=None, max_examples=100)
@given(GROUPS, st.integers(1, 9), st.sampled_from(ORDERS), st.integers(0, 5))
def test_guarantees_and_turns_whatever_the_groups(groups, batch_size, order, seed):
    epochs = [planned(groups, batch_size, order, seed=seed, epoch=epoch) for epoch in range(12)]
    n_batches = len(epochs[0])
    for batches in epochs:
        check_guarantees(batches, groups, batch_size)
        assert len(batches) == n_batches == -(-sum(map(len, batches)) // batch_size)
    came = [set().union(*as_lists(batches)) for batches in epochs]
    for group, size in zip(*np.unique(groups, return_counts=True)):
        members = set(np.flatnonzero(groups == group).tolist())
        assert {len(pairs & members) for pairs in came} == {min(size, n_batches)}
        turns = -(-size // n_batches)
        for start in range(len(epochs) - turns + 1):  # any ceil(m / k) epochs have every pair
            assert members <= set().union(*came[start : start + turns])


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.integers(1, 9), st.sampled_from(ORDERS), st.randoms())
def test_chosen_rows_come_all_and_no_others(groups, batch_size, order, random):
    rows = [row for row in range(len(groups)) if random.random() < 0.5]
    batches = planned(groups, batch_size, order, rows=rows)
    check_guarantees(batches, groups, batch_size)
    assert sorted(pair for batch in as_lists(batches) for pair in batch) == rows
    largest = np.unique(groups[rows], return_counts=True)[1].max(initial=0)
    assert len(batches) == max(largest, -(-len(rows) // batch_size))


@pytest.mark.parametrize("order", ORDERS)
def test_seed_and_epoch_decide(order):
    def batches(seed, epoch):
        return as_lists(planned(np.arange(64), 8, order, seed=seed, epoch=epoch))

    assert batches(0, 0) == batches(0, 0)
    assert batches(0, 0) != batches(0, 1) and batches(0, 0) != batches(1, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_without_clashes_one_batch_is_smaller(order):
    batches = planned(np.arange(103), 10, order)
    assert [len(batch) for batch in batches] == [10] * 10 + [3]


def test_as_many_of_a_group_come_as_there_are_batches():
    # 6 pairs of one group and 4 others, batches of 2. With 4 of the group: 8 pairs, 4 batches. With
    # 5: 9 pairs, 5 batches. With 6: 10 pairs, still 5 batches, of which one would need two of them.
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    for epoch in range(3):
        batches = as_lists(epoch_batches(groups, 2, seed=0, epoch=epoch))
        assert [len(batch) for batch in batches] == [2, 2, 2, 2, 1]
        assert {6, 7, 8, 9} <= set().union(*batches)


def test_large_groups_leave_no_tail():
    # 400 pairs, batches of 10; ten groups of 35 pairs and 50 single pairs: 40 batches hold them
    # all, if the large groups are used from the start.
    groups = np.concatenate([np.repeat(np.arange(10), 35), np.arange(100, 150)])
    for order in ORDERS:
        batches = planned(groups, 10, order, rows=np.arange(400))
        assert [len(batch) for batch in batches] == [10] * 40


def padding_share(batches, lengths):
    steps = sum(len(batch) * max(lengths[batch]) for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / steps


def test_similar_lengths_need_little_padding_and_are_not_in_order():
    rng = np.random.default_rng(0)
    lengths, groups = rng.integers(5, 45, 20_000), rng.integers(0, 9_000, 20_000)
    by_length = epoch_batches(groups, 64, seed=0, lengths=lengths)
    # 312 batches share 40 lengths, so most have one; otherwise all 40 (mean 24.5 of 44).
    assert padding_share(by_length, lengths) < 0.03
    assert 0.4 < padding_share(epoch_batches(groups, 64, seed=0), lengths) < 0.5
    longest = [int(max(lengths[batch])) for batch in by_length[:300]]
    assert abs(np.corrcoef(longest, np.arange(300))[0, 1]) < 0.3


def test_neighbours_share_a_batch():
    # 16 clusters of 16 pairs in 16 directions: each batch of 32 must be two complete clusters.
    rng = np.random.default_rng(0)
    cluster = rng.permutation(np.repeat(np.arange(16), 16))
    vectors = np.eye(16)[cluster] + 0.01 * rng.normal(size=(256, 16))
    batches = epoch_batches(np.arange(256), 32, vectors=vectors, neighbours=16, seed=3)
    assert len(batches) == 8
    assert all(len(set(cluster[batch].tolist())) == 2 for batch in batches)


def test_neighbours_are_the_nearest_of_other_groups():
    # Pairs lie on a line, two of each group beside each other: a batch of one block of 3 is a pair
    # and its two nearest ones that are not of its own group, nor of one another's.
    angles = np.arange(12) * 0.1 + np.tile([0.0, -0.09], 6)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    groups = np.arange(12) // 2
    first = epoch_batches(groups, 3, vectors=vectors, neighbours=3, seed=0)
    assert sorted(pair for batch in as_lists(first) for pair in batch) == list(range(12))
    used = set()
    order = as_lists(epoch_batches(groups, 12, vectors=vectors, neighbours=3, seed=0))[0]
    seed, *near = order[:3]
    others = [i for i in range(12) if groups[i] != groups[seed]]
    expected = []
    for i in sorted(others, key=lambda i: -float(vectors[i] @ vectors[seed])):
        if groups[i] not in used and len(expected) < 2:
            expected.append(i)
            used.add(groups[i])
    assert near == expected


def test_neighbours_of_the_seeds_own_group_are_passed_over():
    # Each pair has 20 copies in its group, all nearer than anything else: the neighbours come from
    # elsewhere.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 20)
    vectors = rng.normal(size=(40, 8))[groups] + 1e-4 * rng.normal(size=(800, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    batches = epoch_batches(groups, 20, vectors=vectors, neighbours=5, seed=0)
    check_guarantees(batches, groups, 20)
    assert [len(batch) for batch in batches] == [20] * 40


@pytest.mark.real_data
def test_real_pairs(real_data):
    pairs = read_pairs(real_data / "quora_duplicates.csv")
    questions = pairs.question1 + pairs.question2
    _, ids = Vocabulary.build_encoded(questions)
    lengths = np.array([len(row) for row in ids]).reshape(2, -1).max(axis=0)
    groups = question_groups(pairs)[0]
    batches = epoch_batches(groups, 256, seed=0, lengths=lengths)
    check_guarantees(batches, groups, 256)
    assert 0.98 * len(pairs) < sum(map(len, batches)) <= 256 * len(batches)
    # Six groups are in every batch, whatever its length; without order the share is 0.6.
    assert padding_share(batches, lengths) < 0.45


@pytest.mark.parametrize("n_words, rounded, course", [(0, 8, 8), (8, 8, 8), (9, 16, 16)])
def test_lengths_are_rounded_up(n_words, rounded, course):
    assert (rounded_length(n_words), course_length(n_words)) == (rounded, course)


def test_long_questions_of_a_course_model_go_up_to_a_power_of_two():
    assert [course_length(n) for n in (63, 64, 65, 128, 129)] == [64, 64, 128, 128, 256]


@pytest.mark.parametrize("lengths", [(3, 1), (4,), (0, 0), (), (0, 4, 2)])
def test_pad_fills_up_rows_and_columns(lengths):
    rows = [np.arange(2, 2 + length) for length in lengths]
    padded = pad(rows, 4, len(rows) + 1)
    assert padded.dtype == np.int32
    expected = [row.tolist() + [PAD_ID] * (4 - len(row)) for row in rows]
    assert padded.tolist() == [*expected, [PAD_ID] * 4]
    assert pad(rows, 4).tolist() == expected
