"""Keeps bytes for a person that the gateway itself must not use: damaged ranges, and two contents of one identity.

A folder of at most `FILES_MAX` files, and `BYTES_MAX` bytes a run; what does not fit is only counted. A disk that
refuses costs the copy, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk

FILES_MAX: Final = 64
BYTES_MAX: Final = 64 << 20


class Aside:
    """The folder; made when there is something to keep."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._bytes = 0
        self.counts = {"kept": 0, "unkept": 0}

    def keep(self, name: str, data: bytes) -> None:
        """Keep `data` under `name`, unless that is there already or there is no room."""
        path = self._folder / name
        try:
            if self._disk.exists(path):
                return
            self._disk.make_folder(self._folder)
            if len(self._disk.names(self._folder)) >= FILES_MAX or self._bytes + len(data) > BYTES_MAX:
                self.counts["unkept"] += 1
                return
            self._disk.replace(path, data)
        except StoreError:
            self.counts["unkept"] += 1
            return
        self._bytes += len(data)
        self.counts["kept"] += 1
