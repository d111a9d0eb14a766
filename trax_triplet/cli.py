"""The command `trax-triplet`: demo, sample, train, evaluate, predict, export.

Results go to stdout, progress to stderr. A user's mistake is one line on stderr and exit status 2.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

from trax_triplet.options import DEMO_PAIRS, TOGETHER, TRAIN_SETTINGS, parser

DEMO_SETTINGS = {
    "steps": 800,
    "batch_size": 128,
    "d_model": 64,
    "word_dropout": 0.15,
    "hard_from": 250,
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
    options = parser(
        {
            "demo": _demo,
            "sample": _sample,
            "train": _train,
            "evaluate": _evaluate,
            "predict": _predict,
            "export": _export,
        }
    ).parse_args(arguments)
    try:
        result = options.run(options)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        print(
            f"trax-triplet {options.command}: error: {_shown(' '.join(_what(error).split()))}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"trax-triplet {options.command}: stopped", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(result, indent=1))
    return 0


def _what(error):
    if (
        isinstance(error, OSError) and error.filename is not None
    ):  # "[Errno 2] ..." says less to a person
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _sample(options):
    from trax_triplet.data import sample

    n_pairs = sample.write_csv(options.csv, options.pairs, seed=options.seed)
    if not options.json:
        print(f"wrote {n_pairs} question pairs to {options.csv}")
    return {"csv": options.csv, "pairs": n_pairs}


def _train(options):
    from trax_triplet.data import pairs as data

    _join(options)
    columns = {
        name: getattr(options, name) for name in ("question1", "question2", "label", "max_skipped")
    }
    pairs = _read(options.csv, **columns)
    if options.validation:
        validation = _read(options.validation, **columns)
        known = {data.normalize_text(text) for text in pairs.question1 + pairs.question2}
        shared = sum(
            data.normalize_text(a) in known or data.normalize_text(b) in known
            for a, b in zip(validation.question1, validation.question2)
        )
        if shared:
            _say(
                f"{shared} of {len(validation)} validation pairs have a question that is in {options.csv}, too: "
                "expect a better result on them than on new questions"
            )
    else:
        share = options.validation_share
        if not 0 < share < 1:
            raise ValueError(
                f"--validation-share and the rest, to train on, are fractions in (0, 1); got {share}"
            )
        (pairs, validation), left_out = data.split_pairs(
            pairs, (1 - share, share), seed=options.seed
        )
        if len(left_out):
            _say(
                f"{len(left_out)} pairs are in neither part: their two questions belong to different parts"
            )
    settings = {name: getattr(options, name) for name in TRAIN_SETTINGS}
    trained, seconds = _train_on(pairs, validation, options.output, settings)
    result = {
        "model": str(Path(options.output, "model")),
        "seconds": round(seconds, 1),
        "threshold": trained.threshold,
        **{
            k: trained.settings["training"][k]
            for k in ("step", "validation_auc", "validation_loss")
        },
    }
    if not options.json:
        print(
            f"best model: step {result['step']}, validation AUC {result['validation_auc']:.4f}, in {result['model']}"
        )
    return result


def _join(options):
    given = [getattr(options, name.replace("-", "_")) for name, _, _ in TOGETHER]
    if all(value is None for value in given):
        return
    if None in given:
        raise ValueError(
            "--coordinator, --processes and --process-id come together: give all three, or none"
        )
    from trax_triplet.distributed import launch

    launch.check_cluster(*given, options.timeout)
    launch.continue_in_child(options.timeout)
    from trax_triplet.distributed import processes

    _say(f"waiting for {given[1]} processes at {given[0]} ...")
    processes.join(*given, timeout=options.timeout)
    if not processes.is_first_process():
        sys.stdout = open(os.devnull, "w")  # one of them tells the result


def _train_on(pairs, validation, output, settings):
    _say("loading Trax (some seconds) ...")
    from trax_triplet.training import run as training

    start = time.perf_counter()
    trained = training.train(pairs, output, validation=validation, **settings)
    return trained, time.perf_counter() - start


def _evaluate(options):
    from trax_triplet import evaluation

    pairs = _read(
        options.csv,
        question1=options.question1,
        question2=options.question2,
        label=options.label,
        max_skipped=options.max_skipped,
    )
    trained = _load(options.model)
    threshold = _threshold(options, trained)
    scores = trained.similarity(pairs.question1, pairs.question2)
    labels = pairs.is_duplicate
    result = evaluation.report(scores, labels, threshold, seed=options.seed)
    if options.plot:
        _plot(options.plot, "score_histogram", scores, labels, threshold=threshold)
        result["plot"] = options.plot
    if not options.json:
        print(_report_text(result))
    return result


def _report_text(result):
    half, auc, accuracy = result["half"], result["roc_auc_interval"], result["accuracy_interval"]
    return "\n".join(
        (
            f"{result['n']} pairs, {100 * result['share']:.1f} % duplicates",
            f"ROC AUC            {result['roc_auc']:.4f}   (95 % interval {auc[0]:.4f} to {auc[1]:.4f})",
            f"average precision  {result['average_precision']:.4f}",
            f"accuracy           {result['accuracy']:.4f}   (95 % interval {accuracy[0]:.4f} to {accuracy[1]:.4f}) "
            f"at threshold {result['threshold']:.4f}",
            f"precision, recall  {result['precision']:.4f}, {result['recall']:.4f}; F1 {result['f1']:.4f}",
            f"accuracy           {result['accuracy_at_0.7']:.4f}   at threshold 0.7, the course's",
            f"accuracy           {half['accuracy']:.4f}   on one half of the pairs, at the threshold {half['threshold']:.4f} "
            "that was best on the other",
        )
    )


def _predict(options):
    from trax_triplet.data import pairs as data

    if bool(options.csv) == bool(options.questions) or len(options.questions) not in (0, 2):
        raise ValueError(
            f"predict takes two questions, or --csv with a file of pairs; got {len(options.questions)} "
            f"questions{' and --csv' if options.csv else ''}"
        )
    if options.output and not options.csv:
        raise ValueError("--output takes the answers for --csv; leave it out with two questions")
    if options.csv:
        pairs = _read(
            options.csv,
            question1=options.question1,
            question2=options.question2,
            label=None,
            max_skipped=options.max_skipped,
        )
    else:
        pairs = data.Pairs(options.questions[:1], options.questions[1:])
    trained = _load(options.model)
    threshold = _threshold(options, trained)
    scores = trained.similarity(pairs.question1, pairs.question2)
    answers = [
        {
            "question1": q1,
            "question2": q2,
            "similarity": round(float(s), 6),
            "is_duplicate": bool(s > threshold),
        }
        for q1, q2, s in zip(pairs.question1, pairs.question2, scores)
    ]
    if options.output:
        _write_answers(options.output, answers)
    elif not options.json:
        for answer in answers:
            print(_answer_text(answer))
    return {"threshold": threshold, "answers": answers}


def _shown(text):
    """The text with control characters shown, not sent to the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _as_text(text):
    """The text as a spreadsheet shows it: what it would take for a formula gets an apostrophe in
    front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _answer_text(answer):
    first, second = (_shown(answer[q]) for q in ("question1", "question2"))
    return (
        f"{'duplicate    ' if answer['is_duplicate'] else 'not duplicate'}  {answer['similarity']:7.4f}  "
        f"{first}  |  {second}"
    )


def _write_answers(path, answers):
    import csv

    from trax_triplet._files import new_file

    with new_file(path) as file:
        writer = csv.DictWriter(file, ("question1", "question2", "similarity", "is_duplicate"))
        writer.writeheader()
        writer.writerows(
            {
                **a,
                "is_duplicate": int(a["is_duplicate"]),
                **{name: _as_text(a[name]) for name in ("question1", "question2")},
            }
            for a in answers
        )
    _say(f"wrote {len(answers)} answers to {path}")


def _demo(options):
    from trax_triplet import evaluation
    from trax_triplet.data import pairs as data
    from trax_triplet.data import reader, sample

    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    csv = output / "sample.csv"
    sample.write_csv(csv, DEMO_PAIRS, seed=options.seed)
    (train, validation, test), _ = data.split_pairs(
        reader.read_pairs(csv), (0.7, 0.15, 0.15), seed=options.seed
    )
    _say(
        f"generated {DEMO_PAIRS} question pairs ({csv}): {len(train)} to train, {len(validation)} to validate, "
        f"{len(test)} to test"
    )
    trained, seconds = _train_on(train, validation, output, {**DEMO_SETTINGS, "seed": options.seed})
    threshold = trained.threshold
    scores = trained.similarity(test.question1, test.question2)
    result = evaluation.report(scores, test.is_duplicate, threshold, seed=options.seed)
    _plot(output / "scores.png", "score_histogram", scores, test.is_duplicate, threshold=threshold)
    examples = [
        {
            "question1": test.question1[i],
            "question2": test.question2[i],
            "similarity": float(scores[i]),
            "is_duplicate": bool(scores[i] > threshold),
            "label": int(test.is_duplicate[i]),
        }
        for i in range(8)
    ]
    if not options.json:
        print(
            f"trained {seconds:.0f} s; on {result['n']} test pairs whose questions were never seen: "
            f"ROC AUC {result['roc_auc']:.3f}, accuracy {result['accuracy']:.3f} "
            f"(always 'no': {1 - result['share']:.3f}) at threshold {threshold:.3f}"
        )
        for example in examples:
            right = "" if example["is_duplicate"] == bool(example["label"]) else "   (wrong)"
            print(_answer_text(example) + right)
        print(
            f"model: {output / 'model'}, history: {output / 'history.jsonl'}, picture: {output / 'scores.png'}"
        )
        print(
            f'next: trax-triplet predict --model {output} "How do I learn French?" "How can I learn French?"'
        )
    return {**result, "seconds": round(seconds, 1), "examples": examples, "output": str(output)}


def _export(options):
    trained = _load(options.model)
    try:
        from trax_triplet.keras import convert as keras_export
    except ImportError as error:  # another backend, or an old Keras: the user's to change
        raise ValueError(error) from None
    format = keras_export.export(trained, options.output, format=options.format)
    result = {
        "output": options.output,
        "format": format,
        "threshold": trained.threshold,
    }
    if not options.json:
        print(
            f"wrote {options.output} ({keras_export.FORMATS[format]}); threshold {_shown_threshold(result)}"
        )
    return result


def _shown_threshold(result):
    return "none: choose one" if result["threshold"] is None else f"{result['threshold']:.4f}"


def _read(path, **columns):
    from trax_triplet.data import reader

    pairs = reader.read_pairs(path, **columns)
    _say(f"read {len(pairs)} pairs from {path}")
    if pairs.skipped:
        shown = "; ".join(f"line {line}: {reason}" for line, reason in pairs.skipped[:3])
        _say(
            f"left out {len(pairs.skipped)} rows that cannot be used ({shown}{'; ...' if len(pairs.skipped) > 3 else ''})"
        )
    return pairs


def _load(folder):
    inside = Path(folder, "model")
    _say("loading Trax (some seconds) ...")
    from trax_triplet import _files
    from trax_triplet.inference.trained_model import load_model

    return load_model(inside if inside.is_dir() or _files.previous(inside).is_dir() else folder)


def _threshold(options, trained):
    threshold = options.threshold if options.threshold is not None else trained.threshold
    if threshold is None:
        raise ValueError("this model was saved without a threshold; give one with --threshold")
    if not math.isfinite(threshold):
        raise ValueError(f"--threshold must be a finite number, such as 0.7, but it is {threshold}")
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
