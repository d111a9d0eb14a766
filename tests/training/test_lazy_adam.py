"""Adam on a few rows at a time, against Adam in float64, one step after the other."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from trax_triplet.training.lazy_adam import MAX_DELAY, LazyRows, adam, catch_up, put, take


def test_a_step_of_adam():
    options = {"learning_rate": 0.5, "weight_decay_rate": 0.2, "b1": 0.9, "b2": 0.99, "eps": 0.1}
    weights, moments = adam(2, *np.array([[3.0], [4.0]]), np.array([[0.5], [0.25]]), options)
    first, second = 0.1 * 3 + 0.9 * 0.5, 0.01 * 3**2 + 0.99 * 0.25
    np.testing.assert_allclose(moments, [[first], [second]], rtol=1e-6)
    moved = 0.5 * first / (1 - 0.9**3) / (math.sqrt(second / (1 - 0.99**3)) + 0.1)
    np.testing.assert_allclose(weights, [(1 - 0.2) * 4 - moved], rtol=1e-6)


def test_numbers_beyond_the_table_read_its_last_row_and_write_none():
    rows = LazyRows(*(k * jnp.arange(3) for k in (1, 10, 100, 1000)))
    assert [part.tolist() for part in take(rows, np.array([1, 3]))] == [
        [k * 1, k * 2] for k in (1, 10, 100, 1000)
    ]
    found = put(rows, np.array([0, 3]), LazyRows(*(jnp.array([k, 7]) for k in (5, 6, 8, 9))))
    assert [part.tolist() for part in found] == [
        [new, k * 1, k * 2] for k, new in zip((1, 10, 100, 1000), (5, 6, 8, 9))
    ]


def test_lazy_rows_take_the_steps_that_they_missed():
    rng = np.random.default_rng(0)
    options = {"learning_rate": 0.0, "weight_decay_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-5}
    rates = rng.random(MAX_DELAY)
    for step in (5, 37):  # before and after the rates have gone round
        at = rng.integers(max(step - MAX_DELAY, 0), step + 1, 40)
        arrays = [rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), rng.random((40, 3))]
        rows = LazyRows(*(np.asarray(a, np.float32) for a in arrays), at.astype(np.int32))
        found = jax.jit(catch_up)(rows, step, rates.astype(np.float32), options)
        for row in range(40):  # Adam in float64, one idle step after the other
            weights, first, second = (a[row] for a in arrays)
            for s in range(at[row], step):
                first, second = 0.9 * first, 0.99 * second
                unbiased = first / (1 - 0.9 ** (s + 1)), second / (1 - 0.99 ** (s + 1))
                weights = 0.99 * weights - rates[s % MAX_DELAY] * unbiased[0] / (
                    np.sqrt(unbiased[1]) + 1e-5
                )
            for part, expected in zip(found, (weights, first, second)):
                np.testing.assert_allclose(part[row], expected, rtol=1e-5, atol=2e-6)
        assert (np.asarray(found.at) == step).all()
