"""The modified triplet loss, step by step: positives, mean negative, closest negative, two hinges.

For a batch of pairs, `scores[i, j]` is the similarity of anchor i and the other side of pair j. The
diagonal holds the positives, everything else negatives, unless ids say that two rows belong together.
Like `similarity`, this runs on JAX, NumPy and TensorFlow through `trax.fastmath.numpy`.
"""

import functools
import math
import numbers
import warnings

import numpy as np

from trax_triplet.compat import jnp, tl
from trax_triplet.negatives import negative_mask
from trax_triplet.similarity import as_float, similarity_matrix, widen, widen_both

NO_NEGATIVE = -2.0  # below every cosine; what the lecture writes where no negative qualifies
CLOSEST = ("semi-hard", "shifted", "hardest")
ANCHORS = ("first", "second", "both")
REDUCTIONS = ("mean", "sum", "none")


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
    wide = widen(scores)
    negative, _ = negative_mask(wide, groups)
    total = jnp.sum(jnp.where(negative, wide, jnp.zeros_like(wide)), axis=1)
    count = jnp.sum(jnp.where(negative, jnp.ones_like(wide), jnp.zeros_like(wide)), axis=1)
    return jnp.asarray(total / jnp.maximum(count, jnp.ones_like(count)), scores.dtype)


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
    _one_of("closest", closest, CLOSEST)
    scores = _square(scores)
    wide = widen(scores)
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
    return jnp.asarray(jnp.where(exists, highest, none[:, 0]), scores.dtype)


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
        ValueError: a margin that is negative, infinite or NaN.

    Example:
        >>> hinge([1.0, 0.5], [0.5, 0.5], margin=0.25).tolist()
        [0.0, 0.25]
    """
    check_margin(margin)
    positive, negative = as_float(positive, "positive"), as_float(negative, "negative")
    wide_positive, wide_negative, dtype = widen_both(positive, negative)
    behind = wide_negative - wide_positive + margin
    return jnp.asarray(jnp.where(behind > 0, behind, jnp.zeros_like(behind)), dtype)


def hinges(scores, *, margin=0.25, closest="semi-hard", groups=None):
    """Both hinges of every anchor: against its mean negative, and against its closest negative.

    Args:
        scores, closest, groups: as in `closest_negative`.
        margin: as in `hinge`.

    Returns:
        Two arrays (batch,), L1 (mean negative) and L2 (closest negative), to be added; both 0 for an
        anchor without negatives.

    Raises:
        TypeError, ValueError: as in `closest_negative` and `hinge`.

    Example:
        >>> l1, l2 = hinges([[0.5, 0.5], [0.0, 1.0]], margin=0.25)
        >>> l1.tolist(), l2.tolist()
        ([0.25, 0.0], [0.25, 0.0])
        >>> [losses.tolist() for losses in hinges([[0.5]])]
        [[0.0], [0.0]]
    """
    scores = _square(scores)
    wide = widen(scores)
    negative, _ = negative_mask(wide, groups)
    positive, zero = jnp.diagonal(wide), jnp.zeros_like(jnp.diagonal(wide))
    has_negatives = jnp.any(negative, axis=1)
    both = (mean_negative(wide, groups=groups), closest_negative(wide, closest=closest, groups=groups))
    return tuple(
        jnp.asarray(jnp.where(has_negatives, hinge(positive, compared, margin=margin), zero), scores.dtype)
        for compared in both)


def triplet_loss(v1, v2, *, margin=0.25, closest="semi-hard", anchor="first", reduction="mean",
                 normalize=True, groups=None):
    """The modified triplet loss of a batch of duplicate pairs.

    With s(A, P) an anchor's positive, its mean negative and its closest negative among the batch:

        L = max(mean_negative - s(A, P) + margin, 0) + max(closest_negative - s(A, P) + margin, 0)

    The three rules of the course are settings of this function:

        | rule                 | closest     | anchor   | reduction | normalize |
        |----------------------|-------------|----------|-----------|-----------|
        | lecture and its lab  | 'semi-hard' | 'first'  | 'sum'     | True      |
        | Trax assignment      | 'hardest'   | 'first'  | 'mean'    | False     |
        | Keras assignment     | 'shifted'   | 'second' | 'sum'     | False     |

    The default is the lecture's rule with the mean over the batch, so that the loss does not grow
    with the batch. A loss that stays at 2 * margin (times the batch, for a sum) means that all
    vectors are equal: the model has collapsed.

    A batch of one pair has no negatives: both hinges are 0 and so is the gradient. Values and
    gradients are finite at zero vectors and at equal rows; among equally close negatives the
    gradient is shared out as the backend's `max` does it (JAX and TensorFlow: evenly).

    Args:
        v1: vectors (batch, d) of the first questions; float16, bfloat16, float32 or float64.
        v2: vectors (batch, d) of the second questions; row i is a duplicate of row i of `v1`.
        margin: alpha, in units of cosine similarity; finite, not negative.
        closest: which negatives may be the closest one, see `closest_negative`.
        anchor: 'first': rows of `v1` are anchors, negatives come from `v2`; 'second': the reverse;
            'both': the mean of the two.
        reduction: 'mean' or 'sum' over the batch, or 'none': one loss a pair.
        normalize: scale the rows to length 1 first. Pass False for vectors that have length 1
            already; a warning is given, once, when they clearly have not.
        groups: pair of integer arrays (batch,), one id for each row of `v1` and of `v2`. Rows with
            equal ids are known duplicates: never each other's negatives, neither in the mean (its
            count shrinks too) nor as the closest. A pair with a negative id on either side is
            padding: not an anchor, nobody's negative, not counted in the mean over the batch.

    Returns:
        A scalar array, or (batch,) for reduction 'none', in the dtype of the inputs. Half precision
        is computed in float32. (JAX reads float64 as float32 unless `jax_enable_x64` is set.)

    Raises:
        TypeError: vectors that are not floating point, group ids that are not integers, a margin
            that is no number.
        ValueError: vectors that are not two matrices of one shape, group ids of another length, a
            margin that is negative or not finite, an unknown setting.

    Example:
        Anchor 1: positive 1, negative 0.6; anchor 2: positive 0.8, negative 0; both ahead by 0.25.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8]]))
        0.0

        Collapse: each negative is as near as the positive, so the loss is 2 * margin.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    _check_rule(margin, closest, anchor, reduction)
    v1, v2 = as_float(v1, "v1"), as_float(v2, "v2")
    if len(v1.shape) != 2 or len(v2.shape) != 2 or tuple(v1.shape) != tuple(v2.shape):
        raise ValueError(
            "triplet_loss takes two batches of vectors of one shape (batch, d), row i of v2 being a "
            f"duplicate of row i of v1, but v1 is {tuple(v1.shape)} and v2 is {tuple(v2.shape)}")
    if not normalize:
        _warn_unless_unit(v1, v2)
    wide1, wide2, dtype = widen_both(v1, v2)
    scores = similarity_matrix(wide1, wide2, normalize=normalize)
    losses = _anchor_losses(scores, anchor, groups, margin=margin, closest=closest)
    return jnp.asarray(_reduce(losses, reduction, negative_mask(scores, groups)[1]), dtype)


def TripletLoss(margin=0.25, *, closest="semi-hard", anchor="first", reduction="mean", normalize=True,
                with_groups=False):
    """Returns a layer that computes `triplet_loss`, to train with or to use as a metric of a Loop.

    The layer takes two inputs, the vectors (v1, v2), and prints as `TripletLoss_in2`. With
    `with_groups=True` it takes four, (v1, v2, ids1, ids2), and prints as `TripletLoss_in4`.

    Args:
        margin, closest, anchor, reduction, normalize: as in `triplet_loss`.
        with_groups: whether the group ids of both sides come as inputs three and four.

    Returns:
        A `tl.Fn` layer without weights.

    Raises:
        TypeError, ValueError: at once, for a setting that `triplet_loss` refuses.

    Example:
        >>> TripletLoss(margin=0.5)
        TripletLoss_in2
    """
    _check_rule(margin, closest, anchor, reduction)
    loss = functools.partial(triplet_loss, margin=margin, closest=closest, anchor=anchor,
                             reduction=reduction, normalize=normalize)
    if with_groups:
        return tl.Fn("TripletLoss", lambda v1, v2, ids1, ids2: loss(v1, v2, groups=(ids1, ids2)))
    return tl.Fn("TripletLoss", lambda v1, v2: loss(v1, v2))


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
        raise ValueError(f"margin must be finite and at least 0, such as 0.25, but it is {margin!r}")


def _check_rule(margin, closest, anchor, reduction):
    check_margin(margin)
    for name, value, allowed in (("closest", closest, CLOSEST), ("anchor", anchor, ANCHORS),
                                 ("reduction", reduction, REDUCTIONS)):
        _one_of(name, value, allowed)


def _anchor_losses(scores, anchor, groups, **rule):
    """Loss of each pair (batch,), anchored on one side or as the mean of both."""
    turned = None if groups is None else (groups[1], groups[0])
    first = sum(hinges(scores, groups=groups, **rule)) if anchor != "second" else None
    second = sum(hinges(jnp.transpose(scores), groups=turned, **rule)) if anchor != "first" else None
    return {"first": first, "second": second}.get(anchor) if anchor != "both" else (first + second) / 2


def _reduce(losses, reduction, present):
    """`losses` (batch,) reduced; the mean counts the pairs that are not padding."""
    if reduction == "none":
        return losses
    total = jnp.sum(losses)
    if reduction == "sum":
        return total
    ones = jnp.ones_like(losses)
    count = jnp.sum(jnp.where(present, ones, jnp.zeros_like(ones)))
    return total / jnp.maximum(count, jnp.ones_like(count))


def _square(scores):
    scores = as_float(scores, "scores")
    if len(scores.shape) != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError("scores must be a square matrix (batch, batch), anchors down and the other "
                         f"sides of the pairs across, but its shape is {tuple(scores.shape)}")
    return scores


def _one_of(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, but it is {value!r}")


_warned = []  # the warning about lengths is given once in a process


def _warn_unless_unit(*batches):
    """Warns where vectors taken as they are do not have length 1; traced values cannot be looked at."""
    if _warned:
        return
    for name, v in zip(("v1", "v2"), batches):
        try:
            rows = np.asarray(v).astype("float32")
        except (TypeError, NotImplementedError, ValueError):  # JAX, TensorFlow: no value while tracing
            return
        lengths = np.sqrt((rows * rows).sum(axis=1))
        if np.any(np.abs(lengths[lengths > 0] - 1) > 0.1):
            _warned.append(name)
            warnings.warn(
                f"the rows of {name} have lengths from {lengths.min():.3g} to {lengths.max():.3g}, but "
                "normalize=False takes them to be unit vectors. Was the whole batch normalised as one "
                "vector, for want of axis=-1? Use l2_normalize, or leave out normalize=False",
                stacklevel=3)
            return
