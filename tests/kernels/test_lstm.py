"""The recurrence against plain loops in float64, its gradient against autodiff and against Keras,
and the layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from trax_triplet.compat import fastmath, shapes, tl
from trax_triplet.kernels.lstm import backward, forward, lstm
from trax_triplet.kernels.packing import CHUNK, Workspace, pack, row_bucket_sizes
from trax_triplet.model.lstm import LSTM
from trax_triplet.model.siamese import Siamese, init_model


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


@pytest.mark.parametrize(
    "rows, steps, lengths", [(5, 4, None), (1, 1, [1]), (3, 2, [0, 0, 0]), (37, 9, "random")]
)
def test_values_and_gradients(rows, steps, lengths):
    arrays = drawn(rows, steps, 3, 2)
    given = (
        np.random.default_rng(1).integers(0, steps + 1, rows) if lengths == "random" else lengths
    )
    given = None if given is None else np.array(given)
    all_lengths = np.full(rows, steps) if given is None else given

    def ours(x, kernel, bias):
        return lstm(x, kernel, bias, None if given is None else jnp.asarray(given))

    np.testing.assert_allclose(
        jax.jit(ours)(*arrays), states_by_loops(*arrays, all_lengths), atol=1e-5
    )
    weights = np.random.default_rng(2).normal(size=(rows, steps, 2)).astype(np.float32)
    found = jax.jit(jax.grad(lambda *a: jnp.sum(ours(*a) * weights), (0, 1, 2)))(*arrays)
    expected = jax.grad(
        lambda *a: jnp.sum(states_by_scan(*a, jnp.asarray(all_lengths)) * weights), (0, 1, 2)
    )(*arrays)
    for f, e in zip(found, expected):
        np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-5)


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
    found = lstm(half, kernel, bias)
    assert found.dtype == jnp.bfloat16
    expected = lstm(half.astype(jnp.float32), kernel, bias).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(expected, np.float32))


def test_second_derivatives_are_refused_in_words():
    x, kernel, bias = drawn(2, 2, 2, 1)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.grad(lambda x: jnp.sum(jax.grad(lambda x: jnp.sum(lstm(x, kernel, bias)))(x)))(x)


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda x, k, b: (x.astype(np.int32), k, b, None), TypeError, "floating point"),
        (lambda x, k, b: (x[0], k, b, None), ValueError, r"\(rows, steps, d_in\)"),
        (lambda x, k, b: (x, k[1:], b, None), ValueError, "kernel must be"),
        (lambda x, k, b: (x, k, b, np.array([1])), ValueError, "one number for each of the 3 rows"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        lstm(*change(*drawn(3, 4, 2, 2)))


def test_pack_keeps_the_words_of_each_step_together():
    tokens = np.zeros((18, 3), int)
    tokens[4, 0], tokens[9] = 5, (6, 7, 8)
    packed = pack(tokens, (tokens > 0).sum(axis=1))
    assert row_bucket_sizes(18) == (16, 18)
    assert packed.index.tolist() == [6, 5] + 14 * [0] + [7] + 15 * [0] + [8] + 15 * [0]
    assert packed.counts.tolist() == [2, 1, 1]
    assert packed.order.tolist()[:2] == [9, 4]


# --- the layer
# --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both():
    """tl.LSTM and ours, of one random key."""
    layers = tl.LSTM(4), LSTM(4)
    for layer in layers:
        layer.rng = fastmath.random.get_prng(3)
        layer.init(shapes.ShapeDtype((5, 7, 4)))
    return layers


def test_layer_has_weights_name_and_results_of_trax(both):
    theirs, ours = both
    assert repr(theirs) == repr(ours) == "LSTM_4"
    for found, expected in zip(
        fastmath.tree_leaves(ours.weights), fastmath.tree_leaves(theirs.weights), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    x = np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32)
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


def test_predicting_step_by_step_gives_the_same(both):
    x = np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32)
    one_by_one = LSTM(4, mode="predict")
    one_by_one.init(shapes.ShapeDtype((5, 1, 4)))
    one_by_one.weights = both[1].weights
    steps = [one_by_one(x[:, t : t + 1]) for t in range(7)]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), both[1](x), atol=1e-5)


def test_layer_with_lengths(both):
    x, lengths = np.ones((5, 7, 4), np.float32), np.array([3, 0, 7, 7, 1])
    layer = LSTM(4, with_lengths=True)
    layer.init((shapes.ShapeDtype((5, 7, 4)), shapes.ShapeDtype((5,), np.int32)))
    layer.weights = both[1].weights
    found, whole = np.asarray(layer((x, lengths))), np.asarray(both[1](x))
    np.testing.assert_allclose(found[0, :3], whole[0, :3], atol=1e-6)
    np.testing.assert_array_equal(found[0, 3:], np.broadcast_to(found[0, 2], (4, 4)))
    with pytest.raises(ValueError, match="takes no lengths"):
        LSTM(4, mode="predict", with_lengths=True)
    with pytest.raises(ValueError, match="leave closed_form at True"):
        LSTM(4, with_lengths=True, closed_form=False)


def test_layer_in_float64_is_the_loop_and_its_gradient_the_difference_of_two(x64):
    x, kernel, bias = (a.astype(np.float64) for a in drawn(3, 4, 2, 2))
    layer, total = LSTM(2), np.random.default_rng(2).normal(size=(3, 4, 2))
    layer.init(shapes.ShapeDtype((3, 4, 2), np.float64))

    def value(x, kernel, bias):
        weights = fastmath.nested_map(lambda w: kernel if w.ndim == 2 else bias, layer.weights)
        return layer.pure_fn(x, weights, layer.state, None)[0]

    lengths = np.full(3, 4)
    found = value(x, kernel, bias)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, states_by_loops(x, kernel, bias, lengths), rtol=0, atol=1e-14)
    gradients = jax.grad(lambda *a: jnp.sum(value(*a) * total), (0, 1, 2))(x, kernel, bias)
    rng, step = np.random.default_rng(3), 1e-6
    for k, gradient in enumerate(gradients):
        direction = [np.zeros_like(a) for a in (x, kernel, bias)]
        direction[k] = rng.normal(size=gradient.shape)
        ahead, behind = (
            np.sum(
                total
                * states_by_loops(
                    *(a + s * d for a, d in zip((x, kernel, bias), direction)), lengths
                )
            )
            for s in (step, -step)
        )
        assert np.sum(gradient * direction[k]) == pytest.approx(
            (ahead - behind) / (2 * step), rel=1e-7
        )


def test_the_course_s_model_can_have_either():
    ids = np.array([[2, 3, 4, 1], [5, 1, 1, 1]], np.int32)
    models = [init_model(Siamese(10, 4, lstm=kind), seed=2) for kind in ("closed form", "trax")]
    assert repr(models[0]) == repr(models[1])
    for found, expected in zip(models[0]((ids, ids)), models[1]((ids, ids))):
        np.testing.assert_allclose(found, expected, atol=1e-5)


# --- with a workspace that is used again
# -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def walked():
    """Last states and gradients of one ragged batch, in a workspace of so many chunks, filled with so
    much before."""
    rng = np.random.default_rng(5)
    rows, steps, n, d_in, d = 110, 20, 9, 4, 3
    tokens, lengths = rng.integers(0, n, (rows, steps)), rng.integers(0, steps + 1, rows)
    table, kernel, bias, d_last = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((n, d_in), (d_in + d, 4 * d), (4 * d,), (rows, d))
    )
    packed = pack(tokens, lengths)
    assert CHUNK < len(packed.index) < 2 * CHUNK and len(packed.index) % CHUNK

    def run(chunks, filled):
        size = chunks * CHUNK
        workspace = Workspace(
            *(jnp.full_like(part, filled) for part in Workspace.of(size, size, d))
        )
        there = packed._replace(index=np.pad(packed.index, (0, size - len(packed.index))))
        longer = np.pad(table, ((0, size - n), (0, 0)))
        last, cells, workspace = forward(longer, kernel, bias, there, workspace, n)
        d_table, *others, _ = backward(longer, kernel, there, cells, workspace, d_last, n)
        assert not d_table[n:].any()
        return last, d_table[:n], *others

    return run, (tokens, lengths, table, kernel, bias, d_last, packed.order)


def test_packed_rows_equal_autodiff(walked):
    run, (tokens, lengths, table, kernel, bias, d_last, order) = walked

    def last(table, kernel, bias):
        return states_by_scan(table[tokens], kernel, bias, lengths)[:, -1][order]

    expected, pull = jax.vjp(last, table, kernel, bias)
    for found, wanted in zip(run(2, 0.0), (expected, *pull(d_last)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_neither_size_nor_content_of_the_room_counts(walked):
    for found, wanted in zip(walked[0](4, 7.0), walked[0](2, 0.0)):
        np.testing.assert_array_equal(found, wanted)
