"""The Keras layer that cuts text: its ids against `Vocabulary.encode`, saved models, refusals."""

import unicodedata
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.tokenizer import tokenize
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.keras.text import QuestionIds, crc32, split_words

pytestmark = pytest.mark.integration  # loads and compiles Keras

HARD = [
    "",
    " \n\t",
    "How OLD are you?",
    "don’t don't 'tis dogs' a''b a'b'c 'a' ’’ x'1'y",
    "snake_case 3.5% C++ x²",
    "a\u2028b\x85c\x1cd\u00a0e",
    "e\u0301t\u00e9 E\u0301T\u00c9 \u1e69 s\u0307\u0323",
    "a\u0315\u0300\u05ae\u0300b",
    "ΟΔΟΣ ΟΔΌΣ. Σ ΣΣ aΣ'b aΣ\u0345 aΣ\u0345b 1Σ",
    "İSTANBUL ıI K Å Ω",
    "각 \u1100\u1161\u11a8 \u1100\u1161 \u11a8 가\u11a8",
    "\u0301a \u0301\u0301",
    "東京 हिन्दी ไทย 🙂👍🏽 \u0958 \u2126",
    "👨\u200d👩\u200d👧❤\ufe0f! x\u200d😀",
    "😀\u200dx a'\u0301b !\u0301a \u0301b می\u200cخواهم 😀\u200d'a",
    "co\u00adop\u200fe\ufeff\u0301 a\u200bb İ i\u0307\u0307 ๑๒ที่นี่ '東'b 東\u200d京 a\u200d\u200db",
    "\x00 \ufffe\ufeffa",
    "<PAD>",
    "x" * 300,
]
LETTERS = [
    *"aeosΣσςİIßé1'’'''' \t_.-\u00b7\u00ad",
    *"\u0301\u0307\u0323\u0345\u0315\u1100\u1161\u11a8각가\u09c7\u09be",
    *"\u200d\u200c\u200b\u200f😀🏽東ที่๑i",
]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text(LETTERS, max_size=20)
)
VOCABULARIES = [
    Vocabulary.build(HARD[2:9] + ["a b 1 ' _ Σ ς é"], buckets=buckets) for buckets in (0, 7)
]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def words_of(texts):
    return split_words(texts)


def texts_tensor(texts):
    return tf.constant([text.encode() for text in texts], tf.string)


def expected_ids(vocabulary, questions):
    """By Python: `encode`, 0 and 1 exchanged, padded with 0."""
    rows = [
        [{0: 1, 1: 0}.get(number, number) for number in vocabulary.encode(text).tolist()]
        for text in questions
    ]
    width = max([1, *map(len, rows)])
    return [row + [0] * (width - len(row)) for row in rows]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def old_words_of(texts):
    return split_words(texts, "words/1")


def assert_words_are_pythons(texts):
    for cut, tokenizer in ((words_of, "words"), (old_words_of, "words/1")):
        found = [[word.decode() for word in row] for row in cut(texts_tensor(texts)).to_list()]
        assert found == [tokenize(text, tokenizer) for text in texts]


@pytest.fixture(scope="module", params=VOCABULARIES, ids=["unknown words in one", "buckets"])
def layer(request):
    return QuestionIds.from_vocabulary(request.param)


@pytest.mark.parametrize("text", HARD)
def test_hard_cases_are_cut_as_python_cuts_them(text):
    assert_words_are_pythons([text])


def test_a_layer_of_version_0_1_keeps_its_rule():
    new = QuestionIds(["न", "नाम"])
    assert new(tf.constant(["नाम"])).numpy().tolist() == [[3]]
    config = new.get_config()
    assert config.pop("tokenizer") == "words"
    old = QuestionIds.from_config(config)
    assert old(tf.constant(["नाम"])).numpy().tolist() == [[2, 1, 1]]
    assert old.vocabulary().tokenizer == old.get_config()["tokenizer"] == "words/1"
    again = QuestionIds.from_vocabulary(old.vocabulary())
    assert again.vocabulary() == old.vocabulary()


def test_every_code_point_is_cut_as_python_cuts_it():
    # Of the planes that hold no characters, and of private use, every 256th.
    codes = [
        *range(0xD800),
        *range(0xE000, 0x40000),
        *range(0x40000, 0x110000, 256),
        *range(0xE0000, 0xE1000),
    ]
    every = [chr(code) for code in codes]
    apart = [unicodedata.normalize("NFD", char) for char in every]
    assert_words_are_pythons(
        ["".join(every[start : start + 512]) for start in range(0, len(every), 512)]
    )
    assert_words_are_pythons([text for text, char in zip(apart, every) if text != char])
    assert_words_are_pythons([f"A{char}Σ AΣ{char}a" for char in every[:0x3000]])


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_any_text_is_cut_as_python_cuts_it(texts):
    assert_words_are_pythons(texts)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=4))
@settings(deadline=None)
def test_invalid_utf8_is_replaced_as_python_replaces_it(data):
    found = words_of(tf.constant(data, tf.string)).to_list()
    assert [[word.decode() for word in row] for row in found] == [
        tokenize(d.decode("utf-8", "replace")) for d in data
    ]


def test_a_text_does_not_depend_on_its_neighbours():
    # The ends of one text meet the beginnings of the next: letter and mark, Σ and letter, letter
    # and apostrophe.
    assert_words_are_pythons(
        [
            "e",
            "\u0301",
            "aΣ",
            "a",
            "b'",
            "c",
            "\u1100",
            "\u1161",
            "",
            "\u11a8",
            "d",
            "\u0301e",
            "\u0301",
        ]
    )


def test_crc32_is_zlibs():
    words = ["", "a", "é" * 30, "x" * 1000, "\x00"]
    assert crc32(texts_tensor(words)).numpy().tolist() == [
        zlib.crc32(word.encode()) for word in words
    ]
    assert crc32(tf.constant([], tf.string)).shape == (0,)


def test_ids_by_hand():
    questions = ["How old is he?", "", "How?"]
    assert QuestionIds(["how", "old", "?"])(questions).numpy().tolist() == [
        [2, 3, 1, 1, 4],
        [0] * 5,
        [2, 4, 0, 0, 0],
    ]
    # Three words have the ids 2, 3, 4; the CRC-32 of "123456789" is the published 0xCBF43926.
    found = QuestionIds(["how", "old", "?"], buckets=10)(["123456789 how"]).numpy().tolist()
    assert found == [[5 + 0xCBF43926 % 10, 2]]


def test_ids_are_those_of_the_vocabulary(layer):
    found = layer(texts_tensor(HARD))
    assert (found.dtype, found.numpy().tolist()) == (
        tf.int64,
        expected_ids(layer.vocabulary(), HARD),
    )
    assert layer(texts_tensor(HARD)[:, None]).numpy().tolist() == found.numpy().tolist()


@pytest.mark.parametrize("questions", [[""], [" ", "\n"], []])
def test_blank_questions_are_a_column_of_padding(layer, questions):
    assert layer(tf.constant(questions, tf.string)).numpy().tolist() == [[0]] * len(questions)


def test_a_vocabulary_without_words_and_one_with_odd_words():
    assert QuestionIds([])(["a b"]).numpy().tolist() == [[1, 1]]
    assert QuestionIds(["\x00", "\x00a"])(tf.constant([b"\x00 a"])).numpy().tolist() == [[2, 1]]


@pytest.mark.slow
def test_works_in_a_dataset():
    layer = QuestionIds.from_vocabulary(VOCABULARIES[1])
    data = tf.data.Dataset.from_tensor_slices(texts_tensor(HARD)).batch(len(HARD)).map(layer)
    assert data.element_spec == tf.TensorSpec((None, None), tf.int64)
    assert [ids.numpy().tolist() for ids in data] == [expected_ids(layer.vocabulary(), HARD)]


def with_vectors(questions, layer):
    """From questions to the mean of their words' vectors, each of which has one entry: the id."""
    table = np.arange(len(layer.vocabulary()), dtype="float32")[:, None]
    by_id = keras.initializers.Constant(table.tolist())
    return [
        questions,
        layer,
        keras.layers.Embedding(len(table), 1, embeddings_initializer=by_id),
        keras.layers.GlobalAveragePooling1D(),
    ]


@pytest.mark.slow
def test_a_saved_model_answers_alike(tmp_path):
    layer = QuestionIds.from_vocabulary(VOCABULARIES[0])
    model = keras.Sequential(with_vectors(keras.Input((), dtype="string"), layer))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = np.mean(expected_ids(layer.vocabulary(), HARD), axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict(texts_tensor(HARD), verbose=0), expected, rtol=1e-5)
    assert loaded.layers[0].vocabulary() == layer.vocabulary()


@pytest.mark.slow
def test_an_exported_model_answers_alike(tmp_path):
    layer = QuestionIds.from_vocabulary(VOCABULARIES[1])
    questions, *layers = with_vectors(keras.Input((1,), dtype="string"), layer)
    answer = questions
    for each in layers:
        answer = each(answer)
    keras.Model(questions, answer).export(tmp_path, verbose=False)
    loaded = tf.saved_model.load(tmp_path)
    expected = np.mean(expected_ids(layer.vocabulary(), HARD), axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.serve(texts_tensor(HARD)[:, None]), expected, rtol=1e-5)


def test_config_round_trip():
    layer = QuestionIds(["how", "é"], buckets=3, settings={"threshold": 0.5}, name="ids")
    config = layer.get_config()
    assert QuestionIds.from_config(config).settings == {"threshold": 0.5}
    assert (config["words"], config["buckets"], config["name"]) == (["how", "é"], 3, "ids")
    assert QuestionIds.from_config(config).vocabulary() == Vocabulary(["how", "é"], buckets=3)


@pytest.mark.parametrize(
    "error, message, words, buckets",
    [
        (TypeError, "words", "how", 0),
        (TypeError, "words", 3, 0),
        (TypeError, "word", ["how", 3], 0),
        (ValueError, "'how'", ["how", "old", "how"], 0),
        (ValueError, "empty", ["how", ""], 0),
        (ValueError, "buckets", ["how"], -1),
        (TypeError, "buckets", ["how"], 1.5),
    ],
)
def test_words_that_a_vocabulary_refuses(error, message, words, buckets):
    with pytest.raises(error, match=message):
        QuestionIds(words, buckets)


def test_what_is_not_a_vocabulary_or_not_a_setting():
    with pytest.raises(
        ValueError,
        match="'course' cannot run in a Keras model.*give the model ids.*tokenizer='words'",
    ):
        QuestionIds.from_vocabulary(Vocabulary(["How"], tokenizer="course"))
    with pytest.raises(TypeError, match="vocabulary must be a trax_triplet.Vocabulary.*a list"):
        QuestionIds.from_vocabulary(["how"])
    with pytest.raises(TypeError, match="settings must be a dict"):
        QuestionIds(["how"], settings=0.7)


@pytest.mark.parametrize(
    "error, message, questions",
    [
        (TypeError, "int32.*a model that takes ids", [2, 3]),
        (TypeError, "float32", np.zeros((2, 1), "float32")),
        (ValueError, "put a single question into a list", "How?"),
        (ValueError, r"\(1, 2\)", [["How?", "Why?"]]),
    ],
)
def test_what_are_not_questions(error, message, questions):
    symbol = keras.Input(batch_shape=np.shape(questions), dtype=tf.constant(questions).dtype.name)
    for batch in (tf.constant(questions), symbol):
        with pytest.raises(error, match=f"questions must be strings.*{message}"):
            QuestionIds(["how"])(batch)
