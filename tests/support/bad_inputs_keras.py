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


def rows(name, *cases):
    for error, phrase, *arguments in cases:
        row(f"keras.assignment.{name}", error, phrase, *arguments)


rows(
    "Siamese",
    (TypeError, "text_vectorizer must be a keras.layers.TextVectorization", None),
    (ValueError, "vocab_size must be at least the 4 ids", VECTORIZER, 3),
    (ValueError, "d_feature", VECTORIZER, 4, 0),
    (TypeError, "vocab_size", VECTORIZER, "4"),
)
rows(
    "TripletLossFn",
    (ValueError, "v2", SIDE, OUT),
    (TypeError, "v1", SIDE.astype("int32"), SIDE),
    (ValueError, "margin", SIDE, SIDE, NAN),
)
rows(
    "TripletLoss",
    (ValueError, "out", None, OUT[:, :3]),
    (ValueError, "out", None, OUT[0]),
    (ValueError, "margin", None, OUT, -1),
)
GIVEN = (siamese, print, VECTORIZER, BATCHES, BATCHES)
rows(
    "train_model",
    (TypeError, "Siamese", None, *GIVEN[1:]),
    (TypeError, "TripletLoss", siamese, "loss", *GIVEN[2:]),
    (TypeError, "text_vectorizer", siamese, print, ["how"], BATCHES, BATCHES),
    (TypeError, "train_dataset", siamese, print, VECTORIZER, [], BATCHES),
    (TypeError, "val_dataset", *GIVEN[:4], None),
    (TypeError, "lr", *GIVEN, 4, "fast"),
    (ValueError, "lr", *GIVEN, 4, 0.0),
    (ValueError, "lr", *GIVEN, 4, NAN),
    (ValueError, "train_steps", *GIVEN, 4, 0.1, -1),
    (TypeError, "epochs", *GIVEN, 4, 0.1, 5, 1.5),
    (ValueError, "train_steps=3 and epochs=2", *GIVEN, 4, 0.1, 3, 2),
)
rows(
    "classify",
    (
        ValueError,
        "test_Q1 and test_Q2 and .*1 and 2 and 1",
        ["a"],
        ["b", "c"],
        [1],
        0.7,
        MODEL,
    ),
    (ValueError, "test_Q1 and test_Q2 and y_test", [], [], [], 0.7, MODEL),
    (ValueError, "y_test", ["a"], ["b"], [2], 0.7, MODEL),
    (ValueError, "y_test", ["a"], ["b"], [[1]], 0.7, MODEL),
    (TypeError, "threshold", ["a"], ["b"], [1], "high", MODEL),
    (ValueError, "threshold", ["a"], ["b"], [1], NAN, MODEL),
    (TypeError, "model", ["a"], ["b"], [1], 0.7, None),
    (ValueError, "batch_size", ["a"], ["b"], [1], 0.7, MODEL, 0),
)
rows(
    "predict",
    (TypeError, "question1", None, "b", 0.7, MODEL),
    (TypeError, "question2", "a", ["b"], 0.7, MODEL),
    (TypeError, "threshold", "a", "b", None, MODEL),
    (TypeError, "model", "a", "b", 0.7, print),
)
