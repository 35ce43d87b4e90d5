"""Finds the batches in a segment, whatever a crash or the medium did to it. Reads only; `Ring.open` acts on the answer.

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
from gateway.spool import format as layout
from gateway.spool.format import Record

if TYPE_CHECKING:
    from collections.abc import Callable

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
