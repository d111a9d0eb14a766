"""The assignment's names as a grader judges them: types, printed forms, numbers, side effects."""

import collections
import contextlib
import inspect
import io
import itertools
import random

import jax
import numpy as np
import oracles
import pytest
from vectors import FREE1, FREE2, UNIT1, UNIT2

from trax_triplet.compat import fastmath, lr_schedules, optimizers, tl, training
from trax_triplet.course import (
    Siamese,
    TripletLoss,
    TripletLossFn,
    assignment,
    classify,
    data_generator,
    predict,
    train_model,
)
from trax_triplet.model.weights import init_model

Q1 = [[30, 87, 78, 134, 2132, 1981, 28, 78, 594, 21], [30, 55, 78], [12, 9], [3, 4, 5, 6, 7]]
Q2 = [[30, 156, 78, 134, 2132, 9508, 21], [30, 156, 78, 3541], [12, 9, 8], [5, 6]]


def small_siamese():
    return Siamese(50, 8)


def small_batches(seed=0):
    """Endless batches of four pairs out of twelve, by ids below 50."""
    ids = np.random.default_rng(seed).integers(2, 50, (12, 5)).tolist()
    return data_generator(ids, [question[:4] for question in ids], 4, shuffle=False)


def quietly(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):  # the lines that a Loop prints
        return function(*arguments)


def small_loop(folder):
    return quietly(
        train_model, small_siamese, TripletLoss, small_batches(), small_batches(1), str(folder)
    )


def run(loop, n_steps):
    quietly(loop.run, n_steps)
    return loop


# --- the names


def test_a_star_import_gives_the_seven_names():
    names = {}
    exec("from trax_triplet.course import *", names)
    del names["__builtins__"]
    assert sorted(names) == [
        "Siamese",
        "TripletLoss",
        "TripletLossFn",
        "classify",
        "data_generator",
        "predict",
        "train_model",
    ]


# --- data_generator


@pytest.mark.parametrize("pad", [1, -1])
@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_batches_in_order_padded_to_a_power_of_two(batch_size, pad):
    batches = data_generator(Q1, Q2, batch_size, pad, shuffle=False)
    order = itertools.cycle(range(4))
    for _ in range(3):
        rows = list(itertools.islice(order, batch_size))
        sides = next(batches)
        # The longest question of a batch has 10 words (pair 0), 5 (pair 3) or 4 (pairs 1 and 2
        # only).
        length = 16 if 0 in rows else 8 if 3 in rows else 4
        for found, questions in zip(sides, (Q1, Q2)):
            assert isinstance(found, np.ndarray) and found.dtype.kind == "i"
            assert found.shape == (batch_size, length)
            assert found.tolist() == [
                questions[i] + [pad] * (length - len(questions[i])) for i in rows
            ]


@pytest.mark.parametrize(
    "words, length", [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (9, 16), (64, 64)]
)
def test_length_is_two_to_the_ceiling_of_the_binary_logarithm(words, length):
    first, second = next(data_generator([[7] * words], [[]], 1))
    assert first.tolist() == [[7] * words + [1] * (length - words)]
    assert second.tolist() == [[1] * length]


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_shuffled_rounds_hold_every_pair_and_keep_pairs_together(batch_size):
    random.seed(4)
    ids1, ids2 = [[i] for i in range(10, 17)], [[i] for i in range(30, 37)]
    batches = data_generator(ids1, ids2, batch_size)
    drawn = []
    while len(drawn) < 21:  # three rounds of seven
        first, second = next(batches)
        assert (second - first == 20).all()
        drawn += first.ravel().tolist()
    rounds = [drawn[start : start + 7] for start in (0, 7, 14)]
    assert [sorted(one) for one in rounds] == [[10, 11, 12, 13, 14, 15, 16]] * 3
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_shuffles_one_list_of_indices_in_place_at_each_round():
    random.seed(34)
    order, expected = [0, 1, 2, 3], []
    for _ in range(3):
        random.shuffle(order)
        expected += order
    random.seed(34)
    batches = data_generator([[i] for i in range(4)], [[i] for i in range(4)], 3)
    assert [i for _ in range(4) for i in next(batches)[0].ravel().tolist()] == expected


def test_the_questions_stay_as_they_are():
    ids1, ids2 = [[5, 6, 7], [8]], [[9], [5, 6]]
    next(data_generator(ids1, ids2, 2))
    assert (ids1, ids2) == ([[5, 6, 7], [8]], [[9], [5, 6]])
    arrays = [np.array([5, 6, 7], np.int32), np.array([8], np.int32)]
    assert next(data_generator(arrays, arrays, 2, shuffle=False))[0].tolist() == [
        [5, 6, 7, 1],
        [8, 1, 1, 1],
    ]


def test_data_generator_refuses_before_the_first_batch():
    with pytest.raises(ValueError, match="Q1 and Q2"):
        data_generator([[1]], [], 2)


# --- the model and the loss


def test_siamese_has_the_layers_that_a_grader_looks_for():
    model = Siamese()
    tower = "  Serial[\n    Embedding_41699_128\n    LSTM_128\n    Mean\n    Normalize\n  ]\n"
    assert str(model) == f"Parallel_in2_out2[\n{tower}{tower}]"
    assert isinstance(model, tl.Parallel) and [type(layer) for layer in model.sublayers] == [
        tl.Serial,
        tl.Serial,
    ]
    kinds = [type(layer).__name__ for layer in model.sublayers[0].sublayers]
    assert kinds == ["Embedding", "Serial", "PureLayer", "PureLayer"]
    assert model.sublayers[0] is model.sublayers[1]


def test_siamese_takes_the_assignment_s_arguments():
    assert "Embedding_30_16" in str(Siamese(vocab_size=30, d_model=16, mode="eval"))
    assert str(Siamese(30, 16, "train")) == str(Siamese(30, 16, "eval"))


# The assignment takes vectors as they are; that some are not unit vectors is warned about once in a
# process.
@pytest.mark.filterwarnings("ignore:the rows of v. have lengths:UserWarning")
@pytest.mark.parametrize(
    "v1, v2, margin, value",
    [
        (UNIT1, UNIT2, {}, 0.5),
        (FREE1, FREE2, {}, 1.4382333),
        (FREE1, FREE2, {"margin": 0.8}, 2.1715667),
    ],
)
def test_loss_has_the_assignment_s_numbers(v1, v2, margin, value):
    v1, v2 = np.array(v1), np.array(v2)
    expected = oracles.triplet_loss(v1, v2, margin.get("margin", 0.25), "hardest", normalize=False)
    assert expected == pytest.approx(value, abs=5e-7)
    found = TripletLossFn(v1, v2, **margin)
    assert isinstance(found, jax.Array) and found.shape == ()
    assert float(found) == pytest.approx(value, abs=5e-7)
    assert float(TripletLoss(**margin)((v1, v2))) == pytest.approx(value, abs=5e-7)


def test_loss_layer_prints_and_is_typed_as_the_assignment_s():
    layer = TripletLoss(margin=0.5)
    assert str(layer) == "TripletLoss_in2" and layer.name == "TripletLoss"
    assert type(layer).__name__ == "PureLayer" and (layer.n_in, layer.n_out) == (2, 1)


def test_a_batch_of_one_and_zero_vectors_cost_numbers():
    one = np.array([[0.6, 0.8]])
    assert float(TripletLossFn(one, one)) == 0.0  # no negatives; the course: 0/0
    zeros = np.zeros((2, 3))
    assert float(TripletLossFn(zeros, zeros)) == 0.25 + 0.25


# --- train_model


def test_the_loop_is_what_a_grader_inspects(tmp_path):
    loop = small_loop(tmp_path / "model")
    assert isinstance(loop, training.Loop) and loop.step == 0
    assert str(loop.model) == str(small_siamese()) and str(loop.eval_model) == str(small_siamese())
    task, (judge,) = loop.tasks[0], loop.eval_tasks
    assert isinstance(
        task.optimizer, optimizers.adam.Adam
    )  # optimizers.Adam is Gin's subclass of it
    default = optimizers.Adam(0.01)
    assert task.optimizer._init_opt_params == default._init_opt_params
    assert task.optimizer._init_opt_params["learning_rate"] == 0.01
    assert str(task.loss_layer) == "TripletLoss_in2"
    assert [str(metric) for metric in judge.metrics] == [
        "TripletLoss_in2"
    ] and judge.metric_names == ["TripletLoss"]
    assert loop.output_dir == str(tmp_path / "model") and (tmp_path / "model").is_dir()
    assert inspect.signature(train_model).parameters["output_dir"].default == "model/"
    # The learning rate warms up for 400 steps, then falls with the root.
    reference = lr_schedules.warmup_and_rsqrt_decay(400, 0.01)
    for step in (1, 399, 5000):
        assert task.learning_rate(step) == reference(step)
    # Trax's line ends, and its root begins, one step after the warm-up.
    assert float(task.learning_rate(200)) == pytest.approx(0.01 * 200 / 401)
    assert float(task.learning_rate(401)) == pytest.approx(0.01)
    # A quarter under the root: 401 / 1604.
    assert float(task.learning_rate(1604)) == pytest.approx(0.01 / 2)


def save_shapes(folder, weights, slots):
    """Writes a checkpoint's arrays as Trax does, as far as `train_model` looks at them."""
    for part, shapes in (("weights", weights), ("opt_slots0", slots)):
        arrays = [np.zeros(shape, np.float32) for shape in shapes]
        tl.np_to_file(arrays, str(folder / f"model.{part}.npy.gz"), compresslevel=2)


@pytest.mark.parametrize("slots", [[], [(3, 2), (2,)], [(3, 2), (3, 2), (2,)], [(3, 2), (2,)] * 2])
def test_a_checkpoint_without_adam_s_two_arrays_per_weight_is_refused(tmp_path, slots):
    save_shapes(tmp_path, [(3, 2), (2,)], slots)
    with pytest.raises(
        ValueError, match="holds a checkpoint of another model or optimizer"
    ) as error:
        small_loop(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_checkpoint_of_adam_is_handed_to_trax(tmp_path, monkeypatch):
    save_shapes(tmp_path, [(3, 2), (2,)], [(3, 2), (3, 2), (2,), (2,)])
    monkeypatch.setattr(training, "Loop", lambda *given, **options: options["output_dir"])
    assert small_loop(tmp_path) == str(tmp_path)

    def fits_nowhere(*given, **options):
        return [][0]

    monkeypatch.setattr(training, "Loop", fits_nowhere)
    with pytest.raises(ValueError, match="another model or optimizer"):
        small_loop(tmp_path)


@pytest.mark.slow
def test_a_run_that_continues_starts_from_the_saved_step_and_weights(tmp_path):
    first = run(small_loop(tmp_path), 2)
    first.save_checkpoint("model")
    again = small_loop(tmp_path)
    assert again.step == 2
    for before, now in zip(*(fastmath.tree_leaves(loop.model.weights) for loop in (first, again))):
        np.testing.assert_array_equal(before, now)
    for before, now in zip(
        *(fastmath.tree_leaves(loop._trainer_per_task[0].slots) for loop in (first, again))
    ):
        np.testing.assert_array_equal(before, now)  # Adam's two arrays a weight
    assert run(again, 1).step == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [optimizers.SGD, optimizers.Momentum, optimizers.RMSProp, optimizers.Adafactor, optimizers.SM3],
)
def test_a_checkpoint_of_another_optimizer_is_named_with_its_folder(tmp_path, optimizer):
    task = training.TrainTask(small_batches(), TripletLoss(), optimizer(0.01))
    loop = quietly(lambda: training.Loop(small_siamese(), task, output_dir=str(tmp_path)))
    run(loop, 1).save_checkpoint("model")
    with pytest.raises(
        ValueError, match="a checkpoint of another model or optimizer than this one, Adam"
    ) as error:
        small_loop(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.slow
def test_a_checkpoint_of_another_size_is_named_with_its_folder(tmp_path):
    run(small_loop(tmp_path), 1).save_checkpoint("model")
    with pytest.raises(ValueError, match="another model or optimizer") as error:
        quietly(
            train_model,
            lambda: Siamese(50, 4),
            TripletLoss,
            small_batches(),
            small_batches(1),
            str(tmp_path),
        )
    assert str(tmp_path) in str(error.value)


def test_an_error_of_the_student_s_own_model_comes_through(tmp_path):
    def broken():
        return [][0]

    with pytest.raises(IndexError, match="list index out of range"):
        quietly(train_model, broken, TripletLoss, small_batches(), small_batches(), str(tmp_path))


# --- classify and predict


def by_first_word(questions):
    """A model: a question's vector is the unit vector of its first word."""
    return [np.eye(8)[batch[:, 0]] for batch in questions]


def course_vocabulary(**words):
    """A defaultdict, as the assignment makes it: reading what it lacks would add it."""
    return collections.defaultdict(lambda: 0, {"<PAD>": 1, **words})


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7, 64])
def test_every_pair_is_classified_whatever_the_batch_size(batch_size):
    first, second = (
        [[2], [3], [4], [5], [6]],
        [[2], [4], [4], [6], [6]],
    )  # similarities 1, 0, 1, 0, 1
    found = classify(
        first,
        second,
        [1, 0, 0, 0, 1],
        0.7,
        by_first_word,
        course_vocabulary(),
        batch_size=batch_size,
    )
    assert found == (1 + 1 + 0 + 1 + 1) / 5


def test_labels_may_be_an_array_and_the_threshold_itself_is_no_duplicate():
    accuracy = classify(
        [[2], [3]], [[2], [3]], np.array([1, 1]), 1.0, by_first_word, course_vocabulary()
    )
    assert accuracy == 0.0 and isinstance(accuracy, float)
    assert (
        classify(
            [[2], [3]], [[2], [3]], np.array([True, True]), 0.99, by_first_word, course_vocabulary()
        )
        == 1.0
    )


def test_classify_pads_with_the_vocabulary_s_id_and_reads_the_generator_it_is_given():
    seen = []

    def generator(Q1, Q2, batch_size, pad, shuffle):
        seen.append((len(Q1), batch_size, pad, shuffle))
        return data_generator(Q1, Q2, batch_size, pad, shuffle)

    classify(
        [[2], [3], [4]], [[2], [3], [4]], [1, 1, 1], 0.7, by_first_word, {"<PAD>": 7}, generator, 2
    )
    assert seen == [(2, 2, 7, False), (1, 1, 7, False)]


def test_a_trax_model_is_a_callable_like_any_other_and_answers_for_empty_questions():
    model = init_model(small_siamese(), 0)
    same = [[5, 6], [8], []]
    assert classify(same, same, [1, 1, 1], 0.99, model, course_vocabulary()) == 1.0


@pytest.fixture
def words_only(monkeypatch):
    """`predict` with words cut at blanks: no punkt is needed."""
    monkeypatch.setattr(assignment, "tokenize", lambda question, tokenizer: question.split())


def test_predict_treats_unknown_words_as_0_and_the_vocabulary_does_not_grow(words_only):
    vocab = course_vocabulary(how=2, why=3)
    answers = [
        predict("how so", second, 0.7, by_first_word, vocab)
        for second in ("how come", "why", "new")
    ]
    assert [bool(answer) for answer in answers] == [True, False, False]
    assert all(answer.dtype == bool and answer.shape == () for answer in answers)
    classify([[2]], [[2]], [1], 0.7, by_first_word, vocab)
    assert dict(vocab) == {"<PAD>": 1, "how": 2, "why": 3}
    bare = collections.defaultdict(int)
    predict("how", "why", 0.7, by_first_word, bare)
    classify([[2]], [[2]], [1], 0.7, by_first_word, bare)
    assert not bare


def test_predict_answers_for_empty_questions(words_only):
    for first, second, same in (("", "", True), ("how", "", False), ("", "how", False)):
        answer = predict(first, second, 0.7, by_first_word, course_vocabulary(how=2))
        assert bool(answer) is same


def test_predict_prints_what_it_saw_when_asked(words_only, capsys):
    predict("how why", "how", 0.7, by_first_word, course_vocabulary(how=2), verbose=True)
    assert capsys.readouterr().out == "Q1  = [2, 0]\nQ2  = [2]\nd   = 1.0\nres = True\n"
    predict("how", "how", 0.7, by_first_word, course_vocabulary(how=2))
    assert capsys.readouterr().out == ""


def test_predict_without_punkt_says_what_to_type(punkt, tmp_path):
    punkt(tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m nltk.downloader punkt_tab"):
        predict("how", "why", 0.7, by_first_word, course_vocabulary())


# --- what the course itself gave


@pytest.mark.real_data
@pytest.mark.parametrize("batch_size", [64, 100, 512])
def test_the_lab_s_arrays_at_the_lab_s_threshold(real_data, batch_size):
    q1, q2, v1, v2, y = (
        np.load(real_data / "course_lab" / f"{name}.npy", allow_pickle=False)
        for name in ("q1", "q2", "v1", "v2", "y_test")
    )
    vector_of = [
        {row.tobytes(): vector for row, vector in zip(q, v)} for q, v in ((q1, v1), (q2, v2))
    ]

    def look_up(batch):
        return [
            np.array([known[row.astype(np.int64).tobytes()] for row in side])
            for known, side in zip(vector_of, batch)
        ]

    # 380 of the 512 pairs are answered right.
    assert (
        classify(q1, q2, y, 0.7, look_up, {"<PAD>": 1}, batch_size=batch_size)
        == 380 / 512
        == 0.7421875
    )


@pytest.mark.real_data
def test_predict_cuts_words_by_the_course_s_rules(punkt, real_data, capsys):
    punkt(real_data / "nltk_data")
    vocab = course_vocabulary(When=2, will=3, I=4)
    vocab.update({"see": 5, "you": 6, "?": 7})
    answer = predict(
        "When will I see you?", "When can I see you again?", 0.7, by_first_word, vocab, verbose=True
    )
    assert bool(answer) and isinstance(answer, jax.Array)
    assert (
        capsys.readouterr().out
        == "Q1  = [2, 3, 4, 5, 6, 7]\nQ2  = [2, 0, 4, 5, 6, 0, 7]\nd   = 1.0\nres = True\n"
    )
    assert "can" not in vocab
