"""The server's process: its socket, and uvicorn."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import uvicorn

from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.server.app import create_app

__all__ = ["run"]

MAX_CONNECTIONS = 1000  # beyond them the answer is 503
SECONDS_TO_END = 10  # that requests have when the server is stopped


def run(
    trained: TrainedModel,
    host: str,
    port: int,
    log: Callable[[str], object],
    *,
    index: str | os.PathLike[str] | None = None,
) -> None:
    """Answers until the process is interrupted or terminated, and then what was asked before.

    Args:
        trained: the model.
        host, port: what to listen on; port 0 is a free one.
        log: takes the server's address, once it listens.
        index: folder of an index to search and add to.

    Raises:
        OSError: nobody can listen there, such as on a port that is in use.
        FileNotFoundError, ImportError, ValueError: as `create_app`.
    """
    app = create_app(trained, index=index)
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
