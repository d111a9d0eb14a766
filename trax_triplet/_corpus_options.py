"""The options of the commands on a corpus, and those that all commands share. See `cli`."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = [
    "COMMANDS",
    "add_guard",
    "add_max_skipped",
    "add_model",
    "add_pair_columns",
    "add_text_options",
    "add_threshold",
]


def _add_duplicates_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="FILE", help="questions: CSV, TSV, JSON lines or Parquet")
    add_model(command)
    add_threshold(
        command,
        "the model's own, which is low for a corpus: nearly all of its pairs are no duplicates",
    )
    command.add_argument(
        "--output", required=True, metavar="CSV", help="file for the pairs, the most similar first"
    )
    command.add_argument(
        "--top-k",
        type=int,
        metavar="INT",
        help="only so many pairs of each question, the most similar (default: all)",
    )
    command.add_argument(
        "--groups", metavar="CSV", help="file for the groups of duplicates, the largest first"
    )
    command.add_argument(
        "--linkage",
        choices=("single", "complete"),
        default="single",
        help="single: a group is what a chain of pairs connects; complete: all questions of a "
        "group are pairs (default: %(default)s)",
    )
    add_guard(command)
    _add_column_options(command)


def _add_index_options(command: argparse.ArgumentParser) -> None:
    command.usage = (
        "trax-triplet index FILE --model FOLDER --output IDX [option ...]\n"
        "       trax-triplet index IDX (--add FILE | --remove ID [ID ...] | --info) [option ...]"
    )
    command.add_argument(
        "path", metavar="FILE|IDX", help="questions to index, or the folder of an index"
    )
    command.add_argument("--model", metavar="FOLDER", help="model folder; the index keeps a copy")
    command.add_argument("--output", metavar="IDX", help="folder for the index")
    command.add_argument("--add", metavar="FILE", help="add the questions of a file to the index")
    command.add_argument(
        "--remove", nargs="+", metavar="ID", help="remove the questions with these ids"
    )
    command.add_argument("--info", action="store_true", help="tell what is in the index")
    command.add_argument(
        "--approximate",
        action=argparse.BooleanOptionalAction,
        help="find nearly all of the nearest questions by a graph, or all by comparing with each "
        "(default: a graph above 200 000 questions, where FAISS is installed)",
    )
    _add_column_options(command)


def _add_search_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("index", metavar="IDX", help="folder of an index")
    command.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help="questions to look for; - for one a line from standard input",
    )
    command.add_argument(
        "--top", type=int, default=10, metavar="INT", help="how many to find (default: %(default)s)"
    )
    command.add_argument("--csv", metavar="FILE", help="questions to look for, in a file")
    command.add_argument(
        "--output", metavar="CSV", help="file for what is found for --csv, instead of stdout"
    )
    add_threshold(command)
    add_guard(command)
    _add_column_options(command)


def _add_mine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="CSV", help="labelled pairs of questions")
    add_model(command)
    command.add_argument(
        "--output",
        required=True,
        metavar="CSV",
        help="file for the triplets: question1, question2 (a duplicate), negative (none); "
        "`trax-triplet train CSV --negative negative` takes it",
    )
    command.add_argument(
        "--per-pair",
        type=int,
        default=1,
        metavar="INT",
        help="how many negatives a pair gets at most (default: %(default)s)",
    )
    command.add_argument(
        "--band",
        nargs=2,
        type=float,
        default=(0.0, 0.9),
        metavar=("LOW", "HIGH"),
        help="similarities between which negatives are looked for; above may be duplicates that "
        "nobody marked (default: 0.0 0.9)",
    )
    command.add_argument(
        "--below",
        type=float,
        default=0.95,
        metavar="FLOAT",
        help="a negative is less similar than this times the duplicate (default: %(default)s)",
    )
    add_guard(command)
    group = command.add_argument_group("columns and rows of the CSV file")
    add_pair_columns(group)
    add_text_options(group)
    add_max_skipped(group)


def _add_column_options(command: argparse.ArgumentParser) -> None:
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


def add_max_skipped(group: Any, default: float = 0.01) -> None:
    """How many rows may be left out."""
    group.add_argument(
        "--max-skipped",
        type=float,
        default=default,
        metavar="FLOAT",
        help="share of unusable rows above which the file is refused (default: %(default)s)",
    )


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


COMMANDS = {
    "duplicates": (
        _add_duplicates_options,
        "find all pairs of duplicates among the questions of a file",
    ),
    "index": (_add_index_options, "make an index of questions, change it, tell what is in it"),
    "mine": (_add_mine_options, "find hard negatives for pairs of duplicates, to train on"),
    "search": (_add_search_options, "find the questions of an index that are nearest to others"),
}
