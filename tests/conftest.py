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


@pytest.fixture(scope="module", autouse=True)
def _compiled_code_is_dropped():
    """What one test file compiled hardly any other needs, and it would add up to gigabytes."""
    yield
    if "keras" in sys.modules:
        import keras

        keras.backend.clear_session()
    _drop_compiled_code()


@pytest.fixture(autouse=True)
def _compiled_code_is_dropped_on_the_way():
    """Nor does one file hold hundreds of programs of about a megabyte each."""
    yield
    if _resident() - _after_a_drop[0] > MOST_COMPILED:
        _drop_compiled_code()


MOST_COMPILED = 400 * 2**20  # bytes; with less more is compiled again than it is worth
_after_a_drop = [0]  # bytes of memory that were left


def _drop_compiled_code():
    if "jax" in sys.modules:
        import jax

        # JAX 0.4.13 crashes there after a gradient with `jax.checkpoint` in `custom_linear_solve`.
        if jax.__version_info__ >= (0, 5):
            jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only: else freed memory stays ours
        ctypes.CDLL(None).malloc_trim(0)
    _after_a_drop[0] = _resident()


def _resident():
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
