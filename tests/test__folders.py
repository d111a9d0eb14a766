"""Folders and checkpoints: what is read is what was written, or one clear error."""

import json

import numpy as np
import pytest

from trax_triplet import _files as files
from trax_triplet import _folders as folders
from trax_triplet._folders import (
    load_checkpoint,
    read_files,
    save_checkpoint,
    write_folder,
)

ARRAYS = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([1, 2], np.int64)}
SETTINGS = {"step": 3, "history": [{"loss": 0.5}]}


@pytest.fixture
def folder(tmp_path):
    with files.new_folder(tmp_path / "saved") as new:
        (new / "words.txt").write_text("how\nold\n")
        write_folder(new, "all.json", SETTINGS, ARRAYS)
    return tmp_path / "saved"


def read(folder):
    return read_files(folder, "all.json", ("words.txt",))[:2]


def test_what_is_read_is_what_was_written(folder):
    settings, arrays = read(folder)
    assert settings == SETTINGS and arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def truncate(name):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def flip(name, place=-5):
    def change(folder):
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return change


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def forge(change):
    """Changes the manifest and signs it again: what a careful forger would do."""

    def changed(folder):
        content = json.loads((folder / "all.json").read_text())
        content.pop("sha256")
        change(content)
        content["sha256"] = folders._digest(content)
        (folder / "all.json").write_text(json.dumps(content))

    return changed


def replace_arrays(data):
    """Other arrays, signed."""

    def changed(folder):
        (folder / folders.ARRAYS).write_bytes(data)
        description = folders._description(data)
        forge(lambda content: content["files"].update({folders.ARRAYS: description}))(folder)

    return changed


DAMAGE = {
    "arrays truncated": (truncate(folders.ARRAYS), "weights.safetensors should have .* bytes, but"),
    "arrays longer": (
        lambda f: write(folders.ARRAYS, (f / folders.ARRAYS).read_bytes() + b"\0")(f),
        "weights.safetensors should have .* bytes, but has",
    ),
    "arrays changed": (flip(folders.ARRAYS), "weights.safetensors was changed"),
    "arrays' header changed": (flip(folders.ARRAYS, 20), "weights.safetensors was changed"),
    "arrays missing": (lambda f: (f / folders.ARRAYS).unlink(), "weights.safetensors is missing"),
    "text truncated": (truncate("words.txt"), "words.txt should have"),
    "text changed": (flip("words.txt"), "words.txt was changed"),
    "manifest truncated": (truncate("all.json"), "all.json is not readable as JSON"),
    "manifest edited": (
        lambda f: write("all.json", (f / "all.json").read_bytes().replace(b"0.5", b"0.6"))(f),
        "all.json was changed",
    ),
    "manifest missing": (lambda f: (f / "all.json").unlink(), "all.json is missing"),
    "not JSON": (write("all.json", b"\xff\xfe"), "not readable as JSON"),
    "deep JSON": (write("all.json", b"[" * 100_000), "not readable as JSON"),
    "a list": (write("all.json", b"[]"), "has format None"),
    "another format": (
        forge(lambda content: content.update(format=99)),
        "has format 99; this version reads format 1",
    ),
    "no settings": (forge(lambda content: content.pop("settings")), "lacks its settings"),
    "no list of files": (forge(lambda content: content.pop("files")), "lacks its settings"),
    "an empty list of files": (forge(lambda content: content["files"].clear()), "is missing"),
    "not safetensors": (replace_arrays(b"\x08\0\0\0\0\0\0\0notjson!"), "not a safetensors file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_error(folder, damage):
    change, message = DAMAGE[damage]
    change(folder)
    with pytest.raises(ValueError, match=message) as caught:
        read(folder)
    assert str(caught.value).startswith(f"{folder} is not a valid folder of trax-triplet: ")


def test_brackets_that_only_json_dumps_cannot_follow(folder):
    """The digest goes one step deeper than reading; at which depth depends on the caller's."""
    for depth in range(800, 1000):
        text = '{"format": 1, "settings": {"x": %s}, "files": {}}' % ("[" * depth + "]" * depth)
        (folder / "all.json").write_text(text)
        with pytest.raises(ValueError, match="all.json"):
            read(folder)


def test_limits(folder, monkeypatch):
    monkeypatch.setattr(folders, "MAX_FILE_BYTES", 7)
    with pytest.raises(ValueError, match="words.txt should have 8 bytes, but has 8"):
        read(folder)
    monkeypatch.setattr(folders, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ValueError, match="all.json is larger than 100 bytes"):
        read(folder)
    with pytest.raises(ValueError, match="more than the 100 bytes .* evaluate less often"):
        write_folder(folder, "all.json", SETTINGS, ARRAYS)


# Checkpoints


def arrays_of(step):
    return {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([1, step], np.int64)}


@pytest.fixture
def run(tmp_path):
    """A folder of checkpoints after three."""
    for step in (7, 8, 100):
        save_checkpoint(tmp_path / "run", step, arrays_of(step), {"step": step})
    return tmp_path / "run"


def test_the_last_two_checkpoints_stay_and_the_newest_is_read(run):
    assert sorted(p.name for p in run.iterdir()) == ["00000008", "00000100"]
    again, settings, path = load_checkpoint(run)
    assert settings == {"step": 100} and path == run / "00000100"
    for name, array in arrays_of(100).items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    "damage",
    [
        truncate("weights.safetensors"),
        flip("checkpoint.json"),
        lambda f: (f / "checkpoint.json").unlink(),
    ],
)
def test_a_damaged_checkpoint_is_named_and_kept_aside_and_the_one_before_is_used(run, damage):
    logged = []
    damage(run / "00000100")
    again, settings, path = load_checkpoint(run, logged.append)
    assert (again["b"].tolist(), settings["step"], path) == ([1, 8], 8, run / "00000008")
    assert len(logged) == 1 and "00000100 is not a valid folder" in logged[0]
    assert f"It is kept as {run / '00000100.damaged'}; {run / '00000008'} is used" in logged[0]
    save_checkpoint(run, 100, arrays_of(100), {})
    damage(run / "00000100")
    assert load_checkpoint(run)[2] == run / "00000008"
    assert sorted(p.name for p in run.iterdir()) == [
        "00000008",
        "00000100.damaged",
        "00000100.damaged2",
    ]


def test_where_none_is_valid_nothing_is_moved(run):
    for checkpoint in folders.checkpoints(run):
        truncate("weights.safetensors")(checkpoint)
    message = "none of the checkpoints in .*run is valid: .*00000100 is not.* Name another"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(run)
    assert [p.name for p in folders.checkpoints(run)] == ["00000008", "00000100"]
    with pytest.raises(FileNotFoundError, match="expected the folder of checkpoints"):
        load_checkpoint(run / "nowhere")


def test_a_failed_write_leaves_the_checkpoints(run, monkeypatch):
    def fail(*_):
        raise OSError("no space")

    (run / ".00000099.new").mkdir()  # of a run that was killed while it wrote
    monkeypatch.setattr(folders.safetensors.numpy, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(run, 101, arrays_of(101), {})
    assert sorted(p.name for p in run.iterdir()) == ["00000008", "00000100"]


def test_files_that_are_replaced_while_they_are_read_are_read_again():
    states = iter([1, 2, 2, 2])  # replaced during the first reading
    reads = iter(["of two states", "of one"])
    assert folders.settled(lambda: next(reads), lambda: next(states)) == "of one"


def test_what_does_not_change_and_cannot_be_read_is_told_at_once():
    calls = []

    def damaged():
        calls.append(1)
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        folders.settled(damaged, lambda: 1)
    assert calls == [1]
    with pytest.raises(BlockingIOError, match="replaced"):
        folders.settled(lambda: 0, object)


def test_folders_of_others_that_are_called_like_checkpoints_stay(run):
    (run / "00000001").mkdir()
    (run / "00000001" / "mine.txt").touch()
    save_checkpoint(run, 101, arrays_of(101), {})
    assert sorted(p.name for p in run.iterdir()) == ["00000001", "00000100", "00000101"]
    assert (run / "00000001" / "mine.txt").is_file()
