"""Model folders and checkpoints: what is read is what was written, or one clear error."""

import json
import shutil

import numpy as np
import pytest

from trax_triplet.data.vocabulary import Vocabulary
from trax_triplet.model.siamese import Siamese, get_weights, init_model
from trax_triplet.storage import folders as storage
from trax_triplet.storage.folders import (
    TrainedModel,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)


@pytest.fixture(scope="module")
def trained():
    vocabulary = Vocabulary.build(["How old are you?", "Where is the station?"])
    layer = init_model(Siamese(len(vocabulary), 4, "eval", pooling="last"), seed=1)
    return TrainedModel(
        layer, vocabulary, {"pooling": "last", "threshold": 0.5, "threshold_source": "a guess"}
    )


@pytest.fixture
def folder(trained, tmp_path):
    save_model(tmp_path / "model", trained)
    return tmp_path / "model"


def rewritten(folder, change):
    """Changes model.json and signs it again: what a careful forger would do."""
    content = json.loads((folder / "model.json").read_text())
    content.pop("sha256")
    change(content)
    content["sha256"] = storage._digest(content)
    (folder / "model.json").write_text(json.dumps(content))


def test_what_is_read_is_what_was_written(trained, folder):
    again = load_model(folder)
    for name, weights in get_weights(trained.model).items():
        np.testing.assert_array_equal(get_weights(again.model)[name], weights)
    assert again.vocabulary == trained.vocabulary
    assert again.settings["threshold"] == 0.5 and again.settings["pooling"] == "last"
    assert again.settings["tokenizer"] == "words" and again.settings["vocab_size"] == len(
        trained.vocabulary
    )
    questions = ["How old is the station?", "", "?"]
    np.testing.assert_array_equal(again.embed(questions), trained.embed(questions))
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]


def test_similarity_is_the_dot_product_of_the_vectors(trained):
    first, second = ["How old are you?", ""], ["Where are you?", "Where?"]
    expected = (trained.embed(first) * trained.embed(second)).sum(axis=1)
    np.testing.assert_allclose(trained.similarity(first, second), expected, atol=1e-6)
    assert trained.similarity(first, second)[1] == 0.0
    assert trained.similarity([], []).shape == (0,)


def test_a_new_model_takes_the_place_of_the_old_one(trained, folder):
    other = TrainedModel(
        init_model(Siamese(len(trained.vocabulary), 4, "eval", pooling="mean"), seed=2),
        trained.vocabulary,
        {"pooling": "mean"},
    )
    save_model(folder, other)
    assert load_model(folder).settings["pooling"] == "mean"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failed_write_leaves_the_old_model(trained, folder, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(storage.safetensors.numpy, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, trained)
    assert load_model(folder).settings["threshold"] == 0.5
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_killed_between_the_two_renames_the_old_model_is_found(trained, folder):
    folder.rename(folder.with_name("model.old"))
    shutil.copytree(folder.with_name("model.old"), folder.with_name("model.new"))
    assert load_model(folder).settings["threshold"] == 0.5
    save_model(folder, trained)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_not_replaced(trained, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds no model.json; it is not replaced"):
        save_model(tmp_path / "thesis", trained)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def truncate(name):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def flip(name):
    def change(folder):
        content = bytearray((folder / name).read_bytes())
        content[-5] ^= 1
        (folder / name).write_bytes(content)

    return change


def forge(**settings):
    return lambda folder: rewritten(folder, lambda content: content["settings"].update(settings))


DAMAGE = {
    "weights truncated": (
        truncate("weights.safetensors"),
        "weights.safetensors should have .* bytes, but has",
    ),
    "vocabulary truncated": (truncate("vocabulary.txt"), "vocabulary.txt should have"),
    "settings truncated": (truncate("model.json"), "model.json is not readable as JSON"),
    "weights changed": (flip("weights.safetensors"), "weights.safetensors was changed"),
    "vocabulary changed": (flip("vocabulary.txt"), "vocabulary.txt was changed"),
    "weights missing": (
        lambda f: (f / "weights.safetensors").unlink(),
        "weights.safetensors is missing",
    ),
    "threshold edited": (
        lambda f: (f / "model.json").write_text(
            (f / "model.json").read_text().replace("0.5", "0.6")
        ),
        "model.json was changed",
    ),
    "not JSON": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe"), "not readable as JSON"),
    "deep JSON": (lambda f: (f / "model.json").write_text("[" * 100_000), "not readable as JSON"),
    "a list": (lambda f: (f / "model.json").write_text("[]"), "has format None"),
    "other format": (
        lambda f: rewritten(f, lambda c: c.update(format=99)),
        "has format 99; this version reads format 1",
    ),
    "no settings": (lambda f: rewritten(f, lambda c: c.pop("settings")), "lacks its settings"),
    "no files": (
        lambda f: rewritten(f, lambda c: c["files"].clear()),
        "weights.safetensors is missing",
    ),
    "other d_model": (forge(d_model=5), "the weights should be"),
    "other vocab_size": (forge(vocab_size=3), "the weights should be"),
    "other tokenizer": (forge(tokenizer="course"), "'course', but vocabulary.txt holds"),
    "no pooling": (forge(pooling="max"), "no usable pooling"),
    "text for a number": (forge(d_model="4"), "no usable d_model"),
    "threshold NaN": (forge(threshold=float("nan")), "no usable threshold"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_error(folder, damage):
    change, message = DAMAGE[damage]
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_weights_that_are_not_numbers_are_refused(trained, folder):
    weights = get_weights(trained.model)
    weights["lstm/bias"] = np.full_like(weights["lstm/bias"], np.nan)
    storage.safetensors.numpy.save_file(weights, folder / "weights.safetensors")
    storage.safetensors.numpy.save_file(weights, folder / "weights.safetensors")

    def sign(content):
        data = (folder / "weights.safetensors").read_bytes()
        content["files"]["weights.safetensors"] = {
            "bytes": len(data),
            "sha256": storage.hashlib.sha256(data).hexdigest(),
        }

    rewritten(folder, sign)
    with pytest.raises(ValueError, match="not finite float32"):
        load_model(folder)
    (folder / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")
    rewritten(folder, sign)
    with pytest.raises(ValueError, match="no safetensors file"):
        load_model(folder)


def test_huge_settings_are_not_read(folder, monkeypatch):
    monkeypatch.setattr(storage, "MAX_SETTINGS_BYTES", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        load_model(folder)


def test_a_missing_folder_says_what_was_expected(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="no model.json in .*nowhere: expected the folder of a model"
    ):
        load_model(tmp_path / "nowhere")


def arrays_of(step):
    return {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([1, step], np.int64)}


@pytest.fixture
def run(tmp_path):
    """A folder of checkpoints after three."""
    for step in (7, 8, 100):
        save_checkpoint(
            tmp_path / "run", step, arrays_of(step), {"step": step, "history": [{"loss": 0.5}]}
        )
    return tmp_path / "run"


def test_the_last_two_checkpoints_stay_and_the_newest_is_read(run):
    assert sorted(p.name for p in run.iterdir()) == ["00000008", "00000100"]
    again, settings, path = load_checkpoint(run)
    assert settings == {"step": 100, "history": [{"loss": 0.5}]} and path == run / "00000100"
    for name, array in arrays_of(100).items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    "damage",
    [
        truncate("weights.safetensors"),
        flip("weights.safetensors"),
        flip("checkpoint.json"),
        truncate("checkpoint.json"),
        lambda f: (f / "checkpoint.json").unlink(),
    ],
)
def test_a_damaged_checkpoint_is_named_and_kept_aside_and_the_one_before_is_used(run, damage):
    said = []
    damage(run / "00000100")
    again, settings, path = load_checkpoint(run, said.append)
    assert (again["b"].tolist(), settings["step"], path) == ([1, 8], 8, run / "00000008")
    assert len(said) == 1 and "00000100 is not a whole folder" in said[0]
    assert f"It is kept as {run / '00000100.damaged'}; {run / '00000008'} is used" in said[0]
    save_checkpoint(run, 100, arrays_of(100), {})
    damage(run / "00000100")
    assert load_checkpoint(run)[2] == run / "00000008"
    assert sorted(p.name for p in run.iterdir()) == [
        "00000008",
        "00000100.damaged",
        "00000100.damaged2",
    ]


def test_where_none_is_whole_nothing_is_moved(run):
    for checkpoint in storage.checkpoints(run):
        truncate("weights.safetensors")(checkpoint)
    with pytest.raises(
        ValueError,
        match="none of the checkpoints in .*run is whole: .*00000100 is not.* Name another",
    ):
        load_checkpoint(run)
    assert [p.name for p in storage.checkpoints(run)] == ["00000008", "00000100"]
    with pytest.raises(FileNotFoundError, match="expected the folder of checkpoints"):
        load_checkpoint(run / "nowhere")


def test_a_failed_write_leaves_the_checkpoints(run, monkeypatch):
    (run / "00000099.new").mkdir()  # of a run that was killed while it wrote
    monkeypatch.setattr(
        storage.safetensors.numpy, "save", lambda *_: (_ for _ in ()).throw(OSError("no space"))
    )
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(run, 101, arrays_of(101), {})
    assert sorted(p.name for p in run.iterdir()) == ["00000008", "00000100"]


def test_one_string_is_not_a_list_of_questions(trained):
    with pytest.raises(TypeError, match=r"write \['Why\?'\]"):
        trained.embed("Why?")
    with pytest.raises(ValueError, match="1 first and 2 second"):
        trained.similarity(["a"], ["b", "c"])
