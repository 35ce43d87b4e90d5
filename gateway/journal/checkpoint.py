"""Keeps the pipeline's state at two journal positions, so that one unreadable file costs a longer replay, not data.

A checkpoint is valid only when every batch that was sealed before its position is durable in the spool; the flow sees
to that before it calls `write`. Runs in the writer thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import StoreError
from gateway.journal.format import Checkpoint, JournalCodec

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disk import Disk

_SUFFIX = ".ckpt"
_KEPT = 2


class CheckpointStore:
    """The checkpoints of one node. `size` is the bytes of the newest."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._codec = JournalCodec()
        self.size = 0
        self.counts = {"checkpoints": 0, "bytes": 0}

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest checkpoint that can be read, and a sentence for each that cannot."""
        notes = []
        for name in reversed(self._names()):
            try:
                data = self._disk.load(self._folder / name)
                checkpoint = self._codec.checkpoint_of(data)
            except StoreError as error:
                notes.append(f"checkpoint {name} cannot be used: {error.fault}")
                continue
            self.size = len(data)
            return checkpoint, notes
        return None, notes

    def encode(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes for `write`; separate because the state must not change meanwhile."""
        return self._codec.checkpoint_bytes(checkpoint)

    def write(self, position: int, data: bytes) -> int:
        """Make a checkpoint durable and drop all but the newest two; return the position of the older one kept.

        The journal may be trimmed up to that position and no further. Raises `StoreError`.
        """
        self._disk.make_folder(self._folder)
        self._disk.replace(self._folder / f"{position:016d}{_SUFFIX}", data)
        names = self._names()
        for name in names[:-_KEPT]:
            self._disk.remove(self._folder / name)
        self.size = len(data)
        self.counts["checkpoints"] += 1
        self.counts["bytes"] += len(data)
        return int(names[-_KEPT:][0].removesuffix(_SUFFIX))

    def _names(self) -> list[str]:
        return [
            name
            for name in self._disk.names(self._folder)
            if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdigit()
        ]
