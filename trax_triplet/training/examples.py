"""What a run trains on and is validated on: pairs, their words, and the batches made of them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable

import numpy as np

from trax_triplet.data.mining import draw_negatives, implied_duplicates
from trax_triplet.data.pairs import Pairs, concatenate, question_groups
from trax_triplet.data.stream import BatchStream
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.training.settings import TrainSettings


class Examples:
    """The pairs of a run as word ids, and the vocabulary that gave the ids.

    Args:
        pairs, validation: as in `train`.
        settings: of the run.
        log: function that takes a line to show to the user.

    Attributes:
        vocabulary: `Vocabulary` of the questions of `pairs`.
        ids1, ids2: word ids of the first and of the second questions that are trained on.
        validation: `Pairs` with both labels.
        validation_labels: int8 (pairs,), their labels.
        validation_ids: word ids of their first questions, then of their second ones.
        fingerprint: SHA-256 of all that the run is made from.

    Raises:
        ValueError: too few duplicates among `pairs` or `validation`.
    """

    def __init__(
        self,
        pairs: Pairs,
        validation: Pairs,
        settings: TrainSettings,
        log: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._duplicates = _duplicates(pairs, settings, log)
        self._labelled = np.flatnonzero(_labels(pairs))
        self._lines = pairs.lines
        self.validation = _with_both_labels(validation, settings.seed, log)
        self.validation_labels = _labels(self.validation)
        both = zip(pairs.question1, pairs.question2, strict=True)
        questions = list(itertools.chain.from_iterable(both))
        self.vocabulary, ids = Vocabulary.build_encoded(
            questions,
            tokenizer=settings.tokenizer,
            min_count=settings.min_count,
            buckets=settings.buckets,
        )
        ids_of = dict(zip(questions, ids, strict=True))
        sides = self._duplicates.question1, self._duplicates.question2
        self.ids1, self.ids2 = ([ids_of[question] for question in side] for side in sides)
        self.validation_ids = self.vocabulary.encode_all(
            [*self.validation.question1, *self.validation.question2]
        )
        self.fingerprint = _fingerprint(
            settings, self.vocabulary, self._duplicates, self.validation
        )

    def stream(self, vectors: Callable[[], np.ndarray]) -> BatchStream:
        """Endless training batches; `vectors` gives those of the first questions, `ids1`."""
        return self._batches(self._duplicates, self.ids1, self.ids2, vectors)

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
    ) -> BatchStream:
        return BatchStream(
            ids1,
            ids2,
            question_groups(pairs)[0],
            vectors=vectors,
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            max_words=self._settings.max_words,
            neighbours=self._settings.neighbours,
        )

    def described(self, rows: np.ndarray) -> str:
        """Where the pairs of a batch come from: lines of the file, or rows of what `train` got."""
        labelled = self._labelled[rows[rows < len(self._labelled)]]
        where, numbers = (
            ("rows", labelled) if self._lines is None else ("lines", self._lines[labelled])
        )
        n_implied = len(rows) - len(labelled)
        implied = f", and {n_implied} pairs that follow from others" if n_implied else ""
        return f"{where} {', '.join(map(str, np.sort(numbers)))}{implied}"


def _labels(pairs: Pairs) -> np.ndarray:
    """The labels; pairs that nobody labelled count as not duplicates."""
    return np.zeros(len(pairs), np.int8) if pairs.is_duplicate is None else pairs.is_duplicate


def _duplicates(pairs: Pairs, settings: TrainSettings, log: Callable[[str], None]) -> Pairs:
    """The pairs labelled 1, then those that follow from them."""
    duplicates = pairs.select(np.flatnonzero(_labels(pairs)))
    if not len(duplicates):
        raise ValueError(
            f"training needs pairs labelled as duplicates (1), but none of these {len(pairs)} is"
        )
    implied = duplicates.select(np.arange(0))
    if settings.implied:
        implied = implied_duplicates(duplicates, seed=settings.seed)
    unused = len(pairs) - len(duplicates)
    log(
        f"training on {len(duplicates)} duplicate pairs"
        + (f" and {len(implied)} that follow from them" if len(implied) else "")
        + (f"; the {unused} other pairs are not used" if unused else "")
    )
    return concatenate(duplicates, implied)


def _with_both_labels(validation: Pairs, seed: int, log: Callable[[str], None]) -> Pairs:
    """Validation pairs of both labels; negatives are drawn where there are none."""
    n_duplicates = int(_labels(validation).sum())
    if n_duplicates < 2:
        raise ValueError(
            f"validation needs at least 2 pairs labelled as duplicates, but has {n_duplicates}; "
            "keep back a larger share, or give a file of its own"
        )
    if n_duplicates < len(validation):
        n_others = len(validation) - n_duplicates
        log(f"validating on {n_duplicates} duplicate pairs and {n_others} others")
        return validation
    drawn = draw_negatives(validation, n_duplicates, seed=seed)
    log(
        f"validating on {n_duplicates} duplicate pairs; the file has no pairs labelled 0, so "
        f"{len(drawn)} were made from questions of different pairs that share many words. They are "
        "easier than pairs that people chose to label: expect a lower AUC on such pairs"
    )
    return concatenate(validation, drawn)


def _fingerprint(settings: TrainSettings, vocabulary: Vocabulary, *parts: Pairs) -> str:
    content = json.dumps([dataclasses.asdict(settings), vocabulary.words])
    digest = hashlib.sha256(content.encode())
    for pairs in parts:
        labels = _labels(pairs).tolist()
        digest.update(json.dumps([pairs.question1, pairs.question2, labels]).encode())
    return digest.hexdigest()
