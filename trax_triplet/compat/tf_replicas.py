"""Rows on the replicas of a `tf.distribute` strategy, as `jax_devices` has them; without Trax."""

from __future__ import annotations

from typing import Any

from trax_triplet._quiet import quietly
from trax_triplet._typing import Array

with quietly():
    import tensorflow as tf

__all__ = ["all_gather_local_first", "mean_over_replicas", "n_replicas", "sum_over_replicas"]


def n_replicas() -> int:
    """How many replicas compute together here; 1 outside of a strategy's `run`.

    Example:
        >>> n_replicas()
        1
    """
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def all_gather_local_first(tree: tuple) -> tuple[Any, int]:
    """The rows of all replicas, rolled so that the replica's own come first; how many replicas.

    Args:
        tree: tuple of tensors (rows, ...), or of tuples of them; None stays None. The number of
            rows may differ from replica to replica, and be 0.

    Returns:
        (tree, n): tensors (rows of all replicas, ...), differentiable; outside of a strategy as
        they came, and 1.

    Example:
        >>> all_gather_local_first((tf.ones((2, 3)), None))[1]
        1
    """
    n = n_replicas()
    if n == 1:
        return tree, 1
    context = tf.distribute.get_replica_context()
    arrays = tf.nest.flatten(tree)
    sizes = context.all_gather(tf.shape(arrays[0])[:1], axis=0)
    first = tf.reduce_sum(sizes[: context.replica_id_in_sync_group])

    # One by one: the gradient of a joint gather would ask for that of the ids, too.
    def gathered(x: Array) -> Array:
        rolled = tf.roll(context.all_gather(x, axis=0), -first, axis=0)
        return tf.ensure_shape(rolled, (None, *x.shape[1:]))

    return tf.nest.pack_sequence_as(tree, [None if x is None else gathered(x) for x in arrays]), n


def sum_over_replicas(x: Array) -> Array:
    """The sum of a tensor over the replicas; the tensor itself outside of a strategy.

    Example:
        >>> float(sum_over_replicas(tf.constant(2.0)))
        2.0
    """
    if n_replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def mean_over_replicas(total: Array) -> Array:
    """The mean of the replicas' totals: what Keras wants of a loss.

    Keras adds up the gradients that the replicas compute of their losses, and the loss that it
    reports is their mean, weighted by their numbers of rows: right where all have the same loss.

    Example:
        >>> float(mean_over_replicas(tf.constant(2.0)))
        2.0
    """
    return sum_over_replicas(total) / n_replicas()
