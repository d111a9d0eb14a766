"""Which rows of a batch are negatives of which: all of the others but known duplicates and
padding."""

import numpy as np

from trax_triplet.compat import jnp
from trax_triplet.loss.similarity import dtype_name


def negative_mask(scores, groups=None):
    """Which entries of a similarity matrix are negatives, and which pairs are real.

    Args:
        scores: similarities (batch, batch); only the shape counts. With fewer rows, the anchors are
            the first pairs of the batch.
        groups: pair of integer arrays (batch,), ids of the anchors' and of the other side's rows.
            Rows with equal ids are known duplicates, so no negatives. A pair with a negative id on
            either side is padding: it has no negatives and is nobody's. None: all but the diagonal.

    Returns:
        Two boolean arrays: of scores' shape, entry [i, j] true where j is a negative of anchor i;
        and (batch,), true where the pair is no padding.

    Raises:
        ValueError: scores that are no matrix, groups that are not two arrays of the batch's length.
        TypeError: ids that are not integers.

    Example:
        >>> mask, real = negative_mask([[0.0] * 3] * 3, ([4, 4, -1], [4, 5, -1]))
        >>> mask.tolist()
        [[False, True, False], [False, False, False], [False, False, False]]
        >>> real.tolist()
        [True, True, False]
    """
    scores = jnp.asarray(scores)
    if len(scores.shape) != 2:
        raise ValueError(
            f"scores must be a matrix (batch, batch), but its shape is {tuple(scores.shape)}"
        )
    # Row numbers by a running sum: inside tf.function the batch may have no length yet.
    row = jnp.cumsum(jnp.asarray(jnp.ones_like(scores[:, 0]), "int32"))
    # There may be no anchor: a replica without rows of its own.
    column = jnp.cumsum(jnp.asarray(jnp.ones_like(jnp.sum(scores, axis=0)), "int32"))
    other = jnp.expand_dims(row, 1) != jnp.expand_dims(column, 0)
    if groups is None:
        return other, row > 0
    ids1, ids2 = groups = group_ids(groups, scores.shape[1])
    present, anchors = real_pairs(groups), scores.shape[0]
    # TensorFlow may not know yet how many anchors there are.
    ids_of_own, own_present = (
        x[:anchors] if anchors is not None else jnp.take(x, row - 1) for x in (ids1, present)
    )
    apart = jnp.expand_dims(ids_of_own, 1) != jnp.expand_dims(ids2, 0)
    both_present = jnp.logical_and(jnp.expand_dims(own_present, 1), jnp.expand_dims(present, 0))
    return jnp.logical_and(jnp.logical_and(other, apart), both_present), present


def real_pairs(ids):
    """Which pairs are no padding: those whose two ids are not negative.

    Example:
        >>> real_pairs(group_ids(([4, 4, -1], [4, 5, 2]), 3)).tolist()
        [True, True, False]
    """
    return jnp.logical_and(ids[0] >= 0, ids[1] >= 0)


def group_ids(groups, batch):
    """The two arrays of ids on the current backend; an error in words unless they fit a batch of
    that size.

    Example:
        >>> [ids.tolist() for ids in group_ids(([4, 4], [4, 5]), 2)]
        [[4, 4], [4, 5]]
    """
    if not isinstance(groups, (tuple, list)) or len(groups) != 2:
        raise ValueError(
            "groups must be a pair of arrays, (ids of v1's rows, ids of v2's rows); "
            "pass the same array twice if both sides share their ids"
        )
    ids = tuple(g if hasattr(g, "dtype") else np.asarray(g) for g in groups)
    for side, g in zip(("first", "second"), ids):
        if "int" not in dtype_name(g):
            raise TypeError(
                f"the {side} array of groups has dtype {dtype_name(g)}; ids are integers"
            )
        if len(g.shape) != 1 or (batch is not None and g.shape[0] not in (batch, None)):
            raise ValueError(
                f"the {side} array of groups must hold one id for each of the {batch} "
                f"pairs, shape ({batch},), but its shape is {tuple(g.shape)}"
            )
    return tuple(jnp.asarray(g) for g in ids)
