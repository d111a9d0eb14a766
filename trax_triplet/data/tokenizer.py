"""Questions cut into tokens, by one of two named rules."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable

# A tokenizer whose tokens change gets a new version, so that files of the old one are refused, not
# misread.
TOKENIZER_VERSIONS = {"words": 1, "course": 1}

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|\S")
_SENTENCE_END = re.compile(r"[.?!]")
# Text in which the course's rules split off nothing but ? and !, unless it holds a contraction.
_PLAIN = re.compile(r"[A-Za-z0-9_ ?!/]*(?:-[A-Za-z0-9_ ?!/]+)*")
_CONTRACTION = re.compile("cannot|gimme|gonna|gotta|lemme|wanna")


def tokenize(question: str, tokenizer: str = "words") -> list[str]:
    """Cut a question into tokens.

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
        TypeError: `question` is no str.
        ValueError: `tokenizer` is no known name.
        FileNotFoundError: ``'course'`` finds no punkt parameters.

    Example:
        >>> tokenize("Don’t panic: what's C++?")
        ["don't", 'panic', ':', "what's", 'c', '+', '+', '?']
    """
    if not isinstance(question, str):
        raise TypeError(
            f"a question must be a str, got {type(question).__name__}: {question!r:.60}"
        )
    return tokenizer_named(tokenizer)(question)


def tokenizer_named(name: str):
    """The function, text to tokens, of this name; ValueError for a name that is not known."""
    if not isinstance(name, str) or name not in TOKENIZER_VERSIONS:
        raise ValueError(
            f"unknown tokenizer {name!r}; choose one of {str([*TOKENIZER_VERSIONS])[1:-1]}"
        )
    return {"words": _words, "course": _course}[name]


def _words(question: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", question.lower()).replace("’", "'"))


def _course(question: str) -> list[str]:
    sentences, words = _course_tokenizers()
    if _PLAIN.fullmatch(question) and not _CONTRACTION.search(
        question.lower()
    ):  # four of five: 30 rules saved
        return question.replace("?", " ? ").replace("!", " ! ").split()
    body = (
        question.rstrip()
    )  # punkt is slow, and only ever splits behind one of . ? ! with text after it
    if _SENTENCE_END.search(body, 0, len(body) - 1):
        return [
            token for sentence in sentences.tokenize(question) for token in words.tokenize(sentence)
        ]
    return words.tokenize(body)


@functools.lru_cache(maxsize=1)
def _course_tokenizers():
    """The English sentence splitter and the word tokenizer of NLTK 3.5-3.6 (built once, about 0.1
    s)."""
    from nltk.tokenize.punkt import PunktLanguageVars, PunktSentenceTokenizer, PunktTokenizer

    current = PunktLanguageVars()

    class CourseLanguageVars(PunktLanguageVars):
        # No sentence ends between a full stop and a curly quote; NLTK 3.10: it does.
        re_boundary_realignment = re.compile(
            _no_curly_quotes(current.re_boundary_realignment.pattern), re.M
        )
        _re_non_word_chars = _no_curly_quotes(current._re_non_word_chars)

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


def _course_word_tokenizer():
    """NLTK's word tokenizer with the rules that changed in NLTK 3.7 and later put back."""
    from nltk.tokenize.destructive import NLTKWordTokenizer as Current

    class CourseWordTokenizer(Current):
        # Split off an opening quote only before a word of one letter that is no clitic; 3.7: before
        # most.
        STARTING_QUOTES = [
            rule for rule in _with_re(Current.STARTING_QUOTES) if not rule[0].match("'word")
        ]
        STARTING_QUOTES.append((re.compile(r"(?i)'(?!re|ve|ll|[mtsdn])(\w)\b"), r"' \1"))
        # Dashes U+2012 to U+2015 stay inside their word.
        PUNCTUATION = [
            rule for rule in _with_re(Current.PUNCTUATION) if not rule[0].fullmatch("\u2014")
        ]
        # Runs of blanks are left as they are, and two quotes are split off only from text before
        # them.
        ENDING_QUOTES = [
            rule
            for rule in _with_re(Current.ENDING_QUOTES)
            if not (rule[0].match(" ") or rule[0].match("''"))
        ]
        ENDING_QUOTES.insert(2, (re.compile(r"(\S)''"), r"\1 '' "))
        PARENS_BRACKETS, DOUBLE_DASHES = _with_re([Current.PARENS_BRACKETS, Current.DOUBLE_DASHES])

    return CourseWordTokenizer()


def _with_re(rules: Iterable[tuple]) -> list[tuple]:
    """Rules compiled by `re`, as in the old NLTK: NLTK 3.10's `regex` takes thrice as long."""
    # Python 3.10 has no possessive *+, which changes no match here.
    star = "]*+" if sys.version_info >= (3, 11) else "]*"
    return [
        (re.compile(rule.pattern.replace("]*+", star), rule.flags & re.IGNORECASE), replacement)
        for rule, replacement in rules
    ]
