"""Right functions of every kind pass; what a result says."""

import contextlib
import math
import random
import signal
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from students import (
    accuracy_of,
    answer_of,
    batches,
    both_of,
    closest_of,
    cost_of,
    loop_of,
    loop_of_2020,
    loops,
    loss_2023,
    mean_of,
    model_of,
    norm,
    off_diagonal,
    trax_loss,
    with_,
)

import trax_triplet
from trax_triplet import checks, course
from trax_triplet.checks import runner, running
from trax_triplet.checks.lecture import LECTURE_SIM
from trax_triplet.compat import fastmath, tl
from trax_triplet.course import edition_2020, edition_2023

# --- right functions


def in_float32(function):
    return lambda *given: np.asarray(
        function(*(np.asarray(x, np.float32) for x in given)), np.float32
    )


def separate_layers(vocab_size=41699, d_model=128, mode="train"):
    layers = [
        tl.Embedding(vocab_size, d_model),
        tl.LSTM(d_model, mode=mode),
        tl.Mean(axis=1),
        tl.Fn("Normalize", trax_triplet.l2_normalize),
    ]
    return tl.Parallel(tl.Serial(*layers), tl.Serial(*layers))


def at_once(test_Q1, test_Q2, y, threshold, model, vocab, data_generator=None, batch_size=64):
    """Vectorised, all pairs in one batch, whatever batch_size says."""
    v1, v2 = model(next(data_generator(test_Q1, test_Q2, len(y), vocab["<PAD>"], False)))
    return jnp.mean(jnp.asarray((np.asarray(v1) * v2).sum(1) > threshold) == jnp.asarray(y))


LECTURE_LOSS = with_(trax_triplet.triplet_loss, reduction="sum")
RIGHT = [
    ("cosine_similarity", trax_triplet.cosine_similarity),
    ("cosine_similarity", lambda a, b: np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))),
    (
        "cosine_similarity",
        lambda a, b: sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b),
    ),
    ("cosine_similarity", in_float32(lambda a, b: [[a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)]])),
    ("l2_normalize", trax_triplet.l2_normalize),
    ("l2_normalize", norm),
    ("l2_normalize", in_float32(norm)),
    ("l2_normalize", lambda x: [[a / math.hypot(*row) for a in row] for row in x.tolist()]),
    ("similarity_matrix", trax_triplet.similarity_matrix),
    ("similarity_matrix", lambda a, b: norm(a) @ norm(b).T),
    (
        "similarity_matrix",
        lambda a, b: [[trax_triplet.cosine_similarity(x, y) for y in b] for x in a],
    ),
    ("similarity_matrix", jax.jit(trax_triplet.similarity_matrix)),
    ("positives", trax_triplet.positives),
    ("positives", lambda sim: [row[i] for i, row in enumerate(sim)]),
    ("positives", lambda sim: np.diag(sim).reshape(-1, 1)),
    ("negatives", off_diagonal),
    ("negatives", lambda sim: sim - np.diag(np.diag(sim))),
    ("negatives", lambda sim: jnp.asarray(sim).at[jnp.diag_indices(len(sim))].set(0)),
    ("mean_negative", trax_triplet.mean_negative),
    ("mean_negative", mean_of),
    (
        "mean_negative",
        lambda sim: [(sum(row) - row[i]) / (len(row) - 1) for i, row in enumerate(sim)],
    ),
    ("closest_negative", trax_triplet.closest_negative),
    ("closest_negative", closest_of),
    (
        "closest_negative",
        lambda sim: [
            max([s for j, s in enumerate(row) if j != i and s <= row[i]], default=-2)
            for i, row in enumerate(sim)
        ],
    ),
    ("closest_negative", in_float32(closest_of)),
    ("hinges", trax_triplet.hinges),
    ("hinges", both_of),
    ("hinges", loops),
    ("hinges", lambda sim, margin: np.float32([x[:, 0] for x in both_of(sim, margin)])),
    ("losses", lambda sim, margin: np.add(*both_of(sim, margin))),
    ("losses", lambda sim, margin: [a + b for a, b in zip(*loops(sim, margin))]),
    ("losses", lambda scores, *, margin: sum(trax_triplet.hinges(scores, margin=margin))),
    ("cost", cost_of),
    ("cost", lambda sim, margin: sum(map(sum, loops(sim, margin)))),
    ("cost", lambda sim, margin: jnp.sum(jnp.asarray(both_of(sim, margin)))),
    ("triplet_loss", LECTURE_LOSS),
    ("triplet_loss", lambda v1, v2, alpha: cost_of(norm(v1) @ norm(v2).T, alpha)),
    (
        "triplet_loss",
        lambda v1, v2, margin=0.25: sum(map(sum, loops(norm(v1) @ norm(v2).T, margin))),
    ),
    ("TripletLossFn", course.TripletLossFn),
    ("TripletLossFn", trax_loss),
    ("TripletLossFn", with_(trax_loss, of=fastmath.numpy)),
    ("TripletLossFn", jax.jit(trax_loss, static_argnames=("reduce",))),
    ("TripletLoss", course.TripletLoss),
    (
        "TripletLoss",
        lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: trax_loss(v1, v2, margin)),
    ),
    (
        "TripletLoss",
        lambda margin=0.25: tl.Fn(
            "TripletLoss", lambda v1, v2: course.TripletLossFn(v1, v2, margin=margin)
        ),
    ),
    ("data_generator", course.data_generator),
    ("data_generator", batches),
    ("data_generator", with_(batches, partial=True)),
    ("data_generator", with_(batches, flat=True)),
    ("Siamese", course.Siamese),
    pytest.param("Siamese", model_of, marks=pytest.mark.slow),
    pytest.param("Siamese", separate_layers, marks=pytest.mark.slow),
    ("train_model", course.train_model),
    ("train_model", loop_of),
    ("classify", course.classify),
    ("classify", accuracy_of),
    ("classify", at_once),
    ("predict", answer_of),
    ("predict", with_(answer_of, read=lambda vocab, word: vocab[word] if word in vocab else 0)),  # noqa: SIM401
    ("predict", with_(answer_of, above=lambda d, threshold: bool(d > threshold))),
]


@pytest.mark.parametrize("step, function", RIGHT)
def test_right_functions_pass_without_a_hint(step, function, capsys):
    result = checks.check(step, function)
    assert result.passed and result.hint is None, repr(result)
    number = f"({len(result.cases)} case{'s' * (len(result.cases) > 1)})"
    by = RULES.get(result.editions, "")
    assert capsys.readouterr().out.splitlines()[-1] == f"{step}: right{by} {number}"
    assert all(case.passed for case in result.cases)


RULES = {
    ("2020",): ", by the rule of the 2020 edition",
    ("2023",): ", by the rule of the 2023 edition",
    ("2020", "2021"): ", by the rule of the 2020 and 2021 editions",
    ("2021", "2023"): ", by the rule of the 2021 and 2023 editions",
}


@pytest.mark.parametrize(
    "step, function, editions",
    [
        ("TripletLossFn", course.TripletLossFn, {"2020", "2021"}),
        ("TripletLossFn", edition_2023.TripletLossFn, {"2023"}),
        ("TripletLossFn", loss_2023, {"2023"}),
        ("TripletLoss", edition_2023.TripletLoss, {"2023"}),
        ("train_model", course.train_model, {"2021", "2023"}),
        ("train_model", edition_2020.train_model, {"2020"}),
        ("train_model", loop_of_2020, {"2020"}),
    ],
)
def test_the_edition_is_found_and_others_are_refused(step, function, editions):
    assert {*checks.check(step, function).editions} == editions
    for edition in checks.EDITIONS:
        assert bool(checks.check(step, function, edition)) == (edition in editions)


def test_the_default_vocabulary_may_be_the_student_s_own():
    assert checks.check(
        "Siamese",
        lambda vocab_size=36268, d_model=128, mode="train": course.Siamese(
            vocab_size, d_model, mode
        ),
    )


def test_every_step_has_right_functions():
    steps = {case.values[0] if hasattr(case, "values") else case[0] for case in RIGHT}
    assert steps == {*checks.STEPS}


@pytest.mark.real_data
def test_the_package_s_predict_passes(real_data, punkt):
    punkt(real_data / "nltk_data")
    assert checks.check("predict", course.predict)


# --- the course's numbers


def expected_of(step, case):
    return runner._answer(step, case, 0, (), False)


def test_expected_values_are_the_lecture_s():
    case = "the lecture's matrix"
    assert expected_of("mean_negative", case) == pytest.approx(
        [-1 / 3, -0.4 / 3, -0.4 / 3, -1.4 / 3]
    )
    assert expected_of("closest_negative", case) == pytest.approx([0.3, 0.1, -0.8, -0.2])
    assert expected_of("losses", f"{case}, margin 0.25") == pytest.approx(
        [0, 0, 0.516667, 0], abs=1e-6
    )
    assert expected_of("cost", f"{case}, margin 0.25") == pytest.approx(0.517, abs=5e-4)
    assert expected_of("similarity_matrix", "the lecture's two batches") == pytest.approx(
        np.array(
            [
                [0.92318164, 0.82121858, -0.58311118, -0.03325245],
                [0.65914413, 0.9928074, -0.23792202, 0.00197919],
                [-0.83132527, -0.83786699, 0.64725552, 0.46059109],
                [-0.35023115, -0.35060605, 0.55463501, 0.93643015],
            ]
        )
    )
    assert expected_of("triplet_loss", "collapsed: all vectors equal") == pytest.approx(2 * 0.5 * 3)


def test_expected_values_are_the_assignment_s():
    assert expected_of("TripletLossFn", "the course's 2 rows of 3") == pytest.approx(0.5, abs=1e-6)
    assert expected_of("TripletLossFn", "the course's 3 rows of 4") == pytest.approx(1.4382333)
    assert expected_of("TripletLossFn", "the course's 3 rows of 4, margin 0.8") == pytest.approx(
        2.1715667
    )
    scores = LECTURE_SIM  # the assignment's rule on the lecture's matrix, summed: 1.467
    step = runner._STEPS["TripletLossFn"]
    assert 4 * step.build(**step.bases[0].parts)(scores, np.eye(4)) == pytest.approx(
        1.467, abs=5e-4
    )


# --- what a result says


def test_an_unknown_mistake_is_reported_with_case_and_values(capsys):
    result = checks.check("positives", lambda sim: np.zeros(len(sim)))
    assert result.hint is None
    assert result.message == (
        "wrong in the case 'the lecture's matrix': expected [0.9, 0.5, -0.4, 0.5], got [0, 0, 0, 0]"
    )
    assert capsys.readouterr().out == f"positives: {result.message}\n"


def test_shapes_come_before_values():
    result = checks.check("mean_negative", lambda sim: np.ones(2))
    assert (
        result.message
        == "wrong in the case 'the lecture's matrix': expected shape (4,), got shape (2,)"
    )


def test_an_exception_is_reported_with_its_case():
    result = checks.check("closest_negative", lambda sim: sim[4])
    assert result.hint is None
    assert result.message.startswith(
        "in the case 'the lecture's matrix' it raises IndexError: index 4 is out of"
    )
    result = checks.check("train_model", lambda *given: undefined)  # noqa: F821
    assert result.message == (
        "in the case 'a loop on a small model' it raises NameError: name 'undefined' is not defined"
    )


def test_an_exception_in_a_layer_is_reported_in_one_line():
    result = checks.check(
        "TripletLoss", lambda margin=0.25: tl.Fn("TripletLoss", lambda v1, v2: [].pop())
    )
    assert "\n" not in result.message
    assert result.message.endswith("IndexError: pop from empty list")


def test_an_exception_does_not_hide_behind_a_hint():
    result = checks.check("classify", with_(accuracy_of, past=True))
    assert result.message == (
        f"right, but {result.hint} (in the case '7 pairs in batches of 3' it raises IndexError: "
        "index 1 is out of bounds for axis 0 with size 1)"
    )


def test_an_unknown_flaw_is_reported_with_its_case():
    result = checks.check("classify", with_(accuracy_of, count=lambda n, size: n + n % size))
    assert result and result.flaws
    assert "wrong in the case '7 pairs in batches of 3': expected accuracy 0.57143" in str(result)


def test_an_endless_loop_is_stopped(monkeypatch):
    monkeypatch.setattr(running, "TIME_LIMIT", 0.2)

    def endless(sim):
        while True:
            with contextlib.suppress(Exception):
                len(sim)

    result = checks.check("positives", endless)
    assert not result and "stopped after 0.2 seconds" in result.message
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_what_a_student_prints_is_shown(capsys):
    def talkative(sim):
        print("shape", sim.shape)
        return np.diag(sim)

    assert checks.check("positives", talkative)
    assert capsys.readouterr().out.count("shape (4, 4)") == 2
    assert checks.check("predict", answer_of)
    assert capsys.readouterr().out.count("d = ") == 1  # in the case that is verbose


def test_a_function_that_exits_is_wrong_and_does_not_end_the_program():
    result = checks.check("positives", lambda sim: sys.exit(0))
    assert not result and "calls sys.exit" in result.message


def test_only_the_argument_that_is_changed_is_named():
    def changes_v1(v1, v2, margin=0.25):
        v1[0] = 9
        return 0.5

    message = checks.check("TripletLossFn", changes_v1).message
    assert "changes its argument v1" in message and "argument v2" not in message


def test_a_port_to_another_library_is_told():
    torch = types.ModuleType("torch")
    torch.sum = np.sum
    written = {"torch": torch}
    exec("def port(v1, v2, margin=0.25): return torch.sum(v1 @ v2.T)", written)
    exec("def of_port(v1, v2, margin=0.25): return port(v1, v2)", written)
    for name in ("port", "of_port"):
        result = checks.check("TripletLossFn", written[name])
        assert not result and "computes with PyTorch" in result.message


SWAPPED_PORT = """
def port(v1, v2, margin=0.25):
    v1, v2 = np.asarray(v1), np.asarray(v2)
    scores, b = torch.matmul(v2, v1.T), len(v1)
    positive = np.diag(scores)
    others = np.where(np.eye(b) == 1, 0.0, scores)
    closest = (scores - 2.0 * np.eye(b)).max(axis=1)
    mean = others.sum(axis=1) / (b - 1)
    losses = np.maximum(margin - positive + closest, 0) + np.maximum(margin - positive + mean, 0)
    return losses.mean()
"""


def test_a_port_with_another_mistake_has_both_named():
    torch = types.ModuleType("torch")
    torch.matmul = np.matmul
    written = {"torch": torch, "np": np}
    exec(SWAPPED_PORT, written)
    result = checks.check("TripletLossFn", written["port"])
    assert not result and "computes with PyTorch" in result.message
    assert "rows and columns of the scores are swapped" in result.message


def test_a_result_is_true_or_raises():
    right, wrong = checks.check("positives", np.diag), checks.check("positives", np.triu)
    assert right and not wrong
    assert right.raise_if_failed() is None
    with pytest.raises(AssertionError, match="positives: wrong in the case"):
        wrong.raise_if_failed()


def test_a_result_shows_its_cases_as_text_and_in_a_notebook():
    result = checks.check(
        "positives", lambda sim: np.max(sim, axis=1) if len(sim) == 5 else np.diag(sim)
    )
    first, *rows = repr(result).splitlines()
    assert first == str(result)
    assert [row.split()[0] for row in rows] == ["right", "right", "right", "wrong", "right"]
    assert (
        result._repr_html_().count("<tr>") == (1 + 1) + (1 + 5)
        and "<b>wrong</b>" in result._repr_html_()
    )


def test_warnings_on_the_way_to_an_answer_do_not_get_in_the_way():
    assert checks.check(
        "positives",
        lambda sim: np.where(True, np.diag(sim), np.ones(len(sim)) / np.zeros(len(sim))),
    )


def test_unknown_steps_and_what_is_not_a_function():
    with pytest.raises(ValueError, match="step must be one of 'cosine_similarity', .*it is 'mean'"):
        checks.check("mean", np.mean)
    with pytest.raises(TypeError, match="student_function must be the function itself"):
        checks.check("positives", np.zeros(3))


def test_checking_leaves_the_reader_s_folder_and_random_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    runner._answer.cache_clear()
    checks.check("train_model", lambda *given: None)
    checks.check("cost", lambda sim, margin: 0.0)
    checks.check("data_generator", with_(batches, shuffles=False))
    assert list(tmp_path.iterdir()) == []
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
