"""Several processes that train one model, joined by JAX's own runtime (`jax.distributed`).

Each process has its shard of every batch; gradients are averaged and negatives come from all (see
`loss`). The first of them writes. With one process all of this is as if it were not there.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from trax_triplet._typing import Array
from trax_triplet.compat.launch import check_cluster

__all__ = [
    "broadcast_from_first",
    "first_process_first",
    "is_first_process",
    "join",
    "local_shard",
    "mean_over_processes",
    "report_lost_peers",
]

_Error = getattr(jax.errors, "JaxRuntimeError", RuntimeError)  # its older name is private

# Of a process without a GPU: Trax averages gradients only where each process has two or more.
DEVICES = 2


def join(coordinator: str, processes: int, process_id: int, timeout: int = 60) -> None:
    """Makes this process one of several. To be called before JAX does anything else.

    Args:
        coordinator: "host:port" of process 0, the same for all.
        processes: how many there are.
        process_id: which this one is, from 0.
        timeout: seconds to wait for the others at the start, and after which one that is silent
            counts as dead.

    Raises:
        TypeError, ValueError: as `launch.check_cluster`.
        TimeoutError: the others did not come.

    Example:
        >>> join("localhost", 2, 0)
        Traceback (most recent call last):
        ...
        ValueError: coordinator must be host:port, such as localhost:1234, but it is 'localhost'
    """
    check_cluster(coordinator, processes, process_id, timeout)
    flags = os.environ.get("XLA_FLAGS", "")
    if "host_platform_device_count" not in flags:
        os.environ["XLA_FLAGS"] = (
            f"{flags} --xla_force_host_platform_device_count={DEVICES}".strip()
        )
    if hasattr(jax.config, "jax_cpu_collectives_implementation"):  # older ones have GPUs only
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    known = inspect.signature(jax.distributed.initialize).parameters
    limits: dict[str, Any] = {
        name: timeout
        for name in (
            "initialization_timeout",
            "heartbeat_timeout_seconds",
            "shutdown_timeout_seconds",
        )
        if name in known
    }
    try:
        jax.distributed.initialize(coordinator, processes, process_id, **limits)
    except _Error as error:
        raise TimeoutError(
            f"not all of the {processes} processes joined at {coordinator} within {timeout} s: "
            f"{str(error).splitlines()[0]}"
        ) from error


@contextlib.contextmanager
def report_lost_peers() -> Iterator[None]:
    """Context: where another process was lost, the error says so.

    Raises:
        ConnectionError: instead of JAX's own error.

    Example:
        >>> with report_lost_peers():
        ...     pass
    """
    try:
        yield
    except _Error as error:
        if jax.process_count() == 1:
            raise
        raise ConnectionError(
            "another process of this training has ended, or cannot be reached "
            f"({str(error).splitlines()[0]}). Start all of them again: they go on from the last "
            "checkpoint"
        ) from error


def is_first_process() -> bool:
    """Whether this process is the one that writes.

    Example:
        >>> is_first_process()
        True
    """
    return jax.process_index() == 0


def local_shard(batch: tuple[Array, ...]) -> tuple[np.ndarray, ...]:
    """The rows of a batch, arrays (rows, ...), that this process computes.

    Example:
        >>> [part.tolist() for part in local_shard((np.array([1, 2]), np.array([3, 4])))]
        [[1, 2], [3, 4]]
    """
    count, index = jax.process_count(), jax.process_index()
    return tuple(np.split(part, count)[index] for part in batch)


def mean_over_processes(x: Array) -> np.ndarray:
    """The mean over the processes of an array that each of them has.

    Example:
        >>> mean_over_processes(np.array([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    if jax.process_count() == 1:
        return x
    return np.asarray(multihost_utils.process_allgather(x)).mean(axis=0)


def broadcast_from_first(x: Array) -> np.ndarray:
    """The first process's array of those that each process has.

    Example:
        >>> broadcast_from_first(np.array([1.0])).tolist()
        [1.0]
    """
    return x if jax.process_count() == 1 else np.asarray(multihost_utils.broadcast_one_to_all(x))


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Context: the first process runs the block before the others, which can read what it writes.

    Example:
        >>> with first_process_first():
        ...     pass
    """
    if jax.process_count() == 1:
        yield
        return
    if not is_first_process():
        multihost_utils.sync_global_devices("the first process has been through")
    yield
    if is_first_process():
        multihost_utils.sync_global_devices("the first process has been through")
