"""What `checks` knows about the steps of the lecture: cases, right answers, and what each mistake
gives.

Everything is plain NumPy in float64. A mistake is kept as a function that makes just this mistake,
so it can be run on the same cases as a student's function. The parts (mean, closest negative,
hinge) are put together for the later steps, so a mistake in a part is known by the same sentence
wherever it shows.
"""

from functools import partial

import numpy as np

from trax_triplet.checks.step import Step, array, pair, scalar, seen_as, vector

# --- inputs
# ----------------------------------------------------------------------------------------------

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
_TIES = np.array(
    [[0.5, 0.5, 0.25], [0.75, 0.25, -0.5], [-0.25, -0.5, -0.25]]
)  # an anchor and a negative that are level


def random_matrix(rows, columns, seed):
    """Numbers from -1 to 1, the same for the same seed."""
    return np.random.default_rng(seed).uniform(-1, 1, (rows, columns))


def _vector_pairs():
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


def _matrices():
    return {
        "the lecture's matrix": LECTURE_SIM,
        "the lecture's two batches": scores(LECTURE_V1, LECTURE_V2),
        "a 3 x 3 matrix with ties": _TIES,
        **{f"a random {n} x {n} matrix": random_matrix(n, n, n) for n in (5, 6)},
    }


_MARGINS = (0.25, 0.8, 1.5, 0.5, 2.5)


# --- the parts: right first, then (sentence, what the mistake gives)
# ----------------------------------------


def unit(x, axis=-1):
    """Vectors of length 1: rows, unless another axis is summed."""
    return x / np.sqrt((x * x).sum(axis=axis, keepdims=True))


def scores(v1, v2, first=unit, second=None):
    """Similarities of every row with every row; `first` and `second` normalise, `second` as `first`
    does."""
    return first(v1) @ (second or first)(v2).T


def _as_it_is(x):
    return x


def _whole(x):
    return x / np.sqrt((x * x).sum())


def _square(sim, value):
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
        "the lengths lost their axis, so rows are divided by the lengths of others; sum with keepdims=True",
        lambda x: x / np.sqrt((x * x).sum(axis=-1)),
    ),
    (
        "the square root is missing; the length is the root of the sum of squares",
        lambda x: x / (x * x).sum(axis=-1, keepdims=True),
    ),
    (
        "the rows are divided by the sum of absolute values; the length is the root of the sum of squares",
        lambda x: x / np.abs(x).sum(axis=-1, keepdims=True),
    ),
    ("nothing is normalised; divide each row by its length", _as_it_is),
)

TRANSPOSED = (
    "rows and columns of the scores are exchanged (transposed); anchors are the rows and come from v1, so "
    "take v1 times v2 transposed, and axis=1"
)
NOT_TRANSPOSED = (
    "the second argument is not transposed; the scores are v1 times v2.T, every row with every row"
)
NOT_UNIT = "the vectors are not normalised; scale the rows of both to length 1 before the product"
SCORES = (
    (TRANSPOSED, lambda v1, v2: scores(v2, v1)),
    (NOT_TRANSPOSED, lambda v1, v2: unit(v1) @ unit(v2)),
    (NOT_UNIT, partial(scores, first=_as_it_is)),
    (
        "only v1 is normalised; scale the rows of v2 to length 1, too",
        partial(scores, second=_as_it_is),
    ),
    (
        "only v2 is normalised; scale the rows of v1 to length 1, too",
        partial(scores, first=_as_it_is, second=unit),
    ),
    (WHOLE_BATCH, partial(scores, first=_whole)),
    (DOWN, partial(scores, first=partial(unit, axis=0))),
    ("v1 is compared with itself; the second factor is v2", lambda v1, v2: scores(v1, v1)),
)


def mean(sim):
    """The mean negative of each anchor."""
    return _square(sim, 0).sum(axis=1) / (len(sim) - 1)


MEAN_OF_B = "the mean divides by b; an anchor has b - 1 negatives, so divide by b - 1"
MEAN_DIAGONAL = (
    "the diagonal is not excluded from the mean; set the positives to 0 before the row sum"
)
MEAN_COLUMNS = "the mean is taken along the columns; each anchor is a row, so use axis=1"
MEAN = (
    (MEAN_OF_B, lambda sim: _square(sim, 0).mean(axis=1)),
    (MEAN_DIAGONAL, lambda sim: sim.sum(axis=1) / (len(sim) - 1)),
    (MEAN_DIAGONAL, lambda sim: sim.mean(axis=1)),
    (MEAN_COLUMNS, lambda sim: mean(sim.T)),
    (
        "the negatives are added up but not divided; divide the row sum by b - 1",
        lambda sim: _square(sim, 0).sum(axis=1),
    ),
    (
        "the diagonal enters the mean as -2; that mask is for the closest negative, here the positives count 0",
        lambda sim: _square(sim, -2).sum(axis=1) / (len(sim) - 1),
    ),
    (
        "one mean is taken over the whole matrix; each anchor has its own, so use axis=1",
        lambda sim: mean(sim).mean(),
    ),
)


def _masked(sim, level=np.less_equal, lowest=-2.0, positive=None, axis=1):
    """The largest of each row of those negatives that qualify, others reading as `lowest`."""
    positive = np.diag(sim)[:, None] if positive is None else positive
    return np.where(level(sim, positive) & (np.eye(len(sim)) == 0), sim, lowest).max(axis=axis)


def semi_hard(sim):
    """The lecture's closest negative: the largest not above the positive, -2 where there is
    none."""
    return _masked(sim)


def hardest(sim):
    """The assignment's closest negative."""
    return _square(sim, -2).max(axis=1)


CLOSEST_COLUMNS = "the maximum is taken along the columns; each anchor is a row, so use axis=1"
CLOSEST_DIAGONAL = "the diagonal is not excluded from the maximum; mask the positives, too"
HARDEST = (
    "the hardest negative is taken where the lecture asks for the semi-hard one; only those not above the "
    "anchor's positive qualify"
)
SEMI_HARD = (
    "the semi-hard negative is taken where the assignment asks for the hardest; drop the condition that it "
    "lies not above the positive"
)
EYE = (
    "2 x eye is left out, so the positive may be the largest of its row; take the maximum of "
    "scores - 2 * eye(b)"
)
ZERO = "masked entries are 0, which may be the largest of a row; mask with -2, below every cosine"
CLOSEST_SEMI_HARD = (
    (HARDEST, hardest),
    (CLOSEST_COLUMNS, partial(_masked, axis=0)),
    (CLOSEST_COLUMNS, lambda sim: semi_hard(sim.T)),
    (CLOSEST_DIAGONAL, np.diag),
    (CLOSEST_DIAGONAL, lambda sim: sim.max(axis=1)),
    (ZERO, partial(_masked, lowest=0.0)),
    (
        ZERO,
        lambda sim: np.where(_square(sim, 0) > np.diag(sim)[:, None], -2, _square(sim, 0)).max(
            axis=1
        ),
    ),
    (
        "each column is compared with its own positive; the positives must stand as a column, so use reshape(b, 1)",
        lambda sim: _masked(sim, positive=np.diag(sim)[None, :]),
    ),
    (
        "a negative as large as the positive is left out; only those above it are, so mask with >",
        partial(_masked, level=np.less),
    ),
    (
        "a masked entry x becomes x - 2, as in the Keras assignment; in the lecture it becomes -2",
        lambda sim: np.where(sim > np.diag(sim)[:, None], sim - 2, _square(sim, -2)).max(axis=1),
    ),
    (
        "this is the most distant negative; the closest has the largest similarity, so take the maximum",
        lambda sim: _square(sim, 2).min(axis=1),
    ),
    (
        "this is the place of the closest negative, not its similarity; use max instead of argmax",
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
        "only eye is subtracted, so the positive may still be the largest of its row; subtract 2 * eye(b)",
        lambda sim: (sim - np.eye(len(sim))).max(axis=1),
    ),
    (ZERO, lambda sim: _square(sim, 0).max(axis=1)),
    (
        "one maximum is taken over the whole matrix; each anchor has its own, so use axis=1",
        lambda sim: hardest(sim).max(),
    ),
)


def hinge(positive, negative, margin):
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
        "the margin is added behind the maximum; it belongs inside, max(negative - positive + margin, 0)",
        lambda positive, negative, margin: hinge(positive, negative, 0) + margin,
    ),
    (
        "positive and negative are exchanged; the hinge is max(negative - positive + margin, 0)",
        lambda positive, negative, margin: hinge(negative, positive, margin),
    ),
    (
        "the losses are not cut off at 0; take the maximum with 0",
        lambda p, n, margin: n - p + margin,
    ),
    (
        "a column (b, 1) and a row (b,) are combined, which makes a matrix (b, b); give both one shape",
        lambda positive, negative, margin: hinge(positive, np.reshape(negative, (-1, 1)), margin),
    ),
)


# --- the parts together
# ------------------------------------------------------------------------------------


def _both(sim, margin, mean=mean, closest=semi_hard, hinge=hinge):
    return tuple(hinge(np.diag(sim), part(sim), margin) for part in (mean, closest))


def both_mistakes(right, closest_mistakes):
    """(sentence, (sim, margin) -> both hinges) for every mistake of the mean, the closest negative
    and the hinge."""
    for sentence, wrong in MEAN:
        yield sentence, partial(_both, closest=right, mean=wrong)
    for sentence, wrong in closest_mistakes:
        yield sentence, partial(_both, closest=wrong)
    for sentence, wrong in HINGE:
        yield sentence, partial(_both, closest=right, hinge=wrong)
    yield (
        "mean and closest negative both count the diagonal; take the positives out of both",
        partial(
            _both,
            mean=lambda sim: sim.sum(axis=1) / (len(sim) - 1),
            closest=lambda sim: sim.max(axis=1),
        ),
    )


COLUMNS = "mean and closest negative are both taken along the columns; each anchor is a row, so use axis=1"
NOT_MEAN, NOT_SUM = (
    "the losses are added up; the assignment takes their mean over the batch",
    "the mean over the batch is taken; the lecture's cost is the sum",
)
LARGER = "the larger of the two hinges is taken; add them"
ADDING = (
    (
        "only the hinge of the mean negative is there; add the one of the closest negative",
        lambda l1, l2: l1,
    ),
    (
        "only the hinge of the closest negative is there; add the one of the mean negative",
        lambda l1, l2: l2,
    ),
    ("the two hinges are averaged; add them", lambda l1, l2: (l1 + l2) / 2),
    (LARGER, np.maximum),
)


def loss_mistakes(right, closest_mistakes, reduce, columns=COLUMNS):
    """(sentence, (sim, margin) -> loss), where `reduce` makes one of the losses of the anchors."""

    def then(both, add=np.add):
        return lambda sim, margin=0.25: reduce(add(*both(sim, margin)))

    for sentence, both in both_mistakes(right, closest_mistakes):
        yield sentence, then(both)
    right_both = partial(_both, closest=right)
    yield columns, then(lambda sim, margin: right_both(sim.T, margin))
    for sentence, add in ADDING:
        yield sentence, then(right_both, add)


def loss(right, reduce):
    """(sim, margin) -> loss, with the right mean and hinge and this closest negative."""
    return lambda sim, margin=0.25: reduce(np.add(*_both(sim, margin, closest=right)))


def of_vectors(of_sim, scores=scores):
    """A loss of similarities as one of two batches of vectors."""
    return lambda v1, v2, margin=0.25: of_sim(scores(v1, v2), margin)


# --- the steps
# -----------------------------------------------------------------------------------------------


def _steps():
    sims = {name: {"sim": sim} for name, sim in _matrices().items()}
    with_margins = {
        f"{name}, margin {margin}": {**case, "margin": margin}
        for (name, case), margin in zip(sims.items(), _MARGINS)
    }
    batches = {
        "the lecture's two batches": (LECTURE_V1, LECTURE_V2),
        "4 rows of 4": (random_matrix(4, 4, 1), 3 * random_matrix(4, 4, 2)),
        "6 rows of 3": (3 * random_matrix(6, 3, 3), random_matrix(6, 3, 4)),
        "5 rows of 2": (random_matrix(5, 2, 5), random_matrix(5, 2, 6)),
    }
    batches = {name: dict(zip(("v1", "v2"), pair)) for name, pair in batches.items()}
    uneven = {**batches, "2 rows and 4 rows of 3": {"v1": LECTURE_V1[:2], "v2": LECTURE_V2}}
    losses = {
        f"{name}, margin {margin}": {**case, "margin": margin}
        for (name, case), margin in zip(batches.items(), _MARGINS[:2] + _MARGINS[3:])
    }
    collapsed = {"v1": np.eye(3)[[0, 0, 0]], "v2": np.eye(3)[[0, 0, 0]], "margin": 0.5}
    both = (
        *both_mistakes(semi_hard, CLOSEST_SEMI_HARD),
        (COLUMNS, lambda sim, margin: _both(sim.T, margin)),
        (
            "the two hinges are exchanged; the mean negative's comes first",
            lambda *case: _both(*case)[::-1],
        ),
    )
    cost = (
        *loss_mistakes(semi_hard, CLOSEST_SEMI_HARD, np.sum),
        (NOT_SUM, loss(semi_hard, np.mean)),
        ("this is one loss an anchor; the cost is their sum", loss(semi_hard, _as_it_is)),
    )
    transposable = (*loss_mistakes(semi_hard, CLOSEST_SEMI_HARD, np.sum, TRANSPOSED), *cost[-2:])
    return {
        "cosine_similarity": Step(_vector_pairs(), (_cosine,), _COSINE, seen_as(scalar)),
        "l2_normalize": Step(
            {
                "the lecture's first batch": {"x": LECTURE_V1},
                "a random 3 x 3 batch": {"x": random_matrix(3, 3, 0)},
                "a random 2 x 5 batch": {"x": 4 * random_matrix(2, 5, 1)},
            },
            (unit,),
            UNIT,
            seen_as(array),
        ),
        "similarity_matrix": Step(uneven, (scores,), SCORES, seen_as(array)),
        "positives": Step(sims, (np.diag,), _POSITIVES, seen_as(vector)),
        "negatives": Step(sims, (partial(_square, value=0),), _NEGATIVES, seen_as(array)),
        "mean_negative": Step(sims, (mean,), MEAN, seen_as(vector)),
        "closest_negative": Step(sims, (semi_hard,), CLOSEST_SEMI_HARD, seen_as(vector)),
        "hinges": Step(with_margins, (_both,), both, seen_as(pair)),
        "losses": Step(
            with_margins,
            (loss(semi_hard, _as_it_is),),
            tuple(loss_mistakes(semi_hard, CLOSEST_SEMI_HARD, _as_it_is)),
            seen_as(vector),
        ),
        "cost": Step(with_margins, (loss(semi_hard, np.sum),), cost, seen_as(scalar)),
        "triplet_loss": Step(
            {**losses, "collapsed: all vectors equal": collapsed},
            (of_vectors(loss(semi_hard, np.sum)),),
            (
                *((sentence, of_vectors(wrong)) for sentence, wrong in transposable),
                *(
                    (sentence, of_vectors(loss(semi_hard, np.sum), wrong))
                    for sentence, wrong in SCORES[1:]
                ),
            ),
            seen_as(scalar),
        ),
    }


def _cosine(v1, v2):
    return unit(v1) @ unit(v2)


_COSINE = (
    ("this is the dot product; divide it by both lengths", np.dot),
    (
        "the dot product is divided by the length of v1 alone; divide by that of v2, too",
        lambda v1, v2: unit(v1) @ v2,
    ),
    (
        "the dot product is divided by the length of v2 alone; divide by that of v1, too",
        lambda v1, v2: v1 @ unit(v2),
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
    ("the diagonal is not excluded; set the positives to 0", _as_it_is),
    (
        "the mask is the wrong way round; keep what is off the diagonal",
        lambda sim: sim * np.eye(len(sim)),
    ),
    (
        "1 is subtracted on the diagonal, which leaves the positives minus 1; set them to 0",
        lambda sim: sim - np.eye(len(sim)),
    ),
    (
        "the diagonal is lowered by 2, which is for the closest negative; here set the positives to 0",
        lambda sim: sim - 2 * np.eye(len(sim)),
    ),
    (
        "the diagonal is -2, which is for the closest negative; here set the positives to 0",
        lambda sim: _square(sim, -2),
    ),
    (
        "rows and columns are exchanged (transposed); each anchor is a row",
        lambda sim: _square(sim, 0).T,
    ),
    (
        "the lower half is lost; the negatives are on both sides of the diagonal",
        lambda sim: np.triu(sim, 1),
    ),
    (
        "the upper half is lost; the negatives are on both sides of the diagonal",
        lambda sim: np.tril(sim, -1),
    ),
)

LECTURE_STEPS = _steps()
