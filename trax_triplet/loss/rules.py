"""Which negatives may be the closest one: the rule, for arrays of any library; imports none."""

from __future__ import annotations

from typing import Any

from trax_triplet._typing import Array

__all__ = ["CLOSEST", "NO_NEGATIVE", "PADDING_ID", "by_rule", "real_pairs"]

CLOSEST = ("semi-hard", "shifted", "hardest")
PADDING_ID = -1
NO_NEGATIVE = -2.0  # below every cosine: stands where no negative qualifies; the shift of 'shifted'


def by_rule(
    xp: Any, closest: str, scores: Array, positive: Array, negative: Array
) -> tuple[Array, Array]:
    """How a rule counts the scores, and which negatives qualify as the closest one.

    Args:
        xp: the library of the arrays, with NumPy's names. All arrays broadcast.
        closest: 'semi-hard': negatives not above the positive qualify; 'hardest': all do;
            'shifted': all do, and one above the positive counts as itself minus 2.
        scores: similarities.
        positive: the anchors' own.
        negative: bool, which are negatives.

    Returns:
        The scores as they count, and bool, which of them qualify.

    Example:
        >>> import numpy as np
        >>> scores, negative = np.array([0.5, 1.0]), np.array([True, True])
        >>> [array.tolist() for array in by_rule(np, "shifted", scores, 0.75, negative)]
        [[0.5, -1.0], [True, True]]
    """
    if closest == "hardest":
        return scores, negative
    too_hard = scores > positive
    if closest == "semi-hard":
        return scores, xp.logical_and(negative, xp.logical_not(too_hard))
    return xp.where(too_hard, scores + NO_NEGATIVE, scores), negative


def real_pairs(ids: tuple[Array, Array]) -> Array:
    """Which pairs are not padding: those of which neither id is -1.

    Example:
        >>> import numpy as np
        >>> real_pairs((np.array([4, -7, -1]), np.array([4, 5, 2]))).tolist()
        [True, True, False]
    """
    return _is_real(ids[0]) & _is_real(ids[1])


def _is_real(ids: Array) -> Array:
    return ids == ids if ids.dtype.name.startswith("uint") else ids != PADDING_ID
