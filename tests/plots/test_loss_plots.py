"""plots_loss: what the pictures say and mark, read from their artists; no pixels."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from paths import ROOT

from trax_triplet.loss.steps import closest_negative
from trax_triplet.plots.loss import (
    hinge_curves,
    positives_and_negatives,
    similarity_heatmap,
    stacked_batches,
)

SIM = [
    [0.9, -0.8, 0.3, -0.5],
    [-0.4, 0.5, 0.1, -0.1],
    [0.3, 0.1, -0.4, -0.8],
    [-0.5, -0.2, -0.7, 0.5],
]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


# Stacked batches


def test_both_rows_of_a_pair_have_one_colour_and_one_number():
    v1 = np.arange(6.0).reshape(3, 2)
    ax = stacked_batches(v1, v1 + 10)
    colours = [
        to_hex(patch.get_facecolor()) for patch in ax.patches[1::2]
    ]  # the ends with the numbers
    assert colours[:3] == colours[3:] and len(set(colours)) == 3
    heights = [patch.get_y() for patch in ax.patches[1::2]]
    assert heights == [-0.5, 0.5, 1.5, 3.0, 4.0, 5.0]  # half a row between the batches
    assert texts(ax) == [
        "0",
        "0.00",
        "1.00",
        "1",
        "2.00",
        "3.00",
        "2",
        "4.00",
        "5.00",
        "0",
        "10.00",
        "11.00",
        "1",
        "12.00",
        "13.00",
        "2",
        "14.00",
        "15.00",
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "v1[0]",
        "v1[1]",
        "v1[2]",
        "v2[0]",
        "v2[1]",
        "v2[2]",
    ]
    assert ax.yaxis_inverted()


def test_wide_vectors_are_drawn_without_their_entries():
    assert len(texts(stacked_batches(np.ones((2, 12)), np.ones((2, 12))))) == 4 * (1 + 12)
    assert texts(stacked_batches(np.ones((2, 13)), np.ones((2, 13)))) == ["0", "1", "0", "1"]


def test_more_pairs_than_colours_still_have_numbers_of_their_own():
    assert (
        texts(stacked_batches(np.ones((9, 20)), np.ones((9, 20)))) == [str(i) for i in range(9)] * 2
    )


# Similarity matrix


def marked(ax):
    """(row, column) of the squares, the circles and the triangles."""
    squares = [
        (round(p.get_y() + 0.46), round(p.get_x() + 0.46))
        for p in ax.patches
        if isinstance(p, Rectangle)
    ]
    circles = [
        (round(p.center[1]), round(p.center[0])) for p in ax.patches if isinstance(p, Circle)
    ]
    (triangles,) = ax.lines
    return squares, circles, [(round(y + 0.33), round(x - 0.35)) for x, y in triangles.get_xydata()]


def test_the_lectures_matrix_has_its_marks_where_they_belong():
    squares, circles, triangles = marked(similarity_heatmap(SIM))
    assert squares == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert circles == [(0, 2), (1, 2), (2, 3), (3, 1)]  # .3, .1, -.8, -.2
    assert triangles == [(2, 0), (2, 1)]  # .3 and .1 are above -.4 - .25


def test_a_larger_margin_makes_more_violators():
    triangles = marked(similarity_heatmap(SIM, margin=0.65))[2]  # above .25, -.15, -1.05, -.15
    assert triangles == [(0, 2), (1, 2), (1, 3), (2, 0), (2, 1), (2, 3)]


@pytest.mark.parametrize("closest", ["semi-hard", "hardest", "shifted"])
def test_circles_stand_where_the_loss_takes_its_closest_negative(closest):
    scores = np.random.default_rng(3).uniform(-1, 1, (9, 9)).astype("float32")
    scores[4, 4] = -0.99  # no semi-hard negative in this row
    _, circles, _ = marked(similarity_heatmap(scores, closest=closest))
    values = np.asarray(closest_negative(scores, closest=closest))
    positive = np.diagonal(scores)
    for row, column in circles:
        shift = 2 if closest == "shifted" and scores[row, column] > positive[row] else 0
        assert scores[row, column] - shift == pytest.approx(values[row], abs=1e-6)
    rows = [row for row, _ in circles]
    assert rows == (np.flatnonzero(values > -2).tolist() if closest == "semi-hard" else [*range(9)])
    assert (4 in rows) == (closest != "semi-hard")


def test_heatmap_says_what_it_shows():
    ax = similarity_heatmap(SIM, closest="hardest", margin=np.float32(0.5))
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (
        "Similarity matrix",
        "j: row of v2",
        "i: anchor, row of v1",
    )
    assert legend_texts(ax) == ["positive", "closest negative (hardest)", "violator (margin 0.5)"]
    assert texts(ax)[:3] == ["0.90", "-0.80", "0.30"] and len(texts(ax)) == 16
    assert ax.figure.axes[-1].get_ylabel() == "similarity"
    assert not texts(similarity_heatmap(np.eye(13)))  # too many for numbers


def test_heatmap_of_a_single_pair_has_a_positive_and_nothing_else():
    squares, circles, triangles = marked(similarity_heatmap([[0.5]]))
    assert (squares, circles, triangles) == ([(0, 0)], [], [])


def test_heatmap_colours_reach_as_far_as_the_scores():
    (image,) = similarity_heatmap([[3.0, 0.0], [0.0, -2.0]]).images
    assert image.get_clim() == (-2.0, 3.0)
    (image,) = similarity_heatmap(SIM).images
    assert image.get_clim() == (-1.0, 1.0)


# Hinges


def test_a_hinge_curve_is_the_hinge():
    curve, dot, _ = hinge_curves(0.25).lines
    assert curve.get_xydata().tolist() == [[-2, 0.25 + 2], [0.25, 0], [2, 0]]
    assert dot.get_xydata().tolist() == [[0, 0.25]]


def test_several_margins_have_curves_that_are_told_apart_without_colour():
    ax = hinge_curves([0.25, 0.8, 3])
    assert legend_texts(ax) == ["margin 0.25", "margin 0.8", "margin 3"]
    curves = ax.lines[0:6:2]
    assert len({curve.get_linestyle() for curve in curves}) == 3
    assert curves[2].get_xydata().tolist() == [[-2, 5], [2, 1]]
    assert (ax.get_xlabel(), ax.get_title()) == (
        "lead: positive - negative",
        "Hinge: max(margin - lead, 0)",
    )


# Positives and negatives


def heights(patch):
    """The heights of the bins of one step-filled histogram, from left to right."""
    return patch.get_path().vertices[1:64:2, 1].tolist()


def test_positives_are_the_diagonal_and_negatives_the_rest():
    scores = np.full((4, 4), -1.0)
    np.fill_diagonal(scores, [1.0, 1.0, 1.0, -1.0])
    scores[0, 1:] = 1.0
    negatives, positives = positives_and_negatives(scores).patches
    assert heights(negatives) == pytest.approx([100 * 9 / 12] + [0] * 30 + [100 * 3 / 12])
    assert heights(positives) == pytest.approx([100 * 1 / 4] + [0] * 30 + [100 * 3 / 4])
    assert positives.get_hatch() and not negatives.get_hatch()


def test_the_bins_are_the_same_before_and_after_training():
    for scores in (np.eye(3), np.full((3, 3), 0.01)):
        ax = positives_and_negatives(scores)
        assert [patch.get_path().vertices[[0, 64], 0].tolist() for patch in ax.patches] == [
            [-1, 1]
        ] * 2
        assert legend_texts(ax) == ["negatives (n = 6)", "positives (n = 3)"]


def test_a_single_pair_has_no_negatives():
    assert legend_texts(positives_and_negatives([[0.5]])) == ["positives (n = 1)"]


# All of them


DRAW = [
    lambda **options: stacked_batches(np.eye(2), np.eye(2), **options),
    lambda **options: similarity_heatmap(SIM, **options),
    lambda **options: hinge_curves(0.25, **options),
    lambda **options: positives_and_negatives(SIM, **options),
]


@pytest.mark.parametrize("draw", DRAW)
def test_drawn_in_the_axes_given_or_in_a_new_figure_that_can_be_saved(draw, tmp_path):
    left, right = Figure(layout="constrained").subplots(1, 2)
    assert draw(ax=right) is right
    assert right.get_title() and right.get_xlabel() and right.get_ylabel() and not left.has_data()
    first, second = draw(), draw()
    assert first.figure is not second.figure
    first.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
    with pytest.raises(TypeError, match="ax must be"):
        draw(ax=first.figure)


@pytest.mark.slow
def test_pyplot_and_frameworks_are_never_loaded():
    code = (
        "import sys; from trax_triplet.plots import learning_curve, score_histogram; "
        "from trax_triplet.plots.loss import similarity_heatmap; "
        "similarity_heatmap([[0.9, 0.1], [0.3, 0.8]]); "
        "score_histogram([0.1, 0.9], [0, 1]); learning_curve([{'step': 0, 'loss': 1.0}]); "
        "sys.exit(bool({'matplotlib.pyplot', 'trax', 'jax', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_every_dtype_of_numbers_is_drawn(dtype):
    assert (
        similarity_heatmap(np.eye(3, dtype=dtype)).images[0].get_array().tolist()
        == np.eye(3).tolist()
    )


@pytest.mark.parametrize("draw", [similarity_heatmap, positives_and_negatives])
@pytest.mark.parametrize(
    "scores, error, phrase",
    [
        ([[0.5, 0.1]], ValueError, "scores must be a square matrix"),
        ([0.5], ValueError, "scores must be"),
        ([[np.nan]], ValueError, "scores must be"),
        ([["a"]], TypeError, "scores must be"),
        ([[1j]], TypeError, "scores must be"),
    ],
)
def test_unfit_scores_are_refused_in_words(draw, scores, error, phrase):
    with pytest.raises(error, match=phrase):
        draw(scores)


def test_unfit_settings_are_refused_in_words():
    with pytest.raises(ValueError, match="v2 must be"):
        stacked_batches(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="closest must be"):
        similarity_heatmap(SIM, closest="nearest")
    with pytest.raises(ValueError, match="margin must be"):
        similarity_heatmap(SIM, margin=-0.1)
    with pytest.raises(ValueError, match="margin must be"):
        hinge_curves([0.25, np.inf])
    with pytest.raises(ValueError, match="margin must be"):
        hinge_curves([])
    with pytest.raises(TypeError, match="margin must be"):
        hinge_curves("wide")
