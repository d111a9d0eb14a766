"""Bulk encoding: the model's own vectors, in order, whatever shares a batch."""

import numpy as np
import oracles
import pytest

from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import Siamese, pooling_of
from trax_triplet.model.walk import Walk
from trax_triplet.model.weights import get_weights, init_model, set_weights

D = 6


def small(pooling="last", mode="eval", seed=3, vocab_size=20, **settings):
    return init_model(
        Siamese(vocab_size, D, mode, pooling=pooling, embedding_stddev=1.0, **settings), seed
    )


def vectors_of(model, questions, length):
    """Unit vectors by plain loops; `length` is what a course's model pads questions to."""
    weights = {name: w.astype(float) for name, w in get_weights(model).items()}
    pooling, vectors = pooling_of(model), []
    for question in questions:
        ids = [*question] + [1] * ((length - len(question)) if pooling == "course" else 0)
        steps, lstm = weights["embedding"][ids], (weights["lstm/kernel"], weights["lstm/bias"])
        firsts = range(len(ids)) if pooling != "last" else [len(ids) - 1]
        states = [oracles.lstm_last_state(steps[: n + 1], *lstm) for n in firsts if len(ids)]
        vectors.append(oracles.unit(np.mean(states, axis=0)) if states else np.zeros(D))
    return np.array(vectors)


def random_questions(lengths, vocab_size=20):
    rng = np.random.default_rng(0)
    return [rng.integers(2, vocab_size, n).astype(np.int32) for n in lengths]


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_gives_the_models_vectors_in_the_order_asked(pooling):
    model, questions = small(pooling), random_questions((3, 11, 0, 1, 8, 30, 5))
    expected = vectors_of(model, questions, 32)
    for batch_size in (2, 512):
        np.testing.assert_allclose(Encoder(model, batch_size)(questions), expected, atol=1e-6)
    assert Encoder(model)([]).shape == (0, D)
    assert not Encoder(model)([[], []]).any()


def test_the_courses_model_is_run_as_it_is_padded_to_a_multiple_of_8():
    model = init_model(Siamese(20, D, "eval"), 3)
    questions = random_questions((3, 9))
    expected = np.concatenate(
        [vectors_of(model, [q], length) for q, length in zip(questions, (8, 16))]
    )
    np.testing.assert_allclose(Encoder(model)(questions), expected, atol=1e-6)


def test_a_large_vocabulary_of_which_few_words_come():
    model, questions = small(vocab_size=6000), random_questions(range(1, 50), 6000)
    expected = vectors_of(model, questions, 64)
    np.testing.assert_allclose(Encoder(model)(questions), expected, atol=1e-6)
    np.testing.assert_allclose(Encoder(model)(questions[:5]), expected[:5], atol=1e-6)


def test_equal_questions_are_computed_once(monkeypatch):
    one, other = random_questions((3, 4))
    model, walked = small(), []
    walk = Walk.__call__

    def noted(self, rows, size):
        walked.append((len(rows), size))
        return walk(self, rows, size)

    monkeypatch.setattr(Walk, "__call__", noted)
    vectors = Encoder(model, 7)([one, other, one, one.astype(np.int64).tolist()])
    assert walked == [(2, 7)]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_allclose(vectors[:2], vectors_of(model, [one, other], 32), atol=1e-6)


def test_the_id_of_unknown_words_is_a_word_too():
    model, questions = small(), [[5, 0], [0]]
    np.testing.assert_allclose(
        Encoder(model)(questions), vectors_of(model, questions, 8), atol=1e-6
    )


@pytest.mark.parametrize("bad", [-1, 20])
def test_an_id_that_the_model_lacks_is_named(bad):
    expected = rf"questions\[2\] must hold ids from 0 to 19, .* holds {bad};"
    with pytest.raises(ValueError, match=expected):
        Encoder(small())([[0, 19], [19], [5, bad]])


def test_sees_new_weights():
    model = small(seed=1)
    encode = Encoder(model)
    before = encode([[5, 6]])
    set_weights(model, get_weights(small(seed=2)))
    np.testing.assert_allclose(encode([[5, 6]]), vectors_of(model, [[5, 6]], 8), atol=1e-6)
    assert np.abs(encode([[5, 6]]) - before).max() > 1e-3


def test_drops_no_words():
    model = small(mode="train", word_dropout=0.9)
    plain = set_weights(small(), get_weights(model))
    np.testing.assert_array_equal(Encoder(model)([[5, 6, 7]]), Encoder(plain)([[5, 6, 7]]))
