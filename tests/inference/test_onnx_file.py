"""An exported model gives the model's vectors where onnxruntime and NumPy are all there is."""

import json

import numpy as np
import pytest
from bare_python import python

from trax_triplet import TrainedModel, Vocabulary, cli
from trax_triplet.inference import onnx_file
from trax_triplet.inference.onnx_file import export_onnx
from trax_triplet.model.walk import CENTRE, POOLINGS, PROJECTION

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

WORDS = "how old are you where is the station and why not ?".split()

CONSTANTS = {
    CENTRE: np.linspace(-0.3, 0.4, 8),
    PROJECTION: np.random.default_rng(3).normal(size=(8, 8)),
}


def trained_of(pooling, d=8, **more):
    vocabulary = Vocabulary(WORDS, buckets=3)
    random = np.random.default_rng(0)
    shapes = {"embedding": (len(vocabulary), d), "lstm/kernel": (2 * d, 4 * d), "lstm/bias": 4 * d}
    weights = {name: 0.5 * random.normal(size=shape) for name, shape in shapes.items()}
    return TrainedModel({**weights, **more}, vocabulary, {"pooling": pooling, "threshold": 0.5})


def questions_of(lengths):
    random = np.random.default_rng(1)
    return [" ".join(random.choice([*WORDS, "unknown", "words"], n)) for n in lengths]


def padded(trained, questions, width, *, anywhere=False):
    """Ids in rows of one width, with padding behind the words, or between them."""
    random, ids = np.random.default_rng(2), np.ones((len(questions), width), np.int64)
    for row, words in zip(ids, trained.vocabulary.encode_all(questions)):
        places = np.arange(len(words))
        row[np.sort(random.choice(width, len(words), replace=False)) if anywhere else places] = (
            words
        )
    return ids


@pytest.mark.parametrize("constants", [{}, CONSTANTS])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_the_models_whatever_the_batch_and_the_padding(pooling, constants, tmp_path):
    trained = trained_of(pooling, **constants)
    export_onnx(trained, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    # About the lengths at which a course's model pads to another one.
    questions = questions_of((3, 0, 1, 7, 8, 9, 16, 17, 63, 64, 65, 128, 129, 130))
    expected = trained.embed(questions)
    for width, anywhere in ((130, False), (300, True)):
        ids = padded(trained, questions, width, anywhere=anywhere)
        [vectors] = session.run(["vectors"], {"ids": ids})
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    for n, question in enumerate(questions):
        ids = padded(trained, [question], len(question.split()))
        np.testing.assert_allclose(session.run(None, {"ids": ids})[0], expected[[n]], atol=1e-6)
    [nothing] = session.run(None, {"ids": np.ones((0, 4), np.int64)})
    assert nothing.shape == (0, 8)


def test_a_model_that_reads_spelling_warns_that_the_file_does_not(tmp_path):
    plain, shape = trained_of("last"), (16, 8)
    more = {"spelling/table": np.ones(shape), "spelling/length": np.ones(1)}
    trained = TrainedModel({**plain.weights, **more}, plain.vocabulary, plain.settings)
    with pytest.warns(UserWarning, match="in ONNX, words that the vocabulary lacks share"):
        export_onnx(trained, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    [vectors] = session.run(None, {"ids": padded(trained, ["how old", "zyx"], 2)})
    np.testing.assert_allclose(vectors, plain.embed(["how old", "zyx"]), atol=1e-6)
    assert np.abs(trained.embed(["zyx"]) - vectors[1]).max() > 0.01


def test_the_file_says_what_is_needed_to_use_it(tmp_path):
    trained = trained_of("last")
    export_onnx(trained, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert model.opset_import[0].version == 17
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["threshold"] == 0.5 and about["settings"] == trained.settings
    assert Vocabulary(**about["vocabulary"]) == trained.vocabulary


ALONE = """
import json, sys

class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        allowed = {"numpy", "onnxruntime", "coloredlogs", "flatbuffers", "google", "packaging"}
        top = name.split(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, OnlyThese())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
[vectors] = session.run(None, {"ids": np.array(json.loads(sys.argv[2]))})
print(json.dumps(vectors.tolist()))
"""


@pytest.mark.slow
def test_needs_onnxruntime_and_numpy_alone(tmp_path, capsys):
    trained, questions = trained_of("last"), questions_of((5, 2, 0))
    trained.save(tmp_path / "model")
    file = tmp_path / "model.onnx"
    assert cli.main(["export", str(tmp_path / "model"), str(file), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"output": str(file), "format": "onnx", "threshold": 0.5}
    done = python("-c", ALONE, file, json.dumps(padded(trained, questions, 9).tolist()))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), trained.embed(questions), atol=1e-6)


def test_bad_input_is_answered_in_words(tmp_path, monkeypatch):
    trained = trained_of("last")
    with pytest.raises(TypeError, match="trained must be trax_triplet.TrainedModel"):
        export_onnx("run", tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="path must be a path"):
        export_onnx(trained, 3)
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        export_onnx(trained, tmp_path / "nowhere" / "model.onnx")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="trained must be of at most 100 bytes of weights"):
        export_onnx(trained, tmp_path / "model.onnx")
    assert [*tmp_path.iterdir()] == []
