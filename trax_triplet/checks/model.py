"""What `checks` knows about the losses of the assignment, its model and its training.

The losses are compared in NumPy, with the same parts as the lecture's, and their gradients with the
package's. Models and training loops are not built with mistakes but inspected: printed form,
shapes, optimizer, metrics.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from trax_triplet import course
from trax_triplet.checks import parts
from trax_triplet.checks.lecture import random_matrix
from trax_triplet.checks.step import Step, array, leaves, same, scalar, seen_as, text
from trax_triplet.compat import fastmath, jnp, shapes, tl
from trax_triplet.model.weights import get_weights, set_weights

# --- TripletLossFn and TripletLoss

__all__ = ["MODEL_STEPS"]

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


def _dot(v1: np.ndarray, v2: np.ndarray) -> np.ndarray:
    return v1 @ v2.T


def _vectors() -> dict[str, Any]:
    """Names -> v1 and v2: the course's two examples, the second not of unit length; random ones."""
    v1 = np.array([[0.26726124, 0.53452248, 0.80178373], [-0.5178918, -0.57543534, -0.63297887]])
    rows = np.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.10, 0.11, 0.2], [0.5, 0.6, 0.7, 0.8]])
    square, wide = random_matrix(4, 4, 1), random_matrix(5, 8, 3)
    return {
        "the course's 2 rows of 3": (v1, v1 * [[1], [-1]]),
        "the course's 3 rows of 4": (rows, rows * [[1], [-1], [1]]),
        "4 rows of 4": tuple(map(parts.unit, (square, square + random_matrix(4, 4, 2)))),
        "5 rows of 8": tuple(map(parts.unit, (wide, random_matrix(5, 8, 4)))),
    }


def _loss_cases() -> dict[str, dict[str, Any]]:
    pairs: dict[str, dict[str, Any]] = {
        name: {"v1": v1, "v2": v2} for name, (v1, v2) in _vectors().items()
    }
    with_margin = {
        f"{name}, margin {margin}": {**pairs[name], "margin": margin}
        for name, margin in zip((*[*pairs][1:], "4 rows of 4"), (0.8, 0.8, 0.25, 1.5), strict=True)
    }
    opposite = np.array([[1.0, 0], [-1, 0]])
    return {
        **pairs,
        **with_margin,
        "two opposite pairs, margin 1.5": {"v1": opposite, "v2": opposite, "margin": 1.5},
    }


def _loss_mistakes() -> Iterator[tuple[str, Callable[..., Any]]]:
    closest = parts.hardest, parts.CLOSEST_HARDEST
    of_scores = (
        *parts.loss_mistakes(*closest, np.mean, parts.TRANSPOSED),
        (parts.NOT_MEAN, parts.loss(parts.hardest, np.sum)),
        (
            "this is one loss per anchor; return their mean",
            parts.loss(parts.hardest, np.asarray),
        ),
    )
    for sentence, wrong in of_scores:
        if (
            sentence != parts.LARGER
        ):  # the hardest negative's hinge is always the larger one: it has a sentence
            yield sentence, parts.of_vectors(wrong, _dot)
    right = parts.loss(parts.hardest, np.mean)
    yield parts.NOT_TRANSPOSED, parts.of_vectors(right, lambda v1, v2: v1 @ v2)
    yield NORMALISED, parts.of_vectors(right)


def _gradient_probe(loss_of: Callable[..., Any]) -> tuple[str, Callable[..., str | None]]:
    """Asks whether jax.grad of the loss works and agrees.

    `loss_of` makes the loss of the student's function.
    """

    def probe(function: Callable[..., Any]) -> str | None:
        vectors = tuple(jnp.asarray(v, "float32") for v in _vectors()["5 rows of 8"])
        gradient = jax.jit(jax.grad(loss_of(function), argnums=(0, 1)))  # compiled, as in a Loop
        try:
            got = gradient(*vectors)
        except Exception as error:  # whatever the student's function raises is reported
            return _why_untraceable(error) or f"jax.grad of the loss raises {text(error)}"
        expected = jax.grad(course.TripletLossFn, argnums=(0, 1))(*vectors)
        pairs = zip(expected, got, strict=True)
        return None if all(same(array(a), array(b)) for a, b in pairs) else GRADIENT

    return "its gradient, by jax.grad", probe


def _why_untraceable(error: Exception) -> str | None:
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
    return {"printed": str(layer), "loss": scalar(layer((arguments["v1"], arguments["v2"])))}


def _layer(loss: Callable[..., Any]) -> Callable[..., Any]:
    return lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: loss(v1, v2, margin))


def _other(seen: dict[str, Any], key: str, *values: Any) -> bool:
    """Whether some case has another value there than these; cases that raised have none."""
    return any(
        isinstance(answer, dict) and answer.get(key) not in values for answer in seen.values()
    )


# --- Siamese

LAYERS = "Embedding, LSTM, Mean, Normalize"
LACKS = "the towers lack the layer {0}; each is " + LAYERS
ORDER = f"the layers of the towers are in the wrong order; it is {LAYERS}"
SIZES = "embedding or LSTM do not have the requested sizes; pass vocab_size and d_model to them"
NO_PARALLEL = "the two towers are not side by side; put them into a tl.Parallel"
NOT_SHARED = "the towers do not share their weights; give tl.Parallel one and the same tower twice"
MEAN_AXIS = "the mean is not taken over the words of a question; use tl.Mean(axis=1)"
NOT_NORMALISED = (
    "the layer Normalize does not give vectors of length 1; divide by the length, the root of the "
    "sum of squares"
)
OTHER_VECTORS = (
    "the vectors are not those of the course's model with the same weights; look at what the "
    "functions in its layers compute"
)


def _observe_model(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    model = function(**arguments)
    towers = [tower.sublayers for tower in model.sublayers]
    seen = {
        "layer": type(model).__name__,
        "towers": [[str(layer) for layer in tower] for tower in towers],
        "types": [[type(layer).__name__ for layer in tower] for tower in towers],
    }
    # The other models are not run: that takes time.
    if "vocab_size" in arguments and "mode" not in arguments:
        try:
            seen.update(_vectors_of(model))
        except Exception as error:  # the structure says more than a layer's exception; both count
            seen["vectors"] = error
    return seen


def _vectors_of(model: Any) -> dict[str, Any]:
    ids = np.array([[2, 3, 4, 5], [6, 6, 3, 1]], np.int32)
    model.rng = fastmath.random.get_prng(0)
    model.init((shapes.signature(ids),) * 2)
    v1, v2 = (array(v) for v in model((ids, ids)))
    lengths = {
        "rows": (v1**2).sum(axis=-1),
        "columns": (v1**2).sum(axis=0),
        "the batch": (v1**2).sum(),
    }
    unit = next(
        (name for name, squares in lengths.items() if np.allclose(squares, 1, atol=1e-3)), "nothing"
    )
    return {"shape": v1.shape, "length 1 has": unit, "towers agree": np.allclose(v1, v2, atol=1e-6)}


def _kinds(seen: dict[str, Any]) -> list[str]:
    """The layers of the first towers seen, without sizes."""
    answers = [answer for answer in seen.values() if isinstance(answer, dict)]
    if not answers or not answers[0]["towers"]:
        return []
    return [name.split("_")[0] for name in answers[0]["towers"][0]]


def _siamese_signs() -> tuple[tuple[str, Callable[[Any, Any], bool]], ...]:
    def lacks(layer: str) -> Callable[[Any, Any], bool]:
        return lambda seen, expected: bool(_kinds(seen)) and layer not in _kinds(seen)

    right = LAYERS.split(", ")
    return (
        (NO_PARALLEL, lambda seen, expected: _other(seen, "layer", "Parallel")),
        *((LACKS.format(layer), lacks(layer)) for layer in right),
        (
            ORDER,
            lambda seen, expected: sorted(_kinds(seen)) == sorted(right) and _kinds(seen) != right,
        ),
        (
            SIZES,
            lambda seen, expected: (
                _kinds(seen) == right
                and any(
                    answer["towers"] != expected[case]["towers"]
                    for case, answer in seen.items()
                    if isinstance(answer, dict)
                )
            ),
        ),
        (
            NUMPY,
            lambda seen, expected: any(
                isinstance(leaf, Exception) and _why_untraceable(leaf) == NUMPY
                for answer in seen.values()
                for leaf in leaves(answer)
            ),
        ),
        (MEAN_AXIS, lambda seen, expected: _other(seen, "shape", None, (2, 3))),
        (
            parts.WHOLE_BATCH,
            lambda seen, expected: _other(seen, "length 1 has", None, "rows", "columns", "nothing"),
        ),
        (
            parts.DOWN,
            lambda seen, expected: _other(
                seen, "length 1 has", None, "rows", "the batch", "nothing"
            ),
        ),
        (NOT_NORMALISED, lambda seen, expected: _other(seen, "length 1 has", None, "rows")),
        (NOT_SHARED, lambda seen, expected: _other(seen, "towers agree", None, True)),
    )


def _model_probe(function: Callable[..., Any]) -> str | None:
    """Asks whether the traced model computes what the course's does with the same weights."""
    ids = (np.array([[2, 3, 4, 5], [6, 6, 3, 1]], np.int32), np.array([[5, 1], [2, 3]], np.int32))
    model = function(vocab_size=11, d_model=3)
    model.rng = fastmath.random.get_prng(1)
    model.init(tuple(map(shapes.signature, ids)))
    try:
        got = jax.jit(model.pure_fn)(ids, model.weights, model.state, model.rng)[0]
    except Exception as error:  # whatever the student's layers raise is reported
        return _why_untraceable(error) or f"inside jax.jit the model raises {text(error)}"
    expected = set_weights(course.Siamese(11, 3), get_weights(model))(ids)
    if not all(same(array(a), array(b)) for a, b in zip(expected, got, strict=True)):
        return OTHER_VECTORS
    return None


# --- train_model

NO_LOOP = "the function does not return a Loop; return training.Loop(...)"
RAN = "the loop has already run; return it as it is, the caller runs it"
OPTIMIZER = "the optimizer is not Adam; take Adam(0.01)"
SETTINGS = "Adam's settings are not the assignment's; take Adam(0.01) and leave the rest as it is"
SCHEDULE = (
    "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01); pass it to TrainTask as "
    "lr_schedule"
)
LOSS = "the loss layer of the training is not TripletLoss; call the argument, TripletLoss()"
METRIC = "the evaluation does not have the loss as its only metric; use metrics=[TripletLoss()]"
NO_EVALUATION = "there is not exactly one evaluation task; give the Loop one, on val_generator"
TRAIN_DATA = "the training does not read train_generator; pass it to TrainTask as labeled_data"
EVAL_DATA = "the evaluation does not read val_generator; pass it to EvalTask as labeled_data"
FOLDER = "the Loop does not write to output_dir; pass it to the Loop"


def _observe_loop(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    questions = [[2, 3], [4, 5, 6], [7], [8, 9]]
    train, validate = (
        course.data_generator(questions, questions[::-1], 2, shuffle=False) for _ in range(2)
    )
    before, states = os.getcwd(), (random.getstate(), np.random.get_state())  # a Loop seeds both
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)  # without output_dir, a function would write to the reader's own folder
        try:
            loop = function(
                lambda *args, **kwargs: course.Siamese(10, 3),
                course.TripletLoss,
                train,
                validate,
                "here/",
            )
        finally:
            os.chdir(before)
            random.setstate(states[0])
            np.random.set_state(states[1])
    if type(loop).__name__ != "Loop":
        return None if loop is None else {"returns": type(loop).__name__}
    task, evaluations = loop.tasks[0], loop.eval_tasks
    return {
        "returns": "Loop",
        "steps run": int(loop.step),
        "optimizer": type(task.optimizer).__name__,
        "settings": {name: array(value) for name, value in task.optimizer.opt_params.items()},
        "learning rates at steps 1, 400, 1600": array(
            [1e3 * task.learning_rate(step) for step in (1, 400, 1600)]
        ),
        "loss": task.loss_layer.name,
        "reads train_generator": task.labeled_data is train,
        "evaluation tasks": len(evaluations),
        "metrics": [name for each in evaluations for name in each.metric_names],
        "reads val_generator": all(each.labeled_data is validate for each in evaluations),
        "writes to output_dir": os.path.normpath(str(loop.output_dir)) == "here",
    }


def _loop_signs() -> tuple[tuple[str, Callable[[Any, Any], bool]], ...]:
    def differs(key: str) -> Callable[[Any, Any], bool]:
        return lambda seen, expected: any(
            isinstance(answer, dict) and not same(expected[case][key], answer.get(key))
            for case, answer in seen.items()
        )

    return tuple(
        (sentence, differs(key))
        for sentence, key in (
            (NO_LOOP, "returns"),
            (RAN, "steps run"),
            (OPTIMIZER, "optimizer"),
            (SETTINGS, "settings"),
            (SCHEDULE, "learning rates at steps 1, 400, 1600"),
            (LOSS, "loss"),
            (TRAIN_DATA, "reads train_generator"),
            (NO_EVALUATION, "evaluation tasks"),
            (METRIC, "metrics"),
            (EVAL_DATA, "reads val_generator"),
            (FOLDER, "writes to output_dir"),
        )
    )


# --- the steps


def _steps() -> dict[str, Step]:
    right = parts.of_vectors(parts.loss(parts.hardest, np.mean), _dot)
    mistakes = tuple(_loss_mistakes())
    return {
        "Siamese": Step(
            {
                "the default sizes": {},
                "vocab_size 11, d_model 3": {"vocab_size": 11, "d_model": 3},
                "vocab_size 7, d_model 5, mode eval": {
                    "vocab_size": 7,
                    "d_model": 5,
                    "mode": "eval",
                },
            },
            (course.Siamese,),
            (),
            _observe_model,
            _siamese_signs(),
            (("its vectors, traced by JAX", _model_probe),),
        ),
        "TripletLossFn": Step(
            _loss_cases(),
            (right,),
            mistakes,
            seen_as(scalar),
            probes=(_gradient_probe(lambda function: function),),
        ),
        "TripletLoss": Step(
            _loss_cases(),
            (_layer(right),),
            tuple((sentence, _layer(wrong)) for sentence, wrong in mistakes),
            _observe_layer,
            ((PRINTS_AS, lambda seen, expected: _other(seen, "printed", "TripletLoss_in2")),),
            (_gradient_probe(lambda function: lambda v1, v2: function()((v1, v2))),),
        ),
        "train_model": Step(
            {"a loop on a small model": {}}, (course.train_model,), (), _observe_loop, _loop_signs()
        ),
    }


MODEL_STEPS = _steps()
