"""The options that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = [
    "TEXT_OPTIONS",
    "add_guard",
    "add_max_skipped",
    "add_model",
    "add_pair_columns",
    "add_pair_options",
    "add_question_options",
    "add_seed",
    "add_text_options",
    "add_threshold",
]

# Argument of what reads a file -> option.
TEXT_OPTIONS = {name: f"--{name}" for name in ("encoding", "quoting", "escape")}


def add_model(command: argparse.ArgumentParser) -> None:
    """The model that answers."""
    command.add_argument(
        "--model",
        required=True,
        metavar="FOLDER",
        help="model folder, or the output folder of a training",
    )


def add_threshold(command: argparse.ArgumentParser, default: str = "the model's own") -> None:
    """The threshold to answer by, and what its default is."""
    command.add_argument(
        "--threshold",
        type=float,
        metavar="FLOAT",
        help=f"similarity above which questions count as duplicates (default: {default})",
    )


def add_guard(command: argparse.ArgumentParser) -> None:
    """Whether what is written is safe to open in a spreadsheet."""
    command.add_argument(
        "--guard-formulas",
        action="store_true",
        help="put an apostrophe before texts in --output that a spreadsheet takes for formulas",
    )


def add_seed(command: argparse.ArgumentParser, what: str) -> None:
    """The seed of what is random."""
    command.add_argument(
        "--seed", type=int, default=0, metavar="INT", help=f"seed of {what} (default: %(default)s)"
    )


def add_pair_options(command: argparse.ArgumentParser, labels: bool = True) -> None:
    """How a file of pairs is read."""
    group = command.add_argument_group("columns and rows of the CSV file")
    add_pair_columns(group, labels)
    if labels:
        _add_label_options(group)
    add_text_options(group)
    add_max_skipped(group, 0.01 if labels else 1.0)


def add_pair_columns(group: Any, labels: bool = True) -> None:
    """The columns of a file of pairs."""
    columns = {
        "--question1": ("question1", "first questions"),
        "--question2": ("question2", "second questions"),
        "--label": ("is_duplicate", "labels, 1 for duplicates and 0 for other pairs"),
    }
    for option, (default, what) in columns.items():
        if labels or option != "--label":
            group.add_argument(
                option,
                default=default,
                metavar="COLUMN",
                help=f"column of the {what} (default: %(default)s)",
            )


def _add_label_options(group: Any) -> None:
    group.add_argument(
        "--positive",
        nargs="+",
        metavar="LABEL",
        help="labels that mean duplicate, in upper or lower case; all others mean not duplicate "
        "(default: 1, true, yes, duplicate)",
    )
    group.add_argument(
        "--threshold-label",
        type=float,
        metavar="FLOAT",
        help="the labels are grades: those of at least this much mean duplicate",
    )
    group.add_argument(
        "--duplicates-only",
        action="store_true",
        help="every row is a pair of duplicates, and there is no column of labels",
    )
    group.add_argument(
        "--negative",
        metavar="COLUMN",
        help="column of texts that are not duplicates of the first questions, as in a file of "
        "triplets; there is no column of labels then",
    )


def add_question_options(command: argparse.ArgumentParser) -> None:
    """How a file of single questions is read."""
    group = command.add_argument_group("columns and rows of the file of questions")
    group.add_argument(
        "--column",
        default="question",
        metavar="COLUMN",
        help="column of the questions (default: %(default)s)",
    )
    group.add_argument(
        "--id", metavar="COLUMN", help="column of their ids (default: none; lines are numbered)"
    )
    add_text_options(group)
    add_max_skipped(group)


def add_text_options(group: Any) -> None:
    """How the text of a file is read; of all commands that read one."""
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of the text, such as cp1252 (default: UTF-8, or UTF-16 and UTF-32 where the "
        "file shows it)",
    )
    group.add_argument(
        "--quoting",
        choices=("auto", "csv", "none"),
        default="auto",
        help="what quotes are: csv: never text; none: always text; auto: text in files separated "
        "by tabs, unless they clearly quote (default: %(default)s)",
    )
    group.add_argument(
        "--escape",
        metavar="CHAR",
        help="character before a quote that is text inside of quotes, such as a backslash "
        "(default: such a quote is doubled)",
    )


def add_max_skipped(group: Any, default: float = 0.01) -> None:
    """How many rows may be left out."""
    group.add_argument(
        "--max-skipped",
        type=float,
        default=default,
        metavar="FLOAT",
        help="share of unusable rows above which the file is refused (default: %(default)s)",
    )
