"""The TensorFlow assignment's names with its behaviour.

What the assignment leaves to chance is settled: vectors are normalised row by row; padding is
masked, so that an answer does not depend on the rest of the batch; a question without words gets
the zero vector; a saved model contains no Python lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat.tf_replicas import mean_over_replicas, n_replicas
from trax_triplet.keras.layers import keras, tf, tower, two_towers
from trax_triplet.keras.loss import halves, triplet_loss_on_tensorflow

__all__ = ["Siamese", "TripletLoss", "TripletLossFn", "classify", "predict", "train_model"]

_RULE = {"closest": "shifted", "anchor": "second", "reduction": "sum", "normalize": False}
_VECTORIZER = "a keras.layers.TextVectorization, adapted to the questions"


def Siamese(
    text_vectorizer: keras.layers.Layer, vocab_size: int = 36224, d_feature: int = 128
) -> keras.Model:
    """Returns the assignment's model: two questions to their two unit vectors, side by side.

    Both questions pass the same tower: the vectorizer, `embedding`, `LSTM`, `mean` over the words,
    `out` (each row to length 1). Its padding, id 0, is masked. `trax_triplet.Siamese` and
    `trax_triplet.course.Siamese` are models for Trax.

    Args:
        text_vectorizer: a `keras.layers.TextVectorization`, adapted; or another layer from texts
            (batch, 1) to ids (batch, length), with 0 as padding.
        vocab_size: number of word ids, at least as many as the vectorizer has.
        d_feature: width of embedding, LSTM and vectors.

    Returns:
        A `keras.Model` named SiameseModel: inputs (None, 1) twice, strings; output
        (None, 2 d_feature).

    Raises:
        TypeError: a vectorizer that is not a layer, a size that is not an integer.
        ValueError: a size below 1, or a vectorizer with more ids than `vocab_size`.

    Example:
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> model = Siamese(vectorizer, vocab_size=4, d_feature=8)
        >>> model.output_shape
        (None, 16)
    """
    check.instance("text_vectorizer", text_vectorizer, keras.layers.Layer, _VECTORIZER)
    check.integer("vocab_size", vocab_size, 1)
    check.integer("d_feature", d_feature, 1)
    n_ids = getattr(text_vectorizer, "vocabulary_size", lambda: 0)()
    if n_ids > vocab_size:
        expected = f"at least the {n_ids} ids of text_vectorizer"
        advice = "pass vocab_size=text_vectorizer.vocabulary_size()"
        raise check.wrong_value("vocab_size", expected, vocab_size, advice)
    return two_towers(tower(text_vectorizer, vocab_size, d_feature))


@keras.saving.register_keras_serializable("trax_triplet")
def TripletLossFn(v1: Array, v2: Array, margin: float = 0.25) -> Array:
    """The Keras assignment's loss of vectors, summed over the batch; anchors are in `v2`.

    `trax_triplet.course.TripletLossFn` is the Trax assignment's, with another rule.

    Args:
        v1: unit vectors (batch, d) of the first questions.
        v2: unit vectors (batch, d) of their duplicates.
        margin: alpha.

    Returns:
        A scalar tensor; 0 for a batch of one pair. On a replica of a `tf.distribute` strategy, its
        share: the sum over the replicas is the loss of the complete batch.

    Raises:
        TypeError, ValueError: as `trax_triplet.triplet_loss`.

    Example:
        Collapse: every negative is as close as the positive, so each pair pays twice the margin.

        >>> float(TripletLossFn(tf.constant([[1.0, 0.0]] * 3), tf.constant([[1.0, 0.0]] * 3)))
        1.5
    """
    loss = triplet_loss_on_tensorflow(v1, v2, margin=margin, **_RULE)
    return mean_over_replicas(loss / n_replicas())


@keras.saving.register_keras_serializable("trax_triplet")
def TripletLoss(labels: Array, out: Array, margin: float = 0.25) -> Array:
    """`TripletLossFn` of a model's output, for `model.compile(loss=TripletLoss)`.

    `trax_triplet.TripletLoss` and `trax_triplet.course.TripletLoss` make layers for Trax.

    Args:
        labels: not used.
        out: (batch, 2 d), the vectors of both questions side by side.
        margin: alpha.

    Returns:
        As `TripletLossFn`.

    Raises:
        TypeError, ValueError: as `TripletLossFn`; ValueError also for an output of another shape.

    Example:
        >>> float(TripletLoss(None, tf.constant([[1.0, 0.0, 1.0, 0.0]] * 3)))
        1.5
    """
    return TripletLossFn(*halves(out), margin=margin)


def train_model(
    Siamese: Callable[..., keras.Model],
    TripletLoss: Callable[[Array, Array], Array],
    text_vectorizer: keras.layers.Layer,
    train_dataset: Any,
    val_dataset: Any,
    d_feature: int = 128,
    lr: float = 0.01,
    train_steps: int = 5,
    epochs: int | None = None,
) -> keras.Model:
    """Makes the assignment's model, compiles it with Adam, and trains it.

    Args:
        Siamese: function of the vectorizer, `vocab_size` and `d_feature` that returns the model.
        TripletLoss: the loss, a function of (labels, out).
        text_vectorizer: as in `Siamese`; its own number of ids becomes the model's.
        train_dataset: batched `tf.data.Dataset` of ((questions1, questions2), labels).
        val_dataset: the same, to validate on.
        d_feature: width of the vectors.
        lr: Adam's learning rate.
        train_steps: number of epochs, under the name of the assignment's first edition.
        epochs: the same under the name of later editions.

    Returns:
        The trained model.

    Raises:
        TypeError: a model or loss that is not a function, a vectorizer that is not one, data that
            is not a `tf.data.Dataset`, a number of a wrong type.
        ValueError: a learning rate that is not positive, a negative number of epochs, or two
            different ones.

    Example:
        >>> texts = tf.constant(["how old?", "how new?"])
        >>> batches = tf.data.Dataset.from_tensor_slices(((texts, texts), [1, 1])).batch(2)
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> given = Siamese, TripletLoss, vectorizer, batches, batches
        >>> train_model(*given, d_feature=4, epochs=0).output_shape
        (None, 8)
    """
    check.function("Siamese", Siamese, "a function that returns the model")
    check.function("TripletLoss", TripletLoss, "a function of (labels, out)")
    if not hasattr(text_vectorizer, "vocabulary_size"):
        raise check.wrong_type("text_vectorizer", _VECTORIZER, text_vectorizer)
    for name, dataset in (("train_dataset", train_dataset), ("val_dataset", val_dataset)):
        expected = "a batched tf.data.Dataset of ((questions1, questions2), labels)"
        check.instance(name, dataset, tf.data.Dataset, expected)
    check.number("lr", lr, above=0)
    check.integer("train_steps", train_steps)
    if epochs is not None and check.integer("epochs", epochs) != train_steps and train_steps != 5:
        raise ValueError(
            f"train_steps={train_steps} and epochs={epochs} are two names of one number: give one "
            "of them"
        )
    vocab_size = text_vectorizer.vocabulary_size()
    model = Siamese(text_vectorizer, vocab_size=vocab_size, d_feature=d_feature)
    model.compile(loss=TripletLoss, optimizer=keras.optimizers.Adam(learning_rate=lr))
    model.fit(
        train_dataset,
        epochs=train_steps if epochs is None else epochs,
        validation_data=val_dataset,
        shuffle=False,  # the dataset has an order of its own, and Keras warns about True
    )
    return model


def classify(
    test_Q1: Sequence[str] | Array,
    test_Q2: Sequence[str] | Array,
    y_test: Sequence[int] | Array,
    threshold: float,
    model: keras.Model,
    batch_size: int = 64,
    verbose: bool = True,
) -> tuple[Array, Array]:
    """Accuracy and confusion matrix at a threshold; all pairs count, whatever the batch size.

    Args:
        test_Q1: n first questions: a list, array or tensor of strings.
        test_Q2: the n second questions.
        y_test: n labels, 1 for duplicates.
        threshold: a pair is classified as duplicates if its similarity is above it.
        model: from `Siamese` or `to_keras`.
        batch_size: pairs per batch.
        verbose: whether Keras shows its progress.

    Returns:
        (accuracy, confusion matrix): a float64 scalar tensor, and an int32 tensor (2, 2), rows the
        labels, columns the answers.

    Raises:
        TypeError: a threshold that is not a number, a model that is not a Keras model, a batch size
            that is not an integer.
        ValueError: no pairs, different numbers of questions and labels, labels other than 0 and 1,
            a threshold of NaN, a batch size below 1.

    Example:
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> model = Siamese(vectorizer, vocab_size=4, d_feature=4)
        >>> pairs = ["how old?"], ["How old"], [1]
        >>> accuracy, confusion = classify(*pairs, 0.7, model, verbose=False)
        >>> float(accuracy), confusion.numpy().tolist()
        (1.0, [[0, 0], [0, 1]])
    """
    expected = "labels (n,), 0 and 1 only"
    labels = check.zeros_and_ones("y_test", y_test, expected)
    if labels.ndim != 1:
        raise check.wrong_value("y_test", expected, y_test)
    check.equal_lengths(test_Q1=test_Q1, test_Q2=test_Q2, y_test=labels)
    check.integer("batch_size", batch_size, 1)
    answers = _similarities(test_Q1, test_Q2, threshold, model, batch_size, verbose) > threshold
    confusion = tf.math.confusion_matrix(labels, answers, num_classes=2)
    return tf.constant(np.mean(answers == labels), tf.float64), confusion


def predict(
    question1: str, question2: str, threshold: float, model: keras.Model, verbose: bool = False
) -> np.bool_:
    """Whether two questions are duplicates.

    Args:
        question1: a text.
        question2: the other text.
        threshold: they are duplicates if their similarity is above it.
        model: from `Siamese` or `to_keras`.
        verbose: whether to print both questions, the similarity and the answer.

    Returns:
        A NumPy bool.

    Raises:
        TypeError: a question that is not a string, a threshold that is not a number, a model that
            is not a Keras model.
        ValueError: a threshold of NaN.

    Example:
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> model = Siamese(vectorizer, vocab_size=4, d_feature=4)
        >>> bool(predict("how old?", "How old", 0.7, model))
        True
    """
    check.instance("question1", question1, str, "a string")
    check.instance("question2", question2, str, "a string")
    similarity = _similarities([question1], [question2], threshold, model, 1, False)[0]
    answer = similarity > threshold
    if verbose:
        print(f"Q1  = {question1}\nQ2  = {question2}\nd   = {similarity}\nres = {answer}")
    return answer


def _similarities(
    questions1: Any, questions2: Any, threshold: float, model: keras.Model, size: int, verbose: bool
) -> np.ndarray:
    """Dot products of the vectors of all pairs, in order, float32 (n,)."""
    check.threshold(threshold)
    expected = "a Keras model of two questions, as Siamese returns"
    check.instance("model", model, keras.Model, expected)
    # In the shape that the model declares: asked in another one, too, Keras traces it again.
    texts = tuple(
        tf.reshape(tf.constant(questions, tf.string), (-1, 1))
        for questions in (questions1, questions2)
    )
    pairs = tf.data.Dataset.from_tensor_slices((texts,)).batch(size)
    progress: Any = int(bool(verbose))
    v1, v2 = np.split(model.predict(pairs, verbose=progress).astype("float32"), 2, axis=1)
    return np.einsum("nd,nd->n", v1, v2)
