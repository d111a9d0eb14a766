"""The list of what is repaired in Trax, and whether a repair was needed in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple


class Repair(NamedTuple):
    """One repair of Trax: its name, whether this process applied it, and its reason in a line."""

    name: str
    applied: bool
    reason: str


_repairs: list[Repair] = []
_wanted = os.environ.get("TRAX_TRIPLET_REPAIRS", "1") != "0"


def repair(needed: Callable[[], bool]) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Runs the decorated repair at import if `needed()`, and enters it in `repairs()`."""

    def apply(patch: Callable[[], None]) -> Callable[[], None]:
        applied = _wanted and needed()
        if applied:
            patch()
        _repairs.append(Repair(patch.__name__, applied, (patch.__doc__ or "").splitlines()[0]))
        return patch

    return apply


def repairs() -> tuple[Repair, ...]:
    """Lists what this module knows to repair in Trax, and whether it was needed here.

    Returns:
        A tuple of `Repair(name, applied, reason)`. `applied` is False where the feature test found
        nothing broken, and everywhere under TRAX_TRIPLET_REPAIRS=0.

    Example:
        >>> from trax_triplet import compat
        >>> "resuming" in [found.name for found in compat.repairs()]
        True
    """
    return tuple(_repairs)
