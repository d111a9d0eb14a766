"""How messages put things: counts with their nouns, and arguments as options of a command."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["counted", "in_options"]


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Args:
        n: how many.
        noun: the word for one.
        plural: the word for others, where it is not the noun with an s.

    Example:
        >>> counted(1, "pair"), counted(0, "pair"), counted(2, "query", "queries")
        ('1 pair', '0 pairs', '2 queries')
    """
    return f"{n} {noun if n == 1 else plural or f'{noun}s'}"


def in_options(text: str, options: Mapping[str, str]) -> str:
    """A message about arguments of functions, as the user of a command line knows them.

    Args:
        text: the message.
        options: argument -> option. An argument without an underscore is an English word, too: it
            is one before `=`, and where the message begins with it. What a clause says of `=None`
            is left out: an option is not given instead.

    Example:
        >>> options = {"quoting": "--quoting", "positive": "--positive", "top_k": "--top-k"}
        >>> in_options("top_k must be an integer; see quoting='none'", options)
        '--top-k must be an integer; see --quoting none'
        >>> in_options("positive and top_k exclude each other: give one of them", options)
        '--positive and --top-k exclude each other: give one of them'
    """
    if not options:
        return text
    one = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    text = re.sub(rf";[^;]*(?<![\w-])(?:{one})=None\b[^;]*", "", text)
    text = re.sub(
        rf"^({one}) and ({one})(?= )", lambda m: f"{options[m[1]]} and {options[m[2]]}", text
    )
    text = re.sub(
        rf"(?<![\w-])({one})=(?:True\b|'([^']*)'|([\w.+-]*[\w]))?",
        lambda m: " ".join(filter(None, (options[m[1]], m[2], m[3]))),
        text,
    )
    text = re.sub(rf"^({one})(?=(?:\[[^]]*\])* must )", lambda m: options[m[1]], text)
    long = "|".join(map(re.escape, (name for name in options if "_" in name)))
    return re.sub(rf"(?<![\w-])({long})(?!\w)", lambda m: options[m[1]], text) if long else text
