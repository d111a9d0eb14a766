"""Pairs made from labelled pairs: duplicates that follow, negatives that share words."""

import numpy as np
import pytest

from trax_triplet.data.mining import draw_negatives, implied_duplicates
from trax_triplet.data.pairs import Pairs, question_groups, split_pairs
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.tokenizer import tokenize


def sides(pairs):
    return list(zip(pairs.question1, pairs.question2))


def test_duplicates_follow_along_a_chain():
    pairs = Pairs(["a", "B ", "x", "no"], ["b", "c", "y", "a"], [1, 1, 1, 0])
    # a = b, b = c (the same b, but for case and blanks): a = c follows; x = y stands alone, and no
    # pair 0 counts.
    assert sides(implied_duplicates(pairs)) == [("a", "c")]


def test_at_most_as_many_follow_as_are_given_and_none_that_is():
    # A star of 6 pairs: its 7 questions have 21 pairs, 15 of them new.
    star = Pairs(["hub"] * 6, list("abcdef"), [1] * 6, [0] * 6, range(1, 7))
    found = [implied_duplicates(star, seed=seed) for seed in range(20)]
    for new in found:
        assert len(new) == len({frozenset(pair) for pair in sides(new)}) == 6
        assert "hub" not in new.question1 + new.question2 and new.is_duplicate.tolist() == [1] * 6
        assert [
            dict(zip(star.question2, star.qid2))[text] for text in new.question1
        ] == new.qid1.tolist()
    assert len({tuple(sides(new)) for new in found}) > 1
    assert sides(found[3]) == sides(implied_duplicates(star, seed=3))


def test_nothing_follows_from_large_groups_or_single_pairs():
    star = Pairs(["hub"] * 6, list("abcdef"), [1] * 6)
    assert len(implied_duplicates(star, max_group=5)) == 0
    assert len(implied_duplicates(Pairs(["a", "c"], ["b", "d"], [1, 1]))) == 0
    assert len(implied_duplicates(Pairs(["a", "c"], ["b", "d"], [0, 0]))) == 0


def test_drawn_negatives_share_words_and_no_group():
    pairs = Pairs(
        ["how do i learn python", "what is the best phone", "how do i learn python fast"],
        ["how can i learn python", "which phone is best", "quick ways to learn python"],
        [1, 1, 1],
        [1, 2, 3],
        [4, 5, 6],
    )
    # The two questions on "learn python" in each of two groups: 4 pairs, but one has no first
    # question of a pair; nothing shares a word with the phones.
    drawn = draw_negatives(pairs, 3, seed=0)
    assert drawn.is_duplicate.tolist() == [0] * 3
    by_text = dict(
        zip(pairs.question1 + pairs.question2, np.concatenate(question_groups(pairs)).tolist())
    )
    qid = dict(zip(pairs.question1 + pairs.question2, [1, 2, 3, 4, 5, 6]))
    for first, second, one, two in zip(drawn.question1, drawn.question2, drawn.qid1, drawn.qid2):
        assert first in pairs.question1 and by_text[first] != by_text[second]
        assert set(first.split()) & set(second.split()) and (one, two) == (qid[first], qid[second])
    # Of the questions of another group, the one with the largest overlap comes first: 5 of 6 words.
    assert ("how do i learn python", "how do i learn python fast") in [
        tuple(sorted(pair)) for pair in zip(drawn.question1, drawn.question2)
    ]


def test_drawn_negatives_are_distinct_repeatable_and_limited():
    pairs = Pairs(["a x", "b x", "c x"], ["a x y", "b x y", "c x y"], [1, 1, 1])
    # Each of 3 first questions with the 4 questions of the two other groups, less 3 pairs of first
    # questions that would come in both orders: 9.
    drawn = draw_negatives(pairs, 9, seed=0)
    assert len({frozenset(pair) for pair in zip(drawn.question1, drawn.question2)}) == 9
    assert draw_negatives(pairs, 9, seed=0).question2 == drawn.question2
    assert len(set(draw_negatives(pairs, 3, seed=0).question1)) == 3  # each once before any again
    with pytest.raises(ValueError, match="n must be at most 9.*but it is 10"):
        draw_negatives(pairs, 10)
    assert len(draw_negatives(pairs, 0)) == 0


def test_questions_of_equal_words_are_never_drawn():
    pairs = Pairs(["is a b", "b a is?", "a c"], ["x y", "z y", "c d"], [1, 1, 1])
    drawn = draw_negatives(pairs, 2, seed=0)
    assert set(zip(drawn.question1, drawn.question2)) <= {
        ("is a b", "a c"),
        ("a c", "is a b"),
        ("b a is?", "a c"),
        ("a c", "b a is?"),
    }
    with pytest.raises(ValueError, match="at most 2"):
        draw_negatives(pairs, 3)


@pytest.mark.real_data
def test_real_pairs(real_data):
    pairs = split_pairs(read_pairs(real_data / "quora_duplicates.csv"), (0.98, 0.02)).parts[1]
    drawn = draw_negatives(pairs, len(pairs))
    overlap = [
        len(a & b) / len(a | b)
        for a, b in ((set(tokenize(a)), set(tokenize(b))) for a, b in sides(drawn))
    ]
    assert np.mean(overlap) > 0.25  # of random questions: about 0.1
    known = {frozenset(pair) for pair in sides(pairs)}
    new = implied_duplicates(pairs)
    assert 0.1 < len(new) / len(pairs) < 1 and not known & {frozenset(pair) for pair in sides(new)}
