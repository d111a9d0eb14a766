"""The index that a server searches and adds to, while others do the same."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Sequence
from typing import Any

from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.search.corpus import Hit
from trax_triplet.search.index import QuestionIndex

__all__ = ["NotAddedError", "ServedIndex"]


class NotAddedError(Exception):
    """Why questions were not added, in words for whoever asked; nothing was changed.

    Attributes:
        status: of the HTTP answer.
    """

    def __init__(self, reason: str, status: int):
        super().__init__(f"{reason}; nothing was added")
        self.status = status


class ServedIndex:
    """An index in a folder, for any number of threads.

    A search sees the index as it was when it began: what is added goes to a copy, which is saved
    to the folder and only then takes the old one's place.

    Args:
        folder: path of the index.
        trained: the model, which must be the one that the index was built with.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `QuestionIndex.load`; also an index that was
            made of vectors instead of questions.
    """

    def __init__(self, folder: str | os.PathLike[str], trained: TrainedModel):
        self._folder, self._trained = folder, trained
        self.current = self._load()
        self._adding = threading.Lock()

    def _load(self) -> QuestionIndex:
        index = QuestionIndex.load(self._folder, model=self._trained)
        if not index.has_texts:
            raise ValueError(
                f"the index {self._folder} was made of vectors and has no questions to show; make "
                "one of a file of questions: trax-triplet index FILE --model MODEL --output FOLDER"
            )
        return index

    def about(self) -> dict[str, Any]:
        """How many questions there are, and how they are searched."""
        index = self.current
        return {
            "questions": len(index),
            "approximate": index.approximate,
            "recall": index.recall,
        }

    def search(self, asked: Sequence[tuple[str, int]]) -> list[list[Hit]]:
        """The nearest questions of each (question, how many)."""
        found = self.current.search([question for question, _ in asked], max(k for _, k in asked))
        return [hits[:k] for hits, (_, k) in zip(found, asked, strict=True)]

    def add(
        self, requests: Sequence[tuple[Sequence[str], Sequence[str]]]
    ) -> list[int | NotAddedError]:
        """Adds the questions of each (questions, ids) to the folder and to what is searched.

        The folder is written once for all of them; of each request all questions are added or none.

        Returns:
            for each, how many questions the index has now; or why none of its own were added: an id
            that is in the index, or the folder cannot be written.
        """
        with self._adding:
            try:
                self.current = self._up_to_date()
            except NotAddedError as error:
                return [error] * len(requests)
            new = copy.copy(self.current)
            outcomes = [self._add_to(new, *request) for request in requests]
            if len(new) == len(self.current):
                return outcomes
            error = self._save(new)
            if error is None:
                self.current = new
                return outcomes
            return [error if isinstance(outcome, int) else outcome for outcome in outcomes]

    def _add_to(
        self, index: QuestionIndex, questions: Sequence[str], ids: Sequence[str]
    ) -> int | NotAddedError:
        taken = next((id for id in ids if id in index), None)
        if taken is not None:
            return NotAddedError(f"the id {taken!r} is in the index already", 409)
        index.add(questions, ids=ids)
        return len(index)

    def _save(self, index: QuestionIndex) -> NotAddedError | None:
        try:
            index.save(self._folder)
        except (BlockingIOError, ValueError):
            return NotAddedError("another process is changing the index; try again", 503)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return NotAddedError(f"the index cannot be saved: {reason}", 503)
        return None

    def _up_to_date(self) -> QuestionIndex:
        """The index as it is in the folder, where another process may have changed it."""
        try:
            return self._load() if self.current.is_outdated() else self.current
        except FileNotFoundError as error:
            raise NotAddedError("the folder of the index is no longer there", 503) from error
        except (OSError, ValueError) as error:
            raise NotAddedError(
                "the index in the folder was replaced by one that cannot be used here", 503
            ) from error
