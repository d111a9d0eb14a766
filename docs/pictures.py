"""Draws the pictures of `loss.md` anew, into docs/img or the folder that is named:

    python docs/pictures.py [FOLDER]

The histogram in `tutorial.md` is the one that the tutorial's `evaluate --plot` writes.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from trax_triplet.plots import hinge_curves, similarity_heatmap


def similarities() -> Figure:
    """Six pairs, of which some are still hard: noisy copies of random vectors."""
    rng = np.random.default_rng(4)
    first = rng.normal(size=(6, 8))
    first[1] += 1.2 * first[0]  # two questions with much in common
    second = first + rng.normal(scale=0.9, size=first.shape)
    v1, v2 = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second))
    figure = Figure(figsize=(6, 5), dpi=100, layout="constrained")
    similarity_heatmap(v1 @ v2.T, margin=0.25, ax=figure.subplots())
    return figure


def hinge() -> Figure:
    figure = Figure(figsize=(6, 3.6), dpi=100, layout="constrained")
    hinge_curves([0.25, 0.5], ax=figure.subplots())
    return figure


def draw(folder: Path) -> None:
    for picture in (similarities, hinge):
        picture().savefig(folder / f"{picture.__name__}.png", metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent / "img"))
