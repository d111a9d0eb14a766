"""Lines of pairs are answered in step, each as soon as it is there."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from trax_triplet.inference.lines import answer_lines


def similarity(first, second):
    """The share of equal letters, so that each pair has its own."""
    shares = [sum(a == b for a, b in zip(*pair)) / 8 for pair in zip(first, second)]
    return np.array(shares, np.float32)


TRAINED = SimpleNamespace(threshold=0.25, similarity=similarity)


def answered(data, **options):
    written = []
    n, errors = answer_lines(TRAINED, io.BytesIO(data), written.append, **options)
    lines = "".join(written).splitlines()
    assert len(lines) == n
    return lines, errors


def test_a_line_with_a_tab_comes_back_with_two_columns_more():
    # 2 / 8, which is not above the threshold but equal to it; 3 / 8; 0.
    lines, errors = answered("ab\taB b\tid 7\r\n\n \nabc\tabc\nä\tö".encode(), threshold=0.125)
    assert lines == [
        "ab\taB b\tid 7\t0.125000\t0",
        "abc\tabc\t0.375000\t1",
        "ä\tö\t0.000000\t0",
    ]
    assert errors == []
    assert answered(b"ab\tab\n")[0] == ["ab\tab\t0.250000\t0"]


def test_a_line_of_json_comes_back_with_its_own_fields():
    rows = [{"id": 3, "question1": "a\tb", "question2": "a\tb", "error": None}, ["ä", "ä"]]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    assert [json.loads(line) for line in answered(data)[0]] == [
        {**rows[0], "similarity": 0.375, "is_duplicate": True},
        {"question1": "ä", "question2": "ä", "similarity": 0.125, "is_duplicate": False},
    ]
    [line], _ = answered(b"a\tb\tc\td\n", as_json=True)
    pair = {"question1": "a", "question2": "b", "columns": ["c", "d"]}
    assert json.loads(line) == {**pair, "similarity": 0.0, "is_duplicate": False}


NAN = b'{"question1": "a", "question2": "b", "id": NaN}'
BAD = [
    NAN,
    NAN.replace(b"NaN", b"[-Infinity]"),
    NAN.replace(b"NaN", b"1e999"),
    b"no pair",
    b"{",
    b"[1, 2]",
    b'["a"]',
    b'{"question1": "a"}',
    b"\xff\tb",
    b"3",
    b"[" * 10**5,
]


@pytest.mark.parametrize("bad", BAD, ids=[f"{line[:20]}" for line in BAD])
def test_what_is_no_pair_is_answered_in_step_and_told(bad):
    lines, errors = answered(b"error\terror\n\n" + bad + b"\nab\tab\n")
    assert lines[0] == "error\terror\t0.625000\t1" and lines[2] == "ab\tab\t0.250000\t0"
    found = json.loads(lines[1])
    assert found["line"] == 3 and found["error"].startswith("expected two questions with a tab")
    assert errors == [f"line 3: {found['error']}"]


def test_what_is_wrong_with_json_is_told():
    _, [nan, broken, text] = answered(NAN + b'\n{"question1": "a",}\nno pair\n')
    assert nan.endswith("(NaN is not JSON)") and "line 1 column" in broken
    assert text.endswith("but it is 'no pair'")
    twice = b'{"question1": "a", "question2": "b", "question1": "c"}'
    _, errors = answered(twice + b"\n \tb\n" + b'["a", ""]')
    assert errors[0].endswith("(a key comes twice)")
    assert errors[1:] == [
        "line 2: question1 must not be blank",
        "line 3: question2 must not be blank",
    ]


def test_what_the_user_calls_like_the_answer_stays():
    row = {"question1": "a", "question2": "a", "similarity": "high", "is_duplicate": None}
    [line], _ = answered(json.dumps({**row, "answer_similarity": 1}).encode())
    assert json.loads(line) == {
        **row,
        "answer_similarity": 1,
        "answer_answer_similarity": 0.125,
        "answer_is_duplicate": False,
    }


def test_carriage_returns_end_lines_too():
    expected = [f"{text}\t{text}\t0.125000\t0" for text in "abc"]
    for data in (b"a\ta\rb\tb\rc\tc\r", b"a\ta\r\nb\tb\r\nc\tc", b"a\ta\n\rb\tb\r\r\nc\tc\r\n"):
        assert answered(data) == (expected, [])


def test_lines_of_another_encoding_and_a_mark_at_the_start():
    assert answered("ö\tö\n".encode("cp1252"), encoding="cp1252")[0] == ["ö\tö\t0.125000\t0"]
    assert answered(b"\xef\xbb\xbfa\ta\n")[0] == ["a\ta\t0.125000\t0"]
    [line], [error] = answered("ö\tö\n".encode("cp1252"))
    assert json.loads(line)["line"] == 1 and "not UTF-8" in error
    with pytest.raises(ValueError, match="encoding must be one of lines"):
        answered(b"", encoding="utf-16")


class Slow(io.RawIOBase):
    """What a pipe is: each read gives what was written at once, a piece of a line or several."""

    def __init__(self, *pieces):
        self.pieces, self.read_so_far = [*pieces], 0

    def readable(self):
        return True

    def read1(self, n):
        self.read_so_far += 1
        return self.pieces.pop(0) if self.pieces else b""


def test_each_line_is_answered_before_the_next_one_is_waited_for():
    source, written = Slow(b"a\t", b"a\nb", b"\tb\nc\tc\nd\t", b"d"), []
    answer_lines(TRAINED, source, lambda text: written.append((source.read_so_far, text)))
    answer = "\t0.125000\t0\n"
    expected = [(2, f"a\ta{answer}"), (3, f"b\tb{answer}c\tc{answer}"), (5, f"d\td{answer}")]
    assert written == expected


def test_a_line_without_an_end_does_not_fill_the_memory():
    source = Slow(*[b"a" * 2**16] * 1000)
    with pytest.raises(ValueError, match="a line has more than 1,048,576 bytes"):
        answer_lines(TRAINED, source, print)
    assert source.read_so_far == 17


def test_without_a_threshold_nothing_is_read():
    with pytest.raises(ValueError, match="threshold must be given"):
        answer_lines(SimpleNamespace(threshold=None), None, print)
