"""What the receiver knows, in one SQLite file: watermarks, runs, losses, content hashes, counts, dead letters.

A sink that writes into the same file does so in the same transaction, so a reading and the watermark that says it is
there become durable together or not at all. Nothing is cached between transactions: each loads the lanes that it
touches, so a failed one leaves nothing to undo in memory. WAL with synchronous=FULL: a commit is on disk when it
returns.

Everything is bounded: hashes by slot (sequence modulo `HASHES_MAX`), losses and dead letters to the newest, lanes per
node by `LANES_MAX`; counts outlive what they counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.errors import StoreError
from gateway.region.receiver import Lane, Loss, Run
from gateway.region.reconcile import LaneReport, Report, reconcile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.model import Ledger

FILE_NAME: Final = "region.sqlite"
SCHEMA_VERSION: Final = 1
HASHES_MAX: Final = 1024
LOSSES_MAX: Final = 10_000
LANES_MAX: Final = 1_000
DEAD_LETTERS_MAX: Final = 1_000
DEAD_LETTER_BYTES_MAX: Final = 64 * 1024
DEAD_LETTERS_SHOWN_MAX: Final = 20

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE watermark (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    batches INTEGER NOT NULL, received INTEGER NOT NULL, lost TEXT NOT NULL,
    duplicates INTEGER NOT NULL, forks INTEGER NOT NULL,
    ledger TEXT NOT NULL, ledger_sequence INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
    UNIQUE (node, lane, epoch));
CREATE TABLE run (
    watermark_id INTEGER, first INTEGER, last INTEGER NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL,
    PRIMARY KEY (watermark_id, first)) WITHOUT ROWID;
CREATE TABLE loss (
    watermark_id INTEGER, first INTEGER, last INTEGER NOT NULL, before INTEGER NOT NULL, after INTEGER NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (watermark_id, first)) WITHOUT ROWID;
CREATE TABLE hash (
    watermark_id INTEGER, slot INTEGER, sequence INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (watermark_id, slot)) WITHOUT ROWID;
CREATE TABLE count (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, wall_ns INTEGER NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, bytes INTEGER NOT NULL, payload BLOB NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


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


class Watermarks:
    """The store. `transaction` is for one thread at a time; the methods that say so need one open."""

    def __init__(self, folder: Path) -> None:
        """Open for writing and take the folder for this process; `StoreError` when another receiver holds it."""
        path = folder / FILE_NAME
        self.path = path
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = os.open(folder / "region.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(f"cannot use the state folder {folder}: {error.strerror}", path=str(folder)) from error
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._lock)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._db = _connect(str(path), uri=False)
                undo.callback(self._db.close)
                self._prepare()
            except BlockingIOError as error:
                raise StoreError(f"another receiver works in {folder}", hint="one receiver per state folder") from error
            except sqlite3.Error as error:
                raise StoreError(f"cannot open {path}: {error}", path=str(path)) from error
            undo.pop_all()

    def _prepare(self) -> None:
        pragmas = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32768", "journal_size_limit = 67108864")
        for pragma in pragmas:
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript(_SCHEMA)
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}, this program knows {SCHEMA_VERSION}",
                hint="run the version of the gateway that made it, or a newer one",
            )

    def close(self) -> None:
        """Close the file and give up the folder."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, durably, or nothing of it; SQLite's errors become `StoreError`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"cannot commit to {self.path}: {error}", path=str(self.path)) from error
        finally:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    def load(self, node: str, name: str, epoch: int) -> Entry | None:
        """Return the lane as it was last saved, or a new one; None when the node has too many. Needs a transaction."""
        row = self._db.execute(
            f"{_SELECT_LANES} WHERE node = ? AND lane = ? AND epoch = ?", (node, name, epoch)
        ).fetchone()
        if row is not None:
            return _entry(self._db, row)
        lanes = self._db.execute("SELECT count(*) FROM watermark WHERE node = ?", (node,)).fetchone()[0]
        return None if lanes >= LANES_MAX else Entry(Lane(node, name, epoch, *_around(self._db, node, name, epoch)))

    def save(self, entry: Entry) -> None:
        """Write the lane. Needs a transaction."""
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
        """Return what is kept under a known sequence, see `receiver.decide`. Needs a transaction."""
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
        """Remember the content of a batch that is written. Needs a transaction."""
        row = (self._identify(entry), sequence % HASHES_MAX, sequence, content_hash)
        self._db.execute("INSERT OR REPLACE INTO hash VALUES (?, ?, ?, ?)", row)

    def replace_loss(self, entry: Entry, old: Loss | None, new: list[Loss]) -> None:
        """Put `new` losses in the place of `old`, and forget the oldest past the bound. Needs a transaction."""
        number = self._identify(entry)
        if old is not None:
            self._db.execute("DELETE FROM loss WHERE watermark_id = ? AND first = ?", (number, old.run.first))
        rows = ((number, *loss.run, loss.reason) for loss in new)
        self._db.executemany("INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._db.execute(
            "DELETE FROM loss WHERE watermark_id = ?1 AND first <="
            " (SELECT first FROM loss WHERE watermark_id = ?1 ORDER BY first DESC LIMIT 1 OFFSET ?2)",
            (number, LOSSES_MAX),
        )

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count. Needs a transaction."""
        self._db.execute(
            "INSERT INTO count VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET number = number + ?2", (name, number)
        )

    def bury(self, wall_ns: int, topic: str, reason: str, detail: str, payload: bytes) -> None:
        """Count what cannot be taken and keep the newest of it, cut, for a person. Needs a transaction."""
        self.count(f"rejected.{reason}")
        row = (wall_ns, topic, reason, detail, len(payload), payload[:DEAD_LETTER_BYTES_MAX])
        number = self._db.execute(
            "INSERT INTO dead_letter (wall_ns, topic, reason, detail, bytes, payload) VALUES (?, ?, ?, ?, ?, ?)", row
        ).lastrowid
        self._db.execute("DELETE FROM dead_letter WHERE id <= ?", ((number or 0) - DEAD_LETTERS_MAX,))


_SELECT_LANES: Final = (
    "SELECT id, node, lane, epoch, batches, received, lost, duplicates, forks,"
    " ledger, ledger_sequence, seen_ns FROM watermark"
)


def report(folder: Path) -> Report:
    """Read the store of a receiver, running or not, and reconcile every lane; `StoreError` when there is none."""
    path = folder / FILE_NAME
    try:
        with contextlib.closing(_connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            newest = {
                (node, lane): epoch
                for node, lane, epoch in db.execute("SELECT node, lane, max(epoch) FROM watermark GROUP BY node, lane")
            }
            rows = db.execute(f"{_SELECT_LANES} ORDER BY node, lane, epoch").fetchall()
            lanes = [_report(_entry(db, row), newest[row[1], row[2]]) for row in rows]
            rejected = dict(db.execute("SELECT substr(name, 10), number FROM count WHERE name LIKE 'rejected.%'"))
            letters = db.execute(
                "SELECT wall_ns, topic, reason, detail, bytes FROM dead_letter ORDER BY id DESC LIMIT ?",
                (DEAD_LETTERS_SHOWN_MAX,),
            )
            names = ("wall_ns", "topic", "reason", "detail", "bytes")
            return Report(
                lanes=lanes,
                rejected=rejected,
                dead_letters=[dict(zip(names, letter, strict=True)) for letter in letters],
                outboxes=_outboxes(db),
            )
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot read {path}: {error}", hint="has `gateway region run` ever run with this configuration?"
        ) from error


def _outboxes(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox_size'").fetchone():
        return {}
    rows = db.execute("SELECT forward, messages, bytes FROM outbox_size ORDER BY forward")
    return {forward: {"messages": messages, "bytes": size} for forward, messages, size in rows}


def _connect(target: str, *, uri: bool) -> sqlite3.Connection:
    return sqlite3.connect(target, uri=uri, isolation_level=None, check_same_thread=False, timeout=10.0)


def _around(db: sqlite3.Connection, node: str, name: str, epoch: int) -> tuple[bool, int | None]:
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


def _entry(db: sqlite3.Connection, row: tuple[Any, ...]) -> Entry:
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


def _json(counts: dict[str, int]) -> str:
    return msgspec.json.encode(counts).decode()


def _counts(text: object) -> dict[str, int]:
    return msgspec.json.decode(str(text), type=dict[str, int])
