"""The files of a journal in the order of what they hold, told by their headers, which outlive a wrong name.

A file gets its name when its header is durable (`gateway.journal.writer`), so one whose header does not validate is
damaged, or of another version: never torn. It may hold acknowledged input that a person, or another version, can still
read; so it is never overwritten or removed, only put aside. `ASIDE_MAX` such files are kept, the newest.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.errors import StoreError
from gateway.journal import format as layout

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk

DAMAGED_SUFFIX: Final = ".damaged"
ASIDE_MAX: Final = 4
"""Files kept aside in a folder; a journal file is as large as `journal.segment_bytes`."""


class JournalFile(NamedTuple):
    """`first` is the position of the first entry, by the name where the header cannot be read."""

    first: int
    name: str
    is_readable: bool


def journal_files(disk: Disk, folder: Path) -> list[JournalFile]:
    """Return all files of the journal in order."""
    names = [name for name in disk.names(folder) if name.endswith(layout.SUFFIX)]
    return sorted(_looked_at(disk, folder / name) for name in names)


def set_aside(disk: Disk, folder: Path, name: str) -> None:
    """Give a file a name under which nothing uses it; a disk that refuses leaves it as it is."""
    with contextlib.suppress(StoreError):
        disk.rename(folder / name, folder / (name + DAMAGED_SUFFIX))
        kept = [other for other in disk.names(folder) if other.endswith(DAMAGED_SUFFIX)]
        for other in kept[:-ASIDE_MAX]:
            disk.remove(folder / other)


def make_way(disk: Disk, folder: Path, position: int) -> None:
    """Let the name of the file that begins with `position` be free, or belong to one that holds nothing."""
    name = layout.file_name(position)
    for file in journal_files(disk, folder):
        if file.name != name or (file.is_readable and file.first == position):
            continue
        rightful = layout.file_name(file.first)
        if file.is_readable and not disk.exists(folder / rightful):
            disk.rename(folder / name, folder / rightful)
        else:
            set_aside(disk, folder, name)


def _looked_at(disk: Disk, path: Path) -> JournalFile:
    header = None
    with contextlib.suppress(StoreError):
        handle = disk.open(path)
        try:
            header = layout.parse_file_header(disk.read(handle, layout.FILE_HEADER_BYTES, 0))
        finally:
            disk.close(handle)
    if header is not None:
        return JournalFile(header[1], path.name, is_readable=True)
    named = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else 0
    return JournalFile(named, path.name, is_readable=False)
