"""Bad input to every command: exit status 2, one line that says what is wrong, never a
traceback."""

import re

import pytest

from trax_triplet import cli
from trax_triplet.data import sample
from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.inference.trained_model import TrainedModel, save_model
from trax_triplet.model.siamese import Siamese
from trax_triplet.model.weights import init_model

FILES = {
    "empty.csv": b"",
    "header.csv": b"question1,question2,is_duplicate\n",
    "one.csv": b"question1,question2,is_duplicate\nWhy?,Who?,1\n",
    "labels.csv": b"question1,question2,is_duplicate\nWhy?,How come?,maybe\n",
    "text.csv": b"no table at all\n",
    "unlabelled.csv": b"question1,question2\nWhy?,Who?\n",
    "zeros.csv": b"question1,question2,is_duplicate\nWhy?,Who?,0\nHow?,When?,0\n",
    "picture.png": b"\x89PNG\r\n\x1a\n\xff\xfe",
    "broken.gz": b"\x1f\x8bnonsense",
    "quote.csv": b'question1,question2\n"Why?,b\nc,d\n',
    "vectors.txt": b"how 1 2\nwhat 1\n",
    "ids.csv": b"id,question\n7,Why?\n 7 ,Who?\n",
    "pairs.parquet": b"PAR1 and more",
    "latin.py": b"NAME = '\xe9'\n",
    "control.csv": b"question1,question2\x1b[31m\nWhy?,Who?\n",
}


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A folder with pairs, a model without a threshold, and the files above."""
    home = tmp_path_factory.mktemp("cli")
    for name, content in FILES.items():
        (home / name).write_bytes(content)
    sample.write_csv(home / "pairs.csv", 100)
    vocabulary = Vocabulary.build(["How old are you?"])
    layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"))
    for name in ("model", "damaged"):
        save_model(home / name, TrainedModel(layer, vocabulary, {"pooling": "last"}))
    course = Vocabulary(vocabulary.words, tokenizer="course")
    save_model(home / "course", TrainedModel(layer, course, {"pooling": "last"}))
    (home / "damaged" / "weights.safetensors").write_bytes(b"")
    (home / "folder").mkdir()
    (home / "nowhere.link").symlink_to(home / "nowhere" / "x.csv")
    (home / "loop.link").symlink_to(home / "loop.link")
    return home


TRAIN, EVALUATE = (
    "train {at}/pairs.csv --output {at}/run",
    "evaluate {at}/pairs.csv --model {at}/model",
)
DUPLICATES = "duplicates {at}/pairs.csv --column question1 --model {at}/model --output {at}/x.csv"
PREDICT = "predict --model {at}/model --threshold 0.5"
ROWS = [  # the arguments, and a phrase of the error
    ("demo --output {at}/text.csv", "text.csv: Not a directory"),
    ("demo --output {at}/new --seed -1", "--seed must be .*-1"),
    ("sample {at}/folder", "folder.*[Dd]irectory"),
    ("sample {at}/nowhere/x.csv", "the folder .*nowhere does not exist; create it"),
    ("sample {at}/text.csv/x.csv", "text.csv"),
    ("sample {at}/x.csv --pairs 0", "--pairs must be"),
    ("sample {at}/x.csv --pairs 1000000000", "--pairs must be at most"),
    ("sample {at}/x.csv --seed -1", "--seed must be .*-1"),
    ("train {at}/missing.csv --output {at}/run", "missing.csv: No such file"),
    ("train {at}/folder --output {at}/run", "folder: Is a directory"),
    ("train {at}/empty.csv --output {at}/run", "empty.csv: .*the file is empty"),
    ("train {at}/header.csv --output {at}/run", "a header but no rows below it"),
    ("train {at}/labels.csv --output {at}/run", "line 2: is_duplicate is 'maybe', not 0 or 1"),
    (
        "train {at}/text.csv --output {at}/run",
        "expected the columns .*name yours by --question1, --question2 and --label",
    ),
    ("train {at}/unlabelled.csv --output {at}/run", r"expected the columns .*'is_duplicate'\]"),
    ("train {at}/picture.png --output {at}/run", "line 1: byte 0 of the file is not UTF-8"),
    ("train {at}/pairs.parquet --output {at}/run", "is a Parquet file.* CSV and TSV"),
    ("train {at}/zeros.csv --output {at}/run --duplicates-only", "2 of 2 rows are not duplicates"),
    ("train {at}/header.csv --output {at}/run --duplicates-only", "no rows"),
    ("check {at}/latin.py", "latin.py is not Python: .*save it as UTF-8"),
    ("train {at}/broken.gz --output {at}/run", "broken.gz: the gzip file is damaged"),
    ("train {at}/quote.csv --output {at}/run --label question1", "different columns"),
    ("train {at}/one.csv --output {at}/run", "labelled as duplicates"),
    ("train {at}/zeros.csv --output {at}/run", "labelled as duplicates"),
    ("train {at}/pairs.csv --output {at}/text.csv", "text.csv: Not a directory"),
    (TRAIN + " --validation {at}/missing.csv", "missing.csv: No such file"),
    (
        TRAIN + " --validation {at}/zeros.csv",
        "validation needs at least 2 pairs labelled as duplicates, but has 0",
    ),
    (TRAIN + " --word-vectors {at}/missing.txt", "missing.txt: No such file"),
    (TRAIN + " --word-vectors {at}/folder", "folder: Is a directory"),
    (TRAIN + " --word-vectors {at}/vectors.txt", "vectors.txt, line 2: expected a word and 2 num"),
    (
        TRAIN + " --word-vectors {at}/vectors.txt --embedding-stddev 0",
        "--embedding-stddev must be a",
    ),
    (TRAIN + " --unlabelled {at}/text.csv", "--unlabelled has no effect without --teacher"),
    (TRAIN + " --teacher {at}/x --unlabelled {at}/missing.txt", "missing.txt: No such file"),
    (TRAIN + " --teacher {at}/x --unlabelled {at}/header.csv --column q", "expected the column"),
    (TRAIN + " --question1 q", r"expected the columns \['q'"),
    (TRAIN + " --encoding klingon", "--encoding must be the name of an encoding of text"),
    (TRAIN + " --escape ab", "--escape must be one character"),
    (TRAIN + " --threshold-label nan", "--threshold-label must be"),
    (
        TRAIN + " --duplicates-only --positive yes",
        "--positive and --duplicates-only exclude each other",
    ),
    (TRAIN + " --negative q", r"expected the columns .*'q'\]"),
    (TRAIN + " --from {at}/folder", "there is no model.json in .*folder"),
    (TRAIN + " --from {at}/model --d-model 8", "--d-model must be that of the model to start from"),
    *(
        (f"{TRAIN} --{name} {value}", phrase)
        for name, value, phrase in (
            ("validation-share", "0", "--validation-share .*0.0"),
            ("validation-share", "nan", "--validation-share .*nan"),
            ("max-skipped", "2", "--max-skipped must"),
            ("steps", "0", "--steps must be .*at least 1"),
            ("batch-size", "1", "--batch-size must be .*at least 2"),
            ("d-model", "0", "--d-model must be .*at least 1"),
            ("margin", "nan", "--margin must be"),
            ("learning-rate", "nan", "--learning-rate must .*nan"),
            ("learning-rate", "0", "--learning-rate must .*0.0"),
            ("warmup-steps", "-1", "--warmup-steps must be .*at least 0"),
            ("word-dropout", "1", "--word-dropout "),
            ("word-dropout", "nan", "--word-dropout "),
            ("hard-from", "-1", "--hard-from must be"),
            ("neighbours", "0", "--neighbours must be .*at least 1"),
            ("max-words", "0", "--max-words must be .*at least 1"),
            ("min-count", "0", "--min-count must be .*at least 1"),
            ("buckets", "-1", "--buckets must be .*at least 0"),
            ("evaluate-every", "0", "--evaluate-every must be .*at least 1"),
            ("seed", "-1", "--seed must be .*from 0 to"),
            ("coordinator", "localhost:1", "must be given together, or none of them"),
            ("coordinator", "localhost --processes 2 --process-id 0", "coordinator .*host:port"),
            ("coordinator", "localhost:1 --processes 2 --process-id 2", "--process-id must be"),
        )
    ),
    ("evaluate {at}/missing.csv --model {at}/model", "missing.csv: No such file"),
    ("evaluate {at}/pairs.csv --model {at}/nowhere", "no model.json in .*nowhere"),
    ("evaluate {at}/pairs.csv --model {at}/folder", "no model.json in .*folder"),
    ("evaluate {at}/pairs.csv --model {at}/text.csv", "no model.json in .*text.csv"),
    (
        "evaluate {at}/pairs.csv --model {at}/damaged",
        "damaged is not a valid folder.*weights.safetensors should have",
    ),
    ("evaluate {at}/zeros.csv --model {at}/model --threshold 0.5", "labels must include 1"),
    (EVALUATE, "saved without a threshold; give one with --threshold"),
    (EVALUATE + " --threshold nan", "--threshold must be a finite number from -1 to 1, .*nan"),
    (EVALUATE + " --threshold 70", "--threshold must be .*from -1 to 1, but it is 70"),
    (EVALUATE + " --corpus --threshold -1.5", "--threshold must be .*from -1 to 1"),
    (EVALUATE + " --threshold 0.5 --seed -1", "--seed must be .*at least 0.*-1"),
    (EVALUATE + " --mistakes -1", "--mistakes must be .*at least 0, but it is -1"),
    (EVALUATE + " --threshold 0.5 --plot {at}/nowhere/p.png", "nowhere does not exist; create it"),
    (EVALUATE + " --threshold 0.5 --plot {at}/folder", "folder: Is a directory"),
    ("predict --model {at}/model", "takes two questions, or --csv.*got 0 questions"),
    ("predict --model {at}/model Why?", "got 1 question$"),
    ("predict --model {at}/model Why? Who? When?", "got 3 questions"),
    ("predict --model {at}/model Why? Who?", "saved without a threshold"),
    (
        "predict --model {at}/model --threshold inf Why? Who?",
        "--threshold must be a finite number from -1 to 1, .*inf",
    ),
    ("predict --model {at}/model --threshold 5 Why? Who?", "--threshold must be .*from -1 to 1"),
    (PREDICT + " - --encoding utf-16", "--encoding must be one of lines"),
    ("predict --model {at}/nowhere Why? Who?", "no model.json in .*nowhere"),
    (PREDICT + " --csv {at}/missing.csv", "missing.csv: No such file"),
    (PREDICT + " --csv {at}/quote.csv", "lines 2 to 3: a quote is not closed"),
    (PREDICT + " --csv {at}/control.csv", r"\\x1b\[31m"),
    (
        PREDICT + " --csv {at}/unlabelled.csv --output {at}/nowhere/x.csv",
        "the folder .*nowhere does not exist",
    ),
    (PREDICT + " --output {at}/x.csv Why? Who?", "--output .*--csv"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/pairs.csv", "would replace .*pairs.csv"),
    (PREDICT + " --csv {at}/pairs.csv --output -", "--output must be .* '-'; /dev/stdout is"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/model/weights.safetensors", "would change"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/new.csv/", "Is a directory"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/text.csv/x", "text.csv is not a folder"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/nowhere.link", "nowhere does not exist"),
    (PREDICT + " --csv {at}/pairs.csv --output {at}/loop.link", "symbolic links"),
    ("export {at}/model {at}/model/weights.safetensors --format onnx", "OUT .* would change"),
    (TRAIN.replace("{at}/run", "{at}/model") + " --from {at}/model", "another folder than that of"),
    ("duplicates {at}/ids.csv --id id --model {at}/model --output {at}/x.csv", "'7' on line 2 and"),
    (PREDICT + " Why? Who? --question1 q", "--question1 has no effect without --csv; leave it out"),
    (PREDICT + " Why? Who? --encoding cp1252", "--encoding has no effect on two questions"),
    (PREDICT + " - --quoting none", "--quoting has no effect without --csv"),
    (
        PREDICT + " --csv {at}/unlabelled.csv --guard-formulas",
        "--guard-formulas has no .* --output",
    ),
    (PREDICT + " \udce9? Who?", r"the question '\\+udce9\?' is not text in the encoding of this"),
    ("search {at}/folder Why? \udce9?", "is not text in the encoding of this console"),
    ("search {at}/folder Why? --column q", "--column has no effect without --csv"),
    ("search {at}/folder Why? --table q", "--table has no effect on an index in a folder"),
    ("index {at}/folder --info --id q", "--id has no effect where no file is read"),
    (
        TRAIN + " --validation {at}/pairs.csv --validation-share 0.3",
        "--validation-share has no eff",
    ),
    (TRAIN + " --column q", "--column has no effect without --teacher"),
    (TRAIN + " --timeout 5", "--timeout has no effect without --coordinator"),
    (DUPLICATES + " --linkage complete", "--linkage has no effect without --groups"),
    ("index {at}/pairs.csv", "index takes a file of questions with --model and --output"),
    ("index {at}/pairs.csv --model {at}/model --output {at}/x --info", "index takes"),
    ("index {at}/folder --info", "there is no index in .*folder"),
    ("index {at}/missing.csv --model {at}/model --output {at}/x", "missing.csv: No such"),
    ("index {at}/pairs.csv --model {at}/model --output {at}/text.csv", "holds no index"),
    ("search {at}/folder Why?", "there is no index in .*folder"),
    ("search {at}/folder", "search takes questions, or --csv"),
    ("search {at}/folder Why? --csv {at}/pairs.csv", "search takes questions, or --csv"),
    ("search {at}/folder Why? --output {at}/x.csv", "--output .*--csv"),
    ("search {at}/folder Why? --top 0", "--top must be .*at least 1"),
    ("mine {at}/missing.csv --model {at}/model --output {at}/x", "missing.csv: No such"),
    ("mine {at}/pairs.csv --model {at}/nowhere --output {at}/x", "no model.json in .*nowhere"),
    ("mine {at}/pairs.csv --model {at}/model --output {at}/x --per-pair 0", "--per-pair must be"),
    ("mine {at}/pairs.csv --model {at}/model --output {at}/x --band 1 0", "--band must be"),
    (DUPLICATES, "saved without a threshold"),
    (DUPLICATES + " --threshold 1.01", "--threshold must be .*from -1 to 1"),
    ("mine {at}/pairs.csv --model {at}/model --output {at}/x --band 0 90", "--band must be .*90"),
    (DUPLICATES + " --threshold 0.5 --column q", r"expected the columns \['q'\].*--column"),
    (DUPLICATES + " --threshold 0.5 --id q", r"expected the columns \['question1', 'q'\]"),
    (DUPLICATES + " --threshold 0.5 --top-k 0", "--top-k must be .*at least 1"),
    (DUPLICATES + " --threshold 0.5 --max-skipped 2", "--max-skipped must"),
    (DUPLICATES + " --top-k 2 --linkage complete", "--linkage complete .*--top-k"),
    (DUPLICATES + " --threshold 0.5 --output {at}/folder", "folder: Is a directory"),
    (DUPLICATES + " --threshold 0.5 --output {at}/nowhere/x.csv", "nowhere does not exist"),
    (f"{DUPLICATES} --groups {{at}}/x.csv", "--groups .*x.csv would replace .*x.csv"),
    (f"{DUPLICATES} --groups {{at}}/missing/g.csv", "the folder .*missing does not exist"),
    (
        "duplicates {at}/pairs.csv --column question1 --model {at}/model --output {at}/pairs.csv",
        "--output .*pairs.csv would replace",
    ),
    ("mine {at}/pairs.csv --model {at}/model --output {at}/pairs.csv", "would replace"),
    ("evaluate {at}/pairs.csv --model {at}/model --plot {at}/pairs.csv", "would replace"),
    ("duplicates {at}/picture.png --model {at}/model --output {at}/x.csv", "not UTF-8"),
    ("duplicates {at}/missing.csv --model {at}/model --output {at}/x.csv", "missing.csv: No such"),
    ("export {at}/nowhere {at}/served", "no model.json in .*nowhere"),
    ("export {at}/damaged {at}/served", "damaged is not a valid folder"),
    ("export {at}/model {at}/folder", "folder.* SavedModel"),
    ("export {at}/model {at}/text.csv", "text.csv.* SavedModel"),
    ("export {at}/model {at}/nowhere/x.keras", "the folder .*nowhere does not exist"),
    ("export {at}/model {at}/x --format keras", "name it x.keras"),
    ("export {at}/course {at}/served", "tokenizer 'course' cannot run in a Keras model"),
]


@pytest.mark.parametrize("arguments, phrase", ROWS)
def test_a_mistake_is_one_line_and_status_2(at, capsys, arguments, phrase):
    arguments = [argument.format(at=at) for argument in arguments.split()]
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    *progress, last = captured.err.splitlines()
    assert last.startswith(f"trax-triplet {arguments[0]}: error: ") and re.search(phrase, last)
    # A user of the command line knows options, not arguments of functions.
    assert not re.search(r"\b[a-z]+_[a-z_]+ must |\b[a-z_]+\d?=", last)
    assert all(
        re.match(
            "read|loading|left out|generated|training on|validating on|waiting|.*neither part", line
        )
        for line in progress
    )
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments, phrase",
    [
        ("", "COMMAND"),
        ("guess", "invalid choice: 'guess'.*sample"),
        ("demo --seed x", "--seed: invalid int value: 'x'"),
        ("demo --output", "expected one argument"),
        ("sample", "required: csv"),
        ("sample x.csv --pairs many", "--pairs: invalid int value"),
        ("sample x.csv --pairs 2.5", "--pairs: invalid int value: '2.5'"),
        ("train x.csv", "required: --output"),
        (
            "train x.csv --output x --pooling max",
            "--pooling: invalid choice: 'max'.*last.*mean.*course",
        ),
        ("train x.csv --output x --closest nearest", "--closest: invalid choice.*semi-hard"),
        ("train x.csv --output x --tokenizer nltk", "--tokenizer: invalid choice.*words.*course"),
        (
            "train x.csv --output x --hard-from soon",
            "--hard-from: expected int or 'never', but got 'soon'",
        ),
        ("train x.csv --output x --margin wide", "--margin: invalid float value: 'wide'"),
        ("train x.csv --output x --unknown", "unrecognized arguments: --unknown"),
        ("evaluate x.csv", "required: --model"),
        ("evaluate x.csv --model x --threshold high", "--threshold: invalid float value: 'high'"),
        ("evaluate x.csv --model x --mistakes all", "--mistakes: invalid int value: 'all'"),
        ("predict a b", "required: --model"),
        ("export x", "required: OUT"),
        ("export x y --format h5", "--format: invalid choice: 'h5'.*keras.*savedmodel"),
    ],
)
def test_arguments_that_argparse_refuses(capsys, arguments, phrase):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments.split())
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    *usage, last = captured.err.splitlines()
    assert re.match(r"trax-triplet( \w+)?: error: ", last) and re.search(phrase, last)
    assert usage[0].startswith("usage: trax-triplet")
    assert not any("error: " in line or "Traceback" in line for line in usage)
    assert captured.out == ""
