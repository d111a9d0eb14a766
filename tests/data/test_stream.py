"""The stream of batches: every pair comes, shapes repeat, and its place can be found again."""

import numpy as np
import pytest

from trax_triplet.data.stream import BatchStream


def stream(n=10, batch_size=4, **settings):
    """Pair i has the word 2 + i, on both sides, one to three times."""
    ids = [np.array([2 + i] * (1 + i % 3), np.int32) for i in range(n)]
    groups = np.arange(n) // 2 * 2  # pairs 2k and 2k + 1 ask the same
    settings = {
        "seed": 0,
        "max_words": 8,
        "neighbours": 2,
        "vectors": lambda: np.eye(n, 4, dtype=np.float32) + 0.1,
        **settings,
    }
    return BatchStream(ids, ids, groups, batch_size=batch_size, **settings)


def rows_of(batch):
    return [int(row[0]) - 2 for row, group in zip(batch[0], batch[2]) if group >= 0]


@pytest.mark.parametrize("hard", [False, True])
def test_every_pair_once_an_epoch_and_one_shape(hard):
    s = stream()
    if hard:
        s.start_hard_mining()
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
    one.start_hard_mining() if steps > 4 else None
    for _ in range(steps):
        next(one)
    other.restore(one.state())
    for _ in range(8):
        for a, b in zip(next(one), next(other)):
            np.testing.assert_array_equal(a, b)


def test_a_batch_smaller_than_the_groups_is_one_group():
    s = stream(batch_size=4, neighbours=16)
    s.start_hard_mining()
    assert sorted(row for batch in s.rest_of_epoch() for row in rows_of(batch)) == list(range(10))


def test_hard_mining_inside_an_epoch_keeps_the_rest_of_it():
    s = stream()
    seen = rows_of(next(s))
    s.start_hard_mining()
    seen += [row for batch in s.rest_of_epoch() for row in rows_of(batch)]
    assert sorted(seen) == list(range(10))


def test_long_questions_are_cut_in_training():
    s = stream(max_words=2)
    assert all((batch[0][:, 2:] == 1).all() for batch in s.rest_of_epoch())


def test_the_two_sides_are_padded_to_one_length():
    one, other = [np.array([5] * 3), np.array([6] * 9)], [np.array([7] * 17), np.array([8])]
    batch = next(BatchStream(one, other, [3, 4], batch_size=3, seed=0, max_words=20))
    rows = np.argsort(batch[2][:2])
    assert batch[0][rows].tolist() == [[5] * 3 + [1] * 21, [6] * 9 + [1] * 15]
    assert batch[1][rows].tolist() == [[7] * 17 + [1] * 7, [8] + [1] * 23]
    assert batch[2].tolist() == batch[3].tolist() == [*batch[2][:2].tolist(), -1]


def test_pairs_whose_turn_is_in_another_epoch_are_counted():
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    ids = [np.array([2 + i], np.int32) for i in range(10)]
    s = BatchStream(ids, ids, groups, batch_size=2, seed=0, max_words=8)
    seen = [sorted(row for batch in s.rest_of_epoch() for row in rows_of(batch)) for _ in range(2)]
    assert s.n_deferred == 1
    assert all(len(set(rows)) == 9 and set(rows) >= {6, 7, 8, 9} for rows in seen)
    assert set(seen[0]) | set(seen[1]) == set(range(10))


def test_the_rows_of_the_batches_given_are_handed_out_once():
    s = stream()
    given = [rows_of(next(s)) for _ in range(2)]
    assert [rows.tolist() for rows in s.take_rows()] == given and s.take_rows() == []


def test_hard_batches_are_made_of_neighbours():
    # Pairs 2k and 2k + 5 point the same way: a block of two is such a couple.
    way = np.arange(10) % 5
    s = stream(batch_size=2, vectors=lambda: np.eye(5, dtype=np.float32)[way])
    s.start_hard_mining()
    assert all(way[a] == way[b] for a, b in map(rows_of, s.rest_of_epoch()))
    with pytest.raises(ValueError, match="vectors"):
        stream(vectors=None).start_hard_mining()


def with_others(n_others, **settings):
    """As `stream`, and others: i has the words 100 + i and 500 + i."""
    sides = [[np.array([first + i]) for i in range(n_others)] for first in (100, 500)]
    return stream(others=sides, **settings)


def test_others_come_after_the_duplicates_all_before_one_comes_again():
    s = with_others(7)  # 3 x 7 others over 3 batches; 3/8 of the 4 duplicates of each are 1.5
    assert s.others_per_batch == 2
    seen = []
    for _ in range(7):
        ids1, ids2, groups1, _, labels = next(s)
        assert ids1.shape == (6, 8) and (groups1[4:] == -1).all() and (labels[4:] == 0).all()
        assert (labels[:4] == np.where(groups1[:4] >= 0, 1, -1)).all()
        assert (ids2[4:, 0] - ids1[4:, 0] == 400).all()
        seen += [int(i) - 100 for i in ids1[4:, 0]]
    turns = [seen[i : i + 7] for i in range(0, 14, 7)]
    assert all(sorted(turn) == list(range(7)) for turn in turns) and turns[0] != turns[1]


def test_few_others_are_few_in_a_batch_and_devices_share_them():
    assert with_others(1).others_per_batch == 1
    few = with_others(1, multiple=2)
    assert few.others_per_batch == 2
    assert next(few)[4].tolist()[4:] == [0, -1]
    # Two of them in a batch, whatever the number of devices.
    on_one, on_three = with_others(7), with_others(7, multiple=3)
    for _ in range(4):
        for column, wider in zip(next(on_one), next(on_three), strict=True):
            assert wider[:6].tolist() == column.tolist() and len(wider) == 7
    assert stream(others=None).others_per_batch == 0 and len(next(stream())) == 4


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_restored_stream_goes_on_with_the_same_others(steps):
    one, other = with_others(7), with_others(7)
    for _ in range(steps):
        next(one)
    other.restore(one.state())
    for _ in range(5):
        for a, b in zip(next(one), next(other)):
            np.testing.assert_array_equal(a, b)


def test_others_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match=r"others\[1\] must be as many"):
        stream(others=([[2]], []))
