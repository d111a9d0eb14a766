"""Trax's Loop, made quiet, and saved and restored as plain arrays."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tqdm

from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, jnp, optimizers, tl, training
from trax_triplet.compat.processes import local_shard, mean_over_processes
from trax_triplet.data.padding import LENGTH_MULTIPLE
from trax_triplet.data.vocabulary import PAD_ID
from trax_triplet.loss.ranking import ranking_loss
from trax_triplet.loss.teacher import teacher_loss
from trax_triplet.loss.triplet import TripletLoss
from trax_triplet.model.weights import get_weights, set_weights
from trax_triplet.training.packed_trainer import PackedTrainer, ranking_weight
from trax_triplet.training.settings import TrainSettings


class QuietLoop(training.Loop):
    """A Trax Loop that is quiet, hands out its losses, and can be saved and restored as arrays."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.losses: list = []  # of the steps since `take_losses`
        self.bar: tqdm.tqdm | None = None  # a progress bar to advance
        self.pairs_per_step = 0
        super().__init__(*arguments, **options)

    def run_quietly(self, n_steps: int) -> None:
        """`run`, without Trax's own lines on stdout."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.run(n_steps)
        finally:
            if isinstance(self._trainer, PackedTrainer):
                self._trainer.settle()
                self.update_weights_and_state(weights=self.model.weights)

    def _run_one_step(self, task_index: int, task_changed: bool) -> tuple[Any, dict]:
        loss, stats = super()._run_one_step(task_index, task_changed)
        self.losses.append(loss)
        if self.bar is not None:
            self._advance(self.bar, loss)
        return loss, stats

    def _advance(self, bar: tqdm.tqdm, loss: Any) -> None:
        bar.update()
        if self.step % 10 == 0:  # asking for the loss waits for the device
            steps_per_second = bar.format_dict["rate"]  # None at first
            pairs_per_second = (steps_per_second or 0) * self.pairs_per_step
            speed = f", {pairs_per_second:.0f} pairs/s" if pairs_per_second else ""
            bar.set_postfix_str(f"loss {np.mean(loss):.4f}{speed}")

    def take_losses(self) -> list[float]:
        """Training losses of the steps since the last call, one float each."""
        losses, self.losses = np.array([np.mean(loss) for loss in self.losses], np.float64), []
        return mean_over_processes(losses).tolist()

    def validation_loss(self) -> float:
        """Mean loss over the validation batches, with the present weights."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.run_evals()
        _, loss = self.history.get("eval", "metrics/TripletLoss")[-1]
        return float(mean_over_processes(np.float64(loss)))

    @property
    def _trainer(self) -> Any:
        return self._trainer_per_task[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, optimizer slots and random state: all that the next step depends on."""
        slots = fastmath.tree_leaves(self._trainer.slots)
        return {
            **{f"weights/{name}": w for name, w in get_weights(self.model).items()},
            **{f"slots/{i}": np.asarray(slot) for i, slot in enumerate(slots)},
            "rng": np.asarray(self._rng),
        }

    def restore(self, arrays: dict[str, np.ndarray], step: int) -> None:
        """Takes up the state that another loop's `arrays` gave after `step` steps."""
        set_weights(
            self.model,
            {
                name.removeprefix("weights/"): array
                for name, array in arrays.items()
                if name.startswith("weights/")
            },
        )
        self.update_weights_and_state(weights=self.model.weights)
        numbers = itertools.count()
        self._trainer.slots = fastmath.nested_map(
            lambda _: arrays[f"slots/{next(numbers)}"], self._trainer.slots
        )
        self._rng = fastmath.numpy.asarray(arrays["rng"])
        self._step = step


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The learning rate of a step: a linear warm-up, then half a cosine down to 0 at the last one.

    Example:
        >>> settings = TrainSettings(steps=400, warmup_steps=10, learning_rate=0.5)
        >>> [round(learning_rate(step, settings), 3) for step in (0, 5, 200, 400)]
        [0.0, 0.25, 0.25, 0.0]
    """
    warm = min(step / max(settings.warmup_steps, 1), 1.0)
    cosine = 1 + math.cos(math.pi * min(step / settings.steps, 1.0))
    return settings.learning_rate * warm * 0.5 * cosine


def make_loop(
    model: Any,
    eval_model: Any,
    stream: Iterator[tuple],
    validation_batches: list[tuple],
    settings: TrainSettings,
    *,
    others_per_batch: int = 0,
    unlabelled_per_batch: int = 0,
    teacher_width: int = 0,
) -> QuietLoop:
    """A QuietLoop around one TrainTask and one EvalTask.

    On one device `PackedTrainer` computes the steps, if the pooling is 'last'.

    Args:
        model, eval_model: initialised `Siamese` layers, for training and for evaluation.
        stream: endless training batches, as from `BatchStream`.
        validation_batches: batches (ids1, ids2, groups1, groups2); each evaluation goes through all
            of them.
        settings: of the run; pooling, word dropout and buckets must be those of the models.
        others_per_batch, unlabelled_per_batch: pairs labelled 0 at the end of each training batch,
            and unlabelled rows after them.
        teacher_width: width of the teacher's vectors that the batches carry; 0: they carry none.

    Returns:
        The loop, at step 0. It evaluates and saves when asked, not by itself.
    """
    loss = TripletLoss(
        margin=settings.margin,
        closest=settings.closest,
        anchor=settings.anchor,
        normalize=False,
        with_groups=True,
    )
    has_labels = others_per_batch or teacher_width
    rows = settings.batch_size + others_per_batch + unlabelled_per_batch
    empty = _empty_batch(rows, 3 if has_labels else 2, teacher_width)
    more = loss
    if has_labels:
        more = _with_more(loss, settings, others_per_batch, taught=teacher_width > 0)

    def never(_: int) -> bool:
        return False

    adam: Any = optimizers.Adam  # gin, which wraps it, hides its parameters from type checkers
    with contextlib.redirect_stdout(io.StringIO()):
        loop = QuietLoop(
            model,
            training.TrainTask(
                map(local_shard, stream),
                more,
                adam(settings.learning_rate),
                lr_schedule=lambda step: learning_rate(step, settings),
                sample_batch=empty,
            ),
            eval_model=eval_model,
            eval_tasks=[
                training.EvalTask(
                    itertools.cycle([local_shard(batch) for batch in validation_batches]),
                    [loss],
                    n_eval_batches=len(validation_batches),
                    sample_batch=empty[:4],
                )
            ],
            random_seed=settings.seed,
            eval_at=never,
            checkpoint_at=never,
            permanent_checkpoint_at=never,
        )
    if settings.pooling == "last" and fastmath.local_device_count() == 1:
        whole, opt = loop._trainer.model_with_loss, loop._trainer.optimizer
        packed = PackedTrainer(whole, opt, model, settings, others_per_batch, unlabelled_per_batch)
        loop._trainer_per_task = (packed,)
    loop.pairs_per_step = settings.batch_size
    return loop


def _empty_batch(rows: int, n_columns: int, teacher_width: int) -> tuple:
    """This process' share of a batch of blank questions, from which Trax takes shapes and types."""
    ids = np.full((rows, LENGTH_MULTIPLE), PAD_ID, np.int32)
    taught = [np.zeros((rows, teacher_width), np.float32)] * (2 if teacher_width else 0)
    return local_shard((ids, ids, *[ids[:, 0]] * n_columns, *taught))


def _with_more(loss: Any, settings: TrainSettings, others_per_batch: int, *, taught: bool) -> Any:
    """The layer of the training loss of (v1, v2, groups1, groups2, labels), and of the teacher's
    vectors of both sides, where there are some."""
    margin, weight = settings.margin, ranking_weight(settings, others_per_batch)

    def value(v1: Array, v2: Array, groups1: Array, groups2: Array, labels: Array) -> Array:
        found = loss((v1, v2, groups1, groups2))
        if not weight:
            return found
        return found + weight * ranking_loss(v1, v2, labels, margin=margin, normalize=False)

    if not taught:
        return tl.Fn("TripletAndRankingLoss", value)

    def with_teacher(
        v1: Array, v2: Array, groups1: Array, groups2: Array, labels: Array, t1: Array, t2: Array
    ) -> Array:
        both = jnp.concatenate([v1, v2])
        by_teacher = teacher_loss(both, jnp.concatenate([t1, t2]), normalize=False)
        return value(v1, v2, groups1, groups2, labels) + settings.teacher_weight * by_teacher

    return tl.Fn("TripletRankingAndTeacherLoss", with_teacher)
