"""A student's file: what of it runs, and the table of its parts."""

import json
import textwrap

import pytest

from trax_triplet import checks, cli
from trax_triplet.checks.solution import read_solution

SOLUTION = """
import math
import no_such_grader
import numpy as np
WIDTH = 2
vocab = read_vocabulary()
open("ran.txt", "w").close()

def positives(sim):
    return sim[:, 0]

def mean_negative(sim, by=len(vocab)):
    print("looking at", sim.shape)
    return (sim.sum(axis=1) - sim.diagonal()) / len(sim)

def Siamese(vocab_size=len(vocab), d_model=128, mode="train"):
    return vocab_size, mode

positives = lambda sim: np.diag(sim)
"""


def notebook(*cells):
    found = [{"cell_type": "markdown", "source": ["def negatives(sim): none"]}]
    found += [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": found, "nbformat": 4})


def test_only_imports_definitions_and_constants_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOLUTION)
    functions, notes = read_solution(tmp_path / "mine.py")
    assert list(functions) == ["positives", "mean_negative", "Siamese"]
    assert functions["Siamese"]() == (41699, "train")  # in place of a length that is not known
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    (note,) = notes
    assert "line 3" in note and "no_such_grader" in note


def test_all_of_it_runs_on_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def read_vocabulary(): return 'abc'\n" + SOLUTION)
    functions, _ = read_solution("mine.py", run=True)
    assert functions["Siamese"]() == (3, "train") and (tmp_path / "ran.txt").exists()


def test_the_last_definition_in_a_notebook_counts(tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_text(
        notebook(
            "%matplotlib inline\n!ls\nimport numpy as np",
            "def positives(sim):\n    return 0",
            "%%time\nthis is not Python",
            "nor is this one",
            "def positives(sim):\n    return np.diag(sim)",
        )
    )
    results, notes = checks.check_file(path)
    assert {name: result.verdict for name, result in results.items()} == {"positives": "right"}
    assert len(notes) == 1 and notes[0].startswith("cell 4, line 1, is not Python")


def test_old_imports_of_the_course_work(tmp_path):
    source = (
        "from jax.interpreters.xla import DeviceArray\ndef positives(sim):\n    return DeviceArray"
    )
    (tmp_path / "mine.py").write_text(source)
    functions, notes = read_solution(tmp_path / "mine.py")
    assert functions and notes == []


def test_files_that_hold_no_solution(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_module\n")
    with pytest.raises(ValueError, match="mine.py defines none of the functions .*no_such_module"):
        checks.check_file(tmp_path / "mine.py")
    (tmp_path / "mine.ipynb").write_text("{}")
    with pytest.raises(ValueError, match="Jupyter notebook"):
        checks.check_file(tmp_path / "mine.ipynb")


SOURCE = "# -*- coding: {} -*-\nNAME = 'é'\ndef positives(sim):\n    return NAME\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-8"])
def test_a_file_is_read_in_the_encoding_that_it_names(tmp_path, encoding):
    source = SOURCE.format("utf-8" if encoding == "utf-8-sig" else encoding)
    (tmp_path / "mine.py").write_bytes(source.encode(encoding))
    functions, notes = read_solution(tmp_path / "mine.py")
    assert functions["positives"](None) == "é" and notes == []


@pytest.mark.parametrize(
    "content",
    [
        b"NAME = '\xe9'\n",
        b"\xff\xfed\x00e\x00f\x00",
        SOURCE.format("klingon").encode(),
        b"\xef\xbb\xbf# coding: latin-1\n",
    ],
)
def test_a_file_of_no_encoding_is_refused(tmp_path, content):
    (tmp_path / "mine.py").write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.py is not Python: .*save it as UTF-8"):
        read_solution(tmp_path / "mine.py")


def test_text_that_is_no_python_is_told(tmp_path):
    for source in ("a = 1\0\n", "(" * 300, "-" * 100_000 + "1"):
        (tmp_path / "mine.py").write_text(source)
        functions, notes = read_solution(tmp_path / "mine.py")
        assert not functions and "is not Python" in notes[0]


def test_a_notebook_of_another_encoding(tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_bytes(notebook("def positives(sim): return 'é'").encode("utf-8-sig"))
    assert "positives" in read_solution(path)[0]
    path.write_bytes(b'{"cells": "\xe9"}')
    with pytest.raises(ValueError, match="Jupyter notebook"):
        read_solution(path)


def test_the_command_judges_one_function(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef positives(sim):\n    print('seen')\n    return np.diag(sim)\n"
    )
    assert cli.main(["check", "mine.py"]) == 0
    printed = capsys.readouterr()
    [line, last] = printed.out.splitlines()
    assert line.split()[:2] == ["positives", "right"] and last == "1 of 1 right"
    assert "seen" in printed.err  # what a student prints
    (tmp_path / "mine.py").write_text("def positives(sim):\n    return sim\n")
    assert cli.main(["check", "mine.py", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"] and found["parts"]["positives"]["verdict"] == "wrong"
    assert "TripletLoss" in found["missing"]


@pytest.mark.slow  # seven functions, from end to end
def test_the_command_prints_a_table_of_the_parts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOLUTION.split("def Siamese")[0] + "\n")
    assert cli.main(["check", "mine.py"]) == 3
    printed = capsys.readouterr()
    positives, mean, last = printed.out.splitlines()
    assert positives.split()[:2] == ["positives", "wrong"]
    assert mean.split()[:2] == ["mean_negative", "wrong"] and "the mean divides by b;" in mean
    assert last == "0 of 2 right"
    assert "looking at (4, 4)" in printed.err  # what a student prints
    (tmp_path / "right.py").write_text(
        textwrap.dedent(
            """
            from trax_triplet.course.edition_2023 import TripletLossFn
            """
        )
    )
    assert cli.main(["check", "right.py", "--edition", "2023", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] and found["parts"]["TripletLossFn"]["editions"] == ["2023"]
    assert "predict" in found["missing"]
