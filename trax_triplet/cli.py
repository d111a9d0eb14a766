"""The command `trax-triplet`: demo, sample, train, evaluate, predict.

Results go to stdout, progress to stderr. A user's mistake is one line on stderr and exit status 2.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

DEMO_PAIRS = 12_000
DEMO_SETTINGS = {"steps": 800, "batch_size": 128, "d_model": 64, "word_dropout": 0.15, "hard_from": 250}
COURSE_THRESHOLD = 0.7

# Settings of `training.train` as options: (type or choices, default, what it is). A test holds the defaults equal.
TRAIN_SETTINGS = {
    "steps": (int, 1600, "training steps, one batch each"),
    "batch_size": (int, 256, "pairs in a batch; each pair's negatives are the others of its batch"),
    "d_model": (int, 128, "width of the vectors"),
    "pooling": (("last", "mean", "course"), "last", "state after the last word, mean over the words, or the course's "
                "mean over padding, too"),
    "margin": (float, 0.4, "how far a duplicate must be ahead of the negatives (alpha)"),
    "closest": (("semi-hard", "hardest", "shifted"), "semi-hard", "which negatives may be the closest one"),
    "anchor": (("first", "second", "both"), "both", "side of the pairs that is compared with the others"),
    "implied": (bool, True, "train on duplicates that follow from the labelled ones, too: a = b, b = c, so a = c"),
    "learning_rate": (float, 0.005, "Adam's, the highest of the schedule"),
    "warmup_steps": (int, 100, "steps until it is reached"),
    "word_dropout": (float, 0.4, "share of the vocabulary that is hidden in each batch"),
    "hard_from": ("step", 250, "step from which batches are made of groups of similar pairs, or 'never'"),
    "neighbours": (int, 16, "size of these groups"),
    "max_words": (int, 32, "longer questions are cut in training"),
    "tokenizer": (("words", "course"), "words", "lower-cased words, or the course's tokens (needs NLTK's punkt)"),
    "min_count": (int, 1, "words that come fewer times are read as unknown"),
    "buckets": (int, 256, "ids by which unknown words are told apart; 0: all are read as one word"),
    "evaluate_every": (int, 100, "steps from one evaluation to the next"),
    "seed": (int, 0, "of the split, the weights, the batches"),
}


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: list of strings; None for those the program was started with.

    Returns:
        Exit status: 0; 2 for a user's mistake; 130 after Ctrl-C.

    Example:
        >>> main(["evaluate", "--model", "no such folder", "pairs.csv"])
        2
    """
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        print(f"trax-triplet {options.command}: error: {' '.join(_what(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"trax-triplet {options.command}: stopped", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(result, indent=1))
    return 0


def _what(error):
    if isinstance(error, OSError) and error.filename is not None:  # "[Errno 2] ..." says less to a person
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser():
    parser = argparse.ArgumentParser(
        prog="trax-triplet", description="Find duplicate questions with a Siamese LSTM and the modified triplet loss.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, run, text in (
            ("demo", _demo_options, _demo, "sample, train, evaluate and predict, in about a minute"),
            ("sample", _sample_options, _sample, "write a CSV of generated question pairs"),
            ("train", _train_options, _train, "train a model on a CSV of question pairs"),
            ("evaluate", _evaluate_options, _evaluate, "judge a model on a CSV of labelled pairs"),
            ("predict", _predict_options, _predict, "tell whether questions are duplicates")):
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        add(command)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run=run)
    return parser


def _demo_options(command):
    command.add_argument("--output", default="trax-triplet-demo", help="folder to write (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0)


def _sample_options(command):
    command.add_argument("csv", help="file to write")
    command.add_argument("--pairs", type=int, default=DEMO_PAIRS, help="number of pairs (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0)


def _column_options(command, labels=True):
    command.add_argument("--question1", default="question1", metavar="COLUMN", help="default: %(default)s")
    command.add_argument("--question2", default="question2", metavar="COLUMN", help="default: %(default)s")
    if labels:
        command.add_argument("--label", default="is_duplicate", metavar="COLUMN", help="default: %(default)s")
    command.add_argument("--max-skipped", type=float, default=0.01, metavar="SHARE",
                         help="share of unusable rows above which the file is refused (default: %(default)s)")


def _train_options(command):
    command.add_argument("csv", help="question pairs: columns question1, question2, is_duplicate")
    command.add_argument("--output", required=True, help="folder for model, checkpoint and history")
    command.add_argument("--validation", metavar="CSV", help="labelled pairs to validate on, "
                         "instead of a share of the training file")
    command.add_argument("--validation-share", type=float, default=0.1, metavar="SHARE",
                         help="share of the pairs that is kept back to validate on (default: %(default)s)")
    _column_options(command)
    for name, (kind, default, text) in TRAIN_SETTINGS.items():
        values = {"choices": kind} if isinstance(kind, tuple) else {
            "type": _step if kind == "step" else kind, "metavar": "STEP" if kind == "step" else kind.__name__.upper()}
        if kind is bool:
            values = {"action": argparse.BooleanOptionalAction}
        command.add_argument(f"--{name.replace('_', '-')}", default=default, help=f"{text} (default: %(default)s)",
                             **values)


def _step(text):
    return None if text == "never" else int(text)


def _evaluate_options(command):
    command.add_argument("csv", help="labelled question pairs")
    command.add_argument("--model", required=True, help="model folder, or the output folder of a training")
    command.add_argument("--threshold", type=float, help="instead of the one that the model was saved with")
    command.add_argument("--plot", metavar="PNG", help="write histograms of the similarities")
    command.add_argument("--seed", type=int, default=0, help="of the bootstrap and of the halves")
    _column_options(command)


def _predict_options(command):
    command.add_argument("questions", nargs="*", metavar="QUESTION", help="two questions")
    command.add_argument("--model", required=True, help="model folder, or the output folder of a training")
    command.add_argument("--csv", help="question pairs, instead of two questions")
    command.add_argument("--output", metavar="CSV", help="write the answers for --csv there instead of to stdout")
    command.add_argument("--threshold", type=float, help="instead of the one that the model was saved with")
    _column_options(command, labels=False)


def _sample(options):
    from trax_triplet import sample
    n_pairs = sample.write_csv(options.csv, options.pairs, seed=options.seed)
    if not options.json:
        print(f"wrote {n_pairs} question pairs to {options.csv}")
    return {"csv": options.csv, "pairs": n_pairs}


def _train(options):
    from trax_triplet import data
    columns = {name: getattr(options, name) for name in ("question1", "question2", "label", "max_skipped")}
    pairs = _read(options.csv, **columns)
    if options.validation:
        validation = _read(options.validation, **columns)
        known = {data.question_key(text) for text in pairs.question1 + pairs.question2}
        shared = sum(data.question_key(a) in known or data.question_key(b) in known
                     for a, b in zip(validation.question1, validation.question2))
        if shared:
            _say(f"{shared} of {len(validation)} validation pairs have a question that is in {options.csv}, too: "
                 "expect a better result on them than on new questions")
    else:
        share = options.validation_share
        (pairs, validation), left_out = data.split_pairs(pairs, (1 - share, share), seed=options.seed)
        if len(left_out):
            _say(f"{len(left_out)} pairs are in neither part: their two questions belong to different parts")
    settings = {name: getattr(options, name) for name in TRAIN_SETTINGS}
    trained, seconds = _train_on(pairs, validation, options.output, settings)
    result = {"model": str(Path(options.output, "model")), "seconds": round(seconds, 1),
              "threshold": trained.settings["threshold"],
              **{k: trained.settings["training"][k] for k in ("step", "validation_auc", "validation_loss")}}
    if not options.json:
        print(f"best model: step {result['step']}, validation AUC {result['validation_auc']:.4f}, in {result['model']}")
    return result


def _train_on(pairs, validation, output, settings):
    _say("loading Trax (some seconds) ...")
    from trax_triplet import training
    start = time.perf_counter()
    trained = training.train(pairs, output, validation=validation, **settings)
    return trained, time.perf_counter() - start


def _evaluate(options):
    from trax_triplet import evaluation
    pairs = _read(options.csv, question1=options.question1, question2=options.question2, label=options.label,
                  max_skipped=options.max_skipped)
    trained = _load(options.model)
    threshold = _threshold(options, trained)
    scores = trained.similarity(pairs.question1, pairs.question2)
    labels = pairs.is_duplicate
    result = evaluation.report(scores, labels, threshold, seed=options.seed)
    result["accuracy_at_0.7"] = evaluation.accuracy(scores, labels, COURSE_THRESHOLD)
    chosen_on, applied_to = evaluation.split_half(len(scores), seed=options.seed)
    chosen = evaluation.best_threshold(scores[chosen_on], labels[chosen_on])
    result["half"] = {"threshold": float(chosen.threshold), "chosen_on": len(chosen_on), "applied_to": len(applied_to),
                      "accuracy": evaluation.accuracy(scores[applied_to], labels[applied_to], chosen.threshold)}
    if options.plot:
        _plot(options.plot, "score_histogram", scores, labels, threshold=threshold)
        result["plot"] = options.plot
    if not options.json:
        print(_report_text(result))
    return result


def _report_text(result):
    half, auc, accuracy = result["half"], result["roc_auc_interval"], result["accuracy_interval"]
    return "\n".join((
        f"{result['n']} pairs, {100 * result['share']:.1f} % duplicates",
        f"ROC AUC            {result['roc_auc']:.4f}   (95 % interval {auc[0]:.4f} to {auc[1]:.4f})",
        f"average precision  {result['average_precision']:.4f}",
        f"accuracy           {result['accuracy']:.4f}   (95 % interval {accuracy[0]:.4f} to {accuracy[1]:.4f}) "
        f"at threshold {result['threshold']:.4f}",
        f"precision, recall  {result['precision']:.4f}, {result['recall']:.4f}; F1 {result['f1']:.4f}",
        f"accuracy           {result['accuracy_at_0.7']:.4f}   at threshold 0.7, the course's",
        f"accuracy           {half['accuracy']:.4f}   on one half of the pairs, at the threshold {half['threshold']:.4f} "
        "that was best on the other",
    ))


def _predict(options):
    from trax_triplet import data
    if bool(options.csv) == bool(options.questions) or len(options.questions) not in (0, 2):
        raise ValueError(f"predict takes two questions, or --csv with a file of pairs; got {len(options.questions)} "
                         f"questions{' and --csv' if options.csv else ''}")
    if options.csv:
        pairs = _read(options.csv, question1=options.question1, question2=options.question2, label=None,
                      max_skipped=options.max_skipped)
    else:
        pairs = data.Pairs(options.questions[:1], options.questions[1:])
    trained = _load(options.model)
    threshold = _threshold(options, trained)
    scores = trained.similarity(pairs.question1, pairs.question2)
    answers = [{"question1": q1, "question2": q2, "similarity": round(float(s), 6), "is_duplicate": bool(s > threshold)}
               for q1, q2, s in zip(pairs.question1, pairs.question2, scores)]
    if options.output:
        _write_answers(options.output, answers)
    elif not options.json:
        for answer in answers:
            print(_answer_text(answer))
    return {"threshold": threshold, "answers": answers}


def _answer_text(answer):
    # A file of questions may hold terminal control characters; they are shown, not sent.
    first, second = ("".join(c if c.isprintable() else repr(c)[1:-1] for c in answer[q])
                     for q in ("question1", "question2"))
    return (f"{'duplicate    ' if answer['is_duplicate'] else 'not duplicate'}  {answer['similarity']:7.4f}  "
            f"{first}  |  {second}")


def _write_answers(path, answers):
    import csv
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("question1", "question2", "similarity", "is_duplicate"))
        writer.writeheader()
        writer.writerows({**a, "is_duplicate": int(a["is_duplicate"])} for a in answers)
    os.replace(new, path)
    _say(f"wrote {len(answers)} answers to {path}")


def _demo(options):
    from trax_triplet import data, evaluation, sample
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    csv = output / "sample.csv"
    sample.write_csv(csv, DEMO_PAIRS, seed=options.seed)
    (train, validation, test), _ = data.split_pairs(data.read_pairs(csv), (0.7, 0.15, 0.15), seed=options.seed)
    _say(f"generated {DEMO_PAIRS} question pairs ({csv}): {len(train)} to train, {len(validation)} to validate, "
         f"{len(test)} to test")
    trained, seconds = _train_on(train, validation, output, {**DEMO_SETTINGS, "seed": options.seed})
    threshold = trained.settings["threshold"]
    scores = trained.similarity(test.question1, test.question2)
    result = evaluation.report(scores, test.is_duplicate, threshold, seed=options.seed)
    _plot(output / "scores.png", "score_histogram", scores, test.is_duplicate, threshold=threshold)
    examples = [{"question1": test.question1[i], "question2": test.question2[i], "similarity": float(scores[i]),
                 "is_duplicate": bool(scores[i] > threshold), "label": int(test.is_duplicate[i])} for i in range(8)]
    if not options.json:
        print(f"trained {seconds:.0f} s; on {result['n']} test pairs whose questions were never seen: "
              f"ROC AUC {result['roc_auc']:.3f}, accuracy {result['accuracy']:.3f} "
              f"(always 'no': {1 - result['share']:.3f}) at threshold {threshold:.3f}")
        for example in examples:
            right = "" if example["is_duplicate"] == bool(example["label"]) else "   (wrong)"
            print(_answer_text(example) + right)
        print(f"model: {output / 'model'}, history: {output / 'history.jsonl'}, picture: {output / 'scores.png'}")
        print(f'next: trax-triplet predict --model {output} "How do I learn French?" "How can I learn French?"')
    return {**result, "seconds": round(seconds, 1), "examples": examples, "output": str(output)}


def _read(path, **columns):
    from trax_triplet import data
    pairs = data.read_pairs(path, **columns)
    _say(f"read {len(pairs)} pairs from {path}")
    if pairs.skipped:
        shown = "; ".join(f"line {line}: {reason}" for line, reason in pairs.skipped[:3])
        _say(f"left out {len(pairs.skipped)} rows that cannot be used ({shown}{'; ...' if len(pairs.skipped) > 3 else ''})")
    return pairs


def _load(folder):
    inside = Path(folder, "model")
    _say("loading Trax (some seconds) ...")
    from trax_triplet import storage
    return storage.load_model(inside if inside.is_dir() else folder)


def _threshold(options, trained):
    threshold = options.threshold if options.threshold is not None else trained.settings["threshold"]
    if threshold is None:
        raise ValueError("this model was saved without a threshold; give one with --threshold")
    return threshold


def _plot(path, name, *arguments, **options):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from trax_triplet import plots
    figure = Figure(figsize=(7, 4), layout="constrained")
    getattr(plots, name)(*arguments, ax=figure.add_subplot(), **options)
    FigureCanvasAgg(figure).print_png(path)


def _say(text):
    print(text, file=sys.stderr, flush=True)
