"""The command line, as a person types it."""

import csv
import json
import re
import subprocess
import sys

import pytest

import trax_triplet
from trax_triplet import cli, options
from trax_triplet.data import sample


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small training by command: its CSV and its output folder."""
    folder = tmp_path_factory.mktemp("cli")
    assert cli.main(["sample", str(folder / "pairs.csv"), "--pairs", "400", "--seed", "3"]) == 0
    assert (
        cli.main(
            [
                "train",
                str(folder / "pairs.csv"),
                "--output",
                str(folder / "out put"),
                "--steps",
                "4",
                "--batch-size",
                "16",
                "--d-model",
                "8",
                "--evaluate-every",
                "2",
                "--hard-from",
                "2",
                "--neighbours",
                "4",
                "--validation-share",
                "0.3",
            ]
        )
        == 0
    )
    return folder


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def json_of(capsys):
    return json.loads(capsys.readouterr().out)


def test_sample_writes_a_csv(tmp_path, capsys):
    assert cli.main(["sample", str(tmp_path / "s.csv"), "--pairs", "50"]) == 0
    assert "wrote 50 question pairs" in capsys.readouterr().out
    rows = rows_of(tmp_path / "s.csv")
    assert len(rows) == 50 and set(rows[0]) == {
        "id",
        "qid1",
        "qid2",
        "question1",
        "question2",
        "is_duplicate",
    }
    assert cli.main(["sample", str(tmp_path / "s.csv"), "--pairs", "10", "--json"]) == 0
    assert json_of(capsys) == {"csv": str(tmp_path / "s.csv"), "pairs": 10}


def test_train_leaves_a_model(run, capsys):
    assert (run / "out put" / "model" / "model.json").is_file()
    again = [
        "train",
        str(run / "pairs.csv"),
        "--output",
        str(run / "out put"),
        "--steps",
        "4",
        "--batch-size",
        "16",
        "--d-model",
        "8",
        "--evaluate-every",
        "2",
        "--hard-from",
        "2",
        "--neighbours",
        "4",
        "--validation-share",
        "0.3",
        "--json",
    ]
    assert cli.main(again) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["step"] in (2, 4) and 0 <= result["validation_auc"] <= 1
    assert "going on from step 4 of 4" in captured.err


def test_train_with_a_validation_file(run, tmp_path, capsys):
    sample.write_csv(tmp_path / "v.csv", 60, seed=9)
    assert (
        cli.main(
            [
                "train",
                str(run / "pairs.csv"),
                "--output",
                str(tmp_path / "out"),
                "--steps",
                "1",
                "--batch-size",
                "8",
                "--d-model",
                "4",
                "--validation",
                str(tmp_path / "v.csv"),
            ]
        )
        == 0
    )
    captured = capsys.readouterr()
    assert re.search(
        r"\d+ of 60 validation pairs have a question that is in .*pairs.csv, too", captured.err
    )
    assert "read 60 pairs" in captured.err and "best model: step 1, validation AUC" in captured.out


def test_evaluate(run, tmp_path, capsys):
    arguments = ["evaluate", str(run / "pairs.csv"), "--model", str(run / "out put")]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert (
        "ROC AUC" in text and "95 % interval" in text and "at threshold 0.7, the course's" in text
    )
    assert (
        cli.main([*arguments, "--json", "--threshold", "0.5", "--plot", str(tmp_path / "p.png")])
        == 0
    )
    result = json_of(capsys)
    assert result["threshold"] == 0.5 and result["n"] == 400
    assert result["half"]["chosen_on"] + result["half"]["applied_to"] == 400
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_predict_two_questions(run, capsys):
    model = ["--model", str(run / "out put" / "model")]
    assert cli.main(["predict", *model, "How old are you?", "how old are you?"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("duplicate ") and " 1.0000 " in text
    assert (
        cli.main(["predict", *model, "Why?", "Who\x1b[31m?", "--threshold", "1.5", "--json"]) == 0
    )
    result = json_of(capsys)
    assert result["threshold"] == 1.5 and result["answers"][0]["is_duplicate"] is False


def test_control_characters_do_not_reach_the_terminal(run, capsys):
    assert cli.main(["predict", "--model", str(run / "out put"), "Why?", "Who\x1b[31m?"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "Who\\x1b[31m?" in out
    assert cli.main(["evaluate", "--model", str(run / "out put"), "pairs\x1b[31m.csv"]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "pairs\\x1b[31m.csv: No such file" in error


def test_no_answer_is_a_formula(run, tmp_path):
    questions = ["=1+2", "+49 30 1", "-1?", "@me?", "\tWhy?", "Why = who?"]
    with open(tmp_path / "p.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["question1", "question2"], *([q, "Why?"] for q in questions)])
    assert (
        cli.main(
            [
                "predict",
                "--model",
                str(run / "out put"),
                "--csv",
                str(tmp_path / "p.csv"),
                "--output",
                str(tmp_path / "answers.csv"),
            ]
        )
        == 0
    )
    assert [row["question1"] for row in rows_of(tmp_path / "answers.csv")] == [
        "'=1+2",
        "'+49 30 1",
        "'-1?",
        "'@me?",
        "'\tWhy?",
        "Why = who?",
    ]


def test_predict_a_file(run, tmp_path, capsys):
    (tmp_path / "p.csv").write_text(
        'a;b\n"How old\nare you?";How old are you?\nWhy?;Who?\n', encoding="utf-8"
    )
    arguments = [
        "predict",
        "--model",
        str(run / "out put"),
        "--csv",
        str(tmp_path / "p.csv"),
        "--question1",
        "a",
        "--question2",
        "b",
    ]
    assert cli.main(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main([*arguments, "--output", str(tmp_path / "answers.csv")]) == 0
    rows = rows_of(tmp_path / "answers.csv")
    assert rows[0]["question1"] == "How old\nare you?" and rows[0]["is_duplicate"] == "1"
    assert float(rows[0]["similarity"]) == pytest.approx(1.0, abs=1e-5)


def test_export(run, tmp_path, capsys):
    assert cli.main(["export", str(run / "out put"), str(tmp_path / "model.keras")]) == 0
    assert re.fullmatch(
        r"wrote .*model.keras \(a Keras model\); threshold 0.\d{4}\n", capsys.readouterr().out
    )
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes(b"an older one, which is replaced")
    assert (
        cli.main(
            [
                "export",
                "--json",
                "--format",
                "savedmodel",
                str(run / "out put"),
                str(tmp_path / "served"),
            ]
        )
        == 0
    )
    assert json_of(capsys)["format"] == "savedmodel"
    assert (tmp_path / "served" / "saved_model.pb").stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "served"]


def test_demo(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "DEMO_PAIRS", 600)
    monkeypatch.setattr(
        cli,
        "DEMO_SETTINGS",
        {
            "steps": 4,
            "batch_size": 16,
            "d_model": 8,
            "evaluate_every": 2,
            "hard_from": 2,
            "neighbours": 4,
        },
    )
    assert cli.main(["demo", "--output", str(tmp_path / "demo")]) == 0
    text = capsys.readouterr().out
    assert "test pairs whose questions were never seen" in text and text.count("duplicate  ") >= 8
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == [
        ".lock",
        "checkpoints",
        "history.jsonl",
        "model",
        "sample.csv",
        "scores.png",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["train", "missing.csv", "--output", "x"],
            "error: missing.csv: No such file or directory$",
        ),
        (["evaluate", "{csv}", "--model", "nowhere"], "no model.json in nowhere"),
        (
            ["predict", "--model", "{model}", "only one"],
            "predict takes two questions, or --csv.*got 1 questions",
        ),
        (
            ["predict", "--model", "{model}", "a", "b", "--csv", "{csv}"],
            "got 2 questions and --csv",
        ),
        (["evaluate", "{csv}", "--model", "{model}", "--label", "same"], "same"),
        (
            ["train", "{csv}", "--output", "{model}/x", "--margin", "-1"],
            "margin must be finite and at least 0",
        ),
        (["train", "{csv}", "--output", "{model}/x", "--validation-share", "2"], "fractions"),
        (["sample", "{csv}/below/a/file.csv"], "file.csv|directory"),
        (["sample", "x.csv", "--pairs", "-3"], "-3"),
    ],
)
def test_mistakes_are_one_line_and_status_2(run, capsys, arguments, message):
    names = {"csv": str(run / "pairs.csv"), "model": str(run / "out put")}
    assert cli.main([a.format(**names) for a in arguments]) == 2
    captured = capsys.readouterr()
    error = [line for line in captured.err.splitlines() if ": error: " in line]
    assert (
        len(error) == 1
        and captured.err.endswith(error[0] + "\n")
        and "Traceback" not in captured.err
    )
    assert re.search(message, error[0])
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments", [["train"], ["guess"], [], ["sample", "x.csv", "--pairs", "many"]]
)
def test_wrong_arguments_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2


def test_ctrl_c_is_status_130(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "write_csv", interrupted)
    assert cli.main(["sample", str(tmp_path / "x.csv")]) == 130
    assert capsys.readouterr().err == "trax-triplet sample: stopped\n"


def test_hard_batches_can_be_left_out():
    parse = options.parser({}).parse_args
    assert parse(["train", "x.csv", "--output", "x", "--hard-from", "never"]).hard_from is None
    assert parse(["train", "x.csv", "--output", "x", "--hard-from", "70"]).hard_from == 70


def test_help_loads_no_framework():
    code = (
        "import sys; from trax_triplet.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('trax', 'jax', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in ("demo", "sample", "train", "evaluate", "predict"))


def test_python_m(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "trax_triplet", "sample", str(tmp_path / "s.csv"), "--pairs", "5"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "" and "wrote 5" in done.stdout


def test_public_names():
    for name in trax_triplet.__all__:
        assert getattr(trax_triplet, name).__doc__
        assert name in dir(trax_triplet)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trax_triplet.nothing
