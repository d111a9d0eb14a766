"""The command line, as a person types it."""

import csv
import errno
import io
import json
import os
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from bare_python import python
from small_run import SETTINGS

import trax_triplet
from trax_triplet import cli
from trax_triplet._files import new_file
from trax_triplet.cli import program, tour
from trax_triplet.cli.outputs import printable
from trax_triplet.data import sample
from trax_triplet.inference import trained_model
from trax_triplet.search import evaluate_corpus
from trax_triplet.training import run as training
from trax_triplet.training.settings import TrainSettings

pytestmark = pytest.mark.integration  # commands that train, from end to end


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def json_of(capsys):
    return json.loads(capsys.readouterr().out)


def test_sample_writes_a_csv(tmp_path, capsys):
    assert cli.main(["sample", str(tmp_path / "s.csv"), "--pairs", "50"]) == 0
    assert "wrote 50 question pairs" in capsys.readouterr().out
    rows = rows_of(tmp_path / "s.csv")
    columns = {"id", "qid1", "qid2", "question1", "question2", "is_duplicate"}
    assert len(rows) == 50 and set(rows[0]) == columns
    assert cli.main(["sample", str(tmp_path / "s.csv"), "--pairs", "10", "--json"]) == 0
    assert json_of(capsys) == {"csv": str(tmp_path / "s.csv"), "pairs": 10}


def test_train_leaves_a_model_and_goes_on(small_run, capsys):
    assert re.search(r"best model: step [246], validation AUC 0\.\d{4}, in", small_run.printed)
    assert "read 300 pairs" in small_run.logged
    assert (small_run.folder / "model" / "model.json").is_file()
    assert cli.main([*small_run.command, "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["step"] in (2, 4, 6) and 0 <= result["validation_auc"] <= 1
    assert result["threshold"] == small_run.trained.threshold
    assert result["model"] == str(small_run.folder / "model")
    assert "going on from step 6 of 6" in captured.err


@pytest.fixture
def not_trained(small_run, monkeypatch):
    """What `train` is called with; it answers with the model of the small run."""
    calls = []

    def train(*arguments, **options):
        calls.append((arguments, options))
        return small_run.trained

    monkeypatch.setattr(training, "train", train)
    return calls


def test_train_with_a_validation_file(small_run, tmp_path, capsys, not_trained):
    sample.write_csv(tmp_path / "v.csv", 60, seed=9)
    options = ["--output", "out", "--validation", str(tmp_path / "v.csv")]
    assert cli.main(["train", str(small_run.csv), *options]) == 0
    err = capsys.readouterr().err
    shared = re.search(
        r"(\d+) of 60 validation pairs have a question that is in .*pairs.csv, too", err
    )
    [((pairs, output), keywords)] = not_trained
    validation = keywords["validation"]
    assert (len(pairs), output, len(validation)) == (300, "out", 60)
    known = {*pairs.question1, *pairs.question2}
    both = zip(validation.question1, validation.question2)
    assert int(shared[1]) >= sum(bool({*questions} & known) for questions in both) > 0


def test_every_setting_is_an_option(small_run, not_trained, capsys):
    options = {
        **SETTINGS,
        "pooling": "mean",
        "margin": 0.3,
        "closest": "hardest",
        "anchor": "second",
        "learning_rate": 0.01,
        "warmup_steps": 3,
        "word_dropout": 0.2,
        "embedding_stddev": 0.5,
        "max_words": 9,
        "tokenizer": "course",
        "min_count": 2,
        "buckets": 7,
        "seed": 5,
    }
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    command = ["train", str(small_run.csv), "--output", "out"]
    assert cli.main([*command, *words, "--no-implied"]) == 0
    assert cli.main([*command, "--hard-from", "never", "--embedding-stddev", "trax"]) == 0
    assert cli.main(command) == 0
    given, nones, defaults = (keywords["settings"] for _, keywords in not_trained)
    assert given == TrainSettings(**options, implied=False)
    assert nones == TrainSettings(hard_from=None, embedding_stddev=None)
    assert defaults == TrainSettings()
    sizes = [len(arguments[0]) / len(keywords["validation"]) for arguments, keywords in not_trained]
    assert 7 < sizes[1] < 12  # a tenth is kept back to validate on


def test_train_hands_word_vectors_on(small_run, not_trained):
    command = ["train", str(small_run.csv), "--output", "out"]
    assert cli.main([*command, "--word-vectors", "glove.txt"]) == 0
    assert cli.main(command) == 0
    given = [keywords["word_vectors"] for _, keywords in not_trained]
    assert given == ["glove.txt", None]


def test_train_asks_a_teacher(small_run, not_trained, tmp_path, monkeypatch):
    class SentenceTransformer:
        def __init__(self, name):
            self.name = name

        def encode(self, texts, show_progress_bar):
            assert show_progress_bar is False
            return [(self.name, text) for text in texts]

    module = SimpleNamespace(SentenceTransformer=SentenceTransformer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    more = tmp_path / "more.jsonl"
    more.write_text('{"q": "Is it?"}\n{"q": "Was it?"}\n')
    command = ["train", str(small_run.csv), "--output", "out", "--teacher", "small"]
    assert cli.main([*command, "--unlabelled", str(more), "--column", "q"]) == 0
    assert cli.main(command) == 0
    (_, given), (_, without) = not_trained
    assert given["teacher"](["Why?"]) == [("small", "Why?")]
    assert [*given["unlabelled"]] == ["Is it?", "Was it?"] and not without["unlabelled"]


def test_a_teacher_needs_its_library(small_run, not_trained, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    command = ["train", str(small_run.csv), "--output", "out", "--teacher", "small"]
    assert cli.main(command) == 2 and not not_trained
    assert r"pip install 'trax-triplet[teacher]'" in capsys.readouterr().err


def test_train_takes_several_files(small_run, not_trained, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text(
        "qid1,qid2,question1,question2,is_duplicate\n"
        "1,2,Is this one new?,Is that one new?,0\n"
        "3,4,Is it newer?,Is it the newest?,1\n"
    )
    files = [str(small_run.csv), str(more)]
    assert cli.main(["train", *files, "--output", "out"]) == 0
    assert cli.main(["train", *files, "--output", "out", "--validation", str(more)]) == 0
    (pairs, _), keywords = not_trained[0]
    both = [*pairs.question1, *keywords["validation"].question1]
    assert len(both) == 302 and {"Is this one new?", "Is it newer?"} <= set(both)
    (pairs, _), keywords = not_trained[1]
    assert pairs.question1[-2:] == keywords["validation"].question1 and pairs.qid1 is None
    assert pairs.is_duplicate.tolist()[-2:] == [0, 1]


def test_pairs_to_validate_on_come_from_files_with_both_labels(
    small_run, not_trained, tmp_path, capsys
):
    (alone := tmp_path / "alone.csv").write_text(
        "question1,question2,is_duplicate\nIs it newer?,Is it the newest?,1\n"
    )
    known = small_run.csv.read_text().splitlines()
    (same := tmp_path / "same.csv").write_text(
        "\n".join([known[0], *(line for line in known[1:] if line.endswith(",1"))])
    )
    files = [str(alone), str(small_run.csv), str(same)]
    assert cli.main(["train", *files, "--output", "out"]) == 0
    [((pairs, _), keywords)] = not_trained
    validation = keywords["validation"]
    assert set(validation.is_duplicate.tolist()) == {0, 1}
    assert "Is it newer?" in pairs.question1
    held = {*validation.question1, *validation.question2}
    assert held.isdisjoint([*pairs.question1, *pairs.question2])
    err = capsys.readouterr().err
    assert "alone.csv has pairs of one label only" in err
    assert re.search(r"same.csv has .* but for \d+ pairs that share a question", err)


def test_train_says_which_rows_and_pairs_it_does_not_take(not_trained, tmp_path, capsys):
    same = [f"What is {k}?,What does {k} mean?,1" for k in "ABCDEFGH"]
    other = [f"What is {one}?,What is {two}?,0" for one, two in zip("ABCDEFG", "BCDEFGH")]
    rows = ["question1,question2,is_duplicate", *same, *other, *[",What is I?,1"] * 4]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    options = ["--max-skipped", "0.5", "--validation-share", "0.5", "--output", "out"]
    assert cli.main(["train", str(tmp_path / "p.csv"), *options]) == 0
    err = capsys.readouterr().err
    assert "read 15 pairs" in err
    bad = [f"line {1 + 8 + 7 + k}: [^;]+; " for k in (1, 2, 3)]
    assert re.search(rf"left out 4 rows that cannot be used: {''.join(bad)}\.\.\.", err)
    [((pairs, _), keywords)] = not_trained
    neither = 15 - len(pairs) - len(keywords["validation"])
    assert neither and f"in neither part: {neither} pairs whose two" in err


def test_evaluate(small_run, tmp_path, capsys):
    arguments = ["evaluate", str(small_run.csv), "--model", str(small_run.folder)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "ROC AUC" in text and "95 % interval" in text
    assert f"at threshold {small_run.trained.threshold:.4f}" in text
    assert "at threshold 0.7, the course's" in text
    more = ["--json", "--threshold", "0.5", "--plot", str(tmp_path / "p.png")]
    assert cli.main([*arguments, *more]) == 0
    result = json_of(capsys)
    assert result["threshold"] == 0.5 and result["n"] == 300
    assert result["half"]["chosen_on"] + result["half"]["applied_to"] == 300
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def evaluated(small_run, tmp_path, monkeypatch):
    """The arguments that evaluate the small run on a file in which some words are new to it."""
    monkeypatch.setattr(trained_model, "load_model", lambda _: small_run.trained)
    rows = rows_of(small_run.csv)[:60]
    for row in rows[:20]:
        row["question1"] = f"{row['question1']} Zyx\x1b[31m?"
    with open(tmp_path / "new.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return ["evaluate", str(tmp_path / "new.csv"), "--model", str(small_run.folder)]


def test_evaluate_prints_what_the_function_returns(small_run, evaluated, capsys):
    options = {"threshold": 0.5, "seed": 7, "mistakes": 3}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    pairs = trax_triplet.read_pairs(evaluated[1])
    assert cli.main([*evaluated, *words, "--json"]) == 0
    assert json_of(capsys) == trax_triplet.evaluate(small_run.trained, pairs, **options)


def test_evaluate_shows_each_number_and_the_worst_mistakes(small_run, evaluated, capsys):
    pairs = trax_triplet.read_pairs(evaluated[1])
    numbers = trax_triplet.evaluate(small_run.trained, pairs, threshold=0.5, mistakes=2)
    assert cli.main([*evaluated, "--threshold", "0.5", "--mistakes", "2"]) == 0
    metrics, *mistakes = capsys.readouterr().out.split("\n\n")
    lines = metrics.splitlines()
    low, high = numbers["average_precision_interval"]
    average = f"{numbers['average_precision']:.4f}   (95 % interval {low:.4f} to {high:.4f})"
    assert f"average precision  {average}" in lines
    for shown, name in (("best accuracy    ", "best_accuracy"), ("best F1          ", "best_f1")):
        best = numbers[name]
        start = f"{shown}  {best['value']:.4f}   at threshold {best['threshold']:.4f}, chosen on"
        assert sum(line.startswith(start) for line in lines) == 1
    unknown = numbers["unknown_words"]
    assert 20 / 60 <= unknown["share"] < 1
    assert f"unknown words      in {100 * unknown['share']:.1f} % of the pairs" in lines
    for name in ("with", "without"):
        part = unknown[name]
        measured = f"ROC AUC {part['roc_auc']:.4f}, accuracy {part['accuracy']:.4f}"
        counts = f"({part['n']} pairs, {part['duplicates']} labelled 1)"
        assert f"  {name:15}  {measured}   {counts}" in lines
    assert len(mistakes) == 2
    for text, (kind, worst) in zip(mistakes, numbers["mistakes"].items()):
        heading, *rows = text.splitlines()
        count = numbers["confusion"][kind]
        of = f"the {len(worst)} worst of {count}" if count else "none"
        assert heading == f"{kind.replace('_', ' ')}: {of}" and len(rows) == min(count, 2)
        for row, mistake in zip(rows, worst):
            place = re.match(r"line +(\d+) +(-?[\d.]+)  ", row)
            assert int(place[1]) == mistake["line"]
            assert place[2] == f"{mistake['similarity']:.4f}"
            first, second = row[place.end() :].split("  |  ")
            assert first == printable(mistake["question1"])
            assert second == printable(mistake["question2"])


@pytest.mark.parametrize("n, words", [(0, "in none of the pairs"), (4, "in 100.0 % of the pairs")])
def test_evaluate_says_where_a_part_cannot_be_measured(small_run, evaluated, capsys, n, words):
    question = small_run.trained.vocabulary.words[0] + " zyx" * n
    rows = f"{question},{question},1\n{question},{question},0\n"
    Path(evaluated[1]).write_text(f"question1,question2,is_duplicate\n{rows}")
    assert cli.main(evaluated) == 0
    text = capsys.readouterr().out
    assert f"unknown words      {words}\n" in text
    not_measured = "without          not measured, for lack of duplicates or of other pairs   (0 p"
    assert (not_measured in text) == (n > 0)


def test_evaluate_a_corpus(small_run, capsys):
    pairs = trax_triplet.read_pairs(small_run.csv)
    numbers = evaluate_corpus(small_run.trained, pairs, queries="question1", threshold=0.4)
    arguments = ["evaluate", str(small_run.csv), "--model", str(small_run.folder), "--corpus"]
    arguments += ["--queries", "question1", "--threshold", "0.4"]
    assert cli.main([*arguments, "--json"]) == 0
    assert json_of(capsys) == numbers
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert f"{numbers['queries']} queries" in shown
    for name, value in (
        ("recall@100", numbers["recall@100"]),
        ("MRR@10", numbers["mrr@10"]),
        ("nDCG@10", numbers["ndcg@10"]),
        ("average precision", numbers["pairs"]["average_precision"]),
        ("best F1", numbers["pairs"]["best_f1"]["value"]),
    ):
        assert re.search(rf"^{name} +{value:.4f}\b", shown, re.MULTILINE)
    for words in (["--plot", "x.png"], ["--mistakes", "3"]):
        assert cli.main([*arguments, *words]) == 2
    assert cli.main([*arguments[:4], "--queries", "all"]) == 2
    assert "--corpus" in capsys.readouterr().err


def test_predict_two_questions(small_run, capsys):
    model = ["--model", str(small_run.folder / "model")]
    assert cli.main(["predict", *model, "How old are you?", "how old are you?"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("duplicate ") and " 1.0000 " in text
    assert cli.main(["predict", *model, "Why?", "Who?", "--threshold", "1", "--json"]) == 0
    result = json_of(capsys)
    assert result["threshold"] == 1 and result["answers"][0]["is_duplicate"] is False
    assert cli.main(["predict", *model, " \u3000", "Who?"]) == 2
    assert "a question must not be blank" in capsys.readouterr().err
    same = ["How old are you?", "how old are you?", "--json"]
    similarity = small_run.trained.similarity(same[:1], same[1:2])[0]
    assert cli.main(["predict", *model, *same, "--threshold", repr(float(similarity))]) == 0
    assert json_of(capsys)["answers"][0]["is_duplicate"] is False  # not above, but equal


def test_questions_may_stand_before_and_after_the_options(small_run, capsys):
    model = ["--model", str(small_run.folder)]
    assert cli.main(["predict", "Why?", *model, "--json", "Who?"]) == 0
    assert json_of(capsys)["answers"][0]["question2"] == "Who?"
    with pytest.raises(SystemExit):
        cli.main(["predict", "Why?", *model, "Who?", "--no-such-option"])
    assert "unrecognized arguments: --no-such-option" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # takes no questions
        cli.main(["evaluate", "pairs.csv", *model, "Who?"])


def test_a_closed_stdin_is_told(small_run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert cli.main(["predict", "--model", str(small_run.folder), "-"]) == 2
    assert "no standard input" in capsys.readouterr().err


def test_predict_answers_lines_from_stdin(small_run, capsys, monkeypatch):
    pairs = [["How old are you?", "how old are you?"], ["Why?", "Who is it?"]]
    scores = small_run.trained.similarity(*zip(*pairs))
    threshold = small_run.trained.threshold
    answers = [[*p, f"{score:.6f}", str(int(score > threshold))] for p, score in zip(pairs, scores)]
    predict = ["predict", "--model", str(small_run.folder), "-"]

    def run(data, *options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        return cli.main([*predict, *options]), *capsys.readouterr()

    data = "".join("\t".join(pair) + "\n" for pair in pairs).encode()
    assert run(data) == (0, "".join("\t".join(answer) + "\n" for answer in answers), "")
    status, out, _ = run(data, "--json", "--threshold", "1")
    assert status == 0
    assert [json.loads(line)["is_duplicate"] for line in out.splitlines()] == [False, False]
    latin = "é?\té?\n".encode("latin-1")
    assert run(latin, "--encoding", "latin-1")[1].startswith("é?\té?\t1.0000")
    assert run(latin)[0] == 2
    status, out, err = run(b"Why?\n" + data)
    assert status == 2 and len(out.splitlines()) == 3
    assert (
        "1 of 3 lines could not be read as pairs of questions; line 1: expected two questions"
        in err
    )
    assert run(b"") == (0, "", "")


@pytest.mark.slow
def test_predict_ends_quietly_when_nobody_reads_its_answers(small_run):
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'trax_triplet', 'predict', '--model', sys.argv[1], '-']\n"
        "pipe = subprocess.PIPE\n"
        "with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:\n"
        "    for _ in range(2):\n"
        "        process.stdin.write(b'Why?\\tWho?\\n')\n"
        "        process.stdin.flush()\n"
        "        assert process.stdout.readline().startswith(b'Why?\\tWho?\\t')\n"
        "    process.stdout.close()\n"
        "    process.stdin.write(b'Why?\\tWho?\\n')\n"
        "    process.stdin.flush()\n"
        "    print(process.wait(60), process.stderr.read())\n"
    )
    done = python("-c", code, small_run.folder)
    assert done.stdout == "141 b''\n", done.stderr


def test_control_characters_do_not_reach_the_terminal(small_run, capsys):
    model = ["--model", str(small_run.folder)]
    assert cli.main(["predict", *model, "Why?", "Who\x1b[31m?"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "Who\\x1b[31m?" in out
    assert cli.main(["evaluate", *model, "pairs\x1b[31m.csv"]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "pairs\\x1b[31m.csv: No such file" in error


def test_predict_a_file_by_a_model_that_gives_no_probabilities(small_run, tmp_path):
    trained = small_run.trained
    settings = {name: v for name, v in trained.settings.items() if name != "calibration"}
    trained_model.TrainedModel(trained.weights, trained.vocabulary, settings).save(tmp_path / "m")
    (tmp_path / "in.csv").write_text("question1,question2\nWhy?,How come?\n,empty\n")
    paths = ["--csv", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    assert cli.main(["predict", "--model", str(tmp_path / "m"), *paths]) == 0
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["question1", "question2", "similarity", "is_duplicate", "reason"]
    assert all(len(row) == 5 for row in rows) and rows[1][4] == "" and rows[2][2] == ""


def test_predict_a_file(small_run, tmp_path, capsys):
    questions = ["How old\nare you?", "=1+2", "+49 30 1", "-1?", "@me?", "\tWhy?", "Why = who?"]
    with open(tmp_path / "p.csv", "w", encoding="utf-8", newline="") as file:
        rows = [["a", "b"], *([question, "How old are you?"] for question in questions)]
        csv.writer(file, delimiter=";").writerows(rows)
    arguments = ["predict", "--model", str(small_run.folder), "--csv", str(tmp_path / "p.csv")]
    arguments += ["--question1", "a", "--question2", "b"]
    assert cli.main(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(questions)
    output = ["--output", str(tmp_path / "answers.csv")]
    assert cli.main([*arguments, *output]) == 0
    rows = rows_of(tmp_path / "answers.csv")
    assert rows[0]["b"] == "How old are you?" and rows[0]["is_duplicate"] == "1"
    assert float(rows[0]["similarity"]) == pytest.approx(1.0, abs=1e-5)
    assert [row["a"] for row in rows] == questions
    assert cli.main([*arguments, *output, "--guard-formulas"]) == 0
    # A spreadsheet takes none of them for a formula.
    assert [row["a"] for row in rows_of(tmp_path / "answers.csv")] == [
        "How old\nare you?",
        "'=1+2",
        "'+49 30 1",
        "'-1?",
        "'@me?",
        "'\tWhy?",
        "Why = who?",
    ]


def test_answers_can_be_joined(small_run, tmp_path, capsys):
    text = (
        "test_id,question1,question2,similarity,note\r\n"
        'a7,Why?,How come?,high,"x, y"\r\n'
        "a8,,Who?,low,=1+2\r\n"
        "\r\n"
        "a9,Why?,Who?\r\n"
        "b1,-2 + 5 = ?,Who?,,é\r\n"
        "b2,Why?,Who?,,a,note,of,,mine\r\n"
        "b3,Why?,Who?,,a,,,,\r\n"
        'b4,"Why" so?,Who?,high,a\r\n'
    )
    (tmp_path / "p.csv").write_bytes(text.encode())
    arguments = ["predict", "--model", str(small_run.folder), "--csv", str(tmp_path / "p.csv")]
    assert cli.main([*arguments, "--output", str(tmp_path / "a.csv")]) == 0
    assert (
        "wrote 7 rows" in (err := capsys.readouterr().err) and "4 of them without an answer" in err
    )
    given, rows = rows_of(tmp_path / "p.csv"), rows_of(tmp_path / "a.csv")
    names = ["test_id", "question1", "question2", "similarity", "note"]
    added = ["answer_similarity", "is_duplicate", "probability", "reason"]
    unnamed = ["unnamed_1", "unnamed_2", "unnamed_3", "unnamed_4"]
    assert [*rows[0]] == [*names, *unnamed, *added]
    # What a row has beyond the header is kept, too.
    assert [[row[name] for name in unnamed] for row in rows[3:]] == [
        ["", "", "", ""],
        ["note", "of", "", "mine"],
        ["", "", "", ""],
        ["", "", "", ""],
    ]
    # A row that cannot be read is there as it stands.
    assert rows[6]["question1"] == '"Why" so?' and rows[6]["reason"].startswith("malformed")
    for before, after in zip(given[:6], rows[:6], strict=True):
        assert [after[name] for name in names] == [before[name] or "" for name in names]
    assert [row["reason"] for row in rows[:6]] == [
        "",
        "question1 is blank",
        "3 fields, the header has 5",
        "",
        "9 fields, the header has 5",
        "",
    ]
    answered = [True, False, False, True, False, True, False]
    assert [bool(row["answer_similarity"]) for row in rows] == answered
    assert cli.main([*arguments, "--json"]) == 0
    answers = json_of(capsys)["answers"]
    assert [answer["line"] for answer in answers] == [2, 3, 5, 6, 7, 8, 9]
    assert answers[1]["similarity"] is None and answers[1]["reason"] == "question1 is blank"
    assert cli.main(arguments) == 0
    assert "no answer              line 3: question1 is blank" in capsys.readouterr().out
    assert cli.main([*arguments, "--max-skipped", "0.1"]) == 2


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_threshold_of_made_up_negatives_is_told(small_run, tmp_path, capsys, command):
    told = "was chosen on made-up negatives"
    rest = ["Why?", "Who?"] if command == "predict" else [str(small_run.csv)]
    assert cli.main([command, "--model", str(small_run.folder), *rest]) == 0
    assert told not in capsys.readouterr().err
    trained = small_run.trained
    source = "best accuracy, 1.0, on 5 pairs; there were no pairs labelled 0"
    settings = {**trained.settings, "threshold_source": source}
    trained_model.TrainedModel(trained.weights, trained.vocabulary, settings).save(
        tmp_path / "model"
    )
    model = ["--model", str(tmp_path / "model")]
    assert cli.main([command, *model, *rest]) == 0
    assert told in capsys.readouterr().err
    assert cli.main([command, *model, *rest, "--threshold", "0.5"]) == 0
    assert told not in capsys.readouterr().err


@pytest.mark.slow
def test_export(small_run, tmp_path, capsys):
    assert cli.main(["export", str(small_run.folder), str(tmp_path / "model.keras")]) == 0
    assert re.fullmatch(
        r"wrote .*model.keras \(a Keras model\); threshold 0.\d{4}\n", capsys.readouterr().out
    )
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_bytes(b"an older one, which is replaced")
    export = ["export", "--json", "--format", "savedmodel"]
    assert cli.main([*export, str(small_run.folder), str(tmp_path / "served")]) == 0
    assert json_of(capsys)["format"] == "savedmodel"
    assert (tmp_path / "served" / "saved_model.pb").stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "served"]


def test_demo(small_run, tmp_path, capsys, monkeypatch, not_trained):
    monkeypatch.setattr(tour, "DEMO_PAIRS", 300)
    assert cli.main(["demo", "--output", str(tmp_path / "demo"), "--seed", "2"]) == 0
    text = capsys.readouterr().out
    assert "test pairs whose questions were never seen" in text and text.count("duplicate  ") >= 8
    [((pairs, _), keywords)] = not_trained
    assert 3 < len(pairs) / len(keywords["validation"]) < 7
    assert keywords["settings"].steps == 800 and keywords["settings"].seed == 2
    files = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert files == ["sample.csv", "scores.png"]


@pytest.mark.slow
def test_demo_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tour, "DEMO_PAIRS", 600)
    monkeypatch.setattr(tour, "DEMO_SETTINGS", SETTINGS)
    assert cli.main(["demo", "--output", str(tmp_path / "demo")]) == 0
    assert "ROC AUC 0." in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "demo").iterdir())
    made = [".lock", "checkpoints", "history.jsonl", "model", "sample.csv", "scores.png"]
    assert files == made


def test_ctrl_c_is_status_130(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "write_csv", interrupted)
    assert cli.main(["sample", str(tmp_path / "x.csv")]) == 130
    assert capsys.readouterr().err == "trax-triplet sample: stopped\n"


def test_a_reader_that_stops_reading_is_no_error(monkeypatch, tmp_path, capsys):
    class Closed(io.StringIO):
        def flush(self):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(sys, "stdout", Closed())
    assert cli.main(["sample", str(tmp_path / "x.csv"), "--pairs", "5"]) == 141
    assert capsys.readouterr().err == "" and (tmp_path / "x.csv").is_file()


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter: LANG=C
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932", "utf-8"])
def test_any_name_can_be_shown_on_any_console(monkeypatch, tmp_path, encoding, errors):
    shown = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding, errors=errors))
        assert cli.main(["sample", str(tmp_path / "naïve ∞.csv"), "--pairs", "5"]) == 0
        assert sys.stdout.errors == errors
        text = shown.getvalue().decode(encoding)
    assert text.startswith("wrote 5 question pairs to ") and "ve " in text
    assert (tmp_path / "naïve ∞.csv").is_file()


def raised_here(*_, **__):
    raise ValueError("a bug\nin two lines")


@pytest.mark.parametrize(
    "bug, words",
    [
        (raised_here, "ValueError: a bug in two lines"),  # not by a `raise` of the package
        (lambda *_, **__: int("many"), "ValueError: invalid literal"),
        (lambda *_, **__: trax_triplet.sample.generate("many"), "TypeError: n_pairs must be"),
        (lambda *_, **__: {}["key"], "KeyError: 'key'"),
        # An operation inside the package, where `raise` statements are for mistakes.
        (lambda path, *_, **__: new_file(path, "?").__enter__(), "ValueError: invalid mode"),
    ],
)
def test_an_error_of_our_own_is_not_reported_as_the_users(
    monkeypatch, tmp_path, capsys, bug, words
):
    monkeypatch.setattr(sample, "write_csv", bug)
    assert cli.main(["sample", str(tmp_path / "x.csv")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trax-triplet sample: internal error: {words}")
    assert line.endswith("please report it, with the traceback that --debug shows")


@pytest.mark.parametrize("arguments", [["--debug", "sample"], ["sample", "--debug"]])
def test_debug_shows_the_traceback(arguments, tmp_path, capsys):
    command = [*arguments, str(tmp_path / "x.csv"), "--pairs", "0"]
    assert cli.main(command) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and "ValueError: " in lines[-1]
    assert last.startswith("trax-triplet sample: error: --pairs must be")
    assert cli.main([word for word in command if word != "--debug"]) == 2
    assert capsys.readouterr().err.splitlines() == [last]


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"trax-triplet {trax_triplet.__version__}\n"


def test_every_option_is_explained():
    parsers = [program.make_parser()]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action.choices, dict):  # the commands
                parsers += action.choices.values()
                assert set(action.choices) == {x.dest for x in action._choices_actions}
            else:
                assert len(action.help) > 12, action.dest
    assert len(parsers) == 13


@pytest.mark.slow
def test_help_loads_no_framework():
    code = (
        "import sys; from trax_triplet.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('trax', 'jax', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]" and "--neighbours" in done.stdout


def test_the_package_is_run_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("trax_triplet", run_name="__main__")
    assert ended.value.code == 0 and trax_triplet.__version__ in capsys.readouterr().out


@pytest.mark.slow
def test_python_m(tmp_path):
    done = python("-m", "trax_triplet", "sample", tmp_path / "s.csv", "--pairs", "5")
    assert done.returncode == 0 and done.stderr == "" and "wrote 5" in done.stdout


def test_public_names():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", trax_triplet.__version__)
    for name in trax_triplet.__all__:
        assert getattr(trax_triplet, name).__doc__
        assert name in dir(trax_triplet)
    with pytest.raises(AttributeError, match="nothing"):
        _ = trax_triplet.nothing
