"""Messages that no decoder could take, kept aside for a person: a bounded SQLite table, newest kept.

Runs in the writer thread. A row's key comes from the journal position, so a replay writes the same row again and
nothing doubles. The table is a convenience, not a promise: the count of quarantined messages is in the ledger, and a
quarantine that cannot be written is counted here (`unkept`) and stops nothing.
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


class Quarantine:
    """The table. A damaged file is moved aside and a new one begun."""

    def __init__(self, path: Path) -> None:
        self.counts = {"kept": 0, "unkept": 0, "evicted": 0}
        self._untrimmed = _TRIM_EVERY
        try:
            self._database = self._open(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_name(path.name + ".damaged")
            log.warning("the quarantine is damaged (%s), moved to %s", error, aside)
            path.replace(aside)
            self._database = self._open(path)

    @staticmethod
    def _open(path: Path) -> sqlite_utils.Database:
        # Opened by the thread that starts the daemon, used by the writer thread alone.
        connection = sqlite3.connect(path, check_same_thread=False)
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
        return database

    def keep(self, messages: Sequence[Quarantined]) -> None:
        """Store messages, in one transaction; evict the oldest past the bound."""
        rows = [(one.key, one.wall_ns, one.topic, one.route, one.reason, one.detail, one.payload) for one in messages]
        try:
            with self._database.conn:
                self._database.conn.executemany(_INSERT, rows)
                self._untrimmed += len(rows)
                if self._untrimmed >= _TRIM_EVERY:
                    self._trim()
        except sqlite3.Error as error:
            self.counts["unkept"] += len(rows)
            log.warning("cannot keep %d messages in quarantine: %s", len(rows), error)
        else:
            self.counts["kept"] += len(rows)

    def _trim(self) -> None:
        cursor = self._database.conn.execute(
            "delete from message where key <= (select key from message order by key desc limit 1 offset ?)",
            (ROWS_MAX,),
        )
        self.counts["evicted"] += cursor.rowcount
        self._untrimmed = 0

    def close(self) -> None:
        """Close the file."""
        self._database.conn.close()
