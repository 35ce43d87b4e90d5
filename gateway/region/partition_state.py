"""What a receiver knows of the nodes of one partition, in memory, and kept as records of a compacted topic.

The tables are those of every store (`gateway.region.store`). Triggers note which rows a transaction has touched, so
nothing can change without becoming a record: key and value are JSON, a row that is gone becomes a record without value.
Rows of a lane are named by node, lane and epoch, since their numbers are this process's own.

    ["watermark","press-7","telemetry",3]   the lane's counts
    ["run", …, first]  ["loss", …, first]   what is accounted for, and what was declared lost
    ["hash", …, slot]                       the content of a batch
    ["count", name]                         what was not taken
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from gateway.errors import StoreError
from gateway.region.store import DEAD_LETTER_BYTES_MAX, TABLES, Store, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.region.reconcile import Report

_OF_LANES: Final = {"run": "first", "loss": "first", "hash": "slot"}
"""Tables with rows of a lane, and the column that tells its rows apart."""
_LANE_COLUMNS: Final = (
    "watermark, batches, received, lost, duplicates, forks, ledger, ledger_sequence, seen_ns"  # in this order
)
_COLUMNS: Final = {
    "run": "last, before, after",
    "loss": "last, before, after, reason",
    "hash": "sequence, hex(hash)",
}


def _triggers() -> Iterator[str]:
    keys = {"watermark": ("id", "0"), "count": ("0", "name")}
    keys |= {table: ("watermark_id", column) for table, column in _OF_LANES.items()}
    yield "CREATE TABLE changed (of TEXT, lane INTEGER, row, PRIMARY KEY (of, lane, row)) WITHOUT ROWID;"
    for table, columns in keys.items():
        for event, side in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            lane, row = (column if column == "0" else f"{side}.{column}" for column in columns)
            noted = f"INSERT INTO changed VALUES ('{table}', {lane}, {row}) ON CONFLICT DO NOTHING"  # noqa: S608  # our own words
            yield f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN {noted}; END;"


_SCHEMA: Final = TABLES + "".join(_triggers())


class Buried(NamedTuple):
    """What was not taken, and why."""

    topic: str
    reason: str
    detail: str
    payload: bytes


class PartitionState(Store):
    """The state. Whoever makes its changes durable does that before it takes the next messages."""

    _db: sqlite3.Connection

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self._buried: list[Buried] = []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Keep what is done inside, or nothing of it."""
        buried = len(self._buried)
        try:
            self._db.execute("BEGIN")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the state of a partition cannot be changed: {error}") from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
                del self._buried[buried:]

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def bury(self, wall_ns: int, topic: str, reason: str, detail: str, payload: bytes) -> None:
        """Count what cannot be taken, and keep it until `buried` is asked for."""
        del wall_ns
        self.count(f"rejected.{reason}")
        self._buried.append(Buried(topic, reason, detail, payload[:DEAD_LETTER_BYTES_MAX]))

    def buried(self) -> list[Buried]:
        """Return what was not taken since the last time."""
        found, self._buried = self._buried, []
        return found

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Return key and value of all records that have changed since the last time."""
        made = []
        for table, lane, row in self._db.execute("SELECT of, lane, row FROM changed").fetchall():
            key = self._key(table, lane, row)
            if key is not None:
                values = self._row(table, lane, row)
                made.append((_json(key), None if values is None else _json(values)))
        self._db.execute("DELETE FROM changed")
        return made

    def restore(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Know again what these records say, oldest first. Raises `StoreError` for records that are not ours."""
        newest = dict(records)
        try:
            parts = {tuple(msgspec.json.decode(key)): value for key, value in newest.items() if value is not None}
            with self.transaction():
                self._restore({key: msgspec.json.decode(value) for key, value in parts.items()})
                self._db.execute("DELETE FROM changed")
        except (msgspec.DecodeError, ValueError, TypeError, KeyError, IndexError) as error:
            hint = "name a topic that nobody else writes to as state_topic"
            raise StoreError(f"the state topic holds what is no state of ours: {error}", hint=hint) from error

    def report(self) -> Report:
        """Reconcile every lane."""
        return read_report(self._db)

    def _key(self, table: str, lane: int, row: object) -> list[object] | None:
        if table == "count":
            return [table, row]
        named = self._db.execute("SELECT node, lane, epoch FROM watermark WHERE id = ?", (lane,)).fetchone()
        if named is None:
            return None
        return [table, *named] if table == "watermark" else [table, *named, row]

    def _row(self, table: str, lane: int, row: object) -> tuple[object, ...] | None:
        if table == "count":
            found = self._db.execute("SELECT number FROM count WHERE name = ?", (row,))
        elif table == "watermark":
            found = self._db.execute(f"SELECT {_LANE_COLUMNS} FROM watermark WHERE id = ?", (lane,))  # noqa: S608  # our own words
        else:
            query = f"SELECT {_COLUMNS[table]} FROM {table} WHERE watermark_id = ? AND {_OF_LANES[table]} = ?"  # noqa: S608  # as above
            found = self._db.execute(query, (lane, row))
        values: tuple[object, ...] | None = found.fetchone()
        return values

    def _restore(self, rows: Mapping[tuple[Any, ...], list[Any]]) -> None:
        lanes: dict[tuple[str, str, int], int] = {}
        for key, values in rows.items():
            if key[0] == "watermark":
                marks = ", ".join("?" * (3 + len(values)))
                query = f"INSERT INTO watermark (node, lane, epoch, {_LANE_COLUMNS}) VALUES ({marks}) RETURNING id"  # noqa: S608  # our own words
                node, lane, epoch = key[1:]
                lanes[node, lane, epoch] = self._db.execute(query, (node, lane, epoch, *values)).fetchone()[0]
        for (table, *named), values in rows.items():
            if table == "count":
                self._db.execute("INSERT INTO count VALUES (?, ?)", (*named, *values))
            elif table != "watermark":
                number, row = lanes[named[0], named[1], named[2]], named[3]
                columns = [bytes.fromhex(values[1])] if table == "hash" else values[1:]
                marks = ", ".join("?" * (3 + len(columns)))
                self._db.execute(f"INSERT INTO {_known(table)} VALUES ({marks})", (number, row, values[0], *columns))  # noqa: S608  # as above


def _known(table: str) -> str:
    if table not in _OF_LANES:
        raise ValueError(f"a record of the kind {table!r}")
    return table


def _json(parts: object) -> bytes:
    return msgspec.json.encode(parts)
