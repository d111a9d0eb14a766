"""The loss of a student: its similarities are to be those of a teacher."""

from __future__ import annotations

from typing import Literal

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import jax_devices, jnp
from trax_triplet.loss.similarity import as_float, finite_or_nan, nan_like, unit_vectors, upcast
from trax_triplet.loss.triplet import check_form, of_all_devices, without_padding

__all__ = ["teacher_loss"]


def teacher_loss(
    v: Array,
    teacher: Array,
    *,
    normalize: bool = True,
    axis_name: str | Literal[False] | None = None,
) -> Array:
    """How far the similarities of questions are from those that a teacher gives them.

    With s(i, j) the cosine similarity of rows i and j of `v`, and t(i, j) that of the teacher's:

        L = mean over all i != j of (s(i, j) - t(i, j))^2

    Vectors of a teacher may be wider than the student's: only similarities are compared, as in
    Tung and Mori, Similarity-Preserving Knowledge Distillation (2019). No labels are needed. A
    question whose vector by the teacher is zero takes no part, whatever stands in `v`: so is
    padding. Where fewer than two take part, loss and gradient are 0.

    A row that takes part and has NaN or infinity in it, by the student or by the teacher, makes the
    loss NaN, even if it is the only one. It takes memory for batch x batch numbers.

    On several devices, as for `ranking_loss`, questions are compared across all of them, and the
    mean over the devices of values and gradients is that of the whole batch.

    Args:
        v: vectors (batch, d) of questions; float16, bfloat16, float32 or float64.
        teacher: vectors (batch, width) of the same questions by the teacher; floating point, of
            any length.
        normalize: scale the rows of `v` to length 1 first. Pass False for vectors that have it
            already. Those of the teacher are always scaled.
        axis_name: as in `triplet_loss`.

    Returns:
        A scalar array, in the dtype of `v`. Half precision is computed in float32.

    Raises:
        TypeError: vectors that are not floating point, a setting of the wrong type.
        ValueError: vectors that are not matrices with one row a question.

    Example:
        The questions have the similarity 0.6, by the teacher 0.8.

        >>> v, teacher = [[1.0, 0.0], [0.6, 0.8]], [[2.0, 0.0, 0.0], [0.8, 0.0, 0.6]]
        >>> round(float(teacher_loss(v, teacher)), 6)
        0.04
    """
    check_form(normalize, None, axis_name)
    v, teacher = (
        jax_devices.replicated(as_float(name, x)) for name, x in (("v", v), ("teacher", teacher))
    )
    if len(v.shape) != 2 or 0 in tuple(v.shape):
        expected = "vectors (batch, d), at least one question of at least one entry"
        raise check.wrong_value("v", expected, v)
    if len(teacher.shape) != 2 or not teacher.shape[1] or teacher.shape[0] != v.shape[0]:
        expected = f"vectors (batch, width), one for each of the {v.shape[0]} rows of v"
        raise check.wrong_value("teacher", expected, teacher)
    dtype = v.dtype
    wide, teacher = upcast(v), jnp.asarray(upcast(teacher), upcast(v).dtype)
    takes_part = jnp.any(teacher != 0, axis=-1)
    (wide,) = without_padding(takes_part, wide)
    own = (unit_vectors if normalize else finite_or_nan)(wide), unit_vectors(teacher), takes_part
    (everyone, taught, others_take_part), n_devices = of_all_devices(own, axis_name)
    errors = own[0] @ jnp.transpose(everyone) - own[1] @ jnp.transpose(taught)
    # The own rows are the first of all.
    is_itself = jnp.arange(own[0].shape[0])[:, None] == jnp.arange(everyone.shape[0])[None, :]
    both = jnp.logical_and(takes_part[:, None], others_take_part[None, :])
    counts = jnp.logical_and(both, jnp.logical_not(is_itself))
    total = jnp.sum(jnp.where(counts, errors * errors, jnp.zeros_like(errors)))
    n = jnp.sum(jnp.asarray(others_take_part, total.dtype))
    mean = n_devices * total / jnp.maximum(n * (n - 1), 1)
    # Also where there is no other row to compare with; rows that take no part are zero here.
    is_right = jnp.logical_and(jnp.all(jnp.isfinite(everyone)), jnp.all(jnp.isfinite(taught)))
    return jnp.asarray(mean * jnp.where(is_right, jnp.ones_like(mean), nan_like(mean)), dtype)
