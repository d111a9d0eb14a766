"""The LSTM layer: Trax's weights, name and results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lstms import drawn, states_by_loops

from trax_triplet.compat import fastmath, shapes, tl
from trax_triplet.model.lstm import LSTM
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import init_model


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
    with pytest.raises(ValueError, match="with_lengths must be False in mode 'predict'"):
        LSTM(4, mode="predict", with_lengths=True)
    with pytest.raises(ValueError, match="leave closed_form at True"):
        LSTM(4, with_lengths=True, closed_form=False)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_course_s_model_can_have_either():
    ids = np.array([[2, 3, 4, 1], [5, 1, 1, 1]], np.int32)
    models = [init_model(Siamese(10, 4, lstm=kind), seed=2) for kind in ("closed form", "trax")]
    assert repr(models[0]) == repr(models[1])
    for found, expected in zip(models[0]((ids, ids)), models[1]((ids, ids))):
        np.testing.assert_allclose(found, expected, atol=1e-5)
