"""Opens the segments of one lane: lists, recovers, ends torn tails, sets aside what cannot be used, and reports it.

Never refuses because of what is in a file, and never deletes a batch that anybody may still need: a segment is removed
only when the books say that it was freed before the crash, or when it holds nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import StoreError
from gateway.spool import format as layout
from gateway.spool import recovery
from gateway.spool.segment import Segment, Table

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk
    from gateway.spool.aside import Aside
    from gateway.spool.books import LaneBooks


@dataclass(slots=True)
class Opening:
    """The folder of one lane and where to report to. `is_durable`: what the newest segment holds is on the medium."""

    disk: Disk
    folder: Path
    books: LaneBooks
    report: list[str]
    is_durable: bool = True
    aside: Aside | None = None

    def segments(self) -> list[Segment]:
        """Return the segments in order; the newest has a handle when it can be appended to."""
        names = self._names()
        found: list[Segment] = []
        for index, (first, name) in enumerate(names):
            following = names[index + 1][0] if index + 1 < len(names) else None
            if following is not None and following - 1 <= self.books.floor.sequence:
                self._remove(name)
                continue
            segment = self._segment(self.folder / name, first, following, found)
            if segment is not None:
                found.append(segment)
        return found

    def _names(self) -> list[tuple[int, str]]:
        names = []
        for name in self.disk.names(self.folder):
            first = layout.first_of(name)
            if first is not None:
                names.append((first, name))
            elif name.endswith(".new"):
                self._remove(name)
            else:
                self.report.append(f"{self.folder.name}/{name} is no segment and is left alone")
        return sorted(names)

    def _segment(self, path: Path, first: int, following: int | None, before: list[Segment]) -> Segment | None:
        try:
            handle = self.disk.open(path)
        except StoreError as error:
            self.report.append(f"{self._named(path)} cannot be opened and is left alone: {error.fault}")
            return None
        keep = False
        try:
            size = self.disk.size(handle)
            read = recovery.reading(self.disk, handle)
            header, why = recovery.header_of(read, size)
            if header is None or header.first != first:
                self._set_aside(path, why or "is not the segment that its name says")
                return None
            if header.lane != layout.lane_checksum(self.folder.name):
                self._set_aside(path, "belongs to another lane")
                return None
            header = header._replace(size=size)
            segment = Segment(path, header)
            columns = None if following is None else recovery.index_of(header, read, following)
            if columns is not None:
                segment.table, segment.end = Table(columns), header.index_at
                return segment
            keep = self._fill(segment, handle, read, following, before)
            if not keep and not len(segment.table):
                if following is None:
                    self._remove(path.name)
                else:
                    self._set_aside(path, "holds no batch that can be read")
                return None
            return segment
        finally:
            if not keep:
                with contextlib.suppress(StoreError):  # nothing was written through this handle
                    self.disk.close(handle)

    def _fill(
        self, segment: Segment, handle: int, read: recovery.Read, following: int | None, before: list[Segment]
    ) -> bool:
        """Take in the records of a segment; return whether the handle stays open for appending."""
        if following is None:
            self._sync(handle)
        found = recovery.scan(segment.uuid, segment.size, read, verify=following is None)
        cut = self._cut_of_newest(segment, found, before) if following is None else None
        for skip in found.breaks:
            if cut is None or skip.offset < cut:
                self._leave_out(segment, read, skip, found)
        for record in found.records:
            if following is None or record.sequence < following:
                segment.table.append(record)
        segment.end = found.end if cut is None else cut
        if cut is not None:
            segment.cut(self.disk, cut)
        elif following is None and self.is_durable:
            segment.handle = handle
        return segment.handle is not None

    def _cut_of_newest(self, segment: Segment, found: recovery.Scan, before: list[Segment]) -> int | None:
        """Drop what follows a torn write in the newest segment; return where it must end, None when it is whole."""
        whole = len(found.records)
        durable = self.books.durable.sequence
        if before and len(before[-1].table):
            durable = max(durable, before[-1].table[-1].sequence)
        cut = recovery.cut_torn_tail(found, segment.first, durable)
        if cut is not None:
            behind = whole - len(found.records)
            again = f", {behind} batches behind it are made again" if behind else ""
            self.report.append(f"{self._named(segment.path)}: what was being written at {cut} is cut off{again}")
        return cut

    def _leave_out(self, segment: Segment, read: recovery.Read, skip: recovery.Break, found: recovery.Scan) -> None:
        self.report.append(f"{self._named(segment.path)}: bytes at {skip.offset} do not validate and are left out")
        end = segment.size
        if skip.index < len(found.records):
            end = found.records[skip.index].offset
        data = read(end - skip.offset, skip.offset).rstrip(b"\0")
        if self.aside is not None and data:
            self.aside.keep(f"{self.folder.name}-{segment.path.stem}-{skip.offset}.damaged", data)

    def _sync(self, handle: int) -> None:
        """Do not believe in frames that only the page cache of the last run may hold."""
        try:
            self.disk.sync(handle)
            self.disk.sync_folder(self.folder)
        except StoreError as error:
            self.is_durable = False
            self.report.append(f"{self.folder.name}: {error.fault}")

    def _set_aside(self, path: Path, why: str) -> None:
        aside = path.with_name(path.name + layout.DAMAGED_SUFFIX)
        self.report.append(f"{self._named(path)} {why} and is kept as {aside.name}")
        with contextlib.suppress(StoreError):  # it is found again at the next start
            self.disk.rename(path, aside)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(StoreError):  # it is found again at the next start
            self.disk.remove(self.folder / name)

    def _named(self, path: Path) -> str:
        return f"{self.folder.name}/{path.name}"
