"""Messages that no decoder could take, kept aside for a person: a bounded SQLite table, newest kept.

`Quarantine` is the daemon's side and runs in the writer thread. A row's key comes from the journal position, so a
replay writes the same row again and nothing doubles; the keys of rows that a person has removed are remembered, so that
a replay does not bring them back. The table is a convenience, not a promise: the count of quarantined messages is in
the ledger, and a quarantine that cannot be opened or written is counted here (`unkept`), tried again at the next
message, and stops nothing. Only a file whose content is wrong is moved aside; a disk that refuses says nothing about
the file.

`look` and `Editor` are the side of the tools, with or without a daemon. `look` changes no byte of any file. An editor
holds the file for a few rows at a time, so that the daemon's writer thread, which also commits the journal, never waits
long; the daemon in turn gives up after `BUSY_S`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from gateway.errors import StoreError
from gateway.process.pipeline import KEY_INDEX_BITS, QUARANTINED_BYTES_MAX
from gateway.process.topics import matches
from gateway.workers import outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gateway.model import Quarantined

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_NAME: Final = "quarantine.sqlite"
ROWS_MAX: Final = 10_000
BUSY_S: Final = 1.0
"""Longest wait of the daemon for a tool that is writing."""

_TOOL_BUSY_S: Final = 10.0
REMOVED_AT_ONCE: Final = 64
"""Messages that go in one transaction, of at most 64 KiB each: a few milliseconds."""
_TRIM_EVERY: Final = 256
_INSERT: Final = """
    insert or ignore into message (key, wall_ns, topic, route, reason, detail, payload, payload_bytes)
    select ?, ?, ?, ?, ?, ?, ?, ? where not exists (select 1 from removed where key = ? and wall_ns = ?)
"""
_MESSAGE: Final = """
    create table if not exists message (
        key integer primary key, wall_ns integer, topic text, route text, reason text, detail text, payload blob,
        payload_bytes integer
    )
"""
_REMOVED: Final = "create table if not exists removed (key integer primary key, wall_ns integer)"
_COLUMNS: Final = "key, cast(wall_ns as integer)," + ",".join(
    f"cast({name} as text)" for name in ("topic", "route", "reason", "detail")
)
_TRIM: Final = "delete from {0} where key <= (select key from {0} order by key desc limit 1 offset ?)"
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FAULTS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What a database raises; the second where text in a damaged one, also in SQLite's own message of it, is no UTF-8."""
_PRIMARY_CODE: Final = 0xFF  # SQLite's extended codes hold the plain one in their low byte


class Quarantine:
    """The table. A damaged file is moved aside and a new one begun."""

    def __init__(self, path: Path) -> None:
        self.counts = {"kept": 0, "unkept": 0, "evicted": 0}
        self._path = path
        self._untrimmed = _TRIM_EVERY
        self._fault = ""
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = self._opened()
        except (*_FAULTS, OSError) as error:
            self._note(error)

    def _opened(self) -> sqlite3.Connection:
        """Return the table ready for use; a damaged file is moved aside for it."""
        try:
            return _open(self._path, BUSY_S)
        except _FAULTS as error:
            if not _is_damage(error):
                raise
            aside = self._path.with_name(self._path.name + ".damaged")
            log.warning("the quarantine is damaged (%s), moved to %s", error, aside)
            self._path.replace(aside)
            return _open(self._path, BUSY_S)

    @property
    def next_position(self) -> int:
        """The journal's position after that of the newest message; 0 when there is none, or none can be read."""
        try:
            found = self._connection.execute("select max(key) from message") if self._connection else iter(())
            newest = next(found, (None,))[0]
        except _FAULTS as error:
            self._note(error)
            return 0
        return (newest >> KEY_INDEX_BITS) + 1 if isinstance(newest, int) else 0

    def keep(self, messages: Sequence[Quarantined]) -> None:
        """Store messages, in one transaction; evict the oldest past the bound."""
        rows = [_values(one) for one in messages]
        try:
            self._connection = self._connection or self._opened()
            with outside(), self._connection as connection:
                connection.executemany(_INSERT, rows)
                self._untrimmed += len(rows)
                if self._untrimmed >= _TRIM_EVERY:
                    self._trim(connection)
        except (*_FAULTS, OSError) as error:
            self.counts["unkept"] += len(rows)
            self._note(error)
        else:
            self.counts["kept"] += len(rows)
            self._fault = ""

    def _note(self, error: Exception) -> None:
        """Log why nothing can be kept, once for each reason: a flood of bad messages must not flood the log."""
        if str(error) != self._fault:
            log.warning("the quarantine cannot be written, messages are counted and not kept: %s", error)
        self._fault = str(error)

    def _trim(self, connection: sqlite3.Connection) -> None:
        connection.execute(_TRIM.format("removed"), (ROWS_MAX,))
        self.counts["evicted"] += connection.execute(_TRIM.format("message"), (ROWS_MAX,)).rowcount
        self._untrimmed = 0

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()


def _is_damage(error: Exception) -> bool:
    """Say whether the content of the file is wrong; Python gives no code where it could not read the text."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & _PRIMARY_CODE in _DAMAGE


def _values(one: Quarantined) -> tuple[object, ...]:
    size = len(one.payload) + one.cut_bytes
    row = (one.key, one.wall_ns, one.topic, one.route, one.reason, one.detail, one.payload, size)
    return (*row, one.key, one.wall_ns)


def _open(path: Path | str, busy_s: float) -> sqlite3.Connection:
    # Opened by the thread that starts the daemon, used by the writer thread alone. A transaction takes the lock at
    # once: one that began with reading could find itself overtaken, and fail however long it is ready to wait.
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level="IMMEDIATE", check_same_thread=False, uri=isinstance(path, str)
    )
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute(_MESSAGE)
        connection.execute(_REMOVED)
        if not _knows_sizes(connection):
            _add_sizes(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _knows_sizes(connection: sqlite3.Connection) -> bool:
    return any(name == "payload_bytes" for _, name, *_ in connection.execute("pragma table_info(message)"))


def _add_sizes(connection: sqlite3.Connection) -> None:
    """Bring an older file up to date: of a payload as long as the bound nobody knows whether it was cut."""
    connection.execute("begin immediate")
    with connection:
        connection.execute("alter table message add column payload_bytes integer")
        connection.execute(
            "update message set payload_bytes = length(payload) where length(payload) < ?", (QUARANTINED_BYTES_MAX,)
        )


class Kept(NamedTuple):
    """One message in quarantine without its payload, of which `kept_bytes` are there.

    `payload_bytes` is what it had when it came; None when an earlier version kept it and may have cut it.
    """

    key: int
    wall_ns: int
    topic: str
    route: str
    reason: str
    detail: str
    kept_bytes: int
    payload_bytes: int | None

    @property
    def is_whole(self) -> bool:
        """Whether all of the payload is there, for certain."""
        return self.kept_bytes == self.payload_bytes


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages are meant: all that fulfil everything that is set. `topic` is a topic filter."""

    keys: tuple[int, ...] = ()
    reason: str = ""
    topic: str = ""
    before_ns: int | None = None

    def condition(self) -> tuple[str, list[object]]:
        """Return the SQL of it, and its parameters."""
        terms, values = ["true"], list[object]()
        if self.keys:
            terms.append(f"key in ({','.join('?' * len(self.keys))})")
            values += self.keys
        if self.reason:
            terms.append("reason = ?")
            values.append(self.reason)
        if self.topic:
            terms.append("topic_matches(?, topic)")
            values.append(self.topic)
        if self.before_ns is not None:
            terms.append("wall_ns < ?")
            values.append(self.before_ns)
        return " and ".join(terms), values


def select(connection: sqlite3.Connection, selection: Selection, limit: int = -1) -> list[Kept]:
    """Return the newest `limit` of the messages that are selected, oldest first."""
    size = "payload_bytes" if _knows_sizes(connection) else "null"
    condition, values = selection.condition()
    rows = connection.execute(
        f"select {_COLUMNS}, length(cast(payload as blob)), {size} from message"  # noqa: S608  # ours
        f" where {condition} order by key desc limit ?",
        [*values, limit],
    )
    return [Kept(*row) for row in rows][::-1]


def reasons(connection: sqlite3.Connection, selection: Selection) -> dict[str, int]:
    """Return reason → number of the messages that are selected, the most frequent first."""
    condition, values = selection.condition()
    sentence = f"select reason, count(*) from message where {condition} group by reason order by 2 desc, 1"  # noqa: S608  # ours
    return dict(connection.execute(sentence, values).fetchall())


def payload(connection: sqlite3.Connection, key: int) -> bytes | None:
    """Return what is kept of a payload; None when the message is not there (any more)."""
    row = connection.execute("select cast(payload as blob) from message where key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def look(path: Path, question: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `question` reads from the file at `path`, changing nothing on the disk. Raises `StoreError`."""
    at_rest = _is_at_rest(path)
    with _reported(path):
        answer = _asked(path, "mode=ro&immutable=1" if at_rest else _shared(path), question)
        if at_rest and not _is_at_rest(path):  # a daemon has begun meanwhile, and may have changed what was read
            answer = _asked(path, _shared(path), question)
    return answer


def _is_at_rest(path: Path) -> bool:
    return not path.with_name(path.name + "-wal").exists()


def _shared(path: Path) -> str:
    # SQLite must find, and would rewrite, the index of a log that a crash left; where there is none it makes one.
    return "mode=ro&readonly_shm=1" if path.with_name(path.name + "-shm").exists() else "mode=ro"


def _asked(path: Path, how: str, question: Callable[[sqlite3.Connection], T]) -> T:
    uri = f"{path.absolute().as_uri()}?{how}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_TOOL_BUSY_S)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")  # of a damaged file, as far as it goes
        connection.create_function("topic_matches", 2, matches, deterministic=True)
        return question(connection)


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        hints = {
            sqlite3.SQLITE_BUSY: "the gateway is writing to it: try again",
            sqlite3.SQLITE_READONLY: "run it as the gateway's user",
            sqlite3.SQLITE_CANTOPEN: "run it as the gateway's user; a copy needs a folder that can be written",
        }
        hint = hints.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE, "")
        if _is_damage(error):
            hint = "the gateway moves a damaged file aside at its next start"
        raise StoreError(f"the quarantine {path} cannot be used: {error}", hint=hint, path=path) from error


class Editor:
    """The table as a tool changes it, whether a daemon runs or not. Every method raises `StoreError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reported(path):
            self._connection = _open(f"{path.absolute().as_uri()}?mode=rw", _TOOL_BUSY_S)
        self._connection.create_function("topic_matches", 2, matches, deterministic=True)

    def select(self, selection: Selection) -> list[Kept]:
        """Return the messages that are selected, oldest first."""
        with _reported(self._path):
            return select(self._connection, selection)

    def payload(self, key: int) -> bytes | None:
        """Return what is kept of a payload; None when the message is not there any more."""
        with _reported(self._path):
            return payload(self._connection, key)

    def remove(self, keys: Sequence[int]) -> int:
        """Remove messages for ever, a few in each transaction; return how many of them were still there."""
        removed = 0
        for start in range(0, len(keys), REMOVED_AT_ONCE):
            some = [(key,) for key in keys[start : start + REMOVED_AT_ONCE]]
            with _reported(self._path), self._connection as connection:
                remember = "insert or replace into removed select key, wall_ns from message where key = ?"
                connection.executemany(remember, some)
                removed += connection.executemany("delete from message where key = ?", some).rowcount
        return removed

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
