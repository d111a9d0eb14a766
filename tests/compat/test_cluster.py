"""What the processes of a training share, as if there were several; and the supervisor of one."""

import json
import os
import signal

import jax
import numpy as np
import pytest
from bare_python import python
from jax.experimental import multihost_utils

from trax_triplet.compat import jax_devices, launch, processes
from trax_triplet.compat.launch import check_cluster


@pytest.fixture
def second_of_three(monkeypatch):
    """As if this process were the second of three."""
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)


def test_each_process_has_its_rows(second_of_three):
    shard = processes.local_shard((np.arange(6), np.arange(12).reshape(6, 2)))
    assert [part.tolist() for part in shard] == [[2, 3], [[4, 5], [6, 7]]]
    assert not processes.is_first_process()


def test_mean_and_broadcast_over_processes(second_of_three, monkeypatch):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]])
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda x: rows)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda x: rows[0])
    assert processes.mean_over_processes(rows[1]).tolist() == [4.0, 2.0]
    assert processes.broadcast_from_first(rows[1]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("index, expected", [(0, ["block", "wait"]), (1, ["wait", "block"])])
def test_the_first_process_goes_first(monkeypatch, index, expected):
    done = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr(multihost_utils, "sync_global_devices", lambda _: done.append("wait"))
    with processes.first_process_first():
        done.append("block")
    assert done == expected


def test_a_lost_peer_is_reported_where_there_are_several(monkeypatch):
    with pytest.raises(processes._Error), processes.report_lost_peers():
        raise processes._Error("gone")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with (
        pytest.raises(ConnectionError, match="another process.*gone"),
        processes.report_lost_peers(),
    ):
        raise processes._Error("gone")


def test_gathered_rows_begin_with_the_local_ones():
    rows = np.arange(12).reshape(3, 2, 2)  # of three devices

    def gather(x):
        (first, none), n = jax_devices.all_gather_local_first((x, None), "batch"), 0
        assert none is None
        return first, n + jax_devices.axis_size("batch")

    found, sizes = jax.vmap(gather, axis_name="batch")(rows)
    everyone = rows.reshape(6, 2)
    for k in range(3):
        np.testing.assert_array_equal(found[k], np.roll(everyone, -2 * k, axis=0))
    assert np.asarray(sizes).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    "cluster, error, name",
    [
        (("localhost", 2, 0, 60), ValueError, "coordinator"),
        ((":1234", 2, 0, 60), ValueError, "coordinator"),
        (("1234", 2, 0, 60), ValueError, "coordinator"),
        ((None, 2, 0, 60), TypeError, "coordinator"),
        (("localhost:1", 1, 0, 60), ValueError, "processes"),
        (("localhost:1", 2, 2, 60), ValueError, "process_id"),
        (("localhost:1", 2, -1, 60), ValueError, "process_id"),
        (("localhost:1", 2, 0, 0), ValueError, "timeout"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(cluster, error, name):
    with pytest.raises(error, match=f"{name} must be"):
        check_cluster(*cluster)


CHILD = """
import json, os, sys
from trax_triplet.compat.launch import continue_in_child
parent = os.getpid()
continue_in_child(7)
print(json.dumps(os.getppid() == parent), flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end, status, words",
    [
        ("sys.exit(3)", 3, ""),
        ("os.abort()", 2, "was silent for 7 s"),
        ("os.kill(os.getpid(), 9)", 137, ""),
    ],
)
def test_the_supervisor_ends_as_its_child_does_and_reports_an_abort(end, status, words):
    done = python("-c", CHILD.format(end=end))
    assert json.loads(done.stdout) is True
    assert done.returncode == status
    assert words in done.stderr


@pytest.mark.parametrize(
    "status, code, words", [(3 << 8, 3, ""), (6, 2, "was silent for 7 s"), (9, 128 + 9, "")]
)
def test_the_parent_ends_as_the_child_and_hands_a_termination_on(
    monkeypatch, capsys, status, code, words
):
    handlers, sent = {}, []

    def waitpid(child, _):
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number](number, None)  # comes while it waits
        return child, status

    monkeypatch.setattr(os, "fork", lambda: 1234)
    monkeypatch.setattr(os, "waitpid", waitpid)
    monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    with pytest.raises(SystemExit) as ended:
        launch.continue_in_child(7)
    assert ended.value.code == code and sent == [(1234, signal.SIGTERM)]
    err = capsys.readouterr().err
    assert words in err and bool(err) == bool(words)


def test_a_system_without_fork_is_told(monkeypatch):
    monkeypatch.delattr(os, "fork", raising=False)
    with pytest.raises(ValueError, match="several processes need a system that forks.*leave out"):
        launch.continue_in_child(60)
