"""The commands `index` and `search`."""

from __future__ import annotations

import argparse
import csv
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trax_triplet._wording import counted
from trax_triplet.cli.inputs import (
    check_questions,
    embed,
    load,
    read_corpus,
    refuse_unused,
    standard_input,
)
from trax_triplet.cli.options import add_guard, add_question_options, add_threshold
from trax_triplet.cli.outputs import check_outputs, guard, id_of, log, printable, progress

if TYPE_CHECKING:
    from trax_triplet.data.questions import Questions
    from trax_triplet.search.corpus import Hit
    from trax_triplet.search.index import QuestionIndex
    from trax_triplet.search.postgres import PostgresIndex

    AnyIndex = QuestionIndex | PostgresIndex

__all__ = ["COMMANDS"]

_AT_ONCE = 2048  # queries of a file
_OF_A_FILE = ("column", "id", "quoting", "escape", "max_skipped")


def _add_index_options(command: argparse.ArgumentParser) -> None:
    command.usage = (
        "trax-triplet index FILE --model FOLDER --output IDX [option ...]\n"
        "       trax-triplet index IDX (--add FILE | --remove ID [ID ...] | --info) [option ...]\n"
        "       trax-triplet index FILE --model FOLDER --to ADDRESS [--table NAME] [option ...]\n"
        "       trax-triplet index ADDRESS (--remove ID [ID ...] | --info) [--table NAME]"
    )
    command.add_argument(
        "path", metavar="FILE|IDX", help="questions to index, or the folder of an index"
    )
    command.add_argument("--model", metavar="FOLDER", help="model folder; the index keeps a copy")
    command.add_argument("--output", metavar="IDX", help="folder for the index")
    command.add_argument(
        "--to",
        metavar="ADDRESS",
        help="database for the index, such as postgresql://user@host/database (PostgreSQL with "
        "pgvector); questions whose ids are there are replaced, the others added",
    )
    _add_table(command)
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
    makes = options.model is not None and bool(options.output) != bool(options.to)
    places = options.model or options.output or options.to
    if len(changes) + makes != 1 or (changes and places):
        raise ValueError(
            "index takes a file of questions with --model and --output or --to, or an index with "
            "one of --add, --remove and --info"
        )
    if options.remove or options.info:
        refuse_unused(options, (*_OF_A_FILE, "encoding"), "where no file is read")
    if changes and options.approximate is not None:
        raise ValueError("--approximate is for a new index; rebuild it from the questions")
    from trax_triplet.search.database import is_address  # needs NumPy, which `--help` does without

    with _needed():
        if options.to or is_address(options.path):
            where, info = _in_database(options)
        else:
            where, info = _in_folder(options, makes)
    result = {"index": where, **info}
    if not options.json:
        print(f"{where}: {_described(result)}")
    return result


@contextmanager
def _needed() -> Iterator[None]:
    """Context: a library that is missing, such as FAISS, is the user's to install."""
    try:
        yield
    except ImportError as error:
        raise ValueError(error) from None


def _in_folder(options: Namespace, makes: bool) -> tuple[str, dict[str, Any]]:
    """Where the index is, and what is in it."""
    refuse_unused(options, ["table"], "on an index in a folder")
    from trax_triplet.search.index import QuestionIndex

    if makes:
        made = _made(options)
    else:
        made = QuestionIndex.load(options.path)
        _change(made, options)
    folder = options.output or options.path
    if not options.info:
        made.save(folder)
    return folder, made.info()


def _in_database(options: Namespace) -> tuple[str, dict[str, Any]]:
    """The same for a table; its address is told without the password."""
    from trax_triplet.search.postgres import PostgresIndex

    if options.add or options.approximate is not None:
        raise ValueError(
            "in a database, questions are added by `trax-triplet index FILE --model MODEL --to "
            "ADDRESS`; the graph is always built"
        )
    if options.to:
        questions = read_corpus(options.path, options)
        with progress(len(questions), "questions stored") as show:
            index = PostgresIndex.build(
                questions.texts,
                to=options.to,
                table=options.table,
                model=load(options.model),
                ids=questions.ids,
                progress=show,
            )
    else:
        index = PostgresIndex.load(options.path, table=options.table)
    with index:
        if options.remove:
            index.remove(options.remove)
        return f"{index.address}, table {options.table}", index.info()


def _made(options: Namespace) -> QuestionIndex:
    from trax_triplet.search.index import QuestionIndex, check_free

    check_free(Path(options.output))
    questions = read_corpus(options.path, options)
    trained = load(options.model)
    vectors = embed(questions, trained)
    ids = [id_of(questions, row) for row in range(len(questions))]
    return QuestionIndex.of_vectors(
        vectors, list(questions.texts), ids, trained, options.approximate
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
    return f"{counted(info['questions'], 'question')}, vectors of {info['dimensions']}; {kind}"


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--table",
        default="questions",
        metavar="NAME",
        help="table of the database (default: %(default)s)",
    )


def _add_search_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "index", metavar="IDX|ADDRESS", help="folder of an index, or address of a database"
    )
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
    command.add_argument(
        "--model", metavar="FOLDER", help="model of an index in a database; a folder has its own"
    )
    _add_table(command)
    add_threshold(command)
    add_guard(command)
    add_question_options(command)


@contextmanager
def _opened(options: Namespace) -> Iterator[AnyIndex]:
    from trax_triplet.search.database import is_address

    if not is_address(options.index):
        from trax_triplet.search.index import QuestionIndex

        refuse_unused(options, ["table"], "on an index in a folder")
        model = None if options.model is None else load(options.model)
        yield QuestionIndex.load(options.index, model=model)
        return
    from trax_triplet.search.postgres import PostgresIndex

    if options.model is None:
        raise ValueError("an index in a database has no copy of its model; name it by --model")
    model = load(options.model)
    with PostgresIndex.load(options.index, table=options.table, model=model) as index:
        yield index


def search(options: Namespace) -> dict[str, Any]:
    """Finds the nearest questions of an index."""
    from trax_triplet import _validation as check

    top = check.integer("--top", options.top, 1)
    if bool(options.csv) == bool(options.questions):
        raise ValueError("search takes questions, or --csv with a file of them, or - for stdin")
    if options.output and not options.csv:
        raise ValueError("--output takes what is found for --csv; leave it out with questions")
    if not options.csv:
        refuse_unused(options, _OF_A_FILE, "without --csv")
        if options.questions != ["-"]:
            refuse_unused(options, ["encoding"], "on questions that are typed")
            check_questions(options.questions)
    if not options.output:
        refuse_unused(options, ["guard_formulas"], "without --output")
    inputs = [options.csv, options.index, options.model]
    check_outputs(inputs, {"--output": options.output})
    queries = read_corpus(options.csv, options) if options.csv else None
    with _needed(), _opened(options) as index:
        return _answer_all(options, index, queries, top)


def _answer_all(
    options: Namespace, index: AnyIndex, queries: Questions | None, top: int
) -> dict[str, Any]:
    from trax_triplet import _validation as check

    threshold = options.threshold
    if threshold is not None:
        check.number("--threshold", threshold, -1, 1)
    elif index.model is not None:
        threshold = index.model.threshold
    if index.approximate:
        log(_described(index.info()))
    if options.questions == ["-"]:
        _answer_lines(index, top, threshold, options)
        return {}
    texts = list(options.questions) if queries is None else list(queries.texts)
    if options.output:
        count = _write_hits(options, index, queries, top, threshold)
        if not options.json:
            print(f"wrote {counted(count, 'hit')} to {options.output}")
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
    from trax_triplet.search.corpus import hit_rows

    found = hit_rows(hits, threshold)
    for row in found:
        row["similarity"] = round(row["similarity"], 6)
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


def _answer_lines(index: AnyIndex, top: int, threshold: float | None, options: Namespace) -> None:
    """Answers each line of standard input at once."""
    from trax_triplet.inference.lines import json_line, read_lines

    answered, errors = 0, []
    for lines in read_lines(standard_input(), options.encoding):
        queries = [text for _, text, _ in lines if text is not None]
        found = iter(index.search(queries, top) if queries else [])
        for number, query, shown in lines:
            answered += 1
            if query is None:
                answer = {"line": number, "error": f"expected a question, but it is {shown}"}
                errors.append(f"line {number}: {answer['error']}")
                print(json_line(answer) if options.json else errors[-1])
                continue
            answer = _answer(query, next(found), threshold)
            print(json_line(answer)) if options.json else _show(answer, True)
        sys.stdout.flush()
    if errors:
        raise ValueError(
            f"{len(errors)} of {counted(answered, 'line')} could not be read; {errors[0]}"
        )


def _write_hits(
    options: Namespace,
    index: AnyIndex,
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


def _found(index: AnyIndex, queries: Questions, top: int) -> Iterator[tuple[int, str, list[Hit]]]:
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
