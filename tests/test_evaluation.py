"""evaluation: metrics against plain loops and scikit-learn, thresholds against every possible
cut."""

import itertools
import json
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet import evaluation as ev

DTYPES = (np.float16, np.float32, np.float64)
SCORES, LABELS = [0.9, 0.8, 0.7, 0.7, 0.4, 0.1], [1, 0, 1, 0, 1, 0]

# Few distinct values, so that most examples hold ties; and any float of the precision.
tied = st.sampled_from([-1.0, -0.5, -0.1, 0.0, 0.1, 0.3, 0.7, 1.0])


@st.composite
def scored_pairs(draw, both_classes=False):
    dtype = draw(st.sampled_from(DTYPES))
    width = np.dtype(dtype).itemsize * 8
    value = draw(st.sampled_from([tied, st.floats(-1, 1, width=width)]))
    pairs = draw(st.lists(st.tuples(value, st.booleans()), min_size=1, max_size=25))
    if both_classes:
        pairs += [(draw(value), True), (draw(value), False)]
    scores, labels = zip(*pairs)
    return np.array(scores, dtype), np.array(labels)


def plain_counts(scores, labels, threshold):
    """(tp, fp, fn, tn) by a loop over pairs, compared in the scores' own precision."""
    seen = [
        (bool(score > type(score)(threshold)), bool(label)) for score, label in zip(scores, labels)
    ]
    return tuple(
        seen.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))
    )


def plain_metric(name, tp, fp, fn, tn):
    """The metric as an exact fraction, from its definition."""
    if name == "accuracy":
        return Fraction(tp + tn, tp + fp + fn + tn)
    if name == "balanced_accuracy":
        return (Fraction(tp, tp + fn) + Fraction(tn, tn + fp)) / 2
    return 2 / (1 / Fraction(tp, tp + fp) + 1 / Fraction(tp, tp + fn)) if tp else Fraction(0)


def test_counts_and_rates_of_six_pairs():
    # above 0.7: 0.9 (duplicate), 0.8 (not); not above: 0.7, 0.4 (duplicates), 0.7, 0.1 (not)
    counts = ev.confusion(SCORES, LABELS, 0.7)
    assert counts._asdict() == {
        "true_positives": 1,
        "false_positives": 1,
        "false_negatives": 2,
        "true_negatives": 2,
    }
    assert {type(count) for count in counts} == {int}
    assert ev.accuracy(SCORES, LABELS, 0.7) == (1 + 2) / 6
    assert ev.precision(SCORES, LABELS, 0.7) == 1 / 2
    assert ev.recall(SCORES, LABELS, 0.7) == 1 / 3
    assert ev.f1(SCORES, LABELS, 0.7) == 2 * 1 / (2 * 1 + 1 + 2)
    assert ev.balanced_accuracy(SCORES, LABELS, 0.7) == (1 / 3 + 2 / 3) / 2


@given(scored_pairs(), st.one_of(tied, st.floats(-1, 1)))
@settings(deadline=None)
def test_counts_and_rates_equal_a_loop_and_scikit_learn(pairs, threshold):
    scores, labels = pairs
    assert ev.confusion(scores, labels, threshold) == plain_counts(scores, labels, threshold)
    called = scores > threshold
    expected = sk.precision_recall_fscore_support(
        labels, called, average="binary", zero_division=0
    )[:3]
    rates = [rate(scores, labels, threshold) for rate in (ev.precision, ev.recall, ev.f1)]
    assert rates == pytest.approx(list(expected))
    assert ev.accuracy(scores, labels, threshold) == pytest.approx(
        sk.accuracy_score(labels, called)
    )
    if len(set(labels.tolist())) == 2:
        balanced = ev.balanced_accuracy(scores, labels, threshold)
        assert balanced == pytest.approx(sk.balanced_accuracy_score(labels, called))


def test_zero_over_zero_is_zero():
    assert ev.precision([0.1, 0.2], [1, 0], 0.5) == 0.0
    assert ev.recall([0.1, 0.9], [0, 0], 0.5) == 0.0
    assert ev.f1([0.1, 0.2], [0, 0], 0.5) == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64])
def test_scores_are_compared_in_their_own_precision(dtype, kind):
    scores = np.array(
        [0.7, np.nextafter(dtype(0.7), dtype(1)), np.nextafter(dtype(0.7), dtype(0))], dtype
    )
    threshold = kind(0.7)
    expected = scores > float(threshold)  # what a user gets with an array and a Python float
    assert ev.accuracy(scores, expected, threshold) == 1.0
    if kind in (float, dtype):
        assert expected.tolist() == [False, True, False]
    assert ev.recall(scores, [1, 1, 1], 1e6) == 0.0  # beyond the range of half precision
    assert ev.recall(scores, [1, 1, 1], -1e300) == 1.0


def plain_roc_auc(scores, labels):
    duplicates = [score for score, label in zip(scores, labels) if label]
    others = [score for score, label in zip(scores, labels) if not label]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in duplicates for b in others]
    return sum(wins) / len(wins)


def test_rank_metrics_of_six_pairs():
    # duplicates 0.9, 0.7, 0.4 against 0.8, 0.7, 0.1: 3 + 1.5 + 1 of 9
    assert ev.roc_auc(SCORES, LABELS) == (3 + 1.5 + 1) / 9
    # 0.9: 1 of 1; 0.8: no gain; 0.7 twice: 2 of 4; 0.4: 3 of 5
    assert ev.average_precision(SCORES, LABELS) == pytest.approx(
        (1 / 1 + 2 / 4 + 3 / 5) / 3, abs=1e-15
    )


@given(scored_pairs(both_classes=True))
@settings(deadline=None)
def test_rank_metrics_equal_loops_and_scikit_learn(pairs):
    scores, labels = pairs
    auc, precision = ev.roc_auc(scores, labels), ev.average_precision(scores, labels)
    assert auc == pytest.approx(plain_roc_auc(scores, labels), abs=1e-12)
    wide = scores.astype(np.float64)
    assert auc == pytest.approx(sk.roc_auc_score(labels, wide), abs=1e-12)
    assert precision == pytest.approx(sk.average_precision_score(labels, wide), abs=1e-12)


def plain_best(scores, labels, metric):
    """(value, gap, below): each cut tried in turn; ties go to the wider gap, then to the lower
    cut."""
    distinct = sorted(set(scores.tolist()))
    cuts = [
        (0.0, -np.inf),
        *((b - a, a) for a, b in itertools.pairwise(distinct)),
        (0.0, distinct[-1]),
    ]
    tried = [
        (plain_metric(metric, *plain_counts(scores.astype(float), labels, below)), gap, below)
        for gap, below in cuts
    ]
    return max(tried, key=lambda cut: (cut[0], cut[1], -cut[2]))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1"])
@given(pairs=scored_pairs(both_classes=True))
@settings(deadline=None)
def test_best_threshold_equals_trying_every_cut(metric, pairs):
    scores, labels = pairs
    value, _, below = plain_best(scores, labels, metric)
    best = ev.best_threshold(scores, labels, metric=metric)
    assert (best.value, best.metric) == (float(value), metric) and math.isfinite(best.threshold)
    # In the right gap, and a number of the scores' precision: arrays and Python floats are cut
    # alike.
    assert below <= best.threshold == float(scores.dtype.type(best.threshold))
    assert (scores > best.threshold).tolist() == [score > below for score in scores.tolist()]
    assert getattr(ev, metric)(scores, labels, best.threshold) == best.value
    assert getattr(ev, metric)(scores.astype(np.float64), labels, best.threshold) == best.value


@pytest.mark.parametrize(
    "scores, labels, expected",
    [
        # Right for 4 of 5 above 0 and above 2: the gap from 2 to 8 is wider than that from 0 to 1.
        ([0, 1, 2, 8, 9], [0, 1, 0, 1, 1], ((2 + 8) / 2, 4 / 5)),
        # Right for 3 of 4 above 0 and above 4, gaps equally wide: the lower.
        ([0, 2, 4, 6], [0, 1, 0, 1], ((0 + 2) / 2, 3 / 4)),
        # "None" is always right; then wrong once, where each cut between scores is wrong twice.
        ([0.9, 0.8, 0.1], [0, 0, 0], (0.9, 1.0)),
        ([0.9, 0.8, 0.1], [0, 0, 1], (0.9, 2 / 3)),
        # "All": the next number below the smallest score.
        ([0.5, 0.25, 0.75], [1, 1, 1], (math.nextafter(0.25, 0), 1.0)),
        ([0.0], [1], (math.nextafter(0, -1), 1.0)),
        # "None" is right for 2 of 3, as is the cut between: the cut wins, for "none" lies in no
        # gap.
        ([0.0, 1.0, 1.0], [0, 1, 0], ((0 + 1) / 2, 2 / 3)),
        # One score for both classes: "all" and "none" are right once in two, the lower wins.
        ([1.0, 1.0], [1, 0], (math.nextafter(1, 0), 1 / 2)),
    ],
)
def test_the_stated_choice_among_thresholds(scores, labels, expected):
    assert ev.best_threshold(scores, labels) == (*expected, "accuracy")


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbouring_numbers_are_cut_though_nothing_lies_between(dtype):
    low = dtype(0.7)
    for _ in range(4):  # halfway rounds up for every other pair of neighbours
        high = np.nextafter(low, dtype(1))
        best = ev.best_threshold(np.array([low, high]), [0, 1])
        assert best == (float(low), 1.0, "accuracy")
        low = high


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_the_range_of_a_precision(dtype):
    top = np.finfo(dtype).max
    assert ev.best_threshold(np.array([-top, top]), [0, 1]) == (0.0, 1.0, "accuracy")
    halfway = ev.best_threshold(np.array([top / dtype(2), top]), [0, 1]).threshold
    assert halfway == pytest.approx(0.75 * float(top), rel=1e-3)
    # Nothing finite lies below -top, so "all" is not a candidate.
    assert ev.best_threshold(np.array([-top, top]), [1, 1]) == (0.0, 1 / 2, "accuracy")
    assert ev.best_threshold(np.array([-top]), [1]) == (float(-top), 0.0, "accuracy")


def test_bootstrap_equals_a_loop_over_resamples():
    pairs = [(0.1, 0), (0.3, 1), (0.4, 0), (0.6, 0), (0.7, 1), (0.9, 1)]
    generator, values = np.random.default_rng(5), []
    while len(values) < 200:
        drawn = [pairs[i] for i in generator.integers(len(pairs), size=len(pairs))]
        if len({label for _, label in drawn}) == 2:
            values.append(plain_roc_auc(*zip(*drawn)))
    expected = np.quantile(values, [0.25, 0.75])
    shuffled = zip(*(pairs[i] for i in (3, 0, 5, 1, 4, 2)))
    interval = ev.bootstrap_interval(*shuffled, ev.roc_auc, level=0.5, n_resamples=200, seed=5)
    assert interval == pytest.approx(tuple(expected), abs=1e-12)


def test_resamples_are_pairs_of_the_data_sorted_by_score_and_of_both_classes():
    seen, scores, labels = [], np.array([0.9, 0.1, 0.5], np.float32), [1, 0, 0]
    ev.bootstrap_interval(scores, labels, lambda *drawn: seen.append(drawn) or 0.0, n_resamples=60)
    assert len(seen) == 60
    for drawn, drawn_labels in seen:
        assert drawn.dtype == np.float32 and len(drawn) == 3
        assert set(zip(drawn.tolist(), drawn_labels.tolist())) <= set(zip(scores.tolist(), labels))
        assert drawn.tolist() == sorted(drawn.tolist())
        assert set(drawn_labels.tolist()) == {False, True}


def test_interval_depends_on_seed_and_level_only():
    generator = np.random.default_rng(1)
    scores, labels = generator.normal(size=300), generator.random(300) < 0.4
    first = ev.bootstrap_interval(scores, labels, ev.roc_auc, n_resamples=100, seed=7)
    assert first == ev.bootstrap_interval(scores, labels, ev.roc_auc, n_resamples=100, seed=7)
    assert first != ev.bootstrap_interval(scores, labels, ev.roc_auc, n_resamples=100, seed=8)
    low, high = ev.bootstrap_interval(
        scores, labels, ev.roc_auc, n_resamples=100, seed=7, level=0.5
    )
    assert first[0] < low < high < first[1]


def test_one_class_is_resampled_for_metrics_that_need_only_one():
    assert ev.bootstrap_interval([0.9, 0.9], [1, 1], partial(ev.recall, threshold=0.5)) == (
        1.0,
        1.0,
    )
    with pytest.raises(ValueError, match="labels must include 0 for ROC AUC"):
        ev.bootstrap_interval([0.9, 0.8], [1, 1], ev.roc_auc)


def test_report_holds_each_number_and_survives_json():
    generator = np.random.default_rng(2)
    scores, labels = generator.random(60).astype(np.float32), np.arange(60) < 20
    numbers = ev.report(scores, labels, np.float32(0.5), seed=4)
    assert json.loads(json.dumps(numbers)) == numbers
    for metric in (ev.accuracy, ev.precision, ev.recall, ev.f1):
        assert numbers[metric.__name__] == metric(scores, labels, 0.5)
    assert [numbers[key] for key in ("n", "duplicates", "share", "threshold")] == [
        60,
        20,
        20 / 60,
        0.5,
    ]
    assert ev.report([0.1, 0.2, 0.3, 0.4], [1, 1, 1, 0], 0.5)["majority_accuracy"] == 3 / 4
    assert ev.report([0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0], 0.5)["majority_accuracy"] == 3 / 4
    assert numbers["confusion"] == ev.confusion(scores, labels, 0.5)._asdict()
    assert numbers["roc_auc"] == ev.roc_auc(scores, labels)
    assert numbers["average_precision"] == ev.average_precision(scores, labels)
    assert numbers["roc_auc_interval"] == list(
        ev.bootstrap_interval(scores, labels, ev.roc_auc, seed=4)
    )
    assert numbers["accuracy_interval"] == list(
        ev.bootstrap_interval(scores, labels, partial(ev.accuracy, threshold=0.5), seed=4)
    )
    assert numbers["accuracy_at_0.7"] == ev.accuracy(scores, labels, 0.7)
    first, second = ev.split_half(60, seed=4)
    chosen = ev.best_threshold(scores[first], labels[first]).threshold
    assert numbers["half"] == {
        "threshold": chosen,
        "chosen_on": 30,
        "applied_to": 30,
        "accuracy": ev.accuracy(scores[second], labels[second], chosen),
    }
    assert numbers["average_precision_interval"] == list(
        ev.bootstrap_interval(scores, labels, ev.average_precision, seed=4)
    )
    for metric in ("accuracy", "f1"):
        best = ev.best_threshold(scores, labels, metric=metric)
        assert numbers[f"best_{metric}"] == {"value": best.value, "threshold": best.threshold}
    assert len(numbers) == 19


def test_the_best_accuracy_and_the_best_f1_have_thresholds_of_their_own():
    # Above 8.5: 1 of 3 duplicates, none of 6 others, so 1 + 6 of 9 are right.
    # Above 3.5: all duplicates, 3 others: fewer are right, 3 + 3 of 9, but F1 is higher.
    numbers = ev.report([9, 8, 7, 6, 5, 4, 3, 2, 1], [1, 0, 0, 0, 1, 1, 0, 0, 0], 10)
    assert numbers["accuracy"] == 6 / 9 and numbers["f1"] == 0
    assert numbers["best_accuracy"] == {"value": (1 + 6) / 9, "threshold": 8.5}
    assert numbers["best_f1"] == {"value": 2 * 3 / (2 * 3 + 3), "threshold": 3.5}


@given(st.integers(2, 300), st.integers(0, 5))
@settings(deadline=None)
def test_halves_hold_each_pair_once(n, seed):
    first, second = ev.split_half(n, seed=seed)
    assert first.dtype == second.dtype == np.int64
    assert len(first) == n // 2
    assert sorted(first.tolist() + second.tolist()) == list(range(n))
    assert (np.diff(first) > 0).all() and (np.diff(second) > 0).all()
    assert first.tolist() == ev.split_half(n, seed=seed)[0].tolist()
    assert n < 50 or first.tolist() != ev.split_half(n, seed=seed + 1)[0].tolist()


AT_THRESHOLD = [
    ev.confusion,
    ev.accuracy,
    ev.balanced_accuracy,
    ev.precision,
    ev.recall,
    ev.f1,
    ev.report,
]
FUNCTIONS = [partial(function, threshold=0.5) for function in AT_THRESHOLD] + [
    ev.check_scores,
    ev.roc_auc,
    ev.average_precision,
    ev.best_threshold,
    partial(ev.bootstrap_interval, metric=ev.roc_auc),
]


def test_lists_tuples_arrays_and_booleans_give_the_same():
    jnp = pytest.importorskip("jax.numpy")
    expected = ev.report(np.array(SCORES, np.float32), LABELS, 0.5)
    assert ev.report(jnp.array(SCORES), jnp.array(LABELS), 0.5) == expected
    assert ev.report(np.array(SCORES, ">f4"), [label == 1 for label in LABELS], 0.5) == expected
    double = ev.report(np.array(SCORES), LABELS, 0.5)
    assert ev.report(tuple(SCORES), np.array(LABELS, float), 0.5) == double
    assert ev.check_scores([1, 0], [1, 0])[0].dtype == np.float64
    assert ev.confusion(SCORES, LABELS, np.array(0.7)) == ev.confusion(SCORES, LABELS, 0.7)
    assert ev.recall(SCORES, LABELS, 0) == 1.0


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "scores, labels, error, phrase",
    [
        ([0.5, 0.1, 0.2], [1, 0], ValueError, "labels must be 3 numbers, one per score"),
        ([[0.5], [0.1]], [1, 0], ValueError, r"scores must be numbers of shape \(n,\).*\(2, 1\)"),
        ([0.5, 0.1], [[1, 0]], ValueError, r"labels must be numbers of shape \(n,\).*\(1, 2\)"),
        ([], [], ValueError, r"scores must be .*n >= 1.* \(0,\)"),
        ([0.5, 0.1], [1, 2], ValueError, r"labels\[1\] must be 0 or 1, but it is 2"),
        ([0.5, 0.1], [np.nan, 1], ValueError, r"labels\[0\] must be 0 or 1, but it is nan"),
        ([0.5, 0.1, np.inf], [1, 0, 1], ValueError, r"scores\[2\] must be finite, but it is inf"),
        ([0.5, np.nan, np.inf], [1, 0, 1], ValueError, r"scores\[1\] must be finite.* nan"),
        ([[0.5], [0.5, 0.1]], [1, 0], ValueError, "scores must be numbers"),
        (["0.5", "0.1"], [1, 0], TypeError, "scores must be numbers"),
        ([0.5, 0.1], ["1", "0"], TypeError, "labels must be numbers"),
        ([None, 0.1], [1, 0], TypeError, "scores must be numbers"),
        ([True, False], [1, 0], TypeError, "scores must be numbers"),
    ],
)
def test_unfit_input_is_refused_in_words(function, scores, labels, error, phrase):
    with pytest.raises(error, match=phrase):
        function(scores, labels)


@pytest.mark.parametrize(
    "threshold, error",
    [
        *((value, ValueError) for value in (np.nan, np.inf)),
        *((value, TypeError) for value in ("0.7", None, True, [0.7])),
    ],
)
def test_unfit_thresholds_are_refused_in_words(threshold, error):
    for function in AT_THRESHOLD:
        with pytest.raises(error, match="threshold must be a finite number"):
            function(SCORES, LABELS, threshold)


@pytest.mark.parametrize(
    "name, function, labels",
    [
        ("ROC AUC", ev.roc_auc, (0, 1)),
        ("a report", partial(ev.report, threshold=0.5), (0, 1)),
        ("balanced accuracy", partial(ev.balanced_accuracy, threshold=0.5), (0, 1)),
        ("balanced_accuracy", partial(ev.best_threshold, metric="balanced_accuracy"), (0, 1)),
        ("average precision", ev.average_precision, (0,)),
        ("f1", partial(ev.best_threshold, metric="f1"), (0,)),
    ],
)
def test_missing_classes_are_refused_where_they_are_needed(name, function, labels):
    for label in labels:
        with pytest.raises(
            ValueError, match=f"labels must include {1 - label} for {name}, but none of the 2"
        ):
            function([0.1, 0.2], [label, label])


@pytest.mark.parametrize(
    "error, name, options",
    [
        (ValueError, "level", {"level": 0}),
        (ValueError, "level", {"level": 1}),
        (ValueError, "level", {"level": math.nan}),
        (TypeError, "level", {"level": "0.9"}),
        (ValueError, "n_resamples", {"n_resamples": 0}),
        (TypeError, "n_resamples", {"n_resamples": 10.0}),
        (TypeError, "metric", {"metric": "accuracy"}),
        (ValueError, "metric", {"metric": lambda scores, labels: math.nan}),
        (ValueError, "seed", {"seed": -1}),
    ],
)
def test_unfit_options_of_the_interval_are_refused(error, name, options):
    with pytest.raises(error, match=f"^{name} must"):
        ev.bootstrap_interval(SCORES, LABELS, **{"metric": ev.roc_auc, **options})


@pytest.mark.real_data
def test_the_lab_on_saved_vectors(real_data):
    lab = real_data / "course_lab"
    v1, v2, labels = (np.load(lab / f"{name}.npy") for name in ("v1", "v2", "y_test"))
    scores = np.sum(v1 * v2, axis=1)
    assert ev.accuracy(scores, labels, 0.7) == 0.7421875
    assert ev.roc_auc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    best = ev.best_threshold(scores, labels)
    assert best.value == max(ev.accuracy(scores, labels, threshold) for threshold in [-1, *scores])
    low, high = ev.report(scores, labels, 0.7)["accuracy_interval"]
    assert low < 0.7421875 < high
