"""The loss of `loss.triplet_loss` on TensorFlow, as a function and as a `keras.losses.Loss`; no
rule is written here.

Trax is imported when a loss is first computed, or an object of the class made: a saved model is
read without it.
"""

from trax_triplet.distributed import tf_replicas as replicas
from trax_triplet.keras.layers import keras, tf


@tf.autograph.experimental.do_not_convert
def triplet_loss_on_tensorflow(v1, v2, **rule):
    """`loss.triplet_loss` of tensors, on fastmath's TensorFlow backend, in this thread and for this
    call alone.

    Args:
        v1, v2: tensors (batch, d); the batch may be unknown while TensorFlow traces.
        rule: as in `triplet_loss`.

    Returns:
        A tensor.

    Raises:
        TypeError, ValueError: as `triplet_loss`.

    Example:
        >>> float(triplet_loss_on_tensorflow(tf.eye(2), tf.constant([[1.0, 0.0], [1.0, 0.0]])))
        0.5
    """
    fastmath, loss = _core()
    with fastmath.use_backend(fastmath.Backend.TFNP):
        return tf.convert_to_tensor(loss.triplet_loss(v1, v2, **rule))


def _core():
    with tf.init_scope():  # whatever the import makes belongs to no graph that happens to be traced
        from trax_triplet import compat
        from trax_triplet.loss import triplet as loss
    return compat.fastmath, loss


def halves(out):
    """The vectors of both questions from a two-tower model's output.

    Args:
        out: tensor (batch, 2 d), as `keras.layers.Concatenate(axis=1)` makes it.

    Returns:
        Two tensors (batch, d).

    Raises:
        ValueError: another shape.

    Example:
        >>> [half.numpy().tolist() for half in halves(tf.constant([[1.0, 2.0, 3.0, 4.0]]))]
        [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    out = tf.convert_to_tensor(out)
    if out.shape.rank != 2 or not out.shape[1] or out.shape[1] % 2:
        raise ValueError(
            "expected the vectors of both questions side by side, (batch, 2 d), as Concatenate(axis=1) "
            f"makes them, but the output of the model is {tuple(out.shape)}"
        )
    return tf.split(out, 2, axis=1)


@keras.saving.register_keras_serializable("trax_triplet")
class ModifiedTripletLoss(keras.losses.Loss):
    """The modified triplet loss of any model of two towers whose output is their vectors side by
    side, (batch, 2 d).

    `loss.triplet_loss` has the formula and the three rules of the course as settings. In `fit` the
    targets do not matter (any number a pair), unless they are ids: `model.fit((q1, q2), ids)`. On
    the replicas of a `tf.distribute` strategy negatives come from all of them, and the gradients
    are those of the whole batch on one. (Under a strategy Keras itself cannot fit a model that
    takes texts: give word ids.)

    Args:
        margin, closest, anchor, normalize: as in `triplet_loss`.
        reduction: 'mean' over the pairs (those with a negative id do not count), 'sum' or 'none'.
        with_groups: the targets are ids, int (batch, 2), one for each question: equal ones are
            known duplicates, never each other's negatives, and a pair with a negative id is
            padding.
        name: of the loss.
        dtype: to compute in, by default Keras' float (float32), in which half precision belongs.

    Raises:
        TypeError, ValueError: at once, for a setting that `triplet_loss` refuses; when called, for
            an output that is no (batch, 2 d), or ids that are no integers (batch, 2).

    Example:
        Collapse: every negative is as near as the positive, so the loss is twice the margin.

        >>> float(ModifiedTripletLoss(margin=0.25)(tf.zeros(2), tf.constant([[1.0, 0.0, 1.0, 0.0]] * 2)))
        0.5
        >>> ModifiedTripletLoss(margin=0.4).get_config()["margin"]
        0.4
    """

    def __init__(
        self,
        margin=0.25,
        *,
        closest="semi-hard",
        anchor="first",
        reduction="mean",
        normalize=True,
        with_groups=False,
        name="modified_triplet_loss",
        dtype=None,
    ):
        _core()[1].check_rule(margin, closest, anchor, reduction)
        super().__init__(name=name, reduction="none", dtype=dtype)
        self.reduction = reduction  # done here; not every Keras 3 knows 'mean'
        self._rule = {
            "margin": margin,
            "closest": closest,
            "anchor": anchor,
            "normalize": normalize,
        }
        self._with_groups = with_groups

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss of a batch.

        Args:
            y_true: the targets, see above. They stay integers here, where `Loss.__call__` makes
                floats of them, in which large ids would be equal.
            y_pred: (batch, 2 d).
            sample_weight: (batch,), by which each pair's loss is multiplied; the mean still divides
                by the pairs.

        Returns:
            A scalar tensor; (batch,) for reduction 'none'.
        """
        v1, v2 = halves(tf.cast(y_pred, self.dtype))
        groups = self._groups(y_true) if self._with_groups else None
        losses = triplet_loss_on_tensorflow(v1, v2, groups=groups, reduction="none", **self._rule)
        if sample_weight is not None:
            losses *= tf.cast(tf.reshape(sample_weight, (-1,)), losses.dtype)
        if self.reduction == "none":
            return losses
        total = replicas.mean_over_replicas(tf.reduce_sum(losses))
        if self.reduction == "sum":
            return total
        real = (
            tf.ones_like(losses)
            if groups is None
            else tf.cast(tf.minimum(*groups) >= 0, losses.dtype)
        )
        count = replicas.sum_over_replicas(tf.reduce_sum(real))
        return total / tf.maximum(count, tf.ones_like(count))

    def _groups(self, y_true):
        ids = tf.convert_to_tensor(y_true)
        if ids.dtype == tf.float64:  # as which Keras shows integers when it builds under a strategy
            ids = tf.cast(ids, tf.int64)
        if not ids.dtype.is_integer or ids.shape.rank != 2 or ids.shape[1] != 2:
            raise ValueError(
                "with_groups=True takes ids as targets, integers (batch, 2), one for each question of a "
                f"pair, but the targets are {ids.dtype.name} {tuple(ids.shape)}"
            )
        return ids[:, 0], ids[:, 1]

    def get_config(self):
        """The settings, of which `from_config` makes an equal loss."""
        return {
            **super().get_config(),
            **self._rule,
            "with_groups": self._with_groups,
            "dtype": self.dtype,
        }
