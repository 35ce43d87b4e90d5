"""Reads back what the journal holds from a position on, whatever state its files are in.

Never raises for damage: what does not validate is skipped to the next frame that does, and each skip is a sentence in
the report. Positions decide what it means: if they go on without a gap, what was skipped is the torn tail of a crash or
a commit that was written again, and nothing is missing; a gap is acknowledged input that the medium lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal.files import journal_files
from gateway.journal.frames import Found, Pieces, frames
from gateway.model import MessageGroup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway import frame
    from gateway.disk import Disk
    from gateway.model import Entry


@dataclass(slots=True)
class Report:
    """What a replay met. `damaged`: acknowledged input is missing. `next_position` goes on after everything.

    `missing` are runs of positions, (first, last), that no file holds any more; what is missing at the end of the
    journal is in none of them, since nothing there says how much it was.
    """

    next_position: int = 0
    entries: int = 0
    messages: int = 0
    damaged: bool = False
    missing: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def entries(disk: Disk, folder: Path, start: int, report: Report) -> Iterator[tuple[int, Entry]]:
    """Yield (position, entry) from position `start` on, in order; fill `report` as it goes."""
    report.next_position = start
    files = journal_files(disk, folder)
    codec = layout.JournalCodec()
    for file in files:
        # Two files of one position are copies, of which one may be older: both are read.
        following = next((other.first for other in files if other.first > file.first), None)
        if following is not None and following <= start:
            continue
        for header, body in _frames(disk, folder / file.name, report):
            found = codec.entries_of(body)
            if found is None:
                report.notes.append(
                    f"{file.name}: the commit at {header.first} with {header.items} messages is unreadable"
                )
                continue
            for position, entry in enumerate(found, header.first):
                if position < report.next_position or (following is not None and position >= following):
                    continue
                _note_gap(file.name, position, report)
                report.next_position = position + 1
                report.entries += 1
                report.messages += len(entry.topics) if isinstance(entry, MessageGroup) else 0
                yield position, entry


def _note_gap(name: str, position: int, report: Report) -> None:
    missing = position - report.next_position
    if missing:
        report.damaged = True
        report.missing.append((report.next_position, position - 1))
        report.notes.append(f"{name}: {missing} entries from {report.next_position} on are missing")


def _frames(disk: Disk, path: Path, report: Report) -> Iterator[tuple[frame.Header, bytes]]:
    """Yield every frame of one file that validates, with a note for everything else that is not zeros."""
    try:
        with Pieces(disk, path) as pieces:
            head = pieces.read(0, layout.FILE_HEADER_BYTES)
            opened = layout.parse_file_header(head)
            if opened is None:
                report.damaged = True
                report.notes.append(f"{path.name} {unreadable(head)}, {pieces.size} bytes skipped")
                return
            uuid, _ = opened
            for found in frames(pieces, uuid):
                if isinstance(found, Found):
                    yield found.header, found.body
                elif found.size:
                    left_out = f"{found.size} bytes at {found.offset} do not validate and are left out"
                    report.notes.append(f"{path.name}: {left_out}")
    except StoreError as error:
        report.damaged = True
        report.notes.append(f"{path.name}: {error}")


def unreadable(head: bytes) -> str:
    """Return why a journal file with such a header cannot be read."""
    version = layout.other_version(head)
    return f"is of version {version}, this program reads {layout.VERSION}" if version else "has a damaged header"
