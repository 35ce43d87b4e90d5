"""Makes the oldest batches of a lane coarser, so that a ring which fills up loses detail before it loses readings.

A lane with the policy `thin` has a base ring and one for each level, `<lane>.thin1` and on, each with a longer
interval. When a ring is `THIN_AT` full, a run of its oldest batches that a required region still waits for is
aggregated to the next level's interval: one new batch in that level's ring takes the place of the run. What the last
level cannot hold is evicted. A run whose aggregate would not be smaller goes to a coarser level, or is left for
eviction.

Nothing may be lost or doubled by a crash in between: the new batch names the run in its header (`thinned`) and is
durable before the run becomes a range (`thinned`) in the books. At opening, a run that the newest batch of a level
names and that is still on disk becomes that range then.

Batches that are in flight to a region are left alone; so are those of a segment that is still written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.batch import envelope, thin
from gateway.batch.decode import DecodedBatch, decode
from gateway.config.schema import thin_lane
from gateway.errors import BatchError
from gateway.ledger import THINNED
from gateway.model import BatchId, OpenBatch, Thinned
from gateway.spool import books as book

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.model import SealedBatch
    from gateway.spool.format import Record
    from gateway.spool.ring import Ring

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


def wanted(ring: Ring, passed: int | None, busy: int) -> Run | None:
    """Return the run of a ring that is to be made coarser now; the lock is held.

    `passed` is the sequence that all required regions have, None without any; `busy` the highest that is in flight.
    """
    levels = ring.shape.levels
    if not levels or passed is None or ring.allocated < THIN_AT * ring.bytes_max:
        return None
    begin = max(passed, busy, ring.thin_after)
    records: list[Record] = []
    readings = 0
    for segment in ring.finished:
        for record in segment.table:
            if record.sequence <= begin:
                continue
            if records and (readings + record.readings > READINGS_MAX or record.epoch != records[0].epoch):
                break
            records.append(record)
            readings += record.readings
        if records:
            break
    if not records:
        return None
    return Run(ring.name, ring.shape.base, records[0].sequence, records[-1].sequence, records, levels)


def coarser(run: Run, batches: Sequence[SealedBatch], node: str, thinned_before: int) -> Coarser | None:
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


def finish(source: Ring, first: int, last: int) -> None:
    """Turn what is still there of a run into a range; the lock is held."""
    for segment in source.contents.segments:
        records = [record for record in segment.table if first <= record.sequence <= last]
        for record in records:
            source.contents.give_up(record, book.THINNED)
        segment.table.drop(first, last)
