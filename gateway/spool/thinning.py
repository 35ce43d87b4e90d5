"""Makes the oldest batches of a lane coarser, so that a ring which fills up loses detail before it loses readings.

A lane with the policy `thin` has a base ring and one for each level, `<lane>.thin1` and on, each with a longer
interval. When a ring is `THIN_AT` full, a run of its oldest batches that a required region still waits for is
aggregated to the next level's interval: one new batch in that level's ring takes the place of the run. What the last
level cannot hold is evicted. A run whose aggregate would not be smaller goes to a coarser level, or is left for
eviction.

Nothing may be lost or doubled by a crash in between: the new batch names the run in its header (`thinned`) and is
durable before the run becomes a range (`thinned`) in the books. At opening, a run that the newest batch of a level
names and that is still on disk becomes that range then.

Batches that may be on their way to a region are left alone; so are those of a segment that is still written to. From
its choice until it is replaced, a run and what takes its place are hidden from the regions: none gets both.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.batch import envelope, thin
from gateway.batch.decode import DecodedBatch, decode
from gateway.config.schema import thin_lane
from gateway.errors import BatchError, StoreError
from gateway.ledger import THINNED
from gateway.model import BatchId, OpenBatch, Thinned
from gateway.spool import books as book

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Lock

    from gateway.model import SealedBatch
    from gateway.spool.cursor import Cursors
    from gateway.spool.format import Record
    from gateway.spool.ring import Ring
    from gateway.spool.shares import Shares

THIN_AT: Final = 0.75
READINGS_MAX: Final = 200_000
"""Readings of one run: about 10 MB while it is worked on."""
_SMALLER: Final = 0.9


class Run(NamedTuple):
    """Batches of one lane that are to become one; `levels` are (level, interval in ns) of the levels to come."""

    lane: str
    base: str
    first: int
    last: int
    records: Sequence[Record]
    levels: Sequence[tuple[int, int]]


class Coarser(NamedTuple):
    """What a run becomes: rows for the ring of a level; None when no level makes it smaller."""

    level: int
    batch: OpenBatch
    boot: str


class Thinner:
    """Chooses runs, computes what they become, and lets that take their place. `lock` guards what readers see."""

    def __init__(self, node: str, rings: Mapping[str, Ring], cursors: Cursors, shares: Shares, lock: Lock) -> None:
        self._node = node
        self._rings = rings
        self._cursors = cursors
        self._shares = shares
        self._lock = lock
        self._replaced: tuple[Ring, Ring, Run] | None = None
        self._is_unsettled = False

    @property
    def is_unfinished(self) -> bool:
        """Whether something of the last run is not durable yet; until then no other is begun."""
        return self._is_unsettled or self._replaced is not None

    def wanted(self, unsent: Mapping[str, tuple[int, int]]) -> Run | None:
        """Return the run that is to be made coarser now, and hide it; the lock is held."""
        if not self.is_unfinished:
            for name, ring in self._rings.items():
                run = _run_of(ring, self._cursors.lowest_required(name), *unsent.get(name, (0, sys.maxsize)))
                if run is not None:
                    ring.contents.hidden_from = run.first
                    return run
        return None

    def coarser(self, run: Run) -> Coarser | None:
        """Return what a run becomes, its identity not yet given; None when no level makes it smaller.

        Reads and computes for up to a second, from any thread; raises nothing.
        """
        ring = self._rings[run.lane]
        batches = [ring.reader.stored(record.sequence) for record in run.records]
        before = ring.contents.books.lost_under(book.THINNED)[1]
        return _coarser(run, [batch for batch in batches if batch is not None], self._node, before)

    def replace(self, run: Run, found: Coarser | None, epoch: int, at: int) -> None:
        """Append what a run becomes, make it durable, and let the run go; in the writer's turn. Raises `StoreError`."""
        source = self._rings[run.lane]
        source.thin_after = run.last
        try:
            if found is not None:
                self._append(source, run, found, epoch, at)
        finally:
            if self._replaced is None:
                source.contents.hidden_from = None

    def _append(self, source: Ring, run: Run, found: Coarser, epoch: int, at: int) -> None:
        target = self._rings[thin_lane(run.base, found.level)]
        place = target.contents.head
        identity = BatchId(self._node, target.name, epoch, place.sequence + 1)
        batch = envelope.seal(replace(found.batch, id=identity, readings_before=place.readings), found.boot)
        if target.is_held:
            raise StoreError(f"lane {target.name} takes nothing now")
        target.contents.hidden_from = identity.sequence
        is_stored = False
        try:
            is_stored = target.append(batch, place.readings, at)
        finally:
            if not is_stored:
                target.contents.hidden_from = None
        if is_stored:
            self._replaced = (source, target, run)
            target.sync(at)
            self.finish()

    def finish(self) -> None:
        """Let go of the run whose coarser batch is durable now, if there is one; in the writer's turn."""
        if self._replaced is not None:
            source, target, run = self._replaced
            self._replaced = None
            self._is_unsettled = True
            with self._lock:
                _let_go(source, run.first, run.last)
                source.contents.hidden_from = target.contents.hidden_from = None
            source.doom_empty()
        if self._is_unsettled:
            self._shares.settle()  # before the next run: at opening only the newest coarser batch is looked at
            self._is_unsettled = False

    def finish_runs_of_last_start(self) -> None:
        """Let go of the runs whose coarser batch became durable just before a crash; at opening."""
        for ring in self._rings.values():
            newest = ring.reader.stored(ring.contents.head.sequence)
            mark = None if newest is None else _mark_of(newest)
            if mark is not None and mark.lane in self._rings:
                _let_go(self._rings[mark.lane], mark.first, mark.last)
        for ring in self._rings.values():
            ring.doom_empty()


def _mark_of(batch: SealedBatch) -> Thinned | None:
    try:
        return envelope.peek(batch.data).thinned
    except BatchError:
        return None


def _run_of(ring: Ring, passed: int | None, after: int, before: int) -> Run | None:
    """Return the run of a ring that is to be made coarser now; the lock is held.

    `passed` is the sequence that all required regions have, None without any. Between `after` and `before`, both
    excluded, nothing is in flight.
    """
    levels = ring.shape.levels
    if not levels or passed is None or ring.allocated < THIN_AT * ring.bytes_max:
        return None
    begin = max(passed, after, ring.thin_after)
    records: list[Record] = []
    readings = 0
    for segment in ring.finished:  # this is asked on the loop, of rings with hundreds of thousands of records
        for record in segment.table.between(begin + 1, min(segment.table.last, before - 1)):
            if records and (readings + record.readings > READINGS_MAX or record.epoch != records[0].epoch):
                break
            records.append(record)
            readings += record.readings
        if records:
            break
    if not records:
        return None
    return Run(ring.name, ring.shape.base, records[0].sequence, records[-1].sequence, records, levels)


def _coarser(run: Run, batches: Sequence[SealedBatch], node: str, thinned_before: int) -> Coarser | None:
    """Return what a run becomes, its identity not yet given; None when no level makes it smaller, or one is damaged."""
    try:
        decoded = [decode(batch.data) for batch in batches]
    except BatchError:
        return None
    whole = [batch for batch in decoded if isinstance(batch, DecodedBatch)]
    if len(whole) != len(run.records):
        return None
    source_bytes = sum(len(batch.data) for batch in batches)
    headers = [batch.header for batch in whole]
    for level, interval_ns in run.levels:
        found = thin.coarsened(whole, interval_ns)
        mark = Thinned(interval_ns, run.lane, run.first, run.last, found.originals, len(whole))
        batch = OpenBatch(
            BatchId(node, thin_lane(run.base, level), headers[-1].id.epoch, 1),
            found.rows,
            found.readings,
            0,
            {THINNED: thinned_before + sum(header.readings for header in headers)},
            headers[-1].sealed_ns,
            min(header.clock for header in headers),
            mark,
        )
        if len(envelope.seal(batch, "").data) < _SMALLER * source_bytes:
            return Coarser(level, batch, headers[-1].boot)
    return None


def _let_go(source: Ring, first: int, last: int) -> None:
    """Turn what is still there of a run into a range; the lock is held."""
    for segment in source.contents.segments:
        for record in segment.table.between(first, last):
            source.contents.give_up(record, book.THINNED)
        segment.table.drop(first, last)
