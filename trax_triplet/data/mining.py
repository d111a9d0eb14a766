"""Pairs made from labelled ones: more duplicates to train on, negatives to validate with."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator

import numpy as np

from trax_triplet import _validation as check
from trax_triplet._wording import counted
from trax_triplet.data.pairs import Pairs, normalize_text, question_groups
from trax_triplet.data.tokenizer import tokenize

__all__ = ["draw_negatives", "implied_duplicates"]


def implied_duplicates(pairs: Pairs, *, max_group: int = 30, seed: int = 0) -> Pairs:
    """Duplicates that follow from the labelled ones: a and c, if a and b, and b and c are.

    Of each duplicate group at most as many as it has labelled pairs, drawn at random, so that large
    groups do not push the others aside. Two questions that differ only in case and whitespace are
    one.

    Args:
        pairs: those labelled 1 count, the others are ignored.
        max_group: groups of more labelled pairs give none: in a long chain the meaning drifts.
        seed: of the draw.

    Returns:
        Pairs labelled 1, none of which is among `pairs` in either order, with qids if `pairs` has
        them.

    Raises:
        TypeError: something other than `Pairs`, a number that is not an integer.
        ValueError: `pairs` has no labels, a negative seed.

    Example:
        >>> pairs = Pairs(["How?", "In which way?"], ["In which way?", "By what means?"], [1, 1])
        >>> new = implied_duplicates(pairs)
        >>> new.question1, new.question2
        (('How?',), ('By what means?',))
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", "make them with read_pairs(path)")
    check.integer("max_group", max_group)
    check.integer("seed", seed)
    if pairs.is_duplicate is None:
        raise ValueError("pairs must have labels, from which duplicates follow, but have none")
    given = pairs.select(np.flatnonzero(pairs.is_duplicate))
    firsts: dict[str, int] = {}  # row of the first question with the same text
    rows = [
        firsts.setdefault(normalize_text(text), row)
        for row, text in enumerate(given.question1 + given.question2)
    ]
    edges: dict[int, set[frozenset[int]]] = collections.defaultdict(set)
    groups = question_groups(given)[0].tolist()
    for group, *pair in zip(groups, rows[: len(given)], rows[len(given) :], strict=True):
        edges[group].add(frozenset(pair))
    rng = np.random.default_rng(seed)
    drawn: list[tuple[int, int]] = []
    for known in edges.values():
        if 1 < len(known) <= max_group:
            possible = itertools.combinations(sorted(frozenset.union(*known)), 2)
            new = [pair for pair in possible if frozenset(pair) not in known]
            drawn += [new[i] for i in rng.permutation(len(new))[: len(known)]]
    return _pairs_of_rows(given, drawn, label=1)


def _pairs_of_rows(pairs: Pairs, drawn: list[tuple[int, int]], label: int) -> Pairs:
    """Pairs of the questions in these rows of question 1 and, from len(pairs) on, question 2."""
    texts = pairs.question1 + pairs.question2
    sides = np.array(drawn, np.int64).reshape(-1, 2).T
    question1, question2 = ([texts[i] for i in side] for side in sides)
    qid1 = qid2 = None
    if pairs.qid1 is not None and pairs.qid2 is not None:
        qid1, qid2 = np.concatenate([pairs.qid1, pairs.qid2])[sides]
    return Pairs(question1, question2, np.full(len(drawn), label, np.int8), qid1, qid2)


def draw_negatives(pairs: Pairs, n: int, *, seed: int = 0) -> Pairs:
    """Draws pairs labelled 0 for a file that has only duplicates, to validate with.

    Each is the first question of a pair and, of the questions of other duplicate groups found
    through its rarer words, the one with the largest word overlap (shared words / words of both).
    Questions of equal words are never paired, nor are two questions twice. Weaker than labels by
    people: some of these are duplicates that nobody marked, and the others differ in other ways
    than pairs labelled by people do.

    Args:
        pairs: the duplicates.
        n: how many pairs to draw.
        seed: of the order of first questions; each comes once before one comes again.

    Returns:
        n pairs, `is_duplicate` all 0, with qids if `pairs` has them.

    Raises:
        TypeError: something other than `Pairs`, a number that is not an integer.
        ValueError: fewer than n such pairs exist, or n or the seed is negative.

    Example:
        >>> pairs = Pairs(["why a b?", "why a c?"], ["how a b?", "how a c?"], [1, 1])
        >>> drawn = draw_negatives(pairs, 1)
        >>> sorted(drawn.question1 + drawn.question2), drawn.is_duplicate.tolist()
        (['why a b?', 'why a c?'], [0])
    """
    check.instance("pairs", pairs, Pairs, "trax_triplet.Pairs", "make them with read_pairs(path)")
    check.integer("seed", seed)
    check.integer("n", n)
    texts = pairs.question1 + pairs.question2
    groups = np.concatenate(question_groups(pairs))
    rows = {tuple(tokenize(text)): row for row, text in reversed(list(enumerate(texts)))}
    words = {row: {word for word in tokens if word[0].isalnum()} for tokens, row in rows.items()}
    postings: dict[str, list[int]] = collections.defaultdict(list)
    for row in sorted(words):
        for word in words[row]:
            postings[word].append(row)
    anchors = np.array([row for row in sorted(words) if row < len(pairs)], np.int64)
    order = np.random.default_rng(seed).permutation(anchors).tolist()
    sources = collections.deque((row, _similar(row, words, postings, groups)) for row in order)
    drawn: dict[tuple[int, int], None] = {}
    while sources and len(drawn) < n:
        row, others = sources.popleft()
        for other in others:
            if (row, other) not in drawn and (other, row) not in drawn:
                drawn[row, other] = None
                sources.append((row, others))
                break
    if len(drawn) != n:
        raise ValueError(
            f"n must be at most {len(drawn)}, as many negatives as {counted(len(pairs), 'pair')} "
            f"give, but it is {n}: too few questions share words; take more pairs, or pairs "
            "labelled 0"
        )
    return _pairs_of_rows(pairs, list(drawn), label=0)


def _similar(
    row: int,
    words: dict[int, set[str]],
    postings: dict[str, list[int]],
    groups: np.ndarray,
) -> Iterator[int]:
    """Questions of other groups that share rarer words with `row`, the largest overlap first."""
    found: list[int] = []
    for word in sorted(words[row], key=lambda word: (len(postings[word]), word)):
        if len(found) + len(postings[word]) > 5000:
            break
        found += postings[word]
    others, shared = np.unique(np.array(found, np.int64), return_counts=True)
    elsewhere = groups[others] != groups[row]
    others, shared = others[elsewhere], shared[elsewhere]
    likely = others[np.argsort(-shared, kind="stable")[:100]].tolist()
    overlap = {
        other: len(words[row] & words[other]) / len(words[row] | words[other]) for other in likely
    }
    yield from sorted(
        (other for other in likely if overlap[other] < 1), key=lambda other: -overlap[other]
    )
