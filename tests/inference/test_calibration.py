"""Probabilities: the same as scikit-learn's logistic regression, and finite at the extremes."""

import numpy as np
import pytest

from trax_triplet.inference.calibration import (
    check_calibration,
    expected_share,
    fit_calibration,
    probabilities,
    similarity_of_half,
)


def closeness(scores):
    """1 for equal directions, 0 at a right angle, -1 for opposite ones; linear in the angle."""
    return 1 - np.degrees(np.arccos(np.asarray(scores, np.float64))) / 90


def pairs(n, slope, intercept, seed=0):
    """Similarities and labels that follow a logistic function of the angle."""
    random = np.random.default_rng(seed)
    scores = random.uniform(-0.3, 1, n)
    chances = 1 / (1 + np.exp(-(slope * closeness(scores) + intercept)))
    labels = random.uniform(size=n) < chances
    return scores, labels.astype(np.int8)


@pytest.mark.parametrize("slope, intercept", [(6, -4), (40, -25), (1, 0), (-3, 1)])
def test_is_the_logistic_regression_of_softened_labels(slope, intercept):
    linear_model = pytest.importorskip("sklearn.linear_model")
    scores, labels = pairs(500, slope, intercept)
    found = fit_calibration(scores.astype(np.float32), labels, share=labels.mean())
    # A label of t is t of a 1 and 1 - t of a 0.
    n1 = labels.sum()
    target = np.where(labels, (n1 + 1) / (n1 + 2), 1 / (500 - n1 + 2))
    oracle = linear_model.LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000)
    oracle.fit(
        np.tile(closeness(scores.astype(np.float32)), 2)[:, None],
        np.repeat([1, 0], 500),
        np.concatenate([target, 1 - target]),
    )
    assert found["slope"] == pytest.approx(oracle.coef_[0, 0], rel=1e-3)
    assert found["intercept"] == pytest.approx(oracle.intercept_[0], rel=1e-3, abs=1e-4)
    expected = oracle.predict_proba(closeness(scores)[:, None])[:, 1]
    np.testing.assert_allclose(probabilities(scores, found), expected, atol=1e-4)


def test_finds_what_the_labels_follow():
    scores, labels = pairs(50_000, 6, -4)
    found = fit_calibration(scores, labels, share=labels.mean())
    assert found["slope"] == pytest.approx(6, rel=0.05)
    assert found["intercept"] == pytest.approx(-4, rel=0.05)
    share = 100 * labels.mean()
    assert f"on 50000 labelled validation pairs, {share:.1f} % of them dup" in found["source"]
    chances = probabilities(scores, found)
    # What a logistic regression with an intercept always gives, but for the softened labels.
    assert chances.mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_another_share_of_duplicates_moves_the_log_odds():
    scores, labels = pairs(20_000, 6, -4)
    # As if three of four others were left out: the odds of a duplicate are four times as large.
    odds = labels.mean() / (1 - labels.mean())
    moved = fit_calibration(scores, labels, share=4 * odds / (1 + 4 * odds))
    own = fit_calibration(scores, labels, share=labels.mean())
    assert moved["slope"] == own["slope"]
    assert moved["intercept"] == pytest.approx(own["intercept"] + np.log(4))
    kept = (labels == 1) | (np.random.default_rng(1).uniform(size=len(labels)) < 0.25)
    again = fit_calibration(scores[kept], labels[kept], share=labels[kept].mean())
    np.testing.assert_allclose(
        probabilities(scores, moved), probabilities(scores, again), atol=0.02
    )


def test_a_share_that_nobody_knows_lies_between_that_of_the_labels_and_a_half():
    # Odds of 1 to 9, 1 to 1 and 4 to 1; of the roots, 1 to 3, 1 to 1 and 2 to 1.
    for labels, share in [([1] + [0] * 9, 1 / 4), ([1, 0], 1 / 2), ([1] * 4 + [0], 2 / 3)]:
        assert expected_share(np.array(labels)) == pytest.approx(share)
    scores, labels = pairs(2_000, 6, -4)
    share = expected_share(labels)
    unknown, told = (fit_calibration(scores, labels, share=s) for s in (None, share))
    assert unknown["intercept"] == told["intercept"]
    assert "a guess" in unknown["source"] and "a guess" not in told["source"]


def test_pairs_that_a_threshold_tells_apart_do_not_become_certain():
    found = fit_calibration(np.repeat([0.9, 0.1], 5), np.repeat([1, 0], 5))
    assert probabilities(np.array([0.9, 0.1]), found) == pytest.approx([6 / 7, 1 / 7], abs=1e-5)


@pytest.mark.parametrize("scores", [[0.5] * 4, [1.0] * 4, [0.0] * 4])
def test_equal_scores_have_the_share_of_duplicates(scores):
    found = fit_calibration(np.array(scores), np.array([1, 0, 0, 0]), share=1 / 4)
    share = ((1 + 1) / (1 + 2) + 3 / (3 + 2)) / 4  # of the softened labels
    assert probabilities(np.array(scores), found) == pytest.approx([share] * 4, abs=1e-5)


def test_a_calibration_of_earlier_models_is_of_the_similarity_itself():
    # 4 x 0.5 = 2, and 4 x 1 - 2 = 2.
    earlier = {"slope": 4.0, "intercept": -2.0, "source": "a fit"}
    check_calibration(earlier)
    expected = [0.5, 1 / (1 + np.exp(-2))]
    assert probabilities(np.array([0.5, 1]), earlier) == pytest.approx(expected)
    assert similarity_of_half(earlier) == 0.5


def test_half_is_where_the_probability_is_a_half():
    found = {"of": "angle", "slope": 6.0, "intercept": -4.0}  # 2/3 of 90 degrees before 90: at 30
    assert similarity_of_half(found) == pytest.approx(np.sqrt(3) / 2)
    assert probabilities(np.array([np.sqrt(3) / 2]), found) == pytest.approx([0.5])
    assert similarity_of_half({**found, "intercept": -99.0}) == 1  # nothing is as likely as that
    assert similarity_of_half({**found, "slope": -6.0}) is None


def test_what_a_calibration_is_of_must_be_known():
    with pytest.raises(ValueError, match="'of'"):
        check_calibration({"of": "length", "slope": 1.0, "intercept": 0.0})


def test_probabilities_stay_in_range_whatever_the_numbers():
    scores = np.array([-1, 0, 1, 1], np.float32)
    found = probabilities(scores, {"slope": 1e300, "intercept": 0})
    assert found.tolist() == [0, 0.5, 1, 1] and found.dtype == np.float32
    assert np.isnan(probabilities(np.array([np.nan]), {"slope": 1, "intercept": 0})).all()
