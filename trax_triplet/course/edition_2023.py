"""The names of the assignment's edition of 2023, whose loss follows another rule.

Use them as `from trax_triplet.course.edition_2023 import *`. All but the loss are the second
edition's, `trax_triplet.course`. This edition's loss is summed over the batch, and a negative above
the positive counts as itself minus 2 (`triplet_loss` with closest='shifted', anchor='first',
reduction='sum', normalize=False).
"""

from __future__ import annotations

from typing import Any

from trax_triplet._typing import Array
from trax_triplet.course.assignment import Siamese, classify, data_generator, predict, train_model
from trax_triplet.loss import triplet as _loss

__all__ = [
    "Siamese",
    "TripletLoss",
    "TripletLossFn",
    "classify",
    "data_generator",
    "predict",
    "train_model",
]

_RULE = {"closest": "shifted", "anchor": "first", "reduction": "sum", "normalize": False}


def TripletLossFn(v1: Array, v2: Array, margin: float = 0.25) -> Array:
    """The loss of this edition: closest negative not above the positive, summed over the batch.

    `trax_triplet.course.TripletLossFn` takes the hardest negative and the mean;
    `trax_triplet.keras.TripletLossFn` has this rule with the anchors in `v2`.

    Args:
        v1: unit vectors (batch, d) of the first questions, the anchors.
        v2: unit vectors (batch, d) of their duplicates.
        margin: alpha.

    Returns:
        A scalar array of the backend in use; 0 for a batch of one pair, which has no negatives.

    Raises:
        TypeError, ValueError: as `trax_triplet.triplet_loss`.

    Example:
        Collapse: every negative is as close as the positive, so each of the two anchors pays twice
        the margin.

        >>> import numpy as np
        >>> v = np.array([[1.0, 0.0], [1.0, 0.0]])
        >>> float(TripletLossFn(v, v))
        1.0
    """
    return _loss.triplet_loss(v1, v2, margin=margin, **_RULE)


def TripletLoss(margin: float = 0.25) -> Any:
    """Returns a Trax layer that computes this edition's loss and prints as TripletLoss_in2.

    Args:
        margin: alpha.

    Returns:
        A layer from (v1, v2) to a scalar.

    Raises:
        TypeError, ValueError: a margin that is not a finite number of at least 0.

    Example:
        >>> TripletLoss()
        TripletLoss_in2
    """
    return _loss.TripletLoss(margin, **_RULE)
