"""What a run trains on and is validated on: pairs, their words, and the batches made of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trax_triplet._wording import counted
from trax_triplet.data.mining import draw_negatives, implied_duplicates
from trax_triplet.data.pairs import Pairs, concatenate, question_groups
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.vocabulary import PAD_ID, Vocabulary
from trax_triplet.data.word_vectors import read_word_vectors
from trax_triplet.training.settings import TrainSettings, identity
from trax_triplet.training.start import Start
from trax_triplet.training.teacher import TaughtStream, taught_vectors

MOST_SAMPLED = 4096  # their mean vector is that of all, as nearly as it matters
MOST_TAUGHT = 16_384  # from which the teacher's projection is fitted


class Examples:
    """The pairs of a run as word ids, and the vocabulary that gave the ids.

    Args:
        pairs, validation: as in `train`.
        settings: of the run.
        log: function that takes a line to show to the user.
        start: the model that the run starts from, whose words come first.
        word_vectors, teacher, unlabelled, progress: as in `train`.

    Attributes:
        vocabulary: `Vocabulary` of the questions of `pairs`.
        word_counts: int (words,), how often each word of the vocabulary comes in them.
        ids1, ids2: word ids of the first and of the second questions of the duplicates.
        others1, others2: likewise of the pairs labelled 0 that are trained on.
        validation: `Pairs` with both labels.
        validation_labels: int8 (pairs,), their labels.
        validation_ids: word ids of their first questions, then of their second ones.
        n_drawn: how many of them, the last ones, were drawn for want of pairs labelled 0.
        word_vectors: None, or the ids of the words that the file has, and their vectors.
        taught_sample: None, or word ids of at most MOST_TAUGHT questions of which a teacher speaks,
            and its vectors of them.
        fingerprint: SHA-256 of all that the run is made from.

    Raises:
        ValueError: too few duplicates among `pairs` or `validation`, or a bad file of vectors.
    """

    def __init__(
        self,
        pairs: Pairs,
        validation: Pairs,
        settings: TrainSettings,
        log: Callable[[str], None],
        word_vectors: str | os.PathLike[str] | None = None,
        start: Start | None = None,
        teacher: Any = None,
        unlabelled: Sequence[str] = (),
        progress: bool = False,
    ) -> None:
        self._settings = settings
        duplicates, implied = _duplicates(pairs, settings)
        self._duplicates = concatenate(duplicates, implied)
        self._others, n_contradicted = _others(pairs, settings)
        n_unused = len(pairs) - len(duplicates) - len(self._others) - n_contradicted
        _tell(log, len(duplicates), len(implied), len(self._others), n_contradicted, n_unused)
        self._labelled = np.flatnonzero(_labels(pairs))
        self._lines = pairs.lines
        self.validation = _with_both_labels(
            validation, settings.seed, settings.duplicate_share, log
        )
        self.validation_labels = _labels(self.validation)
        self.n_drawn = len(self.validation) - len(validation)
        self._encode(pairs, unlabelled, start)
        parts = [self._duplicates, self.validation, *([self._others] if len(self._others) else [])]
        self.fingerprint = _fingerprint(settings, self.vocabulary, *parts)
        if start is not None:
            both_digests = self.fingerprint + start.fingerprint()
            self.fingerprint = hashlib.sha256(both_digests.encode()).hexdigest()
        self.word_vectors = None
        if word_vectors is not None:
            self.word_vectors = _word_vectors(word_vectors, self.vocabulary, settings, log)
            for array in self.word_vectors:
                content = self.fingerprint.encode() + array.tobytes()
                self.fingerprint = hashlib.sha256(content).hexdigest()
        self._taught: dict[str, Any] = {}
        self.taught_sample = None
        if teacher is not None:
            self._taught = self._by_teacher(teacher, pairs, unlabelled, log, progress)

    def _encode(self, pairs: Pairs, unlabelled: Sequence[str], start: Start | None) -> None:
        """Sets the vocabulary, its counts and all word ids."""
        settings = self._settings
        both = zip(pairs.question1, pairs.question2, strict=True)
        questions = [*itertools.chain.from_iterable(both), *unlabelled]
        self.vocabulary, ids = Vocabulary.build_encoded(
            questions,
            tokenizer=settings.tokenizer,
            min_count=settings.min_count,
            buckets=settings.buckets,
        )
        if start is not None:
            self.vocabulary = start.vocabulary(self.vocabulary)
            ids = self.vocabulary.encode_all(questions)
        every = np.bincount(np.concatenate(ids), minlength=len(self.vocabulary))
        self.word_counts = every[PAD_ID + 1 :][: len(self.vocabulary.words)]
        if start is not None:
            self.word_counts = start.word_counts(self.word_counts)
        ids_of = dict(zip(questions, ids, strict=True))
        self.ids1, self.ids2, self.others1, self.others2 = (
            [ids_of[question] for question in side]
            for part in (self._duplicates, self._others)
            for side in (part.question1, part.question2)
        )
        # In pairs, those of large groups come often: their mean is another one.
        self._distinct = [*ids_of.values()]
        self._unlabelled = ids[len(questions) - len(unlabelled) :]
        self.validation_ids = self.vocabulary.encode_all(
            [*self.validation.question1, *self.validation.question2]
        )

    def _by_teacher(
        self,
        teacher: Any,
        pairs: Pairs,
        unlabelled: Sequence[str],
        log: Callable[[str], None],
        progress: bool,
    ) -> dict[str, Any]:
        """What a `TaughtStream` takes besides; the fingerprint covers it from here on."""
        given = [*pairs.question1, *pairs.question2, *unlabelled]
        places = {question: place for place, question in enumerate(given)}
        content = json.dumps([self.fingerprint, "teacher", *unlabelled]).encode()
        if callable(teacher):
            # Not its vectors: computed again they differ by rounding.
            places = {question: place for place, question in enumerate(places)}
            log(f"asking the teacher for its vectors of {counted(len(places), 'question')}")
            taught = taught_vectors(teacher, [*places], progress)
        else:
            taught = taught_vectors(teacher, given)
            content += taught.tobytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        sides = [
            side
            for part in (self._duplicates, self._others)
            for side in (part.question1, part.question2)
        ]
        rng = np.random.default_rng(self._settings.seed)
        spoken_of = rng.permutation(np.flatnonzero(taught.any(axis=1)))[:MOST_TAUGHT]
        texts = [*places] if callable(teacher) else given
        ids = self.vocabulary.encode_all([texts[i] for i in spoken_of])
        if ids:
            self.taught_sample = ids, taught[spoken_of].astype(np.float32)
        if not self._settings.teacher_weight:
            return {}
        rows = [np.array([places[q] for q in side], np.int64) for side in (*sides, unlabelled)]
        return {"taught": taught, "places": rows, "unlabelled": self._unlabelled}

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs of each kind are trained and validated on."""
        duplicates = int(self.validation_labels.sum())
        return {
            "training_duplicates": len(self.ids1),
            "training_others": len(self.others1),
            "validation_duplicates": duplicates,
            "validation_others": len(self.validation) - duplicates,
            "validation_others_drawn": self.n_drawn,
        }

    def sample(self) -> list[np.ndarray]:
        """Word ids of at most MOST_SAMPLED of the distinct questions of the training."""
        rng = np.random.default_rng(self._settings.seed)
        rows = rng.permutation(len(self._distinct))[:MOST_SAMPLED]
        return [self._distinct[i] for i in rows]

    @property
    def teacher_width(self) -> int:
        """Width of the teacher's vectors; 0 without a teacher."""
        return self._taught["taught"].shape[1] if self._taught else 0

    def stream(self, vectors: Callable[[], np.ndarray], multiple: int = 1) -> BatchStream:
        """Endless training batches.

        Args:
            vectors: gives the vectors of the first questions, `ids1`.
            multiple: as in `BatchStream`.
        """
        others = (self.others1, self.others2) if len(self._others) else None
        return self._batches(
            self._duplicates,
            self.ids1,
            self.ids2,
            vectors,
            others=others,
            multiple=multiple,
            **self._taught,
        )

    def validation_batches(self) -> list[tuple]:
        """The batches of the validation pairs labelled 1, on which the loss is computed."""
        rows, n = np.flatnonzero(self.validation_labels), len(self.validation)
        ids1, ids2 = ([self.validation_ids[i] for i in side] for side in (rows, rows + n))
        return self._batches(self.validation.select(rows), ids1, ids2, None).rest_of_epoch()

    def _batches(
        self,
        pairs: Pairs,
        ids1: list[np.ndarray],
        ids2: list[np.ndarray],
        vectors: Callable[[], np.ndarray] | None,
        **more: Any,
    ) -> BatchStream:
        return (TaughtStream if "taught" in more else BatchStream)(
            ids1,
            ids2,
            question_groups(pairs)[0],
            vectors=vectors,
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            max_words=self._settings.max_words,
            neighbours=self._settings.neighbours,
            **more,
        )

    def described(self, rows: np.ndarray) -> str:
        """Where the pairs of a batch come from: lines of the file, or rows of what `train` got."""
        labelled = self._labelled[rows[rows < len(self._labelled)]]
        where, numbers = (
            ("rows", labelled) if self._lines is None else ("lines", self._lines[labelled])
        )
        n_implied = len(rows) - len(labelled)
        implied = f", and {counted(n_implied, 'pair')} derived from others" if n_implied else ""
        return f"{where} {', '.join(map(str, np.sort(numbers)))}{implied}"


def _labels(pairs: Pairs) -> np.ndarray:
    """The labels; pairs that nobody labelled count as not duplicates."""
    return np.zeros(len(pairs), np.int8) if pairs.is_duplicate is None else pairs.is_duplicate


def _duplicates(pairs: Pairs, settings: TrainSettings) -> tuple[Pairs, Pairs]:
    """The pairs labelled 1, and those that follow from them."""
    duplicates = pairs.select(np.flatnonzero(_labels(pairs)))
    if not len(duplicates):
        raise ValueError(
            f"training needs pairs labelled as duplicates (1), but none of these {len(pairs)} is"
        )
    if not settings.implied:
        return duplicates, duplicates.select(np.arange(0))
    return duplicates, implied_duplicates(duplicates, seed=settings.seed)


def _others(pairs: Pairs, settings: TrainSettings) -> tuple[Pairs, int]:
    """The pairs labelled 0 to train on, and how many the pairs labelled 1 contradict."""
    others = np.flatnonzero(pairs.is_duplicate == 0)
    if not settings.labelled_negatives or not settings.labelled_weight:
        return pairs.select(others[:0]), 0
    group1, group2 = question_groups(pairs)
    contradicted = group1[others] == group2[others]
    return pairs.select(others[~contradicted]), int(contradicted.sum())


def _tell(
    log: Callable[[str], None],
    n_duplicates: int,
    n_implied: int,
    n_others: int,
    n_contradicted: int,
    n_unused: int,
) -> None:
    parts = [counted(n_duplicates, "duplicate pair")]
    parts += [f"{n_implied} that follow from them"] if n_implied else []
    parts += [counted(n_others, "pair") + " labelled 0"] if n_others else []
    comma = "," if len(parts) > 2 else ""
    listed = f"{comma} and ".join([", ".join(parts[:-1]), parts[-1]]) if parts[1:] else parts[0]
    unused = f"; not used: {counted(n_unused, 'pair')} labelled 0" if n_unused else ""
    log(f"training on {listed}{unused}")
    if n_contradicted:
        log(
            f"left out: {counted(n_contradicted, 'pair')} labelled 0 whose questions are "
            "duplicates by the pairs labelled 1, directly or through others"
        )


def _with_both_labels(
    validation: Pairs, seed: int, share: float | None, log: Callable[[str], None]
) -> Pairs:
    """Validation pairs of both labels; negatives are drawn where there are none."""
    n_duplicates = int(_labels(validation).sum())
    if n_duplicates < 2:
        raise ValueError(
            f"validation needs at least 2 pairs labelled as duplicates, but has {n_duplicates}; "
            "keep back a larger share, or give a file of its own"
        )
    if n_duplicates < len(validation):
        n_others = len(validation) - n_duplicates
        others = counted(n_others, "other")
        log(f"validating on {counted(n_duplicates, 'duplicate pair')} and {others}")
        if n_duplicates > n_others and share is None:
            log(
                "more than half of the validation pairs are duplicates: the threshold will suit "
                "such files, and call too many pairs duplicates where most pairs are not. If the "
                "pairs that you will ask about are not like these, validate on pairs that are, or "
                "give their share of duplicates (the setting duplicate_share)"
            )
        return validation
    drawn = draw_negatives(validation, n_duplicates, seed=seed)
    log(
        f"validating on {n_duplicates} duplicate pairs; the file has no pairs labelled 0, so "
        f"{len(drawn)} were made from questions of different pairs that share many words. They are "
        "easier than pairs that people chose to label: expect a lower AUC on such pairs. The "
        "threshold is chosen on harder ones: each question, and the most similar of other pairs"
    )
    if share is not None:
        log("the setting duplicate_share has no effect: it needs validation pairs labelled 0")
    return concatenate(validation, drawn)


def _word_vectors(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary,
    settings: TrainSettings,
    log: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the words that the file has, and their vectors."""
    log(f"reading word vectors from {path} ...")
    positions, vectors = read_word_vectors(path, vocabulary.words)
    width, d_model = vectors.shape[1], settings.d_model
    reduced = f", of which the {d_model} principal components are taken" if width > d_model else ""
    log(
        f"{len(positions)} of the vocabulary's {len(vocabulary.words)} words start from their "
        f"vectors of {width} numbers{reduced}"
    )
    return positions + PAD_ID + 1, vectors


def _fingerprint(settings: TrainSettings, vocabulary: Vocabulary, *parts: Pairs) -> str:
    content = json.dumps([identity(settings), vocabulary.words])
    digest = hashlib.sha256(content.encode())
    for pairs in parts:
        labels = _labels(pairs).tolist()
        digest.update(json.dumps([pairs.question1, pairs.question2, labels]).encode())
    return digest.hexdigest()
