"""Makes inputs durable: `commit` returns only after the disk has them. Runs in the writer thread.

Each start begins a new file, so nothing is ever appended behind a tail of a crash. A failed write or fsync is final for
its file (after a failed fsync the kernel may have thrown the pages away and call them clean): the entries, still in
memory, are written again to a new file, once; if that fails too the caller learns it and acknowledges nothing.

Source: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal.files import journal_files, make_way, set_aside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.config.schema import Journal
    from gateway.disk import Disk
    from gateway.model import Entry


FILE_BYTES_MIN: Final = 64 * 1024
"""Smallest file that is begun when the disk is nearly full."""

_ASIDE: Final = ".new"


class JournalWriter:
    """The end of the journal. `next_position` is the position of the next entry."""

    def __init__(self, disk: Disk, folder: Path, options: Journal, next_position: int) -> None:
        self._disk = disk
        self._folder = folder
        self._options = options
        self._codec = layout.JournalCodec()
        self._handle: int | None = None
        self._uuid = b""
        self._offset = 0
        self._size = 0
        self.next_position = next_position
        self.bytes_since_checkpoint = 0
        self.counts = {"commits": 0, "entries": 0, "bytes": 0, "files": 0, "faults": 0}

    def commit(self, entries: Sequence[Entry]) -> int:
        """Append `entries` and make them durable; return the position of the first. Raises `StoreError`."""
        try:
            self._append(entries)
        except StoreError:
            self._append(entries)
        first = self.next_position
        self.next_position += len(entries)
        self.counts["commits"] += 1
        self.counts["entries"] += len(entries)
        return first

    def checkpointed(self, position: int) -> None:
        """Begin to count anew what was written since a checkpoint, and `trim`."""
        self.bytes_since_checkpoint = 0
        self.trim(position)

    def trim(self, position: int) -> int:
        """Remove the files that hold only entries before `position`; put aside those of them that cannot be read.

        Returns how many of them held any: one that was begun for a commit that failed gives room for nothing more.
        """
        for name in self._disk.names(self._folder):
            if name.endswith(_ASIDE):
                self._disk.remove(self._folder / name)
        files = list(journal_files(self._disk, self._folder))
        ends = [file.first for file in files[1:]]
        if self._handle is None:
            ends.append(self.next_position)  # nobody writes to the last one any more
        held_any = 0
        for file, end in zip(files, ends, strict=False):
            if end > position:
                break
            if file.is_readable:
                self._disk.remove(self._folder / file.name)
                held_any += file.first < end
            else:
                set_aside(self._disk, self._folder, file.name)
        return held_any

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            self._disk.close(self._handle)
            self._handle = None

    def _append(self, entries: Sequence[Entry]) -> None:
        """Write one frame and sync it; on a `StoreError` the file is let go for ever, the next call begins another."""
        try:
            is_full = self._handle is None or self._offset >= self._size
            uuid = os.urandom(16) if is_full else self._uuid
            data = self._codec.frame_of(uuid, self.next_position, entries)
            if is_full:
                self._new_file(uuid, len(data))
            assert self._handle is not None
            self._disk.write(self._handle, data, self._offset)
            self._disk.sync(self._handle)
        except StoreError:
            self.counts["faults"] += 1
            self._drop_file()
            raise
        self._offset += len(data)
        self.bytes_since_checkpoint += len(data)
        self.counts["bytes"] += len(data)

    def _new_file(self, uuid: bytes, frame_bytes: int) -> None:
        """Begin a file that has room for a first frame at least: an empty one would be in the way on a full disk."""
        self.close()
        disk, path = self._disk, self._folder / layout.file_name(self.next_position)
        disk.make_folder(self._folder)
        # It gets its name when its header is durable: a file whose header does not validate is damaged, never torn.
        aside = path.with_name(path.name + _ASIDE)
        disk.remove(aside)
        handle = disk.open(aside, create=True)
        self._handle = handle
        least = min(FILE_BYTES_MIN, self._options.segment_bytes)
        size = self._allocate(handle, max(least, layout.FILE_HEADER_BYTES + frame_bytes))
        self._uuid = uuid
        disk.write(handle, layout.file_header(uuid, self.next_position), 0)
        disk.sync(handle)
        make_way(disk, self._folder, self.next_position)
        disk.rename(aside, path)
        disk.sync_folder(self._folder)
        self._offset = layout.FILE_HEADER_BYTES
        self._size = size
        self.counts["files"] += 1

    def _allocate(self, handle: int, least: int) -> int:
        """Preallocate a file, on a disk that has no room for a whole one a smaller one; return its size."""
        size = max(self._options.segment_bytes, least)
        while True:
            try:
                self._disk.allocate(handle, size)
            except StoreError as error:
                if not error.is_no_space or size == least:
                    raise
                size = max(size // 2, least)
            else:
                return size

    def _drop_file(self) -> None:
        # The name of the file is its first position: if nothing in it was committed, the new file takes its place.
        handle, self._handle = self._handle, None
        if handle is not None:
            try:
                self._disk.close(handle)
            except StoreError:
                self.counts["faults"] += 1
