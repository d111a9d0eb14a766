"""Repairs of Trax that need no devices of their own, and the quiet import, piece by piece."""

import inspect
import os
import sys

import pytest
import repair_checks
from repair_checks import CHECKS

from trax_triplet import _quiet as quiet

# test_repairs.py has all of them, on Trax as it is, too.
QUICK = (
    "compression",
    "renamed",
    "truncation",
    "numpy_backend",
    "numpy_scan",
    "own_backend",
    "texts",
    "old_names",
)


@pytest.mark.parametrize("name", QUICK)
def test_works_with_the_repairs(name, tmp_path):
    check = getattr(repair_checks, f"check_{name}")
    assert check in CHECKS
    assert check(str(tmp_path)) is True


def test_repairs_give_name_and_reason():
    from trax_triplet.compat import backends, repaired_trax, repairs

    for repair in repairs():
        assert isinstance(repair.applied, bool)
        said = getattr(
            repaired_trax if hasattr(repaired_trax, repair.name) else backends, repair.name
        ).__doc__
        assert said.startswith(repair.reason)
        assert "Feature test:" in said
        assert "Can go when" in said


# --- the quiet import, piece by piece; test_imports.py has all of it ------------------------------


@pytest.mark.parametrize(
    "line, noise_from_level",
    [
        (b"I0000 00:00:1795488636.043353    4242 port.cc:153] oneDNN is on.", 1),
        (
            b"W0000 00:00:1795488636.043353    4242 gpu_device.cc:1] no GPU libraries",
            2,
        ),
        (
            b"E0000 00:00:1795488636.043353    4242 cuda_dnn.cc:1] no cuDNN factory",
            3,
        ),
        (
            b"2023-06-01 12:00:00.123456: I tensorflow/core/util/port.cc:110] oneDNN is on.",
            1,
        ),
        (
            b"2023-06-01 12:00:00.123456: W tensorflow/compiler/tf2tensorrt/a.cc:1] no TensorRT",
            2,
        ),
        (
            b"WARNING: All log messages before absl::InitializeLog() is called ...",
            1,
        ),
        (
            b"F0000 00:00:1795488636.043353    4242 cpu_feature_guard.cc:1] AVX",
            4,
        ),
        (b"Traceback (most recent call last):", 4),
        (b"2023-06-01 12:00:00 a line of the user's own log", 4),
        (b"", 4),
    ],
)
def test_tensorflow_log_lines_below_the_level_are_noise(line, noise_from_level):
    assert [quiet._is_noise(line, level) for level in (1, 2, 3)] == [
        level >= noise_from_level for level in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "level, shown",
    [
        (None, "from Python\nfrom C\n"),
        ("3", "from Python\nfrom C\n"),
        ("0", "from Python\nI0000 00:00:1.2 3 a.cc:4] x\nfrom C\n"),
    ],
)
def test_what_is_no_noise_on_stderr_arrives_after_the_import(monkeypatch, capfd, level, shown):
    if level is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    else:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with pytest.raises(ImportError, match="half way"), quiet._quiet_tensorflow():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "3")
        print("from Python", file=sys.stderr, flush=True)
        os.write(2, b"I0000 00:00:1.2 3 a.cc:4] x\nfrom C\n")
        raise ImportError("half way")
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
    assert capfd.readouterr().err == shown


def test_others_get_whole_stacks_during_the_import():
    original = inspect.stack
    with quiet._short_stacks():
        stack = inspect.stack()
    assert stack[0].function == "test_others_get_whole_stacks_during_the_import" and len(stack) > 2
    assert inspect.stack is original
