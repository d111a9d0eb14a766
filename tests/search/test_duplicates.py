"""Duplicates of a corpus, their groups, and searches that are interrupted."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from test_products import clustered

from trax_triplet.search import duplicates
from trax_triplet.search.duplicates import (
    find_duplicates,
    group_duplicates,
    least_similarities,
    search_to_folder,
)
from trax_triplet.search.products import Found
from trax_triplet.search.spool import Spool


def pairs_of(found):
    return list(zip(found.first.tolist(), found.second.tolist()))


def test_hidden_duplicates_are_found_the_most_similar_first():
    vectors = np.eye(60, 64, dtype=np.float32)
    hidden = {(3, 50): 0.9, (7, 20): 0.8, (20, 41): 0.7, (11, 12): 0.6}
    for (first, second), similarity in hidden.items():
        vectors[second] *= np.sqrt(1 - similarity**2)
        vectors[second] += similarity * vectors[first]
    found = find_duplicates(vectors, threshold=0.65)
    assert pairs_of(found) == [(3, 50), (7, 20), (20, 41)]
    assert found.similarity == pytest.approx([0.9, 0.8, 0.7])
    assert pairs_of(find_duplicates(vectors, threshold=0.65, top_k=1)) == pairs_of(found)
    assert pairs_of(find_duplicates(vectors, threshold=0.95)) == []


def test_texts_are_embedded_by_the_model(monkeypatch):
    monkeypatch.setattr(duplicates, "_CHUNK", 2)
    seen = []

    def embed(questions):
        seen.append(len(questions))
        vectors = [[len(q) % 2, 1 - len(q) % 2] if q else [0, 0] for q in questions]
        return np.float32(vectors).reshape(-1, 2)

    model = SimpleNamespace(embed=embed, threshold=0.5)
    assert pairs_of(find_duplicates(["a", "bb", "ccc", "", ""], model=model)) == [(0, 2)]
    assert seen == [2, 2, 1]
    assert pairs_of(find_duplicates([], model=model)) == []


def test_a_pair_at_the_threshold_is_not_above_it():
    vectors = np.float32([[1, 0], [0.6, 0.8]])
    similarity = float(find_duplicates(vectors, threshold=0).similarity[0])
    assert len(find_duplicates(vectors, threshold=similarity).first) == 0


def test_too_many_pairs_are_refused():
    fan = np.float32([[np.cos(angle), np.sin(angle)] for angle in np.linspace(0, 0.5, 9)])
    with pytest.raises(ValueError, match="more than 10 pairs .*top_k"):
        find_duplicates(fan, threshold=0.5, max_pairs=10)


def test_questions_that_come_very_often_are_named_before_the_search():
    vectors = np.concatenate([np.eye(3), np.tile(np.eye(3)[1:2], (5, 1)), np.zeros((9, 3))])
    with pytest.raises(ValueError, match="number 2 comes 6 times"):
        find_duplicates(vectors, threshold=0.5, max_pairs=14)
    with pytest.raises(ValueError, match="number 2 comes 6 times"):
        find_duplicates(vectors, threshold=0.5, top_k=1, max_pairs=14)
    assert len(find_duplicates(vectors, threshold=0.5, max_pairs=15).first) == 6 * 5 / 2
    assert len(find_duplicates(vectors, threshold=1.0, max_pairs=1).first) == 0


def complete_by_loop(n, products, threshold):
    """Joins the two groups whose least similarity is the greatest, while it is above."""
    groups = [{k} for k in range(n)]
    while True:
        best = (
            max(
                (min(products[i, j] for i in a for j in b), a, b)
                for a, b in itertools.combinations(map(frozenset, groups), 2)
            )
            if len(groups) > 1
            else (threshold,)
        )
        if best[0] <= threshold:
            return {frozenset(group) for group in groups if len(group) > 1}
        groups = [g for g in groups if g not in (best[1], best[2])] + [set(best[1] | best[2])]


def sets_of(groups):
    return {frozenset(np.flatnonzero(groups == g).tolist()) for g in range(groups.max() + 1)}


@pytest.mark.parametrize("seed", range(4))
def test_complete_linkage_is_that_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(24, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = find_duplicates(vectors, threshold=0.5)
    groups = group_duplicates(24, [found], linkage="complete")
    assert sets_of(groups) == complete_by_loop(24, vectors @ vectors.T, 0.5)
    assert (least_similarities(vectors, groups) > 0.5).all()


def test_single_linkage_is_what_chains_connect():
    links = [(1, 4), (4, 2), (5, 6), (9, 8), (8, 7), (7, 9)]
    first, second = map(np.array, zip(*links))
    found = Found(first, second, np.linspace(0.9, 0.8, len(links), dtype=np.float32))
    parts = [found.select(np.arange(k, k + 1)) for k in range(len(links))]
    for pairs in ([found], parts):
        groups = group_duplicates(10, pairs)
        assert groups.tolist() == [-1, 0, 0, -1, 0, 2, 2, 1, 1, 1]


def test_the_least_similarity_tells_of_a_chain(monkeypatch):
    angles = np.arange(6) * 0.3
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    groups = group_duplicates(6, [find_duplicates(vectors, threshold=0.9)])
    assert groups.tolist() == [0] * 6
    for block in (2, 2048):
        monkeypatch.setattr(duplicates.products, "BLOCK", block)
        assert least_similarities(vectors, groups) == pytest.approx([np.cos(5 * 0.3)], abs=1e-6)


class Stop(Exception):
    """What interrupts a search in these tests."""


@pytest.mark.parametrize("top_k", [None, 2])
def test_an_interrupted_search_goes_on(tmp_path, monkeypatch, top_k):
    monkeypatch.setattr(duplicates, "STRETCH", 60)
    vectors = clustered(200)
    wanted = find_duplicates(vectors, threshold=0.6, top_k=top_k)
    done = []

    def stop_at(limit):
        def progress(rows, pairs):
            done.append(rows)
            if rows >= limit:
                raise Stop

        return progress

    options = {"top_k": top_k, "block": 10}
    for limit in (50, 120):
        with pytest.raises(Stop):
            search_to_folder(tmp_path / "s", vectors, 0.6, progress=stop_at(limit), **options)
    second = done[done.index(50) + 1 :]
    assert min(second) >= 20  # it went on
    spool = search_to_folder(tmp_path / "s", vectors, 0.6, **options)
    for at_once in (100, 10**6):
        found = Found.joined(list(spool.sorted(at_once)))
        assert [column.tobytes() for column in found] == [column.tobytes() for column in wanted]
    spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_or_of_another_search_is_not_taken(tmp_path):
    spool = Spool(tmp_path / "s", "one")
    for stop in (2, 4, 6):
        pair = Found(np.array([stop - 1]), np.array([9]), np.float32([0.5]))
        spool.write(stop, pair)
    (tmp_path / "s" / "mine.txt").write_text("the user's")
    path = tmp_path / "s" / "0000000002-0000000004.npy"
    path.write_bytes(path.read_bytes()[:-5])
    again = Spool(tmp_path / "s", "one")
    assert (again.stop, again.count) == (2, 1)
    assert Spool(tmp_path / "s", "another").stop == 0
    assert sorted(x.name for x in (tmp_path / "s").iterdir()) == ["mine.txt", "search.json"]
    np.save(tmp_path / "s" / "0000000000-0000000002.npy", np.array([{}]), allow_pickle=True)
    assert Spool(tmp_path / "s", "another").stop == 0


def test_pairs_that_are_no_list_or_of_more_rows_are_refused():
    found = find_duplicates(np.eye(3, dtype="f")[[0, 0, 1]], threshold=0.5)
    with pytest.raises(TypeError, match="pairs must be a list of `Found`"):
        group_duplicates(3, found)
    with pytest.raises(ValueError, match="n must be more than the largest row"):
        group_duplicates(1, [found])


def test_vectors_in_lists_and_what_is_wrong_with_others():
    rows = [[1.0, 0.0], [0.8, 0.6]]
    assert pairs_of(find_duplicates(rows, threshold=0.7)) == [(0, 1)]
    for wrong, error, message in (
        ([[1.0, 0.0], [0.8]], ValueError, r"corpus must be unit vectors"),
        ([[1.0, 0.0], [0.8, np.nan]], ValueError, r"corpus\[1\] must be .*finite.* nan"),
        (np.ma.array(rows, mask=[[0, 0], [0, 1]]), ValueError, r"corpus\[1, 1\] .*masked"),
        ([["a"]], TypeError, r"corpus\[0\] must be a string"),
    ):
        with pytest.raises(error, match=message):
            find_duplicates(wrong, threshold=0.7)
