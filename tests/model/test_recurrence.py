"""The LSTM against plain loops in float64, its gradient against autodiff and against Keras."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lstms import drawn, states_by_loops, states_by_scan

from trax_triplet.model.packing import CHUNK, Workspace, pack, row_bucket_sizes
from trax_triplet.model.recurrence import backward, forward, lstm


@functools.partial(jax.jit, static_argnums=0)
def total_and_gradients(states_of, x, kernel, bias, lengths, weights):
    """((the weighted sum of the states, the states), its gradients)."""

    def total(*arrays):
        states = states_of(*arrays, lengths)
        return jnp.sum(states * weights), states

    return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(x, kernel, bias)


@pytest.mark.parametrize(
    "rows, steps, lengths", [(5, 4, None), (1, 1, [1]), (37, 9, [0] * 37), (37, 9, "random")]
)
def test_values_and_gradients(rows, steps, lengths):
    arrays = drawn(rows, steps, 3, 2)
    given = (
        np.random.default_rng(1).integers(-1, steps + 2, rows) if lengths == "random" else lengths
    )
    given = None if given is None else np.array(given)
    all_lengths = np.full(rows, steps) if given is None else given

    weights = np.random.default_rng(2).normal(size=(rows, steps, 2)).astype(np.float32)
    (_, states), gradients = total_and_gradients(lstm, *arrays, given, weights)
    np.testing.assert_allclose(states, states_by_loops(*arrays, all_lengths), atol=1e-5)
    _, expected = total_and_gradients(states_by_scan, *arrays, all_lengths, weights)
    for found, wanted in zip(gradients, expected):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # loads Keras; that the gates have their order the loops say, too
def test_keras_computes_the_same():
    import tensorflow as tf

    x, kernel, bias = drawn(4, 5, 3, 2)
    i, g, f, o = np.split(kernel, 4, axis=1)
    theirs = np.concatenate([i, f, g, o], axis=1)  # Keras puts the new value third
    bi, bg, bf, bo = np.split(bias, 4)
    layer = tf.keras.layers.LSTM(2, return_sequences=True)
    layer.build(x.shape)
    layer.set_weights([theirs[:3], theirs[3:], np.concatenate([bi, bf, bg, bo])])
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        states = layer(inputs)
        total = tf.reduce_sum(states**2)
    np.testing.assert_allclose(lstm(jnp.asarray(x), kernel, bias), states, atol=1e-5)
    ours = jax.grad(lambda x: jnp.sum(lstm(x, kernel, bias) ** 2))(x)
    np.testing.assert_allclose(ours, tape.gradient(total, inputs), rtol=1e-4, atol=1e-6)


def test_half_precision_is_computed_in_float32():
    x, kernel, bias = drawn(3, 4, 2, 2)
    half = jnp.asarray(x, jnp.bfloat16)
    compiled = jax.jit(lstm)
    found = compiled(half, kernel, bias)
    assert found.dtype == jnp.bfloat16
    expected = compiled(half.astype(jnp.float32), kernel, bias).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(expected, np.float32))


def test_second_derivatives_are_refused_in_words():
    x, kernel, bias = drawn(2, 2, 2, 1)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        gradient = jax.grad(lambda x: jnp.sum(lstm(x, kernel, bias)))
        jax.eval_shape(jax.grad(lambda x: jnp.sum(gradient(x))), x)


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda x, k, b: (x.astype(np.int32), k, b, None), TypeError, "x must be floating point"),
        (lambda x, k, b: (x[0], k, b, None), ValueError, "x must be"),
        (lambda x, k, b: (x, k[1:], b, None), ValueError, "kernel must be"),
        (lambda x, k, b: (x, k, b[1:], None), ValueError, "bias must be"),
        (lambda x, k, b: (x, k, b, np.array([1])), ValueError, "lengths must be"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        lstm(*change(*drawn(3, 4, 2, 2)))


def test_pack_keeps_the_words_of_each_step_together():
    tokens, lengths = np.full((18, 3), 9), np.zeros(18, int)
    tokens[4, 0], tokens[9] = 5, (6, 7, 8)
    lengths[[4, 9]] = 1, 3
    packed = pack(tokens, lengths)
    assert row_bucket_sizes(18) == (16, 18)
    assert packed.index.tolist() == [6, 5] + 14 * [0] + [7] + 15 * [0] + [8] + 15 * [0]
    assert packed.counts.tolist() == [2, 1, 1]
    assert packed.order.tolist()[:2] == [9, 4]


# --- with a workspace that is used again --------------------------------------------------------


@pytest.fixture(scope="module")
def walked():
    """Last states and gradients of a ragged batch, by chunks of the workspace and its filling."""
    rng = np.random.default_rng(5)
    rows, steps, n, d_in, d = 40, 60, 9, 4, 3
    tokens, lengths = rng.integers(0, n, (rows, steps)), rng.integers(0, steps + 1, rows)
    table, kernel, bias, d_last = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((n, d_in), (d_in + d, 4 * d), (4 * d,), (rows, d))
    )
    packed = pack(tokens, lengths)
    assert CHUNK < len(packed.index) < 2 * CHUNK and len(packed.index) % CHUNK

    @functools.cache
    def run(chunks, filled):
        size = chunks * CHUNK
        workspace = Workspace(
            *(jnp.full_like(part, filled) for part in Workspace.of(size, size, d))
        )
        there = packed._replace(index=np.pad(packed.index, (0, size - len(packed.index))))
        longer = np.pad(table, ((0, size - n), (0, 0)))

        @jax.jit
        def both(table, kernel, bias, workspace, d_last):
            last, cells, workspace = forward(table, kernel, bias, there, workspace, n)
            return last, *backward(table, kernel, there, cells, workspace, d_last, n)

        last, d_table, *others, _ = both(longer, kernel, bias, workspace, d_last)
        assert not d_table[n:].any()
        return last, d_table[:n], *others

    return run, (tokens, lengths, table, kernel, bias, d_last, packed.order)


def test_packed_rows_equal_autodiff(walked):
    run, (tokens, lengths, table, kernel, bias, d_last, order) = walked

    def last(table, kernel, bias):
        return states_by_scan(table[tokens], kernel, bias, lengths)[:, -1][order]

    @jax.jit
    def value_and_gradients(d_last, *arrays):
        value, pull = jax.vjp(last, *arrays)
        return value, *pull(d_last)

    expected = value_and_gradients(d_last, table, kernel, bias)
    # The workspace comes full of what an earlier batch left.
    for found, wanted in zip(run(2, 7.0), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_neither_size_nor_content_of_the_workspace_counts(walked):
    for found, wanted in zip(walked[0](4, 7.0), walked[0](2, 0.0)):
        np.testing.assert_array_equal(found, wanted)
