"""Conversion: weights both ways, equal vectors, and files that answer without Trax."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from bare_python import python
from paths import ROOT

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.trained_model import TrainedModel, save_model
from trax_triplet.keras import Siamese as KerasSiamese
from trax_triplet.keras import convert
from trax_triplet.keras.convert import export, from_keras, to_keras
from trax_triplet.keras.layers import swap_pad_and_oov, unit_rows
from trax_triplet.keras.layers import tower_of as tower_of_model
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.spelling import LENGTH, TABLE
from trax_triplet.model.walk import CENTRE, PROJECTION
from trax_triplet.model.weights import get_weights, init_model, set_weights

pytestmark = pytest.mark.integration  # loads and compiles Keras

POOLINGS = ("last", "mean", "course")
LONG = "how do I " + "really " * 70 + "learn French?"
QUESTIONS = [
    "How old are you?",
    "What is your age?",
    "Do zebras swim in caf\u00e9s?",
    "",
    "old " * 9,
]
IDS = np.array(
    [[5, 6, 7, 1, 1, 1, 1, 1], [9, 0, 1, 1, 1, 1, 1, 1], [2, 3, 4, 5, 6, 7, 8, 9], [1] * 8],
    np.int32,
)


def layer(pooling="last", vocab_size=12, seed=0):
    """With biases that all differ, as after training, so that no two gates can change places
    unseen."""
    made = init_model(Siamese(vocab_size, 6, "eval", pooling=pooling, embedding_stddev=1.0), seed)
    bias = np.random.default_rng(seed).normal(size=24).astype("float32")
    return set_weights(made, {**get_weights(made), "lstm/bias": bias})


def trained(pooling="last", buckets=5):
    vocabulary = Vocabulary.build([*QUESTIONS[:2], LONG, QUESTIONS[4]], buckets=buckets)
    settings = {
        "pooling": pooling,
        "threshold": 0.625,
        "threshold_source": "chosen here",
        "training": {"step": 3},
    }
    weights = get_weights(layer(pooling, len(vocabulary)))
    centre = np.linspace(-0.3, 0.4, 6)
    projection = np.random.default_rng(3).normal(size=(6, 6))
    constants = {CENTRE: centre, PROJECTION: projection}
    return TrainedModel({**weights, **constants}, vocabulary, settings)


@pytest.fixture(scope="module", params=POOLINGS)
def both(request):
    model = trained(request.param)
    return model, to_keras(model)


def vectors(model, questions):
    return model.get_layer("sequential")(tf.constant(questions)[:, None]).numpy()


# --- across and back


def test_vectors_of_questions_are_the_same(both):
    ours, theirs = both
    found = vectors(theirs, QUESTIONS)
    np.testing.assert_allclose(found, ours.embed(QUESTIONS), atol=1e-5)
    # Also one at a time, with the course's pooling, too.
    one = vectors(theirs, QUESTIONS[:1])
    np.testing.assert_allclose(one, found[:1], atol=2e-6)


@pytest.mark.slow
def test_vectors_of_long_questions_are_the_same(both):
    ours, theirs = both
    questions = [*QUESTIONS, LONG]
    np.testing.assert_allclose(vectors(theirs, questions), ours.embed(questions), atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "course"])
def test_vectors_of_ids_are_the_same(pooling):
    ours = layer(pooling)
    expected = ours((IDS, IDS[::-1]))
    found = np.split(to_keras(ours)([tf.constant(IDS), tf.constant(IDS[::-1])]).numpy(), 2, axis=1)
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-6)


def test_there_and_back_is_bit_exact(both):
    ours, theirs = both
    again = from_keras(theirs)
    assert again.vocabulary == ours.vocabulary and again.settings == ours.settings
    for name, array in get_weights(ours.model).items():
        assert get_weights(again.model)[name].tobytes() == array.tobytes()


def test_gates_and_rows_stand_where_keras_has_them():
    ours = layer("mean")
    theirs, weights = to_keras(ours), get_weights(ours)
    again = get_weights(from_keras(theirs))  # of a layer, a layer
    assert all(array.tobytes() == again[name].tobytes() for name, array in weights.items())
    tower = theirs.get_layer("sequential")
    (table,), (kernel, recurrent, bias) = (
        tower.get_layer(name).get_weights() for name in ("embedding", "LSTM")
    )
    assert table[0].tolist() == weights["embedding"][1].tolist()  # padding
    assert table[1].tolist() == weights["embedding"][0].tolist()  # out of vocabulary
    assert table[2:].tolist() == weights["embedding"][2:].tolist()
    # Trax: input, new, forget, output; Keras: input, forget, new, output; six columns each.
    for theirs, ours in (
        (kernel, weights["lstm/kernel"][:6]),
        (recurrent, weights["lstm/kernel"][6:]),
        (bias, weights["lstm/bias"]),
    ):
        for place, gate in enumerate((0, 2, 1, 3)):
            assert (
                theirs[..., 6 * place : 6 * place + 6].tolist()
                == ours[..., 6 * gate : 6 * gate + 6].tolist()
            )


@pytest.mark.slow
def test_a_model_of_the_assignment_goes_to_trax_and_is_served(tmp_path):
    keras.utils.set_random_seed(1)
    vectorizer = keras.layers.TextVectorization(split="whitespace", standardize="strip_punctuation")
    vectorizer.adapt(QUESTIONS)
    model = KerasSiamese(vectorizer, vocab_size=40, d_feature=6)
    ours = from_keras(model)
    ids = swap_pad_and_oov(tf.cast(vectorizer(tf.constant(QUESTIONS)), tf.int32)).numpy()
    np.testing.assert_allclose(
        np.asarray(ours((ids, ids))[0]), vectors(model, QUESTIONS), atol=1e-5
    )
    export(model, tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    found = served.signatures["serving_default"](questions=tf.constant(QUESTIONS))["vectors"]
    np.testing.assert_allclose(found, vectors(model, QUESTIONS), atol=1e-6)


@pytest.mark.slow
def test_a_model_that_went_across_is_trained_on():
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.keras import ModifiedTripletLoss, pairs_dataset

    model = to_keras(trained())
    model.compile(
        loss=ModifiedTripletLoss(0.4, with_groups=True),
        optimizer=keras.optimizers.Adam(0.01),
        run_eagerly=True,
    )
    pairs = Pairs(QUESTIONS[:3], [*QUESTIONS[3:], "How old?"], [1, 1, 1])
    before = model.get_weights()
    history = model.fit(pairs_dataset(pairs, 4), epochs=2, verbose=0, shuffle=False).history["loss"]
    assert np.isfinite(history).all() and any(
        (a != b).any() for a, b in zip(before, model.get_weights())
    )
    assert np.abs(from_keras(model).embed(QUESTIONS) - vectors(model, QUESTIONS)).max() < 1e-5


# --- what does not go across


def test_the_spelling_of_unknown_words_is_told_not_to():
    before = trained()
    d, random = before.weights["embedding"].shape[1], np.random.default_rng(0)
    spelling = {TABLE: random.normal(size=(16, d)), LENGTH: np.ones(1)}
    spelled = TrainedModel({**before.weights, **spelling}, before.vocabulary, before.settings)
    with pytest.warns(UserWarning, match="spelling=0 where both must agree"):
        theirs = to_keras(spelled)
    # "Do zebras swim in cafes?" has unknown words, the other questions have none.
    difference = np.abs(vectors(theirs, QUESTIONS) - spelled.embed(QUESTIONS)).max(axis=1)
    assert difference[2] > 0.01 and np.delete(difference, 2).max() < 1e-5


def tower_of(*layers, dtype="int32"):
    return keras.Sequential([keras.Input((None,), dtype=dtype), *layers])


def embedding(**options):
    return keras.layers.Embedding(9, 4, **{"mask_zero": True, **options})


@pytest.mark.parametrize(
    "layers, message",
    [
        (
            [embedding(), keras.layers.GRU(4), keras.layers.Lambda(unit_rows)],
            "Embedding, LSTM.*Embedding, GRU, Lambda",
        ),
        (
            [embedding(), keras.layers.LSTM(5), keras.layers.Lambda(unit_rows)],
            "'units': 4.*but it is one with.*'units': 5",
        ),
        (
            [embedding(), keras.layers.LSTM(4, activation="relu"), keras.layers.Lambda(unit_rows)],
            "'activation': 'relu'",
        ),
        (
            [embedding(mask_zero=False), keras.layers.LSTM(4), keras.layers.Lambda(unit_rows)],
            r"\(mask_zero=True\)",
        ),
        (
            [embedding(), keras.layers.LSTM(4), keras.layers.Dense(4, name="out")],
            "scale each row to length 1.*'out'",
        ),
        (
            [embedding(), keras.layers.LSTM(4), keras.layers.LayerNormalization(name="out")],
            "scale each row to length 1.*'out'",
        ),
        (
            [
                embedding(),
                keras.layers.LSTM(4, return_sequences=True),
                keras.layers.GlobalAveragePooling1D("channels_first"),
                keras.layers.Lambda(unit_rows),
            ],
            "channels_last.*channels_first",
        ),
        (
            [
                embedding(),
                keras.layers.LSTM(4),
                keras.layers.Lambda(lambda x: tf.math.l2_normalize(x), name="all"),
            ],
            "scale each row to length 1.*'all'.*axis=1",
        ),
    ],
)
def test_layers_that_trax_does_not_have_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        from_keras(tower_of(*layers))


@pytest.mark.parametrize(
    "function, argument, error, message",
    [
        (from_keras, 3, TypeError, "model must be a Keras model of two towers.*an int"),
        (to_keras, 3, TypeError, "model"),
        (to_keras, "no such folder", FileNotFoundError, "no model.json in no such folder"),
        (to_keras, Siamese(9, 4, pooling="last"), ValueError, "initialise it first"),
    ],
)
def test_what_is_not_a_model_is_refused(function, argument, error, message):
    with pytest.raises(error, match=message):
        function(argument)


def test_two_separate_towers_are_refused():
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    towers = [tower_of(embedding(), keras.layers.LSTM(4)) for _ in range(2)]
    model = keras.Model(
        inputs, keras.layers.Concatenate()([tower(x) for tower, x in zip(towers, inputs)])
    )
    with pytest.raises(ValueError, match="one tower that both share.*2 inputs, and 2 models"):
        from_keras(model)


def test_the_courses_tokens_are_refused(tmp_path):
    vocabulary = Vocabulary(["How"], tokenizer="course")
    with pytest.raises(ValueError, match="tokenizer 'course'.*give the model ids"):
        to_keras(TrainedModel(layer("last", 3), vocabulary, {"pooling": "last"}))


# --- files

# TensorFlow only: not Keras, JAX, Trax or this package.
SERVE = """
import sys
import zipfile
for name in ("trax", "jax", "keras", "trax_triplet"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf
texts = tf.constant(open("questions", encoding="utf-8").read().split("\\n"))
for pooling in sys.argv[1:]:
    model = tf.saved_model.load(f"served {pooling}")
    vectors = model.signatures["serving_default"](questions=texts)["vectors"]
    pairs = model.signatures["similarity"](question1=texts, question2=texts[::-1])
    np.savez(pooling, vectors=vectors, **pairs)
"""


@pytest.mark.slow
def test_saved_models_answer_where_there_is_only_tensorflow(tmp_path):
    served = ("last", "course")  # two ways to mask and to pool, with all the layers that there are
    for pooling in served:
        save_model(tmp_path / pooling, trained(pooling))
        assert export(tmp_path / pooling, tmp_path / f"served {pooling}") == "savedmodel"
    (tmp_path / "questions").write_text("\n".join(QUESTIONS), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *served],
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for pooling in served:
        answers, ours = np.load(tmp_path / f"{pooling}.npz"), trained(pooling)
        assert np.abs(answers["vectors"] - ours.embed(QUESTIONS)).max() < 1e-5
        expected = ours.similarity(QUESTIONS, QUESTIONS[::-1])
        assert np.abs(answers["similarity"] - expected).max() < 1e-5
        assert answers["is_duplicate"].tolist() == (expected > 0.625).tolist()


def test_a_keras_file_holds_weights_vocabulary_and_threshold(both, tmp_path):
    _, theirs = both
    assert export(theirs, tmp_path / "model.keras") == "keras"
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    for before, after in zip(theirs.get_weights(), again.get_weights()):
        assert before.tobytes() == after.tobytes()
    kinds = [
        [type(layer) for layer in model.get_layer("sequential").layers] for model in (theirs, again)
    ]
    assert kinds[0] == kinds[1]
    assert from_keras(again).settings["threshold"] == 0.625
    assert from_keras(again).vocabulary == trained().vocabulary


BARE = """
import sys, keras
try:
    keras.saving.load_model(sys.argv[1])
except TypeError as error:
    print(str(error)[-120:])
import trax_triplet.keras
print(keras.saving.load_model(sys.argv[1]).name)
"""


@pytest.mark.slow
def test_a_keras_file_says_what_to_import_before_it_is_loaded(both, tmp_path):
    _, theirs = both
    export(theirs, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        card = archive.read("README.md").decode()
    assert "import trax_triplet.keras" in card and 'load_model("model.keras")' in card
    done = python("-c", BARE, tmp_path / "model.keras")
    assert done.returncode == 0, done.stderr
    error, name = done.stdout.splitlines()
    assert "import trax_triplet.keras" in error and name == theirs.name


@pytest.mark.slow
def test_a_keras_file_gives_equal_answers(both, tmp_path):
    _, theirs = both
    export(theirs, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    questions = [*QUESTIONS, LONG]
    assert vectors(again, questions).tolist() == vectors(theirs, questions).tolist()


@pytest.mark.slow
def test_a_model_of_ids_is_exported_as_such(tmp_path):
    ours = layer("last")
    export(ours, tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    found = served.signatures["serving_default"](questions=tf.constant(IDS))["vectors"]
    np.testing.assert_allclose(found, np.asarray(ours((IDS, IDS))[0]), atol=1e-6)
    assert set(served.signatures["similarity"].structured_outputs) == {
        "similarity"
    }  # no threshold came with it


def test_a_functional_tower_keeps_vocabulary_and_threshold(both):
    ours, theirs = both
    questions, *inputs = (keras.Input((1,), dtype="string") for _ in range(3))
    answer = questions
    for stage in theirs.get_layer("sequential").layers:
        answer = stage(answer)
    tower = keras.Model(questions, answer)
    model = keras.Model(inputs, keras.layers.Concatenate(axis=1)([tower(x) for x in inputs]))
    again = from_keras(model)
    assert again.vocabulary == ours.vocabulary
    assert again.settings["threshold"] == 0.625


@pytest.mark.slow
def test_half_precision_goes_across_and_is_served_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ours, theirs = trained(), to_keras(trained())
        assert theirs.output.dtype == "float16"
        before, after = (
            get_weights(model)["lstm/bias"].tolist()
            for model in (ours.model, from_keras(theirs).model)
        )
        assert before == after
        export(theirs, tmp_path / "served")
    finally:
        keras.config.set_dtype_policy("float32")
    served = tf.saved_model.load(tmp_path / "served")
    found = served.signatures["serving_default"](questions=tf.constant(QUESTIONS))["vectors"]
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, ours.embed(QUESTIONS), atol=0.02)
    one, each = tf.constant(QUESTIONS[:1]), tf.constant(QUESTIONS)
    assert served.signatures["similarity"](question1=one, question2=each)["similarity"].shape == (
        len(QUESTIONS),
    )


FULL_DISK = """
import resource, signal, sys
from trax_triplet import cli
from trax_triplet.keras import convert as keras_export
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(cli.main(["export", "model", "served"]))
"""


@pytest.mark.slow
def test_an_error_of_tensorflow_is_reported_and_nothing_is_lost(tmp_path, monkeypatch):
    export(to_keras(layer()), tmp_path / "served")
    before = (tmp_path / "served" / "saved_model.pb").read_bytes()

    def full(served, path, *arguments, **options):
        Path(path, "saved_model.pb").write_text("half of")
        raise tf.errors.OutOfRangeError(None, None, "File too large")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match="served could not be written: File too large"):
        export(to_keras(layer()), tmp_path / "served")
    assert (tmp_path / "served" / "saved_model.pb").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


@pytest.mark.by_hand
def test_a_full_disk_is_reported_in_one_line_and_leaves_what_was_there(tmp_path):
    save_model(tmp_path / "model", trained())
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_text("the old one")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert (
        "trax-triplet export: error: served could not be written: " in done.stderr.splitlines()[-1]
    )
    assert (tmp_path / "served" / "saved_model.pb").read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "served"]


@pytest.fixture(scope="module")
def of_ids():
    return to_keras(layer())


def test_what_export_would_have_to_replace_is_kept(of_ids, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    (tmp_path / "folder.keras").mkdir()
    for name, kind in (("mine", "SavedModel"), ("folder.keras", "file")):
        with pytest.raises(FileExistsError, match=f"exists and is not a {kind}"):
            export(of_ids, tmp_path / name)
    (tmp_path / "mine" / "saved_model.pb").write_text("and a model beside it")
    with pytest.raises(FileExistsError, match="exists and is not a SavedModel"):
        export(of_ids, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="the folder .* does not exist"):
        export(of_ids, tmp_path / "none" / "model.keras")
    with pytest.raises(ValueError, match="format must be one of 'keras', 'savedmodel'"):
        export(of_ids, tmp_path / "x", format="h5")
    with pytest.raises(ValueError, match="name it x.keras"):
        export(of_ids, tmp_path / "x", format="keras")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.keras", "mine"]


@pytest.mark.slow
def test_a_saved_model_is_replaced_and_its_neighbours_are_kept(of_ids, tmp_path):
    (tmp_path / "served.old").mkdir()
    (tmp_path / "served.new").mkdir()
    export(of_ids, tmp_path / "served")
    export(of_ids, tmp_path / "served")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "served",
        "served.new",
        "served.old",
    ]


def test_what_a_saved_model_answers_without_writing_it(of_ids):
    signatures = {}
    noted = SimpleNamespace(
        track=lambda tower: None, add_endpoint=lambda name, f, spec: signatures.update({name: f})
    )
    with mock.patch.object(keras.export, "ExportArchive", return_value=noted):
        convert._archive(tower_of_model(of_ids))
    ids, others = tf.constant(IDS), tf.constant(IDS[::-1])
    one, two = np.split(of_ids([ids, others]).numpy(), 2, axis=1)
    found = signatures["serving_default"](ids)["vectors"]
    np.testing.assert_allclose(found, one, atol=1e-6)
    found = signatures["similarity"](ids, others)
    assert set(found) == {"similarity"}  # no threshold came with it
    np.testing.assert_allclose(found["similarity"], (one * two).sum(axis=1), atol=1e-6)
