"""A server in memory that knows the statements of `PostgresIndex`, and compares with all rows.

The tests that it serves run against PostgreSQL, too, which keeps it honest.
"""

import contextlib
import copy
import json
import re
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

ADDRESS = "postgresql://me@memory/faq"


class Server:
    """Its tables, by quoted name: rows by id, a comment, whether there is a graph."""

    def __init__(self):
        self.tables, self.added = {}, 0

    def connect(self, name, address):
        """In the place of `database.connect`."""
        assert address == ADDRESS
        return Connection(self), address


class Connection:
    """As psycopg's, as far as `PostgresIndex` goes."""

    connection = None  # psycopg quotes names without asking a server

    def __init__(self, server):
        self.server, self.closed = server, False

    def close(self):
        self.closed = True

    @contextlib.contextmanager
    def transaction(self):
        assert not self.closed
        before = copy.deepcopy(self.server.tables)
        try:
            yield
        except BaseException:
            self.server.tables = before
            raise

    def execute(self, query, values):
        text = query.as_string(None)
        for pattern, answer in ANSWERS:
            if found := re.search(pattern, text, re.S):
                rows = answer(self.server, found, *(values or ()))
                return Cursor(rows is not None, rows)
        raise AssertionError(f"not a statement that it knows: {text}")


class Cursor(NamedTuple):
    description: bool
    rows: list | None

    def fetchall(self):
        return self.rows


def about(server, found, name, _):
    table = server.tables.get(name)
    return [(None, None) if table is None else (1, table.comment)]


def create(server, found):
    server.tables[found[1]] = SimpleNamespace(rows={}, comment=None, graph=False)


def comment(server, found):
    server.tables[found[1]].comment = found[2].replace("''", "'")


def insert(server, found, ids, questions, vectors):
    rows = server.tables[found[1]].rows
    for id, question, vector in zip(ids, questions, vectors):
        if id not in rows:
            server.added += 1
        place = rows[id].added if id in rows else server.added
        vector = np.array(json.loads(vector), np.float32)
        rows[id] = SimpleNamespace(question=question, vector=vector, added=place)


def delete(server, found, ids):
    rows = server.tables[found[1]].rows
    gone = [id for id in ids if id in rows]
    for id in gone:
        del rows[id]
    return [(id,) for id in gone]


def nearest(server, found, vectors, k):
    hits = []
    for place, vector in enumerate(map(json.loads, vectors)):
        own = [
            (place, id, float(row.vector @ np.float32(vector)), row.question, row.added)
            for id, row in server.tables[found[1]].rows.items()
        ]
        hits += [hit[:4] for hit in sorted(own, key=lambda hit: (-hit[2], hit[4]))[:k]]
    return hits


def graph(server, found):
    server.tables[found[1]].graph = True


def sample(server, found, step, most):
    rows = sorted(server.tables[found[1]].rows.values(), key=lambda row: row.added)
    chosen = [row for row in rows if row.added % step == 0][:most]
    return [(json.dumps(row.vector.tolist()),) for row in chosen]


def last_added(server, found):
    return [(max(row.added for row in server.tables[found[1]].rows.values()),)]


NAME = r'((?:"(?:[^"]|"")*"\.?)+)'
ANSWERS = [
    (r"^SELECT to_regclass", about),
    (rf"^CREATE TABLE {NAME} ", create),
    (rf"^COMMENT ON TABLE {NAME} IS '(.*)'$", comment),
    (rf"^INSERT INTO {NAME} ", insert),
    (rf"^DELETE FROM {NAME} ", delete),
    (rf"CROSS JOIN LATERAL .* FROM {NAME} ORDER", nearest),
    (rf"^CREATE INDEX ON {NAME} USING hnsw ", graph),
    (rf"^SELECT embedding::text FROM {NAME} ", sample),
    (rf"^SELECT max\(added\) FROM {NAME}$", last_added),
    (rf"^SELECT count\(\*\) FROM {NAME}$", lambda s, found: [(len(s.tables[found[1]].rows),)]),
    (r"amname = 'hnsw'", lambda s, _, name: [(1,)] if s.tables[name].graph else []),
    (r"FROM pg_available_extensions", lambda *_: [(1,)]),
    (r"^SELECT extversion", lambda *_: [("0.8.0",)]),
    (r"^(SET LOCAL|SELECT set_config|LOCK TABLE|ANALYZE|CREATE EXTENSION)", lambda *_: None),
    (r"^SELECT pg_advisory_xact_lock", lambda *_: [("",)]),
]
