"""Each repair of Trax: what happens without it, what with it; in two processes."""

import json
import os
import subprocess
import sys

import pytest
from paths import ROOT
from repair_checks import CHECKS, DEVICES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports():
    """What the two processes found, which run at the same time: (unrepaired, repaired)."""
    environment = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        JAX_PLATFORMS="cpu",
        XLA_FLAGS=f"--xla_force_host_platform_device_count={DEVICES}",
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests/support/repair_checks.py")],
            **pipes,
            env=dict(environment, TRAX_TRIPLET_REPAIRS=wanted),
        )
        for wanted in "01"
    ]
    ends = [(*process.communicate(), process.returncode) for process in processes]
    for _, errors, returncode in ends:
        assert returncode == 0, errors
    return [json.loads(output) for output, _, _ in ends]


@pytest.fixture(scope="module")
def unrepaired(reports):
    return reports[0]


@pytest.fixture(scope="module")
def repaired(reports):
    return reports[1]


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_works_with_the_repairs(repaired, name):
    assert repaired["checks"][name] is True


@pytest.mark.parametrize(
    "name, needs", [(check.__name__, needs) for check, needs in CHECKS.items()]
)
def test_fails_without_its_repair_exactly_where_it_is_needed(unrepaired, repaired, name, needs):
    needed = dict(repaired["repairs"], parallel=repaired["pmap_refuses"])
    works = unrepaired["checks"][name] is True
    assert works == (not any(needed[repair] for repair in needs)), unrepaired["checks"][name]


def test_every_repair_has_a_check(repaired):
    assert set().union(*CHECKS.values()) == set(repaired["repairs"])


def test_nothing_is_repaired_where_the_user_says_so(unrepaired):
    assert not any(unrepaired["repairs"].values())


def test_a_run_with_evaluation_saving_and_resuming_warns_of_nothing(repaired):
    assert repaired["checks"]["warnings_of_a_run"] == []
