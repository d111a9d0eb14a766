"""The layers of the Keras edition, and its two-tower model.

They need TensorFlow and Keras, not Trax. Word ids are in Keras' numbering here: `KERAS_PAD_ID` and
`KERAS_OOV_ID`; `Vocabulary` has these two the other way round, and from 2 on both agree.
"""

from __future__ import annotations

from typing import Any

from trax_triplet import _validation as check
from trax_triplet._quiet import quietly
from trax_triplet._typing import Array
from trax_triplet.data.vocabulary import PADDED_LENGTHS

with quietly():
    import keras

    if keras.backend.backend() != "tensorflow" or int(keras.__version__.split(".")[0]) < 3:
        raise ImportError(
            "trax_triplet.keras needs Keras 3 on TensorFlow, but here is Keras "
            f"{keras.__version__} on {keras.backend.backend()}: set the environment variable "
            "KERAS_BACKEND=tensorflow before Keras is first imported, and install tensorflow>=2.16"
        )
    import tensorflow

    # The type stubs that there are for TensorFlow lack much of what is used here.
    tf: Any = tensorflow
    tf.config.list_physical_devices()  # where it complains once that there is no GPU

__all__ = [
    "KERAS_OOV_ID",
    "KERAS_PAD_ID",
    "LSTM",
    "Centre",
    "Embedding",
    "GlobalAveragePooling1D",
    "NamesItsPackage",
    "PaddedEmbedding",
    "pad_columns",
    "padded_lengths",
    "swap_pad_and_oov",
    "tower",
    "tower_of",
    "two_towers",
    "unit_rows",
]

KERAS_PAD_ID, KERAS_OOV_ID = 0, 1
# Squared lengths below this are those of zero vectors: no state of an LSTM that has read a word is
# nearly as short.
_ZERO_SQUARED_LENGTH = 1e-30


def _registered(name: str | None = None) -> Any:
    """Registers a function or class for `.keras` files, by the name that version 0.1.0 gave it."""
    return keras.saving.register_keras_serializable("trax_triplet", name)


@_registered()
def unit_rows(x: Array) -> Array:
    """Scales each row to Euclidean length 1; a zero row stays zero, with gradient zero.

    It is for the states of an LSTM, which lie in [-1, 1]; `similarity.l2_normalize` also takes what
    would overflow here, but needs Trax, which a saved model must not.

    Args:
        x: tensor (..., d), floating point.

    Returns:
        A tensor of the same shape and dtype. Half precision is computed in float32.

    Example:
        >>> unit_rows(tf.constant([[3.0, 4.0], [0.0, 0.0]])).numpy().round(4).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    upcast = tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x
    squares = tf.reduce_sum(upcast * upcast, axis=-1, keepdims=True)
    is_zero = squares < _ZERO_SQUARED_LENGTH
    unit = upcast * tf.math.rsqrt(tf.where(is_zero, tf.ones_like(squares), squares))
    return tf.cast(tf.where(is_zero, tf.zeros_like(unit), unit), x.dtype)


@_registered("exchange_padding")
def swap_pad_and_oov(ids: Array) -> Array:
    """Turns ids of `Vocabulary` into those of Keras and back: 0 and 1 are swapped.

    Args:
        ids: an integer tensor of any shape.

    Returns:
        A tensor of the same shape and dtype.

    Example:
        >>> swap_pad_and_oov(tf.constant([5, 0, 1])).numpy().tolist()
        [5, 1, 0]
    """
    return tf.where(ids < 2, 1 - ids, ids)


class NamesItsPackage:
    """A layer in whose saved form stands what to import before it is loaded.

    Keras imports no package that a file names. Its error ends with this part of the layer's form.
    """

    def get_build_config(self) -> dict[str, Any]:
        """What Keras saves of how the layer was built, and a note that Keras does not read."""
        built: Any = super()
        return {**(built.get_build_config() or {}), "before loading": "import trax_triplet.keras"}


@_registered()
class GlobalAveragePooling1D(keras.layers.GlobalAveragePooling1D):
    """Keras' layer of this name, except that a row that is masked entirely gives zeros, not 0 / 0.

    Example:
        >>> states = tf.constant([[[2.0], [4.0]], [[3.0], [5.0]]])
        >>> mask = tf.constant([[True, False], [False, False]])
        >>> GlobalAveragePooling1D()(states, mask=mask).numpy().tolist()
        [[2.0], [0.0]]
    """

    def call(self, inputs: Array, mask: Array = None) -> Array:
        if mask is None:
            return super().call(inputs)
        counts = tf.expand_dims(tf.cast(mask, "bool"), 2)
        total = tf.reduce_sum(tf.where(counts, inputs, tf.zeros_like(inputs)), axis=1)
        n_steps = tf.reduce_sum(tf.cast(counts, total.dtype), axis=1)
        return total / tf.maximum(n_steps, tf.ones((), total.dtype))


class _AtLeastOneStep(keras.Operation):
    """Adds a column of padding to ids (batch, 0): a vectorizer gives none if no text has words."""

    def call(self, ids: Array) -> Array:
        return tf.pad(ids, [[0, 0], [0, tf.cast(tf.equal(tf.shape(ids)[1], 0), tf.int32)]])

    def compute_output_spec(self, ids: Array) -> Array:
        return keras.KerasTensor((ids.shape[0], None), ids.dtype)


@_registered()
class Embedding(NamesItsPackage, keras.layers.Embedding):
    """Keras' layer of this name, which also takes a batch in which no question has a word.

    Example:
        >>> Embedding(10, 4, mask_zero=True)(tf.zeros((2, 0), tf.int32)).shape
        TensorShape([2, 1, 4])
    """

    def call(self, inputs: Array) -> Array:
        return super().call(_AtLeastOneStep()(inputs))

    def compute_mask(self, inputs: Array, mask: Array = None) -> Array:
        return super().compute_mask(_AtLeastOneStep()(inputs))


@_registered()
class LSTM(keras.layers.LSTM):
    """Keras' layer of this name, except that a row that is masked entirely has zero states.

    On GPUs, Keras' own fails there.

    Example:
        >>> mask = tf.constant([[True, True, False], [False] * 3])
        >>> LSTM(2)(tf.ones((2, 3, 4)), mask=mask).numpy()[1].tolist()
        [0.0, 0.0]
    """

    def call(
        self,
        sequences: Array,
        initial_state: Array = None,
        mask: Array = None,
        training: bool = False,
    ) -> Array:
        if mask is None:
            return super().call(sequences, initial_state=initial_state, training=training)
        empty = tf.logical_not(tf.reduce_any(tf.cast(mask, "bool"), axis=1, keepdims=True))
        first = tf.one_hot(0, tf.shape(mask)[1], on_value=True, off_value=False)
        states = super().call(
            sequences,
            initial_state=initial_state,
            training=training,
            mask=tf.logical_or(mask, tf.logical_and(empty, first)),
        )
        empty = empty[..., tf.newaxis] if self.return_sequences else empty
        return tf.where(empty, tf.zeros_like(states), states)


@_registered("room_for_padding")
def pad_columns(ids: Array) -> Array:
    """Adds columns of padding, up to the largest of the `padded_lengths`.

    Example:
        >>> pad_columns(tf.constant([[5, 6, 0], [7, 8, 9]])).shape
        TensorShape([2, 8])
    """
    more = tf.reduce_max(padded_lengths(ids)) - tf.shape(ids)[1]
    return tf.pad(ids, [[0, 0], [0, tf.maximum(more, 0)]], constant_values=KERAS_PAD_ID)


def padded_lengths(ids: Array) -> Array:
    """To how many words a model with the course's pooling pads each question: `PADDED_LENGTHS`.

    As in `encoder.Encoder`, this depends on the question's own number of words, so that an answer
    does not depend on the rest of the batch.

    Args:
        ids: integers (batch, length), padding 0; a tensor or a symbolic one of Keras.

    Returns:
        int32 (batch,).

    Example:
        >>> padded_lengths(tf.constant([[5] * 9 + 60 * [0], 69 * [7]])).numpy().tolist()
        [16, 128]
    """
    ops, table = keras.ops, tf.constant(PADDED_LENGTHS, tf.int32)
    n_words = ops.sum(ops.cast(ops.not_equal(ids, KERAS_PAD_ID), "int32"), axis=1, keepdims=True)
    return ops.take(table, ops.sum(ops.cast(ops.less(table, n_words), "int32"), axis=1))


@_registered()
class PaddedEmbedding(NamesItsPackage, keras.layers.Embedding):
    """An embedding for the course's pooling: padding counts, up to a question's `padded_lengths`.

    The rest is masked.

    Example:
        >>> ids = tf.constant([[5] + 15 * [0], 16 * [7]])
        >>> PaddedEmbedding(10, 4).compute_mask(ids).numpy().sum(axis=1).tolist()
        [8, 16]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_masking = True  # Keras does not ask for the mask of one without mask_zero

    def compute_mask(self, inputs: Array, mask: Array = None) -> Array:
        places: Array = keras.ops.cumsum(keras.ops.ones_like(inputs, "int32"), axis=1)  # from 1
        return places <= keras.ops.expand_dims(padded_lengths(inputs), 1)


@_registered()
class Centre(NamesItsPackage, keras.layers.Layer):
    """Subtracts a centre from unit vectors and scales them to length 1; zero vectors stay zero.

    Its weight (d,) is not trained: `train` places it after training, see `Siamese`.

    Example:
        >>> layer = Centre()
        >>> layer.build((None, 2))
        >>> layer.set_weights([tf.constant([0.6, 0.0])])
        >>> layer(tf.constant([[0.6, 0.8], [0.0, 0.0]])).numpy().tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """

    def build(self, input_shape: Any) -> None:
        self.centre = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", trainable=False, name="centre"
        )

    def call(self, inputs: Array) -> Array:
        is_zero = tf.reduce_all(tf.equal(inputs, 0), axis=-1, keepdims=True)
        return tf.where(is_zero, inputs, unit_rows(inputs - tf.cast(self.centre, inputs.dtype)))


def tower(
    stage: keras.layers.Layer,
    vocab_size: int,
    d_feature: int,
    *,
    texts: bool = True,
    pooling: str = "mean",
    own_padding: bool = False,
    projection: bool = False,
    centre: bool = False,
) -> keras.Sequential:
    """Returns the stack of layers from questions to unit vectors.

    Args:
        stage: the layer from questions to word ids in Keras' numbering.
        vocab_size: number of word ids.
        d_feature: width of embedding, LSTM and vectors.
        texts: whether questions are texts, (batch, 1); else word ids, (batch, length).
        pooling: 'mean' (over the words), 'last' (the state after the last word) or 'course' (the
            mean over all steps, including padding).
        own_padding: with 'course', whether each question is padded to a length of its own.
        projection: whether what is pooled is multiplied by a matrix.
        centre: whether vectors are shifted by a centre, at first 0.

    Returns:
        The stage, embedding, LSTM, mean (except for 'last'), projection (if any), out, centre (if
        any).

    Example:
        >>> [layer.name for layer in tower(keras.layers.TextVectorization(), 10, 4).layers][1:]
        ['embedding', 'LSTM', 'mean', 'out']
    """
    questions = keras.Input((1,), dtype="string") if texts else keras.Input((None,), dtype="int32")
    layers = [questions, stage]
    if own_padding:
        layers.append(keras.layers.Lambda(pad_columns, name="padding"))
        layers.append(PaddedEmbedding(vocab_size, d_feature, name="embedding"))
    else:
        masked = pooling != "course"
        layers.append(Embedding(vocab_size, d_feature, mask_zero=masked, name="embedding"))
    layers.append(LSTM(d_feature, return_sequences=pooling != "last", name="LSTM"))
    if pooling != "last":
        layers.append(GlobalAveragePooling1D(name="mean"))
    if projection:
        layers.append(keras.layers.Dense(d_feature, use_bias=False, name="projection"))
    layers.append(keras.layers.Lambda(unit_rows, name="out"))
    if centre:
        layers.append(Centre(name="centre"))
    return keras.Sequential(layers, name="sequential")


def two_towers(tower: keras.Model) -> keras.Model:
    """Returns the model of two questions that share one tower.

    Args:
        tower: from questions to vectors (batch, d), as `tower` returns it.

    Returns:
        A model named SiameseModel: inputs input_1 and input_2, output conc_1_2, (batch, 2 d).

    Example:
        >>> two_towers(tower(keras.layers.TextVectorization(), 10, 4)).output_shape
        (None, 8)
    """
    questions = tower.inputs[0]
    inputs = [
        keras.Input(questions.shape[1:], dtype=questions.dtype, name=f"input_{number}")
        for number in (1, 2)
    ]
    vectors = keras.layers.Concatenate(axis=1, name="conc_1_2")([tower(x) for x in inputs])
    return keras.Model(inputs=inputs, outputs=vectors, name="SiameseModel")


def tower_of(model: keras.Model) -> keras.Model:
    """Returns the tower of a two-tower model; a `keras.Sequential` is one itself.

    Args:
        model: of two inputs that share a tower, as `two_towers` returns it.

    Raises:
        TypeError: not a Keras model.
        ValueError: not a model of two inputs that share one tower.

    Example:
        >>> tower_of(two_towers(tower(keras.layers.TextVectorization(), 10, 4))).name
        'sequential'
    """
    check.instance("model", model, keras.Model, "a Keras model of two towers, as Siamese returns")
    if isinstance(model, keras.Sequential):
        return model
    towers = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(towers) != 1 or len(model.inputs) != 2:
        raise ValueError(
            "model must have two inputs and one tower that both share, as Siamese returns, but it "
            f"has {len(model.inputs)} inputs, and {len(towers)} models are in it"
        )
    return towers[0]
