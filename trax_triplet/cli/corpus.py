"""The commands `duplicates` and `mine`: all questions of a file with each other."""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet._wording import counted
from trax_triplet.cli.inputs import (
    embed,
    labels_of,
    load,
    read_corpus,
    refuse_unused,
    tell_reading,
    text_options,
    threshold_of,
)
from trax_triplet.cli.options import (
    add_guard,
    add_max_skipped,
    add_model,
    add_pair_columns,
    add_question_options,
    add_text_options,
    add_threshold,
)
from trax_triplet.cli.outputs import check_outputs, guard, id_of, log, progress

if TYPE_CHECKING:
    import numpy as np

    from trax_triplet.data.questions import Questions
    from trax_triplet.search.products import Found
    from trax_triplet.search.spool import Spool

__all__ = ["COMMANDS"]


def _add_duplicates_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="FILE", help="questions: CSV, TSV, JSON lines or Parquet")
    add_model(command)
    add_threshold(
        command,
        "the model's own, which is low for a corpus: nearly all of its pairs are not duplicates",
    )
    command.add_argument(
        "--output", required=True, metavar="CSV", help="file for the pairs, the most similar first"
    )
    command.add_argument(
        "--top-k",
        type=int,
        metavar="INT",
        help="only so many pairs of each question, the most similar (default: all)",
    )
    command.add_argument(
        "--groups", metavar="CSV", help="file for the groups of duplicates, the largest first"
    )
    command.add_argument(
        "--linkage",
        choices=("single", "complete"),
        default="single",
        help="single: a group is what a chain of pairs connects; complete: all questions of a "
        "group are pairs (default: %(default)s)",
    )
    add_guard(command)
    add_question_options(command)


def duplicates(options: Namespace) -> dict[str, Any]:
    """Finds all pairs of questions of a file that are duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet.search import duplicates as search

    top_k = None if options.top_k is None else check.integer("--top-k", options.top_k, 1)
    if options.linkage == "complete" and top_k is not None:
        raise ValueError("--linkage complete needs all pairs; leave --top-k out")
    if not options.groups:
        refuse_unused(options, ["linkage"], "without --groups")
    outputs = {"--output": options.output, "--groups": options.groups}
    check_outputs([options.csv, options.model], outputs)
    questions = read_corpus(options.csv, options)
    trained = load(options.model)
    threshold = threshold_of(options.threshold, trained)
    vectors = embed(questions, trained)
    with ExitStack() as stack:
        folder = _spool_folder(options.output, stack)
        show = stack.enter_context(progress(len(questions), "questions compared"))
        try:
            spool = search.search_to_folder(folder, vectors, threshold, top_k=top_k, progress=show)
        except KeyboardInterrupt:
            _leave_what_is_complete(folder, vectors, questions, threshold, top_k)
            raise
        n_pairs = _write_pairs(options.output, spool, questions, guard(options))
        result = {"questions": len(questions), "threshold": threshold, "pairs": n_pairs}
        result["output"] = options.output
        if options.groups:
            result |= _write_groups(options, threshold, spool, questions, vectors)
        spool.remove()
    if not options.json:
        print(
            f"{counted(len(questions), 'question')}, {counted(n_pairs, 'pair')} above the "
            f"threshold {threshold:.4f}: {options.output}"
        )
        if options.groups:
            largest = f", the largest of {result['largest']} questions" * bool(result["groups"])
            print(f"{counted(result['groups'], 'group')}{largest}: {options.groups}")
    return result


def _spool_folder(output: str, stack: ExitStack) -> Path:
    """Where found pairs are kept until the output is written; beside it, if it is a file."""
    from trax_triplet import _files as files

    path = Path(output)
    if path.exists() and not path.is_file():
        return Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder = path.with_name(f"{path.name}.unfinished")
    stack.enter_context(files.only_writer(folder))
    stack.callback(_remove_lock, folder)
    return folder


def _remove_lock(folder: Path) -> None:
    """Removes the folder of a search that was completed."""
    if {path.name for path in folder.iterdir()} <= {".lock"}:
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()


def _write_pairs(
    path: str | os.PathLike[str], spool: Spool, questions: Questions, safe: Callable[[str], str]
) -> int:
    from trax_triplet._files import new_file

    count = 0
    with new_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(("id1", "id2", "similarity", "question1", "question2"))
        for found in spool.sorted():
            writer.writerows(_rows(found, questions, safe))
            count += len(found.first)
    return count


def _rows(
    found: Found, questions: Questions, safe: Callable[[str], str]
) -> Iterator[tuple[Any, ...]]:
    texts = questions.texts
    for first, second, similarity in zip(*(column.tolist() for column in found), strict=True):
        ids = safe(id_of(questions, first)), safe(id_of(questions, second))
        yield *ids, round(similarity, 6), safe(texts[first]), safe(texts[second])


def _leave_what_is_complete(
    folder: Path, vectors: np.ndarray, questions: Questions, threshold: float, top_k: int | None
) -> None:
    """After Ctrl-C: the pairs found so far, as a table beside what the next run goes on from."""
    from trax_triplet.search.spool import Spool, identity

    spool = Spool(folder, identity(vectors, threshold=threshold, top_k=top_k))
    if not folder.name.endswith(".unfinished") or not spool.stop:
        return
    count = _write_pairs(spool.table, spool, questions, str)
    log(
        f"stopped: {spool.table} has {counted(count, 'pair')}, those of the first "
        f"{counted(spool.stop, 'question')} with all others; the same command goes on from there"
    )


def _write_groups(
    options: Namespace,
    threshold: float,
    spool: Spool,
    questions: Questions,
    vectors: np.ndarray,
) -> dict[str, Any]:
    import numpy as np

    from trax_triplet._files import new_file
    from trax_triplet.search import duplicates as search

    groups = search.group_duplicates(len(questions), spool.sorted(), linkage=options.linkage)
    sizes = np.bincount(groups[groups >= 0])
    least = search.least_similarities(vectors, groups)
    chains = np.flatnonzero(least <= threshold)
    safe = guard(options)
    with new_file(options.groups) as file:
        writer = csv.writer(file)
        writer.writerow(("group", "size", "least_similarity", "id", "question"))
        for row in np.argsort(groups, kind="stable")[np.count_nonzero(groups < 0) :].tolist():
            group = groups[row]
            about = int(group), int(sizes[group]), round(float(least[group]), 6)
            writer.writerow((*about, safe(id_of(questions, row)), safe(questions.texts[row])))
    if len(chains):
        first = chains[0]
        log(
            f"groups that only chains of pairs connect: {len(chains)}; the largest of them has "
            f"{sizes[first]} questions, and the least similarity of two of these is "
            f"{least[first]:.4f}, not above the threshold; choose a higher one, or --linkage "
            "complete"
        )
    return {
        "groups": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "chains": len(chains),
        "groups_output": options.groups,
    }


def _add_mine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("csv", metavar="CSV", help="labelled pairs of questions")
    add_model(command)
    command.add_argument(
        "--output",
        required=True,
        metavar="CSV",
        help="file for the triplets: question1, question2 (a duplicate), negative (none); "
        "`trax-triplet train CSV --negative negative` takes it",
    )
    command.add_argument(
        "--per-pair",
        type=int,
        default=1,
        metavar="INT",
        help="how many negatives a pair gets at most (default: %(default)s)",
    )
    command.add_argument(
        "--band",
        nargs=2,
        type=float,
        default=(0.0, 0.9),
        metavar=("LOW", "HIGH"),
        help="similarities between which negatives are looked for; above may be duplicates that "
        "nobody marked (default: 0.0 0.9)",
    )
    command.add_argument(
        "--below",
        type=float,
        default=0.95,
        metavar="FLOAT",
        help="a negative is less similar than this times the duplicate (default: %(default)s)",
    )
    add_guard(command)
    group = command.add_argument_group("columns and rows of the CSV file")
    add_pair_columns(group)
    add_text_options(group)
    add_max_skipped(group)


def mine(options: Namespace) -> dict[str, Any]:
    """Finds hard negatives for pairs of duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet._files import new_file
    from trax_triplet.data.reader import read_pairs
    from trax_triplet.search import negatives as search

    per_pair = check.integer("--per-pair", options.per_pair, 1)
    below = check.number("--below", options.below, 0)
    low, high = (check.number("--band", value, -1, 1) for value in options.band)
    if low >= high:
        raise check.wrong_value("--band", "two numbers, the lower first", (low, high))
    check_outputs([options.csv, options.model], {"--output": options.output})
    pairs = read_pairs(
        options.csv,
        question1=options.question1,
        question2=options.question2,
        label=options.label,
        **text_options(options),
        max_skipped=options.max_skipped,
    )
    tell_reading(options.csv, counted(len(pairs), "pair"), pairs.notes, pairs.skipped)
    trained = load(options.model)
    triplets = search.mine_negatives(
        pairs, trained, per_pair=per_pair, band=(low, high), below=below
    )
    safe = guard(options)
    with new_file(options.output) as file:
        writer = csv.writer(file)
        writer.writerow(search.Triplet._fields)
        for *texts, similarity, negative in triplets:
            writer.writerow((*map(safe, texts), round(similarity, 6), round(negative, 6)))
    duplicates = int((labels_of(pairs) == 1).sum())
    with_one = len({triplet[:2] for triplet in triplets})
    result = {"output": options.output, "triplets": len(triplets), "duplicates": duplicates}
    if not options.json:
        print(
            f"wrote {counted(len(triplets), 'triplet')} to {options.output}; {with_one} different "
            f"pairs of duplicates have a negative, of {counted(duplicates, 'pair')}"
        )
        print(_after_mining(options, len(triplets), duplicates))
    return result


def _after_mining(options: Namespace, n_triplets: int, duplicates: int) -> str:
    if n_triplets:
        return f"next: trax-triplet train {options.output} --negative negative --output FOLDER"
    if not duplicates:
        return f"{options.csv} has no pairs of duplicates; negatives are found for these only"
    return "no question is similar enough to be a hard negative; try another --band or --below"


COMMANDS = {
    "duplicates": (
        _add_duplicates_options,
        duplicates,
        "find all pairs of duplicates among the questions of a file",
    ),
    "mine": (_add_mine_options, mine, "find hard negatives for pairs of duplicates, to train on"),
}
