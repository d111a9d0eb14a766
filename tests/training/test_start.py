"""A training that starts from an earlier model."""

import numpy as np
import pytest
from small_run import SMALL, sample_parts

from trax_triplet.data.pairs import Pairs
from trax_triplet.data.tokenizer import tokenize
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.training.run import train
from trax_triplet.training.settings import TrainSettings
from trax_triplet.training.start import SEEN, Start

SETTINGS = TrainSettings(d_model=4, buckets=2)


def model(words, buckets=2, d=4, tokenizer="words", pooling="last"):
    vocabulary = Vocabulary(words, buckets=buckets, tokenizer=tokenizer)
    rows = len(vocabulary)
    weights = {
        "embedding": np.arange(rows * d, dtype=np.float32).reshape(rows, d) + 1,
        "lstm/kernel": np.full((2 * d, 4 * d), 0.5, np.float32),
        "lstm/bias": np.full(4 * d, 0.25, np.float32),
    }
    return TrainedModel(weights, vocabulary, {"pooling": pooling})


def test_known_words_keep_their_vectors_and_new_ones_are_added():
    old = model(["how", "old"])
    start = Start(old, SETTINGS)
    vocabulary = start.vocabulary(Vocabulary(["new", "old", "?"], buckets=2))
    assert vocabulary.words == ("how", "old", "new", "?") and vocabulary.buckets == 2
    initial = {"embedding": -np.ones((8, 4)), "lstm/kernel": None, "lstm/bias": None}
    weights = start.weights(initial, vocabulary)
    rows = old.weights["embedding"]
    new = [rows[old.vocabulary[word]] for word in ("new", "?")]  # the buckets that they were in
    assert weights["embedding"].tolist() == np.stack([*rows[:4], *new, *rows[4:]]).tolist()
    assert (weights["lstm/kernel"] == 0.5).all() and (initial["embedding"] == -1).all()
    assert start.word_counts(np.array([0, 2, 3, 4])).tolist() == [SEEN, SEEN + 2, 3, 4]


@pytest.mark.parametrize("buckets", [0, 3])
def test_without_the_same_buckets_what_is_new_starts_as_ever(buckets):
    start = Start(model(["how"], buckets=0), SETTINGS)
    vocabulary = start.vocabulary(Vocabulary(["old"], buckets=buckets))
    initial = {"embedding": -np.ones((4 + buckets, 4))}
    embedding = start.weights(initial, vocabulary)["embedding"]
    assert (embedding[:3] > 0).all() and (embedding[3:] == -1).all()


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"d_model": 8}, "d_model"),
        ({"pooling": "mean"}, "pooling"),
        ({"tokenizer": "words/1"}, "token"),
    ],
)
def test_settings_must_be_those_of_the_model(changes, name):
    settings = TrainSettings(**{"d_model": 4, **changes})
    with pytest.raises(ValueError, match=f"{name}.* must be that of the model to start from.*give"):
        Start(model(["how"]), settings)
    with pytest.raises(TypeError, match="start must be a trax_triplet.TrainedModel"):
        Start("how", SETTINGS)


@pytest.mark.slow
def test_a_run_goes_on_from_a_model(small_run, tmp_path):
    _, validation = sample_parts()
    more = Pairs(["How do I fix a zorp?"] * 2, ["How can a zorp be fixed?", "Why zorp?"], [1, 1])
    words = small_run.trained.vocabulary.words
    settings = {**SMALL, "steps": 1, "batch_size": 2, "learning_rate": 1e-12}
    settings = {**settings, "validation": validation}
    trained = train(more, tmp_path / "run", start=small_run.folder / "model", **settings)
    assert trained.vocabulary.words[: len(words)] == words and "zorp" in trained.vocabulary
    known = [
        row
        for row, both in enumerate(zip(validation.question1, validation.question2, strict=True))
        if all(word in words for question in both for word in tokenize(question))
    ]
    same = validation.select(known)
    before, after = (
        m.similarity(same.question1, same.question2) for m in (small_run.trained, trained)
    )
    assert len(same) > 9
    np.testing.assert_allclose(before, after, atol=0.1)  # a seldom word is also spelled
    with pytest.raises(ValueError, match="belongs to another run"):
        train(more, tmp_path / "run", **settings)
