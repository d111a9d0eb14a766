"""What `checks` knows about the assignment's model and its training.

Models and training loops take long to build, so they are not built with mistakes but inspected:
printed form, shapes, optimizer, metrics. Each line of the tables of signs is one mistake.
"""

from __future__ import annotations

import inspect
import os
import random
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from trax_triplet import course
from trax_triplet.checks import parts
from trax_triplet.checks.losses import NUMPY, why_untraceable
from trax_triplet.checks.step import (
    Base,
    Step,
    array,
    itself,
    leaves,
    same,
    takes,
    text,
)
from trax_triplet.compat import fastmath, lr_schedules, shapes
from trax_triplet.model.weights import get_weights, set_weights

__all__ = ["MODEL_STEPS"]


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
    # The default may be the length of the student's own vocabulary.
    default = "" if "vocab_size" in arguments else f"Embedding_{_default_size(function)}_"
    seen = {
        "layer": type(model).__name__,
        "towers": [
            [str(layer).replace(default or "\n", "Embedding_41699_") for layer in tower]
            for tower in towers
        ],
        "types": [[type(layer).__name__ for layer in tower] for tower in towers],
    }
    # The other models are not run: that takes time.
    if "vocab_size" in arguments and "mode" not in arguments:
        try:
            seen.update(_vectors_of(model))
        except Exception as error:  # the structure says more than a layer's exception; both count
            seen["vectors"] = error
    return seen


def _default_size(function: Callable[..., Any]) -> Any:
    try:
        return inspect.signature(function).parameters["vocab_size"].default
    except (KeyError, TypeError, ValueError):  # it has none, or Python cannot tell
        return None


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
                isinstance(leaf, Exception) and why_untraceable(leaf) == NUMPY
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
        return why_untraceable(error) or f"inside jax.jit the model raises {text(error)}"
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
TAKES_MODEL = (
    "the arguments are used as a model or a layer, but they are functions; call them, Siamese() "
    "and TripletLoss()"
)
FOLDER = "the Loop does not write to output_dir; pass it to the Loop"


def _observe_loop(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    questions = [[2, 3], [4, 5, 6], [7], [8, 9]]
    train, validate = (
        course.data_generator(questions, questions[::-1], 2, shuffle=False) for _ in range(2)
    )
    # The first edition's function takes a schedule, too.
    schedule = [lr_schedules.warmup_and_rsqrt_decay(400, 0.01)] * takes(function, "lr_schedule")

    def loop_of(*of: Any) -> Any:
        return function(*of, *schedule, train, validate, "here/")

    before, states = os.getcwd(), (random.getstate(), np.random.get_state())  # a Loop seeds both
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # without output_dir, a function would write to the reader's own folder
        try:
            loop = loop_of(lambda *args, **kwargs: course.Siamese(10, 3), course.TripletLoss)
        except Exception:
            if not _is_loop(_try(loop_of, course.Siamese(10, 3), course.TripletLoss())) and not (
                _is_loop(_try(loop_of, course.Siamese(10, 3), course.TripletLoss))
            ):
                raise
            return {"takes": "a model", "returns": "Loop"}
        finally:
            os.chdir(before)
            random.setstate(states[0])
            np.random.set_state(states[1])
    if type(loop).__name__ != "Loop":
        return None if loop is None else {"takes": "functions", "returns": type(loop).__name__}
    task, evaluations = loop.tasks[0], loop.eval_tasks
    return {
        "takes": "functions",
        "third argument": "lr_schedule" if schedule else "train_generator",
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


def _try(loop_of: Callable[..., Any], *of: Any) -> Any:
    try:
        return loop_of(*of)
    except Exception:  # the first exception is the one that is reported
        return None


def _is_loop(x: Any) -> bool:
    return type(x).__name__ == "Loop"


# (sentence, what differs, what must not differ for the sentence to say anything new).
_LOOP_TABLE = (
    (TAKES_MODEL, "takes", ""),
    (NO_LOOP, "returns", ""),
    (RAN, "steps run", ""),
    (OPTIMIZER, "optimizer", ""),
    (SETTINGS, "settings", "optimizer"),
    (SCHEDULE, "learning rates at steps 1, 400, 1600", ""),
    (LOSS, "loss", ""),
    (TRAIN_DATA, "reads train_generator", ""),
    (NO_EVALUATION, "evaluation tasks", ""),
    (METRIC, "metrics", "evaluation tasks"),
    (EVAL_DATA, "reads val_generator", "evaluation tasks"),
    (FOLDER, "writes to output_dir", ""),
)


def _loop_signs() -> tuple[tuple[str, Callable[[Any, Any], bool]], ...]:
    def differs(key: str, seen: Any, expected: Any) -> bool:
        return any(
            isinstance(answer, dict)
            and key in answer
            and not same(expected[case][key], answer[key])
            for case, answer in seen.items()
        )

    def sign(key: str, first: str) -> Callable[[Any, Any], bool]:
        return lambda seen, expected: (
            differs(key, seen, expected) and not differs(first, seen, expected)
        )

    return tuple((sentence, sign(key, first)) for sentence, key, first in _LOOP_TABLE)


# --- the steps


def _steps() -> dict[str, Step]:
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
            itself(course.Siamese),
            (),
            _observe_model,
            signs=_siamese_signs(),
            probes=(("its vectors, traced by JAX", _model_probe),),
        ),
        "train_model": Step(
            {"a loop on a small model": {}},
            itself(course.train_model),
            (),
            _observe_loop,
            (
                Base(editions=("2021", "2023")),
                Base({"function": course.edition_2020.train_model}, ("2020",)),
            ),
            signs=_loop_signs(),
            every_sign=True,
        ),
    }


MODEL_STEPS = _steps()
