"""A trained model served over HTTP: similarities, vectors, and a page to try it on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field

from trax_triplet import __version__
from trax_triplet import _validation as check
from trax_triplet.data.tokenizer import tokenizer_named
from trax_triplet.inference.request_batches import Batches
from trax_triplet.inference.request_limits import (
    MAX_QUESTIONS,
    Asked,
    LimitedBody,
    Limits,
    Question,
    refuse_parameters,
)
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.model.walk import cosines_of_rows

__all__ = ["Limits", "create_app", "run"]

MAX_PAIRS = 1000
MAX_CONNECTIONS = 1000  # beyond them the answer is 503
SECONDS_TO_END = 10  # that requests have when the server is stopped


class Pair(Asked):
    """Two questions to compare."""

    question1: Question
    question2: Question


class Pairs(Asked):
    """Pairs to compare."""

    pairs: list[Pair] = Field(min_length=1, max_length=MAX_PAIRS)
    unknown_words: bool = Field(False, description="also list words that the model does not know")


class Answer(BaseModel):
    """How similar two questions are."""

    similarity: float = Field(description="cosine of the questions' vectors, in [-1, 1]")
    is_duplicate: bool | None = Field(description="above the threshold; null without one")
    unknown1: list[str] | None = Field(None, description="words of question1 that are not known")
    unknown2: list[str] | None = None


class Answers(BaseModel):
    """The answers in the order of the pairs."""

    threshold: float | None
    answers: list[Answer]


class Questions(Asked):
    """Questions to embed."""

    questions: list[Question] = Field(min_length=1, max_length=MAX_QUESTIONS)


class Vectors(BaseModel):
    """Unit vectors in the order of the questions."""

    vectors: list[list[float]]


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str


def create_app(trained: TrainedModel, *, limits: Limits | None = None) -> FastAPI:
    """The application: `POST /similarity` and `/embed`, `GET /health`, `/model`, `/docs` and `/`.

    `search.service.create_search_app` also searches an index.

    Args:
        trained: the model that answers. Requests that arrive together are computed together.
        limits: of a request's body; besides, a request has at most 1 000 pairs or 2 000 questions,
            each of at most 10 000 characters.

    Returns:
        An ASGI application, for uvicorn or another server.

    Raises:
        TypeError: something other than a `TrainedModel`.
        FileNotFoundError: the model's tokenizer lacks its parameters, see `tokenize`.
    """
    check.instance("trained", trained, TrainedModel, "trax_triplet.TrainedModel")
    trained.embed(["Is everything there that is needed to answer?"])
    app = FastAPIOffline(
        title="trax-triplet",
        version=__version__,
        description="How similar are two questions?",
        redoc_url=None,
        dependencies=[Depends(refuse_parameters)],
        responses={status: {"model": Problem} for status in (408, 413, 422)},
    )
    app.add_exception_handler(RequestValidationError, _in_words)
    app.add_middleware(LimitedBody, limits=limits or Limits())
    # What `/model` says of an index; whoever adds one puts a function here.
    app.state.about_index = lambda: None
    _add_answers(app, trained, Batches(trained.embed))
    _add_pages(app, trained)
    return app


def _add_answers(app: FastAPI, trained: TrainedModel, batches: Batches) -> None:
    cut = tokenizer_named(trained.vocabulary.tokenizer)

    def unknown(question: str) -> list[str]:
        return [word for word in dict.fromkeys(cut(question)) if word not in trained.vocabulary]

    @app.post("/similarity", response_model=Answers, response_model_exclude_unset=True)
    async def similarity(asked: Pairs) -> dict[str, Any]:
        """How similar the questions of each pair are."""
        pairs, threshold = asked.pairs, trained.threshold
        vectors = await batches.ask([*(p.question1 for p in pairs), *(p.question2 for p in pairs)])
        first, second = np.split(vectors, 2)
        scores = cosines_of_rows(first, second).tolist()
        answers: list[dict[str, Any]] = [
            {"similarity": s, "is_duplicate": None if threshold is None else s > threshold}
            for s in scores
        ]
        if asked.unknown_words:
            for pair, answer in zip(pairs, answers, strict=True):
                answer["unknown1"] = unknown(pair.question1)
                answer["unknown2"] = unknown(pair.question2)
        return {"threshold": threshold, "answers": answers}

    @app.post("/embed", response_model=Vectors)
    async def embed(asked: Questions) -> dict[str, Any]:
        """The unit vector of each question; without words it is zero."""
        return {"vectors": (await batches.ask(asked.questions)).tolist()}


def _add_pages(app: FastAPI, trained: TrainedModel) -> None:
    page = files("trax_triplet.inference").joinpath("page.html").read_text(encoding="utf-8")
    about: dict[str, Any] = {
        "version": __version__,
        "threshold": trained.threshold,
        "vocab_size": len(trained.vocabulary),
        "tokenizer": trained.vocabulary.tokenizer,
        "pooling": trained.pooling,
        "settings": trained.settings,
    }

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Answers as long as the server does."""
        return {"status": "ok"}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Settings, threshold and version; what the index has, or null."""
        return {**about, "index": app.state.about_index()}

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    async def home() -> HTMLResponse:
        # Nothing but what stands in the page runs, and nothing but this server is asked.
        policy = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})


async def _in_words(_: Request, error: Exception) -> Response:
    """422 with one sentence, instead of a list that repeats all that was sent."""
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    more = f" (and {len(others)} more)" if others else ""
    return JSONResponse({"detail": f"{place}: {first['msg']}{more}"}, 422)


def run(app: FastAPI, host: str, port: int, log: Callable[[str], object]) -> None:
    """Answers until the process is interrupted or terminated, and then what was asked before.

    Args:
        app: the application.
        host, port: what to listen on; port 0 is a free one.
        log: takes the server's address, once it listens.

    Raises:
        OSError: nobody can listen there, such as on a port that is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Here and not by uvicorn, which ends the process if it cannot.
        bound = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        error.filename = f"{host}:{port}"
        raise
    with bound:
        # Connections inherit it. asyncio sets it only where a socket names its protocol; without it
        # an answer's body waits 40 ms for the client to confirm its head.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shown = f"[{host}]" if ":" in host else host
        log(f"serving on http://{shown}:{bound.getsockname()[1]} (Ctrl-C stops it)")
        config = uvicorn.Config(
            app,
            log_level="warning",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SECONDS_TO_END,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[bound])
