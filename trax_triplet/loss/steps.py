"""The steps of the modified triplet loss: positives, mean negative, closest negative, hinges.

For a batch of pairs, `scores[i, j]` is the similarity of anchor i and the other side of pair j. The
diagonal holds the positives, everything else negatives, unless ids say that two rows belong
together. Like `similarity`, this runs on JAX, NumPy and TensorFlow through `trax.fastmath.numpy`.
"""

import math
import numbers

import numpy as np

from trax_triplet.compat import jnp
from trax_triplet.loss.negatives import negative_mask
from trax_triplet.loss.similarity import as_float, upcast, upcast_both

NO_NEGATIVE = -2.0  # below every cosine; what the lecture writes where no negative qualifies
CLOSEST = ("semi-hard", "shifted", "hardest")


def positives(scores):
    """Similarity of each anchor to its own duplicate: the diagonal.

    Args:
        scores: similarities (batch, batch), floating point.

    Returns:
        Array (batch,).

    Raises:
        TypeError: integer dtype.
        ValueError: not a square matrix.

    Example:
        >>> positives([[0.5, -0.25], [0.0, 1.0]]).tolist()
        [0.5, 1.0]
    """
    return jnp.diagonal(_square(scores))


def mean_negative(scores, *, groups=None):
    """Mean similarity of each anchor to its negatives: off-diagonal row sum / (batch - 1).

    Args:
        scores: similarities (batch, batch), floating point.
        groups: known duplicates, as in `triplet_loss`; they leave the sum and the count.

    Returns:
        Array (batch,); 0 where an anchor has no negatives.

    Raises:
        TypeError: `scores` of integer dtype, or groups that are not integers.
        ValueError: not a square matrix, or groups of another length.

    Example:
        >>> mean_negative([[0.5, -0.25], [0.0, 1.0]]).tolist()
        [-0.25, 0.0]
    """
    scores = _square(scores)
    return jnp.asarray(_mean(upcast(scores), groups), scores.dtype)


def _mean(wide, groups):
    negative, _ = negative_mask(wide, groups)
    total = jnp.sum(jnp.where(negative, wide, jnp.zeros_like(wide)), axis=1)
    count = jnp.sum(jnp.where(negative, jnp.ones_like(wide), jnp.zeros_like(wide)), axis=1)
    return total / jnp.maximum(count, jnp.ones_like(count))


def closest_negative(scores, *, closest="semi-hard", groups=None):
    """The hard negative of each anchor: the largest similarity to a negative that qualifies.

    Args:
        scores: similarities (batch, batch), floating point.
        closest: which negatives qualify. 'semi-hard': those not above the anchor's positive (the
            lecture); 'hardest': all of them; 'shifted': all, but one above the positive counts as
            itself minus 2 (how the Keras assignment writes semi-hard).
        groups: known duplicates, as in `triplet_loss`; they never qualify.

    Returns:
        Array (batch,); -2, below every cosine, where none qualifies.

    Raises:
        TypeError: `scores` of integer dtype, or groups that are not integers.
        ValueError: not a square matrix, an unknown rule, or groups of another length.

    Example:
        The first anchor's positive is 0.5, so 0.75 is too hard to be semi-hard.

        >>> scores = [[0.5, 0.75, 0.25], [0.0, 1.0, -0.5], [0.5, 0.25, 0.0]]
        >>> closest_negative(scores).tolist()
        [0.25, 0.0, -2.0]
        >>> closest_negative(scores, closest="hardest").tolist()
        [0.75, 0.0, 0.5]
    """
    one_of("closest", closest, CLOSEST)
    scores = _square(scores)
    return jnp.asarray(_closest(upcast(scores), closest, groups), scores.dtype)


def _closest(wide, closest, groups):
    negative, _ = negative_mask(wide, groups)
    none = jnp.full_like(wide, NO_NEGATIVE)
    too_hard = wide > jnp.expand_dims(jnp.diagonal(wide), 1)
    if closest == "semi-hard":
        negative = jnp.logical_and(negative, jnp.logical_not(too_hard))
    lowest = jnp.full_like(wide, float(np.finfo("float32").min))
    candidates = jnp.where(negative, wide, lowest)
    if closest == "shifted":
        candidates = jnp.where(negative, jnp.where(too_hard, wide - 2.0, wide), none)
    highest = jnp.max(candidates, axis=1)
    exists = jnp.any(negative, axis=1)
    return jnp.where(exists, highest, none[:, 0])


def hinge(positive, negative, *, margin=0.25):
    """max(negative - positive + margin, 0): zero once the positive is ahead by the margin.

    Where the two sides of the maximum are equal the gradient is 0, on every backend.

    Args:
        positive: similarity of each anchor to its duplicate, (batch,).
        negative: its mean or closest negative, (batch,).
        margin: how far the positive must be ahead (alpha in the lecture), finite, not negative.

    Returns:
        Array (batch,), not negative.

    Raises:
        TypeError: integer dtype, or a margin that is no number.
        ValueError: two shapes, or a margin that is negative, infinite or NaN.

    Example:
        >>> hinge([1.0, 0.5], [0.5, 0.5], margin=0.25).tolist()
        [0.0, 0.25]
    """
    check_margin(margin)
    positive, negative = as_float(positive, "positive"), as_float(negative, "negative")
    if not _fit(positive.shape, negative.shape):  # else the one is broadcast to the other's shape
        raise ValueError(
            "hinge compares similarities of one shape (batch,), but positive is "
            f"{tuple(positive.shape)} and negative is {tuple(negative.shape)}"
        )
    wide_positive, wide_negative, dtype = upcast_both(positive, negative)
    behind = wide_negative - wide_positive + margin
    return jnp.asarray(jnp.where(behind > 0, behind, jnp.zeros_like(behind)), dtype)


def hinges(scores, *, margin=0.25, closest="semi-hard", groups=None):
    """Both hinges of every anchor: against its mean negative, and against its closest negative.

    Args:
        scores, closest, groups: as in `closest_negative`.
        margin: as in `hinge`.

    Returns:
        Two arrays (batch,), L1 (mean negative) and L2 (closest negative), to be added; both 0 for
        an anchor without negatives.

    Raises:
        TypeError, ValueError: as in `closest_negative` and `hinge`.

    Example:
        >>> l1, l2 = hinges([[0.5, 0.5], [0.0, 1.0]], margin=0.25)
        >>> l1.tolist(), l2.tolist()
        ([0.25, 0.0], [0.25, 0.0])
        >>> [losses.tolist() for losses in hinges([[0.5]])]
        [[0.0], [0.0]]
    """
    one_of("closest", closest, CLOSEST)
    scores = _square(scores)
    both = anchor_hinges(upcast(scores), margin=margin, closest=closest, groups=groups)
    return tuple(jnp.asarray(losses, scores.dtype) for losses in both)


def anchor_hinges(wide, *, margin, closest, groups=None):
    """`hinges` of some anchors only, whose pairs come first among the others.

    Args:
        wide: similarities (anchors, batch), anchors <= batch, not in half precision.
        margin, closest, groups: as in `hinges`, with the ids of the whole batch.

    Returns:
        Two arrays (anchors,).

    Example:
        >>> [losses.tolist() for losses in anchor_hinges(as_float([[0.5, 0.5]], "wide"), margin=0.25, closest="hardest")]
        [[0.25], [0.25]]
    """
    has_negatives = jnp.any(negative_mask(wide, groups)[0], axis=1)
    positive, zero = jnp.diagonal(wide), jnp.zeros_like(jnp.diagonal(wide))
    return tuple(
        jnp.where(has_negatives, hinge(positive, compared, margin=margin), zero)
        for compared in (_mean(wide, groups), _closest(wide, closest, groups))
    )


def check_margin(margin):
    """Refuses a margin that is not a finite number of at least 0.

    Raises:
        TypeError: not a number.
        ValueError: negative, infinite or NaN.

    Example:
        >>> check_margin(0.25)
    """
    if isinstance(margin, bool) or not isinstance(margin, numbers.Real):
        raise TypeError(f"margin must be a number such as 0.25, but it is {margin!r}")
    if not math.isfinite(margin) or margin < 0:
        raise ValueError(
            f"margin must be finite and at least 0, such as 0.25, but it is {margin!r}"
        )


def _fit(a, b):
    """Whether two shapes may be one; inside tf.function a length may be unknown, None."""
    return len(a) == len(b) and all(None in (m, n) or m == n for m, n in zip(a, b))


def _square(scores):
    scores = as_float(scores, "scores")
    if 0 in tuple(scores.shape):
        raise ValueError(
            "scores must be a square matrix (batch, batch) of at least one pair, but its shape is "
            f"{tuple(scores.shape)}"
        )
    if len(scores.shape) != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(
            "scores must be a square matrix (batch, batch), anchors down and the other "
            f"sides of the pairs across, but its shape is {tuple(scores.shape)}"
        )
    return scores


def one_of(name, value, allowed):
    """Refuses a setting that is none of those allowed.

    Raises:
        ValueError: which lists them.

    Example:
        >>> one_of("closest", "hardest", CLOSEST)
    """
    if value not in allowed:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, allowed))}, but it is {value!r}"
        )
