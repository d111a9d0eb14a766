"""Files as people have them: the forms of public sets of pairs, made here; encodings and labels."""

import bz2
import codecs
import csv
import io
import lzma

import pytest

from trax_triplet.data.reader import Labels, read_pairs, read_rows

MRPC = {"question1": "#1 String", "question2": "#2 String", "label": "Quality"}
PAWS = {"question1": "sentence1", "question2": "sentence2", "label": "label"}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def pairs_of(pairs):
    return list(zip(pairs.question1, pairs.question2, pairs.is_duplicate.tolist()))


def tabs(*rows, end="\n"):
    return "".join("\t".join(map(str, row)) + end for row in rows)


# --- quotes


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "texts",
    [
        [("Rain fell .", '" It rained .'), ("Dogs bark .", 'Cats , he said , meow . "')],
        [('" Yes , " he said .', 'He said " yes " .'), ('"', "One mark"), ('""', "Two")],
        [('"All of it is quoted"', "This is not"), ("This", '"is"')],
        [("'Single", "quotes'"), ("`Back", "ticks`"), ("\\", "a\\b")],
        [('5" pipe', '6" pipe'), ('"5 pipes', '6" pipes"')],
    ],
)
def test_a_file_that_does_not_quote_is_taken_as_it_stands(tmp_path, texts, end):
    rows = [(i % 2, 10 + i, 20 + i, first, second) for i, (first, second) in enumerate(texts)]
    header = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    path = write(tmp_path / "msr.tsv", "\ufeff" + tabs(header, *rows, end=end))
    pairs = read_pairs(path, **MRPC)
    assert pairs_of(pairs) == [(first, second, label) for label, _, _, first, second in rows]
    assert pairs.lines.tolist() == list(range(2, len(rows) + 2)) and not pairs.skipped


def test_a_text_over_several_lines_that_is_not_quoted_is_told_line_by_line(tmp_path):
    header = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    good = [(i, 2 * i, 2 * i + 1, f"Who is {i}?", f"What is {i}?", i % 2) for i in range(2, 5)]
    text = tabs(header, *good) + '5\t10\t11\tDid "Troy exist?\nI wonder\t"\nWhy?\t1\n'
    pairs = read_pairs(write(tmp_path / "q.tsv", text), max_skipped=1)
    assert len(pairs) == 3 and [line for line, _ in pairs.skipped] == [5, 6, 7]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_file_that_quotes_is_unquoted(tmp_path, quoting, separator):
    rows = [('He said "no"', 'So "did" I', 1), ('"', "two\nlines", 0), ('""', 'a "b" c', 1)]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, quoting=quoting)
    writer.writerows([("question1", "question2", "is_duplicate"), *rows])
    assert pairs_of(read_pairs(write(tmp_path / "q.tsv", file.getvalue()))) == rows


def test_quoting_by_hand(tmp_path):
    path = write(
        tmp_path / "q.tsv", tabs(("question1", "question2", "is_duplicate"), ('"a"', "b", 1))
    )
    pairs = read_pairs(path)
    assert (
        pairs.question1 == ('"a"',) and "quotes around 1 field are taken as text" in pairs.notes[0]
    )
    assert read_pairs(path, quoting="csv").question1 == ("a",)
    path = write(tmp_path / "q.csv", 'question1,question2,is_duplicate\n"a,b",1\n"c,"d",1\n')
    assert pairs_of(read_pairs(path, quoting="none")) == [('"a', 'b"', 1), ('"c', '"d"', 1)]
    with pytest.raises(ValueError, match=r"malformed.*quoting= and escape="):
        read_pairs(path)


@pytest.mark.parametrize("quoting", ["auto", "csv"])
def test_quotes_behind_backslashes(tmp_path, quoting):
    text = 'question1,question2,is_duplicate\n"A \\"b\\", \\\\c","d",1\n'
    path = write(tmp_path / "q.csv", text)
    with pytest.raises(ValueError, match="malformed.*escape="):
        read_pairs(path)
    assert read_pairs(path, escape="\\", quoting=quoting).question1 == ('A "b", \\c',)


def test_rows_that_a_quote_swallowed_are_told(tmp_path):
    text = "id,question1,question2,is_duplicate\n"
    text += '1,Why?,"How\n2,Who?,What,0\n3,When?,Where?",1\n4,Yes?,No?,0\n'
    path = write(tmp_path / "q.csv", text)
    pairs = read_pairs(path, max_skipped=0.75)
    assert pairs_of(pairs) == [("Yes?", "No?", 0)]
    assert [line for line, _ in pairs.skipped] == [2, 3, 4]
    assert "looks like another row, '2,Who?,What,0'" in pairs.skipped[0][1]
    assert len(read_pairs(path, quoting="csv")) == 2


@pytest.mark.parametrize(
    "text, expected",
    [
        ('"A, b", "C ""d""", 1\nE, "F", 0\n', [("A, b", 'C "d"', 1), ("E", "F", 0)]),
        ('"A\nb", "C", 1\n', [("A\nb", "C", 1)]),
        ('Who, "x" y,1\n', [("Who", ' "x" y', 1)]),  # a quote that is text
        ('Who, "x y,1\nIs, it 6",0\n', [("Who", ' "x y', 1), ("Is", ' it 6"', 0)]),
    ],
)
def test_blanks_before_a_quote(tmp_path, text, expected):
    header = "question1, question2, is_duplicate\n"
    assert pairs_of(read_pairs(write(tmp_path / "q.csv", header + text))) == expected
    header = 'question1, "question2", is_duplicate\n'
    assert pairs_of(read_pairs(write(tmp_path / "q.csv", header + text))) == expected


def test_prose_over_several_lines_is_no_swallowed_row(tmp_path):
    path = write(tmp_path / "q.csv", 'question1,question2,is_duplicate\n"Well,\nyes, no, 3",b,1\n')
    assert read_pairs(path).question1 == ("Well,\nyes, no, 3",)


ID_HEADER, PLAIN_HEADER = "id,question1,question2,is_duplicate", "question1,question2"


@pytest.mark.parametrize(
    "header, row, lines",
    [
        (ID_HEADER, "{i},What {i}?,Which {i}?,0", ['9,"Why so,How,1', '10,Is it 6 feet 2",Who,0']),
        (ID_HEADER, "{i},What {i}?,Which {i}?,0", ['9,Why,"How so,1', '10,Is it,6 feet 2",0']),
        (ID_HEADER, "{i},What {i}?,Which {i}?,0", ['9,"Why, so,How,1', '10,It, 6",Who,0']),
        (ID_HEADER, "{i},What {i}?,Which {i}?,0", ['9,"1,000 men,How,1', '10,6 feet 2",Who,0']),
        (f"{PLAIN_HEADER},is_duplicate", "What {i}?,W {i}?,{no}", ['"Why,How,yes', 'What 6",W,no']),
        (
            f"{PLAIN_HEADER},is_duplicate",
            "What {i}?,W {i}?,{no}",
            ['Why,"How,yes', "So,Who,no", 'What,6",no'],
        ),
        (PLAIN_HEADER, "What {i}?,Which {i}?", ['"Why is this so,How come', 'Is it 6",Which']),
        (PLAIN_HEADER, "What {i}?,Which {i}?", ['Why is this so,"How come', 'Is it,Which 6"']),
        (PLAIN_HEADER, "What {i}?,Which {i}?", ['"Why,How come', "Who,When", 'Is it 6",Which']),
    ],
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_each_line_that_a_stray_quote_merged_is_told(tmp_path, header, row, lines, separator):
    rows = [row.format(i=i, no=("no", "yes")[i % 2]) for i in range(40)]
    text = "\n".join([header, *rows[:8], *lines, *rows[8:]]) + "\n"
    path = write(tmp_path / "q.csv", text.replace(",", separator))
    pairs = read_pairs(path, max_skipped=0.1, duplicates_only=header == PLAIN_HEADER)
    assert len(pairs) == 40 and not any("\n" in text for text in pairs.question1 + pairs.question2)
    assert pairs.lines.tolist() == [*range(2, 10), *range(10 + len(lines), 42 + len(lines))]
    assert [line for line, _ in pairs.skipped] == [*range(10, 10 + len(lines))]
    assert "another row" in pairs.skipped[-1][1]
    merged = read_pairs(path, quoting="csv", duplicates_only=header == PLAIN_HEADER)
    assert len(merged) == 41


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("header", ["id", "", "comment"])
@pytest.mark.parametrize(
    "question",
    [
        "What is this,\nand that, then?",
        "First,\nsecond, third and 4\n",
        "Is it\n3,5 or 3.7?",
        "Yes?\nno, 1",
        "\nWhy, 1\n2, 3?\n",
        "See f(a,b)\nand g(c)\n",
        "First\n1. f(a,b)\n2. g(a,b)\nWhy?",
    ],
)
def test_text_over_several_lines_with_commas_is_read(tmp_path, question, header, place):
    extra = [[header]] * (header != "")
    rows = [[f"What is {i}, then?", f"Who was {i}?"] for i in range(20)]
    rows[3][place] = question
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    cells = (lambda i: [i, 0]) if header == "id" else lambda i: [""] * len(extra)
    writer.writerow([*["id", "is_duplicate"] * (header == "id"), *PLAIN_HEADER.split(",")])
    if header == "comment":
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(["comment", *PLAIN_HEADER.split(",")])
    writer.writerows([[*cells(i), *row] for i, row in enumerate(rows)])
    path = write(tmp_path / "q.csv", file.getvalue())
    pairs = read_pairs(path, label="is_duplicate" if header == "id" else None, max_skipped=0)
    assert [*map(list, zip(pairs.question1, pairs.question2))] == rows


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_line_that_names_excels_separator(tmp_path, separator, quote):
    rows = [("question1", "question2", "is_duplicate"), ("Why; so, 1?", "a|b", 1), ("c", "d", 0)]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator).writerows(rows)
    text = f"{quote}sep={separator}{quote}\r\n{file.getvalue()}"
    path = write(tmp_path / "q.csv", "\ufeff" + text)
    pairs = read_pairs(path)
    assert pairs_of(pairs) == rows[1:] and pairs.lines.tolist() == [3, 4]
    assert pairs.notes == (f"separated by {separator!r}, as the first line says",)
    with pytest.raises(ValueError, match="lines 5 to 6: a quote is not closed"):
        read_pairs(write(path, text + f'"e{separator}f\ng'), quoting="csv")


# --- bytes literals


def test_bytes_literals_are_unwrapped(tmp_path):
    texts = ["What's up?", "Où?", 'He said "no"', "Can a\tbad person\\ change?", "日本"]
    rows = [(i, repr(t.encode()), repr(t.upper().encode()), 1) for i, t in enumerate(texts)]
    path = write(tmp_path / "paws.tsv", tabs(("id", "sentence1", "sentence2", "label"), *rows))
    pairs = read_pairs(path, **PAWS)
    assert pairs_of(pairs) == [(text, text.upper(), 1) for text in texts]
    assert "unwrapped" in pairs.notes[-1]


def test_rows_stay_as_they_are_in_the_file(tmp_path):
    text = tabs(
        ("id", "question1", "question2"), ("b'7'", "b'Why?'", "b'Who?'"), (8, "b''", "b'a'")
    )
    table, _, texts = read_rows(
        write(tmp_path / "q.tsv", text), PLAIN_HEADER.split(","), Labels(None, None, None)
    )
    assert [row.fields for row in table.rows] == [
        ["b'7'", "b'Why?'", "b'Who?'"],
        ["8", "b''", "b'a'"],
    ]
    assert texts == [["Why?"], ["Who?"]] and table.rows[1].reason == "question1 is blank"


def test_bytes_literals_in_one_column_or_with_blanks_around(tmp_path):
    rows = [(f" b'Why {i}?' ", f"Who {i}?", 1) for i in range(3)]
    path = write(tmp_path / "q.csv", "")
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("question1", "question2", "is_duplicate"), *rows])
    pairs = read_pairs(path)
    assert pairs.question1 == ("Why 0?", "Why 1?", "Why 2?") and pairs.question2[0] == "Who 0?"
    assert "all of question1 are" in pairs.notes[-1] and "unwrapped" in pairs.notes[-1]


def test_bytes_literals_that_are_not_utf8_are_told(tmp_path):
    rows = [("sentence1", "sentence2", "label"), ("b'caf\\xe9?'", "b'Why?'", 1)]
    pairs = read_pairs(write(tmp_path / "q.tsv", tabs(*rows)), **PAWS)
    assert pairs.question1 == ("b'caf\\xe9?'",) and pairs.question2 == ("Why?",)
    assert "1 of 1 text of sentence1" in pairs.notes[-1] and "not UTF-8" in pairs.notes[-1]


@pytest.mark.parametrize("other", ["b'unfinished", "b'\\xff'", "b'''", "bytes", "b'a' + b'b'"])
def test_texts_that_are_no_bytes_literals_stay(tmp_path, other):
    rows = [(0, "b'one'", "b'two'", 1), (1, other, "b'three'", 0)]
    path = write(tmp_path / "paws.tsv", tabs(("id", "sentence1", "sentence2", "label"), *rows))
    pairs = read_pairs(path, **PAWS)
    assert pairs.question1 == ("b'one'", other) and "left as they are" in pairs.notes[-1]


# --- encodings

TEXT = "id,question1,question2,is_duplicate\r\n1,Où est la gare ?,Wo ist der Bäcker?,1\r\n"
WIDE = "id,question1,question2,is_duplicate\n" + "1,駅はどこですか,パン屋はどこですか,1\n" * 50


@pytest.mark.parametrize("text", [TEXT, WIDE])
@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_unicode_in_any_form(tmp_path, text, mark, encoding):
    expected = read_pairs(write(tmp_path / "q.csv", text))
    path = write(tmp_path / "q.csv", "\ufeff" * mark + text, encoding)
    pairs = read_pairs(path)
    assert pairs_of(pairs) == pairs_of(expected) and expected.notes == ()
    assert pairs.notes == (() if encoding == "utf-8" else (f"read as {encoding}",))
    assert pairs_of(read_pairs(path, encoding=encoding)) == pairs_of(expected)


@pytest.mark.parametrize(
    "text, encoding", [(TEXT, "cp1252"), (TEXT, "latin-1"), (WIDE, "cp932"), (WIDE, "euc-jp")]
)
def test_other_encodings_by_name(tmp_path, text, encoding):
    path = write(tmp_path / "q.csv", text, encoding)
    with pytest.raises(ValueError, match=r"q.csv, line 2: .* is not UTF-8.*encoding="):
        read_pairs(path)
    expected = read_pairs(write(tmp_path / "u.csv", text))
    assert pairs_of(read_pairs(path, encoding=encoding)) == pairs_of(expected)


def test_a_wrong_encoding_is_told(tmp_path):
    path = write(tmp_path / "q.csv", WIDE, "cp932")
    with pytest.raises(ValueError, match="not ASCII.*cp932"):
        read_pairs(path, encoding="ascii")
    for name in ("klingon", "base64", "rot13"):
        with pytest.raises(ValueError, match="encoding must be the name of an encoding of text"):
            read_pairs(path, encoding=name)
    write(path, TEXT, "utf-16-le")
    path.write_bytes(path.read_bytes()[:-1])  # truncated
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_pairs(path)
    path.write_bytes(codecs.BOM_UTF16_LE + path.read_bytes())
    with pytest.raises(ValueError, match="is not UTF-16-LE"):
        read_pairs(path)


def test_the_advice_on_encodings_can_be_followed(tmp_path):
    path = write(tmp_path / "q.csv", TEXT)
    with pytest.raises(ValueError, match="not ASCII.*It could be utf-8 or"):
        read_pairs(path, encoding="ascii")
    path.write_bytes(codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"))
    with pytest.raises(ValueError, match="not UTF-8.*It could be utf-16-le: look"):
        read_pairs(path, encoding="utf-8")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="it is damaged, or ends too early"):
        read_pairs(path)
    write(path, "\ufeff\ufeff" + TEXT)  # two programs wrote a mark
    assert read_pairs(path).question1 == read_pairs(write(path, TEXT)).question1


@pytest.mark.parametrize("packed, kind", [(bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_what_packed_a_file_is_named(tmp_path, packed, kind):
    path = tmp_path / "q.csv.packed"
    path.write_bytes(packed(TEXT.encode()))
    with pytest.raises(ValueError, match=f"packed by {kind}, expected text, maybe gzipped"):
        read_pairs(path)


@pytest.mark.parametrize("encoding, half", [("utf-7", "+2AA-"), ("unicode_escape", "\\ud800")])
def test_half_a_surrogate_pair_is_no_text(tmp_path, encoding, half):
    text = f"id,question1,question2\n1,Why{half}?,a\n{half},b,c\n3,d,e\n"
    path = write(tmp_path / "q.csv", text)
    pairs = read_pairs(path, label=None, encoding=encoding, max_skipped=0.7)
    assert pairs.question1 == ("d",) and [line for line, _ in pairs.skipped] == [2, 3]
    assert "surrogate" in pairs.skipped[0][1]
    table, *_ = read_rows(
        path, PLAIN_HEADER.split(","), Labels(None, None, None), encoding=encoding
    )
    assert table.rows[0].fields == ["1", "Why\ufffd?", "a"]  # can be written
    with pytest.raises(ValueError, match="line 1: the columns' names .*surrogate"):
        read_pairs(write(path, half + text), label=None, question1="question1", encoding=encoding)


# --- labels


@pytest.mark.parametrize(
    "yes, no",
    [
        ("1", "0"),
        ("1.0", "0.0"),
        ("1.00", "0."),
        ("TRUE", "FALSE"),
        ("True", "False"),
        ("t", "f"),
    ]
    + [("yes", "No"), ("Y", "n"), ("dup", "not duplicate"), ("duplicate", "non-duplicate")]
    + [("Duplicate", "Not-Duplicate"), ("paraphrase", "not  a_paraphrase")],
)
def test_labels_as_people_write_them(tmp_path, yes, no):
    text = f"question1,question2,is_duplicate\na,b,{yes}\nc,d, {no} \n"
    pairs = read_pairs(write(tmp_path / "q.csv", text))
    assert pairs.is_duplicate.tolist() == [1, 0]
    told = [] if (yes, no) in (("1", "0"), ("1.0", "0.0")) else [yes, no]
    assert all(f"{label!r} (1 row)" in pairs.notes[0] for label in told)
    assert bool(pairs.notes) == bool(told)


def test_labels_named_by_hand(tmp_path):
    text = "question1,question2,class\na,b,same\nc,d,near\ne,f,far\ng,h,\n"
    path = write(tmp_path / "q.csv", text)
    with pytest.raises(ValueError, match=r"'same', not 0 or 1.*positive=.*threshold_label="):
        read_pairs(path, label="class")
    pairs = read_pairs(path, label="class", positive=["same", "near"], max_skipped=0.3)
    assert pairs.is_duplicate.tolist() == [1, 1, 0] and pairs.skipped[0][0] == 5
    assert pairs.notes == ("labels: 'same' (1 row) is 1, 'near' (1 row) is 1, 'far' (1 row) is 0",)
    pairs = read_pairs(path, label="class", positive=["SAME", "equal"], max_skipped=0.3)
    assert pairs.is_duplicate.tolist() == [1, 0, 0] and "no row has 'equal'" in pairs.notes[0]


def test_what_programs_write_where_nothing_is(tmp_path):
    text = "question1,question2,class\na,b,same\nnan,c,far\nd,nan,far\ne,f,NaN\ng,h,\\N\n"
    path = write(tmp_path / "q.csv", text)
    pairs = read_pairs(path, label="class", positive=["same"], max_skipped=0.4)
    assert pairs.is_duplicate.tolist() == [1, 0, 0]
    assert [line for line, _ in pairs.skipped] == [5, 6]
    assert "texts: 1 text of question1 is 'nan'; if" in pairs.notes[0]
    assert "texts: 1 text of question2 is 'nan'; if" in pairs.notes[1]
    pairs = read_pairs(path, label="class", positive=["nan"], max_skipped=0.4)
    assert pairs.is_duplicate.tolist() == [0, 0, 0, 1]


def test_grades(tmp_path):
    grades = ("0", "2.5", "4", "5.000", "-1", "4e0")
    rows = "".join(f"a{i},b{i},{grade}\n" for i, grade in enumerate(grades))
    path = write(tmp_path / "q.csv", f"question1,question2,score\n{rows}")
    pairs = read_pairs(path, label="score", threshold_label=4)
    assert pairs.is_duplicate.tolist() == [0, 0, 1, 1, 0, 1]
    assert pairs.notes == ("labels: those of at least 4 count as 1, in 3 of 6 rows",)
    write(path, f"question1,question2,score\n{rows}a,b,high\na,b,nan\na,b,inf\n")
    pairs = read_pairs(path, label="score", threshold_label=4, max_skipped=0.5)
    assert [line for line, _ in pairs.skipped] == [8, 9, 10]


def test_a_number_of_several_texts_is_told(tmp_path):
    header = "qid1,qid2,question1,question2,is_duplicate\n"
    path = write(tmp_path / "q.csv", f"{header}1,2,Why?,How,1\n1,3,Who?,When,0\n2,1, how ,WHY?,1\n")
    pairs = read_pairs(path)
    assert pairs.qid1.tolist() == [1, 1, 2]
    assert "1 number stands for several texts, such as 1 for 'Why?' and 'Who?'" in pairs.notes[0]


def test_numbers_with_a_decimal_comma(tmp_path):
    text = "question1;question2;score\na;b;1,0\nc;d;0,0\n"
    pairs = read_pairs(write(tmp_path / "q.csv", text), label="score")
    assert pairs.is_duplicate.tolist() == [1, 0] and "'1,0' (1 row) is 1" in pairs.notes[0]
    path = write(tmp_path / "q.csv", text + "e;f;3,75\ng;h;-3,75\ni;j;1,2,3\n")
    pairs = read_pairs(path, label="score", threshold_label=3.5, max_skipped=0.2)
    assert pairs.is_duplicate.tolist() == [0, 0, 1, 0] and pairs.skipped[0][0] == 6


def test_duplicates_only_and_triplets(tmp_path):
    path = write(tmp_path / "q.csv", "question1,question2\na,b\nc,d\n")
    with pytest.raises(ValueError, match="is_duplicate.*duplicates_only=True"):
        read_pairs(path)
    assert read_pairs(path, duplicates_only=True).is_duplicate.tolist() == [1, 1]
    write(path, "question1,question2,is_duplicate\na,b,1\nc,d,No\ne,f,0\n")
    with pytest.raises(ValueError, match="'is_duplicate' says that 2 of 3 rows are not duplicates"):
        read_pairs(path, duplicates_only=True)
    assert len(read_pairs(path, duplicates_only=True, label=None)) == 3
    write(path, "question1,question2,is_duplicate\na,b,1\nc,d,yes\n")
    assert len(read_pairs(path, duplicates_only=True)) == 2
    path = write(tmp_path / "t.csv", "anchor,positive,negative\na,b,c\nd,e,f\ng,h,\n")
    names = {"question1": "anchor", "question2": "positive", "negative": "negative"}
    pairs = read_pairs(path, **names, max_skipped=0.4)
    assert pairs_of(pairs) == [("a", "b", 1), ("a", "c", 0), ("d", "e", 1), ("d", "f", 0)]
    assert pairs.lines.tolist() == [2, 2, 3, 3] and pairs.skipped == ((4, "negative is blank"),)


@pytest.mark.parametrize(
    "options, error, phrase",
    [
        ({"quoting": "some"}, ValueError, "quoting must be one of 'auto', 'csv', 'none'"),
        ({"quoting": None}, TypeError, "quoting"),
        ({"escape": "ab"}, ValueError, "escape must be one character"),
        ({"escape": ","}, ValueError, "escape must be one character"),
        ({"escape": 5}, TypeError, "escape must be one character"),
        ({"encoding": 5}, TypeError, "encoding must be"),
        ({"positive": "yes"}, TypeError, "positive must be a list"),
        ({"positive": []}, ValueError, "positive must be"),
        ({"threshold_label": "4"}, TypeError, "threshold_label must be"),
        ({"duplicates_only": "yes"}, TypeError, "duplicates_only must be"),
        ({"negative": 3}, TypeError, "negative must be"),
        ({"positive": ["1"], "threshold_label": 2}, ValueError, "exclude each other"),
        ({"duplicates_only": True, "negative": "is_duplicate"}, ValueError, "exclude each other"),
    ],
)
def test_wrong_options(tmp_path, options, error, phrase):
    path = write(tmp_path / "q.csv", "question1,question2,is_duplicate\na,b,1\n")
    with pytest.raises(error, match=phrase):
        read_pairs(path, **options)
