"""What an import loads and prints, and which room imports which."""

import ast
import json
from importlib.metadata import version

import pytest
from bare_python import python
from paths import ROOT

PACKAGE = ROOT / "trax_triplet"
FRAMEWORKS = {"jax", "keras", "matplotlib", "nltk", "tensorflow", "trax"}

# Their modules can be measured and reused where there is no Trax.
JAX_ALONE = (
    "kernels.blockwise",
    "kernels.lazy_adam",
    "kernels.lstm",
    "kernels.packing",
    "distributed.processes",
)
# What reads and writes data, and what a student's browser of the checks needs, before any framework.
NO_FRAMEWORK = (
    "_files",
    "_validation",
    "checks.lecture",
    "checks.step",
    "data.batches",
    "data.mining",
    "data.pairs",
    "data.reader",
    "data.sample",
    "data.stream",
    "data.tokenizer",
    "data.vocabulary",
    "distributed.launch",
    "evaluation",
    "options",
    "plots.loss",
    "plots.scores",
    "storage.instructions",
    "storage.trax_files",
    "storage.unpickler",
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
    assert {"jax"} <= loaded_by("import trax_triplet.kernels.blockwise")


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


# --- architecture; .importlinter's layers hold the rest ---------------------------------------------------


def modules():
    return sorted(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
    )


def imported_by(path):
    """The packages that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize("module", modules())
def test_only_compat_imports_trax(module):
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    packages = {name.split(".")[0] for name in imported_by(path)}
    assert module.startswith("compat.") or "trax" not in packages


@pytest.mark.parametrize("module", NO_FRAMEWORK)
def test_module_knows_no_framework(module):
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    packages = {name.split(".")[0] for name in imported_by(path)}
    assert not packages & {"jax", "keras", "tensorflow", "trax"}


def test_imports_are_found_wherever_they_stand(tmp_path):
    source = "import jax.numpy as jnp\ndef f():\n    from trax.layers import x\n"
    (tmp_path / "room.py").write_text(source)
    assert set(imported_by(tmp_path / "room.py")) == {"jax.numpy", "trax.layers"}
