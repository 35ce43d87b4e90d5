"""Goes through the segments of one lane for `gateway.spool.inspect`, and holds them against the books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.batch.decode import DecodedBatch, decode
from gateway.errors import BatchError, StoreError
from gateway.spool import books as book
from gateway.spool import format as layout
from gateway.spool import recovery
from gateway.spool.findings import DAMAGED, MISSING, TORN, Backlog, Finding, LaneState, SegmentState
from gateway.spool.format import ORIGIN
from gateway.spool.segment import Segment, Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.disk import Disk
    from gateway.spool.books import Range
    from gateway.spool.contents import Contents
    from gateway.spool.findings import Inspection
    from gateway.spool.format import Position, Record, SegmentHeader
    from gateway.spool.recovery import Break, Read

INDEX: Final = "index"
"""Depth: believe the indexes of finished segments; what a list needs."""
CHECKSUMS: Final = "checksums"
"""Depth: validate every batch against its checksums."""
CONTENT: Final = "content"
"""Depth: also decode every batch, and hold it against what the spool says of it."""

_ATTEMPTS: Final = 3
_NO_END: Final = 1 << 63


def segment_names(disk: Disk, folder: Path) -> list[tuple[int, str]]:
    """Return (first sequence, name) of the segments of a lane, in order."""
    names = [(layout.first_of(name), name) for name in disk.names(folder)]
    return sorted((first, name) for first, name in names if first is not None)


@dataclass(slots=True)
class _Broken:
    """A finding in a segment, and the sequences that could have been where it is: none when `last` < `first`."""

    finding: Finding
    first: int
    last: int


class LaneWalk:
    """Goes through the segments of one lane, then holds them against the books."""

    def __init__(
        self, disk: Disk, folder: Path, found: Inspection, depth: str, node: str, advance: Callable[[int], None]
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._found = found
        self._depth = depth
        self._node = node
        self._advance = advance
        self._segments: list[Segment] = []
        self._state = LaneState(folder.name)
        self._broken: list[_Broken] = []

    def run(self, durable: int) -> None:
        """Read the segments; `durable` is the sequence up to which the lane was durable before."""
        names = segment_names(self._disk, self._folder)
        for index, (first, name) in enumerate(names):
            following = names[index + 1][0] if index + 1 < len(names) else None
            state = SegmentState(name, first)
            try:
                self._read(self._folder / name, state, following, durable)
            except StoreError as error:
                if error.facts.get("errno") != "ENOENT":  # freed while we looked: the books have it
                    self._break(state, None, first, None if following is None else following - 1, error.fault)
                    self._state.segments.append(state)
                continue
            self._state.segments.append(state)
        segments = {first for first, _ in names}
        for name in self._disk.names(self._folder):
            if layout.first_of(name) not in segments and not name.endswith(".new"):
                self._found.aside.append(f"lanes/{self._folder.name}/{name}")

    def _read(self, path: Path, state: SegmentState, following: int | None, durable: int) -> None:
        handle = self._disk.open(path)
        try:
            size = state.bytes_allocated = self._disk.size(handle)
            read = recovery.reading(self._disk, handle)
            header, why = recovery.header_of(read, size)
            if header is not None and header.first != state.first:
                header, why = None, "is not the segment that its name says"
            if header is not None and header.lane != layout.lane_checksum(self._folder.name):
                header, why = None, "belongs to another lane"
            if header is None:
                last = None if following is None else following - 1
                self._break(state, 0, state.first, last, f"the segment {why}", size)
                return
            segment = Segment(path, header._replace(size=size))
            self._fill(segment, header._replace(size=size), read, state, following, durable)
            self._segments.append(segment)
        finally:
            self._disk.close(handle)
            self._advance(state.bytes_allocated)

    def _fill(
        self,
        segment: Segment,
        header: SegmentHeader,
        read: Read,
        state: SegmentState,
        following: int | None,
        durable: int,
    ) -> None:
        """Take in the records of a segment; below depth CHECKSUMS rather from its index."""
        columns = recovery.index_of(header, read, _NO_END if following is None else following)
        state.is_finished = columns is not None
        self._check_ends(header, read, state)
        if columns is not None and following is not None and self._depth == INDEX:
            segment.table, segment.end = Table(columns), header.index_at
        else:
            self._scan(segment, read, state, header.index_at, following, durable)
            if self._depth == CONTENT:
                self._check_content(segment, state)
        table = segment.table
        state.batches, state.last, state.bytes_used = len(table), table.last, segment.end
        state.readings = sum(record.readings for record in table)

    def _check_ends(self, header: SegmentHeader, read: Read, state: SegmentState) -> None:
        """Look at what a segment has twice or could do without: its headers, its index."""
        for offset in (0, header.size - layout.HEADER_BYTES):
            if layout.parse_segment_header(read(layout.HEADER_BYTES, offset)) is None:
                self._break(state, offset, 1, 0, "a header of the segment; the other one counts", layout.HEADER_BYTES)
        if header.index_at and not state.is_finished:
            size = header.size - layout.HEADER_BYTES - header.index_at
            self._break(state, header.index_at, 1, 0, "the index of the segment; the batches themselves count", size)

    def _scan(
        self, segment: Segment, read: Read, state: SegmentState, index_at: int, following: int | None, durable: int
    ) -> None:
        """Take in what validates. A daemon may append meanwhile, so what looks broken is looked at again."""
        newest = following is None
        for _ in range(_ATTEMPTS):
            found = recovery.scan(segment.uuid, segment.size, read, verify=newest or self._depth != INDEX)
            if not found.breaks or not newest:
                break
        records = [one for one in found.records if newest or one.sequence < (following or 0)]
        cut = None
        if newest:
            last = self._segments[-1].table.last if self._segments else 0
            cut = recovery.cut_torn_tail(found, segment.first, max(durable, last))
            records = found.records
        segment.end = found.end if cut is None else cut
        for record in records:
            segment.table.append(record)
        for skip in found.breaks:
            if skip.offset == index_at:
                continue  # told already
            if cut is not None and skip.offset >= cut:
                first = records[-1].sequence + 1 if records else segment.first
                self._break(state, skip.offset, first, None, "", kind=TORN)
                break
            self._note_break(segment, state, skip, found.records, following)

    def _note_break(
        self, segment: Segment, state: SegmentState, skip: Break, records: list[Record], following: int | None
    ) -> None:
        first = records[skip.index - 1].sequence + 1 if skip.index else segment.first
        if skip.index < len(records):
            last, size = records[skip.index].sequence - 1, records[skip.index].offset - skip.offset
            self._break(state, skip.offset, first, last, "", size)
        elif following is not None:
            self._break(state, skip.offset, first, following - 1, "", 0)

    def _check_content(self, segment: Segment, state: SegmentState) -> None:
        for record in list(segment.table):
            why = self._fault_of(segment, record)
            if why:
                segment.table.drop(record.sequence, record.sequence)
                self._break(state, record.offset, record.sequence, record.sequence, why, record.length)

    def _fault_of(self, segment: Segment, record: Record) -> str:
        """Return what is wrong with a batch whose checksum is right, or nothing."""
        loaded = segment.load(self._disk, record)
        if loaded is None:
            return "it changed while it was checked"
        stamp, data = loaded
        try:
            batch = decode(data)
        except BatchError as error:
            return f"its checksum is right, and its content is not: {error.fault}"
        if not isinstance(batch, DecodedBatch):
            return "its checksum is right, and its content is not: it is a gap"
        said = batch.header
        here = (self._folder.name, record.epoch, record.sequence, record.readings, record.readings_before, stamp.hash)
        if (*said.id[1:], said.readings, said.readings_before, said.hash) != here:
            return f"it calls itself {said.id} with {said.readings} readings, and the spool says otherwise"
        if self._node and said.id.node != self._node:
            return f"it is of node {said.id.node}"
        return ""

    def _break(
        self,
        state: SegmentState,
        offset: int | None,
        first: int,
        last: int | None,
        why: str,
        size: int = 0,
        kind: str = DAMAGED,
    ) -> None:
        """Note bytes that do not validate, where batches `first` to `last` (None: all that follow) could have been."""
        finding = Finding(kind, self._folder.name, state.name, offset, size, why=why)
        self._found.findings.append(finding)
        self._broken.append(_Broken(finding, first, _NO_END if last is None else last))

    def conclude(self, contents: Contents, cursors: dict[str, Position | None]) -> None:
        """Share out what is missing among what is broken, and take stock."""
        told = list(contents.books.ranges)
        known = [place for place in cursors.values() if place is not None]
        for left, right in contents.take_up(self._segments, known):
            self._blame(book.between(left, right, book.DAMAGED))
            contents.note_hole(left, right)
        for broken in self._broken:
            self._hold_against(broken, told, contents.head.sequence)
        for state in self._state.segments:
            kinds = {broken.finding.kind for broken in self._broken if broken.finding.file == state.name}
            state.state = DAMAGED if DAMAGED in kinds else TORN if TORN in kinds else state.state
        self._take_stock(contents, cursors)
        self._found.lanes.append(self._state)
        self._found.contents[contents.lane] = contents

    def _blame(self, hole: Range) -> None:
        """Find what is broken where these batches could have been; else they are plainly missing."""
        for broken in self._broken:
            finding = broken.finding
            if finding.first is None and broken.first <= hole.last and hole.first <= broken.last:
                finding.kind = DAMAGED
                finding.first, finding.last, finding.readings = hole.first, hole.last, hole.readings
                return
        lost = Finding(MISSING, self._folder.name, first=hole.first, last=hole.last, readings=hole.readings)
        self._found.findings.append(lost)

    def _hold_against(self, broken: _Broken, told: list[Range], head: int) -> None:
        """Say of what costs no region anything new whether the books have its batches, or every region, or nobody."""
        finding, last = broken.finding, min(broken.last, head)
        if finding.first is not None or broken.first > last:
            if finding.first is None and not finding.why and not finding.size:
                finding.kind = TORN  # the end of a file: the next one goes on where it ends
            return
        finding.first, finding.last = broken.first, last
        finding.known = any(broken.first <= lost.last and lost.first <= last for lost in told)
        finding.passed = not finding.known

    def _take_stock(self, contents: Contents, cursors: dict[str, Position | None]) -> None:
        state, books = self._state, contents.books
        state.head, state.epoch = contents.head.sequence, contents.head.epoch
        state.oldest = contents.oldest().sequence + 1
        state.batches, state.readings = contents.beyond(0)
        state.bytes_used = sum(one.bytes_used for one in state.segments)
        state.bytes_allocated = sum(one.bytes_allocated for one in state.segments)
        state.gaps = list(books.ranges)
        state.lost = {reason: books.lost_under(reason) for reason in book.REASONS if any(books.lost_under(reason))}
        for region, place in cursors.items():
            cursor = min((place or ORIGIN).sequence, state.head)
            state.regions[region] = Backlog(cursor, *contents.beyond(cursor), *contents.lost_beyond(cursor))
