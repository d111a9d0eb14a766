"""Time to the first answer: fresh processes in turn, each from its start to its end.

    python benchmarks/startup.py --json startup.json
    python benchmarks/startup.py --model run          # predict with a model that you trained

`predict` loads a model and compares one pair; without --model a small one of random weights is
made. Beside them: a Python that does nothing, `import numpy`, which `predict` needs, and `import
trax`, which it does without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("trax", "jax", "tensorflow", "numpy")
MODEL = """
from trax_triplet import Siamese, TrainedModel, Vocabulary, save_model
from trax_triplet.model.weights import init_model
vocabulary = Vocabulary.build(["How do I learn French?", "How can I learn French?"], buckets=256)
model = init_model(Siamese(len(vocabulary), 128, "eval", pooling="last"))
save_model({folder!r}, TrainedModel(model, vocabulary, {{"pooling": "last", "threshold": 0.5}}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", help="a folder that `trax-triplet train` wrote, for predict")
    parser.add_argument(
        "--seconds", type=float, default=60, help="time for the rounds; at least three are made"
    )
    parser.add_argument("--json", help="file for the results, with all raw times")
    parser.add_argument("--quick", action="store_true", help="two rounds: only to see that it runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or str(Path(folder) / "model")
        if not args.model:
            _python("-c", MODEL.format(folder=model))
        predict = ("predict", "--model", model, "How do I learn French?", "How can I learn French?")
        sides = {
            "python, nothing": ("-c", "pass"),
            "import numpy": ("-c", "import numpy"),
            "import trax_triplet": ("-c", "import trax_triplet"),
            "trax-triplet --help": ("-m", "trax_triplet", "--help"),
            "import trax": ("-W", "ignore", "-c", "import trax"),
            "trax-triplet predict, one pair": ("-m", "trax_triplet", *predict),
        }
        times = measure.interleaved(
            {
                name: lambda arguments=arguments: _python(*arguments)
                for name, arguments in sides.items()
            },
            seconds=args.seconds,
            rounds=2 if args.quick else None,
            warmup=1,
        )
    rows = [
        [
            name,
            measure.median(times, name),
            measure.median(times, name) - measure.median(times, "python, nothing"),
            measure.ratio(times, name, "import trax"),
        ]
        for name in sides
    ]
    measure.report(
        "Fresh processes, medians",
        ["what", "s", "s above nothing", "of import trax"],
        rows,
        packages=PACKAGES,
        results=times,
        path=args.json,
    )


def _python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")


if __name__ == "__main__":
    main()
