"""The frames of one journal file in order, and what between them does not validate. The file is read in pieces.

Nothing here decides what a damage means: see `gateway.journal.replay` for what it costs, `gateway.journal.inspect` for
what it says about the medium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

from gateway import frame
from gateway.journal import format as layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.disk import Disk

PIECE_BYTES: Final = 1 << 20
_ZEROS: Final = b"\0"


class Found(NamedTuple):
    """A frame that validates, at `offset` of its file."""

    offset: int
    header: frame.Header
    body: bytes


class Skipped(NamedTuple):
    """Bytes from `offset` on that are no frame; zeros at their end are not counted in `size`.

    `header` is that of the frame that begins here, when it validates and its body does not. `is_tail`: no frame follows
    in this file.
    """

    offset: int
    size: int
    header: frame.Header | None
    is_tail: bool


class Pieces:
    """A file by offset; one piece of it is held in memory. `size` is its length when it was opened."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._handle = disk.open(path)
        self._at = 0
        self._piece = b""
        self.size = disk.size(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close(self._handle)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, fewer at the end of the file."""
        start = offset - self._at
        if not 0 <= start <= start + size <= len(self._piece):
            self._at, start = offset, 0
            self._piece = self._disk.read(self._handle, max(size, PIECE_BYTES), offset)
        return self._piece[start : start + size]


def frames(pieces: Pieces, uuid: bytes) -> Iterator[Found | Skipped]:
    """Yield what is in a file behind its header. Raises `StoreError` where the disk cannot read it."""
    offset: int | None = layout.FILE_HEADER_BYTES
    while offset is not None:
        header = frame.parse_header(uuid, pieces.read(offset, frame.HEADER_BYTES))
        if header is not None:
            body = pieces.read(offset + frame.HEADER_BYTES, min(header.length, layout.COMMIT_BYTES_MAX))
            if frame.body_is_whole(uuid, header, body):
                yield Found(offset, header, body)
                offset += header.frame_bytes
                continue
        resumed, size = _next_frame(pieces, uuid, offset)
        if size or resumed is not None:
            yield Skipped(offset, size, header, resumed is None)
        offset = resumed


def _next_frame(pieces: Pieces, uuid: bytes, start: int) -> tuple[int | None, int]:
    """Return the offset of the next frame behind `start` whose header validates, and how much is skipped for it."""
    offset, last = start, start
    while piece := pieces.read(offset, PIECE_BYTES):
        found = _header_in(pieces, uuid, piece, offset, start)
        end = len(piece) if found is None else found - offset
        used = len(piece[:end].rstrip(_ZEROS))
        last = offset + used if used else last
        if found is not None:
            return found, last - start
        offset += len(piece)
    return None, last - start


def _header_in(pieces: Pieces, uuid: bytes, piece: bytes, offset: int, start: int) -> int | None:
    """Return the offset of the first header that begins in a piece and validates."""
    place = -1
    while (place := piece.find(frame.MAGIC, place + 1)) >= 0:
        at = offset + place
        if at > start and (at - layout.FILE_HEADER_BYTES) % frame.ALIGNMENT == 0:
            head = piece[place : place + frame.HEADER_BYTES]
            if len(head) < frame.HEADER_BYTES:
                head = pieces.read(at, frame.HEADER_BYTES)
            if frame.parse_header(uuid, head) is not None:
                return at
    return None
