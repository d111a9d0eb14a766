"""What JAX ends without a word for people is said in words: the work goes on in a child process.

Where one of several processes of a training dies, the others wait for it until JAX counts it as dead, and then JAX
aborts them from its C++ code, where Python has no say. Plain Python; to be called before JAX is imported.
"""

import os
import signal
import sys
import threading
import time

LOST = ("trax-triplet train: error: another process of this training ended, or was silent for {} s (--timeout), so this "
        "one stopped, too. Start all of them again: they go on from the last checkpoint")


def run_in_child(timeout):
    """Returns in a child process; this one waits for it, ends as it ends, and says so if it was aborted.

    Standard output of C++ libraries, such as gloo's, goes to standard error in the child.

    Args:
        timeout: number of seconds, for the message.

    Raises:
        SystemExit: in this process, with the child's status; 2 if it was aborted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _end_with_parent(os.getppid())
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
