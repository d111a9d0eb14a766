"""What `checks` knows about the steps of the lecture: cases, right answers and mistakes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from trax_triplet.checks import parts
from trax_triplet.checks.step import (
    Mistake,
    Step,
    array,
    itself,
    of_part,
    pair,
    scalar,
    seen_as,
    vector,
)

__all__ = ["LECTURE_SIM", "LECTURE_STEPS", "random_matrix"]

# --- inputs

LECTURE_SIM = np.array(
    [
        [0.9, -0.8, 0.3, -0.5],
        [-0.4, 0.5, 0.1, -0.1],
        [0.3, 0.1, -0.4, -0.8],
        [-0.5, -0.2, -0.7, 0.5],
    ]
)
LECTURE_V1 = np.array([[1.0, 2, 3], [9, 8, 7], [-1, -4, -2], [1, -7, 2]])
LECTURE_V2 = np.array(
    [
        [-0.55894512, 2.65849565, 3.68889502],
        [11.35564185, 9.36648496, 6.41819597],
        [3.28596961, -3.58582582, -2.77849431],
        [3.90613869, -6.996118, 3.0070892],
    ]
)
# In row 0, a negative equals the positive.
_TIES = np.array([[0.5, 0.5, 0.25], [0.75, 0.25, -0.5], [-0.25, -0.5, -0.25]])


def random_matrix(rows: int, columns: int, seed: int) -> np.ndarray:
    """Numbers from -1 to 1, the same for the same seed."""
    return np.random.default_rng(seed).uniform(-1, 1, (rows, columns))


def _vector_pairs() -> dict[str, dict[str, np.ndarray]]:
    v = np.array([1.0, 2, 3])
    pairs = {
        "the lecture's vectors": [1.0, 2, 3.5],
        "v2 = v1": v,
        "v2 = -v1": -v,
        "v2 = [0, -42, 1]": [0.0, -42, 1],
    }
    cases = {name: {"v1": v, "v2": np.array(v2)} for name, v2 in pairs.items()}
    return {
        **cases,
        "random vectors of 8": {
            "v1": random_matrix(1, 8, 0)[0],
            "v2": 5 * random_matrix(1, 8, 1)[0],
        },
    }


def _matrices() -> dict[str, np.ndarray]:
    return {
        "the lecture's matrix": LECTURE_SIM,
        "the lecture's two batches": parts.scores()(LECTURE_V1, LECTURE_V2),
        "a 3 x 3 matrix with ties": _TIES,
        **{f"a random {n} x {n} matrix": random_matrix(n, n, n) for n in (5, 6)},
    }


_MARGINS = (0.25, 0.8, 1.5, 0.5, 2.5)
# --- the steps


def _steps() -> dict[str, Step]:
    return {**_steps_of_vectors(), **_steps_of_similarities(), "triplet_loss": _whole_loss()}


def _batches() -> dict[str, dict[str, Any]]:
    batches = {
        "the lecture's two batches": (LECTURE_V1, LECTURE_V2),
        "4 rows of 4": (random_matrix(4, 4, 1), 3 * random_matrix(4, 4, 2)),
        "6 rows of 3": (3 * random_matrix(6, 3, 3), random_matrix(6, 3, 4)),
        "5 rows of 2": (random_matrix(5, 2, 5), random_matrix(5, 2, 6)),
    }
    return {name: dict(zip(("v1", "v2"), pair, strict=True)) for name, pair in batches.items()}


def _with_margins(cases: Any, margins: Any) -> dict[str, dict[str, Any]]:
    return {
        f"{name}, margin {margin}": {**case, "margin": margin}
        for (name, case), margin in zip(cases.items(), margins, strict=True)
    }


def _mistakes() -> dict[str, tuple[Mistake, ...]]:
    """The mistakes of the two hinges, of their sum for each anchor, and of the sum of all."""
    hinges = (
        *parts.hinge_mistakes(parts.SEMI_HARD_COLUMNS),
        *of_part("closest", parts.CLOSEST_SEMI_HARD),
    )
    losses = (*hinges, *of_part("add", (*parts.ADDING, parts.LARGER)))
    cost = (
        *losses,
        *of_part("reduce", ((parts.NOT_SUM, np.mean), (parts.PER_ANCHOR, parts.as_it_is))),
    )
    return {"hinges": hinges, "losses": losses, "cost": cost}


def _steps_of_vectors() -> dict[str, Step]:
    uneven = {**_batches(), "2 rows and 4 rows of 3": {"v1": LECTURE_V1[:2], "v2": LECTURE_V2}}
    return {
        "cosine_similarity": _of_one_part(_vector_pairs(), _cosine, _COSINE, scalar),
        "l2_normalize": _of_one_part(
            {
                "the lecture's first batch": {"x": LECTURE_V1},
                "a random 3 x 3 batch": {"x": random_matrix(3, 3, 0)},
                "a random 2 x 5 batch": {"x": 4 * random_matrix(2, 5, 1)},
            },
            parts.unit,
            parts.UNIT,
            array,
        ),
        "similarity_matrix": Step(uneven, parts.scores, parts.SCORES, seen_as(array)),
    }


def _steps_of_similarities() -> dict[str, Step]:
    sims = {name: {"sim": sim} for name, sim in _matrices().items()}
    with_margins = _with_margins(sims, _MARGINS)
    mistakes = _mistakes()
    turned = Mistake(parts.COLUMNS, {"turn": np.transpose})
    both = Mistake(
        "the two hinges are swapped; the mean negative's comes first",
        {"add": lambda l1, l2: (l2, l1)},
    )
    return {
        "positives": _of_one_part(sims, np.diag, _POSITIVES, vector),
        "negatives": _of_one_part(sims, partial(parts.with_diagonal, value=0), _NEGATIVES, array),
        "mean_negative": _of_one_part(sims, parts.mean, parts.MEAN, vector),
        "closest_negative": _of_one_part(sims, parts.semi_hard, parts.CLOSEST_SEMI_HARD, vector),
        "hinges": Step(
            with_margins,
            partial(parts.of_sim, **{"add": lambda l1, l2: (l1, l2), "reduce": parts.as_it_is}),
            (*mistakes["hinges"], turned, both),
            seen_as(pair),
        ),
        "losses": Step(
            with_margins,
            partial(parts.of_sim, reduce=parts.as_it_is),
            (*mistakes["losses"], turned),
            seen_as(vector),
        ),
        "cost": Step(with_margins, parts.of_sim, (*mistakes["cost"], turned), seen_as(scalar)),
    }


def _whole_loss() -> Step:
    collapsed = {"v1": np.eye(3)[[0, 0, 0]], "v2": np.eye(3)[[0, 0, 0]], "margin": 0.5}
    cases = _with_margins(_batches(), _MARGINS[:2] + _MARGINS[3:])
    return Step(
        {**cases, "collapsed: all vectors equal": collapsed},
        parts.of_vectors,
        (*parts.SCORES, *_mistakes()["cost"]),
        seen_as(scalar),
    )


def _of_one_part(cases: Any, right: parts.Part, table: Any, view: parts.Part) -> Step:
    return Step(cases, itself(right), of_part("function", table), seen_as(view))


def _cosine(v1: np.ndarray, v2: np.ndarray) -> np.ndarray:
    return parts.unit(v1) @ parts.unit(v2)


_COSINE = (
    ("this is the dot product; divide it by both lengths", np.dot),
    (
        "the dot product is divided only by the length of v1; divide by that of v2, too",
        lambda v1, v2: parts.unit(v1) @ v2,
    ),
    (
        "the dot product is divided only by the length of v2; divide by that of v1, too",
        lambda v1, v2: v1 @ parts.unit(v2),
    ),
    (
        "the square root is missing; the length is the root of the sum of squares",
        lambda v1, v2: v1 @ v2 / (v1 @ v1 * (v2 @ v2)),
    ),
    (
        "this is the cosine distance; the similarity is 1 minus it",
        lambda v1, v2: 1 - _cosine(v1, v2),
    ),
    (
        "the sign is lost; a cosine may be negative, so leave out the absolute value",
        lambda v1, v2: abs(_cosine(v1, v2)),
    ),
)
_POSITIVES = (
    (
        "this is the largest of each row; the positives are the diagonal",
        lambda sim: sim.max(axis=1),
    ),
    (
        "this is the other diagonal; the positives run from the upper left to the lower right",
        lambda sim: np.diag(sim[:, ::-1]),
    ),
    (
        "this is a matrix with the positives on its diagonal; return them as a vector (b,)",
        lambda sim: np.diag(np.diag(sim)),
    ),
)
_NEGATIVES = (
    ("the diagonal is not excluded; set the positives to 0", parts.as_it_is),
    (
        "the mask is the wrong way round; keep what is off the diagonal",
        lambda sim: sim * np.eye(len(sim)),
    ),
    (
        "1 is subtracted on the diagonal, which leaves the positives minus 1; set them to 0",
        lambda sim: sim - np.eye(len(sim)),
    ),
    (
        "the diagonal is lowered by 2, which is for the closest negative; here set the positives "
        "to 0",
        lambda sim: sim - 2 * np.eye(len(sim)),
    ),
    (
        "the diagonal is -2, which is for the closest negative; here set the positives to 0",
        lambda sim: parts.with_diagonal(sim, -2),
    ),
    (
        "rows and columns are swapped (transposed); each anchor is a row",
        lambda sim: parts.with_diagonal(sim, 0).T,
    ),
    (
        "the lower triangle is lost; the negatives are on both sides of the diagonal",
        lambda sim: np.triu(sim, 1),
    ),
    (
        "the upper triangle is lost; the negatives are on both sides of the diagonal",
        lambda sim: np.tril(sim, -1),
    ),
)

LECTURE_STEPS = _steps()
