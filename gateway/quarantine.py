"""Messages that no decoder could take, kept aside for a person: a bounded SQLite table, newest kept.

Runs in the writer thread. A row's key comes from the journal position, so a replay writes the same row again and
nothing doubles. The table is a convenience, not a promise: the count of quarantined messages is in the ledger, and a
quarantine that cannot be opened or written is counted here (`unkept`), tried again at the next message, and stops
nothing. Only a file whose content is wrong is moved aside; a disk that refuses says nothing about the file.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Final

import sqlite_utils

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.model import Quarantined

log = logging.getLogger(__name__)

ROWS_MAX: Final = 10_000
_TRIM_EVERY: Final = 256
_INSERT: Final = (
    "insert or ignore into message (key, wall_ns, topic, route, reason, detail, payload) values (?,?,?,?,?,?,?)"
)
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE: Final = 0xFF  # SQLite's extended codes hold the plain one in their low byte


class Quarantine:
    """The table. A damaged file is moved aside and a new one begun."""

    def __init__(self, path: Path) -> None:
        self.counts = {"kept": 0, "unkept": 0, "evicted": 0}
        self._path = path
        self._untrimmed = _TRIM_EVERY
        self._fault = ""
        self._database: sqlite_utils.Database | None = None
        try:
            self._database = self._opened()
        except (sqlite3.Error, OSError) as error:
            self._note(error)

    def _opened(self) -> sqlite_utils.Database:
        """Return the table ready for use; a damaged file is moved aside for it."""
        try:
            return _open(self._path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE not in _DAMAGE:
                raise
            aside = self._path.with_name(self._path.name + ".damaged")
            log.warning("the quarantine is damaged (%s), moved to %s", error, aside)
            self._path.replace(aside)
            return _open(self._path)

    def keep(self, messages: Sequence[Quarantined]) -> None:
        """Store messages, in one transaction; evict the oldest past the bound."""
        rows = [(one.key, one.wall_ns, one.topic, one.route, one.reason, one.detail, one.payload) for one in messages]
        try:
            self._database = self._database or self._opened()
            with self._database.conn as connection:
                connection.executemany(_INSERT, rows)
                self._untrimmed += len(rows)
                if self._untrimmed >= _TRIM_EVERY:
                    self._trim(connection)
        except (sqlite3.Error, OSError) as error:
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
        cursor = connection.execute(
            "delete from message where key <= (select key from message order by key desc limit 1 offset ?)",
            (ROWS_MAX,),
        )
        self.counts["evicted"] += cursor.rowcount
        self._untrimmed = 0

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.conn.close()


def _open(path: Path) -> sqlite_utils.Database:
    # Opened by the thread that starts the daemon, used by the writer thread alone.
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        database = sqlite_utils.Database(connection)
        database.enable_wal()
        connection.execute("pragma synchronous = normal")
        columns = {
            "key": int,
            "wall_ns": int,
            "topic": str,
            "route": str,
            "reason": str,
            "detail": str,
            "payload": bytes,
        }
        database.table("message").create(columns, pk="key", if_not_exists=True)
    except BaseException:
        connection.close()
        raise
    return database
