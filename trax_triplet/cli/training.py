"""The command `train`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet._wording import counted
from trax_triplet.cli.inputs import (
    joined,
    labels_of,
    load,
    read_corpus,
    read_labelled,
    read_several,
    refuse_unused,
)
from trax_triplet.cli.options import add_pair_options
from trax_triplet.cli.outputs import check_folder, log
from trax_triplet.training.settings import TrainSettings, kinds

if TYPE_CHECKING:
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["COMMANDS", "run_training"]


def _add_train_options(command: argparse.ArgumentParser) -> None:
    command.usage = "trax-triplet train CSV [CSV ...] --output FOLDER [option ...]"
    _add_sources(command)
    _add_teacher_options(command)
    add_pair_options(command)
    _add_settings(command)
    _add_process_options(command)


def _add_sources(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "csv",
        nargs="+",
        metavar="CSV",
        help="question pairs: columns question1, question2, is_duplicate",
    )
    command.add_argument(
        "--output",
        required=True,
        metavar="FOLDER",
        help="folder for the model, the checkpoints and the history; the same command goes on from "
        "the last checkpoint in it",
    )
    command.add_argument(
        "--from",
        dest="start",
        metavar="FOLDER",
        help="model to start from: the words that it knows keep their vectors, new ones are added; "
        "--d-model, --pooling and --tokenizer must be as it has them",
    )
    command.add_argument(
        "--validation",
        metavar="CSV",
        help="labelled pairs to validate on (default: a share of the training pairs)",
    )
    command.add_argument(
        "--validation-share",
        type=float,
        default=0.1,
        metavar="FLOAT",
        help="share of the training pairs to validate on (default: %(default)s)",
    )
    command.add_argument(
        "--word-vectors",
        metavar="FILE",
        help="word vectors that the embedding starts from: a text file of GloVe, word2vec or "
        "fastText, also gzipped. Vectors wider than --d-model are reduced to their principal "
        "components, narrower ones fill a part of it (default: a random start)",
    )


def _add_teacher_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--teacher",
        metavar="MODEL",
        help="model of sentence-transformers, its name or folder, to learn from beside the labels "
        "(needs trax-triplet[teacher])",
    )
    command.add_argument(
        "--unlabelled",
        metavar="FILE",
        help="more questions that nobody labelled, for the teacher only: a table, JSON lines "
        "or Parquet, one question a row",
    )
    command.add_argument(
        "--column",
        default="question",
        metavar="NAME",
        help="the questions' column in --unlabelled (default: %(default)s)",
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("settings of the training")
    for setting in dataclasses.fields(TrainSettings):
        kind, choices = kinds()[setting.name]
        none = setting.metadata["none"]
        details: dict[str, Any] = {"type": kind, "metavar": kind.__name__.upper()}
        if choices:
            details = {"choices": choices}
        elif kind is bool:
            details = {"action": argparse.BooleanOptionalAction}
        elif none:
            details["metavar"] += f"|{none}"
            details["type"] = lambda text, kind=kind, none=none: _or_none(text, kind, none)
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            default=setting.default,
            help=f"{setting.metadata['help']} (default: %(default)s)",
            **details,
        )


def _or_none(text: str, kind: type, none: str) -> Any:
    try:
        return None if text == none else kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected {kind.__name__} or {none!r}, but got {text!r}"
        ) from None


def _add_process_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "several processes",
        "Start the same command in each process, with its own --process-id; all of them must see "
        "the output folder. Instead of the first three options you can set the environment "
        "variables TRAX_TRIPLET_COORDINATOR, TRAX_TRIPLET_PROCESSES and TRAX_TRIPLET_PROCESS_ID.",
    )
    for name, kind, metavar, text in (
        ("coordinator", str, "HOST:PORT", "address at which process 0 listens"),
        ("processes", int, "INT", "number of processes"),
        ("process-id", int, "INT", "number of this process, from 0"),
    ):
        variable = f"TRAX_TRIPLET_{name.replace('-', '_').upper()}"
        default = os.environ.get(variable)
        group.add_argument(f"--{name}", type=kind, metavar=metavar, help=text, default=default)
    group.add_argument(
        "--timeout",
        type=int,
        default=60,
        metavar="SECONDS",
        help="time to wait for the other processes at the start, and after which one that is "
        "silent counts as lost (default: %(default)s)",
    )


def train(options: Namespace) -> dict[str, Any]:
    """Trains a model on a CSV file of question pairs."""
    from dataclasses import fields

    settings = TrainSettings(**{s.name: getattr(options, s.name) for s in fields(TrainSettings)})
    check_folder("--output", options.output, options.start)
    _join_processes(options)
    start = load(options.start) if options.start else None
    more = _teacher(options)
    pairs, validation = _training_parts(options)
    trained, seconds = run_training(
        pairs,
        validation,
        options.output,
        settings,
        word_vectors=options.word_vectors,
        start=start,
        **more,
    )
    best = trained.settings["training"]
    result = {
        "model": str(Path(options.output, "model")),
        "seconds": round(seconds, 1),
        "threshold": trained.threshold,
        **{name: best[name] for name in ("step", "validation_auc", "validation_loss")},
    }
    if not options.json:
        print(
            f"best model: step {result['step']}, validation AUC {result['validation_auc']:.4f}, "
            f"in {result['model']}"
        )
    return result


def _teacher(options: Namespace) -> dict[str, Any]:
    """The arguments of `training.train` for --teacher and --unlabelled."""
    if not options.teacher:
        if options.unlabelled:
            raise ValueError("--unlabelled has no effect without --teacher; leave it out")
        refuse_unused(options, ["column", "teacher_weight"], "without --teacher")
        return {}
    options.id = None
    texts = read_corpus(options.unlabelled, options).texts if options.unlabelled else ()
    try:
        library = importlib.import_module("sentence_transformers")
    except ModuleNotFoundError as error:
        if error.name != "sentence_transformers":
            raise
        raise ValueError(
            "--teacher needs sentence-transformers: pip install 'trax-triplet[teacher]'"
        ) from None
    log(f"loading the teacher {options.teacher} ...")
    encode = library.SentenceTransformer(options.teacher).encode

    def teacher(questions: list[str]) -> Any:
        return encode(questions, show_progress_bar=False)

    return {"teacher": teacher, "unlabelled": texts}


def _join_processes(options: Namespace) -> None:
    given = options.coordinator, options.processes, options.process_id
    if all(value is None for value in given):
        refuse_unused(options, ["timeout"], "without --coordinator")
        return
    if None in given:
        raise ValueError(
            "--coordinator, --processes and --process-id must be given together, or none of them"
        )
    from trax_triplet.compat import launch

    launch.check_cluster(*given, options.timeout)
    launch.continue_in_child(options.timeout)
    from trax_triplet.compat import processes

    log(
        f"waiting for {counted(options.processes, 'process', 'processes')} at "
        f"{options.coordinator} ..."
    )
    processes.join(*given, timeout=options.timeout)
    if not processes.is_first_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - one process prints the result


def _training_parts(options: Namespace) -> tuple[Pairs, Pairs]:
    """The pairs to train on, and those to validate on."""
    from trax_triplet import _validation as check

    if not options.validation:
        share = check.number("--validation-share", options.validation_share, above=0, below=1)
        return _split(read_several(options.csv, options), share, options)
    refuse_unused(options, ["validation_share"], "with --validation")
    pairs = joined(read_several(options.csv, options))
    validation = read_labelled(options.validation, options)
    shared = _with_a_question_of(pairs, validation)
    if shared:
        log(
            f"{len(shared)} of {counted(len(validation), 'validation pair')} have a question that "
            f"is in {' or '.join(options.csv)}, too: expect a better result on them than on new "
            "questions"
        )
    return pairs, validation


def _split(files: list[Pairs], share: float, options: Namespace) -> tuple[Pairs, Pairs]:
    """All pairs but those to validate on, and these.

    A file with pairs of one label only says nothing of how often the model will meet duplicates:
    where another has both labels, the pairs to validate on come from there.
    """
    from trax_triplet.data.pairs import split_pairs

    mixed = [len(set(labels_of(pairs).tolist())) > 1 for pairs in files]
    if not any(mixed):
        mixed = [True] * len(files)
    source = joined([pairs for pairs, is_mixed in zip(files, mixed, strict=True) if is_mixed])
    (pairs, validation), left_out = split_pairs(source, (1 - share, share), seed=options.seed)
    if len(left_out):
        log(
            f"in neither part: {counted(len(left_out), 'pair')} whose two questions belong to "
            "different parts"
        )
    parts = [pairs]
    for name, others, is_mixed in zip(options.csv, files, mixed, strict=True):
        if is_mixed:
            continue
        shared = _with_a_question_of(validation, others)
        parts.append(others.select(sorted(set(range(len(others))).difference(shared))))
        without = f", but for {counted(len(shared), 'pair')} that share a question with those"
        log(
            f"{name} has pairs of one label only: the pairs to validate on come from the other "
            f"files, and it is trained on{without if shared else ''}"
        )
    return joined(parts), validation


def _with_a_question_of(known: Pairs, pairs: Pairs) -> list[int]:
    """The rows of the pairs of which a question is one of the known pairs', too."""
    from trax_triplet.data.pairs import normalize_text

    texts = {normalize_text(text) for text in (*known.question1, *known.question2)}
    both = zip(pairs.question1, pairs.question2, strict=True)
    return [row for row, pair in enumerate(both) if not texts.isdisjoint(map(normalize_text, pair))]


def run_training(
    pairs: Pairs,
    validation: Pairs,
    output: str | Path,
    settings: TrainSettings,
    **more: Any,
) -> tuple[TrainedModel, float]:
    log("loading Trax (some seconds) ...")
    from trax_triplet.training import run

    start = time.perf_counter()
    trained = run.train(pairs, output, validation=validation, settings=settings, **more)
    return trained, time.perf_counter() - start


COMMANDS = {"train": (_add_train_options, train, "train a model on a CSV file of question pairs")}
