"""Checks for students who write the steps of the lecture and the assignment themselves.

    assert check("closest_negative", my_closest_negative)

prints one line: that the function is right, and by which edition's rule; or that it is right but
has a flaw which the course accepts; or in one sentence what seems to be wrong with it. It is run on
cases that tell right from wrong (the course's own numbers among them). If it fails one, its answers
are compared with those of functions that make one known mistake each, and then two.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import html
import io
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trax_triplet import _validation
from trax_triplet.checks import running
from trax_triplet.checks.batches import BATCH_STEPS
from trax_triplet.checks.lecture import LECTURE_STEPS
from trax_triplet.checks.losses import LOSS_STEPS
from trax_triplet.checks.model import MODEL_STEPS
from trax_triplet.checks.questions import QUESTION_STEPS
from trax_triplet.checks.step import (
    Base,
    Mistake,
    Step,
    difference,
    identical,
    leaves,
    same,
    text,
)

__all__ = ["EDITIONS", "STEPS", "CaseResult", "CheckResult", "check"]

_STEPS = {**LECTURE_STEPS, **BATCH_STEPS, **QUESTION_STEPS, **LOSS_STEPS, **MODEL_STEPS}
STEPS = tuple(_STEPS)
EDITIONS = ("2020", "2021", "2023")
# The assignment's functions, in its order.
ASSIGNMENT = (
    "data_generator",
    "Siamese",
    "TripletLossFn",
    "TripletLoss",
    "train_model",
    "classify",
    "predict",
)

IN_PLACE = "the function changes its argument {0} in place; work on a copy"
NO_RETURN = "the function returns None; is a return missing?"
ENDLESS = (
    "it was stopped after {0} seconds; does a loop never end? (a training loop is returned, not "
    "run)"
)
FOREIGN = (
    "the function computes with {0}; in the Trax assignment use trax.fastmath.numpy (the functions "
    "of the TensorFlow edition are in trax_triplet.keras)"
)


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
        hint: the sentence of the mistake or flaw that was recognised, or None.
        cases: a `CaseResult` for each case.
        mistakes: the sentences of the mistakes, if several were recognised each.
        flaws: what is not as it should be although the course accepts it.
        editions: those of the course, such as '2023', whose rule a right function follows;
            () if the step is the same in all.

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
    mistakes: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()
    editions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.passed

    @property
    def verdict(self) -> str:
        """'right', 'right, but' (the course accepts it, and it has a flaw) or 'wrong'."""
        return ("right, but" if self.flaws else "right") if self.passed else "wrong"

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
        head = "<tr><th></th><th>case</th><th>expected</th><th>got</th></tr>"
        wrong = [case for case in self.cases if not case.passed]
        first = f"<table>{head}{_row(wrong[0])}</table>" if wrong else ""
        rows = "".join(map(_row, self.cases))
        right = len(self.cases) - len(wrong)
        step, message = html.escape(self.step), html.escape(self.message)
        mark = f"<b style='color:{_COLOURS[self.verdict]}'>{step} \u2013 {self.verdict}</b>"
        return (
            f"<p>{mark}<br>{message}</p>{first}"
            f"<details><summary>{right} of {len(self.cases)} cases right</summary>"
            f"<table>{head}{rows}</table></details>"
        )

    def raise_if_failed(self) -> None:
        """Raises AssertionError with the line of this result, unless the function is right."""
        if not self.passed:
            raise AssertionError(str(self))


_COLOURS = {"right": "#1a7f37", "right, but": "#9a6700", "wrong": "#cf222e"}


def _row(case: CaseResult) -> str:
    cells = "".join(
        f"<td style='text-align:left'>{html.escape(cell)}</td>"
        for cell in (case.name, case.expected, case.got)
    )
    return f"<tr><td>{'right' if case.passed else '<b>wrong</b>'}</td>{cells}</tr>"


def check(
    step: str, student_function: Callable[..., Any], edition: str | None = None
) -> CheckResult:
    """Runs a student's function on the cases of a step, and prints and returns what it found.

    A function is *wrong* if the course's grader would refuse it. It is *right, but* if the grader
    accepts it although it has a flaw, such as reading past the end of y when the last batch is
    smaller; it passes, and the flaw is reported.

    Args:
        step: the name of the step, one of `STEPS`.
        student_function: the function. It gets its arguments by position, except for a parameter
            `margin` and the arguments that the assignment passes by name. It may return lists,
            numbers, and arrays of NumPy or JAX of any precision. It runs in this process; what it
            prints is shown. In the main thread of a Unix system it is stopped after 30 seconds in
            one case.
        edition: of the assignment: '2020', '2021' (the second one, 2021-22) or '2023', see
            `trax_triplet.course`. None: a function may follow the rule of any, which is found out
            and said; a mixture of two is reported as such.

    Returns:
        A `CheckResult`, true if the function is right. What the function raises is reported in it.

    Raises:
        ValueError: a step or an edition of another name.
        TypeError: a step that is not a string, or a function that is not one.

    Example:
        >>> import numpy as np
        >>> assert check("positives", np.diag)
        positives: right (5 cases)
        >>> result = check("positives", lambda sim: np.max(sim, axis=1))
        positives: this is the largest of each row; the positives are the diagonal
    """
    result = judge(step, student_function, edition)
    print(result)
    return result


def judge(step: str, student_function: Callable[..., Any], edition: str | None) -> CheckResult:
    """What `check` does, without printing the result.

    Example:
        >>> judge("positives", lambda sim: sim.diagonal(), None).passed
        True
    """
    _validation.one_of("step", step, STEPS)
    expected = "the function itself, without calling it"
    _validation.function("student_function", student_function, expected)
    if edition is not None:
        _validation.one_of("edition", edition, EDITIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0/0 on the way to a wrong answer: only the answer counts
        return _result(step, student_function, edition)


def _result(name: str, function: Callable[..., Any], edition: str | None) -> CheckResult:
    step = _STEPS[name]
    try:
        seen, changed = _run(step, step.cases, function)
        base, expected = _nearest(name, seen, edition)
        cases = _case_results(expected, seen)
        mistakes = [IN_PLACE.format(key) for key in changed if key not in step.changed]
        if all(case.passed for case in cases) and not mistakes:
            return _right(name, function, base, cases, changed)
    except running.StillRunning:
        hint = ENDLESS.format(running.TIME_LIMIT)
        return CheckResult(name, False, hint, hint, (), (hint,))
    mistakes = mistakes or _known_mistakes(name, function, seen, expected, edition)
    hint = _together(mistakes)
    message = _message(hint, cases, seen)
    return CheckResult(name, False, message, hint, tuple(cases), tuple(mistakes))


def _right(
    name: str, function: Callable[..., Any], base: Base, cases: list[CaseResult], changed: list[str]
) -> CheckResult:
    """The result of a function that is right in all cases; whether it has a flaw is asked here."""
    step = _STEPS[name]
    for probe, ask in step.probes:
        with running.limited(running.TIME_LIMIT):
            found = ask(function)
        cases.append(CaseResult(probe, found is None, "no complaint", found or "no complaint"))
        if found:
            library = running.foreign_library(function) if step.foreign else None
            hint = FOREIGN.format(library) if library else found
            return CheckResult(name, False, hint, hint, tuple(cases), (hint,))
    seen, changed_later = _run(step, step.later, function)
    later = _case_results(_expected(name, step.bases.index(base), step.later), seen)
    flaws = [step.changed[key] for key in dict.fromkeys([*changed, *changed_later])]
    if not all(case.passed for case in later):
        flaws = [*(_matching(name, seen, step.flaws, [base], step.later)), *flaws]
        flaws = flaws or [_message(None, later, seen)]
    cases = [*cases, *later]
    number = f"({len(cases)} case{'s' * (len(cases) > 1)})"
    editions = base.editions if len(step.bases) > 1 else ()
    by = f", by the rule of {_named(editions)}" if editions else ""
    flaw = _together(flaws)
    message = f"right{by}, but {_message(flaw, later, seen)}" if flaw else f"right{by} {number}"
    return CheckResult(name, True, message, flaw, tuple(cases), (), tuple(flaws), editions)


def _named(editions: tuple[str, ...]) -> str:
    if len(editions) == 1:
        return f"the {editions[0]} edition"
    return f"the {' and '.join(editions)} editions"


def _together(sentences: list[str]) -> str | None:
    if len(sentences) < 2:
        return sentences[0] if sentences else None
    return "; ".join(f"({number}) {sentence}" for number, sentence in enumerate(sentences, 1))


def _case_results(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> list[CaseResult]:
    found = []
    for name, got in seen.items():
        passed = same(expected[name], got)
        pair = (text(expected[name]), text(got)) if passed else difference(expected[name], got)
        found.append(CaseResult(name, passed, *pair))
    return found


# --- running


def _run(
    step: Step, cases: Mapping[str, Any], function: Callable[..., Any]
) -> tuple[dict[str, Any], list[str]]:
    """Observations of these cases, and the arguments that the function changed."""
    seen, changed = {}, []
    for name, arguments in cases.items():
        # Each by itself: what is one array twice there must not change twice.
        given = {key: copy.deepcopy(value) for key, value in arguments.items()}
        with running.limited(running.TIME_LIMIT):
            seen[name] = _observed(step, function, given)
        changed += [key for key in arguments if not identical(arguments[key], given[key])]
    return seen, list(dict.fromkeys(changed))


def _observed(step: Step, function: Callable[..., Any], given: dict[str, Any]) -> Any:
    try:
        return step.observe(function, given)
    except SystemExit:  # else it would end the reader's program, as if all were right
        return RuntimeError("the function calls sys.exit; let it return its answer")
    except Exception as error:  # whatever the student's function raises is the finding
        return error


@functools.cache
def _answer(name: str, case: str, base: int, mistakes: tuple[int, ...], flaws: bool) -> Any:
    """What is seen of a base with mistakes in a case; once per process."""
    step = _STEPS[name]
    table = step.flaws if flaws else step.mistakes
    parts = dict(step.bases[base].parts)
    for number in mistakes:
        parts.update(table[number].parts)
    cases = {**step.cases, **step.later}
    with contextlib.redirect_stdout(io.StringIO()):
        return _observed(step, step.build(**parts), copy.deepcopy(cases[case]))


def _expected(name: str, base: int, cases: Mapping[str, Any]) -> dict[str, Any]:
    return {case: _answer(name, case, base, (), False) for case in cases}


def _bases(step: Step, edition: str | None) -> list[Base]:
    return [
        base
        for base in step.bases
        if edition is None or not base.editions or edition in base.editions
    ]


def _nearest(
    name: str, seen: Mapping[str, Any], edition: str | None
) -> tuple[Base, dict[str, Any]]:
    """The right function that agrees in most cases, and what it answers."""
    step = _STEPS[name]
    answers = [
        (base, _expected(name, step.bases.index(base), step.cases))
        for base in _bases(step, edition)
    ]
    return max(answers, key=lambda each: sum(same(each[1][case], seen[case]) for case in seen))


# --- recognising


def _known_mistakes(
    name: str,
    function: Callable[..., Any],
    seen: Mapping[str, Any],
    expected: Mapping[str, Any],
    edition: str | None,
) -> list[str]:
    """The sentences of the mistakes that explain all that was seen."""
    step = _STEPS[name]
    if any(leaf is None for answer in seen.values() for leaf in leaves(answer)):
        return [NO_RETURN]
    bases = _bases(step, edition)
    found = _matching(name, seen, step.mistakes, bases, step.cases, edition)
    library = running.foreign_library(function) if step.foreign else None
    if library:
        return [*found, FOREIGN.format(library)]
    signs = [] if found else [sentence for sentence, test in step.signs if test(seen, expected)]
    found = found or (signs if step.every_sign else signs[:1])
    return found or _matching(name, seen, step.mistakes, bases, step.cases, edition, 2)


def _matching(
    name: str,
    seen: Mapping[str, Any],
    table: tuple[Mistake, ...],
    bases: list[Base],
    cases: Mapping[str, Any],
    edition: str | None = None,
    how_many: int = 1,
) -> list[str]:
    """The sentences of so many mistakes which together give what was seen; [] if none do.

    If several sets of mistakes do, what they have in common; if that is nothing, the first one: it
    describes what the function does.
    """
    step = _STEPS[name]
    sets: list[list[str]] = []
    for base in bases:
        place, flaws = step.bases.index(base), table is step.flaws
        for numbers in _combinations(table, base, how_many):
            if all(same(_answer(name, c, place, numbers, flaws), seen[c]) for c in cases):
                sentences = [_sentence(table[n], edition) for n in numbers]
                if how_many == 1:
                    return sentences
                sets.append(sentences)
    if not sets:
        return []
    return [s for s in sets[0] if all(s in other for other in sets)] or sets[0]


def _combinations(
    table: tuple[Mistake, ...], base: Base, how_many: int
) -> Iterator[tuple[int, ...]]:
    """Mistakes of different parts that can be made in this base."""
    possible = [
        number
        for number, mistake in enumerate(table)
        if not mistake.editions or set(mistake.editions) & set(base.editions)
    ]
    for numbers in itertools.combinations(possible, how_many):
        keys = [key for number in numbers for key in table[number].parts]
        if len(set(keys)) == len(keys):
            yield numbers


def _sentence(mistake: Mistake, edition: str | None) -> str:
    return mistake.mixed if mistake.mixed and edition is None else mistake.sentence


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
