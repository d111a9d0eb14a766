"""What pickles of weights hold, read so that the file cannot run code.

A pickle is a program: it names functions and calls them, whatever they are. Here a first walk over
the complete file refuses all instructions that weights do not need, before any of them is followed.
Then Python's own unpickler follows the rest, but every name that it looks up leads to a constructor
of this module, never to the real one. These constructors believe nothing and make no array: that is
done in the end, from checked sizes.
"""

from __future__ import annotations

import functools
import pickle
import pickletools
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple, cast

import numpy as np

from trax_triplet.compat.saved_arrays import CODES, array_of, printable, upcast_bfloat16

__all__ = ["ShapeDtype", "values_of"]

MAX_DEPTH = 64
MAX_STEPS = 1_000_000  # an instruction of one byte can take 200 bytes of memory
MAX_INT = 2**61 - 1  # from here on integers can share their hash with others

# What Python 3 writes for lists, tuples, dictionaries, numbers, strings, bytes, and objects made by
# a function. Not among them: sets, persistent ids, the registry of extensions, instances of old
# classes, Python 2's strings.
_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES
    BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL
    STACK_GLOBAL REDUCE NEWOBJ BUILD
""".split()
)
_PUT, _GET = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")

# What may be a dictionary's key: of these few can share a hash. With many that do, Python searches
# for minutes.
_KEYS = {"str", "int", "int_or_bool", "bool", "float", "None", "bytes"}

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
# The types of an array's values by the names of their classes.
_TYPES = {("numpy", np.dtype(code).name): code for code in CODES} | {
    ("numpy", "bool_"): "b1",
    ("ml_dtypes", "bfloat16"): "bfloat16",
    ("jaxlib.xla_extension", "bfloat16"): "bfloat16",
}

# All that `pickle` and `pickletools` raise on files that are not pickles; the last one is for bad
# escapes.
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


class _Refused(ValueError):
    """A reason to read no further; its message continues the file's name."""

    @classmethod
    def for_name(cls, module: str, name: str) -> _Refused:
        return cls(
            f"names the function {printable(f'{module}.{name}')}, which is not among those that a "
            "file of weights needs; it was not run. Do not use this file."
        )


class ShapeDtype(NamedTuple):
    """What a file's `trax.shapes.ShapeDtype` says: sizes (int or None), and a NumPy dtype."""

    shape: tuple
    dtype: np.dtype


def values_of(data: bytes, path: object) -> Any:
    """The values in a pickle's bytes, as `trax_files.read_pickle` gives them.

    Args:
        data: bytes.
        path: that errors name.

    Raises:
        ValueError: as `trax_files.read_pickle`.

    Example:
        >>> values_of(pickle.dumps({"step": 3, "flat_weights": 2}), "model.pkl")
        {'step': 3, 'flat_weights': 2}
    """
    try:
        _check_instructions(data)
        return _Reader(data).read()
    except _Refused as error:
        raise ValueError(f"{path} {error}") from None
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged, or is not a pickle of weights ({type(error).__name__}: "
            f"{printable(error)}); take another copy"
        ) from None


def _is_known(module: str, name: str) -> bool:
    return (
        (module, name) in _FUNCTIONS
        or (module, name) in _TYPES
        or (module, name) == ("trax.shapes", "ShapeDtype")
    )


def _check_instructions(data: bytes) -> None:
    """Walks over the complete pickle; follows no instruction, but checks that its bytes are there.

    Names that come from the stack are for the unpickler to check.
    """
    stack, frame_end, position = _Kinds(), None, 0
    # Its stub says that arguments and positions may be None; of bytes, positions are not.
    instructions = cast(
        "Iterator[tuple[pickletools.OpcodeInfo, Any, int]]", pickletools.genops(data)
    )
    for count, (opcode, argument, position) in enumerate(instructions):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = argument.partition(" ")
            if not _is_known(module, name):
                raise _Refused.for_name(module, name)
        if opcode.name not in _OPCODES:
            raise _Refused(
                f"has the instruction {opcode.name}, which is not among those that a file of "
                "weights needs; nothing was run. Do not use this file."
            )
        if count >= MAX_STEPS:
            raise _Refused(
                f"has more than {MAX_STEPS:,} instructions, which no file of weights needs"
            )
        # Python's unpickler grows its table of remembered values to the number that is asked for.
        if opcode.name in _PUT and not 0 <= argument <= count:
            raise _Refused(
                f"remembers its value number {printable(argument)} after {count} instructions, "
                "which no pickler writes"
            )
        frame_end = _check_frame(opcode, argument, position, frame_end, len(data))
        stack.follow(opcode, argument)
    if position + 1 != len(data):
        raise _Refused(
            f"goes on for {len(data) - position - 1:,} bytes after its end; take another copy"
        )


def _check_frame(
    opcode: pickletools.OpcodeInfo, argument: Any, position: int, end: int | None, length: int
) -> int | None:
    """Where the frame ends that this instruction is in or begins; frames cut no instruction."""
    if end is not None and position > end:
        raise _Refused("has a frame that ends inside of an instruction, which no pickler writes")
    if opcode.name != "FRAME":
        return end if end is None or position < end else None
    if argument > length - position:
        raise _Refused(
            f"announces {argument:,} bytes where {length - position:,} are left; it is truncated: "
            "take another copy"
        )
    return position + 9 + argument


class _Kinds:
    """The kinds of the values on the unpickler's stack, by `pickletools`' names for them."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._memo: dict[int, str] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        if opcode.name == "SETITEM":
            self._check_keys(self._stack[-2:-1])
        if opcode.name in ("SETITEMS", "DICT"):
            self._check_keys(self._stack[self._mark() + 1 :: 2])
        if opcode.name in _PUT:
            self._memo[argument] = self._stack[-1]
        elif opcode.name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif opcode.name in _GET:
            self._stack.append(self._memo[argument])
        else:
            self._move(opcode)
            if opcode.name in ("INT", "LONG", "LONG1", "LONG4") and abs(argument) >= MAX_INT:
                self._stack[-1] = "large int"

    def _move(self, opcode: pickletools.OpcodeInfo) -> None:
        taken = opcode.stack_before
        if pickletools.markobject in taken:
            del self._stack[self._mark() :]
            taken = taken[: taken.index(pickletools.markobject)]
        elif opcode.name == "POP" and self._stack:  # also of a mark
            taken = taken[:1]
        if len(taken) > len(self._stack):
            raise _Refused("takes more values than it made")
        del self._stack[len(self._stack) - len(taken) :]
        self._stack.extend(kind.name for kind in opcode.stack_after)

    def _mark(self) -> int:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] == "mark":
                return place
        raise _Refused("asks for a mark that it did not set")

    def _check_keys(self, kinds: Sequence[str]) -> None:
        if not _KEYS.issuperset(kinds):
            raise _Refused(
                "has a dictionary whose keys are neither strings nor numbers of at most 60 bits"
            )


class _Maker:
    """Stands for a function that the file names. Not a function: BUILD can change those."""

    __slots__ = ("_make",)

    def __init__(self, make):
        self._make = make

    def __call__(self, *arguments):
        return self._make(*arguments)

    def __setstate__(self, state):
        raise _Refused("changes a function, which no file of weights needs. Do not use this file.")


class _Array:
    """An array, or a single number, as the file describes it."""

    __slots__ = ("axes", "data", "dtype", "is_number", "made", "order", "shape")

    def __init__(self, shape=None, dtype=None, data=None, order="C", axes=None, is_number=False):
        self.shape, self.dtype, self.data, self.order, self.axes = shape, dtype, data, order, axes
        self.is_number = is_number
        self.made: np.ndarray | np.generic | None = None

    def __setstate__(self, state):
        if (
            type(state) is not tuple
            or len(state) != 5
            or state[0] != 1
            or type(state[3]) not in (bool, int)
        ):
            raise _Refused("gives an array a state of another form than NumPy's")
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
            raise _Refused("gives a dtype a state of another form than that of NumPy's numbers")
        self.order = state[1]


class _Signature:
    """A ShapeDtype as the file describes it. A class, because the unpickler uses NEWOBJ for it."""

    __slots__ = ("dtype", "shape")

    def __setstate__(self, state):
        if (
            type(state) is not tuple
            or len(state) != 2
            or type(state[1]) is not dict
            or set(state[1]) != {"shape", "dtype"}
        ):
            raise _Refused("gives a ShapeDtype a state of another form than Trax's")
        self.shape, self.dtype = state[1]["shape"], state[1]["dtype"]


class _Reader(pickle.Unpickler):
    """Follows a pickle whose instructions were checked; the names in it lead to its methods."""

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
            raise _Refused.for_name(module, name)
        if (module, name) in _TYPES:
            return _Dtype(_TYPES[module, name])
        if (module, name) in _FUNCTIONS:
            return _Maker(getattr(self, _FUNCTIONS[module, name]))
        return _Signature

    # What the names lead to.

    def ndarray(self, shape, dtype, data):
        return _Array(shape, dtype, data)

    def reconstruct(self, *_):  # the class, a shape and a type, all of which BUILD gives anew
        return _Array()

    def frombuffer(self, data, dtype, shape, order, axes=None):
        return _Array(shape, dtype, data, order, axes)

    # _reconstruct and its arguments; what JAX adds.
    def device_array(self, function, arguments, state, *_):
        array = _Array()
        array.__setstate__(state)
        return array

    def scalar(self, dtype, data):
        return _Array((), dtype, data, is_number=True)

    def dtype(self, code, *_):
        if type(code) is _Dtype:
            return _Dtype(code.code)
        if type(code) is not str or code not in CODES:
            raise _Refused(
                f"holds values of type {printable(code)}; weights are numbers ({', '.join(CODES)})"
            )
        return _Dtype(code)

    def encode(self, text, codec):
        if type(text) is not str or codec != "latin1":  # how protocol 2 writes bytes
            raise _Refused(f"encodes with {printable(codec)}, but pickles write bytes with latin1")
        self._spend(len(text))
        return text.encode("latin1")

    def to_bytes(self, data=b""):
        if type(data) is not bytes:
            raise _Refused("makes bytes of something else")
        return data

    def to_bytearray(self, data=b""):
        self._spend(len(self.to_bytes(data)))
        return bytearray(data)

    def dictionary(self, *_):  # the values come later; a defaultdict's function is not needed
        return {}

    def to_list(self):
        return []

    def _number(self, kind, *values):
        if any(type(value) not in (bool, int, float) for value in values):
            raise _Refused("makes a number of something else")
        return kind(*values)

    to_float = functools.partialmethod(_number, float)
    to_int = functools.partialmethod(_number, int)
    to_bool = functools.partialmethod(_number, bool)
    to_complex = functools.partialmethod(_number, complex)

    # From descriptions to values.

    def _spend(self, n_bytes):
        self._bytes_left -= n_bytes
        if self._bytes_left < 0:
            raise _Refused("asks for many copies of the same bytes, which no file of weights needs")

    def _finished(self, value, depth):
        """Lists and the like are made anew: one in many places could unfold to many values."""
        self._values_left -= 1
        if self._values_left < 0 or depth > MAX_DEPTH:
            raise _Refused(
                f"holds more than {MAX_STEPS:,} values, or lists more than {MAX_DEPTH} deep, "
                "which no file of weights needs"
            )
        if value is None or type(value) in (bool, int, float, complex, str, bytes):
            return value
        if type(value) in (list, tuple):
            return type(value)([self._finished(each, depth + 1) for each in value])
        if type(value) is dict:
            if any(type(key) not in (str, int, float, bool, bytes, type(None)) for key in value):
                raise _Refused("has a dictionary whose keys are neither strings nor numbers")
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
            raise _Refused("holds a ShapeDtype whose shape is not a tuple of integers")
        return ShapeDtype(self._finished(shape, depth + 1), self._numpy_dtype(value.dtype))

    def _numpy_dtype(self, value):
        if type(value) is not _Dtype:
            raise _Refused(
                "holds a function, or a value without a type, where numbers are expected"
            )
        return np.dtype(np.float32 if value.code == "bfloat16" else value.code)

    def _array(self, stored):
        self._numpy_dtype(stored.dtype)
        code = "u2" if stored.dtype.code == "bfloat16" else stored.dtype.code
        dtype = np.dtype(code).newbyteorder(stored.dtype.order)
        shape, data, axes = stored.shape, stored.data, stored.axes
        if type(shape) is not tuple or any(type(size) is not int for size in shape):
            raise _Refused(
                f"holds an array whose shape is not a tuple of integers: {printable(shape)}"
            )
        if type(data) not in (bytes, bytearray):
            raise _Refused("holds an array without its bytes")
        known = axes is None or (type(axes) is tuple and sorted(axes) == [*range(len(shape))])
        if stored.order not in ("C", "F", "K") or not known:
            raise _Refused("holds an array in an order that NumPy does not know")
        self._spend(len(data))
        try:
            array = array_of(shape, dtype, data, is_fortran=stored.order == "F")
        except ValueError as error:
            raise _Refused(f"holds an array {error}") from None
        if stored.order == "K" and axes is not None:
            array = array.transpose(axes)
        if stored.dtype.code == "bfloat16":
            array = upcast_bfloat16(array)
        return array[()] if stored.is_number else array
