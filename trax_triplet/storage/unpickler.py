"""What pickles of weights hold, read so that the file cannot run code; NumPy alone.

A pickle is a program: it names functions and calls them, whatever they are. Here a first walk over
the whole file refuses all instructions that weights do not need, before any of them is followed.
Then Python's own unpickler follows the rest, but every name that it looks up leads to a constructor
of this module, never to the real one.
These constructors believe nothing and make no array: that is done in the end, from checked sizes.
"""

import functools
import math
import pickle
import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np

from trax_triplet.storage.instructions import MAX_STEPS, Refused, check_instructions, shown

MAX_DEPTH = 64
MAX_DIMENSIONS = 32
MAX_SIZE = 2**40  # of one dimension; with another of 0 the product of all says nothing

# The functions that weights need: whose name leads to which method of _Reader.
_FUNCTIONS = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
    ("jax._src.array", "_reconstruct_array"): "device_array",
    ("jax._src.device_array", "reconstruct_device_array"): "device_array",  # before JAX 0.4
    ("jax.interpreters.xla", "reconstruct_device_array"): "device_array",
    ("collections", "OrderedDict"): "dictionary",
    ("collections", "defaultdict"): "dictionary",
    # Protocol 2 calls the module of the built-in types as Python 2 did.
    **{
        (module, name): method
        for module in ("builtins", "__builtin__")
        for name, method in (
            ("bytearray", "to_bytearray"),
            ("bytes", "to_bytes"),
            ("list", "to_list"),
            ("float", "to_float"),
            ("int", "to_int"),
            ("bool", "to_bool"),
            ("complex", "to_complex"),
        )
    },
}
# The types of an array's values by NumPy's codes, and by the names of the classes.
CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_TYPES = {("numpy", np.dtype(code).name): code for code in CODES} | {
    ("numpy", "bool_"): "b1",
    ("ml_dtypes", "bfloat16"): "bfloat16",
    ("jaxlib.xla_extension", "bfloat16"): "bfloat16",
}

# All that `pickle` and `pickletools` raise on files that are no pickles; the last one is for their
# bad escapes.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
    DeprecationWarning,
)


class ShapeDtype(NamedTuple):
    """What a file's `trax.shapes.ShapeDtype` says: a tuple of sizes (int or None), and a NumPy
    dtype."""

    shape: tuple
    dtype: np.dtype


def values_of(data, path):
    """The values in a pickle's bytes, as `pickles.read_pickle` gives them.

    Args:
        data: bytes.
        path: that errors name.

    Raises:
        ValueError: as `pickles.read_pickle`.

    Example:
        >>> values_of(pickle.dumps({"step": 3, "flat_weights": 2}), "model.pkl")
        {'step': 3, 'flat_weights': 2}
    """
    try:
        check_instructions(data, _is_known)
        return _Reader(data).read()
    except Refused as error:
        raise ValueError(f"{path} {error}") from None
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged, or is not a pickle of weights ({type(error).__name__}: {shown(error)}); "
            "take another copy"
        ) from None


def _is_known(module, name):
    return (
        (module, name) in _FUNCTIONS
        or (module, name) in _TYPES
        or (module, name) == ("trax.shapes", "ShapeDtype")
    )


class _Maker:
    """Stands for a function that the file names. Not a function itself: a pickle can change those
    with BUILD."""

    __slots__ = ("_make",)

    def __init__(self, make):
        self._make = make

    def __call__(self, *arguments):
        return self._make(*arguments)

    def __setstate__(self, state):
        raise Refused("changes a function, which no file of weights needs. Do not use this file.")


class _Array:
    """An array, or a single number, as the file describes it."""

    __slots__ = ("shape", "dtype", "data", "order", "axes", "is_number", "made")

    def __init__(self, shape=None, dtype=None, data=None, order="C", axes=None, is_number=False):
        self.shape, self.dtype, self.data, self.order, self.axes = shape, dtype, data, order, axes
        self.is_number, self.made = is_number, None

    def __setstate__(self, state):
        if (
            type(state) is not tuple
            or len(state) != 5
            or state[0] != 1
            or type(state[3]) not in (bool, int)
        ):
            raise Refused("gives an array a state of another form than NumPy's")
        _, self.shape, self.dtype, is_fortran, self.data = state
        self.order = "F" if is_fortran else "C"


class _Dtype:
    """The type of an array's values as the file describes it."""

    __slots__ = ("code", "order")

    def __init__(self, code):
        self.code, self.order = code, "="

    def __setstate__(self, state):
        # version, byte order, then three entries for types made of others
        if (
            type(state) is not tuple
            or len(state) not in (8, 9)
            or state[1] not in ("<", ">", "=", "|")
            or state[2:5] != (None, None, None)
        ):
            raise Refused("gives a dtype a state of another form than that of NumPy's numbers")
        self.order = state[1]


class _Signature:
    """A ShapeDtype as the file describes it. A class, because Python's unpickler makes this one
    with NEWOBJ."""

    __slots__ = ("shape", "dtype")

    def __setstate__(self, state):
        if (
            type(state) is not tuple
            or len(state) != 2
            or type(state[1]) is not dict
            or set(state[1]) != {"shape", "dtype"}
        ):
            raise Refused("gives a ShapeDtype a state of another form than Trax's")
        self.shape, self.dtype = state[1]["shape"], state[1]["dtype"]


class _Reader(pickle.Unpickler):
    """Follows a pickle whose instructions were checked. Its public methods are what the file's
    names lead to."""

    def __init__(self, data):
        super().__init__(BytesIO(data))
        # A pickle can ask for any number of copies of the same bytes; none needs more than two,
        # protocol 2 so many.
        self._bytes_left = 2 * len(data)
        self._values_left = MAX_STEPS

    def read(self):
        return self._finished(self.load(), 0)

    def find_class(self, module, name):
        if not _is_known(module, name):
            raise Refused.for_name(module, name)
        if (module, name) in _TYPES:
            return _Dtype(_TYPES[module, name])
        return (
            _Maker(getattr(self, _FUNCTIONS[module, name]))
            if (module, name) in _FUNCTIONS
            else _Signature
        )

    # --- what the names lead to
    # -------------------------------------------------------------------------

    def ndarray(self, shape, dtype, data):
        return _Array(shape, dtype, data)

    def reconstruct(self, *_):  # the class, a shape and a type, all of which BUILD gives anew
        return _Array()

    def frombuffer(self, data, dtype, shape, order, axes=None):
        return _Array(shape, dtype, data, order, axes)

    def device_array(
        self, function, arguments, state, *_
    ):  # _reconstruct and its arguments; what JAX adds
        array = _Array()
        array.__setstate__(state)
        return array

    def scalar(self, dtype, data):
        return _Array((), dtype, data, is_number=True)

    def dtype(self, code, *_):
        if type(code) is _Dtype:
            return _Dtype(code.code)
        if type(code) is not str or code not in CODES:
            raise Refused(
                f"holds values of type {shown(code)}; weights are numbers ({', '.join(CODES)})"
            )
        return _Dtype(code)

    def encode(self, text, codec):
        if type(text) is not str or codec != "latin1":  # how protocol 2 writes bytes
            raise Refused(f"encodes with {shown(codec)}, but pickles write bytes with latin1")
        self._spend(len(text))
        return text.encode("latin1")

    def to_bytes(self, data=b""):
        if type(data) is not bytes:
            raise Refused("makes bytes of something else")
        return data

    def to_bytearray(self, data=b""):
        self._spend(len(self.to_bytes(data)))
        return bytearray(data)

    def dictionary(
        self, *_
    ):  # the values come later; what defaultdict makes of missing ones is not needed
        return {}

    def to_list(self):
        return []

    def _number(self, kind, *values):
        if any(type(value) not in (bool, int, float) for value in values):
            raise Refused("makes a number of something else")
        return kind(*values)

    to_float = functools.partialmethod(_number, float)
    to_int = functools.partialmethod(_number, int)
    to_bool = functools.partialmethod(_number, bool)
    to_complex = functools.partialmethod(_number, complex)

    # --- from descriptions to values
    # ----------------------------------------------------------------------

    def _spend(self, n_bytes):
        self._bytes_left -= n_bytes
        if self._bytes_left < 0:
            raise Refused("asks for many copies of the same bytes, which no file of weights needs")

    def _finished(self, value, depth):
        """Lists and the like are made anew, so that none stands in two places: else few could
        unfold to many."""
        self._values_left -= 1
        if self._values_left < 0 or depth > MAX_DEPTH:
            raise Refused(
                f"holds more than {MAX_STEPS:,} values, or lists more than {MAX_DEPTH} deep, which no file "
                "of weights needs"
            )
        if value is None or type(value) in (bool, int, float, complex, str, bytes):
            return value
        if type(value) in (list, tuple):
            return type(value)([self._finished(each, depth + 1) for each in value])
        if type(value) is dict:
            if any(type(key) not in (str, int, float, bool, bytes, type(None)) for key in value):
                raise Refused("has a dictionary whose keys are neither strings nor numbers")
            return {key: self._finished(each, depth + 1) for key, each in value.items()}
        if type(value) is bytearray:
            return bytes(value)
        if type(value) is _Array:
            if value.made is None:
                value.made = self._array(value)
            return value.made
        if type(value) is _Signature:
            return self._signature(value, depth)
        return self._numpy_dtype(value)

    def _signature(self, value, depth):
        shape = getattr(value, "shape", None)
        if type(shape) is not tuple or any(type(size) not in (int, type(None)) for size in shape):
            raise Refused("holds a ShapeDtype whose shape is not a tuple of whole numbers")
        return ShapeDtype(self._finished(shape, depth + 1), self._numpy_dtype(value.dtype))

    def _numpy_dtype(self, value):
        if type(value) is not _Dtype:
            raise Refused("holds a function, or a value without a type, where numbers are expected")
        return np.dtype(np.float32 if value.code == "bfloat16" else value.code)

    def _array(self, stored):
        self._numpy_dtype(stored.dtype)
        code = "u2" if stored.dtype.code == "bfloat16" else stored.dtype.code
        dtype = np.dtype(code).newbyteorder(stored.dtype.order)
        shape, data, axes = stored.shape, stored.data, stored.axes
        if type(shape) is not tuple or any(type(size) is not int for size in shape):
            raise Refused(
                f"holds an array whose shape is not a tuple of whole numbers: {shown(shape)}"
            )
        if type(data) not in (bytes, bytearray):
            raise Refused("holds an array without its bytes")
        if (
            stored.order not in ("C", "F", "K")
            or axes is not None
            and (type(axes) is not tuple or sorted(axes) != list(range(len(shape))))
        ):
            raise Refused("holds an array in an order that NumPy does not know")
        self._spend(len(data))
        try:
            array = array_of(shape, dtype, data, is_fortran=stored.order == "F")
        except ValueError as error:
            raise Refused(f"holds an array {error}") from None
        if stored.order == "K" and axes is not None:
            array = array.transpose(axes)
        if stored.dtype.code == "bfloat16":
            array = widened(array)
        return array[()] if stored.is_number else array


def array_of(shape, dtype, data, is_fortran=False):
    """An array of a stranger's bytes, if they are as many as its shape says; it shares no memory
    with them.

    Args:
        shape: tuple of int.
        dtype: NumPy dtype of numbers.
        data: bytes.
        is_fortran: whether the first index runs fastest.

    Returns:
        Array, in this machine's byte order.

    Raises:
        ValueError: no such shape, or another number of bytes.

    Example:
        >>> array_of((2, 1), np.dtype(">u2"), bytes([0, 1, 1, 0])).tolist()
        [[1], [256]]
    """
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= size < MAX_SIZE for size in shape):
        raise ValueError(
            f"of a shape that has more than {MAX_DIMENSIONS} sizes, or one that is negative or at least "
            f"{MAX_SIZE:,}: {shown(shape)}"
        )
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(
            f"of shape {shape} and dtype {dtype}, for which its {len(data):,} bytes are not the "
            f"{math.prod(shape) * dtype.itemsize:,} that it takes"
        )
    array = np.ndarray(shape, dtype, data, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def widened(bits):
    """bfloat16 values as float32, which has all of them.

    Args:
        bits: array of any shape, uint16: the values' bits.

    Returns:
        Array of the same shape, float32.

    Example:
        >>> widened(np.array([0x3F80, 0xC000], np.uint16)).tolist()
        [1.0, -2.0]
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)
