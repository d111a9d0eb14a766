"""What version 0.1.0 wrote (tests/data/written_by_0.1, from generated questions) is still read.

Model folder, checkpoint, Keras file and SavedModel come from commit 58e655c, before the modules
moved into packages; `expected.json` holds what that version answered.
"""

import json
import shutil
import tarfile

import numpy as np
import pytest
from bare_python import python
from paths import ROOT

pytestmark = pytest.mark.slow

WRITTEN = ROOT / "tests" / "data" / "written_by_0.1"
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())
QUESTIONS, VECTORS = EXPECTED["questions"], np.array(EXPECTED["vectors"])


def test_model_folder():
    from trax_triplet import load_model

    trained = load_model(WRITTEN / "run" / "model")
    np.testing.assert_allclose(trained.embed(QUESTIONS), VECTORS, atol=1e-6)
    assert trained.settings["threshold"] == EXPECTED["threshold"]


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    from trax_triplet import Pairs, sample, split_pairs, train

    columns = list(zip(*sample.generate(300)))
    (pairs, validation), _ = split_pairs(Pairs(*columns[3:6]), (0.6, 0.4))
    shutil.copytree(WRITTEN / "run", tmp_path / "run")
    # As it was then: without what came later.
    settings = {**EXPECTED["settings"], "labelled_negatives": False, "spelling": 0}
    train(pairs, tmp_path / "run", validation=validation, progress=False, **settings)
    before = (WRITTEN / "run" / "history.jsonl").read_text().splitlines()
    after = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    # The first two evaluations are those of the old run, to the letter; the third is new.
    assert after[:2] == before[:2]
    assert json.loads(after[2])["step"] == 6


# A bare import registers what the file names; of its module paths none exists any more.
LOAD = """
import sys
sys.modules["trax"] = None
import keras, json, trax_triplet.keras, tensorflow as tf
model = keras.saving.load_model(sys.argv[1])
tower = model.get_layer("sequential")
print(json.dumps(tower(tf.constant(json.loads(sys.argv[2]))[:, None]).numpy().tolist()))
"""


def test_keras_file():
    done = python("-c", LOAD, WRITTEN / "siamese.keras", json.dumps(QUESTIONS))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), VECTORS, atol=1e-6)


def test_saved_model(tmp_path):
    import tensorflow as tf

    with tarfile.open(WRITTEN / "served.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    found = served(questions=tf.constant(QUESTIONS))["vectors"].numpy()
    np.testing.assert_allclose(found, VECTORS, atol=1e-6)
