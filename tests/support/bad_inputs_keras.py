"""The rows of `test_bad_input.py` for the Keras edition."""

import numpy as np
import tensorflow as tf
from bad_inputs import NAN, row

from trax_triplet.keras.layers import keras, tower, two_towers

VECTORIZER = keras.layers.TextVectorization(vocabulary=["how", "old"])  # 4 ids
MODEL = two_towers(tower(VECTORIZER, 4, 4))
BATCHES = tf.data.Dataset.from_tensor_slices(((["how"], ["old"]), [1])).batch(1)
OUT, SIDE = np.ones((3, 4), "float32"), np.ones((3, 2), "float32")


def siamese(vectorizer, vocab_size, d_feature):
    return MODEL


row(
    "keras.assignment.Siamese",
    TypeError,
    "text_vectorizer must be a keras.layers.TextVectorization.*it is None",
    None,
)
row(
    "keras.assignment.Siamese",
    ValueError,
    "has 4 ids, more than vocab_size, 3.*vocabulary_size",
    VECTORIZER,
    3,
)
row("keras.assignment.Siamese", ValueError, "d_feature must be at least 1, got 0", VECTORIZER, 4, 0)
row(
    "keras.assignment.Siamese",
    TypeError,
    "vocab_size must be a whole number, got '4'",
    VECTORIZER,
    "4",
)
row(
    "keras.assignment.TripletLossFn",
    ValueError,
    r"one shape \(batch, d\).*\(3, 2\) and v2 is \(3, 4\)",
    SIDE,
    OUT,
)
row("keras.assignment.TripletLossFn", TypeError, "v1 has dtype int32", SIDE.astype("int32"), SIDE)
row("keras.assignment.TripletLossFn", ValueError, "margin must be finite.*nan", SIDE, SIDE, NAN)
row(
    "keras.assignment.TripletLoss",
    ValueError,
    r"side by side, \(batch, 2 d\).*\(3, 3\)",
    None,
    OUT[:, :3],
)
row("keras.assignment.TripletLoss", ValueError, r"\(batch, 2 d\).*\(4,\)", None, OUT[0])
row(
    "keras.assignment.TripletLoss",
    ValueError,
    "margin must be finite and at least 0.*-1",
    None,
    OUT,
    -1,
)
for arguments, error, phrase in (
    (
        (None, print, VECTORIZER, BATCHES, BATCHES),
        TypeError,
        "Siamese must be a function, but it is None",
    ),
    (
        (siamese, "loss", VECTORIZER, BATCHES, BATCHES),
        TypeError,
        "TripletLoss must be a function.*'loss'",
    ),
    (
        (siamese, print, ["how"], BATCHES, BATCHES),
        TypeError,
        r"text_vectorizer must be .*\['how'\]",
    ),
    (
        (siamese, print, VECTORIZER, [], BATCHES),
        TypeError,
        r"train_dataset must be a tf.data.Dataset.*it is \[\]",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, None),
        TypeError,
        "val_dataset must be a tf.data.Dataset.*None",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, "fast"),
        TypeError,
        "lr must be a number.*'fast'",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, 0.0),
        ValueError,
        "lr must be positive and finite.*0.0",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, NAN),
        ValueError,
        "lr must be positive and finite.*nan",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, 0.1, -1),
        ValueError,
        "train_steps must be at least 0",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, 0.1, 5, 1.5),
        TypeError,
        "epochs must be a whole number",
    ),
    (
        (siamese, print, VECTORIZER, BATCHES, BATCHES, 4, 0.1, 3, 2),
        ValueError,
        "two names of one number",
    ),
):
    row("keras.assignment.train_model", error, phrase, *arguments)
for arguments, error, phrase in (
    ((["a"], ["b", "c"], [1], 0.7, MODEL), ValueError, "as many questions.*1, 2 and 1"),
    (([], [], [], 0.7, MODEL), ValueError, "at least one; got 0, 0 and 0"),
    ((["a"], ["b"], [2], 0.7, MODEL), ValueError, "0 and 1 only"),
    ((["a"], ["b"], [[1]], 0.7, MODEL), ValueError, r"n labels.*its shape is \(1, 1\)"),
    ((["a"], ["b"], [1], "high", MODEL), TypeError, "threshold must be a number.*'high'"),
    ((["a"], ["b"], [1], NAN, MODEL), ValueError, "threshold must be a number.*nan"),
    ((["a"], ["b"], [1], 0.7, None), TypeError, "model must be a Keras model.*None"),
    ((["a"], ["b"], [1], 0.7, MODEL, 0), ValueError, "batch_size must be at least 1, got 0"),
):
    row("keras.assignment.classify", error, phrase, *arguments)
row(
    "keras.assignment.predict",
    TypeError,
    "question1 must be a str, but it is None",
    None,
    "b",
    0.7,
    MODEL,
)
row(
    "keras.assignment.predict",
    TypeError,
    r"question2 must be a str, but it is \['b'\]",
    "a",
    ["b"],
    0.7,
    MODEL,
)
row(
    "keras.assignment.predict", TypeError, "threshold must be a number.*None", "a", "b", None, MODEL
)
row("keras.assignment.predict", TypeError, "model must be a Keras model", "a", "b", 0.7, print)
