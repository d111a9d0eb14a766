"""Starting one of several processes: checks, and a supervisor that reports what JAX aborts.

Where one of several processes of a training dies, the others wait for it until JAX counts it as
dead, and then JAX aborts them from its C++ code, where Python has no say. So the work goes on in a
child process, and its parent reports the abort. To be called before JAX is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from trax_triplet import _validation as check

__all__ = ["check_cluster", "continue_in_child"]

LOST = (
    "trax-triplet train: error: another process of this training ended, or was silent for {} s "
    "(--timeout), so this one stopped, too. Start all of them again: they go on from the last "
    "checkpoint"
)


def check_cluster(coordinator: str, processes: int, process_id: int, timeout: int) -> None:
    """Checks what `processes.join` takes.

    Raises:
        TypeError: numbers that are not integers, or a coordinator that is not a string.
        ValueError: numbers that do not fit each other, or a coordinator without host or port.

    Example:
        >>> check_cluster("localhost:1234", 2, 0, 60)
    """
    expected = "host:port, such as localhost:1234"
    if not isinstance(coordinator, str):
        raise check.wrong_type("coordinator", expected, coordinator)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise check.wrong_value("coordinator", expected, coordinator)
    check.integer("processes", processes, 2)
    check.integer("process_id", process_id, 0, processes - 1)
    check.integer("timeout", timeout, 1)


def continue_in_child(timeout: int) -> None:
    """Returns in a child process; this one waits for it, ends as it ends, and reports an abort.

    Standard output of C++ libraries, such as gloo's, goes to standard error in the child.

    Args:
        timeout: number of seconds, for the message.

    Raises:
        SystemExit: in this process, with the child's status; 2 if it was aborted.
        ValueError: the system has no child processes of this kind (Windows).
    """
    if not hasattr(os, "fork"):
        raise ValueError(
            "several processes need a system that forks, such as Linux; on this one leave out "
            "--coordinator, --processes and --process-id"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    parent, child = os.getpid(), os.fork()
    if not child:
        _end_with_parent(parent)
        results = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = open(results, "w", encoding="utf-8")  # noqa: SIM115, open to the end
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both; the child decides
        signal.signal(number, lambda number, _: number == signal.SIGTERM and os.kill(child, number))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGABRT:
        print(LOST.format(timeout), file=sys.stderr)
        status = 2
    sys.exit(status if status >= 0 else 128 - status)


def _end_with_parent(parent: int) -> None:
    """Ends this process where its parent was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
