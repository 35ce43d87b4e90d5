"""Open batches to seal, and what must come out of them again, computed plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.model import CLOCK_SYNCHRONISED, BatchId, OpenBatch, Reading

if TYPE_CHECKING:
    from gateway.model import Row

LEDGER = {"message.received": 9, "message.decoded": 9, "reading.decoded": 30, "reading.sealed": 30}

Rows = dict[str, tuple[list[int], "list[Row]"]]


def open_batch(rows: Rows, *, sequence: int = 5, readings_before: int = 1000) -> OpenBatch:
    """Return an open batch of node-1's lane telemetry that holds these rows."""
    count = sum(len(row) for _, entries in rows.values() for row in entries)
    identity = BatchId("node-1", "telemetry", 3, sequence)
    sealed_ns = 1_764_000_000_000_000_000
    return OpenBatch(identity, rows, count, readings_before, dict(LEDGER), sealed_ns, CLOCK_SYNCHRONISED)


def expected_readings(batch: OpenBatch) -> list[Reading]:
    """Return the readings of a batch in the order that the format promises."""
    order = [int, float, bool, str, bytes]
    readings = [
        Reading(batch.id.node, topic, field, time_ns, value)
        for topic, (times, rows) in batch.rows.items()
        for time_ns, row in zip(times, rows, strict=True)
        for field, value in row.items()
    ]
    return sorted(
        readings,
        key=lambda one: (one.field.encode(), order.index(type(one.value)), one.topic.encode(), one.time_ns),
    )
