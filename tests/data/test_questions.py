"""Questions from tables, JSON lines and Parquet."""

import contextlib
import gzip
import json
import os
import threading

import pytest

from trax_triplet.data.questions import read_questions

WHY, HOW = 'Why, "really"?', "Wie heißt\ndu?"
TABLES = {
    "comma": 'id,question\n7,"Why, ""really""?"\n8,"Wie heißt\ndu?"\n',
    "semicolon": 'question;id\n"Why, ""really""?";7\n"Wie heißt\ndu?";8\n',
    "tab": 'id\tother\tquestion\n7\tx\t"Why, ""really""?"\n8\ty\t"Wie heißt\ndu?"\n',
    "json": "".join(
        json.dumps({"question": q, "id": n}, ensure_ascii=False) + "\n"
        for n, q in ((7, WHY), (8, HOW))
    ),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_decides_what_a_file_is(tmp_path, kind, packed):
    data = TABLES[kind].encode("utf-8-sig" if kind == "comma" else "utf-8")
    (tmp_path / "q.txt").write_bytes(gzip.compress(data) if packed else data)
    questions = read_questions(tmp_path / "q.txt", id="id")
    assert (questions.texts, questions.ids) == ((WHY, HOW), ("7", "8"))
    assert questions.lines == ((1, 2) if kind == "json" else (2, 3))
    assert read_questions(tmp_path / "q.txt").ids is None
    renamed = read_questions(tmp_path / "q.txt", column="id" if kind != "json" else "question")
    assert len(renamed) == 2


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"id": [7, 8, 9], "question": [WHY, None, HOW]})
    parquet.write_table(table, tmp_path / "q.parquet")
    questions = read_questions(tmp_path / "q.parquet", id="id", max_skipped=0.5)
    assert (questions.texts, questions.ids) == ((WHY, HOW), ("7", "9"))
    assert questions.skipped == ((2, "question is None, not a text"),)
    with pytest.raises(ValueError, match="no column 'text'"):
        read_questions(tmp_path / "q.parquet", column="text")
    (tmp_path / "q.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="q.parquet: the Parquet file is damaged"):
        read_questions(tmp_path / "q.parquet")
    parquet.write_table(table, tmp_path / "q.parquet")
    whole = (tmp_path / "q.parquet").read_bytes()
    for at in range(4, len(whole) - 30, 20):  # pyarrow raises errors of several kinds
        (tmp_path / "q.parquet").write_bytes(whole[:at] + b"\xff" * 30 + whole[at + 30 :])
        with contextlib.suppress(ValueError):
            read_questions(tmp_path / "q.parquet", id="id", max_skipped=1)
    invalid = pyarrow.array([b"\xff"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"question": invalid}), tmp_path / "q.parquet")
    with pytest.raises(ValueError, match="q.parquet: the Parquet file is damaged"):
        read_questions(tmp_path / "q.parquet")


def test_json_lines_of_an_old_macintosh_and_with_a_key_twice(tmp_path):
    lines = [
        '{"question": "Why?"}',
        '{"question": "How?", "question": "Who?"}',
        '{"question": "a"}',
    ]
    (tmp_path / "q.jsonl").write_bytes("\r".join(lines).encode())
    questions = read_questions(tmp_path / "q.jsonl", max_skipped=0.4)
    assert questions.texts == ("Why?", "a") and questions.lines == (1, 3)
    assert questions.skipped == ((2, "not JSON: a key comes twice"),)


def test_rows_that_cannot_be_used_are_told(tmp_path):
    rows = ["id,question", "1,Why?", "2, ", ",Who?", "4,a,b", "", "5,How?"]
    (tmp_path / "q.csv").write_text("\n".join(rows))
    questions = read_questions(tmp_path / "q.csv", id="id", max_skipped=0.9)
    assert questions.texts == ("Why?", "How?") and questions.lines == (2, 7)
    reasons = ["question is blank", "id is '', not an id", "3 fields, the header has 2"]
    assert questions.skipped == tuple(zip((3, 4, 5), reasons))
    with pytest.raises(ValueError, match=r"3 of 5 rows .* line 3: question is blank"):
        read_questions(tmp_path / "q.csv", id="id")
    lines = ['{"question": "Why?"}', "no JSON", '{"q": 1}', '{"question": 5}', "[1]"]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    questions = read_questions(tmp_path / "q.jsonl", max_skipped=0.9)
    assert questions.texts == ("Why?",)
    assert [line for line, _ in questions.skipped] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "the first line must name the columns, but the file is empty"),
        ("question\n", "a header but no rows"),
        ("question,question\na,b\n", "several columns are named 'question'"),
        ("text\nWhy?\n", "name yours by column=$"),
        ('{"text": "Why?"}\n', "line 1: expected an object with the key 'question'"),
        ('question\n"Why?\nWho?\n', "lines 2 to 3: a quote is not closed"),
    ],
)
def test_a_file_without_questions_is_refused(tmp_path, content, words):
    (tmp_path / "q.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_questions(tmp_path / "q.csv")


def test_half_a_surrogate_pair_is_no_text(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "Why \\ud800?", "id": 1}\n{"question": "How?", "id": 2}\n')
    found = read_questions(path, id="id", max_skipped=0.5)
    assert found.texts == ("How?",) and "surrogate" in found.skipped[0][1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", TABLES)
def test_a_pipe_gives_its_content_once(tmp_path, kind):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[TABLES[kind].encode()])
    writer.start()
    assert read_questions(pipe).texts == (WHY, HOW)
    writer.join()


def test_an_id_that_comes_twice_is_refused_with_its_lines(tmp_path):
    (tmp_path / "q.csv").write_text("id,question\n7,Why?\n8,Who?\n 7,How?\n")
    with pytest.raises(ValueError, match="id is '7' on line 2 and on line 4"):
        read_questions(tmp_path / "q.csv", id="id")
    assert len(read_questions(tmp_path / "q.csv")) == 3


def test_a_text_that_shows_nothing_is_blank(tmp_path):
    (tmp_path / "q.csv").write_text("id,question\n1,Why?\n2,\u200b\u00ad\n", encoding="utf-8")
    questions = read_questions(tmp_path / "q.csv", max_skipped=0.5)
    assert questions.skipped == ((3, "question is blank"),)


def test_bytes_literals_are_unwrapped(tmp_path):
    (tmp_path / "q.tsv").write_text("id\tquestion\n1\tb'Why?'\n2\tb''\n3\tb\"What's up?\"\n")
    questions = read_questions(tmp_path / "q.tsv", id="id", max_skipped=0.4)
    assert (questions.texts, questions.ids) == (("Why?", "What's up?"), ("1", "3"))
    assert questions.lines == (2, 4) and questions.skipped == ((3, "question is blank"),)
    assert "unwrapped" in questions.notes[-1]
    (tmp_path / "q.tsv").write_text("question\nb'Why?'\nWho?\n")
    questions = read_questions(tmp_path / "q.tsv")
    assert questions.texts[0] == "b'Why?'" and "1 of 2 texts" in questions.notes[-1]


def test_rows_that_a_stray_quote_merged_are_told(tmp_path):
    rows = [f"{i},What is {i}?" for i in range(20)]
    text = "\n".join(["id,question", *rows[:5], '98,"Why so', '99,Is it 6"', *rows[5:]])
    (tmp_path / "q.csv").write_text(text)
    questions = read_questions(tmp_path / "q.csv", id="id", max_skipped=0.1)
    assert len(questions) == 20 and [line for line, _ in questions.skipped] == [7, 8]


def test_parquet_with_two_columns_of_one_name(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = ["question", "question", "id"]
    table = pyarrow.Table.from_arrays([pyarrow.array(["Why?"])] * 3, names=names)
    parquet.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(ValueError, match="several columns are named 'question'"):
        read_questions(tmp_path / "q.parquet")
    with pytest.raises(ValueError, match="several columns are named 'question'"):
        read_questions(tmp_path / "q.parquet", column="id", id="question")
    assert read_questions(tmp_path / "q.parquet", column="id").texts == ("Why?",)
