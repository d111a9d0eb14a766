"""One rule on two backends that leak nowhere; the class in fit, jit, float16, on replicas."""

import functools
import threading

import jax
import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from bare_python import python
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import random_pairs

from trax_triplet.compat import fastmath
from trax_triplet.keras import TripletLoss, TripletLossFn
from trax_triplet.keras.loss import (
    ModifiedTripletLoss,
    RankingLoss,
    halves,
    ranking_loss_on_tensorflow,
    triplet_loss_on_tensorflow,
)
from trax_triplet.loss import steps
from trax_triplet.loss import triplet as loss
from trax_triplet.loss.ranking import ranking_loss
from trax_triplet.loss.triplet import triplet_loss

pytestmark = pytest.mark.integration  # loads and compiles Keras

# --- the same rule

RULES = [
    {"closest": "semi-hard", "anchor": "both", "reduction": "mean", "normalize": True},
    {"closest": "hardest", "anchor": "first", "reduction": "sum", "normalize": False},
    {"closest": "shifted", "anchor": "second", "reduction": "sum", "normalize": True},
]


def assert_equal_to_jax(v1, v2, **rule):
    value, gradients = jax.value_and_grad(functools.partial(triplet_loss, **rule), (0, 1))(v1, v2)
    tensors = [tf.constant(v) for v in (v1, v2)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        other = triplet_loss_on_tensorflow(*tensors, **rule)
    np.testing.assert_allclose(other, value, rtol=1e-6, atol=1e-6)
    for ours, jaxs in zip(tape.gradient(other, tensors), gradients):
        np.testing.assert_allclose(ours, jaxs, atol=2e-6)


@pytest.mark.parametrize("rule", RULES)
def test_value_and_gradient_are_those_of_jax(rule):
    v1, v2 = random_pairs(6, seed=1)
    assert_equal_to_jax(v1, v2, margin=0.8, **rule)


def test_groups_and_rows_of_zeros_are_those_of_jax():
    v1, v2 = random_pairs(6, seed=2)
    v1[0] = 0
    groups = np.array([0, 1, 1, 2, -1, 3]), np.array([0, 1, 4, 3, 5, 2])
    assert_equal_to_jax(v1, v2, margin=0.8, groups=groups, **RULES[0])


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(steps.CLOSEST),
    st.sampled_from(loss.ANCHORS),
    st.booleans(),
    st.sampled_from([0.0, 0.25, 0.8]),
    st.sampled_from([1, 2, 5]),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_any_value_and_gradient_are_those_of_jax(
    closest, anchor, normalize, margin, n, seed, with_groups
):
    v1, v2 = random_pairs(n, seed=seed)
    scores = np.array(oracles.scores_of(v1, v2, normalize))
    off = np.eye(n)
    gaps = [np.abs(scores - np.diag(scores)[:, None]) + off, np.abs(scores - np.diag(scores)) + off]
    if n > 1 and closest != "hardest" and np.min(gaps) < 1e-5:
        return  # up to rounding, either side of a jump is right
    rng = np.random.default_rng(seed)
    groups = (rng.integers(-1, 4, n), rng.integers(-1, 4, n)) if with_groups else None
    rule = {"closest": closest, "anchor": anchor, "normalize": normalize, "margin": margin}
    assert_equal_to_jax(v1, v2, groups=groups, **rule)


@pytest.mark.slow
def test_large_batches_without_the_matrix_are_those_of_jax():
    v1, v2 = random_pairs(loss.BLOCKWISE_FROM + 8, 16)
    assert_equal_to_jax(v1, v2, anchor="both")


def test_every_loss_here_is_the_core(monkeypatch):
    monkeypatch.setattr(loss, "triplet_loss", lambda v1, v2, **rule: tf.fill((2,), 7.0))
    out = np.ones((2, 4), "float32")
    assert ModifiedTripletLoss()(np.zeros(2), out).numpy() == 7.0
    assert (
        TripletLoss(None, out).numpy().tolist()
        == TripletLossFn(out, out).numpy().tolist()
        == [7.0, 7.0]
    )


def test_backend_is_that_of_one_thread_and_one_call(monkeypatch):
    entered, asked = threading.Event(), threading.Event()
    names = {}

    def slow(*arguments, **rule):
        names["inside"] = fastmath.backend_name()
        entered.set()
        assert asked.wait(60)
        return tf.constant(0.0)

    monkeypatch.setattr(loss, "triplet_loss", slow)
    other = threading.Thread(target=triplet_loss_on_tensorflow, args=(None, None))
    other.start()
    assert entered.wait(60)
    names["beside"] = fastmath.backend_name()
    asked.set()
    other.join()
    assert (
        names == {"inside": "tensorflow-numpy", "beside": "jax"}
        and fastmath.backend_name() == "jax"
    )


def test_backend_does_not_survive_an_error():
    with pytest.raises(ValueError, match="v2 must be of v1.s shape"):
        triplet_loss_on_tensorflow(tf.ones((2, 3)), tf.ones((3, 3)))
    assert fastmath.backend_name() == "jax"
    with fastmath.use_backend("numpy"):
        triplet_loss_on_tensorflow(tf.eye(2), tf.eye(2))
        ranking_loss_on_tensorflow(tf.eye(2), tf.eye(2), tf.constant([1, 0]))
        assert fastmath.backend_name() == "numpy"


# --- the class


def side_by_side(n=6, d=5, seed=0):
    return np.concatenate(random_pairs(n, d, seed), axis=1)


IDS = np.array([[7, 7], [7, 7], [8, 9], [5, 5], [-1, 6], [0, 0]])


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"margin": 0.6, "closest": "hardest", "anchor": "both"},
        {"margin": 0.8, "closest": "shifted", "anchor": "second"},
        {"reduction": "sum", "margin": 0.6},
        {"reduction": "none", "margin": 0.6},
    ],
)
@pytest.mark.parametrize("with_groups", [False, True])
def test_loss_is_the_oracles(rule, with_groups):
    out = side_by_side()
    found = ModifiedTripletLoss(with_groups=with_groups, **rule)(IDS, out)
    expected = oracles.triplet_loss(
        out[:, :5], out[:, 5:], groups=tuple(IDS.T) if with_groups else None, **rule
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_settings_come_back_from_the_configuration():
    rule = {
        "margin": 0.6,
        "closest": "hardest",
        "anchor": "both",
        "reduction": "sum",
        "normalize": False,
        "with_groups": True,
        "name": "mine",
        "dtype": "float64",
    }
    made = ModifiedTripletLoss(**rule)
    assert made.get_config() == rule
    again = keras.losses.deserialize(keras.losses.serialize(made))
    assert type(again) is ModifiedTripletLoss and again.get_config() == rule
    out = side_by_side()
    assert float(again(IDS, out)) == float(made(IDS, out))


def test_weights_of_pairs_multiply_their_losses():
    out, weights = side_by_side(), np.array([1.0, 0.0, 2.0, 1.0, 0.5, 0.0], "float32")
    each = ModifiedTripletLoss(0.8, reduction="none")(np.zeros(6), out).numpy()
    found = {
        reduction: ModifiedTripletLoss(0.8, reduction=reduction)(
            np.zeros(6), out, sample_weight=weights
        ).numpy()
        for reduction in ("none", "sum", "mean")
    }
    np.testing.assert_allclose(found["none"], each * weights, rtol=1e-6)
    np.testing.assert_allclose(found["sum"], (each * weights).sum(), rtol=1e-6)
    np.testing.assert_allclose(found["mean"], (each * weights).sum() / 6, rtol=1e-6)


def test_half_precision_is_computed_in_float32():
    out = side_by_side(40, 64).astype("float16")
    found = ModifiedTripletLoss(0.8, reduction="sum")(np.zeros(40), tf.constant(out))
    assert found.dtype == tf.float32
    expected = oracles.triplet_loss(
        out[:, :64].astype(float), out[:, 64:].astype(float), 0.8, reduction="sum"
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_large_ids_stay_apart():
    out = side_by_side(2)
    apart, same = np.array([[2**24, 2**24], [2**24 + 1] * 2]), np.array([[2**24] * 2] * 2)
    loss_of = ModifiedTripletLoss(2.0, with_groups=True)
    assert float(loss_of(apart, out)) == pytest.approx(float(ModifiedTripletLoss(2.0)(apart, out)))
    assert float(loss_of(apart, out)) > 0
    assert float(loss_of(same, out)) == 0.0


@pytest.mark.parametrize(
    "batch", [np.zeros((4, 6)), np.ones((4, 6)), np.ones((1, 6)), np.eye(3, 6) - np.eye(3, 6, 3)]
)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_degenerate_batches_stay_finite(batch, dtype):
    out = tf.constant(batch, dtype)
    with tf.GradientTape() as tape:
        tape.watch(out)
        value = ModifiedTripletLoss(anchor="both")(np.zeros(len(batch)), out)
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, out)).all()


def test_traced_with_a_batch_of_unknown_size_and_compiled():
    out = side_by_side()
    loss_of = functools.partial(ModifiedTripletLoss(0.8, with_groups=True), tf.constant(IDS))
    expected = float(loss_of(out))
    for options in (
        {"input_signature": [tf.TensorSpec((None, 10), tf.float32)]},
        {"jit_compile": True},
    ):
        assert float(tf.function(loss_of, **options)(tf.constant(out))) == pytest.approx(
            expected, rel=1e-6
        )


def two_towers(d=4, dtype=None):
    """A model of two inputs that is not ours: one dense layer for both."""
    tower = keras.layers.Dense(
        d, kernel_initializer=keras.initializers.RandomNormal(seed=1), dtype=dtype
    )
    inputs = [keras.Input((3,)) for _ in range(2)]
    return keras.Model(
        inputs, keras.layers.Concatenate(axis=1, dtype=dtype)([tower(x) for x in inputs])
    )


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fit_reports_the_loss_and_learns(jit_compile):
    rng = np.random.default_rng(0)
    x1 = rng.normal(size=(12, 3)).astype("float32")
    x2, ids = (
        x1 + 0.5 * rng.normal(size=(12, 3)).astype("float32"),
        np.stack([np.arange(12) + 2**24] * 2, axis=1),
    )
    model = two_towers()
    expected = [
        oracles.triplet_loss(*np.split(model([a, b]).numpy(), 2, axis=1), 0.8)
        for a, b in zip(np.split(x1, [8]), np.split(x2, [8]))
    ]
    model.compile(
        loss=ModifiedTripletLoss(0.8, with_groups=True),
        optimizer=keras.optimizers.SGD(0.0),
        jit_compile=jit_compile,
    )
    history = model.fit([x1, x2], ids, batch_size=8, shuffle=False, verbose=0)
    assert history.history["loss"][0] == pytest.approx(
        (8 * expected[0] + 4 * expected[1]) / 12, rel=1e-5
    )
    model.optimizer.learning_rate = 0.1
    later = model.fit([x1, x2], ids, batch_size=12, epochs=20, verbose=0)
    assert later.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.slow
def test_fit_in_mixed_precision():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    model = two_towers(dtype="mixed_float16")
    model.compile(loss=ModifiedTripletLoss(0.8), optimizer=keras.optimizers.SGD(0.1))
    history = model.fit([x, x + 0.1], np.zeros(12), epochs=2, verbose=0).history["loss"]
    assert model.output.dtype == "float16"
    assert np.isfinite(history).all() and history[0] > 0


@pytest.mark.parametrize(
    "error, made, message",
    [
        (ValueError, lambda: ModifiedTripletLoss(-1), "margin"),
        (ValueError, lambda: ModifiedTripletLoss(closest="near"), "closest"),
        (ValueError, lambda: ModifiedTripletLoss(reduction="sum_over_batch_size"), "reduction"),
        (
            ValueError,
            lambda: ModifiedTripletLoss()(np.zeros(2), np.ones((2, 3))),
            r"out must be .*side by side.*\(2, 3\)",
        ),
        (ValueError, lambda: ModifiedTripletLoss()(np.zeros(2), np.ones(4)), r"out .*\(4,\)"),
        (
            TypeError,
            lambda: ModifiedTripletLoss(with_groups=True)(np.zeros((2, 2), "f4"), np.ones((2, 4))),
            "y_true must be .*integers.*float32",
        ),
        (
            ValueError,
            lambda: ModifiedTripletLoss(with_groups=True)(np.zeros(2, int), np.ones((2, 4))),
            r"y_true .*int64 of shape \(2,\)",
        ),
        (ValueError, lambda: halves(np.ones((2, 0))), r"out .*\(2, 0\)"),
        (ValueError, lambda: RankingLoss(-1), "margin"),
        (TypeError, lambda: RankingLoss(normalize="no"), "normalize"),
        (ValueError, lambda: RankingLoss()([1, 0], np.ones((2, 3))), r"out .*\(2, 3\)"),
        (
            TypeError,
            lambda: RankingLoss()(np.ones(2, "f4"), np.ones((2, 4))),
            "y_true must be labels, integers .*float32",
        ),
        (
            ValueError,
            lambda: RankingLoss()(np.ones((2, 2), int), np.ones((2, 4))),
            r"y_true must be labels.*int64 of shape \(2, 2\)",
        ),
        (ValueError, lambda: RankingLoss()(1, np.ones((1, 4))), "y_true"),
        (ValueError, lambda: RankingLoss()([1, 0, 1], np.ones((2, 4))), r"labels .*\(2,\)"),
        (
            ValueError,
            lambda: RankingLoss()([1, 0], np.ones((2, 4)), sample_weight=np.ones(2)),
            r"sample_weight must be None, but it is float64 of shape \(2,\); .*negative label",
        ),
    ],
)
def test_mistakes_are_named(error, made, message):
    with pytest.raises(error, match=message):
        made()


# --- the ranking loss

LABELS = np.array([1, 0, 0, 1, 0, -1])


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
@pytest.mark.parametrize("dtype", ["int8", "int64", "float64"])  # Keras makes float64 on replicas
def test_ranking_loss_is_the_oracles(shape, dtype):
    out = side_by_side()
    found = RankingLoss(0.3)(LABELS.reshape(shape).astype(dtype), out)
    assert found.dtype == tf.float32 and found.shape == ()
    expected = oracles.ranking_loss(out[:, :5], out[:, 5:], LABELS, 0.3)
    assert float(found) == pytest.approx(expected, abs=1e-6) and expected > 0.01


def test_gradient_of_the_ranking_loss_is_that_of_jax():
    v1, v2 = random_pairs()
    gradients = jax.grad(lambda a, b: ranking_loss(a, b, LABELS, margin=0.3), (0, 1))(v1, v2)
    out = tf.constant(side_by_side())
    with tf.GradientTape() as tape:
        tape.watch(out)
        value = RankingLoss(0.3)(LABELS, out)
    np.testing.assert_allclose(
        tape.gradient(value, out), np.concatenate(gradients, axis=1), atol=1e-6
    )


def test_vectors_of_any_length_are_compared_as_they_are_without_normalize():
    out = np.array([[2.0, 0.0, 1.0, 0.0], [1.0, 0.0, 3.0, 0.0]])
    assert float(RankingLoss(0.5, normalize=False)([1, 0], out)) == pytest.approx(1.5**2)
    assert float(RankingLoss(0.5)([1, 0], out)) == pytest.approx(0.5**2)


def test_settings_of_the_ranking_loss_come_back_from_the_configuration():
    rule = {"margin": 0.6, "normalize": False, "name": "mine", "dtype": "float64"}
    made = RankingLoss(**rule)
    assert made.get_config() == rule
    again = keras.losses.deserialize(keras.losses.serialize(made))
    assert type(again) is RankingLoss and again.get_config() == rule
    out = side_by_side()
    assert float(again(LABELS, out)) == float(made(LABELS, out))
    assert again(LABELS, out).dtype == tf.float64


def test_ranking_loss_of_half_precision_is_computed_in_float32():
    out = side_by_side(6, 64).astype("float16")
    found = RankingLoss()(LABELS, tf.constant(out))
    assert found.dtype == tf.float32
    wide = out.astype(float)
    expected = oracles.ranking_loss(wide[:, :64], wide[:, 64:], LABELS)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_ranking_loss_traced_with_a_batch_of_unknown_size_and_compiled():
    out = side_by_side()
    expected = float(RankingLoss()(LABELS, out))
    signature = [tf.TensorSpec((None, 1), tf.int32), tf.TensorSpec((None, 10), tf.float32)]
    for options in ({"input_signature": signature}, {"jit_compile": True}):
        found = tf.function(RankingLoss(), **options)(
            tf.constant(LABELS[:, None], tf.int32), tf.constant(out)
        )
        assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [-1, -1]])
def test_there_is_nothing_to_rank_without_both_labels(labels):
    out = tf.zeros((2, 4))
    with tf.GradientTape() as tape:
        tape.watch(out)
        value = RankingLoss()(labels, out)
    assert float(value) == 0 and not tape.gradient(value, out).numpy().any()


@pytest.mark.slow
def test_fit_learns_from_both_losses_of_one_output(tmp_path):
    rng = np.random.default_rng(0)
    x1 = rng.normal(size=(16, 3)).astype("float32")
    x2 = x1 + 0.5 * rng.normal(size=(16, 3)).astype("float32")
    labels = np.array([1, 1, 1, 0] * 4)
    ids = np.where(labels[:, None], np.arange(16)[:, None] + 2**24, -1).repeat(2, axis=1)
    model = two_towers()
    v1, v2 = np.split(model([x1, x2]).numpy(), 2, axis=1)
    triplet = oracles.triplet_loss(v1, v2, 0.8, groups=tuple(ids.T))
    ranking = oracles.ranking_loss(v1, v2, labels, 0.5)
    both = keras.Model(model.inputs, [model.output, model.output])
    both.compile(
        loss=[ModifiedTripletLoss(0.8, with_groups=True), RankingLoss(0.5)],
        loss_weights=[1.0, 2.0],
        optimizer=keras.optimizers.SGD(0.0),
    )
    first = both.fit([x1, x2], (ids, labels), batch_size=16, verbose=0).history["loss"]
    assert first[0] == pytest.approx(triplet + 2 * ranking, rel=1e-5)
    both.optimizer.learning_rate = 0.1
    both.fit([x1, x2], (ids, labels), batch_size=16, epochs=30, verbose=0)
    v1, v2 = np.split(model([x1, x2]).numpy(), 2, axis=1)
    assert oracles.triplet_loss(v1, v2, 0.8, groups=tuple(ids.T)) < triplet
    assert oracles.ranking_loss(v1, v2, labels, 0.5) < 0.8 * ranking
    both.save(tmp_path / "both.keras")
    again = keras.saving.load_model(tmp_path / "both.keras")
    assert [type(found) for found in again.loss] == [ModifiedTripletLoss, RankingLoss]
    assert again.evaluate([x1, x2], (ids, labels), verbose=0) == pytest.approx(
        both.evaluate([x1, x2], (ids, labels), verbose=0)
    )


# --- two replicas: in another process, as TensorFlow divides its CPU before it starts

REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trax_triplet.keras.layers import keras
from trax_triplet.keras import TripletLoss
from trax_triplet.keras.loss import ModifiedTripletLoss, RankingLoss

rng = np.random.default_rng(0)
# The second batch of 5 leaves 3 rows for one replica and 2 for the other, the third, of 1, none for
# one of them.
x1 = rng.normal(size=(14, 3)).astype("float32")
x2 = x1 + 0.5 * rng.normal(size=(14, 3)).astype("float32")
ids = np.stack([rng.integers(-1, 9, 14)] * 2, axis=1)
labels = rng.integers(-1, 2, 14)

def train(strategy, loss):
    targets = labels if isinstance(loss, RankingLoss) else ids
    with strategy.scope():
        tower = keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=1))
        inputs = [keras.Input((3,)) for _ in range(2)]
        unit = [keras.layers.UnitNormalization()(tower(x)) for x in inputs]
        model = keras.Model(inputs, keras.layers.Concatenate(axis=1)(unit))
        model.compile(loss=loss, optimizer=keras.optimizers.SGD(0.05))
    batches = tf.data.Dataset.from_tensor_slices(((x1, x2), targets))
    batches = batches.take(8).batch(8).concatenate(batches.skip(8).batch(5))
    history = model.fit(batches, epochs=3, verbose=0, shuffle=False).history["loss"]
    return history, model.get_weights()[0]

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
mean, a_sum = ModifiedTripletLoss(0.8, anchor="both", with_groups=True), TripletLoss
for loss in (mean, a_sum, RankingLoss()):
    (one, weights_of_one), (two, weights_of_two) = (
        train(strategy, loss) for strategy in (tf.distribute.get_strategy(), mirrored)
    )
    np.testing.assert_allclose(one, two, rtol=1e-4)
    np.testing.assert_allclose(weights_of_one, weights_of_two, atol=1e-5)
    assert one[0] != one[2]  # it did train
print("equal")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one():
    done = python("-c", REPLICAS)
    assert done.returncode == 0 and done.stdout.endswith("equal\n"), done.stderr


def test_fit_stops_at_nan():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
    model.compile(loss=ModifiedTripletLoss(), optimizer="sgd")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    x[3, 0] = np.nan
    history = model.fit(
        x,
        np.zeros(8),
        batch_size=8,
        epochs=3,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    assert np.isnan(history.history["loss"]).tolist() == [True]


def test_large_ids_stay_apart_in_fit():
    loss = ModifiedTripletLoss(with_groups=True)
    out = tf.constant(np.random.default_rng(0).normal(size=(3, 8)), "float32")
    expected = float(loss(tf.constant([[0, 1], [0, 2], [-1, -1]]), out))
    for large in ([[2**40, 1], [2**40, -5], [-1, -1]], [[-7, 2**32], [-7, 2**33], [3, -1]]):
        compiled = tf.function(lambda ids: loss(ids, out))
        assert float(compiled(tf.constant(large, tf.int64))) == pytest.approx(expected)


# --- targets that are floats

NOT_WHOLE = {
    "fractions": np.linspace(0.1, 0.8, 8),
    "NaN": np.full(8, np.nan),
    "infinite": np.full(8, np.inf),
    "as large as not to be told apart": 2.0**60 + np.arange(8),
}


@pytest.mark.parametrize("values", NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_floats_that_are_not_whole_are_refused_or_make_the_loss_nan(values):
    out = side_by_side()[:4]
    for function, targets in (
        (ModifiedTripletLoss(with_groups=True), values.reshape(4, 2)),
        (RankingLoss(0.4), values[:4]),
    ):
        in_graph = tf.function(function.__call__)
        assert targets.dtype == np.float64
        with pytest.raises(ValueError, match="each of y_true must be an integer"):
            function(targets, out)
        assert np.isnan(in_graph(tf.constant(targets), tf.constant(out)))
        whole = np.arange(targets.size).reshape(targets.shape) % 2
        expected = float(function(whole, out))
        assert float(function(whole.astype(float), out)) == expected
        inside = in_graph(tf.constant(whole, tf.float64), tf.constant(out))
        assert float(inside) == pytest.approx(expected, abs=1e-6)


def test_targets_of_every_integer_type_count_the_same_and_none_may_be_masked():
    out = side_by_side()[:4]
    labels, ids = np.array([1, 0, 1, 0]), np.arange(8).reshape(4, 2)
    ranking, triplet = RankingLoss(0.4), ModifiedTripletLoss(with_groups=True)
    for dtype in ("int8", "int32", "uint8", "uint16", "uint32", "uint64"):
        assert float(ranking(labels.astype(dtype), out)) == float(ranking(labels, out))
        assert float(triplet(ids.astype(dtype), out)) == float(triplet(ids, out))
    with pytest.raises(ValueError, match=r"y_true\[1\] .*masked"):
        ranking(np.ma.array(labels, mask=[0, 1, 0, 0]), out)
    with pytest.raises(ValueError, match=r"y_pred\[0, 0\] .*masked"):
        ranking(labels, np.ma.array(out, mask=True))
