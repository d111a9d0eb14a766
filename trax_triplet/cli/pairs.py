"""The commands `evaluate` and `predict`: a model and pairs of questions."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from trax_triplet._wording import counted
from trax_triplet.cli.inputs import (
    check_questions,
    labels_of,
    load,
    read_labelled,
    read_unlabelled,
    refuse_unused,
    standard_input,
    threshold_of,
)
from trax_triplet.cli.options import (
    add_guard,
    add_model,
    add_pair_options,
    add_seed,
    add_threshold,
)
from trax_triplet.cli.outputs import check_outputs, log, plot_scores, printable, without_formula

if TYPE_CHECKING:
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.table import Table
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["COMMANDS", "answer_text", "answers_of"]


def _add_evaluate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="CSV", help="labelled question pairs")
    add_model(command)
    add_threshold(command)
    command.add_argument(
        "--plot", metavar="PNG", help="file for histograms of the similarities, with the threshold"
    )
    command.add_argument(
        "--mistakes",
        type=int,
        default=0,
        metavar="INT",
        help="how many of the worst mistakes of each kind to show: duplicates that are far below "
        "the threshold, other pairs that are far above it (default: %(default)s)",
    )
    command.add_argument(
        "--corpus",
        action="store_true",
        help="how well the model finds duplicates among all questions of the file: nearest "
        "questions, and pairs above the threshold",
    )
    command.add_argument(
        "--queries",
        choices=("groups", "question1", "question2", "all"),
        metavar="WHICH",
        help="which questions are asked with --corpus: groups: the first one of each group of "
        "duplicates; question1, question2, all: those of one side or of both that have a duplicate "
        "(default: groups)",
    )
    add_seed(command, "the bootstrap intervals and the split into halves")
    add_pair_options(command)


def evaluate(options: Namespace) -> dict[str, Any]:
    """Measures how well a model recognises duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet.inference import quality

    mistakes = check.integer("--mistakes", options.mistakes)
    check_outputs([options.csv, options.model], {"--plot": options.plot})
    if options.corpus:
        return _evaluate_corpus(options)
    if options.queries:
        raise ValueError("--queries has no effect without --corpus; leave it out")
    pairs = read_labelled(options.csv, options)
    trained = load(options.model)
    threshold = threshold_of(options.threshold, trained)
    result = quality.evaluate(
        trained, pairs, threshold=threshold, seed=options.seed, mistakes=mistakes
    )
    if options.plot:
        scores = trained.similarity(pairs.question1, pairs.question2)
        plot_scores(options.plot, scores, labels_of(pairs), threshold)
        result["plot"] = options.plot
    if not options.json:
        print(_report_text(result))
    return result


def _evaluate_corpus(options: Namespace) -> dict[str, Any]:
    from trax_triplet.search import evaluate_corpus

    if options.plot or options.mistakes:
        raise ValueError("--plot and --mistakes do not go with --corpus; leave them out")
    pairs = read_labelled(options.csv, options)
    trained = load(options.model)
    result = evaluate_corpus(
        trained,
        pairs,
        queries=options.queries or "groups",
        threshold=threshold_of(options.threshold, trained),
        seed=options.seed,
    )
    if not options.json:
        print(_corpus_text(result))
    return result


def _corpus_text(result: dict[str, Any]) -> str:
    pairs, best = result["pairs"], result["pairs"]["best_f1"]
    names = [name for name in result if f"{name}_interval" in result]
    average = f"{pairs['average_precision']:.4f}"
    if pairs["average_precision_at_most"] > pairs["average_precision"]:
        average += f" to {pairs['average_precision_at_most']:.4f}, some pairs being unranked"
    titles = {"map": "MAP", "mrr@10": "MRR@10", "ndcg@10": "nDCG@10"}
    return "\n".join(
        [
            f"{counted(result['questions'], 'question')}, "
            f"{counted(result['groups'], 'group')} of duplicates; "
            f"{counted(result['queries'], 'query', 'queries')}",
            *(f"{titles.get(name, name):17}  {_with_interval(result, name)}" for name in names),
            f"above the threshold {pairs['threshold']:.4f}: {counted(pairs['called'], 'pair')}; "
            f"duplicates: {counted(pairs['duplicates'], 'pair')}",
            f"precision, recall  {pairs['precision']:.4f}, {pairs['recall']:.4f}; "
            f"F1 {pairs['f1']:.4f}",
            f"average precision  {average}",
            f"best F1            {best['value']:.4f}   at threshold {best['threshold']:.4f}, "
            "chosen on these very pairs: too good",
        ]
    )


def _report_text(result: dict[str, Any]) -> str:
    half = result["half"]
    lines = [
        f"{counted(result['n'], 'pair')}, {100 * result['share']:.1f} % duplicates",
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
        counts = f"{counted(part['n'], 'pair')}, {part['duplicates']} labelled 1"
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


def _add_predict_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help="two questions to compare; or - to answer lines on stdin one by one, each at once: "
        "two questions with a tab between them, or JSON with question1 and question2",
    )
    add_model(command)
    add_threshold(command)
    command.add_argument("--csv", help="question pairs to compare, instead of two questions")
    command.add_argument(
        "--output",
        metavar="CSV",
        help="file for the answers to --csv, instead of stdout: each of its rows with all its "
        "columns, the similarity, whether it is a duplicate, or the reason why there is no answer",
    )
    add_guard(command)
    add_pair_options(command, labels=False)


def predict(options: Namespace) -> dict[str, Any]:
    """Tells whether two questions are duplicates, or the pairs of a CSV file or of stdin."""
    from trax_triplet.data.pairs import Pairs
    from trax_triplet.data.table import Row

    check_outputs([options.csv, options.model], {"--output": options.output})
    if not options.output:
        refuse_unused(options, ["guard_formulas"], "without --output")
    if not options.csv:
        unused = "question1", "question2", "quoting", "escape", "max_skipped"
        refuse_unused(options, unused, "without --csv")
    if options.questions == ["-"] and not options.csv and not options.output:
        return _predict_lines(options)
    n = len(options.questions)
    if bool(options.csv) == bool(n) or n not in (0, 2):
        raise ValueError(
            "predict takes two questions, or --csv with a file of pairs, or - for lines on stdin; "
            f"got {counted(n, 'question')}{' and --csv' if options.csv else ''}"
        )
    if options.output and not options.csv:
        raise ValueError("--output takes the answers to --csv; leave it out with two questions")
    table, rows = None, [Row(1, [], "")]
    if options.csv:
        table, (first, second) = read_unlabelled(options.csv, options)
        rows = table.rows
    else:
        refuse_unused(options, ["encoding"], "on two questions")
        check_questions(options.questions)
        first, second = options.questions[:1], options.questions[1:]
    trained = load(options.model)
    threshold = threshold_of(options.threshold, trained)
    found = iter(answers_of(trained, Pairs(first, second), threshold))
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
            print(answer_text(answer))
    return {"threshold": threshold, "answers": answers}


def _predict_lines(options: Namespace) -> dict[str, Any]:
    from trax_triplet.inference.lines import answer_lines

    trained = load(options.model)
    threshold = threshold_of(options.threshold, trained)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    n, errors = answer_lines(
        trained,
        standard_input(),
        write,
        threshold=threshold,
        as_json=options.json,
        encoding=options.encoding,
    )
    if errors:
        raise ValueError(
            f"{len(errors)} of {counted(n, 'line')} could not be read as pairs of questions; "
            f"{errors[0]}"
        )
    return {}


def answers_of(trained: TrainedModel, pairs: Pairs, threshold: float) -> list[dict[str, Any]]:
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


def answer_text(answer: dict[str, Any]) -> str:
    if answer["similarity"] is None:
        return f"no answer              line {answer['line']}: {printable(answer['reason'])}"
    verdict = "duplicate    " if answer["is_duplicate"] else "not duplicate"
    first, second = printable(answer["question1"]), printable(answer["question2"])
    return f"{verdict}  {answer['similarity']:7.4f}  {first}  |  {second}"


def _write_answers(
    path: str, table: Table, answers: list[dict[str, Any]], guard_formulas: bool
) -> None:
    """One row for each row of the table, in its order, with all its columns and the answer.

    What rows have beyond the columns that the header names stands in columns of its own.
    """
    import csv

    from trax_triplet._files import new_file
    from trax_triplet.inference.lines import unused_name

    guard = without_formula if guard_formulas else str
    header, n_named = [*table.header], len(table.header)
    has_probability = any("probability" in answer for answer in answers)
    names = ["similarity", "is_duplicate", *["probability"] * has_probability, "reason"]
    n = max([n_named, *(len(row.fields) for row in table.rows if any(row.fields[n_named:]))])
    for name in [f"unnamed_{k}" for k in range(1, n - n_named + 1)] + names:
        header.append(unused_name(name, header))
    with new_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(map(guard, header))
        for row, answer in zip(table.rows, answers, strict=True):
            fields = [*row.fields[:n], *[""] * (n - len(row.fields))]
            made = [""] * (2 + has_probability)
            if not row.reason:
                made = [answer["similarity"], int(answer["is_duplicate"])]
                made += [answer["probability"]] if has_probability else []
            writer.writerow([*map(guard, fields), *made, without_formula(row.reason)])
    n_without = sum(bool(row.reason) for row in table.rows)
    without = f", {n_without} of them without an answer, for the reason given" * bool(n_without)
    log(f"wrote {counted(len(answers), 'row')} to {path}{without}")


COMMANDS = {
    "evaluate": (
        _add_evaluate_options,
        evaluate,
        "measure a model on a CSV file of labelled pairs",
    ),
    "predict": (_add_predict_options, predict, "tell whether questions are duplicates"),
}
