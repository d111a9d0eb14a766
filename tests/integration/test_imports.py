"""What an import loads, prints and changes, each in a fresh interpreter.

Which module may import which is held by import-linter (setup.cfg, `lint-imports`).
"""

import json
from importlib.metadata import version

import pytest
from bare_python import python
from paths import ROOT

pytestmark = pytest.mark.slow

FRAMEWORKS = {"jax", "keras", "matplotlib", "nltk", "tensorflow", "trax"}

# What reads and writes data, answers `--help` and lists the checks loads none.
WITHOUT_FRAMEWORK = [
    "trax_triplet",
    "trax_triplet.checks",
    "trax_triplet.cli",
    "trax_triplet.data.batches",
    "trax_triplet.data.mining",
    "trax_triplet.data.reader",
    "trax_triplet.data.sample",
    "trax_triplet.data.stream",
    "trax_triplet.data.tokenizer",
    "trax_triplet.data.vocabulary",
    "trax_triplet.compat.launch",
    "trax_triplet.evaluation",
    "trax_triplet.inference.quality",
    "trax_triplet.inference.trained_model",
    "trax_triplet.loss",
    "trax_triplet.model",
    "trax_triplet.model.walk",
    "trax_triplet.plots",
    "trax_triplet._folders",
    "trax_triplet.compat.trax_files",
    "trax_triplet.compat.unpickler",
    "trax_triplet.training",
]
# They can be measured and reused where there is no Trax.
WITH_JAX_ONLY = [
    "trax_triplet.compat.processes",
    "trax_triplet.loss.blockwise",
    "trax_triplet.training.lazy_adam",
    "trax_triplet.model.recurrence",
    "trax_triplet.model.packing",
]

LOADED = """
import importlib, json, sys
loaded = {}
for module in sys.argv[1:]:
    importlib.import_module(module)
    loaded[module] = sorted(name for name in sys.modules if "." not in name)
print(json.dumps(loaded))
"""


def loaded_after(*modules):
    """The frameworks that one process has loaded after each of these imports."""
    done = python("-W", "error", "-c", LOADED, *modules)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {module: FRAMEWORKS & set(names) for module, names in json.loads(done.stdout).items()}


def test_modules_load_only_the_frameworks_they_need():
    loaded = loaded_after(*WITHOUT_FRAMEWORK, *WITH_JAX_ONLY)
    expected = {module: set() for module in WITHOUT_FRAMEWORK}
    assert loaded == expected | {module: {"jax"} for module in WITH_JAX_ONLY}


# As if none of them, nor what they bring, were installed.
PREDICT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split()))
from trax_triplet.cli import main
status = main(["predict", "--model", sys.argv[1], "Why?", "How come?"])
status += main(["evaluate", "--model", *sys.argv[1:]])
raise SystemExit(status)
"""


def test_predict_and_evaluate_need_no_framework(tmp_path):
    absent = {*FRAMEWORKS, "jaxlib", "ml_dtypes", "scipy", "tensorflow_datasets", "gym"}
    csv = tmp_path / "pairs.csv"
    csv.write_text("question1,question2,is_duplicate\nWhy?,How come?,1\nWho?,When?,0\n")
    model = ROOT / "tests" / "data" / "written_by_0.1" / "run" / "model"
    done = python("-W", "error", "-c", PREDICT, " ".join(absent), model, csv)
    assert done.returncode == 0, done.stderr
    assert "Why?  |  How come?" in done.stdout and "ROC AUC" in done.stdout


def test_the_keras_edition_loads_no_trax():
    if int(version("keras").split(".")[0]) < 3:
        done = python("-c", "from trax_triplet.keras import Siamese")
        message = "ImportError: trax_triplet.keras needs Keras 3 on TensorFlow, but here is Keras 2"
        assert message in done.stderr
    else:
        modules = [f"trax_triplet.keras.{name}" for name in ("assignment", "dataset", "loss")]
        assert "trax" not in loaded_after(*modules)[modules[-1]]


# --- what importing compat leaves behind ---

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
    done = python(
        "-W", option, "-c", CHILD, "trax_triplet.compat.repaired_trax", str(tmp_path / "report")
    )
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
