"""A disk in memory that fails on order and forgets at a power cut what was never synced.

It is stricter than most file systems: a file's name is durable only after `sync_folder`, its bytes and length only
after `sync`, and after a failed `sync` what was written since the last one never becomes durable, though it can
still be read (the kernel called the pages clean). At a power cut every write and every name that was not synced is
kept, lost or torn independently, as a `random.Random` says.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.disk import Disk
from gateway.errors import StoreError

if TYPE_CHECKING:
    import random


class PowerCutError(BaseException):
    """The machine is off: raised by the operation at which it happened and by all after it."""


class File:
    """`seen` is what a reader gets, `safe` what survives, `changes` what was done in between."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.safe = bytearray()
        self.changes: list[tuple[int, bytes | None]] = []

    def change(self, offset: int, data: bytes | None) -> None:
        apply(self.seen, offset, data)
        self.changes.append((offset, data))

    def survive(self, chance: random.Random) -> None:
        for offset, data in self.changes:
            fate = chance.random()
            if fate < 0.4:
                apply(self.safe, offset, data)
            elif fate < 0.6 and data:
                apply(self.safe, offset, data[: chance.randrange(len(data))])
        self.seen = bytearray(self.safe)
        self.changes.clear()


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write `data` at `offset`, or set the length to `offset` when it is None."""
    if data is None:
        del content[offset:]
    content.extend(bytes(max(0, offset - len(content))))
    if data:
        content[offset : offset + len(data)] = data


class FaultDisk(Disk):
    """`operations` are the verbs so far; `fail(verb, ...)` and `cut_power_in(n)` order faults."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[str, str]] = []
        self.entries: dict[Path, File] = {}
        self.safe_entries: dict[Path, File] = {}
        self.folders: set[Path] = set()
        self.space: int | None = None
        self.free_bytes = 1 << 40
        self._handles: dict[int, tuple[Path, File]] = {}
        self._next_handle = 1000
        self._faults: dict[str, list[int]] = {}
        self._power: int | None = None

    def fail(self, verb: str, number: int = errno.EIO, times: int = 1, after: int = 0) -> None:
        """Let `verb` fail `times` times, after it has worked `after` times more."""
        self._faults.setdefault(verb, []).extend([0] * after + [number] * times)

    def heal(self) -> None:
        """Take back all faults that were ordered."""
        self._faults.clear()
        self._power = None

    def cut_power_in(self, operations: int) -> None:
        """Cut the power at the operation that changes something after `operations` more of them."""
        self._power = operations

    def power_up(self, chance: random.Random) -> None:
        """Be what the next start finds after a power cut."""
        self._handles.clear()
        self.heal()
        for path in sorted(set(self.entries) | set(self.safe_entries)):
            seen, safe = self.entries.get(path), self.safe_entries.get(path)
            survivor = seen if chance.random() < 0.5 else safe
            self.entries.pop(path, None)
            if survivor is not None:
                self.entries[path] = survivor
        for file in {id(file): file for file in self.entries.values()}.values():
            file.survive(chance)
        self.safe_entries = dict(self.entries)

    def counts(self) -> Counter[str]:
        return Counter(verb for verb, _ in self.operations)

    def handles(self) -> int:
        return len(self._handles)

    def make_folder(self, path: Path) -> None:
        self.folders.update((path, *path.parents))

    def exists(self, path: Path) -> bool:
        return path in self.entries or path in self.folders

    def names(self, path: Path) -> list[str]:
        return sorted({each.name for each in (*self.entries, *self.folders) if each.parent == path and each != path})

    def open(self, path: Path, *, create: bool = False) -> int:
        if create:
            self._do("create", path)
            if path in self.entries:
                raise failure(errno.EEXIST, path)
            self.entries[path] = File()
        else:
            self._do("open", path)
        if path not in self.entries:
            raise failure(errno.ENOENT, path)
        self._next_handle += 1
        self._handles[self._next_handle] = (path, self.entries[path])
        return self._next_handle

    def close(self, handle: int) -> None:
        self._do("close", self._handles.pop(handle)[0])

    def allocate(self, handle: int, size: int) -> None:
        path, file = self._changing("allocate", handle)
        grown = size - len(file.seen)
        self._take_space(path, grown)
        if grown > 0:
            file.change(len(file.seen), bytes(grown))

    def size(self, handle: int) -> int:
        return len(self._handles[handle][1].seen)

    def read(self, handle: int, size: int, offset: int) -> bytes:
        path, file = self._handles[handle]
        self._do("read", path)
        return bytes(file.seen[offset : offset + size])

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> None:
        path, file = self._handles[handle]
        try:
            self._change("write", path)
        except BaseException:
            file.change(offset, bytes(data[: len(data) // 2]))
            raise
        self._take_space(path, offset + len(data) - len(file.seen))
        file.change(offset, bytes(data))

    def truncate(self, handle: int, size: int) -> None:
        self._changing("truncate", handle)[1].change(size, None)

    def sync(self, handle: int) -> None:
        path, file = self._handles[handle]
        try:
            self._change("sync", path)
        except StoreError:
            file.changes.clear()
            raise
        for offset, data in file.changes:
            apply(file.safe, offset, data)
        file.changes.clear()

    def sync_folder(self, path: Path) -> None:
        self._change("sync_folder", path)
        for each in {*self.entries, *self.safe_entries}:
            if each.parent == path:
                self.safe_entries.pop(each, None)
                if each in self.entries:
                    self.safe_entries[each] = self.entries[each]

    def rename(self, source: Path, target: Path) -> None:
        self._change("rename", source)
        self.entries[target] = self.entries.pop(source)

    def remove(self, path: Path) -> None:
        self._change("remove", path)
        self.entries.pop(path, None)

    def load(self, path: Path) -> bytes:
        self._do("read", path)
        if path not in self.entries:
            raise failure(errno.ENOENT, path)
        return bytes(self.entries[path].seen)

    def free(self, path: Path) -> int:
        del path
        return self.free_bytes

    def _take_space(self, path: Path, grown: int) -> None:
        used = sum(len(each.seen) for each in self.entries.values())
        if self.space is not None and grown > 0 and used + grown > self.space:
            raise failure(errno.ENOSPC, path)

    def _changing(self, verb: str, handle: int) -> tuple[Path, File]:
        path, file = self._handles[handle]
        self._change(verb, path)
        return path, file

    def _change(self, verb: str, path: Path) -> None:
        if self._power is not None:
            self._power -= 1
            if self._power < 0:
                raise PowerCutError(f"{verb} {path}")
        self._do(verb, path)

    def _do(self, verb: str, path: Path) -> None:
        self.operations.append((verb, str(path)))
        faults = self._faults.get(verb)
        if faults and (number := faults.pop(0)):
            raise failure(number, path)


def failure(number: int, path: Path) -> StoreError:
    return StoreError(f"{os.strerror(number)}: {path}", path=str(path), errno=errno.errorcode[number])
