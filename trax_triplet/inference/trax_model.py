"""A model with the weights that Trax saved, such as the course's model.pkl.gz."""

from __future__ import annotations

import numpy as np

from trax_triplet.model.siamese import WEIGHT_NAMES, Siamese, set_weights
from trax_triplet.storage.trax_files import MAX_BYTES, read_trax_weights

__all__ = ["load_trax_model"]


def load_trax_model(
    path, *, vocab_size, d_model=128, mode="eval", pooling="course", max_bytes=MAX_BYTES
):
    """A Siamese model with the weights of a file by Trax, such as the course's model.pkl.gz.

    Args:
        path, max_bytes: as in `read_trax_weights`.
        vocab_size, d_model, mode, pooling: as in `Siamese`; the sizes are those that the file's
            model was made with.

    Returns:
        The model, as `Siamese` makes it.

    Raises:
        FileNotFoundError, TypeError: as `read_trax_weights`.
        ValueError: as `read_trax_weights` and `Siamese`; or weights that do not fit: which ones,
            and why that may be.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model.siamese import init_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     init_model(Siamese(10, 4)).save_to_file(f"{folder}/model.pkl.gz")
        ...     model = load_trax_model(f"{folder}/model.pkl.gz", vocab_size=10, d_model=4)
        >>> model((np.array([[2, 3]]), np.array([[4, 5]])))[0].shape
        (1, 4)
    """
    model = Siamese(
        vocab_size, d_model, mode, pooling=pooling
    )  # checks the sizes, and takes no memory yet
    weights = read_trax_weights(path, max_bytes=max_bytes)
    expected, found = _shapes(vocab_size, d_model), [array.shape for array in weights]
    if found != expected:
        differing = [
            f"{name}: expected {want}, found {have}"
            for name, want, have in zip(WEIGHT_NAMES, expected, found + ["nothing"] * 3)
            if want != have
        ]
        raise ValueError(
            f"the {len(found)} tensors of {path} do not fit a Siamese model with vocab_size={vocab_size} and "
            f"d_model={d_model}: {'; '.join(differing) or 'the first three fit, but there are more'}. "
            f"{_likely_cause(found, expected)}"
        )
    for name, array in zip(WEIGHT_NAMES, weights):
        if array.dtype.kind != "f":
            raise ValueError(
                f"{name} in {path} has dtype {array.dtype}; expected floating-point numbers: take another "
                "copy of the file"
            )
    return set_weights(
        model, {name: array.astype(np.float32) for name, array in zip(WEIGHT_NAMES, weights)}
    )


def _shapes(vocab_size, d_model):
    """Those of WEIGHT_NAMES, in whose order Trax saves them."""
    return [(vocab_size, d_model), (2 * d_model, 4 * d_model), (4 * d_model,)]


def _likely_cause(found, expected):
    """Why tensors of these shapes may not fit, and what to do, in words."""
    (vocab_size, d_model), first = expected[0], found[0] if found else ()
    if len(first) == 2 and found == _shapes(*first):
        rows, width = first
        if width == d_model:
            return f"The file's vocabulary has {rows} words; load it with vocab_size={rows}."
        also = "" if rows == vocab_size else f" and a vocabulary of {rows} words"
        return f"It is a model of width {width}{also}; load it with vocab_size={rows}, d_model={width}."
    copies = len(found) // len(expected)
    if len(first) == 2 and copies > 1 and sorted(found) == sorted(_shapes(*first) * copies):
        return (
            f"There are {copies} arrays of each shape: that looks like an optimiser's slots "
            "(model.opt_slots0.npy.gz), not weights; load the model.pkl.gz that was saved with them."
        )
    if len(found) == len(expected):
        return "So many tensors, but others: the file is of another architecture than Embedding and LSTM."
    more = "more" if len(found) > len(expected) else "fewer"
    return (
        f"It has {more} tensors than an Embedding and an LSTM, which have {len(expected)}: the file is of another "
        "architecture, or not a model."
    )
