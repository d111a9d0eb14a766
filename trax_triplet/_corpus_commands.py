"""What the commands on a corpus do: options to calls, results to text. See `_commands`."""

from __future__ import annotations

import csv
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet import _commands

if TYPE_CHECKING:
    import numpy as np

    from trax_triplet.data.questions import Questions
    from trax_triplet.inference.trained_model import TrainedModel
    from trax_triplet.search.products import Found
    from trax_triplet.search.spool import Spool


def duplicates(options: Namespace) -> dict[str, Any]:
    """Finds all pairs of questions of a file that are duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet.search import duplicates as search

    top_k = None if options.top_k is None else check.integer("--top-k", options.top_k, 1)
    if options.linkage == "complete" and top_k is not None:
        raise ValueError("--linkage complete needs all pairs; leave --top-k out")
    questions = _read(options.csv, options)
    trained = _commands._load(options.model)
    threshold = _commands._threshold(options.threshold, trained)
    vectors = _embed(questions, trained)
    with ExitStack() as stack:
        folder = _spool_folder(options.output, stack)
        show = stack.enter_context(_progress(len(questions), "questions compared"))
        try:
            spool = search.search_to_folder(folder, vectors, threshold, top_k=top_k, progress=show)
        except KeyboardInterrupt:
            _leave_what_is_complete(folder, vectors, questions, threshold, top_k)
            raise
        n_pairs = _write_pairs(options.output, spool, questions, _guard(options))
        result = {"questions": len(questions), "threshold": threshold, "pairs": n_pairs}
        result["output"] = options.output
        if options.groups:
            result |= _write_groups(options, threshold, spool, questions, vectors)
        spool.remove()
    if not options.json:
        print(
            f"{n_pairs} pairs of {len(questions)} questions are above the threshold "
            f"{threshold:.4f}: {options.output}"
        )
        if options.groups:
            print(
                f"{result['groups']} groups, the largest of {result['largest']} questions: "
                f"{options.groups}"
            )
    return result


def _read(path: str, options: Namespace) -> Questions:
    from trax_triplet.data.questions import read_questions

    try:
        questions = read_questions(
            path,
            column=options.column,
            id=options.id,
            encoding=options.encoding,
            quoting=options.quoting,
            escape=options.escape,
            max_skipped=options.max_skipped,
        )
    except ImportError as error:  # of what reads this kind of file: the user can change it
        raise ValueError(error) from None
    _commands._tell_reading(path, f"{len(questions)} questions", (), questions.skipped)
    return questions


def _embed(questions: Questions, trained: TrainedModel) -> np.ndarray:
    from trax_triplet.search.duplicates import embed_all

    with _progress(len(questions), "questions read by the model") as progress:
        return embed_all(list(questions.texts), trained, progress)


@contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[..., None]]:
    """Shows how many of a total are done, and the time left, where stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, unit="", desc=what, disable=None, leave=False) as bar:

        def show(done: int, pairs: int = 0) -> None:
            bar.set_postfix_str(f"{pairs} pairs" if pairs else "", refresh=False)
            bar.update(done - bar.n)

        yield show


def _spool_folder(output: str, stack: ExitStack) -> Path:
    """Where found pairs are kept until the output is written; beside it, if it is a file."""
    from trax_triplet import _files as files

    path = Path(output)
    if path.exists() and not path.is_file():  # a folder: the error now, not after the search
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", output)
        return Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {path.parent} does not exist; create it to write {path.name}"
        )
    folder = path.with_name(f"{path.name}.unfinished")
    stack.enter_context(files.only_writer(folder))
    stack.callback(_remove_lock, folder)
    return folder


def _remove_lock(folder: Path) -> None:
    """Removes the folder of a search that was completed."""
    if {path.name for path in folder.iterdir()} <= {".lock"}:
        (folder / ".lock").unlink(missing_ok=True)
        folder.rmdir()


def _id(questions: Questions, row: int) -> str:
    """The id of a question: the file's own, or else the line that it starts on."""
    return str(questions.lines[row]) if questions.ids is None else questions.ids[row]


def _guard(options: Namespace) -> Callable[[str], str]:
    return _commands._no_formula if options.guard_formulas else str


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
        ids = safe(_id(questions, first)), safe(_id(questions, second))
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
    _commands._log(
        f"stopped: {spool.table} has the {count} pairs of the first {spool.stop} "
        "questions with all others; the same command goes on from there"
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
    safe = _guard(options)
    with new_file(options.groups) as file:
        writer = csv.writer(file)
        writer.writerow(("group", "size", "least_similarity", "id", "question"))
        for row in np.argsort(groups, kind="stable")[np.count_nonzero(groups < 0) :].tolist():
            group = groups[row]
            about = int(group), int(sizes[group]), round(float(least[group]), 6)
            writer.writerow((*about, safe(_id(questions, row)), safe(questions.texts[row])))
    if len(chains):
        first = chains[0]
        _commands._log(
            f"{len(chains)} groups are chains: the largest of them has {sizes[first]} questions, "
            f"and the least similarity of two of these is {least[first]:.4f}, not above the "
            "threshold; choose a higher threshold, or --linkage complete"
        )
    return {
        "groups": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "chains": len(chains),
        "groups_output": options.groups,
    }


def mine(options: Namespace) -> dict[str, Any]:
    """Finds hard negatives for pairs of duplicates."""
    from trax_triplet import _validation as check
    from trax_triplet._files import new_file
    from trax_triplet.data.reader import read_pairs
    from trax_triplet.search import negatives as search

    per_pair = check.integer("--per-pair", options.per_pair, 1)
    below = check.number("--below", options.below, 0)
    low, high = (check.number("--band", value) for value in options.band)
    if low >= high:
        raise check.wrong_value("--band", "two numbers, the lower first", (low, high))
    pairs = read_pairs(
        options.csv,
        question1=options.question1,
        question2=options.question2,
        label=options.label,
        encoding=options.encoding,
        quoting=options.quoting,
        escape=options.escape,
        max_skipped=options.max_skipped,
    )
    _commands._tell_reading(options.csv, f"{len(pairs)} pairs", pairs.notes, pairs.skipped)
    trained = _commands._load(options.model)
    triplets = search.mine_negatives(
        pairs, trained, per_pair=per_pair, band=(low, high), below=below
    )
    safe = _guard(options)
    with new_file(options.output) as file:
        writer = csv.writer(file)
        writer.writerow(search.Triplet._fields)
        for *texts, similarity, negative in triplets:
            writer.writerow((*map(safe, texts), round(similarity, 6), round(negative, 6)))
    duplicates = int((_commands._labels(pairs) == 1).sum())
    with_one = len({triplet[:2] for triplet in triplets})
    result = {"output": options.output, "triplets": len(triplets), "duplicates": duplicates}
    if not options.json:
        print(
            f"wrote {len(triplets)} triplets to {options.output}; {with_one} different pairs of "
            f"duplicates have a negative, of {duplicates} pairs\n"
            f"next: trax-triplet train {options.output} --negative negative --output FOLDER"
        )
    return result
