"""The layers: unit rows, means over words, the padding of the course's pooling."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from trax_triplet.keras.layers import (
    LSTM,
    GlobalAveragePooling1D,
    PaddedEmbedding,
    pad_columns,
    padded_lengths,
    swap_pad_and_oov,
    unit_rows,
)

pytestmark = pytest.mark.integration  # loads and compiles Keras


@pytest.mark.parametrize(
    "dtype, tolerance",
    [("float16", 1e-3), ("bfloat16", 1e-2), ("float32", 1e-6), ("float64", 1e-14)],
)
def test_rows_have_length_1(dtype, tolerance):
    rows = tf.cast(
        tf.constant([[3.0, -4.0, 0.5], [1e-3, 2e-3, 0.0], [0.25, 0.0, 0.0]], tf.float64), dtype
    )
    found = unit_rows(rows)
    assert found.dtype == dtype
    expected = [oracles.unit(row) for row in tf.cast(rows, tf.float64).numpy()]
    np.testing.assert_allclose(tf.cast(found, tf.float64), expected, atol=tolerance)


def test_half_precision_does_not_overflow_on_the_way():
    # 300 squared is more than float16 holds.
    np.testing.assert_allclose(
        unit_rows(tf.constant([[300.0, 400.0]], tf.float16)), [[0.6, 0.8]], atol=1e-3
    )


def test_gradient_of_a_zero_row_is_zero_and_of_others_is_right():
    rows = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        first = tf.reduce_sum(unit_rows(rows)[:, 0])
    # d(x / r) / dx = 1 / r - x^2 / r^3, d(x / r) / dy = -x y / r^3, with r = 5
    expected = [[0.0, 0.0], [1 / 5 - 9 / 125, -12 / 125]]
    np.testing.assert_allclose(tape.gradient(first, rows), expected, atol=1e-6)


def test_mean_counts_only_the_steps_of_the_mask():
    states = tf.constant([[[1.0], [3.0], [np.inf]], [[np.nan], [np.inf], [2.0]]])
    mask = tf.constant([[True, True, False], [False, False, False]])
    with tf.GradientTape() as tape:
        tape.watch(states)
        mean = GlobalAveragePooling1D()(states, mask=mask)
    assert mean.numpy().tolist() == [[(1.0 + 3.0) / 2], [0.0]]
    assert tape.gradient(mean, states).numpy()[..., 0].tolist() == [
        [0.5, 0.5, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_mean_without_a_mask_is_over_all_steps():
    assert GlobalAveragePooling1D()(tf.constant([[[1.0], [2.0], [6.0]]])).numpy().tolist() == [
        [3.0]
    ]


def test_padding_and_unknown_words_are_swapped():
    ids = tf.constant([[7, 0, 1, 1]], tf.int64)
    assert swap_pad_and_oov(ids).numpy().tolist() == [[7, 1, 0, 0]]


@pytest.mark.parametrize(
    "n_words, length",
    [(0, 8), (1, 8), (8, 8), (9, 16), (57, 64), (64, 64), (65, 128), (128, 128), (1025, 2048)],
)
def test_padded_lengths_are_multiples_of_8_then_powers_of_2(n_words, length):
    ids = tf.constant([[5] * n_words + [0] * (1100 - n_words)])
    assert padded_lengths(ids).numpy().tolist() == [length]
    assert pad_columns(ids).shape == (1, max(length, 1100))
    mask = PaddedEmbedding(6, 1).compute_mask(pad_columns(ids))
    assert int(tf.reduce_sum(tf.cast(mask, tf.int32))) == length


def test_an_lstm_gives_zero_states_where_all_is_masked():
    mask = tf.constant([[True, False], [False, False]])
    states = LSTM(3, return_sequences=True)(tf.ones((2, 2, 4)), mask=mask).numpy()
    assert states[0].all()
    assert not states[1].any()


@pytest.mark.parametrize(
    "name, ours",
    [
        ("exchange_padding", swap_pad_and_oov),
        ("room_for_padding", pad_columns),
        ("unit_rows", unit_rows),
        ("PaddedEmbedding", PaddedEmbedding),
    ],
)
def test_names_in_files_of_version_0_1_0_are_registered(name, ours):
    assert keras.saving.get_registered_object(f"trax_triplet>{name}") is ours
