"""The threshold of a trained model: on labels where there are some, else against near questions."""

import numpy as np
import pytest

from trax_triplet.data.pairs import Pairs
from trax_triplet.training import threshold
from trax_triplet.training.threshold import choose_threshold


def at(*similarities):
    """Unit vectors, in a plane, of these similarities to [1, 0]."""
    return [[s, np.sqrt(1 - s**2)] for s in similarities]


def test_labels_decide_where_there_is_no_probability_to_go_by():
    pairs = Pairs(["a"] * 4, ["b", "c", "d", "e"], [1, 1, 0, 0])
    vectors = np.array(at(1, 1, 1, 1, 0.9, 0.7, 0.5, 0.1))
    found, source = choose_threshold(vectors, pairs, 0, seed=0)
    assert found == pytest.approx((0.7 + 0.5) / 2)
    assert source == "best accuracy, 1.0000, on 4 pairs"


def test_with_a_probability_it_is_where_duplicates_are_as_likely_as_not():
    pairs = Pairs(["a"] * 4, ["b", "c", "d", "e"], [1, 1, 0, 0])
    vectors = np.array(at(1, 1, 1, 1, 0.9, 0.7, 0.5, 0.1))
    calibration = {"slope": 8.0, "intercept": -6.0, "source": "a fit"}  # 8 x 0.75 = 6
    found, source = choose_threshold(vectors, pairs, 0, 0, calibration)
    assert found == pytest.approx(0.75) and source == "a probability of 0.5, by a fit"
    # So rare that no similarity would do; and a fit by which duplicates are the less similar ones.
    assert choose_threshold(vectors, pairs, 0, 0, {**calibration, "intercept": -99.0})[0] == 1
    turned = {**calibration, "slope": -8.0}
    assert choose_threshold(vectors, pairs, 0, 0, turned) == choose_threshold(vectors, pairs, 0, 0)


def test_drawn_negatives_do_not_decide():
    # The question a is as near to d, of another pair, as 0.6; the pair drawn for it is at 0.
    pairs = Pairs(["a", "b", "a"], ["c", "d", "b"], [1, 1, 0])
    vectors = np.array([*at(1, 0, 1), *at(1, 0.6, 0)], np.float32)
    found, source = choose_threshold(vectors, pairs, 1, seed=0)
    assert found == pytest.approx((0.6 + 0.8) / 2)
    assert "most similar one of another pair" in source and "on 2 duplicate pairs" in source


def test_a_question_of_the_same_group_is_no_negative():
    # a = c and a = e. To a only b and d are others, at 0 and 0.3; to b they are a, c and e, of
    # which e is the nearest, at 0.6.
    pairs = Pairs(["a", "a", "b", "a"], ["c", "e", "d", "b"], [1, 1, 1, 0])
    vectors = np.array([*at(1, 1, 0, 1), *at(0.9, 0.8, 0.3, 0)])
    found, _ = choose_threshold(vectors, pairs, 1, seed=0)
    assert found == pytest.approx((0.6 + 0.8) / 2)


def test_of_many_pairs_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(threshold, "MOST_PAIRS", 3)
    names = [f"{i}" for i in range(9)]
    pairs = Pairs(
        [*(f"a{i}" for i in names), "a0"], [*(f"b{i}" for i in names), "b1"], [1] * 9 + [0]
    )
    vectors = np.concatenate([np.eye(9), np.eye(9)[:1], np.eye(9), np.eye(9)[1:2]])
    found, source = choose_threshold(vectors, pairs, 1, seed=0)
    assert found == pytest.approx(0.5) and "on 3 duplicate pairs" in source
