"""The options of the command line."""

import argparse
import os

DEMO_PAIRS = 12_000

TOGETHER = (
    ("coordinator", str, "where process 0 listens"),
    ("processes", int, "how many there are"),
    ("process-id", int, "which this one is, from 0"),
)

# Settings of `training.train` as options: (type or choices, default, what it is). A test holds the
# defaults equal.
TRAIN_SETTINGS = {
    "steps": (int, 1600, "training steps, one batch each"),
    "batch_size": (int, 256, "pairs in a batch; each pair's negatives are the others of its batch"),
    "d_model": (int, 128, "width of the vectors"),
    "pooling": (
        ("last", "mean", "course"),
        "last",
        "state after the last word, mean over the words, or the course's mean over padding, too",
    ),
    "margin": (float, 0.4, "how far a duplicate must be ahead of the negatives (alpha)"),
    "closest": (
        ("semi-hard", "hardest", "shifted"),
        "semi-hard",
        "which negatives may be the closest one",
    ),
    "anchor": (
        ("first", "second", "both"),
        "both",
        "side of the pairs that is compared with the others",
    ),
    "implied": (
        bool,
        True,
        "train on duplicates that follow from the labelled ones, too: a = b, b = c, so a = c",
    ),
    "learning_rate": (float, 0.005, "Adam's, the highest of the schedule"),
    "warmup_steps": (int, 100, "steps until it is reached"),
    "word_dropout": (float, 0.4, "share of the vocabulary that is hidden in each batch"),
    "hard_from": (
        "step",
        250,
        "step from which batches are made of groups of similar pairs, or 'never'",
    ),
    "neighbours": (int, 16, "size of these groups"),
    "max_words": (int, 32, "longer questions are cut in training"),
    "tokenizer": (
        ("words", "course"),
        "words",
        "lower-cased words, or the course's tokens (needs NLTK's punkt)",
    ),
    "min_count": (int, 1, "words that come fewer times are read as unknown"),
    "buckets": (int, 256, "ids by which unknown words are told apart; 0: all are read as one word"),
    "evaluate_every": (int, 100, "steps from one evaluation to the next"),
    "seed": (int, 0, "of the split, the weights, the batches"),
}


def parser(runs):
    """The parser of the command line.

    Args:
        runs: dict from the name of each command to the function of the parsed options that does it.

    Returns:
        An `argparse.ArgumentParser`; what it parses has `run`, one of these functions.

    Example:
        >>> parser({"sample": print}).parse_args(["sample", "new.csv"]).pairs
        12000
    """
    parser = argparse.ArgumentParser(
        prog="trax-triplet",
        description="Find duplicate questions with a Siamese LSTM and the modified triplet loss.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, text in (
        ("demo", _demo_options, "sample, train, evaluate and predict, in about a minute"),
        ("sample", _sample_options, "write a CSV of generated question pairs"),
        ("train", _train_options, "train a model on a CSV of question pairs"),
        ("evaluate", _evaluate_options, "judge a model on a CSV of labelled pairs"),
        ("predict", _predict_options, "tell whether questions are duplicates"),
        ("export", _export_options, "write a model for Keras or TensorFlow"),
    ):
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        add(command)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run=runs.get(name))
    return parser


def _demo_options(command):
    command.add_argument(
        "--output", default="trax-triplet-demo", help="folder to write (default: %(default)s)"
    )
    command.add_argument("--seed", type=int, default=0)


def _sample_options(command):
    command.add_argument("csv", help="file to write")
    command.add_argument(
        "--pairs", type=int, default=DEMO_PAIRS, help="number of pairs (default: %(default)s)"
    )
    command.add_argument("--seed", type=int, default=0)


def _column_options(command, labels=True):
    command.add_argument(
        "--question1", default="question1", metavar="COLUMN", help="default: %(default)s"
    )
    command.add_argument(
        "--question2", default="question2", metavar="COLUMN", help="default: %(default)s"
    )
    if labels:
        command.add_argument(
            "--label", default="is_duplicate", metavar="COLUMN", help="default: %(default)s"
        )
    command.add_argument(
        "--max-skipped",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of unusable rows above which the file is refused (default: %(default)s)",
    )


def _train_options(command):
    command.add_argument("csv", help="question pairs: columns question1, question2, is_duplicate")
    command.add_argument("--output", required=True, help="folder for model, checkpoint and history")
    command.add_argument(
        "--validation",
        metavar="CSV",
        help="labelled pairs to validate on, instead of a share of the training file",
    )
    command.add_argument(
        "--validation-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the pairs that is kept back to validate on (default: %(default)s)",
    )
    _column_options(command)
    together = command.add_argument_group(
        "several processes",
        "The same command in each of them, but for --process-id; the output folder is one that "
        "all see. The variables TRAX_TRIPLET_COORDINATOR, _PROCESSES and _PROCESS_ID do the same.",
    )
    for name, kind, text in TOGETHER:
        together.add_argument(
            f"--{name}",
            type=kind,
            metavar="HOST:PORT" if kind is str else "INT",
            help=text,
            default=os.environ.get(f"TRAX_TRIPLET_{name.replace('-', '_').upper()}"),
        )
    together.add_argument(
        "--timeout",
        type=int,
        default=60,
        metavar="SECONDS",
        help="to wait for the others at the "
        "start, and until one that is silent counts as dead (default: %(default)s)",
    )
    for name, (kind, default, text) in TRAIN_SETTINGS.items():
        values = (
            {"choices": kind}
            if isinstance(kind, tuple)
            else {
                "type": _step if kind == "step" else kind,
                "metavar": "STEP" if kind == "step" else kind.__name__.upper(),
            }
        )
        if kind is bool:
            values = {"action": argparse.BooleanOptionalAction}
        command.add_argument(
            f"--{name.replace('_', '-')}",
            default=default,
            help=f"{text} (default: %(default)s)",
            **values,
        )


def _step(text):
    if text != "never" and not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"expected a step, from 0, or 'never', got {text!r}")
    return None if text == "never" else int(text)


def _evaluate_options(command):
    command.add_argument("csv", help="labelled question pairs")
    command.add_argument(
        "--model", required=True, help="model folder, or the output folder of a training"
    )
    command.add_argument(
        "--threshold", type=float, help="instead of the one that the model was saved with"
    )
    command.add_argument("--plot", metavar="PNG", help="write histograms of the similarities")
    command.add_argument("--seed", type=int, default=0, help="of the bootstrap and of the halves")
    _column_options(command)


def _predict_options(command):
    command.add_argument("questions", nargs="*", metavar="QUESTION", help="two questions")
    command.add_argument(
        "--model", required=True, help="model folder, or the output folder of a training"
    )
    command.add_argument("--csv", help="question pairs, instead of two questions")
    command.add_argument(
        "--output", metavar="CSV", help="write the answers for --csv there instead of to stdout"
    )
    command.add_argument(
        "--threshold", type=float, help="instead of the one that the model was saved with"
    )
    _column_options(command, labels=False)


def _export_options(command):
    command.add_argument(
        "model", metavar="FOLDER", help="model folder, or the output folder of a training"
    )
    command.add_argument("output", metavar="OUT", help="file (.keras) or folder to write")
    command.add_argument(
        "--format",
        choices=("keras", "savedmodel"),
        help="keras: a file that Keras loads, to train "
        "on; savedmodel: a folder for TensorFlow alone, questions to vectors and to similarities "
        "(default: keras where OUT ends with .keras)",
    )
