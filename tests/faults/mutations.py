"""Changes to files, made at random: of their bytes, and of the structures in them.

Each is a function (random.Random, bytes, all seeds) -> bytes.
"""

import contextlib
import gzip
import hashlib
import json
import re
import struct
import zlib

TOKENS = (
    b'"',
    b'""',
    b"'",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r",
    b"\r\n",
    b"\n",
    b",",
    b";",
    b"\t",
    b" ",
    b"\x0b",
    b"\x1c",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xd9\xa1",
    b"\xc2\xb2",
    b"-1",
    b"0",
    b"1",
    b"9" * 19,
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b"[" * 500,
    b"[" * 20000,
    b"null",
    b'"\\ud800"',
    b"question1",
    b"a" * 140000,
    b"\x1f\x8b\x08",
    b"<PAD>",
    b"\x93NUMPY",
)
OPCODES = (
    *(
        bytes([code])
        for code in b".(02)]}tRboaesuQN\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94\x96\x97\x98"
    ),
    b"Pid\n",
    b"\x82\x01",
    b"cos\nsystem\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"(i__main__\nx\n",
    b"\x8c\x05posix\x8c\x06system\x93",
    b"r\xff\xff\xff\x7f",
    b"j\xff\xff\xff\x7f",
    b"q\xff",
    b"h\xff",
    b"X\xff\xff\xff\x7f",
    b"B\xff\xff\xff\xff",
    b"\x8d" + b"\xff" * 8,
    b"\x8e" + b"\xff" * 8,
    b"\x95" + b"\xff" * 8,
    b"\x8b\xff\xff\xff\x7f",
    b"J\xff\xff\xff\x7f",
    b"I" + b"9" * 5000 + b"\n",
    b"L-1L\n",
    b"F1e999\n",
    b"S'a'\n",
    b"V\\ud800\n",
    b"K\x00",
    b"G" + b"\xff" * 8,
    b"(" * 3000,
    b"]" * 3000,
    b")\x85" + b"\x85" * 5000,
)
JSON_VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    2**31,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "1",
    "words",
    "last",
    "mean",
    "\ud800",
    "\0",
    "../x",
    "x" * 3000,
    [],
    [0],
    [[]],
    {},
    {"": {}},
    {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
    "F64",
    "BF16",
    "F8_E4M3",
    "F4",
    "BOOL",
    "I64",
    "C64",
    [0, 2**63 - 1],
    [0, 2**63],
    [2**32, 2**32],
    [0] * 70,
    [1] * 70,
    "@digits",
    "@deep",
    "@deep",
    "@deep",
)
DTYPES = (
    ("F64", 8),
    ("BF16", 2),
    ("F8_E4M3", 1),
    ("F8_E5M2", 1),
    ("U8", 1),
    ("C64", 8),
    ("I16", 2),
    ("BOOL", 1),
    ("F16", 2),
    ("F32", 4),
)
NPY_SHAPES = (
    b"()",
    b"(0,)",
    b"(-1,)",
    b"(True,)",
    b"(1e9,)",
    b"(0, 9223372036854775808)",
    b"(4294967296, 4294967296)",
    b"(999999999,)",
    b"(" + b"9" * 5000 + b",)",
    b"(0," + b"1," * 70 + b")",
    b"'x'",
    b"None",
    b"(" * 150 + b")" * 150,
)
NPY_DTYPES = (
    b"'|O'",
    b"'<f8'",
    b"'>f4'",
    b"'<U999999999'",
    b"'|V0'",
    b"'<M8[ns]'",
    b"[('a', '<f4')]",
    b"[]",
    b"''",
    b"'<f3'",
    b"('<f4', (2, 3))",
    b"('<f4', (99999999,))",
    b"{}",
    b"b'<f4'",
    b"'i4,i4'",
    b"12",
)


# Bytes


def flip(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def change(rng, data, _):
    at = rng.randrange(len(data))
    return (
        data[:at]
        + bytes([rng.choice((0, 1, 10, 13, 34, 127, 128, 255, rng.randrange(256)))])
        + data[at + 1 :]
    )


def delete(rng, data, _):
    start, end = _slice(rng, data)
    return data[:start] + data[end:]


def duplicate(rng, data, _):
    start, end = _slice(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 1, 1, 2, 50)) + data[end:]


def insert(rng, data, _, tokens=TOKENS):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(tokens) + data[at + rng.choice((0, 0, 1, 4)) :]


def insert_opcode(rng, data, _):
    return insert(rng, data, _, OPCODES)


def truncate(rng, data, _):
    return data[: rng.randrange(len(data))]


def splice(rng, data, seeds):
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _slice(rng, data):
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 8, 64, 1024)))


BYTES = (flip, change, delete, duplicate, insert, truncate, splice)


# Structures


def _huge(rng, text):
    """JSON with what `json.dumps` would not write: digits without end, and brackets in brackets."""
    depth = rng.choice((300, rng.randrange(900, 1000), rng.randrange(900, 1000), 100_000))
    return (
        text.replace('"@digits"', "9" * 5000).replace('"@deep"', "[" * depth + "]" * depth).encode()
    )


def _nodes(value):
    """(container, key) of all that stands in a JSON value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in items:
        yield value, key
        yield from _nodes(child)


def change_json(rng, value):
    """One value replaced, left out, moved to another name, or put where another one stands."""
    nodes = list(_nodes(value))
    if not nodes:
        return rng.choice(JSON_VALUES)
    container, key = rng.choice(nodes)
    what = rng.randrange(8)
    if what == 0:
        del container[key]
    elif what == 1 and isinstance(container, dict):
        container[str(rng.choice(JSON_VALUES))[:100]] = container.pop(key)
    elif what == 2:
        other, at = rng.choice(nodes)
        container[key] = json.loads(json.dumps(other[at]))
    elif what == 3 and isinstance(container[key], int):
        container[key] += rng.choice((-1, 1, 4, 2**32, 2**64))
    else:
        container[key] = rng.choice(JSON_VALUES)
    return value


def change_json_text(rng, data, _):
    try:
        return _huge(rng, json.dumps(change_json(rng, json.loads(data))))
    except ValueError:
        return flip(rng, data, _)


def change_safetensors(rng, data, _):
    """The header's JSON changed, or one array's type and shape with its length as it was, or a new,
    empty array."""
    size = int.from_bytes(data[:8], "little")
    try:
        header, arrays = json.loads(data[8 : 8 + size]), data[8 + size :]
        names = [name for name in header if name != "__metadata__"]
        entry = header[rng.choice(names)]
        length = entry["data_offsets"][1] - entry["data_offsets"][0]
    except (ValueError, LookupError, TypeError, AttributeError):
        return flip(rng, data, _)
    what = rng.randrange(4)
    if what == 0:
        dtype, width = rng.choice(DTYPES)
        entry.update(dtype=dtype, shape=[1] * rng.choice((0, 0, 1, 64, 65)) + [length // width])
    elif what == 1:
        end = len(arrays)
        header["x"] = {
            "dtype": rng.choice(("F32", "U8")),
            "data_offsets": [end, end],
            "shape": rng.choice(
                ([0], [0, 2**31], [2**62, 0], [0, 2**63], [2**64 - 1, 0], [0] * 65)
            ),
        }
    elif what == 2:
        header["__metadata__"] = rng.choice(JSON_VALUES)
    else:
        header = change_json(rng, header)
    text = _huge(rng, json.dumps(header))
    size = (
        len(text)
        if rng.random() < 0.9
        else rng.choice((0, 1, len(text) + 1, 2**31, 2**63, 2**64 - 1))
    )
    return struct.pack("<Q", size) + text + arrays


def change_npy(rng, data, _):
    """One array's header: its type, its shape, its length or its version."""
    starts = [found.start() for found in re.finditer(b"\x93NUMPY", data)]
    if not starts:
        return flip(rng, data, _)
    at = rng.choice(starts)
    size = int.from_bytes(data[at + 8 : at + 10], "little")
    header = data[at + 10 : at + 10 + size]
    if rng.random() < 0.5:
        header = re.sub(
            rb"'shape': \([^)]*\)", lambda _: b"'shape': " + rng.choice(NPY_SHAPES), header, count=1
        )
    else:
        header = re.sub(
            rb"'descr': '[^']*'", lambda _: b"'descr': " + rng.choice(NPY_DTYPES), header, count=1
        )
    length = len(header) if rng.random() < 0.9 else rng.choice((0, 1, 65535))
    version = rng.choice((b"\1\0",) * 8 + (b"\2\0", b"\3\0", b"\4\0", b"\xff\xff"))
    return (
        data[: at + 6]
        + version
        + struct.pack("<H", min(length, 65535))
        + header
        + data[at + 10 + size :]
    )


def gzipped(mutate):
    """A mutation of what a gzip file holds, packed again."""

    def inside(rng, data, seeds):
        try:
            text = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return flip(rng, data, seeds)
        packed = [gzip.decompress(seed) for seed in seeds] if mutate is splice else seeds
        return gzip.compress(mutate(rng, text, packed) if text else b"x", 1, mtime=0)

    return inside


def mutate(rng, seeds, mutations, max_bytes=2**20):
    """One of these files after one to six of these changes; never empty, as there is one empty file
    only."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        with contextlib.suppress(
            RecursionError
        ):  # more brackets in brackets, by an earlier change, than json follows
            data = rng.choice(mutations)(rng, data, seeds)[:max_bytes] or b"\n"
    return data
