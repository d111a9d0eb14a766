"""A teacher: whose vectors are whose, what batches carry, and that the student learns from it."""

import dataclasses
import shutil

import numpy as np
import pytest
from small_run import SETTINGS, SMALL, sample_parts

from trax_triplet.data.stream import BatchStream
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.storage.folders import load_checkpoint
from trax_triplet.training.examples import Examples
from trax_triplet.training.run import train
from trax_triplet.training.settings import TrainSettings
from trax_triplet.training.teacher import TaughtStream, taught_vectors

RUN = TrainSettings(**SETTINGS)
UNLABELLED = [f"What is the price of {n} apples?" for n in range(11)]


@pytest.fixture(scope="module")
def parts():
    return sample_parts()


def letters(texts):
    """Vectors by which questions of the same letters are alike."""
    return np.array([[1.0 + text.count(letter) for letter in "aeiou"] for text in texts])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["function", "array"])
def test_each_row_of_a_batch_has_the_vector_of_its_question(parts, kind):
    pairs, validation = parts
    every = [*pairs.question1, *pairs.question2, *UNLABELLED]
    teacher = letters if kind == "function" else letters(every)
    settings = dataclasses.replace(RUN, max_words=40)
    examples = Examples(
        pairs, validation, settings, lambda text: None, teacher=teacher, unlabelled=UNLABELLED
    )
    stream = examples.stream(lambda: np.ones((len(examples.ids1), 2)))
    encode, known = examples.vocabulary.encode, {}
    for question, vector in zip(every, unit(letters(every))):
        known.setdefault(tuple(encode(question)), []).append(vector)
    assert stream.unlabelled_per_batch == 16 // 4 and examples.teacher_width == 5
    seen = set()
    for _ in range(12):
        *sides, groups, _, labels, taught1, taught2 = next(stream)
        n = 16 + stream.others_per_batch + 4
        assert {len(part) for part in (*sides, groups, labels, taught1, taught2)} == {n}
        assert (labels[-4:] == -1).all() and (groups[16:] == -1).all()
        for ids, taught in zip(sides, (taught1, taught2)):
            for row, vector in zip(ids, taught):
                words = tuple(row[row != 1])
                if not words:
                    assert not vector.any()
                    continue
                nearest = max(vector @ found for found in known[words])
                assert nearest == pytest.approx(1, abs=1e-3)  # float16
            seen |= {tuple(row[row != 1]) for row in ids[-4:]}
    assert seen == {tuple(encode(question)) for question in UNLABELLED}


def test_a_stream_goes_on_with_the_unlabelled_questions_that_were_next():
    ids = [np.array([n + 2]) for n in range(8)]
    options = {"batch_size": 8, "seed": 0, "max_words": 4, "unlabelled": ids}
    rows = np.arange(8)
    options |= {"taught": np.eye(8), "places": [rows, rows, rows[:0], rows[:0], rows]}
    first, second = (TaughtStream(ids, ids, rows, **options) for _ in range(2))
    for _ in range(3):
        next(first)
    second.restore(first.state())
    for _ in range(3):
        for found, expected in zip(next(second), next(first)):
            np.testing.assert_array_equal(found, expected)


def test_batches_are_otherwise_those_without_a_teacher(parts):
    plain, taught = (
        Examples(*parts, RUN, lambda text: None, **more).stream(lambda: None)
        for more in ({}, {"teacher": letters})
    )
    assert type(plain) is BatchStream and plain.unlabelled_per_batch == 0
    for _ in range(5):
        for found, expected in zip(next(taught), next(plain)):
            np.testing.assert_array_equal(found, expected)


def test_vectors_are_scaled_in_any_range_and_zeros_stay():
    vectors = np.array([[3e30, 4e30], [0.0, 0.0], [3e-30, 4e-30]])
    expected = [[0.6, 0.8], [0, 0], [0.6, 0.8]]
    np.testing.assert_allclose(taught_vectors(vectors, ["a"] * 3), expected, atol=1e-3)


def test_a_function_is_asked_once_for_each_question(monkeypatch):
    monkeypatch.setattr("trax_triplet.training.teacher.AT_ONCE", 2)
    asked = []

    def teacher(texts):
        asked.append(texts)
        return letters(texts)[:, : 5 - (len(asked) > 3)]

    assert taught_vectors(teacher, ["a", "b", "c"]).shape == (3, 5)
    assert asked == [["a", "b"], ["c"]]
    with pytest.raises(ValueError, match=r"teacher\(questions\) must be as wide as before, 5"):
        taught_vectors(teacher, ["a", "b", "c"])


@pytest.mark.integration
def test_the_student_comes_to_judge_as_the_teacher(parts, tmp_path):
    pairs, validation = parts
    options = {**SMALL, "steps": 40, "evaluate_every": 40, "warmup_steps": 0, "hard_from": None}
    trained = train(
        pairs, tmp_path, validation=validation, **options, teacher=letters, teacher_weight=30
    )
    weights = {name: w for name, w in trained.weights.items() if name != "centre"}
    student = TrainedModel(weights, trained.vocabulary, trained.settings)
    vectors, taught = student.embed(pairs.question1), unit(letters(pairs.question1))
    error = np.square(vectors @ vectors.T - taught @ taught.T).mean()
    assert error < 0.05  # 0.8 at first: similarities are 0.9 and more by the teacher


@pytest.mark.integration
def test_a_run_goes_on_with_its_teacher(parts, tmp_path):
    pairs, validation = parts
    given = {"teacher": letters, "unlabelled": UNLABELLED, "validation": validation, **SMALL}
    train(pairs, tmp_path / "whole", **given)

    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "00000006")
    train(pairs, tmp_path / "parts", **given)
    ends = [load_checkpoint(tmp_path / name / "checkpoints")[0] for name in ("whole", "parts")]
    assert ends[0].keys() == ends[1].keys() and "stream/unlabelled" in ends[0]
    for name, expected in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], expected, err_msg=name)
    for change in ({"unlabelled": UNLABELLED[1:]}, {"teacher": None, "unlabelled": ()}):
        with pytest.raises(ValueError, match="belongs to another run"):
            train(pairs, tmp_path / "parts", **{**given, **change})
