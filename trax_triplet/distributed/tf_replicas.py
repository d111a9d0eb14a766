"""Rows on the replicas of a `tf.distribute` strategy, as `devices` has them for JAX; knows
TensorFlow alone."""

from trax_triplet._quiet import quietly

with quietly():
    import tensorflow as tf


def n_replicas():
    """How many replicas compute together here; 1 outside of a strategy's `run`.

    Example:
        >>> n_replicas()
        1
    """
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def all_gather_local_first(tree):
    """The rows of all replicas, turned so that the replica's own ones come first; and how many
    replicas there are.

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

    def gathered(
        x,
    ):  # one by one: the gradient of a joint gather would ask for that of the ids, too
        return tf.ensure_shape(
            tf.roll(context.all_gather(x, axis=0), -first, axis=0), (None, *x.shape[1:])
        )

    return tf.nest.pack_sequence_as(tree, [None if x is None else gathered(x) for x in arrays]), n


def sum_over_replicas(x):
    """The sum of a tensor over the replicas; the tensor itself outside of a strategy.

    Example:
        >>> float(sum_over_replicas(tf.constant(2.0)))
        2.0
    """
    if n_replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def mean_over_replicas(total):
    """The replicas' totals, added up and shared out evenly: what Keras wants of a loss.

    It adds up the gradients that the replicas compute of their losses, and the loss that it reports
    is their mean, weighted by their numbers of rows: that is right where all have the same loss.

    Example:
        >>> float(mean_over_replicas(tf.constant(2.0)))
        2.0
    """
    return sum_over_replicas(total) / n_replicas()
