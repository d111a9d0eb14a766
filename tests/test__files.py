"""Files and folders are complete or not there, and on the disk before they take their place."""

import errno
import gzip
import itertools
import os
import socket
import stat
import sys
import threading

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


def test_a_file_is_flushed_then_renamed_then_its_folder_is_flushed(tmp_path, calls, monkeypatch):
    monkeypatch.setattr(files, "_numbers", itertools.count(7))
    with files.new_file(tmp_path / "a.txt") as file:
        file.write("42\né")
        assert os.listdir(tmp_path) != ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == "42\né".encode()
    assert calls == [
        ("flush", f".trax-triplet.{os.getpid()}.7.new"),
        ("rename", "a.txt"),
        ("flush", tmp_path.name),
    ]


@pytest.mark.parametrize("unique_names", [False, True])
def test_a_folder_is_flushed_then_renamed(tmp_path, calls, unique_names):
    hidden = f".model.{os.getpid()}"
    new, old = (f"{hidden}.new", f"{hidden}.old") if unique_names else (".model.new", ".model.old")
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


@pytest.mark.parametrize("unique_names", [False, True])
def test_the_users_files_beside_a_folder_stay(tmp_path, unique_names):
    for name in ("served.new", "served.old"):
        (tmp_path / name).write_text("mine")
    for content in ("1", "2"):
        with files.new_folder(tmp_path / "served", unique_names=unique_names) as new:
            (new / "a").write_text(content)
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


# --- what stands at a path already, and is not a plain file of one's own


def write(path, text="new"):
    with files.new_file(path) as file:
        file.write(text)


def received(fifo, writes):
    """What a reader of a FIFO gets while `writes()` runs."""
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    writes()
    reader.join(20)
    return got[0]


@pytest.fixture
def fifo(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_pipe_is_written_through(fifo):
    assert received(fifo, lambda: write(fifo)) == b"new"
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode) and os.listdir(fifo.parent) == ["pipe"]


def test_a_link_to_a_pipe_is_written_through(fifo, tmp_path):
    (tmp_path / "link").symlink_to("pipe")
    assert received(fifo, lambda: write(tmp_path / "link")) == b"new"
    assert os.path.islink(tmp_path / "link") and stat.S_ISFIFO(os.lstat(fifo).st_mode)


def test_after_an_error_nothing_reaches_a_pipe(fifo):
    def fails():
        with pytest.raises(KeyError), files.new_file(fifo) as file:
            file.write("half")
            raise KeyError
        fifo.write_bytes(b"whole")

    assert received(fifo, fails) == b"whole"


def test_a_device_is_written_through(tmp_path):
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"")
    except (AttributeError, OSError):
        pytest.skip("devices cannot be made here")
    before = os.lstat(null)
    write(null)
    (tmp_path / "link").symlink_to(null)
    write(tmp_path / "link")
    after = os.lstat(null)
    assert (before.st_ino, before.st_rdev, before.st_mode) == (
        after.st_ino,
        after.st_rdev,
        after.st_mode,
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are in Linux's /proc")
def test_an_open_file_is_gone_on_with_where_it_is(tmp_path):
    """As /dev/stdout, a link to /proc/self/fd/1; here one of our own leads to one of our own."""
    with open(tmp_path / "log", "w+b", buffering=0) as log:
        log.write(b"before ")
        (tmp_path / "out").symlink_to(f"/proc/self/fd/{log.fileno()}")
        (tmp_path / "out2").symlink_to("out")
        for name in ("out", "out2"):
            write(tmp_path / name, f"{name} ")
        log.write(b"after")
        assert os.fstat(log.fileno()).st_ino == os.stat(tmp_path / "log").st_ino
    assert (tmp_path / "log").read_bytes() == b"before out out2 after"
    assert sorted(os.listdir(tmp_path)) == ["log", "out", "out2"]


def test_a_link_stays_and_leads_to_the_new_content(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("old")
    (tmp_path / "link").symlink_to("data/a.txt")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    (tmp_path / "nothing yet").symlink_to("data/b.txt")
    write(tmp_path / "link2")
    write(tmp_path / "nothing yet")
    assert [(tmp_path / "data" / name).read_text() for name in ("a.txt", "b.txt")] == ["new"] * 2
    assert all(os.path.islink(tmp_path / name) for name in ("link", "link2", "nothing yet"))
    assert len(os.listdir(tmp_path)) == 4 and len(os.listdir(tmp_path / "data")) == 2


def test_a_link_to_a_folder_stays(tmp_path):
    (tmp_path / "disk" / "m").mkdir(parents=True)
    (tmp_path / "disk" / "m").chmod(0o700)
    (tmp_path / "model").symlink_to("disk/m")
    for content in ("1", "2"):
        with files.new_folder(tmp_path / "model") as new:
            (new / "a").write_text(content)
    assert os.path.islink(tmp_path / "model") and os.listdir(tmp_path / "disk") == ["m"]
    assert (tmp_path / "disk" / "m" / "a").read_text() == "2"
    assert stat.S_IMODE(os.stat(tmp_path / "model").st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_are_kept(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    os.utime(path, (1, 1))
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.stat().st_mtime > 1


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives files away")
def test_the_owner_is_kept(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    os.chown(path, 65534, 65533)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_a_file_of_somebody_else_is_changed_where_it_is(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("longer than the new one")
    before = path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: before.st_uid + 1, raising=False)
    write(path)
    assert path.read_text() == "new" and path.stat().st_ino == before.st_ino


def test_a_file_that_must_not_be_written_is_not(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)  # root may do anything
    with pytest.raises(PermissionError) as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_mounted_file_is_changed_where_it_is(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("longer than the new one")

    def busy(source, target):
        raise OSError(errno.EBUSY, "busy", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", busy)
    write(path)
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        write(tmp_path)
    assert caught.value.filename == str(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        write(tmp_path / "loop")
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{os.path.relpath(tmp_path)}/socket")
            with pytest.raises(ValueError, match="is a socket"):
                write(tmp_path / "socket")
        assert stat.S_ISSOCK(os.lstat(tmp_path / "socket").st_mode)


def test_the_longest_names_can_be_written(tmp_path):
    write(tmp_path / ("n" * 255))
    assert (tmp_path / ("n" * 255)).read_text() == "new"


def left_by(path, alive):
    """A file or folder that is being written, or that a killed writer left."""
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(path, os.O_RDONLY)
    if alive:
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@pytest.mark.parametrize("alive", [True, False])
def test_what_a_killed_writer_left_is_removed_but_not_what_a_living_one_writes(tmp_path, alive):
    # By another process's number, our own, and of a process that does not exist.
    names = [f".trax-triplet.{number}.0.new" for number in (1, os.getpid(), 2**31)]
    for name in names:
        (tmp_path / name).write_text("unfinished")
    kept = [".trax-triplet.mine.new", ".trax-triplet.1.new.csv", ".trax-triplet.5.5.new"]
    (tmp_path / "elsewhere").write_text("mine")
    for name in kept[:2]:
        (tmp_path / name).write_text("mine")
    (tmp_path / kept[2]).symlink_to("elsewhere")
    handles = [left_by(tmp_path / name, alive) for name in names]
    write(tmp_path / "a.txt")
    for handle in handles:
        os.close(handle)
    there = {*kept, "a.txt", "elsewhere", *(names if alive else [])}
    assert set(os.listdir(tmp_path)) == there


def test_a_file_is_locked_until_it_has_its_name(tmp_path):
    """Another write to the folder removes nothing that is being written."""
    with files.new_file(tmp_path / "a.txt") as file:
        file.write("a")
        write(tmp_path / "b.txt", "b")
    assert (tmp_path / "a.txt").read_text() == "a" and (tmp_path / "b.txt").read_text() == "b"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_a_file_that_was_removed_before_it_was_locked_is_begun_anew(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    flock, first = fcntl.flock, []

    def late(handle, how):
        if not first:
            [unfinished] = tmp_path.iterdir()
            first.append(unfinished.name)
            unfinished.unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write(tmp_path / "a.txt")
    assert first and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("is_windows", [False, True])
def test_without_locks_everything_is_written_all_the_same(tmp_path, monkeypatch, is_windows):
    """File systems that refuse them: nothing is removed. Windows: no open file can be removed."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    (tmp_path / ".trax-triplet.1.0.new").write_text("whoever writes it")
    monkeypatch.setattr(fcntl, "flock", refuse)
    if is_windows:
        monkeypatch.setattr(files, "fcntl", None)
    write(tmp_path / "a.txt")
    for unique_names in (True, False):
        with files.new_folder(tmp_path / "model", unique_names=unique_names):
            pass
    left = [] if is_windows else [".trax-triplet.1.0.new"]
    assert sorted(os.listdir(tmp_path)) == [*left, "a.txt", "model"]


@pytest.mark.parametrize("unique_names", [False, True])
def test_a_folder_that_a_killed_writer_left_is_removed_but_not_a_living_ones(
    tmp_path, unique_names
):
    hidden = ".model.1" if unique_names else ".model"
    (tmp_path / "model").mkdir()
    (tmp_path / f"{hidden}.new").mkdir()
    (tmp_path / f"{hidden}.new" / "weights").write_text("unfinished")
    (tmp_path / f"{hidden}.old").mkdir()
    with files.new_folder(tmp_path / "model", unique_names=unique_names):
        pass
    assert os.listdir(tmp_path) == ["model"]
    (tmp_path / f"{hidden}.new").mkdir()
    handle = left_by(tmp_path / f"{hidden}.new", alive=True)
    if unique_names:
        with files.new_folder(tmp_path / "model", unique_names=True):
            pass
    else:
        with pytest.raises(BlockingIOError) as caught, files.new_folder(tmp_path / "model"):
            pass
        assert caught.value.filename == str(tmp_path / "model")
    os.close(handle)
    assert sorted(os.listdir(tmp_path)) == sorted([f"{hidden}.new", "model"])


def test_what_windows_does_not_open_is_not_flushed(tmp_path, monkeypatch):
    """Windows has no handles of folders, and flushes only what is open for writing."""
    opened, open_any = [], os.open

    def open_as_windows(path, flags, *more):
        if os.path.isdir(path) or (os.path.basename(path) == "weights" and not flags & os.O_RDWR):
            raise PermissionError(errno.EACCES, "denied", str(path))
        opened.append(os.path.basename(path))
        return open_any(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(files, "IS_WINDOWS", True)
        patch.setattr(os, "open", open_as_windows)
        write(tmp_path / "a.txt")
        with files.new_folder(tmp_path / "model") as new, open(new / "weights", "wb") as file:
            file.write(b"1")
    assert (tmp_path / "a.txt").read_text() == "new" and "weights" in opened
    assert (tmp_path / "model" / "weights").read_bytes() == b"1"
