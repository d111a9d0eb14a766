"""The options of the commands on a corpus. See `cli`."""

from __future__ import annotations

import argparse

__all__ = ["COMMANDS"]


def _add_duplicates_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="FILE", help="questions: CSV, TSV, JSON lines or Parquet")
    _add_model_options(command)
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
    _add_column_options(command)


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        required=True,
        metavar="FOLDER",
        help="model folder, or the output folder of a training",
    )
    command.add_argument(
        "--threshold",
        type=float,
        metavar="FLOAT",
        help="similarity above which questions count as duplicates (default: the model's own, "
        "which is low for a corpus: nearly all of its pairs are no duplicates)",
    )


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
    group.add_argument(
        "--max-skipped",
        type=float,
        default=0.01,
        metavar="FLOAT",
        help="share of unusable rows above which the file is refused (default: %(default)s)",
    )


COMMANDS = {
    "duplicates": (
        _add_duplicates_options,
        "find all pairs of duplicates among the questions of a file",
    ),
}
