"""Checks for students who write the steps of the lecture and the assignment themselves.

    assert check("closest_negative", my_closest_negative)

prints one line: that the function is right, or in one sentence what seems to be wrong with it. It
is run on cases that tell right from wrong (the course's own numbers among them). If it fails one,
it is compared with functions that make one known mistake each, and the mistake whose answers agree
in all cases is named.
"""

from __future__ import annotations

import copy
import functools
import html
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trax_triplet import _validation
from trax_triplet.checks.batches import BATCH_STEPS
from trax_triplet.checks.lecture import LECTURE_STEPS
from trax_triplet.checks.model import MODEL_STEPS
from trax_triplet.checks.questions import QUESTION_STEPS
from trax_triplet.checks.step import Step, difference, identical, leaves, same, text

__all__ = ["STEPS", "CaseResult", "CheckResult", "check"]

_STEPS = {**LECTURE_STEPS, **BATCH_STEPS, **QUESTION_STEPS, **MODEL_STEPS}
STEPS = tuple(_STEPS)

IN_PLACE = "the function changes its argument {0} in place; work on a copy"
NO_RETURN = "the function returns None; is a return missing?"


@dataclass(frozen=True)
class CaseResult:
    """One case: its name, whether it passed, what was expected, and what came instead.

    Attributes:
        name: which case.
        passed: whether the answer was right.
        expected: the right answer in one line.
        got: the function's answer in one line.
    """

    name: str
    passed: bool
    expected: str
    got: str


@dataclass(frozen=True, repr=False)
class CheckResult:
    """What a check found; true if the function is right.

    Attributes:
        step: the name of the step.
        passed: whether all cases passed.
        message: one line on what was found; `str` puts the step's name before it.
        hint: the sentence of the mistake that was recognised, or None.
        cases: a `CaseResult` for each case.

    Example:
        >>> result = CheckResult("positives", True, "right (5 cases)", None, ())
        >>> bool(result), str(result)
        (True, 'positives: right (5 cases)')
    """

    step: str
    passed: bool
    message: str
    hint: str | None
    cases: tuple[CaseResult, ...]

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return f"{self.step}: {self.message}"

    def __repr__(self) -> str:
        rows = [
            f"  {'right' if case.passed else 'wrong'}  {case.name}"
            + ("" if case.passed else f": expected {case.expected}, got {case.got}")
            for case in self.cases
        ]
        return "\n".join([str(self), *rows])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'right' if case.passed else '<b>wrong</b>'}</td>"
            + "".join(
                f"<td style='text-align:left'>{html.escape(cell)}</td>"
                for cell in (case.name, case.expected, case.got)
            )
            + "</tr>"
            for case in self.cases
        )
        head = "<tr><th></th><th>case</th><th>expected</th><th>got</th></tr>"
        line = f"<p><b>{html.escape(self.step)}</b>: {html.escape(self.message)}</p>"
        return f"{line}<table>{head}{rows}</table>"

    def raise_if_failed(self) -> None:
        """Raises AssertionError with the line of this result, unless the function is right."""
        if not self.passed:
            raise AssertionError(str(self))


def check(step: str, student_function: Callable[..., Any]) -> CheckResult:
    """Runs a student's function on the cases of a step, and prints and returns what it found.

    Args:
        step: the name of the step, one of `STEPS`.
        student_function: the function. It gets its arguments by position, except for a parameter
            `margin` and the arguments that the assignment passes by name. It may return lists,
            numbers, and arrays of NumPy or JAX of any precision. It runs in this process, and is
            not stopped if it never ends.

    Returns:
        A `CheckResult`, true if the function is right. What the function raises is reported in it.

    Raises:
        ValueError: a step of another name.
        TypeError: a step that is not a string, or a function that is not one.

    Example:
        >>> import numpy as np
        >>> assert check("positives", np.diag)
        positives: right (5 cases)
        >>> result = check("positives", lambda sim: np.max(sim, axis=1))
        positives: this is the largest of each row; the positives are the diagonal
    """
    _validation.one_of("step", step, STEPS)
    expected = "the function itself, without calling it"
    _validation.function("student_function", student_function, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0/0 on the way to a wrong answer: only the answer counts
        result = _result(step, _STEPS[step], student_function)
    print(result)
    return result


def _result(name: str, step: Step, function: Callable[..., Any]) -> CheckResult:
    seen, changed = _run(step, function)
    expected = max(
        _answers(name, "right"),
        key=lambda answers: sum(same(answers[case], seen[case]) for case in seen),
    )
    cases = [_case_result(case, expected[case], seen[case]) for case in seen]
    hint = step.changed.get(changed, IN_PLACE.format(changed)) if changed else None
    if hint is None and all(case.passed for case in cases):
        for probe, ask in step.probes:
            finding = ask(function)
            cases.append(
                CaseResult(probe, finding is None, "no complaint", finding or "no complaint")
            )
            hint = hint or finding
        message = hint or f"right ({len(cases)} case{'s' * (len(cases) > 1)})"
        return CheckResult(name, hint is None, message, hint, tuple(cases))
    hint = hint or _known_mistake(name, step, seen, expected)
    return CheckResult(name, False, _message(hint, cases, seen), hint, tuple(cases))


def _case_result(name: str, expected: Any, got: Any) -> CaseResult:
    if same(expected, got):
        return CaseResult(name, True, text(expected), text(got))
    return CaseResult(name, False, *difference(expected, got))


def _run(step: Step, function: Callable[..., Any]) -> tuple[dict[str, Any], str | None]:
    """Observations of all cases, and the first argument that the function changed, or None."""
    seen, changed = {}, None
    for name, arguments in step.cases.items():
        given = copy.deepcopy(arguments)
        try:
            seen[name] = step.observe(function, given)
        except Exception as error:  # whatever the student's function raises is the finding
            seen[name] = error
        changed = changed or next(
            (key for key in arguments if not identical(arguments[key], given[key])), None
        )
    return seen, changed


@functools.cache
def _answers(name: str, which: str) -> list[dict[str, Any]]:
    """The answers of the 'right' functions of a step, or of the 'wrong' ones.

    They run once per process.
    """
    step = _STEPS[name]
    functions = step.right if which == "right" else [wrong for _, wrong in step.mistakes]
    return [_run(step, function)[0] for function in functions]


def _known_mistake(
    name: str, step: Step, seen: Mapping[str, Any], expected: Mapping[str, Any]
) -> str | None:
    """The sentence of the mistake that explains all that was seen, or None."""
    if any(leaf is None for answer in seen.values() for leaf in leaves(answer)):
        return NO_RETURN
    for sentence, test in step.signs:
        if test(seen, expected):
            return sentence
    for (sentence, _), answers in zip(step.mistakes, _answers(name, "wrong"), strict=True):
        if all(same(answers[case], seen[case]) for case in seen):
            return sentence
    return None


def _message(hint: str | None, cases: list[CaseResult], seen: Mapping[str, Any]) -> str:
    """One line: the hint, or the first case that is wrong; and what was raised, with its case."""
    raised = [
        (case, leaf)
        for case, answer in seen.items()
        for leaf in leaves(answer)
        if isinstance(leaf, Exception)
    ]
    if raised:
        report = f"in the case '{raised[0][0]}' it raises {text(raised[0][1])}"
        return f"{hint} ({report})" if hint else report
    return hint or next(
        f"wrong in the case '{case.name}': expected {case.expected}, got {case.got}"
        for case in cases
        if not case.passed
    )
