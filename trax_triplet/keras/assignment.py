"""The Keras edition: the TensorFlow assignment's names with its behaviour, and what takes models
across.

    from trax_triplet.keras.assignment import Siamese, TripletLossFn, TripletLoss, train_model, classify,
    predict from trax_triplet.keras.assignment import ModifiedTripletLoss, pairs_dataset, to_keras, from_keras,
    export

What the assignment leaves to chance is settled: vectors are normalised row by row; padding is
masked, so that an answer does not depend on batch-mates; a question without words gets the zero
vector; a saved model holds no lambda.
"""

import math
import numbers

import numpy as np

from trax_triplet._validation import check_threshold, whole_number
from trax_triplet.distributed.tf_replicas import mean_over_replicas, n_replicas
from trax_triplet.keras.convert import export, from_keras, to_keras
from trax_triplet.keras.dataset import pairs_dataset
from trax_triplet.keras.layers import keras, tf, tower, two_towers
from trax_triplet.keras.loss import ModifiedTripletLoss, halves, triplet_loss_on_tensorflow

__all__ = [
    "ModifiedTripletLoss",
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "export",
    "from_keras",
    "pairs_dataset",
    "predict",
    "to_keras",
    "train_model",
]

_RULE = {"closest": "shifted", "anchor": "second", "reduction": "sum", "normalize": False}


def Siamese(text_vectorizer, vocab_size=36224, d_feature=128):
    """Returns the assignment's model: two questions to their two unit vectors, side by side.

    Both questions pass the same tower: the vectoriser, `embedding`, `LSTM`, `mean` over the words,
    `out` (each row to length 1). Its padding, id 0, is masked.

    Args:
        text_vectorizer: a `keras.layers.TextVectorization`, adapted; or another layer from texts
            (batch, 1) to ids (batch, length), 0 being padding.
        vocab_size: number of word ids, at least as many as the vectoriser has.
        d_feature: width of embedding, LSTM and vectors.

    Returns:
        A `keras.Model` named SiameseModel: inputs (None, 1) twice, strings; output (None, 2
        d_feature).

    Raises:
        TypeError: a vectoriser that is no layer, a size that is no whole number.
        ValueError: a size below 1, or a vectoriser with more ids than `vocab_size`.

    Example:
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> model = Siamese(vectorizer, vocab_size=4, d_feature=8)
        >>> model.output_shape
        (None, 16)
    """
    if not isinstance(text_vectorizer, keras.layers.Layer):
        raise TypeError(
            "text_vectorizer must be a keras.layers.TextVectorization, adapted to the questions, but it is "
            f"{text_vectorizer!r:.60}"
        )
    whole_number("vocab_size", vocab_size, 1)
    whole_number("d_feature", d_feature, 1)
    n_ids = text_vectorizer.vocabulary_size() if hasattr(text_vectorizer, "vocabulary_size") else 0
    if n_ids > vocab_size:
        raise ValueError(
            f"text_vectorizer has {n_ids} ids, more than vocab_size, {vocab_size}: pass "
            "vocab_size=text_vectorizer.vocabulary_size()"
        )
    return two_towers(tower(text_vectorizer, vocab_size, d_feature))


@keras.saving.register_keras_serializable("trax_triplet")
def TripletLossFn(v1, v2, margin=0.25):
    """The loss of the assignment, summed over the batch: anchors are the second questions.

    Args:
        v1: unit vectors (batch, d) of the first questions.
        v2: unit vectors (batch, d) of their duplicates.
        margin: alpha.

    Returns:
        A scalar tensor; 0 for a batch of one pair. On a replica of a `tf.distribute` strategy its
        share: the sum over the replicas is the loss of the whole batch.

    Raises:
        TypeError, ValueError: as `trax_triplet.loss.triplet_loss`.

    Example:
        Collapse: every negative is as near as the positive, so each pair pays twice the margin.

        >>> float(TripletLossFn(tf.constant([[1.0, 0.0]] * 3), tf.constant([[1.0, 0.0]] * 3)))
        1.5
    """
    return mean_over_replicas(
        triplet_loss_on_tensorflow(v1, v2, margin=margin, **_RULE) / n_replicas()
    )


@keras.saving.register_keras_serializable("trax_triplet")
def TripletLoss(labels, out, margin=0.25):
    """`TripletLossFn` of a model's output, as `compile(loss=TripletLoss)` takes it.

    Args:
        labels: not used.
        out: (batch, 2 d), the vectors of both questions side by side.
        margin: alpha.

    Returns, Raises: as `TripletLossFn`; ValueError for an output of another shape.

    Example:
        >>> float(TripletLoss(None, tf.constant([[1.0, 0.0, 1.0, 0.0]] * 3)))
        1.5
    """
    return TripletLossFn(*halves(out), margin=margin)


def train_model(
    Siamese,
    TripletLoss,
    text_vectorizer,
    train_dataset,
    val_dataset,
    d_feature=128,
    lr=0.01,
    train_steps=5,
    epochs=None,
):
    """Makes the assignment's model, compiles it with Adam, and trains it.

    Args:
        Siamese: function of the vectoriser, `vocab_size` and `d_feature` that returns the model.
        TripletLoss: the loss, function of (labels, out).
        text_vectorizer: as in `Siamese`; its own number of ids becomes the model's.
        train_dataset: batched `tf.data.Dataset` of ((questions1, questions2), labels).
        val_dataset: the same, to validate on.
        d_feature: width of the vectors.
        lr: Adam's learning rate.
        train_steps: epochs, by the name of the assignment's first edition.
        epochs: the same by the name of later ones.

    Returns:
        The trained model.

    Raises:
        TypeError: a model or loss that is no function, a vectoriser that is no layer, a number that
        is none.
        ValueError: a learning rate that is not positive, fewer than no epochs, or two different
            numbers of them.

    Example:
        >>> texts = tf.constant(["how old?", "how new?"])
        >>> batches = tf.data.Dataset.from_tensor_slices(((texts, texts), [1, 1])).batch(2)
        >>> vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
        >>> train_model(Siamese, TripletLoss, vectorizer, batches, batches, d_feature=4, epochs=0).output_shape
        (None, 8)
    """
    for name, function in (("Siamese", Siamese), ("TripletLoss", TripletLoss)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, but it is {function!r:.60}")
    if not hasattr(text_vectorizer, "vocabulary_size"):
        raise TypeError(
            "text_vectorizer must be a keras.layers.TextVectorization, adapted to the questions, but it is "
            f"{text_vectorizer!r:.60}"
        )
    for name, dataset in (("train_dataset", train_dataset), ("val_dataset", val_dataset)):
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(
                f"{name} must be a tf.data.Dataset of ((questions1, questions2), labels), in batches, but "
                f"it is {dataset!r:.60}"
            )
    if isinstance(lr, bool) or not isinstance(lr, numbers.Real):
        raise TypeError(f"lr must be a number such as 0.01, but it is {lr!r:.60}")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be positive and finite, such as 0.01, but it is {lr!r}")
    whole_number("train_steps", train_steps)
    if epochs is not None and whole_number("epochs", epochs) != train_steps and train_steps != 5:
        raise ValueError(
            f"train_steps={train_steps} and epochs={epochs} are two names of one number: give one of them"
        )
    model = Siamese(
        text_vectorizer, vocab_size=text_vectorizer.vocabulary_size(), d_feature=d_feature
    )
    model.compile(loss=TripletLoss, optimizer=keras.optimizers.Adam(learning_rate=lr))
    model.fit(
        train_dataset,
        epochs=train_steps if epochs is None else epochs,
        validation_data=val_dataset,
        shuffle=False,
    )  # the dataset has an order of its own, and Keras warns of True
    return model


def classify(test_Q1, test_Q2, y_test, threshold, model, batch_size=64, verbose=True):
    """Accuracy and confusion matrix at a threshold; all pairs count, whatever the batch size.

    Args:
        test_Q1, test_Q2: n questions each: lists, arrays or tensors of strings.
        y_test: n labels, 1 for duplicates.
        threshold: a pair is called a duplicate where its similarity is above.
        model: from `Siamese` or `to_keras`.
        batch_size: pairs at once.
        verbose: whether Keras shows its progress.

    Returns:
        (accuracy, confusion matrix): a float64 tensor without dimensions, and an int32 tensor (2,
        2), rows the labels, columns the answers.

    Raises:
        TypeError: a threshold that is no number, a model that is none of Keras', a batch size that
        is not whole.
        ValueError: no pairs, numbers of questions and labels that differ, other labels than 0 and
            1, a threshold of NaN, a batch size below 1.

    Example:
        >>> model = Siamese(keras.layers.TextVectorization(vocabulary=["how", "old"]), vocab_size=4, d_feature=4)
        >>> accuracy, confusion = classify(["how old?"], ["How old"], [1], 0.7, model, verbose=False)
        >>> float(accuracy), confusion.numpy().tolist()
        (1.0, [[0, 0], [0, 1]])
    """
    labels = np.asarray(y_test)
    if not len(test_Q1) == len(test_Q2) == len(labels) or not len(labels):
        raise ValueError(
            "classify takes as many questions in test_Q1 and test_Q2 as labels in y_test, at least one; "
            f"got {len(test_Q1)}, {len(test_Q2)} and {len(labels)}"
        )
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "y_test must be n labels, 0 and 1 only, but its shape is "
            f"{labels.shape}, and it holds {np.unique(labels)!s:.60}"
        )
    whole_number("batch_size", batch_size, 1)
    answers = _similarities(test_Q1, test_Q2, threshold, model, batch_size, verbose) > threshold
    confusion = tf.math.confusion_matrix(labels, answers, num_classes=2)
    return tf.constant(np.mean(answers == labels), tf.float64), confusion


def predict(question1, question2, threshold, model, verbose=False):
    """Whether two questions are duplicates.

    Args:
        question1, question2: texts.
        threshold: they are duplicates where their similarity is above.
        model: from `Siamese` or `to_keras`.
        verbose: print both questions, the similarity and the answer.

    Returns:
        A NumPy bool.

    Raises:
        TypeError: a question that is no str; and as `classify`.
        ValueError: a threshold of NaN.

    Example:
        >>> model = Siamese(keras.layers.TextVectorization(vocabulary=["how", "old"]), vocab_size=4, d_feature=4)
        >>> bool(predict("how old?", "How old", 0.7, model))
        True
    """
    for name, question in (("question1", question1), ("question2", question2)):
        if not isinstance(question, str):
            raise TypeError(f"{name} must be a str, but it is {question!r:.60}")
    similarity = _similarities([question1], [question2], threshold, model, 1, False)[0]
    answer = similarity > threshold
    if verbose:
        print(f"Q1  = {question1}\nQ2  = {question2}\nd   = {similarity}\nres = {answer}")
    return answer


def _similarities(questions1, questions2, threshold, model, batch_size, verbose):
    """Dot products of the vectors of all pairs, in order, float32 (n,)."""
    check_threshold(threshold)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model of two questions, as Siamese returns, but it is {model!r:.60}"
        )
    # Of the shape that the model declares: asked in two, Keras traces it anew for any.
    texts = tuple(
        tf.reshape(tf.constant(questions, tf.string), (-1, 1))
        for questions in (questions1, questions2)
    )
    pairs = tf.data.Dataset.from_tensor_slices((texts,)).batch(batch_size)
    v1, v2 = np.split(model.predict(pairs, verbose=int(bool(verbose))).astype("float32"), 2, axis=1)
    return np.einsum("nd,nd->n", v1, v2)
