"""What the commands read: pairs, questions and models; and what they tell of it."""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from trax_triplet._wording import counted, in_options
from trax_triplet.cli.options import TEXT_OPTIONS
from trax_triplet.cli.outputs import log, printable, progress

if TYPE_CHECKING:
    import numpy as np

    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.questions import Questions
    from trax_triplet.data.table import Table
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = [
    "check_questions",
    "embed",
    "joined",
    "labels_of",
    "load",
    "read_corpus",
    "read_labelled",
    "read_several",
    "read_unlabelled",
    "refuse_unused",
    "standard_input",
    "tell_reading",
    "text_options",
    "threshold_of",
]


def refuse_unused(options: Namespace, names: Iterable[str], where: str) -> None:
    """Raises if an option was given that would have no effect.

    Args:
        options: of the command.
        names: of the options, as arguments.
        where: they have none, such as "without --csv".
    """
    for name in names:
        if getattr(options, name) != options.defaults[name]:
            raise ValueError(f"{options.named[name]} has no effect {where}; leave it out")


def check_questions(questions: Iterable[str]) -> None:
    """Raises if an argument is blank, or not text in the encoding of the console, such as UTF-8."""
    from trax_triplet.data.encodings import HALVES
    from trax_triplet.data.tokenizer import is_blank

    for question in questions:
        if is_blank(question):
            raise ValueError("a question must not be blank")
        if HALVES.search(question):
            raise ValueError(
                f"the question {question!r} is not text in the encoding of this console "
                f"({sys.getfilesystemencoding()}); write it to a file, and name --encoding"
            )


def standard_input() -> BinaryIO:
    """The bytes of stdin; raises if the program was started without it."""
    if sys.stdin is None:
        raise ValueError("there is no standard input to read, for which - stands: it is closed")
    return sys.stdin.buffer


def text_options(options: Namespace) -> dict[str, Any]:
    """How the text of a file is read, for all functions that read one."""
    return {name: getattr(options, name) for name in TEXT_OPTIONS}


def read_labelled(path: str, options: Namespace) -> Pairs:
    """The pairs of a file with labels."""
    from trax_triplet.data import reader

    pairs = reader.read_pairs(
        path,
        question1=options.question1,
        question2=options.question2,
        label=options.label,
        positive=options.positive,
        threshold_label=options.threshold_label,
        duplicates_only=options.duplicates_only,
        negative=options.negative,
        **text_options(options),
        max_skipped=options.max_skipped,
    )
    tell_reading(path, counted(len(pairs), "pair"), pairs.notes, pairs.skipped)
    return pairs


def read_several(paths: list[str], options: Namespace) -> list[Pairs]:
    """The pairs of each file, with labels."""
    return [read_labelled(path, options) for path in paths]


def joined(parts: list[Pairs]) -> Pairs:
    """The pairs of one file or of several, which need not number their questions alike."""
    from trax_triplet.data.pairs import Pairs, concatenate

    if len(parts) == 1:
        return parts[0]
    every = functools.reduce(concatenate, parts)
    return Pairs(every.question1, every.question2, every.is_duplicate)


def read_unlabelled(path: str, options: Namespace) -> tuple[Table, list[list[str]]]:
    """All rows of a file without labels; and both texts of those that can be used."""
    from trax_triplet.data import reader

    table, _, texts = reader.read_rows(
        path,
        [options.question1, options.question2],
        reader.Labels(None, None, None),
        **text_options(options),
    )
    skipped = tuple((row.line, row.reason) for row in table.rows if row.reason)
    reader.check_skipped(len(table.rows) - len(skipped), skipped, options.max_skipped, path)
    tell_reading(path, counted(len(table.rows) - len(skipped), "pair"), table.notes, skipped)
    return table, texts


def read_corpus(path: str, options: Namespace) -> Questions:
    """The questions of a file, one a row."""
    from trax_triplet.data.questions import read_questions

    try:
        questions = read_questions(
            path,
            column=options.column,
            id=options.id,
            **text_options(options),
            max_skipped=options.max_skipped,
        )
    except ImportError as error:  # of what reads this kind of file: the user can change it
        raise ValueError(error) from None
    tell_reading(path, counted(len(questions), "question"), questions.notes, questions.skipped)
    return questions


def tell_reading(
    path: str, what: str, notes: Sequence[str], skipped: Sequence[tuple[int, str]]
) -> None:
    """Tells what was read, how the file was understood, and which rows were left out."""
    log(f"read {what} from {path}")
    for note in notes:
        log(printable(in_options(note, TEXT_OPTIONS)))
    if skipped:
        shown = [
            f"line {line}: {printable(in_options(reason, TEXT_OPTIONS))}"
            for line, reason in skipped[:3]
        ]
        reasons = "; ".join(shown + ["..."] * (len(skipped) > 3))
        log(f"left out {counted(len(skipped), 'row')} that cannot be used: {reasons}")


def labels_of(pairs: Pairs) -> np.ndarray:
    """The labels of pairs that `read_labelled` read."""
    assert pairs.is_duplicate is not None
    return pairs.is_duplicate


def load(folder: str) -> TrainedModel:
    """The model of a folder, or of the output folder of a training."""
    from trax_triplet.inference.trained_model import load_trained

    return load_trained(folder)


def threshold_of(given: float | None, trained: TrainedModel) -> float:
    """The threshold that was given, or else the model's own."""
    from trax_triplet import _validation as check

    if given is not None:
        return check.number("--threshold", given, -1, 1)
    if trained.threshold is None:
        raise ValueError("this model was saved without a threshold; give one with --threshold")
    if "no pairs labelled 0" in str(trained.settings.get("threshold_source")):
        log(
            f"note: the threshold {trained.threshold:.4f} was chosen on made-up negatives; where "
            "you have labelled pairs, `trax-triplet evaluate` shows whether another one is better"
        )
    return trained.threshold


def embed(questions: Questions, trained: TrainedModel) -> np.ndarray:
    """The vectors of questions, with progress shown."""
    from trax_triplet.search.duplicates import embed_all

    with progress(len(questions), "questions read by the model") as show:
        return embed_all(list(questions.texts), trained, show)
