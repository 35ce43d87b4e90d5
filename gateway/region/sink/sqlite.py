"""A table of readings beside the watermarks, in one transaction with them.

    reading (id, node, topic, field, time_ns, value, is_bool)

`value` keeps its own type: integer, real, text or blob. SQLite has no booleans, so `is_bool` is 1 where 0 and 1 mean
false and true; NaN, which no node of ours sends, becomes NULL. The table is in order of receipt and has no index but
its row id: who asks by series and time adds one (`CREATE INDEX … ON reading (topic, field, time_ns)`), and pays for it
on each insert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.region.sink import batches

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from gateway.batch.decode import DecodedBatch
    from gateway.model import Value
    from gateway.region.sink import Taken

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS reading (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, topic TEXT NOT NULL, field TEXT NOT NULL,
    time_ns INTEGER NOT NULL, value, is_bool INTEGER NOT NULL)
"""
_INSERT: Final = "INSERT INTO reading (node, topic, field, time_ns, value, is_bool) VALUES (?, ?, ?, ?, ?, ?)"


class SqliteSink:
    """Writes through the transaction it is given, so there is nothing to sync or to undo."""

    def prepare(self, transaction: sqlite3.Connection) -> None:
        """Make the table where it is missing."""
        transaction.execute(_TABLE)

    def write(self, transaction: sqlite3.Connection, taken: Sequence[Taken]) -> None:
        """Insert every reading."""
        for batch in batches(taken):
            transaction.executemany(_INSERT, _rows(batch))

    def sync(self) -> None:
        """Do nothing: the commit does it."""

    def close(self) -> None:
        """Do nothing: the file is the watermarks'."""


def _rows(batch: DecodedBatch) -> Iterator[tuple[str, str, str, int, Value, bool]]:
    node = batch.header.id.node
    for topic, field, times_ns, values in batch.columns():
        is_bool = isinstance(values[0], bool)
        for time_ns, value in zip(times_ns, values, strict=True):
            yield node, topic, field, time_ns, value, is_bool
