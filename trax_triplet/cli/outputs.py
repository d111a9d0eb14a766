"""What the commands write and tell: the log, safe texts, a plot, progress."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trax_triplet.data.questions import Questions

__all__ = ["guard", "id_of", "log", "plot_scores", "printable", "progress", "without_formula"]


def log(text: str) -> None:
    """Prints a line of progress."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with control characters escaped: they do not reach the terminal.

    Example:
        >>> print(printable("Who\\x1b[31m?"))
        Who\\x1b[31m?
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def without_formula(text: str) -> str:
    """The text with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def guard(options: Namespace) -> Callable[[str], str]:
    """What makes the texts safe that are written for the user, as --guard-formulas says."""
    return without_formula if options.guard_formulas else str


def id_of(questions: Questions, row: int) -> str:
    """The id of a question: the file's own, or else the line that it starts on."""
    return str(questions.lines[row]) if questions.ids is None else questions.ids[row]


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[..., None]]:
    """Shows how many of a total are done, and the time left, where stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, unit="", desc=what, disable=None, leave=False) as bar:

        def show(done: int, pairs: int = 0) -> None:
            bar.set_postfix_str(f"{pairs} pairs" if pairs else "", refresh=False)
            bar.update(done - bar.n)

        yield show


def plot_scores(path: str | Path, scores: Any, labels: Any, threshold: float) -> None:
    """Draws histograms of similarities into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from trax_triplet import plots
    from trax_triplet._files import new_file

    figure = Figure(figsize=(7, 4), layout="constrained")
    plots.score_histogram(scores, labels, ax=figure.add_subplot(), threshold=threshold)
    with new_file(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)
