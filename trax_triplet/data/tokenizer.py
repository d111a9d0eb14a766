"""Questions cut into tokens, by one of two named rules."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from trax_triplet import _validation as check

__all__ = ["TOKENIZER_VERSIONS", "tokenize", "tokenizer_named"]

# A tokenizer whose tokens change gets a new version, so that old files are refused, not misread.
TOKENIZER_VERSIONS = {"words": 1, "course": 1}

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
      blank is a token of its own.
    * ``'course'``: ``nltk.word_tokenize`` as NLTK 3.5 and 3.6 had it, whatever NLTK is installed:
      sentences by punkt, then Treebank rules, case kept. Needs NLTK's English punkt parameters;
      never downloads them.

    Args:
        question: any text; blank text has no tokens.
        tokenizer: ``'words'`` or ``'course'``.

    Returns:
        The tokens in order. None is empty, holds a blank, or equals ``'<PAD>'``: both rules split
        off ``<``.

    Raises:
        TypeError: `question` or `tokenizer` is not a string.
        ValueError: `tokenizer` is not a known name.
        FileNotFoundError: ``'course'`` finds no punkt parameters.

    Example:
        >>> tokenize("Don’t panic: what's C++?")
        ["don't", 'panic', ':', "what's", 'c', '+', '+', '?']
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
    return _words if name == "words" else _course


def _words(question: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", question.lower()).replace("’", "'"))


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
