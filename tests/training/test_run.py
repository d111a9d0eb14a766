"""Training: what it leaves behind, going on, collapse, and what it says about mistakes."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from trax_triplet import evaluation
from trax_triplet.data import pairs as data
from trax_triplet.data import sample
from trax_triplet.data.stream import BatchStream
from trax_triplet.model.siamese import get_weights, set_weights
from trax_triplet.inference.trained_model import load_model
from trax_triplet.storage import folders as storage
from trax_triplet.training import loop
from trax_triplet.training import run as training

SMALL = {
    "steps": 6,
    "batch_size": 16,
    "d_model": 8,
    "evaluate_every": 2,
    "hard_from": 4,
    "neighbours": 4,
    "progress": False,
}


def sample_pairs(n=300, seed=0):
    columns = list(zip(*sample.generate(n, seed=seed)))
    return data.Pairs(columns[3], columns[4], columns[5])


@pytest.fixture(scope="module")
def parts():
    return data.split_pairs(sample_pairs(), (0.7, 0.3)).parts


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    """A run that nobody interrupted: its folder and the model that it returned."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, training.train(parts[0], folder, validation=parts[1], **SMALL)


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_leaves_a_model_a_checkpoint_and_a_history(whole, parts):
    folder, trained = whole
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "checkpoints",
        "history.jsonl",
        "model",
    ]
    rows = history(folder)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(
        set(row) >= {"loss", "validation_loss", "validation_auc", "pairs_per_second"}
        for row in rows
    )
    again = load_model(folder / "model")
    np.testing.assert_array_equal(again.embed(["How are you?"]), trained.embed(["How are you?"]))


def test_keeps_the_model_that_validated_best(whole, parts):
    folder, trained = whole
    rows, validation = history(folder), parts[1]
    scores = trained.similarity(validation.question1, validation.question2)
    auc = evaluation.roc_auc(scores, validation.is_duplicate)
    assert auc == pytest.approx(max(row["validation_auc"] for row in rows), abs=1e-6)
    chosen = evaluation.best_threshold(scores, validation.is_duplicate)
    assert trained.settings["threshold"] == pytest.approx(float(chosen.threshold), abs=1e-5)
    assert "validation pairs" in trained.settings["threshold_source"]


def test_same_seed_same_model(whole, parts, tmp_path):
    again = training.train(parts[0], tmp_path, validation=parts[1], **SMALL)
    for name, weights in get_weights(whole[1].model).items():
        np.testing.assert_array_equal(get_weights(again.model)[name], weights)


def test_another_seed_another_model(whole, parts, tmp_path):
    other = training.train(parts[0], tmp_path, validation=parts[1], **{**SMALL, "seed": 1})
    assert (get_weights(other.model)["embedding"] != get_weights(whole[1].model)["embedding"]).any()


KILLED = """
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits "ignored"
    from trax_triplet.training import loop
    from trax_triplet.training import run as training
    sys.path.insert(0, {tests!r})
    from test_run import SMALL, data, sample_pairs
    train, validation = data.split_pairs(sample_pairs(), (0.7, 0.3)).parts
    step = loop.QuietLoop._run_one_step
    def deadly(self, *arguments):
        if self.step == {step}:
            os.kill(os.getpid(), signal.{signal})
        return step(self, *arguments)
    loop.QuietLoop._run_one_step = deadly
    training.train(train, {folder!r}, validation=validation, **SMALL)
"""


def killed(folder, step, how):
    code = KILLED.format(tests=os.path.dirname(__file__), step=step, signal=how, folder=str(folder))
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )


def test_killed_and_started_again_it_ends_with_the_same_weights(whole, parts, tmp_path):
    done = killed(tmp_path, 5, "SIGKILL")
    assert done.returncode == -signal.SIGKILL
    assert [row["step"] for row in history(tmp_path)] == [2, 4]
    training.train(parts[0], tmp_path, validation=parts[1], **SMALL)
    first, second = (
        storage.load_checkpoint(folder / "checkpoints")[0] for folder in (whole[0], tmp_path)
    )
    assert first.keys() == second.keys() and "slots/0" in first
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    strip = [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in history(tmp_path)]
    assert strip == [
        {k: v for k, v in row.items() if k != "pairs_per_second"} for row in history(whole[0])
    ]


def test_ctrl_c_leaves_a_usable_model(tmp_path):
    done = killed(tmp_path, 2, "SIGINT")  # before the first evaluation has written anything
    assert "KeyboardInterrupt" in done.stderr
    trained = load_model(tmp_path / "model")
    assert np.isfinite(trained.similarity(["How are you?"], ["Who are you?"])).all()


def test_a_finished_run_is_not_trained_again(whole, parts):
    folder, trained = whole
    before = (folder / "history.jsonl").read_text()
    again = training.train(parts[0], folder, validation=parts[1], **SMALL)
    assert (folder / "history.jsonl").read_text() == before
    np.testing.assert_array_equal(again.embed(["Why?"]), trained.embed(["Why?"]))


def test_a_folder_of_another_run_is_refused(whole, parts):
    folder, _ = whole
    with pytest.raises(
        ValueError, match="belongs to another run: margin was 0.4 and is 0.3.*another output folder"
    ):
        training.train(parts[0], folder, validation=parts[1], **{**SMALL, "margin": 0.3})
    with pytest.raises(ValueError, match="the pairs are not the same"):
        training.train(parts[0], folder, validation=parts[1].select(range(20)), **SMALL)


def test_collapse_is_told_once(parts, tmp_path, capsys):
    # The course's pooling starts collapsed, the more so the smaller the embedding; and here nothing
    # is learned.
    training.train(
        parts[0],
        tmp_path,
        validation=parts[1],
        **{
            **SMALL,
            "pooling": "course",
            "word_dropout": 0.0,
            "embedding_stddev": 1e-6,
            "learning_rate": 1e-9,
            "hard_from": None,
            "progress": True,
        },
    )
    said = capsys.readouterr().err
    assert said.count("The model has collapsed") == 1
    assert "2 x margin = 0.8" in said and "Try a smaller learning_rate" in said


def test_validation_negatives_are_drawn_and_said(parts, tmp_path, capsys):
    only = parts[1].select(np.flatnonzero(parts[1].is_duplicate))
    training.train(parts[0], tmp_path, validation=only, **{**SMALL, "steps": 1, "progress": True})
    captured = capsys.readouterr()
    assert "no pairs labelled 0, so" in captured.err and "share many words" in captured.err
    assert captured.out == ""  # nothing of Trax's own lines


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_named(
    parts, tmp_path, monkeypatch, in_a_file
):
    pairs = parts[0]
    lines = 2 * np.arange(len(pairs)) + 5
    if in_a_file:
        pairs = data.Pairs(pairs.question1, pairs.question2, pairs.is_duplicate, lines=lines)
    step, batch, batches = loop.training.Loop._run_one_step, BatchStream._batch, []

    def poisoned(self, *arguments):
        loss, statistics = step(self, *arguments)
        return (np.float32("nan") if self.step == 4 else loss), statistics

    monkeypatch.setattr(loop.training.Loop, "_run_one_step", poisoned)
    monkeypatch.setattr(
        BatchStream, "_batch", lambda self, rows: batches.append(rows) or batch(self, rows)
    )
    with pytest.raises(FloatingPointError) as caught:
        training.train(pairs, tmp_path, validation=parts[1], **{**SMALL, "implied": False})
    labelled = np.flatnonzero(pairs.is_duplicate)
    fourth = np.sort((lines if in_a_file else np.arange(len(pairs)))[labelled[batches[-1]]])
    assert str(caught.value) == (
        f"the loss became nan at step 4, in a batch of {'lines' if in_a_file else 'rows'} {', '.join(map(str, fourth))}; a "
        f"smaller learning_rate may help. The last good checkpoint is {tmp_path / 'checkpoints' / '00000002'}"
    )
    storage.load_checkpoint(tmp_path / "checkpoints")
    assert [row["step"] for row in history(tmp_path)] == [2]


def test_a_weight_that_is_not_finite_stops_the_run(parts, tmp_path, monkeypatch):
    run = loop.QuietLoop.run_quietly

    def poisoned(self, n_steps):
        run(self, n_steps)
        weights = get_weights(self.model)
        set_weights(
            self.model, {**weights, "lstm/bias": np.full_like(weights["lstm/bias"], np.inf)}
        )

    monkeypatch.setattr(loop.QuietLoop, "run_quietly", poisoned)
    with pytest.raises(
        FloatingPointError, match="a weight became infinite or NaN at step 2, in a batch of rows"
    ):
        training.train(parts[0], tmp_path, validation=parts[1], **SMALL)
    assert os.listdir(tmp_path) == [".lock"]


def test_two_runs_in_one_folder(parts, tmp_path):
    from trax_triplet._files import only_writer

    with (
        only_writer(tmp_path),
        pytest.raises(BlockingIOError, match="another training is at work in this folder"),
    ):
        training.train(parts[0], tmp_path, validation=parts[1], **SMALL)


TWO_DEVICES = """
    import sys
    sys.path.insert(0, {tests!r})
    from test_run import SMALL, data, sample_pairs, storage, training
    import jax
    assert jax.local_device_count() == 2
    train, validation = data.split_pairs(sample_pairs(), (0.7, 0.3)).parts
    trained = training.train(train, {folder!r}, validation=validation, **{{**SMALL, "steps": 4}})
    training.train(train, {folder!r}, validation=validation, **{{**SMALL, "steps": 4}})
    print(len(trained.embed(["How?"])))
    training.train(train, {folder!r} + " again", validation=validation, **{{**SMALL, "steps": 4}})
    try:
        training.train(train, {folder!r} + "2", validation=validation, **{{**SMALL, "batch_size": 15}})
    except ValueError as error:
        print(error)
"""


def test_two_devices(tmp_path):
    code = TWO_DEVICES.format(tests=os.path.dirname(__file__), folder=str(tmp_path / "run"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1"
    assert "batch_size 15 cannot be shared out evenly over 2 devices" in done.stdout
    assert [row["step"] for row in history(tmp_path / "run")] == [2, 4]
    first, second = (
        storage.load_checkpoint(tmp_path / name / "checkpoints")[0] for name in ("run", "run again")
    )
    for name in first:  # same seed, same weights, bit for bit
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, but it is 0"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2"),
        ({"batch_size": 2.5}, "2.5"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"hard_from": -1}, "hard_from must be a step, from 0, or None for never, but it is -1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, but it is -1"),
        ({"learning_rate": -1.0}, "learning_rate must lie between 0 and 10"),
        ({"margin": -1.0}, "margin must be finite"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"closest": "near"}, "closest must be one of"),
        ({"tokenizer": "letters"}, "letters"),
    ],
)
def test_wrong_settings(parts, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        training.train(parts[0], tmp_path / "run", validation=parts[1], **{**SMALL, **settings})
    assert not (tmp_path / "run").exists()


def test_wrong_pairs(parts, tmp_path):
    none = data.Pairs(["a?"], ["b?"], [0])
    with pytest.raises(ValueError, match="none of these 1 is"):
        training.train(none, tmp_path, validation=parts[1], **SMALL)
    with pytest.raises(ValueError, match="at least 2 pairs labelled as duplicates, but has 0"):
        training.train(parts[0], tmp_path, validation=none, **SMALL)
