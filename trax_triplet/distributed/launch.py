"""What JAX ends without a word for people is said in words: the work goes on in a child process.

Where one of several processes of a training dies, the others wait for it until JAX counts it as
dead, and then JAX aborts them from its C++ code, where Python has no say. Plain Python; to be
called before JAX is imported.
"""

import os
import signal
import sys
import threading
import time

LOST = (
    "trax-triplet train: error: another process of this training ended, or was silent for {} s (--timeout), so this "
    "one stopped, too. Start all of them again: they go on from the last checkpoint"
)


def check_cluster(coordinator, processes, process_id, timeout):
    """Checks what `processes.join` takes.

    Raises:
        TypeError: numbers that are not whole, or a coordinator that is no string.
        ValueError: numbers that do not fit each other, or a coordinator without a port.

    Example:
        >>> check_cluster("localhost:1234", 2, 0, 60)
    """
    if not isinstance(coordinator, str):
        raise TypeError(f"the coordinator is a string host:port, but it is {coordinator!r}")
    for name, value in (("processes", processes), ("process_id", process_id), ("timeout", timeout)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is a whole number, but it is {value!r}")
    if not coordinator.rpartition(":")[2].isdecimal() or coordinator.startswith(":"):
        raise ValueError(
            f"the coordinator is host:port, such as localhost:1234, but it is {coordinator!r}"
        )
    if processes < 2 or not 0 <= process_id < processes:
        raise ValueError(
            f"of N processes, 2 or more, each has a number from 0 to N - 1; got number {process_id} of "
            f"{processes}"
        )
    if timeout < 1:
        raise ValueError(f"the timeout is a number of seconds, at least 1, but it is {timeout}")


def continue_in_child(timeout):
    """Returns in a child process; this one waits for it, ends as it ends, and says so if it was
    aborted.

    Standard output of C++ libraries, such as gloo's, goes to standard error in the child.

    Args:
        timeout: number of seconds, for the message.

    Raises:
        SystemExit: in this process, with the child's status; 2 if it was aborted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent, child = os.getpid(), os.fork()
    if not child:
        _end_with_parent(parent)
        results = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = open(results, "w", encoding="utf-8")
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both; the child decides
        signal.signal(number, lambda number, _: number == signal.SIGTERM and os.kill(child, number))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGABRT:
        print(LOST.format(timeout), file=sys.stderr)
        status = 2
    sys.exit(status if status >= 0 else 128 - status)


def _end_with_parent(parent):
    """Sees to it that this process does not outlive one that was killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
