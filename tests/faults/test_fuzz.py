"""A damaged file is refused in words and does no more: at random, by inputs found, of any text."""

import csv
import io
import json
import random
import signal
import sys
import warnings

import fuzz
import mutations
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.pairs import Pairs
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.tokenizer import is_blank
from trax_triplet.data.vocabulary import Vocabulary

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
few = settings(deadline=None, max_examples=40)
QUESTION = TEXT.filter(lambda text: not is_blank(text))


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="memory is measured as Linux reports it"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def targets(folder):
    return {target.name: target for target in fuzz.targets(folder)}


@pytest.mark.parametrize("inputs", [800, pytest.param(8000, marks=pytest.mark.slow)])
def test_damaged_files(inputs):
    assert fuzz.run(inputs, seed=1)["findings"] == []


@pytest.mark.by_hand
def test_two_hundred_thousand_damaged_files():
    found = fuzz.run(200_000)
    assert found["findings"] == []
    assert found["inputs"] > 199_000 and all(
        result["inputs"] > 900 for result in found["targets"].values()
    )


# What the fuzzer found, and what was found beside it.


def safetensors(**header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


ARCHIVED = {
    "a column's name beyond csv.field_size_limit": (
        "csv",
        b"a" * 140_000 + b",question1,question2,is_duplicate\na,b,c,1\n",
    ),
    "str.strip takes more blanks than int": (
        "csv",
        b"qid1,qid2,question1,question2,is_duplicate\n\x1c7,8,a,b,1\n",
    ),
    "a type that NumPy has not": (
        "model weights.safetensors, sealed",
        safetensors(embedding={"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]}),
    ),
    "a size beyond int64 beside a 0": (
        "model weights.safetensors, sealed",
        safetensors(embedding={"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}),
    ),
    "more dimensions than NumPy has": (
        "model weights.safetensors, sealed",
        safetensors(embedding={"dtype": "F32", "shape": [0] * 65, "data_offsets": [0, 0]}),
    ),
}


@pytest.mark.parametrize("name", ARCHIVED)
def test_found_inputs(targets, name):
    target, data = ARCHIVED[name]
    with fuzz.limits():
        assert fuzz.attempt(targets[target], data)[0] == ""


def test_empty_files(targets):
    for target in targets.values():
        assert fuzz.attempt(target, b"")[0] == "", target.name


def test_a_header_of_many_names_is_shown_in_part(folder):
    (folder / "wide.csv").write_text("id," * 10_000 + "\n1\n")
    with pytest.raises(ValueError, match="expected the columns") as caught:
        read_pairs(folder / "wide.csv")
    assert len(str(caught.value)) < 1000


def test_numbers_of_questions_with_odd_blanks(folder):
    (folder / "odd.csv").write_bytes(ARCHIVED["str.strip takes more blanks than int"][1])
    assert read_pairs(folder / "odd.csv").qid1.tolist() == [7]


# The fuzzer itself.


def test_good_files_are_read(targets):
    for target in targets.values():
        assert fuzz.attempt(target, target.seeds[0])[:2] == ("", True), target.name


def test_a_sealed_change_reaches_what_the_digest_guards(targets):
    """Weights with one bit changed: refused for their SHA-256, and read once that is made right."""
    name = "model weights.safetensors"
    data = targets[name].seeds[0]
    changed = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ValueError, match="SHA-256 differs"):
        targets[name].read(changed)
    targets[name + ", sealed"].read(changed)


def planted(read, seeds=(b"[1]",)):
    return fuzz.Target("planted", 1, read, list(seeds), mutations.BYTES, "planted.txt")


def test_a_planted_defect_is_found():
    def read(data):
        if b"[" not in data:
            raise KeyError("[")
        raise ValueError("planted.txt is damaged")

    found = fuzz.fuzz(planted(read), 300)
    assert [finding["wrong"].split()[0] for finding in found["findings"]] == ["KeyError"]
    assert found["findings"][0]["times"] > 10 and found["read"] == 0
    assert found == {
        **fuzz.fuzz(planted(read), 300),
        "seconds": found["seconds"],
        "longest_s": found["longest_s"],
    }


def test_an_error_that_does_not_name_the_file_is_found():
    def read(data):
        raise ValueError("cannot reshape")

    assert fuzz.attempt(planted(read), b"x")[0].startswith("ValueError at test_fuzz.py:")


def test_a_warning_is_found():
    with fuzz.limits():
        wrong, read, _ = fuzz.attempt(
            planted(lambda data: warnings.warn("old", DeprecationWarning, stacklevel=1)), b"x"
        )
    assert wrong.startswith("DeprecationWarning") and not read


def test_a_reader_without_end_is_found(monkeypatch):
    def read(data):
        while True:
            pass

    monkeypatch.setattr(fuzz, "MAX_SECONDS", 0.05)
    with fuzz.limits():
        assert fuzz.attempt(planted(read), b"x")[0].startswith("Slow")
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_memory_is_found(monkeypatch):
    assert fuzz._peak() > 10**7
    monkeypatch.setattr(fuzz, "_peak", iter([0, 499 * 10**6, 0, 501 * 10**6]).__next__)
    assert [fuzz.attempt(planted(bytes), b"x")[0] for _ in range(2)] == [
        "",
        "more than 500000000 bytes",
    ]


def test_the_same_seed_gives_the_same_inputs(targets):
    for target in targets.values():
        one, two, other = (
            mutations.mutate(random.Random(seed), target.seeds, target.mutations) for seed in "112"
        )
        assert one == two and one != other


# Whatever text is written.


@few
@given(
    st.lists(st.tuples(QUESTION, QUESTION, st.sampled_from("01")), min_size=1, max_size=5),
    st.sampled_from(",;\t"),
    st.booleans(),
)
def test_texts_that_csv_writes_are_read_back(folder, rows, separator, all_quoted):
    # Until Python 3.13 csv.writer leaves a carriage return unquoted where lines end with a line
    # feed only.
    ends = {"lineterminator": "\n", "quoting": csv.QUOTE_ALL} if all_quoted else {}
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, **ends).writerows(
        [("question1", "question2", "is_duplicate"), *rows]
    )
    (folder / "rows.csv").write_bytes(stream.getvalue().encode())
    # Between tabs, a quoted field with a tab and a line end may as well be rows that a stray quote
    # swallowed: `read_pairs` refuses such rows until it is told which.
    texts = [text for row in rows for text in row]
    is_unclear = any("\t" in text and ("\n" in text or "\r" in text) for text in texts)
    quoting = "csv" if separator == "\t" and is_unclear else "auto"
    pairs = read_pairs(folder / "rows.csv", quoting=quoting)
    assert [*zip(pairs.question1, pairs.question2, map(str, pairs.is_duplicate))] == rows


@few
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"question1,question2,is_duplicate\n", b"\x1f\x8b\x08"]),
)
def test_arbitrary_bytes_are_pairs_or_a_ValueError(folder, data, before):
    (folder / "bytes.csv").write_bytes(before + data)
    try:
        assert isinstance(read_pairs(folder / "bytes.csv", max_skipped=1), Pairs)
    except ValueError as error:
        assert str(folder / "bytes.csv") in str(error)


@few
@given(
    st.lists(
        TEXT.filter(lambda word: word and "\n" not in word and word != "<PAD>"),
        unique=True,
        max_size=8,
    ),
    st.integers(0, 9),
)
def test_words_that_a_vocabulary_writes_are_read_back(folder, words, buckets):
    Vocabulary(words, buckets=buckets).save(folder / "words.txt")
    loaded = Vocabulary.load(folder / "words.txt")
    assert loaded == Vocabulary(words, buckets=buckets) and loaded.words == tuple(words)


@few
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"# trax-triplet vocabulary 1 tokenizer=words/1 words=2 buckets=0\n"]),
)
def test_arbitrary_bytes_are_a_vocabulary_or_a_ValueError(folder, data, before):
    (folder / "bytes.txt").write_bytes(before + data)
    try:
        assert len(Vocabulary.load(folder / "bytes.txt")) == 4
    except ValueError as error:
        assert str(folder / "bytes.txt") in str(error)
