"""Repairs of Trax's NumPy and TensorFlow backends, and of what they change for others."""

# Its work is to replace names of other modules, which their types do not foresee.
# pyright: reportAttributeAccessIssue=false, reportFunctionMemberAccess=false

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib.util
import sys

import numpy as np

from trax_triplet._quiet import quietly
from trax_triplet.compat.registry import repair

with quietly():
    import trax.fastmath.ops
    from tensorflow.python.framework import ops as tf_ops
    from trax import fastmath

# `trax.fastmath.numpy` as an attribute is the object that forwards to the backend, not the module.
_fastmath_numpy = sys.modules["trax.fastmath.numpy"]


def _numpy_backend_lacks_scan() -> bool:
    return "scan" not in _fastmath_numpy.NUMPY_BACKEND


@repair(_numpy_backend_lacks_scan)
def numpy_backend() -> None:
    """Trax's NumPy backend has no scan and no fold_in, so no LSTM runs on it.

    It never had. Feature test: the backend's table. Can go when they are in it. Like the backend's
    other random functions fold_in knows no keys.
    """

    def scan(f, init, xs, length=None):
        carry, outputs = init, []
        for i in range(len(fastmath.tree_leaves(xs)[0]) if length is None else length):
            carry, output = f(carry, fastmath.nested_map(lambda x, i=i: x[i], xs))
            outputs.append(output)
        if not outputs:
            raise ValueError(
                "scan on the NumPy backend needs one step or more; this sequence has none."
            )
        columns = zip(*map(fastmath.tree_flatten, outputs), strict=True)
        stacked = [None if column[0] is None else np.stack(column) for column in columns]
        return carry, fastmath.tree_unflatten(stacked, outputs[0])[0]

    _fastmath_numpy.NUMPY_BACKEND.update(scan=scan, random_fold_in=lambda rng, data: rng)


def _backend_is_every_threads() -> bool:
    return (
        "override_backend"
        in getattr(fastmath.use_backend, "__wrapped__", fastmath.use_backend).__code__.co_names
    )


@repair(_backend_is_every_threads)
def own_backend() -> None:
    """use_backend changes the backend of every thread of the process, not only of the asking one.

    It always did: a loss that TensorFlow computes would change what a Trax Loop beside it computes
    with. Feature test: it sets a global variable. Can go when Trax keeps it in a context variable.
    """
    ops = trax.fastmath.ops
    chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)
    original = ops.backend

    @functools.wraps(original)
    def backend(name="jax"):
        return (
            original(name) if chosen.get() is None else ops._get_backend_from_string(chosen.get())
        )

    @contextlib.contextmanager
    def use_backend(name):
        """Calls fastmath functions with this backend inside the block, in this thread only."""
        name = name.value if isinstance(name, fastmath.Backend) else name
        ops._assert_valid_backend_name(name)
        before = chosen.get()
        chosen.set(name)
        try:
            yield
        finally:
            chosen.set(before)  # reset fails where a generator is closed in another context

    ops.backend = fastmath.backend = backend
    ops.use_backend = fastmath.use_backend = use_backend


def _home_of_promotion():
    """The module of TensorFlow whose `maybe_promote_tensors` every operator calls."""
    new = "tensorflow.python.framework.override_binary_operator"
    return importlib.import_module(
        new if importlib.util.find_spec(new) else "tensorflow.python.ops.math_ops"
    )


def _texts_are_promoted() -> bool:
    try:
        _home_of_promotion().maybe_promote_tensors("one", "-keys")
        return False
    except TypeError:
        return True


@repair(_texts_are_promoted)
def texts() -> None:
    """After `import trax` TensorFlow cannot add a text to texts, as when it saves a lookup table.

    Trax switches NumPy's promotion of types on for the whole process, and it takes a text for the
    name of a type. So an adapted TextVectorization cannot be exported. Feature test: promote two
    texts. Can go when Trax switches nothing on, or TensorFlow promotes no texts.
    """
    module = _home_of_promotion()
    original = module.maybe_promote_tensors

    @functools.wraps(original)
    def maybe_promote_tensors(*tensors, force_same_dtype=False):
        if not any(
            isinstance(x, (str, bytes))
            or getattr(getattr(x, "dtype", None), "name", "") == "string"
            for x in tensors
        ):
            return original(*tensors, force_same_dtype=force_same_dtype)
        first, *others = tensors  # and now as TensorFlow does it by itself
        return (
            [first, *(tf_ops.convert_to_tensor(x, first.dtype) for x in others)]
            if force_same_dtype
            else tensors
        )

    module.maybe_promote_tensors = maybe_promote_tensors
