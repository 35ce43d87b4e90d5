"""A receiver without a broker: real intake, store and sinks in a folder, and messages as a node would send them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Self

from gateway.batch import gap as gap_format
from gateway.clock import Clock
from gateway.disk import Disk
from gateway.model import Gap
from gateway.region import watermarks
from gateway.region.intake import Intake, Message
from gateway.region.sink.ndjson import NdjsonSink
from gateway.region.sink.sqlite import SqliteSink
from gateway.region.watermarks import Watermarks
from gateway.transport import wire
from tests.support.spooled import batch, readings_between

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.model import SealedBatch
    from gateway.region.intake import Outcome
    from gateway.region.reconcile import LaneReport, Report

PREFIX = "edge/v1"
NOON_NS = 1_764_072_000 * 10**9
"""2025-11-25, 12:00 UTC."""


class StoppedClock(Clock):
    """Stands at `ns` until a test moves it."""

    def __init__(self, ns: int = NOON_NS) -> None:
        self.ns = ns

    def wall_ns(self) -> int:
        return self.ns


def message(sealed: SealedBatch) -> Message:
    """Return a batch as the broker hands it over."""
    return Message(wire.batch_topic(PREFIX, sealed.id.node, sealed.id.lane), sealed.data)


def sent(sequence: int, epoch: int = 100, *, before: int = -1, salt: float = 0.0) -> Message:
    """Return the message of `spooled.batch`."""
    return message(batch(sequence, epoch=epoch, before=before, salt=salt))


def gap(first: int, last: int, epoch: int = 100, *, before: int = -1, reason: str = "evicted") -> Gap:
    """Return the gap of these batches."""
    before = readings_between(1, first - 1) if before < 0 else before
    return Gap("node", "telemetry", epoch, first, last, readings_between(first, last), before, reason)


def sent_gap(lost: Gap) -> Message:
    """Return a gap as the broker hands it over."""
    return Message(wire.batch_topic(PREFIX, lost.node, lost.lane), gap_format.encode(lost))


class Region:
    """One receiver's folder; `restart` is what a kill leaves to the next process."""

    def __init__(self, folder: Path, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self.folder = folder
        self.disk = disk or Disk()
        self.clock = clock or StoppedClock()
        self._open()

    def _open(self) -> None:
        self.watermarks = Watermarks(self.folder)
        self.watermarks._db.execute("PRAGMA synchronous = OFF")  # the tests cut no power
        self.ndjson_sink = NdjsonSink(self.folder / "ndjson", self.disk, self.clock)
        self.intake = Intake(self.watermarks, [self.ndjson_sink, SqliteSink()], self.clock, PREFIX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.ndjson_sink.close()
        self.watermarks.close()

    def restart(self) -> None:
        self.close()
        self._open()

    def take(self, *messages: Message) -> Outcome:
        return self.intake.take(messages)

    def report(self) -> Report:
        return watermarks.report(self.folder)

    def lane(self, epoch: int = 100) -> LaneReport:
        """Return the report of one epoch of the only lane."""
        (found,) = (lane for lane in self.report().lanes if lane.epoch == epoch)
        return found

    def rows(self, sql: str = "SELECT topic, field, time_ns, value FROM reading") -> list[tuple[Any, ...]]:
        """Return rows of the receiver's SQLite file, sorted; by default what the sink holds."""
        with contextlib.closing(sqlite3.connect(self.folder / "region.sqlite")) as database:
            return sorted(database.execute(sql))

    def lines(self) -> list[dict[str, Any]]:
        """Return what the NDJSON sink holds, in order."""
        paths = sorted((self.folder / "ndjson").glob("*.ndjson"))
        return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]

    def lines_as_rows(self) -> list[tuple[Any, ...]]:
        return sorted((line["topic"], line["field"], line["time_ns"], line["value"]) for line in self.lines())
