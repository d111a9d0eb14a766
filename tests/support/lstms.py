"""An LSTM as plain loops, and by `lax.scan` for autodiff; random inputs and weights for it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def states_by_loops(x, kernel, bias, lengths):
    """States (rows, steps, d), one row and one step after the other, in float64."""
    x, kernel, bias = (np.asarray(a, np.float64) for a in (x, kernel, bias))
    d = len(bias) // 4
    states = np.zeros((*x.shape[:2], d))
    for row in range(x.shape[0]):
        h, c = np.zeros(d), np.zeros(d)
        for step in range(x.shape[1]):
            if step < lengths[row]:
                i, g, f, o = np.split(np.concatenate([x[row, step], h]) @ kernel + bias, 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            states[row, step] = h
    return states


def states_by_scan(x, kernel, bias, lengths):
    """The same by lax.scan, for autodiff."""
    rows, _, _ = x.shape
    d = len(bias) // 4

    def step(carry, now):
        h, c, t = carry
        i, g, f, o = jnp.split(jnp.concatenate([now, h], axis=1) @ kernel + bias, 4, axis=1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        reads = (t < lengths)[:, None]
        h, c = jnp.where(reads, jax.nn.sigmoid(o) * jnp.tanh(new_c), h), jnp.where(reads, new_c, c)
        return (h, c, t + 1), h

    start = (jnp.zeros((rows, d)), jnp.zeros((rows, d)), 0)
    return jnp.swapaxes(lax.scan(step, start, jnp.swapaxes(x, 0, 1))[1], 0, 1)


def drawn(rows, steps, d_in, d, seed=0):
    rng = np.random.default_rng(seed)
    shapes_ = ((rows, steps, d_in), (d_in + d, 4 * d), (4 * d,))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes_]
