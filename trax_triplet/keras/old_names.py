"""Attributes of Keras 2 that the older grader of the TensorFlow assignment reads; only on call."""

from __future__ import annotations

from typing import Any

from trax_triplet.keras.layers import keras

__all__ = ["provide_old_names"]


def provide_old_names() -> tuple[str, ...]:
    """Gives the layers of Keras 3 the `input_shape` and `output_shape` that they had in Keras 2.

    A model has both in Keras 3, too, and keeps its own. It changes Keras for the whole process,
    which is why no import does it.

    Returns:
        The names that were missing and are there now.

    Example:
        >>> provided = provide_old_names()
        >>> inputs = keras.Input((1,), dtype="string")
        >>> layer = keras.layers.TextVectorization(vocabulary=["how"])
        >>> model = keras.Model(inputs, layer(inputs))
        >>> layer.input_shape, layer.output_shape, model.layers[0].output_shape
        ((None, 1), (None, None), [(None, 1)])
    """
    provided = []
    for side in ("input", "output"):
        name = f"{side}_shape"
        if not hasattr(keras.layers.Layer, name):
            setattr(keras.layers.Layer, name, property(_shapes_of(side)))
            provided.append(f"keras.layers.Layer.{name}")
    return tuple(provided)


def _shapes_of(side: str) -> Any:
    def shapes(layer: Any) -> Any:
        """The shape, or a list of them for several tensors, as Keras 2 gives it."""
        found = _as_shapes(getattr(layer, side))
        # A layer of inputs gives a list in Keras 2.
        is_input = isinstance(layer, keras.layers.InputLayer)
        return [found] if is_input and isinstance(found, tuple) else found

    return shapes


def _as_shapes(tensors: Any) -> Any:
    if isinstance(tensors, (list, tuple)):
        shapes = [_as_shapes(tensor) for tensor in tensors]
        return shapes[0] if len(shapes) == 1 else shapes
    return tuple(tensors.shape)
