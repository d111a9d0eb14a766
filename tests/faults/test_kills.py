"""Trainings that are killed at random moments and go on: see kills.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bare_python import PATH

pytestmark = pytest.mark.slow  # trainings in processes of their own

HERE = Path(__file__).parent


def killed(tmp_path, kills):
    environment = {**os.environ, "PYTHONPATH": PATH, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(HERE / "kills.py"), "--kills", str(kills), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(found)
    return found


def check(found, kills):
    assert found["kills"] == kills and found["runs"] > 0
    assert not found["failed to resume"] and not found["lost more"] and not found["different"], (
        found
    )


def test_two_kills(tmp_path):
    check(killed(tmp_path, 2), 2)


@pytest.mark.by_hand
def test_a_hundred_kills(tmp_path):
    found = killed(tmp_path, 100)
    check(found, 100)
    assert found["while something was written"] > 10
