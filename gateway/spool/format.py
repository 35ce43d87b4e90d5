"""The bytes of segments and of the small files beside them; `docs/formats/spool.md` shows them to readers.

A segment is a file `<first sequence>.seg`, preallocated: a header, frames (`gateway.frame`, kind BATCH), zeros, and in
its last 64 bytes the header again, so that one damaged byte never costs more than one batch. A frame's `first` is the
sequence and `items` the readings of the batch; its body is a stamp of 64 bytes and then the envelope, untouched. The
stamp repeats what the spool must know of a batch, so that opening parses no envelope.

A segment that will not be appended to any more ends with an index: a frame of kind INDEX right after the last batch,
whose place the last 64 bytes name. It lists all batches before it, so that opening reads no frame. `items` is their
number, the body six columns one after the other: sequence, epoch (8 bytes each), readings (4), readings before,
offset (8 each) and length of the frame's body (4).

    offset  size  field of the segment header          offset  size  field of the stamp
    0       4     magic b"EGS1"                         0       8     epoch
    4       2     version (1)                           8       8     readings of the epoch before this batch
    6       2     zero                                  16      8     sequence up to which the lane was durable then
    8       16    uuid, seeds every checksum in it      24      1     length of the content hash, at most 32
    24      8     first sequence                        25      3     zero
    32      8     size of the file in bytes             28      32    content hash, then zeros
    40      8     `at` when it was begun                60      4     CRC-32C of bytes 0 to 59, seeded with the uuid
    48      8     offset of the index, 0 without one
    56      4     CRC-32C of the lane's name
    60      4     CRC-32C of bytes 0 to 59

`at` is the node's own time in ns, which never runs backwards; only the copy at the end of the file can name an index.

A slot (`ledger.0`, `ledger.1`, `<region>.0`, `<region>.1`) is magic b"EGT1", u32 length of the body, u64 generation,
u32 CRC-32C of the body, u32 CRC-32C of bytes 0 to 19, then the body: JSON. Integers are little-endian.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from google_crc32c import extend, value

from gateway import frame

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
SUFFIX: Final = ".seg"
DAMAGED_SUFFIX: Final = ".damaged"
FOREIGN_SUFFIX: Final = ".version"
"""Ends the name of a slot that was written by a program of another version."""
HASH_BYTES_MAX: Final = 32

INDEX: Final = 3
"""Kind of the frame that lists a finished segment's batches."""

_SEGMENT = struct.Struct("<4sHxx16sQQQQI")
_STAMP = struct.Struct("<QQQB3x32s")
_SLOT = struct.Struct("<4sIQI")
_SLOT_MAGIC: Final = b"EGT1"
_CRC = struct.Struct("<I")
HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
STAMP_BYTES: Final = _STAMP.size + _CRC.size
SLOT_HEADER_BYTES: Final = _SLOT.size + _CRC.size
OVERHEAD_BYTES: Final = 2 * HEADER_BYTES
"""What a segment holds besides frames."""

COLUMNS: Final = "QQIQQI"
"""Type codes of the columns of a `Record`, as in the index. Little-endian, as are the machines we run on."""

INDEX_ENTRY_BYTES: Final = sum(array(code).itemsize for code in COLUMNS)


class Position(NamedTuple):
    """A place in a lane: after batch `sequence` of `epoch`, with `readings` of the ring up to and including it."""

    sequence: int
    epoch: int
    readings: int


ORIGIN: Final = Position(0, 0, 0)


class SegmentHeader(NamedTuple):
    """What a segment says of itself; `began_at` is ns of the node's own time, `index_at` an offset or 0.

    `lane` is the checksum of the lane's name.
    """

    uuid: bytes
    first: int
    size: int
    began_at: int
    index_at: int
    lane: int


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


def lane_checksum(lane: str) -> int:
    """Return what a segment says of its lane."""
    return int(value(lane.encode()))


def segment_header(header: SegmentHeader) -> bytes:
    """Return the header of a segment."""
    head = _SEGMENT.pack(b"EGS1", VERSION, *header)
    return head + _CRC.pack(value(head))


def parse_segment_header(data: bytes) -> SegmentHeader | None:
    """Return the header, or None when it is damaged or of another version."""
    version = segment_version(data)
    return None if version != VERSION else SegmentHeader(*_SEGMENT.unpack(data[: _SEGMENT.size])[2:])


def segment_version(data: bytes) -> int | None:
    """Return the version that a header which validates names, or None."""
    if len(data) < HEADER_BYTES:
        return None
    head = data[: _SEGMENT.size]
    magic, version, *_ = _SEGMENT.unpack(head)
    whole = magic == b"EGS1" and _CRC.unpack_from(data, _SEGMENT.size)[0] == value(head)
    return int(version) if whole else None


def index_frame(uuid: bytes, first: int, columns: Sequence[array[int]]) -> bytes:
    """Return the index of a segment whose records are `columns`, by `COLUMNS`."""
    body = b"".join(column.tobytes() for column in columns)
    return frame.encode(uuid, INDEX, first, len(columns[0]), body)


def index_frame_bytes(records: int) -> int:
    """Return the bytes that an index of so many records takes in a segment."""
    return frame.frame_bytes(records * INDEX_ENTRY_BYTES)


def parse_index(uuid: bytes, data: bytes) -> tuple[array[int], ...] | None:
    """Return the columns in the index frame at the start of `data`, or None when it is none."""
    whole = frame.whole_at(uuid, data, 0)
    if whole is None or whole[0].kind != INDEX:
        return None
    header, body = whole
    if len(body) != header.items * INDEX_ENTRY_BYTES:
        return None
    columns, place = [], 0
    for code in COLUMNS:
        column = array(code)
        size = column.itemsize * header.items
        column.frombytes(body[place : place + size])
        columns.append(column)
        place += size
    return tuple(columns)


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
    head = _SLOT.pack(_SLOT_MAGIC, len(body), generation, value(body))
    return b"".join((head, _CRC.pack(value(head)), body))


def is_slot_of_other_version(data: bytes) -> bool:
    """Say whether a slot was written by a program of another version."""
    return data[:3] == _SLOT_MAGIC[:3] and data[3:4].isalnum() and data[:4] != _SLOT_MAGIC


def parse_slot(data: bytes) -> tuple[int, bytes] | None:
    """Return (generation, body), or None when the slot is damaged or was never written."""
    if len(data) < SLOT_HEADER_BYTES:
        return None
    head = data[: _SLOT.size]
    magic, length, generation, crc = _SLOT.unpack(head)
    body = data[SLOT_HEADER_BYTES : SLOT_HEADER_BYTES + length]
    whole = magic == _SLOT_MAGIC and _CRC.unpack_from(data, _SLOT.size)[0] == value(head)
    return (generation, body) if whole and len(body) == length and value(body) == crc else None
