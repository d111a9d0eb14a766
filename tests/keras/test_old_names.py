"""What the older grader of the TensorFlow assignment asks of Keras 2, on Keras 3."""

import pytest

from trax_triplet.keras import Siamese, provide_old_names
from trax_triplet.keras.layers import keras

pytestmark = pytest.mark.integration  # loads and compiles Keras

NAMES = ("keras.layers.Layer.input_shape", "keras.layers.Layer.output_shape")


@pytest.fixture
def without():
    """Keras as it is, before the test and after it."""
    kept = {name: vars(keras.layers.Layer).get(name) for name in ("input_shape", "output_shape")}

    def remove():
        for name in kept:
            if name in vars(keras.layers.Layer):
                delattr(keras.layers.Layer, name)

    remove()
    yield
    remove()
    for name, value in kept.items():
        if value is not None:
            setattr(keras.layers.Layer, name, value)


def test_the_assignment_s_layers_have_the_shapes_of_keras_2(without):
    vectorizer = keras.layers.TextVectorization(vocabulary=["how", "old"])
    model = Siamese(vectorizer, vocab_size=4, d_feature=8)
    tower = model.get_layer("sequential")
    with pytest.raises(AttributeError):
        getattr(tower.get_layer("LSTM"), "output_shape")  # noqa: B009, read for its error
    assert provide_old_names() == NAMES and provide_old_names() == ()
    shapes = {layer.name: layer.output_shape for layer in model.layers}
    assert shapes["sequential"] == (None, 8) and shapes["conc_1_2"] == (None, 16)
    assert shapes["input_1"] == shapes["input_2"] == [(None, 1)]
    assert model.get_layer("conc_1_2").input_shape == [(None, 8), (None, 8)]
    assert {layer.name: layer.output_shape for layer in tower.layers[1:]} == {
        "embedding": (None, None, 8),
        "LSTM": (None, None, 8),
        "mean": (None, 8),
        "out": (None, 8),
    }
    assert model.input_shape == [(None, 1), (None, 1)] and model.output_shape == (None, 16)
