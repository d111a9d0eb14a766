"""Importing Trax quietly: no banner, no log line, no warning about its own files; and faster."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import inspect
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator

__all__ = ["quietly"]

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def _is_noise(line: bytes, level: int) -> bool:
    """Whether this line of stderr is a log line of TensorFlow's C++ below the wanted level."""
    if line.startswith(b"WARNING: All log messages before absl::InitializeLog()"):
        return True
    found = re.match(
        rb"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IWE]) |([IWE])\d{4} \d\d:\d\d:)", line
    )
    return bool(found) and b"IWE".index(found[1] or found[2]) < level


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Holds TensorFlow's C++ log to the level of TF_CPP_MIN_LOG_LEVEL while it loads.

    It reads the variable once, so the variable is put back afterwards and child processes do not
    inherit it. Static initialisers of current releases log before they read it, straight to file
    descriptor 2: what arrives there meanwhile is kept in a file and then passed on, less those
    lines. Should the process crash, faulthandler says where on the real stderr.
    """
    before = os.environ.get(_LOG_LEVEL)
    # JAX sets the variable to 1 where it is unset: that stays, for JAX's own log.
    importlib.import_module("jax")
    after = os.environ.get(_LOG_LEVEL)
    if before is None:
        os.environ[_LOG_LEVEL] = "3"
    level = os.environ[_LOG_LEVEL]
    try:
        real = os.dup(2) if level in ("1", "2", "3") else None
    except OSError:  # stderr is closed, as in a daemon
        real = None
    try:
        if real is None:
            yield
        else:
            with _sifted_stderr(real, int(level)):
                yield
    finally:
        if after is None:
            del os.environ[_LOG_LEVEL]
        else:
            os.environ[_LOG_LEVEL] = after


@contextlib.contextmanager
def _sifted_stderr(real: int, level: int) -> Iterator[None]:
    """Keeps back what is written to file descriptor 2 and passes it on to `real` without noise."""
    crash_reports = not faulthandler.is_enabled()
    if crash_reports:
        faulthandler.enable(real)
    with tempfile.TemporaryFile() as kept:
        _flush_stderr()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            _flush_stderr()
            os.dup2(real, 2)
            if crash_reports:
                faulthandler.disable()
            kept.seek(0)
            wanted = b"".join(line for line in kept if not _is_noise(line, level))
            with open(real, "wb") as stderr:  # closes it, too
                stderr.write(wanted)


def _flush_stderr() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


@contextlib.contextmanager
def _no_gym_banner() -> Iterator[None]:
    """Keeps Gym, which Trax imports and nobody here uses, from printing that it is unmaintained."""
    try:
        from gym_notices.notices import notices
    except ImportError:  # an older Gym: it prints nothing
        yield
        return
    banners = dict(notices)
    notices.clear()
    try:
        yield
    finally:
        notices.update(banners)


@contextlib.contextmanager
def _short_stacks() -> Iterator[None]:
    """Lets `trax.layers.assert_shape` find its caller without reading the source of every frame.

    It calls `inspect.stack()` for each of some 150 decorated layers and uses one frame. Above it
    are the frozen frames of the import system, for each of which `inspect` searches all modules:
    with the thousands that TensorFlow brings, two thirds of the time of `import trax`. Everybody
    else gets the real answer.
    """
    original = inspect.stack

    def stack(context=1):
        frame = sys._getframe(1)
        if frame.f_globals.get("__name__") != "trax.layers.assert_shape":
            return original(context)[1:]
        return [(frame,), (frame.f_back,)]

    inspect.stack = stack
    try:
        yield
    finally:
        inspect.stack = original


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Context in which to import Trax, with its noise held back and Python's warnings off.

    Your own warnings are as before afterwards. At the first compilation of its files Python points
    at `is ()`; under -W error that would be an error.
    """
    with warnings.catch_warnings(), _no_gym_banner(), _short_stacks(), _quiet_tensorflow():
        warnings.simplefilter("ignore")
        yield
