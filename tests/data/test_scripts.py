"""Text of all scripts: words stay whole, and old vocabularies keep being read by the old rule."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.tokenizer import (
    CHARACTERS,
    IGNORED,
    JOINERS,
    TOKENIZER_VERSIONS,
    tokenize,
)
from trax_triplet.data.vocabulary import Vocabulary


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("मेरा नाम क्या है?", "मेरा नाम क्या है ?"),  # Hindi: vowel signs
        ("தமிழ் மொழி", "தமிழ் மொழி"),  # Tamil
        ("বাংলা ভাষা।", "বাংলা ভাষা ।"),  # Bengali
        ("ภาษาไทย ๑๒๓", "ภ า ษ า ไ ท ย ๑๒๓"),  # Thai
        ("ที่นี่", "ที่ นี่"),
        ("ສະບາຍ", "ສ ະ บ າ ຍ".replace("บ", "ບ")),  # Lao
        ("İSTANBUL Iğdır", "istanbul iğdır"),  # Turkish
        ("كِتَابٌ؟", "كِتَابٌ ؟"),  # Arabic with marks
        ("שָׁלוֹם", "שָׁלוֹם"),  # Hebrew with points
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian with a joiner
        ("东京 a1中b2", "东 京 a1 中 b2"),  # Chinese
        ("日本語のカタカナ、ｶﾅ 第3章", "日 本 語 の カ タ カ ナ 、 ｶ ﾅ 第 3 章"),  # Japanese
        ("한국어 질문", "한국어 질문"),  # Korean has blanks
        ("👨\u200d👩\u200d👧👍🏽 ❤\ufe0f!", "👨\u200d👩\u200d👧 👍🏽 ❤\ufe0f !"),
        ("e\u0301te\u0301 q\u0307'q\u0307", "été q\u0307'q\u0307"),
        ("co\u00adoperate \u200fשלום\ufeff a\u200bb", "cooperate שלום a b"),
        ("x\u200d😀 !\u0301a \u0301b", "x\u200d 😀 !\u0301 a \u0301 b"),
    ],
)
def test_words_of_all_scripts(text, tokens):
    tokens = [unicodedata.normalize("NFC", token) for token in tokens.split(" ")]
    assert tokenize(text) == tokens


def test_the_old_rule_is_there_by_its_name():
    assert tokenize("नाम 东京 İ", "words/1") == ["न", "ा", "म", "东京", "i", "\u0307"]


@given(st.text(st.characters(max_codepoint=0x7F)))
@settings(deadline=None)
def test_ascii_is_cut_as_before(text):
    assert tokenize(text) == tokenize(text, "words/1")


def test_what_both_rules_cut_alike():
    text = "“Don’t” naïve – Ωμέγα Москва… 3½ £5 ‘x’"
    assert tokenize(text) == tokenize(text, "words/1")
    letters = [code for first, last in CHARACTERS for code in range(first, last + 1)]
    different = {*JOINERS, *IGNORED, *letters, *range(0xD800, 0xE000), 0x130, 0x200B}
    for code in set(range(0x20000)) - different:
        text = unicodedata.normalize("NFC", f"a{chr(code)}b")
        if not any(unicodedata.category(char)[0] == "M" for char in text):
            assert tokenize(text) == tokenize(text, "words/1"), hex(code)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_nothing_visible_is_lost(text):
    def visible(texts):
        # Blanks go first: between two marks they decide how Unicode orders and composes these.
        joined = re.sub("[\\s\u200b]", "", "".join(texts))
        joined = unicodedata.normalize("NFC", joined).replace("i\u0307", "i")
        return [char for char in joined if char not in {*map(chr, IGNORED)}]

    plain = "".join(char for char in text if ord(char) not in IGNORED).lower().replace("’", "'")
    assert visible(tokenize(text)) == visible([plain])


@pytest.mark.parametrize("name", TOKENIZER_VERSIONS)
def test_a_vocabulary_remembers_its_rule(tmp_path, name):
    vocabulary = Vocabulary(["नाम", "न"], tokenizer=name)
    vocabulary.save(tmp_path / "words.txt")
    header = (tmp_path / "words.txt").read_text(encoding="utf-8").splitlines()[0]
    expected = {"words": "words/2", "words/1": "words/1", "course": "course/1"}[name]
    assert f"tokenizer={expected} " in header
    assert Vocabulary.load(tmp_path / "words.txt") == vocabulary
    if name != "course":
        assert vocabulary.encode("नाम").tolist() == ([2] if name == "words" else [3, 0, 0])
