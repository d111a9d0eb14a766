"""Trax's weight files: read as they were written; nothing a stranger wrote runs or takes much."""

import contextlib
import gzip
import os
import pickle
import re
import struct
import subprocess
import sys

import jax.numpy
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paths import ROOT

from trax_triplet.compat import unpickler
from trax_triplet.compat.trax_files import read_pickle, read_trax_weights


def written(path, content, protocol=4):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


SHAPES = [(44, (11, 4)), (128, (8, 16)), (16, (16,))]


def same(first, second):
    return len(first) == len(second) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(first, second)
    )


# What is read is what was written


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("as_type", [np.asarray, jax.numpy.asarray, np.asfortranarray])
def test_arrays_of_numpy_and_jax_come_back(tmp_path, protocol, as_type):
    weights = [np.arange(n, dtype=np.float32).reshape(shape) for n, shape in SHAPES]
    content = {"flat_weights": [as_type(array) for array in weights], "flat_state": []}
    again = read_trax_weights(written(tmp_path / "model.pkl", content, protocol))
    assert same(again, weights)
    assert all(array.flags.writeable for array in again)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_values_come_back(tmp_path, protocol):
    shared = np.arange(6, dtype=">i2").reshape(2, 3)
    content = {
        "a": [None, True, 1, -(2**70), 1.5, 1 + 2j, "é\n", b"", b"\xff", (), (1,), (1, 2, [3, {}])],
        3: (4, 5, 6, 7),
        "numbers": [np.float32(0.1), np.int64(-3), np.bool_(True)],
        "empty": np.zeros((0, 5), np.float64),
        "arrays": [
            shared,
            shared,
            shared.T,
            shared[:, ::2],
            np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        ],
    }
    again = read_pickle(written(tmp_path / "values", content, protocol))
    assert (
        again["a"] == content["a"]
        and again[3] == content[3]
        and again["numbers"] == content["numbers"]
    )
    assert again["empty"].shape == (0, 5) and again["empty"].dtype == np.float64
    for found, expected in zip(again["arrays"], content["arrays"], strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype.isnative


@pytest.mark.parametrize("protocol", range(2, 6))
def test_bfloat16_comes_as_float32(tmp_path, protocol):
    bfloat16 = np.dtype(jax.numpy.bfloat16)
    bits = np.array(
        [0x3F80, 0xC000, 0x7F80, 1], np.uint16
    )  # 1, -2, infinity, the least positive one: 2 ** -133
    weights = [
        bits.view(bfloat16),
        jax.numpy.asarray(bits.view(bfloat16)),
        bits,
    ]  # the last as a Loop stores it
    again = read_trax_weights(written(tmp_path / "model.pkl", {"flat_weights": weights}, protocol))
    assert [array.tolist() for array in again] == [[1.0, -2.0, np.inf, 2.0**-133]] * 3
    assert {array.dtype for array in again} == {np.dtype("float32")}


def test_the_file_of_arrays_stands_where_trax_puts_it(tmp_path):
    path = written(tmp_path / "model.pkl.gz", {"flat_weights": 2})
    with pytest.raises(
        FileNotFoundError, match="no .*model.weights.npy.gz and no .*model.pkl.gz.npy; copy it"
    ):
        read_trax_weights(path)
    np.save(tmp_path / "model.pkl.gz.npy", np.ones(3))
    assert [array.tolist() for array in read_trax_weights(path)] == [[1.0, 1.0, 1.0]]
    with gzip.open(tmp_path / "model.weights.npy.gz", "wb") as file:
        np.save(file, np.asfortranarray([[1, 2], [3, 4]], np.float16))
        np.save(file, np.array(7, ">i8"))
    assert [array.tolist() for array in read_trax_weights(path)] == [[[1.0, 2.0], [3.0, 4.0]], 7]


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "holds a list; expected a dictionary with 'flat_weights'"),
        ({"weights": 3, "a": 1}, r"holds \['a', 'weights'\]; expected"),
        ({"flat_weights": [None]}, "among the weights is a NoneType"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_trax_weights(written(tmp_path / "model.pkl", content))


# Hostile pickles


def text(string):
    return b"X" + struct.pack("<I", len(string.encode())) + string.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


def hostile(marker):
    """Pickles by their names, each with what the error says. Those that could would make the file
    `marker`."""
    shell = text(f"touch {marker}")
    code = text(f"__import__('os').mkdir({str(marker)!r})")
    system, array = (
        call(name("os", "system"), shell),
        call(name("numpy.core.multiarray", "_reconstruct")),
    )
    f4, data = call(name("numpy", "dtype"), text("f4")), b"C\x041234"
    made = lambda shape, dtype=f4, data=data: call(name("numpy", "ndarray"), shape, dtype, data)  # noqa: E731
    return {
        "os.system": (system, "names the function os.system, which is not among .* it was not run"),
        "posix.system from the stack": (
            call(stack_name("posix", "system"), shell),
            "function posix.system",
        ),
        "nt.system": (call(name("nt", "system"), shell), "function nt.system"),
        "eval": (call(name("builtins", "eval"), code), "function builtins.eval"),
        "exec as in Python 2": (
            call(name("__builtin__", "exec"), code),
            "function __builtin__.exec",
        ),
        "Popen": (
            call(name("subprocess", "Popen"), b"(" + text("touch") + text(str(marker)) + b"l"),
            "Popen",
        ),
        "import": (
            call(stack_name("importlib", "import_module"), text("antigravity")),
            "importlib.import_module",
        ),
        "getattr": (
            call(name("builtins", "getattr"), name("numpy", "ndarray"), text("__class__")),
            "builtins.getattr",
        ),
        "dotted": (stack_name("numpy", "ndarray.__class__"), "function numpy.ndarray.__class__"),
        "dotted module": (
            stack_name("numpy.core", "multiarray.scalar"),
            "numpy.core.multiarray.scalar, which is not",
        ),
        "partial": (
            call(name("functools", "partial"), name("os", "system"), shell),
            "function functools.partial",
        ),
        "numpy's own load": (call(name("numpy", "load"), shell), "function numpy.load"),
        "a strange name": (
            stack_name("os\n\x1b[2J" + "x" * 999, "system"),
            r"function os\\n\\x1b\[2Jx+\.\.\., which",
        ),
        "in the arguments": (call(name("numpy", "ndarray"), system), "function os.system"),
        "as a dictionary's default": (
            call(name("collections", "defaultdict"), name("os", "system")),
            "os.system",
        ),
        "as the class of an array": (
            call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "matrix")),
            "function numpy.matrix",
        ),
        "as a dtype": (call(name("numpy", "dtype"), system), "function os.system"),
        "INST": (b"(" + shell + b"ios\nsystem\n", "function os.system"),
        "INST of a known name": (b"(inumpy\nndarray\n", "instruction INST"),
        "OBJ": (b"(" + name("numpy", "ndarray") + shell + b"o", "instruction OBJ"),
        "NEWOBJ": (stack_name("subprocess", "Popen") + b"(" + shell + b"t\x81", "subprocess.Popen"),
        "NEWOBJ of a function": (name("numpy", "ndarray") + b")\x81", "NEWOBJ"),
        "NEWOBJ_EX": (name("trax.shapes", "ShapeDtype") + b")}\x92", "instruction NEWOBJ_EX"),
        "EXT1": (b"\x82\x01", "instruction EXT1"),
        "PERSID": (b"Pos.system\n", "instruction PERSID"),
        "BINPERSID": (shell + b"Q", "instruction BINPERSID"),
        "a set": (b"\x8f", "instruction EMPTY_SET"),
        "a buffer": (b"\x97", "instruction NEXT_BUFFER"),
        "a text of Python 2": (b"S'\\d'\n", "STRING|invalid escape"),
        "changes a function": (
            name("numpy", "ndarray") + b"N}" + text("__code__") + b"Ns\x86b",
            "changes a function",
        ),
        "changes a class": (
            name("trax.shapes", "ShapeDtype") + b"}" + text("__setstate__") + b"Nsb",
            "damaged",
        ),
        "changes a list": (b"]}" + text("__setstate__") + b"Nsb", "damaged"),
        "calls a text": (call(text("os.system"), shell), "damaged"),
        "calls a dtype": (call(name("numpy", "float32"), shell), "damaged"),
        "an evil codec": (
            call(name("_codecs", "encode"), shell, text("zlib_codec")),
            "encodes with zlib_codec",
        ),
        "bytes of a number": (
            call(name("builtins", "bytes"), b"J\xff\xff\xff\x7f"),
            "makes bytes of something else",
        ),
        "bytearray of a number": (
            call(name("builtins", "bytearray"), b"J\xff\xff\xff\x7f"),
            "makes bytes of",
        ),
        "a number of a text": (
            call(name("builtins", "int"), text("9" * 4000)),
            "makes a number of something else",
        ),
        "an object dtype": (
            made(b"K\x01\x85", call(name("numpy", "dtype"), text("O"))),
            "values of type O; weights",
        ),
        "a dtype of fields": (
            call(name("numpy", "dtype"), b"]" + text("a") + text("O") + b"\x86a"),
            "values of type",
        ),
        "a dtype by ctypes' name": (
            call(name("numpy", "dtype"), text("O8,O8")),
            "values of type O8,O8",
        ),
        "a dtype with a state of fields": (
            f4 + b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}NNNtb",
            "a dtype a",
        ),
        "a state of objects": (
            array + b"(K\x01K\x01\x85" + f4 + b"\x89]" + system + b"atb",
            "os.system",
        ),
        "a list for bytes": (
            array + b"(K\x01K\x01\x85" + f4 + b"\x89]K\x01atb",
            "an array without its bytes",
        ),
        "a short state": (array + b"K\x01\x85b", "state of another form than NumPy's"),
        "no state": (array, "a value without a type"),
        "an array of no dtype": (made(b"K\x01\x85", text("f4")), "a value without a type"),
        "a function for a value": (name("numpy", "ndarray"), "holds a function"),
        "a negative size": (made(b"J\xff\xff\xff\xff\x85"), "of a shape that has .* negative"),
        "two negative sizes": (made(b"J\xff\xff\xff\xff\x85"[:-1] * 2 + b"\x86"), "negative"),
        "a text for a size": (made(text("1") + b"\x85"), "not a tuple of integers"),
        "too few bytes": (
            made(b"K\x02\x85"),
            r"shape \(2,\) and dtype float32, for which its 4 bytes are not the 8",
        ),
        "too many sizes": (made(b"(" + b"K\x01" * 99 + b"t"), "more than 32 sizes"),
        "an order unknown": (
            call(name("numpy.core.numeric", "_frombuffer"), data, f4, b"K\x01\x85", text("Z")),
            "in an order",
        ),
        "axes unknown": (
            call(
                name("numpy._core.numeric", "_frombuffer"),
                data,
                f4,
                b"K\x01\x85",
                text("K"),
                b"K\x05\x85",
            ),
            "in an order",
        ),
        "a signature of functions": (
            name("trax.shapes", "ShapeDtype")
            + b")\x81N}"
            + text("shape")
            + b"("
            + f4
            + b"ts"
            + text("dtype")
            + f4
            + b"s\x86b",
            "shape is not a tuple of integers",
        ),
        "a signature without a state": (
            name("trax.shapes", "ShapeDtype") + b")\x81",
            "shape is not a tuple",
        ),
        "a list as a key": (b"}" + b"]Nsb", "keys are neither strings nor numbers"),
        "an array as a key": (
            b"}" + made(b"K\x01\x85") + b"Ns",
            "keys are neither strings nor numbers",
        ),
        "itself": (b"]q\x01h\x01a", "more than 64 deep"),
        "a remembered value unknown": (b"h\x07", "damaged"),
        "goes on after its end": (b"N.c", "goes on for"),
        "an unknown instruction": (b"\xff", "opcode .* unknown"),
        "nothing": (b"", "takes more values than it made"),
    }


def bombs(n, steps):
    """Pickles of some n bytes that ask for more than they should, where `steps` are allowed."""
    return {
        "remembers far away": (b"Nr\xff\xff\xff\x7f", "remembers its value number 2147483647"),
        "remembers far away, in digits": (
            b"Np" + b"9" * 30 + b"\n",
            "remembers its value number 9{30}",
        ),
        "huge bytes": (b"\x8e" + struct.pack("<Q", 2**40), "damaged"),
        "huge text": (b"\x8d" + struct.pack("<Q", 2**62), "damaged"),
        "huge bytearray": (b"\x96" + struct.pack("<Q", 2**63), "damaged"),
        "huge number": (b"\x8b" + struct.pack("<i", 2**31 - 1), "damaged"),
        "huge number of digits": (b"I" + b"7" * 100_000 + b"\n", "damaged"),
        "huge frame": (
            b"\x80\x04\x95" + struct.pack("<Q", 2**50),
            "announces 1,125,899,906,842,624 bytes",
        ),
        "deep lists": (b"]" * n + b"a" * (n - 1), "more than 64 deep"),
        "deep tuples": (b")" + b"\x85" * n, "more than 64 deep"),
        "deep dictionaries": (b"}" + b"K\x01}" * (n // 2) + b"s" * (n // 2), "more than 64 deep"),
        "a flood of lists": (b"(" + b"]" * (75 * n) + b"t", f"more than {steps:,} instructions"),
        "lists of the same lists": (
            b"]q\x00"
            + b"".join(b"](" + bytes([104, i]) * 9 + b"eq" + bytes([i + 1]) for i in range(30)),
            f"more than {steps:,} values",
        ),
        "copies of the same text": (
            text("x" * (25 * n))
            + b"q\x00"
            + call(name("_codecs", "encode"), b"h\x00", text("latin1")) * 200,
            "many copies of the same bytes",
        ),
        "arrays of the same bytes": (
            b"B"
            + struct.pack("<I", (25 * n))
            + bytes(25 * n)
            + b"q\x00]("
            + call(
                name("numpy", "ndarray"),
                b"J" + struct.pack("<i", (25 * n)) + b"\x85",
                call(name("numpy", "dtype"), text("u1")),
                b"h\x00",
            )
            * 200
            + b"e",
            "many copies of the same bytes",
        ),
        "a huge shape": (
            call(
                name("numpy", "ndarray"),
                b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86",
                call(name("numpy", "dtype"), text("f8")),
                b"C\x01x",
            ),
            "for which its 1 bytes are not the",
        ),
        "a huge shape of nothing": (
            call(
                name("numpy", "ndarray"),
                b"K\x00\x8a\x08" + struct.pack("<q", 2**62) + b"\x86",
                call(name("numpy", "dtype"), text("f8")),
                b"C\x00",
            ),
            "or one that is negative",
        ),
    }


@pytest.mark.parametrize("which", hostile("x"))
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, which):
    content, message = hostile(tmp_path / "marker")[which]
    path = written(tmp_path / "model.pkl", content + b".")
    for form in (path, written(tmp_path / "model.pkl.gz", gzip.compress(content + b"."))):
        with pytest.raises(ValueError, match=message) as refused:
            read_pickle(form)
        assert type(refused.value) is ValueError and str(refused.value).startswith(f"{form} ")
        assert len(str(refused.value)) < 500 and str(refused.value).isprintable()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pkl", "model.pkl.gz"]


def test_these_pickles_would_run(tmp_path):
    for which in ("os.system", "posix.system from the stack", "eval", "INST", "in the arguments"):
        marker = tmp_path / which.replace(" ", "-")
        with contextlib.suppress(
            TypeError
        ):  # of ndarray, whose shape would be what os.system returns
            pickle.loads(hostile(marker)[which][0] + b".")
        assert marker.exists(), which


def test_names_are_never_looked_up(tmp_path, monkeypatch):
    """What an allowed name leads to is ours, even where the real one would run something."""
    monkeypatch.setattr(np, "ndarray", lambda *_: pytest.fail("the real one was called"))
    monkeypatch.setattr(pickle, "_getattribute", None)
    path = written(
        tmp_path / "model.pkl", call(name("numpy", "ndarray"), b"K\x05", b"K\x05", b"K\x05") + b"."
    )
    with pytest.raises(ValueError, match="holds a function, or a value without a type"):
        read_pickle(path)


CHILD = """
import sys
from pathlib import Path
from trax_triplet.compat.trax_files import read_pickle, read_trax_weights
for path in sys.argv[1:]:
    try:
        read_trax_weights(path, max_bytes=2**26 if "bomb" in path else 2**29)
        print("read")
    except ValueError as error:
        print(str(error).removeprefix(path))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024, "jax" in sys.modules)
"""


@pytest.mark.parametrize("which", bombs(10, 3000))
def test_bombs_are_refused(tmp_path, monkeypatch, which):
    monkeypatch.setattr(unpickler, "MAX_STEPS", 3000)
    content, message = bombs(1200, 3000)[which]
    with pytest.raises(ValueError, match=message):
        read_pickle(written(tmp_path / "bomb.pkl", content + b"."))


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="the peak of memory is read from Linux's /proc"
)
def test_bombs_take_little_memory(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 9999), }\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(80)
    cases = [(content + b".", message) for content, message in bombs(400_000, 1_000_000).values()]
    cases += [
        (npy, "array 1 takes 7,999,199,920,008 bytes, but 80 are left"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(900), "array 1 is described by"),
    ]
    paths = [written(tmp_path / f"{i}.pkl", content) for i, (content, _) in enumerate(cases)]
    paths.append(written(tmp_path / "bomb.gz", gzip.compress(bytes(2**28))))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    *answers, last = done.stdout.splitlines()
    for answer, (_, message) in zip(
        answers, [*cases, (b"", "unpacks to more than 67,108,864 bytes")], strict=True
    ):
        assert re.search(message, answer), answer
    peak, framework = last.split()
    assert int(peak) < 500 and framework == "False", last


# Damage and limits

GOOD = pickle.dumps(
    {"flat_weights": [np.ones((2, 3), np.float32)], "history": {"a": [(1, 0.5)]}}, 4
)


@given(st.data())
def test_damage_is_one_kind_of_error(tmp_path_factory, data):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    path = written(
        tmp_path_factory.getbasetemp() / "damaged",
        bytes(damaged[: data.draw(st.integers(0, len(GOOD)))]),
    )
    try:
        read_trax_weights(path)
    except ValueError as error:
        assert type(error) is ValueError and "damaged" in str(error)


@given(st.binary(max_size=60))
@example(b"\x1f\x8b")
@example(b"\x93NUMPY")
def test_garbage_is_one_kind_of_error(tmp_path_factory, data):
    path = written(tmp_path_factory.getbasetemp() / "garbage", data)
    with pytest.raises(ValueError, match="garbage"):
        read_trax_weights(path)


def test_every_truncation_of_arrays_is_an_error(tmp_path):
    with open(tmp_path / "whole", "wb") as file:
        np.save(file, np.arange(3))
        between = file.tell()
        np.save(file, np.ones((2, 2)))
    whole = (tmp_path / "whole").read_bytes()
    assert len(read_trax_weights(tmp_path / "whole")) == 2
    for end in set(range(7, len(whole))) - {between}:
        with pytest.raises(ValueError, match="truncated|described by"):
            read_trax_weights(written(tmp_path / "cut", whole[:end]))


@pytest.mark.parametrize(
    "array",
    [np.array([{}], object), np.array(["a"]), np.zeros(2, [("a", "f4")]), np.zeros(2, "M8[s]")],
    ids=["objects", "text", "fields", "dates"],
)
def test_arrays_of_other_things_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(
        ValueError, match="array 1 is described by .*; expected a plain array of numbers"
    ):
        read_trax_weights(tmp_path / "a.npy")


def test_limits_can_be_set(tmp_path):
    data = pickle.dumps({"flat_weights": [np.zeros(1000)]})
    path = written(tmp_path / "model.pkl.gz", gzip.compress(data))
    assert len(read_trax_weights(path, max_bytes=len(data))) == 1
    for read in (read_pickle, read_trax_weights):
        too_much = f"unpacks to more than {len(data) - 1:,} bytes.*raise max_bytes"
        with pytest.raises(ValueError, match=too_much):
            read(path, max_bytes=len(data) - 1)
        with pytest.raises(ValueError, match="is larger than 10 bytes"):
            read(path, max_bytes=10)
        with pytest.raises(TypeError, match="max_bytes must be"):
            read(path, max_bytes=1.5)
        with pytest.raises(ValueError, match="max_bytes must be"):
            read(path, max_bytes=0)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "absent")
