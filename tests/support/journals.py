"""Where the frames of a journal file lie, to damage one of them."""

from __future__ import annotations

from pathlib import Path

from gateway import frame
from gateway.journal import format as layout


def places(path: Path) -> list[tuple[int, frame.Header]]:
    """Return offset and header of each frame of a journal file, up to the first that does not validate."""
    data = path.read_bytes()
    uuid, _ = layout.parse_file_header(data) or (b"", 0)
    offset, found = layout.FILE_HEADER_BYTES, []
    while (whole := frame.whole_at(uuid, data, offset)) is not None:
        found.append((offset, whole[0]))
        offset += whole[0].frame_bytes
    return found


def flip(path: Path, place: int) -> None:
    """Let one bit be wrong."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def flip_body(path: Path, number: int) -> int:
    """Damage the body of a frame and return its offset."""
    offset = places(path)[number][0]
    flip(path, offset + frame.HEADER_BYTES + 5)
    return offset
