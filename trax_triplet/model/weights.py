"""The weights of a Siamese LSTM: the first ones, as named arrays, and from named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.compat import fastmath, jnp, shapes, tl

__all__ = ["WEIGHT_NAMES", "get_weights", "init_model", "set_weights"]

WEIGHT_NAMES = ("embedding", "lstm/kernel", "lstm/bias")  # in the order in which Trax keeps them


def init_model(model: tl.Layer, seed: int = 0) -> tl.Layer:
    """Gives every layer of `model` its first weights.

    Args:
        model: from `Siamese`.
        seed: integer; the same seed gives the same weights.

    Returns:
        The model.

    Raises:
        TypeError: something other than such a model, or a seed that is not an integer.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> model = init_model(Siamese(vocab_size=10, d_model=4))
        >>> get_weights(model)["lstm/kernel"].shape
        (8, 16)
    """
    _check_layer(model)
    model.rng = fastmath.random.get_prng(check.integer("seed", seed, None))
    int32: Any = np.int32  # the default, float32, is all that a type checker knows
    model.init((shapes.ShapeDtype((1, 8), int32),) * 2)
    return model


def get_weights(model: tl.Layer) -> dict[str, np.ndarray]:
    """The weights of a `Siamese` model as named NumPy arrays.

    Args:
        model: from `Siamese`, initialised.

    Returns:
        dict: 'embedding' (vocab_size, d_model), 'lstm/kernel' (2 d_model, 4 d_model), rows for the
        input and then for the state, gates in the order input, new, forget, output, and 'lstm/bias'
        (4 d_model,), float32.

    Raises:
        TypeError: something other than such a model.
        ValueError: the model has no weights yet.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> sorted(get_weights(init_model(Siamese(vocab_size=10, d_model=4))))
        ['embedding', 'lstm/bias', 'lstm/kernel']
    """
    arrays = _arrays(model)
    if len(arrays) != len(WEIGHT_NAMES):
        raise ValueError(
            f"model must have {len(WEIGHT_NAMES)} weight arrays, as one from Siamese has, but this "
            f"one has {len(arrays)}; initialise it first, for example with init_model"
        )
    return {name: np.asarray(w) for name, w in zip(WEIGHT_NAMES, arrays, strict=True)}


def set_weights(model: tl.Layer, weights: Mapping[str, Any]) -> tl.Layer:
    """Puts named arrays, as from `get_weights`, into a model of the same sizes.

    Args:
        model: from `Siamese`; need not be initialised.
        weights: dict of arrays as in `get_weights`.

    Returns:
        The model.

    Raises:
        TypeError: not a model, or not a dict.
        ValueError: names or shapes that are not the model's.

    Example:
        >>> from trax_triplet.model.siamese import Siamese
        >>> a, b = (init_model(Siamese(vocab_size=10, d_model=4), seed) for seed in (1, 2))
        >>> _ = set_weights(b, get_weights(a))
        >>> bool((get_weights(b)["embedding"] == get_weights(a)["embedding"]).all())
        True
    """
    check.instance("weights", weights, Mapping, "a dict of arrays, as from get_weights")
    if not _arrays(model):
        init_model(model)  # which says what shapes it has
    expected = {name: w.shape for name, w in get_weights(model).items()}
    found = {name: tuple(np.shape(w)) for name, w in weights.items()}
    if found != expected:
        raise ValueError(f"weights must have the model's shapes, {expected}, but have {found}")
    arrays = iter([jnp.asarray(weights[name]) for name in WEIGHT_NAMES])

    def replaced(tree: Any) -> Any:
        if isinstance(tree, (tuple, list)):
            return type(tree)(replaced(branch) for branch in tree)
        return next(arrays) if hasattr(tree, "shape") else tree

    model.weights = replaced(model.weights)
    return model


def _arrays(model: tl.Layer) -> list[Any]:
    _check_layer(model)
    return [w for w in fastmath.tree_leaves(model.weights) if hasattr(w, "shape")]


def _check_layer(model: Any) -> None:
    # Any layer with the weights of the course's model will do, too.
    check.instance("model", model, tl.Layer, "a model from Siamese")
