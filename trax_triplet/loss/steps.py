"""The steps of the modified triplet loss: positives, mean negative, closest negative, hinges.

For a batch of pairs, `scores[i, j]` is the similarity of anchor i and the other side of pair j. The
diagonal holds the positives, everything else negatives, unless ids say that two rows belong
together. Like `similarity`, this runs on JAX, NumPy and TensorFlow through `trax.fastmath.numpy`.
The steps that users call check what they are given; `anchor_hinges` takes what was checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import jax_devices, jnp, tf_replicas
from trax_triplet.loss.rules import CLOSEST, NO_NEGATIVE, by_rule, real_pairs
from trax_triplet.loss.similarity import as_float, dtype_name, nan_like, upcast, upcast_both

__all__ = [
    "anchor_hinges",
    "closest_negative",
    "concrete",
    "group_ids",
    "hinge",
    "hinges",
    "mean_negative",
    "negative_mask",
    "positives",
]

Groups = tuple[Array, Array]


def positives(scores: Array) -> Array:
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


def mean_negative(scores: Array, *, groups: Groups | None = None) -> Array:
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
    return jnp.asarray(_mean(upcast(scores), _checked_mask(scores, groups)), scores.dtype)


def closest_negative(
    scores: Array, *, closest: str = "semi-hard", groups: Groups | None = None
) -> Array:
    """The hard negative of each anchor: the largest similarity to a negative that qualifies.

    Args:
        scores: similarities (batch, batch), floating point.
        closest: which negatives qualify. 'semi-hard': those not above the anchor's positive (the
            lecture); 'hardest': all of them; 'shifted': all, but one above the positive counts as
            itself minus 2 (how the Keras assignment writes semi-hard).
        groups: known duplicates, as in `triplet_loss`; they never qualify.

    Returns:
        Array (batch,); -2, below every cosine, where none qualifies; NaN where a negative is NaN,
        or the positive that it is to be compared with.

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
    check.one_of("closest", closest, CLOSEST)
    scores = _square(scores)
    negative = _checked_mask(scores, groups)
    return jnp.asarray(_closest(upcast(scores), closest, negative), scores.dtype)


def hinge(positive: Array, negative: Array, *, margin: float = 0.25) -> Array:
    """max(negative - positive + margin, 0): zero once the positive is ahead by the margin.

    Where the two sides of the maximum are equal the gradient is 0, on every backend. NaN and
    infinity give NaN.

    Args:
        positive: similarity of each anchor to its duplicate, (batch,).
        negative: its mean or closest negative, (batch,).
        margin: how far the positive must be ahead (alpha in the lecture), finite, not negative.

    Returns:
        Array (batch,), not negative.

    Raises:
        TypeError: integer dtype, or a margin that is not a number.
        ValueError: two shapes, or a margin that is negative, infinite or NaN.

    Example:
        >>> hinge([1.0, 0.5], [0.5, 0.5], margin=0.25).tolist()
        [0.0, 0.25]
    """
    margin = check.margin(margin)
    positive, negative = as_float("positive", positive), as_float("negative", negative)
    if not _may_be_equal(positive.shape, negative.shape):  # else one would be broadcast
        expected = f"of positive's shape {tuple(positive.shape)}"
        raise check.wrong_value("negative", expected, negative)
    wide_positive, wide_negative, dtype = upcast_both(positive, negative)
    return jnp.asarray(_hinge(wide_positive, wide_negative, margin), dtype)


def hinges(
    scores: Array,
    *,
    margin: float = 0.25,
    closest: str = "semi-hard",
    groups: Groups | None = None,
) -> tuple[Array, Array]:
    """Both hinges of every anchor: against its mean negative, and against its closest negative.

    Args:
        scores, closest, groups: as in `closest_negative`.
        margin: as in `hinge`.

    Returns:
        Two arrays (batch,), L1 (mean negative) and L2 (closest negative), to be added; both 0 for
        an anchor without negatives. NaN or infinity in an anchor's positive or negatives gives NaN.

    Raises:
        TypeError, ValueError: as in `closest_negative` and `hinge`.

    Example:
        >>> l1, l2 = hinges([[0.5, 0.5], [0.0, 1.0]], margin=0.25)
        >>> l1.tolist(), l2.tolist()
        ([0.25, 0.0], [0.25, 0.0])
        >>> [losses.tolist() for losses in hinges([[0.5]])]
        [[0.0], [0.0]]
    """
    margin = check.margin(margin)
    check.one_of("closest", closest, CLOSEST)
    scores = _square(scores)
    if groups is not None:
        real = real_pairs(group_ids(groups, scores.shape[0]))
        both_real = jnp.logical_and(jnp.expand_dims(real, 1), jnp.expand_dims(real, 0))
        scores = jnp.where(both_real, scores, jnp.zeros_like(scores))
    negative = _checked_mask(scores, groups)
    l1, l2 = anchor_hinges(upcast(scores), negative, margin=margin, closest=closest)
    return jnp.asarray(l1, scores.dtype), jnp.asarray(l2, scores.dtype)


def anchor_hinges(
    wide: Array, negative: Array, *, margin: float, closest: str
) -> tuple[Array, Array]:
    """`hinges` of some anchors only, whose pairs come first among the others; checks nothing.

    Args:
        wide: similarities (anchors, batch), anchors <= batch, not in half precision; those of
            padding are finite.
        negative: bool (anchors, batch), which are negatives: see `negative_mask`.
        margin, closest: as in `hinges`.

    Returns:
        Two arrays (anchors,).

    Example:
        >>> wide, negative = jnp.asarray([[0.5, 0.5]]), jnp.asarray([[False, True]])
        >>> both = anchor_hinges(wide, negative, margin=0.25, closest="hardest")
        >>> [losses.tolist() for losses in both]
        [[0.25], [0.25]]
    """
    has_negatives = jnp.any(negative, axis=1)
    positive = jnp.diagonal(wide)
    against_mean = _hinge(positive, _mean(wide, negative), margin)
    against_closest = _hinge(positive, _closest(wide, closest, negative), margin)
    alone = jnp.zeros_like(positive)
    alone = jnp.where(jnp.isfinite(positive), alone, nan_like(alone))
    return (
        jnp.where(has_negatives, against_mean, alone),
        jnp.where(has_negatives, against_closest, alone),
    )


def _mean(wide: Array, negative: Array) -> Array:
    zeros = jnp.zeros_like(wide)
    total = jnp.sum(jnp.where(negative, wide, zeros), axis=1)
    count = jnp.sum(jnp.where(negative, jnp.ones_like(wide), zeros), axis=1)
    return total / jnp.maximum(count, jnp.ones_like(count))


def _closest(wide: Array, closest: str, negative: Array) -> Array:
    positive = jnp.expand_dims(jnp.diagonal(wide), 1)
    counted, qualifies = by_rule(jnp, closest, wide, positive, negative)
    # In the Keras assignment's row the places that are not negatives hold -2.
    lowest = NO_NEGATIVE if closest == "shifted" else float(np.finfo("float32").min)
    highest = jnp.max(jnp.where(qualifies, counted, jnp.full_like(wide, lowest)), axis=1)
    found = jnp.where(jnp.any(qualifies, axis=1), highest, jnp.full_like(highest, NO_NEGATIVE))
    # The backends' maxima may or may not pass NaN on.
    is_lost = jnp.any(jnp.logical_and(negative, jnp.isnan(wide)), axis=1)
    if closest != "hardest":
        is_lost = jnp.logical_or(is_lost, jnp.isnan(jnp.diagonal(wide)))
    return jnp.where(is_lost, nan_like(found), found)


def _hinge(positive: Array, negative: Array, margin: float) -> Array:
    lack = negative - positive + margin
    zeros = jnp.zeros_like(lack)
    # NaN is neither above 0 nor below: it must not pass for the best loss there is.
    hinge = jnp.where(lack <= 0, zeros, lack)
    return jnp.where(jnp.isfinite(lack), hinge, nan_like(lack))


# --- who is whose negative: all of the others but known duplicates and padding --------------------


def negative_mask(scores: Array, groups: Groups | None = None, real: Array | None = None) -> Array:
    """Which entries of a similarity matrix are negatives of their row's anchor; checks nothing.

    Args:
        scores: similarities (batch, batch); only the shape counts. With fewer rows, the anchors are
            the first pairs of the batch.
        groups: what `group_ids` gave: ids of the anchors' and of the other side's rows. Rows with
            equal ids are known duplicates, so not negatives. None: all but the diagonal.
        real: what `real_pairs` says of the groups. A pair that is padding has no negatives and is
            nobody's.

    Returns:
        Boolean array of scores' shape.

    Example:
        >>> groups = group_ids(([4, 4, -1], [4, 5, -1]), 3)
        >>> negative_mask(jnp.zeros((3, 3)), groups, real_pairs(groups)).tolist()
        [[False, True, False], [False, False, False], [False, False, False]]
    """
    # Row numbers by a running sum: inside tf.function the batch may have no length yet.
    row = jnp.cumsum(jnp.asarray(jnp.ones_like(scores[:, 0]), "int32"))
    # There may be no anchor: a replica without rows of its own.
    column = jnp.cumsum(jnp.asarray(jnp.ones_like(jnp.sum(scores, axis=0)), "int32"))
    other = jnp.expand_dims(row, 1) != jnp.expand_dims(column, 0)
    if groups is None or real is None:
        return other
    anchors = scores.shape[0]
    # TensorFlow may not know yet how many anchors there are.
    own_ids, own_real = (
        x[:anchors] if anchors is not None else jnp.take(x, row - 1) for x in (groups[0], real)
    )
    apart = jnp.expand_dims(own_ids, 1) != jnp.expand_dims(groups[1], 0)
    both_real = jnp.logical_and(jnp.expand_dims(own_real, 1), jnp.expand_dims(real, 0))
    return jnp.logical_and(jnp.logical_and(other, apart), both_real)


def _checked_mask(scores: Array, groups: Groups | None) -> Array:
    if groups is None:
        return negative_mask(scores)
    ids = group_ids(groups, scores.shape[0])
    return negative_mask(scores, ids, real_pairs(ids))


_INT32 = ("int8", "int16", "int32", "uint8", "uint16")  # what int32 holds
_INT64 = (*_INT32, "int64", "uint32")


def group_ids(groups: Groups, batch: int | None) -> Groups:
    """The two arrays of ids on the current backend, once they are known to fit a batch.

    Equal ids stay equal, others stay apart, and -1 stays -1, however large they are.

    Args:
        groups: pair of integer arrays (batch,), of any library, or lists.
        batch: number of pairs; None: not known yet.

    Returns:
        Arrays of int32 or int64. Ids that the backend has no such type for are numbered anew.

    Raises:
        TypeError: not a pair, or not of integers; ids that are traced, so that they cannot be
            numbered anew, of a type that the backend cannot compare.
        ValueError: of another length.

    Example:
        >>> [ids.tolist() for ids in group_ids(([4, 4], [4, 5]), 2)]
        [[4, 4], [4, 5]]
        >>> [ids.tolist() for ids in group_ids(([2**80, -1], [7, 2**40]), 2)]
        [[3, -1], [1, 2]]
    """
    expected = "a pair of arrays, (ids of v1's rows, ids of v2's rows)"
    advice = "pass the same array twice if both sides share their ids"
    if not isinstance(groups, (tuple, list)):
        raise check.wrong_type("groups", expected, groups, advice)
    if len(groups) != 2:
        raise check.wrong_value("groups", expected, groups, advice)
    columns = [
        jax_devices.replicated(integer_column(f"groups[{side}]", ids, batch))
        for side, ids in enumerate(groups)
    ]
    names = {dtype_name(ids) for ids in columns}
    if names.issubset(_INT32):
        return jnp.asarray(columns[0], "int32"), jnp.asarray(columns[1], "int32")
    if names.issubset(_INT64) and _has_int64():
        return jnp.asarray(columns[0], "int64"), jnp.asarray(columns[1], "int64")
    values = []
    for side, ids in enumerate(columns):
        known = concrete(ids)
        # Replicas would number theirs each in its own way.
        if known is None or tf_replicas.n_replicas() > 1:
            advice = "number them from 0 on before, as np.unique(ids, return_inverse=True) does"
            raise check.wrong_type(f"groups[{side}]", "int32 where it is traced", ids, advice)
        values.append(known)
    first, second = check.small_ids(*values)
    return jnp.asarray(first), jnp.asarray(second)


def _has_int64() -> bool:
    """Whether the backend has int64; JAX makes int32 of it, unless told otherwise."""
    return dtype_name(jnp.asarray(np.zeros(1, np.int64))) == "int64"


def concrete(x: Any) -> np.ndarray | None:
    """The array's values; None where it has none yet, because it is being traced.

    Example:
        >>> concrete(jnp.asarray([1, 2])).tolist()
        [1, 2]
    """
    try:
        return np.asarray(x)
    except (TypeError, NotImplementedError, ValueError):
        return None


def integer_column(name: str, values: Any, batch: int | None) -> Array:
    """One integer for each pair, in an array of the library that it came in; lists in NumPy's.

    Args:
        name: of the argument, as the user knows it.
        values: integer array (batch,), of any library, or a list.
        batch: as in `group_ids`.

    Raises:
        TypeError: not integers.
        ValueError: of another length, or an entry is missing.

    Example:
        >>> integer_column("labels", [1, 0], 2).tolist()
        [1, 0]
    """
    expected = "integers, one for each pair"
    found = check.complete(name, values)
    if isinstance(found, np.ndarray) or not hasattr(found, "dtype"):
        found = check.integers(name, found, expected)
    elif "int" not in dtype_name(found):
        raise check.wrong_type(name, expected, found)
    if len(found.shape) != 1 or (batch is not None and found.shape[0] not in (batch, None)):
        raise check.wrong_value(name, f"integers of shape ({batch},)", found)
    return found


def _may_be_equal(a: tuple, b: tuple) -> bool:
    """Whether two shapes may be one; inside tf.function a length may be unknown, None."""
    return len(a) == len(b) and all(None in (m, n) or m == n for m, n in zip(a, b, strict=True))


def _square(scores: Array) -> Array:
    scores = jax_devices.replicated(as_float("scores", scores))
    shape = tuple(scores.shape)
    if len(shape) != 2 or shape[0] != shape[1] or 0 in shape:
        expected = "a square matrix (batch, batch) of at least one pair"
        advice = "anchors go down, the other sides of the pairs across"
        raise check.wrong_value("scores", expected, scores, advice)
    return scores
