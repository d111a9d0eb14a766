"""Fixtures that several test files share."""

import atexit
import contextlib
import ctypes
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

collect_ignore = ["typing_examples.py"]  # pyright reads it

# Before TensorFlow loads: its C++ log lines would land in the test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure(config):
    """What one process or run has compiled the next need not: many tests train one small model.

    It lies in pytest's cache (`--cache-clear` empties it), or, where that is switched off, in a
    folder that goes with the process.
    """
    gc.disable()  # imports make no garbage; `pytest_collection_finish` enables it
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX: each thread's own would hold what it freed
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    cache = getattr(config, "cache", None)
    if cache is None:
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        folder = str(cache.mkdir("jax"))
    os.environ.update(
        JAX_COMPILATION_CACHE_DIR=folder,
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    )


KERAS_OR_TRAINING = ("trax_triplet/keras/", "trax_triplet/training/run.py")  # doctests


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What is run by hand or reads the real pairs is slow, too, and what is slow is integration.

    Doctests that load Keras or train a model are integration as the tests of their package are, and
    so is what asks for `small_run`.
    """
    for item in items:
        if item.nodeid.startswith(KERAS_OR_TRAINING) or "small_run" in item.fixturenames:
            item.add_marker("integration")
        if item.get_closest_marker("by_hand") or item.get_closest_marker("real_data"):
            item.add_marker("slow")
        if item.get_closest_marker("slow"):
            item.add_marker("integration")


def pytest_collection_finish():
    """What was imported stays: no need to look through it again at each collection of garbage."""
    gc.enable()
    gc.set_threshold(10_000, 10, 10)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data():
    """The folder of real question pairs, beside the checkout; tests that ask for it are marked
    `real_data`."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real question pairs are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A `small_run.SmallRun`, to be left as it is: several test files share it, and so do the
    workers of one test run, whose temporary folders lie beside each other."""
    import small_run

    own = tmp_path_factory.getbasetemp()
    return small_run.shared_run(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture
def x64():
    """JAX with 64 bits."""
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def punkt(monkeypatch):
    """Sets the only folder NLTK looks for parameters in; nothing built before or here is kept."""
    import nltk.data

    from trax_triplet.data import tokenizer

    def use(folder):
        monkeypatch.setattr(nltk.data, "path", [str(folder)])
        tokenizer._course_tokenizers.cache_clear()

    yield use
    tokenizer._course_tokenizers.cache_clear()


@pytest.fixture(autouse=True)
def _compiled_programs_do_not_add_up():
    """A program that JAX compiled takes about a tenth of a megabyte and what it was lowered from
    ten times as much, and JAX keeps both: gigabytes in a run. The latter, which nothing needs any
    more, goes first."""
    yield
    if _resident() - _memory["without lowered"] > MOST_LOWERED:
        _drop_lowered()
        if _memory["without lowered"] - _memory["without compiled"] > MOST_COMPILED:
            _drop_compiled()


# Bytes: less memory takes more time, as what is dropped is compiled again where it is needed.
MOST_LOWERED, MOST_COMPILED = 50 * 2**20, 100 * 2**20
_memory = {"without lowered": 0, "without compiled": 0}  # bytes that were left after a drop


def _drop_lowered():
    if "jax" in sys.modules:
        from jax._src import pjit
        from jax._src.interpreters import pxla

        for module, name in ((pjit, "_pjit_lower"), (pxla, "_cached_lowering_to_hlo")):
            # JAX's own, which may have another name in another version: more is compiled anew then.
            if clear := getattr(getattr(module, name, None), "cache_clear", None):
                clear()
    _memory["without lowered"] = _resident_after_trimming()


def _drop_compiled():
    if "jax" in sys.modules:
        import jax

        # JAX 0.4.13 crashes there after a gradient with `jax.checkpoint` in `custom_linear_solve`.
        if jax.__version_info__ >= (0, 5):
            jax.clear_caches()
    if "keras" in sys.modules:
        import keras

        keras.backend.clear_session()
    gc.collect()
    _memory["without lowered"] = _memory["without compiled"] = _resident_after_trimming()


def _resident_after_trimming():
    with contextlib.suppress(OSError, AttributeError):  # glibc only: else freed memory stays ours
        ctypes.CDLL(None).malloc_trim(0)
    return _resident()


def _resident():
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
