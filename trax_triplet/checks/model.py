"""What `checks` knows about the losses of the assignment, its model and its training.

The losses are compared in NumPy, with the parts of `checks_lecture`, and their gradients with the
package's. Models and training loops are not built wrong once more but read: printed form, shapes,
optimizer, metrics.
"""

import contextlib
import io
import os
import random
import tempfile

import jax
import numpy as np

from trax_triplet import course
from trax_triplet.checks import lecture
from trax_triplet.checks.step import Step, array, leaves, same, scalar, seen_as, text
from trax_triplet.compat import fastmath, jnp, shapes, tl
from trax_triplet.model.siamese import get_weights, set_weights

# --- TripletLossFn and TripletLoss
# ---------------------------------------------------------------------------

NUMPY = "NumPy is used inside, so the gradient cannot be taken; write it with trax.fastmath.numpy throughout"
PYTHON_NUMBER = (
    "a value is turned into a Python number or asked by an if, so the gradient cannot be taken; leave "
    "out float(), .item() and if"
)
GRADIENT = "the loss is right but its gradient is not; let no rounding and no stop_gradient into it"
NORMALISED = "the vectors are normalised again; the assignment's loss takes them as they are, the model does it"
PRINTS_AS = "the layer does not print as TripletLoss_in2; make it with tl.Fn('TripletLoss', function of v1 and v2)"


def _dot(v1, v2):
    return v1 @ v2.T


def _vectors():
    """Names -> v1 and v2: the course's two examples, the second of which is not of unit length, and
    random ones."""
    v1 = np.array([[0.26726124, 0.53452248, 0.80178373], [-0.5178918, -0.57543534, -0.63297887]])
    rows = np.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.10, 0.11, 0.2], [0.5, 0.6, 0.7, 0.8]])
    square, wide = lecture.random_matrix(4, 4, 1), lecture.random_matrix(5, 8, 3)
    return {
        "the course's 2 rows of 3": (v1, v1 * [[1], [-1]]),
        "the course's 3 rows of 4": (rows, rows * [[1], [-1], [1]]),
        "4 rows of 4": tuple(map(lecture.unit, (square, square + lecture.random_matrix(4, 4, 2)))),
        "5 rows of 8": tuple(map(lecture.unit, (wide, lecture.random_matrix(5, 8, 4)))),
    }


def _loss_cases():
    pairs = {name: dict(zip(("v1", "v2"), pair)) for name, pair in _vectors().items()}
    with_margin = {
        f"{name}, margin {margin}": {**pairs[name], "margin": margin}
        for name, margin in zip((*[*pairs][1:], "4 rows of 4"), (0.8, 0.8, 0.25, 1.5))
    }
    opposite = np.array([[1.0, 0], [-1, 0]])
    return {
        **pairs,
        **with_margin,
        "two opposite pairs, margin 1.5": {"v1": opposite, "v2": opposite, "margin": 1.5},
    }


def _loss_mistakes():
    parts = lecture.hardest, lecture.CLOSEST_HARDEST
    of_scores = (
        *lecture.loss_mistakes(*parts, np.mean, lecture.TRANSPOSED),
        (lecture.NOT_MEAN, lecture.loss(lecture.hardest, np.sum)),
        (
            "this is one loss an anchor; return their mean",
            lecture.loss(lecture.hardest, np.asarray),
        ),
    )
    for sentence, wrong in of_scores:
        if (
            sentence != lecture.LARGER
        ):  # the hardest negative's hinge is always the larger one: it has a sentence
            yield sentence, lecture.of_vectors(wrong, _dot)
    right = lecture.loss(lecture.hardest, np.mean)
    yield lecture.NOT_TRANSPOSED, lecture.of_vectors(right, lambda v1, v2: v1 @ v2)
    yield NORMALISED, lecture.of_vectors(right)


def _gradient_probe(loss_of):
    """Asks whether jax.grad of the loss works and agrees; `loss_of` makes it of the student's
    function."""

    def probe(function):
        vectors = tuple(jnp.asarray(v, "float32") for v in _vectors()["5 rows of 8"])
        try:
            got = jax.jit(jax.grad(loss_of(function), argnums=(0, 1)))(
                *vectors
            )  # compiled, as a Loop does it
        except Exception as error:  # whatever the student's function raises is the finding
            return _why_untraceable(error) or f"jax.grad of the loss raises {text(error)}"
        expected = jax.grad(course.TripletLossFn, argnums=(0, 1))(*vectors)
        return None if all(same(array(a), array(b)) for a, b in zip(expected, got)) else GRADIENT

    return "its gradient, by jax.grad", probe


def _why_untraceable(error):
    """The sentence for what JAX raises where traced values meet NumPy or Python; a layer puts it
    into its own error."""
    story = f"{type(error).__name__}: {error}"
    if "TracerArrayConversionError" in story:
        return NUMPY
    return (
        PYTHON_NUMBER
        if "ConcretizationTypeError" in story or "TracerBoolConversionError" in story
        else None
    )


def _observe_layer(function, arguments):
    layer = function(**{"margin": arguments["margin"]} if "margin" in arguments else {})
    return {"printed": str(layer), "loss": scalar(layer((arguments["v1"], arguments["v2"])))}


def _layer(loss):
    return lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: loss(v1, v2, margin))


def _other(seen, key, *values):
    """Whether some case shows another value there than these; cases that raised show none."""
    return any(
        isinstance(answer, dict) and answer.get(key) not in values for answer in seen.values()
    )


# --- Siamese
# ---------------------------------------------------------------------------------------------------

LAYERS = "Embedding, LSTM, Mean, Normalize"
LACKS = "the towers lack the layer {0}; each is " + LAYERS
ORDER = f"the layers of the towers stand in the wrong order; it is {LAYERS}"
SIZES = "embedding or LSTM do not have the sizes asked for; pass vocab_size and d_model on to them"
NO_PARALLEL = "the two towers do not stand side by side; put them into a tl.Parallel"
NOT_SHARED = "the towers do not share their weights; give tl.Parallel one and the same tower twice"
MEAN_AXIS = "the mean is not taken over the words of a question; use tl.Mean(axis=1)"
NOT_NORMALISED = (
    "the layer Normalize does not give vectors of length 1; divide by the length, the root of the sum of "
    "squares"
)
OTHER_VECTORS = (
    "the vectors are not those of the course's model with the same weights; look at what the functions in "
    "its layers compute"
)


def _observe_model(function, arguments):
    model = function(**arguments)
    towers = [tower.sublayers for tower in model.sublayers]
    seen = {
        "layer": type(model).__name__,
        "towers": [[str(layer) for layer in tower] for tower in towers],
        "types": [[type(layer).__name__ for layer in tower] for tower in towers],
    }
    if (
        "vocab_size" in arguments and "mode" not in arguments
    ):  # the others are only read: numbers take time
        try:
            seen.update(_vectors_of(model))
        except (
            Exception
        ) as error:  # the structure tells more than the exception of a layer; both are looked at
            seen["vectors"] = error
    return seen


def _vectors_of(model):
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


def _kinds(seen):
    """The layers of the first towers seen, without sizes."""
    answers = [answer for answer in seen.values() if isinstance(answer, dict)]
    return (
        [name.split("_")[0] for name in answers[0]["towers"][0]]
        if answers and answers[0]["towers"]
        else []
    )


def _siamese_signs():
    def lacks(layer):
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
            lecture.WHOLE_BATCH,
            lambda seen, expected: _other(seen, "length 1 has", None, "rows", "columns", "nothing"),
        ),
        (
            lecture.DOWN,
            lambda seen, expected: _other(
                seen, "length 1 has", None, "rows", "the batch", "nothing"
            ),
        ),
        (NOT_NORMALISED, lambda seen, expected: _other(seen, "length 1 has", None, "rows")),
        (NOT_SHARED, lambda seen, expected: _other(seen, "towers agree", None, True)),
    )


def _model_probe(function):
    """Asks whether the model computes what the course's does with the same weights, also while it
    is traced."""
    ids = (np.array([[2, 3, 4, 5], [6, 6, 3, 1]], np.int32), np.array([[5, 1], [2, 3]], np.int32))
    model = function(vocab_size=11, d_model=3)
    model.rng = fastmath.random.get_prng(1)
    model.init(tuple(map(shapes.signature, ids)))
    try:
        got = jax.jit(model.pure_fn)(ids, model.weights, model.state, model.rng)[0]
    except Exception as error:  # whatever the student's layers raise is the finding
        return _why_untraceable(error) or f"inside jax.jit the model raises {text(error)}"
    expected = set_weights(course.Siamese(11, 3), get_weights(model))(ids)
    if not all(same(array(a), array(b)) for a, b in zip(expected, got)):
        return OTHER_VECTORS
    return None


# --- train_model
# -------------------------------------------------------------------------------------------------

NO_LOOP = "the function does not return a Loop; return training.Loop(...)"
RAN = "the loop has already run; return it as it is, the caller runs it"
OPTIMIZER = "the optimizer is another one; take Adam(0.01)"
SETTINGS = (
    "Adam has other settings than the assignment's; take Adam(0.01) and leave the rest as it is"
)
SCHEDULE = "the learning rate does not follow warmup_and_rsqrt_decay(400, 0.01); give it to TrainTask as lr_schedule"
LOSS = "the loss layer of the training is not TripletLoss; call the argument, TripletLoss()"
METRIC = "the evaluation does not have the loss as its one metric; use metrics=[TripletLoss()]"
NO_EVALUATION = "there is not one evaluation task; give the Loop one, on val_generator"
TRAIN_DATA = "the training does not read train_generator; give it to TrainTask as labeled_data"
EVAL_DATA = "the evaluation does not read val_generator; give it to EvalTask as labeled_data"
FOLDER = "output_dir is not where the Loop writes; pass it on"


def _observe_loop(function, arguments):
    questions = [[2, 3], [4, 5, 6], [7], [8, 9]]
    train, validate = (
        course.data_generator(questions, questions[::-1], 2, shuffle=False) for _ in range(2)
    )
    before, states = os.getcwd(), (random.getstate(), np.random.get_state())  # a Loop seeds both
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(
            folder
        )  # a function that leaves output_dir out would write to the folder the reader works in
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


def _loop_signs():
    def differs(key):
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
# -----------------------------------------------------------------------------------------------------


def _steps():
    right = lecture.of_vectors(lecture.loss(lecture.hardest, np.mean), _dot)
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
