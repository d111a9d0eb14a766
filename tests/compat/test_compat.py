"""Each repair of Trax: what happens without it, what with it.

The checks run in two processes that start this file as a script: one sees Trax as it is, one
repaired; both have four CPU devices. Each prints one line of JSON: which repairs were needed, and
what each check gave.
"""

import concurrent.futures
import contextlib
import gzip
import inspect
import io
import json
import os
import pickletools
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from paths import ROOT

VOCABULARY, D, BATCH, LENGTH, DEVICES = 50, 8, 16, 6, 4


# --- a small Siamese model, its loss in plain jnp, and a Loop on n devices
# ------------------------------


def siamese():
    from trax_triplet.compat import jnp, tl

    unit = tl.Fn("Normalize", lambda x: x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True)))
    embedding = tl.Embedding(VOCABULARY, D, kernel_initializer=tl.RandomNormalInitializer(1.0))
    question = tl.Serial(embedding, tl.LSTM(D), tl.Mean(axis=1), unit)
    return tl.Parallel(question, question)


def local_loss(v1, v2):
    """The package's loss where each device sees its own rows only."""
    from trax_triplet.loss.triplet import triplet_loss

    return triplet_loss(v1, v2, normalize=False, axis_name=False)


def quarters_loss(v1, v2):
    """What four devices compute together when each sees its own rows only."""
    from trax_triplet.compat import jnp

    k = v1.shape[0] // DEVICES
    return jnp.mean(
        jnp.stack(
            [local_loss(v1[i * k : i * k + k], v2[i * k : i * k + k]) for i in range(DEVICES)]
        )
    )


def global_loss(v1, v2):
    """Negatives from all devices, without the matrix."""
    from trax_triplet.loss.triplet import triplet_loss

    return triplet_loss(v1, v2, normalize=False, block=4)


def batches(start=0):
    """Batch number k is the same whenever it is asked for, so a resumed run can go on where it
    was."""
    while True:
        rng = np.random.default_rng([start, 7])
        first = rng.integers(1, VOCABULARY, (BATCH, LENGTH), dtype=np.int32)
        second = first.copy()
        second[:, :2] = rng.integers(1, VOCABULARY, (BATCH, 2))
        yield first, second
        start += 1


def loop(n_devices=1, loss=local_loss, folder=None, start=0, **options):
    from trax_triplet.compat import fastmath, optimizers, tl, training

    sample = next(batches())
    optimizer = optimizers.Adam if options else optimizers.Adam(0.01)
    task = training.TrainTask(
        batches(start),
        tl.Fn("Loss", loss),
        optimizer,
        n_steps_per_checkpoint=5,
        sample_batch=sample,
    )
    evaluation = training.EvalTask(batches(99), [tl.Fn("Loss", loss)], sample_batch=sample)
    with mock.patch.object(fastmath, "local_device_count", lambda: n_devices):
        return training.Loop(
            siamese(),
            task,
            eval_tasks=evaluation if folder else None,
            output_dir=folder,
            random_seed=5,
            n_devices=n_devices,
            **options,
        )


def trained(steps, *args, **kwargs):
    made = loop(*args, **kwargs)
    made.run(steps)
    return made


def leaves(tree):
    from trax_triplet.compat import fastmath

    return [np.asarray(leaf) for leaf in fastmath.tree_flatten(tree) if hasattr(leaf, "shape")]


def distance(a, b):
    """The largest difference between the weights of two Loops."""
    return max(
        float(np.abs(x - y).max()) for x, y in zip(leaves(a.model.weights), leaves(b.model.weights))
    )


# --- the checks: each returns whether all is well, or raises
# --------------------------------------------


def check_resuming(folder, n_devices=1):
    before = trained(5, n_devices, folder=folder)
    after = loop(n_devices, folder=folder, start=5)
    slots = [leaves(made._trainer_per_task[0].slots) for made in (before, after)]
    same = after.step == 5 and distance(before, after) == 0 and all(map(np.array_equal, *slots))
    after.run(5)
    # Up to JAX 0.4 the sum over devices depends on which comes first: the same run twice differs by
    # 2e-7.
    tolerance = 0 if n_devices == 1 else 1e-6
    return same and len(slots[0]) > 3 and distance(after, trained(10, n_devices)) <= tolerance


def check_resuming_on_four_devices(folder):
    return check_resuming(folder, DEVICES)


def check_replication(folder):
    from trax_triplet.compat import tl

    rows, numbers = tl.for_n_devices((np.arange(3.0), np.float32(2)), DEVICES)
    return (
        rows.shape == (DEVICES, 3)
        and numbers.shape == (DEVICES,)
        and len(rows.devices()) == DEVICES
    )


def check_parallel(folder):
    import jax

    from trax_triplet.compat import fastmath

    one_place = jax.device_put(np.arange(4.0, dtype=np.float32)[:, None], jax.local_devices()[0])
    double = fastmath.pmap(lambda x: 2 * x, axis_name="batch")
    return double(one_place).tolist() == [[0.0], [2.0], [4.0], [6.0]]


def check_averaging_over_hosts(folder):
    from trax_triplet.compat import tl, training

    average = training._make_weights_and_state_same_across_hosts
    return np.asarray(
        average(tl.for_n_devices(np.arange(3.0, dtype=np.float32), DEVICES))
    ).tolist() == ([[0.0, 1.0, 2.0]] * DEVICES)


def check_devices_see_their_own_negatives(folder):
    four, quarters, whole = trained(5, DEVICES), trained(5, 1, quarters_loss), trained(5, 1)
    return distance(four, quarters) <= 2e-6 < distance(four, whole)


def check_negatives_from_all_devices(folder):
    return distance(trained(5, DEVICES, global_loss), trained(5, 1, global_loss)) <= 2e-6


def check_memory_efficient_trainer(folder):
    from trax_triplet.compat import fastmath

    with mock.patch.object(fastmath, "local_device_count", lambda: DEVICES):
        made = loop(DEVICES, folder=folder, use_memory_efficient_trainer=True)
        made.run(2)
    return made.step == 2


def check_slots(folder):
    """One compilation for all steps."""
    return trained(4)._trainer_per_task[0]._accelerated_update_fn._cache_size() == 1


def check_own_cpu(folder):
    import jax

    from trax_triplet.compat import tl

    first_of_all_processes = mock.Mock(
        side_effect=AssertionError("asked for the devices of other processes")
    )
    with mock.patch.object(jax, "devices", first_of_all_processes):
        return tl.on_cpu(np.arange(3.0)).tolist() == [0.0, 1.0, 2.0]


def check_lone_devices(folder):
    import jax

    with (
        warnings.catch_warnings(),
        mock.patch.object(jax, "process_count", lambda: 2),
        mock.patch.object(jax, "host_count", lambda: 2, create=True),
    ):
        warnings.simplefilter("ignore")
        try:
            loop(1)
        except RuntimeError as error:
            return "two or more devices" in str(error)
    return False


def warnings_of_a_run(folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(5, folder=folder)
        loop(folder=folder).run(1)
    return [f"{warning.category.__name__}: {warning.message}" for warning in caught]


def check_compression(folder):
    from trax_triplet.compat import tl

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tl.np_to_file([np.arange(3)], f"{folder}/a.npy.gz", compresslevel=2)
        return tl.np_from_file(f"{folder}/a.npy.gz", compresslevel=2)[0].tolist() == [0, 1, 2]


def check_renamed(folder):
    from trax_triplet.compat import training

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return training.jax.host_count() == 1


def pickled_names(path):
    """The modules and names that a gzipped pickle would import."""
    text, names = [], set()
    for code, argument, _ in pickletools.genops(gzip.decompress(Path(path).read_bytes())):
        if "UNICODE" in code.name:
            text.append(argument)
        if code.name == "STACK_GLOBAL":
            names.add(".".join(text[-2:]))
    return names


def check_checkpoints(folder):
    from trax_triplet.compat import shapes, tl

    trained(5, folder=folder)
    layer = tl.BatchNorm()  # has state as well as weights
    layer.init(shapes.ShapeDtype((2, 3)))
    layer.save_to_file(f"{folder}/layer.pkl.gz", input_signature=shapes.ShapeDtype((2, 3)))
    again = tl.BatchNorm()
    again.init_from_file(f"{folder}/layer.pkl.gz")
    kept = [leaves((made.weights, made.state)) for made in (layer, again)]
    names = pickled_names(f"{folder}/model.pkl.gz") | pickled_names(f"{folder}/layer.pkl.gz")
    not_public = ("jax", "tensorflow", "numpy.core", "numpy._core")
    private = sorted(name for name in names if name.startswith(not_public))
    if private:
        raise AssertionError(f"the pickle names {private}")
    return all(map(np.array_equal, *kept)) and len(kept[0]) > 3 and "numpy.ndarray" in names


def check_truncation(folder):
    from trax_triplet.compat import tl

    path = Path(folder) / "a.npy.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.np_to_file(
            [np.arange(3), np.random.default_rng(0).random(999)], str(path), compresslevel=2
        )
    path.write_bytes(path.read_bytes()[:-1000])
    try:
        return len(tl.np_from_file(str(path), compresslevel=2)) == 2
    except ValueError as error:
        return "is truncated" in str(error)


def check_numpy_backend(folder):
    from trax_triplet.compat import fastmath, shapes

    model, pairs = siamese(), next(batches())
    model.init(shapes.signature(pairs))
    on_jax = np.asarray(model(pairs)[0])
    weights = fastmath.nested_map(np.asarray, model.weights)
    with fastmath.use_backend("numpy"):
        on_numpy = model.pure_fn(pairs, weights, model.state, None)[0][0]
    return isinstance(on_numpy, np.ndarray) and float(np.abs(on_jax - on_numpy).max()) < 1e-6


def check_numpy_scan(folder):
    """Carry and outputs of a running sum, None and nested outputs among them."""
    from trax_triplet.compat import fastmath

    def step(carry, x):
        return carry + x, (carry, {"square": x * x, "nothing": None})

    with fastmath.use_backend("numpy"):
        total, (before, others) = fastmath.scan(step, np.float64(0), np.array([1.0, 2.0, 3.0]))
        counted = fastmath.scan(lambda carry, _: (carry + 1, carry), 0, None, length=3)
    return (
        float(total),
        before.tolist(),
        others["square"].tolist(),
        others["nothing"],
        counted[0],
    ) == (6.0, [0.0, 1.0, 3.0], [1.0, 4.0, 9.0], None, 3)


def check_own_backend(folder):
    """Another thread computes with its own backend meanwhile; and an error puts back what was."""
    from trax_triplet.compat import fastmath

    with contextlib.suppress(KeyError), fastmath.use_backend("numpy"):
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            beside = other.submit(fastmath.backend_name).result()
        inside = fastmath.backend_name()
        raise KeyError
    return (inside, beside, fastmath.backend_name()) == ("numpy", "jax", "jax")


def check_texts(folder):
    import tensorflow as tf

    from trax_triplet import compat  # noqa: F401

    texts = tf.constant(["a", "b"])
    both = [(texts + "-keys").numpy().tolist(), ("no " + texts).numpy().tolist()]
    return both == [[b"a-keys", b"b-keys"], [b"no a", b"no b"]]


def check_old_names(folder):
    """DeviceArray is there after being asked for, and not before (where JAX does not have it
    itself)."""
    import jax

    from trax_triplet.compat import provide_old_names

    names = ("jax.interpreters.xla.DeviceArray",)
    before = hasattr(getattr(jax.interpreters, "xla", None), "DeviceArray")
    first, second = provide_old_names(), provide_old_names()
    from jax.interpreters.xla import DeviceArray

    return (first, second) == (() if before else names, ()) and isinstance(
        jax.numpy.ones(2), DeviceArray
    )


# Which repairs a check needs: without them it must fail, unless none of them was needed on this
# JAX.
CHECKS = {
    check_resuming: ["resuming"],
    check_resuming_on_four_devices: ["resuming", "replication"],
    check_replication: ["replication"],
    check_parallel: ["parallel"],
    check_averaging_over_hosts: ["replication"],
    check_devices_see_their_own_negatives: ["replication"],
    check_negatives_from_all_devices: ["replication"],
    check_memory_efficient_trainer: ["replication"],
    check_slots: ["slots"],
    check_own_cpu: ["own_cpu"],
    check_lone_devices: ["lone_devices"],
    check_compression: ["compression"],
    check_renamed: ["renamed"],
    check_checkpoints: ["checkpoints"],
    check_truncation: ["truncation"],
    check_numpy_backend: ["numpy_backend"],
    check_numpy_scan: ["numpy_backend"],
    check_own_backend: ["own_backend"],
    check_texts: ["texts"],
    check_old_names: [],
}


def main():
    """Runs all checks in this process and prints one line of JSON."""
    from trax_triplet import compat
    from trax_triplet.distributed import jax_devices as devices

    report = {"repairs": {repair.name: repair.applied for repair in compat.repairs()}, "checks": {}}
    progress = contextlib.redirect_stdout(io.StringIO())  # Loop prints its own
    with progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in [*CHECKS, warnings_of_a_run]:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    report["checks"][check.__name__] = check(folder)
                except Exception as error:  # whatever Trax raises is the finding
                    report["checks"][check.__name__] = (
                        f"{type(error).__name__}: {str(error)[-400:]}"
                    )
        report["pmap_refuses"] = devices.pmap_refuses_placed_arrays()
    print(json.dumps(report))


@pytest.fixture(scope="module")
def reports():
    """What the two processes found, which run at the same time: (unrepaired, repaired)."""
    environment = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        JAX_PLATFORMS="cpu",
        XLA_FLAGS=f"--xla_force_host_platform_device_count={DEVICES}",
    )
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes = [
        subprocess.Popen(
            [sys.executable, __file__], **pipes, env=dict(environment, TRAX_TRIPLET_REPAIRS=wanted)
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


def test_repairs_give_name_and_reason():
    from trax_triplet import compat
    from trax_triplet.compat import backends

    for repair in compat.repairs():
        assert isinstance(repair.applied, bool)
        told = getattr(compat if hasattr(compat, repair.name) else backends, repair.name).__doc__
        assert told.startswith(repair.reason) and "Feature test:" in told and "Can go when" in told


# --- the quiet import, piece by piece; test_imports.py has the whole
# ----------------------------------------


@pytest.mark.parametrize(
    "line, noise_from_level",
    [
        (b"I0000 00:00:1795488636.043353    4242 port.cc:153] oneDNN custom operations are on.", 1),
        (
            b"W0000 00:00:1795488636.043353    4242 gpu_device.cc:1] Cannot dlopen some GPU libraries.",
            2,
        ),
        (
            b"E0000 00:00:1795488636.043353    4242 cuda_dnn.cc:1] Unable to register cuDNN factory",
            3,
        ),
        (
            b"2023-06-01 12:00:00.123456: I tensorflow/core/util/port.cc:110] oneDNN custom operations are on.",
            1,
        ),
        (
            b"2023-06-01 12:00:00.123456: W tensorflow/compiler/tf2tensorrt/a.cc:1] Could not find TensorRT",
            2,
        ),
        (
            b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
            1,
        ),
        (
            b"F0000 00:00:1795488636.043353    4242 cpu_feature_guard.cc:1] compiled to use AVX instructions",
            4,
        ),
        (b"Traceback (most recent call last):", 4),
        (b"2023-06-01 12:00:00 a line of the user's own log", 4),
        (b"", 4),
    ],
)
def test_tensorflow_log_lines_below_the_level_are_noise(line, noise_from_level):
    from trax_triplet import _quiet as quiet

    assert [quiet._is_noise(line, level) for level in (1, 2, 3)] == [
        level >= noise_from_level for level in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "level, shown",
    [
        (None, "from Python\nfrom C\n"),
        ("3", "from Python\nfrom C\n"),
        ("0", "from Python\nI0000 00:00:1.2 3 a.cc:4] x\nfrom C\n"),
    ],
)
def test_what_is_no_noise_on_stderr_arrives_after_the_import(monkeypatch, capfd, level, shown):
    from trax_triplet import _quiet as quiet

    if level is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    else:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    with pytest.raises(ImportError, match="half way"), quiet._quiet_tensorflow():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "3")
        print("from Python", file=sys.stderr, flush=True)
        os.write(2, b"I0000 00:00:1.2 3 a.cc:4] x\nfrom C\n")
        raise ImportError("half way")
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
    assert capfd.readouterr().err == shown


def test_others_get_whole_stacks_during_the_import():
    from trax_triplet import _quiet as quiet

    original = inspect.stack
    with quiet._short_stacks():
        stack = inspect.stack()
    assert stack[0].function == "test_others_get_whole_stacks_during_the_import" and len(stack) > 2
    assert inspect.stack is original


if __name__ == "__main__":
    main()
