"""Metrics of rankings against scikit-learn, plain loops over all orders of ties, and arithmetic."""

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as sk

from trax_triplet.search import ranking
from trax_triplet.search.ranking import mean_metrics, ranking_metrics


def by_loop(order, relevant):
    """The metrics of one order, without ties."""
    hits = [relevant[place] for place in order]
    n = sum(hits)
    first = hits.index(True) + 1
    precisions = [sum(hits[: k + 1]) / (k + 1) for k, hit in enumerate(hits) if hit]
    gains = [1 / math.log2(k + 2) for k, hit in enumerate(hits[:10]) if hit]
    best = sum(1 / math.log2(k + 2) for k in range(min(10, n)))
    return {
        **{f"recall@{k}": sum(hits[:k]) / n for k in (1, 5, 10, 100)},
        "mrr@10": 1 / first if first <= 10 else 0.0,
        "map": sum(precisions) / n,
        "ndcg@10": sum(gains) / best,
    }


def mean_over_orders(scores, relevant):
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    rows = [by_loop(order, relevant) for order in orders]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


@pytest.mark.parametrize("seed", range(12))
def test_ties_count_as_the_mean_over_all_their_orders(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    scores = rng.choice([0.1, 0.5, 0.9], size=n)
    relevant = rng.random(n) < 0.5
    relevant[rng.integers(n)] = True
    expected = mean_over_orders(scores.tolist(), relevant.tolist())
    assert ranking_metrics(scores, relevant) == pytest.approx(expected)


@pytest.mark.parametrize("n_relevant", [1, 3, 40, 300])
@pytest.mark.parametrize("tied", [False, True])
def test_metrics_are_those_of_scikit_learn(n_relevant, tied):
    rng = np.random.default_rng(n_relevant)
    scores = rng.normal(size=300)
    relevant = np.zeros(300, bool)
    relevant[rng.choice(300, n_relevant, replace=False)] = True
    scores[relevant] += 1
    if tied:
        scores = np.round(scores, 1)
    numbers = ranking_metrics(scores, relevant)
    ndcg = sk.ndcg_score([relevant.astype(int)], [scores], k=10)
    assert numbers["ndcg@10"] == pytest.approx(ndcg)
    if not tied:  # there all of a tie enter together
        order = np.argsort(-scores)
        assert numbers["map"] == pytest.approx(sk.average_precision_score(relevant, scores))
        assert numbers == pytest.approx(by_loop(order, relevant.tolist()))


def test_all_tied_is_chance():
    # Each of 12 places is as likely: 1/12 (1 + 1/2 + ... + 1/10) within ten.
    numbers = ranking_metrics(np.zeros(12), np.arange(12) == 4)
    assert numbers["recall@1"] == pytest.approx(1 / 12)
    assert numbers["recall@5"] == pytest.approx(5 / 12)
    assert numbers["mrr@10"] == pytest.approx(sum(1 / k for k in range(1, 11)) / 12)
    assert numbers["map"] == pytest.approx(sum(1 / k for k in range(1, 13)) / 12)


def test_the_order_of_the_corpus_does_not_matter(monkeypatch):
    rng = np.random.default_rng(5)
    scores, relevant = rng.choice(60, size=500) / 60, rng.random(500) < 0.2
    numbers = ranking_metrics(scores, relevant)
    order = rng.permutation(500)
    assert ranking_metrics(scores[order], relevant[order]) == numbers
    monkeypatch.setattr(ranking, "_SORTED_FROM", 1000)  # counted instead of sorted
    assert ranking_metrics(scores, relevant) == numbers


def test_means_and_their_intervals():
    rows = [{"map": float(value)} for value in np.random.default_rng(0).random(400)]
    result = mean_metrics(rows)
    low, high = result["map_interval"]
    mean = sum(row["map"] for row in rows) / 400
    half = 1.96 * math.sqrt(sum((row["map"] - mean) ** 2 for row in rows) / 400 / 400)
    assert result["map"] == pytest.approx(mean)
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=half / 5)
    assert mean_metrics(rows) == result != mean_metrics(rows, seed=1)
