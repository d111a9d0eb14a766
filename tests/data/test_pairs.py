"""Reading CSV files, duplicate groups, and splits that share no question."""

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax_triplet.data.pairs import Pairs, question_groups, split_pairs
from trax_triplet.data.reader import read_pairs
from trax_triplet.data.tokenizer import is_blank

ROWS = [("Why?", "How come?", 1), ("a, b; c\td", 'He said "no"', 0), ("two\nlines\r\nhere", "é", 1)]


def write(
    path, rows, header=("question1", "question2", "is_duplicate"), encoding="utf-8", **options
):
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def rows_of(pairs):
    return list(zip(pairs.question1, pairs.question2, pairs.is_duplicate.tolist()))


def groups_of(pairs):
    return [side.tolist() for side in question_groups(pairs)]


def test_pairs_are_checked():
    pairs = Pairs(["a", "b"], ["c", "d"], np.array([True, False]), [1, 2], [3, 4])
    assert (pairs.is_duplicate.dtype, pairs.qid1.dtype) == (
        np.int8,
        np.int64,
    ) and pairs.skipped == ()
    chosen = pairs.select(np.array([1, 1, 0]))
    assert chosen.question1 == ("b", "b", "a") and chosen.is_duplicate.tolist() == [0, 0, 1]
    assert chosen.qid2.tolist() == [4, 4, 3] and len(pairs.select([])) == 0
    assert Pairs(["a"], ["b"]).select([0]).is_duplicate is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_reads_any_separator_mark_and_line_end(tmp_path, separator, encoding, line_end):
    path = write(
        tmp_path / "p.csv", ROWS, encoding=encoding, delimiter=separator, lineterminator=line_end
    )
    pairs = read_pairs(path)
    assert rows_of(pairs) == ROWS and pairs.skipped == () and pairs.qid1 is None


def test_reads_gzip_by_its_content(tmp_path):
    path = write(tmp_path / "p.csv", ROWS)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert rows_of(read_pairs(str(path))) == ROWS
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match="gzip file is damaged or truncated"):
        read_pairs(path)


def test_quora_columns_other_names_and_order(tmp_path):
    header = ("is_duplicate", "question2", " QID1", "id", "Question1", "qid2")
    path = write(tmp_path / "p.csv", [(1, "b", 7, 0, "a", 8), (" 0.0 ", "d", 9, 1, "c", 8)], header)
    pairs = read_pairs(path)
    assert rows_of(pairs) == [("a", "b", 1), ("c", "d", 0)]
    assert pairs.qid1.tolist() == [7, 9] and pairs.qid2.tolist() == [8, 8]
    path = write(tmp_path / "q.csv", [("x", "y", "1.0")], ("links", "rechts", "gleich"))
    assert rows_of(read_pairs(path, question1="links", question2="rechts", label="gleich")) == [
        ("x", "y", 1)
    ]
    # An exact name wins over one that differs in case.
    header = ("Question1", "question1", "question2", "is_duplicate")
    path = write(tmp_path / "r.csv", [("wrong", "a", "b", 1)], header)
    assert rows_of(read_pairs(path)) == [("a", "b", 1)]


QID_HEADER = ("question1", "question2", "is_duplicate", "qid1", "qid2")


@pytest.mark.parametrize("qids", [("1.5", "2"), ("1e3", "2"), ("x", "y"), ("--1", "2")])
def test_qids_that_are_not_integers_are_not_used_and_told(tmp_path, qids):
    path = write(tmp_path / "p.csv", [("c", "d", 1, 3, 4), ("a", "b", 1, *qids)], QID_HEADER)
    pairs = read_pairs(path)
    assert pairs.qid1 is None and pairs.qid2 is None
    assert f"not used: qid1 is {qids[0]!r} on line 3, not an integer" in pairs.notes[-1]


@pytest.mark.parametrize("header", [QID_HEADER[:4], (*QID_HEADER[:4], "qid1")])
def test_qids_of_one_side_are_not_used_and_told(tmp_path, header):
    path = write(tmp_path / "p.csv", [("a", "b", 1, *[7] * (len(header) - 3))], header)
    pairs = read_pairs(path)
    assert pairs.qid1 is None and "not used: one qid1 and one qid2" in pairs.notes[-1]


@pytest.mark.parametrize("seven", ["-7", "7.0", "+7", " 7 ", "9" * 19, "-" + "9" * 25, "9" * 500])
def test_qids_are_integers_of_any_size(tmp_path, seven):
    rows = [("a", "b", 1, seven, 3), ("c", "d", 0, 5, seven), ("e", "f", 0, "", "")]
    path = write(tmp_path / "p.csv", rows, QID_HEADER)
    pairs = read_pairs(path)
    (a, _, e), (b, d, f) = pairs.qid1.tolist(), pairs.qid2.tolist()
    assert (a, b, pairs.qid1[1]) == (d, 3, 5) and len({a, b, 5, e, f}) == 5
    if len(seven) < 5:
        assert a == int(float(seven))
    assert "2 blanks" in " ".join(pairs.notes)
    assert ("too large" in " ".join(pairs.notes)) == (len(seven) > 18)
    assert read_pairs(path).qid1.tolist() == pairs.qid1.tolist()
    groups = np.stack(question_groups(pairs))
    assert groups[0, 0] == groups[1, 1] and groups[0, 2] != groups[1, 2]


def test_file_without_labels(tmp_path):
    path = write(tmp_path / "p.csv", [("a", "b")], ("question1", "question2"))
    assert read_pairs(path, label=None).is_duplicate is None
    with pytest.raises(ValueError, match="no labels: label=None"):
        read_pairs(path)


def test_skipped_rows_are_reported_with_their_lines(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(
        b"question1,question2,is_duplicate\n"  # line 1
        b'"two\nlines",b,1\n'  # 2 and 3
        b",b,1\n"  # 4
        b"\n"  # 5: blank, no row
        b'a,"  \n ",0\n'  # 6 and 7
        b"a,b\n"  # 8
        b"a,b,c,1\n"  # 9
        b"a,b,maybe\n"  # 10
        b'"a"x,b,1\n'  # 11
        b"a,b,\n"  # 12
        b"c,d,0,,\n"  # 13: further fields, but empty
        b"e,f,1"
    )  # 14
    pairs = read_pairs(path, max_skipped=0.7)
    assert rows_of(pairs) == [("two\nlines", "b", 1), ("c", "d", 0), ("e", "f", 1)]
    lines, reasons = zip(*pairs.skipped)
    assert lines == (4, 6, 8, 9, 10, 11, 12)
    phrases = [
        "question1 is blank",
        "question2 is blank",
        "2 fields, the header has 3",
        "4 fields",
        "is_duplicate is 'maybe', not 0 or 1",
        "malformed",
        "is ''",
    ]
    for reason, phrase in zip(reasons, phrases):
        assert phrase in reason
    # 7 of 10 rows: refused at the default share.
    with pytest.raises(ValueError, match="7 of 10 rows cannot be used.*max_skipped=0.01: line 4"):
        read_pairs(path)
    read_pairs(path, max_skipped=7 / 10)
    with pytest.raises(ValueError, match="7 of 10"):
        read_pairs(path, max_skipped=0.69)


@pytest.mark.parametrize("label", ["2", "-1", "01", "0.5", "maybe", "nan", "١"])
def test_labels_other_than_0_and_1_are_no_labels(tmp_path, label):
    path = write(tmp_path / "p.csv", [("a", "b", label), ("c", "d", 1)])
    assert read_pairs(path, max_skipped=0.5).skipped[0][0] == 2


@pytest.mark.parametrize(
    "content, phrase",
    [
        (b"", "the file is empty"),
        (b"\n", "it is blank"),
        (b"question1,question2,is_duplicate\n", "a header but no rows"),
        (
            b"question1,question2,is_duplicate\n,,\n",
            "1 of 1 row cannot be used, which leaves none: ",
        ),
        (b"PAR1 and more", "is a Parquet file, .*pairs are read from CSV and TSV"),
        (b"PK\x03\x04 and more", "is a ZIP file, such as an Excel workbook"),
        (b'{"question1": "a", "question2": "b"}\n', "looks like JSON, .*CSV and TSV"),
        (b'[{"question1": "a"}]\n', "looks like JSON"),
        (
            b"q1,q2,same\na,b,1\n",
            r"expected the columns \['question1', 'question2', 'is_duplicate'\].*got "
            r"\['q1', 'q2', 'same'\]; name yours by question1=",
        ),
        (b"question1,question1,question2,is_duplicate\n", "several columns are named 'question1'"),
        (
            b"question1,question2,is_duplicate\na,b,1\nc,\xe9,1\n",
            "line 3: byte 41 of the file is not UTF-8",
        ),
        (b"question1,question2,is_duplicate\na,b\0,1\n", "line 2: a NUL character"),
        (
            b'question1,question2,is_duplicate\na,"b,1\nc,d,1\n',
            "lines 2 to 3: a quote is not closed",
        ),
        (
            b"question1,question2,is_duplicate\na," + b"b" * 131_073 + b",1\n",
            "field larger than field limit",
        ),
    ],
)
def test_wrong_files(tmp_path, content, phrase):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=phrase) as caught:
        read_pairs(path, max_skipped=1)
    assert str(path) in str(caught.value)


LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.text(LETTERS, min_size=1, max_size=9).filter(lambda text: not is_blank(text))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(TEXT, TEXT, st.integers(0, 1)), min_size=1, max_size=5),
    st.sampled_from(",;\t"),
)
def test_any_text_survives_the_csv(tmp_path_factory, rows, separator):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write(path, rows, delimiter=separator, quoting=csv.QUOTE_ALL)
    texts = [text for *both, _ in rows for text in both]
    # Between tabs, such a text may as well be rows that a stray quote swallowed.
    is_unclear = any("\t" in text and ("\n" in text or "\r" in text) for text in texts)
    quoting = "csv" if separator == "\t" and is_unclear else "auto"
    pairs = read_pairs(path, max_skipped=0, quoting=quoting)
    assert rows_of(pairs) == rows


def test_groups_by_text():
    pairs = Pairs(["a", "B  c", "d", "e", "g"], ["b C", "d", "e", "f", "g"], [1, 1, 0, 1, 0])
    assert groups_of(pairs) == [[0, 0, 0, 1, 2], [0, 0, 1, 1, 2]]


def test_groups_by_qid_and_text():
    # qid 1 has two texts; "b" has the qids 2 and 4: all of them are one question.
    pairs = Pairs(["a", "A!", "b"], ["b", "c", "d"], [0, 0, 0], [1, 1, 4], [2, 3, 5])
    groups = groups_of(pairs)
    assert groups[0][0] == groups[0][1] and groups[1][0] == groups[0][2]
    assert len(set(groups[0] + groups[1])) == 4


def test_groups_without_labels_are_the_distinct_texts():
    assert groups_of(Pairs(["a", "b"], ["b", "A"])) == [[0, 1], [1, 0]]
    assert groups_of(Pairs([], [])) == [[], []]


QUESTIONS = st.integers(0, 14)
BIT = st.integers(0, 1)
PAIRS = st.lists(st.tuples(QUESTIONS, QUESTIONS, BIT, BIT, BIT), max_size=40)
FRACTIONS = st.sampled_from([(1.0,), (0.5, 0.5), (0.8, 0.1, 0.1)])


def to_pairs(rows, labelled=True, with_qids=False):
    # A qid may have several texts (the last bit), a text several spellings (the case).
    texts = [[f"{'qQ'[row[3]]}{row[side]}.{row[4]}" for row in rows] for side in (0, 1)]
    qids = [[row[side] for row in rows] for side in (0, 1)] if with_qids else [None, None]
    return Pairs(*texts, [row[2] for row in rows] if labelled else None, *qids)


def connected(pairs):
    """Group of each question by plain repeated merging; keys are texts in lower case and qids."""
    sets = []
    for i in range(len(pairs)):
        names = [{pairs.question1[i].lower()}, {pairs.question2[i].lower()}]
        if pairs.qid1 is not None:
            names[0].add(int(pairs.qid1[i]))
            names[1].add(int(pairs.qid2[i]))
        if pairs.is_duplicate is not None and pairs.is_duplicate[i]:
            names = [names[0] | names[1]]
        for new in names:
            sets = [old for old in sets if not old & new] + [
                new.union(*(old for old in sets if old & new))
            ]
    return lambda text: next(number for number, names in enumerate(sets) if text.lower() in names)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.booleans(), st.booleans())
def test_groups_match_plain_merging(rows, labelled, with_qids):
    pairs = to_pairs(rows, labelled, with_qids)
    found, expected = sum(groups_of(pairs), []), connected(pairs)
    expected = [expected(text) for text in pairs.question1 + pairs.question2]
    assert sorted(set(found)) == list(range(len(set(found))))
    assert len(set(found)) == len(set(expected)) == len(set(zip(found, expected)))


def test_long_chain_is_one_group():
    order = np.random.default_rng(0).permutation(5000)
    pairs = Pairs([f"q{i}" for i in order], [f"q{i + 1}" for i in order], np.ones(5000))
    assert set(sum(groups_of(pairs), [])) == {0}


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.booleans(), st.booleans(), FRACTIONS, st.integers(0, 3))
def test_split_guarantees(rows, labelled, with_qids, fractions, seed):
    pairs = to_pairs(rows, labelled, with_qids)
    split = split_pairs(pairs, fractions, seed=seed)
    assert len(split.parts) == len(fractions)
    # Every row is in one part or left out.
    left_out = pairs.select(split.left_out)
    assert sum(map(len, split.parts)) + len(left_out) == len(pairs)
    texts = [sorted(zip(p.question1, p.question2)) for p in (pairs, *split.parts, left_out)]
    assert sorted(sum(texts[1:], [])) == texts[0]
    assert split.left_out.tolist() == sorted(split.left_out.tolist())
    # No group, so no question, is in two parts; qid and text alike.
    group = connected(pairs)
    groups = [{group(text) for text in part.question1 + part.question2} for part in split.parts]
    assert len(set().union(*groups)) == sum(map(len, groups))
    # What is left out connects two groups: never a duplicate pair.
    assert all(group(a) != group(b) for a, b in zip(left_out.question1, left_out.question2))
    if len(fractions) == 1:
        assert not len(left_out)
    again = split_pairs(pairs, fractions, seed=seed)
    assert [part.question1 for part in again.parts] == [part.question1 for part in split.parts]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 3))
def test_split_sizes_come_close(group_sizes, seed):
    rows = [
        (f"g{number}", f"g{number}.{i}")
        for number, size in enumerate(group_sizes)
        for i in range(size)
    ]
    pairs = Pairs(*zip(*rows), np.ones(len(rows)))
    parts, left_out = split_pairs(pairs, (0.6, 0.2, 0.2), seed=seed)
    assert not len(left_out)
    for part, share in zip(parts, (0.6, 0.2, 0.2)):
        assert len(part) < share * len(pairs) + max(group_sizes)


def test_split_leaves_out_only_what_would_chain_everything():
    # A chain of 400 pairs labelled 0 through 401 questions: components of at most 4 pairs, so
    # at most every fifth pair is between two of them; those within one part are kept.
    pairs = Pairs([f"q{i}" for i in range(400)], [f"q{i + 1}" for i in range(400)], np.zeros(400))
    parts, left_out = split_pairs(pairs, (0.5, 0.5), seed=1)
    assert 0 < len(left_out) <= 400 // 5
    assert min(map(len, parts)) > 130


def test_split_keeps_leaves_with_their_hub():
    # 500 pairs of one question with 500 others: nothing can be apart from the hub, nothing is lost.
    pairs = Pairs(["hub"] * 500, [f"leaf {i}" for i in range(500)], np.zeros(500))
    parts, left_out = split_pairs(pairs)
    assert sorted(map(len, parts)) == [0, 0, 500] and not len(left_out)


def test_split_seeds_and_order():
    pairs = Pairs(
        [f"a{i}" for i in range(100)], [f"b{i}" for i in range(100)], [i % 2 for i in range(100)]
    )
    one, other = split_pairs(pairs, seed=0), split_pairs(pairs, seed=1)
    assert [len(part) for part in one.parts] == [80, 10, 10]
    assert one.parts[1].question1 != other.parts[1].question1
    numbers = [int(text[1:]) for text in one.parts[0].question1]
    assert numbers == sorted(numbers)


@pytest.mark.real_data
def test_real_files(real_data):
    pairs = read_pairs(real_data / "quora_duplicates.csv")
    assert len(pairs) == 50_000 and pairs.skipped == () and pairs.is_duplicate.all()
    parts, left_out = split_pairs(pairs, (0.9, 0.1))
    assert [len(part) for part in parts] == [45_000, 5_000] and not len(left_out)
    group1, group2 = question_groups(pairs)
    assert (group1 == group2).all()
    assert len(read_pairs(real_data / "quora_labelled_dev.csv")) == 5_120
