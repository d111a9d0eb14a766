"""What a run leaves on disk: the best model, the last checkpoints, and the history."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trax_triplet import _files as files
from trax_triplet import _folders as folders
from trax_triplet.inference.trained_model import (
    MANIFEST,
    VOCABULARY,
    TrainedModel,
    check_replaceable,
)
from trax_triplet.training.settings import TrainSettings

HISTORY = "history.jsonl"


def check_output_dir(output_dir: Path) -> None:
    """Nothing, if a training may write into this folder: before it takes its time.

    Raises:
        ValueError: it is a model or a checkpoint, or lies in one, which is replaced as a whole.
        FileExistsError: `model/` or `history.jsonl` in it is somebody else's.

    Example:
        >>> check_output_dir(Path("no such folder"))
    """
    place = Path(os.path.realpath(output_dir))
    for folder in (place, *place.parents):
        for files_of_it in ((MANIFEST, VOCABULARY), (folders.CHECKPOINT, folders.ARRAYS)):
            if all((folder / name).is_file() for name in files_of_it):
                raise ValueError(
                    f"{output_dir} lies in {folder}, which holds a model and is replaced as a "
                    "whole; name a folder outside of it"
                )
    check_replaceable(output_dir / "model")
    history = output_dir / HISTORY
    if history.is_file() and not _is_history(history):
        raise FileExistsError(
            f"{history} is not the history of a training, so it is not replaced; name another "
            "folder, or move this one away"
        )


def _is_history(path: Path) -> bool:
    with open(path, "rb") as file:
        first = file.readline(2**16)
    try:
        return not first or "validation_auc" in json.loads(first)
    except (ValueError, TypeError, RecursionError):
        return False


class Record:
    """The evaluations of a run, and its output folder.

    Args:
        output_dir: path of the folder: `model/`, `checkpoints/` and `history.jsonl`.
        settings: of the run.
        fingerprint: of what the run is made from, see `Examples`.

    Attributes:
        history: one dict an evaluation, the first one first.
        data: how many pairs of each kind there are, for the model card.
        model_folder: path of the best model.
    """

    def __init__(self, output_dir: Path, settings: TrainSettings, fingerprint: str) -> None:
        self._settings, self._fingerprint = dataclasses.asdict(settings), fingerprint
        self._checkpoints = output_dir / "checkpoints"
        self._history_file = output_dir / HISTORY
        self.model_folder = output_dir / "model"
        self.history: list[dict[str, Any]] = []
        self.data: dict[str, int] = {}

    def add(self, row: dict[str, Any]) -> bool:
        """Adds an evaluation to the history: whether its model is the best one so far."""
        best = max((r["validation_auc"] for r in self.history), default=-1.0)
        self.history.append(row)
        return row["validation_auc"] > best

    def save_model(
        self,
        trained: TrainedModel,
        threshold: float,
        threshold_source: str,
        calibration: dict[str, Any] | None,
    ) -> None:
        """Writes the model folder, with the threshold, how it came about, and the calibration."""
        settings = {
            "pooling": self._settings["pooling"],
            "threshold": threshold,
            "threshold_source": threshold_source,
            "calibration": calibration,
            "training": {**self._settings, **self.history[-1]},
            "data": self.data,
            "history": self.history,
        }
        TrainedModel(trained.weights, trained.vocabulary, settings).save(self.model_folder)

    def save_checkpoint(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes what a run needs to go on from this step, and the history."""
        state = {
            "step": step,
            "history": self.history,
            "settings": self._settings,
            "data": self._fingerprint,
        }
        folders.save_checkpoint(self._checkpoints, step, arrays, state)
        self.write_history()

    def write_history(self) -> None:
        """Writes `history.jsonl`."""
        with files.new_file(self._history_file) as file:
            file.writelines(json.dumps(row) + "\n" for row in self.history)

    def last_checkpoint(self) -> Path | None:
        """Where the newest checkpoint is; None where there is none."""
        found = folders.checkpoints(self._checkpoints)
        return found[-1] if found else None

    def load_checkpoint(
        self, log: Callable[[str], None]
    ) -> tuple[int, dict[str, np.ndarray]] | None:
        """The step and the arrays of the newest checkpoint; None where there is none.

        Raises:
            ValueError: it was written with other settings or other pairs, or all are damaged.
        """
        if self.last_checkpoint() is None:
            return None
        arrays, state, path = folders.load_checkpoint(self._checkpoints, log)
        self._check_same_run(path, state)
        self.history = state["history"]
        log(f"going on from step {state['step']} of {self._settings['steps']} ({path})")
        return state["step"], arrays

    def _check_same_run(self, path: Path, state: dict[str, Any]) -> None:
        if state["data"] == self._fingerprint:
            return
        changed = [
            f"{name} was {state['settings'].get(name)!r} and is {value!r}"
            for name, value in self._settings.items()
            if state["settings"].get(name) != value
        ]
        why = "; ".join(changed) or "the pairs or the word vectors are not the same"
        raise ValueError(
            f"{path} belongs to another run: {why}. "
            "Give the same settings to go on with it, or another output folder to start over"
        )
