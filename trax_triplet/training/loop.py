"""Trax's Loop, made quiet, and saved and restored as plain arrays."""

import contextlib
import io
import itertools
import math

import numpy as np

from trax_triplet.compat import fastmath, optimizers, training
from trax_triplet.data.padding import LENGTH_MULTIPLE
from trax_triplet.data.vocabulary import PAD_ID
from trax_triplet.distributed.processes import local_shard, mean_over_processes
from trax_triplet.loss.triplet import TripletLoss
from trax_triplet.model.siamese import get_weights, set_weights
from trax_triplet.training.packed_trainer import PackedTrainer


class QuietLoop(training.Loop):
    """A Trax Loop that is quiet, hands out its losses, and can be saved and restored as arrays."""

    bar = None  # a tqdm progress bar to move on
    pairs_a_step = 0

    def run_quietly(self, n_steps):
        """`run`, without Trax's own lines on stdout."""
        self._losses = getattr(self, "_losses", [])
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.run(n_steps)
        finally:
            if isinstance(self._trainer, PackedTrainer):
                self._trainer.settle()
                self.update_weights_and_state(weights=self.model.weights)

    def _run_one_step(self, task_index, task_changed):
        loss, stats = super()._run_one_step(task_index, task_changed)
        self._losses.append(loss)
        if self.bar is not None:
            self._move_bar(loss)
        return loss, stats

    def _move_bar(self, loss):
        self.bar.update()
        if self.step % 10 == 0:  # asking for the loss waits for the device
            steps_a_second = self.bar.format_dict["rate"]  # None at first
            speed = f", {steps_a_second * self.pairs_a_step:.0f} pairs/s" if steps_a_second else ""
            self.bar.set_postfix_str(f"loss {np.mean(loss):.4f}{speed}")

    def take_losses(self):
        """Training losses of the steps since the last call, one float each."""
        losses, self._losses = np.array([np.mean(loss) for loss in self._losses], np.float64), []
        return mean_over_processes(losses).tolist()

    def validation_loss(self):
        """Mean loss over the validation batches, with the weights of now."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.run_evals()
        return float(
            mean_over_processes(np.float64(self.history.get("eval", "metrics/TripletLoss")[-1][1]))
        )

    @property
    def _trainer(self):
        return self._trainer_per_task[0]

    def arrays(self):
        """Weights, optimizer slots and random state: all that the next step depends on."""
        slots = fastmath.tree_leaves(self._trainer.slots)
        return {
            **{f"weights/{name}": w for name, w in get_weights(self.model).items()},
            **{f"slots/{i}": np.asarray(slot) for i, slot in enumerate(slots)},
            "rng": np.asarray(self._rng),
        }

    def restore(self, arrays, step):
        """Takes up the state that another loop's `arrays` gave after `step` steps."""
        weights = {
            k.removeprefix("weights/"): v for k, v in arrays.items() if k.startswith("weights/")
        }
        set_weights(self.model, weights)
        self.update_weights_and_state(weights=self.model.weights)
        numbers = iter(range(len(arrays)))
        self._trainer.slots = fastmath.nested_map(
            lambda _: arrays[f"slots/{next(numbers)}"], self._trainer.slots
        )
        self._rng = fastmath.numpy.asarray(arrays["rng"])
        self._step = step


def make_loop(model, eval_model, stream, judged, settings):
    """A QuietLoop around one TrainTask and one EvalTask.

    Args:
        model, eval_model: initialised `Siamese` layers, for training and for evaluation.
        stream: endless training batches, (ids1, ids2, groups1, groups2).
        judged: list of validation batches of the same form; each evaluation goes through all of
        them.
        settings: dict with batch_size, margin, closest, anchor, learning_rate, warmup_steps, steps
            and seed, as in `training.train`; where it has pooling 'last' as well, with word_dropout
            and buckets, and there is one device, `PackedTrainer` does the steps.

    Returns:
        The loop, at step 0. It evaluates and saves when asked, not by itself.
    """
    rule = {name: settings[name] for name in ("margin", "closest", "anchor")}
    loss = TripletLoss(**rule, normalize=False, with_groups=True)
    ids = np.full((settings["batch_size"], LENGTH_MULTIPLE), PAD_ID, np.int32)
    empty = local_shard((ids, ids, ids[:, 0], ids[:, 0]))

    def schedule(step):
        """Linear warm-up, then half a cosine down to nothing at the last step."""
        warm = min(step / max(settings["warmup_steps"], 1), 1.0)
        return (
            settings["learning_rate"]
            * warm
            * 0.5
            * (1 + math.cos(math.pi * min(step / settings["steps"], 1.0)))
        )

    task = training.TrainTask(
        map(local_shard, stream),
        loss,
        optimizers.Adam(settings["learning_rate"]),
        lr_schedule=schedule,
        sample_batch=empty,
    )
    judge = training.EvalTask(
        itertools.cycle(list(map(local_shard, judged))),
        [loss],
        n_eval_batches=len(judged),
        sample_batch=empty,
    )

    def never(_):
        return False

    with contextlib.redirect_stdout(io.StringIO()):
        loop = QuietLoop(
            model,
            task,
            eval_model=eval_model,
            eval_tasks=[judge],
            random_seed=settings["seed"],
            eval_at=never,
            checkpoint_at=never,
            permanent_checkpoint_at=never,
        )
    if settings.get("pooling") == "last" and fastmath.local_device_count() == 1:
        trainer = loop._trainer
        packed = PackedTrainer(trainer.model_with_loss, trainer.optimizer, model, settings)
        loop._trainer_per_task = (packed,)
    loop.pairs_a_step = settings["batch_size"]
    return loop
