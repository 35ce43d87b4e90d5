"""How journal and spool frame bytes in a file: one frame, one commit group or one batch.

    offset  size  field
    0       4     magic  b"EGF1"
    4       1     kind   (1 journal entry, 2 batch; the file's owner says which it expects)
    5       3     zero
    8       8     first  position of the journal entry, or sequence of the batch
    16      4     items  messages or readings in the body: survives a damaged body
    20      4     length of the body in bytes
    24      4     CRC-32C of the body
    28      4     CRC-32C of bytes 0 to 27
    32      …     body, then zeros up to a multiple of 16

All integers are little-endian. Both checksums start from the CRC of the file's 16-byte uuid, so a stale frame of a
recycled file never validates. A reader bounds `length` before it allocates and can resynchronise at any multiple of 16.
The checksum is Castagnoli's (RFC 3720 section 12.1).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from google_crc32c import extend, value

MAGIC: Final = b"EGF1"
ALIGNMENT: Final = 16
JOURNAL: Final = 1
BATCH: Final = 2

_HEAD = struct.Struct("<4sB3xQIII")
_CRC = struct.Struct("<I")
HEADER_BYTES: Final = _HEAD.size + _CRC.size


class Header(NamedTuple):
    """The fixed part of a frame, checked."""

    kind: int
    first: int
    items: int
    length: int
    body_crc: int

    @property
    def frame_bytes(self) -> int:
        """Bytes that the whole frame takes in the file."""
        return frame_bytes(self.length)


def frame_bytes(length: int) -> int:
    """Return the bytes that a body of `length` takes in the file, header and padding included."""
    return -(-(HEADER_BYTES + length) // ALIGNMENT) * ALIGNMENT


def encode(uuid: bytes, kind: int, first: int, items: int, body: bytes) -> bytes:
    """Return the whole frame for `body`."""
    seed = value(uuid)
    head = _HEAD.pack(MAGIC, kind, first, items, len(body), extend(seed, body))
    padding = frame_bytes(len(body)) - HEADER_BYTES - len(body)
    return b"".join((head, _CRC.pack(extend(seed, head)), body, bytes(padding)))


def parse_header(uuid: bytes, data: bytes) -> Header | None:
    """Return the header in the first 32 bytes of `data`, or None when it does not validate."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    head = data[: _HEAD.size]
    if _CRC.unpack_from(data, _HEAD.size)[0] != extend(value(uuid), head):
        return None
    _, kind, first, items, length, body_crc = _HEAD.unpack(head)
    return Header(kind, first, items, length, body_crc)


def body_is_whole(uuid: bytes, header: Header, body: bytes) -> bool:
    """Say whether `body` is what the writer framed under `header`."""
    return len(body) == header.length and extend(value(uuid), body) == header.body_crc


def whole_at(uuid: bytes, data: bytes, offset: int) -> tuple[Header, bytes] | None:
    """Return (header, body) of the frame at `offset` of a file's bytes, or None when header or body do not validate."""
    body_at = offset + HEADER_BYTES
    header = parse_header(uuid, data[offset:body_at])
    if header is None:
        return None
    body = data[body_at : body_at + header.length]
    return (header, body) if body_is_whole(uuid, header, body) else None
