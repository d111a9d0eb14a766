"""The modified triplet loss as a function of a batch and as a layer; `steps` has it step by step.

Small batches are computed from their similarity matrix; large ones on JAX by `blockwise`, without
it.
"""

import functools
import warnings

import numpy as np

from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.distributed import jax_devices as devices
from trax_triplet.distributed import tf_replicas as replicas
from trax_triplet.kernels.blockwise import blockwise_losses
from trax_triplet.loss.negatives import group_ids, real_pairs
from trax_triplet.loss.similarity import as_float, l2_normalize, similarity_matrix, upcast_both
from trax_triplet.loss.steps import CLOSEST, anchor_hinges, check_margin, one_of

ANCHORS = ("first", "second", "both")
REDUCTIONS = ("mean", "sum", "none")
TRAX_AXIS = "batch"  # the axis over devices in Trax's training and evaluation

# Value and gradient, compiled, d = 128, two cores (AVX2): from 512 pairs on the form without the
# matrix took less time in every case measured; with ids of groups the matrix is ahead up to 128
# pairs (anchor='both': 256).
BLOCKWISE_FROM = 512


def triplet_loss(
    v1,
    v2,
    *,
    margin=0.25,
    closest="semi-hard",
    anchor="first",
    reduction="mean",
    normalize=True,
    groups=None,
    block=None,
    axis_name=None,
):
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

    On several devices, inside `pmap` or `shard_map` (TensorFlow: inside a `tf.distribute`
    strategy's `run`), the negatives come from all of them: each device passes its own rows, and the
    mean over the devices of what is returned is the loss of the whole batch. So it is for the
    gradients, which Trax averages over the devices, too.

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
            padding: not an anchor, nobody's negative, not counted in the mean over the batch. On
            several devices the ids are those of the whole batch.
        block: None: from 512 pairs on JAX never makes the (batch, batch) similarities, see
            `blockwise`:
            less time and memory, the same results; its gradient cannot be differentiated again. A
            positive integer: so for any batch, that many anchors at a time. 0: never.
        axis_name: the axis over devices from all of which negatives come, where one of that name is
            in use. None: 'batch', Trax's, and the replicas of TensorFlow. False: each device looks
            at its own rows only.

    Returns:
        A scalar array, or (batch,) for reduction 'none' (on several
        devices: of the device's own pairs), in the dtype of the inputs. Half precision
        is computed in float32. (JAX reads float64 as float32 unless `jax_enable_x64` is set.)

    Raises:
        TypeError: vectors that are not floating point, group ids that are not integers, a margin
            that is no number, a block that is no integer, an axis_name that is no text.
        ValueError: vectors that are not two matrices of one shape, no pair at all, group ids of
            another length, a margin that is negative or not finite, a negative block, a block on
            another backend than JAX, an unknown setting.
        NotImplementedError: second derivatives of the form without the matrix.

    Example:
        Anchor 1: positive 1, negative 0.6; anchor 2: positive 0.8, negative 0; both ahead by 0.25.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8]]))
        0.0

        Collapse: each negative is as near as the positive, so the loss is 2 * margin.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    check_rule(margin, closest, anchor, reduction)
    _check_form(block, axis_name)
    v1, v2 = as_float(v1, "v1"), as_float(v2, "v2")
    if len(v1.shape) != 2 or len(v2.shape) != 2 or tuple(v1.shape) != tuple(v2.shape):
        raise ValueError(
            "triplet_loss takes two batches of vectors of one shape (batch, d), row i of v2 being a "
            f"duplicate of row i of v1, but v1 is {tuple(v1.shape)} and v2 is {tuple(v2.shape)}"
        )
    if 0 in tuple(v1.shape):
        raise ValueError(
            "triplet_loss takes at least one pair of vectors of at least one entry, but v1 and v2 are "
            f"{tuple(v1.shape)}"
        )
    if not normalize:
        _warn_unless_unit(v1, v2)
    wide1, wide2, dtype = upcast_both(v1, v2)
    if normalize:
        wide1, wide2 = l2_normalize(wide1), l2_normalize(wide2)
    groups = None if groups is None else group_ids(groups, v1.shape[0])
    (whole1, whole2, groups), n_devices = _of_all_devices((wide1, wide2, groups), axis_name)
    rule = {"margin": margin, "closest": closest}
    if _without_matrix(block, whole1.shape[0]):
        losses = _blockwise_losses(
            (wide1, whole1), (wide2, whole2), anchor, groups, block=block or None, **rule
        )
    else:
        losses = _plain_losses((wide1, whole1), (wide2, whole2), anchor, groups, **rule)
    return jnp.asarray(_reduce(losses, reduction, groups, whole1, n_devices), dtype)


def TripletLoss(
    margin=0.25,
    *,
    closest="semi-hard",
    anchor="first",
    reduction="mean",
    normalize=True,
    with_groups=False,
    block=None,
    axis_name=None,
):
    """Returns a layer that computes `triplet_loss`, to train with or to use as a metric of a Loop.

    The layer takes two inputs, the vectors (v1, v2), and prints as `TripletLoss_in2`. With
    `with_groups=True` it takes four, (v1, v2, ids1, ids2), and prints as `TripletLoss_in4`.

    Args:
        margin, closest, anchor, reduction, normalize, block, axis_name: as in `triplet_loss`.
        with_groups: whether the group ids of both sides come as inputs three and four.

    Returns:
        A `tl.Fn` layer without weights.

    Raises:
        TypeError, ValueError: at once, for a setting that `triplet_loss` refuses.

    Example:
        >>> TripletLoss(margin=0.5)
        TripletLoss_in2
    """
    check_rule(margin, closest, anchor, reduction)
    _check_form(block, axis_name)
    loss = functools.partial(
        triplet_loss,
        margin=margin,
        closest=closest,
        anchor=anchor,
        reduction=reduction,
        normalize=normalize,
        block=block,
        axis_name=axis_name,
    )
    if with_groups:
        return tl.Fn("TripletLoss", lambda v1, v2, ids1, ids2: loss(v1, v2, groups=(ids1, ids2)))
    return tl.Fn("TripletLoss", lambda v1, v2: loss(v1, v2))


def check_rule(margin, closest, anchor, reduction):
    """Refuses a setting that `triplet_loss` does not have.

    Raises:
        TypeError, ValueError: which say what it has.

    Example:
        >>> check_rule(0.25, "semi-hard", "first", "mean")
    """
    check_margin(margin)
    for name, value, allowed in (
        ("closest", closest, CLOSEST),
        ("anchor", anchor, ANCHORS),
        ("reduction", reduction, REDUCTIONS),
    ):
        one_of(name, value, allowed)


def _check_form(block, axis_name):
    if block is not None and (isinstance(block, bool) or not isinstance(block, int)):
        raise TypeError(
            f"block must be None (automatic), 0 (the whole matrix) or a number of anchors, not {block!r}"
        )
    if block is not None and block < 0:
        raise ValueError(
            f"block must be None (automatic), 0 (the whole matrix) or positive, but it is {block}"
        )
    if axis_name is not None and axis_name is not False and not isinstance(axis_name, str):
        raise TypeError(
            "axis_name must be the name of an axis over devices, None (Trax's, 'batch') or False (each "
            f"device on its own), but it is {axis_name!r}"
        )


def _on_jax():
    return fastmath.is_backend(fastmath.Backend.JAX)


def _on_tensorflow():
    return fastmath.is_backend(fastmath.Backend.TFNP)


def _without_matrix(block, batch):
    if not _on_jax():
        if block:
            raise ValueError(
                f"block={block} needs the JAX backend; on this one leave it out, or pass 0"
            )
        return False
    return batch >= BLOCKWISE_FROM if block is None else block > 0


def _of_all_devices(rows, axis_name):
    """These arrays with the rows of all devices, the own ones first; and how many devices there
    are."""
    if axis_name is False:
        return rows, 1
    if not _on_jax():
        return (
            replicas.all_gather_local_first(rows)
            if axis_name is None and _on_tensorflow()
            else (rows, 1)
        )
    axis = TRAX_AXIS if axis_name is None else axis_name
    n_devices = devices.axis_size(axis)
    return (
        (rows, 1) if n_devices is None else (devices.all_gather_local_first(rows, axis), n_devices)
    )


def _plain_losses(first, second, anchor, groups, **rule):
    """Loss of each own pair from the similarity matrix; a side is (own rows, all rows with the own
    ones first)."""
    (v1, whole1), (v2, whole2) = first, second
    transposed = None if groups is None else groups[::-1]
    scores = (
        similarity_matrix(v1, whole2, normalize=False)
        if anchor != "second" or whole1 is v1
        else None
    )
    losses = []
    if anchor != "second":
        losses.append(sum(anchor_hinges(scores, groups=groups, **rule)))
    if anchor != "first":
        scores = (
            jnp.transpose(scores)
            if whole1 is v1
            else similarity_matrix(v2, whole1, normalize=False)
        )
        losses.append(sum(anchor_hinges(scores, groups=transposed, **rule)))
    return sum(losses) / len(losses)


def _blockwise_losses(first, second, anchor, groups, **rule):
    (v1, whole1), (v2, whole2) = first, second
    if whole1 is v1:
        return blockwise_losses(v1, v2, groups, anchor=anchor, **rule)
    losses = []
    if anchor != "second":
        losses.append(blockwise_losses(v1, whole2, groups, **rule))
    if anchor != "first":
        losses.append(
            blockwise_losses(v2, whole1, None if groups is None else groups[::-1], **rule)
        )
    return sum(losses) / len(losses)


def _reduce(losses, reduction, groups, whole, n_devices):
    """`losses` of the own pairs reduced, so that the mean over the devices is that of the whole
    batch.

    The mean counts the pairs that are not padding, on all devices.
    """
    if reduction == "none":
        return losses
    total = jnp.sum(losses) * n_devices if n_devices > 1 else jnp.sum(losses)
    if reduction == "sum":
        return total
    ones = jnp.ones_like(whole[:, 0])
    count = jnp.sum(
        ones if groups is None else jnp.where(real_pairs(groups), ones, jnp.zeros_like(ones))
    )
    return total / jnp.maximum(count, jnp.ones_like(count))


_warned = []  # the warning about lengths is given once in a process


def _warn_unless_unit(*batches):
    """Warns where vectors taken as they are do not have length 1; traced values cannot be looked
    at."""
    if _warned:
        return
    for name, v in zip(("v1", "v2"), batches):
        try:
            rows = np.asarray(v).astype("float32")
        except (
            TypeError,
            NotImplementedError,
            ValueError,
        ):  # JAX, TensorFlow: no value while tracing
            return
        lengths = np.sqrt((rows * rows).sum(axis=1))
        if np.any(np.abs(lengths[lengths > 0] - 1) > 0.1):
            _warned.append(name)
            warnings.warn(
                f"the rows of {name} have lengths from {lengths.min():.3g} to {lengths.max():.3g}, but "
                "normalize=False takes them to be unit vectors. Was the whole batch normalised as one "
                "vector, for want of axis=-1? Scale each row on its own, as l2_normalize does",
                stacklevel=3,
            )
            return
