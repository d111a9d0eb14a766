"""The rows of `test_bad_input.py` for loss, model and what is saved; and what rows are made of."""

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
    """One row of the table: a function, its exception, what the message says, and the arguments.

    The message must contain the word `phrase`, most often an argument's name; a phrase that is not
    one word is a regular expression.
    """
    ROWS.append(pytest.param(name, error, phrase, arguments, options, id=f"{name}-{len(ROWS)}"))


# --- loss -----------------------------------------------------------------------------------------

for value in (None, "text", [[1.0], [1.0, 2.0]], ONES > 0):
    row("loss.similarity.l2_normalize", TypeError, "x must be", value)
for f, name in (
    ("loss.similarity.cosine_similarity", "a"),
    ("loss.similarity.similarity_matrix", "v1"),
    ("loss.triplet.triplet_loss", "v1"),
    ("course.assignment.TripletLossFn", "v1"),
    ("course.edition_2023.TripletLossFn", "v1"),
):
    row(f, TypeError, f"{name} must be", None, ONES)
row(
    "loss.similarity.l2_normalize",
    TypeError,
    r"x must be floating point .*, but it is int32 of shape \(3, 2\); convert it, for example",
    ONES.astype("int32"),
)
for value in (1.0, ONES[:, :0]):
    row("loss.similarity.l2_normalize", ValueError, "x must be vectors", value)
    row("loss.similarity.cosine_similarity", ValueError, "a must be vectors", value, value)
row(
    "loss.similarity.cosine_similarity", ValueError, "b must be .*; .*similarity_matrix", ONES, WIDE
)
row("loss.similarity.similarity_matrix", ValueError, "v2 must be", ONES, WIDE)
row("loss.similarity.similarity_matrix", ValueError, "v1 must be", ONES[0], ONES)
row("loss.similarity.similarity_matrix", TypeError, "normalize must be", ONES, ONES, normalize=1)
row("loss.similarity.as_float", TypeError, "pet must be", "pet", b"1")
for f in ("positives", "mean_negative", "closest_negative", "hinges"):
    for value in (WIDE, CUBE, SQUARE[:0, :0]):
        row(f"loss.steps.{f}", ValueError, r"scores must be a square matrix", value)
    row(f"loss.steps.{f}", TypeError, "scores must be floating point", INTEGERS)
for groups, error, name in (
    (IDS, TypeError, "groups"),
    ((IDS,), ValueError, "groups"),
    (([0.5] * 3, IDS), TypeError, r"groups\[0\]"),
    (([True] * 3, IDS), TypeError, r"groups\[0\]"),
    ((IDS, ["a"] * 3), TypeError, r"groups\[1\]"),
    ((IDS, [2**99, "a", 1]), TypeError, r"groups\[1\]"),
    ((IDS, IDS[:2]), ValueError, r"groups\[1\]"),
):
    row("loss.steps.group_ids", error, f"{name} must be", groups, 3)
for groups, error in ((IDS, TypeError), ((IDS, IDS[:2]), ValueError)):
    for f in ("mean_negative", "closest_negative", "hinges"):
        row(f"loss.steps.{f}", error, "groups", SQUARE, groups=groups)
    row("loss.triplet.triplet_loss", error, "groups", ONES, ONES, groups=groups)
row("loss.steps.hinge", ValueError, "negative must be", SQUARE[0], SQUARE[0, :2])
row("loss.steps.hinge", ValueError, "negative must be", SQUARE[0], SQUARE[:, :1])
row("loss.steps.hinge", TypeError, "negative must be", SQUARE[0], None)
for f, arguments in (
    ("loss.steps.hinge", (SQUARE[0], SQUARE[0])),
    ("loss.steps.hinges", (SQUARE,)),
    ("loss.triplet.triplet_loss", (ONES, ONES)),
    ("loss.triplet.TripletLoss", ()),
    ("course.assignment.TripletLoss", ()),
    ("course.edition_2023.TripletLoss", ()),
):
    row(f, ValueError, "margin", *arguments, margin=-0.1)
    row(f, TypeError, "margin", *arguments, margin="0.25")
for f in ("closest_negative", "hinges"):
    row(f"loss.steps.{f}", ValueError, "closest must be", SQUARE, closest="nearest")
    row(f"loss.steps.{f}", TypeError, "closest must be", SQUARE, closest=None)
for options, error in (
    ({"closest": "easy"}, ValueError),
    ({"closest": None}, TypeError),
    ({"anchor": "third"}, ValueError),
    ({"reduction": "max"}, ValueError),
    ({"normalize": "no"}, TypeError),
    ({"block": 2.5}, TypeError),
    ({"block": -1}, ValueError),
    ({"axis_name": 3}, TypeError),
):
    (name,) = options
    row("loss.triplet.triplet_loss", error, f"{name} must be", ONES, ONES, **options)
    row("loss.triplet.TripletLoss", error, f"{name} must be", **options)
row("loss.triplet.TripletLoss", TypeError, "with_groups must be", with_groups=None)
row("loss.triplet.triplet_loss", ValueError, "v2 must be", ONES, WIDE)
row("loss.triplet.triplet_loss", ValueError, "v1 must be", ONES[0], ONES[0])
row("loss.triplet.triplet_loss", ValueError, "v1 must be .*at least one pair", ONES[:0], ONES[:0])
for options, error, name in (
    ({"v1": None}, TypeError, "v1"),
    ({"v1": ONES[0]}, ValueError, "v1"),
    ({"v2": WIDE}, ValueError, "v2"),
    ({"labels": [1.0, 0.0, 0.0]}, TypeError, "labels"),
    ({"labels": [1, 0]}, ValueError, "labels"),
    ({"labels": [1, 0, 2]}, ValueError, "labels"),
    ({"margin": -0.1}, ValueError, "margin"),
    ({"margin": "0.4"}, TypeError, "margin"),
    ({"normalize": 1}, TypeError, "normalize"),
    ({"axis_name": 3}, TypeError, "axis_name"),
):
    options = {"v1": ONES, "v2": ONES, "labels": [1, 0, 0], **options}
    row("loss.ranking.ranking_loss", error, f"{name} must be", **options)
for options, error, name in (
    ({"v": None}, TypeError, "v"),
    ({"v": ONES[0]}, ValueError, "v"),
    ({"v": ONES[:0], "teacher": WIDE[:0]}, ValueError, "v must be .*at least one question"),
    ({"teacher": INTEGERS}, TypeError, "teacher"),
    ({"teacher": WIDE[:2]}, ValueError, "teacher must be .* the 3 rows of v"),
    ({"teacher": WIDE[:, :0]}, ValueError, "teacher"),
    ({"normalize": 1}, TypeError, "normalize"),
    ({"axis_name": 3}, TypeError, "axis_name"),
):
    phrase = name if " " in name else f"{name} must be"
    row("loss.teacher.teacher_loss", error, phrase, **{"v": ONES, "teacher": WIDE, **options})
row("loss.ranking.RankingLoss", ValueError, "margin must be", margin=-0.1)
row("loss.ranking.RankingLoss", TypeError, "normalize must be", normalize="no")
row("loss.triplet.check_rule", ValueError, "anchor must be", 0.25, "hardest", "third", "mean")
for v1, v2, options, error, name in (
    (ONES, WIDE, {}, ValueError, "v2"),
    (ONES, ONES[:2], {}, ValueError, "v2"),
    (ONES[0], ONES, {}, ValueError, "v1"),
    (ONES[:2], ONES, {"anchor": "both"}, ValueError, "v2"),
    (ONES, ONES, {"block": 0}, ValueError, "block"),
    (ONES, ONES, {"block": 2.0}, TypeError, "block"),
    (ONES, ONES, {"groups": (IDS, IDS[:2])}, ValueError, "groups"),
):
    row("loss.blockwise.blockwise_losses", error, f"{name} must be", v1, v2, **options)

# --- model, encoder, folders ----------------------------------------------------------------------

for f in ("model.siamese.Siamese", "course.assignment.Siamese"):
    row(f, ValueError, "vocab_size must be an integer of at least 2, but it is 1", 1)
    for vocab_size in (2.5, "9", True, None):
        row(f, TypeError, "vocab_size", vocab_size)
    row(f, ValueError, "d_model", 9, 0)
    row(f, TypeError, "d_model", 9, 2.5)
    row(f, ValueError, "mode must be one of 'train', 'eval', 'predict'.*'test'", 9, 4, "test")
    row(f, TypeError, "mode", 9, 4, None)
for options, error, phrase in (
    ({"pooling": "max"}, ValueError, "pooling"),
    ({"pooling": "last", "word_dropout": 1.0}, ValueError, "word_dropout"),
    ({"pooling": "last", "word_dropout": -0.1}, ValueError, "word_dropout"),
    ({"pooling": "last", "word_dropout": NAN}, ValueError, "word_dropout"),
    ({"pooling": "last", "word_dropout": "0.1"}, TypeError, "word_dropout"),
    ({"word_dropout": 0.1}, ValueError, "word_dropout must be 0 in the course's model"),
    ({"pooling": "last", "buckets": 8}, ValueError, "buckets must be .* from 0 to 7"),
    ({"pooling": "last", "buckets": -1}, ValueError, "buckets"),
    ({"lstm": "fast"}, ValueError, "lstm"),
    ({"embedding_stddev": -1.0}, ValueError, "embedding_stddev"),
    ({"centre": [0.5] * 3}, ValueError, r"centre must be finite numbers of shape \(4,\)"),
    ({"centre": [NAN] * 4}, ValueError, r"centre must be finite numbers of shape \(4,\)"),
    ({"projection": [[0.5] * 4] * 3}, ValueError, "projection must be finite numbers of shape"),
    ({"projection": None, "centre": 3}, ValueError, "centre"),
    ({"centre": ["x"] * 4}, TypeError, "centre must be numbers of shape"),
    ({"embedding_stddev": NAN}, ValueError, "embedding_stddev"),
    ({"embedding_stddev": "big"}, TypeError, "embedding_stddev"),
):
    row("model.siamese.Siamese", error, phrase, 9, 4, **options)
row("model.lstm.SpreadLSTM", ValueError, "d_model", 0)
row("model.lstm.SpreadLSTM", TypeError, "d_model", 2.5)
row("model.lstm.SpreadLSTM", ValueError, "mode", 4, "test")
row("model.lstm.SpreadLSTM", ValueError, "lstm", 4, lstm="fast")
row("model.lstm.LSTM", TypeError, "n_units", "4")
row("model.lstm.LSTM", ValueError, "mode", 4, "test")
row("model.lstm.LSTM", ValueError, "with_lengths", 4, "predict", with_lengths=True)
row("model.lstm.LSTM", ValueError, "with_lengths", 4, closed_form=False, with_lengths=True)
row("model.siamese.WordDropout", ValueError, "rate", 9, 1.5)
row("model.siamese.WordDropout", TypeError, "vocab_size", "9", 0.5)
row("model.siamese.WordDropout", ValueError, "buckets", 9, 0.5, buckets=-1)
row("model.siamese.constants_of", TypeError, "model must be a model from Siamese", None)
row("model.siamese.pooling_of", TypeError, "model must be a model from Siamese", None)
row("model.weights.init_model", TypeError, "seed", UNINITIALISED, "x")
row("model.weights.init_model", TypeError, "model must be a model from Siamese", None)
row("model.weights.get_weights", TypeError, "model", "model")
row("model.weights.get_weights", ValueError, "initialise it first", UNINITIALISED)
row("model.weights.set_weights", TypeError, "weights", LAYER, [1])
row("model.weights.set_weights", ValueError, "weights must have the model's shapes", LAYER, {})
row("model.weights.set_weights", ValueError, "weights", LAYER, {"embedding": np.ones(3)})
row("model.weights.set_weights", TypeError, "model", None, {})
row("model.encoder.Encoder", TypeError, "model", None)
row("model.encoder.Encoder", ValueError, "batch_size", LAYER, 0)
row("model.encoder.Encoder", TypeError, "batch_size", LAYER, 1.5)
row("encoder", TypeError, r"questions\[0\]", ["how old"])
row("encoder", TypeError, r"questions\[1\]", [[2], [2.5]])
row("encoder", ValueError, r"questions\[1\] must hold ids from 0 to 3.*99", [[2], [2, 99], [99]])
row("encoder", ValueError, r"questions\[0\]", [[-1]])
row("encoder", TypeError, r"questions\[0\]", [[[2]]])
row("encoder", TypeError, "questions must be", "how old")
row("encoder", TypeError, "questions must be", None)

# --- inference, folders ---------------------------------------------------------------------------

ZEROS = np.zeros((4, 2))
INTEGERS = {
    "embedding": np.zeros((4, 2), int),
    "lstm/kernel": np.zeros((4, 8)),
    "lstm/bias": np.zeros(8),
}

for f, error, name, *arguments in (
    ("TrainedModel.embed", TypeError, "questions", TRAINED, "How old?"),
    ("TrainedModel.similarity", TypeError, "questions1", TRAINED, None, TEXTS),
    ("TrainedModel.similarity", TypeError, "questions2", TRAINED, TEXTS, [3]),
    ("TrainedModel.similarity", ValueError, "questions2", TRAINED, TEXTS * 2, TEXTS),
    ("TrainedModel.predict", TypeError, "questions2", TRAINED, TEXTS, b"How"),
    ("TrainedModel.probability", ValueError, "labelled 0.*validation=", TRAINED, TEXTS, TEXTS),
    ("TrainedModel.save", TypeError, "folder", TRAINED, None),
    ("TrainedModel", TypeError, "model", None, WORDS, {}),
    ("TrainedModel", TypeError, "vocabulary", LAYER, ["how"], {}),
    ("TrainedModel", TypeError, "settings", LAYER, WORDS, None),
    ("TrainedModel", TypeError, "threshold", LAYER, WORDS, {"threshold": "high"}),
    ("TrainedModel", ValueError, "threshold", LAYER, WORDS, {"threshold": NAN}),
    ("TrainedModel", ValueError, "threshold", LAYER, WORDS, {"threshold": 70}),
    ("TrainedModel", TypeError, "calibration", LAYER, WORDS, {"calibration": 1.0}),
    ("TrainedModel", ValueError, "intercept", LAYER, WORDS, {"calibration": {"slope": 1}}),
    ("TrainedModel", ValueError, "vocabulary", LAYER, Vocabulary(["how"]), {}),
    ("TrainedModel", ValueError, "model must be weights", {}, WORDS, {"pooling": "last"}),
    ("TrainedModel", ValueError, "model", {"embedding": ZEROS}, WORDS, {"pooling": "last"}),
    ("TrainedModel", TypeError, "embedding", INTEGERS, WORDS, {"pooling": "last"}),
    ("TrainedModel", TypeError, "pooling", INTEGERS, WORDS, {}),
    ("TrainedModel", ValueError, "pooling", LAYER, WORDS, {"pooling": "mean"}),
    ("save_model", TypeError, "trained", FOLDER, None),
    ("save_model", TypeError, "folder", None, TRAINED),
    ("save_model", FileExistsError, "exists but has no model.json", FOLDER, TRAINED),
    ("save_model", FileExistsError, "exists but has no model.json", TEXT, TRAINED),
    ("load_model", TypeError, "folder", None),
    ("load_model", FileNotFoundError, "there is no model.json in .*trax-triplet train", FOLDER),
    ("load_model", FileNotFoundError, "there is no model.json", TEXT),
    ("load_model", FileNotFoundError, "there is no model.json", "no such folder"),
    ("load_trained", TypeError, "folder", None),
    ("load_trained", FileNotFoundError, "there is no model.json", "no such folder"),
):
    row(f"inference.trained_model.{f}", error, name, *arguments)
for error, value in ((TypeError, "high"), (TypeError, None), (ValueError, INF)):
    calibration = {"slope": value, "intercept": 0.0}
    row("inference.calibration.check_calibration", error, "slope", calibration)
for error, value in ((TypeError, "high"), (ValueError, NAN)):
    predict = "inference.trained_model.TrainedModel.predict"
    row(predict, error, "threshold", TRAINED, TEXTS, TEXTS, threshold=value)
TRAX_MODEL = "inference.trax_model.load_trax_model"
row(TRAX_MODEL, FileNotFoundError, "no such file", "no such file", vocab_size=10)
row(TRAX_MODEL, (TypeError, ValueError), "vocab_size", TEXT, vocab_size=None)
row(TRAX_MODEL, ValueError, "text is damaged, or is not a pickle of weights", TEXT, vocab_size=10)
row(TRAX_MODEL, ValueError, "max_bytes", TEXT, vocab_size=10, max_bytes=0)
for arguments, error, name in (
    (("localhost", 2, 0), ValueError, "coordinator"),
    ((":1234", 2, 0), ValueError, "coordinator"),
    ((None, 2, 0), TypeError, "coordinator"),
    (("localhost:1", 1, 0), ValueError, "processes"),
    (("localhost:1", 2.0, 0), TypeError, "processes"),
    (("localhost:1", 2, 2), ValueError, "process_id"),
    (("localhost:1", 2, 0, 0), ValueError, "timeout"),
    (("localhost:1", 2, 0, True), TypeError, "timeout"),
):
    row("compat.processes.join", error, f"{name} must be", *arguments)
