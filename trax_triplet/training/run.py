"""Training a Siamese LSTM on duplicate pairs, around Trax's TrainTask, EvalTask and Loop.

`train` writes into one folder: `model/` (the best model so far, ready to use), `checkpoints/` (the
last two evaluations, to go on from) and `history.jsonl` (one line an evaluation).
"""

import contextlib
import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import tqdm

from trax_triplet import _files as files
from trax_triplet import evaluation
from trax_triplet.compat import fastmath
from trax_triplet.data import pairs as data
from trax_triplet.data.mining import draw_negatives, implied_duplicates
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.distributed import processes
from trax_triplet.inference.trained_model import TrainedModel, load_model, save_model
from trax_triplet.loss.steps import check_margin
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import Siamese, get_weights, init_model, set_weights
from trax_triplet.storage import folders as storage
from trax_triplet.training.loop import make_loop


def train(
    pairs,
    output_dir,
    *,
    validation,
    steps=1600,
    batch_size=256,
    d_model=128,
    pooling="last",
    margin=0.4,
    closest="semi-hard",
    anchor="both",
    implied=True,
    learning_rate=0.005,
    warmup_steps=100,
    word_dropout=0.4,
    embedding_stddev=0.1,
    hard_from=250,
    neighbours=16,
    max_words=32,
    tokenizer="words",
    min_count=1,
    buckets=256,
    evaluate_every=100,
    seed=0,
    progress=True,
):
    """Trains a Siamese LSTM on the duplicates of `pairs`, and keeps the model that validates best.

    Several processes, each started with the same arguments after `processes.join`, train one model:
    each computes its share of every batch, and the first one writes; `output_dir` is a folder that
    all of them see.

    Only pairs labelled 1 train (each other's questions are the negatives); pairs labelled 0 serve
    to judge. Each evaluation measures validation loss and ROC AUC, keeps the model in
    `output_dir/model` if its AUC is the best so far, with the threshold of the best validation
    accuracy, writes a checkpoint, and adds a line to `history.jsonl`. Called again with the same
    arguments it goes on from the last checkpoint; stopped by Ctrl-C it leaves a usable model.

    Args:
        pairs: `data.Pairs` to train on.
        output_dir: folder for model, checkpoint and history; made if it is not there.
        validation: `data.Pairs` to judge by, none of whose questions are in `pairs`
            (`split_pairs`). Where all of them are duplicates, negatives are drawn from other pairs
            that share many words.
        steps: training steps, one batch each.
        batch_size: pairs in a batch; a multiple of the number of devices.
        d_model, pooling, word_dropout, embedding_stddev: as in `Siamese`.
        margin, closest, anchor: as in `triplet_loss`.
        implied: train on duplicates that follow from the labelled ones, too
        (`derived.implied_duplicates`).
        learning_rate: of Adam, reached after `warmup_steps`, then falling along half a cosine to 0
        at `steps`.
        warmup_steps: steps of linear warm-up.
        hard_from: step from which batches are made of groups of similar pairs, found with the model
            as it stands; None for never.
        neighbours: size of those groups; where a batch is smaller, the whole batch is one.
        max_words: longer questions are cut in training (never afterwards).
        tokenizer, min_count, buckets: as in `Vocabulary.build`.
        evaluate_every: steps from one evaluation to the next.
        seed: of weights, batches and word dropout; the same seed gives the same model.
        progress: show a progress bar and say what is done, on stderr.

    Returns:
        The best `TrainedModel`.

    Raises:
        ValueError: no duplicate pairs, a setting outside its range, or an `output_dir` whose
            checkpoints belong to other data or settings, or are all damaged.
        FloatingPointError: the loss became infinite or NaN.
        BlockingIOError: another training is at work in `output_dir`.
        ConnectionError: another process of this training was lost.
        OSError: it cannot be written; what was written before is whole.
        KeyboardInterrupt: after Ctrl-C, once the model is safe.

    Example:
        >>> import tempfile
        >>> from trax_triplet import sample
        >>> rows = sample.generate(400)
        >>> columns = list(zip(*rows))
        >>> pairs = data.Pairs(columns[3], columns[4], columns[5])
        >>> (pairs, validation), _ = data.split_pairs(pairs, (0.5, 0.5))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = train(pairs, folder, validation=validation, steps=2, batch_size=8, d_model=4,
        ...                     evaluate_every=1, progress=False)
        >>> trained.embed(["Where is it?"]).shape
        (1, 4)
    """
    settings = {
        name: value
        for name, value in locals().items()
        if name not in ("pairs", "output_dir", "validation", "progress")
    }
    _check(settings)
    progress = progress and processes.is_first_process()
    say = (lambda text: tqdm.tqdm.write(text, file=sys.stderr)) if progress else (lambda text: None)
    (duplicates, sources), validation = (
        _duplicates(pairs, settings, say),
        _labelled(validation, seed, say),
    )
    output_dir = Path(output_dir)
    questions = [q for both in zip(pairs.question1, pairs.question2) for q in both]
    vocabulary, ids = Vocabulary.build_encoded(
        questions, tokenizer=tokenizer, min_count=min_count, buckets=buckets
    )
    run = _Run(
        settings,
        vocabulary,
        dict(zip(questions, ids)),
        duplicates,
        sources,
        validation,
        output_dir,
        say,
    )
    alone = (
        files.only_writer(output_dir) if processes.is_first_process() else contextlib.nullcontext()
    )
    with alone, processes.report_lost_peers():
        with processes.first_process_first():
            run.resume()
        with contextlib.closing(_bar(steps, run.loop.step, progress)) as bar:
            run.loop.bar = bar
            try:
                while run.loop.step < steps:
                    run.advance()
            except KeyboardInterrupt:
                run.rescue()
                raise
        with processes.first_process_first():
            return load_model(output_dir / "model")


class _Run:
    """What one call of `train` works with: a Loop, its batches, and the record of its
    evaluations."""

    def __init__(
        self, settings, vocabulary, known, duplicates, sources, validation, output_dir, say
    ):
        self._settings, self._vocabulary, self._output_dir, self._say = (
            settings,
            vocabulary,
            output_dir,
            say,
        )
        self._validation, self._sources = validation, sources
        ids = [[known[q] for q in side] for side in (duplicates.question1, duplicates.question2)]
        ids_judged = vocabulary.encode_all([*validation.question1, *validation.question2])
        self._ids_judged = ids_judged[: len(validation)], ids_judged[len(validation) :]
        self._history, self._collapse_told, self._waiting_told = [], False, False
        shape = {
            "pooling": settings["pooling"],
            "embedding_stddev": settings["embedding_stddev"],
            "word_dropout": settings["word_dropout"],
            "buckets": settings["buckets"],
        }
        sizes = (len(vocabulary), settings["d_model"])
        model = init_model(Siamese(*sizes, "train", **shape), settings["seed"])
        self._eval_model = set_weights(Siamese(*sizes, "eval", **shape), get_weights(model))
        self._encode = Encoder(self._eval_model)
        self._stream = self._new_stream(duplicates, ids, vectors=lambda: self._vectors(ids[0]))
        held_out = np.flatnonzero(validation.is_duplicate)
        ids_held_out = [[side[i] for i in held_out] for side in self._ids_judged]
        judged = self._new_stream(
            validation.select(held_out), ids_held_out, vectors=None
        ).rest_of_epoch()
        self._fingerprint = _fingerprint(settings, vocabulary, duplicates, validation)
        self.loop = make_loop(model, self._eval_model, self._stream, judged, settings)

    def _new_stream(self, pairs, ids, vectors):
        names = ("batch_size", "seed", "max_words", "neighbours")
        return BatchStream(
            *ids,
            data.question_groups(pairs)[0],
            vectors=vectors,
            **{name: self._settings[name] for name in names},
        )

    def _vectors(self, ids):
        """Unit vectors of questions, by the model as it is."""
        self._eval_model.weights = self.loop.model.weights
        return processes.broadcast_from_first(
            self._encode(ids)
        )  # batches of similar pairs must be the same on all

    def advance(self):
        """Trains up to the next evaluation, evaluates, and saves."""
        every, hard_from = self._settings["evaluate_every"], self._settings["hard_from"]
        target = min((self.loop.step // every + 1) * every, self._settings["steps"])
        start, step = time.perf_counter(), self.loop.step
        while self.loop.step < target:
            until_hard = hard_from - self.loop.step if hard_from is not None else 0
            if until_hard <= 0 and hard_from is not None and not self._stream.hard:
                self._say(f"step {self.loop.step}: from here on batches are made of similar pairs")
                self._stream.start_hard_mining()
            self.loop.run_quietly(
                min(target - self.loop.step, until_hard if until_hard > 0 else target)
            )
        seconds = time.perf_counter() - start
        self._evaluate((self.loop.step - step) * self._settings["batch_size"] / seconds)

    def _evaluate(self, pairs_per_second, checkpoint=True):
        losses = self.loop.take_losses()
        self._check_finite(losses, self._stream.take_rows())
        scores, spread = self._scores()
        labels = self._validation.is_duplicate
        row = {
            "step": self.loop.step,
            "epoch": self._stream.epoch,
            "loss": float(np.mean(losses)),
            "validation_loss": self.loop.validation_loss(),
            "validation_auc": evaluation.roc_auc(scores, labels),
            "spread": spread,
            "pairs_per_second": round(pairs_per_second, 1),
        }
        best = max((r["validation_auc"] for r in self._history), default=-1.0)
        self._history.append(row)
        self._say(
            "step {step}: loss {loss:.4f}, validation loss {validation_loss:.4f}, validation AUC "
            "{validation_auc:.4f}, {pairs_per_second:.0f} pairs/s".format(**row)
        )
        self._tell_of_collapse(row)
        self._tell_of_waiting()
        if processes.is_first_process():
            if row["validation_auc"] > best:
                self._save_model(scores, labels)
            if checkpoint:
                self._save_checkpoint()

    def _check_finite(self, losses, rows):
        """Raises if a loss is not finite, or a weight (after the last of these steps); `rows`: of
        each batch."""
        bad = [not np.isfinite(loss) for loss in losses]
        if not any(bad) and all(
            np.isfinite(w).all() for w in get_weights(self.loop.model).values()
        ):
            return
        first = bad.index(True) if any(bad) else len(losses) - 1
        what = f"the loss became {losses[first]}" if any(bad) else "a weight became infinite or NaN"
        kept = storage.checkpoints(self._output_dir / "checkpoints")
        raise FloatingPointError(
            f"{what} at step {self.loop.step - len(losses) + 1 + first}, in a batch of {self._told_of_rows(rows[first])}; "
            "a smaller learning_rate may help. "
            + (
                f"The last good checkpoint is {kept[-1]}"
                if kept
                else "No checkpoint had been written yet"
            )
        )

    def _told_of_rows(self, rows):
        """Which pairs a batch had, by the line of the file that they came from, or by their row."""
        where, sources = self._sources
        labelled = rows[rows < len(sources)]
        told = f"{where} {', '.join(map(str, np.sort(sources[labelled])))}"
        more = len(rows) - len(labelled)
        return told + (f", and {more} pairs that follow from others" if more else "")

    def _scores(self):
        """Similarities of the validation pairs, and how far their vectors are from being all the
        same."""
        vectors = self._vectors([*self._ids_judged[0], *self._ids_judged[1]])
        first, second = np.split(vectors, 2)
        return np.einsum("nd,nd->n", first, second), float(
            1 - np.square(vectors.mean(axis=0)).sum()
        )

    def _tell_of_collapse(self, row):
        collapsed = 2 * self._settings["margin"]
        # Vectors that differ by rounding: an anchor all of whose negatives lie above its positive
        # by that much has no semi-hard one, and pays the other hinge alone. So the loss is between
        # one margin and two.
        near = (
            0.495 * collapsed <= row["validation_loss"] <= 1.01 * collapsed and row["spread"] < 0.01
        )
        if near and not self._collapse_told:
            self._collapse_told = True
            self._say(
                f"The model has collapsed: all questions get nearly the same vector, so the loss stays at "
                f"2 x margin = {collapsed:g}. Try a smaller learning_rate or embedding_stddev, "
                "pooling='last', closest='semi-hard', or a longer warm-up"
            )

    def _tell_of_waiting(self):
        if self._stream.n_deferred and not self._waiting_told:
            self._waiting_told = True
            self._say(
                f"{self._stream.n_deferred} pairs sit out this epoch: no batch takes two pairs of a duplicate "
                "group, and theirs are larger than the number of batches. They take turns"
            )

    def _save_model(self, scores, labels):
        chosen = evaluation.best_threshold(scores, labels, metric="accuracy")
        source = f"best accuracy, {chosen.value:.4f}, on {len(labels)} validation pairs"
        settings = {
            "pooling": self._settings["pooling"],
            "threshold": float(chosen.threshold),
            "threshold_source": source,
            "training": {**self._settings, **self._history[-1]},
        }
        save_model(
            self._output_dir / "model",
            TrainedModel(self._eval_model, self._vocabulary, settings),
        )

    def _save_checkpoint(self):
        arrays = {
            **self.loop.arrays(),
            **{f"stream/{k}": v for k, v in self._stream.state().items()},
        }
        storage.save_checkpoint(
            self._output_dir / "checkpoints",
            self.loop.step,
            arrays,
            {
                "step": self.loop.step,
                "history": self._history,
                "settings": self._settings,
                "data": self._fingerprint,
            },
        )
        self._write_history()

    def _write_history(self):
        with files.new_file(self._output_dir / "history.jsonl") as file:
            file.writelines(json.dumps(row) + "\n" for row in self._history)

    def resume(self):
        """Goes on from the checkpoint of an earlier call, if there is one."""
        folder = self._output_dir / "checkpoints"
        if not storage.checkpoints(folder):
            return
        arrays, state, folder = storage.load_checkpoint(folder, self._say)
        _check_same_run(folder, state, self._settings, self._fingerprint)
        self.loop.restore(arrays, state["step"])
        self._stream.restore(
            {k.removeprefix("stream/"): v for k, v in arrays.items() if k.startswith("stream/")}
        )
        self._history = state["history"]
        if processes.is_first_process():
            self._write_history()  # the run may have been killed between the two
        self._say(f"going on from step {state['step']} of {self._settings['steps']} ({folder})")

    def rescue(self):
        """After Ctrl-C: sees to it that there is a model."""
        if self.loop.step and not self._history:
            self._evaluate(0.0, checkpoint=False)
        if self._history:
            self._say(
                f"stopped at step {self.loop.step}. The best model so far is in {self._output_dir / 'model'}; "
                "the same command goes on from the last evaluation"
            )


def _bar(steps, done, progress):
    # In a file or a pipe (disable=None) the lines of the evaluations are enough.
    return tqdm.tqdm(
        total=steps, initial=done, unit="step", disable=None if progress else True, file=sys.stderr
    )


def _duplicates(pairs, settings, say):
    if pairs.is_duplicate is None or not pairs.is_duplicate.any():
        raise ValueError(
            f"training needs pairs labelled as duplicates (1), but none of these {len(pairs)} is"
        )
    duplicates = pairs.select(np.flatnonzero(pairs.is_duplicate))
    implied = (
        implied_duplicates(duplicates, seed=settings["seed"])
        if settings["implied"]
        else duplicates.select([])
    )
    say(
        f"training on {len(duplicates)} duplicate pairs"
        + (f" and {len(implied)} that follow from them" if len(implied) else "")
        + (
            f"; the {len(pairs) - len(duplicates)} other pairs are not used"
            if len(duplicates) < len(pairs)
            else ""
        )
    )
    return data.joined(duplicates, implied), _sources(pairs)


def _sources(pairs):
    """The pairs labelled 1 by where they came from: ('lines', of the file) or ('rows', of the
    pairs)."""
    rows = np.flatnonzero(pairs.is_duplicate)
    return ("rows", rows) if pairs.lines is None else ("lines", pairs.lines[rows])


def _labelled(validation, seed, say):
    """Validation pairs of both labels; negatives are drawn where there are none."""
    n_duplicates = int(validation.is_duplicate.sum()) if validation.is_duplicate is not None else 0
    if n_duplicates < 2:
        raise ValueError(
            f"validation needs at least 2 pairs labelled as duplicates, but has {n_duplicates}; keep "
            "back a larger share, or give a file of its own"
        )
    if n_duplicates < len(validation):
        say(
            f"validating on {n_duplicates} duplicate pairs and {len(validation) - n_duplicates} others"
        )
        return validation
    drawn = draw_negatives(validation, n_duplicates, seed=seed)
    say(
        f"validating on {n_duplicates} duplicate pairs; the file has no pairs labelled 0, so {len(drawn)} were made "
        "from questions of different pairs that share many words. They are easier than pairs that people "
        "chose to label: expect a lower AUC on such pairs"
    )
    return data.joined(validation, drawn)


def _fingerprint(settings, vocabulary, *pairs):
    """SHA-256 of all that a run is made from."""
    digest = hashlib.sha256(json.dumps([settings, vocabulary.words]).encode())
    for p in pairs:
        digest.update(json.dumps([p.question1, p.question2, p.is_duplicate.tolist()]).encode())
    return digest.hexdigest()


def _check_same_run(folder, state, settings, fingerprint):
    changed = [
        f"{name} was {state['settings'].get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if state["settings"].get(name) != value
    ]
    if state["data"] != fingerprint:
        what = "; ".join(changed) or "the pairs are not the same"
        raise ValueError(
            f"{folder} belongs to another run: {what}. Give the same settings to go on with it, "
            "or another output folder to start anew"
        )


def _check(settings):
    check_margin(settings["margin"])
    least = {
        "steps": 1,
        "batch_size": 2,
        "warmup_steps": 0,
        "max_words": 1,
        "evaluate_every": 1,
        "neighbours": 1,
        "seed": 0,
        "buckets": 0,
    }
    for name, smallest in least.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(
                f"{name} must be a whole number of at least {smallest}, but it is {value!r}"
            )
    hard_from = settings["hard_from"]
    if hard_from is not None and (
        isinstance(hard_from, bool) or not isinstance(hard_from, int) or hard_from < 0
    ):
        raise ValueError(
            f"hard_from must be a step, from 0, or None for never, but it is {hard_from!r}"
        )
    if not 0 < settings["learning_rate"] < 10:
        raise ValueError(
            f"learning_rate must lie between 0 and 10, but it is {settings['learning_rate']!r}"
        )
    devices = fastmath.global_device_count()
    if devices > fastmath.local_device_count() < 2:
        raise ValueError(
            "Trax averages gradients over processes only where each has two or more devices, but this one "
            "has one; give each of them two, or run one process"
        )
    if settings["batch_size"] % devices:
        raise ValueError(
            f"batch_size {settings['batch_size']} cannot be shared out evenly over {devices} devices; "
            f"take a multiple of {devices}"
        )
