"""Files and folders that are there whole or not at all, and folders that one run at a time writes.

What is written stands under another name beside its place, is flushed to disk, and then renamed:
whenever the process is killed or the disk is full, the old one or the new one is there. Plain
Python.
"""

import contextlib
import errno
import fcntl
import gzip
import io
import os
import shutil
import zlib
from pathlib import Path


@contextlib.contextmanager
def new_file(path, mode="w", **options):
    """Context: a file to write, which takes the place of `path` once the block ends without an
    error.

    Args:
        path: of the file; its folder must be there.
        mode, options: as in `open`; text is UTF-8 with "\\n" line ends as you write them.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: what the system says, such as no space; the old file is as it was then.

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
        raise _named(error, path, unfinished)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(folder, *, among_strangers=False):
    """Context: a new folder to fill, which takes the place of `folder` once the block ends without
    an error.

    An old folder of that name is moved aside first, to `previous(folder)`, and removed in the end;
    a reader that finds no `folder` looks there.

    Args:
        folder: path; parents are made.
        among_strangers: the place is the user's: what stands there as `folder.new` or `folder.old`
            is left alone, other names are taken, and no reader looks for an old folder.

    Raises:
        OSError: what the system says; the old folder is as it was then.

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
    if among_strangers:
        new, old = (
            folder.with_name(f".{folder.name}.{os.getpid()}.{name}") for name in ("new", "old")
        )
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
        if among_strangers and old.exists() and not folder.exists():
            os.replace(old, folder)  # nobody would look for it
        raise _named(error, folder, new) if isinstance(error, OSError) else error
    flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _named(error, path, unfinished):
    """The error, told of the path that the user knows; a full disk is told without any."""
    if error.errno is not None and (
        error.filename is None or str(error.filename).startswith(str(unfinished))
    ):
        error.filename = str(path)
    return error


def previous(folder):
    """Where the old folder stands while the new one takes its place.

    Example:
        >>> previous("run/model").name
        'model.old'
    """
    folder = Path(folder)
    return folder.with_name(folder.name + ".old")


def flush(path):
    """Returns once the file, or the list of the folder's files, is on the disk.

    Example:
        >>> flush(".")
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path, max_bytes):
    """What a file holds, if it is not larger than this.

    Args:
        path: of the file.
        max_bytes: int.

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
            f"{path} is larger than {max_bytes:,} bytes, the most that is read of such a file; where you "
            "trust it, ask for more by max_bytes"
        )
    return data


def _up_to(file, n):
    """The file's first n bytes; memory grows with what is there, where `read(n)` would take n at
    once."""
    content = io.BytesIO()
    while chunk := file.read(min(n - content.tell(), 2**20)):
        content.write(chunk)
    return content.getvalue()


def gunzip(data, max_bytes, path):
    """Gzip's contents, unpacked no further than this: a small file can unpack to any size.

    Args:
        data: bytes.
        max_bytes: int.
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
            f"{path} unpacks to more than {max_bytes:,} bytes, the most that is read of such a file; where "
            "you trust it, ask for more by max_bytes"
        )
    return unpacked


@contextlib.contextmanager
def only_writer(folder):
    """Context: no other process that asks for it writes this folder meanwhile.

    The system lets go of the lock when the process ends, however it ends.

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
                "another training is at work in this folder; wait for its end, or name another one",
                str(folder),
            ) from None
        yield
