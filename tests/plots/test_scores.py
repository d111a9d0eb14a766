"""plots: what the pictures say and show, read from their artists; no pixels."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from trax_triplet.plots import learning_curve, plot_reliability, score_histogram

HISTORY = [
    {"step": 0, "loss": 0.8, "validation_auc": 0.5, "seconds": 1.5},
    {"step": 100, "loss": 0.4, "validation_loss": 0.5, "validation_auc": 0.7},
    {"step": 250, "loss": 0.2, "validation_loss": 0.3, "validation_auc": None},
]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def heights(patch):
    """The heights of the bins of one step-filled histogram, from left to right."""
    path = patch.get_path().vertices
    return path[1:64:2, 1].tolist()


# Reliability


def test_reliability_shows_each_bin_at_its_means():
    chances = np.float32([0.0, 0.05, 0.45, 0.45, 0.45, 0.45, 1.0])
    ax = plot_reliability(chances, [0, 0, 0, 1, 0, 0, 1])
    (points,) = [c for c in ax.collections if c.get_label() == "pairs, in bins"]
    expected = [[(0 + 0.05) / 2, 0 / 2], [0.45, 1 / 4], [1.0, 1 / 1]]
    np.testing.assert_allclose(points.get_offsets(), expected, atol=1e-6)
    assert np.argmax(points.get_sizes()) == 1
    brier = (0.05**2 + 3 * 0.45**2 + 0.55**2) / 7
    error = (2 * 0.025 + 4 * (0.45 - 0.25) + 0) / 7
    assert ax.get_title() == (
        f"Reliability of 7 probabilities\nBrier score {brier:.3f}, calibration error {error:.3f}"
    )


def test_reliability_of_a_certain_pair_is_in_the_last_bin():
    ax = plot_reliability([0.9, 1.0], [0, 1], bins=4)
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), [[(0.9 + 1) / 2, 1 / 2]])


def test_reliability_has_the_interval_of_wilson():
    ax = plot_reliability([0.5] * 10, [1] * 2 + [0] * 8, bins=1)
    (bar,) = [c for c in ax.collections if hasattr(c, "get_segments")]
    (_, low), (_, high) = bar.get_segments()[0]
    # (p + z² / 2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z² / n), p = 0.2, n = 10, z = 1.96
    z2 = 1.96**2
    half = 1.96 * (0.2 * 0.8 / 10 + z2 / 400) ** 0.5
    bounds = [(0.2 + z2 / 20 + sign * half) / (1 + z2 / 10) for sign in (-1, 1)]
    assert [low, high] == pytest.approx(bounds)


# Histogram


def test_histogram_shows_the_share_of_each_class_in_each_bin():
    scores = [
        0.0,
        0.0,
        0.0,
        0.99,
        0.99,
        1.0,
    ]  # 32 bins from 0 to 1: the first and the last are filled
    ax = score_histogram(scores, [0, 0, 0, 0, 1, 1])
    others, duplicates = ax.patches
    assert heights(others) == pytest.approx([100 * 3 / 4] + [0] * 30 + [100 * 1 / 4])
    assert heights(duplicates) == pytest.approx([0] * 31 + [100.0])


def test_histogram_says_what_it_shows():
    ax = score_histogram(
        np.linspace(-1, 1, 4000), np.arange(4000) >= 1500, threshold=np.float32(0.7)
    )
    assert ax.get_title() == "Similarity of question pairs"
    assert ax.get_xlabel() == "cosine similarity of the two questions"
    assert ax.get_ylabel() == "share of the pairs of its class (%)"
    assert legend_texts(ax) == [
        "other pairs (n = 1,500)",
        "duplicates (n = 2,500)",
        "threshold 0.7",
    ]


def test_histogram_marks_the_threshold_only_where_one_is_given():
    (line,) = score_histogram([0.1, 0.9], [0, 1], threshold=0.25).lines
    assert list(line.get_xdata()) == [0.25, 0.25]
    assert not score_histogram([0.1, 0.9], [0, 1]).lines


def test_histogram_is_told_apart_without_colour():
    others, duplicates = score_histogram([0.1, 0.9], [0, 1]).patches
    assert duplicates.get_hatch() and not others.get_hatch()
    assert others.get_facecolor()[3] > 0 and duplicates.get_facecolor()[3] == 0


def test_histogram_of_one_class_and_of_one_score():
    ax = score_histogram([0.5, 0.5], [1, 1])
    assert legend_texts(ax) == ["duplicates (n = 2)"]
    assert sum(heights(ax.patches[0])) == pytest.approx(100)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_histogram_takes_every_precision(dtype):
    ax = score_histogram(np.array([0.1, 0.2, 0.9], dtype), [False, False, True])
    assert [sum(heights(patch)) for patch in ax.patches] == pytest.approx([100, 100])


# Learning curve


def test_curve_draws_each_column_where_it_was_measured():
    ax = learning_curve(HISTORY, margin=0.4)
    right = ax.figure.axes[-1]
    loss, validation_loss, collapse = ax.lines
    assert loss.get_xydata().tolist() == [[0, 0.8], [100, 0.4], [250, 0.2]]
    assert validation_loss.get_xydata().tolist() == [[100, 0.5], [250, 0.3]]
    assert list(collapse.get_ydata()) == [2 * 0.4, 2 * 0.4]
    (auc,) = right.lines
    assert auc.get_xydata().tolist() == [[0, 0.5], [100, 0.7]]
    assert ax.get_ylim()[0] == 0


def test_curve_says_what_it_shows():
    ax = learning_curve(HISTORY, margin=0.4)
    assert ax.get_title() == "Learning curve"
    assert ax.get_xlabel() == "training step"
    assert ax.get_ylabel() == "triplet loss"
    assert ax.figure.axes[-1].get_ylabel() == "ROC AUC"
    assert legend_texts(ax) == [
        "training loss",
        "validation loss",
        "validation ROC AUC (right)",
        "collapse: 2 × margin = 0.8",
    ]


def test_curve_of_losses_alone_has_one_axis_and_no_collapse_line():
    ax = learning_curve([{"step": 10, "loss": 0.5}])
    assert ax.figure.axes == [ax]
    assert legend_texts(ax) == ["training loss"]


def test_curves_are_told_apart_without_colour():
    ax = learning_curve(HISTORY, margin=0.4)
    looks = [
        (line.get_linestyle(), line.get_marker()) for axes in ax.figure.axes for line in axes.lines
    ]
    assert len(set(looks)) == len(looks) == 4


def test_a_long_history_keeps_its_line_readable():
    ax = learning_curve([{"step": step, "loss": 1 / (1 + step)} for step in range(1000)])
    assert len(ax.lines[0].get_xdata()) == 1000
    assert ax.lines[0].get_markevery() == 1000 // 20


# Both


@pytest.mark.parametrize(
    "draw",
    [
        lambda **options: score_histogram([0.1, 0.9], [0, 1], **options),
        lambda **options: learning_curve(HISTORY, **options),
    ],
)
def test_drawn_in_the_axes_given_or_in_a_new_figure_that_can_be_saved(draw, tmp_path):
    left, right = Figure(layout="constrained").subplots(1, 2)
    assert draw(ax=right) is right
    assert right.get_title() and not left.has_data()
    first, second = draw(), draw()
    assert first.figure is not second.figure
    first.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
    with pytest.raises(TypeError, match="ax must be"):
        draw(ax=np.array([left, right]))


def test_unfit_scores_and_thresholds_are_refused_in_words():
    with pytest.raises(ValueError, match="labels must be"):
        score_histogram([0.1, 0.2], [1])
    with pytest.raises(ValueError, match="threshold must be"):
        score_histogram([0.1, 0.2], [1, 0], threshold=float("nan"))
    with pytest.raises(TypeError, match="threshold must be"):
        score_histogram([0.1, 0.2], [1, 0], threshold="0.7")


@pytest.mark.parametrize(
    "history, error, phrase",
    [
        ([], ValueError, "history must be"),
        ({"step": 1, "loss": 0.5}, TypeError, "history must be"),
        (
            [{"step": 1, "loss": 0.5}, {"step": 2}],
            ValueError,
            r"history\[1\] must be",
        ),
        ([{"loss": 0.5}], ValueError, r"history\[0\] must be"),
        (
            [{"step": 2, "loss": 0.5}, {"step": 2, "loss": 0.4}],
            ValueError,
            "'step'. must be above the step before it",
        ),
        (
            [{"step": 1, "loss": np.nan}],
            ValueError,
            r"history\[0\]\['loss'\] must be",
        ),
        (
            [{"step": 1, "loss": 1.0, "validation_auc": "0.8"}],
            TypeError,
            "'validation_auc'. must be",
        ),
        ([{"step": True, "loss": 1.0}], TypeError, "'step'. must be"),
    ],
)
def test_unfit_histories_are_refused_in_words(history, error, phrase):
    with pytest.raises(error, match=phrase):
        learning_curve(history)


@pytest.mark.parametrize(
    "margin, error, phrase",
    [
        (0, ValueError, "margin must be .*above 0"),
        (float("inf"), ValueError, "margin must be"),
        ("0.25", TypeError, "margin must be"),
    ],
)
def test_unfit_margins_are_refused_in_words(margin, error, phrase):
    with pytest.raises(error, match=phrase):
        learning_curve(HISTORY, margin=margin)
