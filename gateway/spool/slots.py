"""Makes a small value durable in two alternating checksummed files, so that a crash while writing costs one version.

A save overwrites the older slot in place: the newer one is never in danger, and a full disk does not stop it, because
the files are preallocated. A write or fsync that failed is final for its file: the next save replaces that file by a
new one, since the kernel may call pages clean that never reached the disk. A slot that a program of another version
wrote is kept beside its successor.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.spool import format as layout

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk

ROOM_BYTES: Final = 4096
"""Slots are preallocated in multiples of this."""


class Slots:
    """One value under `path`.0 and `path`.1. `notes` says what could not be read."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._paths = [path.with_name(f"{path.name}.{number}") for number in (0, 1)]
        self._generations = [0, 0]
        self._spoiled: set[int] = set()
        self._foreign: set[int] = set()
        self.notes: list[str] = []
        self.was_found = False

    def load(self) -> bytes | None:
        """Return the newest value that can be read, or None."""
        best: tuple[int, bytes] | None = None
        for number, path in enumerate(self._paths):
            if not self._disk.exists(path):
                continue
            self.was_found = True
            data = b""
            try:
                data = self._disk.load(path)
            except StoreError as error:
                self.notes.append(error.fault)
            found = layout.parse_slot(data)
            if found is None:
                self._spoiled.add(number)
                why = "is damaged or was never finished"
                if layout.is_slot_of_other_version(data):
                    self._foreign.add(number)
                    why = "is of another version"
                self.notes.append(f"{path.name} {why}, the other copy counts")
                continue
            self._generations[number] = found[0]
            if best is None or found[0] > best[0]:
                best = found
        return best[1] if best else None

    def save(self, body: bytes) -> None:
        """Make `body` the value; durable on return. Raises `StoreError`: then the value before it still stands."""
        number = 0 if self._generations[0] <= self._generations[1] else 1
        generation = max(self._generations) + 1
        data = layout.slot(generation, body)
        path = self._paths[number]
        try:
            if number in self._foreign:
                self._disk.rename(path, path.with_name(path.name + layout.FOREIGN_SUFFIX))
                self._foreign.discard(number)
            if number in self._spoiled or not self._disk.exists(path):
                room = -len(data) % ROOM_BYTES
                self._disk.replace(path, data + bytes(room))
            else:
                self._overwrite(path, data)
        except StoreError:
            self._spoiled.add(number)
            raise
        self._spoiled.discard(number)
        self._generations[number] = generation

    def _overwrite(self, path: Path, data: bytes) -> None:
        handle = self._disk.open(path)
        try:
            if len(data) > self._disk.size(handle):
                self._disk.allocate(handle, len(data) + -len(data) % ROOM_BYTES)
            self._disk.write(handle, data, 0)
            self._disk.sync(handle)
        finally:
            with contextlib.suppress(StoreError):  # what matters was synced
                self._disk.close(handle)
