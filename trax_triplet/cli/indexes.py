"""The commands `index` and `search`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet.cli.inputs import embed, load, read_corpus
from trax_triplet.cli.options import add_guard, add_question_options, add_threshold
from trax_triplet.cli.outputs import guard, id_of, log, printable, progress

if TYPE_CHECKING:
    from trax_triplet.data.questions import Questions
    from trax_triplet.search.index import Hit, QuestionIndex

__all__ = ["COMMANDS"]

_AT_ONCE = 2048  # queries of a file


def _add_index_options(command: argparse.ArgumentParser) -> None:
    command.usage = (
        "trax-triplet index FILE --model FOLDER --output IDX [option ...]\n"
        "       trax-triplet index IDX (--add FILE | --remove ID [ID ...] | --info) [option ...]"
    )
    command.add_argument(
        "path", metavar="FILE|IDX", help="questions to index, or the folder of an index"
    )
    command.add_argument("--model", metavar="FOLDER", help="model folder; the index keeps a copy")
    command.add_argument("--output", metavar="IDX", help="folder for the index")
    command.add_argument("--add", metavar="FILE", help="add the questions of a file to the index")
    command.add_argument(
        "--remove", nargs="+", metavar="ID", help="remove the questions with these ids"
    )
    command.add_argument("--info", action="store_true", help="tell what is in the index")
    command.add_argument(
        "--approximate",
        action=argparse.BooleanOptionalAction,
        help="find nearly all of the nearest questions by a graph, or all by comparing with each "
        "(default: a graph above 200 000 questions, where FAISS is installed)",
    )
    add_question_options(command)


def index(options: Namespace) -> dict[str, Any]:
    """Makes an index, changes it, or tells what is in it."""
    changes = [name for name in ("add", "remove", "info") if getattr(options, name)]
    makes = options.model is not None and options.output is not None
    if len(changes) + makes != 1 or (changes and (options.model or options.output)):
        raise ValueError(
            "index takes a file of questions with --model and --output, or an index with one of "
            "--add, --remove and --info"
        )
    from trax_triplet.search.index import QuestionIndex

    try:
        if makes:
            made = _made(options)
        else:
            made = QuestionIndex.load(options.path)
            _change(made, options)
    except ImportError as error:  # FAISS: the user can install it
        raise ValueError(error) from None
    folder = options.output or options.path
    if not options.info:
        made.save(folder)
    result = {"index": folder, **made.info()}
    if not options.json:
        print(f"{folder}: {_described(result)}")
    return result


def _made(options: Namespace) -> QuestionIndex:
    from trax_triplet.search.index import QuestionIndex, check_free

    check_free(Path(options.output))
    questions = read_corpus(options.path, options)
    trained = load(options.model)
    vectors = embed(questions, trained)
    return QuestionIndex.of_vectors(
        vectors, list(questions.texts), questions.ids, trained, options.approximate
    )


def _change(made: QuestionIndex, options: Namespace) -> None:
    if options.add:
        questions = read_corpus(options.add, options)
        made.add(questions.texts, ids=questions.ids)
    if options.remove:
        made.remove(options.remove)


def _described(info: dict[str, Any]) -> str:
    kind = "all are compared, exact"
    if info["approximate"]:
        kind = f"approximate, {100 * info['recall']:.1f} % of the ten nearest are found (measured)"
    return f"{info['questions']} questions, vectors of {info['dimensions']}; {kind}"


def _add_search_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("index", metavar="IDX", help="folder of an index")
    command.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help="questions to look for; - for one a line from standard input",
    )
    command.add_argument(
        "--top", type=int, default=10, metavar="INT", help="how many to find (default: %(default)s)"
    )
    command.add_argument("--csv", metavar="FILE", help="questions to look for, in a file")
    command.add_argument(
        "--output", metavar="CSV", help="file for what is found for --csv, instead of stdout"
    )
    add_threshold(command)
    add_guard(command)
    add_question_options(command)


def search(options: Namespace) -> dict[str, Any]:
    """Finds the nearest questions of an index."""
    from trax_triplet import _validation as check
    from trax_triplet.search.index import QuestionIndex

    top = check.integer("--top", options.top, 1)
    if bool(options.csv) == bool(options.questions):
        raise ValueError("search takes questions, or --csv with a file of them, or - for stdin")
    if options.output and not options.csv:
        raise ValueError("--output takes what is found for --csv; leave it out with questions")
    queries = read_corpus(options.csv, options) if options.csv else None
    try:
        index = QuestionIndex.load(options.index)
    except ImportError as error:  # FAISS: the user can install it
        raise ValueError(error) from None
    threshold = options.threshold
    if threshold is None and index.model is not None:
        threshold = index.model.threshold
    if index.approximate:
        log(_described(index.info()))
    if options.questions == ["-"]:
        _answer_lines(index, top, threshold, options.json)
        return {}
    texts = list(options.questions) if queries is None else list(queries.texts)
    if options.output:
        count = _write_hits(options, index, queries, top, threshold)
        if not options.json:
            print(f"wrote {count} questions that were found to {options.output}")
        return {"output": options.output, "found": count}
    answers = []
    for start in range(0, len(texts), _AT_ONCE):
        part = texts[start : start + _AT_ONCE]
        for query, hits in zip(part, index.search(part, top), strict=True):
            answers.append(_answer(query, hits, threshold))
            if not options.json:
                _show(answers.pop(), len(texts) > 1)
    return {"threshold": threshold, "answers": answers}


def _answer(query: str, hits: Iterable[Hit], threshold: float | None) -> dict[str, Any]:
    found = [
        {
            "id": hit.id,
            "similarity": round(hit.similarity, 6),
            "is_duplicate": None if threshold is None else hit.similarity > threshold,
            "question": hit.question,
        }
        for hit in hits
    ]
    return {"query": query, "found": found}


def _show(answer: dict[str, Any], with_query: bool) -> None:
    if with_query:
        print(printable(answer["query"]))
    for hit in answer["found"]:
        verdict = "duplicate" if hit["is_duplicate"] else ""
        print(
            f"{hit['similarity']:7.4f}  {verdict:9}  {printable(hit['id'])}  "
            f"{printable(hit['question'])}"
        )
    if not answer["found"]:
        print("nothing: no word of the question is known")


def _answer_lines(index: QuestionIndex, top: int, threshold: float | None, as_json: bool) -> None:
    """Answers each line of standard input at once."""
    for line in sys.stdin:
        query = line.rstrip("\r\n")
        if not query.strip():
            continue
        answer = _answer(query, index.search([query], top)[0], threshold)
        if as_json:
            print(json.dumps(answer))
        else:
            _show(answer, True)
        sys.stdout.flush()


def _write_hits(
    options: Namespace,
    index: QuestionIndex,
    queries: Questions | None,
    top: int,
    threshold: float | None,
) -> int:
    from trax_triplet._files import new_file

    assert queries is not None  # there is an output only with a file
    count, safe = 0, guard(options)
    with new_file(options.output) as file:
        writer = csv.writer(file)
        columns = ("query_id", "rank", "similarity", "is_duplicate", "id", "query", "question")
        writer.writerow(columns)
        for row, query, hits in _found(index, queries, top):
            for rank, hit in enumerate(_answer(query, hits, threshold)["found"], 1):
                same = hit["is_duplicate"]
                numbers = rank, hit["similarity"], "" if same is None else int(same)
                query_id = safe(id_of(queries, row))
                texts = safe(hit["id"]), safe(query), safe(hit["question"])
                writer.writerow((query_id, *numbers, *texts))
                count += 1
    return count


def _found(
    index: QuestionIndex, queries: Questions, top: int
) -> Iterator[tuple[int, str, list[Hit]]]:
    with progress(len(queries), "questions looked for") as show:
        for start in range(0, len(queries), _AT_ONCE):
            part = list(queries.texts[start : start + _AT_ONCE])
            for row, (query, hits) in enumerate(
                zip(part, index.search(part, top), strict=True), start
            ):
                yield row, query, hits
            show(start + len(part))


COMMANDS = {
    "index": (
        _add_index_options,
        index,
        "make an index of questions, change it, tell what is in it",
    ),
    "search": (
        _add_search_options,
        search,
        "find the questions of an index that are nearest to others",
    ),
}
