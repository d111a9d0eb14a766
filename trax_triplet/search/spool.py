"""What was found so far, in a folder beside the output: an interrupted run goes on from there.

Found pairs are written stretch by stretch, each a file that is complete or not there, named by the
rows that it covers. In the end the stretches are read again by falling similarity, a slice of each
at a time, so that memory stays bounded whatever their number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet.search.products import Found

__all__ = ["Spool", "identity"]

PAIR = np.dtype([("first", "<i8"), ("second", "<i8"), ("similarity", "<f4")])
AT_ONCE = 4_000_000  # pairs that are sorted at a time
_ABOUT = "search.json"
_NAME = re.compile(r"(\d{10})-(\d{10})\.npy")


def identity(vectors: np.ndarray, **settings: Any) -> str:
    """A digest of what determines the pairs.

    Example:
        >>> identity(np.zeros((2, 3)), top_k=3) == identity(np.zeros((2, 3)), top_k=4)
        False
    """
    digest = hashlib.sha256(json.dumps([vectors.shape, settings], sort_keys=True).encode())
    for start in range(0, len(vectors), 2**16):
        digest.update(np.ascontiguousarray(vectors[start : start + 2**16]).data)
    return digest.hexdigest()


class Spool:
    """The stretches of one search in a folder.

    Args:
        folder: path; made if it is not there. What another search left in it is removed.
        identity: of this search.

    Attributes:
        stop: the first row that is not covered yet.
        count: pairs in the stretches.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     spool = Spool(Path(folder, "spool"), "one")
        ...     pair = Found(np.array([0]), np.array([3]), np.float32([0.9]))
        ...     spool.write(2, pair)
        ...     again = Spool(Path(folder, "spool"), "one")
        ...     again.stop, [found.second.tolist() for found in again.sorted()]
        (2, [[3]])
    """

    def __init__(self, folder: Path, identity: str):
        self.folder, self.stop, self.count = folder, 0, 0
        self._stretches: list[np.ndarray] = []
        about = folder / _ABOUT
        folder.mkdir(exist_ok=True)
        mine = json.dumps({"identity": identity})
        if not about.is_file() or about.read_text(encoding="utf-8") != mine:
            self.remove()
            folder.mkdir(exist_ok=True)
            with files.new_file(about) as file:
                file.write(mine)
        for start, stop, path in sorted(self._files()):
            pairs = _load(path) if start == self.stop else None
            if pairs is None:  # damaged, or after one that is
                path.unlink()
                continue
            self._take(stop, pairs)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        for path in self.folder.iterdir():
            if match := _NAME.fullmatch(path.name):
                yield int(match[1]), int(match[2]), path

    def _take(self, stop: int, pairs: np.ndarray) -> None:
        self._stretches.append(pairs)
        self.stop, self.count = stop, self.count + len(pairs)

    def write(self, stop: int, found: Found) -> None:
        """Adds a stretch: all pairs of the rows from the last `stop` to this one, in any order."""
        pairs = np.empty(len(found.first), PAIR)
        ordered = found.ordered()
        for name, column in zip(PAIR.names or (), ordered, strict=True):
            pairs[name] = column
        path = self.folder / f"{self.stop:010d}-{stop:010d}.npy"
        with files.new_file(path, "wb") as file:
            np.save(file, pairs, allow_pickle=False)
        written = _load(path)
        self._take(stop, pairs if written is None else written)

    def sorted(self, at_once: int = AT_ONCE) -> Iterator[Found]:
        """All pairs, the most similar first, equal ones by their rows; each once."""
        ends = [0] * len(self._stretches)
        while any(end < len(s) for end, s in zip(ends, self._stretches, strict=True)):
            # What is at least as similar as this comes now: some at_once pairs, or one similarity.
            share = max(1, at_once // len(self._stretches))
            limit = max(
                s["similarity"][min(end + share, len(s)) - 1]
                for end, s in zip(ends, self._stretches, strict=True)
                if end < len(s)
            )
            parts = []
            for k, stretch in enumerate(self._stretches):
                rising = -stretch["similarity"][ends[k] :]
                end = ends[k] + int(np.searchsorted(rising, -limit, "right"))
                part = stretch[ends[k] : end]
                parts.append(Found(part["first"], part["second"], part["similarity"]))
                ends[k] = end
            found = Found.joined(parts).ordered()
            new = np.ones(len(found.first), bool)
            new[1:] = (np.diff(found.first) != 0) | (np.diff(found.second) != 0)
            yield found.select(new)

    @property
    def table(self) -> Path:
        """Where a run that is interrupted may leave what was found, for people."""
        return self.folder / "pairs.csv"

    def remove(self) -> None:
        """Removes what this class wrote, and the folder if nothing else is in it."""
        self._stretches, self.stop, self.count = [], 0, 0
        unfinished = list(self.folder.glob(".trax-triplet.*.new"))  # of a process that was killed
        for path in (
            *(path for _, _, path in self._files()),
            *unfinished,
            self.folder / _ABOUT,
            self.table,
        ):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of the user's is in it
            self.folder.rmdir()


def _load(path: Path) -> np.ndarray | None:
    """The pairs of a file, mapped into memory; None if it is not as it was written."""
    try:
        pairs = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    return pairs if pairs.dtype == PAIR and pairs.ndim == 1 else None
