"""The commands on a corpus, as a person types them."""

import csv
import io
import json

import pytest

from trax_triplet import cli
from trax_triplet.data.pairs import question_groups
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.sample import generate
from trax_triplet.search import duplicates

pytestmark = pytest.mark.integration  # commands on a model that is trained before


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def corpus(tmp_path):
    """A file of questions with ids; the first three are the same but for case."""
    questions = list(dict.fromkeys(row[3] for row in generate(60)))
    questions = [questions[0], questions[0].upper(), questions[0].lower() + " ", *questions[1:]]
    with open(tmp_path / "q.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("id", "question"), *((f"q{k}", q) for k, q in enumerate(questions))]
        )
    return tmp_path / "q.csv", questions


@pytest.fixture
def command(small_run, corpus, tmp_path):
    file, output = str(corpus[0]), str(tmp_path / "pairs.csv")
    return ["duplicates", file, "--id", "id", "--model", str(small_run.folder), "--output", output]


def test_duplicates(small_run, corpus, command, tmp_path, capsys):
    options = ["--threshold", "0.9", "--groups", str(tmp_path / "groups.csv")]
    assert cli.main([*command, *options]) == 0
    captured = capsys.readouterr()
    pairs, groups = rows_of(tmp_path / "pairs.csv"), rows_of(tmp_path / "groups.csv")
    _, questions = corpus
    vectors = small_run.trained.embed(questions)
    found = duplicates.find_duplicates(vectors, threshold=0.9)
    assert [(p["id1"], p["id2"]) for p in pairs] == [
        (f"q{i}", f"q{j}") for i, j in zip(found.first, found.second)
    ]
    assert {("q0", "q1"), ("q0", "q2"), ("q1", "q2")} <= {(p["id1"], p["id2"]) for p in pairs}
    similar = [float(p["similarity"]) for p in pairs]
    assert similar == sorted(similar)[::-1] and all(0.9 < s <= 1 for s in similar)
    assert all(p["question1"] == questions[int(p["id1"][1:])] for p in pairs)
    assert f"{len(questions)} questions, {len(pairs)} pairs above the threshold" in captured.out
    sizes = [int(row["size"]) for row in groups]
    assert sizes == sorted(sizes)[::-1] and len({row["id"] for row in groups}) == len(groups)
    [same] = [row["group"] for row in groups if row["id"] == "q0"]
    members = {row["id"] for row in groups if row["group"] == same}
    assert {"q0", "q1", "q2"} <= members
    assert sorted(path.name for path in tmp_path.iterdir()) == ["groups.csv", "pairs.csv", "q.csv"]


def test_complete_linkage_has_no_chains(command, tmp_path, capsys):
    options = ["--threshold", "0.7", "--groups", str(tmp_path / "groups.csv"), "--json"]
    assert cli.main([*command, *options]) == 0
    single = json.loads(capsys.readouterr().out)
    assert cli.main([*command, *options, "--linkage", "complete"]) == 0
    captured = capsys.readouterr()
    complete = json.loads(captured.out)
    assert complete["chains"] == 0 and "chains" not in captured.err
    assert complete["pairs"] == single["pairs"] and complete["largest"] <= single["largest"]
    assert all(float(row["least_similarity"]) > 0.7 for row in rows_of(tmp_path / "groups.csv"))


def test_lines_are_the_ids_where_there_are_none(command, tmp_path):
    del command[2:4]
    assert cli.main([*command, "--threshold", "0.999", "--top-k", "1"]) == 0
    pairs = {(row["id1"], row["id2"]) for row in rows_of(tmp_path / "pairs.csv")}
    assert ("2", "3") in pairs


def test_ctrl_c_leaves_what_is_complete_and_the_same_command_goes_on(
    command, tmp_path, capsys, monkeypatch
):
    command += ["--threshold", "0.5"]
    assert cli.main(command) == 0
    wanted = (tmp_path / "pairs.csv").read_text()
    (tmp_path / "pairs.csv").unlink()
    search = duplicates.search_to_folder

    def interrupted(*arguments, **options):
        def progress(rows, pairs):
            if rows >= 40:
                raise KeyboardInterrupt

        return search(*arguments, **{**options, "block": 10, "progress": progress})

    monkeypatch.setattr(duplicates, "STRETCH", 1)
    monkeypatch.setattr(duplicates, "search_to_folder", interrupted)
    assert cli.main(command) == 130
    assert not (tmp_path / "pairs.csv").exists()
    part = rows_of(tmp_path / "pairs.csv.unfinished" / "pairs.csv")
    assert part and {row["id1"] for row in part} <= {f"q{k}" for k in range(40)}
    assert "the same command goes on from there" in capsys.readouterr().err
    starts = []

    def noted(folder, *arguments, **options):
        starts.append(
            duplicates.Spool(
                folder, duplicates.identity(*arguments[:1], threshold=0.5, top_k=None)
            ).stop
        )
        return search(folder, *arguments, **options)

    monkeypatch.setattr(duplicates, "search_to_folder", noted)
    assert cli.main(command) == 0
    assert (tmp_path / "pairs.csv").read_text() == wanted and starts == [40]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.csv", "q.csv"]


def test_no_cell_is_a_formula_where_it_is_asked_for(command, tmp_path):
    (tmp_path / "q.csv").write_text("id,question\n=1,=1+1\n@2,=1+1\n")
    assert cli.main([*command, "--threshold", "-1"]) == 0
    assert rows_of(tmp_path / "pairs.csv")[0]["id1"] == "=1"
    assert cli.main([*command, "--threshold", "-1", "--guard-formulas"]) == 0
    [pair] = rows_of(tmp_path / "pairs.csv")
    assert (pair["id1"], pair["id2"], pair["question1"]) == ("'=1", "'@2", "'=1+1")


@pytest.fixture
def indexed(small_run, corpus, tmp_path):
    """The folder of an index of the corpus."""
    build = ["index", str(corpus[0]), "--id", "id", "--model", str(small_run.folder)]
    assert cli.main([*build, "--output", str(tmp_path / "idx")]) == 0
    return str(tmp_path / "idx")


def test_index_and_search(indexed, corpus, tmp_path, capsys):
    _, questions = corpus
    assert cli.main(["index", indexed, "--info"]) == 0
    assert f"idx: {len(questions)} questions, vectors of 8; all are" in capsys.readouterr().out
    assert cli.main(["search", indexed, questions[0], "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith(" 1.0000  duplicate  q")
    (tmp_path / "more.csv").write_text(f"id,question\nnew,{questions[0]} indeed\n")
    assert cli.main(["index", indexed, "--add", str(tmp_path / "more.csv"), "--id", "id"]) == 0
    assert cli.main(["index", indexed, "--remove", "q0", "q1"]) == 0
    capsys.readouterr()
    assert cli.main(["index", indexed, "--info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["questions"] == len(questions) - 1 and not info["approximate"]
    assert cli.main(["search", indexed, questions[0], questions[5], "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    ids = [hit["id"] for hit in answers[0]["found"]]
    assert answers[0]["query"] == questions[0] and "q2" in ids[:1] and not {"q0", "q1"} & set(ids)


def test_search_a_file_and_lines(indexed, corpus, tmp_path, capsys, monkeypatch):
    file, questions = corpus
    hits = str(tmp_path / "hits.csv")
    command = ["search", indexed, "--csv", str(file), "--id", "id", "--top", "2", "--output", hits]
    assert cli.main(command) == 0
    rows = rows_of(hits)
    assert len(rows) == 2 * len(questions)
    assert [row["rank"] for row in rows[:4]] == ["1", "2", "1", "2"]
    assert all(float(row["similarity"]) > 0.9999 for row in rows[::2])
    assert {row["is_duplicate"] for row in rows[::2]} == {"1"}
    capsys.readouterr()
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(f"{questions[7]}\n\n{questions[8]}\n".encode()))
    )
    assert cli.main(["search", indexed, "-", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [questions[7], questions[8]] and len(lines) == 4


def test_lines_that_cannot_be_read_are_answered_in_step(indexed, corpus, capsys, monkeypatch):
    _, questions = corpus
    data = b"\xef\xbb\xbf" + questions[3].encode() + b"\r\n\nO\xf9?\n" + questions[4].encode()

    def run(*options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        return cli.main(["search", indexed, "-", "--top", "1", *options]), *capsys.readouterr()

    status, out, err = run()
    assert status == 2 and "1 of 3 lines could not be read; line 3: expected a question" in err
    lines = out.splitlines()
    assert (lines[0], lines[3]) == (questions[3], questions[4])
    assert lines[2].startswith("line 3: expected a question, but it is 'O")
    assert "not UTF-8" in lines[2]
    status, out, _ = run("--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 2 and answers[1]["line"] == 3 and "not UTF-8" in answers[1]["error"]
    assert [answer["query"] for answer in answers[::2]] == [questions[3], questions[4]]
    assert run("--encoding", "latin-1")[0] == 0


def test_mine_says_why_nothing_was_found(small_run, tmp_path, capsys):
    command = ["mine", str(small_run.csv), "--model", str(small_run.folder)]
    command += ["--output", str(tmp_path / "triplets.csv")]
    assert cli.main([*command, "--band", "0.9999", "1"]) == 0
    out = capsys.readouterr().out
    assert "wrote 0 triplets" in out and "next:" not in out and "--band" in out
    (tmp_path / "others.csv").write_text("question1,question2,is_duplicate\nWhy?,Who?,0\n")
    command[1] = str(tmp_path / "others.csv")
    assert cli.main(command) == 0
    assert "others.csv has no pairs of duplicates" in capsys.readouterr().out
    assert rows_of(tmp_path / "triplets.csv") == []


def test_mine_finds_negatives_that_train_takes(small_run, tmp_path, capsys):
    output = str(tmp_path / "triplets.csv")
    command = ["mine", str(small_run.csv), "--model", str(small_run.folder), "--output", output]
    assert cli.main([*command, "--band", "0", "0.95"]) == 0
    assert "--negative negative" in capsys.readouterr().out
    rows = rows_of(output)
    known = read_pairs(small_run.csv)
    first, second = question_groups(known)
    group = dict(zip((*known.question1, *known.question2), (*first, *second)))
    assert len(rows) > 10
    for row in rows:
        assert group[row["question1"]] == group[row["question2"]] != group[row["negative"]]
        assert float(row["negative_similarity"]) < 0.95 * float(row["similarity"]) + 1e-6
    pairs = read_pairs(output, negative="negative")
    assert pairs.is_duplicate.tolist() == [1, 0] * len(rows)
