"""Models between the Trax side and Keras, and into files that TensorFlow reads.

Both sides have the same weights, in another order.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.keras.layers import (
    Centre,
    keras,
    swap_pad_and_oov,
    tf,
    tower,
    tower_of,
    two_towers,
)
from trax_triplet.keras.text import QuestionIds
from trax_triplet.model.spelling import warn_of_shared_embeddings
from trax_triplet.model.walk import CENTRE, PROJECTION

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["FORMATS", "export", "from_keras", "to_keras"]

FORMATS = {"keras": "a Keras model", "savedmodel": "a TensorFlow SavedModel"}
# What the folder of a SavedModel may contain.
_SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


def to_keras(source: Any) -> keras.Model:
    """Makes the Keras form of a model of the Trax side.

    It has the same weights, and gives the same vectors up to rounding, except where a question has
    words that the vocabulary lacks and the model was trained with `spelling`: Keras knows only
    their buckets, and a warning says so.

    Args:
        source: a `TrainedModel`, the folder of one, or only the layer, from `model.Siamese` or
            `load_trax_model`.

    Returns:
        A `keras.Model` of two inputs, output (None, 2 d), like that of `Siamese`. From a trained
        model, it takes questions, strings (None, 1), which its tower tokenizes and looks up as the
        model's vocabulary does. From a layer, it takes what the layer takes: word ids
        (None, length), 0 out of vocabulary, 1 padding.

    Raises:
        FileNotFoundError: there is no model folder.
        TypeError: not such a model.
        ValueError: an incomplete folder, a layer without weights, or a vocabulary with the
            tokenizer 'course', whose rules are not TensorFlow operations.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> from trax_triplet.model.weights import init_model
        >>> model = to_keras(init_model(Siamese(10, 4, "eval", pooling="last")))
        >>> model([tf.constant([[2, 3, 1]]), tf.constant([[2, 1, 1]])]).shape
        TensorShape([1, 8])
    """
    from trax_triplet.inference.trained_model import TrainedModel, load_model

    if isinstance(source, (str, os.PathLike)):
        source = load_model(source)
    if isinstance(source, TrainedModel):
        trained, weights, pooling = source, source.weights, source.pooling
        warn_of_shared_embeddings(weights, "Keras")
    else:
        from trax_triplet.model.siamese import constants_of, pooling_of
        from trax_triplet.model.weights import get_weights

        trained, pooling = None, pooling_of(source)
        weights = get_weights(source) | constants_of(source)
    stage = (
        keras.layers.Lambda(swap_pad_and_oov, name="ids")
        if trained is None
        else QuestionIds.from_vocabulary(trained.vocabulary, settings=trained.settings)
    )
    texts = trained is not None
    one = tower(
        stage,
        *weights["embedding"].shape,
        texts=texts,
        pooling=pooling,
        own_padding=texts and pooling == "course",
        projection=PROJECTION in weights,
        centre=CENTRE in weights,
    )
    both = two_towers(one)
    for name, arrays in zip(("embedding", "LSTM"), _keras_arrays(weights), strict=True):
        one.get_layer(name).set_weights(arrays)
    for name in (PROJECTION, CENTRE):
        if name in weights:
            one.get_layer(name).set_weights([weights[name]])
    return both


def from_keras(model: keras.Model) -> TrainedModel | Any:
    """Makes the Trax form of a Keras model.

    It has the same weights, and gives the same vectors up to rounding.

    Args:
        model: from `Siamese`, `to_keras`, or with the same layers: ids, `Embedding`, `LSTM`, the
            mean over the steps (unless the LSTM gives only its last state), a layer that scales
            each row to length 1; before it maybe a `Dense` without bias, after it a `Centre`.

    Returns:
        A `TrainedModel` where the model itself cuts its questions as a `Vocabulary` does
        (`to_keras` of one), with the threshold that it came with; else the layer, in mode 'eval',
        as from `model.Siamese`. The layer takes word ids in the numbering of `Vocabulary`: padding
        is 1 and out of vocabulary 0, where Keras' `TextVectorization` has the two the other way
        round.

    Raises:
        TypeError: not a Keras model.
        ValueError: other layers, or settings of theirs that the Trax side does not have.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> from trax_triplet.model.weights import get_weights, init_model
        >>> layer = init_model(Siamese(10, 4, "eval", pooling="mean"))
        >>> before, after = get_weights(layer), get_weights(from_keras(to_keras(layer)))
        >>> all((after[name] == array).all() for name, array in before.items())
        True
    """
    stage, (embedding, lstm, *pool, out), constants = _split_tower(tower_of(model))
    pooling = _pooling(embedding, lstm, pool)
    _check_unit_rows(out, embedding.output_dim)
    from trax_triplet.inference.trained_model import TrainedModel
    from trax_triplet.model.siamese import Siamese
    from trax_triplet.model.weights import set_weights

    weights = _trax_arrays(*embedding.get_weights(), *lstm.get_weights())
    new = Siamese(embedding.input_dim, lstm.units, "eval", pooling=pooling, **constants)
    layer = set_weights(new, weights)
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


def export(source: Any, path: str | os.PathLike[str], *, format: str | None = None) -> str:
    """Writes a model as a file of Keras or as a SavedModel of TensorFlow, completely or not at all.

    The SavedModel answers where there is TensorFlow, without Keras, Trax or this package. Its
    signatures:

    * `serving_default`: `questions`, strings (n,), to `vectors`, float32 (n, d), of length 1 (of
      length 0 without words);
    * `similarity`: `question1` and `question2`, strings (n,), to `similarity`, float32 (n,), and,
      where the model came with a threshold, `is_duplicate`, bool (n,). One question on one side is
      compared with all of the other.

    A Keras file holds the model of two questions, uncompiled. `keras.saving.load_model` reads it
    with its safe mode on, once `trax_triplet.keras` is imported.

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
        FileExistsError: what is there is not a file, or not a SavedModel, or a folder with more
            than one in it.
        OSError: what the system reports, such as a full disk; what was there before is kept.
        TypeError, ValueError: as `to_keras`; an unknown format, or a Keras file of another ending.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> from trax_triplet.model.weights import init_model
        >>> layer = init_model(Siamese(10, 4, "eval", pooling="last"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(layer, f"{folder}/model.keras")
        'keras'
    """
    path = Path(path)
    is_keras_file = path.suffix == ".keras"
    if format is None:
        format = "keras" if is_keras_file else "savedmodel"
    check.one_of("format", format, FORMATS)
    if format == "keras" and not is_keras_file:
        advice = f"name it {path.name}.keras"
        raise check.wrong_value("path", "a name that ends with .keras", str(path), advice)
    if path.exists() and (path.is_dir() if format == "keras" else not _is_saved_model(path)):
        raise FileExistsError(
            f"{path} exists and is not a {'file' if format == 'keras' else 'SavedModel'}, so it is "
            "not replaced; choose another name, or move this one away"
        )
    model = source if isinstance(source, keras.Model) else to_keras(source)
    tower_of(model)
    (_write_keras if format == "keras" else _write_saved_model)(model, path)
    return format


def _is_saved_model(path: Path) -> bool:
    return (path / "saved_model.pb").is_file() and _SAVED_MODEL.issuperset(os.listdir(path))


def _write_keras(model: keras.Model, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, files.new_file(path, "wb") as file:
        # A copy that is not compiled: a loss in it would need Trax where the file is read.
        bare = keras.Model(model.inputs, model.outputs, name=model.name)
        bare.save(Path(folder, "model.keras"))
        with zipfile.ZipFile(Path(folder, "model.keras"), "a") as archive:
            archive.writestr("README.md", _CARD.format(path.name, model.count_params()))
        file.write(Path(folder, "model.keras").read_bytes())


# Beside the parts of a Keras file, which is a ZIP archive; Keras reads past it.
_CARD = """# A Siamese model that compares two questions

The output is the vectors of both questions side by side, each of length 1 (of length 0 for one
without words): their dot product is the questions' similarity. {1} numbers are trained. To load:

    import keras
    import trax_triplet.keras  # its layers
    model = keras.saving.load_model("{0}")  # safe_mode=True, the default, suffices
"""


def _write_saved_model(model: keras.Model, path: Path) -> None:
    log, level = tf.get_logger(), tf.get_logger().level
    archive = _archive(tower_of(model))
    try:
        log.setLevel("WARNING")  # it logs the name of a folder that is renamed
        with files.new_folder(path, unique_names=True) as new:
            archive.write_out(str(new), verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"{path} could not be written: {error.message}") from None
    finally:
        log.setLevel(level)


def _archive(tower: keras.Model) -> Any:
    """What `ExportArchive` writes of a tower: its vectors, and similarities of pairs."""
    (stage, *_), threshold = _layers(tower), None
    if isinstance(stage, QuestionIds):
        threshold = stage.settings.get("threshold")
    texts = tower.inputs[0].dtype == "string"
    shape, dtype = ((None,), tf.string) if texts else ((None, None), tf.int32)

    # One function for both signatures: the tables that cut text are written once.
    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def vectors(questions: Array) -> Array:
        return tf.cast(tower(tf.reshape(questions, (-1, 1)) if texts else questions), tf.float32)

    def similarity(question1: Array, question2: Array) -> dict[str, Array]:
        scores = tf.reduce_sum(vectors(question1) * vectors(question2), axis=1)
        answer = {} if threshold is None else {"is_duplicate": scores > threshold}
        return {"similarity": scores, **answer}

    archive = keras.export.ExportArchive()
    archive.track(tower)
    archive.add_endpoint(
        "serving_default",
        lambda questions: {"vectors": vectors(questions)},
        [tf.TensorSpec(shape, dtype, name="questions")],
    )
    both = [tf.TensorSpec(shape, dtype, name=f"question{number}") for number in (1, 2)]
    archive.add_endpoint("similarity", similarity, both)
    return archive


# --- weights

# Trax has the gates input, new, forget, output; Keras input, forget, new, output. The permutation
# is its own inverse.
_GATES = (0, 2, 1, 3)


def _permute_gates(array: np.ndarray) -> np.ndarray:
    """An array whose last axis holds four gates in one order, in the other one."""
    gates = np.split(array, 4, axis=-1)
    return np.concatenate([gates[i] for i in _GATES], axis=-1)


def _swap_rows(embedding: np.ndarray) -> np.ndarray:
    """Swaps the rows of padding and of unknown words, as their ids are."""
    return np.concatenate([embedding[1::-1], embedding[2:]])


def _keras_arrays(weights: dict[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights of the Trax side as those of Keras' embedding and LSTM.

    The embedding has a table, the LSTM kernel, recurrent kernel and bias.
    """
    kernel = np.split(_permute_gates(weights["lstm/kernel"]), 2, axis=0)
    return [_swap_rows(weights["embedding"])], [*kernel, _permute_gates(weights["lstm/bias"])]


def _trax_arrays(
    embedding: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "embedding": _swap_rows(embedding),
        "lstm/bias": _permute_gates(bias),
        "lstm/kernel": _permute_gates(np.concatenate([kernel, recurrent])),
    }


# --- which layers a Keras model has


def _layers(tower: keras.Model) -> list[Any]:
    """The layers except for inputs, which a functional model lists, too."""
    return [layer for layer in tower.layers if not isinstance(layer, keras.layers.InputLayer)]


_STACK = (
    keras.layers.Embedding,
    keras.layers.LSTM,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.Layer,
)


def _split_tower(tower: keras.Model) -> tuple[Any, list[Any], dict[str, Any]]:
    """The layer that makes ids, or None; embedding, LSTM, mean if any, last; and what `Siamese`
    takes as constants."""
    every, constants = _layers(tower), dict[str, Any]()
    if every and isinstance(every[-1], Centre):
        (constants[CENTRE],) = every.pop().get_weights()
    if len(every) > 1 and _is_projection(every[-2]):
        (constants[PROJECTION],) = every.pop(-2).get_weights()
    before = list(itertools.takewhile(lambda layer: not isinstance(layer, _STACK[0]), every))
    layers = every[len(before) :]
    stack = _STACK if len(layers) == 4 else _STACK[:2] + _STACK[3:]
    if len(layers) != len(stack) or not all(map(isinstance, layers, stack)):
        raise ValueError(
            "model must have a tower of ids, Embedding, LSTM, GlobalAveragePooling1D (unless the "
            "LSTM gives only its last state) and a layer that scales to length 1, but its layers "
            f"are {', '.join(type(layer).__name__ for layer in every)}"
        )
    return next(iter(before), None), layers, constants


def _is_projection(layer: Any) -> bool:
    is_dense = isinstance(layer, keras.layers.Dense) and not layer.use_bias
    return is_dense and layer.activation is keras.activations.linear


def _pooling(embedding: Any, lstm: Any, pool: list[Any]) -> str:
    """The `pooling` of the Trax side that these layers compute."""
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
        raise ValueError(f"model must have an LSTM with {expected}, but it is one with {found}")
    if pool and pool[0].data_format != "channels_last":
        raise ValueError(
            "model must take the mean over the steps, data_format='channels_last', but it has "
            f"{pool[0].data_format!r}"
        )
    if not pool and not embedding.mask_zero:
        raise ValueError(
            "model must mask padding: its LSTM gives the state after the last step, including "
            "padding, which the Trax side does not have; use Embedding(mask_zero=True)"
        )
    if not pool:
        return "last"
    return "mean" if embedding.mask_zero else "course"


def _check_unit_rows(layer: Any, width: int) -> None:
    """Refuses a last layer that does not scale each row to length 1.

    One example is a layer that scales the batch as if it were one vector.
    """
    rows = np.zeros((2, width), np.float32)
    rows[0, :2], rows[1, :2] = (3.0, 4.0)[:width], (0.6, -0.8)[:width]
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = np.asarray(layer(tf.constant(rows)))
    # The tolerance is for half precision.
    if found.shape != rows.shape or not np.allclose(found, expected, atol=1e-3):
        raise ValueError(
            f"model must scale each row to length 1, but its last layer, {layer.name!r}, does not; "
            "use tf.math.l2_normalize(x, axis=1)"
        )
