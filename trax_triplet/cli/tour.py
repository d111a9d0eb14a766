"""The commands `demo` and `sample`."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from trax_triplet.cli.inputs import labels_of, threshold_of
from trax_triplet.cli.options import add_seed
from trax_triplet.cli.outputs import check_folder, check_outputs, log, plot_scores
from trax_triplet.cli.pairs import answer_text, answers_of
from trax_triplet.cli.training import run_training
from trax_triplet.training.settings import TrainSettings

__all__ = ["COMMANDS", "DEMO_PAIRS", "DEMO_SETTINGS"]

DEMO_PAIRS = 12_000
# Plain values: checking them needs NumPy, which `--help` does without.
DEMO_SETTINGS: dict[str, Any] = {
    "steps": 800,
    "batch_size": 128,
    "d_model": 64,
    "word_dropout": 0.15,
}


def _add_demo_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        default="trax-triplet-demo",
        metavar="FOLDER",
        help="folder for the question pairs, the model and a plot (default: %(default)s)",
    )
    add_seed(command, "the question pairs, their split and the training")


def demo(options: Namespace) -> dict[str, Any]:
    """Generates question pairs, trains on them, evaluates, plots and predicts."""
    import numpy as np

    from trax_triplet import evaluation
    from trax_triplet.data import pairs as data
    from trax_triplet.data import reader, sample

    settings = TrainSettings(**{**DEMO_SETTINGS, "seed": options.seed})
    check_folder("--output", options.output)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    csv, plot = output / "sample.csv", output / "scores.png"
    sample.write_csv(csv, DEMO_PAIRS, seed=options.seed)
    (training, validation, test), _ = data.split_pairs(
        reader.read_pairs(csv), (0.7, 0.15, 0.15), seed=options.seed
    )
    log(
        f"generated {DEMO_PAIRS} question pairs ({csv}): {len(training)} to train, "
        f"{len(validation)} to validate, {len(test)} to test"
    )
    trained, seconds = run_training(training, validation, output, settings)
    threshold = threshold_of(None, trained)
    scores, labels = trained.similarity(test.question1, test.question2), labels_of(test)
    result = evaluation.report(scores, labels, threshold, seed=options.seed)
    plot_scores(plot, scores, labels, threshold)
    answers = answers_of(trained, test.select(np.arange(8)), threshold)
    examples = [{**a, "label": int(label)} for a, label in zip(answers, labels, strict=False)]
    if not options.json:
        print(
            f"trained {seconds:.0f} s; on {result['n']} test pairs whose questions were never "
            f"seen: ROC AUC {result['roc_auc']:.3f}, accuracy {result['accuracy']:.3f} "
            f"(always 'no': {1 - result['share']:.3f}) at threshold {threshold:.3f}"
        )
        for answer in examples:
            right = answer["is_duplicate"] == bool(answer["label"])
            print(answer_text(answer) + ("" if right else "   (wrong)"))
        print(
            f"model: {output / 'model'}, history: {output / 'history.jsonl'}, plot: {plot}\n"
            f"next: trax-triplet predict --model {output} "
            '"How do I learn French?" "How can I learn French?"'
        )
    return {**result, "seconds": round(seconds, 1), "examples": examples, "output": str(output)}


def _add_sample_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", help="CSV file to write")
    command.add_argument(
        "--pairs",
        dest="n_pairs",
        type=int,
        default=DEMO_PAIRS,
        metavar="INT",
        help="number of question pairs to generate (default: %(default)s)",
    )
    add_seed(command, "the random choice of questions")


def sample(options: Namespace) -> dict[str, Any]:
    """Writes a CSV file of generated question pairs."""
    from trax_triplet.data import sample

    check_outputs([], {"FILE": options.csv})
    n_pairs = sample.write_csv(options.csv, options.n_pairs, seed=options.seed)
    if not options.json:
        print(f"wrote {n_pairs} question pairs to {options.csv}")
    return {"csv": options.csv, "pairs": n_pairs}


COMMANDS = {
    "demo": (
        _add_demo_options,
        demo,
        "generate question pairs, train, evaluate and predict: a tour",
    ),
    "sample": (_add_sample_options, sample, "write a CSV file of generated question pairs"),
}
