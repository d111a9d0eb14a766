"""A check of each repair of Trax: whether all is well.

As a script this runs all of them and prints one line of JSON: which repairs were needed, and what
each check gave. test_repairs.py starts it twice: on Trax as it is, and on Trax repaired.
"""

import concurrent.futures
import contextlib
import gzip
import io
import json
import pickletools
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import numpy as np

VOCABULARY, D, BATCH, LENGTH, DEVICES = 50, 8, 16, 6, 4


# --- a small Siamese model, its loss in plain jnp, and a Loop on n devices -----------------------


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
    with mock.patch.object(fastmath, "local_device_count", return_value=n_devices):
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


# --- the checks: each returns whether all is well, or raises -------------------------------------


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

    with mock.patch.object(fastmath, "local_device_count", return_value=DEVICES):
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
        mock.patch.object(jax, "process_count", return_value=2),
        mock.patch.object(jax, "host_count", lambda: 2, create=True),  # noqa: PT008, create=True
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

    from trax_triplet.compat import repaired_trax  # noqa: F401

    texts = tf.constant(["a", "b"])
    both = [(texts + "-keys").numpy().tolist(), ("no " + texts).numpy().tolist()]
    return both == [[b"a-keys", b"b-keys"], [b"no a", b"no b"]]


def check_old_names(folder):
    """What JAX and Trax removed is there after being asked for, and not before (where they do not
    have it themselves)."""
    import random

    import jax
    import tensorflow as tf
    from trax.supervised import trainer_lib

    from trax_triplet.compat import provide_old_names

    xla, seed_all = getattr(jax.interpreters, "xla", None), "init_random_number_generators"
    expected = [] if hasattr(xla, "DeviceArray") else ["jax.interpreters.xla.DeviceArray"]
    if not hasattr(trainer_lib, seed_all):
        expected.append(f"trax.supervised.trainer_lib.{seed_all}")
    first, second = provide_old_names(), provide_old_names()
    from jax.interpreters.xla import DeviceArray

    drawn = []
    for _ in range(2):
        key = trainer_lib.init_random_number_generators(34)
        drawn.append((random.random(), np.random.rand(), tf.random.uniform(()).numpy()))
    return (
        (first, second) == ((*expected,), ())
        and isinstance(key, DeviceArray)
        and drawn[0] == drawn[1]
        and key.tolist() == jax.random.PRNGKey(34).tolist()
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
    from trax_triplet.compat import jax_devices as devices

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


if __name__ == "__main__":
    main()
