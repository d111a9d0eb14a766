"""Generated question pairs in Quora's format, for the demo, the notebooks and the tests.

A question is one sentence form of an *intent* (how long to learn ...) filled with *objects* (the
piano). Two questions are duplicates exactly when intent and objects are the same, so labels hold by
construction. The words stand in `sample_words.json`. Knows NumPy and the standard library only.
"""

from __future__ import annotations

import bisect
import csv
import functools
import itertools
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._files import new_file

__all__ = ["SamplePair", "generate", "n_questions", "write_csv"]

_Choice = TypeVar("_Choice")

# Of the draws; a little over half, because hard draws repeat sooner than easy ones.
_HARD_SHARE = 0.55
_SAME_FORM_SHARE = 0.8  # of the hard pairs that change objects; the others change the form as well
_NEAREST_FORMS = 3  # forms of another intent among which a hard pair with the same object chooses


class SamplePair(NamedTuple):
    """One row of Quora's table: its number, the two questions with theirs, the label (0 or 1)."""

    id: int
    qid1: int
    qid2: int
    question1: str
    question2: str
    is_duplicate: int


class _Intent(NamedTuple):
    """One thing to ask: its topic, the sentence forms, for each slot the objects' names."""

    family: str
    forms: list[str]
    slots: list[list[list[str]]]
    roles: bool  # two slots with one list of objects: swapping them gives another question


class _Meaning(NamedTuple):
    """An intent with its objects.

    Its questions are `_Bank.questions[first:first + size]`, form by form.
    """

    intent: int
    objects: tuple[int, ...]
    first: int
    size: int
    names: int  # questions for each form: one for each choice of names of the objects


class _Bank(NamedTuple):
    """All questions that can be made, with what they mean."""

    intents: list[_Intent]
    meanings: list[_Meaning]
    number: dict[tuple[int, tuple[int, ...]], int]  # (intent, objects) -> place in `meanings`
    questions: list[str]
    # (intent, form) -> similar ones of other intents
    nearest: dict[tuple[int, int], list[tuple[int, int]]]


def _read_words() -> dict[str, Any]:
    """The words by topic: "slots" and "intents".

    `slots[letter]` lists the objects that fill {a} or {b}, with `|` between names of one object.
    `intents[name]` lists sentence forms that all ask the same thing; `[x|y]` stands for either x or
    y. Two slots with one list are roles that can be swapped.
    """
    return json.loads(Path(__file__).with_name("sample_words.json").read_text("utf-8"))


def _expand(line: str) -> list[str]:
    """All sentences that a line with [x|y] choices stands for."""
    parts = [part.split("|") for part in re.split(r"[\[\]]", line)]
    return ["".join(choice) for choice in itertools.product(*parts)]


def _read_intents() -> list[_Intent]:
    intents = []
    for family, words in _read_words().items():
        objects = [[item.split("|") for item in items] for items in words["slots"].values()]
        roles = len(objects) == 2 and objects[0] == objects[1]
        for lines in words["intents"].values():
            forms = [form for line in lines for form in _expand(line)]
            intents.append(_Intent(family, forms, objects, roles))
    return intents


def _nearest_forms(intents: list[_Intent]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """For each form the forms of the topic's other intents that share most words with it."""
    words = [[set(form.lower().strip("?").split()) for form in intent.forms] for intent in intents]
    nearest = {}
    for i, intent in enumerate(intents):
        others = [
            (j, k)
            for j, other in enumerate(intents)
            if j != i and other.family == intent.family
            for k in range(len(other.forms))
        ]
        for form, mine in enumerate(words[i]):
            overlap = {(j, k): len(mine & words[j][k]) / len(mine | words[j][k]) for j, k in others}
            nearest[i, form] = sorted(others, key=overlap.__getitem__, reverse=True)[
                :_NEAREST_FORMS
            ]
    return nearest


@functools.lru_cache(maxsize=1)
def _bank() -> _Bank:
    intents, meanings, questions = _read_intents(), [], []
    for i, intent in enumerate(intents):
        for objects in itertools.product(*(range(len(slot)) for slot in intent.slots)):
            if intent.roles and objects[0] == objects[1]:
                continue
            names = list(
                itertools.product(*(slot[o] for slot, o in zip(intent.slots, objects, strict=True)))
            )
            first = len(questions)
            for form in intent.forms:
                for chosen in names:
                    text = form.format(**dict(zip("ab", chosen, strict=False)))
                    questions.append(text[0].upper() + text[1:])
            meanings.append(_Meaning(i, objects, first, len(questions) - first, len(names)))
    number = {(meaning.intent, meaning.objects): m for m, meaning in enumerate(meanings)}
    return _Bank(intents, meanings, number, questions, _nearest_forms(intents))


def n_questions() -> int:
    """Number of distinct questions that the generator can make.

    Returns:
        The count, as an int.

    Example:
        >>> n_questions() >= 20_000
        True
    """
    return len(_bank().questions)


def _duplicates(bank: _Bank, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` different pairs of one meaning, spread over the meanings as evenly as possible."""
    available = np.array([math.comb(meaning.size, 2) for meaning in bank.meanings])
    most = int(available.max())
    rounds = bisect.bisect_left(range(most), count, key=lambda r: np.minimum(available, r).sum())
    take = np.minimum(available, max(rounds - 1, 0))
    more = np.flatnonzero(available > take)
    take[rng.choice(more, count - int(take.sum()), replace=False)] += 1
    pairs = []
    for meaning, wanted in zip(bank.meanings, take.tolist(), strict=True):
        if wanted:
            left, right = _pairs_within(meaning.size)
            chosen = rng.choice(len(left), wanted, replace=False)
            pairs += zip(
                (meaning.first + left[chosen]).tolist(),
                (meaning.first + right[chosen]).tolist(),
                strict=True,
            )
    return pairs


@functools.cache
def _pairs_within(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(size, 1)


def _pick(choices: Sequence[_Choice], u: float) -> _Choice:
    """The element of `choices` at the fraction 0 <= u < 1 of its length."""
    return choices[int(u * len(choices))]


def _partner(bank: _Bank, meaning: _Meaning, form: int, draw: Sequence[float]) -> int | None:
    """Place of a question with another meaning; None where `draw` asks for one that is not there.

    `draw` holds six numbers, uniform in [0, 1), that choose: easy or hard, kind, slot, object,
    form, name.
    """
    hard, kind, slot, item, same_form, name = draw
    if hard >= _HARD_SHARE:
        other = _pick(bank.meanings, item)
        return other.first + int(name * other.size) if other is not meaning else None
    intent = bank.intents[meaning.intent]
    alike = bank.nearest[meaning.intent, form]
    kind = _pick(["object"] + ["intent"] * bool(alike) + ["swap"] * intent.roles, kind)
    target, objects = meaning.intent, list(meaning.objects)
    if kind == "intent":
        target, form = _pick(alike, item)
    elif kind == "swap":
        objects.reverse()
    else:
        place = int(slot * len(objects))
        objects[place] = int(item * len(intent.slots[place]))
    if kind != "intent" and same_form >= _SAME_FORM_SHARE:
        form = int((same_form - _SAME_FORM_SHARE) / (1 - _SAME_FORM_SHARE) * len(intent.forms))
    number = bank.number.get((target, tuple(objects)))
    if number is None or bank.meanings[number] is meaning:
        return None
    other = bank.meanings[number]
    return other.first + form * other.names + int(name * other.names)


def _non_duplicates(bank: _Bank, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` different pairs that differ in meaning; about half of them share most words."""
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < count:
        for start, place, *draw in rng.random((count - len(pairs), 8)).tolist():
            meaning = _pick(bank.meanings, start)
            offset = int(place * meaning.size)
            other = _partner(bank, meaning, offset // meaning.names, draw)
            if other is not None:
                mine = meaning.first + offset
                pairs.add((min(mine, other), max(mine, other)))
    return sorted(pairs)


def _check_request(bank: _Bank, n_pairs: int, seed: int, duplicate_share: float) -> tuple[int, int]:
    n_pairs, seed = check.integer("n_pairs", n_pairs, 1), check.integer("seed", seed)
    duplicate_share = check.number("duplicate_share", duplicate_share, 0, 1)
    within = sum(math.comb(meaning.size, 2) for meaning in bank.meanings)
    across = math.comb(len(bank.questions), 2) - within

    def too_many(n: int) -> bool:
        duplicates = round(n * duplicate_share)
        return duplicates > within or n - duplicates > across

    if too_many(n_pairs):
        largest = bisect.bisect_left(range(within + across + 1), True, key=too_many) - 1
        raise ValueError(
            f"n_pairs must be at most {largest}, where {100 * duplicate_share:g} % of the pairs "
            f"are duplicates, but it is {n_pairs}"
        )
    return n_pairs, seed


def generate(n_pairs: int, *, seed: int = 0, duplicate_share: float = 0.4) -> list[SamplePair]:
    """Generated question pairs with exact labels.

    Guarantees:

    - A pair is a duplicate exactly when both questions ask the same intent about the same objects
      in the same roles; no question text has two meanings.
    - `round(n_pairs * duplicate_share)` pairs are duplicates, spread evenly over the meanings: none
      gets a second pair before every other one has its first, and so on while a meaning has pairs
      left.
    - No pair comes twice, in either order, and no question is paired with itself.
    - One text has one qid within a result; qids count from 1 in order of first appearance, ids from
      0.
    - The same arguments give the same rows; another seed gives others.

    About half of the non-duplicates are hard (for large requests fewer, once these are used up):
    the same form about another object, the same object with another intent in similar words, or
    swapped roles ("How do I convert PDF to Word?", "How do I convert Word to PDF?"). The others are
    random.

    Counting words is not enough: on `generate(20_000)` the cosine of the two questions' word counts
    has a ROC AUC of 0.55, and 0.67 with each word weighted by ln(questions / questions that contain
    it).

    Args:
        n_pairs: number of rows, 1 or more.
        seed: an integer of at least 0.
        duplicate_share: share of rows labelled 1, between 0 and 1.

    Returns:
        List of `n_pairs` `SamplePair` (id, qid1, qid2, question1, question2, is_duplicate) in
        random order.

    Raises:
        TypeError: n_pairs or seed is not an integer, or duplicate_share not a number.
        ValueError: a value out of its range, or more pairs than the generator can make; the message
            then says the largest possible number.

    Example:
        >>> rows = generate(10, seed=1)
        >>> len(rows), sum(row.is_duplicate for row in rows)
        (10, 4)
        >>> rows == generate(10, seed=1)
        True
    """
    bank = _bank()
    n_pairs, seed = _check_request(bank, n_pairs, seed, duplicate_share)
    rng = np.random.default_rng(seed)
    n_duplicates = round(n_pairs * duplicate_share)
    pairs = [(1, pair) for pair in _duplicates(bank, n_duplicates, rng)]
    pairs += [(0, pair) for pair in _non_duplicates(bank, n_pairs - n_duplicates, rng)]
    qids: dict[int, int] = {}
    rows: list[SamplePair] = []
    order, flips = rng.permutation(n_pairs).tolist(), rng.integers(2, size=n_pairs).tolist()
    for i, (place, flip) in enumerate(zip(order, flips, strict=True)):
        label, pair = pairs[place]
        first, second = (pair[flip], pair[1 - flip])
        qid1, qid2 = (qids.setdefault(question, len(qids) + 1) for question in (first, second))
        rows.append(SamplePair(i, qid1, qid2, bank.questions[first], bank.questions[second], label))
    return rows


def write_csv(
    path: str | os.PathLike[str], n_pairs: int, *, seed: int = 0, duplicate_share: float = 0.4
) -> int:
    """Write the rows of `generate` as a CSV file with Quora's six columns.

    The file is UTF-8 with a header line; it appears under its name only when it is complete.

    Args:
        path: file to write (str or path); a file of that name is replaced.
        n_pairs: see `generate`, as `seed` and `duplicate_share`.

    Returns:
        The number of rows written, without the header.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        TypeError, ValueError: as `generate`; nothing is written then.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> write_csv(folder.name + "/questions.csv", 5)
        5
        >>> with open(folder.name + "/questions.csv", encoding="utf-8") as file:
        ...     file.readline().strip()
        'id,qid1,qid2,question1,question2,is_duplicate'
        >>> folder.cleanup()
    """
    with new_file(path) as file:
        rows = generate(n_pairs, seed=seed, duplicate_share=duplicate_share)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SamplePair._fields)
        writer.writerows(rows)
    return len(rows)
