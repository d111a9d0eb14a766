"""The names of the Question Duplicates assignment in its second edition, with its behaviour.

Use them as `from trax_triplet.course import *`. Each calls the package; what the course leaves to
chance is settled here, and its docstring says how. Margin, closest negative and mean are the
assignment's (`triplet_loss` with closest='hardest', normalize=False). The other editions take from
here what they have in common.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
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


def data_generator(
    Q1: Sequence[Sequence[int]],
    Q2: Sequence[Sequence[int]],
    batch_size: int,
    pad: int = 1,
    shuffle: bool = True,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of questions as padded arrays, endlessly.

    Every batch is full: the last pair is followed by the first one, after a new shuffle if
    `shuffle`.

    Args:
        Q1: n lists of word ids, the first questions.
        Q2: n lists of word ids; Q2[i] belongs to Q1[i].
        batch_size: pairs in a batch.
        pad: id to pad with.
        shuffle: whether each round has a new random order (of Python's `random`).

    Yields:
        Two int arrays (batch_size, length); the length is the smallest power of two that holds the
        longest question.

    Raises:
        TypeError: a batch size that is not an integer; when a batch is taken, a question that is
            not a list of ids.
        ValueError: no pairs, sides of different lengths, or a batch size below 1.

    Example:
        >>> batches = data_generator([[5, 6, 7], [8]], [[9], [5, 6]], batch_size=2, shuffle=False)
        >>> b1, b2 = next(batches)
        >>> b1.tolist(), b2.tolist()
        ([[5, 6, 7, 1], [8, 1, 1, 1]], [[9, 1, 1, 1], [5, 6, 1, 1]])
    """
    check.integer("batch_size", batch_size, 1)
    check.equal_lengths(Q1=Q1, Q2=Q2)
    return _batches(Q1, Q2, batch_size, pad, shuffle)


def _batches(Q1: Any, Q2: Any, batch_size: int, pad: int, shuffle: bool) -> Iterator[Any]:
    order, waiting = list(range(len(Q1))), []
    while True:
        while len(waiting) < batch_size:
            if shuffle:
                # In place, round after round: the assignment's order for a seed.
                random.shuffle(order)
            waiting += order
        rows, waiting = waiting[:batch_size], waiting[batch_size:]
        sides = [[Q[i] for i in rows] for Q in (Q1, Q2)]
        for question in (question for side in sides for question in side):
            if isinstance(question, (str, bytes)) or not hasattr(question, "__len__"):
                raise check.wrong_type("Q1 and Q2", "questions as lists of word ids", question)
        longest = max(len(question) for side in sides for question in side)
        length = 1 << max(longest - 1, 0).bit_length()
        yield tuple(
            np.array([[*question, *[pad] * (length - len(question))] for question in side])
            for side in sides
        )


def Siamese(vocab_size: int = 41699, d_model: int = 128, mode: str = "train") -> Any:
    """Returns the assignment's model for Trax, as `trax_triplet.Siamese` makes it.

    `trax_triplet.Siamese` has more options; `trax_triplet.keras.Siamese` is a Keras model.

    Args:
        vocab_size: number of word ids.
        d_model: width of embedding, LSTM and vectors.
        mode: 'train', 'eval' or 'predict'.

    Returns:
        A `tl.Parallel` of two towers that share their weights.

    Raises:
        TypeError: a size that is not an integer.
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


def TripletLossFn(v1: Array, v2: Array, margin: float = 0.25) -> Array:
    """The Trax assignment's loss: hardest and mean negative, averaged over the batch.

    `trax_triplet.course.edition_2023.TripletLossFn` and `trax_triplet.keras.TripletLossFn` have
    other rules.

    Args:
        v1: unit vectors (batch, d) of the first questions, the anchors.
        v2: unit vectors (batch, d) of their duplicates.
        margin: alpha.

    Returns:
        A scalar array of the backend in use; 0 for a batch of one pair, which has no negatives.

    Raises:
        TypeError, ValueError: as `trax_triplet.triplet_loss`.

    Example:
        Collapse: every negative is as close as the positive, so each hinge is the margin.

        >>> v = np.array([[1.0, 0.0], [1.0, 0.0]])
        >>> float(TripletLossFn(v, v))
        0.5
    """
    return _loss.triplet_loss(v1, v2, margin=margin, **_RULE)


def TripletLoss(margin: float = 0.25) -> Any:
    """Returns a Trax layer that computes `TripletLossFn` and prints as TripletLoss_in2.

    `trax_triplet.TripletLoss` has all rules as options; `trax_triplet.keras.TripletLoss` is a
    function for `model.compile`.

    Args:
        margin: alpha.

    Returns:
        A layer from (v1, v2) to a scalar.

    Raises:
        TypeError, ValueError: a margin that is not a finite number of at least 0.

    Example:
        >>> TripletLoss()
        TripletLoss_in2
    """
    return _loss.TripletLoss(margin, **_RULE)


def train_model(
    Siamese: Callable[[], Any],
    TripletLoss: Callable[[], Any],
    train_generator: Iterator[Any],
    val_generator: Iterator[Any],
    output_dir: str | os.PathLike[str] | None = "model/",
) -> Any:
    """Returns a Trax Loop that is ready to run: `train_model(...).run(n_steps)`.

    Adam(0.01) under `warmup_and_rsqrt_decay(400, 0.01)`; one evaluation task with the loss as its
    metric.

    Args:
        Siamese: function without arguments that returns the model.
        TripletLoss: function without arguments that returns the loss layer.
        train_generator: batches to train on, endless.
        val_generator: batches to evaluate on, endless.
        output_dir: folder for checkpoints; training continues from a checkpoint that is there.

    Returns:
        A `trax.supervised.training.Loop`.

    Raises:
        TypeError: a model or loss that is not a function, batches that are not a generator.
        ValueError: `output_dir` holds the checkpoint of another model or optimizer.

    Example:
        >>> import tempfile
        >>> batches = data_generator([[5, 6], [7]], [[6], [7, 8]], batch_size=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train_model(lambda: Siamese(10, 4), TripletLoss, batches, batches, folder).step
        0
    """
    schedule = lr_schedules.warmup_and_rsqrt_decay(400, 0.01)
    return loop_of(Siamese, TripletLoss, schedule, train_generator, val_generator, output_dir)


def loop_of(
    Siamese: Any,
    TripletLoss: Any,
    schedule: Any,
    train_generator: Any,
    val_generator: Any,
    output_dir: Any,
) -> Any:
    """What every edition's `train_model` returns, for one schedule of learning rates."""
    check.function("Siamese", Siamese, "a function that returns a layer")
    check.function("TripletLoss", TripletLoss, "a function that returns a layer")
    for name, batches in (("train_generator", train_generator), ("val_generator", val_generator)):
        if not hasattr(batches, "__next__"):
            expected = "a generator of batches, as data_generator returns"
            advice = ""
            if callable(batches):
                advice = (
                    "call it; or, if your notebook passes a schedule as third argument, take "
                    "train_model from trax_triplet.course.edition_2020"
                )
            raise check.wrong_type(name, expected, batches, advice)
    task = training.TrainTask(
        labeled_data=train_generator,
        loss_layer=TripletLoss(),
        optimizer=cast(Any, optimizers).Adam(0.01),  # Gin hides its parameters
        lr_schedule=schedule,
    )
    evaluation = training.EvalTask(labeled_data=val_generator, metrics=[TripletLoss()])
    model, slots = Siamese(), _saved_shapes(output_dir, "opt_slots0")
    if slots is not None:
        # Adam has two arrays per weight. Trax would silently load fewer (SGD has none, Momentum
        # one).
        weights = _saved_shapes(output_dir, "weights") or []
        if slots != [shape for shape in weights for _ in range(2)]:
            raise _other_checkpoint(output_dir)
    try:
        return training.Loop(model, task, eval_tasks=[evaluation], output_dir=output_dir)
    except IndexError as error:  # what Trax ends in when arrays of the checkpoint fit nowhere
        if slots is None:
            raise
        raise _other_checkpoint(output_dir) from error


def _saved_shapes(output_dir: Any, part: str) -> list[tuple[int, ...]] | None:
    """Shapes of the arrays in this part of the checkpoint in `output_dir`; None without one."""
    path = os.path.join(os.path.expanduser(output_dir or ""), f"model.{part}.npy.gz")
    if output_dir is None or not os.path.isfile(path):
        return None
    # Reading ignores the level, but Trax requires it.
    return [array.shape for array in tl.np_from_file(path, compresslevel=2)]


def _other_checkpoint(output_dir: Any) -> ValueError:
    return ValueError(
        f"output_dir, {output_dir}, holds a checkpoint of another model or optimizer than this "
        "one, Adam; choose another output_dir, or move what is there away"
    )


def classify(
    test_Q1: Sequence[Sequence[int]],
    test_Q2: Sequence[Sequence[int]],
    y: Sequence[int] | np.ndarray,
    threshold: float,
    model: Callable[..., Any],
    vocab: Mapping[str, int],
    data_generator: Callable[..., Any] = data_generator,
    batch_size: int = 64,
) -> float:
    """Share of the pairs that are classified correctly at a threshold.

    All pairs count, also where their number is not a multiple of the batch size.

    Args:
        test_Q1: n lists of word ids, the first questions.
        test_Q2: n lists of word ids, the second ones.
        y: n labels, 1 for duplicates.
        threshold: a pair is classified as duplicates if its similarity is above it.
        model: callable on a pair of id arrays (batch, length); returns two arrays of vectors
            (batch, d).
        vocab: word -> id, with '<PAD>'; it is only read.
        data_generator: like the function of this name.
        batch_size: pairs per batch.

    Returns:
        The accuracy, a float.

    Raises:
        TypeError: a threshold that is not a number, a model that cannot be called, a vocabulary
            that is not a mapping.
        ValueError: no pairs, different numbers of questions and labels, a threshold of NaN, a batch
            size below 1.

    Example:
        >>> def model(questions):
        ...     return [np.eye(3)[batch[:, 0] - 2] for batch in questions]
        >>> pairs = [[2], [3], [4]], [[2], [3], [2]], [1, 1, 1]
        >>> classify(*pairs, 0.7, model, {"<PAD>": 1}, batch_size=2)
        0.6666666666666666
    """
    n = check.equal_lengths(test_Q1=test_Q1, test_Q2=test_Q2, y=y)
    y = check.complete("y", y)
    _check_answering(threshold, model, vocab)
    check.integer("batch_size", batch_size, 1)
    right, pad = 0, _id_of(vocab, PAD, PAD_ID)
    for start in range(0, n, batch_size):
        first, second, labels = (part[start : start + batch_size] for part in (test_Q1, test_Q2, y))
        answers = _similarities(first, second, model, pad, data_generator) > threshold
        right += int(np.sum(answers == np.asarray(labels)))
    return right / n


def predict(
    question1: str,
    question2: str,
    threshold: float,
    model: Callable[..., Any],
    vocab: Mapping[str, int],
    data_generator: Callable[..., Any] = data_generator,
    verbose: bool = False,
) -> Array:
    """Whether two questions are duplicates.

    Args:
        question1: a text, which the course's rules cut into words.
        question2: the other text.
        threshold: they are duplicates if their similarity is above it.
        model: as in `classify`.
        vocab: word -> id; a word that it lacks is treated as id 0, and it does not grow.
        data_generator: like the function of this name.
        verbose: whether to print the ids of both questions, the similarity and the answer.

    Returns:
        A boolean array without dimensions.

    Raises:
        FileNotFoundError: NLTK's punkt parameters are not installed.
        TypeError: a question that is not a string; and as `classify`.
        ValueError: a threshold of NaN.

    Example:
        >>> def model(questions):
        ...     return [np.eye(3)[batch[:, 0] - 2] for batch in questions]
        >>> given = 0.7, model, {"<PAD>": 1, "How": 2, "Who": 3}
        >>> predict("How", "Who", *given)  # doctest: +SKIP
        Array(False, dtype=bool)
    """
    check.instance("question1", question1, str, "a string")
    check.instance("question2", question2, str, "a string")
    _check_answering(threshold, model, vocab)
    ids = [
        [_id_of(vocab, word, OOV_ID) for word in tokenize(text, "course")]
        for text in (question1, question2)
    ]
    pad = _id_of(vocab, PAD, PAD_ID)
    similarity = _similarities(ids[:1], ids[1:], model, pad, data_generator)[0]
    answer = similarity > threshold
    if verbose:
        print(f"Q1  = {ids[0]}\nQ2  = {ids[1]}\nd   = {similarity}\nres = {answer}")
    return jnp.asarray(answer)


def _check_answering(threshold: Any, model: Any, vocab: Any) -> None:
    check.threshold(threshold)
    check.function("model", model, "a function of a pair of arrays of word ids, such as a model")
    if not hasattr(vocab, "__getitem__"):
        raise check.wrong_type("vocab", "a mapping from words to ids", vocab)


def _similarities(Q1: Any, Q2: Any, model: Any, pad: int, data_generator: Any) -> np.ndarray:
    """Dot products of the vectors of all pairs, in order."""
    batch = next(iter(data_generator(Q1, Q2, len(Q1), pad, shuffle=False)))
    v1, v2 = (np.asarray(v) for v in model(batch))
    return np.einsum("nd,nd->n", v1, v2)


def _id_of(vocab: Any, word: str, default: int) -> int:
    # A defaultdict would grow if it were asked for what it lacks.
    return vocab[word] if word in vocab else default  # noqa: SIM401, a Vocabulary has no get
