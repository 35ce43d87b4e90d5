"""What the receiver knows, in a database: watermarks, runs, losses, content hashes, counts, dead letters, outboxes.

A sink that writes into the same database does so in the same transaction, so a reading and the watermark that says it
is there become durable together or not at all. Nothing is cached between transactions: each loads the lanes that it
touches, so a failed one leaves nothing to undo in memory.

Everything is bounded: hashes by slot (sequence modulo `HASHES_MAX`), losses and dead letters to the newest, lanes per
node by `LANES_MAX`; counts outlive what they counted.

The SQL here is what SQLite and PostgreSQL both take; a kind of database says how it is opened and what a transaction
is (`gateway.region.watermarks`, `gateway.region.postgresql`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from gateway.region.receiver import Lane, Loss, Run
from gateway.region.reconcile import LaneReport, Report, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from gateway.model import Ledger

Found = TypeVar("Found")

SCHEMA_VERSION: Final = 1
HASHES_MAX: Final = 1024
LOSSES_MAX: Final = 10_000
LANES_MAX: Final = 1_000
DEAD_LETTERS_MAX: Final = 1_000
DEAD_LETTER_BYTES_MAX: Final = 1024 * 1024
DEAD_LETTERS_SHOWN_MAX: Final = 20

TABLES: Final = """
CREATE TABLE IF NOT EXISTS watermark (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    batches INTEGER NOT NULL, received INTEGER NOT NULL, lost TEXT NOT NULL,
    duplicates INTEGER NOT NULL, forks INTEGER NOT NULL,
    ledger TEXT NOT NULL, ledger_sequence INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
    UNIQUE (node, lane, epoch));
CREATE TABLE IF NOT EXISTS run (
    watermark_id INTEGER, first INTEGER, last INTEGER NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL,
    PRIMARY KEY (watermark_id, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS loss (
    watermark_id INTEGER, first INTEGER, last INTEGER NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (watermark_id, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hash (
    watermark_id INTEGER, slot INTEGER, sequence INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (watermark_id, slot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS count (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, wall_ns INTEGER NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, bytes INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS redrive (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, forward TEXT NOT NULL, envelope BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_order ON outbox (forward, id);
CREATE TABLE IF NOT EXISTS outbox_size (
    forward TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
"""
"""In SQLite's words; ends in a semicolon."""


class Database(Protocol):
    """A connection, as far as it is used here; parameters are written `?`."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any:  # noqa: ANN401  # a cursor
        """Run one statement and return its rows: `fetchone`, `fetchall`, and it is iterable."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:  # noqa: ANN401  # a cursor
        """Run one statement for each of many."""


class Entry:
    """A lane inside a transaction: its state, what it was when loaded, and its row (0 while it has none)."""

    __slots__ = ("id", "lane", "ledger", "ledger_sequence", "runs_loaded", "seen_ns")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.id = 0
        self.ledger: Ledger = {}
        self.ledger_sequence = 0
        self.seen_ns = 0
        self.runs_loaded = list(lane.runs)


class Store:
    """The store. `transaction` is for one thread at a time; the methods below need one open."""

    _db: Database

    def transaction(self) -> AbstractContextManager[Database]:
        """Commit what is done inside, durably, or nothing of it; the database's errors become `StoreError`."""
        raise NotImplementedError

    def within(self, work: Callable[..., Found], *arguments: object) -> Found:
        """Return what `work(transaction, *arguments)` returns, in a transaction of its own."""
        with self.transaction() as transaction:
            return work(transaction, *arguments)

    def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError

    def claim(self, nodes: Iterable[str]) -> None:
        """Keep other receivers of the same database away from these nodes until the transaction ends."""

    def load(self, node: str, name: str, epoch: int) -> Entry | None:
        """Return the lane as it was last saved, or a new one; None when the node has too many."""
        row = self._db.execute(
            f"{_SELECT_LANES} WHERE node = ? AND lane = ? AND epoch = ?", (node, name, epoch)
        ).fetchone()
        if row is not None:
            return _entry(self._db, row)
        lanes = self._db.execute("SELECT count(*) FROM watermark WHERE node = ?", (node,)).fetchone()[0]
        return None if lanes >= LANES_MAX else Entry(Lane(node, name, epoch, *_around(self._db, node, name, epoch)))

    def save(self, entry: Entry) -> None:
        """Write the lane."""
        lane = entry.lane
        counts = (lane.watermark, lane.batches, lane.received, _json(lane.lost), lane.duplicates, lane.forks)
        number = self._identify(entry)
        self._db.execute(
            "UPDATE watermark SET watermark = ?, batches = ?, received = ?, lost = ?, duplicates = ?,"
            " forks = ?, ledger = ?, ledger_sequence = ?, seen_ns = ? WHERE id = ?",
            (*counts, _json(entry.ledger), entry.ledger_sequence, entry.seen_ns, number),
        )
        old, new = set(entry.runs_loaded), set(lane.runs)
        self._db.executemany(
            "DELETE FROM run WHERE watermark_id = ? AND first = ?", ((number, run.first) for run in old - new)
        )
        self._db.executemany("INSERT INTO run VALUES (?, ?, ?, ?, ?)", ((number, *run) for run in new - old))
        entry.runs_loaded = list(lane.runs)

    def _identify(self, entry: Entry) -> int:
        if not entry.id:
            lane = entry.lane
            entry.id = self._db.execute(
                "INSERT INTO watermark (node, lane, epoch, watermark, batches, received, lost, duplicates,"
                " forks, ledger, ledger_sequence, seen_ns) VALUES (?, ?, ?, 0, 0, 0, '{}', 0, 0, '{}', 0, 0)"
                " RETURNING id",
                (lane.node, lane.name, lane.epoch),
            ).fetchone()[0]
        return entry.id

    def held(self, entry: Entry, sequence: int) -> bytes | Loss | None:
        """Return what is kept under a known sequence, see `receiver.decide`."""
        row = self._db.execute(
            "SELECT hash FROM hash WHERE watermark_id = ? AND slot = ? AND sequence = ?",
            (entry.id, sequence % HASHES_MAX, sequence),
        ).fetchone()
        if row is not None:
            return bytes(row[0])
        loss = self._db.execute(
            "SELECT first, last, before, after, reason FROM loss WHERE watermark_id = ? AND first <= ?"
            " ORDER BY first DESC LIMIT 1",
            (entry.id, sequence),
        ).fetchone()
        return Loss(Run(*loss[:4]), loss[4]) if loss is not None and sequence <= loss[1] else None

    def keep_hash(self, entry: Entry, sequence: int, content_hash: bytes) -> None:
        """Remember the content of a batch that is written."""
        row = (self._identify(entry), sequence % HASHES_MAX, sequence, content_hash)
        self._db.execute(
            "INSERT INTO hash VALUES (?, ?, ?, ?) ON CONFLICT (watermark_id, slot)"
            " DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
            row,
        )

    def replace_loss(self, entry: Entry, old: Loss | None, new: list[Loss]) -> None:
        """Put `new` losses in the place of `old`, and forget the oldest past the bound."""
        number = self._identify(entry)
        if old is not None:
            self._db.execute("DELETE FROM loss WHERE watermark_id = ? AND first = ?", (number, old.run.first))
        rows = ((number, *loss.run, loss.reason) for loss in new)
        self._db.executemany("INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._db.execute(
            "DELETE FROM loss WHERE watermark_id = ? AND first <="
            " (SELECT first FROM loss WHERE watermark_id = ? ORDER BY first DESC LIMIT 1 OFFSET ?)",
            (number, number, LOSSES_MAX),
        )

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self._db.execute(
            "INSERT INTO count VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET number = count.number + excluded.number",
            (name, number),
        )

    def bury(self, wall_ns: int, topic: str, reason: str, detail: str, payload: bytes) -> None:
        """Count what cannot be taken and keep the newest of it, cut, for a person."""
        self.count(f"rejected.{reason}")
        row = (wall_ns, _text(topic), reason, _text(detail), len(payload), payload[:DEAD_LETTER_BYTES_MAX])
        self._db.execute(
            "INSERT INTO dead_letter (wall_ns, topic, reason, detail, bytes, payload) VALUES (?, ?, ?, ?, ?, ?)", row
        )
        # Not by number: a transaction that is rolled back may use numbers up.
        self._db.execute(
            "DELETE FROM dead_letter WHERE id <= (SELECT id FROM dead_letter ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (DEAD_LETTERS_MAX,),
        )


_SELECT_LANES: Final = (
    "SELECT id, node, lane, epoch, batches, received, lost, duplicates, forks,"
    " ledger, ledger_sequence, seen_ns FROM watermark"
)


def read_report(db: Database) -> Report:
    """Read everything and reconcile every lane. Needs a transaction that sees one state."""
    newest = {
        (node, lane): epoch
        for node, lane, epoch in db.execute("SELECT node, lane, max(epoch) FROM watermark GROUP BY node, lane")
    }
    rows = db.execute(f"{_SELECT_LANES} ORDER BY node, lane, epoch").fetchall()
    lanes = [_report(_entry(db, row), newest[row[1], row[2]]) for row in rows]
    counts = db.execute("SELECT substr(name, 10), number FROM count WHERE substr(name, 1, 9) = 'rejected.'")
    letters = db.execute(
        "SELECT wall_ns, topic, reason, detail, bytes FROM dead_letter ORDER BY id DESC LIMIT ?",
        (DEAD_LETTERS_SHOWN_MAX,),
    )
    names = ("wall_ns", "topic", "reason", "detail", "bytes")
    return Report(
        lanes=lanes,
        rejected=dict(counts.fetchall()),
        dead_letters=[dict(zip(names, letter, strict=True)) for letter in letters],
        outboxes=_outboxes(db),
    )


def _outboxes(db: Database) -> dict[str, dict[str, int]]:
    rows = db.execute("SELECT forward, messages, bytes FROM outbox_size ORDER BY forward")
    return {forward: {"messages": messages, "bytes": size} for forward, messages, size in rows}


def _around(db: Database, node: str, name: str, epoch: int) -> tuple[bool, int | None]:
    """Return whether no older epoch of a lane is known, and the lowest sequence of any newer one."""
    older = db.execute(
        "SELECT count(*) FROM watermark WHERE node = ? AND lane = ? AND epoch < ?", (node, name, epoch)
    ).fetchone()[0]
    barrier = db.execute(
        "SELECT min(run.first) FROM run JOIN watermark ON watermark.id = run.watermark_id"
        " WHERE node = ? AND lane = ? AND epoch > ?",
        (node, name, epoch),
    ).fetchone()[0]
    return not older, barrier


def _entry(db: Database, row: tuple[Any, ...]) -> Entry:
    number, node, name, epoch, batches, received, lost, duplicates, forks, ledger, at, seen_ns = row
    found = db.execute("SELECT first, last, before, after FROM run WHERE watermark_id = ? ORDER BY first", (number,))
    runs = [Run(*run) for run in found]
    is_oldest, barrier = _around(db, node, name, epoch)
    entry = Entry(
        Lane(
            node,
            name,
            epoch,
            is_oldest,
            barrier,
            runs,
            batches=batches,
            received=received,
            lost=_counts(lost),
            duplicates=duplicates,
            forks=forks,
        )
    )
    entry.id, entry.ledger, entry.ledger_sequence, entry.seen_ns = number, _counts(ledger), at, seen_ns
    return entry


def _report(entry: Entry, newest_epoch: int) -> LaneReport:
    return reconcile(
        entry.lane,
        is_newest_epoch=entry.lane.epoch == newest_epoch,
        ledger=entry.ledger,
        ledger_sequence=entry.ledger_sequence,
        seen_ns=entry.seen_ns,
    )


def _text(text: str) -> str:
    """Return a text that every database takes: PostgreSQL's knows no NUL."""
    return text.replace("\0", "\ufffd")


def _json(counts: dict[str, int]) -> str:
    return msgspec.json.encode(counts).decode()


def _counts(text: object) -> dict[str, int]:
    return msgspec.json.decode(str(text), type=dict[str, int])
