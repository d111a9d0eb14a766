"""What each command does: options to calls, results to text. `cli` prints a result as JSON.

Each command takes the parsed options and returns a dict. Frameworks load when a command needs them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet.training.settings import TrainSettings

if TYPE_CHECKING:
    import numpy as np

    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.reader import Columns
    from trax_triplet.data.table import Table
    from trax_triplet.inference.trained_model import TrainedModel

DEMO_PAIRS = 12_000
# Plain values: checking them needs NumPy, which `--help` does without.
DEMO_SETTINGS: dict[str, Any] = {
    "steps": 800,
    "batch_size": 128,
    "d_model": 64,
    "word_dropout": 0.15,
}


def demo(options: Namespace) -> dict[str, Any]:
    """Generates question pairs, trains on them, evaluates, plots and predicts."""
    import numpy as np

    from trax_triplet import evaluation
    from trax_triplet.data import pairs as data
    from trax_triplet.data import reader, sample

    settings = TrainSettings(**{**DEMO_SETTINGS, "seed": options.seed})
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    csv, plot = output / "sample.csv", output / "scores.png"
    sample.write_csv(csv, DEMO_PAIRS, seed=options.seed)
    (training, validation, test), _ = data.split_pairs(
        reader.read_pairs(csv), (0.7, 0.15, 0.15), seed=options.seed
    )
    _log(
        f"generated {DEMO_PAIRS} question pairs ({csv}): {len(training)} to train, "
        f"{len(validation)} to validate, {len(test)} to test"
    )
    trained, seconds = _train(training, validation, output, settings)
    threshold = _threshold(None, trained)
    scores, labels = trained.similarity(test.question1, test.question2), _labels(test)
    result = evaluation.report(scores, labels, threshold, seed=options.seed)
    _plot(plot, scores, labels, threshold)
    answers = _answers(trained, test.select(np.arange(8)), threshold)
    examples = [{**a, "label": int(label)} for a, label in zip(answers, labels, strict=False)]
    if not options.json:
        print(
            f"trained {seconds:.0f} s; on {result['n']} test pairs whose questions were never "
            f"seen: ROC AUC {result['roc_auc']:.3f}, accuracy {result['accuracy']:.3f} "
            f"(always 'no': {1 - result['share']:.3f}) at threshold {threshold:.3f}"
        )
        for answer in examples:
            right = answer["is_duplicate"] == bool(answer["label"])
            print(_answer_text(answer) + ("" if right else "   (wrong)"))
        print(
            f"model: {output / 'model'}, history: {output / 'history.jsonl'}, plot: {plot}\n"
            f"next: trax-triplet predict --model {output} "
            '"How do I learn French?" "How can I learn French?"'
        )
    return {**result, "seconds": round(seconds, 1), "examples": examples, "output": str(output)}


def sample(options: Namespace) -> dict[str, Any]:
    """Writes a CSV file of generated question pairs."""
    from trax_triplet.data import sample

    n_pairs = sample.write_csv(options.csv, options.pairs, seed=options.seed)
    if not options.json:
        print(f"wrote {n_pairs} question pairs to {options.csv}")
    return {"csv": options.csv, "pairs": n_pairs}


def train(options: Namespace) -> dict[str, Any]:
    """Trains a model on a CSV file of question pairs."""
    from dataclasses import fields

    settings = TrainSettings(**{s.name: getattr(options, s.name) for s in fields(TrainSettings)})
    _join_processes(options)
    start = _load(options.start) if options.start else None
    pairs, validation = _training_parts(options)
    trained, seconds = _train(
        pairs,
        validation,
        options.output,
        settings,
        word_vectors=options.word_vectors,
        start=start,
    )
    best = trained.settings["training"]
    result = {
        "model": str(Path(options.output, "model")),
        "seconds": round(seconds, 1),
        "threshold": trained.threshold,
        **{name: best[name] for name in ("step", "validation_auc", "validation_loss")},
    }
    if not options.json:
        print(
            f"best model: step {result['step']}, validation AUC {result['validation_auc']:.4f}, "
            f"in {result['model']}"
        )
    return result


def _join_processes(options: Namespace) -> None:
    given = options.coordinator, options.processes, options.process_id
    if all(value is None for value in given):
        return
    if None in given:
        raise ValueError(
            "--coordinator, --processes and --process-id must be given together, or none of them"
        )
    from trax_triplet.distributed import launch

    launch.check_cluster(*given, options.timeout)
    launch.continue_in_child(options.timeout)
    from trax_triplet.distributed import processes

    _log(f"waiting for {options.processes} processes at {options.coordinator} ...")
    processes.join(*given, timeout=options.timeout)
    if not processes.is_first_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - one process prints the result


def _training_parts(options: Namespace) -> tuple[Pairs, Pairs]:
    """The pairs to train on, and those to validate on."""
    from trax_triplet import _validation as check
    from trax_triplet.data.pairs import normalize_text, split_pairs

    if not options.validation:
        share = check.number("--validation-share", options.validation_share, above=0, below=1)
        pairs = _read_all(options.csv, options)
        (pairs, validation), left_out = split_pairs(pairs, (1 - share, share), seed=options.seed)
        if len(left_out):
            _log(
                f"{len(left_out)} pairs are in neither part: their two questions belong to "
                "different parts"
            )
        return pairs, validation
    pairs, validation = _read_all(options.csv, options), _read(options.validation, options)
    known = {normalize_text(text) for text in (*pairs.question1, *pairs.question2)}
    shared = sum(
        normalize_text(first) in known or normalize_text(second) in known
        for first, second in zip(validation.question1, validation.question2, strict=True)
    )
    if shared:
        _log(
            f"{shared} of {len(validation)} validation pairs have a question that is in "
            f"{' or '.join(options.csv)}, too: expect a better result on them than on new questions"
        )
    return pairs, validation


def _train(
    pairs: Pairs,
    validation: Pairs,
    output: str | Path,
    settings: TrainSettings,
    **more: Any,
) -> tuple[TrainedModel, float]:
    _log("loading Trax (some seconds) ...")
    from trax_triplet.training import run

    start = time.perf_counter()
    trained = run.train(pairs, output, validation=validation, settings=settings, **more)
    return trained, time.perf_counter() - start


def check(options: Namespace) -> dict[str, Any]:
    """Judges the functions of a student's file."""
    _log("loading Trax (some seconds) ...")
    from trax_triplet.checks.runner import ASSIGNMENT
    from trax_triplet.checks.solution import check_file

    with contextlib.redirect_stdout(sys.stderr):  # what the student's functions print
        results, notes = check_file(options.solution, edition=options.edition, run=options.run)
    for note in notes:
        _log(printable(note))
    verdicts = {name: result.verdict for name, result in results.items()}
    missing = [name for name in ASSIGNMENT if name not in results]
    right = sum(result.passed for result in results.values())
    if not options.json:
        width = max(map(len, (*results, *missing)))
        for name, result in results.items():
            print(f"{name:{width}}  {verdicts[name]:10}  {printable(result.message)}")
        for name in missing if any(name in ASSIGNMENT for name in results) else ():
            print(f"{name:{width}}  {'missing':10}  not defined in {options.solution}")
        print(f"{right} of {len(results)} right")
    parts = {
        name: {"verdict": verdicts[name], "message": result.message, "editions": result.editions}
        for name, result in results.items()
    }
    passed = right == len(results)
    return {"passed": passed, "parts": parts, "missing": missing, "notes": notes}


def evaluate(options: Namespace) -> dict[str, Any]:
    """Measures how well a model tells duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet.inference import quality

    mistakes = check.integer("--mistakes", options.mistakes)
    pairs = _read(options.csv, options)
    trained = _load(options.model)
    threshold = _threshold(options.threshold, trained)
    result = quality.evaluate(
        trained, pairs, threshold=threshold, seed=options.seed, mistakes=mistakes
    )
    if options.plot:
        scores = trained.similarity(pairs.question1, pairs.question2)
        _plot(options.plot, scores, _labels(pairs), threshold)
        result["plot"] = options.plot
    if not options.json:
        print(_report_text(result))
    return result


def _report_text(result: dict[str, Any]) -> str:
    half = result["half"]
    lines = [
        f"{result['n']} pairs, {100 * result['share']:.1f} % duplicates",
        f"ROC AUC            {_with_interval(result, 'roc_auc')}",
        f"average precision  {_with_interval(result, 'average_precision')}",
        f"accuracy           {_with_interval(result, 'accuracy')} "
        f"at threshold {result['threshold']:.4f}",
        f"precision, recall  {result['precision']:.4f}, {result['recall']:.4f}; "
        f"F1 {result['f1']:.4f}",
        f"accuracy           {result['accuracy_at_0.7']:.4f}   at threshold 0.7, the course's",
        f"accuracy           {half['accuracy']:.4f}   on one half of the pairs, at the threshold "
        f"{half['threshold']:.4f} that was best on the other",
    ]
    for name, best in (("accuracy", result["best_accuracy"]), ("F1", result["best_f1"])):
        lines.append(
            f"{'best ' + name:17}  {best['value']:.4f}   at threshold {best['threshold']:.4f}, "
            "chosen on these very pairs: too good"
        )
    lines += _unknown_words_lines(result["unknown_words"])
    for kind, worst in (result["mistakes"] or {}).items():
        lines += ["", *_mistake_lines(kind.replace("_", " "), worst, result["confusion"][kind])]
    return "\n".join(lines)


def _with_interval(result: dict[str, Any], name: str) -> str:
    low, high = result[f"{name}_interval"]
    return f"{result[name]:.4f}   (95 % interval {low:.4f} to {high:.4f})"


def _unknown_words_lines(unknown: dict[str, Any]) -> list[str]:
    if not unknown["share"]:
        return ["unknown words      in none of the pairs"]
    lines = [f"unknown words      in {100 * unknown['share']:.1f} % of the pairs"]
    for name in ("with", "without"):
        part = unknown[name]
        measured = (
            "not measured, for lack of duplicates or of other pairs"
            if part["roc_auc"] is None
            else f"ROC AUC {part['roc_auc']:.4f}, accuracy {part['accuracy']:.4f}"
        )
        counts = f"{part['n']} pairs, {part['duplicates']} of them duplicates"
        lines.append(f"  {name:15}  {measured}   ({counts})")
    return lines


def _mistake_lines(kind: str, worst: list[dict[str, Any]], count: int) -> list[str]:
    lines = [f"{kind}: {f'the {len(worst)} worst of {count}' if worst else 'none'}"]
    width = max((len(str(mistake["line"])) for mistake in worst), default=0)
    for mistake in worst:
        first, second = printable(mistake["question1"]), printable(mistake["question2"])
        place = f"line {mistake['line']:{width}}"
        lines.append(f"{place}  {mistake['similarity']:7.4f}  {first}  |  {second}")
    return lines


def predict(options: Namespace) -> dict[str, Any]:
    """Tells whether two questions are duplicates, or the pairs of a CSV file or of stdin."""
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.table import Row

    if options.questions == ["-"] and not options.csv and not options.output:
        return _predict_lines(options)
    n = len(options.questions)
    if bool(options.csv) == bool(n) or n not in (0, 2):
        raise ValueError(
            "predict takes two questions, or --csv with a file of pairs, or - for lines on stdin; "
            f"got {n} questions{' and --csv' if options.csv else ''}"
        )
    if options.output and not options.csv:
        raise ValueError("--output takes the answers to --csv; leave it out with two questions")
    table, rows = None, [Row(1, [], "")]
    if options.csv:
        table, columns = _read_rows(options.csv, options)
        rows = table.rows
        first, second = ([row.fields[i] for row in rows if not row.reason] for i in columns.texts)
    else:
        first, second = options.questions[:1], options.questions[1:]
    trained = _load(options.model)
    threshold = _threshold(options.threshold, trained)
    found = iter(_answers(trained, Pairs(first, second), threshold))
    answers = [
        next(found)
        if not row.reason
        else {"similarity": None, "is_duplicate": None, "reason": row.reason}
        for row in rows
    ]
    if options.csv:
        answers = [{"line": row.line, **a} for row, a in zip(rows, answers, strict=True)]
    if options.output and table is not None:
        _write_answers(options.output, table, answers, options.guard_formulas)
    elif not options.json:
        for answer in answers:
            print(_answer_text(answer))
    return {"threshold": threshold, "answers": answers}


def _predict_lines(options: Namespace) -> dict[str, Any]:
    from trax_triplet.inference.lines import answer_lines

    trained = _load(options.model)
    threshold = _threshold(options.threshold, trained)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    n, errors = answer_lines(
        trained, sys.stdin.buffer, write, threshold=threshold, as_json=options.json
    )
    if errors:
        raise ValueError(f"{len(errors)} of {n} lines were no pairs of questions; {errors[0]}")
    return {}


def _answers(trained: TrainedModel, pairs: Pairs, threshold: float) -> list[dict[str, Any]]:
    from trax_triplet.inference.calibration import probabilities

    scores = trained.similarity(pairs.question1, pairs.question2)
    answers: list[dict[str, Any]] = [
        {
            "question1": first,
            "question2": second,
            "similarity": round(float(score), 6),
            "is_duplicate": bool(score > threshold),
        }
        for first, second, score in zip(pairs.question1, pairs.question2, scores, strict=True)
    ]
    if calibration := trained.settings.get("calibration"):
        for answer, chance in zip(answers, probabilities(scores, calibration), strict=True):
            answer["probability"] = round(float(chance), 6)
    return answers


def _answer_text(answer: dict[str, Any]) -> str:
    if answer["similarity"] is None:
        return f"no answer              line {answer['line']}: {printable(answer['reason'])}"
    verdict = "duplicate    " if answer["is_duplicate"] else "not duplicate"
    first, second = printable(answer["question1"]), printable(answer["question2"])
    return f"{verdict}  {answer['similarity']:7.4f}  {first}  |  {second}"


def _write_answers(
    path: str, table: Table, answers: list[dict[str, Any]], guard_formulas: bool
) -> None:
    """One row for each row of the table, in its order, with all its columns and the answer."""
    import csv

    from trax_triplet._files import new_file

    guard = _no_formula if guard_formulas else str
    header = [*table.header]
    has_probability = any("probability" in answer for answer in answers)
    for name in ("similarity", "is_duplicate", *["probability"] * has_probability, "reason"):
        while name in header:
            name = f"answer_{name}"
        header.append(name)
    with new_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(map(guard, header))
        for row, answer in zip(table.rows, answers, strict=True):
            n = len(table.header)
            fields = [*row.fields[:n], *[""] * (n - len(row.fields))]
            made = [""] * (2 + has_probability)
            if not row.reason:
                made = [answer["similarity"], int(answer["is_duplicate"])]
                made += [answer["probability"]] * has_probability
            writer.writerow([*map(guard, fields), *made, _no_formula(row.reason)])
    n_without = sum(bool(row.reason) for row in table.rows)
    without = f", {n_without} of them without an answer, for the reason given" * bool(n_without)
    _log(f"wrote {len(answers)} rows to {path}{without}")


def _no_formula(text: str) -> str:
    """The text with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def serve(options: Namespace) -> dict[str, Any]:
    """Answers over HTTP until it is stopped."""
    from trax_triplet import _validation as check

    check.integer("--port", options.port, 0, 65_535)
    try:
        from trax_triplet.server.run import run
    except ModuleNotFoundError as error:
        raise ValueError(
            f"serve needs {error.name}, which is not installed: pip install 'trax-triplet[serve]'"
        ) from None
    run(_load(options.model), options.host, options.port, _log)
    return {}


def export(options: Namespace) -> dict[str, Any]:
    """Writes a model as an ONNX file, a Keras file or a TensorFlow SavedModel."""
    format = options.format
    if format is None and options.output.endswith(".onnx"):
        format = "onnx"
    trained = _load(options.model)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        format, what = _export(trained, options.output, format)
    for warning in told:
        _log(f"note: {warning.message}")
    if not options.json:
        threshold = trained.threshold
        shown = "none: choose one" if threshold is None else f"{threshold:.4f}"
        print(f"wrote {options.output} ({what}); threshold {shown}")
    return {"output": options.output, "format": format, "threshold": trained.threshold}


def _export(trained: TrainedModel, path: str, format: str | None) -> tuple[str, str]:
    """The format that was written, and what it is in words."""
    if format == "onnx":
        from trax_triplet.inference.onnx_file import export_onnx

        try:
            export_onnx(trained, path)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the format onnx needs {error.name}, which is not installed: pip install "
                "'trax-triplet[onnx]'"
            ) from None
        return format, "an ONNX model, word ids to vectors"
    try:
        from trax_triplet.keras import convert
    except ImportError as error:  # another backend, or an old Keras: the user can change it
        raise ValueError(error) from None
    format = convert.export(trained, path, format=format)
    return format, convert.FORMATS[format]


def printable(text: str) -> str:
    """The text with control characters escaped: they do not reach the terminal.

    Example:
        >>> print(printable("Who\\x1b[31m?"))
        Who\\x1b[31m?
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read(path: str, options: Namespace) -> Pairs:
    """The pairs of a file with labels."""
    from trax_triplet.data import reader

    pairs = reader.read_pairs(
        path,
        question1=options.question1,
        question2=options.question2,
        label=options.label,
        positive=options.positive,
        threshold_label=options.threshold_label,
        duplicates_only=options.duplicates_only,
        negative=options.negative,
        encoding=options.encoding,
        quoting=options.quoting,
        escape=options.escape,
        max_skipped=options.max_skipped,
    )
    _tell_reading(path, f"{len(pairs)} pairs", pairs.notes, pairs.skipped)
    return pairs


def _read_rows(path: str, options: Namespace) -> tuple[Table, Columns]:
    """All rows of a file without labels."""
    from trax_triplet.data import reader

    table, columns = reader.read_rows(
        path,
        [options.question1, options.question2],
        reader.Labels(None, None, None),
        encoding=options.encoding,
        quoting=options.quoting,
        escape=options.escape,
    )
    skipped = tuple((row.line, row.reason) for row in table.rows if row.reason)
    reader.check_skipped(len(table.rows) - len(skipped), skipped, options.max_skipped, path)
    _tell_reading(path, f"{len(table.rows) - len(skipped)} pairs", table.notes, skipped)
    return table, columns


def _tell_reading(
    path: str, what: str, notes: Sequence[str], skipped: Sequence[tuple[int, str]]
) -> None:
    _log(f"read {what} from {path}")
    for note in notes:
        _log(printable(note))
    if skipped:
        shown = [f"line {line}: {printable(reason)}" for line, reason in skipped[:3]]
        more = ["..."] * (len(skipped) > 3)
        _log(f"left out {len(skipped)} rows that cannot be used ({'; '.join(shown + more)})")


def _read_all(paths: list[str], options: Namespace) -> Pairs:
    """The pairs of one file or of several, which need not number their questions alike."""
    from trax_triplet.data.pairs import Pairs, concatenate

    first, *others = [_read(path, options) for path in paths]
    if not others:
        return first
    for pairs in others:
        first = concatenate(first, pairs)
    return Pairs(first.question1, first.question2, first.is_duplicate)


def _load(folder: str) -> TrainedModel:
    from trax_triplet.inference.trained_model import load_trained

    return load_trained(folder)


def _labels(pairs: Pairs) -> np.ndarray:
    assert pairs.is_duplicate is not None  # `_read` asked for labels
    return pairs.is_duplicate


def _threshold(given: float | None, trained: TrainedModel) -> float:
    from trax_triplet import _validation as check

    if given is not None:
        return check.number("--threshold", given)
    if trained.threshold is None:
        raise ValueError("this model was saved without a threshold; give one with --threshold")
    if "no pairs labelled 0" in str(trained.settings.get("threshold_source")):
        _log(
            f"the threshold {trained.threshold:.4f} was chosen on made-up negatives, as there were "
            "no pairs labelled 0 to validate on: on pairs that people labelled, another one may be "
            "far better. Choose it on such pairs (evaluate shows the best), and give it by "
            "--threshold"
        )
    return trained.threshold


def _plot(path: str | Path, scores: Any, labels: Any, threshold: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from trax_triplet import plots
    from trax_triplet._files import new_file

    figure = Figure(figsize=(7, 4), layout="constrained")
    plots.score_histogram(scores, labels, ax=figure.add_subplot(), threshold=threshold)
    with new_file(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)
