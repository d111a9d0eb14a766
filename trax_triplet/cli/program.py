"""The parser of `trax-triplet`, and how its errors are shown.

Results go to stdout, progress to stderr. A user's mistake is one line on stderr and exit status 2;
an error of the package's own is one, too, and asks to be reported: exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import dis
import io
import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trax_triplet
from trax_triplet._wording import in_options
from trax_triplet.cli import corpus, indexes, pairs, serving, solution, tour, training
from trax_triplet.cli.outputs import printable

__all__ = ["main"]

_ALL = tour, training, pairs, serving, solution, corpus, indexes
# Name: what adds its options, what runs it, and what it is for.
COMMANDS = {name: command for module in _ALL for name, command in module.COMMANDS.items()}


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
    options = _parsed(arguments)
    with _shows_any_text(sys.stdout):
        return _run(options)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; questions may stand before and after them."""
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    questions = getattr(options, "questions", None)
    unknown = rest if questions is None else [text for text in rest if text[:1] == "-" != text]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if questions is not None:
        options.questions = [*questions, *rest]
    return options


def _run(options: argparse.Namespace) -> int:
    try:
        _, run, _ = COMMANDS[options.command]
        result = run(options)
        if options.json and result:  # else what there was to print is printed
            print(json.dumps(result, indent=1, allow_nan=False))
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
        status, text = _reported(error, options.named)
        text = printable(" ".join(text.split()))
        print(f"trax-triplet {options.command}: {text}", file=sys.stderr)
        return status
    return 3 if options.command == "check" and not result["passed"] else 0


@contextlib.contextmanager
def _shows_any_text(stream: Any) -> Iterator[None]:
    """Context: characters that the console's encoding lacks are escaped, where they would fail."""
    errors = getattr(stream, "errors", None)
    if not isinstance(stream, io.TextIOWrapper) or errors not in ("strict", "surrogateescape"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=errors)


def _reported(error: Exception, named: Mapping[str, str]) -> tuple[int, str]:
    """The exit status for an error, and what to tell the user, who knows arguments as options."""
    if isinstance(error, OSError) and error.filename is not None:
        return 2, f"error: {error.filename}: {error.strerror}"  # str() starts with "[Errno 2]"
    is_foreseen = isinstance(error, (ValueError, FloatingPointError)) and _is_raised_by_us(error)
    if isinstance(error, OSError) or is_foreseen:
        return 2, f"error: {in_options(str(error), named)}"
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
    is_ours = Path(trax_triplet.__file__).parent in Path(code.co_filename).parents
    return is_ours and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="trax-triplet",
        description="Find duplicate questions with a Siamese LSTM and the modified triplet loss.",
        epilog="`trax-triplet COMMAND --help` explains a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"trax-triplet {trax_triplet.__version__}"
    )
    debug = "show the traceback of an error"
    parser.add_argument("--debug", action="store_true", help=debug)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named: dict[str, str] = {}  # of all commands: a message may speak of another one
    for name, (add_options, _, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_options(command)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        # Suppressed: its default would overwrite a --debug that stands before the command.
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=debug)
        named |= _arguments(command)
        defaults = {action.dest: action.default for action in command._actions}
        command.set_defaults(named={**named, **_arguments(command)}, defaults=defaults)
    return parser


def _arguments(command: argparse.ArgumentParser) -> dict[str, str]:
    """Argument of a function -> option of a command, such as `top_k` -> `--top-k`."""
    return {
        action.dest: option
        for action in command._actions
        for option in action.option_strings[:1]
        if option.startswith("--")
    }
