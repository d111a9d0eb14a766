"""The loss alone, value and gradient, time and peak memory over the batch size; d = 128, float32.

    python benchmarks/loss.py --json loss.json --plot loss.png   # minutes; --quick: seconds

Sides: `ours` (blockwise, the lecture's rule), `autodiff` (the course's formula, differentiated by
JAX), `floor` (the jitted row maximum of v1 @ v2.T: no loss with a closest negative can do less) and
`metric-learning` (PyTorch: pytorch-metric-learning's TripletMarginLoss, margin 0.25 of the cosine,
with its hardest negatives mined in the batch; optional). All sides of one batch size take turns in
one run. Needs JAX alone. Memory is the peak resident size of a
fresh process in the first call, minus what was in use before it: what the inputs take is not in it,
the gradients are (2 * batch * d * 4 bytes); compiling takes some, too. Linux only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from measure import interleaved, median, ratio, report

D = 128
SIDES = ("ours", "autodiff", "floor", "metric-learning")
LARGEST = {
    "autodiff": 16384,
    "floor": 16384,
    "metric-learning": 2048,
}  # beyond, the matrices take gigabytes


def vectors(batch):
    rng = np.random.default_rng(0)
    v1 = rng.standard_normal((batch, D), np.float32)
    v2 = v1 + 2 * rng.standard_normal((batch, D), np.float32)  # cosine 0.45: most hinges are active
    return tuple(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (v1, v2))


def course(v1, v2, margin=0.25):
    """The loss of the lecture, written with the matrix as the course writes it."""
    import jax.numpy as jnp

    scores, batch = jnp.dot(v1, v2.T), len(v1)
    eye = jnp.eye(batch)
    positive = jnp.diagonal(scores)
    mean = jnp.sum(scores * (1 - eye), axis=1) / (batch - 1)
    closest = jnp.max(jnp.where((eye == 1) | (scores > positive[:, None]), -2.0, scores), axis=1)
    return jnp.mean(
        jnp.maximum(mean - positive + margin, 0) + jnp.maximum(closest - positive + margin, 0)
    )


def jax_side(name, v1, v2):
    import jax
    import jax.numpy as jnp

    from trax_triplet.loss.blockwise import blockwise_losses

    f = {
        "ours": lambda a, b: jnp.mean(blockwise_losses(a, b)),
        "autodiff": course,
        "floor": lambda a, b: (a @ b.T).max(axis=1),
    }[name]
    f = jax.jit(f if name == "floor" else jax.value_and_grad(f, argnums=(0, 1)))
    v1, v2 = jnp.asarray(v1), jnp.asarray(v2)
    return lambda: jax.block_until_ready(f(v1, v2))


def torch_side(v1, v2):
    """None where PyTorch or pytorch-metric-learning is not installed."""
    try:
        import torch
        from pytorch_metric_learning import distances, losses, miners
    except ImportError:
        return None
    cosine = distances.CosineSimilarity()
    loss, miner = (
        losses.TripletMarginLoss(margin=0.25, distance=cosine),
        miners.BatchHardMiner(distance=cosine),
    )
    leaves = [torch.tensor(v, requires_grad=True) for v in (v1, v2)]
    labels = torch.arange(len(v1))

    def call():
        mined = miner(leaves[0], labels, leaves[1], labels)
        value = loss(leaves[0], labels, mined, leaves[1], labels)
        return value, torch.autograd.grad(value, leaves, allow_unused=True)

    return call


def side(name, batch):
    if batch > LARGEST.get(name, batch):
        return None
    return (
        torch_side(*vectors(batch))
        if name == "metric-learning"
        else jax_side(name, *vectors(batch))
    )


def resident(what):
    """MiB in use now (VmRSS) or at most so far (VmHWM), of this process alone; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 2**10


def memory(name, batch):
    """MiB that the first call takes, compiling included, in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def memory_here(name, batch):
    side(name, 64)()  # libraries load, threads start
    call = side(name, batch)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    call()
    return resident("VmHWM") - before


def measured(batch, seconds, wanted):
    sides = {name: call for name in wanted if (call := side(name, batch)) is not None}
    few = (
        {"rounds": 1, "warmup": 1} if batch > 16384 else {"seconds": seconds}
    )  # up to a minute a call
    times = interleaved(sides, **few)
    return {
        "batch": batch,
        "ms": {name: 1e3 * median(times, name) for name in times},
        "MiB": {name: memory(name, batch) for name in times},
        "rounds": len(times["ours"]),
        "autodiff / ours": ratio(times, "autodiff", "ours") if "autodiff" in times else None,
        "ours / floor": ratio(times, "ours", "floor") if "floor" in times else None,
    }


def plot(results, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, what, unit in zip(
        figure.subplots(1, 2), ("ms", "MiB"), ("time of value and gradient (ms)", "memory (MiB)")
    ):
        for name in SIDES:
            points = [(r["batch"], r[what][name]) for r in results if r[what].get(name)]
            if points:
                axes.loglog(*zip(*points), marker="o", label=name)
        axes.set(xlabel="pairs in the batch", ylabel=unit)
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json")
    parser.add_argument("--plot")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for the sides of one batch size together"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[2**k for k in range(8, 18)])
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=SIDES,
        default=SIDES,
        help="PyTorch's threads can disturb JAX's",
    )
    parser.add_argument(
        "--quick", action="store_true", help="256, 512 and 1024 pairs, a second each"
    )
    parser.add_argument("--memory-of", nargs=2, metavar=("SIDE", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(memory_here(options.memory_of[0], int(options.memory_of[1])))
        return
    batches, seconds = (
        ([256, 512, 1024], 1.0) if options.quick else (options.batches, options.seconds)
    )
    results = [measured(batch, seconds, options.sides) for batch in batches]
    columns = [
        "batch",
        *(f"{name} ms" for name in SIDES),
        "autodiff / ours",
        "ours / floor",
        *(f"{name} MiB" for name in SIDES),
    ]
    rows = [
        [
            r["batch"],
            *(r["ms"].get(name) for name in SIDES),
            r["autodiff / ours"],
            r["ours / floor"],
            *(r["MiB"].get(name) for name in SIDES),
        ]
        for r in results
    ]
    report(
        "The loss, value and gradient, d = 128, float32: median time and peak memory of a call",
        columns,
        rows,
        packages=("jax", "numpy", "torch", "pytorch-metric-learning"),
        results=results,
        path=options.json,
    )
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
