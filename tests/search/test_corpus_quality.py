"""How well a model finds duplicates in a corpus, against loops over all pairs and scikit-learn."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics as sk

from trax_triplet import Pairs
from trax_triplet.search import corpus_quality, evaluate_corpus


def corpus(n=120, d=6, seed=0, distinct=None):
    """Pairs of n questions in groups of up to four, and a model in which these are near."""
    rng = np.random.default_rng(seed)
    names = [f"question {k}?" for k in range(n)]
    group = rng.integers(n // 3, size=n)
    vectors = rng.normal(size=(n // 3, d))[group] + 0.8 * rng.normal(size=(n, d))
    if distinct:  # few directions, so that many similarities are equal
        vectors = np.eye(d)[rng.integers(distinct, size=n)]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    first, second, labels = [], [], []
    for k in range(n):
        same = [j for j in range(k) if group[j] == group[k]]
        other = same[-1] if same else int(rng.integers(n))
        if other != k:
            first.append(names[other])
            second.append(names[k].upper() + " " * (k % 3))
            labels.append(int(bool(same)))
    table = dict(zip(names, vectors))
    model = SimpleNamespace(
        threshold=0.6,
        embed=lambda texts: np.array([table[" ".join(text.lower().split())] for text in texts]),
    )
    used = {text.lower().strip() for text in first + second}
    kept = [k for k, name in enumerate(names) if name in used]
    return Pairs(first, second, labels), model, vectors[kept], group[kept]


@pytest.mark.parametrize("distinct", [None, 3], ids=["different", "tied"])
def test_pairs_are_judged_as_scikit_learn_judges_them(distinct):
    pairs, model, vectors, group = corpus(distinct=distinct)
    numbers = evaluate_corpus(model, pairs)["pairs"]
    i, j = np.triu_indices(len(group), 1)
    scores = np.einsum("nd,nd->n", vectors[i], vectors[j])
    labels = group[i] == group[j]
    called = scores > np.float32(0.6)
    assert (numbers["duplicates"], numbers["called"]) == (labels.sum(), called.sum())
    assert numbers["precision"] == pytest.approx(sk.precision_score(labels, called))
    assert numbers["recall"] == pytest.approx(sk.recall_score(labels, called))
    assert numbers["f1"] == pytest.approx(sk.f1_score(labels, called))
    average = sk.average_precision_score(labels, scores)
    assert numbers["average_precision"] == pytest.approx(average)
    assert numbers["average_precision_at_most"] == numbers["average_precision"]
    best = numbers["best_f1"]
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    assert best["value"] == pytest.approx(f1.max())
    assert sk.f1_score(labels, scores > np.float32(best["threshold"])) == pytest.approx(
        best["value"]
    )


def test_one_pair_alone_has_a_threshold_just_below_it():
    table = {"a": [1, 0], "b": [0.6, 0.8]}
    model = SimpleNamespace(threshold=0.5, embed=lambda q: np.float32([table[text] for text in q]))
    best = evaluate_corpus(model, Pairs(["a"], ["b"], [1]))["pairs"]["best_f1"]
    # The similarity is 0.6, and the threshold the next smaller float32.
    assert best["value"] == 1 and best["threshold"] == np.nextafter(np.float32(0.6), np.float32(0))


def test_a_pair_at_the_threshold_is_not_called():
    pairs, model, vectors, _ = corpus(distinct=3)  # similarities are 0 or 1
    model.threshold = 1.0
    numbers = evaluate_corpus(model, pairs)["pairs"]
    assert (vectors @ vectors.T == 1).sum() > len(vectors)
    assert numbers["called"] == 0 and numbers["precision"] == 0


def test_a_large_corpus_ranks_its_most_similar_pairs(monkeypatch):
    pairs, model, *_ = corpus(seed=2)
    exact = evaluate_corpus(model, pairs)["pairs"]
    monkeypatch.setattr(corpus_quality, "RANKED", 300)
    numbers = evaluate_corpus(model, pairs, threshold=0.99)["pairs"]
    assert numbers["average_precision"] < exact["average_precision"]
    assert exact["average_precision"] < numbers["average_precision_at_most"]
    same = evaluate_corpus(model, pairs)["pairs"]
    for name in ("duplicates", "called", "precision", "recall", "f1"):
        assert same[name] == exact[name]


@pytest.mark.parametrize("queries", ["groups", "question1", "question2", "all"])
def test_queries_are_ranked_as_in_a_loop(queries):
    pairs, model, vectors, group = corpus(seed=1)
    numbers = evaluate_corpus(model, pairs, queries=queries)
    texts = [text.lower().strip() for text in (*pairs.question1, *pairs.question2)]
    names = sorted({*texts}, key=lambda text: int(text.split()[1][:-1]))
    row_of = {name: row for row, name in enumerate(names)}
    rows = [row_of[text] for text in texts]
    n = len(rows) // 2
    part = {"groups": rows, "question1": rows[:n], "question2": rows[n:], "all": rows}[queries]
    asked = [row for row in dict.fromkeys(part) if (group == group[row]).sum() > 1]
    if queries == "groups":
        asked = [next(asked_row for asked_row in asked if group[asked_row] == g)
                 for g in dict.fromkeys(group[asked].tolist())]  # fmt: skip
    found = []
    for row in asked:
        others = [k for k in range(len(group)) if k != row]
        order = sorted(others, key=lambda k: -float(vectors[row] @ vectors[k]))
        found.append(next(place for place, k in enumerate(order, 1) if group[k] == group[row]))
    assert numbers["queries"] == len(asked) > 10
    mean = sum(1 / place if place <= 10 else 0 for place in found) / len(found)
    assert numbers["mrr@10"] == pytest.approx(mean)
    low, high = numbers["mrr@10_interval"]
    assert low < mean < high


def test_the_order_of_the_pairs_does_not_matter_and_the_answer_is_json():
    pairs, model, *_ = corpus(distinct=3)
    order = np.random.default_rng(3).permutation(len(pairs))
    shuffled = Pairs(
        [pairs.question1[k] for k in order],
        [pairs.question2[k] for k in order],
        pairs.is_duplicate[order],
    )
    numbers, again = (evaluate_corpus(model, some, queries="all") for some in (pairs, shuffled))
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers["pairs"] == again["pairs"]
    for name in ("recall@1", "mrr@10", "map", "ndcg@10"):
        assert numbers[name] == pytest.approx(again[name], rel=1e-12)


def test_pairs_without_duplicates_are_refused():
    pairs, model, *_ = corpus()
    with pytest.raises(ValueError, match="duplicates"):
        evaluate_corpus(model, Pairs(pairs.question1, pairs.question2, [0] * len(pairs)))
    same = Pairs(["question 1?"], ["Question  1?"], [1])
    with pytest.raises(ValueError, match="duplicates"):
        evaluate_corpus(model, same)


def test_a_model_that_finds_all():
    names = [f"q{k}" for k in range(20)]
    model = SimpleNamespace(
        threshold=0.5, embed=lambda texts: np.eye(10, dtype="f4")[[int(t[1:]) // 2 for t in texts]]
    )
    numbers = evaluate_corpus(model, Pairs(names[::2], names[1::2], [1] * 10))
    perfect = [name for name in numbers if "@" in name or name == "map"]
    assert {numbers[name] for name in perfect if "interval" not in name} == {1.0}
    assert numbers["pairs"]["f1"] == numbers["pairs"]["average_precision"] == 1.0
    assert list(itertools.chain(numbers["map_interval"])) == [1.0, 1.0]
