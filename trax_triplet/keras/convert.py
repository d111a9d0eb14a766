"""Models between the Trax side and Keras, and into files that TensorFlow reads: one weight tree in
another order."""

import itertools
import os
import tempfile
from pathlib import Path

import numpy as np

from trax_triplet import _files as files
from trax_triplet.keras.layers import exchange_padding, keras, tf, tower, tower_of, two_towers
from trax_triplet.keras.text import QuestionIds

SAVED_MODEL = {
    "saved_model.pb",
    "fingerprint.pb",
    "variables",
    "assets",
    "assets.extra",
}  # what a folder of one holds
FORMATS = {"keras": "a Keras model", "savedmodel": "a TensorFlow SavedModel"}


def to_keras(source):
    """Makes the Keras form of a model of the Trax side: the same weights, and the same vectors to
    rounding.

    Args:
        source: a `TrainedModel`, the folder of one, or the layer alone, from `model.Siamese` or
            `load_trax_model`.

    Returns:
        A `keras.Model` of two inputs, output (None, 2 d), as `Siamese` makes it. Of a trained model
        it takes questions, strings (None, 1), which its tower cuts and looks up as the model's
        vocabulary does. Of a layer it takes what the layer takes: word ids (None, length), 0 out of
        vocabulary, 1 padding.

    Raises:
        FileNotFoundError: no model folder is there.
        TypeError: something else than such a model.
        ValueError: a folder that is not whole, a layer without weights, or a vocabulary by the
            tokenizer 'course', whose rules are no TensorFlow operations.

    Example:
        >>> from trax_triplet.model.siamese import Siamese, init_model
        >>> model = to_keras(init_model(Siamese(10, 4, "eval", pooling="last")))
        >>> model([tf.constant([[2, 3, 1]]), tf.constant([[2, 1, 1]])]).shape
        TensorShape([1, 8])
    """
    from trax_triplet.inference.trained_model import TrainedModel, load_model
    from trax_triplet.model import siamese as model

    if isinstance(source, (str, os.PathLike)):
        source = load_model(source)
    trained = source if isinstance(source, TrainedModel) else None
    layer = source if trained is None else trained.model
    weights, pooling = model.get_weights(layer), model.pooling_of(layer)
    stage = (
        keras.layers.Lambda(exchange_padding, name="ids")
        if trained is None
        else QuestionIds.from_vocabulary(trained.vocabulary, settings=trained.settings)
    )
    vocab_size, d_model = weights["embedding"].shape
    texts = trained is not None
    stack = tower(
        stage,
        vocab_size,
        d_model,
        texts=texts,
        pooling=pooling,
        own_padding=texts and pooling == "course",
    )
    two = two_towers(stack)
    for name, arrays in zip(("embedding", "LSTM"), _keras_arrays(weights)):
        stack.get_layer(name).set_weights(arrays)
    return two


def from_keras(model):
    """Makes the Trax form of a Keras model: the same weights, and the same vectors to rounding.

    Args:
        model: from `Siamese`, `to_keras`, or with the same layers: ids, `Embedding`, `LSTM`, the
            mean over the steps unless the LSTM gives its last state alone, and a layer that scales
            each row to length 1.

    Returns:
        A `TrainedModel` where the model cuts its questions itself as a `Vocabulary` does
        (`to_keras` of one), with the threshold that it came with; else the layer, in mode 'eval',
        as from `model.Siamese`. That one takes word ids in the numbering of `Vocabulary`: padding
        is 1 and out of vocabulary 0, where Keras' `TextVectorization` has these two the other way
        round.

    Raises:
        TypeError: no Keras model.
        ValueError: other layers, or settings of theirs that the Trax side does not have.

    Example:
        >>> from trax_triplet.model.siamese import Siamese, get_weights, init_model
        >>> layer = init_model(Siamese(10, 4, "eval", pooling="mean"))
        >>> again = from_keras(to_keras(layer))
        >>> all((get_weights(again)[name] == array).all() for name, array in get_weights(layer).items())
        True
    """
    stage, (embedding, lstm, *pool, out) = _parted(tower_of(model))
    pooling = _pooling(embedding, lstm, pool)
    _check_out(out, embedding.output_dim)
    from trax_triplet.inference.trained_model import TrainedModel
    from trax_triplet.model.siamese import Siamese, set_weights

    weights = _trax_arrays(*embedding.get_weights(), *lstm.get_weights())
    layer = set_weights(Siamese(embedding.input_dim, lstm.units, "eval", pooling=pooling), weights)
    if not isinstance(stage, QuestionIds):
        return layer
    settings = {
        "threshold": None,
        "threshold_source": None,
        "training": {},
        **stage.settings,
        "pooling": pooling,
    }
    return TrainedModel(layer, stage.vocabulary(), settings)


def export(source, path, *, format=None):
    """Writes a model as a file of Keras or as a SavedModel of TensorFlow, whole or not at all.

    The SavedModel answers where there is TensorFlow, without Keras, Trax or this package. Its
    signatures:

    * `serving_default`: `questions`, strings (n,), to `vectors`, float32 (n, d), of length 1 (of no
      words: 0);
    * `similarity`: `question1` and `question2`, strings (n,), to `similarity`, float32 (n,), and,
      where the model came with a threshold, `is_duplicate`, bool (n,). One question on one side is
      compared with all of the other.

    A Keras file (`keras.saving.load_model` reads it, with its safe mode on, once
    `trax_triplet.keras` is imported) holds the model of two questions, uncompiled.

    Args:
        source: as in `to_keras`, or a Keras model, from `Siamese` or `to_keras`. One that takes ids
            is exported as taking ids, int32 (n, length).
        path: the file or folder to write.
        format: 'keras' or 'savedmodel'; None: 'keras' for a path that ends with .keras, else
            'savedmodel'.

    Returns:
        The format.

    Raises:
        FileNotFoundError: no model folder, or no folder to write a file into.
        FileExistsError: something stands there that is no file, or no SavedModel, or a folder with
        more than one in it.
        OSError: what the system says, such as no space; what was there is as it was then.
        TypeError, ValueError: as `to_keras`; an unknown format, or a Keras file of another ending.

    Example:
        >>> import tempfile
        >>> from trax_triplet.keras import Siamese
        >>> model = Siamese(keras.layers.TextVectorization(vocabulary=["how", "old"]), vocab_size=4, d_feature=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = export(model, f"{folder}/served")
        ...     served = tf.saved_model.load(f"{folder}/served").signatures["serving_default"]
        >>> served(questions=tf.constant(["how old?"]))["vectors"].shape
        TensorShape([1, 4])
    """
    path = Path(path)
    ending = path.suffix == ".keras"
    format = ("keras" if ending else "savedmodel") if format is None else format
    if not isinstance(format, str) or format not in FORMATS:
        raise ValueError(
            f"format must be one of {', '.join(map(repr, FORMATS))}, but it is {format!r:.60}"
        )
    if format == "keras" and not ending:
        raise ValueError(
            f"a Keras file is told by its ending: name it {path.name}.keras instead of {path}"
        )
    if path.exists() and not (path.is_file() if format == "keras" else _is_saved_model(path)):
        raise FileExistsError(
            f"{path} is there already and is no {'file' if format == 'keras' else 'SavedModel'}; it "
            "is not replaced. Name another, or move this one away"
        )
    model = source if isinstance(source, keras.Model) else to_keras(source)
    tower_of(model)
    (_write_keras if format == "keras" else _write_saved_model)(model, path)
    return format


def _is_saved_model(path):
    return (path / "saved_model.pb").is_file() and SAVED_MODEL.issuperset(os.listdir(path))


def _write_keras(model, path):
    with tempfile.TemporaryDirectory() as folder, files.new_file(path, "wb") as file:
        # A copy that is not compiled: a loss in it would want Trax where the file is read.
        bare = keras.Model(model.inputs, model.outputs, name=model.name)
        bare.save(Path(folder, "model.keras"))
        file.write(Path(folder, "model.keras").read_bytes())


def _write_saved_model(model, path):
    tower = tower_of(model)
    (stage, *_), threshold = _layers(tower), None
    if isinstance(stage, QuestionIds):
        threshold = stage.settings.get("threshold")
    texts = tower.inputs[0].dtype == "string"
    shape, dtype = ((None,), tf.string) if texts else ((None, None), tf.int32)

    # One function for both signatures: the tables that cut text are written once.
    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def vectors(questions):
        return tf.cast(tower(tf.reshape(questions, (-1, 1)) if texts else questions), tf.float32)

    def similarity(question1, question2):
        answer = {"similarity": tf.reduce_sum(vectors(question1) * vectors(question2), axis=1)}
        return (
            answer
            if threshold is None
            else {**answer, "is_duplicate": answer["similarity"] > threshold}
        )

    archive = keras.export.ExportArchive()
    archive.track(tower)
    archive.add_endpoint(
        "serving_default",
        lambda questions: {"vectors": vectors(questions)},
        [tf.TensorSpec(shape, dtype, name="questions")],
    )
    archive.add_endpoint(
        "similarity",
        similarity,
        [tf.TensorSpec(shape, dtype, name=f"question{number}") for number in (1, 2)],
    )
    log, level = tf.get_logger(), tf.get_logger().level
    try:
        log.setLevel("WARNING")  # it tells the name of a folder that is renamed
        with files.new_folder(path, unique_names=True) as new:
            archive.write_out(str(new), verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"{path} could not be written: {error.message}") from None
    finally:
        log.setLevel(level)


# --- weights
# ----------------------------------------------------------------------------------------------


def _gates(array, order):
    """An array whose last axis holds four gates, with these in another order."""
    gates = np.split(array, 4, axis=-1)
    return np.concatenate([gates[i] for i in order], axis=-1)


# Trax has input, new, forget, output; Keras input, forget, new, output. Both ways it is the same
# exchange.
_EXCHANGED = (0, 2, 1, 3)


def _exchange_rows(embedding):
    """The rows of padding and of unknown words change places, as their ids do."""
    return np.concatenate([embedding[1::-1], embedding[2:]])


def _keras_arrays(weights):
    """Named arrays of the Trax side as those of embedding and LSTM in Keras: table; kernel,
    recurrent kernel, bias."""
    kernel = _gates(weights["lstm/kernel"], _EXCHANGED)
    return (
        [_exchange_rows(weights["embedding"])],
        [*np.split(kernel, 2, axis=0), _gates(weights["lstm/bias"], _EXCHANGED)],
    )


def _trax_arrays(embedding, kernel, recurrent, bias):
    return {
        "embedding": _exchange_rows(embedding),
        "lstm/bias": _gates(bias, _EXCHANGED),
        "lstm/kernel": _gates(np.concatenate([kernel, recurrent]), _EXCHANGED),
    }


# --- which layers a Keras model has
# -----------------------------------------------------------------------


def _layers(tower):
    """The layers but for inputs, which a functional model lists, too."""
    return [layer for layer in tower.layers if not isinstance(layer, keras.layers.InputLayer)]


def _parted(tower):
    """The layer that makes ids, or None, and the others: embedding, LSTM, the mean if there is one,
    and the last."""
    every = _layers(tower)
    before = list(
        itertools.takewhile(lambda layer: not isinstance(layer, keras.layers.Embedding), every)
    )
    stage, layers = next(iter(before), None), every[len(before) :]
    names = [
        next(
            (
                kind.__name__
                for kind in (
                    keras.layers.Embedding,
                    keras.layers.LSTM,
                    keras.layers.GlobalAveragePooling1D,
                )
                if isinstance(layer, kind)
            ),
            "",
        )
        for layer in layers
    ]
    if names not in (
        ["Embedding", "LSTM", ""],
        ["Embedding", "LSTM", "GlobalAveragePooling1D", ""],
    ):
        raise ValueError(
            "expected a tower of ids, Embedding, LSTM, GlobalAveragePooling1D (unless the LSTM gives its "
            "last state alone) and a layer to length 1, but its layers are "
            f"{', '.join(type(layer).__name__ for layer in every)}"
        )
    return stage, layers


def _pooling(embedding, lstm, pool):
    """The `pooling` of the Trax side that these layers do."""
    expected = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "go_backwards": False,
        "units": embedding.output_dim,
        "return_sequences": bool(pool),
    }
    found = {name: lstm.get_config()[name] for name in expected}
    if found != expected:
        raise ValueError(f"the Trax side has an LSTM of {expected}, but this one has {found}")
    if pool and pool[0].data_format != "channels_last":
        raise ValueError(
            f"the mean is over the steps, data_format='channels_last', but it is {pool[0].data_format!r}"
        )
    if not pool and not embedding.mask_zero:
        raise ValueError(
            "the LSTM gives its state after the last step, padding too, which the Trax side does not "
            "have; mask padding with Embedding(mask_zero=True)"
        )
    if not pool:
        return "last"
    return "mean" if embedding.mask_zero else "course"


def _check_out(layer, width):
    """Refuses a last layer that does not scale each row to length 1, as one that takes the whole
    batch for a vector."""
    rows = np.zeros((2, width), np.float32)
    rows[0, :2], rows[1, :2] = (3.0, 4.0)[:width], (0.6, -0.8)[:width]
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = np.asarray(layer(tf.constant(rows)))
    if found.shape != rows.shape or not np.allclose(
        found, expected, atol=1e-3
    ):  # half precision, too
        raise ValueError(
            f"the last layer, {layer.name!r}, does not scale each row to length 1 on its own; write "
            "tf.math.l2_normalize(x, axis=1)"
        )
