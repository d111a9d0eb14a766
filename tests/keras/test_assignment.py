"""The TensorFlow assignment's names as a grader sees them, without the assignment's faults."""

import inspect
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from bare_python import python
from vectors import KERAS_LARGE, KERAS_SMALL

from trax_triplet import keras as edition
from trax_triplet.keras import Siamese, TripletLoss, TripletLossFn, classify, predict, train_model

pytestmark = pytest.mark.integration  # loads and compiles Keras

QUESTIONS = [
    "How old are you?",
    "What is your age?",
    "How do I cook rice?",
    "How is rice cooked?",
    "Who are you?",
]


def vectorizer(texts=QUESTIONS):
    """As the assignment has it."""
    layer = keras.layers.TextVectorization(
        output_mode="int", split="whitespace", standardize="strip_punctuation"
    )
    layer.adapt(texts)
    return layer


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    made, texts = (
        Siamese(vectorizer(), vocab_size=20, d_feature=8),
        tf.constant(QUESTIONS)[:, None],
    )
    made.predict([texts, texts], verbose=0)  # in the shape that it declares; others must follow
    return made


# --- names, signatures, printed forms


@pytest.mark.parametrize(
    "name, signature",
    [
        ("Siamese", "(text_vectorizer, vocab_size=36224, d_feature=128)"),
        ("TripletLossFn", "(v1, v2, margin=0.25)"),
        ("TripletLoss", "(labels, out, margin=0.25)"),
        (
            "train_model",
            "(Siamese, TripletLoss, text_vectorizer, train_dataset, val_dataset, d_feature=128, "
            "lr=0.01, train_steps=5, epochs=None)",
        ),
        ("classify", "(test_Q1, test_Q2, y_test, threshold, model, batch_size=64, verbose=True)"),
        ("predict", "(question1, question2, threshold, model, verbose=False)"),
    ],
)
def test_signatures_are_the_assignments(name, signature):
    found = inspect.signature(getattr(edition, name))
    empty = inspect.Parameter.empty
    bare = [parameter.replace(annotation=empty) for parameter in found.parameters.values()]
    assert str(found.replace(parameters=bare, return_annotation=empty)) == signature
    assert getattr(edition, name).__name__ == name


def test_layers_are_the_assignments_in_its_order():
    model = Siamese(vectorizer(), vocab_size=36224, d_feature=128)
    assert model.name == "SiameseModel"
    assert [(type(layer).__name__, layer.name) for layer in model.layers] == [
        ("InputLayer", "input_1"),
        ("InputLayer", "input_2"),
        ("Sequential", "sequential"),
        ("Concatenate", "conc_1_2"),
    ]
    assert [tuple(tensor.shape) for tensor in model.inputs] == [(None, 1), (None, 1)]
    assert {tensor.dtype for tensor in model.inputs} == {"string"}
    assert model.output_shape == (None, 256)
    tower = model.get_layer("sequential")
    layers = [(type(layer).__name__, layer.name) for layer in tower.layers]
    assert layers[0][0] == "TextVectorization" and layers[1:] == [
        ("Embedding", "embedding"),
        ("LSTM", "LSTM"),
        ("GlobalAveragePooling1D", "mean"),
        ("Lambda", "out"),
    ]
    # Embedding 36224 x 128; LSTM 4 x (128 + 128 + 1) x 128
    assert [layer.count_params() for layer in tower.layers[1:]] == [
        36224 * 128,
        4 * 257 * 128,
        0,
        0,
    ]
    assert tower.get_layer("LSTM").return_sequences and tower.output_shape == (None, 128)
    assert isinstance(tower.get_layer("mean"), keras.layers.GlobalAveragePooling1D)


def test_summary_reads_as_the_assignments(model):
    lines = []
    model.summary(expand_nested=True, print_fn=lines.append)
    words = [
        "SiameseModel",
        "input_1",
        "input_2",
        "sequential",
        "embedding",
        "LSTM",
        "mean",
        "out (Lambda)",
        "conc_1_2",
        "input_1[0][0]",
    ]
    text = "\n".join(lines)
    places = [text.find(word) for word in words]
    assert -1 not in places and places[:-1] == sorted(places[:-1])


# --- the three numbers


def test_losses_to_the_digits_given():
    small, large = tf.constant(KERAS_SMALL), tf.constant(KERAS_LARGE, tf.float64)
    assert round(float(TripletLoss(None, small)), 7) == pytest.approx(0.7035077, abs=1e-7)
    assert float(TripletLoss(None, large)) == pytest.approx(0.30219180776031007, abs=1e-14)
    assert float(TripletLoss(None, large, margin=0.8)) == pytest.approx(
        2.4262490547900892, abs=1e-14
    )
    assert float(TripletLossFn(large[:, :3], large[:, 3:], 0.8)) == float(
        TripletLoss([1] * 4, large, 0.8)
    )
    assert tf.is_tensor(TripletLoss(None, large)) and TripletLoss(None, large).shape == ()


def test_labels_do_not_matter_and_a_batch_of_one_is_zero():
    out = tf.constant(KERAS_LARGE)
    assert float(TripletLoss(tf.zeros(4), out)) == float(TripletLoss(tf.ones((4, 7)), out))
    assert float(TripletLoss(None, out[:1])) == 0.0


# --- faults that are fixed


def vectors(model, *questions):
    tower = model.get_layer("sequential")
    return tower(tf.constant([[question] for question in questions])).numpy()


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(model):
    alone = vectors(model, "How old are you?")
    beside = vectors(
        model, "How old are you?", "How do I cook rice and who are you and what is your age ?"
    )
    np.testing.assert_allclose(beside[:1], alone, atol=1e-6)


def test_each_row_has_length_1_whatever_the_batch(model):
    for n in (1, 2, 5):
        np.testing.assert_allclose(
            np.linalg.norm(vectors(model, *QUESTIONS[:n]), axis=1), np.ones(n), atol=1e-6
        )


def test_the_loss_can_fall_below_what_one_length_for_the_batch_allows():
    # With the batch of each side as one vector of length 1 the positives add up to at most 1, and
    # each pair pays 2 (margin - positive) or more for orthogonal pairs: 2 b margin - 2 in all, here
    # 8 x 0.5 - 2. Row by row it is 0.
    apart, as_one = tf.eye(4), tf.math.l2_normalize(tf.eye(4))
    assert float(TripletLoss(None, tf.concat([apart, apart], axis=1), margin=0.5)) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about that length, once in a process
        assert float(
            TripletLoss(None, tf.concat([as_one, as_one], axis=1), margin=0.5)
        ) == pytest.approx(2.0)


def test_a_question_without_words_is_finite_in_value_and_gradient(model):
    questions = [tf.constant([[""], ["How old are you?"], ["?"]])] * 2
    with tf.GradientTape() as tape:
        out = model(questions)
        value = tf.reduce_sum(out[:, :8] * tf.range(8.0)) + TripletLoss(None, out)
    assert not out.numpy()[[0, 2]].any() and np.isfinite(value)
    for gradient in tape.gradient(value, model.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


# --- training, answers, files


def batches(n=10, size=4):
    """The assignment's: duplicates, labels of ones; the last batch is a partial one."""
    texts = [(QUESTIONS * 4)[:n], (QUESTIONS[1:] * 4)[:n]]
    return tf.data.Dataset.from_tensor_slices(
        ((tf.constant(texts[0]), tf.constant(texts[1])), [1] * n)
    ).batch(size)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    return train_model(
        Siamese,
        TripletLoss,
        vectorizer(),
        batches(),
        batches(),
        d_feature=8,
        lr=0.02,
        train_steps=2,
    )


@pytest.mark.slow
def test_training_is_compiled_and_runs_as_the_assignment_says(trained):
    assert trained.loss is TripletLoss and trained.loss.__name__ == "TripletLoss"
    assert isinstance(trained.optimizer, keras.optimizers.Adam)
    assert float(trained.optimizer.learning_rate) == pytest.approx(0.02)
    assert len(trained.history.history["loss"]) == 2 and set(trained.history.history) == {
        "loss",
        "val_loss",
    }
    assert (
        trained.get_layer("sequential").get_layer("embedding").input_dim
        == vectorizer().vocabulary_size()
    )


def test_what_is_compiled_and_fitted():
    compiled, fitted = {}, {}
    model = types.SimpleNamespace(
        compile=lambda **options: compiled.update(options),
        fit=lambda data, **options: fitted.update(data=data, **options),
    )
    data, validation, texts = batches(), batches(), vectorizer()

    def made(text_vectorizer, vocab_size, d_feature):
        assert text_vectorizer is texts
        assert (vocab_size, d_feature) == (texts.vocabulary_size(), 8)
        return model

    given = (made, TripletLoss, texts, data, validation)
    assert train_model(*given, d_feature=8, lr=0.02, train_steps=2) is model
    assert compiled["loss"] is TripletLoss
    assert isinstance(compiled["optimizer"], keras.optimizers.Adam)
    assert float(compiled["optimizer"].learning_rate) == pytest.approx(0.02)
    assert fitted["data"] is data
    assert fitted["validation_data"] is validation
    assert (fitted["epochs"], fitted["shuffle"]) == (2, False)
    for numbers, epochs in (
        ({}, 5),
        ({"train_steps": 7}, 7),
        ({"epochs": 0}, 0),
        ({"train_steps": 7, "epochs": 7}, 7),
    ):
        train_model(*given, 8, **numbers)
        assert fitted["epochs"] == epochs
    with pytest.raises(ValueError, match="train_steps=3 and epochs=2 are two names of one number"):
        train_model(*given, train_steps=3, epochs=2)


def test_classify_counts_every_pair(model, capsys):
    first, second = QUESTIONS, [*QUESTIONS[:2], "Who cooks rice?", "", "Who are you?"]
    v1, v2 = vectors(model, *first), vectors(model, *second)
    similar = (v1 * v2).sum(axis=1)
    threshold = (np.sort(similar)[1] + np.sort(similar)[2]) / 2
    labels = [1, 0, 0, 0, 1]
    answers = similar > threshold
    expected = [
        [sum(y == label and a == answer for y, a in zip(labels, answers)) for answer in (0, 1)]
        for label in (0, 1)
    ]
    for size in (2, 64):
        accuracy, confusion = classify(
            first, np.array(second), labels, threshold, model, size, verbose=False
        )
        assert accuracy.numpy() == (expected[0][0] + expected[1][1]) / 5
        assert confusion.numpy().tolist() == expected
    assert capsys.readouterr().out == ""


def test_a_batch_without_any_word_is_answered_and_its_similarity_0_is_not_above_0(model):
    assert predict("", "?", 0.0, model) == np.False_  # the vectoriser drops the question mark
    accuracy, confusion = classify(["", "!"], ["?", ""], [0, 0], 0.0, model, verbose=False)
    assert accuracy.numpy() == 1.0 and confusion.numpy().tolist() == [[2, 0], [0, 0]]


def test_predict_is_a_numpy_bool_and_prints_when_asked(model, capsys):
    answer = predict("Who are you?", "who ARE you", 0.7, model, verbose=True)
    assert type(answer) is np.bool_
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("=")[0].strip() for line in printed] == ["Q1", "Q2", "d", "res"]
    assert printed[3].endswith(str(answer))
    assert predict("Who are you?", "Who are you?", 0.7, model) and capsys.readouterr().out == ""


# In another process, and without Trax: the file has only registered names.
LOAD = """
import sys
sys.modules["trax"] = None
import trax_triplet.keras, keras, numpy as np, tensorflow as tf
path, questions, answers = sys.argv[1:]
model = keras.saving.load_model(path, safe_mode=True)
texts = tf.constant(open(questions).read().split("\\n"))[:, None]
np.save(answers, model([texts, texts[::-1]]).numpy())
print(type(model.loss).__name__, model.loss.__name__)
"""


@pytest.mark.slow
def test_a_saved_model_loads_in_safe_mode_in_a_fresh_process(trained, tmp_path):
    trained.save(tmp_path / "siamese.keras")
    (tmp_path / "questions").write_text("\n".join(QUESTIONS))
    done = python(
        "-c", LOAD, tmp_path / "siamese.keras", tmp_path / "questions", tmp_path / "answers.npy"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "function TripletLoss\n"
    texts = tf.constant(QUESTIONS)[:, None]
    assert (
        np.load(tmp_path / "answers.npy").tolist() == trained([texts, texts[::-1]]).numpy().tolist()
    )


@pytest.mark.slow
def test_another_keras_backend_is_refused_in_one_sentence():
    done = python("-c", "import trax_triplet.keras", KERAS_BACKEND="jax")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: trax_triplet.keras needs Keras 3 on TensorFlow, but here is Keras "
    )
    assert "on jax: set the environment variable KERAS_BACKEND=tensorflow" in last
