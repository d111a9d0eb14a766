"""evaluate: the numbers of `report`, pairs with unknown words, and the worst mistakes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from trax_triplet import Pairs, Vocabulary, evaluate
from trax_triplet.evaluation import report

NOT_MEASURED = {"roc_auc": None, "accuracy": None}


def answering(scores, threshold=0.5, **more):
    """What `evaluate` uses of a TrainedModel, with these similarities."""
    return SimpleNamespace(threshold=threshold, similarity=lambda *_: scores, **more)


class ByLetter:
    """As similar as the first letters are close."""

    threshold = None

    def similarity(self, questions1, questions2):
        return [(ord(a[0]) - ord(b[0])) / 10 for a, b in zip(questions1, questions2)]


def test_the_similarities_of_labelled_pairs_are_reported():
    pairs, trained = Pairs([*"gfed"], [*"aabb"], [1, 0, 1, 0]), ByLetter()
    expected = report([0.6, 0.5, 0.3, 0.2], pairs.is_duplicate, 0.4, seed=3)
    expected |= {"unknown_words": None, "mistakes": None}
    assert evaluate(trained, pairs, threshold=0.4, seed=3) == expected
    with pytest.raises(ValueError, match="threshold must be given, because the model has none"):
        evaluate(trained, pairs)
    trained.threshold = 0.4
    assert evaluate(trained, pairs, seed=3) == expected
    assert evaluate(trained, pairs, threshold=0)["threshold"] == 0.0
    with pytest.raises(ValueError, match="pairs must have labels"):
        evaluate(trained, Pairs(["a"], ["b"]))


@pytest.mark.parametrize("buckets", [0, 4])
def test_pairs_with_unknown_words_are_measured_apart(buckets):
    words = Vocabulary(["how", "old"], buckets=buckets)
    known = [("how", "old", 1, 0.9), ("OLD  How", "how", 0, 0.8), ("", "old", 1, 0.3)]
    unknown = [("how", "old why", 0, 0.55), ("who", "how", 1, 0.6), ("how?", "old", 0, 0.2)]
    first, second, labels, scores = zip(*known, *unknown)
    trained = answering(np.array(scores, np.float32), vocabulary=words)
    numbers = evaluate(trained, Pairs(first, second, labels))
    assert numbers["unknown_words"] == {
        "share": 3 / 6,
        "with": {"n": 3, "duplicates": 1, "roc_auc": 2 / 2, "accuracy": 2 / 3},
        "without": {"n": 3, "duplicates": 2, "roc_auc": 1 / 2, "accuracy": 1 / 3},
    }
    assert json.loads(json.dumps(numbers)) == numbers


@pytest.mark.parametrize(
    "words, share, duplicates_with, duplicates_without",
    [(["how", "old", "who"], 0, [], [1, 1, 0]), (["how", "old"], 1 / 3, [0], [1, 1])],
)
def test_a_part_without_one_class_is_not_measured(
    words, share, duplicates_with, duplicates_without
):
    pairs = Pairs(["how", "old", "who"], ["old", "how", "how"], [1, 1, 0])
    trained = answering(np.array([0.9, 0.3, 0.1]), vocabulary=Vocabulary(words))
    numbers = evaluate(trained, pairs)["unknown_words"]
    assert numbers["share"] == share
    parts = {"with": duplicates_with, "without": duplicates_without}
    for name, labels in parts.items():
        measured = {"roc_auc": 1.0, "accuracy": 2 / 3} if len(set(labels)) == 2 else NOT_MEASURED
        assert numbers[name] == {"n": len(labels), "duplicates": sum(labels), **measured}


def test_the_worst_mistakes_are_those_farthest_on_the_wrong_side():
    # Above 0.6 are three: the fourth is equal to the threshold.
    scores = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.1, 0.2], np.float32)
    labels, lines = [1, 0, 0, 0, 1, 1, 0], [2, 3, 5, 6, 7, 9, 10]
    pairs, trained = Pairs([*"abcdefg"], [*"ABCDEFG"], labels, lines=lines), answering(scores, 0.6)

    for count, false_positives, false_negatives in ((1, "b", "f"), (np.int64(9), "bc", "fe")):
        numbers = evaluate(trained, pairs, mistakes=count)
        found = {k: [m["question1"] for m in worst] for k, worst in numbers["mistakes"].items()}
        expected = {"false_positives": [*false_positives], "false_negatives": [*false_negatives]}
        assert found == expected
    assert numbers["mistakes"]["false_negatives"][1] == {
        "question1": "e",
        "question2": "E",
        "similarity": 0.5,
        "line": 7,
    }
    assert json.loads(json.dumps(numbers)) == numbers


def test_mistakes_of_pairs_that_come_from_no_file_have_no_line():
    pairs = Pairs(["Why?", "Who?"], ["How come?", "When?"], [1, 0])
    mistakes = evaluate(answering([0.75, 0.875]), pairs, mistakes=1)["mistakes"]
    [wrong] = mistakes["false_positives"]
    assert wrong == {"question1": "Who?", "question2": "When?", "similarity": 0.875, "line": None}
    assert mistakes["false_negatives"] == []
