"""The command `trax-triplet`: its options, and how its errors are shown.

Results go to stdout, progress to stderr. A user's mistake is one line on stderr and exit status 2;
an error of the package's own is one, too, and asks to be reported: exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import dis
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trax_triplet import (
    __version__,
    _commands,
    _corpus_commands,
    _corpus_options,
    _index_commands,
)
from trax_triplet.training.settings import TrainSettings, kinds

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: list of strings; None for those the program was started with.

    Returns:
        Exit status: 0; 2 for a user's mistake; 1 for an error of the package; 3 if `check` found a
        function wrong; 130 after Ctrl-C; 141 if nobody reads stdout any more.

    Raises:
        SystemExit: after `--help` and `--version`, or if argparse refuses the arguments.

    Example:
        >>> main(["evaluate", "--model", "no such folder", "pairs.csv"])
        2
    """
    options = _parser().parse_args(arguments)
    with _shows_any_text(sys.stdout):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        modules = (_commands, _corpus_commands, _index_commands)
        module = next(module for module in modules if hasattr(module, options.command))
        result = getattr(module, options.command)(options)
        if options.json and result:  # else what there was to print is printed
            print(json.dumps(result, indent=1))
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"trax-triplet {options.command}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and error.filename is None:
            sys.stdout = None  # else Python tries, and complains, once more when it ends
            return 141  # as a program that SIGPIPE ends
        if options.debug:
            traceback.print_exc()
        status, text = _reported(error)
        text = _commands.printable(" ".join(text.split()))
        print(f"trax-triplet {options.command}: {text}", file=sys.stderr)
        return status
    return 3 if options.command == "check" and not result["passed"] else 0


@contextlib.contextmanager
def _shows_any_text(stream: Any) -> Iterator[None]:
    """Context: characters that the console's encoding lacks are escaped, where they would fail."""
    errors = getattr(stream, "errors", None)
    if not isinstance(stream, io.TextIOWrapper) or errors != "strict":
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=errors)


def _reported(error: Exception) -> tuple[int, str]:
    """The exit status for an error, and what to tell the user."""
    if isinstance(error, OSError) and error.filename is not None:
        return 2, f"error: {error.filename}: {error.strerror}"  # str() starts with "[Errno 2]"
    is_foreseen = isinstance(error, (ValueError, FloatingPointError)) and _is_raised_by_us(error)
    if isinstance(error, OSError) or is_foreseen:
        return 2, f"error: {error}"
    return 1, (
        f"internal error: {type(error).__name__}: {error}; please report it, with the traceback "
        "that --debug shows"
    )


def _is_raised_by_us(error: Exception) -> bool:
    """Whether a `raise` statement of this package made the error: a check that found a mistake.

    Nobody has foreseen what a library raises, or an operation such as `int(text)`: that is a bug.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    is_ours = Path(__file__).parent in Path(code.co_filename).parents
    return is_ours and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trax-triplet",
        description="Find duplicate questions with a Siamese LSTM and the modified triplet loss.",
        epilog="`trax-triplet COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"trax-triplet {__version__}")
    debug = "show the traceback of an error"
    parser.add_argument("--debug", action="store_true", help=debug)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_options, name, text in (
        (_add_demo_options, "demo", "generate question pairs, train, evaluate and predict: a tour"),
        (_add_sample_options, "sample", "write a CSV file of generated question pairs"),
        (_add_train_options, "train", "train a model on a CSV file of question pairs"),
        (_add_evaluate_options, "evaluate", "measure a model on a CSV file of labelled pairs"),
        (_add_predict_options, "predict", "tell whether questions are duplicates"),
        (_add_serve_options, "serve", "answer over HTTP, with a page to try it on"),
        (_add_export_options, "export", "write a model for Keras, TensorFlow or ONNX"),
        (_add_check_options, "check", "check the functions of a solution of the course"),
        *((add, name, text) for name, (add, text) in _corpus_options.COMMANDS.items()),
    ):
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_options(command)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        # Suppressed: its default would overwrite a --debug that stands before the command.
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=debug)
    return parser


def _add_demo_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        default="trax-triplet-demo",
        metavar="FOLDER",
        help="folder for the question pairs, the model and a plot (default: %(default)s)",
    )
    _add_seed(command, "the question pairs, their split and the training")


def _add_sample_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", help="CSV file to write")
    command.add_argument(
        "--pairs",
        type=int,
        default=_commands.DEMO_PAIRS,
        metavar="INT",
        help="number of question pairs to generate (default: %(default)s)",
    )
    _add_seed(command, "the random choice of questions")


def _add_train_options(command: argparse.ArgumentParser) -> None:
    command.usage = "trax-triplet train CSV [CSV ...] --output FOLDER [option ...]"
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
    _add_column_options(command)
    _add_settings(command)
    _add_process_options(command)


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
        "Start the same command in each process, but for --process-id; all of them must see the "
        "output folder. Instead of the first three options you can set the environment variables "
        "TRAX_TRIPLET_COORDINATOR, TRAX_TRIPLET_PROCESSES and TRAX_TRIPLET_PROCESS_ID.",
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


def _add_evaluate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="CSV", help="labelled question pairs")
    _add_model_options(command)
    command.add_argument(
        "--plot", metavar="PNG", help="file for histograms of the similarities, with the threshold"
    )
    command.add_argument(
        "--mistakes",
        type=int,
        default=0,
        metavar="INT",
        help="how many of the worst mistakes of each kind to show: duplicates that are far below "
        "the threshold, other pairs that are far above it (default: %(default)s)",
    )
    _add_seed(command, "the bootstrap intervals and the split into halves")
    _add_column_options(command)


def _add_predict_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help="two questions to compare; or - to answer lines on stdin one by one, each at once: "
        "two questions with a tab between them, or JSON with question1 and question2",
    )
    _add_model_options(command)
    command.add_argument("--csv", help="question pairs to compare, instead of two questions")
    command.add_argument(
        "--output",
        metavar="CSV",
        help="file for the answers to --csv, instead of stdout: each of its rows with all its "
        "columns, the similarity, whether it is a duplicate, or the reason why there is no answer",
    )
    _corpus_options.add_guard(command)
    _add_column_options(command, labels=False)


def _add_serve_options(command: argparse.ArgumentParser) -> None:
    _corpus_options.add_model(command)
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: %(default)s, for programs of this machine only; there "
        "is no login, so put a proxy in front where others may ask)",
    )
    command.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="INT",
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )


def _add_export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", metavar="FOLDER", help="model folder, or the output folder of a training"
    )
    command.add_argument("output", metavar="OUT", help="file (.keras or .onnx) or folder to write")
    command.add_argument(
        "--format",
        choices=("keras", "savedmodel", "onnx"),
        help="keras: a file to load and train on with Keras; savedmodel: a folder for TensorFlow "
        "Serving, from questions to vectors and similarities; onnx: a file for ONNX runtimes, from "
        "word ids to vectors (default: keras or onnx if OUT ends with .keras or .onnx, else "
        "savedmodel)",
    )


def _add_check_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("solution", metavar="FILE", help="Python file (.py) or notebook (.ipynb)")
    command.add_argument(
        "--edition",
        choices=("2020", "2021", "2023"),
        help="edition of the Trax assignment (default: found out for each function)",
    )
    command.add_argument(
        "--run",
        action="store_true",
        help="run the whole file; without it only its imports, definitions and constants run",
    )


def _add_model_options(command: argparse.ArgumentParser) -> None:
    _corpus_options.add_model(command)
    _corpus_options.add_threshold(command)


def _add_column_options(command: argparse.ArgumentParser, labels: bool = True) -> None:
    group = command.add_argument_group("columns and rows of the CSV file")
    _corpus_options.add_pair_columns(group, labels)
    if labels:
        _add_label_options(group)
    _corpus_options.add_text_options(group)
    _corpus_options.add_max_skipped(group, 0.01 if labels else 1.0)


def _add_label_options(group: Any) -> None:
    group.add_argument(
        "--positive",
        nargs="+",
        metavar="LABEL",
        help="labels that mean duplicate, all others mean none (default: 1, true, yes, duplicate)",
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
        help="column of texts that are no duplicates of the first questions, as in a file of "
        "triplets; there is no column of labels then",
    )


def _add_seed(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--seed", type=int, default=0, metavar="INT", help=f"seed of {what} (default: %(default)s)"
    )
