"""The parts of a loss, right and wrong, from which the lecture's and the assignment's are made.

Everything is plain NumPy in float64. Each part comes with its mistakes, (sentence, function that
makes just this mistake), and the parts are combined: so a mistake in a part has the same sentence
wherever it shows. To know a new mistake, add a line to the table of its part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from trax_triplet.checks.step import Mistake, of_part

Part = Callable[..., Any]


# --- the parts: right first, then the mistakes


def unit(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Vectors of length 1: rows, unless another axis is summed."""
    return x / np.sqrt((x * x).sum(axis=axis, keepdims=True))


def times(v1: np.ndarray, v2: np.ndarray) -> np.ndarray:
    """Every row with every row."""
    return v1 @ v2.T


def scores(
    product: Part = times, first: Part = unit, second: Part = unit
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Similarities of all rows: `first` normalises v1, `second` v2."""
    return lambda v1, v2: product(first(v1), second(v2))


def as_it_is(x: Any) -> Any:
    """What came: a step that is left out."""
    return x


def _whole(x: np.ndarray) -> np.ndarray:
    """The mistake that a batch is normalised as one vector."""
    return x / np.sqrt((x * x).sum())


def with_diagonal(sim: np.ndarray, value: float) -> np.ndarray:
    """A copy with `value` on the diagonal."""
    return np.where(np.eye(len(sim)) == 1, value, sim)


WHOLE_BATCH = (
    "the whole batch is normalised as one vector; each row has its own length, so sum with axis=-1"
)
DOWN = "the columns are normalised instead of the rows; sum with axis=-1"
UNIT = (
    (WHOLE_BATCH, _whole),
    (DOWN, partial(unit, axis=0)),
    (
        "the lengths lost their axis, so rows are divided by the lengths of others; sum with "
        "keepdims=True",
        lambda x: x / np.sqrt((x * x).sum(axis=-1)),
    ),
    (
        "the square root is missing; the length is the root of the sum of squares",
        lambda x: x / (x * x).sum(axis=-1, keepdims=True),
    ),
    (
        "the rows are divided by the sum of absolute values; the length is the root of the sum of "
        "squares",
        lambda x: x / np.abs(x).sum(axis=-1, keepdims=True),
    ),
    ("nothing is normalised; divide each row by its length", as_it_is),
)

TRANSPOSED = (
    "rows and columns of the scores are swapped (transposed); anchors are the rows and come from "
    "v1, so take v1 times v2 transposed, and axis=1"
)
NOT_TRANSPOSED = (
    "the second argument is not transposed; the scores are v1 times v2.T, every row with every row"
)
NOT_UNIT = "the vectors are not normalised; scale the rows of both to length 1 before the product"
PRODUCT = (
    (TRANSPOSED, lambda v1, v2: v2 @ v1.T),
    (NOT_TRANSPOSED, lambda v1, v2: v1 @ v2),
    ("v1 is compared with itself; the second factor is v2", lambda v1, v2: v1 @ v1.T),
)
# What is done to v1 and to v2, where both are to be normalised.
NORMS = (
    (NOT_UNIT, as_it_is, as_it_is),
    ("only v1 is normalised; scale the rows of v2 to length 1, too", unit, as_it_is),
    ("only v2 is normalised; scale the rows of v1 to length 1, too", as_it_is, unit),
    (WHOLE_BATCH, _whole, _whole),
    (DOWN, partial(unit, axis=0), partial(unit, axis=0)),
)
SCORES = (
    *of_part("product", PRODUCT),
    *(Mistake(sentence, {"first": first, "second": second}) for sentence, first, second in NORMS),
)


def mean(sim: np.ndarray) -> np.ndarray:
    """The mean negative of each anchor."""
    return with_diagonal(sim, 0).sum(axis=1) / (len(sim) - 1)


MEAN_OF_B = "the mean divides by b; an anchor has b - 1 negatives, so divide by b - 1"
MEAN_DIAGONAL = (
    "the diagonal is not excluded from the mean; set the positives to 0 before the row sum"
)
MEAN_COLUMNS = "the mean is taken along the columns; each anchor is a row, so use axis=1"
MEAN = (
    (MEAN_OF_B, lambda sim: with_diagonal(sim, 0).mean(axis=1)),
    (MEAN_DIAGONAL, lambda sim: sim.sum(axis=1) / (len(sim) - 1)),
    (MEAN_DIAGONAL, lambda sim: sim.mean(axis=1)),
    (MEAN_COLUMNS, lambda sim: mean(sim.T)),
    (
        "the negatives are added up but not divided; divide the row sum by b - 1",
        lambda sim: with_diagonal(sim, 0).sum(axis=1),
    ),
    (
        "the diagonal enters the mean as -2; that mask is for the closest negative, here the "
        "positives count 0",
        lambda sim: with_diagonal(sim, -2).sum(axis=1) / (len(sim) - 1),
    ),
    (
        "one mean is taken over the whole matrix; each anchor has its own, so use axis=1",
        lambda sim: mean(sim).mean(),
    ),
)


def _masked(
    sim: np.ndarray,
    qualifies: Part = np.less_equal,
    lowest: float = -2.0,
    positive: np.ndarray | None = None,
    axis: int = 1,
) -> np.ndarray:
    """The largest of each row of the negatives that qualify; others are treated as `lowest`."""
    positive = np.diag(sim)[:, None] if positive is None else positive
    return np.where(qualifies(sim, positive) & (np.eye(len(sim)) == 0), sim, lowest).max(axis=axis)


def shifted(sim: np.ndarray, axis: int = 1, positive_axis: int = 1) -> np.ndarray:
    """The same as the assignments since 2023 write it: one above the positive counts x - 2."""
    positive = np.expand_dims(np.diag(sim), positive_axis)
    return np.where(sim > positive, sim - 2, with_diagonal(sim, -2)).max(axis=axis)


def semi_hard(sim: np.ndarray) -> np.ndarray:
    """The lecture's closest negative: the largest not above the positive, -2 if there is none."""
    return _masked(sim)


def hardest(sim: np.ndarray) -> np.ndarray:
    """The assignment's closest negative."""
    return with_diagonal(sim, -2).max(axis=1)


CLOSEST_COLUMNS = "the maximum is taken along the columns; each anchor is a row, so use axis=1"
CLOSEST_DIAGONAL = "the diagonal is not excluded from the maximum; mask the positives, too"
HARDEST = (
    "the hardest negative is taken where the lecture asks for the semi-hard one; only those not "
    "above the anchor's positive qualify"
)
SEMI_HARD = (
    "the semi-hard negative is taken where the assignment asks for the hardest; drop the condition "
    "that it is not above the positive"
)
EYE = (
    "2 x eye is left out, so the positive may be the largest of its row; take the maximum of "
    "scores - 2 * eye(b)"
)
ZERO = "masked entries are 0, which may be the largest of a row; mask with -2, below every cosine"
TIES = "a negative as large as the positive is left out; only those above it are, so mask with >"
OTHER_POSITIVE = (
    "each column is compared with its own positive; the positives must be a column, so use "
    "reshape(b, 1)"
)
CLOSEST_SEMI_HARD = (
    (HARDEST, hardest),
    (CLOSEST_COLUMNS, partial(_masked, axis=0)),
    (CLOSEST_COLUMNS, lambda sim: semi_hard(sim.T)),
    (CLOSEST_DIAGONAL, np.diag),
    (CLOSEST_DIAGONAL, lambda sim: sim.max(axis=1)),
    (ZERO, partial(_masked, lowest=0.0)),
    (
        ZERO,
        lambda sim: np.where(
            with_diagonal(sim, 0) > np.diag(sim)[:, None], -2, with_diagonal(sim, 0)
        ).max(axis=1),
    ),
    (
        OTHER_POSITIVE,
        lambda sim: _masked(sim, positive=np.diag(sim)[None, :]),
    ),
    (
        TIES,
        partial(_masked, qualifies=np.less),
    ),
    (
        "a masked entry x becomes x - 2, as in the Keras assignment; in the lecture it becomes -2",
        shifted,
    ),
    (
        "this is the most distant negative; the closest has the largest similarity, so take the "
        "maximum",
        lambda sim: with_diagonal(sim, 2).min(axis=1),
    ),
    (
        "this is the index of the closest negative, not its similarity; use max instead of argmax",
        lambda sim: np.where(
            (sim <= np.diag(sim)[:, None]) & (np.eye(len(sim)) == 0), sim, -2
        ).argmax(axis=1),
    ),
)
CLOSEST_HARDEST = (
    (EYE, lambda sim: sim.max(axis=1)),
    (SEMI_HARD, semi_hard),
    (CLOSEST_COLUMNS, lambda sim: hardest(sim.T)),
    (
        "only eye is subtracted, so the positive may still be the largest of its row; subtract "
        "2 * eye(b)",
        lambda sim: (sim - np.eye(len(sim))).max(axis=1),
    ),
    (ZERO, lambda sim: with_diagonal(sim, 0).max(axis=1)),
    (
        "one maximum is taken over the whole matrix; each anchor has its own, so use axis=1",
        lambda sim: hardest(sim).max(),
    ),
)


def hinge(positive: np.ndarray, negative: np.ndarray, margin: float) -> np.ndarray:
    """What an anchor pays for one of its negatives."""
    return np.maximum(negative - positive + margin, 0)


MARGIN_IGNORED = "the margin is ignored; add it inside the maximum"
MARGIN_FIXED = "the margin is hard-coded, 0.25 whatever is passed; use the argument"
HINGE = (
    (MARGIN_IGNORED, lambda positive, negative, margin: hinge(positive, negative, 0)),
    (MARGIN_FIXED, lambda positive, negative, margin: hinge(positive, negative, 0.25)),
    (
        "the margin is subtracted; the positive must be ahead by it, so add it",
        lambda positive, negative, margin: hinge(positive, negative, -margin),
    ),
    (
        "the margin is added after the maximum; it belongs inside, "
        "max(negative - positive + margin, 0)",
        lambda positive, negative, margin: hinge(positive, negative, 0) + margin,
    ),
    (
        "positive and negative are swapped; the hinge is max(negative - positive + margin, 0)",
        lambda positive, negative, margin: hinge(negative, positive, margin),
    ),
    (
        "the losses are not cut off at 0; take the maximum with 0",
        lambda p, n, margin: n - p + margin,
    ),
    (
        "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b); give both one "
        "shape",
        lambda positive, negative, margin: hinge(positive, np.reshape(negative, (-1, 1)), margin),
    ),
)


# --- the parts together


def both_hinges(
    sim: np.ndarray,
    margin: float,
    mean: Part = mean,
    closest: Part = semi_hard,
    hinge: Part = hinge,
) -> tuple[Any, Any]:
    """The hinges of every anchor, against the mean and against the closest negative."""
    first, second = (hinge(np.diag(sim), part(sim), margin) for part in (mean, closest))
    return first, second


def of_sim(
    turn: Part = as_it_is,
    mean: Part = mean,
    closest: Part = semi_hard,
    hinge: Part = hinge,
    add: Part = np.add,
    reduce: Part = np.sum,
) -> Part:
    """(sim, margin) -> loss: both hinges of the matrix, added up, then reduced over the batch."""
    return lambda sim, margin=0.25: reduce(
        add(*both_hinges(turn(sim), margin, mean, closest, hinge))
    )


def of_vectors(product: Part = times, first: Part = unit, second: Part = unit, **of: Part) -> Part:
    """(v1, v2, margin) -> loss."""
    similarities, loss = scores(product, first, second), of_sim(**of)
    return lambda v1, v2, margin=0.25: loss(similarities(v1, v2), margin)


COLUMNS = (
    "mean and closest negative are both taken along the columns; each anchor is a row, so use "
    "axis=1"
)
NOT_MEAN = "the losses are added up; the assignment takes their mean over the batch"
NOT_SUM = "the mean over the batch is taken; the lecture's cost is the sum"
PER_ANCHOR = "this is one loss per anchor; the cost is their sum"
ADDING = (
    (
        "only the hinge of the mean negative is used; add that of the closest negative",
        lambda l1, l2: l1,
    ),
    (
        "only the hinge of the closest negative is used; add that of the mean negative",
        lambda l1, l2: l2,
    ),
    ("the two hinges are averaged; add them", lambda l1, l2: (l1 + l2) / 2),
)
LARGER = ("the larger of the two hinges is taken; add them", np.maximum)


def _mean_with_diagonal(sim: np.ndarray) -> np.ndarray:
    """The mistake that an anchor's positive is summed with its negatives."""
    return sim.sum(axis=1) / (len(sim) - 1)


def hinge_mistakes(columns: Part) -> tuple[Mistake, ...]:
    """Mistakes of mean and hinge, and those that mean and closest negative share.

    `columns` is the closest negative along the columns, with the condition of the rows.
    """
    return (
        *of_part("mean", MEAN),
        *of_part("hinge", HINGE),
        Mistake(COLUMNS, {"mean": lambda sim: mean(sim.T), "closest": columns}),
        Mistake(
            "mean and closest negative both count the diagonal; take the positives out of both",
            {"mean": _mean_with_diagonal, "closest": lambda sim: sim.max(axis=1)},
        ),
    )


SEMI_HARD_COLUMNS = partial(_masked, axis=0)


SHIFTED_COLUMNS = partial(shifted, axis=0)
# As `shifted` may be written wrongly.
CLOSEST_SHIFTED = (
    (CLOSEST_COLUMNS, SHIFTED_COLUMNS),
    (CLOSEST_COLUMNS, lambda sim: shifted(sim.T)),
    (OTHER_POSITIVE, partial(shifted, positive_axis=0)),
)
