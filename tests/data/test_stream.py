"""The stream of batches: every pair comes, shapes repeat, and its place can be found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from trax_triplet.data.stream import BatchStream, whose_turn


def stream(n=10, batch_size=4, **settings):
    ids = [[np.array([2 + i] * (1 + i % 3), np.int32)] for i in range(n)]
    ids = [i[0] for i in ids]
    groups = np.arange(n) // 2 * 2  # pairs 2k and 2k + 1 ask the same
    settings = {
        "seed": 0,
        "max_words": 8,
        "neighbours": 2,
        "vectors": lambda: np.eye(n, 4, dtype=np.float32) + 0.1,
        **settings,
    }
    return BatchStream(ids, ids, (groups, groups), batch_size=batch_size, **settings)


def rows_of(batch):
    return [int(row[0]) - 2 for row, group in zip(batch[0], batch[2]) if group >= 0]


@pytest.mark.parametrize("hard", [False, True])
def test_every_pair_once_an_epoch_and_one_shape(hard):
    s = stream()
    if hard:
        s.harden()
    for epoch in range(2):
        batches = s.rest_of_epoch()
        assert s.epoch == epoch
        assert sorted(row for batch in batches for row in rows_of(batch)) == list(range(10))
        for ids1, ids2, groups1, groups2 in batches:
            assert ids1.shape == ids2.shape == (4, 8) and groups1.shape == groups2.shape == (4,)
            assert ids1.dtype == groups1.dtype == np.int32
            real = [int(g) for g in groups1 if g >= 0]
            assert len(set(real)) == len(real)  # no two pairs of a batch share a duplicate group
            assert (ids1[groups1 < 0] == 1).all()


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
def test_a_restored_stream_goes_on_where_it_stood(steps):
    one, other = stream(), stream()
    one.harden() if steps > 4 else None
    for _ in range(steps):
        next(one)
    other.restore(one.state())
    for _ in range(8):
        for a, b in zip(next(one), next(other)):
            np.testing.assert_array_equal(a, b)


def test_a_batch_smaller_than_the_groups_is_one_group():
    s = stream(batch_size=4, neighbours=16)
    s.harden()
    assert sorted(row for batch in s.rest_of_epoch() for row in rows_of(batch)) == list(range(10))


def test_hardening_inside_an_epoch_keeps_the_rest_of_it():
    s = stream()
    seen = rows_of(next(s))
    s.harden()
    seen += [row for batch in s.rest_of_epoch() for row in rows_of(batch)]
    assert sorted(seen) == list(range(10))


def test_long_questions_are_cut_in_training():
    s = stream(max_words=2)
    assert all((batch[0][:, 2:] == 1).all() for batch in s.rest_of_epoch())


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_pairs_of_large_groups_take_turns(groups, batch_size, seed):
    groups = np.array(groups)
    epochs = [whose_turn(groups, batch_size, seed=seed, epoch=epoch) for epoch in range(60)]
    for group, size in zip(*np.unique(groups, return_counts=True)):
        k = -(-len(epochs[0]) // batch_size)  # batches an epoch
        members = [set(pairs[groups[pairs] == group].tolist()) for pairs in epochs]
        assert {len(m) for m in members} == {min(size, k)}
        for start in range(
            len(epochs) - -(-size // k) + 1
        ):  # any ceil(size / k) epochs have every pair
            assert len(set().union(*members[start : start + -(-size // k)])) == size


def test_room_for_as_many_of_a_group_as_there_are_batches():
    # 6 pairs of one group and 4 others, batches of 2. Room for 4: 8 pairs, 4 batches. For 5: 9
    # pairs, 5 batches. For 6: 10 pairs, still 5 batches, of which one would need two of the group.
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    assert [len(whose_turn(groups, 2, seed=0, epoch=epoch)) for epoch in range(3)] == [9, 9, 9]


def test_a_group_larger_than_the_epoch_is_told_and_nothing_else_waits():
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    ids = [np.array([2 + i], np.int32) for i in range(10)]
    s = BatchStream(
        ids, ids, (groups, groups), batch_size=2, seed=0, max_words=8, neighbours=2, vectors=None
    )
    seen = [sorted(row for batch in s.rest_of_epoch() for row in rows_of(batch)) for _ in range(2)]
    assert s.waiting == 1
    assert all(len(set(rows)) == 9 and set(rows) >= {6, 7, 8, 9} for rows in seen)
    assert set(seen[0]) | set(seen[1]) == set(range(10))
