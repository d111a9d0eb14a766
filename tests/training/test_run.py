"""Training: what it leaves on disk, going on, and what it says when something is wrong."""

import csv
import dataclasses
import os
import signal

import numpy as np
import pytest
from bare_python import python
from small_run import SETTINGS, SMALL, history, sample_parts, without_speed

from trax_triplet import _folders as folders
from trax_triplet import evaluation
from trax_triplet._files import only_writer
from trax_triplet.data.pairs import Pairs
from trax_triplet.data.stream import BatchStream
from trax_triplet.inference.calibration import fit_calibration
from trax_triplet.inference.trained_model import TrainedModel, load_model
from trax_triplet.loss.triplet import triplet_loss
from trax_triplet.model.spelling import TABLE
from trax_triplet.model.walk import CENTRE
from trax_triplet.model.weights import get_weights, set_weights
from trax_triplet.training import loop
from trax_triplet.training.examples import Examples
from trax_triplet.training.run import collapse_warning, train
from trax_triplet.training.settings import TrainSettings

pytestmark = pytest.mark.integration  # whole trainings, though short ones

RUN = TrainSettings(**SETTINGS)


@pytest.fixture(scope="module")
def parts():
    return sample_parts()


def arrays(folder):
    return folders.load_checkpoint(folder / "checkpoints")[0]


def assert_same_end(first, second):
    """Both runs end with the same weights, slots, random state and batches, bit for bit."""
    found, wanted = arrays(first), arrays(second)
    assert found.keys() == wanted.keys() and "slots/0" in found and "stream/place" in found
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    assert without_speed(history(first)) == without_speed(history(second))


def test_leaves_a_model_a_checkpoint_and_a_history(small_run):
    folder = small_run.folder
    assert sorted(os.listdir(folder)) == [".lock", "checkpoints", "history.jsonl", "model"]
    rows = history(folder)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(row["pairs_per_second"] > 0 and row["loss"] > 0 for row in rows)
    assert "step 4: from here on batches are made of similar pairs" in small_run.logged
    assert arrays(folder)["stream/place"][2]  # hard


@pytest.mark.parametrize("settings, rates", [({}, [0, 0.05, 0.1]), ({"warmup_steps": 0}, [0.1])])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_0(settings, rates):
    settings = TrainSettings(
        **{"steps": 10**6, "warmup_steps": 2, "learning_rate": 0.1, **settings}
    )
    found = [loop.learning_rate(step + (len(rates) == 1), settings) for step in range(len(rates))]
    assert found == pytest.approx(rates)
    ends = [loop.learning_rate(step, settings) for step in (5 * 10**5, 10**6, 2 * 10**6)]
    assert ends == pytest.approx([0.05, 0, 0])


def test_keeps_the_model_that_validated_best(small_run, parts):
    rows, validation = history(small_run.folder), parts[1]
    trained = small_run.trained
    scores = trained.similarity(validation.question1, validation.question2)
    auc = evaluation.roc_auc(scores, validation.is_duplicate)
    best = max(rows, key=lambda row: row["validation_auc"])
    assert auc == pytest.approx(best["validation_auc"], abs=1e-6)
    assert trained.settings["training"]["step"] == best["step"]
    fitted = fit_calibration(scores, validation.is_duplicate)
    found = trained.settings["calibration"]
    assert found["slope"] == pytest.approx(fitted["slope"], rel=1e-3)
    assert found["intercept"] == pytest.approx(fitted["intercept"], abs=1e-3)
    source = trained.settings["threshold_source"]
    assert source.startswith("a probability of 0.5, by Platt scaling on ")
    assert found["source"].startswith(source.removeprefix("a probability of 0.5, by "))
    chances = trained.probability(validation.question1, validation.question2)
    np.testing.assert_array_equal(
        chances > 0.5, trained.predict(validation.question1, validation.question2)
    )
    vectors = uncentred(trained).embed([*validation.question1, *validation.question2])
    assert best["spread"] == pytest.approx(1 - np.sum(vectors.mean(axis=0) ** 2), abs=1e-5)


def uncentred(trained):
    """The model without its centre, as it was trained."""
    weights = {name: w for name, w in trained.weights.items() if name != CENTRE}
    return TrainedModel(weights, trained.vocabulary, trained.settings)


def test_the_centre_is_in_the_direction_of_the_mean_of_the_training_questions(small_run):
    trained = small_run.trained
    rows = csv.reader(small_run.csv.read_text(encoding="utf-8").splitlines()[1:])
    questions = sorted({text for row in rows for text in row if text.endswith("?")})
    mean = uncentred(trained).embed(questions).astype(np.float64).mean(axis=0)
    centre = trained.weights[CENTRE]
    assert np.linalg.norm(centre) == pytest.approx(0.6)
    # Of all questions, validation too, each once.
    assert centre @ mean / np.linalg.norm(mean) / 0.6 > 0.99


def test_words_never_seen_are_told_by_their_spelling(small_run):
    trained = small_run.trained
    assert trained.weights[TABLE].shape == (RUN.spelling, RUN.d_model)
    word, bucket = "zz0", trained.vocabulary["zz0"]
    assert bucket >= len(trained.vocabulary) - RUN.buckets  # the word is not known
    twin = next(f"zz{i}" for i in range(1, 10**5) if trained.vocabulary[f"zz{i}"] == bucket)
    one, other = trained.embed([word, twin])
    assert np.abs(one - other).max() > 0.01


def test_the_validation_loss_is_that_of_the_weights_as_trained(parts, tmp_path):
    settings = dataclasses.replace(
        RUN, steps=2, spelling=0
    )  # so that the model keeps these weights
    trained = train(parts[0], tmp_path, validation=parts[1], settings=settings, progress=False)
    assert TABLE not in trained.weights
    walk, losses = uncentred(trained)._walk, []
    for ids1, ids2, *groups in Examples(*parts, settings, print).validation_batches():
        vectors = [walk([row[row != 1] for row in ids]) for ids in (ids1, ids2)]
        rule = {"margin": RUN.margin, "closest": RUN.closest, "anchor": RUN.anchor}
        losses.append(float(triplet_loss(*vectors, groups=groups, normalize=False, **rule)))
    assert history(tmp_path)[0]["validation_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_finished_run_is_not_trained_again(small_run, parts):
    folder = small_run.folder
    before = (folder / "history.jsonl").read_text()
    again = train(parts[0], folder, validation=parts[1], settings=RUN, seed=0, progress=False)
    assert (folder / "history.jsonl").read_text() == before
    np.testing.assert_array_equal(again.embed(["Why?"]), small_run.trained.embed(["Why?"]))


@pytest.mark.slow
def test_interrupted_and_started_again_it_ends_with_the_same_weights(
    small_run, parts, tmp_path, monkeypatch
):
    step = loop.QuietLoop._run_one_step

    def interrupt_at(n, error):
        def interrupted(self, *arguments):
            if self.step == n:
                raise error
            return step(self, *arguments)

        monkeypatch.setattr(loop.QuietLoop, "_run_one_step", interrupted)
        with pytest.raises(error):
            train(parts[0], tmp_path, validation=parts[1], **SMALL)

    interrupt_at(1, KeyboardInterrupt)  # in the first step: there is nothing to save
    assert os.listdir(tmp_path) == [".lock"]
    interrupt_at(2, KeyboardInterrupt)  # before the first evaluation has written anything
    trained = load_model(tmp_path / "model")
    assert np.isfinite(trained.similarity(["How are you?"], ["Who are you?"])).all()
    assert not (tmp_path / "checkpoints").exists()
    interrupt_at(5, MemoryError)
    assert [row["step"] for row in history(tmp_path)] == [2, 4]
    os.remove(tmp_path / "history.jsonl")  # as if killed before it was written
    monkeypatch.undo()
    train(parts[0], tmp_path, validation=parts[1], **SMALL)
    assert_same_end(tmp_path, small_run.folder)


def test_a_folder_of_another_run_is_refused(small_run, parts):
    folder = small_run.folder
    with pytest.raises(
        ValueError, match="belongs to another run: margin was 0.4 and is 0.3.*another output folder"
    ):
        train(parts[0], folder, validation=parts[1], **SMALL, margin=0.3)
    with pytest.raises(ValueError, match="the pairs or the word vectors are not the same"):
        train(parts[0], folder, validation=parts[1].select(range(20)), **SMALL)


def test_a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_named(
    small_run, parts, tmp_path, monkeypatch
):
    step, batch, batches = loop.training.Loop._run_one_step, BatchStream._batch, []

    def poisoned(self, *arguments):
        loss, statistics = step(self, *arguments)
        return (np.float32("nan") if self.step == 4 else loss), statistics

    def remembered(self, rows, *more):
        batches.append(rows)
        return batch(self, rows, *more)

    monkeypatch.setattr(loop.training.Loop, "_run_one_step", poisoned)
    monkeypatch.setattr(BatchStream, "_batch", remembered)
    with pytest.raises(FloatingPointError) as caught:
        train(parts[0], tmp_path, validation=parts[1], **SMALL, seed=1)
    rows = np.sort(np.flatnonzero(parts[0].is_duplicate)[batches[-1]])
    checkpoint = folders.checkpoints(tmp_path / "checkpoints")[-1]
    assert str(caught.value) == (
        f"the loss became nan at step 4, in a batch of rows {', '.join(map(str, rows))} and 6 "
        "pairs labelled 0; a smaller "
        f"learning_rate may help. The last good checkpoint is {checkpoint}"
    )
    [row] = history(tmp_path)
    assert row["step"] == 2 and row["loss"] != history(small_run.folder)[0]["loss"]  # another seed


def test_a_weight_that_is_not_finite_stops_the_run(parts, tmp_path, monkeypatch):
    run = loop.QuietLoop.run_quietly

    def poisoned(self, n_steps):
        run(self, n_steps)
        weights = get_weights(self.model)
        infinite = np.full_like(weights["lstm/bias"], np.inf)
        set_weights(self.model, {**weights, "lstm/bias": infinite})

    monkeypatch.setattr(loop.QuietLoop, "run_quietly", poisoned)
    message = "a weight became infinite or NaN at step 2, in a batch of rows .*no checkpoint yet"
    with pytest.raises(FloatingPointError, match=message):
        train(parts[0], tmp_path, validation=parts[1], **SMALL)
    assert os.listdir(tmp_path) == [".lock"]


def test_two_runs_in_one_folder(parts, tmp_path):
    with (
        only_writer(tmp_path),
        pytest.raises(BlockingIOError, match="another process is writing to this folder"),
    ):
        train(parts[0], tmp_path, validation=parts[1], **SMALL)


@pytest.mark.parametrize(
    "loss, spread, warns",
    [
        (0.8, 0.001, True),  # 2 x margin
        (0.4, 0.001, True),  # rounding decides which negatives are semi-hard
        (0.39, 0.001, False),
        (0.82, 0.001, False),
        (0.8, 0.02, False),
    ],
)
def test_a_collapse_is_one_vector_for_all_and_the_loss_of_that(loss, spread, warns):
    warning = collapse_warning(loss, spread, margin=0.4)
    assert (warning is not None) == warns
    assert not warns or "2 x margin = 0.8. Try a smaller learning_rate" in warning


def translations(n, seed):
    """Pairs of a question and its translation, word by word, or that of another question."""
    random = np.random.default_rng(seed)
    words, labels = random.integers(0, 30, (n, 4)), np.arange(n) % 2
    others = np.where(labels[:, None], words, random.integers(0, 30, (n, 4)))
    texts1, texts2 = (
        [" ".join(f"{language}{word}" for word in row) for row in rows]
        for language, rows in (("a", words), ("b", others))
    )
    return Pairs(texts1, texts2, labels)


@pytest.mark.slow
def test_the_first_step_starts_from_the_word_vectors(tmp_path, capsys):
    pairs, validation = translations(200, 1), translations(100, 2)
    words = [f"{language}{i}" for language in "ab" for i in range(30)]
    vectors = np.tile(np.random.default_rng(3).normal(5, 2, (30, 6)), (2, 1))
    lines = [" ".join([word, *map(str, row)]) for word, row in zip(words, vectors)]
    path, fewer = tmp_path / "vectors.txt", tmp_path / "fewer.txt"
    path.write_text("\n".join(lines))
    fewer.write_text("\n".join(lines[:-1]))
    settings = TrainSettings(**{**SETTINGS, "steps": 1, "word_dropout": 0.0})
    run = tmp_path / "run"

    def start_from(path):
        train(pairs, run, validation=validation, settings=settings, word_vectors=path)

    start_from(path)
    assert "60 of the vocabulary's 60 words start from" in capsys.readouterr().err
    # In the first step the learning rate is still 0, so that this is what it saw; 0.5 and 0.75 is
    # what it would see by chance.
    [row] = history(run)
    assert row["validation_auc"] > 0.9 and row["validation_loss"] < 0.4 and row["loss"] < 0.8
    vocabulary = Examples(pairs, validation, settings, print).vocabulary
    start = arrays(run)["weights/embedding"][[vocabulary[word] for word in words], :6]
    centred = vectors - vectors.mean(axis=0)
    np.testing.assert_allclose(start / start.std(), centred / centred.std(), atol=1e-5)
    assert start.std() == pytest.approx(settings.embedding_stddev, rel=0.05)

    for other in (fewer, None):
        with pytest.raises(ValueError, match="another run: the pairs or the word vectors are not"):
            start_from(other)


@pytest.mark.parametrize(
    "settings, error, name",
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"batch_size": 2.5}, TypeError, "batch_size"),
        ({"pooling": "max"}, ValueError, "pooling"),
        ({"settings": {"steps": 5}}, TypeError, "settings"),
        ({"progress": 1}, TypeError, "progress"),
        ({"pooling": "course"}, ValueError, "word_dropout"),
        ({"word_vectors": 7}, TypeError, "word_vectors"),
        ({"word_vectors": "no such file"}, FileNotFoundError, "no such file"),
        ({"word_vectors": ".", "embedding_stddev": 0}, ValueError, "embedding_stddev"),
        ({"teacher": "MiniLM"}, TypeError, "teacher must be an array .*or a function"),
        ({"teacher": np.ones((3, 4))}, ValueError, r"teacher must be of shape \(420, width\)"),
        ({"teacher": np.full((420, 2), np.nan)}, ValueError, "teacher must be .*finite"),
        ({"teacher": lambda texts: np.ones(3)}, ValueError, r"teacher\(questions\) must be"),
        ({"teacher": lambda texts: None}, TypeError, r"teacher\(questions\) must be"),
        ({"teacher": np.ones((420, 2)), "teacher_weight": -1}, ValueError, "teacher_weight"),
        ({"unlabelled": ["Why?"]}, ValueError, "unlabelled must be empty without a teacher"),
        ({"unlabelled": "Why?"}, TypeError, "unlabelled"),
    ],
)
def test_wrong_arguments(parts, tmp_path, settings, error, name):
    with pytest.raises(error, match=name):
        train(parts[0], tmp_path / "run", validation=parts[1], **{**SMALL, **settings})
    assert not (tmp_path / "run").exists()


# Fresh processes, and what is slow to compile.


@pytest.mark.slow
def test_drawn_negatives_give_no_probabilities(parts, tmp_path):
    duplicates = parts[1].select(np.flatnonzero(parts[1].is_duplicate))
    trained = train(parts[0], tmp_path, validation=duplicates, **{**SMALL, "steps": 1})
    assert trained.settings["calibration"] is None and trained.threshold is not None
    with pytest.raises(ValueError, match="labelled 0"):
        trained.probability(["Why?"], ["Why?"])


@pytest.mark.slow
def test_collapse_is_reported_once(parts, tmp_path, capsys):
    # The course's pooling starts collapsed, the more so the smaller the embedding; and here nothing
    # is learned.
    settings = {
        **SMALL,
        "pooling": "course",
        "word_dropout": 0.0,
        "embedding_stddev": 1e-6,
        "learning_rate": 1e-9,
        "hard_from": None,
        "progress": True,
    }
    train(parts[0], tmp_path, validation=parts[1], **settings)
    logged = capsys.readouterr()
    assert logged.err.count("The model has collapsed") == 1
    assert logged.out == ""  # nothing of Trax's own lines


KILLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
from small_run import SMALL, sample_parts
from trax_triplet.training.loop import QuietLoop
from trax_triplet.training.examples import Examples
from trax_triplet.model.spelling import TABLE
from trax_triplet.training.run import train
folder, at, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pairs, validation = sample_parts()
step = QuietLoop._run_one_step
def deadly(self, *arguments):
    if self.step == at:
        os.kill(os.getpid(), number)
    return step(self, *arguments)
QuietLoop._run_one_step = deadly
train(pairs, folder, validation=validation, **SMALL)
"""


def killed(folder, step, number):
    return python("-c", KILLED, folder, step, int(number))


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_the_same_weights(small_run, parts, tmp_path):
    assert killed(tmp_path, 5, signal.SIGKILL).returncode == -signal.SIGKILL
    assert [row["step"] for row in history(tmp_path)] == [2, 4]
    train(parts[0], tmp_path, validation=parts[1], **SMALL)
    assert_same_end(tmp_path, small_run.folder)


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_model(tmp_path):
    done = killed(tmp_path, 2, signal.SIGINT)  # before the first evaluation has written anything
    assert "KeyboardInterrupt" in done.stderr
    trained = load_model(tmp_path / "model")
    assert np.isfinite(trained.similarity(["How are you?"], ["Who are you?"])).all()


TWO_DEVICES = """
import sys
import jax
from small_run import SMALL, sample_parts
from trax_triplet.training.examples import Examples
from trax_triplet.model.spelling import TABLE
from trax_triplet.training.run import train
assert jax.local_device_count() == 2
pairs, validation = sample_parts()
settings = {**SMALL, "steps": 4}
for folder in ("run", "run", "again"):  # the second time it is finished already
    trained = train(pairs, f"{sys.argv[1]}/{folder}", validation=validation, **settings)
print(len(trained.embed(["How?"])))
try:
    train(pairs, f"{sys.argv[1]}/other", validation=validation, **{**SMALL, "batch_size": 15})
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_devices(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    done = python("-c", TWO_DEVICES, tmp_path, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1"
    assert "batch_size must be a multiple of 2, the number of devices, but it is 15" in done.stdout
    assert [row["step"] for row in history(tmp_path / "run")] == [2, 4]
    assert_same_end(tmp_path / "run", tmp_path / "again")
