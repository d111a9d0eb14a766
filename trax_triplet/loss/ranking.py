"""The loss of labelled pairs: every duplicate more similar than every pair labelled otherwise."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import jax_devices, jnp, tl
from trax_triplet.loss.similarity import finite_or_nan, nan_like, unit_vectors, upcast_both
from trax_triplet.loss.steps import concrete, integer_column
from trax_triplet.loss.triplet import check_form, of_all_devices, paired_vectors, without_padding

__all__ = ["RankingLoss", "ranking_loss"]


def ranking_loss(
    v1: Array,
    v2: Array,
    labels: Array,
    *,
    margin: float = 0.4,
    normalize: bool = True,
    axis_name: str | Literal[False] | None = None,
) -> Array:
    """How far pairs labelled 0 come near, or above, pairs labelled 1 of the same batch.

    With s the cosine similarity of a pair, p a pair labelled 1 and q one labelled 0:

        L = mean over all (p, q) of max(s(q) - s(p) + margin, 0)^2

    `triplet_loss` takes its negatives from the other pairs of the batch; this loss takes those that
    people labelled, which are harder. It is to be added to it, with a weight. It stands in for
    1 - ROC AUC, which counts the (p, q) in the wrong order; a pairwise ranking hinge, as in
    Herbrich, Graepel and Obermayer, Large Margin Rank Boundaries for Ordinal Regression (2000),
    squared.

    A batch that lacks a class has the loss 0, and so is its gradient. Values and gradients are
    finite at zero vectors. A pair with NaN or infinity in it makes the loss NaN. It takes memory
    for batch x batch numbers.

    On several devices, inside `pmap` or `shard_map` (TensorFlow: inside a `tf.distribute`
    strategy's `run`), pairs are compared across all of them: each device passes its own rows, and
    the mean over the devices of values and gradients is that of the whole batch.

    Args:
        v1: vectors (batch, d) of the first questions; float16, bfloat16, float32 or float64.
        v2: vectors (batch, d) of the second questions.
        labels: integers (batch,): 1 for a duplicate pair, 0 for another; a negative number is
            padding, which takes no part. Another label is refused, or, where labels are traced
            (`jit`, `tf.function`), makes the loss NaN.
        margin: in units of cosine similarity; finite, not negative.
        normalize: scale the rows to length 1 first. Pass False for vectors that have it already.
        axis_name: as in `triplet_loss`.

    Returns:
        A scalar array, in the dtype of the vectors. Half precision is computed in float32.

    Raises:
        TypeError: vectors that are not floating point, labels that are not integers, a setting of
            the wrong type.
        ValueError: vectors that are not two matrices of one shape, labels of another length or
            above 1, a margin that is negative or not finite.

    Example:
        The duplicate has similarity 1, the others 0.8 and 0: one of two comes within the margin of
        0.4, by 0.2, so the loss is 0.2^2 / 2.

        >>> v1 = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
        >>> v2 = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
        >>> round(float(ranking_loss(v1, v2, [1, 0, 0])), 6)
        0.02
    """
    margin = check.margin(margin)
    check_form(normalize, None, axis_name)
    v1, v2 = paired_vectors(v1, v2)
    labels = _labels(labels, v1.shape[0])
    wide1, wide2, dtype = upcast_both(v1, v2)
    prepare = unit_vectors if normalize else finite_or_nan
    wide1, wide2 = map(prepare, without_padding(labels >= 0, wide1, wide2))
    own = jnp.sum(wide1 * wide2, axis=-1), labels
    (scores, labels), _ = of_all_devices(own, axis_name)
    return jnp.asarray(_mean_of_squared_hinges(scores, labels, margin), dtype)


def _labels(labels: Array, batch: int | None) -> Array:
    labels = jax_devices.replicated(integer_column("labels", labels, batch))
    values = concrete(labels)
    if values is None:
        return jnp.asarray(labels)
    if (values > 1).any():
        expected = "1 for a duplicate pair, 0 for another, or negative for padding"
        raise check.wrong_value("each of labels", expected, values[values > 1][0])
    # Unsigned integers have no -1, and Python's own may be below what int32 holds.
    return jnp.asarray(np.where(values == 1, 1, np.where(values == 0, 0, -1)).astype(np.int32))


def _mean_of_squared_hinges(scores: Array, labels: Array, margin: float) -> Array:
    """The formula above, of similarities (batch,)."""
    positive, negative = labels == 1, labels == 0
    both = jnp.logical_and(positive[:, None], negative[None, :])
    lacks = scores[None, :] - scores[:, None] + margin
    zeros = jnp.zeros_like(lacks)
    hinges = jnp.where(lacks <= 0, zeros, lacks)
    count = jnp.sum(jnp.where(both, jnp.ones_like(hinges), zeros))
    mean = jnp.sum(jnp.where(both, hinges * hinges, zeros)) / jnp.maximum(count, 1)
    # Also where no pair is compared with this one.
    is_right = jnp.logical_and(jnp.all(jnp.isfinite(scores)), jnp.all(labels <= 1))
    return jnp.where(is_right, mean, nan_like(mean))


def RankingLoss(
    margin: float = 0.4,
    *,
    normalize: bool = True,
    axis_name: str | Literal[False] | None = None,
) -> Any:
    """Returns a layer that computes `ranking_loss` of its inputs (v1, v2, labels).

    Args:
        margin, normalize, axis_name: as in `ranking_loss`.

    Returns:
        A layer without weights, which can be pickled.

    Raises:
        TypeError, ValueError: at once, for a setting that `ranking_loss` refuses.

    Example:
        >>> RankingLoss()
        RankingLoss_in3
    """
    check_form(normalize, None, axis_name)
    loss = functools.partial(
        ranking_loss, margin=check.margin(margin), normalize=normalize, axis_name=axis_name
    )
    return tl.PureLayer(functools.partial(_of_inputs, loss), n_in=3, name="RankingLoss")


def _of_inputs(loss: Any, inputs: tuple) -> Array:
    return loss(*inputs)
