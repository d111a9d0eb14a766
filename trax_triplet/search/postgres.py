"""An index that outgrows a machine: questions and their vectors in PostgreSQL, with pgvector."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from trax_triplet import _validation as check
from trax_triplet.search import database
from trax_triplet.search.corpus import Hit, check_width, checked_ids, embedded, model_digest
from trax_triplet.search.duplicates import are_vectors, check_model, unit_vectors

if TYPE_CHECKING:
    from trax_triplet.inference.trained_model import TrainedModel

__all__ = ["PostgresIndex"]

BATCH = 4096  # questions in a transaction
MAX_WIDTH = 2000  # of vectors in a graph of pgvector
LINKS, BUILD_EFFORT = 32, 80
EFFORTS = (64, 128, 256, 512, 1000)  # of a search; pgvector takes no more
ENOUGH, _SAMPLE = 0.99, 50


class PostgresIndex:
    """Questions with their vectors in a table of PostgreSQL: as `QuestionIndex`, for as many as a
    server holds, and for many clients at once.

    The server needs the extension pgvector 0.8 or later, this side psycopg
    (`pip install 'trax-triplet[postgres]'`). The nearest questions are found by a graph (HNSW);
    `search(..., exact=True)` compares with all. The table's comment says which model the vectors
    are of, and another one is refused; the model itself stays outside.

    Make one by `build` or `load`, and `close` it, or use it as a context. It holds one connection:
    take one for each thread.

    Attributes:
        model: the `TrainedModel` that embeds questions, or None.
        address: of the database, without the password.

    Example:
        ```python
        with PostgresIndex.build(questions, to="postgresql://me@db/faq", model=trained) as index:
            index.add(["How old are you?"], ids=["q17"])
            index.search(["What is your age?"], k=3)
        ```
    """

    def __init__(self, connection: Any, address: str, table: str, model: TrainedModel | None):
        self.model, self.address = model, address
        self._connection, self._table = connection, table
        self._about = self._read_about()
        digest = None if model is None else model_digest(model)
        if model is not None and self._about["model_sha256"] != digest:
            raise ValueError(
                f"the table {table} was made with another model (its weights differ), so that "
                "similarities would be meaningless; take that model, or another table"
            )

    @classmethod
    def build(
        cls,
        corpus: Iterable[str] | np.ndarray,
        *,
        to: str,
        table: str = "questions",
        model: TrainedModel | None = None,
        ids: Iterable[str] | None = None,
        progress: Callable[[int], object] = lambda done: None,
    ) -> PostgresIndex:
        """Makes a table, or goes on with one: adds questions, builds the graph if it is missing.

        Each 4096 questions are one transaction. A build that was interrupted leaves complete
        ones, and goes on if it is repeated with the same ids.

        Args:
            corpus: n questions; or their vectors, floats (n, d) of length 1, or 0 for those without
                words.
            to: address of a database, such as `postgresql://user@host/database`. A password is
                better left to PGPASSWORD or a password file.
            table: its name, or schema.name.
            model: the `TrainedModel` that embeds the questions; not needed for vectors.
            ids: n different strings; those that are in the table are replaced. None: '1' to 'n',
                where the table is new or empty.
            progress: called after each transaction, with the number of questions stored so far.

        Raises:
            TypeError: questions, ids or names that are not strings, questions without a model.
            ValueError: as `QuestionIndex.build`; also an address that cannot be read, a name that
                is none, text that PostgreSQL does not store, more than 2 000 numbers a vector, a
                table made with another model, a server without pgvector.
            FileExistsError: the table is there, but is not an index.
            ImportError: psycopg is not installed.
            ConnectionError, PermissionError: what the server says.
        """
        database.identifier(table)
        rows = _checked(corpus)
        if not len(rows):
            raise check.wrong_value("corpus", "at least one question", corpus)
        if isinstance(rows, list):
            check_model(model)
            width = embedded("corpus", [""], model)[1].shape[1]
        else:
            width = rows.shape[1]
        if width > MAX_WIDTH:
            raise check.wrong_value("corpus", f"vectors of at most {MAX_WIDTH} numbers", corpus)
        connection, address = database.connect("to", to)
        try:
            with database.in_words(address):
                _create(connection, table, width, isinstance(rows, list), model)
            index = cls(connection, address, table, model)
            if ids is None:
                if len(index):
                    raise ValueError(
                        f"ids must be given, as the table {table} has questions already: rows of "
                        "equal ids are replaced"
                    )
                ids = checked_ids(None, len(rows), [])
            index.add(rows, ids=ids, progress=progress)
            index._build_graph()
        except BaseException:
            connection.close()
            raise
        return index

    @classmethod
    def load(
        cls, address: str, *, table: str = "questions", model: TrainedModel | None = None
    ) -> PostgresIndex:
        """Opens what `build` made.

        Args:
            address: of the database.
            table: its name, or schema.name.
            model: the one that it was built with; None, to search by vectors only.

        Raises:
            TypeError: an address or name that is not a string, something that is not a model.
            ValueError: an address that cannot be read, an invalid name, another model.
            FileNotFoundError: there is no such table.
            FileExistsError: the table is not an index.
            ImportError, ConnectionError, PermissionError: as `build`.
        """
        if model is not None:
            check_model(model)
        database.identifier(table)
        connection, address = database.connect("address", address)
        try:
            return cls(connection, address, table, model)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def __enter__(self) -> PostgresIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._transaction() as run:
            return run("SELECT count(*) FROM {table}")[0][0]

    @property
    def approximate(self) -> bool:
        """Whether there is a graph, so that some of the nearest questions may be missed."""
        with self._transaction() as run:
            return bool(
                run(
                    "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
                    "JOIN pg_am ON pg_am.oid = relam WHERE indrelid = %s::regclass "
                    "AND amname = 'hnsw' AND indisvalid",
                    [self._quoted()],
                )
            )

    @property
    def recall(self) -> float:
        """The share of the ten nearest that are found, as measured when `build` ended."""
        return self._about["recall"] if self.approximate else 1.0

    def info(self) -> dict[str, Any]:
        """What there is to know about the index, ready for JSON; as `QuestionIndex.info`."""
        return {
            "questions": len(self),
            "dimensions": self._about["dimensions"],
            "approximate": self.approximate,
            "recall": self.recall,
            "model_sha256": self._about["model_sha256"],
        }

    def add(
        self,
        corpus: Iterable[str] | np.ndarray,
        *,
        ids: Iterable[str],
        progress: Callable[[int], object] = lambda done: None,
    ) -> None:
        """Adds questions; those whose ids are there are replaced. 4096 are one transaction.

        Args:
            corpus: questions, or vectors where the index was made of vectors.
            ids: different strings, as many.
            progress: as of `build`.

        Raises:
            TypeError, ValueError, ConnectionError, PermissionError: as `build`.
        """
        checked = _checked(corpus)
        if isinstance(checked, list) != self._about["has_texts"]:
            expected = "questions" if self._about["has_texts"] else "vectors"
            raise check.wrong_type("corpus", f"{expected}, as the index was made of", corpus)
        names = checked_ids(check.strings("ids", ids), len(checked), [])
        database.check_texts("ids", names, database.MAX_ID_BYTES)
        for start in range(0, len(names), BATCH):
            part = slice(start, start + BATCH)
            texts, rows = embedded("corpus", checked[part], self.model)
            check_width("corpus", rows, self._about["dimensions"])
            with self._transaction() as run:
                # One writer at a time, so that none waits for the other for ever; readers go on.
                run("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                self._check_not_remade()
                run(
                    "INSERT INTO {table} (id, question, embedding) "
                    "SELECT id, question, embedding::vector FROM "
                    "unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY "
                    "AS new (id, question, embedding, place) ORDER BY place ON CONFLICT (id) "
                    "DO UPDATE SET question = excluded.question, embedding = excluded.embedding",
                    [names[part], texts or [None] * len(rows), _as_text(rows)],
                )
            progress(start + len(rows))

    def remove(self, ids: Iterable[str]) -> None:
        """Removes questions.

        Args:
            ids: of the questions.

        Raises:
            TypeError: not a list of strings.
            ValueError: an id that is not in the index; nothing is removed then.
            ConnectionError, PermissionError: what the server says.
        """
        names = check.strings("ids", ids, "write a single id as ['17']")
        database.check_texts("ids", names)
        with self._transaction() as run:
            gone = run("DELETE FROM {table} WHERE id = ANY(%s) RETURNING id", [names])
            missing = sorted(set(names) - {row[0] for row in gone})
            if missing:
                raise check.wrong_value("each of ids", "an id that is in the index", missing[0])

    def search(
        self, queries: Iterable[str] | np.ndarray, k: int = 10, *, exact: bool = False
    ) -> list[list[Hit]]:
        """The nearest questions of each query.

        Args:
            queries: m questions, or their vectors, floats (m, d).
            k: how many, at least 1.
            exact: compare with all questions, instead of by the graph.

        Returns:
            m lists of up to k `Hit`s, the most similar first, equal ones in the order in which they
            were added. A query without words has none.

        Raises:
            TypeError: queries that are not strings, a `k` that is not an integer; questions where
                there is no model.
            ValueError: vectors of another shape or length, a `k` below 1.
            ConnectionError, PermissionError: what the server says.
        """
        k = check.integer("k", k, 1)
        check.boolean("exact", exact)
        _, vectors = embedded("queries", queries, self.model)
        check_width("queries", vectors, self._about["dimensions"])
        hits: list[list[Hit]] = [[] for _ in vectors]
        asked = np.flatnonzero(vectors.any(axis=1))
        found = self._nearest(vectors[asked], k, exact, self._about["effort"])
        for query, id, similarity, question in found:
            hits[asked[query]].append(Hit(id, min(1.0, max(-1.0, similarity)), question or ""))
        return hits

    def _nearest(
        self, vectors: np.ndarray, k: int, exact: bool, effort: int
    ) -> list[tuple[int, str, float, str | None]]:
        """(query, id, similarity, question), sorted by query and nearness."""
        exact = exact or k > EFFORTS[-1]
        with self._transaction() as run:
            if exact:
                run("SET LOCAL enable_indexscan = off")
            else:
                run("SELECT set_config('hnsw.ef_search', %s, true)", [str(max(effort, k))])
                # Rows that were removed are passed over, until there are k.
                run("SET LOCAL hnsw.iterative_scan = strict_order")
            return run(
                "SELECT (place - 1)::int, id, similarity, question "
                "FROM unnest(%s::text[]::vector[]) WITH ORDINALITY AS asked (vector, place) "
                "CROSS JOIN LATERAL (SELECT id, question, added, "
                "-(embedding <#> asked.vector) AS similarity FROM {table} "
                "ORDER BY embedding <#> asked.vector"
                + (", added" if exact else "")
                + " LIMIT %s) AS hit ORDER BY place, similarity DESC, added",
                [_as_text(vectors), k],
            )

    def _build_graph(self) -> None:
        """Builds the graph if it is missing; chooses the effort of a search by its recall."""
        with self._transaction() as run:
            run("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            if not self.approximate:
                run(
                    "CREATE INDEX ON {table} USING hnsw (embedding vector_ip_ops) "
                    f"WITH (m = {LINKS}, ef_construction = {BUILD_EFFORT})"
                )
            run("ANALYZE {table}")
            step = max(1, run("SELECT max(added) FROM {table}")[0][0] // _SAMPLE)
            rows = run(
                "SELECT embedding::text FROM {table} WHERE added %% %s = 0 ORDER BY added LIMIT %s",
                [step, _SAMPLE],
            )
        sample = np.array([json.loads(row[0]) for row in rows], np.float32)
        sample = sample.reshape(-1, self._about["dimensions"])
        sample = sample[sample.any(axis=1)]
        exact = self._nearest(sample, 10, True, 0)
        last = {query: similarity for query, _, similarity, _ in exact}  # of equal ones any counts
        for effort in EFFORTS:
            found = self._nearest(sample, 10, False, effort)
            near = sum(row[2] >= last[row[0]] - 1e-6 for row in found)
            self._about |= {"effort": effort, "recall": near / max(1, len(exact))}
            if self._about["recall"] >= ENOUGH:
                break
        with self._transaction() as run:
            self._check_not_remade()
            database.set_about(run, self._about)

    def _read_about(self) -> dict[str, Any]:
        with self._transaction() as run:
            about = database.about(run, self._table, self._quoted())
        if about is None:
            raise FileNotFoundError(
                f"there is no table {self._table} in {self.address}; `trax-triplet index FILE "
                "--model MODEL --to ADDRESS` makes one"
            )
        return about

    def _check_not_remade(self) -> None:
        """Nobody has put another model's table in its place since it was opened."""
        if self._read_about()["model_sha256"] != self._about["model_sha256"]:
            raise ValueError(f"the table {self._table} was rebuilt with another model")

    def _quoted(self) -> str:
        return database.identifier(self._table).as_string(self._connection)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[database.Run]:
        with database.in_words(self.address), self._connection.transaction():
            yield database.runner(self._connection, self._table)


def _checked(corpus: Any) -> list[str] | np.ndarray:
    """Questions that PostgreSQL stores, or unit vectors."""
    if are_vectors(corpus):
        return unit_vectors("corpus", corpus)
    texts = check.strings("corpus", corpus, "write a single question as ['How old are you?']")
    database.check_texts("corpus", texts)
    return texts


def _create(
    connection: Any, table: str, width: int, has_texts: bool, model: TrainedModel | None
) -> None:
    """Makes the table, unless it is there."""
    with connection.transaction():
        run = database.runner(connection, table)
        run("SELECT pg_advisory_xact_lock(hashtext('trax_triplet'))")  # others wait
        database.need_pgvector(run)
        quoted = database.identifier(table).as_string(connection)
        if database.about(run, table, quoted) is not None:
            return
        run(
            "CREATE TABLE {table} (id text PRIMARY KEY, question text, "
            "embedding vector({width}) NOT NULL, added bigint GENERATED ALWAYS AS IDENTITY)",
            width=width,
        )
        about = {
            "model_sha256": None if model is None else model_digest(model),
            "dimensions": width,
            "has_texts": has_texts,
            "effort": EFFORTS[0],
            "recall": 1.0,
        }
        database.set_about(run, about)


def _as_text(vectors: np.ndarray) -> list[str]:
    return [json.dumps(row) for row in vectors.tolist()]
