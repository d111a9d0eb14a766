"""What an import loads and prints, and which room imports which."""

import ast
import graphlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "trax_triplet"
FRAMEWORKS = {"jax", "keras", "matplotlib", "nltk", "tensorflow", "trax"}

# The rooms each room may import.
ALLOWED = {
    "quiet": set(),
    "devices": set(),
    "repairs": set(),
    "backends": {"quiet", "repairs"},
    "compat": {"backends", "devices", "quiet", "repairs"},
    "similarity": {"compat"},
    "negatives": {"compat", "similarity"},
    "replicas": {"quiet"},
    "loss": {"compat", "devices", "replicas", "similarity", "negatives", "steps", "blockwise"},
    "packing": set(),
    "recurrence": {"packing"},
    "lstm": {"compat", "recurrence"},
    "model": {"arguments", "compat", "similarity", "vocabulary", "lstm"},
    "panels": set(),
    "instructions": set(),
    "pickled": {"instructions"},
    "pickles": {"files", "model", "pickled"},
    "blockwise": {"panels"},
    "steps": {"compat", "similarity", "negatives"},
    "arguments": set(),
    "tokenizer": set(),
    "vocabulary": {"arguments", "files", "tokenizer"},
    "sample": {"arguments", "files", "sample_words"},
    "sample_words": set(),
    "evaluation": set(),
    "data": {"arguments"},
    "files": set(),
    "reader": {"arguments", "data", "files"},
    "batches": {"arguments", "vocabulary"},
    "derived": {"arguments", "data", "tokenizer"},
    "encoder": {"arguments", "compat", "model", "similarity", "vocabulary"},
    "storage": {"model", "encoder", "files", "tokenizer", "vocabulary", "compat"},
    "stream": {"arguments", "batches", "vocabulary"},
    "lazy_adam": set(),
    "trainer": {
        "compat",
        "lazy_adam",
        "loss",
        "model",
        "packing",
        "recurrence",
        "similarity",
        "vocabulary",
    },
    "options": set(),
    "supervisor": set(),
    "processes": {"supervisor"},
    "loop": {"compat", "loss", "model", "processes", "vocabulary", "stream", "trainer"},
    "training": {
        "compat",
        "steps",
        "model",
        "encoder",
        "data",
        "derived",
        "vocabulary",
        "evaluation",
        "files",
        "processes",
        "storage",
        "stream",
        "loop",
    },
    "plots": {"evaluation"},
    "plots_loss": {"plots"},
    "explorer": {"compat", "steps", "plots_loss"},
    "course": {"arguments", "compat", "loss", "model", "tokenizer", "vocabulary"},
    "graph_text": {"quiet"},
    "keras_layers": {"quiet"},
    "keras_text": {"graph_text", "keras_layers", "vocabulary"},
    "keras_loss": {"compat", "keras_layers", "loss", "replicas"},
    "keras_data": {"arguments", "data", "keras_layers", "stream", "tokenizer", "vocabulary"},
    "keras_export": {"files", "keras_layers", "keras_text", "model", "storage"},
    "keras": {"arguments", "keras_data", "keras_export", "keras_layers", "keras_loss", "replicas"},
    "checks_step": set(),
    "checks_lecture": {"checks_step"},
    "checks_questions": {"checks_step", "course"},
    "checks_model": {"checks_step", "checks_lecture", "course", "compat", "model"},
    "checks": {"checks_step", "checks_lecture", "checks_questions", "checks_model"},
}
ANYTHING = {"__init__", "__main__", "cli"}
NO_FRAMEWORK = {
    "arguments",
    "batches",
    "checks_lecture",
    "checks_step",
    "data",
    "derived",
    "evaluation",
    "files",
    "instructions",
    "options",
    "pickled",
    "pickles",
    "plots",
    "plots_loss",
    "reader",
    "sample",
    "sample_words",
    "supervisor",
    "tokenizer",
    "vocabulary",
}

# So that they can be measured where there is no Trax.
JAX_ALONE = {"blockwise", "lazy_adam", "packing", "processes", "recurrence"}


def python(*arguments, **environment):
    """Runs Python in a process that knows nothing of ours but where the package is."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TRAX_TRIPLET_REPAIRS", "PYTHONWARNINGS", "XLA_FLAGS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    inherited.update(PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu", **environment)
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=inherited, capture_output=True, text=True
    )


# --- what an import loads
# -------------------------------------------------------------------------------


def loaded_by(statement):
    """The frameworks that a process has loaded after the statement."""
    script = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = python("-W", "error", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return FRAMEWORKS & set(json.loads(done.stdout))


def test_the_package_loads_no_framework():
    assert loaded_by("import trax_triplet") == set()


@pytest.mark.parametrize("room", sorted(JAX_ALONE))
def test_room_loads_jax_alone(room):
    assert loaded_by(f"import trax_triplet.{room}") == {"jax"}


def test_the_keras_edition_loads_no_trax():
    if int(version("keras").split(".")[0]) < 3:
        done = python("-c", "import trax_triplet.keras")
        assert (
            "ImportError: trax_triplet.keras needs Keras 3 on TensorFlow, but here is Keras 2"
            in done.stderr
        )
    else:
        assert "trax" not in loaded_by("import trax_triplet.keras")


def test_that_test_can_fail():
    assert {"jax"} <= loaded_by("import trax_triplet.blockwise")


# --- what importing compat leaves behind
# ----------------------------------------------------------------

# Python points at `is ()` in Trax's files when it compiles them, as after a fresh installation: so
# here they are compiled again. The report goes to a file, for the import may print nothing.
CHILD = """
import importlib.machinery, inspect, json, os, sys, warnings

def path_stats(self, path, original=importlib.machinery.SourceFileLoader.path_stats):
    if "site-packages/trax/" in path.replace(os.sep, "/"):
        raise OSError("take no cached bytecode")
    return original(self, path)

importlib.machinery.SourceFileLoader.path_stats = path_stats
module, report = sys.argv[1:]
import numpy  # which sets filters of its own
filters, stack = list(warnings.filters), inspect.stack
__import__(module)
found = {"filters": warnings.filters == filters, "stack": inspect.stack is stack,
         "log level": os.environ.get("TF_CPP_MIN_LOG_LEVEL")}
import gym_notices.notices, jax._src.xla_bridge as bridge, tensorflow as tf
found["banners"] = len(gym_notices.notices.notices) > 0
found["backend"] = bool(bridge._backends)
tf.function(lambda x: 2 * x)(tf.ones(3))
try:
    warnings.warn("issued later")
    found["later"] = "shown"
except UserWarning:
    found["later"] = "raised"
with open(report, "w") as file:
    json.dump(found, file)
"""


@pytest.mark.parametrize("option, later", [("default", "shown"), ("error", "raised")])
def test_importing_compat_prints_nothing_and_changes_nothing_for_others(tmp_path, option, later):
    done = python("-W", option, "-c", CHILD, "trax_triplet.compat", str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "issued later" not in line] == []
    assert ("issued later" in done.stderr) == (later == "shown")
    assert json.loads((tmp_path / "report").read_text()) == {
        "filters": True,
        "stack": True,
        "banners": True,
        "later": later,
        "backend": False,  # jax.distributed.initialize() may still follow
        "log level": "1",  # what a plain `import jax` leaves
    }


def test_a_plain_import_of_trax_fails_there(tmp_path):
    done = python("-W", "error", "-c", CHILD, "trax", str(tmp_path / "report"))
    assert done.returncode != 0
    assert "SyntaxError" in done.stderr


# --- architecture
# ---------------------------------------------------------------------------------------


def rooms():
    return sorted(path.stem for path in PACKAGE.glob("*.py"))


def imported_by(path):
    """The modules a file imports anywhere in it, relative ones under the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ["trax_triplet" if node.level else "", node.module]))
            yield module
            if module == "trax_triplet":
                yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported_by(path):
    """The rooms among them; a name that is no room, such as the version, counts as the package
    itself."""
    for module in imported_by(path):
        parts = module.split(".")
        if parts[0] == "trax_triplet" and len(parts) > 1:
            yield parts[1] if parts[1] in rooms() else "__init__"


def test_imports_point_one_way():
    graphlib.TopologicalSorter(ALLOWED).prepare()  # raises CycleError where they do not


@pytest.mark.parametrize("room", sorted(set(rooms()) - ANYTHING))
def test_room_imports_only_the_rooms_below_it(room):
    assert room in ALLOWED, f"enter {room} in ALLOWED, with the rooms it may import"
    assert set(rooms_imported_by(PACKAGE / f"{room}.py")) <= ALLOWED[room]


@pytest.mark.parametrize("room", rooms())
def test_only_compat_imports_trax(room):
    packages = {module.split(".")[0] for module in imported_by(PACKAGE / f"{room}.py")}
    assert room in ("backends", "compat") or "trax" not in packages


@pytest.mark.parametrize("room", sorted(NO_FRAMEWORK & set(rooms())))
def test_room_knows_no_framework(room):
    packages = {module.split(".")[0] for module in imported_by(PACKAGE / f"{room}.py")}
    assert not packages & {"jax", "keras", "tensorflow", "trax"}


def test_imports_are_found_wherever_they_stand(tmp_path):
    source = (
        "import jax.numpy as jnp\nfrom . import loss\n"
        "def f():\n    from trax_triplet.data import x\n    from .model import y\n"
    )
    (tmp_path / "room.py").write_text(source)
    assert {"jax.numpy", "trax_triplet.loss", "trax_triplet.data", "trax_triplet.model"} <= set(
        imported_by(tmp_path / "room.py")
    )
    assert {"loss", "data", "model"} <= set(rooms_imported_by(tmp_path / "room.py"))
