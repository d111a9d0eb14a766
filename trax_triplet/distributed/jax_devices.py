"""Arrays on several devices, on old JAX and new; knows no Trax. Nothing here starts a backend at
import.

`jax.device_put_replicated` is gone, and since JAX 0.8 `jax.pmap` refuses arrays that were placed
otherwise.
"""

import functools

import jax
import numpy as np


def over_local_devices(n_devices, axis):
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


def replicate(array, n_devices, axis):
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


@functools.lru_cache(maxsize=None)
def pmap_refuses_placed_arrays():
    """Whether `jax.pmap` fails on an array that was put on one device; tried once, which starts the
    backend.

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


def pmap(function, axis_name=None, **options):
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
    over_devices = functools.lru_cache(maxsize=None)(over_local_devices)
    if set(options) - {"donate_argnums"}:
        return mapped

    def place(x):
        if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer) or not x.ndim:
            return x
        sharding = over_devices(x.shape[0], axis_name or "batch")
        return x if x.sharding == sharding else jax.device_put(x, sharding)

    @functools.wraps(mapped)
    def placed(*arguments):
        if pmap_refuses_placed_arrays():
            arguments = jax.tree_util.tree_map(place, arguments)
        return mapped(*arguments)

    return placed


def axis_size(axis):
    """How many devices there are along a mapped axis, inside `pmap`, `shard_map` or `vmap`; None
    outside.

    Args:
        axis: name of the axis.

    Example:
        >>> axis_size("batch") is None
        True
        >>> pmap(lambda x: x * axis_size("batch"), axis_name="batch")(np.ones((1, 2), np.float32)).tolist()
        [[1.0, 1.0]]
    """
    try:
        return jax.lax.psum(1, axis)
    except (NameError, KeyError):
        return None


def all_gather_local_first(tree, axis):
    """The rows of all devices along a mapped axis, turned so that the device's own ones come first.

    Args:
        tree: arrays (rows, ...), or tuples of them; None stays None.
        axis: name of the axis, which must be in use.

    Returns:
        Arrays (devices x rows, ...), differentiable.

    Example:
        >>> pmap(lambda x: all_gather_local_first(x, "batch"), axis_name="batch")(np.ones((1, 2), np.float32)).tolist()
        [[1.0, 1.0]]
    """
    first = jax.lax.axis_index(axis)

    def gather(x):
        return jax.numpy.roll(jax.lax.all_gather(x, axis, tiled=True), -first * x.shape[0], axis=0)

    return jax.tree_util.tree_map(gather, tree)
