"""The bytes of journal files and checkpoints.

A journal is a folder of files `<first position>.log`. Each begins with a header of 48 bytes and goes on with frames
(`gateway.frame`, kind JOURNAL), one per commit, so that a commit is whole or not there: `first` is the position of its
first entry, `items` its number of messages, the body a zstd frame around a MessagePack list of entries. Files are
preallocated: zeros end a file. Positions count entries from 0 over the life of the node. Where two files hold the same
position, the later file is right: a commit that failed is written again, to a new file.

    offset  size  field of the file header
    0       4     magic b"EGJ1"
    4       2     version (1)
    6       2     zero
    8       16    uuid of the file, seeds every checksum in it
    24      8     position of the first entry
    32      12    zero
    44      4     CRC-32C of bytes 0 to 43

A checkpoint is a file `<position>.ckpt`: magic b"EGC1", u32 length and u32 CRC-32C of what follows, then a zstd frame
around a `Checkpoint` in MessagePack. Integers are little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec
import zstandard
from google_crc32c import value

from gateway import frame
from gateway.errors import StoreError
from gateway.model import Entry, MessageGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
SUFFIX: Final = ".log"
COMMIT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bound of one commit before compression: a longer one is damage."""

_FILE = struct.Struct("<4sHxx16sQ12x")
_CRC = struct.Struct("<I")
FILE_HEADER_BYTES: Final = _FILE.size + _CRC.size
_CHECKPOINT = struct.Struct("<4sII")

_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode


class Checkpoint(msgspec.Struct, array_like=True):
    """The pipeline's state before the entry at `position`, and what is needed to go on from there.

    `settings` is the part of the configuration that the state belongs to (JSON): replay must use it, not a newer one.
    """

    version: int
    position: int
    at: int
    wall_ns: int
    connection: int
    epoch: int
    settings: bytes
    state: Any


class JournalCodec:
    """Compression contexts are reused, so one codec serves one thread."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()

    def frame_of(self, uuid: bytes, position: int, entries: Sequence[Entry]) -> bytes:
        """Return the frame of one commit whose first entry has `position`."""
        messages = sum(len(entry.topics) for entry in entries if isinstance(entry, MessageGroup))
        return frame.encode(uuid, frame.JOURNAL, position, messages, self._compressor.compress(_encode(entries)))

    def entries_of(self, body: bytes) -> list[Entry] | None:
        """Return the entries in a frame's body, or None when the body holds none."""
        try:
            return _decode_entries(self._decompress(body))
        except (zstandard.ZstdError, msgspec.DecodeError):
            return None

    def checkpoint_bytes(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes of a checkpoint file."""
        body = self._compressor.compress(_encode(checkpoint))
        return _CHECKPOINT.pack(b"EGC1", len(body), value(body)) + body

    def checkpoint_of(self, data: bytes) -> Checkpoint:
        """Return the checkpoint in a file's bytes; raise `StoreError` when it is damaged or from another version."""
        head = data[: _CHECKPOINT.size]
        body = data[_CHECKPOINT.size :]
        if len(head) < _CHECKPOINT.size or _CHECKPOINT.unpack(head) != (b"EGC1", len(body), value(body)):
            raise StoreError("damaged checkpoint", bytes=len(data))
        try:
            checkpoint = msgspec.msgpack.decode(self._decompress(body), type=Checkpoint)
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise StoreError(f"damaged checkpoint: {error}") from error
        if checkpoint.version != VERSION:
            raise StoreError(f"checkpoint of version {checkpoint.version}, this program reads {VERSION}")
        return checkpoint

    def _decompress(self, body: bytes) -> bytes:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= COMMIT_BYTES_MAX:
            raise zstandard.ZstdError(f"content of {size} bytes")
        return self._decompressor.decompress(body)


def file_name(position: int) -> str:
    """Return the name of the journal file that begins with `position`."""
    return f"{position:016d}{SUFFIX}"


def file_header(uuid: bytes, position: int) -> bytes:
    """Return the header of a journal file."""
    head = _FILE.pack(b"EGJ1", VERSION, uuid, position)
    return head + _CRC.pack(value(head))


def parse_file_header(data: bytes) -> tuple[bytes, int] | None:
    """Return (uuid, first position), or None when the header is damaged or of another version."""
    if len(data) < FILE_HEADER_BYTES:
        return None
    head = data[: _FILE.size]
    magic, version, uuid, position = _FILE.unpack(head)
    if magic != b"EGJ1" or version != VERSION or _CRC.unpack_from(data, _FILE.size)[0] != value(head):
        return None
    return uuid, position
