"""Full disks, locked folders, odd paths, clocks: one clear sentence, and nothing is lost."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from paths import ROOT
from small_run import OPTIONS

from trax_triplet import _folders as folders
from trax_triplet import cli, load_model

pytestmark = pytest.mark.slow  # trainings in processes of their own


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    assert cli.main(["sample", str(path), "--pairs", "200"]) == 0
    return path


def train(csv, output, before="", steps=4):
    """The command `train` in a process of its own, after the statements `before`."""
    code = textwrap.dedent(before) + textwrap.dedent(f"""
        import sys
        from trax_triplet.cli import main
        arguments = ["train", {str(csv)!r}, "--output", {str(output)!r}, *{OPTIONS}]
        sys.exit(main([*arguments, "--steps", "{steps}"]))
    """)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )


def last_line(done):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


# A limit on the size of a file imitates a full disk: the write fails in the middle, as there.
# `limit` is set once the first evaluation has written its model and its checkpoint, of some 100 KB
# each.
FULL = """
    import resource
    from trax_triplet import _folders as folders
    save = folders.save_checkpoint
    def limited(folder, step, *arguments):
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        save(folder, step, *arguments)
    folders.save_checkpoint = limited
"""


@pytest.mark.parametrize("limit", [30_000, pytest.param(0, marks=pytest.mark.by_hand)])
def test_a_full_disk_is_reported_and_the_run_goes_on_when_there_is_space(csv, tmp_path, limit):
    output = tmp_path / "run"
    done = train(csv, output, FULL.format(limit=limit))
    assert (
        last_line(done)
        == f"trax-triplet train: error: {output / 'checkpoints' / '00000004'}: File too large"
    )
    _, state, _ = folders.load_checkpoint(output / "checkpoints")
    assert state["step"] == 2 and sorted(os.listdir(output / "checkpoints")) == ["00000002"]
    load_model(output / "model")
    if limit:
        return  # that a run goes on with the same weights is tested by kills.py, too
    done = train(csv, output)
    assert done.returncode == 0 and "going on from step 2 of 4" in done.stderr
    assert train(csv, tmp_path / "uninterrupted").returncode == 0
    found, wanted = (
        folders.load_checkpoint(folder / "checkpoints")[0]
        for folder in (output, tmp_path / "uninterrupted")
    )
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


# Root may write anywhere; without its capabilities it is like everybody else.
POWERLESS = """
    import ctypes
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
    header, nothing = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(ctypes.byref(header), ctypes.byref(nothing)) == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how root gives up its power differs")
def test_a_folder_that_cannot_be_written(csv, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    line = last_line(train(csv, locked / "run", POWERLESS))
    assert line == f"trax-triplet train: error: {locked / 'run'}: Permission denied"
    assert os.listdir(locked) == []


@pytest.mark.by_hand
def test_a_path_with_blanks_and_letters_of_all_kinds(csv, tmp_path):
    output = tmp_path / "mein Ordner" / "модель 模型 é\u0301 'x\""
    done = train(csv, output)
    assert done.returncode == 0, done.stderr
    assert len(folders.checkpoints(output / "checkpoints")) == 2
    assert cli.main(["predict", "--model", str(output), "Why?", "Who?"]) == 0


@pytest.mark.by_hand
def test_a_clock_that_is_set_back_changes_nothing(csv, tmp_path):
    back = """
        import time
        real = time.time
        time.time = lambda: real() - 10 * 365 * 86_400
    """
    assert train(csv, tmp_path / "run", steps=4).returncode == 0
    for path in (tmp_path / "run").rglob("*"):  # written in the future, the older checkpoint last
        os.utime(path, (4e9, 4e9 + ("00000002" in path.parts)))
    done = train(csv, tmp_path / "run", back)
    assert done.returncode == 0 and "going on from step 4 of 4" in done.stderr


@pytest.mark.by_hand
def test_a_second_run_in_the_folder_is_refused(csv, tmp_path):
    hold = f"""
        import fcntl, os, pathlib
        pathlib.Path({str(tmp_path)!r}).mkdir(exist_ok=True)
        other = os.open({str(tmp_path / ".lock")!r}, os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)
    """
    line = last_line(train(csv, tmp_path, hold))
    assert line == (
        f"trax-triplet train: error: {tmp_path}: another process is writing to this folder; wait "
        "for its end, or name another one"
    )
    assert os.listdir(tmp_path) == [".lock"]
