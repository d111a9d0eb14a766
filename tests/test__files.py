"""Files and folders are complete or not there, and on the disk before they take their place."""

import errno
import gzip
import os

import pytest

from trax_triplet import _files as files


@pytest.fixture
def calls(monkeypatch):
    """What is flushed and renamed, in order, by the names of the files."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the name of an open file is read from Linux's /proc")
    seen, fsync, replace = [], os.fsync, os.replace

    def flush(handle):
        seen.append(("flush", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def rename(source, target):
        seen.append(("rename", os.path.basename(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    return seen


def test_a_file_is_flushed_then_renamed_then_its_folder_is_flushed(tmp_path, calls):
    with files.new_file(tmp_path / "a.txt") as file:
        file.write("42\né")
        assert os.listdir(tmp_path) != ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == "42\né".encode()
    assert calls == [
        ("flush", f".a.txt.{os.getpid()}.new"),
        ("rename", "a.txt"),
        ("flush", tmp_path.name),
    ]


@pytest.mark.parametrize("unique_names", [False, True])
def test_a_folder_is_flushed_then_renamed(tmp_path, calls, unique_names):
    hidden = f".model.{os.getpid()}"
    new, old = (f"{hidden}.new", f"{hidden}.old") if unique_names else ("model.new", "model.old")
    for content in (b"1", b"2"):
        calls.clear()
        with files.new_folder(tmp_path / "model", unique_names=unique_names) as folder:
            assert folder.name == new
            (folder / "weights").write_bytes(content)
    assert (tmp_path / "model" / "weights").read_bytes() == b"2"
    assert os.listdir(tmp_path) == ["model"]
    assert calls == [
        ("flush", "weights"),
        ("flush", new),
        ("rename", old),
        ("rename", "model"),
        ("flush", tmp_path.name),
    ]


def test_the_users_files_beside_a_folder_with_unique_names_stay(tmp_path):
    for name in ("served.new", "served.old"):
        (tmp_path / name).write_text("mine")
    with files.new_folder(tmp_path / "served", unique_names=True) as new:
        (new / "a").write_text("1")
    assert sorted(os.listdir(tmp_path)) == ["served", "served.new", "served.old"]


def full(source, target):
    raise OSError(errno.ENOSPC, "no space", str(source))


@pytest.mark.parametrize("unique_names", [False, True])
def test_an_error_leaves_the_old_folder_and_names_the_path_that_the_user_knows(
    tmp_path, monkeypatch, unique_names
):
    with files.new_folder(tmp_path / "model") as new:
        (new / "weights").write_bytes(b"old")
    with (
        pytest.raises(KeyError),
        files.new_folder(tmp_path / "model", unique_names=unique_names),
    ):
        raise KeyError
    renames = iter([os.replace, full, os.replace])
    monkeypatch.setattr(os, "replace", lambda *paths: next(renames)(*paths))
    with (
        pytest.raises(OSError, match="no space") as caught,
        files.new_folder(tmp_path / "model", unique_names=unique_names),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "model")
    found = tmp_path / "model" if unique_names else files.previous(tmp_path / "model")
    assert (found / "weights").read_bytes() == b"old" and os.listdir(tmp_path) == [found.name]


def test_an_error_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), files.new_file(path) as file:
        file.write("new")
        raise KeyError
    with pytest.raises(OSError, match="no space") as caught, files.new_file(path) as file:
        raise OSError(errno.ENOSPC, "no space")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]
    with (
        pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist; create it"),
        files.new_file(tmp_path / "nowhere" / "a.txt"),
    ):
        pass


def test_limits_hold_what_they_say(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    packed = gzip.compress(b"12345")
    assert files.read_bytes(tmp_path / "a", 5) == files.gunzip(packed, 5, "a.gz") == b"12345"
    with pytest.raises(ValueError, match="a is larger than 4 bytes.* max_bytes"):
        files.read_bytes(tmp_path / "a", 4)
    with pytest.raises(ValueError, match="a.gz unpacks to more than 4 bytes.* max_bytes"):
        files.gunzip(packed, 4, "a.gz")
    for damaged in (packed[:-3], packed[:12] + b"\xff" + packed[13:], b"\x1f\x8bnonsense"):
        with pytest.raises(ValueError, match="a.gz: the gzip file is damaged or truncated"):
            files.gunzip(damaged, 9, "a.gz")


def test_a_folder_has_one_writer(tmp_path):
    with files.only_writer(tmp_path / "run"):
        with pytest.raises(BlockingIOError) as caught, files.only_writer(tmp_path / "run"):
            pass
        assert caught.value.filename == str(tmp_path / "run")
    with files.only_writer(tmp_path / "run"):
        pass
