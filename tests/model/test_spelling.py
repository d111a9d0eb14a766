"""Embeddings by spelling: against plain loops, and what they are for."""

import zlib

import numpy as np
import pytest

from trax_triplet.model import spelling
from trax_triplet.model.spelling import LENGTH, TABLE, Spelling, compose

WORDS = ["learn", "learned", "learning", "train", "trained", "training", "x"]


def weights_of(words, d=6, seed=0):
    """Weights whose embedding has ids 0 and 1, the words, and two buckets."""
    embedding = np.random.default_rng(seed).normal(size=(2 + len(words) + 2, d))
    return {"embedding": embedding.astype(np.float32), "lstm/bias": np.zeros(4 * d, np.float32)}


def rows_by_hand(word, n_rows):
    ended = f"<{word}>"
    return [
        zlib.crc32(ended[start : start + n].encode()) % n_rows
        for n in (3, 4, 5)
        for start in range(len(ended) - n + 1)
    ]


def test_an_unknown_word_is_the_direction_of_its_ngrams_sum():
    table = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    composed = compose(["trainer", "é"], {TABLE: table, LENGTH: np.array([3], "f")})
    for word, vector in zip(["trainer", "é"], composed):
        total = np.zeros(4)
        for row in rows_by_hand(word, 50):
            total += table[row]
        np.testing.assert_allclose(vector, 3 * total / np.linalg.norm(total), rtol=1e-5)
    assert composed.dtype == np.float32


def test_the_fit_is_that_of_ridge_regression(monkeypatch):
    monkeypatch.setattr(spelling, "ITERATIONS", 200)
    counts, n_rows = [1, 2, 3, 5, 8, 13, 21], 40
    weights = weights_of(WORDS)
    grams = np.zeros((len(WORDS), n_rows))
    for i, word in enumerate(WORDS):
        rows = rows_by_hand(word, n_rows)
        for row in rows:
            grams[i, row] += 1 / np.sqrt(len(rows))
    importance = np.diag([n / (n + 3) for n in counts])
    normal = grams.T @ importance @ grams + spelling.DAMPING * np.eye(n_rows)
    expected = np.linalg.solve(normal, grams.T @ importance @ weights["embedding"][2:-2])
    found = Spelling(WORDS, counts, n_rows)(weights)[TABLE]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rare_words_lean_on_their_spelling_and_frequent_ones_do_not():
    weights, n = weights_of(WORDS), len(WORDS)
    own = weights["embedding"].copy()
    counts = [0, 10, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000]
    new = Spelling(WORDS, counts, 64)(weights)
    typical = np.median(np.linalg.norm(own[3 : 2 + n], axis=1))  # of those that come often
    # compose gives STRENGTH = 1.5 times the typical length.
    assert new[LENGTH].tolist() == pytest.approx([1.5 * typical])
    spelled = compose(WORDS, new) / 1.5
    np.testing.assert_allclose(new["embedding"][2], spelled[0], rtol=1e-5)
    half = (own[3] + spelled[1]) / 2  # 10 / (10 + 10) of its own
    np.testing.assert_allclose(new["embedding"][3], half, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new["embedding"][4 : 2 + n], own[4 : 2 + n], rtol=1e-3, atol=1e-4)
    for others in (slice(0, 2), slice(2 + n, None)):
        np.testing.assert_array_equal(new["embedding"][others], own[others])
    np.testing.assert_array_equal(weights["embedding"], own)  # what was given is left alone
    assert new["lstm/bias"] is weights["lstm/bias"]


def test_a_form_never_seen_is_near_the_forms_of_its_word():
    stems, ends = ["learn", "train", "paint", "climb", "whisper"], ["", "ed", "ing", "er"]
    words = [stem + end for stem in stems for end in ends]
    meaning = np.random.default_rng(0).normal(size=(len(stems), 16)).astype(np.float32)
    weights = {"embedding": np.concatenate([np.zeros((2, 16), "f"), np.repeat(meaning, 4, axis=0)])}
    new = Spelling(words, [50] * len(words), 4096)(weights)
    similarity = compose([f"{stem}s" for stem in stems], new) @ meaning.T
    assert similarity.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("words", [[], ["a"]])
def test_a_vocabulary_of_next_to_nothing(words):
    new = Spelling(words, [1] * len(words), 8)(weights_of(words))
    assert new[TABLE].shape == (8, 6) and np.isfinite(new[TABLE]).all()
    assert np.isfinite(compose(["b", "half \ud800 of a pair"], new)).all()


def test_a_word_of_a_megabyte_costs_no_more_than_its_beginning():
    weights = {TABLE: np.random.default_rng(0).normal(size=(64, 4)), LENGTH: np.ones(1, "f")}
    long, cut = compose(["y" * 1_000_000, "y" * spelling.MOST_CHARACTERS], weights)
    np.testing.assert_array_equal(long, cut)


def test_embeddings_of_zeros_stay_zeros():
    weights = {"embedding": np.zeros((4, 3), np.float32)}
    new = Spelling(["one", "two"], [9, 9], 16)(weights)
    assert not any(new[name].any() for name in ("embedding", TABLE, LENGTH))
    assert not compose(["three"], new).any()
