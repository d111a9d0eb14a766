"""A model with the weights that Trax saved, such as the course's model.pkl.gz."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from trax_triplet.compat.trax_files import MAX_BYTES, read_trax_weights
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import WEIGHT_NAMES, set_weights

__all__ = ["load_trax_model"]


def load_trax_model(
    path: str | os.PathLike[str],
    *,
    vocab_size: int,
    d_model: int = 128,
    mode: str = "eval",
    pooling: str = "course",
    max_bytes: int = MAX_BYTES,
) -> Any:
    """A Siamese model with the weights of a file by Trax, such as the course's model.pkl.gz.

    Args:
        path, max_bytes: as in `read_trax_weights`.
        vocab_size, d_model, mode, pooling: as in `Siamese`; the sizes are those that the file's
            model was made with.

    Returns:
        The model, as `Siamese` makes it.

    Raises:
        FileNotFoundError: as `read_trax_weights`.
        TypeError, ValueError: as `read_trax_weights` and `Siamese`; or weights that do not fit:
            which ones, and why that may be.

    Example:
        >>> import tempfile
        >>> from trax_triplet.model.weights import get_weights, init_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     init_model(Siamese(10, 4)).save_to_file(f"{folder}/model.pkl.gz")
        ...     model = load_trax_model(f"{folder}/model.pkl.gz", vocab_size=10, d_model=4)
        >>> get_weights(model)["embedding"].shape
        (10, 4)
    """
    model = Siamese(vocab_size, d_model, mode, pooling=pooling)  # checks the sizes, takes no memory
    arrays = read_trax_weights(path, max_bytes=max_bytes)
    expected, found = _shapes(vocab_size, d_model), [array.shape for array in arrays]
    if found != expected:
        padded = [*found, *["nothing"] * len(expected)]
        differing = "; ".join(
            f"{name}: expected {want}, found {have}"
            for name, want, have in zip(WEIGHT_NAMES, expected, padded, strict=False)
            if want != have
        )
        raise ValueError(
            f"the {len(found)} tensors of {path} do not fit a Siamese model with vocab_size="
            f"{vocab_size} and d_model={d_model}: "
            f"{differing or 'the first three fit, but there are more'}. "
            f"{_likely_cause(found, expected)}"
        )
    weights = dict(zip(WEIGHT_NAMES, arrays, strict=True))
    for name, array in weights.items():
        if array.dtype.kind != "f":
            raise ValueError(
                f"{name} in {path} has dtype {array.dtype}; expected floating-point numbers: take "
                "another copy of the file"
            )
    return set_weights(model, {name: array.astype(np.float32) for name, array in weights.items()})


def _shapes(vocab_size: int, d_model: int) -> list[tuple[int, ...]]:
    """Those of WEIGHT_NAMES, in whose order Trax saves them."""
    return [(vocab_size, d_model), (2 * d_model, 4 * d_model), (4 * d_model,)]


def _likely_cause(found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]) -> str:
    """Why tensors of these shapes may not fit, and what to do, in words."""
    (vocab_size, d_model), first = expected[0], found[0] if found else ()
    if len(first) == 2 and found == _shapes(*first):
        rows, width = first
        if width == d_model:
            return f"The file's vocabulary has {rows} words; load it with vocab_size={rows}."
        also = "" if rows == vocab_size else f" and a vocabulary of {rows} words"
        return (
            f"It is a model of width {width}{also}; load it with vocab_size={rows}, "
            f"d_model={width}."
        )
    copies = len(found) // len(expected)
    if len(first) == 2 and copies > 1 and sorted(found) == sorted(_shapes(*first) * copies):
        return (
            f"There are {copies} arrays of each shape: that looks like an optimiser's slots "
            "(model.opt_slots0.npy.gz), not weights; load the model.pkl.gz saved with them."
        )
    more = "more" if len(found) > len(expected) else "fewer"
    count = "" if len(found) == len(expected) else f"It has {more} than {len(expected)} tensors. "
    return f"{count}The file is of another architecture than Embedding and LSTM, or not a model."
