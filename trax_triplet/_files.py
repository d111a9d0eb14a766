"""Files and folders that are complete or not there at all, and folders with one writer at a time.

What is written has another name, beside its place, until it is flushed to disk; then it is renamed:
whenever the process is killed or the disk is full, the old one or the new one is there.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import itertools
import os
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

__all__ = [
    "flush",
    "gunzip",
    "new_file",
    "new_folder",
    "only_writer",
    "previous",
    "read_bytes",
]

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open cannot be removed
    fcntl = None

IS_WINDOWS = os.name == "nt"
_numbers = itertools.count()  # of the files that this process writes
# Not of the file's name, which may be as long as names can be.
_UNFINISHED = re.compile(r"\.trax-triplet\.\d+\.\d+\.new")


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Context: a file to write, which takes the place of `path` if the block ends without an error.

    An existing file's owner and permissions are kept; a link stays, and the file that it leads to
    is replaced. What cannot be replaced is written to once the block has ended: a device, a pipe,
    an open file such as `/dev/stdout`, or a file whose owner or folder only lets it be changed.
    What writers that were killed left in the folder is removed.

    Args:
        path: of the file; its folder must be there.
        mode, options: as in `open`; text is UTF-8 with "\\n" line ends as you write them.

    Raises:
        FileNotFoundError: the folder does not exist.
        IsADirectoryError: it is a folder.
        PermissionError: the file must not be written.
        OSError: what the system reports, such as no space; the old file is unchanged.
        ValueError: a disk or a socket, which is not written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with new_file(f"{folder}/answer.txt") as file:
        ...         _ = file.write("42")
        ...     os.listdir(folder)
        ['answer.txt']
    """
    path = Path(path)
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "", **options}
    target = _replaceable(path)
    with _named(path, f"{(target or path).parent / '.trax-triplet.'}"):
        if target is None:
            content = io.BytesIO()
            file = content if "b" in mode else io.TextIOWrapper(content, **options)
            yield file
            file.flush()
            _write_into(path, content.getbuffer())
            return
        _remove_left(target.parent, _UNFINISHED)
        with _begun(target.parent, mode, options) as (unfinished, file):
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _keep_owner_and_mode(target, unfinished)
            try:
                os.replace(unfinished, target)
            except OSError as error:
                if error.errno != errno.EBUSY:  # a file that is mounted has a fixed place
                    raise
                _write_into(target, memoryview(unfinished.read_bytes()))
        flush(target.parent)


@contextlib.contextmanager
def _named(path: Path, unfinished: str) -> Iterator[None]:
    """Context: errors of the system name the path that the user knows; for a full disk they name
    none."""
    try:
        yield
    except OSError as error:
        is_unfinished = str(error.filename).startswith(unfinished)
        if error.errno is not None and (error.filename is None or is_unfinished):
            error.filename = str(path)
        raise


@contextlib.contextmanager
def _begun(folder: Path, mode: str, options: dict[str, Any]) -> Iterator[tuple[Path, IO[Any]]]:
    """Context: (path, file) of a new file, locked until the end, when it is removed."""
    while True:
        path = folder / f".trax-triplet.{os.getpid()}.{next(_numbers)}.new"
        try:
            # "x": whatever has this name already, such as somebody's link, is not written to.
            file = open(path, mode.replace("w", "x"), **options)  # noqa: SIM115
        except FileExistsError:
            continue
        lock = None if fcntl is None else os.dup(file.fileno())
        try:
            if fcntl is not None and lock is not None:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not os.fstat(lock).st_nlink:  # removed by another process before it was locked
                    continue
            yield path, file
            return
        finally:
            file.close()
            path.unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)


@contextlib.contextmanager
def _only(path: Path) -> Iterator[None]:
    """Context: this file or folder is locked for this writer; OSError if it is for another one."""
    if fcntl is None:
        yield
        return
    is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    handle = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_left(folder: Path, names: re.Pattern[str]) -> None:
    """Removes files and folders that writers left when they were killed: those nobody has locked.

    The number of a process is not asked for: in another container it is somebody else's.
    """
    left = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # one may write, not list
        left = [Path(entry.path) for entry in entries if names.fullmatch(entry.name)]
    for path in left:
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            with contextlib.suppress(OSError), _only(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _replaceable(path: Path) -> Path | None:
    """The regular file to replace, there or not yet; None for what must be written to instead."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        found = None
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if found is not None and (stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
        kind = "disk" if stat.S_ISBLK(found.st_mode) else "socket"
        raise ValueError(f"{path} is a {kind}, which cannot be written to; name a file")
    if _open_file(path) or (found is not None and not stat.S_ISREG(found.st_mode)):
        return None
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {target.parent} does not exist; create it to write {target.name}"
        )
    if found is None:
        return target
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    is_ours = not hasattr(os, "geteuid") or os.geteuid() in (0, found.st_uid)
    return target if is_ours and os.access(target.parent, os.W_OK | os.X_OK) else None


def _open_file(path: Path) -> tuple[int, int] | None:
    """(process, number) of the open file that a path such as /dev/stdout leads to, else None."""
    for _ in range(40):  # as many links as the system follows
        folder = os.path.realpath(path.parent)
        if path.name.isdigit():
            if folder == "/dev/fd":
                return os.getpid(), int(path.name)
            if match := re.fullmatch(r"/proc/(\d+)(?:/task/\d+)?/fd", folder):
                return int(match[1]), int(path.name)
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)
    return None


def _write_into(path: Path, data: memoryview) -> None:
    """Writes to what is there, in its place."""
    process, number = _open_file(path) or (None, None)
    if process == os.getpid() and number is not None:
        # Its position is shared: what was printed before, and what comes after, stays.
        sys.stdout.flush()
        handle = os.dup(number)
    else:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    with open(handle, "wb") as file:
        if process is not None and process != os.getpid() and file.seekable():
            file.seek(0, os.SEEK_END)
        file.write(data)
        if process is None and stat.S_ISREG(os.fstat(handle).st_mode):
            file.truncate()
            file.flush()
            os.fsync(handle)


def _keep_owner_and_mode(old: Path, new: Path) -> None:
    """Gives a new file or folder what an old one has: owner, group, permissions, access lists."""
    try:
        before = os.stat(old)
    except FileNotFoundError:
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):  # not every owner may give it to that group
            os.chown(new, before.st_uid, before.st_gid)
    shutil.copystat(old, new)  # after chown, which clears some
    os.utime(new)


@contextlib.contextmanager
def new_folder(
    folder: str | os.PathLike[str], *, ours: Iterable[str] = (), unique_names: bool = False
) -> Iterator[Path]:
    """Context: a folder to fill, which takes the place of `folder` if the block ends without error.

    An old folder of that name is moved aside first, to `previous(folder)`, and removed in the end;
    a reader that finds no `folder` looks there. The old folder's owner and permissions are kept,
    and so is what others put into it; a link to it stays.

    Args:
        folder: path; parents are made.
        ours: names of what the old folder may hold that belongs to it. All else of which the new
            one has none is somebody's, and taken over.
        unique_names: take names until the end that no other process takes. No reader looks for the
            old folder then: an error restores it.

    Raises:
        BlockingIOError: somebody else is writing it.
        OSError: what the system reports; the old folder is unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with new_folder(f"{parent}/model") as new:
        ...         _ = (new / "weights").write_bytes(b"123")
        ...     os.listdir(f"{parent}/model")
        ['weights']
    """
    folder = Path(os.path.realpath(folder))
    new, old = folder.with_name(f".{folder.name}.new"), previous(folder)
    if unique_names:
        hidden = f".{folder.name}.{os.getpid()}"
        new, old = folder.with_name(f"{hidden}.new"), folder.with_name(f"{hidden}.old")
        kinds = "new|old" if folder.exists() else "new"  # an old one may be all that there is
        _remove_left(folder.parent, re.compile(rf"\.{re.escape(folder.name)}\.\d+\.({kinds})"))
    with _named(folder, str(new)):
        _remove_unless_written(new)
        new.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # a file system without locks
                stack.enter_context(_only(new))
            try:
                yield new
                for path in (*new.rglob("*"), new):
                    flush(path)
                if folder.exists():
                    _take_over(folder, new, {*ours, *os.listdir(new)})
                    _keep_owner_and_mode(folder, new)
                    shutil.rmtree(old, ignore_errors=True)
                    with contextlib.suppress(OSError):
                        stack.enter_context(_only(folder))
                    os.replace(folder, old)
                os.replace(new, folder)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                if unique_names and old.exists() and not folder.exists():
                    os.replace(old, folder)  # nobody would look for it
                raise
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _take_over(old: Path, new: Path, ours: set[str]) -> None:
    """Puts what the old folder holds into the new one, but for some names."""
    names = [n for n in sorted({*os.listdir(old)} - ours) if not _UNFINISHED.fullmatch(n)]
    for name in names:
        source, target = old / name, new / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, copy_function=_link)
        else:
            _link(source, target)
    if names:
        flush(new)


def _link(old: str | Path, new: str | Path) -> None:
    """A second name for a file, or a copy where the file system has no such names."""
    try:
        os.link(old, new, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(old, new, follow_symlinks=False)


def _remove_unless_written(new: Path) -> None:
    """Removes what a killed writer left; an error if the writer is alive."""
    if not new.exists():
        return
    try:
        with _only(new):
            shutil.rmtree(new, ignore_errors=True)
    except BlockingIOError:
        raise BlockingIOError(
            errno.EWOULDBLOCK, "it is being written already; wait for its end", str(new)
        ) from None
    except OSError:  # a file system without locks
        shutil.rmtree(new, ignore_errors=True)


def previous(folder: str | os.PathLike[str]) -> Path:
    """Where the old folder is while the new one takes its place.

    Example:
        >>> previous("run/model").name
        '.model.old'
    """
    folder = Path(os.path.realpath(folder))
    return folder.with_name(f".{folder.name}.old") if folder.name else folder  # "/" has no name


def flush(path: str | os.PathLike[str]) -> None:
    """Returns once the file, or the list of the folder's files, is on the disk.

    Example:
        >>> flush(".")
    """
    flags = os.O_RDONLY
    if IS_WINDOWS:  # which flushes what is open for writing only, and opens no folders
        if os.path.isdir(path):
            return
        flags = os.O_RDWR
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """What a file holds, if that is not more than a limit.

    Args:
        path: of the file.
        max_bytes: the limit.

    Raises:
        FileNotFoundError, OSError: as `open`.
        ValueError: it is larger.

    Example:
        >>> read_bytes(os.devnull, 10)
        b''
    """
    with open(path, "rb") as file:
        data = _up_to(file, max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(
            f"{path} is larger than {max_bytes:,} bytes, the most that is read of such a file; "
            "if you trust it, raise max_bytes"
        )
    return data


def _up_to(file: BinaryIO | gzip.GzipFile, n: int) -> bytes:
    """The file's first n bytes; takes memory for what is there, where `read(n)` would take n."""
    content = io.BytesIO()
    while chunk := file.read(min(n - content.tell(), 2**20)):
        content.write(chunk)
    return content.getvalue()


def gunzip(data: bytes, max_bytes: int, path: object) -> bytes:
    """Gzip's contents, unpacked no further than a limit: a small file can unpack to any size.

    Args:
        data: the gzipped bytes.
        max_bytes: the limit.
        path: that errors name.

    Raises:
        ValueError: damaged or truncated, or more than `max_bytes`.

    Example:
        >>> gunzip(gzip.compress(b"why?"), 10, "q.gz")
        b'why?'
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = _up_to(file, max_bytes + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the gzip file is damaged or truncated ({error})") from None
    if len(unpacked) > max_bytes:
        raise ValueError(
            f"{path} unpacks to more than {max_bytes:,} bytes, the most that is read of such a "
            "file; if you trust it, raise max_bytes"
        )
    return unpacked


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Context: no other process that asks for it writes to this folder meanwhile.

    The system releases the lock when the process ends, however it ends.

    Args:
        folder: path; made if it is not there. A file `.lock` may stay in it.

    Raises:
        BlockingIOError: another process has it.
        OSError: the file system has no locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, only_writer(folder):
        ...     os.listdir(folder)
        ['.lock']
    """
    import filelock  # not above: reading needs Python only

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(folder / ".lock").acquire(timeout=0)
    except filelock.Timeout:
        raise BlockingIOError(
            errno.EWOULDBLOCK,
            "another process is writing to this folder; wait for its end, or name another one",
            str(folder),
        ) from None
    except NotImplementedError:
        raise OSError(
            errno.ENOLCK, "this file system has no locks; name a folder on another", str(folder)
        ) from None
    with lock:
        yield
