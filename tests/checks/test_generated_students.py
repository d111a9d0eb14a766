"""Hundreds of generated students: right ones pass, wrong ones do not and are told their mistake."""

import collections
import re

import pytest
from student_grammar import everyone

from trax_triplet import checks

pytestmark = pytest.mark.integration  # hundreds of solutions

STUDENTS = everyone()
STEPS = list(dict.fromkeys(student.step for student in STUDENTS))


def clauses(sentences):
    return frozenset(re.split("[;:] ", sentence)[0] for sentence in sentences)


def test_there_are_hundreds():
    kinds = collections.Counter(min(len(student.clauses), 2) for student in STUDENTS)
    assert len(STUDENTS) >= 400 and min(kinds[n] for n in range(3)) >= 40, kinds


@pytest.mark.parametrize("step", STEPS)
def test_generated_students_are_judged(step, capsys):
    wrong, named = 0, 0
    for number, student in enumerate(s for s in STUDENTS if s.step == step):
        result = checks.check(step, student.function)
        assert bool(result) == (not student.clauses), (number, student, repr(result))
        if not student.clauses:
            assert clauses(result.flaws) == frozenset({student.flaw} - {""}), repr(result)
            assert not student.edition or student.edition in result.editions, repr(result)
        else:
            wrong += 1
            said = clauses(result.mistakes)
            # One of two may hide the other in every case.
            named += bool(said) and said <= student.clauses
    assert named >= 0.95 * wrong, (named, wrong)
