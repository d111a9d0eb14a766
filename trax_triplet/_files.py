"""Files and folders that are complete or not there at all, and folders with one writer at a time.

What is written has another name, beside its place, until it is flushed to disk; then it is renamed:
whenever the process is killed or the disk is full, the old one or the new one is there. Python
only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import io
import os
import shutil
import zlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Context: a file to write, which takes the place of `path` if the block ends without an error.

    Args:
        path: of the file; its folder must be there.
        mode, options: as in `open`; text is UTF-8 with "\\n" line ends as you write them.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: what the system reports, such as no space; the old file is unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with new_file(f"{folder}/answer.txt") as file:
        ...         _ = file.write("42")
        ...     os.listdir(folder)
        ['answer.txt']
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {path.parent} does not exist; create it to write {path.name}"
        )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "", **options}
    try:
        with open(unfinished, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        flush(path.parent)
    except OSError as error:
        _name(error, path, unfinished)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str], *, unique_names: bool = False) -> Iterator[Path]:
    """Context: a folder to fill, which takes the place of `folder` if the block ends without error.

    An old folder of that name is moved aside first, to `previous(folder)`, and removed in the end;
    a reader that finds no `folder` looks there.

    Args:
        folder: path; parents are made.
        unique_names: take hidden names until the end, so that a `folder.new` or `folder.old` of the
            user's is left as it is. No reader looks for the old folder then: an error restores it.

    Raises:
        OSError: what the system reports; the old folder is unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with new_folder(f"{parent}/model") as new:
        ...         _ = (new / "weights").write_bytes(b"123")
        ...     os.listdir(f"{parent}/model")
        ['weights']
    """
    folder = Path(folder)
    new, old = folder.with_name(folder.name + ".new"), previous(folder)
    if unique_names:
        hidden = f".{folder.name}.{os.getpid()}"
        new, old = folder.with_name(f"{hidden}.new"), folder.with_name(f"{hidden}.old")
    shutil.rmtree(new, ignore_errors=True)  # left by a run that was killed
    new.mkdir(parents=True)
    try:
        yield new
        for path in (*new.rglob("*"), new):
            flush(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(new, folder)
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)
        if unique_names and old.exists() and not folder.exists():
            os.replace(old, folder)  # nobody would look for it
        if isinstance(error, OSError):
            _name(error, folder, new)
        raise
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _name(error: OSError, path: Path, unfinished: Path) -> None:
    """Gives the error the path that the user knows; for a full disk it has none."""
    if error.errno is not None and (
        error.filename is None or str(error.filename).startswith(str(unfinished))
    ):
        error.filename = str(path)


def previous(folder: str | os.PathLike[str]) -> Path:
    """Where the old folder is while the new one takes its place.

    Example:
        >>> previous("run/model").name
        'model.old'
    """
    folder = Path(folder)
    return folder.with_name(folder.name + ".old")


def flush(path: str | os.PathLike[str]) -> None:
    """Returns once the file, or the list of the folder's files, is on the disk.

    Example:
        >>> flush(".")
    """
    handle = os.open(path, os.O_RDONLY)
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
            "where you trust it, ask for more by max_bytes"
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
            "file; where you trust it, ask for more by max_bytes"
        )
    return unpacked


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Context: no other process that asks for it writes to this folder meanwhile.

    The system releases the lock when the process ends, however it ends.

    Args:
        folder: path; made if it is not there. A file `.lock` stays in it.

    Raises:
        BlockingIOError: another process has it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, only_writer(folder):
        ...     os.listdir(folder)
        ['.lock']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                errno.EWOULDBLOCK,
                "another training is writing to this folder; wait for its end, or name another one",
                str(folder),
            ) from None
        yield
