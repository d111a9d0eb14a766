"""Two processes that train one model by jax.distributed: they end as one does, and neither waits
for a dead one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from small_run import OPTIONS

from trax_triplet import _folders as folders
from trax_triplet import cli

TIMEOUT = 10
SETTINGS = [*OPTIONS, "--word-dropout", "0"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    assert cli.main(["sample", str(path), "--pairs", "200"]) == 0
    return path


@pytest.fixture(scope="module", autouse=True)
def gloo():
    import jax

    if not hasattr(jax.config, "jax_cpu_collectives_implementation"):
        pytest.skip("this JAX has no collectives between CPU processes")


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return {**kept, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **variables}


def start(csv, output, steps):
    """Two processes, the second configured by its environment; their output goes to files beside
    the folder."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "trax_triplet",
        "train",
        str(csv),
        "--output",
        str(output),
        *SETTINGS,
        "--timeout",
        str(TIMEOUT),
        "--steps",
        str(steps),
    ]
    ways = [
        (["--coordinator", address, "--processes", "2", "--process-id", "0", "--json"], {}),
        (
            [],
            {
                "TRAX_TRIPLET_COORDINATOR": address,
                "TRAX_TRIPLET_PROCESSES": "2",
                "TRAX_TRIPLET_PROCESS_ID": "1",
            },
        ),
    ]
    logs = [output.with_name(f"{output.name}{k}.txt") for k in range(2)]
    started = []
    for (options, variables), log in zip(ways, logs):
        with open(log, "w") as err, open(f"{log}.out", "w") as out:
            started.append(
                subprocess.Popen(
                    [*command, *options], stdout=out, stderr=err, env=environment(**variables)
                )
            )
    return started, logs


def finish(started, logs):
    for process, log in zip(started, logs):
        assert process.wait(timeout=240) == 0, log.read_text()
    return [Path(f"{log}.out").read_text() for log in logs]


def arrays(output):
    return folders.load_checkpoint(output / "checkpoints")[0]


def history(output):
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(csv, tmp_path_factory):
    output = tmp_path_factory.mktemp("two") / "run"
    return output, finish(*start(csv, output, 6))


def test_two_processes_train_what_one_trains(csv, uninterrupted, tmp_path):
    output, said = uninterrupted
    assert (
        json.loads(said[0])["model"] == str(output / "model") and said[1] == ""
    )  # one of them tells and writes
    assert sorted(os.listdir(output)) == [".lock", "checkpoints", "history.jsonl", "model"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "trax_triplet",
            "train",
            str(csv),
            "--output",
            str(tmp_path / "one"),
            *SETTINGS,
        ],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for found, wanted in zip(history(output), history(tmp_path / "one"), strict=True):
        for name in ("loss", "validation_loss", "validation_auc"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-5)
    found, wanted = arrays(output), arrays(tmp_path / "one")
    for name in ("weights/embedding", "weights/lstm/kernel", "weights/lstm/bias"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-5, err_msg=name)


def until(condition, processes, logs):
    for _ in range(2400):
        if condition():
            return
        assert all(process.poll() is None for process in processes), [
            log.read_text() for log in logs
        ]
        time.sleep(0.1)
    raise AssertionError("waited for four minutes")


@pytest.mark.by_hand
@pytest.mark.parametrize("victim", [0, 1])
def test_where_one_dies_the_other_stops_and_both_can_go_on(csv, tmp_path, victim):
    output = tmp_path / "run"
    processes, logs = start(csv, output, 400)
    until(lambda: len(folders.checkpoints(output / "checkpoints")) == 2, processes, logs)
    processes[victim].kill()
    other = processes[1 - victim]
    begun = time.monotonic()
    assert other.wait(timeout=240) == 2
    assert time.monotonic() - begun < 3 * TIMEOUT
    assert (
        "another process of this training ended, or was silent for"
        in logs[1 - victim].read_text().splitlines()[-1]
    )
    assert processes[victim].wait() == -signal.SIGKILL


@pytest.mark.by_hand
def test_killed_and_started_again_both_end_with_the_same_weights(csv, uninterrupted, tmp_path):
    output = tmp_path / "run"
    processes, logs = start(csv, output, 6)
    until(lambda: folders.checkpoints(output / "checkpoints"), processes, logs)
    for process in processes:
        process.kill()
        process.wait()
    finish(*start(csv, output, 6))
    assert "going on from step" in (tmp_path / "run0.txt").read_text()
    found, wanted = arrays(output), arrays(uninterrupted[0])
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
