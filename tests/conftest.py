"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# Before TensorFlow loads: its C++ log lines would land in the test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def real_data():
    """The folder of real question pairs, beside the checkout; tests that ask for it are marked `real_data`."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real question pairs are not beside this checkout")
    return folder


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

    from trax_triplet import tokenizer

    def use(folder):
        monkeypatch.setattr(nltk.data, "path", [str(folder)])
        tokenizer._course_tokenizers.cache_clear()

    yield use
    tokenizer._course_tokenizers.cache_clear()
