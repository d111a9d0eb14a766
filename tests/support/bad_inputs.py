"""The rows of `test_bad_input.py` for the loss, the model and what is saved; and what rows are made
of."""

import numpy as np
import pytest

from trax_triplet.data.pairs import Pairs
from trax_triplet.data.vocabulary import Vocabulary

NAN, INF = float("nan"), float("inf")
ONES, WIDE, CUBE = (
    np.ones((3, 2), "float32"),
    np.ones((3, 4), "float32"),
    np.ones((3, 2, 2), "float32"),
)
SQUARE, INTEGERS, HALF = np.eye(3, dtype="float32"), np.ones((3, 3), "int32"), np.full((3, 3), 0.5)
IDS = np.arange(3)
PAIRS = Pairs(["Why?", "Who?", "How old?"], ["How come?", "When?", "How old is he?"], [1, 0, 1])
UNLABELLED = Pairs(["Why?"], ["How come?"])
WORDS = Vocabulary(["how", "old"])
TEXTS = ["How old?"]


class Given(str):
    """The name of an argument that the fixture `given` makes: what takes a folder, or the time to
    load Trax."""


TRAINED, LAYER, UNINITIALISED = Given("trained"), Given("layer"), Given("uninitialised")
FOLDER, MODEL, TEXT, PICTURE, NEW = (
    Given(name) for name in ("folder", "model", "text", "picture", "new")
)


def csv_of(name):
    return Given(f"{name}.csv")


ROWS = []


def row(name, error, phrase, *arguments, **options):
    """One row of the table: a function, the class of its error, a phrase of its message, and what
    it is called with."""
    ROWS.append(pytest.param(name, error, phrase, arguments, options, id=f"{name}-{len(ROWS)}"))


# --- similarity, steps, negatives, loss
# -------------------------------------------------------------------

for f, rest in (
    ("similarity.l2_normalize", ()),
    ("loss.similarity.cosine_similarity", (ONES,)),
    ("loss.similarity.similarity_matrix", (ONES,)),
    ("loss.triplet.triplet_loss", (ONES,)),
    ("course.TripletLossFn", (ONES,)),
):
    row(f, TypeError, "must be an array or a list of numbers, but it is None", None, *rest)
    row(f, TypeError, "must be .*numbers.*but it is 'text'", "text", *rest)
    row(f, TypeError, "dtype int32.*floating point", ONES.astype("int32"), *rest)
    row(f, TypeError, "numbers.*rows of one length", [[1.0], [1.0, 2.0]], *rest)
row("similarity.l2_normalize", ValueError, "vectors .*single number", 1.0)
row("similarity.l2_normalize", TypeError, "dtype bool.*floating point", [True, False])
row("similarity.l2_normalize", ValueError, "at least one entry.*shape is \\(3, 0\\)", ONES[:, :0])
row(
    "loss.similarity.cosine_similarity",
    ValueError,
    r"one shape.*\(3, 2\).*\(3, 4\).*use similarity_matrix",
    ONES,
    WIDE,
)
row(
    "loss.similarity.similarity_matrix",
    ValueError,
    r"one width.*\(3, 2\) and v2 is \(3, 4\)",
    ONES,
    WIDE,
)
row("loss.similarity.similarity_matrix", ValueError, r"two batches.*\(2,\)", ONES[0], ONES)
row("loss.similarity.as_float", TypeError, "x must be .*numbers.*but it is b'1'", b"1", "x")
for f in ("positives", "mean_negative", "closest_negative", "hinges"):
    row(f"loss.steps.{f}", ValueError, r"square matrix \(batch, batch\).*\(3, 4\)", WIDE)
    row(f"loss.steps.{f}", TypeError, "scores has dtype int32", INTEGERS)
row("loss.steps.positives", ValueError, r"square matrix.*\(3, 2, 2\)", CUBE)
row(
    "loss.steps.positives",
    ValueError,
    r"square matrix.*at least one pair.*\(0, 0\)",
    SQUARE[:0, :0],
)
row("loss.steps.mean_negative", ValueError, "pair of arrays", SQUARE, groups=IDS)
row(
    "loss.steps.mean_negative",
    TypeError,
    "first array of groups has dtype float64; ids are integers",
    SQUARE,
    groups=([0.5] * 3, IDS),
)
row(
    "loss.steps.mean_negative",
    TypeError,
    "first array of groups has dtype bool",
    SQUARE,
    groups=([True] * 3, IDS),
)
row(
    "loss.steps.mean_negative",
    ValueError,
    r"second array of groups.*shape \(3,\).*\(2,\)",
    SQUARE,
    groups=(IDS, IDS[:2]),
)
row(
    "loss.steps.closest_negative",
    ValueError,
    "'semi-hard', 'shifted', 'hardest', but it is 'nearest'",
    SQUARE,
    closest="nearest",
)
row(
    "loss.steps.hinges", ValueError, "closest must be one of .*but it is None", SQUARE, closest=None
)
row("loss.steps.hinge", ValueError, r"one shape.*\(3,\).*\(2,\)", SQUARE[0], SQUARE[0, :2])
row("loss.steps.hinge", ValueError, r"one shape.*\(3,\).*\(3, 1\)", SQUARE[0], SQUARE[:, :1])
row("loss.steps.hinge", TypeError, "negative must be .*numbers.*None", SQUARE[0], None)
for f, arguments in (
    ("loss.steps.hinge", (SQUARE[0], SQUARE[0])),
    ("loss.steps.hinges", (SQUARE,)),
    ("loss.steps.check_margin", ()),
    ("loss.triplet.triplet_loss", (ONES, ONES)),
    ("loss.triplet.TripletLoss", ()),
    ("course.TripletLoss", ()),
):
    named = {"loss.steps.check_margin": lambda m: ((m,), {})}.get(
        f, lambda m, a=arguments: (a, {"margin": m})
    )
    for margin, error, phrase in (
        (-0.1, ValueError, "finite and at least 0.*-0.1"),
        (NAN, ValueError, "finite.*nan"),
        (INF, ValueError, "finite.*inf"),
        ("0.25", TypeError, "a number such as 0.25.*'0.25'"),
        (None, TypeError, "a number.*None"),
        (True, TypeError, "a number.*True"),
    ):
        positional, options = named(margin)
        row(f, error, f"margin must be {phrase}", *positional, **options)
row(
    "loss.steps.one_of",
    ValueError,
    "pet must be one of 'cat', 'dog', but it is 'cow'",
    "pet",
    "cow",
    ("cat", "dog"),
)
row("loss.steps.anchor_hinges", ValueError, "matrix", ONES[0], margin=0.25, closest="hardest")
row("loss.negatives.negative_mask", ValueError, r"scores must be a matrix.*\(3,\)", SQUARE[0])
row("loss.negatives.group_ids", ValueError, r"3 pairs.*\(4,\)", (np.arange(4), IDS), 3)
row("loss.negatives.group_ids", TypeError, "ids are integers", (["a"] * 3, IDS), 3)
for options, error, phrase in (
    ({"closest": "easy"}, ValueError, "closest must be one of 'semi-hard'"),
    ({"anchor": "third"}, ValueError, "'both', but it is 'third'"),
    ({"reduction": "max"}, ValueError, "'mean', 'sum', 'none', but it is 'max'"),
    ({"block": 2.5}, TypeError, "block must be .*2.5"),
    ({"block": True}, TypeError, "block must be .*True"),
    ({"block": -1}, ValueError, "positive.*-1"),
    ({"axis_name": 3}, TypeError, "axis_name must be the name.*3"),
):
    row("loss.triplet.triplet_loss", error, phrase, ONES, ONES, **options)
    row("loss.triplet.TripletLoss", error, phrase, **options)
row(
    "loss.triplet.triplet_loss",
    ValueError,
    r"one shape \(batch, d\).*v1 is \(3, 2\) and v2 is \(3, 4\)",
    ONES,
    WIDE,
)
row("loss.triplet.triplet_loss", ValueError, r"one shape \(batch, d\).*\(2,\)", ONES[0], ONES[0])
row("loss.triplet.triplet_loss", ValueError, r"at least one pair.*\(0, 2\)", ONES[:0], ONES[:0])
row("loss.triplet.triplet_loss", ValueError, "groups must be a pair", ONES, ONES, groups=IDS)
row(
    "loss.triplet.triplet_loss",
    ValueError,
    r"shape \(3,\).*\(2,\)",
    ONES,
    ONES,
    groups=(IDS[:2], IDS[:2]),
)
row(
    "_validation.check_threshold",
    TypeError,
    "threshold must be a number such as 0.7.*'high'",
    "high",
)
row("_validation.check_threshold", ValueError, "threshold must be a number such as 0.7.*nan", NAN)
row(
    "loss.triplet.check_rule", ValueError, "anchor must be one of", 0.25, "hardest", "third", "mean"
)
row("kernels.blockwise.blockwise_losses", ValueError, r"v1 must be \(m, d\).*\(3, 4\)", ONES, WIDE)
row(
    "kernels.blockwise.blockwise_losses",
    ValueError,
    "block must be a positive integer.*0",
    ONES,
    ONES,
    block=0,
)
row(
    "kernels.blockwise.blockwise_losses",
    ValueError,
    "as many rows of v1",
    ONES[:2],
    ONES,
    anchor="both",
)
row(
    "kernels.blockwise.blockwise_losses",
    ValueError,
    r"groups must be two arrays \(3,\)",
    ONES,
    ONES,
    (IDS[:2], IDS[:2]),
)

# --- model, encoder, storage
# ------------------------------------------------------------------------------

for f in ("model.siamese.Siamese", "course.Siamese"):
    for vocab_size in (1, 2.5, "9", True, None):
        row(
            f,
            ValueError,
            f"vocab_size must be a whole number of at least 2, but it is {vocab_size!r}",
            vocab_size,
        )
    row(f, ValueError, "d_model must be .*at least 1.*0", 9, 0)
    row(
        f,
        ValueError,
        "mode must be one of 'train', 'eval', 'predict', but it is 'test'",
        9,
        4,
        "test",
    )
for options, error, phrase in (
    (
        {"pooling": "max"},
        ValueError,
        "pooling must be one of 'course', 'mean', 'last', but it is 'max'",
    ),
    ({"pooling": "last", "word_dropout": 1.0}, ValueError, r"word_dropout .*\[0, 1\).*1.0"),
    ({"pooling": "last", "word_dropout": NAN}, ValueError, "word_dropout .*nan"),
    ({"pooling": "last", "word_dropout": "0.1"}, TypeError, "word_dropout .*'0.1'"),
    ({"word_dropout": 0.1}, ValueError, "course's model has no word dropout"),
    ({"pooling": "last", "buckets": 8}, ValueError, "buckets are among the 9 ids"),
    ({"lstm": "fast"}, ValueError, "lstm must be one of 'closed form', 'trax'"),
    ({"embedding_stddev": -1.0}, ValueError, "embedding_stddev .*-1.0"),
    ({"embedding_stddev": NAN}, ValueError, "embedding_stddev .*nan"),
    ({"embedding_stddev": "big"}, TypeError, "embedding_stddev .*'big'"),
):
    row("model.siamese.Siamese", error, phrase, 9, 4, **options)
row("model.siamese.SpreadLSTM", ValueError, "d_model must be .*at least 1.*0", 0)
row("model.siamese.SpreadLSTM", ValueError, "d_model must be a whole number.*2.5", 2.5)
row("model.siamese.SpreadLSTM", ValueError, "mode must be one of", 4, "test")
row("model.siamese.SpreadLSTM", ValueError, "lstm must be one of", 4, lstm="fast")
row("model.siamese.WordDropout", ValueError, "word_dropout .*1.5", 9, 1.5)
row("model.siamese.WordDropout", ValueError, "vocab_size must be a whole number", "9", 0.5)
row("model.siamese.init_model", TypeError, "seed must be a whole number.*'x'", UNINITIALISED, "x")
row("model.siamese.init_model", TypeError, "a model from Siamese, but it is None", None)
row("model.siamese.get_weights", TypeError, "a model from Siamese, but it is 'model'", "model")
row("model.siamese.get_weights", ValueError, "initialise it first", UNINITIALISED)
row("model.siamese.pooling_of", TypeError, "a model from Siamese, but it is None", None)
row("model.siamese.set_weights", TypeError, "weights must be a dict.*list", LAYER, [1])
row("model.siamese.set_weights", ValueError, "do not fit the model", LAYER, {})
row(
    "model.siamese.set_weights",
    ValueError,
    "do not fit the model",
    LAYER,
    {"embedding": np.ones(3)},
)
row("model.siamese.set_weights", TypeError, "a model from Siamese", None, {})
row("model.lstm.LSTM", ValueError, "takes no lengths", 4, "predict", with_lengths=True)
row("model.lstm.LSTM", ValueError, "takes no lengths", 4, closed_form=False, with_lengths=True)
row("model.encoder.Encoder", TypeError, "a model from Siamese, but it is None", None)
row("model.encoder.Encoder", ValueError, "batch_size must be .*at least 1.*0", LAYER, 0)
row("model.encoder.Encoder", TypeError, "batch_size must be a whole number.*1.5", LAYER, 1.5)
row("encoder", TypeError, "question 0 .*'how old'", ["how old"])
row("encoder", TypeError, "question 1 .*float64", [[2], [2.5]])
row("encoder", ValueError, "question 0 .*from 0 to 3.*99", [[2, 99]])
row("encoder", ValueError, "question 0 .*from 0 to 3.*-1", [[-1]])
row("encoder", TypeError, r"question 0 .*\(1, 1\)", [[[2]]])
row("encoder", TypeError, "list of questions.*'how old'", "how old")
row("encoder", TypeError, "list of questions.*None", None)
MODEL_FILE = "inference.trained_model"
for bad in ("How old?", None, b"How", [3], [None]):
    row(f"{MODEL_FILE}.TrainedModel.embed", TypeError, "questions", TRAINED, bad)
    row(f"{MODEL_FILE}.TrainedModel.similarity", TypeError, "questions1", TRAINED, bad, TEXTS)
    row(f"{MODEL_FILE}.TrainedModel.predict", TypeError, "questions2", TRAINED, TEXTS, bad)
row(
    f"{MODEL_FILE}.TrainedModel.similarity",
    ValueError,
    "questions2.* 2 and 1",
    TRAINED,
    TEXTS * 2,
    TEXTS,
)
row(
    f"{MODEL_FILE}.TrainedModel.predict",
    TypeError,
    "threshold",
    TRAINED,
    TEXTS,
    TEXTS,
    threshold="high",
)
row(
    f"{MODEL_FILE}.TrainedModel.predict",
    ValueError,
    "threshold",
    TRAINED,
    TEXTS,
    TEXTS,
    threshold=NAN,
)
row(f"{MODEL_FILE}.TrainedModel.save", TypeError, "folder", TRAINED, None)
row(f"{MODEL_FILE}.TrainedModel", TypeError, "model", None, WORDS, {"pooling": "last"})
row(f"{MODEL_FILE}.TrainedModel", TypeError, "vocabulary", LAYER, ["how"], {"pooling": "last"})
row(f"{MODEL_FILE}.TrainedModel", TypeError, "settings", LAYER, WORDS, None)
row(f"{MODEL_FILE}.TrainedModel", TypeError, "threshold", LAYER, WORDS, {"threshold": "high"})
row(f"{MODEL_FILE}.TrainedModel", ValueError, "threshold", LAYER, WORDS, {"threshold": NAN})
row(
    f"{MODEL_FILE}.TrainedModel",
    ValueError,
    "vocabulary must have 4 ids.* 3;",
    LAYER,
    Vocabulary(["how"]),
    {},
)
row(f"{MODEL_FILE}.save_model", TypeError, "trained", FOLDER, None)
row(f"{MODEL_FILE}.save_model", TypeError, "folder", None, TRAINED)
row(f"{MODEL_FILE}.save_model", FileExistsError, "has no model.json", FOLDER, TRAINED)
row(f"{MODEL_FILE}.save_model", FileExistsError, "has no model.json", TEXT, TRAINED)
row(f"{MODEL_FILE}.load_model", TypeError, "folder", None)
row(f"{MODEL_FILE}.load_model", FileNotFoundError, "there is no model.json in .*train", FOLDER)
row(f"{MODEL_FILE}.load_model", FileNotFoundError, "there is no model.json", TEXT)
row(f"{MODEL_FILE}.load_model", FileNotFoundError, "there is no model.json", "no such folder")
row("storage.folders.load_checkpoint", FileNotFoundError, "there is no checkpoint.json", FOLDER)
row(
    "storage.folders.load_checkpoint",
    FileNotFoundError,
    "there is no checkpoint.json",
    "no such folder",
)
row("_files.read_bytes", FileNotFoundError, "no such file", "no such file", 10)
row("_files.read_bytes", IsADirectoryError, "folder", FOLDER, 10)
row("_files.read_bytes", ValueError, "larger than 3 bytes", TEXT, 3)
row("_files.gunzip", ValueError, "damaged or truncated", b"\x1f\x8b", 10, "q.gz")
row("distributed.processes.join", ValueError, "host:port.*'localhost'", "localhost", 2, 0)
row("distributed.processes.join", ValueError, "number 2 of 2", "localhost:1", 2, 2)
row("distributed.processes.join", ValueError, "at least 1.*0", "localhost:1", 2, 0, timeout=0)
row(
    "inference.trax_model.load_trax_model",
    FileNotFoundError,
    "no such file",
    "no such file",
    vocab_size=10,
)
row(
    "inference.trax_model.load_trax_model",
    ValueError,
    "vocab_size must be a whole number",
    TEXT,
    vocab_size=None,
)
row("inference.trax_model.load_trax_model", ValueError, "text", TEXT, vocab_size=10)
