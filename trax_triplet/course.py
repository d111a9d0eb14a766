"""The names of the Question Duplicates assignment, with its behaviour: `from trax_triplet.course
import *`.

Each calls the package; what the course leaves to chance is settled here, and its docstring says
how. Margin, closest negative and mean are the assignment's (`triplet_loss` with closest='hardest',
normalize=False).
"""

import os
import random

import numpy as np

from trax_triplet._validation import check_threshold, whole_number
from trax_triplet.compat import jnp, lr_schedules, optimizers, tl, training
from trax_triplet.data.tokenizer import tokenize
from trax_triplet.data.vocabulary import OOV_ID, PAD, PAD_ID
from trax_triplet.loss import triplet as _loss
from trax_triplet.model import siamese as _model

__all__ = [
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "data_generator",
    "predict",
    "train_model",
]

_RULE = {"closest": "hardest", "anchor": "first", "reduction": "mean", "normalize": False}


def data_generator(Q1, Q2, batch_size, pad=1, shuffle=True):
    """Yields batches of questions as padded arrays, for ever.

    Every batch is full: behind the last pair comes the first one again, after a new shuffle if
    `shuffle`.

    Args:
        Q1: n lists of word ids, the first questions.
        Q2: n lists of word ids; Q2[i] belongs to Q1[i].
        batch_size: pairs in a batch.
        pad: id to pad with.
        shuffle: whether the pairs come in a new random order (of Python's `random`) in each round.

    Yields:
        Two int arrays (batch_size, length), length the power of two that the longest question
        needs.

    Raises:
        TypeError: a batch size that is no whole number; and when a batch is taken, a question that
        is no list of ids.
        ValueError: no pairs, sides of different lengths, or a batch size below 1.

    Example:
        >>> b1, b2 = next(data_generator([[5, 6, 7], [8]], [[9], [5, 6]], batch_size=2, shuffle=False))
        >>> b1.tolist(), b2.tolist()
        ([[5, 6, 7, 1], [8, 1, 1, 1]], [[9, 1, 1, 1], [5, 6, 1, 1]])
    """
    whole_number("batch_size", batch_size, None)
    if len(Q1) != len(Q2) or not len(Q1) or batch_size < 1:
        raise ValueError(
            "data_generator takes as many questions in Q1 as in Q2, at least one, and a batch_size of at "
            f"least 1; got {len(Q1)} and {len(Q2)} questions, and batch_size {batch_size}"
        )
    return _batches(Q1, Q2, batch_size, pad, shuffle)


def _batches(Q1, Q2, batch_size, pad, shuffle):
    order, waiting = list(range(len(Q1))), []
    while True:
        while len(waiting) < batch_size:
            if shuffle:
                random.shuffle(
                    order
                )  # in place, round after round: the assignment's order for a seed
            waiting += order
        rows, waiting = waiting[:batch_size], waiting[batch_size:]
        sides = [[Q[i] for i in rows] for Q in (Q1, Q2)]
        for question in (question for side in sides for question in side):
            if isinstance(question, (str, bytes)) or not hasattr(question, "__len__"):
                raise TypeError(
                    "Q1 and Q2 must hold questions as lists of word ids, but one of them is "
                    f"{question!r:.60}"
                )
        longest = max(len(question) for side in sides for question in side)
        length = 1 << max(longest - 1, 0).bit_length()
        yield tuple(
            np.array([[*question, *[pad] * (length - len(question))] for question in side])
            for side in sides
        )


def Siamese(vocab_size=41699, d_model=128, mode="train"):
    """Returns the assignment's model, see `trax_triplet.model.Siamese`.

    Args:
        vocab_size: number of word ids.
        d_model: width of embedding, LSTM and vectors.
        mode: 'train', 'eval' or 'predict'.

    Returns:
        A `tl.Parallel` of two towers that share their weights.

    Raises:
        ValueError: a size or mode outside its range.

    Example:
        >>> Siamese(50, 4).sublayers[0]
        Serial[
          Embedding_50_4
          LSTM_4
          Mean
          Normalize
        ]
    """
    return _model.Siamese(vocab_size, d_model, mode)


def TripletLossFn(v1, v2, margin=0.25):
    """The loss of the assignment: hardest negative and mean negative, averaged over the batch.

    Args:
        v1: unit vectors (batch, d) of the first questions.
        v2: unit vectors (batch, d) of their duplicates.
        margin: alpha.

    Returns:
        A scalar array of the backend in use; 0 for a batch of one pair, which has no negatives.

    Raises:
        TypeError, ValueError: as `trax_triplet.loss.triplet_loss`.

    Example:
        Collapse: every negative is as near as the positive, so each hinge is the margin.

        >>> float(TripletLossFn(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])))
        0.5
    """
    return _loss.triplet_loss(v1, v2, margin=margin, **_RULE)


def TripletLoss(margin=0.25):
    """Returns a layer that computes `TripletLossFn` and prints as TripletLoss_in2.

    Args:
        margin: alpha.

    Raises:
        TypeError, ValueError: a margin that is no finite number from 0.

    Example:
        >>> TripletLoss()
        TripletLoss_in2
    """
    return _loss.TripletLoss(margin, **_RULE)


def train_model(Siamese, TripletLoss, train_generator, val_generator, output_dir="model/"):
    """Returns a Trax Loop that is ready to run: `train_model(...).run(n_steps)`.

    Adam(0.01) under `warmup_and_rsqrt_decay(400, 0.01)`; one evaluation task with the loss as its
    metric.

    Args:
        Siamese: function without arguments that returns the model.
        TripletLoss: function without arguments that returns the loss layer.
        train_generator: batches to train on, endless.
        val_generator: batches to evaluate on, endless.
        output_dir: folder for checkpoints; a checkpoint that is there is gone on from.

    Returns:
        A `trax.supervised.training.Loop`.

    Raises:
        TypeError: a model or loss that is no function, batches that are no generator.
        ValueError: `output_dir` holds the checkpoint of another model or optimizer.

    Example:
        >>> import tempfile
        >>> batches = data_generator([[5, 6], [7]], [[6], [7, 8]], batch_size=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train_model(lambda: Siamese(10, 4), TripletLoss, batches, batches, folder).step
        0
    """
    for name, function in (("Siamese", Siamese), ("TripletLoss", TripletLoss)):
        if not callable(function):
            raise TypeError(
                f"{name} must be a function that returns a layer, but it is {function!r:.60}"
            )
    for name, batches in (("train_generator", train_generator), ("val_generator", val_generator)):
        if not hasattr(batches, "__next__"):
            raise TypeError(
                f"{name} must be a generator of batches, as data_generator returns, but it is a "
                f"{type(batches).__name__}"
            )
    task = training.TrainTask(
        labeled_data=train_generator,
        loss_layer=TripletLoss(),
        optimizer=optimizers.Adam(0.01),
        lr_schedule=lr_schedules.warmup_and_rsqrt_decay(400, 0.01),
    )
    evaluation = training.EvalTask(labeled_data=val_generator, metrics=[TripletLoss()])
    model, slots = Siamese(), _saved_shapes(output_dir, "opt_slots0")
    # Adam keeps two arrays a weight. Trax would take up fewer (SGD's none, Momentum's one) without
    # a word.
    if slots is not None and slots != [
        shape for shape in _saved_shapes(output_dir, "weights") for _ in range(2)
    ]:
        raise _other_checkpoint(output_dir)
    try:
        return training.Loop(model, task, eval_tasks=[evaluation], output_dir=output_dir)
    except IndexError as error:  # what Trax ends in when arrays of the checkpoint fit nowhere
        if slots is None:
            raise
        raise _other_checkpoint(output_dir) from error


def _saved_shapes(output_dir, part):
    """Shapes of the arrays in this part of the checkpoint in `output_dir`; None where there is
    none."""
    path = os.path.join(os.path.expanduser(output_dir or ""), f"model.{part}.npy.gz")
    if output_dir is None or not os.path.isfile(path):
        return None
    return [
        array.shape for array in tl.np_from_file(path, compresslevel=2)
    ]  # the level matters in writing only


def _other_checkpoint(output_dir):
    return ValueError(
        f"the folder {output_dir} holds a checkpoint of another model or optimizer than this one, "
        "Adam; name another output_dir, or move what is there away"
    )


def classify(
    test_Q1, test_Q2, y, threshold, model, vocab, data_generator=data_generator, batch_size=64
):
    """Share of the pairs that are answered right at a threshold.

    All pairs count, also where their number is no multiple of the batch size.

    Args:
        test_Q1, test_Q2: n lists of word ids each.
        y: n labels, 1 for duplicates.
        threshold: a pair is called a duplicate where its similarity is above.
        model: callable on a pair of id arrays (batch, length); gives two arrays of vectors (batch,
        d).
        vocab: word -> id, which has '<PAD>'; it is only read.
        data_generator: as the function of this name.
        batch_size: pairs at once.

    Returns:
        The accuracy, a float.

    Raises:
        TypeError: a threshold that is no number, a model that cannot be called, a vocabulary that
        is no mapping.
        ValueError: no pairs, numbers of questions and labels that differ, a threshold of NaN, a
            batch size below 1.

    Example:
        >>> def model(questions):
        ...     return [np.eye(3)[batch[:, 0] - 2] for batch in questions]
        >>> classify([[2], [3], [4]], [[2], [3], [2]], [1, 1, 1], 0.7, model, {"<PAD>": 1}, batch_size=2)
        0.6666666666666666
    """
    if not len(test_Q1) == len(test_Q2) == len(y) or not len(y):
        raise ValueError(
            "classify takes as many questions in test_Q1 and test_Q2 as labels in y, at least one; got "
            f"{len(test_Q1)}, {len(test_Q2)} and {len(y)}"
        )
    _check_answering(threshold, model, vocab)
    whole_number("batch_size", batch_size, 1)
    right = 0
    for start in range(0, len(y), batch_size):
        first, second, labels = (part[start : start + batch_size] for part in (test_Q1, test_Q2, y))
        similarities = _similarities(
            first, second, model, _id_of(vocab, PAD, PAD_ID), data_generator
        )
        right += int(np.sum((similarities > threshold) == np.asarray(labels)))
    return right / len(y)


def predict(
    question1, question2, threshold, model, vocab, data_generator=data_generator, verbose=False
):
    """Whether two questions are duplicates.

    Args:
        question1, question2: texts, cut by the course's word rules.
        threshold: they are duplicates where their similarity is above.
        model: as in `classify`.
        vocab: word -> id; a word that it lacks reads as 0, and it does not grow.
        data_generator: as the function of this name.
        verbose: print the ids of both questions, the similarity and the answer.

    Returns:
        A boolean array without dimensions.

    Raises:
        FileNotFoundError: NLTK's punkt parameters are not installed.
        TypeError: a question that is no str; and as `classify`.
        ValueError: a threshold of NaN.
    """
    _check_answering(threshold, model, vocab)
    ids = [
        [_id_of(vocab, word, OOV_ID) for word in tokenize(text, "course")]
        for text in (question1, question2)
    ]
    similarity = _similarities(ids[:1], ids[1:], model, _id_of(vocab, PAD, PAD_ID), data_generator)[
        0
    ]
    answer = similarity > threshold
    if verbose:
        print(f"Q1  = {ids[0]}\nQ2  = {ids[1]}\nd   = {similarity}\nres = {answer}")
    return jnp.asarray(answer)


def _check_answering(threshold, model, vocab):
    check_threshold(threshold)
    if not callable(model):
        raise TypeError(
            f"model must be a model, called with a pair of arrays of word ids, but it is {model!r:.60}"
        )
    if not hasattr(vocab, "__getitem__"):
        raise TypeError(f"vocab must be a mapping from words to ids, but it is {vocab!r:.60}")


def _similarities(Q1, Q2, model, pad, data_generator):
    """Dot products of the vectors of all pairs, in order."""
    batch = next(iter(data_generator(Q1, Q2, len(Q1), pad, shuffle=False)))
    v1, v2 = (np.asarray(v) for v in model(batch))
    return np.einsum("nd,nd->n", v1, v2)


def _id_of(vocab, word, otherwise):
    return (
        vocab[word] if word in vocab else otherwise
    )  # a defaultdict grows when it is asked for what it lacks
