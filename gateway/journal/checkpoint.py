"""Keeps the pipeline's state at two journal positions, so that one unreadable file costs a longer replay, not data.

A checkpoint is valid only when every batch that was sealed before its position is durable in the spool; the flow sees
to that before it calls `finish`. It is written slice by slice while other work goes on:

    pack      encode thread   compresses one slice; `is_full` says that `flush` is due
    flush     writer thread   writes what is packed and syncs it, so that no commit waits for more than one such piece
    finish    writer thread   the rest, then the name: whole or not there

What is held in memory is at most `PIECE_BYTES` and the slice in the making.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.journal import format as layout
from gateway.journal.files import set_aside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.disk import Disk

PIECE_BYTES: Final = 512 * 1024
_SUFFIX: Final = ".ckpt"
_ASIDE: Final = ".new"
_KEPT: Final = 2


class CheckpointStore:
    """The checkpoints of one node. `size` is the bytes of the newest."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._unusable: set[str] = set()
        self.size = 0
        self.counts = {"checkpoints": 0, "bytes": 0}

    def readable(self, notes: list[str]) -> Iterator[tuple[layout.Checkpoint, Iterator[bytes]]]:
        """Yield the checkpoints that can be read, newest first, each with the slices of its state.

        A sentence for each that cannot is appended to `notes`. The slices raise `StoreError` where they do not unpack.
        Whoever asks for another one found the one before it to be of no use.
        """
        codec = layout.JournalCodec()
        for name in reversed(self._names()):
            try:
                data = self._disk.load(self._folder / name)
                checkpoint, slices = codec.checkpoint_of(data, position_of(name))
            except StoreError as error:
                notes.append(f"checkpoint {name} cannot be used: {error.fault}")
                self._unusable.add(name)
                continue
            self.size = len(data)
            yield checkpoint, slices
            self._unusable.add(name)
        self.size = 0

    def begin(self, checkpoint: layout.Checkpoint) -> CheckpointWriter:
        """Return what writes a new checkpoint; nothing is on the disk yet."""
        return CheckpointWriter(self._disk, self._folder, checkpoint)

    def finish(self, writer: CheckpointWriter) -> int:
        """Make a checkpoint durable and drop all but the newest two; return the position of the older one kept.

        The journal may be trimmed up to that position and no further. Those that could not be used are put aside and
        do not count: else the next damage would find only them. Raises `StoreError`.
        """
        self._put_aside(self._unusable & {writer.name})
        self.size = writer.finish()
        self.counts["checkpoints"] += 1
        self.counts["bytes"] += self.size
        for name in self._disk.names(self._folder):
            if name.endswith(_SUFFIX + _ASIDE):  # what a crash left
                self._disk.remove(self._folder / name)
        self._put_aside(self._unusable)
        names = self._names()
        for name in names[:-_KEPT]:
            self._disk.remove(self._folder / name)
        return position_of(names[-_KEPT:][0])

    def keep_newest_only(self) -> int | None:
        """Drop all but the newest checkpoint, where two find no room; return its position. Raises `StoreError`."""
        names = self._names()
        for name in names[:-1]:
            self._disk.remove(self._folder / name)
        return position_of(names[-1]) if names else None

    def _put_aside(self, names: set[str]) -> None:
        for name in names.intersection(self._names()):
            set_aside(self._disk, self._folder, name)
        self._unusable -= names

    def _names(self) -> list[str]:
        return checkpoint_names(self._disk, self._folder)


class CheckpointWriter:
    """One checkpoint in the making; `pack` and `flush` must not run at the same time."""

    def __init__(self, disk: Disk, folder: Path, checkpoint: layout.Checkpoint) -> None:
        self._disk = disk
        self._path = folder / f"{checkpoint.position:016d}{_SUFFIX}"
        self._aside = self._path.with_name(self._path.name + _ASIDE)
        self._codec = layout.JournalCodec()
        self._uuid = os.urandom(16)
        self._packed = bytearray(layout.checkpoint_header(self._uuid, checkpoint.position))
        self._frames = 0
        self._handle: int | None = None
        self._offset = 0
        self.pack(msgspec.msgpack.encode(checkpoint))

    @property
    def name(self) -> str:
        """The name of the file once it is finished."""
        return self._path.name

    @property
    def is_full(self) -> bool:
        """Whether as much is packed as should be held in memory."""
        return len(self._packed) >= PIECE_BYTES

    def pack(self, content: bytes) -> None:
        """Take in the next slice of the state."""
        self._packed += self._codec.state_frame(self._uuid, self._frames, content)
        self._frames += 1

    def flush(self) -> None:
        """Make durable what was packed. Raises `StoreError`; the checkpoint can then only be abandoned."""
        if self._handle is None:
            self._disk.make_folder(self._path.parent)
            self._disk.remove(self._aside)
            self._handle = self._disk.open(self._aside, create=True)
        self._disk.write(self._handle, memoryview(self._packed), self._offset)
        self._disk.sync(self._handle)
        self._offset += len(self._packed)
        self._packed = bytearray()

    def finish(self) -> int:
        """Write the rest and give the file its name; return its bytes. Raises `StoreError`."""
        self._packed += layout.checkpoint_end(self._uuid, self._frames)
        self.flush()
        self._close()
        self._disk.rename(self._aside, self._path)
        self._disk.sync_folder(self._path.parent)
        return self._offset

    def abandon(self) -> None:
        """Remove what was written, unless it is finished. A disk that refuses keeps it until the next checkpoint."""
        if self._handle is not None:
            with contextlib.suppress(StoreError):
                self._close()
                self._disk.remove(self._aside)

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        assert handle is not None
        self._disk.close(handle)


def checkpoint_names(disk: Disk, folder: Path) -> list[str]:
    """Return the names of all checkpoints in a folder, the oldest first."""
    names = disk.names(folder)
    return [name for name in names if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdigit()]


def position_of(name: str) -> int:
    """Return the position that the name of a checkpoint tells."""
    return int(name.removesuffix(_SUFFIX))
