"""`loss.triplet_loss` on TensorFlow, as a function and as a `keras.losses.Loss`.

The rule itself is not repeated here. Trax is imported when a loss is first computed or an object of
the class made, so that a saved model can be read without it.
"""

from __future__ import annotations

from typing import Any

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.distributed import tf_replicas as replicas
from trax_triplet.keras.layers import keras, tf

__all__ = ["ModifiedTripletLoss", "halves", "triplet_loss_on_tensorflow"]


@tf.autograph.experimental.do_not_convert
def triplet_loss_on_tensorflow(v1: Array, v2: Array, **rule: Any) -> Array:
    """`loss.triplet_loss` of tensors, on TensorFlow, whatever backend Trax uses elsewhere.

    The backend is switched in this thread and for this call only.

    Args:
        v1: tensor (batch, d); the batch may be unknown while TensorFlow traces.
        v2: tensor (batch, d).
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


def _core() -> tuple[Any, Any]:
    """Trax' fastmath and the module of the loss."""
    with tf.init_scope():  # what the import creates must not land in a graph that is being traced
        from trax_triplet import compat
        from trax_triplet.loss import triplet as loss
    return compat.fastmath, loss


def halves(out: Array) -> list[Array]:
    """Splits the output of a two-tower model into the vectors of both questions.

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
        expected = "the vectors of both questions side by side, (batch, 2 d)"
        raise check.wrong_value("out", expected, out, "join them with Concatenate(axis=1)")
    return tf.split(out, 2, axis=1)


@keras.saving.register_keras_serializable("trax_triplet")
class ModifiedTripletLoss(keras.losses.Loss):
    """The modified triplet loss of any two-tower model that outputs its vectors side by side.

    `loss.triplet_loss` has the formula, and the three rules of the course as settings. In `fit` the
    targets do not matter (any number per pair), unless they are ids: `model.fit((q1, q2), ids)`. On
    the replicas of a `tf.distribute` strategy, negatives come from all of them, and the gradients
    are those of the complete batch on one. (Under a strategy, Keras itself cannot fit a model that
    takes texts: pass word ids.)

    Args:
        margin: as in `triplet_loss`.
        closest: as in `triplet_loss`.
        anchor: as in `triplet_loss`.
        reduction: 'mean' over the pairs (those with a negative id do not count), 'sum' or 'none'.
        normalize: as in `triplet_loss`.
        with_groups: whether the targets are ids, int (batch, 2), one for each question: equal ones
            are known duplicates, never each other's negatives, and a pair with a negative id is
            padding.
        name: of the loss.
        dtype: to compute in, by default Keras' float (float32), which half precision is cast to.

    Raises:
        TypeError, ValueError: immediately, for a setting that `triplet_loss` refuses; when called,
            for an output that is not (batch, 2 d), or ids that are not integers (batch, 2).

    Example:
        Collapse: every negative is as close as the positive, so the loss is twice the margin.

        >>> collapsed = tf.constant([[1.0, 0.0, 1.0, 0.0]] * 2)
        >>> float(ModifiedTripletLoss(margin=0.25)(tf.zeros(2), collapsed))
        0.5
        >>> ModifiedTripletLoss(margin=0.4).get_config()["margin"]
        0.4
    """

    def __init__(
        self,
        margin: float = 0.25,
        *,
        closest: str = "semi-hard",
        anchor: str = "first",
        reduction: str = "mean",
        normalize: bool = True,
        with_groups: bool = False,
        name: str = "modified_triplet_loss",
        dtype: Any = None,
    ) -> None:
        _core()[1].check_rule(margin, closest, anchor, reduction)
        super().__init__(name=name, reduction="none", dtype=dtype)
        self.reduction = reduction  # reduced here; not every Keras 3 knows 'mean'
        self._rule = {
            "margin": margin,
            "closest": closest,
            "anchor": anchor,
            "normalize": normalize,
        }
        self._with_groups = with_groups

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array = None) -> Array:
        """The loss of a batch.

        Args:
            y_true: the targets, see above. They stay integers here, where `Loss.__call__` would
                cast them to floats, in which large ids would be equal.
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
        counts = (
            tf.ones_like(losses)
            if groups is None
            else tf.cast(tf.minimum(*groups) >= 0, losses.dtype)
        )
        n_pairs = replicas.sum_over_replicas(tf.reduce_sum(counts))
        return total / tf.maximum(n_pairs, tf.ones_like(n_pairs))

    def _groups(self, y_true: Array) -> tuple[Array, Array]:
        ids = tf.convert_to_tensor(y_true)
        if ids.dtype == tf.float64:  # what Keras passes for integers when it builds on replicas
            ids = tf.cast(ids, tf.int64)
        expected = (
            "ids, integers (batch, 2), one for each question of a pair, with with_groups=True"
        )
        if not ids.dtype.is_integer:
            raise check.wrong_type("y_true", expected, ids)
        if ids.shape.rank != 2 or ids.shape[1] != 2:
            raise check.wrong_value("y_true", expected, ids)
        return ids[:, 0], ids[:, 1]

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes an equal loss."""
        return {
            **super().get_config(),
            **self._rule,
            "with_groups": self._with_groups,
            "dtype": self.dtype,
        }
