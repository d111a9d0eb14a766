"""What `checks` knows about the losses of the assignment, whose editions have two rules.

They are compared in NumPy, with the same parts as the lecture's, and their gradients with the
package's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from trax_triplet import course
from trax_triplet.checks import parts
from trax_triplet.checks.lecture import random_matrix
from trax_triplet.checks.step import (
    Base,
    Mistake,
    Step,
    array,
    of_part,
    same,
    scalar,
    seen_as,
    text,
)
from trax_triplet.compat import jnp, tl

__all__ = ["LOSS_STEPS", "NUMPY", "why_untraceable"]

NUMPY = (
    "NumPy is used inside, so the gradient cannot be taken; write it with trax.fastmath.numpy "
    "throughout"
)
PYTHON_NUMBER = (
    "a value is turned into a Python number or tested by an if, so the gradient cannot be taken; "
    "leave out float(), .item() and if"
)
GRADIENT = "the loss is right but its gradient is not; remove rounding and stop_gradient from it"
NORMALISED = (
    "the vectors are normalised again; the assignment's loss takes them as they are, since the "
    "model normalises them"
)
PRINTS_AS = (
    "the layer does not print as TripletLoss_in2; make it with tl.Fn('TripletLoss', function of v1 "
    "and v2)"
)


def _vectors() -> dict[str, Any]:
    """Names -> v1 and v2: the course's two examples, the second not of unit length; random ones."""
    v1 = np.array([[0.26726124, 0.53452248, 0.80178373], [-0.5178918, -0.57543534, -0.63297887]])
    rows = np.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.10, 0.11, 0.2], [0.5, 0.6, 0.7, 0.8]])
    square, wide = random_matrix(4, 4, 1), random_matrix(5, 8, 3)
    return {
        "the course's 2 rows of 3": (v1, v1 * [[1], [-1]]),
        "the course's 3 rows of 4": (rows, rows * [[1], [-1], [1]]),
        "4 rows of 4, far apart": tuple(map(parts.unit, (square, random_matrix(4, 4, 9) - square))),
        "4 rows of 4": tuple(map(parts.unit, (square, square + random_matrix(4, 4, 2)))),
        "5 rows of 8": tuple(map(parts.unit, (wide, random_matrix(5, 8, 4)))),
    }


_MARGINS = (0.8, 0.5, 0.8, 0.25, 1.5)


def _loss_cases() -> dict[str, dict[str, Any]]:
    pairs: dict[str, dict[str, Any]] = {
        name: {"v1": v1, "v2": v2} for name, (v1, v2) in _vectors().items()
    }
    with_margin = {
        f"{name}, margin {margin}": {**pairs[name], "margin": margin}
        for name, margin in zip((*[*pairs][1:], "4 rows of 4"), _MARGINS, strict=True)
    }
    opposite = np.array([[1.0, 0], [-1, 0]])
    return {
        **pairs,
        **with_margin,
        "two opposite pairs, margin 1.5": {"v1": opposite, "v2": opposite, "margin": 1.5},
    }


# Two rules: (editions, closest negative, reduction).
EARLIER, LATER = ("2020", "2021"), ("2023",)
TAKES_SUM = (
    "two editions are mixed: the closest negative is the hardest, the rule of 2020-22, but the "
    "losses are added up, as in 2023; take their mean, or only negatives not above the positive"
)
TAKES_MEAN = (
    "two editions are mixed: only negatives not above the positive may be the closest, the rule of "
    "2023, but the losses are averaged, as in 2020-22; add them up, or take the hardest negative"
)
SEMI_HARD_2023 = (
    "the hardest negative is taken where the assignment of 2023 asks for one not above the "
    "positive; mask those above it"
)
NOT_SUM_2023 = (
    "the mean over the batch is taken; the assignment of 2023 adds the losses up, so use sum"
)
_AS_THEY_ARE = {"first": parts.as_it_is, "second": parts.as_it_is}
_RULES = (
    Base({**_AS_THEY_ARE, "closest": parts.hardest, "reduce": np.mean}, EARLIER),
    Base({**_AS_THEY_ARE, "closest": parts.shifted, "reduce": np.sum}, LATER),
    Base({**_AS_THEY_ARE, "closest": parts.semi_hard, "reduce": np.sum}, LATER),
)


def _loss_mistakes() -> tuple[Mistake, ...]:
    of_earlier = dict(parts.CLOSEST_HARDEST)
    del of_earlier[parts.SEMI_HARD]
    # One has another sentence here, the other makes no difference to a loss of unit vectors.
    own = {parts.HARDEST, parts.TIES}
    of_later = [
        (sentence, wrong)
        for sentence, wrong in parts.CLOSEST_SEMI_HARD
        if sentence not in own and wrong is not parts.shifted
    ]
    per_anchor = "this is one loss per anchor; return their {}"
    return (
        *of_part("product", parts.PRODUCT),
        *(
            Mistake(parts.SEMI_HARD, {"closest": closest}, EARLIER, TAKES_MEAN)
            for closest in (parts.semi_hard, parts.shifted)
        ),
        Mistake(parts.NOT_MEAN, {"reduce": np.sum}, EARLIER, TAKES_SUM),
        Mistake(SEMI_HARD_2023, {"closest": parts.hardest}, LATER, TAKES_SUM),
        Mistake(NOT_SUM_2023, {"reduce": np.mean}, LATER, TAKES_MEAN),
        Mistake(NORMALISED, {"first": parts.unit, "second": parts.unit}),
        *of_part("closest", of_earlier.items(), *EARLIER),
        *of_part("closest", (*of_later, *parts.CLOSEST_SHIFTED), *LATER),
        *(
            mistake
            for mistake in parts.hinge_mistakes(parts.SHIFTED_COLUMNS)
            if mistake.sentence != parts.COLUMNS
        ),
        *(
            Mistake(
                parts.COLUMNS, {"mean": lambda sim: parts.mean(sim.T), "closest": closest}, LATER
            )
            for closest in (parts.SHIFTED_COLUMNS, parts.SEMI_HARD_COLUMNS)
        ),
        *of_part("add", parts.ADDING),
        *of_part("add", (parts.LARGER,), *LATER),
        *of_part("reduce", ((per_anchor.format("mean"), np.asarray),), *EARLIER),
        *of_part("reduce", ((per_anchor.format("sum"), np.asarray),), *LATER),
    )


def _gradient_probe(loss_of: Callable[..., Any]) -> tuple[str, Callable[..., str | None]]:
    """Asks whether jax.grad of the loss works and agrees with that of one of the editions.

    `loss_of` makes the loss of the student's function.
    """

    def probe(function: Callable[..., Any]) -> str | None:
        vectors = _traced_vectors()
        gradient = jax.jit(jax.grad(loss_of(function), argnums=(0, 1)))  # compiled, as in a Loop
        try:
            got = gradient(*vectors)
        except Exception as error:  # whatever the student's function raises is reported
            return why_untraceable(error) or f"jax.grad of the loss raises {text(error)}"
        for expected in _gradients():
            pairs = zip(expected, got, strict=True)
            if all(same(a, array(b)) for a, b in pairs):
                return None
        return GRADIENT

    return "its gradient, by jax.grad", probe


def _traced_vectors() -> tuple[Any, ...]:
    return tuple(jnp.asarray(v, "float32") for v in _vectors()["5 rows of 8"])


@functools.cache
def _gradients() -> list[list[Any]]:
    """The right gradients there, of each rule."""
    losses = course.TripletLossFn, course.edition_2023.TripletLossFn
    of_vectors = [jax.jit(jax.grad(loss, argnums=(0, 1))) for loss in losses]
    return [[array(g) for g in gradient(*_traced_vectors())] for gradient in of_vectors]


def why_untraceable(error: Exception) -> str | None:
    """The sentence for what JAX raises where NumPy or Python meets traced values.

    A layer wraps it into its own error.
    """
    message = f"{type(error).__name__}: {error}"
    if "TracerArrayConversionError" in message:
        return NUMPY
    if "ConcretizationTypeError" in message or "TracerBoolConversionError" in message:
        return PYTHON_NUMBER
    return None


def _observe_layer(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    margin = {name: value for name, value in arguments.items() if name == "margin"}
    layer = function(**margin)
    return {
        "prints as TripletLoss_in2": str(layer) == "TripletLoss_in2",
        "loss": scalar(layer((arguments["v1"], arguments["v2"]))),
    }


def _layer(name: str = "TripletLoss", **of: Any) -> Callable[..., Any]:
    loss = parts.of_vectors(**of)
    return lambda margin=0.25: tl.Fn(name, lambda v1, v2: loss(v1, v2, margin))


def _steps() -> dict[str, Step]:
    mistakes = _loss_mistakes()
    return {
        "TripletLossFn": Step(
            _loss_cases(),
            parts.of_vectors,
            mistakes,
            seen_as(scalar),
            _RULES,
            probes=(_gradient_probe(lambda function: function),),
            foreign=True,
        ),
        "TripletLoss": Step(
            _loss_cases(),
            _layer,
            (Mistake(PRINTS_AS, {"name": "Other"}), *mistakes),
            _observe_layer,
            _RULES,
            probes=(_gradient_probe(lambda function: lambda v1, v2: function()((v1, v2))),),
            foreign=True,
        ),
    }


LOSS_STEPS = _steps()
