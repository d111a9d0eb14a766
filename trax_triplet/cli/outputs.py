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
    "check_folder",
    "check_outputs",
    "guard",
    "id_of",
    "log",
    "plot_scores",
    "printable",
    "progress",
    "refuse_part",
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
        inputs: paths of the files that are read, and of folders of models and indexes.
        outputs: option -> path of the file that is written.

    Raises:
        ValueError: two of them are one file, an output lies in the folder of an input, has no name,
            or is called -.
        OSError: an output is a folder or a link that leads nowhere, or its folder is not there.
    """
    inputs = [path for path in inputs if path]
    taken = {os.path.realpath(path): path for path in inputs}
    for option, name in outputs.items():
        if name is None:
            continue
        if not name:
            raise ValueError(f"{option} must be the name of a file, but it is ''")
        if name == "-":
            raise ValueError(
                f"{option} must be the name of a file, but it is '-'; /dev/stdout is standard "
                "output, and ./- a file of this name"
            )
        path = Path(name)
        if path.is_dir() or name.endswith(("/", os.sep)):
            raise IsADirectoryError(21, "Is a directory", name)
        place = Path(os.path.realpath(path))
        if path.is_symlink() and place.is_symlink():
            raise OSError(40, "Too many levels of symbolic links", name)
        for parent in (path.parent, place.parent):
            if not parent.is_dir():
                missing = "is not a folder" if parent.exists() else "does not exist; create it"
                raise FileNotFoundError(f"the folder {parent} {missing} to write {path.name}")
        if path.exists() and not path.is_file():
            continue  # a device or a pipe takes what all of them write
        for folder in inputs:
            refuse_part(option, name, folder)
        if str(place) in taken:
            raise ValueError(
                f"{option} {name} would replace {taken[str(place)]}, which this command also reads "
                "or writes; name another file"
            )
        taken[str(place)] = name


# Of a model's folder, that of a training, and an index.
_PARTS = {"model.json", "model", "checkpoints", "history.jsonl", "index"}


def refuse_part(option: str, name: str, folder: str) -> None:
    """Raises if an output would lie among what the package wrote into a folder that is read."""
    place, inside = (Path(os.path.realpath(path)) for path in (name, folder))
    if not inside.is_dir() or inside not in place.parents:
        return
    if (inside / "model.json").is_file() or place.relative_to(inside).parts[0] in _PARTS:
        raise ValueError(f"{option} {name} would change {folder}, which is read; name another file")


def check_folder(option: str, name: str, start: str | None = None) -> None:
    """Nothing, if a training may write into this folder.

    Args:
        option: that named it.
        name: the folder; it need not exist.
        start: folder that the training starts from, which stays as it is.

    Raises:
        ValueError: no name, or the folder to start from.
        NotADirectoryError: it is a file.
    """
    if not name:
        raise ValueError(f"{option} must be the name of a folder, but it is ''")
    if os.path.exists(name) and not os.path.isdir(name):
        raise NotADirectoryError(20, "Not a directory", name)
    if start is None:
        return
    inside = os.path.realpath(start)
    is_model = os.path.isfile(os.path.join(inside, "model.json"))
    if os.path.realpath(name) in {inside, os.path.dirname(inside) if is_model else inside}:
        raise ValueError(
            f"{option} {name} must be another folder than that of --from, which stays as it is"
        )


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
