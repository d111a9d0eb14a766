"""A trained model answers as its vectors say; its folder is read as it was written, or refused."""

import copy
import itertools
import json
import multiprocessing
import pickle
import pickletools
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trax_triplet import TrainedModel, load_model, save_model
from trax_triplet import _folders as folders
from trax_triplet.data.padding import course_length, pad
from trax_triplet.data.tokenizer import TOKENIZER_VERSIONS
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import Siamese, pooling_of
from trax_triplet.model.spelling import LENGTH, TABLE, compose
from trax_triplet.model.walk import CENTRE, POOLINGS, PROJECTION
from trax_triplet.model.weights import get_weights, init_model
from trax_triplet.search.index import model_digest


@pytest.fixture(scope="module")
def trained():
    vocabulary = Vocabulary.build(["How old are you?", "Where is the station?"])
    layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"), seed=1)
    settings = {"pooling": "last", "threshold": 0.5, "threshold_source": "a guess"}
    return TrainedModel(layer, vocabulary, settings)


@pytest.fixture
def folder(trained, tmp_path):
    trained.save(tmp_path / "model")
    return tmp_path / "model"


def test_similarity_is_the_dot_product_of_the_vectors(trained):
    first, second = ["How old are you?", ""], ["Where are you?", "Where?"]
    expected = (trained.embed(first) * trained.embed(second)).sum(axis=1)
    np.testing.assert_allclose(trained.similarity(first, second), expected, atol=1e-6)
    assert trained.similarity(first, second)[1] == 0.0
    assert trained.similarity([], []).shape == trained.predict([], []).shape == (0,)


def test_similarity_never_leaves_its_range(trained):
    # Rounded, the square of a unit vector can be 1.0000001.
    questions = [" ".join(words) for words in itertools.permutations("how old are you ?".split())]
    scores = trained.similarity(questions, questions)
    assert scores.max() == 1 and scores.min() > 0.999999
    squares = (trained.embed(questions) ** 2).sum(axis=1)
    assert squares.max() > 1  # else this test would show nothing


def test_spelled_embeddings_are_added_to_those_of_the_buckets(tmp_path):
    vocabulary = Vocabulary(["how", "old"], buckets=1)  # ids 2 and 3, unknown words 4
    layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"), seed=1)
    weights = get_weights(layer)
    table = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    spelled = {**weights, TABLE: table, LENGTH: np.array([1.5], np.float32)}
    trained = TrainedModel(spelled, vocabulary, {"pooling": "last"})
    question = "how ancient"
    # By a model whose vocabulary has the word, with the embedding that it should get.
    embedding = weights["embedding"].copy()
    embedding[4] += compose(["ancient"], spelled)[0]
    known = TrainedModel({**weights, "embedding": embedding}, vocabulary, {"pooling": "last"})
    found = trained.embed([question, "old how"])
    np.testing.assert_allclose(found, known.embed([question, "old how"]), atol=1e-6)
    plain = TrainedModel(layer, vocabulary, {"pooling": "last"})
    assert np.abs(found[0] - plain.embed([question])[0]).max() > 0.01
    np.testing.assert_array_equal(found[1], plain.embed(["old how"])[0])
    trained.save(tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").embed([question])[0], found[0])
    assert get_weights(trained.model).keys() == weights.keys()


def test_projection_and_centre_go_wherever_the_model_goes(trained, tmp_path):
    centre = np.linspace(-0.3, 0.4, trained.weights["embedding"].shape[1])
    projection = np.random.default_rng(3).normal(size=(4, 4)).astype("f")
    weights = {**trained.weights, CENTRE: centre, PROJECTION: projection}
    moved = TrainedModel(weights, trained.vocabulary, trained.settings)
    questions = ["How old are you?", "", "Where?"]
    plain, found = trained.embed(questions) @ projection, moved.embed(questions)
    plain /= np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-30)
    expected = [(v - centre) / np.linalg.norm(v - centre) if v.any() else v for v in plain]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    moved.save(tmp_path / "model")
    np.testing.assert_array_equal(load_model(tmp_path / "model").embed(questions), found)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(moved)).embed(questions), found)
    # Trax's layer has it too, and hands it on.
    ids = [moved.vocabulary.encode(question) for question in questions]
    padded = np.array([[*row, *[1] * (8 - len(row))] for row in ids], np.int32)
    np.testing.assert_allclose(moved.model((padded, padded))[0], found, atol=1e-6)
    np.testing.assert_array_equal(Encoder(moved.model)(ids), found)
    again = TrainedModel(moved.model, moved.vocabulary, {})
    np.testing.assert_array_equal(again.embed(questions), found)
    assert model_digest(moved) == model_digest(again) != model_digest(trained)


@pytest.mark.parametrize(
    "name, shape", [(CENTRE, (5,)), (CENTRE, (1, 4)), (PROJECTION, (4,)), (PROJECTION, (4, 3))]
)
def test_constants_that_do_not_fit_the_weights(trained, name, shape):
    weights = {**trained.weights, name: np.ones(shape)}
    with pytest.raises(ValueError, match=r"model must be weights .*projection \(d, d\)"):
        TrainedModel(weights, trained.vocabulary, trained.settings)


@pytest.mark.parametrize("wrong", [{TABLE: (8, 4)}, {LENGTH: (1,)}, {TABLE: (8, 3), LENGTH: (1,)}])
def test_spelling_that_does_not_fit_the_weights(trained, wrong):
    weights = {**trained.weights, **{name: np.ones(shape) for name, shape in wrong.items()}}
    with pytest.raises(ValueError, match=r"model must be weights .*spelling/table \(rows, d\)"):
        TrainedModel(weights, trained.vocabulary, trained.settings)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_no_model(trained, number):
    weights = {**trained.weights, "lstm/bias": np.full(16, number, np.float32)}
    with pytest.raises(ValueError, match="weights must be finite.*lstm/bias"):
        TrainedModel(weights, trained.vocabulary, trained.settings)


def test_predict_compares_with_the_threshold(trained):
    first, second = ["How old are you?", "Are you old?", ""], ["Where?", "are you OLD", "Where?"]
    scores = trained.similarity(first, second)
    assert scores[2] == 0 and trained.threshold == 0.5
    for threshold in (-1.0, 0, 0.5, float(scores[0]), np.float32(1), np.inf):
        found = trained.predict(first, second, threshold=threshold)
        assert found.dtype == np.bool_ and found.tolist() == (scores > threshold).tolist()
    assert trained.predict(first, second).tolist() == (scores > 0.5).tolist()
    without = TrainedModel(trained.model, trained.vocabulary, {"pooling": "last"})
    assert without.threshold is None
    with pytest.raises(ValueError, match="threshold must be given, .*best_threshold"):
        without.predict(first, second)
    assert without.predict(first, second, threshold=0.5).tolist() == (scores > 0.5).tolist()


def test_probability_is_the_logistic_function_of_the_similarity(trained, tmp_path):
    first, second = ["How old are you?", "Are you old?", ""], ["Where?", "are you OLD", "Where?"]
    with pytest.raises(ValueError, match="labelled 0.*validation="):
        trained.probability(first, second)
    calibration = {"slope": 6.0, "intercept": -4.0, "source": "a guess"}
    settings = {**trained.settings, "calibration": calibration}
    TrainedModel(trained.model, trained.vocabulary, settings).save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.settings["calibration"] == calibration
    found = again.probability(first, second)
    assert found.dtype == np.float32
    expected = 1 / (1 + np.exp(4 - 6 * again.similarity(first, second).astype(np.float64)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[2] == pytest.approx(1 / (1 + np.exp(4)), rel=1e-5)  # at similarity 0
    assert again.probability([], []).shape == (0,)


def test_is_made_from_a_layer_or_its_weights_and_keeps_a_copy(trained):
    questions = ["How old are you?", "Where?"]
    vectors, weights = trained.embed(questions), {k: w.copy() for k, w in trained.weights.items()}
    again = TrainedModel(weights, trained.vocabulary, trained.settings)
    weights["embedding"][:] = 0
    np.testing.assert_array_equal(again.embed(questions), vectors)
    with pytest.raises(ValueError, match="read-only"):
        again.weights["lstm/bias"][0] = 1
    wide = {name: array.astype(np.float64) for name, array in trained.weights.items()}
    from_wide = TrainedModel(wide, trained.vocabulary, {"pooling": "last"})
    assert from_wide.weights["embedding"].dtype == np.float32
    np.testing.assert_array_equal(from_wide.embed(questions), vectors)
    without = TrainedModel(again.model, trained.vocabulary, {})  # the layer knows its pooling
    assert without.pooling == pooling_of(again.model) == "last" and again.model is again.model
    np.testing.assert_array_equal(without.embed(questions), vectors)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_vectors_are_those_of_the_layer(pooling):
    vocabulary = Vocabulary.build(["How old are you?", "Where is the station?"])
    layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling=pooling), seed=1)
    trained = TrainedModel(layer, vocabulary, {})
    questions = ["How old?", "", "Where is the old station? How old is it?"]
    for question, vector in zip(questions, trained.embed(questions)):
        ids = pad([vocabulary.encode(question)], course_length(len(vocabulary.encode(question))))
        np.testing.assert_allclose(np.asarray(layer((ids, ids))[0])[0], vector, atol=1e-6)


def test_a_loaded_model_takes_little_more_memory_than_its_weights(tmp_path):
    vocabulary, d = Vocabulary([f"word{n}" for n in range(4000)]), 128
    shapes = {"embedding": (len(vocabulary), d), "lstm/kernel": (2 * d, 4 * d), "lstm/bias": 4 * d}
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    TrainedModel(weights, vocabulary, {"pooling": "last"}).save(tmp_path / "model")
    tracemalloc.start()
    model = load_model(tmp_path / "model")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1.5 * sum(array.nbytes for array in model.weights.values())


QUESTIONS = ["How old are you?", "Where is the station?", "you", "", "unknown words"]


def same_answers(trained, again):
    np.testing.assert_array_equal(again.embed(QUESTIONS), trained.embed(QUESTIONS))
    return again.vocabulary == trained.vocabulary and again.settings == trained.settings


def test_copies_and_pickles_by_content(trained):
    _ = trained.model  # a layer has compiled code, which cannot be pickled
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert same_answers(trained, pickle.loads(pickle.dumps(trained, protocol)))
    assert same_answers(trained, copy.deepcopy(trained))
    opcodes = pickletools.genops(pickle.dumps(trained, 2))
    named = {argument.split()[0] for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    ours = {name for name in named if name.startswith("trax_triplet")}
    assert ours == {"trax_triplet.inference.trained_model", "trax_triplet.data.vocabulary"}
    assert {name.split(".")[0] for name in named} <= {
        "trax_triplet",
        "numpy",
        "copy_reg",
        "_codecs",
    }


def test_answers_from_several_threads(trained):
    expected = trained.embed(QUESTIONS)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(trained.embed, [QUESTIONS] * 200):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:os.fork"
)  # JAX and Python 3.12 warn, as this process has threads
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_answers_in_other_processes(trained, method):
    expected = trained.embed(QUESTIONS)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for found in pool.map(trained.embed, [QUESTIONS] * 4):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_answers_under_joblib(trained):
    joblib = pytest.importorskip("joblib")
    jobs = [joblib.delayed(trained.embed)(QUESTIONS)] * 4
    # Arrays above max_nbytes reach the processes through a file.
    for found in joblib.Parallel(n_jobs=2, max_nbytes=100)(jobs):
        np.testing.assert_array_equal(found, trained.embed(QUESTIONS))


def test_what_is_read_is_what_was_written(trained, folder):
    again = load_model(folder)
    for name, weights in get_weights(trained.model).items():
        np.testing.assert_array_equal(get_weights(again.model)[name], weights)
    assert again.vocabulary == trained.vocabulary
    assert again.settings == {
        **trained.settings,
        "training": {},
        "vocab_size": len(trained.vocabulary),
        "d_model": 4,
        "tokenizer": "words",
        "tokenizer_version": TOKENIZER_VERSIONS["words"],
    }
    questions = ["How old is the station?", "", "?"]
    np.testing.assert_array_equal(again.embed(questions), trained.embed(questions))
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("threshold", [1, np.float32(0.25), None])
def test_any_number_is_a_threshold_that_comes_back(trained, tmp_path, threshold):
    settings = {"pooling": "last", "threshold": threshold}
    TrainedModel(trained.model, trained.vocabulary, settings).save(tmp_path / "model")
    assert load_model(tmp_path / "model").threshold == threshold


def test_a_new_model_takes_the_place_of_the_old_one(trained, folder):
    layer = init_model(Siamese(len(trained.vocabulary), 4, "eval", pooling="mean"), seed=2)
    save_model(folder, TrainedModel(layer, trained.vocabulary, {"pooling": "mean"}))
    assert load_model(folder).settings["pooling"] == "mean"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_what_others_put_into_the_folder_stays(trained, folder):
    save_model(folder, trained)
    card = (folder / "README.md").read_bytes()
    save_model(folder, trained)  # a card as it was written is replaced
    assert sorted(path.name for path in folder.glob("README*")) == ["README.md"]
    (folder / "notes").mkdir()
    (folder / "notes/mine.txt").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    (folder / "README.md").write_text("edited")
    for _ in range(2):
        save_model(folder, trained)
        assert (folder / "notes/mine.txt").read_text() == "mine"
        assert (folder / "link").readlink().name == "nowhere"
        assert (folder / "README.edited.md").read_text() == "edited"
        assert (folder / "README.md").read_bytes() == card
    (folder / "README.md").write_text("edited again")
    save_model(folder, trained)
    assert (folder / "README.edited.md").read_text() == "edited"
    assert (folder / "README.edited.md2").read_text() == "edited again"
    load_model(folder)


def test_a_failed_write_leaves_the_old_model(trained, folder, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(folders.safetensors.numpy, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, trained)
    assert load_model(folder).threshold == 0.5
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_killed_between_the_two_renames_the_old_model_is_found(trained, folder):
    folder.rename(folder.with_name(".model.old"))
    shutil.copytree(folder.with_name(".model.old"), folder.with_name(".model.new"))
    assert load_model(folder).threshold == 0.5
    save_model(folder, trained)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_not_replaced(trained, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="has no model.json, so it is not replaced"):
        save_model(tmp_path / "thesis", trained)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def forge(**settings):
    """Changes settings and signs them again: what a careful forger would do."""

    def change(folder):
        content = json.loads((folder / "model.json").read_text())
        content.pop("sha256")
        content["settings"].update(settings)
        content["sha256"] = folders._digest(content)
        (folder / "model.json").write_text(json.dumps(content))

    return change


def rewrite(name, value):
    """Writes the folder anew with other arrays or another vocabulary, signed."""

    def change(folder):
        settings, arrays = folders.read_folder(folder, "model.json")
        (folder / "model.json").unlink()
        if name == "vocabulary":
            value.save(folder / "vocabulary.txt")
        else:
            arrays[name] = value(arrays[name])
        folders.write_folder(folder, "model.json", settings, arrays)

    return change


MISFITS = {
    "vocabulary missing": (lambda f: (f / "vocabulary.txt").unlink(), "vocabulary.txt is missing"),
    "vocabulary truncated": (
        lambda f: (f / "vocabulary.txt").write_bytes((f / "vocabulary.txt").read_bytes()[:-3]),
        "vocabulary.txt should have",
    ),
    "other d_model": (forge(d_model=5), "the weights should be"),
    "other vocab_size": (forge(vocab_size=3), "the weights should be"),
    "other tokenizer": (forge(tokenizer="course"), "'course', but vocabulary.txt holds"),
    "other vocabulary": (rewrite("vocabulary", Vocabulary(["how"])), "holds 3 by 'words'"),
    "no pooling": (forge(pooling="max"), "no usable pooling"),
    "text for a number": (forge(d_model="4"), "no usable d_model"),
    "calibration incomplete": (forge(calibration={"slope": 1.0}), "no usable calibration"),
    "calibration NaN": (
        forge(calibration={"slope": float("nan"), "intercept": 0.0}),
        "no usable calibration",
    ),
    "calibration a list": (forge(calibration=[1.0, 0.0]), "no usable calibration"),
    "threshold NaN": (forge(threshold=float("nan")), "no usable threshold"),
    "a weight NaN": (rewrite("lstm/bias", lambda w: w * np.float32("nan")), "not finite float32"),
    "weights float64": (rewrite("lstm/bias", np.float64), "not finite float32"),
    "weights transposed": (rewrite("lstm/kernel", np.transpose), "the weights should be"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_together_is_one_clear_error(folder, misfit):
    change, message = MISFITS[misfit]
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
