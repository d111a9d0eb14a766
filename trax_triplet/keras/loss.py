"""`loss.triplet_loss` and `loss.ranking_loss` on TensorFlow, each as a `keras.losses.Loss`.

The rules themselves are not repeated here. Trax is imported when a loss is first computed or an
object of a class made, so that a saved model can be read without it.
"""

from __future__ import annotations

from typing import Any

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import tf_replicas as replicas
from trax_triplet.keras.layers import keras, tf
from trax_triplet.loss.rules import real_pairs

__all__ = [
    "ModifiedTripletLoss",
    "RankingLoss",
    "halves",
    "ranking_loss_on_tensorflow",
    "triplet_loss_on_tensorflow",
]


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
    fastmath, loss, _ = _core()
    with fastmath.use_backend(fastmath.Backend.TFNP):
        return tf.convert_to_tensor(loss.triplet_loss(v1, v2, **rule))


@tf.autograph.experimental.do_not_convert
def ranking_loss_on_tensorflow(v1: Array, v2: Array, labels: Array, **rule: Any) -> Array:
    """`loss.ranking_loss` of tensors, as `triplet_loss_on_tensorflow` is `triplet_loss`.

    Args:
        v1, v2: as in `triplet_loss_on_tensorflow`.
        labels: integer tensor (batch,).
        rule: as in `ranking_loss`.

    Returns:
        A scalar tensor.

    Raises:
        TypeError, ValueError: as `ranking_loss`.

    Example:
        >>> v, labels = tf.eye(2), tf.constant([1, 0])
        >>> float(ranking_loss_on_tensorflow(v, v, labels, margin=0.5))
        0.25
    """
    fastmath, _, ranking = _core()
    with fastmath.use_backend(fastmath.Backend.TFNP):
        return tf.convert_to_tensor(ranking.ranking_loss(v1, v2, labels, **rule))


def _core() -> tuple[Any, Any, Any]:
    """Trax' fastmath and the modules of the two losses."""
    with tf.init_scope():  # what the import creates must not land in a graph that is being traced
        from trax_triplet.compat import fastmath
        from trax_triplet.loss import ranking
        from trax_triplet.loss import triplet as loss
    return fastmath, loss, ranking


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
    out = tf.convert_to_tensor(check.complete("out", out))
    if out.shape.rank != 2 or not out.shape[1] or out.shape[1] % 2:
        expected = "the vectors of both questions side by side, (batch, 2 d)"
        raise check.wrong_value("out", expected, out, "join them with Concatenate(axis=1)")
    return tf.split(out, 2, axis=1)


def _integers(y_true: Array, expected: str) -> tuple[Array, Array | None]:
    """The targets as a tensor of integers, and whether they are: None if that is known by now.

    Inside `tf.function` the values of floats are not known yet.
    """
    targets = tf.convert_to_tensor(check.complete("y_true", y_true))
    if targets.dtype.is_integer:
        return targets, None
    if targets.dtype != tf.float64:  # what Keras passes for integers when it builds on replicas
        raise check.wrong_type("y_true", expected, targets)
    # From 2^53 on different integers are one float64.
    is_whole = tf.logical_and(tf.abs(targets) < 2.0**53, targets == tf.round(targets))
    if hasattr(targets, "numpy") and not tf.reduce_all(is_whole):
        wrong = float(targets[~is_whole][0])
        raise check.wrong_value("each of y_true", "an integer below 2^53", wrong)
    ids = tf.cast(tf.where(is_whole, targets, tf.zeros_like(targets)), tf.int64)
    return ids, tf.reduce_all(is_whole)


def _unless_wrong(loss: Array, are_whole: Array | None) -> Array:
    if are_whole is None:
        return loss
    return tf.where(are_whole, loss, tf.constant(float("nan"), loss.dtype))


@keras.saving.register_keras_serializable("trax_triplet")
class ModifiedTripletLoss(keras.losses.Loss):
    """The modified triplet loss of any two-tower model that outputs its vectors side by side.

    `loss.triplet_loss` has the formula, and the rules of the course as settings. In `fit` the
    targets do not matter (any number per pair), unless they are ids: `model.fit((q1, q2), ids)`. On
    the replicas of a `tf.distribute` strategy, negatives come from all of them, and the gradients
    are those of the complete batch on one. (Under a strategy, Keras itself cannot fit a model that
    takes texts: pass word ids.)

    Args:
        margin: as in `triplet_loss`.
        closest: as in `triplet_loss`.
        anchor: as in `triplet_loss`.
        reduction: 'mean' over the pairs (those with the id -1 do not count), 'sum' or 'none'.
        normalize: as in `triplet_loss`.
        with_groups: whether the targets are ids, int (batch, 2), one for each question: equal ones
            are known duplicates, never each other's negatives, and a pair with the id -1 on either
            side is padding. Inside `fit` they are compared as int64 (uint64: refused).
        name: of the loss.
        dtype: to compute in, by default Keras' float (float32), which half precision is cast to.

    Raises:
        TypeError, ValueError: immediately, for a setting that `triplet_loss` refuses; when called,
            for an output that is not (batch, 2 d), or ids that are not integers (batch, 2). Whole
            float64 pass; where others come inside of a graph, the loss is NaN.

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
        v1, v2 = halves(tf.cast(check.complete("y_pred", y_pred), self.dtype))
        groups, are_whole = self._groups(y_true) if self._with_groups else (None, None)
        losses = triplet_loss_on_tensorflow(v1, v2, groups=groups, reduction="none", **self._rule)
        losses = _unless_wrong(losses, are_whole)
        if sample_weight is not None:
            weights = check.complete("sample_weight", sample_weight)
            losses *= tf.cast(tf.reshape(weights, (-1,)), losses.dtype)
        if self.reduction == "none":
            return losses
        total = replicas.mean_over_replicas(tf.reduce_sum(losses))
        if self.reduction == "sum":
            return total
        counts = (
            tf.ones_like(losses) if groups is None else tf.cast(real_pairs(groups), losses.dtype)
        )
        n_pairs = replicas.sum_over_replicas(tf.reduce_sum(counts))
        return total / tf.maximum(n_pairs, tf.ones_like(n_pairs))

    def _groups(self, y_true: Array) -> tuple[tuple[Array, Array], Array | None]:
        expected = (
            "ids, integers (batch, 2), one for each question of a pair, with with_groups=True"
        )
        ids, are_whole = _integers(y_true, expected)
        if ids.shape.rank != 2 or ids.shape[1] != 2:
            raise check.wrong_value("y_true", expected, ids)
        return (ids[:, 0], ids[:, 1]), are_whole

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes an equal loss."""
        return {
            **super().get_config(),
            **self._rule,
            "with_groups": self._with_groups,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable("trax_triplet")
class RankingLoss(keras.losses.Loss):
    """The loss of labelled pairs, `loss.ranking_loss`, of a model as `ModifiedTripletLoss` takes.

    The targets of `fit` are the labels: 1 for a duplicate pair, 0 for another; a negative number is
    padding. The loss is one number for the batch: the mean over all (pair labelled 1, pair labelled
    0). On the replicas of a `tf.distribute` strategy, pairs are compared across all of them, and
    the gradients are those of the complete batch on one.

    It is made to be added to `ModifiedTripletLoss`. Keras adds losses of several outputs, so give
    the model its output twice:

        both = keras.Model(model.inputs, [model.output, model.output])
        both.compile(
            loss=[ModifiedTripletLoss(0.4, with_groups=True), RankingLoss(0.4)],
            loss_weights=[1.0, 2.0],
            optimizer="adam",
        )
        both.fit((q1, q2), (ids, labels))

    `model` has the weights, as `both` has. In `ids`, the rows of pairs labelled 0 are -1: the
    triplet loss would take them for duplicates. `docs/keras.md` has the batches for it.

    Args:
        margin: as in `ranking_loss`.
        normalize: as in `ranking_loss`.
        name: of the loss.
        dtype: to compute in, by default Keras' float (float32), which half precision is cast to.

    Raises:
        TypeError, ValueError: immediately, for a setting that `ranking_loss` refuses; when called,
            for an output that is not (batch, 2 d), labels that are not integers (batch,) or
            (batch, 1), or weights of samples (also those that Keras makes of `class_weight`). For
            float64, as `ModifiedTripletLoss`.

    Example:
        The pair labelled 0 is as similar as the duplicate: the loss is the margin, squared.

        >>> collapsed = tf.constant([[1.0, 0.0, 1.0, 0.0]] * 2)
        >>> float(RankingLoss(margin=0.5)([1, 0], collapsed))
        0.25
    """

    def __init__(
        self,
        margin: float = 0.4,
        *,
        normalize: bool = True,
        name: str = "ranking_loss",
        dtype: Any = None,
    ) -> None:
        self._rule = {
            "margin": check.margin(margin),
            "normalize": check.boolean("normalize", normalize),
        }
        super().__init__(name=name, reduction="none", dtype=dtype)

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array = None) -> Array:
        """The loss of a batch.

        Args:
            y_true: labels, integers (batch,) or (batch, 1). They are not cast to floats.
            y_pred: (batch, 2 d).
            sample_weight: must be None: the loss compares pairs, and has no number for each.

        Returns:
            A scalar tensor.
        """
        if sample_weight is not None:
            advice = "a pair that is not to count gets a negative label"
            raise check.wrong_value("sample_weight", "None", sample_weight, advice)
        v1, v2 = halves(tf.cast(check.complete("y_pred", y_pred), self.dtype))
        expected = "labels, integers (batch,) or (batch, 1)"
        labels, are_whole = _integers(y_true, expected)
        if labels.shape.rank not in (1, 2) or labels.shape[1:] not in ((), (1,)):
            raise check.wrong_value("y_true", expected, labels)
        loss = ranking_loss_on_tensorflow(v1, v2, tf.reshape(labels, (-1,)), **self._rule)
        # Every replica has the loss of all, and Keras adds up: see `replicas.mean_over_replicas`.
        return _unless_wrong(loss, are_whole) / replicas.n_replicas()

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes an equal loss."""
        return {"name": self.name, **self._rule, "dtype": self.dtype}
