"""A file system in memory that forgets at a power cut what was not synced.

It runs as a process of its own (`python -m tests.support.forgetful MOUNT LOG`), mounted through FUSE, so that a whole
daemon can live on it. It is stricter than most file systems: bytes and length of a file are safe only after fsync or
fdatasync of the file, a name only after fsync of its folder. What a cut finds un-synced is kept, lost or torn by
chance, page by page and name by name; a rename is one step, kept or undone. The daemon is killed inside the very
operation at which the power goes; that operation has taken effect or not, and everything after it gets EIO.

The kernel's caches must not survive either, so a power cycle unmounts: this process then forgets and mounts anew what
is left. Orders come as lines of JSON on stdin, news leaves as lines of JSON on stdout, every operation that changes
something is a line of LOG. mmap works, because the kernel may cache pages; writes reach us at once all the same, and
locks are the kernel's own. Modes, owners and times that are set are not kept; there are no links and no sockets.

Invariants: what a sync was answered for is there after every cut; after a cut what is seen is what is safe.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import mfusepy  # type: ignore[import-untyped]

from tests.support.faultdisk import File as PlainFile
from tests.support.faultdisk import apply

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

PAGE = 4096
BLOCKS = 1 << 22
CACHED_S = 3600.0
SHARES_KEPT = (0.0, 0.2, 0.5, 0.8, 1.0)
SHARE_TORN = 0.2

_numbers = itertools.count(1)


class File(PlainFile):
    """What was written is forgotten by the page."""

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        self.changed_ns = time.time_ns()

    def sync(self) -> None:
        """Make bytes and length safe."""
        for offset, data in self.changes:
            apply(self.safe, offset, data)
        self.changes.clear()

    def forget(self, chance: random.Random, share: float, fates: dict[str, int]) -> None:
        """Keep about `share` of the pages written since the last sync, tear some of the others; count the fates."""
        for offset, data in self.changes:
            for start, page in pages(offset, data):
                fate = "kept" if chance.random() < share else "lost"
                if fate == "lost" and page and chance.random() < SHARE_TORN:
                    fate = "torn"
                    apply(self.safe, start, page[: chance.randrange(len(page))])
                elif fate == "kept":
                    apply(self.safe, start, page)
                fates[fate] += 1
        self.changes.clear()
        self.seen = bytearray(self.safe)


class Folder:
    """`seen` are the entries as they are, `safe` those that survive, `changes` what happened in between, in order."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.changed_ns = time.time_ns()
        self.seen: dict[str, Node] = {}
        self.safe: dict[str, Node] = {}
        self.changes: list[dict[str, Node | None]] = []

    def change(self, entries: dict[str, Node | None]) -> None:
        """Set or remove (None) names, in one step."""
        enter(self.seen, entries)
        self.changes.append(entries)
        self.changed_ns = time.time_ns()

    def sync(self) -> None:
        """Make the names safe."""
        self.safe = dict(self.seen)
        self.changes.clear()

    def forget(self, chance: random.Random, share: float, fates: dict[str, int]) -> None:
        """Keep about `share` of the changes since the last sync; then let what is left in here forget too."""
        for change in self.changes:
            is_kept = chance.random() < share
            fates["names kept" if is_kept else "names lost"] += 1
            if is_kept:
                enter(self.safe, change)
        self.changes.clear()
        self.seen = dict(self.safe)
        for name in sorted(self.seen):
            self.seen[name].forget(chance, share, fates)


Node: TypeAlias = File | Folder


def enter(entries: dict[str, Node], change: dict[str, Node | None]) -> None:
    """Apply one change to the entries of a folder."""
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def pages(offset: int, data: bytes | None) -> list[tuple[int, bytes | None]]:
    """Split a write at the bounds of pages; a change of length (None) is one step."""
    if data is None:
        return [(offset, None)]
    end = offset + len(data)
    starts = [offset, *range((offset // PAGE + 1) * PAGE, end, PAGE)]
    return [(start, data[start - offset : until - offset]) for start, until in itertools.pairwise([*starts, end])]


class Power:
    """Decides at which operation the power goes, and kills who lives on the disk at that moment."""

    def __init__(self, log: TextIO, tell: Callable[[dict[str, object]], None]) -> None:
        self.is_off = False
        self._log = log
        self._tell = tell
        self._operations = 0
        self._left: int | None = None
        self._has_effect = False
        self._victim = 0

    def arm(self, after: int, victim: int, *, has_effect: bool) -> None:
        """Let the power go at the operation after `after` more, and process `victim` with it."""
        self._left, self._victim, self._has_effect = after, victim, has_effect

    def restore(self) -> None:
        """Come back."""
        self.is_off = False
        self._left = None
        self._note("power cycle")

    def change(self, what: str, effect: Callable[[], object]) -> None:
        """Do one operation that changes something, or lose the power at it."""
        if self.is_off:
            raise OSError(errno.EIO, what)
        self._operations += 1
        self._note(what)
        if self._left is None or self._left > 0:
            if self._left is not None:
                self._left -= 1
            effect()
            return
        self.is_off = True
        if self._has_effect:
            effect()
        os.kill(self._victim, signal.SIGKILL)
        self._note("cut")
        self._tell({"cut at": what, "operation": self._operations, "has effect": self._has_effect})
        raise OSError(errno.EIO, what)

    def _note(self, what: str) -> None:
        self._log.write(f"{self._operations} {what}\n")
        self._log.flush()


class Forgetful(mfusepy.Operations):  # type: ignore[misc]  # untyped for mypy
    """The operations of the kernel on the tree below `root`, one at a time."""

    use_ns = True

    def __init__(self, power: Power, on_mounted: Callable[[], None]) -> None:
        self.root = Folder()
        self.turn = threading.Lock()
        self._power = power
        self._on_mounted = on_mounted
        self._handles: dict[int, tuple[str, File]] = {}
        self._next_handle = itertools.count(1)

    def forget(self, seed: int, share: float | None) -> dict[str, int]:
        """Throw away, by chance, what was not synced; return how many pages and names had which fate."""
        chance = random.Random(seed)
        if share is None:
            share = chance.choice(SHARES_KEPT)
        fates = dict.fromkeys(("kept", "lost", "torn", "names kept", "names lost"), 0)
        with self.turn:
            self._handles.clear()
            self.root.forget(chance, share, fates)
        return fates

    def init_with_config(self, conn_info: ctypes.Structure, config_3: Any) -> None:
        """Let unlinked files be gone, as on any disk, and the kernel remember what it alone changes."""
        del conn_info
        config_3.hard_remove = config_3.use_ino = 1
        config_3.entry_timeout = config_3.attr_timeout = CACHED_S
        self._on_mounted()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        with self.turn:
            node = self._handles[fh][1] if fh else self._node(path)
            is_file = isinstance(node, File)
            size = len(node.seen) if is_file else 0
            return {
                "st_ino": node.number,
                "st_mode": stat.S_IFREG | 0o600 if is_file else stat.S_IFDIR | 0o700,
                "st_nlink": 1 if is_file else 2,
                "st_size": size,
                "st_blocks": -(-size // 512),
                "st_uid": os.geteuid(),
                "st_gid": os.getegid(),
                **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), node.changed_ns),
            }

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        del fh
        with self.turn:
            return [(name, {"st_ino": node.number}, 0) for name, node in self._folder(path).seen.items()]

    def statfs(self, path: str) -> dict[str, int]:
        del path
        return {"f_bsize": PAGE, "f_frsize": PAGE, "f_blocks": BLOCKS, "f_bfree": BLOCKS, "f_bavail": BLOCKS}

    def mkdir(self, path: str, mode: int) -> None:
        del mode
        self._add("mkdir", path, Folder())

    def create(self, path: str, mode: int, fi: int) -> int:
        del mode, fi
        file = File()
        self._add("create", path, file)
        return self._opened(path, file)

    def open(self, path: str, flags: int) -> int:
        with self.turn:
            file = self._file(path)
        if flags & os.O_TRUNC and file.seen:
            self.truncate(path, 0)
        return self._opened(path, file)

    def release(self, path: str | None, fh: int) -> None:
        del path
        with self.turn:
            self._handles.pop(fh, None)

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        del path
        with self.turn:
            if self._power.is_off:
                raise OSError(errno.EIO, "read")
            return bytes(self._handles[fh][1].seen[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        self._change(f"write {len(data)} at {offset}", path, fh, lambda file: file.change(offset, data))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._change(f"truncate to {length}", path, fh, lambda file: file.change(length, None))

    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> None:
        if mode:
            raise OSError(errno.EOPNOTSUPP, "fallocate")

        def grow(file: File) -> None:
            missing = offset + size - len(file.seen)
            if missing > 0:
                file.change(len(file.seen), bytes(missing))

        self._change(f"fallocate to {offset + size}", path, fh, grow)

    def fsync(self, path: str | None, datasync: int, fh: int) -> None:
        self._change("fdatasync" if datasync else "fsync", path, fh, File.sync)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        del datasync, fh
        with self.turn:
            self._power.change(f"fsyncdir {path}", self._folder(path).sync)

    def rename(self, old: str, new: str) -> None:
        with self.turn:
            node = self._node(old)
            folder, name = self._place(old)
            target, new_name = self._place(new)
            if target is not folder:  # two folders cannot change in one step here
                raise OSError(errno.EXDEV, new)
            self._power.change(f"rename {old} to {new_name}", lambda: folder.change({name: None, new_name: node}))

    def unlink(self, path: str) -> None:
        with self.turn:
            self._file(path)
            self._remove("unlink", path)

    def rmdir(self, path: str) -> None:
        with self.turn:
            if self._folder(path).seen:
                raise OSError(errno.ENOTEMPTY, path)
            self._remove("rmdir", path)

    def chmod(self, path: str, mode: int) -> None:
        """Not kept."""

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Not kept."""

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        """Not kept."""

    def _opened(self, path: str, file: File) -> int:
        with self.turn:
            handle = next(self._next_handle)
            self._handles[handle] = (path, file)
            return handle

    def _add(self, verb: str, path: str, node: Node) -> None:
        with self.turn:
            folder, name = self._place(path)
            if name in folder.seen:
                raise OSError(errno.EEXIST, path)
            self._power.change(f"{verb} {path}", lambda: folder.change({name: node}))

    def _remove(self, verb: str, path: str) -> None:
        folder, name = self._place(path)
        self._power.change(f"{verb} {path}", lambda: folder.change({name: None}))

    def _change(self, what: str, path: str | None, fh: int | None, effect: Callable[[File], None]) -> None:
        with self.turn:
            opened_as, file = self._handles[fh] if fh else (path, self._file(path or ""))

            def change() -> None:
                effect(file)
                file.changed_ns = time.time_ns()

            self._power.change(f"{what} {path or opened_as}", change)

    def _node(self, path: str) -> Node:
        node: Node = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(node, Folder) or name not in node.seen:
                    raise OSError(errno.ENOENT, path)
                node = node.seen[name]
        return node

    def _file(self, path: str) -> File:
        node = self._node(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, path)
        return node

    def _folder(self, path: str) -> Folder:
        node = self._node(path)
        if not isinstance(node, Folder):
            raise OSError(errno.ENOTDIR, path)
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name


def tell(news: dict[str, object]) -> None:
    """Say something to who started us."""
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


def obey(power: Power, system: Forgetful, cycles: list[tuple[int, float | None]]) -> None:
    """Take orders until stdin ends; an entry in `cycles` makes the next unmount a power cut."""
    for line in sys.stdin:
        order = json.loads(line)
        with system.turn:
            if order["order"] == "arm":
                power.arm(order["after"], order["victim"], has_effect=order["has_effect"])
            else:
                power.is_off = True  # what the kernel writes back while it unmounts comes too late
                cycles.append((order["seed"], order["share"]))
        tell({"obeyed": order["order"]})


def main(mount: str, log_path: str) -> None:
    """Mount, and after each unmount that was ordered as a power cut forget and mount again."""
    cycles: list[tuple[int, float | None]] = []
    with Path(log_path).open("w", encoding="utf-8") as log:
        power = Power(log, tell)
        system = Forgetful(power, lambda: tell({"mounted": mount}))
        threading.Thread(target=obey, args=(power, system, cycles), daemon=True).start()
        while True:
            mfusepy.FUSE(system, mount, foreground=True, nothreads=True, fsname="forgetful")
            if not cycles:
                break
            tell({"forgot": system.forget(*cycles.pop())})
            power.restore()


if __name__ == "__main__":
    main(*sys.argv[1:])
