"""Hard negatives are near, of other groups, and not above the band."""

from types import SimpleNamespace

import numpy as np
import pytest

from trax_triplet.data.pairs import Pairs
from trax_triplet.search.negatives import mine_negatives

# Questions on a circle, at these angles (degrees).
ANGLES = {"a": 0, "a2": 20, "a3": 40, "twin": 15, "near": 50, "far": 80, "behind": 170}


def embed(questions):
    angles = np.radians([ANGLES[question.lower()] for question in questions])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


MODEL = SimpleNamespace(embed=embed)
PAIRS = Pairs(["a", "a2", "near", "twin"], ["a2", "a3", "far", "behind"], [1, 1, 0, 0])


def negatives(**options):
    return [(t.question1, t.negative) for t in mine_negatives(PAIRS, MODEL, **options)]


def test_the_nearest_of_another_group_within_the_band():
    # From a: twin is cos 15 = 0.97, above the band; a2 and a3 are of its group; near is cos 50.
    # From a2: near is cos 30 = 0.87, below 0.95 cos 20 = 0.89.
    assert negatives() == [("a", "near"), ("a2", "near")]
    first = mine_negatives(PAIRS, MODEL)[0]
    assert first.similarity == pytest.approx(np.cos(np.radians(20)))
    assert first.negative_similarity == pytest.approx(np.cos(np.radians(50)))


def test_the_limits():
    assert negatives(band=(0.0, 1.0), below=2.0) == [("a", "twin"), ("a2", "twin")]
    assert negatives(band=(0.0, 0.51)) == [("a", "far"), ("a2", "far")]  # far: cos 80, cos 60
    assert negatives(band=(-1.0, 0.0)) == [("a", "behind"), ("a2", "behind")]
    assert negatives(below=0.9) == [
        ("a", "near"),
        ("a2", "far"),
    ]  # cos 30 > 0.9 cos 20, cos 60 is not
    assert negatives(neighbours=2) == []
    assert negatives(band=(0.95, 0.951)) == []
    pairs = [("a", "near"), ("a", "far"), ("a2", "near"), ("a2", "far")]
    assert negatives(per_pair=2) == pairs


def test_questions_that_are_the_same_but_for_case_are_never_negatives():
    pairs = Pairs(["a", "A ", "near"], ["a2", "far", "NEAR"], [1, 1, 1])
    model = SimpleNamespace(embed=lambda questions: embed([q.strip() for q in questions]))
    found = mine_negatives(pairs, model, band=(-1, 1), below=10)
    assert {(t.question1.lower().strip(), t.negative) for t in found} == {
        ("a", "near"),
        ("near", "a2"),
    }
