"""Word vectors from text files: which are found, what is refused, and how an embedding starts."""

import gzip
import tracemalloc

import numpy as np
import pytest

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.data.word_vectors import (
    MAX_LINE_BYTES,
    MAX_WIDTH,
    read_word_vectors,
    starting_embedding,
)

GLOVE = "the 1 2 3\nhow 4 5.5 -6e-1\n. 7 8 9\n"
HOW = [4, 5.5, -0.6]


@pytest.fixture
def found(tmp_path):
    """The vectors that a file of this content has of some words, as a dict."""

    def read(content, words=("how", "why"), name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        rows, vectors = read_word_vectors(path, words)
        assert rows.dtype == np.int64 and (np.diff(rows) > 0).all()
        assert vectors.dtype == np.float32 and len(vectors) == len(rows)
        return {words[row]: vector.tolist() for row, vector in zip(rows, vectors)}

    return read


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        f"3 3\n{GLOVE}",  # word2vec, fastText
        "3 3 \nthe 1 2 3 \nhow 4 5.5 -6e-1 \n. 7 8 9 \n",  # with a blank at the end of a line
        GLOVE.replace(" ", "\t"),
        GLOVE.replace(" ", "  "),
        GLOVE.replace("\n", "\r\n"),
        GLOVE[:-1],
        f"{GLOVE}\n\n",
        f"\ufeff{GLOVE}",
        gzip.compress(GLOVE.encode(), mtime=0),
        gzip.compress(f"3 3\n{GLOVE}".encode(), mtime=0),
        gzip.compress(GLOVE[:10].encode(), mtime=0) + gzip.compress(GLOVE[10:].encode(), mtime=0),
        GLOVE.encode() + b"\xff\xfe\xc3 1 2 3\n",  # not UTF-8, but nobody asks for it
        f"{GLOVE}. . . 1 2 3\nat name@domain.com 1 2 3\n",  # words with blanks
        f"{GLOVE}two\u2028lines\x85 1 2 3\n",
        f"{GLOVE}odd nan inf x\n",  # nobody asks for it
    ],
)
def test_reads_what_the_formats_allow(found, content):
    assert found(content) == {"how": pytest.approx(HOW)}


def test_a_word_that_comes_twice_has_its_first_vector(found):
    assert found("how 1\nhow 2\nHOW 3\n") == {"how": [1]}


def test_the_spelling_itself_comes_before_the_lower_cased_one(found):
    content = "Paris 1\nPARIS 2\nparis 3\nUs 4\nus 5\nIt 6\nIT 7\n"
    assert found(content, ["paris", "it", "us"]) == {"paris": [3], "it": [6], "us": [5]}
    assert found(content, ["Paris", "paris", "PaRiS"]) == {"Paris": [1], "paris": [3], "PaRiS": [1]}
    assert found("how 1\n", ["How", "HOW"]) == {"How": [1], "HOW": [1]}


def test_words_are_found_as_the_tokenizer_spells_them(found):
    words = Vocabulary.build(["Don’t eat CAFE\u0301s in Zürich"]).words
    content = "DON’T 1\nCafe\u0301s 2\nZÜRICH 3\nin 4\n"
    assert found(content, words) == {"don't": [1], "cafés": [2], "zürich": [3], "in": [4]}


@pytest.mark.parametrize(
    "content, phrase",
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("how\n", "line 1: expected vectors of 1 to 4096 numbers, but got 0"),
        ("question1,question2\nWhy?,How?\n", "line 1: .* but got 0"),
        ("how are you\n", "line 1: expected 2 finite numbers .* number 1 is 'are'"),
        ("9 0\nhow\n", "line 1: .* but got 0"),
        (f"9 {MAX_WIDTH + 1}\n", f"line 1: .* but got {MAX_WIDTH + 1}"),
        ("a" + MAX_WIDTH * " 1" + " 1\n", f"line 1: .* but got {MAX_WIDTH + 1}"),
        (
            "the 1 2\nhow 1\n",
            "line 2: expected a word and 2 numbers, as line 1 has, .* a word and 1",
        ),
        ("the 1 2\n\nhow 1 2 3\n", "line 3: .* as line 1 has, .* a word and 3"),
        ("2 3\nhow 1 2 3\nthe 1 2\n", "line 3: .* 3 numbers, as line 1 says, .* a word and 2"),
        ("the 1 2\n 1 2\n", "line 2: .* a word and 1"),
        ("the 1 2\nhow 1 x,5\n", "line 2: expected 2 finite .* number 2 is 'x,5'"),
        ("the 1 2\nhow 1 0,5\n", "line 2: .* number 2 is '0,5'"),
        ("the 1 2\nhow nan 1\n", "line 2: .* number 1 is 'nan'"),
        ("the 1 2\nhow 1 -inf\n", "line 2: .* number 2 is '-inf'"),
        ("the 1 2\nhow 1 1e39\n", "line 2: .* number 2 is '1e39'"),
        ("the 1 2\nhow 1 \x1b[31m\n", r"line 2: .* number 2 is '\\x1b\[31m'"),
        ("3 1\nhow 1\nthe 2\n", "line 1 promises 3 words, but 2 follow; .* truncated"),
        ("1 1\nhow 1\nthe 2\n", "line 1 promises 1 words, but 2 follow"),
        ("the 1\nwho 2\n", "has none of the 2 words that are looked for"),
        (b"PK\x03\x04glove.txt", "is a ZIP file; unpack it"),
        (b"\x1f\x8bnonsense", "the gzip file is damaged or truncated"),
        (gzip.compress(GLOVE.encode(), mtime=0)[:-9], "the gzip file is damaged or truncated"),
        (b"\x80\x04\x95pickled\n", "line 1: .* but got 0"),
        ("the 1 2\n".encode("utf-16"), "is not UTF-8, but looks like UTF-16"),
        ("the 1 2\n".encode("utf-16-le"), "is not UTF-8, but looks like UTF-16"),
        (
            gzip.compress("the 1 2\n".encode("utf-32-be"), mtime=0),
            "is not UTF-8, but looks like UTF-16",
        ),
        ("how 1\nпочему 2\nкто 3\n".encode("cp1251"), "2 of its 3 words are not UTF-8"),
        (b"2 3\nhow \x00\x01\x02\x03\n", "line 2: expected a word and 3 numbers"),  # a binary file
    ],
)
def test_what_is_wrong_is_told_with_its_line(found, content, phrase):
    with pytest.raises(ValueError, match=rf"(?s)vectors\.txt.*{phrase}"):
        found(content)


def test_a_word_of_another_encoding_is_not_lost(found):
    content = "how 1\nwhy 2\nCafé 3\nwhat 4\n"
    with pytest.raises(ValueError, match=r"line 3, word b'Caf\\xe9': 1 of its 4 words are not UTF"):
        found(content.encode("cp1252"), ("how", "café"))
    assert found(content.encode("cp1252"), ("how",)) == {"how": [1]}
    assert found(content.encode("cp1252") + "café 5\n".encode(), ("café",)) == {"café": [5]}


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_without_an_end_is_not_read_to_its_end(found, packed):
    content = b"the 1 2\nhow " + 32 * 2**20 * b"1"
    content = gzip.compress(content, 1) if packed else content
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"line 2: longer than {MAX_LINE_BYTES:,} bytes"):
            found(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_file_does_not_enter_memory(tmp_path, packed):
    with (gzip.open if packed else open)(tmp_path / "large", "wt") as file:
        for i in range(4000):
            file.write(f"word{i}" + 300 * f" {i / 1000:.5f}" + "\n")
    assert packed or (tmp_path / "large").stat().st_size > 9 * 2**20
    tracemalloc.start()
    try:
        rows, vectors = read_word_vectors(tmp_path / "large", ["word3000", "word7"])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert rows.tolist() == [0, 1] and vectors.shape == (2, 300)
    assert (vectors == np.float32([[3.0], [0.007]])).all()


def test_an_embedding_starts_from_the_vectors_at_its_own_spread():
    random = np.random.default_rng(1)
    embedding = random.normal(0, 0.1, (50, 4)).astype(np.float32)
    rows, vectors = np.array([2, 5, 9]), np.array([[1, 2], [3, 8], [2, -1]], np.float32)
    start = starting_embedding(embedding, rows, vectors)
    centred = vectors - [(1 + 3 + 2) / 3, (2 + 8 - 1) / 3]
    expected = embedding.copy()
    expected[rows, :2] = centred / centred.std() * embedding.std()
    np.testing.assert_allclose(start, expected, rtol=1e-6)
    assert start.dtype == np.float32
    same = starting_embedding(embedding, rows, 1e30 * vectors + np.float32(1e30))
    np.testing.assert_allclose(same, expected, atol=1e-6)


def test_wide_vectors_keep_the_directions_in_which_they_differ_most():
    random = np.random.default_rng(2)
    inner = random.normal(size=(200, 2)) * [3, 1]
    axes, _ = np.linalg.qr(random.normal(size=(30, 2)))
    vectors = (inner @ axes.T + 1e-3 * random.normal(size=(200, 30)) + 7).astype(np.float32)
    embedding = random.normal(0, 0.1, (200, 2)).astype(np.float32)
    start = starting_embedding(embedding, np.arange(200), vectors)
    assert start.std() == pytest.approx(embedding.std(), rel=1e-5)
    # Distances between words are those of the vectors, times one number.
    i, j = random.integers(0, 200, (2, 500))
    far = np.linalg.norm(vectors[i] - vectors[j], axis=1) > 0.1
    ratio = np.linalg.norm((start[i] - start[j])[far], axis=1) / np.linalg.norm(
        (vectors[i] - vectors[j])[far], axis=1
    )
    assert far.sum() > 400 and ratio.max() / ratio.min() < 1.01
    assert start[:, 0].std() > 2 * start[:, 1].std()


def test_columns_in_which_wide_vectors_do_not_differ_stay_random():
    embedding = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
    vectors = np.outer([1, 2, 5], np.arange(9)).astype(np.float32)  # all on one line
    start = starting_embedding(embedding, np.arange(3), vectors)
    np.testing.assert_array_equal(start[:, 1:], embedding[:, 1:])
    steps = np.diff(start[:3, 0])
    assert abs(steps[1] / steps[0]) == pytest.approx((5 - 2) / (2 - 1), rel=1e-4)


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[3.0], [3.0]], [[0.0], [0.0]]])
def test_equal_vectors_are_refused(vectors):
    embedding = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=f"{len(vectors)} word vectors .* identical"):
        starting_embedding(embedding, np.arange(len(vectors)), np.array(vectors))
