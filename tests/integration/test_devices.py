"""The loss on several devices: negatives from all of them, value and gradient as on one device.

The checks run in three processes that start this file as a script, all at the same time: one with
four CPU devices, and two that work together, with two devices each. Each prints one line of JSON:
what each check gave. That Trax's Loop trains so is in
repair_checks.py: check_negatives_from_all_devices.
"""

import contextlib
import functools
import io
import json
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
from paths import ROOT

pytestmark = pytest.mark.slow

BATCH, D = 24, 6
CASES = {
    "matrix, padding, both": ({"block": 0, "anchor": "both", "groups": True}, 4),
    "blocks, padding": ({"block": 5, "closest": "shifted", "groups": True}, 4),
    "blocks, sum, both": (
        {"block": 4, "closest": "hardest", "anchor": "both", "reduction": "sum"},
        2,
    ),
}


def batch():
    """Pairs with ids; the last quarter of the batch is padding, all of it on the last of four
    devices."""
    rng = np.random.default_rng(3)
    v1 = rng.normal(size=(BATCH, D)).astype(np.float32)
    v2 = (v1 + 0.7 * rng.normal(size=(BATCH, D))).astype(np.float32)
    ids = rng.integers(0, 9, BATCH)
    ids[-BATCH // 4 - 1 :] = -1
    return v1, v2, ids.astype(np.int32)


def gradient_of(options):
    import jax

    from trax_triplet import triplet_loss

    rule = dict({"margin": 0.6}, **options)
    grouped = rule.pop("groups", False)
    return jax.value_and_grad(
        lambda v1, v2, ids: triplet_loss(v1, v2, groups=(ids, ids) if grouped else None, **rule),
        argnums=(0, 1),
    )


def pieces(n):
    return [x.reshape(n, -1, *x.shape[1:]) for x in batch()]


def difference(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def on_pmap(options, n_devices):
    """How far mean loss and mean gradient over the devices are from those of one device."""
    import jax

    from trax_triplet.compat import jax_devices as devices

    value, gradients = jax.jit(gradient_of(options))(*batch())
    values, parts = devices.pmap(gradient_of(options), axis_name="batch")(*pieces(n_devices))
    parts = [np.asarray(part).reshape(BATCH, D) / n_devices for part in parts]
    assert max(np.abs(g).max() for g in parts) > 1e-3
    return max(difference(np.mean(np.asarray(values)), value), *map(difference, parts, gradients))


def on_shard_map(options):
    import jax

    from trax_triplet import triplet_loss

    if not hasattr(jax, "shard_map"):
        return 0.0
    rule = dict({"margin": 0.6, "axis_name": "data"}, **options)
    rule.pop("groups", None)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    spec = jax.sharding.PartitionSpec("data")
    loss = jax.shard_map(
        lambda v1, v2: jax.lax.pmean(triplet_loss(v1, v2, **rule), "data"),
        mesh=mesh,
        in_specs=(spec, spec),
        out_specs=jax.sharding.PartitionSpec(),
    )
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*batch()[:2])
    expected, wanted = jax.jit(
        jax.value_and_grad(functools.partial(triplet_loss, **rule), argnums=(0, 1))
    )(*batch()[:2])
    return max(difference(value, expected), *map(difference, gradients, wanted))


def pairs_of_one_device(options):
    """Losses without reduction, and each device on its own when that is asked for."""
    import jax

    from trax_triplet import triplet_loss
    from trax_triplet.compat import jax_devices as devices

    def pairs(v1, v2):
        return [
            triplet_loss(v1, v2, reduction="none", axis_name=name, **options)
            for name in (None, False)
        ]

    v1, v2, _ = batch()
    a, b, _ = pieces(2)
    all_pairs, own = devices.pmap(pairs, axis_name="batch")(a, b)
    alone = jax.jit(jax.vmap(pairs))(a, b)[0]
    assert difference(all_pairs, own) > 1e-3
    return max(
        difference(np.asarray(all_pairs).ravel(), jax.jit(pairs)(v1, v2)[0]), difference(own, alone)
    )


def report(process, port):
    """What each check gave, by its name: a difference, or an error in words."""
    if process is not None:
        import jax

        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", 2, process)
        checks = {"two processes": functools.partial(on_two_processes, process)}
    else:
        checks = {name: functools.partial(on_pmap, *case) for name, case in CASES.items()}
        checks["shard_map"] = functools.partial(on_shard_map, {"block": 4})
        checks["own pairs"] = functools.partial(pairs_of_one_device, {"block": 0})
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[-300:]}"
    return found


def on_two_processes(process):
    """As on_pmap; each process has two of the four devices, and sees the gradients of its own
    rows."""
    import jax

    from trax_triplet.compat import jax_devices as devices

    options = CASES["blocks, padding"][0]
    assert jax.device_count() == 4 and jax.process_count() == 2
    value, gradients = jax.jit(gradient_of(options))(*batch())

    def mean(v1, v2, ids):
        value, gradients = gradient_of(options)(v1, v2, ids)
        return jax.lax.pmean(value, "batch"), gradients

    mine = slice(2 * process, 2 * process + 2)
    values, parts = devices.pmap(mean, axis_name="batch")(*(x[mine] for x in pieces(4)))
    wanted = [np.asarray(g).reshape(4, -1, D)[mine] for g in gradients]
    return max(
        difference(np.asarray(values), value),
        *(difference(np.asarray(p) / 4, w) for p, w in zip(parts, wanted)),
    )


@pytest.fixture(scope="module")
def found():
    """What the three processes found, or why two of them could not be tried."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests/support")]),
        JAX_PLATFORMS="cpu",
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    count = "--xla_force_host_platform_device_count="
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, process, str(port)],
            **pipes,
            env=dict(
                environment,
                XLA_FLAGS=f"{count}{4 if process == 'alone' else 2}",
            ),
        )
        for process in ("alone", "0", "1")
    ]
    ends = [(*process.communicate(), process.returncode) for process in processes]
    for _, errors, returncode in ends:
        assert returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _, _ in ends]


def test_one_process_with_several_devices_computes_what_one_device_does(found):
    assert len(found[0]) == 5
    assert {
        name: x for name, x in found[0].items() if not (isinstance(x, float) and x < 1e-5)
    } == {}


def test_two_processes_with_two_devices_each_compute_what_one_device_does(found):
    if "jax_cpu_collectives_implementation" in str(found[1]):
        pytest.skip("this JAX has no collectives between CPU processes")
    assert all(
        isinstance(x["two processes"], float) and x["two processes"] < 1e-5 for x in found[1:]
    ), found[1:]


if __name__ == "__main__":
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # Trax's own
        result = report(None if sys.argv[1] == "alone" else int(sys.argv[1]), sys.argv[2])
    print(json.dumps(result))
