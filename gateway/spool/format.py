"""The bytes of segments and of the small files beside them; `docs/formats/spool.md` shows them to readers.

A segment is a file `<first sequence>.seg`, preallocated: a header, frames (`gateway.frame`, kind BATCH), zeros, and in
its last 64 bytes the header again, so that one damaged byte never costs more than one batch. A frame's `first` is the
sequence and `items` the readings of the batch; its body is a stamp of 64 bytes and then the envelope, untouched. The
stamp repeats what the spool must know of a batch, so that opening parses no envelope.

    offset  size  field of the segment header          offset  size  field of the stamp
    0       4     magic b"EGS1"                         0       8     epoch
    4       2     version (1)                           8       8     readings of the epoch before this batch
    6       2     zero                                  16      8     sequence up to which the lane was durable then
    8       16    uuid, seeds every checksum in it      24      1     length of the content hash, at most 32
    24      8     first sequence                        25      3     zero
    32      8     size of the file in bytes             28      32    content hash, then zeros
    40      20    zero                                  60      4     CRC-32C of bytes 0 to 59, seeded with the uuid
    60      4     CRC-32C of bytes 0 to 59

A slot (`ledger.0`, `ledger.1`, `<region>.0`, `<region>.1`) is magic b"EGT1", u32 length of the body, u64 generation,
u32 CRC-32C of the body, u32 CRC-32C of bytes 0 to 19, then the body: JSON. Integers are little-endian.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from google_crc32c import extend, value

from gateway import frame

VERSION: Final = 1
SUFFIX: Final = ".seg"
DAMAGED_SUFFIX: Final = ".damaged"
HASH_BYTES_MAX: Final = 32

_SEGMENT = struct.Struct("<4sHxx16sQQ20x")
_STAMP = struct.Struct("<QQQB3x32s")
_SLOT = struct.Struct("<4sIQI")
_CRC = struct.Struct("<I")
HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
STAMP_BYTES: Final = _STAMP.size + _CRC.size
SLOT_HEADER_BYTES: Final = _SLOT.size + _CRC.size
OVERHEAD_BYTES: Final = 2 * HEADER_BYTES
"""What a segment holds besides frames."""


class Position(NamedTuple):
    """A place in a lane: after batch `sequence` of `epoch`, with `readings` of the ring up to and including it."""

    sequence: int
    epoch: int
    readings: int


ORIGIN: Final = Position(0, 0, 0)


class Record(NamedTuple):
    """One batch in a segment: `offset` of its frame in the file, `length` of the frame's body."""

    sequence: int
    epoch: int
    readings: int
    readings_before: int
    offset: int
    length: int

    @property
    def position(self) -> Position:
        """The place right after this batch."""
        return Position(self.sequence, self.epoch, self.readings_before + self.readings)


class Stamp(NamedTuple):
    """What the spool must know of a batch. `durable` is the sequence up to which its lane was durable at writing."""

    epoch: int
    readings_before: int
    durable: int
    hash: bytes


def file_name(first: int) -> str:
    """Return the name of the segment that begins with sequence `first`."""
    return f"{first:016d}{SUFFIX}"


def first_of(name: str) -> int | None:
    """Return the first sequence of the segment called `name`, or None when it is no segment."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if name.endswith(SUFFIX) and stem.isascii() and stem.isdigit() else None


def segment_header(uuid: bytes, first: int, size: int) -> bytes:
    """Return the header of a segment."""
    head = _SEGMENT.pack(b"EGS1", VERSION, uuid, first, size)
    return head + _CRC.pack(value(head))


def parse_segment_header(data: bytes) -> tuple[bytes, int] | None:
    """Return (uuid, first sequence), or None when the header is damaged or of another version."""
    if len(data) < HEADER_BYTES:
        return None
    head = data[: _SEGMENT.size]
    magic, version, uuid, first, _ = _SEGMENT.unpack(head)
    if magic != b"EGS1" or version != VERSION or _CRC.unpack_from(data, _SEGMENT.size)[0] != value(head):
        return None
    return uuid, first


def batch_frame(uuid: bytes, sequence: int, readings: int, stamp: Stamp, envelope: bytes) -> bytes:
    """Return the frame of one batch."""
    assert len(stamp.hash) <= HASH_BYTES_MAX
    head = _STAMP.pack(stamp.epoch, stamp.readings_before, stamp.durable, len(stamp.hash), stamp.hash)
    body = b"".join((head, _CRC.pack(extend(value(uuid), head)), envelope))
    return frame.encode(uuid, frame.BATCH, sequence, readings, body)


def batch_frame_bytes(envelope_bytes: int) -> int:
    """Return the bytes that a batch takes in a segment."""
    return frame.frame_bytes(STAMP_BYTES + envelope_bytes)


def parse_stamp(uuid: bytes, data: bytes) -> Stamp | None:
    """Return the stamp at the start of a frame's body, or None when it does not validate."""
    if len(data) < STAMP_BYTES:
        return None
    head = data[: _STAMP.size]
    if _CRC.unpack_from(data, _STAMP.size)[0] != extend(value(uuid), head):
        return None
    epoch, before, durable, length, content_hash = _STAMP.unpack(head)
    return Stamp(epoch, before, durable, content_hash[:length])


def slot(generation: int, body: bytes) -> bytes:
    """Return the bytes of a slot."""
    head = _SLOT.pack(b"EGT1", len(body), generation, value(body))
    return b"".join((head, _CRC.pack(value(head)), body))


def parse_slot(data: bytes) -> tuple[int, bytes] | None:
    """Return (generation, body), or None when the slot is damaged or was never written."""
    if len(data) < SLOT_HEADER_BYTES:
        return None
    head = data[: _SLOT.size]
    magic, length, generation, crc = _SLOT.unpack(head)
    body = data[SLOT_HEADER_BYTES : SLOT_HEADER_BYTES + length]
    whole = magic == b"EGT1" and _CRC.unpack_from(data, _SLOT.size)[0] == value(head)
    return (generation, body) if whole and len(body) == length and value(body) == crc else None
