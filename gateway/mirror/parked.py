"""What a region refused for good, kept aside for a person: the region gets a gap in its place, which says so.

    <folder>/<lane>.<epoch>.<sequence>.batch   the envelope, whole: `gateway batch cat` reads it
    <folder>/<lane>.<epoch>.<sequence>.why     the reason, one line

A batch is on disk before its gap is sent, so a crash between them refuses and parks it again, to the same name. The
folder is bounded; past that the oldest goes, which is counted: the gap has accounted for it already. A batch that comes
after its gap is taken back out of what is lost, so sending a parked one again later mends the region's books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.batch import envelope
from gateway.model import Gap

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk
    from gateway.model import SealedBatch

BYTES_MAX: Final = 64 * 1024 * 1024
REASON: Final = "refused"
SUFFIX: Final = ".batch"
_WHY: Final = ".why"


class Parked:
    """The folder of one region. For one thread at a time; every method but the constructor may raise `StoreError`."""

    def __init__(self, disk: Disk, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self._disk = disk
        self._folder = folder
        self._bytes_max = bytes_max
        self.counts = {"parked": 0, "parked_removed": 0}

    def park(self, batch: SealedBatch, why: str) -> Gap:
        """Keep the batch, and return the gap that the region is told instead."""
        self._disk.make_folder(self._folder)
        name = f"{batch.id.lane}.{batch.id.epoch}.{batch.id.sequence}"
        self._disk.replace(self._folder / f"{name}{_WHY}", f"{why}\n".encode())
        self._disk.replace(self._folder / f"{name}{SUFFIX}", batch.data)
        self.counts["parked"] += 1
        self._make_room()
        before = envelope.peek(batch.data).readings_before
        return Gap(
            batch.id.node,
            batch.id.lane,
            batch.id.epoch,
            batch.id.sequence,
            batch.id.sequence,
            batch.readings,
            before,
            REASON,
        )

    def names(self) -> list[str]:
        """Return the names of what is parked, the oldest batch of each lane first."""
        if not self._disk.exists(self._folder):
            return []
        found = [name.removesuffix(SUFFIX) for name in self._disk.names(self._folder) if name.endswith(SUFFIX)]
        return sorted(found, key=_place)

    def load(self, name: str) -> tuple[bytes, str]:
        """Return the envelope and the reason."""
        data = self._disk.load(self._folder / f"{name}{SUFFIX}")
        why = (
            self._disk.load(self._folder / f"{name}{_WHY}")
            if self._disk.exists(self._folder / f"{name}{_WHY}")
            else b""
        )
        return data, why.decode(errors="replace").strip()

    def remove(self, name: str) -> None:
        """Forget a batch."""
        for suffix in (SUFFIX, _WHY):
            if self._disk.exists(self._folder / f"{name}{suffix}"):
                self._disk.remove(self._folder / f"{name}{suffix}")

    def _make_room(self) -> None:
        sizes = {name: self._size(name) for name in self.names()}
        total = sum(sizes.values())
        for name in sorted(sizes, key=lambda name: _place(name)[1:])[:-1]:
            if total <= self._bytes_max:
                return
            self.remove(name)
            total -= sizes[name]
            self.counts["parked_removed"] += 1

    def _size(self, name: str) -> int:
        handle = self._disk.open(self._folder / f"{name}{SUFFIX}")
        try:
            return self._disk.size(handle)
        finally:
            self._disk.close(handle)


def _place(name: str) -> tuple[str, int, int]:
    lane, epoch, sequence = name.rsplit(".", 2)
    return lane, int(epoch), int(sequence)
