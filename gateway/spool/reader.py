"""Reads the batches of one lane from any thread, while the writer appends, rewrites and frees.

Where a batch lies is looked up under the lock, its bytes are read without it; so they may have moved or gone meanwhile.
Then they do not validate, because every segment has a uuid of its own, and looking again finds the new place or the
gap. What does not validate `ATTEMPTS` times in the same place is damage of the medium: a gap, counted and reported.

A read that the disk refuses says nothing yet: the whole disk may be gone for a while. It is an error to whoever reads,
and becomes damage only by `Spool.give_up`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.model import BatchId, Gap, SealedBatch

if TYPE_CHECKING:
    from threading import Lock

    from gateway.disk import Disk
    from gateway.spool.aside import Aside
    from gateway.spool.contents import Contents
    from gateway.spool.format import Record
    from gateway.spool.segment import Segment

ATTEMPTS: Final = 3


class Reader:
    """The reading side of a lane."""

    def __init__(self, disk: Disk, contents: Contents, lock: Lock, aside: Aside) -> None:
        self._disk = disk
        self._aside = aside
        self._contents = contents
        self._lock = lock

    def read(self, sequence: int) -> SealedBatch | Gap | None:
        """Return a batch, the gap that covers it, or None beyond the head. Raises `StoreError`."""
        tried: tuple[Segment, Record] | None = None
        failures = 0
        while True:
            if tried is not None and failures >= ATTEMPTS:
                self._keep_aside(*tried)
            with self._lock:
                if not 0 < sequence <= self._contents.visible:
                    return None
                if sequence in self._contents.unsynced:
                    return self._contents.unsynced[sequence][0]
                found = self._contents.find(sequence)
                if found is not None and found == tried and failures >= ATTEMPTS:
                    self._contents.lose(*found)
                    found = None
                if found is None:
                    return self._contents.gap(sequence)
            try:
                batch = self._loaded(*found)
            except StoreError:
                with self._lock:
                    if self._contents.find(sequence) == found:
                        raise
                continue
            if batch is not None:
                return batch
            failures = failures + 1 if found == tried else 1
            tried = found

    def held(self, sequence: int) -> SealedBatch | None:
        """Return a batch that is in memory and may be read, or None."""
        with self._lock:
            found = self._contents.unsynced.get(sequence) if sequence <= self._contents.visible else None
        return found[0] if found else None

    def stored(self, sequence: int) -> SealedBatch | None:
        """Return what is stored under a sequence, hidden or not; None when it is not there or cannot be read."""
        with self._lock:
            unsynced = self._contents.unsynced.get(sequence)
            found = self._contents.find(sequence)
        return unsynced[0] if unsynced else self.load(*found) if found else None

    def holds(self, batch: SealedBatch) -> bool:
        """Say whether what is stored under the sequence is this batch; also when it cannot be compared any more."""
        stored = self.stored(batch.id.sequence)
        return stored is None or (stored.id.epoch, stored.hash) == (batch.id.epoch, batch.hash)

    def load(self, segment: Segment, record: Record) -> SealedBatch | None:
        """Return a batch, or None when it cannot be read or is not what it was."""
        try:
            return self._loaded(segment, record)
        except StoreError:
            return None

    def give_up(self, sequence: int) -> None:
        """Take a batch that still cannot be read for damaged."""
        with self._lock:
            found = self._contents.find(sequence)
            if found is None or sequence in self._contents.unsynced:
                return
        if self.load(*found) is None:
            self._keep_aside(*found)
            with self._lock:
                if self._contents.find(sequence) == found:
                    self._contents.lose(*found)

    def _keep_aside(self, segment: Segment, record: Record) -> None:
        name = f"{self._contents.lane}-{record.epoch}-{record.sequence}.damaged"
        with contextlib.suppress(StoreError):  # what cannot be read cannot be kept
            self._aside.keep(name, segment.raw(self._disk, record))

    def _loaded(self, segment: Segment, record: Record) -> SealedBatch | None:
        loaded = segment.load(self._disk, record)
        if loaded is None:
            return None
        stamp, envelope = loaded
        identity = BatchId(self._contents.node, self._contents.lane, stamp.epoch, record.sequence)
        return SealedBatch(identity, record.readings, stamp.hash, envelope)
