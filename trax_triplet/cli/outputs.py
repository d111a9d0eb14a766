"""What the commands write and tell: the log, safe texts, a plot, progress."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trax_triplet.data.questions import Questions

__all__ = [
    "check_outputs",
    "guard",
    "id_of",
    "log",
    "plot_scores",
    "printable",
    "progress",
    "without_formula",
]


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


def check_outputs(inputs: Iterable[str | None], outputs: Mapping[str, str | None]) -> None:
    """Nothing, if each output can be written and replaces no input and no other output.

    Args:
        inputs: paths of the files that are read.
        outputs: option -> path of the file that is written.

    Raises:
        ValueError: two of them are one file.
        IsADirectoryError, FileNotFoundError: an output is a folder, or its folder is not there.
    """
    taken = {os.path.realpath(path): path for path in inputs if path}
    for option, name in outputs.items():
        if name is None:
            continue
        path = Path(name)
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", name)
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"the folder {path.parent} does not exist; create it to write {path.name}"
            )
        if path.exists() and not path.is_file():
            continue  # a device or a pipe takes what all of them write
        place = os.path.realpath(path)
        if place in taken:
            raise ValueError(
                f"{option} {name} would replace {taken[place]}, which this command also reads or "
                "writes; name another file"
            )
        taken[place] = name


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
