"""The store of receivers that share a PostgreSQL: the same tables as in SQLite, in a schema of their own.

Several receivers may use one database: a transaction first takes a lock for each node it is about, in one order, so
that what it reads of a node stays true until it commits. Everything else is appended, or belongs to one receiver.

A connection that breaks is made anew for the next transaction. When it breaks during a commit nobody knows whether that
happened: the group comes again, and the watermarks tell.

A server that would forget what it has committed (`fsync = off`) is refused, and `synchronous_commit` is turned on.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from gateway.errors import StoreError
from gateway.region.store import SCHEMA_VERSION, TABLES, Store, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.config import schema
    from gateway.region.reconcile import Report

CONNECT_S: Final = 10
_SETTINGS: Final[dict[str, Any]] = {
    "application_name": "edge-region",
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
    "options": "-c statement_timeout=60s -c lock_timeout=60s -c idle_in_transaction_session_timeout=60s"
    " -c timezone=UTC -c client_encoding=UTF8",
}
_LOCK: Final = 0x65646765
"""The first half of our advisory locks, "edge"; the second is a hash of the node, 0 is the schema."""
_HINT: Final = "nothing is acknowledged meanwhile, and it is tried again"
_WORDS: Final = (
    (re.compile(r"INTEGER PRIMARY KEY( AUTOINCREMENT)?"), "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r" WITHOUT ROWID\b"), ""),
)


class Session:
    """A connection that takes SQL as SQLite writes it; see `store.Database`. Its own things are in `connection`."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement."""
        return self.connection.execute(_written(statement), parameters)

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each of many."""
        with self.connection.cursor() as cursor:
            cursor.executemany(_written(statement), parameters)


class PostgresqlStore(Store):
    """The store; connects when it is first used, and again when the connection has broken."""

    def __init__(self, options: schema.Postgresql) -> None:
        self._options = options
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commit what is done inside, durably, or nothing of it. Raises `StoreError`."""
        try:
            connection = self._connected()
            with connection.transaction():
                self._db = Session(connection)
                yield self._db
        except psycopg.Error as error:
            self._forget()
            raise StoreError(f"PostgreSQL: {_said(error)}", hint=_HINT) from error
        except StoreError:
            raise
        except BaseException:
            self._forget()  # nobody knows what the connection is in the middle of
            raise

    def claim(self, nodes: Iterable[str]) -> None:
        """Lock the nodes until the transaction ends, in one order, so that nobody waits in a circle."""
        for node in sorted(nodes):
            self._db.execute("SELECT pg_advisory_xact_lock(?, hashtext(?))", (_LOCK, node))

    def close(self) -> None:
        """Close the connection."""
        self._forget()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = _connect(self._options)
            with self._connection.transaction():
                _prepare(self._connection, self._options.schema)
        return self._connection

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()


def report(options: schema.Postgresql) -> Report:
    """Read the store and reconcile every lane. Raises `StoreError` when it cannot be read."""
    try:
        with _connect(options) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return read_report(Session(connection))
    except psycopg.Error as error:
        hint = "has `gateway region run` ever run with this configuration?"
        raise StoreError(f"PostgreSQL: {_said(error)}", hint=hint) from error


def _connect(options: schema.Postgresql) -> psycopg.Connection[tuple[Any, ...]]:
    secret: dict[str, Any] = {}
    if options.password_file:
        try:
            secret["password"] = Path(options.password_file).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read {options.password_file}: {error}", path=options.password_file) from error
    connection = psycopg.connect(options.connect, **_SETTINGS, **secret)
    path = sql.SQL("SET search_path TO {}").format(sql.Identifier(options.schema))
    connection.execute(path)
    connection.commit()
    return connection


def _prepare(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> None:
    """Refuse a server that forgets, and make what is missing; receivers that start together do so in turn."""
    session = Session(connection)
    if session.execute("SHOW fsync").fetchone() == ("off",):
        raise StoreError("PostgreSQL runs with fsync = off, so what it commits may be lost", hint="turn fsync on")
    if session.execute("SHOW synchronous_commit").fetchone() == ("off",):
        connection.execute("SET synchronous_commit TO on")
    session.execute("SELECT pg_advisory_xact_lock(?, 0)", (_LOCK,))
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    session.execute("CREATE TABLE IF NOT EXISTS version (version INTEGER NOT NULL)")
    found = session.execute("SELECT version FROM version").fetchone()
    if found is None:
        session.execute("INSERT INTO version VALUES (?)", (SCHEMA_VERSION,))
    elif found[0] != SCHEMA_VERSION:
        raise StoreError(
            f"the schema {name} has version {found[0]}, this program knows {SCHEMA_VERSION}",
            hint="run the version of the gateway that made it, or a newer one",
        )
    for statement in filter(None, map(str.strip, TABLES.split(";"))):
        session.execute(statement)


def _written(statement: str) -> bytes:
    """Return a statement in PostgreSQL's words."""
    if statement.startswith("CREATE TABLE"):
        for pattern, word in _WORDS:
            statement = pattern.sub(word, statement)
    return statement.replace("?", "%s").encode()


def _said(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
