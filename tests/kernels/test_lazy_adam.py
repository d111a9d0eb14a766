"""Adam on a few rows at a time, against Adam in float64, one step after the other."""

import jax
import numpy as np

from trax_triplet.kernels.lazy_adam import MAX_DELAY, LazyRows, catch_up


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
