"""A teacher: whose vectors are whose, what batches carry, and that the student learns from it."""

import dataclasses
import shutil

import numpy as np
import pytest
from small_run import SETTINGS, SMALL, sample_parts

from trax_triplet._folders import load_checkpoint
from trax_triplet.data.stream import BatchStream
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.training.examples import Examples
from trax_triplet.training.run import train
from trax_triplet.training.settings import TrainSettings
from trax_triplet.training.teacher import TaughtStream, projection_of, taught_vectors

RUN = TrainSettings(**SETTINGS)
TAUGHT = dataclasses.replace(RUN, teacher_weight=1)
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
    settings = dataclasses.replace(RUN, max_words=40, teacher_weight=1)
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
        Examples(*parts, TAUGHT, lambda text: None, **more).stream(lambda: None)
        for more in ({}, {"teacher": letters})
    )
    assert type(plain) is BatchStream and plain.unlabelled_per_batch == 0
    assert type(taught) is TaughtStream
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


def test_a_projection_gives_room_to_what_the_teacher_speaks_of():
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(200, 5)))
    taught = unit(vectors[:, :2] @ random.normal(size=(2, 7)) + 0.1 * random.normal(size=(200, 7)))
    projection = projection_of(vectors, taught)
    x, t = vectors - vectors.mean(axis=0), taught - taught.mean(axis=0)
    damping = 0.5 * np.square(x).sum() / 5
    # Each column of the map is a ridge regression, here as ordinary least squares on more rows.
    rows = np.concatenate([x, np.sqrt(damping) * np.eye(5)])
    found = np.linalg.lstsq(rows, np.concatenate([t, np.zeros((5, 7))]), rcond=None)[0]
    lengths = [np.linalg.norm(row @ found) for row in x]
    for a, b in ((0, 1), (2, 2)):
        expected = vectors[a] @ vectors[b] + (0.7 / np.mean(lengths)) ** 2 * (
            (vectors[a] @ found) @ (vectors[b] @ found)
        )
        product = (vectors[a] @ projection) @ (vectors[b] @ projection)
        assert product == pytest.approx(expected, abs=1e-5)
    stretched = np.linalg.norm(projection, axis=1)
    assert stretched[:2].min() > 1.2 > 1.1 > stretched[2:].max()
    nothing = projection_of(vectors, np.ones((200, 3)))
    np.testing.assert_array_equal(nothing, np.eye(5))


@pytest.mark.slow
def test_a_run_projects_by_its_teacher_and_takes_no_other_step(parts, tmp_path):
    pairs, validation = parts
    options = {**SMALL, "steps": 2, "validation": validation}
    trained = train(pairs, tmp_path, teacher=letters, unlabelled=UNLABELLED, **options)
    plain = {n: w for n, w in trained.weights.items() if n not in ("centre", "projection")}
    student = TrainedModel(plain, trained.vocabulary, trained.settings)
    questions = [*dict.fromkeys([*pairs.question1, *pairs.question2, *UNLABELLED])]
    expected = projection_of(student.embed(questions), taught_vectors(letters, questions))
    np.testing.assert_allclose(trained.weights["projection"], expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected - np.eye(len(expected))).max() > 0.01
    projected = unit(student.embed(questions) @ trained.weights["projection"])
    centre = trained.weights["centre"]
    np.testing.assert_allclose(centre, 0.6 * unit(projected.mean(axis=0)[None])[0], atol=1e-3)


@pytest.mark.slow
def test_the_student_comes_to_judge_as_the_teacher(parts, tmp_path):
    pairs, validation = parts
    options = {**SMALL, "steps": 40, "evaluate_every": 40, "warmup_steps": 0, "hard_from": None}
    trained = train(
        pairs, tmp_path, validation=validation, **options, teacher=letters, teacher_weight=30
    )
    weights = {n: w for n, w in trained.weights.items() if n not in ("centre", "projection")}
    student = TrainedModel(weights, trained.vocabulary, trained.settings)
    vectors, taught = student.embed(pairs.question1), unit(letters(pairs.question1))
    error = np.square(vectors @ vectors.T - taught @ taught.T).mean()
    assert error < 0.05  # 0.8 at first: similarities are 0.9 and more by the teacher


@pytest.mark.slow
def test_a_run_goes_on_with_its_teacher(parts, tmp_path):
    pairs, validation = parts
    given = {"teacher": letters, "unlabelled": UNLABELLED, "validation": validation, **SMALL}
    given["teacher_weight"] = 1
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
