"""The modified triplet loss as a function of a batch and as a layer; `steps` has it step by step.

Small batches are computed from their similarity matrix; large ones on JAX by `blockwise`, without
it.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, Literal

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import fastmath, jax_devices, jnp, tf_replicas, tl
from trax_triplet.loss.blockwise import blockwise_losses
from trax_triplet.loss.rules import CLOSEST, real_pairs
from trax_triplet.loss.similarity import as_float, finite_or_nan, unit_vectors, upcast_both
from trax_triplet.loss.steps import Groups, anchor_hinges, concrete, group_ids, negative_mask

__all__ = ["TripletLoss", "triplet_loss"]

ANCHORS = ("first", "second", "both")
REDUCTIONS = ("mean", "sum", "none")
TRAX_AXIS = "batch"  # the axis over devices in Trax's training and evaluation

# Value and gradient, compiled, d = 128, two cores (AVX2): from 512 pairs on the form without the
# matrix took less time in every case measured; with ids of groups the matrix is ahead up to 128
# pairs (anchor='both': 256).
BLOCKWISE_FROM = 512


def triplet_loss(
    v1: Array,
    v2: Array,
    *,
    margin: float = 0.25,
    closest: str = "semi-hard",
    anchor: str = "first",
    reduction: str = "mean",
    normalize: bool = True,
    groups: Groups | None = None,
    block: int | None = None,
    axis_name: str | Literal[False] | None = None,
) -> Array:
    """The modified triplet loss of a batch of duplicate pairs.

    With s(A, P) an anchor's positive, its mean negative and its closest negative among the batch:

        L = max(mean_negative - s(A, P) + margin, 0) + max(closest_negative - s(A, P) + margin, 0)

    The rules of the course are settings of this function:

        | rule                      | closest     | anchor   | reduction | normalize |
        |---------------------------|-------------|----------|-----------|-----------|
        | lecture and its lab       | 'semi-hard' | 'first'  | 'sum'     | True      |
        | Trax assignment, 2020-22  | 'hardest'   | 'first'  | 'mean'    | False     |
        | Trax assignment, 2023     | 'shifted'   | 'first'  | 'sum'     | False     |
        | Keras assignment          | 'shifted'   | 'second' | 'sum'     | False     |

    The default is the lecture's rule with the mean over the batch, so that the loss does not grow
    with the batch. A loss that stays at 2 * margin (times the batch, for a sum) means that all
    vectors are equal: the model has collapsed.

    A batch of one pair has no negatives: both hinges are 0 and so is the gradient. Values and
    gradients are finite at zero vectors and at equal rows; among equally close negatives the
    gradient is shared out as the backend's `max` does it (JAX and TensorFlow: evenly). A pair with
    NaN or infinity in it, or compared with one, has the loss NaN.

    On several devices, inside `pmap` or `shard_map` (TensorFlow: inside a `tf.distribute`
    strategy's `run`), the negatives come from all of them: each device passes its own rows, and the
    mean over the devices of what is returned is the loss of the whole batch. So it is for the
    gradients, which Trax averages over the devices, too. Arrays whose rows lie on a mesh of devices
    are taken as the whole batch; on one with explicit axes, each device computes all of the loss.

    Args:
        v1: vectors (batch, d) of the first questions; float16, bfloat16, float32 or float64.
        v2: vectors (batch, d) of the second questions; row i is a duplicate of row i of `v1`.
        margin: alpha, in units of cosine similarity; finite, not negative.
        closest: which negatives may be the closest one, see `closest_negative`.
        anchor: 'first': rows of `v1` are anchors, negatives come from `v2`; 'second': the reverse;
            'both': the mean of the two.
        reduction: 'mean' or 'sum' over the batch, or 'none': one loss a pair.
        normalize: scale the rows to length 1 first. Pass False for vectors that have length 1
            already; a warning is given, once, when they clearly do not.
        groups: pair of integer arrays (batch,), one id for each row of `v1` and of `v2`. Rows with
            equal ids are known duplicates: never each other's negatives, neither in the mean (its
            count shrinks too) nor as the closest. A pair with the id -1 on either side is padding:
            not an anchor, nobody's negative, not counted in the mean over the batch, whatever its
            vectors hold. All other integers are ids, of any size and sign, while their values are
            known; traced ones (`jit`, `tf.function`) are compared in their own dtype, which JAX
            cuts to int32 beforehand unless `jax_enable_x64` is set: number larger ones anew. On
            several devices the ids are those of the whole batch.
        block: None: from 512 pairs on JAX never makes the (batch, batch) similarities, see
            `blockwise`: less time and memory, the same results and derivatives. A positive integer:
            so for any batch, that many anchors at a time. 0: never.
        axis_name: the axis over devices from all of which negatives come, where one of that name is
            in use. None: 'batch', Trax's, and the replicas of TensorFlow. False: each device looks
            at its own rows only.

    Returns:
        A scalar array, or (batch,) for reduction 'none' (on several devices: of the device's own
        pairs), in the dtype of the inputs. Half precision is computed in float32. (JAX takes
        float64 as float32 unless `jax_enable_x64` is set.)

    Raises:
        TypeError: vectors that are not floating point, groups that are not a pair of integer
            arrays, traced ones of a dtype that cannot be compared, a setting of the wrong type.
        ValueError: vectors that are not two matrices of one shape, no pair at all, group ids of
            another length, a margin that is negative or not finite, a negative block, a block on
            another backend than JAX, an unknown setting.

    Example:
        Anchor 1: positive 1, negative 0.6; anchor 2: positive 0.8, negative 0; both ahead by 0.25.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8]]))
        0.0

        Collapse: each negative is as near as the positive, so the loss is 2 * margin.

        >>> float(triplet_loss([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    margin = check_rule(margin, closest, anchor, reduction)
    check_form(normalize, block, axis_name)
    v1, v2 = paired_vectors(v1, v2)
    if not normalize:
        _warn_unless_unit(v1, v2)
    wide1, wide2, dtype = upcast_both(v1, v2)
    if groups is not None:
        groups = group_ids(groups, v1.shape[0])
        wide1, wide2 = without_padding(real_pairs(groups), wide1, wide2)
    prepare = unit_vectors if normalize else finite_or_nan
    own = prepare(wide1), prepare(wide2)
    (*all_vectors, groups), n_devices = of_all_devices((*own, groups), axis_name)
    real = None if groups is None else real_pairs(groups)
    rule = {"margin": margin, "closest": closest}
    if _without_matrix(block, all_vectors[0].shape[0]):
        losses = _blockwise_losses(own, all_vectors, anchor, groups, block=block or None, **rule)
    else:
        scored = _scores_and_negatives(own, all_vectors, anchor, groups, real)
        losses = _mean_of([sum(anchor_hinges(*both, **rule)) for both in scored])
    return jnp.asarray(_reduce(losses, reduction, real, all_vectors[0], n_devices), dtype)


def TripletLoss(
    margin: float = 0.25,
    *,
    closest: str = "semi-hard",
    anchor: str = "first",
    reduction: str = "mean",
    normalize: bool = True,
    with_groups: bool = False,
    block: int | None = None,
    axis_name: str | Literal[False] | None = None,
) -> Any:
    """Returns a layer that computes `triplet_loss`, to train with or to use as a metric of a Loop.

    Not to be confused with `trax_triplet.course.TripletLoss` (the Trax assignment's layer) and
    `trax_triplet.keras.TripletLoss` (a function for Keras' `compile`).

    The layer takes two inputs, the vectors (v1, v2), and prints as `TripletLoss_in2`. With
    `with_groups=True` it takes four, (v1, v2, ids1, ids2), and prints as `TripletLoss_in4`.

    Args:
        margin, closest, anchor, reduction, normalize, block, axis_name: as in `triplet_loss`.
        with_groups: whether the group ids of both sides come as inputs three and four.

    Returns:
        A layer without weights, which can be pickled.

    Raises:
        TypeError, ValueError: at once, for a setting that `triplet_loss` refuses.

    Example:
        >>> TripletLoss(margin=0.5)
        TripletLoss_in2
    """
    check_rule(margin, closest, anchor, reduction)
    check_form(normalize, block, axis_name)
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
    n_in = 4 if check.boolean("with_groups", with_groups) else 2
    return tl.PureLayer(functools.partial(_of_inputs, loss), n_in=n_in, name="TripletLoss")


def _of_inputs(loss: Any, inputs: tuple) -> Array:
    """A layer's loss; not a function within another, which could not be pickled."""
    v1, v2, *ids = inputs
    return loss(v1, v2, groups=tuple(ids)) if ids else loss(v1, v2)


def check_rule(margin: float, closest: str, anchor: str, reduction: str) -> float:
    """Refuses a setting that `triplet_loss` does not have.

    Returns:
        The margin as a float.

    Raises:
        TypeError, ValueError: which say what it has.

    Example:
        >>> check_rule(0.25, "semi-hard", "first", "mean")
        0.25
    """
    check.one_of("closest", closest, CLOSEST)
    check.one_of("anchor", anchor, ANCHORS)
    check.one_of("reduction", reduction, REDUCTIONS)
    return check.margin(margin)


def paired_vectors(v1: Array, v2: Array) -> tuple[Array, Array]:
    """Both sides of a batch as arrays of the current backend, once they are known to fit.

    Raises:
        TypeError: not floating point.
        ValueError: not two matrices of one shape, or no pair at all.

    Example:
        >>> [v.shape for v in paired_vectors([[1.0, 0.0]], [[0.0, 1.0]])]
        [(1, 2), (1, 2)]
    """
    v1, v2 = (jax_devices.replicated(as_float(name, v)) for name, v in (("v1", v1), ("v2", v2)))
    if len(v1.shape) != 2 or 0 in tuple(v1.shape):
        expected = "vectors (batch, d), at least one pair of at least one entry"
        raise check.wrong_value("v1", expected, v1)
    if tuple(v1.shape) != tuple(v2.shape):
        expected = f"of v1's shape {tuple(v1.shape)}, row i the other question of row i of v1"
        raise check.wrong_value("v2", expected, v2)
    return v1, v2


def without_padding(real: Array, *vectors: Array) -> list[Array]:
    """The vectors (batch, d), zero for pairs that are not real: what they hold reaches nothing.

    Example:
        >>> [v.tolist() for v in without_padding(jnp.asarray([True, False]), jnp.ones((2, 1)))]
        [[[1.0], [0.0]]]
    """
    return [jnp.where(jnp.expand_dims(real, 1), v, jnp.zeros_like(v)) for v in vectors]


def check_form(normalize: bool, block: int | None, axis_name: object) -> None:
    """Refuses settings of the computation that `triplet_loss` does not have.

    Raises:
        TypeError, ValueError: which say what it has.

    Example:
        >>> check_form(True, None, "batch")
    """
    check.boolean("normalize", normalize)
    if block is not None:
        check.integer("block", block)
    if axis_name is not None and axis_name is not False and not isinstance(axis_name, str):
        expected = (
            "the name of an axis over devices, None ('batch', Trax's) or False (each on its own)"
        )
        raise check.wrong_type("axis_name", expected, axis_name)


def _without_matrix(block: int | None, batch: int) -> bool:
    if not fastmath.is_backend(fastmath.Backend.JAX):
        if block:
            expected = "None or 0 on another backend than JAX"
            raise check.wrong_value("block", expected, block)
        return False
    return batch >= BLOCKWISE_FROM if block is None else block > 0


def of_all_devices(rows: tuple, axis_name: str | Literal[False] | None) -> tuple[tuple, int]:
    """These arrays with the rows of all devices, the own ones first; and the number of devices."""
    if axis_name is False:
        return rows, 1
    if fastmath.is_backend(fastmath.Backend.JAX):
        axis = TRAX_AXIS if axis_name is None else axis_name
        n_devices = jax_devices.axis_size(axis)
        if n_devices is None:
            return rows, 1
        return jax_devices.all_gather_local_first(rows, axis), n_devices
    if axis_name is None and fastmath.is_backend(fastmath.Backend.TFNP):
        return tf_replicas.all_gather_local_first(rows)
    return rows, 1


def _scores_and_negatives(
    own: tuple[Array, Array], everyone: list, anchor: str, groups: Groups | None, real: Array | None
) -> list[tuple[Array, Array]]:
    """The similarities of the own anchors with all others, and which are negatives, a direction."""
    (v1, v2), (all1, all2) = own, everyone
    alone, found = all1 is v1, []
    if alone or anchor != "second":
        scores = jnp.matmul(v1, jnp.transpose(all2))
        found.append((scores, negative_mask(scores, groups, real)))
    if anchor == "first":
        return found
    if alone:
        second = tuple(map(jnp.transpose, found[0]))
    else:
        scores = jnp.matmul(v2, jnp.transpose(all1))
        second = scores, negative_mask(scores, _swapped(groups), real)
    return [second] if anchor == "second" else [*found, second]


def _blockwise_losses(
    own: tuple[Array, Array], everyone: list, anchor: str, groups: Groups | None, **rule: Any
) -> Array:
    (v1, v2), (all1, all2) = own, everyone
    if all1 is v1:
        return blockwise_losses(v1, v2, groups, anchor=anchor, **rule)
    losses = []
    if anchor != "second":
        losses.append(blockwise_losses(v1, all2, groups, **rule))
    if anchor != "first":
        losses.append(blockwise_losses(v2, all1, _swapped(groups), **rule))
    return _mean_of(losses)


def _swapped(groups: Groups | None) -> Groups | None:
    return None if groups is None else (groups[1], groups[0])


def _mean_of(losses: list[Array]) -> Array:
    return sum(losses) / len(losses)


def _reduce(
    losses: Array, reduction: str, real: Array | None, vectors: Array, n_devices: int
) -> Array:
    """Losses of the own pairs reduced so that the mean over the devices is that of the whole batch.

    The mean counts the pairs that are not padding, on all devices: `vectors` are those of all.
    """
    if reduction == "none":
        return losses
    total = jnp.sum(losses) * n_devices if n_devices > 1 else jnp.sum(losses)
    if reduction == "sum":
        return total
    ones = jnp.ones_like(vectors[:, 0])
    count = jnp.sum(ones if real is None else jnp.where(real, ones, jnp.zeros_like(ones)))
    return total / jnp.maximum(count, jnp.ones_like(count))


_warned: list[str] = []  # the warning about lengths is given once in a process


def _warn_unless_unit(*batches: Array) -> None:
    """Warns where vectors taken as they are do not have length 1; traced ones are not looked at."""
    if _warned:
        return
    for name, v in zip(("v1", "v2"), batches, strict=True):
        rows = concrete(v)
        if rows is None:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.sqrt(np.square(rows.astype("float32")).sum(axis=1))
        lengths = lengths[np.isfinite(lengths)]
        if np.any(np.abs(lengths[lengths > 0] - 1) > 0.1):
            _warned.append(name)
            warnings.warn(
                f"the rows of {name} have lengths from {lengths.min():.3g} to {lengths.max():.3g}, "
                "but normalize=False takes them to be unit vectors. Was the whole batch scaled as "
                "one vector, for want of axis=-1? Scale each row on its own, as l2_normalize does",
                stacklevel=3,
            )
            return
