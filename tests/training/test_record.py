"""Where a training may write: what it would lose is refused before it begins."""

import pytest

from trax_triplet.training.record import check_output_dir


def test_a_folder_of_a_model_or_of_a_checkpoint_is_not_an_output(tmp_path):
    for part, names in (
        ("run/model", ["model.json", "vocabulary.txt"]),
        ("run/checkpoints/00000020", ["checkpoint.json", "weights.safetensors"]),
    ):
        (tmp_path / part).mkdir(parents=True)
        for name in names:
            (tmp_path / part / name).touch()
        for inside in (part, f"{part}/a/b", f"run/../{part}/a"):
            with pytest.raises(ValueError, match="replaced as a whole"):
                check_output_dir(tmp_path / inside)
    check_output_dir(tmp_path / "run")  # it goes on
    (tmp_path / "link").symlink_to("run/model")
    with pytest.raises(ValueError, match="replaced as a whole"):
        check_output_dir(tmp_path / "link/again")


def test_a_model_json_of_another_program_is_no_model(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    check_output_dir(tmp_path / "run")


@pytest.mark.parametrize("theirs", ["step,loss", "[1]", '{"loss": 1}', "\u00e9", "7"])
def test_what_is_not_of_a_training_is_not_replaced(tmp_path, theirs):
    history = tmp_path / "history.jsonl"
    history.write_text('{"step": 1, "validation_auc": 0.5}\n')
    check_output_dir(tmp_path)
    history.write_text(theirs, encoding="latin-1")
    with pytest.raises(FileExistsError, match="not the history of a training"):
        check_output_dir(tmp_path)
    history.unlink()
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match=r"no model\.json"):
        check_output_dir(tmp_path)
