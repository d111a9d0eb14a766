"""Pictures of scores and of training: arrays in, a matplotlib Axes out. `loss` has the loss's own.

Nothing here shows or saves, or touches pyplot's current figure: without `ax` a function
makes a Figure of its own. Save with `axes.figure.savefig("scores.png")`; in a notebook,
`axes.figure` at the end of a cell shows it (after `%matplotlib inline`). Importing this loads
matplotlib, so import it where you draw.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which readers of any colour
vision tell apart; hatching, line styles, markers and numbers do the same in black and white.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from trax_triplet import _validation as check
from trax_triplet.evaluation import check_scores

__all__ = [
    "axes_for",
    "learning_curve",
    "plot_reliability",
    "score_histogram",
    "two_histograms",
]

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
BINS = 32


def score_histogram(
    scores: ArrayLike, labels: ArrayLike, *, threshold: float | None = None, ax: Axes | None = None
) -> Axes:
    """Histograms of the similarities of duplicates and of other pairs, one over the other.

    Heights are shares of each class, in per cent, so that the two shapes compare though one class
    has more pairs; the legend has the counts. Both classes use the same 32 bins, from the lowest
    score to the highest.

    Args:
      scores: similarities (n,), finite.
      labels: (n,), 1 for a duplicate pair, 0 for another; a class without pairs is not drawn.
      threshold: marked by a line with its number; pairs right of it are called duplicates.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes, with title, axis labels and legend.

    Raises:
      TypeError, ValueError: as `evaluation.check_scores`; also for a threshold that is not a finite
          number.

    Example:
      >>> axes = score_histogram([0.9, 0.7, 0.2, 0.1], [1, 1, 0, 0], threshold=0.5)
      >>> axes.get_ylabel()
      'share of the pairs of its class (%)'
    """
    scores, labels = check_scores(scores, labels)
    if threshold is not None:
        threshold = check.number("threshold", threshold)
    ax = axes_for(ax)
    scores = scores.astype(np.float64)
    edges = np.histogram_bin_edges(scores, bins=BINS)
    two_histograms(ax, edges, {"other pairs": scores[~labels], "duplicates": scores[labels]})
    if threshold is not None:
        ax.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3g}")
    ax.set_title("Similarity of question pairs")
    ax.set_xlabel("cosine similarity of the two questions")
    ax.set_ylabel("share of the pairs of its class (%)")
    ax.legend(frameon=False)
    return ax


def plot_reliability(
    probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 10, ax: Axes | None = None
) -> Axes:
    """A reliability diagram: how often pairs are duplicates that were given a probability.

    The pairs are put into bins of equal width by their probability; a point shows the mean
    probability of a bin and its share of duplicates, with the 95 % interval of Wilson, and is the
    larger the more pairs it stands for. Where probabilities are right, points lie on the diagonal.
    Draw it for pairs that the model was neither trained nor validated on.

    Args:
      probabilities: (n,), in [0, 1], as `TrainedModel.probability` gives them.
      labels: (n,), 1 for a duplicate pair, 0 for another.
      bins: number of bins, at least 1; empty ones are not drawn.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes. Its title has the number of pairs, the Brier score (the mean squared difference of
      probability and label) and the expected calibration error (the mean distance of the bins from
      the diagonal, by their pairs).

    Raises:
      TypeError, ValueError: as `evaluation.check_scores`; also for a probability outside [0, 1], or
        `bins` that is not an integer of at least 1.

    Example:
      >>> axes = plot_reliability([0.25, 0.25, 0.25, 0.25, 0.75, 0.75], [0, 0, 0, 1, 1, 1])
      >>> print(axes.get_title())
      Reliability of 6 probabilities
      Brier score 0.146, calibration error 0.083
    """
    chances, labels = check_scores(probabilities, labels)
    chances = chances.astype(np.float64)
    bins = check.integer("bins", bins, 1)
    if chances.min() < 0 or chances.max() > 1:
        wrong = chances[np.argmax(np.abs(chances - 0.5))]
        advice = "TrainedModel.probability gives them, similarity does not"
        raise check.wrong_value("probabilities", "in [0, 1]", float(wrong), advice)
    which = np.minimum((chances * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = np.flatnonzero(counts)
    n = counts[filled]
    given = np.bincount(which, chances, bins)[filled] / n
    share = np.bincount(which, labels, bins)[filled] / n
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    reach = np.maximum([share - (middle - half), middle + half - share], 0)
    ax = axes_for(ax, (5.5, 5.5))
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", label="as often as said")
    ax.errorbar(given, share, yerr=reach, color=BLUE, linewidth=1.5, capsize=3)
    ax.scatter(given, share, s=20 + 180 * n / n.max(), color=BLUE, label="pairs, in bins")
    error = float(np.sum(n * np.abs(given - share)) / n.sum())
    brier = float(np.mean((chances - labels) ** 2))
    ax.set_title(
        f"Reliability of {len(labels):,} probabilities\n"
        f"Brier score {brier:.3f}, calibration error {error:.3f}"
    )
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_xlabel("probability of a duplicate, mean of the bin")
    ax.set_ylabel("share of duplicates in the bin")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper left")
    return ax


def learning_curve(
    history: Sequence[Mapping[str, float]], *, margin: float | None = None, ax: Axes | None = None
) -> Axes:
    """Loss, and where it was measured validation loss and ROC AUC, by training step.

    Args:
      history: one dict an evaluation, steps ascending: `step`, `loss`, and where measured
        `validation_loss` and `validation_auc` (absent or None elsewhere); other keys are ignored.
        AUC has its own axis, right.
      margin: draws the loss 2 * margin, at which a collapsed model stands still: with all vectors
        alike, each of the two hinges of the mean loss is the margin.
      ax: draw here instead of in a new Figure.

    Returns:
      The Axes of the loss, its legend below it (an `ax` of yours needs room there, as
      `layout="constrained"` makes); the Axes of the AUC, where there is one, is the last of
      `axes.figure.axes`.

    Raises:
      TypeError: a row that is not a dict, a value that is not a number, an `ax` that is not an
        Axes.
      ValueError: no rows, a row without step or loss, steps that do not ascend, NaN or infinity, a
        margin not above 0.

    Example:
      >>> axes = learning_curve([{"step": 0, "loss": 0.5}, {"step": 100, "loss": 0.2}], margin=0.25)
      >>> [line.get_label() for line in axes.get_lines()]
      ['training loss', 'collapse: 2 × margin = 0.5']
    """
    _check(history)
    loss, validation_loss, auc = (
        _points(history, k) for k in ("loss", "validation_loss", "validation_auc")
    )
    if margin is not None:
        margin = check.number("margin", margin, above=0)
    ax = axes_for(ax)
    lines = [_line(ax, loss, "training loss", BLUE, "o-")]
    if validation_loss[0]:
        lines.append(_line(ax, validation_loss, "validation loss", ORANGE, "s--"))
    if auc[0]:
        right = ax.twinx()
        lines.append(_line(right, auc, "validation ROC AUC (right)", GREEN, "^-."))
        right.set_ylabel("ROC AUC", color=GREEN)
        right.tick_params(axis="y", colors=GREEN)
    if margin is not None:
        lines.append(
            ax.axhline(
                2 * margin,
                color="black",
                linestyle=":",
                linewidth=1.5,
                label=f"collapse: 2 × margin = {2 * margin:.3g}",
            )
        )
    ax.set_ylim(bottom=0)
    ax.set_title("Learning curve")
    ax.set_xlabel("training step")
    ax.set_ylabel("triplet loss")
    # Below the axes: inside, it would lie on a curve, as loss and AUC fill the corners between
    # them.
    ax.legend(
        handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False
    )
    return ax


def two_histograms(ax: Axes, edges: np.ndarray, kinds: Mapping[str, np.ndarray]) -> None:
    """Two kinds of numbers as shares in per cent: the first filled, the second hatched.

    Args:
      ax: the Axes to draw in.
      edges: of the bins, ascending.
      kinds: name -> numbers, two of them; a kind without numbers is not drawn.

    Example:
      >>> axes = axes_for(None)
      >>> kinds = {"low": np.array([0.1]), "high": np.array([0.9])}
      >>> two_histograms(axes, np.linspace(0, 1, 5), kinds)
      >>> [patch.get_label() for patch in axes.patches]
      ['low (n = 1)', 'high (n = 1)']
    """
    looks: tuple[dict[str, Any], ...] = (
        {"facecolor": ORANGE + "66", "edgecolor": ORANGE},
        {"facecolor": "none", "edgecolor": BLUE, "hatch": "////"},
    )
    for (name, chosen), look in zip(kinds.items(), looks, strict=True):
        if chosen.size:
            ax.hist(
                chosen,
                bins=edges.tolist(),
                weights=np.full(chosen.size, 100 / chosen.size),
                linewidth=1.5,
                histtype="stepfilled",
                label=f"{name} (n = {chosen.size:,})",
                **look,
            )
    ax.spines[["top", "right"]].set_visible(False)


def axes_for(ax: Axes | None, size: tuple[float, float] = (7, 4.2)) -> Axes:
    """`ax`, or where it is None the Axes of a new Figure of `size`, in inches.

    Raises:
      TypeError: something other than an Axes.

    Example:
      >>> axes_for(None, (3, 2)).figure.get_size_inches().tolist()
      [3.0, 2.0]
    """
    if ax is None:
        return Figure(figsize=size, layout="constrained").add_subplot()
    return check.instance("ax", ax, Axes, "one matplotlib Axes", "pass, for example, axes[0, 1]")


def _line(
    ax: Axes, points: tuple[list[float], list[float]], label: str, colour: str, style: str
) -> Line2D:
    every = max(1, len(points[0]) // 20)  # markers of a long run would hide its line
    return ax.plot(*points, style, color=colour, label=label, markersize=5, markevery=every)[0]


def _check(history: Sequence[Mapping[str, float]]) -> None:
    if isinstance(history, (str, Mapping)) or not isinstance(history, Sequence):
        raise check.wrong_type("history", "a list of dicts, one for each evaluation", history)
    if len(history) == 0:
        advice = "train up to the first evaluation"
        raise check.wrong_value("history", "a list of at least one dict", history, advice)
    before = -np.inf
    for i, row in enumerate(history):
        check.instance(f"history[{i}]", row, Mapping, "a dict")
        if row.get("step") is None or row.get("loss") is None:
            raise check.wrong_value(f"history[{i}]", "a dict with 'step' and 'loss'", dict(row))
        step = check.number(f"history[{i}]['step']", row["step"])
        if step <= before:
            expected = f"above the step before it, {before:g}"
            raise check.wrong_value(f"history[{i}]['step']", expected, step, "sort by step")
        before = step


def _points(history: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of the rows that have `key`."""
    rows = [(i, row) for i, row in enumerate(history) if row.get(key) is not None]
    values = [check.number(f"history[{i}][{key!r}]", row[key]) for i, row in rows]
    return [row["step"] for _, row in rows], values
