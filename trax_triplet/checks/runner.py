"""Checks for students who write the steps of the lecture and the assignment themselves.

    assert check("closest_negative", my_closest_negative)

prints one line: that the function is right, or in one sentence what seems to be wrong with it. It
is run on cases that tell right from wrong (the course's own numbers among them) and, where it
misses one, compared with functions
that make one known mistake each: the mistake whose answers agree in all cases is named.
"""

import copy
import functools
import html
import warnings
from dataclasses import dataclass

from trax_triplet.checks.lecture import LECTURE_STEPS
from trax_triplet.checks.model import MODEL_STEPS
from trax_triplet.checks.questions import QUESTION_STEPS
from trax_triplet.checks.step import difference, identical, leaves, same, text

_STEPS = {**LECTURE_STEPS, **QUESTION_STEPS, **MODEL_STEPS}
STEPS = tuple(_STEPS)

IN_PLACE = "the function changes its argument {0} in place; work on a copy"
NO_RETURN = "the function returns None; does it lack a return?"


@dataclass(frozen=True)
class CaseResult:
    """One case: its name, whether it passed, and what was expected and what came, in words.

    Attributes:
        name: which case.
        passed: whether the answer was right.
        expected, got: both answers, one line each.
    """

    name: str
    passed: bool
    expected: str
    got: str


@dataclass(frozen=True, repr=False)
class CheckResult:
    """What a check found; true where the function is right.

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
    cases: tuple

    def __bool__(self):
        return self.passed

    def __str__(self):
        return f"{self.step}: {self.message}"

    def __repr__(self):
        rows = [
            f"  {'right' if case.passed else 'wrong'}  {case.name}"
            + ("" if case.passed else f": expected {case.expected}, got {case.got}")
            for case in self.cases
        ]
        return "\n".join([str(self), *rows])

    def _repr_html_(self):
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
        return f"<p><b>{html.escape(self.step)}</b>: {html.escape(self.message)}</p><table>{head}{rows}</table>"

    def raise_if_failed(self):
        """Raises AssertionError with the one line of this result, unless the function is right."""
        if not self.passed:
            raise AssertionError(str(self))


def check(step, student_function):
    """Runs a student's function on the cases of a step, prints in one line what came of it, and
    returns it.

    Args:
        step: the name of the step, one of `STEPS`.
        student_function: the function; arguments come by position, except for a parameter `margin`
            and the arguments that the assignment passes by name. It may return lists, numbers, and
            arrays of NumPy or JAX of any precision. It runs in this process, and is not stopped
            where it never ends.

    Returns:
        A `CheckResult`, true where the function is right. What the function raises is reported in
        it.

    Raises:
        ValueError: no step of this name.
        TypeError: the second argument is no function.

    Example:
        >>> import numpy as np
        >>> assert check("positives", np.diag)
        positives: right (5 cases)
        >>> result = check("positives", lambda sim: np.max(sim, axis=1))
        positives: this is the largest of each row; the positives are the diagonal
    """
    if not isinstance(step, str) or step not in _STEPS:
        raise ValueError(f"no step is called {step!r}; choose one of {', '.join(STEPS)}")
    if not callable(student_function):
        raise TypeError(
            f"check takes the function itself, such as check({step!r}, my_function), "
            f"but got {type(student_function).__name__}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0/0 on the way to a wrong answer: the answer is looked at
        result = _judge(step, _STEPS[step], student_function)
    print(result)
    return result


def _judge(name, step, function):
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
    hint = hint or _recognise(name, step, seen, expected)
    return CheckResult(name, False, _message(hint, cases, seen), hint, tuple(cases))


def _case_result(name, expected, got):
    passed = same(expected, got)
    return CaseResult(
        name, passed, *((text(expected), text(got)) if passed else difference(expected, got))
    )


def _run(step, function):
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
def _answers(name, which):
    """What the functions of a step that are right, or those with a mistake, give: run once in a
    process."""
    step = _STEPS[name]
    functions = step.right if which == "right" else [wrong for _, wrong in step.mistakes]
    return [_run(step, function)[0] for function in functions]


def _recognise(name, step, seen, expected):
    """The sentence of the mistake that explains all that was seen, or None."""
    if any(leaf is None for answer in seen.values() for leaf in leaves(answer)):
        return NO_RETURN
    for sentence, test in step.signs:
        if test(seen, expected):
            return sentence
    for (sentence, _), answers in zip(step.mistakes, _answers(name, "wrong")):
        if all(same(answers[case], seen[case]) for case in seen):
            return sentence
    return None


def _message(hint, cases, seen):
    """One line: the hint, or the first case that is wrong; and what was raised, with the case."""
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
