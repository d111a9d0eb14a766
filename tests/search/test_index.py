"""An index is searched, changed, kept, and refused where it does not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_products import clustered

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.trained_model import TrainedModel
from trax_triplet.search import index as indexes
from trax_triplet.search.graph import Graph
from trax_triplet.search.index import QuestionIndex
from trax_triplet.search.products import Found

QUESTIONS = ["How old are you?", "Who is she?", "how old", "Are you her?", "???"]


def a_model(seed=0):
    vocabulary = Vocabulary.build(QUESTIONS)
    rng = np.random.default_rng(seed)
    shapes = {"embedding": (len(vocabulary), 4), "lstm/kernel": (8, 16), "lstm/bias": (16,)}
    weights = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    return TrainedModel(weights, vocabulary, {"pooling": "last", "threshold": 0.5})


def found(index, queries, k):
    return [[hit.id for hit in hits] for hits in index.search(queries, k)]


@pytest.fixture(params=[False, True], ids=["exact", "approximate"])
def approximate(request):
    if request.param:
        pytest.importorskip("faiss")
    return request.param


def test_a_changed_and_reloaded_index_finds_what_a_new_one_does(tmp_path, approximate):
    vectors = clustered(400, seed=1)
    ids = [f"q{k}" for k in range(400)]
    index = QuestionIndex.build(vectors[:300], ids=ids[:300], approximate=approximate)
    gone = {f"q{k}" for k in range(0, 400, 9)}
    index.add(vectors[300:], ids=ids[300:])
    index.remove(sorted(gone))
    index.save(tmp_path / "index")
    again = QuestionIndex.load(tmp_path / "index")
    left = [k for k in range(400) if f"q{k}" not in gone]
    assert again.ids == index.ids == [f"q{k}" for k in left] and len(again) == len(left)
    new = QuestionIndex.build(vectors[left], ids=[ids[k] for k in left])
    queries = clustered(50, seed=1)[np.arange(50) != 5]
    wanted = found(new, queries, 5)
    assert found(again, queries, 5) == found(index, queries, 5)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found(again, queries, 5), wanted))
    assert hits == 49 * 5 if not approximate else hits >= 0.95 * 49 * 5
    assert again.approximate == approximate and again.recall >= (0.99 if approximate else 1)
    again.remove(again.ids[:150])  # so many that a graph is built anew
    assert not set(again.ids) & set(index.ids[:150])
    assert all(hit not in index.ids[:150] for hits in found(again, queries, 3) for hit in hits)


def test_questions_are_found_by_their_meaning_and_with_their_ids(tmp_path):
    model = a_model()
    index = QuestionIndex.build(QUESTIONS, model=model)
    assert index.ids == ["1", "2", "3", "4", "5"]
    [hits, nothing] = index.search(["HOW OLD", ""], k=2)
    assert (hits[0].id, hits[0].question) == ("3", "how old") and nothing == []
    assert hits[0].similarity == pytest.approx(1) and hits[0].similarity >= hits[1].similarity
    similar = model.similarity(["HOW OLD"] * 5, QUESTIONS)
    assert [hit.similarity for hit in index.search(["HOW OLD"])[0]] == pytest.approx(
        sorted(similar)[::-1], abs=1e-6
    )
    index.add(["Old?"])
    assert index.ids[-1] == "6"
    index.save(tmp_path / "index")
    assert found(QuestionIndex.load(tmp_path / "index"), ["old"], 1) == found(index, ["old"], 1)
    assert index.info()["questions"] == 6


def test_another_model_is_refused(tmp_path):
    QuestionIndex.build(QUESTIONS, model=a_model()).save(tmp_path / "index")
    assert len(QuestionIndex.load(tmp_path / "index", model=a_model())) == 5
    with pytest.raises(ValueError, match="built with another model"):
        QuestionIndex.load(tmp_path / "index", model=a_model(seed=1))
    a_model(seed=1).save(tmp_path / "index" / "index" / "model")
    with pytest.raises(ValueError, match="model is not the model that the index was built with"):
        QuestionIndex.load(tmp_path / "index")


def test_what_somebody_else_changed_is_not_overwritten(tmp_path):
    QuestionIndex.build(np.eye(3)).save(tmp_path / "index")
    first, second = (QuestionIndex.load(tmp_path / "index") for _ in range(2))
    first.remove(["1"])
    second.remove(["2"])
    first.save(tmp_path / "index")
    with pytest.raises(ValueError, match="changed since it was loaded"):
        second.save(tmp_path / "index")
    assert QuestionIndex.load(tmp_path / "index").ids == ["2", "3"]
    second.save(tmp_path / "elsewhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("the user's")
    with pytest.raises(FileExistsError, match="mine exists but holds no index"):
        first.save(tmp_path / "mine")


def test_the_old_index_is_read_where_the_new_one_is_not_in_its_place_yet(tmp_path):
    QuestionIndex.build(np.eye(3)).save(tmp_path / "index")
    (tmp_path / "index" / "index").rename(tmp_path / "index" / ".index.old")
    index = QuestionIndex.load(tmp_path / "index")
    index.add(np.eye(3)[:1])
    index.save(tmp_path / "index")
    assert len(QuestionIndex.load(tmp_path / "index")) == 4


def test_a_damaged_index_is_refused(tmp_path, approximate):
    QuestionIndex.build(clustered(60), approximate=approximate).save(tmp_path / "good")
    for path in (tmp_path / "good" / "index").iterdir():
        for change in (lambda data: data[:-3], lambda data: b"x" + data[1:]):
            bad = tmp_path / "bad"
            shutil.rmtree(bad, ignore_errors=True)
            shutil.copytree(tmp_path / "good", bad)
            at = bad / "index" / path.name
            at.write_bytes(change(at.read_bytes()))
            with pytest.raises(ValueError, match="not a valid folder of trax-triplet"):
                QuestionIndex.load(bad)


@pytest.mark.parametrize(
    "name, change",
    [
        ("neighbours", lambda a: a + 1000),
        ("neighbours", lambda a: a[:-1]),
        ("neighbours", lambda a: a - 5),
        ("levels", lambda a: a * 0),
        ("levels", lambda a: a + 40),
        ("levels", lambda a: a[:-1]),
        ("about", lambda a: a + [10**6, 0, 0]),
        ("about", lambda a: a + [0, 1, 0]),
        ("about", lambda a: a + [0, 0, 1]),
        ("hidden", lambda a: a[:-1]),
        ("vectors", lambda a: a[:-1]),
        ("vectors", lambda a: a * 3),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_before_it_is_walked(tmp_path, name, change):
    """As somebody could write it who knows the format: with the right digests."""
    pytest.importorskip("faiss")
    index = QuestionIndex.build(clustered(400), approximate=True)
    arrays = index._graph.arrays()
    index._graph.arrays = lambda: (
        {**arrays, name: change(arrays[name])} if name in arrays else arrays
    )
    if name == "hidden":
        index._hidden = change(index._hidden)
    if name == "vectors":
        index._vectors = change(index._vectors)
    index.save(tmp_path / "index")
    with pytest.raises(ValueError, match="not a valid folder"):
        QuestionIndex.load(tmp_path / "index")


def test_where_there_is_no_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "EXACT_UP_TO", 10)
    monkeypatch.setattr(indexes, "has_engine", lambda: False)
    index = QuestionIndex.build(clustered(60))
    assert not index.approximate and index.recall == 1
    with pytest.raises(ImportError, match=r"trax-triplet\[search\]"):
        QuestionIndex.build(clustered(60), approximate=True)


def test_large_indices_are_approximate_and_say_so(tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(indexes, "EXACT_UP_TO", 50)
    assert QuestionIndex.build(clustered(60)).approximate
    assert not QuestionIndex.build(clustered(60), approximate=False).approximate
    index = QuestionIndex.build(clustered(60))
    index.save(tmp_path / "index")
    settings = json.loads((tmp_path / "index" / "index" / "index.json").read_text())["settings"]
    assert settings["approximate"] and settings["recall"] >= 0.99
    monkeypatch.setattr(indexes, "has_engine", lambda: False)
    with pytest.raises(ImportError, match="is approximate and needs FAISS"):
        QuestionIndex.load(tmp_path / "index")


@pytest.mark.slow
def test_kills_leave_the_old_or_the_new_index(tmp_path):
    import index_kills

    counts = index_kills.run(Path(tmp_path), kills=6)
    assert counts["kills"] == 6 and counts["damaged"] == 0


def test_the_recall_is_the_share_that_is_as_near_as_the_tenth_nearest():
    pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = Graph(vectors)

    def half_wrong(queries, vectors, k, hidden):
        rows = np.argsort(-queries @ vectors.T, axis=1)[:, [0, 1, 2, 3, 4, -5, -4, -3, -2, -1]]
        first = np.repeat(np.arange(len(queries)), k)
        similarity = np.einsum("nd,nd->n", queries[first], vectors[rows.ravel()])
        return Found(first, rows.ravel(), similarity)

    graph.search = half_wrong
    graph.measure(vectors, np.zeros(60, bool))
    assert graph.recall == 0.5
