"""An index served over HTTP with its model: nearest questions, and questions to add."""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import AfterValidator, BaseModel, Field

from trax_triplet.data.tokenizer import is_blank
from trax_triplet.inference.request_batches import Batches
from trax_triplet.inference.request_limits import MAX_QUESTIONS, Asked, Limits, Question
from trax_triplet.inference.service import create_app
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.search.corpus import hit_rows
from trax_triplet.search.served_index import NotAddedError, ServedIndex

__all__ = ["create_search_app"]

MAX_SEARCHED, MAX_TOP, MAX_ID = 100, 100, 200


class Queries(Asked):
    """Questions to look for."""

    questions: list[Question] = Field(min_length=1, max_length=MAX_SEARCHED)
    top: int = Field(10, ge=1, le=MAX_TOP, description="how many to find for each")


class Found(BaseModel):
    """A question of the index."""

    id: str
    similarity: float = Field(description="cosine of the questions' vectors, in [-1, 1]")
    is_duplicate: bool | None = Field(description="above the threshold; null without one")
    question: str


class Nearest(BaseModel):
    """What was found for each question, the most similar first; nothing for one without words."""

    threshold: float | None
    approximate: bool = Field(description="whether some of the nearest may be missed")
    answers: list[list[Found]]


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("must not be blank")
    return text


class NewQuestion(Asked):
    """A question to add."""

    id: Annotated[str, Field(max_length=MAX_ID), AfterValidator(_not_blank)]
    question: Annotated[Question, AfterValidator(_not_blank)]


class NewQuestions(Asked):
    """Questions to add, all of them or none."""

    questions: list[NewQuestion] = Field(min_length=1, max_length=MAX_QUESTIONS)


class Added(BaseModel):
    """How many questions were added, and how many the index has now, on disk as well."""

    added: int
    questions: int


def create_search_app(
    trained: TrainedModel, index: str | os.PathLike[str], *, limits: Limits | None = None
) -> FastAPI:
    """The application of `inference.service.create_app`, and also `POST /search` and `/add`.

    Args:
        trained: the model that answers.
        index: folder of an index that this very model made. What is added goes there, too.
        limits: as in `create_app`; besides, a request has at most 100 questions to search for.

    Returns:
        An ASGI application, for uvicorn or another server.

    Raises:
        TypeError: as `create_app`.
        FileNotFoundError: as `create_app`; also no index.
        ImportError, ValueError: as `QuestionIndex.load`; also an index made of vectors.
    """
    app = create_app(trained, limits=limits)
    served = ServedIndex(index, trained)
    _add_search(app, served, trained.threshold)
    app.state.about_index = served.about
    return app


def _add_search(app: FastAPI, index: ServedIndex, threshold: float | None) -> None:
    batches, adding = Batches(index.search), Batches(index.add)
    from_here = [Depends(_refuse_other_sites)]

    @app.post("/search", response_model=Nearest, dependencies=from_here)
    async def search(asked: Queries) -> dict[str, Any]:
        """The nearest questions of the index."""
        found = await batches.ask([(question, asked.top) for question in asked.questions])
        answers = [hit_rows(hits, threshold) for hits in found]
        approximate = index.current.approximate
        return {"threshold": threshold, "approximate": approximate, "answers": answers}

    @app.post("/add", response_model=Added, dependencies=from_here)
    async def add(new: NewQuestions) -> dict[str, Any]:
        """Adds questions to the index; the answer comes once they are saved."""
        ids = [question.id for question in new.questions]
        [(id, times)] = Counter(ids).most_common(1)
        if times > 1:
            raise HTTPException(422, f"the id {id!r} comes {times} times; nothing was added")
        [outcome] = await adding.ask([([q.question for q in new.questions], ids)])
        if isinstance(outcome, NotAddedError):
            raise HTTPException(outcome.status, str(outcome))
        return {"added": len(ids), "questions": outcome}


def _refuse_other_sites(request: Request) -> None:
    """A page of another site that somebody has open here must not read or change the index."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise HTTPException(403, "pages of other sites must not query this server")
