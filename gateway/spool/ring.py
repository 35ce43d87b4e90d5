"""The writer of one lane: segments in order, within the lane's bytes.

What was appended since the last sync is also held in memory (at most one segment or `UNSYNCED_BYTES_MAX`). It is served
from there and, when a write or fsync fails, written again to a new segment: the file that failed is never written
again, and what follows its last durable frame is overruled by the name of the new segment.

While the disk refuses the new segment as well, the ring is **held**: batches are taken into memory only, as far as the
spool's budget goes, and read from there as ever. What every region has is forgotten first. `sync` writes all of it when
the disk takes it again.

A segment leaves in two steps: it is doomed in memory (its place goes to the books), then the books and cursors are made
durable, then the file is removed. A crash in between removes it at the next start or finds it whole.

Every method is called by one thread at a time (`Spool` sees to that); readers use `reader`, from any thread. `lock`
guards what they see and is never held over input or output.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.spool import books as book
from gateway.spool import format as layout
from gateway.spool.format import ORIGIN, Position, Record, Stamp
from gateway.spool.opening import Opening
from gateway.spool.reader import Reader
from gateway.spool.segment import Segment

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Lock

    from gateway.disk import Disk
    from gateway.model import Gap, SealedBatch
    from gateway.spool.aside import Aside
    from gateway.spool.contents import Contents
    from gateway.spool.cursor import Cursors
    from gateway.spool.shares import Shape, Shares

UNSYNCED_BYTES_MAX: Final = 8 << 20
_EXPIRY_PARTS: Final = 4
"""A segment is finished when it is this part of the expiry old, so that it can go as a whole soon after it is due."""


class Ring:
    """One lane. `durable` is the place after the last batch that was synced.

    `thin_after` is the sequence up to which batches were found not worth thinning.
    """

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        shape: Shape,
        contents: Contents,
        cursors: Cursors,
        shares: Shares,
        lock: Lock,
        aside: Aside,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._cursors = cursors
        self._shares = shares
        self._lock = lock
        self._aside = aside
        self._doomed: list[Segment] = []
        self._active: Segment | None = None
        self.name = contents.lane
        self.shape = shape
        self.contents = contents
        self.reader = Reader(disk, contents, lock, aside)
        self.bytes_max = shape.bytes_max
        self.durable = ORIGIN
        self.unsynced_bytes = 0
        self.thin_after = 0
        self.is_held = False
        self.is_refusing = False
        self.counts = {"appended": 0, "refused": 0, "faults": 0, "bytes_written": 0}

    @property
    def allocated(self) -> int:
        """The bytes that the segments take on disk."""
        return sum(segment.size for segment in self.contents.segments)

    @property
    def oldest_is_passed(self) -> bool:
        """Whether no required region waits for anything in the oldest segment."""
        passed = self._cursors.lowest_required(self.name)
        return passed is None or not self.contents.segments or self.contents.end_of(0) <= passed

    @property
    def can_give(self) -> bool:
        """Whether the policy allows that the oldest segment goes."""
        segments = self.contents.segments
        if not segments or (segments[0] is self._active and self.contents.unsynced):
            return False
        return not self.shape.refuses or self.oldest_is_passed

    def open(self) -> None:
        """Take up what is on disk; damage becomes ranges in the books and sentences in the report."""
        self._disk.make_folder(self._folder)
        contents, cursors = self.contents, self._cursors
        opening = Opening(self._disk, self._folder, contents.books, contents.report, aside=self._aside)
        segments = opening.segments()
        known = [cursors.place(name, self.name) for name in cursors.regions if cursors.is_known(name, self.name)]
        contents.adopt(segments, known)
        for name in cursors.of(self.name):
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

    def append(self, batch: SealedBatch, readings_before: int, at: int) -> bool:
        """Store a batch beyond the head at the node's own time `at`; return False when the ring refuses.

        Raises `StoreError` when the disk refuses and memory is used up: then the same call may succeed later.
        """
        is_stored = self._stored(batch, readings_before, at)
        self.is_refusing = not is_stored
        self.counts["appended" if is_stored else "refused"] += 1
        return is_stored

    def take_gap(self, gap: Gap) -> None:
        """Take up a loss beyond the head, of another ring."""
        with self._lock:
            self._note_hole_before(Position(gap.first - 1, gap.epoch, gap.readings_before))
            lost = book.Range.of(gap)
            self.contents.books.add(lost)
            self.contents.head = lost.position

    def sync(self, at: int) -> None:
        """Make all that was appended durable. Raises `StoreError`: then it is still held in memory."""
        if not self.contents.unsynced:
            self.is_held = False
            return
        try:
            self._sync_active(at)
        except StoreError:
            self.counts["faults"] += 1
            self._sync_active(at)
        self.is_held = False
        with self._lock:
            self.contents.unsynced.clear()
            self.unsynced_bytes = 0
            self.durable = self.contents.head

    def doom_passed(self) -> None:
        """Doom what every region has, or what holds back only regions that lag too far; `bury` makes it so."""
        contents = self.contents
        regions = self._cursors.of(self.name)
        while contents.segments and regions:
            is_active = contents.segments[0] is self._active
            if is_active and not (self.shape.drains and not contents.unsynced):
                return
            end = contents.end_of(0)
            sizes = [(contents.end_of(index), segment.size) for index, segment in enumerate(contents.segments)]
            if any(not self._cursors.may_lose(name, self.name, end, sizes) for name in regions):
                return
            self.doom_oldest()

    def expire(self, at: int) -> None:
        """Doom the segments whose last batch is older than the lane allows, at the node's own time `at`."""
        limit = self.shape.expire_after_ns
        contents, active = self.contents, self._active
        if not limit:
            return
        if active is not None and len(active.table) and active.began_at + limit // _EXPIRY_PARTS <= at:
            self._finish(at)
        while contents.segments and contents.segments[0] is not self._active:
            ended_at = contents.segments[0].ended_at
            if ended_at is None and len(contents.segments) > 1:
                ended_at = contents.segments[1].began_at
            if ended_at is None or ended_at + limit > at:
                return
            self.doom_oldest(book.EXPIRED)

    def doom_oldest(self, reason: str = book.EVICTED) -> None:
        """Take the oldest segment out of reach; `reason` is why required regions will miss what it holds."""
        with self._lock:
            lowest, required = self._cursors.lowest(self.name), self._cursors.lowest_required(self.name)
            segment = self.contents.drop_oldest(None if lowest is None else lowest.sequence, required, reason)
            self._doomed.append(segment)
        if segment is self._active:
            self._close_active()

    @property
    def finished(self) -> list[Segment]:
        """The segments that nothing is appended to any more, oldest first."""
        return [segment for segment in self.contents.segments if segment is not self._active]

    def doom_empty(self) -> None:
        """Doom the segments whose batches are all in ranges."""
        with self._lock:
            empty = [segment for segment in self.finished if not len(segment.table)]
            kept = [segment for segment in self.contents.segments if segment not in empty]
            self.contents.segments = kept
            self._doomed += empty

    def bury(self) -> None:
        """Remove what is doomed, the books and cursors being durable. Raises `StoreError`."""
        while self._doomed:
            self._disk.remove(self._doomed[0].path)
            del self._doomed[0]

    @property
    def has_doomed(self) -> bool:
        """Whether `bury` has something to do."""
        return bool(self._doomed)

    def close(self) -> None:
        """Let go of the file."""
        self._close_active()

    def _stored(self, batch: SealedBatch, readings_before: int, at: int) -> bool:
        for _ in range(0 if self.is_held else 2):
            try:
                return self._store(batch, readings_before, at)
            except StoreError:
                self.counts["faults"] += 1
        self.is_held = True
        self._hold(batch, readings_before)
        return True

    def _store(self, batch: SealedBatch, readings_before: int, at: int) -> bool:
        size = layout.batch_frame_bytes(len(batch.data))
        if self._active is None and self.contents.unsynced:
            self._rewrite(at)
        if self._active is not None and not self._active.fits(size):
            self._finish(at)
        elif self.unsynced_bytes >= UNSYNCED_BYTES_MAX:
            self.sync(at)
        if self._active is None:
            least = _least_bytes(size, 1)
            if not self._shares.make_room(self, max(self.shape.segment_bytes, least)):
                return False
            self._begin(batch.id.sequence, least, at)
        record = self._write(batch, readings_before)
        self._take(batch, record)
        return True

    def _hold(self, batch: SealedBatch, readings_before: int) -> None:
        """Take a batch into memory alone."""
        if len(batch.data) > self._shares.memory_left():
            self._forget_passed()
        if len(batch.data) > self._shares.memory_left():
            raise StoreError(f"lane {self.name}: the disk takes nothing and the memory for batches is used up")
        identity = batch.id
        self._take(batch, Record(identity.sequence, identity.epoch, batch.readings, readings_before, 0, 0))

    def _forget_passed(self) -> None:
        """Forget what is only in memory and what every region has."""
        lowest, contents = self._cursors.lowest(self.name), self.contents
        with self._lock:
            for sequence in sorted(contents.unsynced):
                if self._active is not None or lowest is None or sequence > lowest.sequence:
                    return
                batch, record = contents.unsynced.pop(sequence)
                self.unsynced_bytes -= len(batch.data)
                contents.books.floor = max(contents.books.floor, record.position)

    def _take(self, batch: SealedBatch, record: Record) -> None:
        """Let readers see a batch beyond the head."""
        contents = self.contents
        before = Position(record.sequence - 1, record.epoch, record.readings_before)
        with self._lock:
            self._cursors.step_back(self.name, before, record.epoch)
            self._note_hole_before(before)
            if self._active is not None:
                self._active.table.append(record)
            contents.unsynced[record.sequence] = (batch, record)
            self.unsynced_bytes += len(batch.data)
            contents.head = record.position

    def _note_hole_before(self, place: Position) -> None:
        """Put into the books what some region waits for between the head and `place`."""
        contents, lowest = self.contents, self._cursors.lowest(self.name)
        left = contents.head if lowest is None else max(contents.head, lowest)
        if place.sequence > left.sequence:
            contents.note_hole(left, place)

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

    def _begin(self, first: int, least: int, at: int) -> None:
        """Begin a segment of at least `least` bytes, of the lane's size where the disk has room for it."""
        size = max(self.shape.segment_bytes, least)
        while True:
            try:
                segment = Segment.create(self._disk, self._folder, first, size, at)
                break
            except StoreError as error:
                # Something else fills the disk: make do with less, then take as much as the policies allow.
                if not error.is_no_space:
                    raise
                if size > least:
                    size = max(size // 2, least)
                elif not self._shares.shrink(self):
                    raise
        with self._lock:
            # A segment of the same name held nothing durable and was replaced.
            kept = [other for other in self.contents.segments if other.path != segment.path]
            self.contents.segments = [*kept, segment]
        self._active = segment

    def _finish(self, at: int) -> None:
        """Give the active segment its index and append to it never again."""
        assert self._active is not None
        segment = self._active
        try:
            segment.finish(self._disk)
        except StoreError:
            self._fail_active()
            raise
        self._sync_active(at)
        with self._lock:
            self.contents.unsynced.clear()
            self.unsynced_bytes = 0
            self.durable = self.contents.head
        segment.ended_at = at
        self._close_active()

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

    def _rewrite(self, at: int) -> None:
        """Write what is unsynced to a new segment, past the ring's limit if need be: it was taken in before."""
        unsynced = self.contents.unsynced
        size = sum(layout.batch_frame_bytes(len(batch.data)) for batch, _ in unsynced.values())
        least = _least_bytes(size, len(unsynced))
        self._shares.make_room(self, max(self.shape.segment_bytes, least))
        self._begin(min(unsynced), least, at)
        for sequence, (batch, old) in sorted(unsynced.items()):
            record = self._write(batch, old.readings_before)
            with self._lock:
                assert self._active is not None
                self._active.table.append(record)
                unsynced[sequence] = (batch, record)

    def _sync_active(self, at: int) -> None:
        if self._active is None:
            self._rewrite(at)
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
                self.unsynced_bytes += len(batch.data)
        self.contents.report.append(f"{self.name}/{newest.path.name} cannot be synced: its batches go to a new segment")
        self._active = newest
        self._fail_active()

    def _close_active(self) -> None:
        if self._active is not None:
            self._active.close(self._disk)
            self._active = None


def _least_bytes(frames_bytes: int, records: int) -> int:
    """Return the bytes that a segment needs for these frames."""
    return frames_bytes + layout.OVERHEAD_BYTES + layout.index_frame_bytes(records)
