"""Pictures of the loss by its steps: two batches, their similarities, the hinges, both histograms.

Like `scores`: arrays in, a matplotlib Axes out, nothing shown or saved, colours and marks for every
reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from trax_triplet import _validation as check
from trax_triplet.loss.rules import CLOSEST, by_rule
from trax_triplet.plots.scores import BINS, BLUE, GREEN, ORANGE, axes_for, two_histograms

__all__ = ["hinge_curves", "positives_and_negatives", "similarity_heatmap", "stacked_batches"]

_PAIRS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_MOST_NUMBERS = 12  # rows or columns; with more of them, numbers in the cells would overlap


def stacked_batches(v1: ArrayLike, v2: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Two batches of vectors, one on top of the other, with the rows of a duplicate pair in one
    colour.

    Each row is tinted in the colour of its pair and bears the pair's number at its left end. There
    are seven colours; with more pairs they come again, and the numbers tell them apart.

    Args:
      v1: vectors (batch, d), finite; the first questions.
      v2: vectors (batch, d); row i is the duplicate of row i of `v1`.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes, v1 above v2; the entries are written in the cells where d is at most 12.

    Raises:
      TypeError: something other than real numbers, or an `ax` that is not an Axes.
      ValueError: not two matrices of one shape, no rows, NaN or infinity.

    Example:
      >>> axes = stacked_batches([[1, 2, 3], [9, 8, 7]], [[1, 2, 4], [9, 8, 6]])
      >>> [label.get_text() for label in axes.get_yticklabels()]
      ['v1[0]', 'v1[1]', 'v2[0]', 'v2[1]']
    """
    batches = _matrix("v1", v1), _matrix("v2", v2)
    n, d = batches[0].shape
    if batches[1].shape != (n, d):
        raise check.wrong_value("v2", f"of v1's shape {(n, d)}", batches[1])
    ax = axes_for(ax)
    tops = [*range(n), *(n + 0.5 + i for i in range(n))]  # half a row between the batches
    for top, row, pair in zip(tops, np.concatenate(batches), [*range(n)] * 2, strict=True):
        colour = _PAIRS[pair % len(_PAIRS)]
        ax.add_patch(Rectangle((-0.5, top - 0.5), d, 1, facecolor=colour + "40", edgecolor="white"))
        ax.add_patch(Rectangle((-1, top - 0.5), 0.5, 1, facecolor=colour, edgecolor="white"))
        ax.text(
            -0.75,
            top,
            str(pair),
            ha="center",
            va="center",
            weight="bold",
            color=_text_colour(colour),
        )
        for column, entry in enumerate(row if d <= _MOST_NUMBERS else ()):
            ax.text(column, top, f"{entry:.2f}", ha="center", va="center")
    ax.set(
        xlim=(-1, d - 0.5),
        ylim=(tops[-1] + 0.5, -0.5),
        title="Two batches: a colour and a number for each pair",
        xlabel="entry of the vector",
        ylabel="question",
    )
    ax.set_yticks(tops, [f"{name}[{i}]" for name in ("v1", "v2") for i in range(n)])
    ax.set_xticks(range(d) if d <= _MOST_NUMBERS else [0, d - 1])
    ax.spines[:].set_visible(False)
    return ax


def similarity_heatmap(
    scores: ArrayLike, *, closest: str = "semi-hard", margin: float = 0.25, ax: Axes | None = None
) -> Axes:
    """The similarity matrix of a batch: diagonal, closest negatives and violators marked.

    Darker is more similar. A square frames each positive; a circle stands at the closest negative
    of a row, where one qualifies; a triangle at each violator, a negative that is nearer than the
    positive less the margin.

    Args:
      scores: similarities (batch, batch), finite; rows are anchors.
      closest: 'semi-hard' marks the highest negative not above the positive, as in the lecture;
        'hardest' and 'shifted' as in `loss.closest_negative`.
      margin: how far a positive must be ahead, at least 0.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes; its legend is below it. The entries are written in the cells where the batch is at
      most 12.

    Raises:
      TypeError: something other than real numbers, or an `ax` that is not an Axes.
      ValueError: not a square matrix, NaN or infinity, an unknown `closest`, a negative margin.

    Example:
      >>> axes = similarity_heatmap([[0.9, 0.8], [0.3, 0.4]])
      >>> [text.get_text() for text in axes.get_legend().get_texts()]
      ['positive', 'closest negative (semi-hard)', 'violator (margin 0.25)']
    """
    check.one_of("closest", closest, CLOSEST)
    scores, margin = _square(scores), check.margin(margin)
    nearest, negative = _closest(scores, closest), ~np.eye(len(scores), dtype=bool)
    ax = axes_for(ax, (5.6, 5.2))
    image = ax.imshow(
        scores, cmap="Blues", vmin=min(-1.0, scores.min()), vmax=max(1.0, scores.max())
    )
    shade: Any = image.norm
    ax.figure.colorbar(image, ax=ax, label="similarity")
    violators = negative & (scores > np.diagonal(scores)[:, None] - margin)
    _mark(ax, ~negative, nearest, violators)
    ax.set(title="Similarity matrix", xlabel="j: row of v2", ylabel="i: anchor, row of v1")
    if len(scores) <= _MOST_NUMBERS:
        ax.set(xticks=range(len(scores)), yticks=range(len(scores)))
        for (row, column), score in np.ndenumerate(scores):
            ax.text(
                column,
                row,
                f"{score:.2f}",
                ha="center",
                va="center",
                fontsize=min(10, 60 / len(scores)),
                color="white" if shade(score) > 0.65 else "black",
            )
    names = {
        "s": "positive",
        "o": f"closest negative ({closest})",
        "^": f"violator (margin {margin:.3g})",
    }
    _legend(ax, names)
    return ax


def _mark(ax: Axes, positives: np.ndarray, nearest: np.ndarray, violators: np.ndarray) -> None:
    """Squares, circles and triangles where these matrices are true."""
    outline = {
        "fill": False,
        "edgecolor": "black",
        "linewidth": 2,
        "path_effects": [withStroke(linewidth=4, foreground="white")],
    }  # seen on light and dark cells
    for row, column in np.argwhere(positives):
        ax.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, **outline))
    for row, column in np.argwhere(nearest):
        ax.add_patch(Circle((column, row), 0.36, **outline))
    rows, columns = np.nonzero(violators)
    size = min(9, 48 / len(violators))
    style = {"color": ORANGE, "markeredgecolor": "black", "markersize": size}
    ax.plot(columns + 0.35, rows - 0.33, "^", **style)


def _legend(ax: Axes, names: dict[str, str]) -> None:
    """A legend below the picture: a name for each shape."""
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        frameon=False,
        handles=[
            Line2D(
                [],
                [],
                linestyle="none",
                marker=shape,
                label=name,
                markersize=9,
                markeredgecolor="black",
                markerfacecolor=ORANGE if shape == "^" else "none",
            )
            for shape, name in names.items()
        ],
    )


def hinge_curves(margin: float | Sequence[float] = 0.25, *, ax: Axes | None = None) -> Axes:
    """What an anchor pays, by how much nearer its positive is than the negative compared with it.

    The hinge is max(margin - lead, 0), with lead = positive - negative. A dot marks lead 0, where
    the hinge is the margin: a collapsed model stands there with both of its hinges.

    Args:
      margin: one margin, or several, each of which gets a curve; at least 0.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes, with title, axis labels and legend.

    Raises:
      TypeError: a margin that is not a number, or an `ax` that is not an Axes.
      ValueError: a margin that is negative or not finite, or none.

    Example:
      >>> axes = hinge_curves([0.25, 0.8])
      >>> [text.get_text() for text in axes.get_legend().get_texts()]
      ['margin 0.25', 'margin 0.8']
    """
    margins = [check.margin(m) for m in np.atleast_1d(np.asarray(margin))]
    if not margins:
        raise check.wrong_value("margin", "a number, or several", margin)
    ax = axes_for(ax)
    for i, m in enumerate(margins):
        leads = np.array([-2.0, m, 2.0]) if m < 2 else np.array([-2.0, 2.0])
        (curve,) = ax.plot(
            leads,
            np.maximum(m - leads, 0),
            ("-", "--", "-.", ":")[i % 4],
            linewidth=2,
            color=_PAIRS[i % len(_PAIRS)],
            label=f"margin {m:.3g}",
        )
        ax.plot([0], [m], "o", color=curve.get_color(), markeredgecolor="black")
    ax.axvline(0, color="grey", linewidth=0.8)
    ax.set(
        title="Hinge: max(margin - lead, 0)",
        xlabel="lead: positive - negative",
        ylabel="hinge, the anchor's loss",
        xlim=(-2, 2),
    )
    ax.set_ylim(bottom=-0.02)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def positives_and_negatives(scores: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Histograms of a batch's positives (the diagonal) and of its negatives (everything else).

    Heights are shares in per cent, bins run from -1 to 1 (further where a similarity does), so that
    the pictures of one batch before and after training compare.

    Args:
      scores: similarities (batch, batch), finite; rows are anchors.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes, with title, axis labels and legend.

    Raises:
      TypeError: something other than real numbers, or an `ax` that is not an Axes.
      ValueError: not a square matrix, NaN or infinity.

    Example:
      >>> axes = positives_and_negatives([[0.9, 0.1], [0.3, 0.8]])
      >>> [text.get_text() for text in axes.get_legend().get_texts()]
      ['negatives (n = 2)', 'positives (n = 2)']
    """
    scores = _square(scores)
    ax = axes_for(ax)
    diagonal = np.eye(len(scores), dtype=bool)
    edges = np.linspace(min(-1.0, scores.min()), max(1.0, scores.max()), BINS + 1)
    two_histograms(ax, edges, {"negatives": scores[~diagonal], "positives": scores[diagonal]})
    ax.set_title("Positives and negatives of a batch")
    ax.set_xlabel("similarity")
    ax.set_ylabel("share of its kind (%)")
    ax.legend(frameon=False)
    return ax


def _text_colour(background: str) -> str:
    red, green, blue = to_rgb(background)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def _closest(scores: np.ndarray, closest: str) -> np.ndarray:
    """Where the closest negatives are, bool (batch, batch): one in each row that has any."""
    negative = ~np.eye(len(scores), dtype=bool)
    counted, qualifies = by_rule(np, closest, scores, np.diagonal(scores)[:, None], negative)
    column = np.where(qualifies, counted, -np.inf).argmax(axis=1)
    return qualifies & (np.arange(len(scores)) == column[:, None])


def _matrix(name: str, values: ArrayLike) -> np.ndarray:
    expected = "a matrix of real numbers, rows of one length, at least 1 by 1"
    try:
        matrix = np.asarray(values)
    except ValueError:  # NumPy makes no array of rows of different lengths
        raise check.wrong_value(name, expected, values) from None
    if matrix.dtype.kind not in "iuf" and matrix.dtype.name != "bfloat16":
        raise check.wrong_type(name, expected, values)
    if matrix.ndim != 2 or matrix.size == 0:
        raise check.wrong_value(name, expected, values)
    if not np.isfinite(matrix).all():
        raise check.wrong_value(name, "finite, without NaN and infinity", values)
    return matrix.astype(np.float64)


def _square(scores: ArrayLike) -> np.ndarray:
    matrix = _matrix("scores", scores)
    if matrix.shape[0] != matrix.shape[1]:
        raise check.wrong_value("scores", "a square matrix (batch, batch)", matrix)
    return matrix
