"""From the bytes of a file to its text."""

from __future__ import annotations

import codecs
import os
import re

from trax_triplet import _validation as check
from trax_triplet._files import gunzip, read_bytes

__all__ = ["HALVES", "WHAT_IS_READ", "checked_encoding", "read_text"]

HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs, which are not text
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHERS = ("utf-8", "cp1252", "cp932", "gb18030", "big5", "euc-kr", "cp1251", "cp1250", "latin-1")
_NOT_TEXT = (
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a ZIP file, such as an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"BZh91AY&SY", "packed by bzip2"),
    (b"\xfd7zXZ", "packed by xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (b"7z\xbc\xaf", "packed by 7-Zip"),
    (b"%PDF-", "a PDF file"),
)
WHAT_IS_READ = (
    "pairs are read from CSV and TSV files, single questions also from Parquet and from JSON lines "
    "(an object on each line)"
)


def read_text(
    path: str | os.PathLike[str], encoding: str | None, max_bytes: int, data: bytes | None = None
) -> tuple[str, list[str]]:
    """The text of a file, and what a reader should know of its encoding."""
    if data is None:
        data = read_bytes(path, max_bytes)
    if data.startswith(b"\x1f\x8b"):
        data = gunzip(data, max_bytes, path)
    for mark, kind in _NOT_TEXT:
        if data.startswith(mark):
            raise ValueError(f"{path} is {kind}, expected text, maybe gzipped; {WHAT_IS_READ}")
    name = checked_encoding(encoding) or _encoding(data)
    try:
        text = data.decode(name).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(_not_decoded(data, name, error, path)) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{path}, line {line}: a NUL character; expected a text file. If its encoding is not "
            f"{name}, name it by encoding=, such as utf-16-le"
        )
    return text, [] if name == "utf-8" else [f"read as {name}"]


def checked_encoding(encoding: str | None) -> str | None:
    """The encoding, once it is known to be one of text; None stays None.

    Raises:
        TypeError: not a string.
        ValueError: unknown, or of something else than text.

    Example:
        >>> checked_encoding("cp1252")
        'cp1252'
    """
    if encoding is None:
        return None
    expected = "the name of an encoding of text, such as 'cp1252', or None"
    if not isinstance(encoding, str):
        raise check.wrong_type("encoding", expected, encoding)
    try:
        "".encode(encoding)
    except (LookupError, ValueError):  # unknown, or of something else than text
        raise check.wrong_value("encoding", expected, encoding) from None
    return encoding


def _encoding(data: bytes) -> str:
    """UTF-8, unless a byte order mark or NUL bytes tell that it is UTF-16 or UTF-32."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if b"\0" not in data[:4096]:
        return "utf-8"
    found = []
    for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        try:
            start = data[:4096].decode(name, "strict" if len(data) <= 4096 else "ignore")
            data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in start:
            # In the wrong order of bytes, letters and line ends are something else.
            n_ascii = sum(character < "\x80" for character in start)
            found.append((n_ascii / len(start), name))
    share, name = max(found, default=(0, "utf-8"))
    return name if share > 0.1 else "utf-8"


def _not_decoded(data: bytes, name: str, error: UnicodeDecodeError, path: object) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    problem = f"{path}, line {line}: byte {error.start} of the file is not {name.upper()}"
    marked = [other for mark, other in _MARKS if data.startswith(mark)][:1]
    if name in marked:
        return f"{problem}, as which the file begins: it is damaged, or ends too early"
    others = dict.fromkeys((*marked, *_OTHERS))
    others = [other for other in others if other != name and _is_text(data, other)]
    advice = (
        f"It could be {' or '.join(others)}: look at what you get"
        if others
        else ("None of the usual ones fits: the file is damaged, or no text")
    )
    return f"{problem}; save it as 'CSV UTF-8', or name its encoding by encoding=. {advice}"


def _is_text(data: bytes, encoding: str) -> bool:
    try:
        return "\0" not in data.decode(encoding)
    except UnicodeDecodeError:
        return False
