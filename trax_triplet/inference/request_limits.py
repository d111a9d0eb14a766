"""What a client may send: how long a question, how large a body, and in what time it must come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "MAX_CHARACTERS",
    "MAX_QUESTIONS",
    "Asked",
    "LimitedBody",
    "Limits",
    "Question",
    "refuse_parameters",
]

MAX_QUESTIONS, MAX_CHARACTERS = 2000, 10_000

Question = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class Asked(BaseModel):
    """What a client sends: a key that is not known, such as a misspelled one, is refused."""

    model_config = ConfigDict(extra="forbid")


def refuse_parameters(request: Request) -> None:
    """What is asked for stands in the body; in the address it would have no effect."""
    if request.method == "POST" and request.query_params:
        name = next(iter(request.query_params))
        raise HTTPException(422, f"the address takes no parameters, such as {name}; see /docs")


@dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        body_bytes: size of a request.
        body_seconds: time from a request's head to the end of its body.
    """

    body_bytes: int = 2 * 2**20
    body_seconds: float = 10.0


class LimitedBody:
    """Middleware: reads the complete body first, up to a size and within a time; 413 and 408."""

    def __init__(self, app: Any, limits: Limits):
        self._app, self._limits = app, limits

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        most = self._limits.body_bytes
        try:
            body = await asyncio.wait_for(_read(receive, most), self._limits.body_seconds)
        except asyncio.TimeoutError:
            detail = f"the body did not arrive within {self._limits.body_seconds:g} seconds"
            await _refuse(detail, 408)(scope, receive, send)
            return
        if body is None:
            return  # the client has gone
        if len(body) > most:
            detail = f"the body has more than {most:,} bytes; send several requests"
            await _refuse(detail, 413)(scope, receive, send)
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_again() -> Any:
            return next(messages, None) or await receive()

        await self._app(scope, receive_again, send)


def _refuse(detail: str, status: int) -> Response:
    # What may follow of the body is not read, so nothing else can come through this connection.
    return JSONResponse({"detail": detail}, status, {"Connection": "close"})


async def _read(receive: Any, most: int) -> bytes | None:
    """The body; of one larger than `most` its first part. None if the client goes away."""
    body, size = bytearray(), 0
    # A larger one is read on for a while: many clients look for an answer only when all is sent.
    while size <= 16 * most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        body += chunk[: most + 1 - len(body)]
        if not message.get("more_body", False):
            break
    return bytes(body)
