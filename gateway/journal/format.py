"""The bytes of journal files and checkpoints.

A journal is a folder of files `<first position>.log`. Each begins with a header of 48 bytes and goes on with frames
(`gateway.frame`, kind JOURNAL), one per commit, so that a commit is whole or not there: `first` is the position of its
first entry, `items` its number of messages, the body a zstd frame around a MessagePack list of entries. Files are
preallocated: zeros end a file. Positions count entries from 0 over the life of the node. Where two files hold the same
position, the later file is right: a commit that failed is written again, to a new file.

    offset  size  field of the file header
    0       4     magic b"EGJ1", of a checkpoint b"EGC1"
    4       2     version of the journal (1), of a checkpoint (2)
    6       2     zero
    8       16    uuid of the file, seeds every checksum in it
    24      8     position of the first entry, of the checkpoint's
    32      12    zero
    44      4     CRC-32C of bytes 0 to 43

A checkpoint is a file `<position>.ckpt`: the same header, then frames of kind STATE, numbered from 0 (`first`). The
body of number 0 is a `Checkpoint` in MessagePack, those of the others are the slices of the pipeline's state
(`gateway.process.state`), each in a zstd frame of its own. A frame of kind END without a body closes it, with the
number of frames before it: a file without one is cut off. Integers are little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard
from google_crc32c import value

from gateway import frame
from gateway.errors import StoreError
from gateway.model import Entry, MessageGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VERSION: Final = 1
CHECKPOINT_VERSION: Final = 2
STATE: Final = 4
"""Kind of the frames of a checkpoint."""
END: Final = 5
"""Kind of the frame that closes a checkpoint."""
SUFFIX: Final = ".log"
COMMIT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bound of one commit before compression: a longer one is damage."""

_FILE = struct.Struct("<4sHxx16sQ12x")
_CRC = struct.Struct("<I")
FILE_HEADER_BYTES: Final = _FILE.size + _CRC.size
_JOURNAL_MAGIC: Final = b"EGJ1"
_CHECKPOINT_MAGIC: Final = b"EGC1"

_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode


class Checkpoint(msgspec.Struct, array_like=True):
    """Whose state it is: the pipeline's before the entry at `position`, and what is needed to go on from there.

    `settings` is the part of the configuration that the state belongs to (JSON): replay must use it, not a newer one.
    """

    position: int
    at: int
    wall_ns: int
    connection: int
    epoch: int
    settings: bytes


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

    def state_frame(self, uuid: bytes, number: int, content: bytes) -> bytes:
        """Return frame `number` of a checkpoint, which holds `content`."""
        return frame.encode(uuid, STATE, number, 0, self._compressor.compress(content))

    def checkpoint_of(self, data: bytes, position: int) -> tuple[Checkpoint, Iterator[bytes]]:
        """Return the checkpoint in a file's bytes, and the slices of the state, which are decompressed one by one.

        All checksums are verified first. Raises `StoreError` when the file is damaged, cut off, of another version, or
        not the one of `position`, which its name tells.
        """
        places = checkpoint_bodies(data)
        contents = (self._content(data, place) for place in places)
        try:
            checkpoint = msgspec.msgpack.decode(next(contents), type=Checkpoint)
        except msgspec.DecodeError as error:
            raise StoreError(f"damaged checkpoint: {error}") from error
        if checkpoint.position != position:
            raise StoreError(f"checkpoint of position {checkpoint.position}, its name says {position}")
        return checkpoint, contents

    def _content(self, data: bytes, place: slice) -> bytes:
        try:
            return self._decompress(data[place])
        except zstandard.ZstdError as error:
            raise StoreError(f"damaged checkpoint: {error}") from error

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
    return _header(_JOURNAL_MAGIC, VERSION, uuid, position)


def checkpoint_header(uuid: bytes, position: int) -> bytes:
    """Return the header of a checkpoint file."""
    return _header(_CHECKPOINT_MAGIC, CHECKPOINT_VERSION, uuid, position)


def checkpoint_end(uuid: bytes, frames: int) -> bytes:
    """Return what closes a checkpoint of so many frames."""
    return frame.encode(uuid, END, frames, 0, b"")


def checkpoint_bodies(data: bytes) -> list[slice]:
    """Return where the bodies of a checkpoint's frames lie in its file, when all of it validates; else `StoreError`."""
    magic, version, uuid, _ = _parsed(data) or (b"", 0, b"", 0)
    if magic != _CHECKPOINT_MAGIC:
        raise StoreError("damaged checkpoint: its header does not validate", bytes=len(data))
    if version != CHECKPOINT_VERSION:
        raise StoreError(f"checkpoint of version {version}, this program reads {CHECKPOINT_VERSION}")
    places: list[slice] = []
    offset = FILE_HEADER_BYTES
    while (whole := frame.whole_at(uuid, data, offset)) is not None and whole[0].first == len(places):
        header, _ = whole
        body_at, offset = offset + frame.HEADER_BYTES, offset + header.frame_bytes
        if header.kind == END and places and offset == len(data):
            return places
        if header.kind != STATE:
            break
        places.append(slice(body_at, body_at + header.length))
    raise StoreError(f"damaged checkpoint: what stands at {offset} does not validate", bytes=len(data))


def _header(magic: bytes, version: int, uuid: bytes, position: int) -> bytes:
    head = _FILE.pack(magic, version, uuid, position)
    return head + _CRC.pack(value(head))


def _parsed(data: bytes) -> tuple[bytes, int, bytes, int] | None:
    """Return (magic, version, uuid, position) of a file's header, or None when it does not validate."""
    if len(data) < FILE_HEADER_BYTES or _CRC.unpack_from(data, _FILE.size)[0] != value(data[: _FILE.size]):
        return None
    return _FILE.unpack_from(data)


def parse_file_header(data: bytes) -> tuple[bytes, int] | None:
    """Return (uuid, first position), or None when the header is damaged or of another version."""
    magic, version, uuid, position = _parsed(data) or (b"", 0, b"", 0)
    return (uuid, position) if magic == _JOURNAL_MAGIC and version == VERSION else None


def other_version(data: bytes) -> int | None:
    """Return the version of a journal file that this program does not read; None for one it does, or for damage."""
    magic, version, _, _ = _parsed(data) or (b"", VERSION, b"", 0)
    return version if magic == _JOURNAL_MAGIC and version != VERSION else None
