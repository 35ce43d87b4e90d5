"""One file of a ring: append-only, preallocated, freed as a whole.

The writer holds one handle, of the segment that it appends to. Readers open the file for each batch: a ring of many
segments needs no descriptors, and a segment that was removed meanwhile is a plain error of open. What is in the file is
held as columns, 36 bytes a batch, because a large ring has hundreds of thousands of them.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from gateway import frame
from gateway.errors import StoreError
from gateway.spool import format as layout
from gateway.spool.format import Record, SegmentHeader, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.disk import Disk

_ASIDE: Final = ".new"


class Table:
    """The records of one segment, by rising sequence."""

    def __init__(self, columns: tuple[array[int], ...] | None = None) -> None:
        self._columns = columns or tuple(array(code) for code in layout.COLUMNS)
        self._sequences = self._columns[0]
        self._readings: int | None = None
        """The readings of all records, once somebody asked; a ring of 10 GB has half a million of them."""

    @property
    def columns(self) -> tuple[array[int], ...]:
        """The columns of the records, by `format.COLUMNS`."""
        return self._columns

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> Record:
        return Record(*(column[index] for column in self._columns))

    def __iter__(self) -> Iterator[Record]:
        return map(Record._make, zip(*self._columns, strict=True))

    def append(self, record: Record) -> None:
        """Add a record with a sequence above all others."""
        assert not self._sequences or self._sequences[-1] < record.sequence
        for column, number in zip(self._columns, record, strict=True):
            column.append(number)
        if self._readings is not None:
            self._readings += record.readings

    def after(self, sequence: int) -> tuple[int, int]:
        """Return how many batches and readings lie beyond `sequence`."""
        start = bisect_left(self._sequences, sequence + 1)
        if start:
            return len(self) - start, sum(self._columns[2][start:])
        if self._readings is None:
            self._readings = sum(self._columns[2])
        return len(self), self._readings

    @property
    def last(self) -> int:
        """The highest sequence, 0 when there is none."""
        return self._sequences[-1] if self._sequences else 0

    def between(self, first: int, last: int) -> Iterator[Record]:
        """Yield the records from `first` to `last`, both included, and look at no other."""
        for index in range(bisect_left(self._sequences, first), bisect_left(self._sequences, last + 1)):
            yield self[index]

    def find(self, sequence: int) -> Record | None:
        """Return the record of `sequence`."""
        index = bisect_left(self._sequences, sequence)
        return self[index] if index < len(self) and self._sequences[index] == sequence else None

    def drop_from(self, sequence: int) -> None:
        """Forget `sequence` and all after it."""
        start = bisect_left(self._sequences, sequence)
        self._readings = None
        for column in self._columns:
            del column[start:]

    def drop(self, first: int, last: int) -> None:
        """Forget the records from `first` to `last`, both included."""
        start, stop = bisect_left(self._sequences, first), bisect_left(self._sequences, last + 1)
        if start < stop:
            self._readings = None
            for column in self._columns:
                del column[start:stop]


class Segment:
    """A segment that exists: `first` is the sequence in its name, `end` the offset after its last batch.

    `began_at` is the node's own time at which it was begun, `ended_at` that at which it was finished in this run.
    """

    def __init__(self, path: Path, header: SegmentHeader) -> None:
        self.path = path
        self.uuid = header.uuid
        self.first = header.first
        self.size = header.size
        self.began_at = header.began_at
        self._lane = header.lane
        self.ended_at: int | None = None
        self.end = layout.HEADER_BYTES
        self.handle: int | None = None
        self.table = Table()

    @classmethod
    def create(cls, disk: Disk, folder: Path, first: int, size: int, at: int) -> Segment:
        """Make a segment durable under its name, open for appending; raise `StoreError` and leave nothing behind.

        A segment of that name that exists is replaced: the caller holds what it had.
        """
        path = folder / layout.file_name(first)
        aside = path.with_name(path.name + _ASIDE)
        segment = cls(path, SegmentHeader(os.urandom(16), first, size, at, 0, layout.lane_checksum(folder.name)))
        disk.remove(aside)
        handle = disk.open(aside, create=True)
        try:
            disk.allocate(handle, size)
            header = segment._header()
            disk.write(handle, header, 0)
            disk.write(handle, header, size - layout.HEADER_BYTES)
            disk.sync(handle)
            disk.rename(aside, path)
            disk.sync_folder(folder)
        except StoreError:
            with contextlib.suppress(StoreError):  # the first error is the one to tell
                disk.close(handle)
                disk.remove(aside)
            raise
        segment.handle = handle
        return segment

    def fits(self, size: int) -> bool:
        """Say whether a frame of `size` bytes can be appended, and the index after it."""
        room = self.size - layout.HEADER_BYTES - layout.index_frame_bytes(len(self.table) + 1)
        return self.handle is not None and self.end + size <= room

    def write(self, disk: Disk, sequence: int, readings: int, stamp: Stamp, envelope: bytes) -> Record:
        """Append a frame; not durable, and not in `table`, on return. Raises `StoreError`: then never append again."""
        assert self.handle is not None
        data = layout.batch_frame(self.uuid, sequence, readings, stamp, envelope)
        disk.write(self.handle, data, self.end)
        length = layout.STAMP_BYTES + len(envelope)
        record = Record(sequence, stamp.epoch, readings, stamp.readings_before, self.end, length)
        self.end += len(data)
        return record

    def finish(self, disk: Disk) -> None:
        """Write the index: nothing is appended any more. Not durable before a sync. Raises `StoreError`."""
        assert self.handle is not None
        disk.write(self.handle, layout.index_frame(self.uuid, self.first, self.table.columns), self.end)
        disk.write(self.handle, self._header(self.end), self.size - layout.HEADER_BYTES)

    def load(self, disk: Disk, record: Record) -> tuple[Stamp, bytes] | None:
        """Return (stamp, envelope), or None when the bytes do not validate. Raises `StoreError`."""
        whole = frame.whole_at(self.uuid, self.raw(disk, record), 0)
        if whole is None or whole[0].first != record.sequence:
            return None
        stamp = layout.parse_stamp(self.uuid, whole[1])
        return (stamp, whole[1][layout.STAMP_BYTES :]) if stamp else None

    def raw(self, disk: Disk, record: Record) -> bytes:
        """Return the bytes of a frame as they are. Raises `StoreError`."""
        handle = disk.open(self.path)
        try:
            return disk.read(handle, frame.HEADER_BYTES + record.length, record.offset)
        finally:
            disk.close(handle)

    def close(self, disk: Disk) -> None:
        """Append no more. What matters was synced, so an error of close says nothing new."""
        handle, self.handle = self.handle, None
        if handle is not None:
            with contextlib.suppress(StoreError):
                disk.close(handle)

    def cut(self, disk: Disk, end: int) -> None:
        """Give the disk back what lies behind `end`, as far as it lets us, and close the file for ever."""
        size = end + layout.HEADER_BYTES
        with contextlib.suppress(StoreError):  # what is left there is overruled by the next segment's name
            handle = self.handle if self.handle is not None else disk.open(self.path)
            self.handle = handle
            disk.truncate(handle, size)
            self.size = size
            disk.write(handle, self._header(), end)
            disk.sync(handle)
        self.end = end
        self.close(disk)

    def _header(self, index: int = 0) -> bytes:
        header = SegmentHeader(self.uuid, self.first, self.size, self.began_at, index, self._lane)
        return layout.segment_header(header)
