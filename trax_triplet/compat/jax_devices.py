"""Arrays on several devices, on old JAX and new; without Trax, and no backend starts at import.

`jax.device_put_replicated` is gone, and since JAX 0.8 `jax.pmap` refuses arrays that were placed
otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from trax_triplet._typing import Array

__all__ = [
    "all_gather_local_first",
    "axis_size",
    "over_local_devices",
    "pmap",
    "pmap_refuses_placed_arrays",
    "replicate",
    "replicated",
]


def over_local_devices(n_devices: int, axis: str) -> jax.sharding.NamedSharding:
    """The sharding that gives each of the first `n_devices` local devices one row.

    Args:
        n_devices: at most as many as there are.
        axis: the name of the axis, as `pmap` gives it.

    Returns:
        A `jax.sharding.NamedSharding`.

    Example:
        >>> over_local_devices(1, "batch").mesh.axis_names
        ('batch',)
    """
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()[:n_devices]), (axis,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(axis))


def replicated(x: Array) -> Array:
    """The array, whole on every device, if its rows lie on a mesh with explicit axes.

    There JAX asks of every operation how its result is to lie; on other meshes it decides.

    Args:
        x: of any library; all but such arrays come back as they are.

    Example:
        >>> replicated(np.arange(3)).tolist()
        [0, 1, 2]
    """
    sharding = getattr(getattr(x, "aval", None), "sharding", None)
    spec = getattr(sharding, "spec", ())
    if sharding is None or all(axis is None for axis in spec):
        return x
    where = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*[None] * x.ndim))
    reshard: Any = getattr(jax.sharding, "reshard", None)
    return x if reshard is None else reshard(x, where)


def replicate(array: Array, n_devices: int, axis: str) -> jax.Array:
    """One copy of `array` on each device, as `jax.device_put_replicated` made it.

    Args:
        array: of any shape, or a number.
        n_devices, axis: as in `over_local_devices`.

    Returns:
        JAX array (n_devices, *shape).

    Example:
        >>> replicate(np.arange(3), 1, "batch").tolist()
        [[0, 1, 2]]
    """
    array = jax.numpy.asarray(array)
    copies = jax.numpy.broadcast_to(array, (n_devices, *array.shape))
    return jax.device_put(copies, over_local_devices(n_devices, axis))


@functools.cache
def pmap_refuses_placed_arrays() -> bool:
    """Whether `jax.pmap` fails on an array that was put on one device; trying starts the backend.

    Example:
        >>> isinstance(pmap_refuses_placed_arrays(), bool)
        True
    """
    devices = jax.local_devices()
    if len(devices) < 2:
        return False
    placed = jax.device_put(np.zeros((len(devices), 1), np.float32), devices[0])
    try:
        jax.pmap(lambda x: x)(placed)
    except ValueError:
        return True
    return False


def pmap(function: Callable, axis_name: str | None = None, **options: Any) -> Callable:
    """`jax.pmap`, to which arrays come from wherever they are.

    Args:
        function, axis_name, options: as in `jax.pmap`. With options other than `donate_argnums`,
            such as `in_axes`, the caller places the arrays.

    Returns:
        The mapped function.

    Example:
        >>> pmap(lambda x: 2 * x, axis_name="batch")(np.ones((1, 2), np.float32)).tolist()
        [[2.0, 2.0]]
    """
    mapped = jax.pmap(function, axis_name=axis_name, **options)
    over_devices = functools.cache(over_local_devices)
    if set(options) - {"donate_argnums"}:
        return mapped

    def place(x: Array) -> Array:
        if not isinstance(x, jax.Array) or isinstance(x, Tracer) or not x.ndim:
            return x
        sharding = over_devices(x.shape[0], axis_name or "batch")
        return x if x.sharding == sharding else jax.device_put(x, sharding)

    @functools.wraps(mapped)
    def placed(*arguments: Any) -> Any:
        if pmap_refuses_placed_arrays():
            arguments = jax.tree_util.tree_map(place, arguments)
        return mapped(*arguments)

    return placed


def axis_size(axis: str) -> int | None:
    """The devices along a mapped axis, inside `pmap`, `shard_map` or `vmap`; None outside.

    Args:
        axis: name of the axis.

    Example:
        >>> axis_size("batch") is None
        True
        >>> jax.vmap(lambda x: x * axis_size("batch"), axis_name="batch")(np.ones(2)).tolist()
        [2.0, 2.0]
    """
    try:
        return jax.lax.psum(1, axis)
    except (NameError, KeyError):
        return None


def all_gather_local_first(tree: Any, axis: str) -> Any:
    """The rows of all devices along a mapped axis, rolled so that the device's own come first.

    Args:
        tree: arrays (rows, ...), or tuples of them; None stays None.
        axis: name of the axis, which must be in use.

    Returns:
        Arrays (devices x rows, ...), differentiable.

    Example:
        >>> rows = np.array([[1, 2], [3, 4]])  # of two devices
        >>> gather = jax.vmap(lambda x: all_gather_local_first(x, "batch"), axis_name="batch")
        >>> gather(rows).tolist()
        [[1, 2, 3, 4], [3, 4, 1, 2]]
    """
    first = jax.lax.axis_index(axis)

    def gather(x: Array) -> jax.Array:
        everyone = jax.lax.all_gather(x, axis, tiled=True)
        return jax.numpy.roll(everyone, -first * x.shape[0], axis=0)

    return jax.tree_util.tree_map(gather, tree)
