"""`serve` hands the model and its index to the server; `export` names what it wrote."""

import json
import sys

import numpy as np
import pytest
from served import random_model

from trax_triplet import cli
from trax_triplet.search.index import QuestionIndex

testclient = pytest.importorskip("fastapi.testclient")
service = pytest.importorskip("trax_triplet.inference.service")

QUESTIONS = ["How old are you?", "Where is the station?"]


@pytest.fixture
def served(monkeypatch):
    """What is handed to the server, which does not start."""
    found = []
    monkeypatch.setattr(
        service, "run", lambda app, host, port, log: found.append((app, host, port))
    )
    return found


def answer_of(app, path, body):
    with testclient.TestClient(app) as client:
        return client.post(path, json=body).json()


def test_serve_answers_by_the_model(served, tmp_path):
    model = random_model()
    model.save(tmp_path / "model")
    arguments = ["--host", "::1", "--port", "0"]
    assert cli.main(["serve", "--model", str(tmp_path / "model"), *arguments]) == 0
    [(app, *where)] = served
    assert where == ["::1", 0]
    body = {"pairs": [{"question1": "How old are you?", "question2": "Are you old?"}]}
    [answer] = answer_of(app, "/similarity", body)["answers"]
    [expected] = model.similarity(["How old are you?"], ["Are you old?"])
    assert answer["similarity"] == pytest.approx(expected, abs=1e-6)


def test_serve_finds_the_model_in_the_index(served, tmp_path):
    QuestionIndex.build(QUESTIONS, model=random_model()).save(tmp_path / "index")
    assert cli.main(["serve", "--index", str(tmp_path / "index")]) == 0
    [(app, host, port)] = served
    assert (host, port) == ("127.0.0.1", 8000)
    [answer] = answer_of(app, "/search", {"questions": ["WHERE IS the station?"], "top": 1})[
        "answers"
    ]
    assert [hit["question"] for hit in answer] == QUESTIONS[1:]


def test_serve_needs_a_model(served, tmp_path, capsys):
    QuestionIndex.build(np.eye(3)).save(tmp_path / "vectors")
    for arguments, words in (
        (["--index", str(tmp_path / "vectors")], "made of vectors; --model is needed"),
        ([], "--model, or --index"),
    ):
        assert cli.main(["serve", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not served


def test_export_says_what_it_wrote(tmp_path, capsys):
    pytest.importorskip("onnx")
    random_model().save(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), str(tmp_path / "model.onnx")]
    assert cli.main(command) == 0
    assert "model.onnx (an ONNX model, word ids to vectors); threshold 0.2500" in (
        capsys.readouterr().out
    )
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"output": command[2], "format": "onnx", "threshold": 0.25}
    assert (tmp_path / "model.onnx").stat().st_size > 1000


def test_export_says_what_to_install(tmp_path, capsys, monkeypatch):
    random_model().save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", str(tmp_path / "model"), str(tmp_path / "model.onnx")]) == 2
    assert "trax-triplet[onnx]" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()
