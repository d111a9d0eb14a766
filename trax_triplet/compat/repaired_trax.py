"""The only door to Trax: imports it quietly, repairs what newer libraries broke, exports its names.

Trax 1.4.1 was written for the JAX, NumPy and TensorFlow of 2021. Every other module takes its
names from `trax_triplet.compat`, which takes them from here.

Each repair, below and in `backends`, says what broke, since when, which feature test decides
whether it is applied, and when it can go. `repairs()` lists them: put its answer into a bug report.
To see Trax as it is, set the environment variable TRAX_TRIPLET_REPAIRS=0 before the import. Nothing
here starts a JAX backend at import, so `jax.distributed.initialize()` may still follow.
TensorFlow's log lines below TF_CPP_MIN_LOG_LEVEL (3 where you set none) are left out; set it to 0
to see them all.
"""

# Its work is to replace names of other modules, which their types do not foresee.
# pyright: reportAttributeAccessIssue=false, reportFunctionMemberAccess=false

from __future__ import annotations

import functools
import gzip
import importlib
import io
import pickle
import random
import sys
import types
import warnings
from typing import Any

import numpy as np

from trax_triplet._quiet import quietly
from trax_triplet.compat.registry import Repair, repair, repairs

with quietly():
    import jax
    import trax.data.inputs
    import trax.data.tf_inputs
    import trax.fastmath.jax
    import trax.layers.acceleration
    import trax.layers.base
    from trax import fastmath, optimizers, shapes
    from trax import layers as tl
    from trax.fastmath import numpy as jnp
    from trax.supervised import lr_schedules, training

    from trax_triplet.compat import backends  # noqa: F401, mends on import
    from trax_triplet.compat import jax_devices as devices

__all__ = [
    "Repair",
    "fastmath",
    "jnp",
    "lr_schedules",
    "optimizers",
    "provide_old_names",
    "repairs",
    "shapes",
    "tl",
    "training",
]

# `trax.fastmath.numpy` as an attribute is the object that forwards to the backend, not the module.
_fastmath_numpy = sys.modules["trax.fastmath.numpy"]


# --- repairs --------------------------------------------------------------------------------------


def _same(a: Any, b: Any) -> bool:
    """Equality of two trees in which an array equals only itself."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, (list, tuple, dict)) or hasattr(a, "shape") or hasattr(b, "shape"):
        return a is b
    return a is b or a == b


def _unflattening_compares_arrays() -> bool:
    try:
        return fastmath.tree_unflatten([1], (np.zeros(2), ()), copy_from_tree=[None, ()]) != (
            (1, ()),
            [],
        )
    except (TypeError, ValueError):
        return True


@repair(_unflattening_compares_arrays)
def resuming() -> None:
    """A Loop that starts again on its folder stops in tree_unflatten, which asks whether array ==
    ().

    In JAX 0.4.13 and later comparing an array with a tuple is a TypeError, and NumPy's answer has
    no truth value. Feature test: unflatten into a tree with an array in it. Can go when Trax
    compares no arrays there.
    """

    def tree_unflatten(flat, tree, copy_from_tree=None):
        """Returns `tree` with its leaves taken from the list `flat`, and what is left of `flat`."""
        if copy_from_tree is not None and any(_same(tree, kept) for kept in copy_from_tree):
            return tree, flat
        if not isinstance(tree, (list, tuple, dict)):
            return flat[0], flat[1:]
        leaves = []
        for branch in tree.values() if isinstance(tree, dict) else tree:
            leaf, flat = tree_unflatten(flat, branch, copy_from_tree=copy_from_tree)
            leaves.append(leaf)
        if isinstance(tree, dict):
            return dict(zip(tree, leaves, strict=True)), flat
        return (tuple(leaves) if isinstance(tree, tuple) else leaves), flat

    fastmath.tree_unflatten = _fastmath_numpy.tree_unflatten = tree_unflatten


def _gone_or_deprecated(module: types.ModuleType, name: str) -> bool:
    """Whether `module.name` is missing, or warns when it is looked up."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return getattr(module, name, None) is None or bool(caught)


def _device_put_replicated_is_gone() -> bool:
    return _gone_or_deprecated(jax, "device_put_replicated")


@repair(_device_put_replicated_is_gone)
def replication() -> None:
    """jax.device_put_replicated, by which for_n_devices copies weights to several devices, is gone.

    Removed between JAX 0.6.2 and 0.10.2. Feature test: the name is missing or warns. Can go when
    Trax uses jax.device_put with a sharding.
    """
    original = trax.layers.acceleration.for_n_devices

    @functools.wraps(original)
    def for_n_devices(x, n_devices):
        if n_devices < 2 or not fastmath.is_backend(fastmath.Backend.JAX):
            return original(x, n_devices)
        return fastmath.nested_map(lambda leaf: devices.replicate(leaf, n_devices, "batch"), x)

    trax.layers.acceleration.for_n_devices = tl.for_n_devices = for_n_devices


def _pmap_is_jax_own() -> bool:
    return trax.fastmath.jax.JAX_BACKEND["pmap"] is jax.pmap


@repair(_pmap_is_jax_own)
def parallel() -> None:
    """pmap, by which Trax uses several devices, refuses arrays that were placed otherwise.

    Since JAX 0.8, where it became a shard_map. Feature test: Trax takes jax.pmap itself; whether
    that refuses is tried at the first call, because trying starts the backend. Can go when Trax
    uses jax.shard_map.
    """
    trax.fastmath.jax.JAX_BACKEND["pmap"] = devices.pmap
    # Trax mapped this one at import, over another axis name.
    average = training._make_weights_and_state_same_across_hosts
    training._make_weights_and_state_same_across_hosts = devices.pmap(
        average.__wrapped__, axis_name="devices", donate_argnums=(0,)
    )


def _on_cpu_takes_any_process() -> bool:
    return "local_devices" not in tl.on_cpu.__code__.co_names


@repair(_on_cpu_takes_any_process)
def own_cpu() -> None:
    """on_cpu takes the first CPU of all processes, where the others cannot put anything.

    On every JAX; it shows where CPU processes work together (gloo, after 0.4.13). Feature test:
    Trax's code does not ask for local devices. Can go when it does.
    """

    @functools.wraps(tl.on_cpu)
    def on_cpu(x):
        if not fastmath.is_backend(fastmath.Backend.JAX):
            return x
        return jax.device_put(x, jax.local_devices(backend="cpu")[0])

    trax.layers.acceleration.on_cpu = tl.on_cpu = on_cpu


def _trainer_pins_slots_to_cpu() -> bool:
    return "on_cpu" in optimizers.Trainer.__init__.__code__.co_names


@repair(_trainer_pins_slots_to_cpu)
def slots() -> None:
    """Trainer commits the optimizer's slots to one CPU: a second compilation, and wrong on several
    devices.

    From step 2 on the weights are committed, too, so the step is compiled again; that is so on
    every JAX with committed arrays. Feature test: Trainer calls on_cpu. Can go when Trax leaves
    them where they were made.
    """
    trainer = optimizers.Trainer
    original = trainer.__init__

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        both: Any = self._optimizer.slots, self._optimizer.opt_params
        placed: Any = tl.for_n_devices(both, self._n_devices)
        self._slots, self._opt_params = placed

    def set_slots(self, slots):
        self._optimizer.slots = slots
        self._slots = tl.for_n_devices(slots, self._n_devices)

    trainer.__init__ = __init__
    trainer.slots = trainer.slots.setter(set_slots)


def _loop_accepts_lone_devices() -> bool:
    return "process_count" not in training.Loop.__init__.__code__.co_names


@repair(_loop_accepts_lone_devices)
def lone_devices() -> None:
    """With one device in each of several processes every process would silently train a model of
    its own.

    Trax averages gradients inside pmap, which it uses from two local devices on; on every JAX.
    Feature test: Loop does not look at the number of processes. Can go when Trax averages over
    processes.
    """
    original = training.init_host_and_devices

    @functools.wraps(original)
    def init_host_and_devices(*args, **kwargs):
        started = original(*args, **kwargs)
        if started[1] > 1 and started[2] == 1:
            raise RuntimeError(
                "Trax averages gradients over processes only where each has two or more local "
                f"devices; here are {started[1]} processes with one each, each would train a model "
                "of its own. Give each process two or more devices, or run one process."
            )
        return started

    training.init_host_and_devices = init_host_and_devices


class _With:
    """A module as Trax sees it, with some names replaced; the module itself stays as it is."""

    def __init__(self, module, **names):
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name):
        return getattr(self._module, name)


def _host_count_is_an_alias() -> bool:
    return getattr(jax, "host_count", None) is not jax.process_count


@repair(_host_count_is_an_alias)
def renamed() -> None:
    """jax.host_count, which every Loop calls, was renamed to process_count and warns.

    Since JAX 0.2.13. Feature test: the old name is another function, or gone. Can go when Trax uses
    the new one.
    """
    for module in (training, trax.data.inputs, trax.data.tf_inputs):
        module.jax = _With(jax, host_count=lambda: jax.process_count())


def _gzip_wants_a_mode() -> bool:
    stream = io.BytesIO()
    stream.mode = "wb"  # as TensorFlow's GFile has it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with gzip.GzipFile(fileobj=stream) as file:
            return bool(caught) or not file.writable()


@repair(_gzip_wants_a_mode)
def compression() -> None:
    """GzipFile(fileobj=...) takes its mode from the file, as Trax has it when saving, with a
    FutureWarning.

    Since Python 3.9. Feature test: open a stream for writing in this way. Can go when Trax names
    the mode.
    """

    def open_gzip(filename=None, mode=None, compresslevel=9, fileobj=None, mtime=None):
        return gzip.GzipFile(
            filename, mode or getattr(fileobj, "mode", None), compresslevel, fileobj, mtime
        )

    trax.layers.base.gzip = training.gzip_lib = _With(gzip, GzipFile=open_gzip)


def _pickled_array_names_private_module() -> bool:
    return any(name in pickle.dumps(np.zeros(1), 5) for name in (b"numpy._core", b"numpy.core"))


class _PlainPickler(pickle.Pickler):
    """Writes arrays of every library as NumPy arrays, and NumPy's single numbers as Python's."""

    def reducer_override(self, x):
        if isinstance(x, np.generic):
            return type(x.item()), (x.item(),)
        if not hasattr(x, "__array__") or isinstance(x, type):
            return NotImplemented
        array = np.asarray(x, order="C")
        if array.dtype.hasobject:
            return NotImplemented
        return np.ndarray, (array.shape, array.dtype, bytearray(array.tobytes()))


@repair(_pickled_array_names_private_module)
def checkpoints() -> None:
    """A checkpoint's pickle names private parts of the JAX, TensorFlow or NumPy that wrote it.

    Another release cannot open it then; NumPy 2 renamed its own. Here arrays are written through
    the public names numpy.ndarray and numpy.dtype. Feature test: pickle an array. Can go when
    NumPy's pickles name no private module and Trax saves NumPy arrays.
    """

    def dump(obj, file, protocol=None):
        _PlainPickler(file, protocol).dump(obj)

    trax.layers.base.pickle = training.pickle = _With(pickle, dump=dump)


def _reading_ends_at_any_error() -> bool:
    return "Exception" in tl.np_from_file.__code__.co_names


@repair(_reading_ends_at_any_error)
def truncation() -> None:
    """np_from_file stops at the first error, so a truncated file gives fewer arrays without a word.

    On every JAX. Feature test: it catches Exception. Can go when it does not.
    """

    @functools.wraps(tl.np_from_file)
    def np_from_file(file_path, compresslevel):
        try:
            with trax.layers.base.tf.io.gfile.GFile(file_path, "rb") as file:
                data = gzip.decompress(file.read())
        except trax.layers.base.tf.errors.NotFoundError:
            raise FileNotFoundError(file_path) from None
        except EOFError:
            raise ValueError(
                f"{file_path} is truncated; take another copy of the checkpoint."
            ) from None
        stream, arrays = io.BytesIO(data), []
        while stream.tell() < len(data):
            arrays.append(np.load(stream, allow_pickle=False))
        return arrays

    trax.layers.base.np_from_file = tl.np_from_file = np_from_file


def _init_random_number_generators(seed: int | None = None) -> Any:
    """Seeds Python, NumPy and TensorFlow, and returns a JAX key, as Trax 1.3 did."""
    random.seed(seed)
    if seed is None:
        seed = random.randrange(2**31)
    np.random.seed(seed)
    trax.layers.base.tf.random.set_seed(seed)
    return fastmath.random.get_prng(seed)


def provide_old_names() -> tuple[str, ...]:
    """Puts back names that JAX and Trax removed and that graders and old notebooks use; on call.

    These are, for the Trax assignment's three editions and the labs beside them,

    * `jax.interpreters.xla.DeviceArray`, which JAX 0.4.13 and later do not have, as another name of
      `jax.Array`;
    * `trax.supervised.trainer_lib.init_random_number_generators`, which Trax 1.4 does not have.

    It changes JAX and Trax for the whole process, which is why no import does it. Importing this
    module has repaired Trax itself, so these two lines above the first cell are all that an old
    notebook needs:

        from trax_triplet.compat import provide_old_names
        provide_old_names()

    Returns:
        The full names that were missing and are there now.

    Example:
        >>> missing = provide_old_names()
        >>> from jax.interpreters.xla import DeviceArray
        >>> DeviceArray is jax.Array
        True
    """
    old_names = {
        "jax.interpreters.xla": ("DeviceArray", jax.Array),
        "trax.supervised.trainer_lib": (
            "init_random_number_generators",
            _init_random_number_generators,
        ),
    }
    provided = []
    for home, (name, value) in old_names.items():
        module = _module(home)
        if _gone_or_deprecated(module, name):
            setattr(module, name, value)
            provided.append(f"{home}.{name}")
    return tuple(provided)


def _module(home: str) -> types.ModuleType:
    """The module of this name; an empty one, also as an attribute of its package, if it is gone."""
    with quietly():
        try:
            return importlib.import_module(home)
        except ImportError:
            package, _, name = home.rpartition(".")
            module = sys.modules[home] = types.ModuleType(home)
            setattr(importlib.import_module(package), name, module)
            return module
