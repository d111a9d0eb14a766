"""The modified triplet loss: the course's numbers, the oracle, gradients, degenerate batches,
errors."""

import functools
import warnings

import jax
import ml_dtypes
import numpy as np
import oracles
import pytest
import tensorflow as tf
from backends import BACKENDS, cast
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import FREE1, FREE2, KERAS_LARGE, KERAS_SMALL, UNIT1, UNIT2, V1, V2, random_pairs

from trax_triplet.compat import fastmath, jnp, tl
from trax_triplet.loss import triplet as loss
from trax_triplet.loss.rules import CLOSEST
from trax_triplet.loss.triplet import TripletLoss, triplet_loss

LAB = {"closest": "semi-hard", "anchor": "first", "reduction": "sum", "normalize": True}
TRAX = {"closest": "hardest", "anchor": "first", "reduction": "mean", "normalize": False}
KERAS = {"closest": "shifted", "anchor": "second", "reduction": "sum", "normalize": False}
RULES = {"lab": LAB, "trax": TRAX, "keras": KERAS}


def to_numpy(x):
    return x.numpy() if isinstance(x, tf.Tensor) else np.asarray(x)


# --- every number of the course -------------------------------------------------------------------


def test_lecture_batches_have_the_lecture_cost(backend):
    value = float(triplet_loss(np.array(V1, float), np.array(V2), **LAB))
    assert value == pytest.approx(oracles.triplet_loss(V1, V2, **LAB), abs=1e-5)


def test_trax_numbers(backend):
    assert float(
        triplet_loss(np.array(UNIT1), np.array(UNIT2), margin=0.25, **TRAX)
    ) == pytest.approx(0.5, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these two are not unit vectors, on purpose
        for margin, value in ((0.25, 1.4382333), (0.8, 2.1715667)):
            assert float(triplet_loss(FREE1, FREE2, margin=margin, **TRAX)) == pytest.approx(
                value, abs=2e-7
            )


def test_keras_numbers(backend):
    # JAX computes in float32, 24 bits; the others in float64.
    near = functools.partial(pytest.approx, abs=1e-6 if backend == "jax" else 1e-14)
    small, large = np.array(KERAS_SMALL), np.array(KERAS_LARGE)
    assert float(triplet_loss(small[:, :3], small[:, 3:], margin=0.25, **KERAS)) == pytest.approx(
        0.7035077, abs=1e-7
    )
    assert float(triplet_loss(large[:, :3], large[:, 3:], margin=0.25, **KERAS)) == near(
        0.30219180776031007
    )
    assert float(triplet_loss(large[:, :3], large[:, 3:], margin=0.8, **KERAS)) == near(
        2.4262490547900892
    )


def test_keras_numbers_on_jax_in_float64(x64):
    large = np.array(KERAS_LARGE)
    f = jax.jit(functools.partial(triplet_loss, margin=0.25, **KERAS))
    value = f(large[:, :3], large[:, 3:])
    assert value.dtype == np.float64
    assert float(value) == pytest.approx(0.30219180776031007, abs=1e-15)


# --- against plain loops --------------------------------------------------------------------------

CHOICES = {
    "closest": st.sampled_from(CLOSEST),
    "anchor": st.sampled_from(loss.ANCHORS),
    "reduction": st.sampled_from(loss.REDUCTIONS),
    "normalize": st.booleans(),
    "margin": st.sampled_from([0.0, 0.25, 0.8, 2.0]),
}


@settings(deadline=None, max_examples=45)
@given(
    st.fixed_dictionaries(CHOICES),
    st.just(6),
    st.integers(0, 10**6),
    st.sampled_from(BACKENDS),
    st.booleans(),
)
def test_equals_plain_loops(rule, n, seed, backend, with_groups):
    rng = np.random.default_rng(seed)
    v1, v2 = random_pairs(n, seed=seed)
    if n > 3:
        v1[1], v2[2], v2[3] = 0, v2[1], v1[3]  # a zero row, equal rows, an equal pair
    groups = (rng.integers(-1, 3, n), rng.integers(-1, 3, n)) if with_groups else None
    with fastmath.use_backend(backend):
        value = np.asarray(triplet_loss(v1, v2, groups=groups, **rule))
    expected = oracles.triplet_loss(v1, v2, groups=groups, **rule)
    # The 'shifted' rule jumps where a negative equals the positive, up to rounding; there either
    # side is right.
    jumps = (rule["closest"] != "hardest") and n > 3
    if not jumps or not near_jump(v1, v2, rule["normalize"]):
        np.testing.assert_allclose(value, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("anchor, block", [("second", 0), ("both", 0), ("both", 2)])
def test_on_several_devices_each_side_keeps_its_own_ids(anchor, block):
    v1, v2 = random_pairs(6)
    groups = np.array([0, 1, 1, 2, 3, 3]), np.array([0, 1, 2, 5, 3, 1])  # not alike on both sides
    settings = {"margin": 0.8, "closest": "hardest", "anchor": anchor}
    whole = triplet_loss(v1, v2, groups=groups, **settings, block=0)

    def of_one(v1, v2, ids1, ids2):
        return triplet_loss(v1, v2, groups=(ids1, ids2), **settings, block=block)

    shards = [part.reshape(2, 3, *part.shape[1:]) for part in (v1, v2, *groups)]
    found = jax.jit(jax.vmap(of_one, axis_name="batch"))(*shards)
    assert float(np.mean(found)) == pytest.approx(float(whole), abs=1e-6)


def near_jump(v1, v2, normalize):
    scores = np.array(oracles.scores_of(v1, v2, normalize))
    gap = np.abs(scores - np.diag(scores)[:, None]) + np.eye(len(scores))
    gap = np.minimum(gap, np.abs(scores - np.diag(scores)[None, :]) + np.eye(len(scores)))
    return gap.min() < 1e-5


@pytest.mark.parametrize(
    "dtype, tolerance", [("float16", 2e-3), (ml_dtypes.bfloat16, 2e-2), ("float32", 1e-6)]
)
@pytest.mark.parametrize("rule", RULES)
def test_dtypes_against_the_oracle(backend, rule, dtype, tolerance):
    v1, v2 = random_pairs()
    value = to_numpy(
        triplet_loss(cast(v1, dtype, backend), cast(v2, dtype, backend), **RULES[rule])
    )
    assert value.dtype.name == np.dtype(dtype).name
    expected = oracles.triplet_loss(
        *(v.astype(dtype).astype(float) for v in (v1, v2)), **RULES[rule]
    )
    assert float(value) == pytest.approx(expected, rel=tolerance)


# --- gradients ------------------------------------------------------------------------------------


def tensorflow_gradient(f, *arrays):
    with fastmath.use_backend("tensorflow-numpy"), tf.GradientTape() as tape:
        tensors = [tf.constant(a) for a in arrays]
        tape.watch(tensors)
        value = f(*tensors)
    return [g.numpy() for g in tape.gradient(value, tensors)]


@pytest.mark.parametrize("rule", RULES)
def test_gradient_against_finite_differences(x64, rule):
    v1, v2 = random_pairs(5, 4, seed=3, dtype=np.float64)
    f = functools.partial(triplet_loss, margin=0.6, **{**RULES[rule], "normalize": True})
    gradients = jax.jit(jax.grad(f, argnums=(0, 1)))(v1, v2)
    step = 1e-6
    with fastmath.use_backend("numpy"):
        for side in (0, 1):
            for place in np.ndindex(v1.shape):
                moved = [[v.copy() for v in (v1, v2)] for _ in range(2)]
                moved[0][side][place] += step
                moved[1][side][place] -= step
                difference = (float(f(*moved[0])) - float(f(*moved[1]))) / (2 * step)
                assert float(gradients[side][place]) == pytest.approx(difference, abs=1e-7)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("with_groups", [False, True])
def test_gradients_of_jax_and_tensorflow_agree(rule, with_groups):
    v1, v2 = random_pairs(seed=5)
    groups = (np.array([0, 1, 2, 2, 4, -1]),) * 2 if with_groups else None
    f = functools.partial(triplet_loss, margin=0.6, groups=groups, **RULES[rule])
    ours = jax.jit(jax.grad(f, argnums=(0, 1)))(v1, v2)
    for a, b in zip(ours, tensorflow_gradient(f, v1, v2)):
        assert np.abs(np.asarray(a)).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-6)


ODD = {
    "zero vectors": (np.zeros((4, 3)), np.zeros((4, 3))),
    "one zero row": (np.eye(4, 3) * [[0], [1], [1], [1]], np.eye(4, 3)),
    "all rows equal": (np.ones((4, 3)), np.ones((4, 3))),
    "rows 2e-7 apart": (np.ones((4, 3)) + 2e-7 * np.eye(4, 3), np.ones((4, 3))),
    "opposite": (np.ones((4, 3)), -np.ones((4, 3))),
    "one pair": (np.ones((1, 3)), -np.ones((1, 3))),
}


@functools.cache
def value_and_gradients(closest, normalize):
    f = functools.partial(triplet_loss, closest=closest, anchor="both", normalize=normalize)
    return f, jax.jit(jax.value_and_grad(f, argnums=(0, 1)))


@pytest.mark.filterwarnings("ignore:the rows of:UserWarning")  # their lengths: on purpose here
@pytest.mark.parametrize(
    "closest, dtype, normalize",
    [("semi-hard", "float16", True), ("shifted", "float32", True), ("hardest", "float32", False)],
)
@pytest.mark.parametrize("batch", ODD)
def test_values_and_gradients_stay_finite(batch, closest, dtype, normalize):
    v1, v2 = (v.astype(dtype) for v in ODD[batch])
    f, compiled = value_and_gradients(closest, normalize)
    value, gradients = compiled(v1, v2)
    for array in (value, *gradients, *tensorflow_gradient(f, v1, v2)):
        assert np.isfinite(np.asarray(array)).all()
    if batch == "one pair":
        assert float(value) == 0
        assert not np.any(np.asarray(gradients))


def test_collapse_is_twice_the_margin(backend):
    ones = np.ones((4, 3), np.float32)
    assert float(triplet_loss(ones, ones, margin=0.3)) == pytest.approx(0.6, abs=1e-6)
    assert float(triplet_loss(ones, ones, margin=0.3, reduction="sum")) == pytest.approx(
        4 * 0.6, abs=1e-6
    )


def test_one_pair_has_no_negatives(backend):
    a, b = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    for reduction in ("mean", "sum"):
        assert float(triplet_loss(a, b, margin=5.0, reduction=reduction)) == 0.0


# --- known duplicates -----------------------------------------------------------------------------


def test_anchor_without_negatives_has_no_loss(backend):
    a, b = random_pairs(6)
    losses = triplet_loss(a, b, margin=2.0, reduction="none", groups=([1] * 6, [1] * 6))
    assert np.asarray(losses).tolist() == [0.0] * 6


def test_padding_pairs_change_nothing(backend):
    v1, v2 = random_pairs(3)
    more = [np.concatenate([v, np.zeros((3, v.shape[1]), v.dtype)]) for v in (v1, v2)]
    ids = np.array([0, 1, 2, -1, -1, -1])
    for reduction in ("mean", "sum"):
        alone = triplet_loss(v1, v2, margin=0.8, reduction=reduction)
        padded = triplet_loss(*more, margin=0.8, reduction=reduction, groups=(ids, ids))
        assert float(padded) == pytest.approx(float(alone), rel=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.permutations(range(6)))
def test_order_of_the_batch_does_not_matter(seed, order):
    v1, v2 = random_pairs(6, seed=seed)
    ids = np.random.default_rng(seed).integers(0, 4, 6)
    before = float(triplet_loss(v1, v2, groups=(ids, ids)))
    order = list(order)
    assert float(
        triplet_loss(v1[order], v2[order], groups=(ids[order], ids[order]))
    ) == pytest.approx(before, abs=1e-6)


def test_both_anchors_are_the_mean_of_each(backend):
    v1, v2 = random_pairs(6)
    first, second, both = (
        float(triplet_loss(v1, v2, margin=0.8, anchor=a)) for a in ("first", "second", "both")
    )
    assert both == pytest.approx((first + second) / 2, rel=1e-6)
    assert float(triplet_loss(v2, v1, margin=0.8)) == pytest.approx(second, rel=1e-6)


# --- compiled, and as a layer ---------------------------------------------------------------------


def test_under_jit_and_tf_function():
    v1, v2 = random_pairs(6)
    expected = oracles.triplet_loss(v1, v2, margin=0.6)
    f = functools.partial(triplet_loss, margin=0.6)
    assert float(jax.jit(f)(v1, v2)) == pytest.approx(expected, rel=1e-5)
    with fastmath.use_backend("tensorflow-numpy"):
        signature = [tf.TensorSpec((None, 5), tf.float32)] * 2  # a batch of unknown length
        assert float(
            tf.function(f, input_signature=signature, autograph=False)(v1, v2)
        ) == pytest.approx(expected, rel=1e-5)


def test_layer_prints_its_name_and_computes_the_loss():
    v1, v2 = random_pairs(6)
    layer = TripletLoss(margin=0.6, closest="hardest")
    assert str(layer) == "TripletLoss_in2" and isinstance(layer, tl.Fn("f", lambda x: x).__class__)
    assert float(layer((v1, v2))) == pytest.approx(
        oracles.triplet_loss(v1, v2, 0.6, "hardest"), rel=1e-5
    )
    ids = np.array([0, 0, 1, 2, 3, -1], np.int32)
    layer = TripletLoss(margin=0.6, with_groups=True)
    assert str(layer) == "TripletLoss_in4"
    expected = oracles.triplet_loss(v1, v2, 0.6, groups=(ids, ids))
    assert float(layer((v1, v2, ids, ids))) == pytest.approx(expected, rel=1e-5)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "v1, v2, error, name",
    [
        (np.ones(3), np.ones(3), ValueError, "v1"),
        (np.ones((2, 3)), np.ones((3, 3)), ValueError, "v2"),
        (np.ones((2, 3), int), np.ones((2, 3)), TypeError, "v1"),
        (np.ones((2, 3)), np.ones((2, 3), bool), TypeError, "v2"),
    ],
)
def test_wrong_vectors(v1, v2, error, name):
    with pytest.raises(error, match=f"{name} must be"):
        triplet_loss(v1, v2)


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("margin", -0.1, ValueError),
        ("margin", "0.25", TypeError),
        ("closest", "semihard", ValueError),
        ("anchor", "third", ValueError),
        ("reduction", "average", ValueError),
        ("normalize", None, TypeError),
        ("block", -1, ValueError),
        ("block", 2.0, TypeError),
        ("block", True, TypeError),
        ("axis_name", 3, TypeError),
    ],
)
def test_wrong_settings_are_refused_at_once(name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        triplet_loss(np.eye(2), np.eye(2), **{name: value})
    with pytest.raises(error, match=f"{name} must be"):
        TripletLoss(**{name: value})


def test_blocks_need_jax():
    with fastmath.use_backend("numpy"), pytest.raises(ValueError, match="block must be .*JAX"):
        triplet_loss(np.eye(2), np.eye(2), block=4)


def test_vectors_of_other_lengths_are_warned_about_once(monkeypatch):
    monkeypatch.setattr(loss, "_warned", [])
    v1, v2 = random_pairs()
    as_one = v1 / np.sqrt((v1**2).sum())  # the mistake: no axis, so the batch is one vector
    with pytest.warns(UserWarning, match="v1 have lengths from 0.408 to 0.408.*axis=-1"):
        triplet_loss(as_one, v2, normalize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        triplet_loss(as_one, v2, normalize=False)  # said once
        monkeypatch.setattr(loss, "_warned", [])
        triplet_loss(v1, v2, normalize=False)  # nothing to say
        jax.jit(functools.partial(triplet_loss, normalize=False))(as_one, v2)  # nothing to look at
        triplet_loss(np.zeros_like(v1), v2, normalize=False)  # empty questions


def test_loss_is_on_the_backend_in_use(backend):
    v1, v2 = random_pairs()
    kinds = {"jax": jax.Array, "numpy": (np.ndarray, np.floating), "tensorflow-numpy": tf.Tensor}
    assert isinstance(triplet_loss(v1, v2), kinds[backend])
    assert jnp.zeros(1).shape == (1,)
