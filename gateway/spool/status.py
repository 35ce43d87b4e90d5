"""What people and supervisors may want to know of a lane, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.spool import books as book

if TYPE_CHECKING:
    from gateway.spool.cursor import Cursors
    from gateway.spool.ring import Ring


def lane_status(ring: Ring, cursors: Cursors, counts: dict[str, int], *, is_full: bool) -> dict[str, object]:
    """Return sizes, counts, and per region the cursor and what it still waits for; the lock is held."""
    contents, lane = ring.contents, ring.name
    batches, readings = contents.beyond(0)
    regions = {}
    for region in cursors.of(lane):
        cursor = min(cursors.place(region, lane).sequence, contents.head.sequence)
        waiting, lost = contents.beyond(cursor), contents.lost_beyond(cursor)
        regions[region] = {
            "cursor": cursor,
            "backlog_batches": waiting[0],
            "backlog_readings": waiting[1],
            "backlog_bytes": contents.bytes_beyond(cursor),
            "gap_batches": lost[0],
            "gap_readings": lost[1],
        }
    gone = {reason: contents.books.lost_under(reason) for reason in book.REASONS}
    return {
        "name": lane,
        "state": "held" if ring.is_held else "full" if ring.is_refusing or is_full else "ok",
        "policy": ring.shape.policy,
        "drains": ring.shape.drains,
        "bytes": ring.allocated,
        "bytes_max": ring.bytes_max,
        "segments": len(contents.segments),
        "batches": batches,
        "readings": readings,
        "oldest": contents.oldest().sequence + 1,
        "head": contents.head.sequence,
        "durable": ring.durable.sequence,
        "regions": regions,
        "bytes_in_memory": ring.unsynced_bytes if ring.is_held else 0,
        **{f"{reason}_batches": batches for reason, (batches, _) in gone.items()},
        **{f"{reason}_readings": readings for reason, (_, readings) in gone.items()},
        **ring.counts,
        **counts,
    }
