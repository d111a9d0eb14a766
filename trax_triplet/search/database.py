"""PostgreSQL through psycopg: addresses without passwords, names of tables, errors in words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trax_triplet import _validation as check

__all__ = [
    "MAX_ID_BYTES",
    "Run",
    "about",
    "check_texts",
    "connect",
    "identifier",
    "in_words",
    "is_address",
    "need_pgvector",
    "runner",
    "set_about",
]

MAX_ID_BYTES = 2000  # PostgreSQL's index of ids takes little more
FORMAT = "trax-triplet index 1"
Run = Callable[..., list[Any]]
_SCHEMES = ("postgresql://", "postgres://")
_KEYS: dict[str, type | tuple[type, ...]] = {
    "model_sha256": (str, type(None)),
    "dimensions": int,
    "has_texts": bool,
    "effort": int,
    "recall": float,
}


def is_address(text: str) -> bool:
    """Whether it is the address of a database, rather than the path of a folder.

    Example:
        >>> is_address("postgresql://me@db/faq"), is_address("idx")
        (True, False)
    """
    return text.startswith(_SCHEMES)


def connect(name: str, address: str) -> tuple[Any, str]:
    """A connection that commits what is in no transaction, and its address without the password.

    Args:
        name: of the argument.
        address: of a database.

    Raises:
        TypeError, ValueError: not an address of a database.
        ImportError: psycopg is not installed.
        ConnectionError: nobody answers, or not to this user.
    """
    if not isinstance(address, str):
        raise check.wrong_type(name, "the address of a database", address)
    expected = (  # not what came, as there may be a password in it
        f"{name} must be the address of a database, such as postgresql://user@host:5432/database, "
        "with special characters percent-encoded, but it cannot be read"
    )
    if not is_address(address):
        raise ValueError(expected)
    psycopg = _psycopg()
    try:
        parts = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise ValueError(expected) from None  # the original message shows it all
    user, host = parts.get("user"), parts.get("host", "")
    port = f":{parts['port']}" if "port" in parts else ""
    shown = f"postgresql://{user + '@' if user else ''}{host}{port}/{parts.get('dbname', '')}"
    with in_words(shown, parts.get("password")):
        return psycopg.connect(address, autocommit=True), shown


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.sql
    except ImportError as error:
        raise ImportError(
            f"an index in PostgreSQL needs psycopg ({error}): pip install 'trax-triplet[postgres]'"
        ) from None
    return psycopg


@contextlib.contextmanager
def in_words(address: str, password: Any = None) -> Iterator[None]:
    """Context: what the server refuses becomes an error of Python's, without the password.

    Raises:
        PermissionError: the user must not do this.
        ConnectionError: the server does not answer, or ended the work.
        ValueError: what the server does not store; a table that is gone.
    """
    psycopg = _psycopg()

    def text(error: Exception) -> str:
        said = " ".join(str(error).split())
        return f"{address}: {said.replace(str(password), '***') if password else said}"

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise PermissionError(text(error)) from None
    except psycopg.OperationalError as error:
        raise ConnectionError(text(error)) from None
    except (psycopg.DataError, psycopg.errors.UndefinedTable) as error:
        raise ValueError(text(error)) from None


def identifier(table: str) -> Any:
    """The name of a table as a part of SQL, quoted by psycopg.

    Raises:
        TypeError: not a string.
        ValueError: no name, or one that PostgreSQL would cut.
        ImportError: psycopg is not installed.
    """
    if not isinstance(table, str):
        raise check.wrong_type("table", "a string", table)
    parts = table.split(".")
    is_name = all(0 < len(part.encode("utf-8", "replace")) < 64 for part in parts)
    if len(parts) > 2 or not is_name or not _storable(table):
        raise check.wrong_value(
            "table", "a name, or schema.name, of at most 63 bytes each, without NUL", table
        )
    return _psycopg().sql.Identifier(*parts)


def runner(connection: Any, table: str) -> Run:
    """A function that runs SQL with values; `{table}` in it is the table's quoted name."""
    sql = _psycopg().sql
    quoted = identifier(table)

    def run(query: str, values: Sequence[Any] | None = None, **parts: Any) -> list[Any]:
        composed = sql.SQL(query).format(table=quoted, **parts)
        cursor = connection.execute(composed, values)
        return cursor.fetchall() if cursor.description else []

    return run


def about(run: Run, table: str, quoted: str) -> dict[str, Any] | None:
    """What the comment of an index's table says; None where there is no such table.

    Raises:
        FileExistsError: the table is not an index.
    """
    [(oid, comment)] = run(
        "SELECT to_regclass(%s)::oid, obj_description(to_regclass(%s)::oid, 'pg_class')",
        [quoted, quoted],
    )
    if oid is None:
        return None
    try:
        found = json.loads(comment or "{}")
    except (ValueError, RecursionError):
        found = {}
    is_ours = isinstance(found, dict) and found.get("format") == FORMAT
    # Anybody who may change the table may write such a comment.
    if not is_ours or not all(isinstance(found.get(key), kind) for key, kind in _KEYS.items()):
        raise FileExistsError(
            f"the table {table} is there, but is not an index of this format; name another table"
        )
    return {key: found[key] for key in _KEYS}


def set_about(run: Run, found: dict[str, Any]) -> None:
    """Writes the table's comment."""
    comment = json.dumps({"format": FORMAT, **found})
    run("COMMENT ON TABLE {table} IS {comment}", comment=_psycopg().sql.Literal(comment))


def need_pgvector(run: Run) -> None:
    """The extension, made if the server has it.

    Raises:
        ValueError: it has not, or an old one.
    """
    if not run("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
        raise ValueError("the server has no pgvector; install the extension there (0.8 or later)")
    run("CREATE EXTENSION IF NOT EXISTS vector")
    [(version,)] = run("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise ValueError(f"the database has pgvector {version}; ALTER EXTENSION vector UPDATE")


def check_texts(name: str, texts: Sequence[str], most: int | None = None) -> None:
    """Nothing, if PostgreSQL stores these texts.

    Args:
        name: of the argument.
        texts: strings.
        most: bytes of each.

    Raises:
        ValueError: a text that it does not store, or a longer one.
    """
    for place, text in enumerate(texts):
        if not _storable(text):
            raise check.wrong_value(
                f"{name}[{place}]", "text without NUL characters and lone surrogates", text
            )
        if most is not None and len(text.encode()) > most:
            raise check.wrong_value(f"{name}[{place}]", f"at most {most} bytes", text)


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
