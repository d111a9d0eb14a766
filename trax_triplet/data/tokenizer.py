"""Questions cut into tokens, by one of the named rules."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from trax_triplet import _validation as check

__all__ = [
    "CHARACTERS",
    "IGNORED",
    "JOINERS",
    "TOKENIZER_VERSIONS",
    "is_blank",
    "is_character",
    "is_mark",
    "tokenize",
    "tokenizer_named",
    "tokenizer_of_version",
]

# A tokenizer whose tokens change gets a new version, and the old one a name of its own, by which
# old files are read as they were written.
TOKENIZER_VERSIONS = {"words": 2, "words/1": 1, "course": 1}

# What counts as a mark besides Unicode's: joiners, skin tones of emoji, tags of flags.
JOINERS = (0x200C, 0x200D, *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080))
ZERO_WIDTH_JOINER, ZERO_WIDTH_SPACE = 0x200D, 0x200B
# What is not seen and means nothing: soft hyphens, marks of direction, byte order marks.
IGNORED = (
    *(0xAD, 0x61C, 0x180E, 0x200E, 0x200F, 0xFEFF),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2065),
    *range(0x2066, 0x2070),
)
# Blocks of scripts that put no blanks between words: each of their letters is a token.
CHARACTERS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF)),
    *((0xA9E0, 0xA9FF), (0xAA60, 0xAADF)),  # Thai, Lao, Burmese, Khmer, Tai
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x303B, 0x303C)),
    *((0x3041, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
    *((0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x16FE0, 0x18DFF), (0x1AFF0, 0x1B2FF)),
    (0x20000, 0x3FFFF),  # Chinese, Japanese
)

_LETTERS = re.compile(r"[^\W\d_]+")  # and numerals that are not decimal digits
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|\S")
_SENTENCE_END = re.compile(r"[.?!]")
# Text in which the course's rules split off nothing but ? and !, unless it holds a contraction.
_PLAIN = re.compile(r"[A-Za-z0-9_ ?!/]*(?:-[A-Za-z0-9_ ?!/]+)*")
_CONTRACTION = re.compile("cannot|gimme|gonna|gotta|lemme|wanna")


def tokenize(question: str, tokenizer: str = "words") -> list[str]:
    """Cuts a question into tokens.

    * ``'words'`` (the default of new models, needs no outside data): the text in lower case and in
      Unicode's composed form (NFC), cut into runs of letters and digits; an apostrophe inside a
      word stays there, a curly one (U+2019) counts as straight; every other character that is not
      blank is a token of its own. Marks, such as the vowel signs of Hindi, and joiners belong to
      what stands before them, and emoji that are joined are one token. Of scripts without blanks
      between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) each letter is a token, with its
      marks. Soft hyphens, marks of direction and the dot of a lower-case İ are left out.
    * ``'words/1'``: ``'words'`` as version 0.1 had it, in which old models keep being read: marks
      and joiners are tokens of their own, and cut a word, and Chinese is not cut.
    * ``'course'``: ``nltk.word_tokenize`` as NLTK 3.5 and 3.6 had it, whatever NLTK is installed:
      sentences by punkt, then Treebank rules, case kept. Needs NLTK's English punkt parameters;
      never downloads them.

    Args:
        question: any text; blank text has no tokens.
        tokenizer: ``'words'``, ``'words/1'`` or ``'course'``.

    Returns:
        The tokens in order. None is empty, holds a blank, or equals ``'<PAD>'``: all rules split
        off ``<``.

    Raises:
        TypeError: `question` or `tokenizer` is not a string.
        ValueError: `tokenizer` is not a known name.
        FileNotFoundError: ``'course'`` finds no punkt parameters.

    Example:
        >>> tokenize("Don’t panic: what's C++?")
        ["don't", 'panic', ':', "what's", 'c', '+', '+', '?']
        >>> tokenize("हिन्दी 東京")
        ['हिन्दी', '東', '京']
    """
    if not isinstance(question, str):
        raise check.wrong_type("question", "a string", question)
    return tokenizer_named(tokenizer)(question)


def tokenizer_named(name: str) -> Callable[[str], list[str]]:
    """The function, text to tokens, of this name.

    Raises:
        TypeError: the name is not a string.
        ValueError: there is no tokenizer of this name.

    Example:
        >>> tokenizer_named("words")("How old?")
        ['how', 'old', '?']
    """
    check.one_of("tokenizer", name, TOKENIZER_VERSIONS)
    return {"words": _words, "words/1": _words_1, "course": _course}[name]


def tokenizer_of_version(name: str, version: int) -> str | None:
    """The tokenizer that an older release called so, by its name now; None if there is none.

    Example:
        >>> tokenizer_of_version("words", 1), tokenizer_of_version("words", 2)
        ('words/1', 'words')
    """
    for known in (name, f"{name}/{version}"):
        if TOKENIZER_VERSIONS.get(known) == version:
            return known
    return None


def _words_1(question: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", question.lower()).replace("’", "'"))


def _words(question: str) -> list[str]:
    if question.isascii():
        return _WORD.findall(question.lower())
    if _SIMPLE.fullmatch(question):
        return _words_1(question)
    question = question.translate(_LEFT_OUT).lower()
    question = unicodedata.normalize("NFC", question).replace("i\u0307", "i").replace("’", "'")
    return _any_word().findall(question)


_LEFT_OUT = {**dict.fromkeys(IGNORED), ZERO_WIDTH_SPACE: " "}
# Text that both versions of the rule cut alike: Latin, Greek, Cyrillic, dashes and curly quotes.
_SIMPLE = re.compile(
    "[\0-\u00ac\u00ae-\u012f\u0131-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027]*"
)


@functools.cache
def _any_word() -> re.Pattern[str]:
    """What `_words` finds in other text: built in a twentieth of a second, when it first comes."""
    codes = (*range(0x300, 0x20000), *range(0xE0000, 0xE1000))
    mark = _class((code, code) for code in codes if is_mark(code))
    character = _class(
        (first + run.start(), first + run.end() - 1)
        for first, last in CHARACTERS
        for run in _LETTERS.finditer("".join(map(chr, range(first, last + 1))))
    )
    letter = f"(?:(?!{character})[^\\W_])"
    other = f"(?:(?!{mark})[^\\w\\s]|_)"
    return re.compile(
        f"{letter}(?:{letter}|{mark})*(?:'{mark}*{letter}(?:{letter}|{mark})*)*"
        f"|{other}{mark}*(?:(?<=\u200d){other}{mark}*)*|{character}{mark}*|{mark}+"
    )


def _class(runs: Iterable[tuple[int, int]]) -> str:
    """A pattern for a code point of these runs; in two parts, as `re` is fast to U+FFFF only."""
    ranges: list[tuple[int, int]] = []
    for first, last in runs:
        if ranges and ranges[-1][1] == first - 1 and first != 0x10000:
            first, _ = ranges.pop()
        ranges.append((first, last))
    parts = [
        "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges if (first > 0xFFFF) == wide)
        for wide in (False, True)
    ]
    return f"(?:[{parts[0]}]|[{parts[1]}])"


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: blanks, and characters without a width, such as U+200B.

    Example:
        >>> [is_blank(text) for text in ("", " \\n", "\\u200b\\u00ad", "\\u3164\\ufe0f", "?")]
        [True, True, True, True, False]
    """
    return all(c.isspace() or unicodedata.category(c) == "Cf" or c in _SHOWS_NOTHING for c in text)


# Hangul fillers, Braille without dots, and what only changes the character before it.
_SHOWS_NOTHING = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\ufe0e\ufe0f")


def is_mark(code: int) -> bool:
    """Whether a code point belongs to what stands before it.

    Example:
        >>> [is_mark(ord(character)) for character in "é\u0301\u200d"]
        [False, True, True]
    """
    return unicodedata.category(chr(code))[0] == "M" or code in _JOINERS


_JOINERS = frozenset(JOINERS)


def is_character(code: int) -> bool:
    """Whether a code point is a letter of a script without blanks, so a token.

    Example:
        >>> [is_character(ord(character)) for character in "東กa๑"]
        [True, True, False, False]
    """
    in_block = any(first <= code <= last for first, last in CHARACTERS)
    return in_block and _LETTERS.fullmatch(chr(code)) is not None


def _course(question: str) -> list[str]:
    sentences, words = _course_tokenizers()
    # Four questions of five need none of the 30 rules.
    if _PLAIN.fullmatch(question) and not _CONTRACTION.search(question.lower()):
        return question.replace("?", " ? ").replace("!", " ! ").split()
    # punkt is slow, and only ever splits after one of . ? ! that has text after it.
    body = question.rstrip()
    if _SENTENCE_END.search(body, 0, len(body) - 1):
        return [
            token for sentence in sentences.tokenize(question) for token in words.tokenize(sentence)
        ]
    return words.tokenize(body)


@functools.lru_cache(maxsize=1)
def _course_tokenizers() -> tuple[Any, Any]:
    """The English sentence splitter and the word tokenizer of NLTK 3.5-3.6, built in 0.1 s."""
    from nltk.tokenize.punkt import PunktLanguageVars, PunktSentenceTokenizer, PunktTokenizer

    current = PunktLanguageVars()

    class CourseLanguageVars(PunktLanguageVars):
        # No sentence ends between a full stop and a curly quote; NLTK 3.10: it does.
        re_boundary_realignment = re.compile(
            _no_curly_quotes(current.re_boundary_realignment.pattern), re.M
        )
        # NLTK made a property of what was a string.
        _re_non_word_chars = _no_curly_quotes(  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
            current._re_non_word_chars
        )

    try:
        parameters = PunktTokenizer("english")._params
    except LookupError:
        raise FileNotFoundError(
            "the tokenizer 'course' needs NLTK's punkt parameters, which are not installed: type "
            "`python -m nltk.downloader punkt_tab` once, or let NLTK_DATA name a folder with them"
        ) from None
    return PunktSentenceTokenizer(
        parameters, lang_vars=CourseLanguageVars()
    ), _course_word_tokenizer()


def _no_curly_quotes(pattern: str) -> str:
    for quote in "‘’“”«»":
        pattern = pattern.replace(quote.encode("unicode_escape").decode(), "").replace(quote, "")
    return pattern


def _course_word_tokenizer() -> Any:
    """NLTK's word tokenizer with the rules that changed in NLTK 3.7 and later put back."""
    from nltk.tokenize.destructive import NLTKWordTokenizer as Current

    class CourseWordTokenizer(Current):
        # An opening quote is split off only before a word of one letter that is not a clitic; 3.7:
        # before most words.
        STARTING_QUOTES: ClassVar = [
            rule for rule in _with_re(Current.STARTING_QUOTES) if not rule[0].match("'word")
        ]
        STARTING_QUOTES.append((re.compile(r"(?i)'(?!re|ve|ll|[mtsdn])(\w)\b"), r"' \1"))
        # Dashes U+2012 to U+2015 stay inside their word.
        PUNCTUATION: ClassVar = [
            rule for rule in _with_re(Current.PUNCTUATION) if not rule[0].fullmatch("\u2014")
        ]
        # Runs of blanks stay as they are; two quotes are split off only from text before them.
        ENDING_QUOTES: ClassVar = [
            rule
            for rule in _with_re(Current.ENDING_QUOTES)
            if not (rule[0].match(" ") or rule[0].match("''"))
        ]
        ENDING_QUOTES.insert(2, (re.compile(r"(\S)''"), r"\1 '' "))
        PARENS_BRACKETS, DOUBLE_DASHES = _with_re([Current.PARENS_BRACKETS, Current.DOUBLE_DASHES])

    return CourseWordTokenizer()


def _with_re(rules: Iterable[tuple[Any, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Rules compiled by `re`, as in the old NLTK: NLTK 3.10's `regex` takes thrice as long."""
    # Python 3.10 has no possessive *+, which changes no match here.
    star = "]*+" if sys.version_info >= (3, 11) else "]*"
    return [
        (re.compile(rule.pattern.replace("]*+", star), rule.flags & re.IGNORECASE), replacement)
        for rule, replacement in rules
    ]
