"""The layers of the Keras edition, and its two-tower model. TensorFlow and Keras, no Trax: a saved
model needs none.

Word ids are in Keras' numbering here: 0 is padding and 1 out of vocabulary, `Vocabulary` has these
two the other way round; from 2 on both are the same.
"""

from trax_triplet._quiet import quietly

with quietly():
    import keras

    if keras.backend.backend() != "tensorflow" or int(keras.__version__.split(".")[0]) < 3:
        raise ImportError(
            f"trax_triplet.keras needs Keras 3 on TensorFlow, but here is Keras {keras.__version__} on "
            f"{keras.backend.backend()}: set the environment variable KERAS_BACKEND=tensorflow before Keras is first "
            "imported, and install tensorflow>=2.16"
        )
    import tensorflow as tf

    tf.config.list_physical_devices()  # where it complains once that there is no GPU

_ours = keras.saving.register_keras_serializable("trax_triplet")
ZERO_LENGTH = 1e-30  # of a squared length: no state of an LSTM that has read a word comes near it
STEP = 8


@_ours
def unit_rows(x):
    """Scales each row to Euclidean length 1; a zero row stays zero, with gradient zero. For the
    states of an LSTM.

    Those lie in [-1, 1]; `similarity.l2_normalize` also takes what would overflow here. It needs
    Trax, which is why a saved model has this one.

    Args:
        x: tensor (..., d), floating point.

    Returns:
        A tensor of the same shape and dtype. Half precision is computed in float32.

    Example:
        >>> unit_rows(tf.constant([[3.0, 4.0], [0.0, 0.0]])).numpy().round(4).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    wide = tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x
    squares = tf.reduce_sum(wide * wide, axis=-1, keepdims=True)
    is_zero = squares < ZERO_LENGTH
    unit = wide * tf.math.rsqrt(tf.where(is_zero, tf.ones_like(squares), squares))
    return tf.cast(tf.where(is_zero, tf.zeros_like(unit), unit), x.dtype)


@_ours
def exchange_padding(ids):
    """From the numbering of `Vocabulary` to that of Keras and back: ids 0 and 1 are exchanged.

    Example:
        >>> exchange_padding(tf.constant([5, 0, 1])).numpy().tolist()
        [5, 1, 0]
    """
    return tf.where(ids < 2, 1 - ids, ids)


@_ours
class GlobalAveragePooling1D(keras.layers.GlobalAveragePooling1D):
    """Keras' layer of this name, in which a row without a step that counts gives zeros, not 0 / 0.

    Example:
        >>> states, mask = tf.constant([[[2.0], [4.0]], [[3.0], [5.0]]]), tf.constant([[True, False], [False, False]])
        >>> GlobalAveragePooling1D()(states, mask=mask).numpy().tolist()
        [[2.0], [0.0]]
    """

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        counts = tf.expand_dims(tf.cast(mask, "bool"), 2)
        total = tf.reduce_sum(tf.where(counts, inputs, tf.zeros_like(inputs)), axis=1)
        return total / tf.maximum(
            tf.reduce_sum(tf.cast(counts, total.dtype), axis=1), tf.ones((), total.dtype)
        )


class _AtLeastOneStep(keras.Operation):
    """Adds a column of padding to ids (batch, 0): of questions without any word a vectoriser makes
    none."""

    def call(self, ids):
        return tf.pad(ids, [[0, 0], [0, tf.cast(tf.equal(tf.shape(ids)[1], 0), tf.int32)]])

    def compute_output_spec(self, ids):
        return keras.KerasTensor((ids.shape[0], None), ids.dtype)


@_ours
class Embedding(keras.layers.Embedding):
    """Keras' layer of this name, which takes a batch of questions none of which has a word.

    Example:
        >>> Embedding(10, 4, mask_zero=True)(tf.zeros((2, 0), tf.int32)).shape
        TensorShape([2, 1, 4])
    """

    def call(self, inputs):
        return super().call(_AtLeastOneStep()(inputs))

    def compute_mask(self, inputs, mask=None):
        return super().compute_mask(_AtLeastOneStep()(inputs))


@_ours
class LSTM(keras.layers.LSTM):
    """Keras' layer of this name; a row without a step that counts has zero states on GPUs, too,
    where Keras' fails.

    Example:
        >>> LSTM(2)(tf.ones((2, 3, 4)), mask=tf.constant([[True, True, False], [False] * 3])).numpy()[1].tolist()
        [0.0, 0.0]
    """

    def call(self, sequences, initial_state=None, mask=None, training=False):
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


@_ours
def room_for_padding(ids):
    """Adds columns of padding, so that each question has room for its `padded_lengths`.

    Example:
        >>> room_for_padding(tf.constant([[5, 6, 0], [7, 8, 9]])).shape
        TensorShape([2, 8])
    """
    more = tf.reduce_max(padded_lengths(ids)) - tf.shape(ids)[1]
    return tf.pad(ids, [[0, 0], [0, tf.maximum(more, 0)]])


def padded_lengths(ids):
    """To how many words a course's model pads each question: a multiple of 8, above 64 a power of
    two.

    As in `encoder.Encoder`: by its own number of words, so that an answer does not depend on
    batch-mates.

    Args:
        ids: integers (batch, length), padding 0; a tensor or Keras' symbol of one.

    Returns:
        int32 (batch,).

    Example:
        >>> padded_lengths(tf.constant([[5] * 9 + 60 * [0], 69 * [7]])).numpy().tolist()
        [16, 128]
    """
    ops = keras.ops
    n_words = ops.sum(ops.cast(ops.not_equal(ids, 0), "int32"), axis=1)
    power = ops.cast(
        2.0 ** ops.ceil(ops.log2(ops.cast(ops.maximum(n_words, 1), "float64")) - 1e-9), "int32"
    )
    return ops.where(n_words > 64, power, ops.maximum((n_words + STEP - 1) // STEP * STEP, STEP))


@_ours
class PaddedEmbedding(keras.layers.Embedding):
    """Embedding of a course's model, in which padding counts, up to a question's `padded_lengths`;
    the rest is masked.

    Example:
        >>> PaddedEmbedding(10, 4).compute_mask(tf.constant([[5] + 15 * [0], 16 * [7]])).numpy().sum(axis=1).tolist()
        [8, 16]
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.supports_masking = True  # Keras asks for no mask of an embedding without mask_zero

    def compute_mask(self, inputs, mask=None):
        places = keras.ops.cumsum(keras.ops.ones_like(inputs, "int32"), axis=1)  # from 1
        return places <= keras.ops.expand_dims(padded_lengths(inputs), 1)


def tower(stage, vocab_size, d_feature, *, texts=True, pooling="mean", own_padding=False):
    """Returns the stack of layers from questions to unit vectors.

    Args:
        stage: the layer from questions to word ids in Keras' numbering.
        texts: whether questions are texts, (batch, 1); else word ids, (batch, length).
        vocab_size: number of word ids.
        d_feature: width of embedding, LSTM and vectors.
        pooling: 'mean' (over the words), 'last' (the state after the last word) or 'course' (the
            mean over all steps, padding too).
        own_padding: with 'course', whether each question is padded to a length of its own.

    Returns:
        A `keras.Sequential`: the stage, embedding, LSTM, but for 'last' mean, and out.

    Example:
        >>> [layer.name for layer in tower(keras.layers.TextVectorization(), 10, 4).layers][1:]
        ['embedding', 'LSTM', 'mean', 'out']
    """
    questions = keras.Input((1,), dtype="string") if texts else keras.Input((None,), dtype="int32")
    layers = [questions, stage]
    if own_padding:
        layers += [
            keras.layers.Lambda(room_for_padding, name="padding"),
            PaddedEmbedding(vocab_size, d_feature, name="embedding"),
        ]
    else:
        layers.append(
            Embedding(vocab_size, d_feature, mask_zero=pooling != "course", name="embedding")
        )
    layers.append(LSTM(d_feature, return_sequences=pooling != "last", name="LSTM"))
    if pooling != "last":
        layers.append(GlobalAveragePooling1D(name="mean"))
    return keras.Sequential(
        [*layers, keras.layers.Lambda(unit_rows, name="out")], name="sequential"
    )


def two_towers(tower):
    """Returns the model of two questions around one tower, which both share.

    Args:
        tower: from questions to vectors (batch, d), as `tower` returns it.

    Returns:
        A `keras.Model` named SiameseModel: inputs input_1 and input_2, output conc_1_2, (batch, 2
        d).

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


def tower_of(model):
    """The tower of a two-tower model.

    Raises:
        TypeError: no Keras model.
        ValueError: no model of two inputs with one tower for both.

    Example:
        >>> tower_of(two_towers(tower(keras.layers.TextVectorization(), 10, 4))).name
        'sequential'
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"expected a Keras model of two towers, as Siamese returns, but it is {model!r:.60}"
        )
    towers = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if isinstance(model, keras.Sequential):
        return model
    if len(towers) != 1 or len(model.inputs) != 2:
        raise ValueError(
            f"expected a model of two inputs and one tower that both share, as Siamese returns, but this "
            f"one has {len(model.inputs)} inputs and {len(towers)} models in it"
        )
    return towers[0]
