"""The command `check`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from argparse import Namespace
from typing import Any

from trax_triplet.cli.outputs import log, printable

__all__ = ["COMMANDS"]


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
        help="run the complete file; without it only its imports, definitions and constants run",
    )


def check(options: Namespace) -> dict[str, Any]:
    """Judges the functions of a student's file."""
    log("loading Trax (some seconds) ...")
    from trax_triplet.checks.runner import ASSIGNMENT
    from trax_triplet.checks.solution import check_file

    with contextlib.redirect_stdout(sys.stderr):  # what the student's functions print
        results, notes = check_file(options.solution, edition=options.edition, run=options.run)
    for note in notes:
        log(printable(note))
    verdicts = {name: result.verdict for name, result in results.items()}
    missing = [name for name in ASSIGNMENT if name not in results]
    right = sum(result.passed for result in results.values())
    if not options.json:
        width = max(map(len, (*results, *missing)))
        for name, result in results.items():
            print(f"{name:{width}}  {verdicts[name]:10}  {printable(result.message)}")
        for name in missing if any(name in ASSIGNMENT for name in results) else ():
            print(f"{name:{width}}  {'missing':10}  not defined in {options.solution}")
        print(f"{right} of {len(results)} right")
    parts = {
        name: {"verdict": verdicts[name], "message": result.message, "editions": result.editions}
        for name, result in results.items()
    }
    passed = right == len(results)
    return {"passed": passed, "parts": parts, "missing": missing, "notes": notes}


COMMANDS = {"check": (_add_check_options, check, "check the functions of a solution of the course")}
