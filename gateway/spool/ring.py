"""The writer of one lane: segments in order, within the lane's bytes.

What was appended since the last sync is also held in memory (at most one segment or `UNSYNCED_BYTES_MAX`). It is served
from there and, when a write or fsync fails, written again to a new segment: the file that failed is never written
again, and what follows its last durable frame is overruled by the name of the new segment.

A segment leaves in two steps: it is doomed in memory (its place goes to the books), then the books and cursors are made
durable, then the file is removed. A crash in between removes it at the next start or finds it whole.

Every method is called by one thread at a time (`Spool` sees to that); readers use `reader`, from any thread. `lock`
guards what they see and is never held over input or output.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.spool import format as layout
from gateway.spool.format import ORIGIN, Position, Record, Stamp
from gateway.spool.opening import Opening
from gateway.spool.reader import Reader
from gateway.spool.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Lock

    from gateway.disk import Disk
    from gateway.model import SealedBatch
    from gateway.spool.contents import Contents
    from gateway.spool.cursor import Cursors

UNSYNCED_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of a ring. `drains`: the lane is not configured any more and goes when every region has it."""

    segment_bytes: int
    bytes_max: int
    refuses: bool
    drains: bool


class Ring:
    """One lane. `durable` is the place after the last batch that was synced."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        shape: Shape,
        contents: Contents,
        cursors: Cursors,
        save: Callable[[], None],
        lock: Lock,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._cursors = cursors
        self._save = save
        self._lock = lock
        self._doomed: list[Segment] = []
        self._active: Segment | None = None
        self._unsynced_bytes = 0
        self.name = contents.lane
        self.shape = shape
        self.contents = contents
        self.reader = Reader(disk, contents, lock)
        self.bytes_max = shape.bytes_max
        self.durable = ORIGIN
        self.is_refusing = False
        self.counts = {"appended": 0, "refused": 0, "faults": 0, "bytes_written": 0}

    @property
    def allocated(self) -> int:
        """The bytes that the segments take on disk."""
        return sum(segment.size for segment in self.contents.segments)

    @property
    def is_full(self) -> bool:
        """Whether the next segment costs batches that a required region waits for, or is refused."""
        passed = self._cursors.lowest_required(self.name)
        has_room = self.allocated + self.shape.segment_bytes <= self.bytes_max
        return not has_room and passed is not None and self.contents.end_of(0) > passed

    def open(self) -> None:
        """Take up what is on disk; damage becomes ranges in the books and sentences in the report."""
        self._disk.make_folder(self._folder)
        contents, cursors = self.contents, self._cursors
        opening = Opening(self._disk, self._folder, contents.books, contents.report)
        segments = opening.segments()
        known = [cursors.place(name, self.name) for name in cursors.regions if cursors.is_known(name, self.name)]
        contents.adopt(segments, known)
        for name in cursors.regions:
            if not cursors.is_known(name, self.name):
                place = contents.lowest() if name in cursors.lost else contents.oldest()
                cursors.put(name, self.name, place)
        if self.shape.drains:
            self.bytes_max = max(self.bytes_max, self.allocated + self.shape.segment_bytes)
        self.durable = contents.head if opening.is_durable else contents.books.durable
        if segments and not opening.is_durable:
            self._hold_unsynced(segments[-1])
        elif segments and segments[-1].handle is not None:
            self._active = segments[-1]

    def append(self, batch: SealedBatch, readings_before: int) -> bool:
        """Store a batch beyond the head; return False when the ring refuses.

        Raises `StoreError`: then the batch is not stored, and the same call may succeed later.
        """
        try:
            is_stored = self._store(batch, readings_before)
        except StoreError:
            self.counts["faults"] += 1
            is_stored = self._store(batch, readings_before)
        self.is_refusing = not is_stored
        self.counts["appended" if is_stored else "refused"] += 1
        return is_stored

    def sync(self) -> None:
        """Make all that was appended durable. Raises `StoreError`: then it is still held in memory."""
        if not self.contents.unsynced:
            return
        try:
            self._sync_active()
        except StoreError:
            self.counts["faults"] += 1
            self._sync_active()
        with self._lock:
            self.contents.unsynced.clear()
            self._unsynced_bytes = 0
            self.durable = self.contents.head

    def doom_passed(self) -> None:
        """Doom what every region has; `bury` makes it so."""
        contents = self.contents
        lowest = self._cursors.lowest(self.name)
        while lowest is not None and contents.segments:
            is_active = contents.segments[0] is self._active
            if is_active and not (self.shape.drains and not contents.unsynced):
                return
            if contents.end_of(0) > lowest.sequence:
                return
            self._doom()

    def bury(self) -> None:
        """Remove what is doomed, the books and cursors being durable. Raises `StoreError`."""
        while self._doomed:
            self._disk.remove(self._doomed[0].path)
            del self._doomed[0]

    def close(self) -> None:
        """Let go of the file."""
        self._close_active()

    def _store(self, batch: SealedBatch, readings_before: int) -> bool:
        size = layout.batch_frame_bytes(len(batch.data))
        if self._active is None and self.contents.unsynced:
            self._rewrite()
        if self._unsynced_bytes >= UNSYNCED_BYTES_MAX or (self._active is not None and not self._active.fits(size)):
            self.sync()
        if self._active is not None and not self._active.fits(size):
            self._close_active()
        if self._active is None:
            if not self._make_room(self._file_bytes(size)):
                return False
            self._begin(batch.id.sequence, self._file_bytes(size))
        record = self._write(batch, readings_before)
        with self._lock:
            self._take(batch, record)
        return True

    def _take(self, batch: SealedBatch, record: Record) -> None:
        """Let readers see a batch beyond the head; the lock is held."""
        assert self._active is not None
        contents = self.contents
        before = Position(record.sequence - 1, record.epoch, record.readings_before)
        self._cursors.step_back(self.name, before, record.epoch)
        lowest = self._cursors.lowest(self.name)
        left = contents.head if lowest is None else max(contents.head, lowest)
        if before.sequence > left.sequence:
            contents.note_hole(left, before)
        self._active.table.append(record)
        contents.unsynced[record.sequence] = (batch, record)
        self._unsynced_bytes += len(batch.data)
        contents.head = record.position

    def _write(self, batch: SealedBatch, readings_before: int) -> Record:
        assert self._active is not None
        stamp = Stamp(batch.id.epoch, readings_before, self.durable.sequence, batch.hash)
        try:
            record = self._active.write(self._disk, batch.id.sequence, batch.readings, stamp, batch.data)
        except StoreError:
            self._fail_active()
            raise
        self.counts["bytes_written"] += layout.batch_frame_bytes(len(batch.data))
        return record

    def _begin(self, first: int, size: int) -> None:
        segment = Segment.create(self._disk, self._folder, first, size)
        with self._lock:
            # A segment of the same name held nothing durable and was replaced.
            kept = [other for other in self.contents.segments if other.path != segment.path]
            self.contents.segments = [*kept, segment]
        self._active = segment

    def _fail_active(self) -> None:
        """Append to this file never again; what it holds unsynced goes on in memory."""
        segment, self._active = self._active, None
        if segment is None:
            return
        contents = self.contents
        first = min(contents.unsynced, default=contents.head.sequence + 1)
        end = contents.unsynced[first][1].offset if contents.unsynced else segment.end
        with self._lock:
            segment.table.drop_from(first)
            if not len(segment.table):
                contents.segments.remove(segment)
        if len(segment.table):
            segment.cut(self._disk, end)
            return
        segment.close(self._disk)
        with contextlib.suppress(StoreError):  # a new segment may take its name and replace it
            self._disk.remove(segment.path)

    def _rewrite(self) -> None:
        """Write what is unsynced to a new segment, past the ring's limit if need be: it was taken in before."""
        unsynced = self.contents.unsynced
        size = sum(layout.batch_frame_bytes(len(batch.data)) for batch, _ in unsynced.values())
        self._begin(min(unsynced), self._file_bytes(size))
        for sequence, (batch, old) in sorted(unsynced.items()):
            record = self._write(batch, old.readings_before)
            with self._lock:
                assert self._active is not None
                self._active.table.append(record)
                unsynced[sequence] = (batch, record)

    def _sync_active(self) -> None:
        if self._active is None:
            self._rewrite()
        assert self._active is not None
        assert self._active.handle is not None
        try:
            self._disk.sync(self._active.handle)
        except StoreError:
            self._fail_active()
            raise

    def _hold_unsynced(self, newest: Segment) -> None:
        """After a crash the newest segment could not be synced: hold in memory what may not be durable."""
        for record in list(newest.table):
            if record.sequence <= self.durable.sequence:
                continue
            batch = self.reader.load(newest, record)
            if batch is None:
                self.contents.lose(newest, record)
            else:
                self.contents.unsynced[record.sequence] = (batch, record)
                self._unsynced_bytes += len(batch.data)
        self.contents.report.append(f"{self.name}/{newest.path.name} cannot be synced: its batches go to a new segment")
        self._active = newest
        self._fail_active()

    def _make_room(self, size: int) -> bool:
        """Make room for a file of `size` bytes; return False when the policy does not allow it."""
        fits = True
        while self.contents.segments and self.allocated > self.bytes_max - size:
            passed = self._cursors.lowest_required(self.name)
            if self.shape.refuses and passed is not None and self.contents.end_of(0) > passed:
                fits = False
                break
            self._doom()
        if self._doomed:
            self._save()
            self.bury()
        return fits

    def _doom(self) -> None:
        with self._lock:
            lowest, required = self._cursors.lowest(self.name), self._cursors.lowest_required(self.name)
            segment = self.contents.drop_oldest(None if lowest is None else lowest.sequence, required)
            self._doomed.append(segment)
        if segment is self._active:
            self._close_active()

    def _close_active(self) -> None:
        if self._active is not None:
            self._active.close(self._disk)
            self._active = None

    def _file_bytes(self, frames_bytes: int) -> int:
        return max(self.shape.segment_bytes, frames_bytes + layout.OVERHEAD_BYTES)
