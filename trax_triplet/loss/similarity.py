"""Unit vectors and cosine similarity, of vectors and of batches; finite gradients everywhere.

Everything here is written on `trax.fastmath.numpy` and runs on its three backends (JAX, NumPy,
TensorFlow). Half precision (float16, bfloat16) is computed in float32 and the result cast back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._typing import Array
from trax_triplet.compat import jax_devices, jnp

__all__ = [
    "as_float",
    "cosine_similarity",
    "dtype_name",
    "finite_or_nan",
    "l2_normalize",
    "nan_like",
    "similarity_matrix",
    "unit_vectors",
    "upcast",
    "upcast_both",
]

# A vector none of whose entries is larger than this counts as the zero vector. The gradient of
# x / |x| grows like 1 / |x|; this keeps it far inside what float32 can hold.
ZERO_ENTRY = 1e-30

FLOATS = ("float16", "bfloat16", "float32", "float64")


def l2_normalize(x: Array) -> Array:
    """Scales every vector of `x` to Euclidean length 1; the zero vector stays the zero vector.

    y = x / sqrt(sum(x^2)) along the last axis: each row of a batch on its own, never the batch as
    one vector. The naive formula is 0/0 at the zero vector, and so is its gradient; adding an
    epsilon inside the root makes that gradient about 1/sqrt(epsilon). Here value and gradient are
    both 0 there (`where` inside and outside the root), and no vector overflows or underflows on
    the way, because it is first divided by its largest entry. A vector with NaN or infinity in it
    becomes NaN.

    Args:
        x: vectors (..., d), floating point; a list of numbers is taken as floating point.

    Returns:
        Array (..., d) of x's dtype, with rows of length 1 or 0.

    Raises:
        TypeError: `x` has an integer or other dtype that is not floating point, or is not an array
            of numbers at all.
        ValueError: `x` is a single number, or d is 0.

    Example:
        >>> unit = l2_normalize([[3.0, 4.0], [0.0, 0.0]])
        >>> [[round(float(entry), 4) for entry in row] for row in unit]
        [[0.6, 0.8], [0.0, 0.0]]
    """
    x = as_float("x", x)
    if len(x.shape) < 1 or x.shape[-1] == 0:
        raise check.wrong_value("x", "vectors (..., d) of at least one entry", x)
    return jnp.asarray(unit_vectors(upcast(x)), x.dtype)


def unit_vectors(wide: Array) -> Array:
    """`l2_normalize` of an array (..., d) that is not in half precision; checks nothing.

    Example:
        >>> unit_vectors(jnp.asarray([0.0, 2.0])).tolist()
        [0.0, 1.0]
    """
    wide = finite_or_nan(wide)
    # The maximum of NaN and a number is either one, as the backend likes; `all` is not.
    is_zero = jnp.all(jnp.abs(wide) < ZERO_ENTRY, axis=-1, keepdims=True)
    largest = jnp.max(jnp.abs(wide), axis=-1, keepdims=True)
    scaled = wide / jnp.where(is_zero, jnp.ones_like(largest), largest)
    squares = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    unit = scaled / jnp.sqrt(jnp.where(is_zero, jnp.ones_like(squares), squares))
    return jnp.where(is_zero, jnp.zeros_like(unit), unit)


def finite_or_nan(wide: Array) -> Array:
    """The vectors (..., d), with NaN throughout one that has NaN or infinity in it.

    So all that is computed of it is NaN: an infinite similarity could pass for a good one.

    Example:
        >>> finite_or_nan(jnp.asarray([[1.0, 2.0], [float("inf"), 0.0]])).tolist()
        [[1.0, 2.0], [nan, nan]]
    """
    finite = jnp.all(jnp.isfinite(wide), axis=-1, keepdims=True)
    one = jnp.ones_like(wide)
    return wide * jnp.where(finite, one, nan_like(wide))  # times 1: bit for bit


def nan_like(x: Array) -> Array:
    """NaN in x's dtype, for `where`: not computed, which `jax_debug_nans` would stop at.

    Example:
        >>> float(nan_like(jnp.zeros(3)))
        nan
    """
    return np.array(np.nan, dtype_name(x))


def cosine_similarity(a: Array, b: Array) -> Array:
    """Cosine of the angle between `a` and `b`: their dot product over the product of their lengths.

    Args:
        a: a vector (d,), or vectors (..., d), floating point.
        b: the same shape; for batches row i of `a` is compared with row i of `b`.

    Returns:
        Array (...), a scalar for two vectors, in [-1, 1]; 0 where either vector is zero, NaN where
        either has NaN or infinity in it.

    Raises:
        TypeError: integer dtype.
        ValueError: the shapes differ.

    Example:
        The first two vectors of the lecture.

        >>> round(float(cosine_similarity([1, 2, 3], [1, 2, 3.5])), 4)
        0.9974
    """
    a, b = as_float("a", a), as_float("b", b)
    if len(a.shape) < 1 or a.shape[-1] == 0:
        raise check.wrong_value("a", "vectors (..., d) of at least one entry", a)
    if tuple(a.shape) != tuple(b.shape):
        advice = "for all pairs of two batches use similarity_matrix"
        raise check.wrong_value("b", f"of a's shape {tuple(a.shape)}", b, advice)
    wide_a, wide_b, dtype = upcast_both(a, b)
    return jnp.asarray(jnp.sum(unit_vectors(wide_a) * unit_vectors(wide_b), axis=-1), dtype)


def similarity_matrix(v1: Array, v2: Array, *, normalize: bool = True) -> Array:
    """Similarities of every row of `v1` with every row of `v2`.

    Args:
        v1: vectors (n1, d), floating point; one row of the result each.
        v2: vectors (n2, d), floating point; one column of the result each.
        normalize: scale the rows to length 1 first, so that entries are cosines. False takes the
            vectors as they are (right, and a little faster, when they already have length 1).

    Returns:
        Array (n1, n2): entry [i, j] is the similarity of v1[i] and v2[j]; NaN where either has NaN
        or infinity in it.

    Raises:
        TypeError: integer dtype.
        ValueError: not two matrices of equal width.

    Example:
        >>> similarity_matrix([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, -1.0]]).tolist()
        [[1.0, 0.0], [0.0, -1.0]]
    """
    normalize = check.boolean("normalize", normalize)
    v1, v2 = (jax_devices.replicated(as_float(name, v)) for name, v in (("v1", v1), ("v2", v2)))
    if len(v1.shape) != 2 or v1.shape[1] == 0:
        raise check.wrong_value("v1", "vectors (n1, d) of at least one entry", v1)
    if len(v2.shape) != 2 or v1.shape[1] != v2.shape[1]:
        raise check.wrong_value("v2", f"vectors (n2, {v1.shape[1]}), as wide as v1's", v2)
    wide1, wide2, dtype = upcast_both(v1, v2)
    prepare = unit_vectors if normalize else finite_or_nan
    wide1, wide2 = prepare(wide1), prepare(wide2)
    return jnp.asarray(jnp.matmul(wide1, jnp.transpose(wide2)), dtype)


def as_float(name: str, x: Array) -> Array:
    """`x` as an array of the current backend, once it is known to be floating point.

    Args:
        name: what the caller's user calls this argument.
        x: an array of any library, or a (nested) list of numbers.

    Returns:
        Array of the backend in use, of x's dtype (a list of numbers: the backend's default float).

    Raises:
        TypeError: the dtype is not float16, bfloat16, float32 or float64, or `x` is not an array of
            numbers at all.
        ValueError: an entry is masked, or pandas' NA.

    Example:
        >>> as_float("x", [1, 2]).tolist()
        [1.0, 2.0]
    """
    x = check.complete(name, x)
    if not hasattr(x, "dtype"):
        x = _array(name, x)
        if dtype_name(x) in ("int32", "int64"):  # [1, 2, 3]: whoever types a list means numbers
            x = jnp.asarray(x, float)
    if dtype_name(x) not in FLOATS:
        advice = f"convert it, for example with np.asarray({name}, 'float32')"
        raise check.wrong_type(name, f"floating point ({', '.join(FLOATS)})", x, advice)
    return jnp.asarray(x)


def _array(name: str, x: object) -> Array:
    expected = "an array or a list of numbers"
    # None and texts: old JAX takes them as NaN, or refuses them in words of its own.
    if x is None or isinstance(x, (str, bytes)):
        raise check.wrong_type(name, expected, x)
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError):
        raise check.wrong_type(name, f"{expected}, with rows of one length", x) from None


def upcast(x: Array) -> Array:
    """`x` in the precision to compute in: float32 for half precision, else as it is.

    Example:
        >>> import numpy as np
        >>> str(upcast(as_float("x", np.zeros(2, "float16"))).dtype)
        'float32'
    """
    return jnp.asarray(x, "float32") if dtype_name(x) in ("float16", "bfloat16") else x


def upcast_both(a: Array, b: Array) -> tuple[Array, Array, Any]:
    """Both arrays in one precision to compute in, and the dtype of the result.

    The result has the inputs' dtype if they share one, else the wider precision computed in.

    Example:
        >>> import numpy as np
        >>> a, b = (as_float("x", np.zeros(2, dtype)) for dtype in ("float16", "float32"))
        >>> str(np.dtype(upcast_both(a, b)[2]))
        'float32'
    """
    wide_a, wide_b = upcast(a), upcast(b)
    if dtype_name(wide_a) != dtype_name(wide_b):
        wide_a, wide_b = jnp.asarray(wide_a, "float64"), jnp.asarray(wide_b, "float64")
    return wide_a, wide_b, a.dtype if a.dtype == b.dtype else wide_a.dtype


def dtype_name(x: Array) -> str:
    """The dtype's name, for arrays of JAX, NumPy and TensorFlow alike.

    Example:
        >>> import numpy as np
        >>> dtype_name(np.zeros(3, "float16"))
        'float16'
    """
    return x.dtype.name
