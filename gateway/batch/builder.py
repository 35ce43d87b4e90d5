"""The open rows of one lane, and the decision when they make a batch.

A batch is due when its oldest row has waited `linger`, and full when it holds `batch_readings_max` readings or
`batch_bytes_max` raw bytes (16 a reading, and topics and text as long as they are). Both are functions of what was
appended and nothing else, so a replay of the same input seals the same batches. One row is never divided, so a batch
may pass its limits by one row.

Sequences rise by one for each batch, and `readings_sealed` counts the readings of all batches before: both go on across
epochs, so a receiver that knows two batches of a lane knows exactly how many readings lie between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.model import BatchId, OpenBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema
    from gateway.model import Ledger, Row

READING_BYTES: Final = 16
"""What one reading counts for in `batch_bytes_max`: a time and a number."""


class LaneBuilder:
    """Collects rows of one lane until `is_full`, or until the time `due_at`, and then `take`s them as a batch.

    `due_at` is None while no row is open, `links` are contexts of traced messages. `sequence` is that of the last batch
    taken, 0 before the first.
    """

    __slots__ = (
        "_bytes_max",
        "_lane",
        "_node",
        "_oldest_at",
        "_open_bytes",
        "_readings_max",
        "_rows",
        "due_at",
        "epoch",
        "is_full",
        "linger_ns",
        "links",
        "open_readings",
        "readings_sealed",
        "sequence",
    )

    def __init__(self, lane: schema.Lane, node: str, epoch: int) -> None:
        self._lane = lane.name
        self._node = node
        self._readings_max = lane.batch_readings_max
        self._bytes_max = lane.batch_bytes_max
        self.linger_ns = lane.linger_ns
        self.epoch = epoch
        self.sequence = 0
        self.readings_sealed = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, tuple[list[int], list[Row]]] = {}
        self.links: list[str] = []
        self._open_bytes = 0
        self._oldest_at = 0
        self.open_readings = 0
        self.due_at: int | None = None
        self.is_full = False

    def append(self, topic: str, time_ns: int, row: Row, at: int, text_bytes: int = 0) -> None:
        """Take in (keep, not copy) a row that came at `at`; `text_bytes` is the length of all text and bytes in it."""
        columns = self._rows.get(topic)
        if columns is None:
            columns = self._rows[topic] = ([], [])
            text_bytes += len(topic.encode())
            if self.due_at is None:
                self._oldest_at = at
                self.due_at = at + self.linger_ns
        columns[0].append(time_ns)
        columns[1].append(row)
        readings = len(row)
        self.open_readings += readings
        self._open_bytes += READING_BYTES * readings + text_bytes
        if self.open_readings >= self._readings_max or self._open_bytes >= self._bytes_max:
            self.is_full = True

    def take(self, sealed_ns: int, clock: int, ledger: Ledger) -> OpenBatch:
        """Return the open rows as the lane's next batch and begin anew; the ledger is copied."""
        assert self.open_readings, "a batch is never empty"
        self.sequence += 1
        batch = OpenBatch(
            BatchId(self._node, self._lane, self.epoch, self.sequence),
            self._rows,
            self.open_readings,
            self.readings_sealed,
            dict(ledger),
            sealed_ns,
            clock,
            came_at=self._oldest_at,
            links=self.links,
        )
        self.readings_sealed += self.open_readings
        self._clear()
        return batch

    def resume_after(self, sequence: int, readings: int) -> None:
        """Let the next batch be the one after `sequence`, with `readings` before it: where the ring of a lane ends.

        Only together with a new epoch: it may step back to where batches were made that the ring has lost.
        """
        self.sequence = sequence
        self.readings_sealed = readings

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield the counts, then each open row as (topic, time in ns, row); the rows are shared, not copied."""
        yield self.sequence, self.readings_sealed, self.open_readings, self._open_bytes, self._oldest_at
        for topic, (times, rows) in self._rows.items():
            for time_ns, row in zip(times, rows, strict=True):
                yield topic, time_ns, row

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of a builder with the same settings; the epoch stays."""
        for first, *rest in records:
            if first.__class__ is not str:
                self._restore_counts(first, *rest)
                continue
            time_ns, row = rest
            times, rows = self._rows.setdefault(first, ([], []))
            times.append(time_ns)
            rows.append(row)

    def _restore_counts(self, sequence: int, sealed: int, open_readings: int, open_bytes: int, oldest_at: int) -> None:
        self._clear()
        self.sequence = sequence
        self.readings_sealed = sealed
        self.open_readings = open_readings
        self._open_bytes = open_bytes
        if open_readings:
            self._oldest_at = oldest_at
            self.due_at = oldest_at + self.linger_ns
        self.is_full = open_readings >= self._readings_max or open_bytes >= self._bytes_max
