"""Pairs above a threshold and nearest rows, against plain loops, in blocks of all sizes."""

import contextlib

import numpy as np
import pytest

from trax_triplet import _threads as threads
from trax_triplet.search import products as module
from trax_triplet.search.products import Found, nearest, pairs_above, similarities


def clustered(n, d=16, seed=0, spread=0.4):
    """Unit vectors in groups, with a zero row, equal rows, and rows that differ by 2e-7."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, n // 20), d))
    vectors = centres[rng.integers(len(centres), size=n)] + spread * rng.normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5], vectors[9], vectors[10] = 0, vectors[8], vectors[8] + 2e-7 / d**0.5
    return vectors.astype(np.float32)


def found_in(vectors, threshold, **options):
    parts = [found for _, found in pairs_above(vectors, threshold, **options)]
    return Found.joined(parts).ordered()


def similarity_by_loop(vectors):
    """All products in float64."""
    n = len(vectors)
    rows = [
        [float(np.dot(vectors[i].astype(float), vectors[j])) for j in range(n)] for i in range(n)
    ]
    return np.array(rows)


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.3, 0.8, 0.99, 2.0])
def test_pairs_are_those_of_all_products_whatever_the_block(threshold):
    vectors = clustered(150)
    products = similarity_by_loop(vectors)
    i, j = np.triu_indices(len(vectors), 1)
    sure, possible = products[i, j] > threshold + 1e-6, products[i, j] > threshold - 1e-6
    first = None
    for block in (3, 64, 149, 4096):
        found = found_in(vectors, threshold, block=block)
        pairs = list(zip(found.first.tolist(), found.second.tolist()))
        assert len(set(pairs)) == len(pairs)
        assert set(zip(i[sure].tolist(), j[sure].tolist())) <= set(pairs)
        assert set(pairs) <= set(zip(i[possible].tolist(), j[possible].tolist()))
        first = found if first is None else first
        for column, same in zip(found, first):
            assert column.tobytes() == same.tobytes()
    assert not np.any(np.diff(first.similarity) > 0)


def test_tiles_spans_and_threads_change_nothing(monkeypatch):
    vectors, queries = clustered(300, spread=0.2), clustered(60, seed=4)
    pairs, top = found_in(vectors, 0.5), found_in(vectors, 0.5, top_k=4)
    rows = nearest(queries, vectors, 5)
    for tile, first, span, n_threads in ((17, 64, 50, 1), (64, 100, 33, 3), (512, 512, 512, 2)):
        monkeypatch.setattr(module, "_TILE", tile)
        monkeypatch.setattr(module, "_FIRST", first)
        monkeypatch.setattr(module, "_SPAN", span)
        monkeypatch.setattr(
            threads.blas, "one_thread", lambda n=n_threads: contextlib.nullcontext(n)
        )
        for found, expected in (
            (found_in(vectors, 0.5, block=200), pairs),
            (found_in(vectors, 0.5, block=200, top_k=4), top),
            (nearest(queries, vectors, 5), rows),
        ):
            for column, same in zip(found, expected, strict=True):
                np.testing.assert_array_equal(column, same)


def test_short_rows_leave_nothing_out():
    rng = np.random.default_rng(
        3
    )  # a few long axes, so that most products are not computed in full
    vectors = rng.normal(size=(300, 64)) * 2.0 ** -np.arange(64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    products = similarity_by_loop(vectors)[np.triu_indices(300, 1)]
    for threshold in (0.5, 0.9, 0.999):
        count = len(found_in(vectors, threshold, block=100).first)
        assert (products > threshold + 1e-6).sum() <= count <= (products > threshold - 1e-6).sum()
        assert 0 < count < len(products) / 2


def test_the_top_pairs_of_each_row():
    vectors = clustered(120, seed=1)
    products = similarities(vectors, vectors, *np.divmod(np.arange(120 * 120), 120))
    products = products.reshape(120, 120)
    wanted = set()
    for row in range(120):
        others = sorted((-products[row, k], k) for k in range(120) if k != row)
        wanted |= {(min(row, k), max(row, k)) for s, k in others[:3] if -s > 0.2}
    for block in (11, 500):
        found = found_in(vectors, 0.2, block=block, top_k=3)
        assert set(zip(found.first.tolist(), found.second.tolist())) == wanted


def test_a_search_begins_in_the_middle():
    vectors = clustered(90)
    whole = found_in(vectors, 0.5, block=20)
    rest = found_in(vectors, 0.5, block=20, start=40)
    kept = whole.select(whole.first >= 40)
    assert [column.tolist() for column in rest] == [column.tolist() for column in kept]
    assert list(pairs_above(vectors, 0.5, start=90)) == []


def test_blocks_with_many_pairs_come_in_pieces():
    vectors = np.tile(np.float32([[1, 0]]), (30, 1))
    pieces = list(pairs_above(vectors, 0.5, block=4))
    stops = [stop for stop, _ in pieces]
    assert stops == sorted(stops) and len(stops) > 8 and stops[-1] == 30
    assert max(len(found.first) for _, found in pieces) <= 3 * 16
    assert sum(len(found.first) for _, found in pieces) == 30 * 29 / 2
    assert all((found.first < stop + 4).all() for stop, found in pieces)


@pytest.mark.parametrize("block", [1, 9, 1000])
def test_nearest_is_that_of_all_products(block):
    vectors, queries = clustered(300, seed=2), clustered(40, seed=4)
    rows, similar = nearest(queries, vectors, 7, block=block)
    for query, found, values in zip(queries, rows, similar):
        exact = [float(np.dot(query.astype(float), vector)) for vector in vectors]
        assert values == pytest.approx([exact[row] for row in found], abs=1e-6)
        assert values[-1] >= sorted(exact)[-7] - 1e-6 and list(values) == sorted(values)[::-1]
    same = np.tile(vectors[:1], (50, 1))
    assert nearest(vectors[:1], same, 3, block=block)[0].tolist() == [[0, 1, 2]]


def test_similarity_never_leaves_its_range_and_is_symmetric():
    vectors = clustered(200)
    i, j = np.divmod(np.arange(200 * 200), 200)
    products = similarities(vectors, vectors, i, j)
    assert products.min() >= -1 and products.max() <= 1
    assert products.tobytes() == similarities(vectors, vectors, j, i).tobytes()
    assert similarities(vectors, vectors, i[:1], j[:1])[0] == products[0]
