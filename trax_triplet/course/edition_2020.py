"""The names of the assignment's first edition (2020), whose `train_model` takes a schedule.

Use them as `from trax_triplet.course.edition_2020 import *`. All but `train_model` are the second
edition's, `trax_triplet.course`. In the notebook of this edition `Siamese` has
`vocab_size=len(vocab)` as its default; that vocabulary is the notebook's own, so pass its length.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from trax_triplet import _validation as check
from trax_triplet.course.assignment import (
    Siamese,
    TripletLoss,
    TripletLossFn,
    classify,
    data_generator,
    loop_of,
    predict,
)

__all__ = [
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "data_generator",
    "predict",
    "train_model",
]


def train_model(
    Siamese: Callable[[], Any],
    TripletLoss: Callable[[], Any],
    lr_schedule: Callable[[int], Any],
    train_generator: Iterator[Any] | None = None,
    val_generator: Iterator[Any] | None = None,
    output_dir: str | os.PathLike[str] | None = "model/",
) -> Any:
    """Returns a Trax Loop that is ready to run: `train_model(...).run(n_steps)`.

    As `trax_triplet.course.train_model`, with the learning rates that you pass.

    Args:
        Siamese: function without arguments that returns the model.
        TripletLoss: function without arguments that returns the loss layer.
        lr_schedule: function of the step that returns the learning rate, such as
            `trax.lr.warmup_and_rsqrt_decay(400, 0.01)`.
        train_generator: batches to train on, endless. In the notebook its own generator is the
            default, which a function of a package cannot see: pass it.
        val_generator: batches to evaluate on, endless; likewise.
        output_dir: folder for checkpoints; training continues from a checkpoint that is there.

    Returns:
        A `trax.supervised.training.Loop`.

    Raises:
        TypeError: a model, loss or schedule that is not a function; batches that are not a
            generator, or were not passed.
        ValueError: `output_dir` holds the checkpoint of another model or optimizer.

    Example:
        >>> import tempfile
        >>> from trax_triplet.compat import lr_schedules
        >>> batches = data_generator([[5, 6], [7]], [[6], [7, 8]], batch_size=2)
        >>> given = lambda: Siamese(10, 4), TripletLoss, lr_schedules.constant(0.01)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     train_model(*given, batches, batches, folder).step
        0
    """
    if hasattr(lr_schedule, "__next__"):
        raise check.wrong_type(
            "lr_schedule",
            "a function of the step, such as trax.lr.warmup_and_rsqrt_decay(400, 0.01)",
            lr_schedule,
            "if your notebook passes the batches third, your edition is trax_triplet.course",
        )
    check.function("lr_schedule", lr_schedule, "a function of the step")
    return loop_of(Siamese, TripletLoss, lr_schedule, train_generator, val_generator, output_dir)
