"""Finds the batches in a segment, whatever a crash or the medium did to it. Reads only; others act on the answer.

What does not validate is skipped to the next aligned frame that does. In the newest segment a skip is either damage or
the torn tail of a crash, where pages reach the disk in any order. Sequences decide: if what is missing was durable, it
is damage, and the rest of the file counts; else the file ends before it, because the journal makes those batches again.
How far the lane was durable is known from the books and from the stamps of the frames themselves.

A segment is scanned only when its index cannot be read, or when it is the newest. Bodies are verified in the newest
only; those of the others are when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway import frame
from gateway.disk import PAGE_BYTES
from gateway.errors import StoreError
from gateway.spool import format as layout
from gateway.spool.format import Record

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from gateway.disk import Disk
    from gateway.spool.format import SegmentHeader

    Read: TypeAlias = Callable[[int, int], bytes]
    """(size, offset) → bytes, fewer only at the end of the file; what cannot be read is zeros."""

_CHUNK_BYTES: Final = 1 << 20
_PREFIX_BYTES: Final = frame.HEADER_BYTES + layout.STAMP_BYTES


@dataclass(slots=True)
class Break:
    """Bytes that do not validate, before record number `index`; `offset` is where they begin."""

    index: int
    offset: int


@dataclass(slots=True)
class Scan:
    """What is in a segment: `durable` is the highest sequence that a stamp calls so, `end` follows the last frame."""

    records: list[Record] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    durable: int = 0
    end: int = layout.HEADER_BYTES


def reading(disk: Disk, handle: int) -> Read:
    """Return what reads an open file, with zeros where the medium gives nothing: one bad page hides only itself."""

    def read(size: int, offset: int) -> bytes:
        try:
            return disk.read(handle, size, offset)
        except StoreError:
            pass
        parts = []
        for start in range(offset, offset + size, PAGE_BYTES):
            piece = min(PAGE_BYTES, offset + size - start)
            try:
                parts.append(disk.read(handle, piece, start))
            except StoreError:
                parts.append(bytes(piece))
        return b"".join(parts)

    return read


def header_of(read: Read, size: int) -> tuple[SegmentHeader | None, str]:
    """Return the header of a file of `size` bytes, rather the one at its end, which may name an index; or why not."""
    why = "has no header that can be read"
    for offset in (max(0, size - layout.HEADER_BYTES), 0):
        data = read(layout.HEADER_BYTES, offset)
        found = layout.parse_segment_header(data)
        if found is not None:
            return found, ""
        version = layout.segment_version(data)
        if version is not None:
            why = f"is of version {version}, this program reads {layout.VERSION}"
    return None, why


def index_of(header: SegmentHeader, read: Read, following: int) -> tuple[array[int], ...] | None:
    """Return the columns of a finished segment's index, or None when there is none that can be used.

    `following` is the first sequence of the next segment. A fault may have overruled the last records by that name:
    then the frames must be looked at.
    """
    room = header.size - layout.HEADER_BYTES - header.index_at
    if not header.index_at or room <= 0:
        return None
    columns = layout.parse_index(header.uuid, read(room, header.index_at))
    if columns is None or not len(columns[0]) or columns[0][-1] >= following:
        return None
    return columns


def scan(uuid: bytes, size: int, read: Read, *, verify: bool) -> Scan:
    """Return all frames of a segment of `size` bytes that validate, with rising sequences."""
    found = Scan()
    limit = size - layout.HEADER_BYTES
    offset: int | None = layout.HEADER_BYTES
    while offset is not None:
        record, durable = _record_at(uuid, limit, read, offset, verify=verify)
        if record is not None and (not found.records or found.records[-1].sequence < record.sequence):
            found.records.append(record)
            found.durable = max(found.durable, durable)
            offset += frame.frame_bytes(record.length)
            found.end = offset
            continue
        if _is_index(uuid, limit, read, offset):
            break
        following = _next_frame(uuid, limit, read, offset + frame.ALIGNMENT)
        if following is not None or _is_written(read, offset, limit):
            found.breaks.append(Break(len(found.records), offset))
        offset = following
    return found


def cut_torn_tail(found: Scan, first: int, durable: int) -> int | None:
    """Drop from the newest segment what follows a torn write; return where the file must end, or None when it is whole.

    `durable` is the sequence up to which the lane is known to have been durable before this segment's stamps are read.
    """
    known = max(durable, found.durable)
    for skip in found.breaks:
        before = found.records[skip.index - 1].sequence if skip.index else first - 1
        is_tail = skip.index == len(found.records)
        if is_tail or found.records[skip.index].sequence > max(before, known) + 1:
            del found.records[skip.index :]
            return skip.offset
    return None


def _is_index(uuid: bytes, limit: int, read: Read, offset: int) -> bool:
    """Say whether a whole index stands at `offset`: the batches end here, even if the file's end does not name it."""
    header = frame.parse_header(uuid, read(frame.HEADER_BYTES, offset))
    if header is None or header.kind != layout.INDEX or offset + header.frame_bytes > limit:
        return False
    return layout.parse_index(uuid, read(header.frame_bytes, offset)) is not None


def _record_at(uuid: bytes, limit: int, read: Read, offset: int, *, verify: bool) -> tuple[Record | None, int]:
    data = read(_PREFIX_BYTES, offset)
    header = frame.parse_header(uuid, data[: frame.HEADER_BYTES])
    if header is None or header.kind != frame.BATCH or offset + header.frame_bytes > limit:
        return None, 0
    stamp = layout.parse_stamp(uuid, data[frame.HEADER_BYTES :])
    if stamp is None:
        return None, 0
    if verify and not frame.body_is_whole(uuid, header, read(header.length, offset + frame.HEADER_BYTES)):
        return None, 0
    record = Record(header.first, stamp.epoch, header.items, stamp.readings_before, offset, header.length)
    return record, stamp.durable


def _next_frame(uuid: bytes, limit: int, read: Read, offset: int) -> int | None:
    """Return the offset, at least `offset`, of the next frame whose header validates."""
    while offset + frame.HEADER_BYTES <= limit:
        chunk = read(min(_CHUNK_BYTES, limit - offset), offset)
        place = chunk.find(frame.MAGIC)
        while place >= 0:
            if place % frame.ALIGNMENT == 0:
                header = frame.parse_header(uuid, read(frame.HEADER_BYTES, offset + place))
                if header is not None:
                    return offset + place
            place = chunk.find(frame.MAGIC, place + 1)
        offset += _CHUNK_BYTES
    return None


def _is_written(read: Read, offset: int, limit: int) -> bool:
    """Say whether anything but zeros lies between `offset` and `limit`."""
    while offset < limit:
        if read(min(_CHUNK_BYTES, limit - offset), offset).strip(b"\0"):
            return True
        offset += _CHUNK_BYTES
    return False
