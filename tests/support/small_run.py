"""One small training, which the tests of training, inference and the command line share."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from trax_triplet.data.pairs import Pairs, split_pairs
from trax_triplet.data.sample import generate

SETTINGS = {
    "steps": 6,
    "batch_size": 16,
    "d_model": 8,
    "evaluate_every": 2,
    "hard_from": 4,
    "neighbours": 4,
}
SMALL = {**SETTINGS, "progress": False}
N_PAIRS, VALIDATION_SHARE = 300, 0.3
OPTIONS = [
    part for name, value in SETTINGS.items() for part in (f"--{name.replace('_', '-')}", str(value))
]


def sample_parts() -> list[Pairs]:
    """The pairs that the run trains on, and those that it is validated on."""
    columns = list(zip(*generate(N_PAIRS)))
    return split_pairs(Pairs(*columns[3:6]), (1 - VALIDATION_SHARE, VALIDATION_SHARE)).parts


def history(folder: Path) -> list[dict]:
    """The evaluations of a run."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def without_speed(rows: list[dict]) -> list[dict]:
    """The evaluations without what differs from run to run."""
    return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in rows]


@dataclass
class SmallRun:
    """A run that nobody interrupted, by the command `train`.

    Attributes:
        csv: the file that it was trained on.
        folder: its output.
        printed, logged: what the command wrote on stdout and on stderr.
    """

    csv: Path
    folder: Path
    printed: str
    logged: str

    @property
    def command(self) -> list[str]:
        """What the command line was."""
        share = ["--validation-share", str(VALIDATION_SHARE)]
        return ["train", str(self.csv), "--output", str(self.folder), *share, *OPTIONS]

    @cached_property
    def trained(self):
        """The `TrainedModel`."""
        from trax_triplet import load_model

        return load_model(self.folder / "model")


def shared_run(parent: Path) -> SmallRun:
    """The run in a folder, by whichever process comes first; the others wait for it."""
    folder, made = parent / "small run", parent / "small run.json"
    with FileLock(parent / "small run.lock"):
        if not made.exists():
            folder.mkdir()
            run = small_run(folder)
            made.write_text(json.dumps([run.printed, run.logged]))
    return SmallRun(folder / "pairs.csv", folder / "out put", *json.loads(made.read_text()))


def small_run(parent: Path) -> SmallRun:
    """Generates pairs and trains on them."""
    from trax_triplet import cli

    run = SmallRun(parent / "pairs.csv", parent / "out put", "", "")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(["sample", str(run.csv), "--pairs", str(N_PAIRS)]) == 0
        assert cli.main(run.command) == 0, err.getvalue()
    run.printed, run.logged = out.getvalue(), err.getvalue()
    return run
