"""A trained model as an ONNX file: word ids to unit vectors, wherever an ONNX runtime is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import __version__
from trax_triplet import _files as files
from trax_triplet import _validation as check
from trax_triplet.data.padding import LENGTH_MULTIPLE, LONGEST_MULTIPLE
from trax_triplet.data.vocabulary import PAD_ID
from trax_triplet.model.spelling import warn_of_shared_embeddings
from trax_triplet.model.walk import CENTRE, PROJECTION

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["export_onnx"]

OPSET, IR_VERSION = 17, 8
MAX_BYTES = 2**31 - 2**28  # a file is one protobuf message, and holds the vocabulary, too
ZERO_ENTRY = 1e-30  # as in `loss.similarity`


def export_onnx(trained: TrainedModel, path: str | os.PathLike[str]) -> None:
    """Writes a model as an ONNX file (opset 17), completely or not at all.

    Its input `ids`, int64 (n, length), are word ids as `Vocabulary.encode` gives them, padded with
    1; n and length may be anything, and padding never counts, wherever it stands. (A course's model
    pads each question to a length of its own, as `TrainedModel.embed` does.) Its output `vectors`,
    float32 (n, d_model), has rows of length 1, or 0 where there are no words: dot products are
    similarities. Text becomes ids outside: no operator of ONNX cuts it as the vocabulary does.
    Words that the vocabulary lacks share the embeddings of its buckets there, also where the model
    itself reads their spelling; a warning says so.
    The file's metadata hold `threshold`, `settings` and `vocabulary`, as JSON.

    Args:
        trained: the model.
        path: the file to write.

    Raises:
        TypeError: something other than a `TrainedModel`, or not a path.
        FileNotFoundError: the folder to write into does not exist.
        ModuleNotFoundError: onnx is not installed; it comes with `trax-triplet[onnx]`.
        OSError: what the system reports.
        ValueError: the weights are larger than 2 GB, more than such a file can hold.
    """
    from trax_triplet.inference.trained_model import TrainedModel

    check.instance("trained", trained, TrainedModel, "trax_triplet.TrainedModel")
    path = check.path("path", path)
    size = sum(array.nbytes for array in trained.weights.values())
    if size > MAX_BYTES:
        raise check.wrong_value("trained", f"of at most {MAX_BYTES:,} bytes of weights", size)
    import onnx

    warn_of_shared_embeddings(trained.weights, "ONNX")
    model = _model(trained)
    onnx.checker.check_model(model)
    with files.new_file(path, "wb") as file:
        file.write(model.SerializeToString())


class _Graph:
    """Nodes and constants, as they come."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.int64, name: str | None = None) -> str:
        from onnx import numpy_helper

        name = name or f"constant{len(self.constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype))
        self.constants.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def __call__(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        from onnx import helper

        names = [f"{operator}{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names


def _model(trained: TrainedModel) -> Any:
    from onnx import TensorProto, helper

    graph = _Graph()
    ids, lengths = _words_first(graph, "ids")
    if trained.pooling == "course":
        ids, lengths = _own_padding(graph, ids, lengths)
    states, last = _lstm(graph, trained.weights, ids, lengths)
    if trained.pooling == "last":
        pooled = graph("Squeeze", last, graph.constant([0]))
        has_words = graph("Greater", lengths, graph.constant(0))
        column = graph("Unsqueeze", has_words, graph.constant([1]))
        pooled = graph("Where", column, pooled, graph.constant(0, np.float32))
    else:
        pooled = _mean(graph, states, lengths)
    if PROJECTION in trained.weights:
        matrix = graph.constant(trained.weights[PROJECTION], np.float32, PROJECTION)
        pooled = graph("MatMul", pooled, matrix)
    vectors = _unit_rows(graph, pooled)
    if CENTRE in trained.weights:
        vectors = _centred(graph, vectors, trained.weights[CENTRE])
    one_too_many = [vectors, graph.constant([0]), graph.constant([-1])]
    graph.nodes.append(helper.make_node("Slice", one_too_many, ["vectors"]))
    d_model = trained.weights["embedding"].shape[1]
    shapes = {
        "ids": (TensorProto.INT64, ["n", "length"]),
        "vectors": (TensorProto.FLOAT, ["n", d_model]),
    }
    values = {name: helper.make_tensor_value_info(name, *shapes[name]) for name in shapes}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "siamese", [values["ids"]], [values["vectors"]], graph.constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="trax-triplet",
        producer_version=__version__,
    )
    vocabulary = trained.vocabulary
    helper.set_model_props(
        model,
        {
            "threshold": json.dumps(trained.threshold),
            "settings": json.dumps(trained.settings),
            "vocabulary": json.dumps(
                {
                    "words": vocabulary.words,
                    "tokenizer": vocabulary.tokenizer,
                    "buckets": vocabulary.buckets,
                }
            ),
        },
    )
    return model


def _words_first(graph: _Graph, ids: str) -> tuple[str, str]:
    """The ids with padding moved after the words, and how many words each row has.

    There is a row and a column of padding more: onnxruntime crashes where there is nothing at all.
    """
    ids = graph("Pad", ids, graph.constant([0, 0, 1, 1]), graph.constant(PAD_ID))
    is_word = graph("Not", graph("Equal", ids, graph.constant(PAD_ID)))
    counted = graph("Cast", is_word, to=7)
    lengths = graph("ReduceSum", counted, graph.constant([1]), keepdims=0)
    width = graph("Shape", ids, start=1)
    place = graph("Range", graph.constant(0), graph("Squeeze", width), graph.constant(1))
    # Of words the earlier is larger, and all are larger than what padding has.
    rank = graph("Where", is_word, graph("Sub", width, place), graph("Neg", place))
    _, order = graph("TopK", rank, width, outputs=2, axis=1)
    return graph("GatherElements", ids, order, axis=1), lengths


def _own_padding(graph: _Graph, ids: str, lengths: str) -> tuple[str, str]:
    """Each question as long as `data.padding.course_length` says; padding follows the words."""
    multiple, longest = graph.constant(LENGTH_MULTIPLE), graph.constant(LONGEST_MULTIPLE)
    up = graph("Div", graph("Add", lengths, graph.constant(LENGTH_MULTIPLE - 1)), multiple)
    short = graph("Mul", graph("Max", up, graph.constant(1)), multiple)
    powers = graph.constant([[LONGEST_MULTIPLE << n for n in range(1, 24)]])
    column = graph("Unsqueeze", lengths, graph.constant([1]))
    enough = graph("GreaterOrEqual", powers, column)
    large = graph("Where", enough, powers, graph.constant(2**40))
    power = graph("ReduceMin", large, axes=[1], keepdims=0)
    own = graph("Where", graph("LessOrEqual", lengths, longest), short, power)
    width = graph("ReduceMax", own, axes=[0], keepdims=1)
    have = graph("Shape", ids, start=1)
    more = graph("Max", graph("Sub", width, have), graph.constant([0]))
    pads = graph("Concat", graph.constant([0, 0, 0]), more, axis=0)
    return graph("Pad", ids, pads, graph.constant(PAD_ID)), own


def _lstm(graph: _Graph, weights: dict[str, np.ndarray], ids: str, lengths: str) -> list[str]:
    """All states, (length, 1, n, d), and the last ones, (1, n, d)."""
    d = weights["embedding"].shape[1]

    def gates(array: np.ndarray) -> np.ndarray:  # i, g, f, o; ONNX has i, o, f, g
        i, g, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    into, onward = np.split(gates(weights["lstm/kernel"]), [d])
    bias = np.concatenate([gates(weights["lstm/bias"]), np.zeros(4 * d, np.float32)])
    table = graph.constant(weights["embedding"], np.float32, "embedding")
    words = graph("Gather", table, graph("Transpose", ids, perm=[1, 0]))
    at_least_one = graph("Max", lengths, graph.constant(1))
    return graph(
        "LSTM",
        words,
        graph.constant(into.T[None], np.float32, "lstm_kernel"),
        graph.constant(onward.T[None], np.float32, "lstm_recurrent_kernel"),
        graph.constant(bias[None], np.float32, "lstm_bias"),
        graph("Cast", at_least_one, to=6),
        outputs=2,
        hidden_size=d,
    )


def _mean(graph: _Graph, states: str, lengths: str) -> str:
    """The mean of each question's first states, 0 where there are none."""
    step = graph(
        "Range",
        graph.constant(0),
        graph("Squeeze", graph("Shape", states, end=1)),
        graph.constant(1),
    )
    counts = graph("Less", graph("Unsqueeze", step, graph.constant([1])), lengths)  # (length, n)
    counts = graph("Unsqueeze", counts, graph.constant([2]))
    states = graph("Squeeze", states, graph.constant([1]))
    states = graph("Where", counts, states, graph.constant(0, np.float32))
    total = graph("ReduceSum", states, graph.constant([0]), keepdims=0)
    at_least_one = graph("Cast", graph("Max", lengths, graph.constant(1)), to=1)
    return graph("Div", total, graph("Unsqueeze", at_least_one, graph.constant([1])))


def _centred(graph: _Graph, vectors: str, centre: np.ndarray) -> str:
    """As `model.walk.centred`."""
    zero = graph.constant(0, np.float32)
    is_zero = graph("Equal", graph("ReduceMax", graph("Abs", vectors), axes=[1], keepdims=1), zero)
    away = _unit_rows(graph, graph("Sub", vectors, graph.constant(centre, np.float32, CENTRE)))
    return graph("Where", is_zero, vectors, away)


def _unit_rows(graph: _Graph, rows: str) -> str:
    """As `loss.similarity.unit_vectors`."""
    zero, one = graph.constant(0, np.float32), graph.constant(1, np.float32)
    largest = graph("ReduceMax", graph("Abs", rows), axes=[1], keepdims=1)
    is_zero = graph("Less", largest, graph.constant(ZERO_ENTRY, np.float32))
    scaled = graph("Div", rows, graph("Where", is_zero, one, largest))
    length = graph("ReduceL2", scaled, axes=[1], keepdims=1)
    unit = graph("Div", scaled, graph("Where", is_zero, one, length))
    return graph("Where", is_zero, zero, unit)
