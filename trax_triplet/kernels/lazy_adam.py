"""Adam over a table of which each step touches few rows: the others wait, and catch up exactly;
plain JAX.

Adam moves every row at every step, also those without a gradient, by their decaying momentum. A row
that waits is behind by such idle steps alone, and takes them, one by one, before it is read: the
result is that of the dense form. `LazyRows` says how far each row has come.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_DELAY = 16  # steps after which all rows catch up: a row never has more to make up for


class LazyRows(NamedTuple):
    """A table, its Adam moments, and the step up to which each row has them; all JAX arrays."""

    table: jax.Array  # (rows, d)
    first: jax.Array  # (rows, d), moving mean of the gradients
    second: jax.Array  # (rows, d), moving mean of their squares
    at: jax.Array  # int32 (rows,): steps that the row has taken


def adam(step, gradient, weights, moments, options):
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
        >>> options = {"learning_rate": 0.5, "weight_decay_rate": 0.0, "b1": 0.0, "b2": 0.0, "eps": 0.0}
        >>> float(adam(0, jnp.float32(4), jnp.float32(1), (jnp.float32(0),) * 2, options)[0])
        0.5
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


def catch_up(rows, step, rates, options):
    """`rows` after all steps before `step`, none of which had a gradient for them.

    Without a gradient the moments shrink by b1 and b2 a step, so that each step's move is known
    from those that the row has now: one pass over the rows takes all steps.

    Args:
        rows: `LazyRows`, each row at most MAX_DELAY steps behind.
        step: number of steps to have taken.
        rates: float (MAX_DELAY,): the learning rate of step s stands at s % MAX_DELAY.
        options: as in `adam`; its learning_rate plays no part.

    Returns:
        `LazyRows`, all at `step`.
    """
    b1, b2, eps, kept = (
        options["b1"],
        options["b2"],
        options["eps"],
        1 - options["weight_decay_rate"],
    )
    behind = jnp.clip(step - rows.at, 0, MAX_DELAY)

    def to(base, exponents):  # few exponents occur: a table is quicker than as many powers
        return (jnp.asarray(base) ** jnp.arange(MAX_DELAY + 1))[exponents]

    ago = jnp.arange(MAX_DELAY)  # steps before the last one
    at = jnp.maximum(step - 1 - ago, 0)
    idle = behind[:, None] - ago  # of each row and step: how many idle steps it is; at most 0: none
    up_to = jnp.maximum(idle, 0)
    rate = jnp.where(
        idle > 0,
        to(b1, up_to) * (jnp.asarray(rates)[at % MAX_DELAY] * kept**ago / (1 - b1 ** (at + 1))),
        0,
    )
    scale = jnp.sqrt(to(b2, up_to) / (1 - b2 ** (at + 1)))
    root, moved = jnp.sqrt(rows.second), jnp.zeros_like(rows.table)
    for k in range(MAX_DELAY):
        moved += rate[:, k, None] * (rows.first / (root * scale[:, k, None] + eps))
    table, first, second = (to(base, behind)[:, None] * x for base, x in zip((kept, b1, b2), rows))
    return LazyRows(table - moved, first, second, jnp.full_like(rows.at, step))


def take(rows, numbers):
    """The rows of these numbers; a number beyond the table gives its last row.

    Args:
        rows: `LazyRows`.
        numbers: int32 (n,).

    Returns:
        `LazyRows` of n rows.
    """
    return LazyRows(*(array.at[numbers].get(mode="clip") for array in rows))


def put(rows, numbers, new):
    """`rows` with these rows replaced; numbers are distinct, and those beyond the table are left
    out.

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
            for array, part in zip(rows, new)
        )
    )
