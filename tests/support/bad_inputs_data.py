"""The rows of `test_bad_input.py` for texts, pairs, batches, metrics, pictures, the course and its
checks."""

import numpy as np
from bad_inputs import (
    FOLDER,
    IDS,
    INF,
    NAN,
    NEW,
    ONES,
    PAIRS,
    PICTURE,
    SQUARE,
    TEXT,
    TEXTS,
    TRAINED,
    UNLABELLED,
    WIDE,
    WORDS,
    Given,
    csv_of,
    row,
)

# --- text, data


def rows_of(name, *rows):
    """Rows of one function: (error, the argument's name or a phrase, arguments, options)."""
    for error, phrase, arguments, *options in rows:
        row(name, error, phrase, *arguments, **(options[0] if options else {}))


rows_of(
    "data.tokenizer.tokenize",
    (TypeError, "question", (None,)),
    (TypeError, "question", (b"Why?",)),
    (
        ValueError,
        "tokenizer must be one of 'words', 'words/1', 'c.*'treebank'",
        ("Why?", "treebank"),
    ),
    (TypeError, "tokenizer", ("Why?", None)),
)
rows_of(
    "data.tokenizer.tokenizer_named",
    (TypeError, "tokenizer", (None,)),
    (TypeError, "tokenizer", (["words"],)),
    (ValueError, "tokenizer", ("bpe",)),
)
rows_of(
    "data.vocabulary.Vocabulary",
    (TypeError, "words", ("how",)),
    (TypeError, "words", (None,)),
    (TypeError, "words", ([b"how"],)),
    (ValueError, "'a' comes twice", (["a", "a"],)),
    (ValueError, "words", (["<PAD>"],)),
    (ValueError, "tokenizer", (["a"],), {"tokenizer": "x"}),
    (ValueError, "buckets", (["a"],), {"buckets": -1}),
    (TypeError, "buckets", (["a"],), {"buckets": 1.5}),
    (TypeError, "buckets", (["a"],), {"buckets": True}),
)
for method in ("build", "build_encoded"):
    rows_of(
        f"data.vocabulary.Vocabulary.{method}",
        (TypeError, "questions", ("How old?",)),
        (TypeError, "questions", (None,)),
        (TypeError, r"questions\[1\]", (["Why?", NAN],)),
        (ValueError, "min_count", (TEXTS,), {"min_count": 0}),
        (TypeError, "min_count", (TEXTS,), {"min_count": 1.5}),
        (ValueError, "max_size", (TEXTS,), {"max_size": 0}),
        (TypeError, "max_size", (TEXTS,), {"max_size": "9"}),
    )
row("data.vocabulary.Vocabulary.encode", TypeError, "question", WORDS, TEXTS)
for method in ("encode_all", "encode_apart"):
    rows_of(
        f"data.vocabulary.Vocabulary.{method}",
        (TypeError, "questions", (WORDS, "How old?")),
        (TypeError, "questions", (WORDS, b"How old?")),
        (TypeError, "questions", (WORDS, 3)),
    )
rows_of(
    "data.vocabulary.Vocabulary.load",
    (FileNotFoundError, "no such file", ("no such file",)),
    (ValueError, "not a vocabulary file; its first line must read", (TEXT,)),
    (ValueError, "byte 0 is not", (PICTURE,)),
    (IsADirectoryError, "folder", (FOLDER,)),
)
rows_of(
    "data.word_vectors.read_word_vectors",
    (TypeError, "path", (7, ["how"])),
    (TypeError, "words", (TEXT, "how")),
    (TypeError, r"words\[1\]", (TEXT, ["how", 1])),
    (FileNotFoundError, "no such file", ("no such file", ["how"])),
    (IsADirectoryError, "folder", (FOLDER, ["how"])),
    (ValueError, "text, line 1: .*number 1 is 'model'", (TEXT, ["how"])),
    (ValueError, "picture, line 1: .* a word and its numbers", (PICTURE, ["how"])),
)
row("data.word_vectors.starting_embedding", ValueError, "identical", SQUARE, [0], ONES[:1])
row("data.vocabulary.Vocabulary.save", FileNotFoundError, "folder", WORDS, "no such folder/w.txt")
rows_of(
    "data.pairs.Pairs",
    (TypeError, "question1", ("Why?", ["How?"])),
    (TypeError, "question2", (["Why?"], None)),
    (TypeError, r"question1\[0\]", ([1], ["How?"])),
    (TypeError, r"question2\[1\]", (["Why?", "Who?"], ["How?", NAN])),
    (ValueError, r"question2 .* 2 pairs.*\(1,\)", (["a", "b"], ["c"])),
    (ValueError, "is_duplicate", (["a"], ["b"], [1, 0])),
    (ValueError, "is_duplicate", (["a"], ["b"], [[1]])),
    (ValueError, "is_duplicate", (["a"], ["b"], [2])),
    (ValueError, "is_duplicate", (["a"], ["b"], [NAN])),
    (ValueError, "is_duplicate", (["a"], ["b"], ["yes"])),
    (ValueError, "is_duplicate", (["a"], ["b"], [1j])),
    (ValueError, "is_duplicate", (["a"], ["b"], np.ma.array([1], mask=[True]))),
    (ValueError, "qid1", (["a"], ["b"], [1], np.ma.array([1], mask=[True]), [2])),
    (ValueError, "qid1", (["a", "b"], ["c", "d"], None, [-1, 2**63], [1, 2])),
    (ValueError, "qid1 and qid2 come together", (["a"], ["b"], [1], [1])),
    (TypeError, "qid1", (["a"], ["b"], [1], [1.5], [2])),
    (TypeError, "qid2", (["a"], ["b"], [1], [1], ["x"])),
    (ValueError, "qid2", (["a"], ["b"], [1], [5], [6, 7])),
    (ValueError, "lines", (["a"], ["b"]), {"lines": [1, 2]}),
)
rows_of(
    "data.pairs.Pairs.select",
    (IndexError, "rows from 0 to 2, but one is 3", (PAIRS, [3])),
    (IndexError, "one is -1", (PAIRS, [-1])),
    (IndexError, "shape", (PAIRS, [[1]])),
    (TypeError, "indices", (PAIRS, [0.5])),
    (TypeError, "indices", (PAIRS, [True, False, True])),
)
rows_of(
    "data.pairs.concatenate",
    (TypeError, "first must be trax_triplet.Pairs, but it is a list; make", ([("a", "b")], PAIRS)),
    (TypeError, "second", (PAIRS, None)),
)
row("data.pairs.question_groups", TypeError, "pairs", [("a", "b")])
row("data.pairs.distinct_questions", TypeError, "pairs", [("a", "b")])
row("data.pairs.normalize_text", TypeError, "text", None)
rows_of(
    "data.pairs.split_pairs",
    (TypeError, "pairs", ([("a", "b")],)),
    *((ValueError, "fractions", (PAIRS, f)) for f in ((0.5, 0.6), (), (1.5, -0.5), (1, 0), 1.0)),
    (ValueError, "fractions", (PAIRS, (NAN, 1.0))),
    (TypeError, "fractions", (PAIRS, ("half", "half"))),
    (ValueError, "seed", (PAIRS,), {"seed": -1}),
    (TypeError, "seed", (PAIRS,), {"seed": 0.5}),
)
for name, phrase in (
    ("empty", "the file is empty"),
    ("blank", "it is blank"),
    ("header", "a header but no rows"),
    ("other", "expected the columns .*question1.*name yours by"),
    ("labels", "is_duplicate is 'maybe', not 0 or 1"),
    ("latin", "line 1: byte 10 of the file is not UTF-8"),
    ("nul", "line 2: a NUL character"),
    ("gzip", "damaged or truncated"),
    ("double", "several columns are named 'question1'"),
    ("quote", "a quote is not closed"),
):
    row("data.reader.read_pairs", ValueError, phrase, csv_of(name))
GOOD = csv_of("good")
rows_of(
    "data.reader.read_pairs",
    (ValueError, "encoding", (GOOD,), {"encoding": "klingon"}),
    (TypeError, "encoding", (GOOD,), {"encoding": 8}),
    (ValueError, "quoting", (GOOD,), {"quoting": "some"}),
    (ValueError, "escape", (GOOD,), {"escape": "two"}),
    (TypeError, "positive", (GOOD,), {"positive": "yes"}),
    (TypeError, "threshold_label", (GOOD,), {"threshold_label": "4"}),
    (ValueError, "threshold_label", (GOOD,), {"threshold_label": NAN}),
    (TypeError, "duplicates_only", (GOOD,), {"duplicates_only": 1}),
    (ValueError, "exclude each other", (GOOD,), {"positive": ["1"], "duplicates_only": True}),
    (ValueError, "expected the columns.*'no'", (GOOD,), {"negative": "no"}),
    (FileNotFoundError, "no such file", ("no such file",)),
    (IsADirectoryError, "folder", (FOLDER,)),
    (TypeError, "path", (None,)),
    (TypeError, "path", (0,)),
    (ValueError, "not UTF-8", (PICTURE,)),
    (ValueError, "question1, question2 and label must name", (GOOD,), {"question1": "question2"}),
    (TypeError, "question1", (GOOD,), {"question1": 0}),
    (TypeError, "question2", (GOOD,), {"question2": None}),
    (ValueError, "max_skipped", (GOOD,), {"max_skipped": 1.5}),
    (ValueError, "max_skipped", (GOOD,), {"max_skipped": NAN}),
    (TypeError, "max_skipped", (GOOD,), {"max_skipped": "0.1"}),
    (ValueError, "larger than 5 bytes", (GOOD,), {"max_bytes": 5}),
    (ValueError, "max_bytes", (GOOD,), {"max_bytes": -1}),
    (TypeError, "max_bytes", (GOOD,), {"max_bytes": 1.5}),
)
rows_of(
    "data.mining.implied_duplicates",
    (TypeError, "pairs", (None,)),
    (ValueError, "seed", (PAIRS,), {"seed": -1}),
    (ValueError, "pairs must have labels", (UNLABELLED,)),
    (TypeError, "max_group", (PAIRS,), {"max_group": "30"}),
)
rows_of(
    "data.mining.draw_negatives",
    (TypeError, "pairs", (None, 1)),
    (ValueError, "seed", (PAIRS, 1), {"seed": -1}),
    (ValueError, "n must be at most", (PAIRS, 100)),
    (ValueError, "n must be", (PAIRS, -1)),
    (TypeError, "n must be", (PAIRS, 1.5)),
)

# --- batches, stream, sample, training

BATCHES = "data.batches.epoch_batches"
for error, name, arguments, options in (
    (ValueError, "groups", (IDS[:, None], 2), {}),
    (TypeError, "groups", (ONES * 0.5, 2), {}),
    (TypeError, "groups", ("ids", 2), {}),
    (ValueError, "batch_size", (IDS, 0), {}),
    (TypeError, "batch_size", (IDS, 2.5), {}),
    (ValueError, "seed", (IDS, 2), {"seed": -1}),
    (TypeError, "seed", (IDS, 2), {"seed": None}),
    (ValueError, "epoch", (IDS, 2), {"epoch": -1}),
    (TypeError, "epoch", (IDS, 2), {"epoch": 0.5}),
    (TypeError, "lengths", (IDS, 2), {"lengths": [0.5] * 3}),
    (ValueError, "lengths", (IDS, 2), {"lengths": IDS[:2]}),
    (ValueError, "vectors", (IDS, 2), {"vectors": IDS}),
    (ValueError, "vectors", (IDS, 2), {"vectors": ONES[:2]}),
    (ValueError, "vectors", (IDS, 2), {"vectors": ONES * NAN}),
    (TypeError, "vectors", (IDS, 2), {"vectors": [["a"]] * 3}),
    (ValueError, "neighbours", (IDS, 2), {"neighbours": 0}),
    (TypeError, "neighbours", (IDS, 2), {"neighbours": 1.5}),
    (TypeError, "rows", (IDS, 2), {"rows": [0.5]}),
):
    row(BATCHES, error, name, *arguments, **{"seed": 0, **options})
STREAM = {
    "ids1": [[2], [3], [4]],
    "ids2": [[2], [3], [4]],
    "groups": IDS,
    "batch_size": 2,
    "seed": 0,
    "max_words": 8,
}
for change, error in (
    ({"batch_size": 0}, ValueError),
    ({"batch_size": 1.5}, TypeError),
    ({"seed": -1}, ValueError),
    ({"max_words": 0}, ValueError),
    ({"neighbours": 0}, ValueError),
    ({"ids2": [[2]]}, ValueError),
    ({"groups": IDS[:2]}, ValueError),
    ({"groups": (IDS, IDS)}, ValueError),
    ({"ids1": []}, ValueError),
    ({"ids1": "how"}, TypeError),
    ({"ids1": ["a", "b", "c"]}, TypeError),
    ({"ids2": [[2], [2.5], [3]]}, TypeError),
    ({"vectors": 3}, TypeError),
):
    row("data.stream.BatchStream", error, next(iter(change)), **{**STREAM, **change})
for f, first in (("data.sample.generate", ()), ("data.sample.write_csv", (NEW,))):
    row(f, TypeError, "n_pairs", *first, 2.5)
    row(f, TypeError, "n_pairs", *first, True)
    row(f, ValueError, "n_pairs", *first, 0)
    row(f, TypeError, "seed", *first, 5, seed="x")
    row(f, ValueError, "seed", *first, 5, seed=-1)
    row(f, ValueError, "duplicate_share", *first, 5, duplicate_share=NAN)
    row(f, ValueError, "duplicate_share", *first, 5, duplicate_share=1.5)
    row(f, TypeError, "duplicate_share", *first, 5, duplicate_share=None)
    row(f, TypeError, "duplicate_share", *first, 5, duplicate_share=True)
    row(f, ValueError, "n_pairs must be at most", *first, 10**9)
row(
    "data.sample.write_csv",
    FileNotFoundError,
    "the folder .* does not exist",
    "no such folder/x.csv",
    5,
)
row(
    "training.run.train",
    ValueError,
    "needs pairs labelled as duplicates",
    UNLABELLED,
    FOLDER,
    validation=PAIRS,
)
row(
    "training.run.train",
    ValueError,
    "at least 2 pairs labelled as duplicates, but has 0",
    PAIRS,
    FOLDER,
    validation=UNLABELLED,
)
for options, error, phrase in (
    ({"margin": -1.0}, ValueError, "margin must be"),
    ({"steps": 0}, ValueError, "steps must be"),
    ({"steps": True}, TypeError, "steps must be"),
    ({"settings": 5}, TypeError, "settings must be"),
    ({"progress": None}, TypeError, "progress must be"),
    ({"step": 5}, TypeError, "'step'"),
):
    row("training.run.train", error, phrase, PAIRS, FOLDER, validation=PAIRS, **options)
row("training.run.train", TypeError, "pairs must be", ["Why?"], FOLDER, validation=PAIRS)
row("training.run.train", TypeError, "validation must be", PAIRS, FOLDER, validation=None)
row("training.settings.TrainSettings", ValueError, "batch_size must be", batch_size=1)
row("training.settings.TrainSettings", TypeError, "batch_size must be", batch_size="256")

# --- evaluation, pictures ---

SCORES, LABELS = [0.9, 0.1, 0.8], [1, 0, 1]
BY_THRESHOLD = ("confusion", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "report")
BY_RANK = ("check_scores", "roc_auc", "average_precision", "best_threshold")
for f in (*BY_THRESHOLD, *BY_RANK):
    rest = (0.5,) if f in BY_THRESHOLD else ()
    row(f"evaluation.{f}", TypeError, "scores", ["a"] * 3, LABELS, *rest)
    row(f"evaluation.{f}", ValueError, "labels", SCORES, LABELS[:2], *rest)
for f in BY_THRESHOLD:
    row(f"evaluation.{f}", TypeError, "threshold", SCORES, LABELS, None)
row("evaluation.report", ValueError, "seed", SCORES, LABELS, 0.5, seed=-1)
row("evaluation.best_threshold", TypeError, "metric", SCORES, LABELS, metric=["f1"])
row("evaluation.best_threshold", ValueError, "metric", SCORES, LABELS, metric="auc")
row("evaluation.bootstrap_interval", TypeError, "metric", SCORES, LABELS, "roc_auc")
row("evaluation.split_half", TypeError, "n", 2.5)
row("evaluation.split_half", ValueError, "n", 1)
row("evaluation.split_half", ValueError, "seed", 4, seed=-1)
row("inference.quality.evaluate", TypeError, "trained", "model", PAIRS)
row("inference.quality.evaluate", TypeError, "pairs", TRAINED, [("Why?", "Who?")])
row("inference.quality.evaluate", ValueError, "pairs must have labels", TRAINED, UNLABELLED)
row("inference.quality.evaluate", ValueError, "threshold", TRAINED, PAIRS, threshold=NAN)
row("inference.quality.evaluate", ValueError, "threshold", TRAINED, PAIRS, threshold=5)
row("inference.quality.evaluate", ValueError, "seed", TRAINED, PAIRS, seed=-1)
for mistakes, error in ((-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)):
    row(
        "inference.quality.evaluate",
        error,
        "mistakes must be an integer of at least 0",
        TRAINED,
        PAIRS,
        mistakes=mistakes,
    )
row("plots.scores.score_histogram", ValueError, "labels", SCORES, [1])
for threshold, error in ((INF, ValueError), ("high", TypeError)):
    row(
        "plots.scores.score_histogram",
        error,
        "threshold must be",
        SCORES,
        LABELS,
        threshold=threshold,
    )
row("plots.scores.score_histogram", TypeError, "ax must be", SCORES, LABELS, ax="here")
RELIABILITY = "plots.scores.plot_reliability"
row(RELIABILITY, ValueError, "labels", [0.5, 0.5], [1])
row(RELIABILITY, ValueError, r"probabilities must be in \[0, 1\], .* it is -0.5", [-0.5, 1], [0, 1])
row(RELIABILITY, ValueError, "it is 1.5", [0.5, 1.5], [0, 1])
row(RELIABILITY, ValueError, "bins", [0.5, 1], [0, 1], bins=0)
row(RELIABILITY, TypeError, "ax must be", [0.5, 1], [0, 1], ax="here")
STEP = {"step": 1, "loss": 0.5}
for history, error, name in (
    ([], ValueError, "history"),
    ([1], TypeError, r"history\[0\]"),
    ([{"step": 1}], ValueError, r"history\[0\]"),
    ([STEP, STEP], ValueError, r"history\[1\]\['step'\]"),
    ([{"step": 1, "loss": NAN}], ValueError, r"history\[0\]\['loss'\]"),
    ([{"step": "1", "loss": 1}], TypeError, r"history\[0\]\['step'\]"),
    (None, TypeError, "history"),
    (STEP, TypeError, "history"),
):
    row("plots.scores.learning_curve", error, f"{name} must be", history)
for margin, error in ((0, ValueError), ("x", TypeError)):
    row("plots.scores.learning_curve", error, "margin must be", [STEP], margin=margin)
row("plots.scores.axes_for", TypeError, "ax must be", 3)
for f in ("similarity_heatmap", "positives_and_negatives"):
    row(f"plots.loss.{f}", ValueError, "scores must be a square matrix", WIDE)
    row(f"plots.loss.{f}", ValueError, "scores must be finite", SQUARE * NAN)
    row(f"plots.loss.{f}", TypeError, "scores must be", [["a"]])
    row(f"plots.loss.{f}", TypeError, "ax must be", SQUARE, ax=3)
row("plots.loss.similarity_heatmap", ValueError, "closest must be", SQUARE, closest="x")
row("plots.loss.similarity_heatmap", ValueError, "margin must be", SQUARE, margin=-1)
row("plots.loss.stacked_batches", ValueError, "v2 must be", ONES, WIDE)
row("plots.loss.stacked_batches", ValueError, "v1 must be", [], [])
row("plots.loss.stacked_batches", ValueError, "v1 must be", [[1], [1, 2]], ONES)
for margin, error in (([], ValueError), (-1, ValueError), ("x", TypeError)):
    row("plots.loss.hinge_curves", error, "margin must be", margin)
for f in ("explore", "Explorer"):
    row(f"plots.explorer.{f}", ValueError, "scores must be", np.eye(9))
    row(f"plots.explorer.{f}", ValueError, "scores must be", WIDE)
    row(f"plots.explorer.{f}", ValueError, "closest must be", SQUARE, closest="x")
    row(f"plots.explorer.{f}", TypeError, "margin must be", SQUARE, "x")

# --- course, checks


def vectors_of(batch):
    return [np.ones((len(side), 2)) for side in batch]


LABELLED, ANSWERING = ([[2]], [[2]], [1]), (0.7, vectors_of, {})
for f, error, phrase, *arguments in (
    ("data_generator", ValueError, "Q1 and Q2 .*0 and 0", [], [], 2),
    ("data_generator", ValueError, "Q1 and Q2 .*1 and 2", [[2]], [[2], [3]], 2),
    ("data_generator", ValueError, "batch_size", [[2]], [[2]], 0),
    ("data_generator", TypeError, "batch_size", [[2]], [[2]], 1.5),
    ("data_generator", TypeError, "Q1 and Q2 .*lists of word ids.*'how'", ["how"], [[2]], 1),
    ("data_generator", TypeError, "Q1 and Q2 .*lists of word ids.*5", [5], [[2]], 1),
    ("classify", ValueError, "y must .*1 and 1 and 2", [[2]], [[2]], [1, 1], *ANSWERING),
    ("classify", ValueError, "batch_size", *LABELLED, *ANSWERING, print, 0),
    ("classify", ValueError, "threshold", *LABELLED, NAN, vectors_of, {}),
    ("classify", TypeError, "threshold", *LABELLED, "x", vectors_of, {}),
    ("classify", TypeError, "model", *LABELLED, 0.7, None, {}),
    ("classify", TypeError, "vocab", *LABELLED, 0.7, vectors_of, None),
    ("predict", TypeError, "question1", None, "Why?", *ANSWERING),
    ("predict", TypeError, "question2", "Why?", 3, *ANSWERING),
    ("predict", ValueError, "threshold", "Why?", "Why?", NAN, vectors_of, {}),
    ("predict", TypeError, "model", "Why?", "Why?", 0.7, None, {}),
    ("train_model", TypeError, "Siamese", None, vectors_of, iter([]), iter([]), FOLDER),
    ("train_model", TypeError, "TripletLoss", vectors_of, None, iter([]), iter([]), FOLDER),
    ("train_model", TypeError, "train_generator", vectors_of, vectors_of, [], iter([]), FOLDER),
    ("train_model", TypeError, "val_generator", vectors_of, vectors_of, iter([]), [], FOLDER),
):
    row(f"course.assignment.{f}", error, phrase, *arguments)
SCHEDULED = vectors_of, vectors_of, float
for error, phrase, *arguments in (
    (TypeError, "lr_schedule .*; .*your edition is trax_triplet.course", *SCHEDULED[:2], iter([])),
    (TypeError, "lr_schedule", *SCHEDULED[:2], 0.01),
    (TypeError, "train_generator", *SCHEDULED),
    (TypeError, "val_generator", *SCHEDULED, iter([])),
):
    row("course.edition_2020.train_model", error, phrase, *arguments)
row("course.assignment.loop_of", TypeError, "Siamese", None, *SCHEDULED[1:], iter([]), [], FOLDER)
row(
    "course.assignment.train_model",
    TypeError,
    "train_generator .*course.edition_2020",
    *SCHEDULED,
    iter([]),
    FOLDER,
)
row("checks.runner.check", ValueError, "step must be one of .*'positives'.*'x'", "x", np.diag)
row("checks.runner.check", TypeError, "step must be one of", ["x"], np.diag)
row("checks.runner.check", TypeError, "student_function must be", "positives", 3)
row("checks.runner.check", ValueError, "edition must be", "positives", np.diag, "2019")
row("checks.runner.check", TypeError, "edition must be", "positives", np.diag, 2023)
for f in ("check_file", "read_solution"):
    row(f"checks.solution.{f}", FileNotFoundError, "nowhere.py", "nowhere.py")
    row(f"checks.solution.{f}", ValueError, "path must be .*.ipynb", Given("text"))
    row(f"checks.solution.{f}", TypeError, "run must be", "mine.py", run=1)
