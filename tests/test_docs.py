"""README and docs: code runs, commands parse, names are documented, pictures are drawn."""

import doctest
import functools
import importlib.util
import re
import shlex
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from paths import ROOT

import trax_triplet
from trax_triplet import cli
from trax_triplet.cli.program import make_parser

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Pages that compile, train or load large models: run in the integration tests.
LONG = [
    ROOT / "README.md",
    *(DOCS / f"{page}.md" for page in ("files", "keras", "loss", "serving", "tutorial")),
]


def blocks(page, *languages):
    text = page.read_text(encoding="utf-8")
    return [found[2] for found in BLOCK.finditer(text) if found[1] in languages]


def commands(page):
    """The arguments of each `trax-triplet` command of a page."""
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(line)
        if program == "trax-triplet":
            yield arguments


def run(page):
    """Runs the Python of a page from top to bottom; the output of interactive code is compared."""
    names = {}
    for number, code in enumerate(blocks(page, "python", "pycon")):
        name = f"{page.name}, block {number}"
        if not code.startswith(">>>"):
            exec(compile(code, name, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, name, str(page), 0)
        result = doctest.DocTestRunner().run(test, clear_globs=False)
        assert result.attempted > 0 == result.failed
        names = test.globs


def test_blocks_are_of_the_kinds_that_are_tested():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {kind for kind, _ in BLOCK.findall(text)} == {"csv", "pycon", "python", "sh", "text"}
    assert text.count("\n```") == 2 * len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page):
    for arguments in commands(page):
        assert make_parser().parse_args(arguments).command == arguments[0]


def test_code_is_short_enough_for_a_page():
    python = "".join(code for page in PAGES for code in blocks(page, "python", "pycon"))
    assert max(map(len, python.splitlines())) <= 88


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p, "python", "pycon") and p not in LONG],
    ids=lambda page: page.name,
)
def test_code_runs(page, capsys):
    run(page)


def test_check_says_what_the_page_says(capsys):
    run(DOCS / "names.md")
    said = re.sub(r"\W+", " ", capsys.readouterr().out)
    page = re.sub(r"\W+", " ", (DOCS / "names.md").read_text(encoding="utf-8"))
    assert said.strip() in page


class _T:
    """In place of a model of sentence-transformers: vectors of the texts' lengths."""

    def __init__(self, name):
        assert name == "sentence-transformers/all-MiniLM-L6-v2"

    def encode(self, texts, show_progress_bar):
        return np.array([[1.0, len(text)] for text in texts])


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The folder in which the tutorial's commands were run, with fewer pairs and steps."""
    folder = tmp_path_factory.mktemp("tutorial")
    shorter = {
        "sample": ["--pairs", "400"],
        "train": ["--steps", "20", "--evaluate-every", "10", "--batch-size", "32"],
    }
    tables = blocks(DOCS / "tutorial.md", "csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "unlabelled.csv").write_text(tables[0])
        assert cli.main(["sample", "more.csv", "--pairs", "400", "--seed", "9"]) == 0
        (folder / "vectors.txt").write_text("how 1 2 3\nwhat 3 2 1\n")
        (folder / "questions.txt").write_text("question\nIs it?\nWhy is it?\n")
        patch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=_T))
        for arguments in commands(DOCS / "tutorial.md"):
            assert cli.main([*arguments, *shorter.get(arguments[0], [])]) == 0
    header, *answers = (folder / "answers.csv").read_text().splitlines()
    assert header == tables[1].splitlines()[0]
    assert len(answers) == 2
    return folder


@pytest.fixture
def short_training(tutorial, monkeypatch):
    """The tutorial's folder as the current one; `train` takes a few steps of small batches."""
    monkeypatch.chdir(tutorial)
    settings = {"steps": 20, "evaluate_every": 10, "batch_size": 32, "d_model": 16}
    short = functools.partial(trax_triplet.train, progress=False, **settings)
    monkeypatch.setattr(trax_triplet, "train", short)
    yield tutorial
    shutil.rmtree(tutorial / "run-2", ignore_errors=True)


@pytest.mark.slow
def test_the_commands_of_the_keras_page_run(short_training):
    for arguments in commands(DOCS / "keras.md"):
        assert cli.main(arguments) == 0


@pytest.mark.slow
# As the Keras page says: the spelling of unknown words does not go across.
@pytest.mark.filterwarnings("ignore:in Keras, words that the vocabulary lacks:UserWarning")
@pytest.mark.parametrize("page", LONG, ids=lambda page: page.name)
def test_code_that_takes_time_runs(page, short_training):
    if page.name == "files.md":
        from trax_triplet.model import Siamese, init_model

        init_model(Siamese(41699, 128)).save_to_file("model.pkl.gz")
    if page.name == "serving.md":
        assert cli.main(["export", "run", "model.onnx"]) == 0
    run(page)


def test_the_readme_is_short_and_its_first_block_is_the_two_commands():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    demo, tests = blocks(ROOT / "README.md", "sh")[0].splitlines()
    assert demo.endswith(".venv/bin/trax-triplet demo")
    assert tests.endswith(".venv-test/bin/python -m pytest")


def test_links_between_files_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (ROOT / link).exists()] == []


# Modules of Trax, which compat passes on; its page names them.
OF_TRAX = {"fastmath", "jnp", "lr_schedules", "optimizers", "shapes", "tl", "training"}


def test_every_public_name_is_in_the_reference():
    entries = {
        entry
        for page in (DOCS / "reference").glob("*.md")
        for entry in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    documented = {entry.split(".")[-1] for entry in entries} | OF_TRAX
    page = (DOCS / "reference" / "compat.md").read_text(encoding="utf-8")
    assert [name for name in OF_TRAX if f"`{name}`" not in page] == []
    for stub in (ROOT / "trax_triplet").rglob("__init__.pyi"):
        names = set(re.findall(r" as (\w+)$", stub.read_text(encoding="utf-8"), re.MULTILINE))
        assert names - documented == set(), stub


def test_the_map_has_every_module_and_no_other():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.split("## The map")[1].split("\n\n")[2]
    modules = " ".join(row.split("|")[2] for row in table.splitlines())
    there = {path.stem for path in (ROOT / "trax_triplet").rglob("*.py")}
    assert set(re.findall(r"`(\w+)`", modules)) == there - {"__init__", "__main__"}


def test_the_tests_that_contributors_are_pointed_to_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    named = re.findall(r"`((?:test|check)_\w+)`", page)
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_changelog_begins_with_this_version():
    version = trax_triplet.__version__.split(".dev")[0]
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first[1] == version


def test_the_pictures_are_those_that_the_script_draws(tmp_path):
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pictures.draw(tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn | {"scores.png"} == {path.name for path in (DOCS / "img").iterdir()}
    shown = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert set(re.findall(r"\(img/([\w.]+)\)", shown)) == drawn | {"scores.png"}
