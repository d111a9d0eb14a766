"""How the work on a corpus grows: embedding, an index, all duplicates; prints a table.

    python benchmarks/corpus.py PAIRS.csv [MORE.csv ...] --model run --sizes 10000 100000 1000000

The questions are those of the files and variants of them, a million in all: the beginning of one
with the end of another, or one word changed. A smaller corpus is some of these. Each step runs in a
process of its own, so that its memory can be told; `duplicates` is the command, from raw text to
the table of pairs. Beside it, where sentence-transformers is installed, its
`paraphrase_mining_embeddings` on the same vectors.
`--plot` draws the growth; with `--from-json` it draws what was measured before.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

STEPS = ("embed", "index", "duplicates", "paraphrase_mining")
LABELS = {
    "embed": "embed",
    "index": "index, built and saved\n(a graph above 200 000)",
    "duplicates": "duplicates, from raw\ntext to the table of pairs",
    "paraphrase_mining": "sentence-transformers,\nparaphrase_mining (vectors only)",
}


def questions_of(paths, n, seed=0):
    """At least n different questions in random order: those of the files, and variants of them."""
    rng = random.Random(seed)
    texts = {}
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts |= {row["question1"]: None, row["question2"]: None}
    real = list(texts)
    words = [word for question in real for word in question.split()]
    while len(texts) < n:
        first, second = rng.choice(real).split(), rng.choice(real).split()
        if not first or rng.random() < 0.85:
            variant = first[: (len(first) + 1) // 2] + second[len(second) // 2 :]
        else:
            variant = list(first)
            variant[rng.randrange(len(first))] = rng.choice(words)
        texts[" ".join(variant)] = None
    return rng.sample(list(texts), len(texts)), len(real)


def write_questions(path, questions):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question"])
        writer.writerows([question] for question in questions)


def step(name, folder, model, threshold):
    """One step in this process."""
    import numpy as np

    if name == "embed":
        from trax_triplet.data.questions import read_questions
        from trax_triplet.inference.trained_model import load_trained
        from trax_triplet.search.duplicates import embed_all

        texts = read_questions(folder / "questions.csv").texts
        start = time.perf_counter()
        vectors = embed_all(texts, load_trained(model))
        result = {"questions/s": len(texts) / (time.perf_counter() - start)}
        np.save(folder / "vectors.npy", vectors)
    elif name == "index":
        from trax_triplet.search import QuestionIndex

        index = QuestionIndex.build(np.load(folder / "vectors.npy"))
        index.save(folder / "index")
        result = {"approximate": index.approximate, "recall": index.recall}
    else:
        import torch
        from sentence_transformers.util import paraphrase_mining_embeddings

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        vectors = torch.from_numpy(np.load(folder / "vectors.npy"))
        start, used = time.perf_counter(), time.process_time()
        pairs = paraphrase_mining_embeddings(vectors)
        result = {"search s": time.perf_counter() - start}
        result["search core s"] = time.process_time() - used
        result["pairs"] = sum(similarity > threshold for similarity, _, _ in pairs)
    print(json.dumps(result))


def kilobytes(pid):
    """The peak of a process; what `wait4` tells begins with that of its parent."""
    with open(f"/proc/{pid}/status") as file:
        return max((int(line.split()[1]) for line in file if line.startswith("VmHWM")), default=0)


def measured(command, name, limit):
    """A command's output, and what it took; or why it did not end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process, peak = subprocess.Popen(command, stdout=out, stderr=errors), 0
        while True:
            peak = max(peak, kilobytes(process.pid))
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() - start > limit:
                process.kill()
            time.sleep(0.05)
        out.seek(0)
        errors.seek(0)
        if status:
            reason = f"not done in {limit} s" if os.WIFSIGNALED(status) else "failed"
            return {"step": name, "reason": reason, "stderr": errors.read()[-300:].decode()}
        result = json.loads(out.read())
    return {
        "step": name,
        "wall s": time.perf_counter() - start,
        "core s": used.ru_utime + used.ru_stime,
        "peak MiB": peak / 1024,
        "load": os.getloadavg()[0],
        **{key: value for key, value in result.items() if key not in ("output", "questions")},
    }


def measure_size(questions, options, folder):
    write_questions(folder / "questions.csv", questions)
    results = []
    for name in options.steps:
        python = options.peer if name == "paraphrase_mining" else sys.executable
        command = [python, __file__, "--only", name, str(folder), "--model", str(options.model)]
        if name == "duplicates":
            command = [python, "-m", "trax_triplet", "duplicates", str(folder / "questions.csv")]
            command += ["--model", str(options.model), "--json"]
            command += ["--output", str(folder / "pairs.csv")]
        if name == "paraphrase_mining" and len(questions) > options.peer_up_to:
            continue
        if name != "embed" or options.threshold is not None:
            command += ["--threshold", str(threshold_of(options))]
        results.append({"n": len(questions), **measured(command, name, options.limit)})
        print(json.dumps(results[-1]), flush=True)
    return results


def threshold_of(options):
    from trax_triplet.inference.trained_model import load_trained

    return load_trained(options.model).threshold if options.threshold is None else options.threshold


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    styles = zip(STEPS, "osD^", ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True)
    for name, marker, colour in styles:
        rows = [row for row in results if row["step"] == name and "wall s" in row]
        for axis, what in zip(axes, ("core s", "peak MiB"), strict=True):
            x, y = [row["n"] for row in rows], [row[what] for row in rows]
            if what == "core s":  # without the seconds that importing PyTorch takes
                y = [row.get("search core s", row[what]) for row in rows]
            axis.plot(x, y, marker=marker, color=colour, label=LABELS[name])
    axes[0].axhline(1200, color="0.5", linestyle=":")
    axes[0].annotate(
        "10 minutes of two cores", (10_000, 1200), va="bottom", color="0.4", fontsize=9
    )
    axes[1].axhline(4096, color="0.5", linestyle=":")
    axes[1].annotate("4 GiB", (10_000, 4096), va="bottom", color="0.4", fontsize=9)
    sizes = sorted({row["n"] for row in results})
    for axis, title in zip(
        axes, ("time of both cores together, seconds", "peak memory, MiB"), strict=True
    ):
        axis.set(xscale="log", yscale="log", title=title, xlabel="questions")
        axis.set_xticks(sizes, [f"{n:,}".replace(",", " ") for n in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="*", help="files of pairs: question1, question2")
    parser.add_argument("--model", help="model folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument(
        "--of", type=int, default=1_000_000, help="how many there are to choose from"
    )
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--threshold", type=float, help="default: the model's own")
    parser.add_argument("--peer", default=sys.executable, help="Python with sentence-transformers")
    parser.add_argument("--peer-up-to", type=int, default=100_000, help="its largest size")
    parser.add_argument("--limit", type=float, default=1800, help="seconds a step may take")
    parser.add_argument("--json", help="file for the results; those of other runs in it stay")
    parser.add_argument("--plot", help="PNG for a picture of the growth")
    parser.add_argument("--from-json", action="store_true", help="measure nothing, draw --json")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        name, folder = options.only
        step(name, Path(folder), options.model, options.threshold)
        return
    path = Path(options.json) if options.json else None
    results = json.loads(path.read_text())["results"] if path and path.exists() else []
    if not options.from_json:
        everything, real = questions_of(options.csv, max(*options.sizes, options.of))
        print(f"{len(everything)} questions, {real} of them real ones", flush=True)
        for n in options.sizes:
            questions = everything[:n]
            with tempfile.TemporaryDirectory() as folder:
                new = measure_size(questions, options, Path(folder))
            taken = {(row["n"], row["step"]) for row in new}
            results = [row for row in results if (row["n"], row["step"]) not in taken] + new
            if path:
                about = measure.machine("numpy", "faiss-cpu", "sentence-transformers")
                path.write_text(json.dumps({"machine": about, "results": results}, indent=1))
    if options.plot:
        plot(sorted(results, key=lambda row: row["n"]), options.plot)


if __name__ == "__main__":
    main()
