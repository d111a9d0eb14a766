"""Lazy Adam over a table: rows that a step does not touch wait, and catch up exactly; plain JAX.

Adam moves every row at every step, also those without a gradient, by their decaying momentum. A row
that waits lacks only such idle steps, and takes them, one by one, before it is read: the result is
that of the dense form. `LazyRows` says how far each row has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trax_triplet._typing import Array

__all__ = ["MAX_DELAY", "LazyRows", "adam", "catch_up", "put", "take"]

MAX_DELAY = 16  # steps after which all rows catch up: no row ever lacks more


class LazyRows(NamedTuple):
    """A table, its Adam moments, and the step up to which each row has them; all JAX arrays."""

    table: jax.Array  # (rows, d)
    first: jax.Array  # (rows, d), moving mean of the gradients
    second: jax.Array  # (rows, d), moving mean of their squares
    at: jax.Array  # int32 (rows,): steps that the row has taken


def adam(
    step: Array,
    gradient: Array,
    weights: Array,
    moments: tuple[Array, Array],
    options: Mapping[str, Any],
) -> tuple[Array, tuple[Array, Array]]:
    """One step of Trax's Adam: decoupled weight decay, bias correction, epsilon outside the root.

    Args:
        step: number of the step, from 0.
        gradient, weights: arrays of one shape.
        moments: pair of arrays of that shape.
        options: dict with learning_rate, weight_decay_rate, b1, b2 and eps, numbers or scalar
            arrays.

    Returns:
        (weights, moments) after the step.

    Example:
        >>> options = dict.fromkeys(("weight_decay_rate", "b1", "b2", "eps"), 0.0)
        >>> one, moments = jnp.ones(1), (jnp.zeros(1), jnp.zeros(1))
        >>> adam(0, 4 * one, one, moments, {"learning_rate": 0.5, **options})[0].tolist()
        [0.5]
    """
    b1, b2 = options["b1"], options["b2"]
    first = (1 - b1) * gradient + b1 * moments[0]
    second = (1 - b2) * gradient**2 + b2 * moments[1]
    unbiased_first, unbiased_second = (
        first / (1 - b1 ** (step + 1)),
        second / (1 - b2 ** (step + 1)),
    )
    moved = options["learning_rate"] * unbiased_first / (jnp.sqrt(unbiased_second) + options["eps"])
    return (1 - options["weight_decay_rate"]) * weights - moved, (first, second)


def catch_up(rows: LazyRows, step: Array, rates: Array, options: Mapping[str, Any]) -> LazyRows:
    """`rows` after all steps before `step`, none of which had a gradient for them.

    Without a gradient the moments shrink by b1 and b2 a step, so that each step's move is known
    from those that the row has now: one pass over the rows takes all steps.

    Args:
        rows: `LazyRows`, of which each row lacks at most MAX_DELAY steps.
        step: number of steps to have taken.
        rates: float (MAX_DELAY,): the learning rate of step s stands at s % MAX_DELAY.
        options: as in `adam`; its learning_rate plays no part.

    Returns:
        `LazyRows`, all at `step`.
    """
    b1, b2, eps = options["b1"], options["b2"], options["eps"]
    kept = 1 - options["weight_decay_rate"]
    delay = jnp.clip(step - rows.at, 0, MAX_DELAY)

    def power(base, exponents):  # few exponents occur: a table is quicker than as many powers
        return (jnp.asarray(base) ** jnp.arange(MAX_DELAY + 1))[exponents]

    ago = jnp.arange(MAX_DELAY)  # steps before the last one
    at = jnp.maximum(step - 1 - ago, 0)
    idle = delay[:, None] - ago  # of each row and step: how many idle steps it is; at most 0: none
    up_to = jnp.maximum(idle, 0)
    rate = jnp.where(
        idle > 0,
        power(b1, up_to) * (jnp.asarray(rates)[at % MAX_DELAY] * kept**ago / (1 - b1 ** (at + 1))),
        0,
    )
    scale = jnp.sqrt(power(b2, up_to) / (1 - b2 ** (at + 1)))
    root, moved = jnp.sqrt(rows.second), jnp.zeros_like(rows.table)
    for k in range(MAX_DELAY):
        moved += rate[:, k, None] * (rows.first / (root * scale[:, k, None] + eps))
    table, first, second = (
        power(base, delay)[:, None] * x for base, x in zip((kept, b1, b2), rows[:3], strict=True)
    )
    return LazyRows(table - moved, first, second, jnp.full_like(rows.at, step))


def take(rows: LazyRows, numbers: Array) -> LazyRows:
    """The rows of these numbers; a number beyond the table gives its last row.

    Args:
        rows: `LazyRows`.
        numbers: int32 (n,).

    Returns:
        `LazyRows` of n rows.
    """
    return LazyRows(*(array.at[numbers].get(mode="clip") for array in rows))


def put(rows: LazyRows, numbers: Array, new: LazyRows) -> LazyRows:
    """`rows` with these rows replaced; numbers are distinct, and those beyond the table left out.

    Args:
        rows: `LazyRows`.
        numbers: int32 (n,).
        new: `LazyRows` of n rows.

    Returns:
        `LazyRows`.
    """
    return LazyRows(
        *(
            array.at[numbers].set(part, mode="drop", unique_indices=True)
            for array, part in zip(rows, new, strict=True)
        )
    )
