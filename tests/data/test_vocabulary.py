"""Tokenizers, ids and the vocabulary file."""

import copy
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data import reader, tokenizer, vocabulary
from trax_triplet.data.tokenizer import TOKENIZER_VERSIONS, tokenize
from trax_triplet.data.vocabulary import OOV_ID, PAD, PAD_ID, Vocabulary

TEXT = st.text(max_size=40)
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\n")
WORDS = st.lists(
    st.text(LETTERS, min_size=1, max_size=8).filter(PAD.__ne__), unique=True, max_size=12
)


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("How ARE you?", ["how", "are", "you", "?"]),
        ("don't don’t 'tis dogs'", ["don't", "don't", "'", "tis", "dogs", "'"]),
        ("snake_case 3.5%", ["snake", "_", "case", "3", ".", "5", "%"]),
        ("Ünïcode Ж 東京 x²", ["ünïcode", "ж", "東", "京", "x²"]),
        (
            "e\u0301t\u00e9",
            ["\u00e9t\u00e9"],
        ),  # a combining accent is the same word as the composed letter
        ("a\u2028b\x85c\td", ["a", "b", "c", "d"]),
        (" \n", []),
        ("<PAD>", ["<", "pad", ">"]),
    ],
)
def test_words_tokenizer(text, tokens):
    assert tokenize(text) == tokens


@settings(deadline=None, max_examples=60)
@given(TEXT)
def test_words_are_lower_case_without_blanks_and_stable(text):
    tokens = tokenize(text)
    assert all(token and not any(map(str.isspace, token)) for token in tokens)
    assert PAD not in tokens
    assert tokenize(" ".join(tokens)) == tokens


# The left column is what NLTK 3.6.2 gave for these (run once, by its own class).
@pytest.mark.parametrize(
    "tokens, text",
    [
        (["It", "'s", "a", "'quoted", "'", "word"], "It's a 'quoted' word"),  # 3.7: "'", "quoted"
        (["'", "a", "b"], "'a b"),
        (["a—b", "–", "c"], "a—b – c"),  # 3.7: dashes split off
        (["ca", "n't", ",", "gim", "me", "3,5", "$"], "can't, gimme 3,5$"),
        (["''", "x", "y", "''"], "''x y''"),
        (["a", "``", "b"], "a  ''b"),
        (["Mr.", "Smith", "(", "1", ")", "..."], "Mr. Smith (1)..."),
        (["<", "PAD", ">"], "<PAD>"),
    ],
)
def test_course_word_rules(tokens, text):
    pytest.importorskip("nltk")
    assert tokenizer._course_word_tokenizer().tokenize(text) == tokens


def _write_punkt(folder, abbreviations=()):
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (english / name).write_text("", encoding="utf-8")
    (english / "abbrev_types.txt").write_text("\n".join(abbreviations), encoding="utf-8")


def test_course_tokenizer_splits_sentences_with_the_installed_parameters(punkt, tmp_path):
    _write_punkt(tmp_path, ["dr"])
    punkt(tmp_path)
    # Inside of a text a full stop is cut off only at the end of a sentence.
    found = tokenize("I see. Why Dr. No? Go.", "course")
    assert " ".join(found) == "I see . Why Dr. No ? Go ."
    assert tokenize("Only one sentence.  ", "course") == ["Only", "one", "sentence", "."]
    # A curly quote does not end a sentence, so the full stop before it stays (NLTK 3.10 cuts it
    # off).
    found = tokenize("He said “I do.” Did he?", "course")
    assert " ".join(found) == "He said “ I do. ” Did he ?"
    assert tokenize("", "course") == []


def test_course_tokenizer_without_punkt_says_what_to_type(punkt, tmp_path):
    punkt(tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m nltk.downloader punkt_tab"):
        tokenize("Why?", "course")
    assert tokenize("Why?") == ["why", "?"]  # the default needs none


@pytest.mark.real_data
def test_course_anchor_ids(punkt, real_data):
    """COURSE.md's anchors. Takes 3 to 6 s: 100 000 questions, some 30 regular expressions each."""
    punkt(real_data / "nltk_data")
    pairs = reader.read_pairs(real_data / "quora_duplicates.csv")
    questions = [question for pair in zip(pairs.question1, pairs.question2) for question in pair]
    course = Vocabulary.build(questions, tokenizer="course")
    assert {word: course[word] for word in ("When", "again", "Do", "hiking", "desert")} == {
        "When": 585,
        "again": 7280,
        "Do": 443,
        "hiking": 15302,
        "desert": 7431,
    }
    # COURSE.md's 25 371 is the length of the course's dict: the words and <PAD>, but not the id 0.
    assert len(course.words) == 25_371 - 1 and len(course) == 25_371 + 1
    assert course["Again."] > 2  # NLTK 3.10 ends a sentence at `Again.”` and cuts off the full stop
    assert questions[0].startswith("Astrology: I am a Capricorn")
    assert course.encode(questions[0]).tolist() == list(range(2, 22))


@pytest.mark.real_data
def test_course_shortcut_for_single_sentences_changes_nothing(punkt, real_data):
    punkt(real_data / "nltk_data")
    sentences, words = tokenizer._course_tokenizers()
    for question in reader.read_pairs(real_data / "quora_duplicates.csv").question1[:3000]:
        plain = [
            token for sentence in sentences.tokenize(question) for token in words.tokenize(sentence)
        ]
        assert tokenize(question, "course") == plain


PIECES = st.sampled_from(
    [
        "can",
        "not",
        "gon",
        "na",
        "Wan",
        "GOT",
        "ta",
        "a",
        "B",
        "3",
        "é",
        "\u0131",
        "?",
        "!",
        "/",
        "-",
        "_",
        " ",
        ".",
        ",",
        "'",
        "\n",
    ]
)


def test_course_shortcuts_change_nothing(punkt, tmp_path):
    _write_punkt(tmp_path)
    punkt(tmp_path)
    sentences, words = tokenizer._course_tokenizers()

    @settings(deadline=None, max_examples=100)
    @given(st.lists(PIECES, max_size=12).map("".join))
    def check(text):
        assert tokenize(text, "course") == [
            token for sentence in sentences.tokenize(text) for token in words.tokenize(sentence)
        ]

    check()


def test_ids_count_up_from_two_in_order_of_first_appearance():
    built = Vocabulary.build(["b a", "a c b"])
    assert (OOV_ID, PAD_ID) == (0, 1)
    assert [built[word] for word in "bac"] == [2, 3, 4]
    assert built.words == ("b", "a", "c") and len(built) == 3 + 2
    assert built.tokenizer == "words" and repr(built) == "<Vocabulary of 5 ids, tokenizer 'words'>"


def test_lookups_never_grow():
    built = Vocabulary.build(["a"])
    assert built["new"] == OOV_ID and "new" not in built and 3 not in built
    assert built.encode("a new").tolist() == [2, 0]
    assert len(built) == 3 and built.words == ("a",)
    with pytest.raises(TypeError, match="word must be a string"):
        built[0]
    with pytest.raises(AttributeError):
        built.words = ("b",)


def test_buckets_tell_unknown_words_apart():
    built = Vocabulary(["a", "b"], buckets=4)
    # CRC-32 of "c" is 0x06b9df6f and of "d" 0x98dd4acc, so their buckets are 0xf % 4 = 3 and 0xc %
    # 4 = 0
    assert built.encode("a b c d c").tolist() == [2, 3, 4 + 3, 4 + 0, 4 + 3] and built["c"] == 7
    assert len(built) == 2 + 2 + 4 and "c" not in built and built.words == ("a", "b")
    assert built["half \ud800"] in range(4, 8)
    many = Vocabulary(["a"], buckets=50).encode(" ".join(f"new{i}" for i in range(2000)))
    assert set(many.tolist()) == set(range(3, 53))


@pytest.mark.parametrize("text", ["<PAD>", "<pad>", "a<PAD>a", "<PAD> <PAD>"])
def test_pad_in_text_never_becomes_padding(text):
    built = Vocabulary.build([text, "a"])
    assert PAD_ID not in built.encode(text) and PAD not in built and built[PAD] == OOV_ID
    with pytest.raises(ValueError, match="neither empty nor '<PAD>'"):
        Vocabulary(["a", PAD])


def test_min_count_and_max_size():
    questions = [
        "d c c",
        "b b a",
        "a a",
        "a a",
    ]  # d 1, c 2, b 2, a 5: the last question counts twice
    assert Vocabulary.build(questions).words == ("d", "c", "b", "a")
    assert Vocabulary.build(questions, min_count=2).words == ("c", "b", "a")
    assert Vocabulary.build(questions, min_count=3).words == ("a",)
    assert Vocabulary.build(questions, max_size=2).words == ("c", "a")  # c and b tie, c came first
    assert Vocabulary.build(questions, max_size=9) == Vocabulary.build(questions)


def words_by_a_plain_loop(questions, min_count, max_size):
    counts = {}
    for question in questions:
        for word in tokenize(question):
            counts[word] = counts.get(word, 0) + 1
    words = [word for word in counts if counts[word] >= min_count]
    kept = sorted(words, key=lambda word: (-counts[word], words.index(word)))[:max_size]
    return tuple(word for word in words if word in kept)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6).map(" ".join), max_size=9),
    st.integers(1, 4),
    st.none() | st.integers(1, 6),
    st.integers(0, 3),
)
def test_build_is_a_plain_loop_and_build_encoded_is_build_and_encode_all(
    questions, min_count, max_size, buckets
):
    wanted = {"min_count": min_count, "max_size": max_size, "buckets": buckets}
    built, ids = Vocabulary.build_encoded(questions, **wanted)
    assert built.words == words_by_a_plain_loop(questions, min_count, max_size)
    assert built == Vocabulary.build(questions, **wanted)
    assert [row.tolist() for row in ids] == [row.tolist() for row in built.encode_all(questions)]
    assert all(row.dtype == np.int32 and not row.flags.writeable for row in ids)


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT, max_size=8), st.lists(TEXT, max_size=8), st.integers(0, 3))
def test_encode_all_is_encode_one_by_one(known, asked, buckets):
    built = Vocabulary.build(known, buckets=buckets)
    encoded = built.encode_all(asked + known)
    assert len(encoded) == len(asked + known)
    for ids, question in zip(encoded, asked + known):
        assert ids.dtype == np.int32 and ids.tolist() == built.encode(question).tolist()
        assert ids.tolist() == [built[word] for word in tokenize(question)]
        assert not ids.flags.writeable
    assert all(OOV_ID not in ids for ids in built.encode_all(known))


def test_equality():
    assert Vocabulary(["a"]) == Vocabulary(["a"]) and hash(Vocabulary(["a"])) == hash(
        Vocabulary(["a"])
    )
    assert Vocabulary(["a", "b"]) != Vocabulary(["b", "a"])
    assert Vocabulary(["a"]) != Vocabulary(["a"], tokenizer="course")
    assert Vocabulary(["a"]) != Vocabulary(["a"], buckets=1)
    assert Vocabulary(["a"]) != ("a",)


@pytest.mark.parametrize(
    "words, error, phrase",
    [
        (["a", "a"], ValueError, "'a' comes twice"),
        ([""], ValueError, "neither empty nor"),
        (["a\nb"], ValueError, "line feed"),
        (["\ud800"], ValueError, "half of a surrogate pair"),
    ],
)
def test_words_must_be_distinct_lines(words, error, phrase):
    with pytest.raises(error, match=phrase):
        Vocabulary(words)


@settings(deadline=None, max_examples=40)
@given(
    words=WORDS, tokenizer=st.sampled_from(sorted(TOKENIZER_VERSIONS)), buckets=st.integers(0, 300)
)
def test_file_round_trip(tmp_path_factory, words, tokenizer, buckets):
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    saved = Vocabulary(words, tokenizer=tokenizer, buckets=buckets)
    saved.save(path)
    assert Vocabulary.load(path) == saved


def test_file_is_readable_text_and_keeps_characters_that_splitlines_cuts_at(tmp_path):
    path, saved = tmp_path / "vocabulary.txt", Vocabulary(["é", "a\u2028b", "c\x85", "d\r"])
    saved.save(path)
    assert path.read_bytes() == (
        b"# trax-triplet vocabulary 1 tokenizer=words/2 words=4 buckets=0\n"
        + "é\na\u2028b\nc\x85\nd\r\n".encode()
    )
    assert Vocabulary.load(str(path)) == saved
    assert os.listdir(tmp_path) == ["vocabulary.txt"]


def test_save_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.txt"
    Vocabulary(["old"]).save(path)

    def full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(vocabulary.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        Vocabulary(["new"]).save(path)
    assert Vocabulary.load(path).words == ("old",) and os.listdir(tmp_path) == ["vocabulary.txt"]


HEADER = "# trax-triplet vocabulary 1 tokenizer=words/1 words=2 buckets=0\n"


@pytest.mark.parametrize(
    "content, phrase",
    [
        ("", "not a vocabulary file; its first line must read"),
        ("a\nb\n", "not 'a'"),
        (
            HEADER.replace("vocabulary 1", "vocabulary 2") + "a\nb\n",
            "format 2, but this release reads format 1",
        ),
        (
            HEADER.replace("words/1", "words/7") + "a\nb\n",
            "tokenizer words/7, but this release has words/2, words/1",
        ),
        (
            HEADER.replace("words/1", "bpe/1") + "a\nb\n",
            "bpe/1, but this release has words/2, words/1, course/1",
        ),
        (HEADER + "a\n", "promises 2 words"),
        (HEADER + "a\nb", "truncated"),
        (HEADER + "a\nb\nc\n", "promises 2 words"),
        (HEADER + "a\na\n", "'a' comes twice"),
        (HEADER + "a\n\n", "neither empty nor"),
        (HEADER.replace("\n", "\r\n") + "a\nb\n", "not a vocabulary file"),
    ],
)
def test_wrong_files(tmp_path, content, phrase):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content.encode("utf-8"))
    with pytest.raises(ValueError, match=phrase) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_file_of_other_bytes_no_file_and_huge_file(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(HEADER.encode() + b"a\n\xff\n")
    with pytest.raises(ValueError, match=f"byte {len(HEADER) + 2} is not"):
        Vocabulary.load(path)
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "none.txt")
    os.truncate(path, 256 * 2**20 + 1)  # sparse: takes no room on the disk
    with pytest.raises(ValueError, match="holds at most 268,435,456"):
        Vocabulary.load(path)
    monkeypatch.setattr(vocabulary, "_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="build it with a larger min_count"):
        Vocabulary(["a"]).save(path)


def test_unknown_words_are_told_apart_by_ids_of_their_own():
    vocabulary = Vocabulary(["why", "not"], buckets=3)
    questions = ["Why this", "", "that, this?", "Why this"]
    rows, words = vocabulary.encode_apart(questions)
    assert words == ["this", "that", ",", "?"]
    first = len(vocabulary)
    assert [row.tolist() for row in rows] == [
        [2, first],
        [],
        [first + 1, first + 2, first, first + 3],
        [2, first],
    ]
    assert "this" not in vocabulary and len(vocabulary) == first
    for row, known in zip(rows, vocabulary.encode_all(questions)):
        np.testing.assert_array_equal(row[row < first], known[row < first])
    assert vocabulary.encode_apart([]) == ([], [])


def test_it_can_be_pickled_and_copied():
    vocabulary = Vocabulary(["how", "नाम"], tokenizer="words/1", buckets=3)
    for same in (pickle.loads(pickle.dumps(vocabulary)), copy.deepcopy(vocabulary)):
        assert same == vocabulary and same["zyx"] == vocabulary["zyx"] and same.buckets == 3
        assert len(same) == len(vocabulary)
