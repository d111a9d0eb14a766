"""Pairs that nobody labelled, made from those that somebody did: more duplicates to train on,
negatives to judge by."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator

import numpy as np

from trax_triplet._validation import whole_number
from trax_triplet.data.pairs import Pairs, check_pairs, question_groups, question_key
from trax_triplet.data.tokenizer import tokenize


def implied_duplicates(pairs: Pairs, *, max_group: int = 30, seed: int = 0) -> Pairs:
    """Duplicates that follow from the labelled ones: if a and b ask the same, and b and c, then so
    do a and c.

    Of each duplicate group at most as many as it has labelled pairs, drawn at random, so that large
    groups do not push the others aside. Two questions that are the same but for case and blanks are
    one.

    Args:
        pairs: those labelled 1 count, the others are ignored.
        max_group: groups of more labelled pairs give none: in a long chain the meaning drifts.
        seed: of the draw.

    Returns:
        Pairs labelled 1, none of which is among `pairs` in either order, with qids if `pairs` has
        them.

    Raises:
        TypeError: something else than `Pairs`, a number that is not whole.
        ValueError: `pairs` has no labels, a negative seed.

    Example:
        >>> pairs = Pairs(["How?", "In which way?"], ["In which way?", "By what means?"], [1, 1])
        >>> new = implied_duplicates(pairs)
        >>> new.question1, new.question2
        (('How?',), ('By what means?',))
    """
    check_pairs(pairs)
    whole_number("max_group", max_group)
    whole_number("seed", seed)
    if pairs.is_duplicate is None:
        raise ValueError("duplicates follow from labelled pairs, but these have no labels")
    given = pairs.select(np.flatnonzero(pairs.is_duplicate))
    firsts = {}  # row of the first question that reads like this one
    rows = [
        firsts.setdefault(question_key(text), row)
        for row, text in enumerate(given.question1 + given.question2)
    ]
    edges = collections.defaultdict(set)
    for group, pair in zip(
        question_groups(given)[0].tolist(), zip(rows[: len(given)], rows[len(given) :])
    ):
        edges[group].add(frozenset(pair))
    rng, drawn = np.random.default_rng(seed), []
    for known in edges.values():
        if 1 < len(known) <= max_group:
            possible = itertools.combinations(sorted(frozenset.union(*known)), 2)
            new = [pair for pair in possible if frozenset(pair) not in known]
            drawn += [new[i] for i in rng.permutation(len(new))[: len(known)]]
    return _pairs_of_rows(given, drawn, label=1)


def _pairs_of_rows(pairs: Pairs, drawn: list[tuple[int, int]], label: int) -> Pairs:
    """Pairs of the questions in these rows of question 1 and, from len(pairs) on, question 2."""
    texts, sides = pairs.question1 + pairs.question2, np.array(drawn, np.int64).reshape(-1, 2).T
    qids = [None, None] if pairs.qid1 is None else np.concatenate([pairs.qid1, pairs.qid2])[sides]
    return Pairs(
        *([texts[i] for i in side] for side in sides), np.full(len(drawn), label, np.int8), *qids
    )


def draw_negatives(pairs: Pairs, n: int, *, seed: int = 0) -> Pairs:
    """Draw pairs labelled 0 for a file that has only duplicates, to validate with.

    Each is the first question of a pair and, of the questions of other duplicate groups found
    through its rarer words, the one with the largest word overlap (shared words / words of both).
    Questions of equal words are never paired, nor are two questions twice. Weaker than labels by
    people: some of these are duplicates that nobody marked, and the others differ in other ways
    than judged pairs do.

    Args:
        pairs: the duplicates.
        n: how many pairs to draw.
        seed: of the order of first questions; each comes once before one comes again.

    Returns:
        n pairs, `is_duplicate` all 0, with qids if `pairs` has them.

    Raises:
        TypeError: something else than `Pairs`, a number that is not whole.
        ValueError: fewer than n such pairs exist, or n or the seed is negative.
    """
    check_pairs(pairs)
    whole_number("seed", seed)
    whole_number("n", n, least=None)
    texts, groups = pairs.question1 + pairs.question2, np.concatenate(question_groups(pairs))
    rows = {tuple(tokenize(text)): row for row, text in reversed(list(enumerate(texts)))}
    words = {row: {word for word in tokens if word[0].isalnum()} for tokens, row in rows.items()}
    postings = collections.defaultdict(list)
    for row in sorted(words):
        for word in words[row]:
            postings[word].append(row)
    anchors = np.array([row for row in sorted(words) if row < len(pairs)], np.int64)
    order = np.random.default_rng(seed).permutation(anchors).tolist()
    sources, drawn = (
        collections.deque((row, _look_alikes(row, words, postings, groups)) for row in order),
        {},
    )
    while sources and len(drawn) < n:
        row, others = sources.popleft()
        for other in others:
            if (row, other) not in drawn and (other, row) not in drawn:
                drawn[row, other] = 0
                sources.append((row, others))
                break
    if len(drawn) != n:
        raise ValueError(
            f"{n} negatives wanted, but these {len(pairs)} pairs give {len(drawn)}: too few of their "
            "questions share words; take more pairs, or pairs labelled 0"
        )
    return _pairs_of_rows(pairs, list(drawn), label=0)


def _look_alikes(row, words, postings, groups) -> Iterator[int]:
    """Questions of other groups that share rarer words with `row`, the largest word overlap
    first."""
    found = []
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
