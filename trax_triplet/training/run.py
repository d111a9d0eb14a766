"""Training a Siamese LSTM on duplicate pairs, around Trax's TrainTask, EvalTask and Loop.

`train` writes into one folder: `model/` (the best model so far, ready to use), `checkpoints/` (the
last two evaluations, to go on from) and `history.jsonl` (one line an evaluation).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tqdm

from trax_triplet import _files as files
from trax_triplet import _validation as check
from trax_triplet import evaluation
from trax_triplet._wording import counted
from trax_triplet.compat import fastmath, processes
from trax_triplet.data.pairs import Pairs
from trax_triplet.data.word_vectors import starting_embedding
from trax_triplet.inference.calibration import fit_calibration
from trax_triplet.inference.trained_model import TrainedModel, load_model
from trax_triplet.model.encoder import Encoder
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.spelling import Spelling
from trax_triplet.model.walk import CENTRE, PROJECTION, Walk, centre_of, centred, cosines_of_rows
from trax_triplet.model.weights import get_weights, init_model, set_weights
from trax_triplet.training.examples import Examples
from trax_triplet.training.loop import make_loop
from trax_triplet.training.record import Record, check_output_dir
from trax_triplet.training.settings import TrainOptions, TrainSettings
from trax_triplet.training.start import Start
from trax_triplet.training.teacher import projection_of
from trax_triplet.training.threshold import choose_threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["train"]


def train(
    pairs: Pairs,
    output_dir: str | os.PathLike[str],
    *,
    validation: Pairs,
    settings: TrainSettings | None = None,
    word_vectors: str | os.PathLike[str] | None = None,
    teacher: Callable[[list[str]], Any] | Any = None,
    unlabelled: Iterable[str] = (),
    progress: bool = True,
    start: TrainedModel | str | os.PathLike[str] | None = None,
    **changes: Unpack[TrainOptions],
) -> TrainedModel:
    """Trains a Siamese LSTM on the duplicates of `pairs`, and keeps the model that validates best.

    Several processes, each started with the same arguments after `processes.join`, train one model:
    each computes its share of every batch, and the first one writes; `output_dir` is a folder that
    all of them see.

    The loss is `triplet_loss` of the pairs labelled 1, which take each other's questions as
    negatives, and `ranking_loss` of them and the pairs labelled 0 (times `labelled_weight`; a pair
    labelled 0 whose questions are duplicates by the pairs labelled 1 is left out). Each evaluation
    measures validation loss and ROC AUC, keeps the model in `output_dir/model` if its AUC is the
    best so far, with a threshold (`settings["threshold_source"]` says how it came about), writes a
    checkpoint, and adds a line to `history.jsonl`. Called again with the same arguments it goes on
    from the last checkpoint; stopped by Ctrl-C it leaves a usable model.

    Args:
        pairs: `Pairs` to train on.
        output_dir: folder for model, checkpoints and history; created if it does not exist.
        validation: `Pairs` to validate on, none of whose questions are in `pairs`
            (`split_pairs`). Where all of them are duplicates, negatives are drawn from other pairs
            that share many words.
        settings: `TrainSettings`; None for the defaults.
        word_vectors: path of a text file of word vectors, as GloVe, word2vec and fastText write it,
            that the embedding starts from. It is read line by line, and the vectors of words that
            the vocabulary lacks are not kept; a word is looked for as the tokenizer gives it, then
            in lower case. The mean of the vectors is subtracted; wider ones than `d_model` are
            reduced to their principal components, narrower ones fill the first columns; and they
            get the standard deviation of the random start, which all else keeps.
        teacher: vectors of the questions by another model, a teacher. After training this model's
            vectors are multiplied by a matrix that gives more room to what the teacher's vectors
            can be predicted from; with a `teacher_weight` above 0 the teacher's similarities are
            also learned beside the labels (`teacher_loss`). A function that takes a list of
            strings and gives a float array (n, width), such as `encode` of a model of
            sentence-transformers, which is asked once for each question before the training; or the
            array itself, a row for each of `[*pairs.question1, *pairs.question2, *unlabelled]`
            (rows of zeros: the teacher says nothing of that question). They are kept as float16.
        unlabelled: further questions, strings, of which only the teacher speaks.
        progress: show a progress bar and log what is done, on stderr.
        start: a `TrainedModel`, or the folder of one, to start from: the words that it knows keep
            their vectors and its LSTM its weights, and the new words of `pairs` are added. Width,
            pooling and tokenizer must be the same.
        changes: single settings by name, such as `steps=400`; they replace those of `settings`.

    Returns:
        The best `TrainedModel`.

    Raises:
        TypeError: an argument or a setting of a wrong type, or an unknown setting.
        ValueError: no duplicate pairs, a setting outside its range, or other than the model's to
            `start` from, an `output_dir` whose checkpoints belong to other data or settings, or are
            all damaged, or that lies in a model's folder; a file of word vectors with a line that
            cannot be read, or with none of the words; both `word_vectors` and `start`; vectors of
            a teacher of another number, width, or not finite; `unlabelled` without a teacher.
        FloatingPointError: the loss became infinite or NaN.
        BlockingIOError: another training is at work in `output_dir`.
        FileExistsError: `model/` or `history.jsonl` in `output_dir` is not of a training.
        ConnectionError: another process of this training was lost.
        OSError: `output_dir` cannot be written; what was written before stays valid.
        KeyboardInterrupt: after Ctrl-C, once the model is safe.

    Example:
        >>> import tempfile
        >>> from trax_triplet import sample, split_pairs
        >>> columns = list(zip(*sample.generate(300)))
        >>> (pairs, validation), _ = split_pairs(Pairs(*columns[3:6]), (0.7, 0.3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = train(pairs, folder, validation=validation, steps=1, batch_size=16,
        ...                     d_model=8, progress=False)
        >>> trained.embed(["Where is it?"]).shape
        (1, 8)
    """
    for name, value in (("pairs", pairs), ("validation", validation)):
        check.instance(name, value, Pairs, "trax_triplet.Pairs", "read_pairs(path) makes them")
    if settings is not None:
        check.instance("settings", settings, TrainSettings, "trax_triplet.TrainSettings")
    settings = dataclasses.replace(settings or TrainSettings(), **changes)
    _check_devices(settings)
    if word_vectors is not None:
        _check_word_vectors(word_vectors, settings)
    output_dir = Path(output_dir)
    check_output_dir(output_dir)
    if isinstance(start, (str, os.PathLike)):
        start = load_model(start)
    beginning = None if start is None else Start(start, settings)
    if start is not None and word_vectors is not None:
        raise ValueError("start and word_vectors exclude each other: words start from one of them")
    unlabelled = check.strings("unlabelled", unlabelled)
    if unlabelled and teacher is None:
        raise check.wrong_value("unlabelled", "empty without a teacher", unlabelled)
    progress = check.boolean("progress", progress) and processes.is_first_process()

    def log(text: str) -> None:
        if progress:
            tqdm.tqdm.write(text, file=sys.stderr)

    examples = Examples(
        pairs, validation, settings, log, word_vectors, beginning, teacher, unlabelled, progress
    )
    record = Record(output_dir, settings, examples.fingerprint)
    run = _Run(settings, examples, record, log, beginning)
    is_writer = processes.is_first_process()
    lock = files.only_writer(output_dir) if is_writer else contextlib.nullcontext()
    with lock, processes.report_lost_peers():
        with processes.first_process_first():
            run.resume()
        with contextlib.closing(_bar(settings.steps, run.loop.step, progress)) as bar:
            run.loop.bar = bar
            try:
                while run.loop.step < settings.steps:
                    run.advance()
            except KeyboardInterrupt:
                run.rescue()
                raise
        with processes.first_process_first():
            return load_model(record.model_folder)


def _check_devices(settings: TrainSettings) -> None:
    devices = fastmath.global_device_count()
    if devices > fastmath.local_device_count() < 2:
        raise ValueError(
            "Trax averages gradients over processes only where each has two or more devices, but "
            "this one has one; give each of them two, or run one process"
        )
    if settings.batch_size % devices:
        raise check.wrong_value(
            "batch_size", f"a multiple of {devices}, the number of devices", settings.batch_size
        )


def _check_word_vectors(path: str | os.PathLike[str], settings: TrainSettings) -> None:
    check.path("word_vectors", path).stat()  # raises, before anything else takes its time
    if settings.embedding_stddev == 0:
        raise check.wrong_value(
            "embedding_stddev", "above 0, for the word vectors are scaled to it", 0.0
        )


def _bar(steps: int, done: int, progress: bool) -> tqdm.tqdm:
    # In a file or a pipe (disable=None) the lines of the evaluations are enough.
    return tqdm.tqdm(
        total=steps, initial=done, unit="step", disable=None if progress else True, file=sys.stderr
    )


class _Run:
    """Trains and evaluates on `examples`, and hands what is to be kept to `record`.

    Attributes:
        loop: the `QuietLoop`; its step says how far the run has come.
    """

    def __init__(
        self,
        settings: TrainSettings,
        examples: Examples,
        record: Record,
        log: Callable[[str], None],
        start: Start | None,
    ) -> None:
        self._settings, self._examples, self._record = settings, examples, record
        self._log, self._logged = log, set[str]()
        record.data = examples.counts
        model = init_model(_siamese("train", settings, examples), settings.seed)
        self._start = start
        if start is not None:
            set_weights(model, start.weights(get_weights(model), examples.vocabulary))
        if examples.word_vectors is not None:
            weights = get_weights(model)
            embedding = starting_embedding(weights["embedding"], *examples.word_vectors)
            # Libraries of linear algebra may turn the axes otherwise in another process.
            embedding = processes.broadcast_from_first(embedding)
            set_weights(model, {**weights, "embedding": embedding})
        self._eval_model = set_weights(_siamese("eval", settings, examples), get_weights(model))
        self._encode = Encoder(self._eval_model)
        self._stream = examples.stream(
            vectors=lambda: self._vectors(examples.ids1),
            multiple=fastmath.global_device_count(),
        )
        batches = examples.validation_batches()
        self.loop = make_loop(
            model,
            self._eval_model,
            self._stream,
            batches,
            settings,
            others_per_batch=self._stream.others_per_batch,
            unlabelled_per_batch=self._stream.unlabelled_per_batch,
            teacher_width=examples.teacher_width,
        )

    def _vectors(self, ids: list[np.ndarray]) -> np.ndarray:
        """Unit vectors of questions, by the model as it is now."""
        self._eval_model.weights = self.loop.model.weights
        # Batches of similar pairs must be the same in all processes.
        return processes.broadcast_from_first(self._encode(ids))

    @functools.cached_property
    def _spelling(self) -> Spelling:
        """Made at the first evaluation: a run that has ended needs none."""
        examples = self._examples
        return Spelling(examples.vocabulary.words, examples.word_counts, self._settings.spelling)

    def _trained(self) -> tuple[TrainedModel, np.ndarray]:
        """The model as it is now, as it would answer, and its vectors of the validation questions
        before they are centred."""
        examples, pooling = self._examples, {"pooling": self._settings.pooling}
        weights = get_weights(self.loop.model)
        if self._settings.spelling:
            weights = self._spelling(weights)
        if examples.taught_sample is not None:
            ids, taught = examples.taught_sample
            projection = projection_of(Walk(weights, **pooling)(ids), taught)
            weights = weights | {PROJECTION: processes.broadcast_from_first(projection)}
        elif self._start is not None and self._start.projection is not None:
            weights = weights | {PROJECTION: self._start.projection}
        sample = Walk(weights, **pooling)(examples.sample())
        earlier = None if self._start is None else self._start.centre
        centre = processes.broadcast_from_first(centre_of(sample, earlier))
        plain = TrainedModel(weights, examples.vocabulary, pooling)
        questions = [*examples.validation.question1, *examples.validation.question2]
        vectors = processes.broadcast_from_first(plain.embed(questions))
        return TrainedModel(weights | {CENTRE: centre}, examples.vocabulary, pooling), vectors

    def resume(self) -> None:
        """Goes on from the checkpoint of an earlier call, if there is one."""
        saved = self._record.load_checkpoint(self._log)
        if saved is None:
            return
        step, arrays = saved
        self.loop.restore(arrays, step)
        self._stream.restore(
            {k.removeprefix("stream/"): v for k, v in arrays.items() if k.startswith("stream/")}
        )
        if processes.is_first_process():
            self._record.write_history()  # the run may have been killed between the two

    def advance(self) -> None:
        """Trains up to the next evaluation, evaluates, and saves."""
        every, hard_from = self._settings.evaluate_every, self._settings.hard_from
        target = min((self.loop.step // every + 1) * every, self._settings.steps)
        start, first_step = time.perf_counter(), self.loop.step
        while self.loop.step < target:
            next_stop = target
            if hard_from is not None and not self._stream.hard:
                if self.loop.step >= hard_from:
                    self._log(
                        f"step {self.loop.step}: from here on batches are made of similar pairs"
                    )
                    self._stream.start_hard_mining()
                else:
                    next_stop = min(target, hard_from)
            self.loop.run_quietly(next_stop - self.loop.step)
        seconds = time.perf_counter() - start
        self._evaluate((self.loop.step - first_step) * self._settings.batch_size / seconds)

    def rescue(self) -> None:
        """After Ctrl-C: sees to it that there is a model."""
        if self.loop.losses and not self._record.history:  # at least one step came to its end
            self._evaluate(0.0, checkpoint=False)
        if self._record.history:
            self._log(
                f"stopped at step {self.loop.step}. The best model so far is in "
                f"{self._record.model_folder}; the same command goes on from the last evaluation"
            )

    def _evaluate(self, pairs_per_second: float, checkpoint: bool = True) -> None:
        losses = self.loop.take_losses()
        self._check_finite(losses, self._stream.take_rows())
        trained, plain = self._trained()
        vectors = centred(plain, trained.weights[CENTRE])
        first, second = np.split(vectors, 2)
        scores = cosines_of_rows(first, second)
        labels = self._examples.validation_labels
        row = {
            "step": self.loop.step,
            "epoch": self._stream.epoch,
            "loss": float(np.mean(losses)),
            "validation_loss": self.loop.validation_loss(),
            "validation_auc": evaluation.roc_auc(scores, labels),
            "spread": float(1 - np.square(plain.mean(axis=0)).sum()),  # 0: all vectors are equal
            "pairs_per_second": round(pairs_per_second, 1),
        }
        is_best = self._record.add(row)
        self._log(
            "step {step}: loss {loss:.4f}, validation loss {validation_loss:.4f}, validation AUC "
            "{validation_auc:.4f}, {pairs_per_second:.0f} pairs/s".format(**row)
        )
        self._warn(row)
        if processes.is_first_process():
            if is_best:
                n_drawn, seed = self._examples.n_drawn, self._settings.seed
                share = self._settings.duplicate_share
                # Drawn negatives say nothing about how often other pairs are this similar.
                calibration = None if n_drawn else fit_calibration(scores, labels, share=share)
                validation = self._examples.validation
                chosen = choose_threshold(vectors, validation, n_drawn, seed, calibration)
                self._record.save_model(trained, *chosen, calibration)
            if checkpoint:
                stream = {f"stream/{k}": v for k, v in self._stream.state().items()}
                self._record.save_checkpoint(self.loop.step, {**self.loop.arrays(), **stream})

    def _check_finite(self, losses: list[float], rows: list[np.ndarray]) -> None:
        """Raises if a loss is not finite, or a weight (after the last of these steps).

        Args:
            losses: of each step since the last evaluation.
            rows: the pairs of each of these steps' batches.
        """
        bad = [not np.isfinite(loss) for loss in losses]
        weights = get_weights(self.loop.model).values()
        if not any(bad) and all(np.isfinite(w).all() for w in weights):
            return
        first = bad.index(True) if any(bad) else len(losses) - 1
        what = f"the loss became {losses[first]}" if any(bad) else "a weight became infinite or NaN"
        good = self._record.last_checkpoint()
        beside = self._stream.others_per_batch
        others = f" and {counted(beside, 'pair')} labelled 0" if beside else ""
        raise FloatingPointError(
            f"{what} at step {self.loop.step - len(losses) + 1 + first}, in a batch of "
            f"{self._examples.described(rows[first])}{others}; a smaller learning_rate may help. "
            + (f"The last good checkpoint is {good}" if good else "There is no checkpoint yet")
        )

    def _warn(self, row: dict[str, Any]) -> None:
        margin = self._settings.margin
        self._log_once(collapse_warning(row["validation_loss"], row["spread"], margin))
        if self._stream.n_deferred:
            self._log_once(
                f"left for later epochs: {counted(self._stream.n_deferred, 'pair')}; no batch "
                "takes two pairs of a duplicate group, and some groups have more pairs than an "
                "epoch has batches"
            )

    def _log_once(self, text: str | None) -> None:
        if text and text not in self._logged:
            self._logged.add(text)
            self._log(text)


def collapse_warning(validation_loss: float, spread: float, margin: float) -> str | None:
    """What to tell the user if the model has collapsed, else None.

    Args:
        validation_loss, spread: of an evaluation.
        margin: of the loss.

    Example:
        >>> collapse_warning(0.8, 1e-6, margin=0.4)[:24]
        'The model has collapsed:'
    """
    collapsed = 2 * margin
    # Vectors that differ by rounding: an anchor all of whose negatives lie above its positive by
    # that much has no semi-hard one, and pays only the other hinge. So the loss is between one
    # margin and two.
    if not 0.495 * collapsed <= validation_loss <= 1.01 * collapsed or spread >= 0.01:
        return None
    return (
        "The model has collapsed: all questions get nearly the same vector, so the loss stays at "
        f"2 x margin = {collapsed:g}. Try a smaller learning_rate or embedding_stddev, "
        "pooling='last', closest='semi-hard', or a longer warm-up"
    )


def _siamese(mode: str, settings: TrainSettings, examples: Examples) -> Any:
    return Siamese(
        len(examples.vocabulary),
        settings.d_model,
        mode,
        pooling=settings.pooling,
        word_dropout=settings.word_dropout,
        buckets=settings.buckets,
        embedding_stddev=settings.embedding_stddev,
    )
