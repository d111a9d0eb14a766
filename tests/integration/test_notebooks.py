"""Notebooks: each runs from top to bottom, and what is stored in it is one clean run.

This makes the stored outputs anew (with the extra `notebooks` installed, and the package or this
checkout on the path):

    python -m nbconvert --execute --inplace --config notebooks/nbconvert.json notebooks/*.ipynb
"""

import ast
import os
import re
import subprocess
import sys

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# Runs in a process of its own: what Jupyter's libraries warn of is not ours, and warnings are
# errors here. The cell that is added says which package the kernel has found.
RUN = """
import sys
import nbformat
from nbclient import NotebookClient
source, package, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
notebook.cells.append(nbformat.v4.new_code_cell(
    f"import trax_triplet; assert trax_triplet.__path__ == [{package!r}], trax_triplet.__path__"))
resources = {"metadata": {"path": folder}}
NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
"""

ABSOLUTE_PATH = re.compile(
    r"""(?:^|[\s"'`(=\[,])(?:(?:file:)?(?:/[\w.+-]+){2,}|~/[\w.]|[A-Za-z]:\\\w)""", re.MULTILINE
)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path):
    return [output for cell in code_cells(path) for output in cell.outputs]


def trees(path):
    """The code cells as syntax trees; magics become calls first."""
    return [
        ast.parse(TransformerManager().transform_cell(cell.source)) for cell in code_cells(path)
    ]


def texts(path):
    """All that is stored in words: sources, outputs but for pictures, and metadata."""
    notebook = read(path)
    yield str(notebook.metadata)
    for cell in notebook.cells:
        yield from (cell.source, str(cell.metadata))
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (
                str(value)
                for kind, value in output.get("data", {}).items()
                if not kind.startswith("image/")
            )


def defined_in(tree):
    """Names of the functions and classes that a tree defines, at whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def public_names():
    """Functions and classes of the package, but for the cases that the checks are made of."""
    for path in (ROOT / "trax_triplet").rglob("*.py"):
        if path.parent.name != "checks" or path.stem == "runner":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
                    yield node.name


def test_the_lectures_notebooks_are_there():
    assert {"1_siamese_model", "2_modified_triplet_loss"} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.slow
@every_notebook
def test_notebook_runs_from_top_to_bottom(path, tmp_path):
    ours = ("PYTHONWARNINGS", "TF_CPP_MIN_LOG_LEVEL", "TRAX_TRIPLET_REPAIRS", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment.update(
        JAX_PLATFORMS="cpu",
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        # No kernel or setting of the user's own, and nothing left behind in the user's folders.
        **{
            name: str(tmp_path / name)
            for name in (
                "IPYTHONDIR",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
            )
        },
    )
    folder = tmp_path / "work"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), str(ROOT / "trax_triplet"), str(folder)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@every_notebook
def test_stored_outputs_are_one_run_without_errors_and_complaints(path):
    assert [cell.execution_count for cell in code_cells(path)] == list(
        range(1, len(code_cells(path)) + 1)
    )
    assert [output for output in outputs(path) if output.output_type == "error"] == []
    assert [output.text for output in outputs(path) if output.get("name") == "stderr"] == []


@every_notebook
def test_nothing_stored_names_a_place_on_a_machine(path):
    assert [text for text in texts(path) if ABSOLUTE_PATH.search(text)] == []
    assert read(path).metadata.kernelspec.name == "python3"


@pytest.mark.parametrize(
    "text, found",
    [
        ("/home/someone/run", True),
        ("'/tmp/x'", True),
        ("in file:/a/b", True),
        ("C:\\Users", True),
        ("~/run", True),
        ("(/usr/lib/python3", True),
        ("-0.4 / 3", False),
        ("sum/(b - 1)", False),
        ("https://example.org/a/b", False),
        ("data/pairs.csv", False),
        ("../shared/data", False),
        ("L1/L2/L3", False),
    ],
)
def test_that_search_tells_paths_from_other_text(text, found):
    assert bool(ABSOLUTE_PATH.search(text)) == found


@every_notebook
def test_notebook_stays_small(path):
    assert path.stat().st_size < 400_000


@every_notebook
def test_notebook_imports_the_package_and_defines_none_of_its_functions_again(path):
    modules = {
        alias.name
        for tree in trees(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    modules |= {
        node.module
        for tree in trees(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert any(module.split(".")[0] == "trax_triplet" for module in modules)
    assert {name for tree in trees(path) for name in defined_in(tree)} & set(
        public_names()
    ) == set()


def test_definitions_and_public_names_are_found():
    source = (
        "def f():\n    def mean_negative(x): pass\n"
        "hinge = lambda p, n: n\nclass Siamese: pass\nlosses = hinges(s)"
    )
    assert set(defined_in(ast.parse(source))) == {"f", "mean_negative", "hinge", "Siamese"}
    assert {
        "mean_negative",
        "hinge",
        "Siamese",
        "TripletLossFn",
        "similarity_heatmap",
        "check",
    } <= set(public_names())
