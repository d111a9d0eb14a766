"""NaN and infinity stay visible, and ids mean what they mean whatever their size."""

import functools
import itertools
import pickle
import zlib

import jax
import numpy as np
import pytest
import tensorflow as tf
from vectors import random_pairs

from trax_triplet.compat import fastmath
from trax_triplet.loss.blockwise import blockwise_losses
from trax_triplet.loss.ranking import RankingLoss, ranking_loss
from trax_triplet.loss.similarity import cosine_similarity, l2_normalize, similarity_matrix
from trax_triplet.loss.steps import closest_negative, hinge, hinges, mean_negative
from trax_triplet.loss.teacher import teacher_loss
from trax_triplet.loss.triplet import TripletLoss, triplet_loss

NAN, INF = float("nan"), float("inf")
BAD = (NAN, INF, -INF)
N = 6  # one size, in other files, too: each other one is compiled anew
RULES = [("semi-hard", "first"), ("hardest", "second"), ("shifted", "both"), ("semi-hard", "both")]


def with_bad(v, row, value, column=1):
    v = v.copy()
    v[row, column] = value
    return v


def depends_on(anchor, i, side, bad):
    """Whether the loss of pair i is computed from row `bad` of v1 (side 0) or v2 (side 1)."""
    return i == bad or (anchor == "both") or (anchor == "first") == (side == 1)


@pytest.mark.parametrize("closest, anchor", RULES)
@pytest.mark.parametrize("normalize", [True, False])
def test_what_is_computed_from_nan_is_nan_and_the_rest_is_untouched(
    backend, closest, anchor, normalize
):
    v1, v2 = random_pairs(N)
    rule = {"closest": closest, "anchor": anchor, "normalize": normalize, "margin": 0.6}
    blocks = (0, 4) if backend == "jax" else (0,)
    for block, side in itertools.product(blocks, (0, 1)):
        form = {**rule, "block": block}
        clean = np.asarray(triplet_loss(v1, v2, reduction="none", **form))
        assert np.isfinite(clean).all()
        for value in BAD:
            both = [v1, v2]
            both[side] = with_bad(both[side], 2, value)
            losses = np.asarray(triplet_loss(*both, reduction="none", **form))
            expected = [depends_on(anchor, i, side, 2) for i in range(N)]
            assert np.isnan(losses).tolist() == expected, (block, side, value)
            assert losses[~np.isnan(losses)].tolist() == clean[~np.isnan(losses)].tolist()
    for reduction in ("mean", "sum"):
        assert np.isnan(triplet_loss(with_bad(v1, 2, INF), v2, reduction=reduction, **rule))


@pytest.mark.parametrize("value", BAD)
def test_nan_alone_and_everywhere(backend, value):
    v1, v2 = random_pairs(N)
    for n in (1, N):
        assert np.isnan(triplet_loss(v1[:n] * value, v2[:n] * value))
    assert np.isnan(triplet_loss(with_bad(v1[:1], 0, value), v2[:1]))
    assert np.isnan(triplet_loss(with_bad(v1, 0, value), v2, groups=([5] * N,) * 2))
    lonely = triplet_loss(
        with_bad(v1, 0, value), v2, groups=([5] * N,) * 2, reduction="none", block=0
    )
    assert np.isnan(lonely).tolist() == [True] + [False] * (N - 1)
    zeros = with_bad(np.zeros_like(v1), 0, value)
    assert np.isnan(l2_normalize(zeros)[0]).all() and not np.any(l2_normalize(zeros)[1:])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_nan_in_every_precision(dtype):
    v1, v2 = random_pairs(N)
    v1 = jax.numpy.asarray(with_bad(v1, 3, NAN)).astype(dtype)
    assert np.isnan(np.float32(triplet_loss(v1, v2.astype(dtype))))


@pytest.mark.parametrize("block", [0, 8])
def test_padding_may_hold_anything_and_reaches_neither_loss_nor_gradient(block):
    v1, v2 = random_pairs(N)
    groups = (np.array([0, 1, 2, 3, -1, -1]),) * 2

    loss = functools.partial(triplet_loss, groups=groups, anchor="both", block=block)
    value_and_gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    expected = value_and_gradients(v1, v2)
    found = value_and_gradients(with_bad(v1, 4, NAN), with_bad(v2, 5, INF))
    for one, two in zip(jax.tree_util.tree_leaves(expected), jax.tree_util.tree_leaves(found)):
        assert np.asarray(one).tolist() == np.asarray(two).tolist()


@pytest.mark.parametrize("block", [0, 8])
def test_the_gradient_shows_nan_too(block):
    v1, v2 = random_pairs(N)
    gradient = jax.jit(jax.grad(functools.partial(triplet_loss, block=block, margin=0.6)))
    assert np.isfinite(gradient(v1, v2)).all()
    assert np.isnan(gradient(v1, with_bad(v2, 2, NAN))).all()


@pytest.mark.parametrize("value", [NAN, INF, 3e38])  # the last overflows in a sum over the rows
@pytest.mark.parametrize("block", [0, 4])
def test_the_gradient_of_pairs_that_do_not_meet_it_is_untouched(block, value):
    v1, v2 = random_pairs(N)

    def loss_of_others(v1):
        losses = triplet_loss(v1, v2, normalize=False, reduction="none", margin=0.6, block=block)
        return jax.numpy.where(np.arange(N) == 2, 0, losses).sum()

    gradient = jax.grad(loss_of_others)
    found, clean = gradient(with_bad(v1, 2, value)), gradient(v1)
    others = np.arange(N) != 2
    assert found[others].tolist() == clean[others].tolist() and np.isfinite(clean).all()


def test_blocks_of_their_own_show_nan():
    v1, v2 = random_pairs(N)
    for value in BAD:
        losses = blockwise_losses(v1, with_bad(v2, 2, value), block=4)
        assert np.isnan(losses).all(), value
    alone = blockwise_losses(with_bad(v1, 2, INF), v2, (np.array([1, 1, 1, -1, 1, 1]),) * 2)
    assert np.isnan(alone).tolist() == [i == 2 for i in range(N)]


def test_the_steps_show_nan(backend):
    scores = np.array([[0.5, NAN, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, NAN]], "float32")
    assert np.isnan(mean_negative(scores)).tolist() == [True, False, False]
    assert np.isnan(closest_negative(scores)).tolist() == [True, False, True]
    assert np.isnan(closest_negative(scores, closest="hardest")).tolist() == [True, False, False]
    for losses in hinges(scores):
        assert np.isnan(losses).tolist() == [True, False, True]
    assert np.isnan(sum(hinges(np.array([[1.0, -INF], [INF, 1.0]])))).all()
    assert np.isnan(hinge([1.0, 1.0, NAN], [INF, -INF, 0.0])).all()
    v1, v2 = random_pairs(N)
    for normalize in (True, False):
        similar = np.isnan(similarity_matrix(with_bad(v1, 1, INF), v2, normalize=normalize))
        assert similar.tolist() == [[i == 1] * N for i in range(N)]
    assert np.isnan(cosine_similarity(with_bad(v1, 1, INF), v2)).tolist() == [
        i == 1 for i in range(N)
    ]


@pytest.mark.parametrize("normalize", [True, False])
def test_the_ranking_loss_shows_nan(backend, normalize):
    v1, v2 = random_pairs(N)
    for value, labels in itertools.product(BAD, ([1, 0, 1] * 2, [1] * N, [0] * N)):
        bad = with_bad(v1, 2, value)
        assert np.isnan(ranking_loss(bad, v2, labels, normalize=normalize))
        labels = [*labels[:2], -1, *labels[3:]]
        expected = ranking_loss(v1, v2, labels, normalize=normalize)
        assert float(ranking_loss(bad, v2, labels, normalize=normalize)) == float(expected)


def test_the_layers_show_nan():
    v1, v2 = random_pairs(N)
    layer = TripletLoss()
    layer.init((fastmath.numpy.asarray(v1),) * 2)
    assert np.isnan(
        jax.jit(layer.pure_fn, static_argnums=3)((with_bad(v1, 0, NAN), v2), (), (), 0)[0]
    )
    assert np.isnan(RankingLoss()((with_bad(v1, 0, NAN), v2, np.array([1, 1, 0] * 2))))


# --- ids


def crc(n):
    return np.array([zlib.crc32(b"%d" % i) for i in range(n)])


NUMBERS = np.array([0, 1, 2, 2, 4, 1]), np.array([0, 1, 2, 2, 3, 5])
KEYS = {
    "CRC-32, int64": crc(N),
    "CRC-32, uint32": crc(N).astype("uint32"),
    "CRC-32, uint64": crc(N).astype("uint64"),
    "64 bits": np.array([i * 0x9E3779B97F4A7C15 % 2**63 for i in range(N)]),
    "uint64": np.array([2**64 - 1 - i for i in range(N)], "uint64"),
    "shifted": np.arange(N) << 32,
    "negative": -2 - np.arange(N),
    "large and negative": -2 - (np.arange(N) << 33),
    "both ends of int64": np.where(np.arange(N) % 2, 2**63 - 1, -(2**63)) // (1 + np.arange(N)),
    "uint32": 2**32 - 1 - np.arange(N, dtype="uint32"),
    "128 bits": np.array([2**127 + i for i in range(N)], object),
    "int8": np.arange(N, dtype="int8") - 20,
}


@pytest.mark.parametrize("keys", KEYS)
def test_ids_of_any_size_are_those_that_they_number(backend, keys):
    v1, v2 = random_pairs(N)
    mapped = tuple(KEYS[keys][ids] for ids in NUMBERS)
    for rule in ({}, {"closest": "hardest", "anchor": "both"}):
        expected = np.asarray(triplet_loss(v1, v2, groups=NUMBERS, reduction="none", **rule))
        assert expected.any()
        for groups in (mapped, tuple(ids.tolist() for ids in mapped)):
            losses = np.asarray(triplet_loss(v1, v2, groups=groups, reduction="none", **rule))
            assert losses.tolist() == expected.tolist()
    if backend == "jax":
        losses = blockwise_losses(v1, v2, mapped)
        np.testing.assert_allclose(losses, blockwise_losses(v1, v2, NUMBERS), rtol=1e-6)


def test_ids_of_two_types(backend):
    v1, v2 = random_pairs(N)
    groups = (
        np.array([2**63 + 5, 7, 8, *range(N - 3)], "uint64"),
        np.array([-(2**62), 7, -1, *range(N - 3)]),
    )
    expected = triplet_loss(
        v1, v2, groups=([20, 7, 8, *range(N - 3)], [30, 7, -1, *range(N - 3)]), reduction="none"
    )
    found = triplet_loss(v1, v2, groups=groups, reduction="none")
    assert np.asarray(found).tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("pad", [np.int64(-1), np.int8(-1)])
def test_minus_1_is_padding_and_nothing_else_is(backend, pad):
    v1, v2 = random_pairs(N)
    for large in (3, 2**40):
        if large > 100 and pad.dtype == np.int8:
            continue
        ids = np.array([large, 5, pad, -2, 10, 11], pad.dtype)
        expected = triplet_loss(*(np.delete(v, 2, axis=0) for v in (v1, v2)))
        np.testing.assert_allclose(triplet_loss(v1, v2, groups=(ids, ids)), expected, rtol=1e-6)


def test_traced_ids_are_compared_exactly_or_refused():
    v1, v2 = random_pairs(N)
    expected = float(triplet_loss(v1, v2, groups=NUMBERS))
    loss = jax.jit(lambda a, b: triplet_loss(v1, v2, groups=(a, b)))
    for dtype in ("int8", "int16", "int32", "uint8", "uint16"):
        assert float(loss(*(ids.astype(dtype) for ids in NUMBERS))) == pytest.approx(expected)
    with pytest.raises(TypeError, match="groups.0. must be int32 where it is traced.*np.unique"):
        loss(*(ids.astype("uint32") for ids in NUMBERS))
    # Constants inside are known.
    large = tuple(KEYS["64 bits"][ids] for ids in NUMBERS)
    loss = jax.jit(lambda v1: triplet_loss(v1, v2, groups=large))
    assert float(loss(v1)) == pytest.approx(expected)


@pytest.mark.slow
def test_tensorflow_compares_traced_ids_of_64_bits():
    v1, v2 = random_pairs(N)

    @tf.function
    def loss(a, b):
        return triplet_loss(v1, v2, groups=(a, b))

    with fastmath.use_backend("tensorflow-numpy"):
        expected = float(triplet_loss(v1, v2, groups=NUMBERS))
        large = [tf.constant(KEYS["64 bits"][ids]) for ids in NUMBERS]
        assert float(loss(*large)) == pytest.approx(expected)
        with pytest.raises(TypeError, match="int32 where it is traced"):
            loss(*(tf.cast(ids, "uint64") for ids in large))


@pytest.mark.parametrize(
    "labels", [[1, 0, 2] * 2, [1, 0, 2**32 + 1] * 2, np.array([5, 0, 1] * 2, "uint8")]
)
def test_labels_that_the_ranking_loss_does_not_have_are_refused(backend, labels):
    v1, v2 = random_pairs(N)
    with pytest.raises(ValueError, match="each of labels must be 1 .*, but it is"):
        ranking_loss(v1, v2, labels)


def test_traced_labels_that_the_ranking_loss_does_not_have_give_nan():
    v1, v2 = random_pairs(N)
    loss = jax.jit(lambda labels: ranking_loss(v1, v2, labels))
    known, unknown = (np.array([1, 0, last] * 2) for last in (-7, 2))
    assert np.isfinite(loss(known)) and np.isnan(loss(unknown))


# --- JAX's other ways


def test_a_margin_may_be_any_number_that_is_known():
    v1, v2 = random_pairs(N)
    expected = float(triplet_loss(v1, v2, margin=0.5))
    for margin in (jax.numpy.float32(0.5), np.float16(0.5), np.array(0.5)):
        assert float(triplet_loss(v1, v2, margin=margin)) == expected
    with pytest.raises(TypeError, match="margin must be a finite number.*static_argnames"):
        jax.jit(lambda margin: triplet_loss(v1, v2, margin=margin))(0.5)


# --- what is missing, unsigned labels, JAX's own alarms


def masked(array):
    return np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) == 1)


def test_what_is_masked_is_refused(backend):
    v1, v2 = random_pairs(N)
    ids, labels = np.arange(N), np.array([1, 0, 0] * 2)
    for name, given in (
        ("v1", lambda: triplet_loss(masked(v1), v2)),
        ("v2", lambda: ranking_loss(v1, masked(v2), labels)),
        ("v", lambda: teacher_loss(masked(v1), v2)),
        ("x", lambda: l2_normalize(masked(v1))),
        ("groups", lambda: triplet_loss(v1, v2, groups=(masked(ids), ids))),
        ("labels", lambda: ranking_loss(v1, v2, masked(labels))),
    ):
        with pytest.raises(ValueError, match=rf"^{name}\[.*masked"):
            given()
    unmasked = triplet_loss(np.ma.array(v1), v2, groups=(np.ma.array(ids), ids))
    assert float(unmasked) == float(triplet_loss(v1, v2, groups=(ids, ids)))


INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def test_labels_and_ids_of_every_integer_type_count_the_same(backend):
    v1, v2 = random_pairs(N)
    labels = np.array([1, 0, 1] * 2)
    ranked, grouped = (
        float(loss)
        for loss in (ranking_loss(v1, v2, labels), triplet_loss(v1, v2, groups=(labels, labels)))
    )
    for dtype in INTEGERS:
        own = labels.astype(dtype)
        assert float(ranking_loss(v1, v2, own)) == ranked, dtype
        assert float(triplet_loss(v1, v2, groups=(own, labels))) == grouped, dtype
        assert float(triplet_loss(v1, v2, groups=(own, own))) == grouped, dtype
    padded = float(ranking_loss(v1, v2, [*labels[1:].tolist(), -1]))
    assert float(ranking_loss(v1, v2, [*labels[1:].tolist(), -(2**80)])) == padded


@pytest.fixture
def alarmed():
    before = jax.config.jax_debug_nans
    jax.config.update("jax_debug_nans", True)
    yield
    jax.config.update("jax_debug_nans", before)


def test_clean_data_make_no_nan_on_the_way(alarmed):
    v1, v2 = random_pairs(N)
    labels = np.array([1, 0, 1, 0, 0, -1])
    for closest, anchor in RULES:
        rule = {"closest": closest, "anchor": anchor, "groups": ([1, 1, 2, 3, -1, 4],) * 2}
        assert np.isfinite(triplet_loss(v1, v2, **rule))
    for loss in (triplet_loss, teacher_loss, functools.partial(ranking_loss, labels=labels)):
        assert np.isfinite(loss(v1, v2))
        assert np.isfinite(jax.grad(loss)(v1, v2)).all()
    assert np.isfinite(l2_normalize(v1)).all() and np.isfinite(TripletLoss()((v1, v2)))
    assert np.isfinite(triplet_loss(v1[:1], v2[:1], normalize=False))


def test_nothing_is_broadcast_unasked():
    v1, v2 = random_pairs(N)
    ids = np.array([1, 1, 2, 3, 4, -1])
    with jax.numpy_rank_promotion("raise"):
        for (closest, anchor), block in itertools.product(RULES, (0, 4)):
            for groups in (None, (ids, ids)):
                rule = {"closest": closest, "anchor": anchor, "groups": groups, "block": block}
                traced = jax.eval_shape(jax.grad(functools.partial(triplet_loss, **rule)), v1, v2)
                assert traced.shape == v1.shape


def test_layers_of_losses_can_be_pickled():
    v1, v2 = random_pairs(N)
    ids = np.arange(N)
    for layer, inputs in (
        (TripletLoss(0.3, closest="hardest"), (v1, v2)),
        (TripletLoss(0.3, with_groups=True), (v1, v2, ids, ids)),
        (RankingLoss(0.3), (v1, v2, np.array([1, 0, 0] * 2))),
    ):
        again = pickle.loads(pickle.dumps(layer))
        assert repr(again) == repr(layer) and float(again(inputs)) == float(layer(inputs))
