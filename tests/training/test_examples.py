"""What a run trains on and is validated on."""

import dataclasses

import numpy as np
import pytest
from small_run import sample_parts

from trax_triplet.data.pairs import Pairs, concatenate
from trax_triplet.training.examples import Examples
from trax_triplet.training.settings import TrainSettings

SETTINGS = TrainSettings(batch_size=16, neighbours=4)


@pytest.fixture(scope="module")
def parts():
    return sample_parts()


def made(pairs, validation, log=lambda text: None, **changes):
    return Examples(pairs, validation, dataclasses.replace(SETTINGS, **changes), log)


def test_trains_on_the_duplicates_and_on_what_follows_from_them(parts):
    logged = []
    pairs, validation = parts
    i = np.flatnonzero(pairs.is_duplicate)[0]
    pairs = concatenate(pairs, Pairs([pairs.question2[i]], ["What else is the same?"], [1]))
    examples = made(pairs, validation, logged.append)
    n = int(pairs.is_duplicate.sum())
    assert len(examples.ids1) == len(examples.ids2) == n + 1
    assert logged[0] == (
        f"training on {n} duplicate pairs, 1 that follow from them, and {len(pairs) - n} pairs "
        "labelled 0"
    )
    labelled = pairs.select(np.flatnonzero(pairs.is_duplicate))
    for ids, questions in zip(
        (examples.ids1, examples.ids2), (labelled.question1, labelled.question2)
    ):
        for row, question in zip(ids, questions):
            np.testing.assert_array_equal(row, examples.vocabulary.encode(question))
    assert len(made(pairs, validation, implied=False).ids1) == n


def test_the_settings_reach_vocabulary_and_batches(parts):
    examples = made(*parts, buckets=5, min_count=2, max_words=3, batch_size=8, seed=1)
    assert examples.vocabulary.buckets == 5
    assert len(examples.vocabulary.words) < len(made(*parts).vocabulary.words)
    ids1, _, groups1, _, labels = next(examples.stream(lambda: np.ones((len(examples.ids1), 2))))
    assert ids1.shape == (11, 8) and (ids1[:, 3:] == 1).all() and groups1.shape == (11,)
    assert labels.tolist() == [1] * 8 + [0] * 3
    assert made(*parts, batch_size=8).stream(lambda: None, multiple=5).others_per_batch == 5
    assert made(*parts, tokenizer="words").vocabulary.tokenizer == "words"


def test_pairs_labelled_0_train_unless_the_duplicates_contradict_them(parts):
    texts = ["a one?", "b one?", "c one?", "d one?"]
    pairs = Pairs(  # a = b, b = c; a is not c, and a is not d
        [texts[0], texts[1], texts[0], texts[0]],
        [texts[1], texts[2], texts[2].upper(), texts[3]],
        [1, 1, 0, 0],
    )
    logged = []
    examples = made(pairs, parts[1], logged.append)
    encode = examples.vocabulary.encode
    assert [row.tolist() for row in examples.others1] == [encode(texts[0]).tolist()]
    assert [row.tolist() for row in examples.others2] == [encode(texts[3]).tolist()]
    assert logged[0] == (
        "training on 2 duplicate pairs, 1 that follow from them, and 1 pair labelled 0"
    )
    assert logged[1].startswith("left out: 1 pair labelled 0")
    made(pairs, parts[1], logged.append, implied=False)
    assert "training on 2 duplicate pairs and 1 pair labelled 0" in logged
    for unused in ({"labelled_negatives": False}, {"labelled_weight": 0.0}):
        without = made(pairs, parts[1], logged.append, **unused)
        assert without.others1 == []
        assert logged[-2] == (
            "training on 2 duplicate pairs and 1 that follow from them; not used: 2 pairs "
            "labelled 0"
        )
        assert len(next(without.stream(lambda: np.ones((3, 2))))) == 4


def test_is_validated_on_both_labels_and_the_loss_on_duplicates_only(parts):
    examples = made(*parts)
    validation = parts[1]
    assert examples.validation is validation
    every = [*validation.question1, *validation.question2]
    for row, question in zip(examples.validation_ids, every, strict=True):
        np.testing.assert_array_equal(row, examples.vocabulary.encode(question))
    batches = examples.validation_batches()
    assert sum((groups >= 0).sum() for _, _, groups, _ in batches) == validation.is_duplicate.sum()
    n, duplicates = len(validation), np.flatnonzero(validation.is_duplicate)
    for side in (0, 1):
        found = {tuple(row[row != 1]) for batch in batches for row in batch[side]} - {()}
        assert found == {tuple(examples.validation_ids[side * n + i]) for i in duplicates}


def test_a_validation_file_of_mostly_duplicates_is_told(parts):
    pairs, validation = parts
    labels = np.asarray(validation.is_duplicate)
    few = np.sort(np.concatenate([np.flatnonzero(labels), np.flatnonzero(labels == 0)[:3]]))
    for rows, told in ((range(len(validation)), False), (few, True)):
        logged = []
        made(pairs, validation.select(rows), logged.append)
        assert any("more than half of the validation" in line for line in logged) is told


def test_negatives_are_drawn_where_the_validation_has_none(parts):
    logged = []
    only = parts[1].select(np.flatnonzero(parts[1].is_duplicate))
    validation = made(parts[0], only, logged.append).validation
    assert len(validation) == 2 * len(only) and validation.is_duplicate.sum() == len(only)
    assert "no pairs labelled 0, so" in logged[1] and "share many words" in logged[1]


def test_a_batch_is_described_by_lines_or_rows(parts):
    pairs = parts[0]
    labelled = np.flatnonzero(pairs.is_duplicate)
    rows = np.array([2, 0, len(labelled) + 1])
    numbers = f"{labelled[0]}, {labelled[2]}"
    assert made(*parts).described(rows[:2]) == f"rows {numbers}"
    assert made(*parts).described(rows) == f"rows {numbers}, and 1 pair derived from others"
    lines = 2 * np.arange(len(pairs)) + 5
    in_a_file = Pairs(pairs.question1, pairs.question2, pairs.is_duplicate, lines=lines)
    numbers = f"{lines[labelled[0]]}, {lines[labelled[2]]}"
    assert made(in_a_file, parts[1]).described(rows[:2]) == f"lines {numbers}"


def test_the_fingerprint_tells_runs_apart(parts):
    pairs, validation = parts
    fewer = validation.select(range(len(validation) - 1))
    found = [
        made(*parts).fingerprint,
        made(*parts, seed=1).fingerprint,
        made(*parts, margin=0.3).fingerprint,
        made(*parts, labelled_negatives=False).fingerprint,
        made(pairs, fewer).fingerprint,
        made(pairs.select(range(len(pairs) - 20)), validation).fingerprint,
    ]
    assert len(set(found)) == len(found)
    assert made(*sample_parts()).fingerprint == found[0]


def test_word_vectors_belong_to_the_run_by_what_they_are(parts, tmp_path):
    vocabulary = made(*parts).vocabulary
    first, second = vocabulary.words[3], vocabulary.words[0]
    contents = {
        "a": f"{first} 1 2\n{second} 3 4\nxyzzy 5 6\n",
        "b": f"3 2\n{first} 1 2\n{second} 3 4\nplugh 7 8\n",  # another file, the same vectors
        "c": f"{first} 1 2\n{second} 3 5\n",
        "d": f"{first} 1 2\n{vocabulary.words[1]} 3 4\n",
    }
    found, logged = {}, []
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        examples = Examples(*parts, SETTINGS, logged.append, tmp_path / name)
        found[name] = examples.fingerprint
    assert found["a"] == found["b"]
    assert len({*found.values(), made(*parts).fingerprint}) == 4
    rows, vectors = Examples(*parts, SETTINGS, print, tmp_path / "a").word_vectors
    assert rows.tolist() == [vocabulary[second], vocabulary[first]]
    assert vectors.tolist() == [[3, 4], [1, 2]]
    words = f"2 of the vocabulary's {len(vocabulary.words)} words start from their vectors"
    assert f"{words} of 2 numbers" in logged


def test_too_few_duplicates(parts):
    none = Pairs(["a?"], ["b?"], [0])
    with pytest.raises(ValueError, match="none of these 1 is"):
        made(none, parts[1])
    with pytest.raises(ValueError, match="at least 2 pairs labelled as duplicates, but has 0"):
        made(parts[0], none)
    with pytest.raises(ValueError, match="at least 2 pairs labelled as duplicates, but has 0"):
        made(parts[0], Pairs(["a?"], ["b?"]))
