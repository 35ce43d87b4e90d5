"""The file operations that the stores need, and nothing more: a seam where tests put faults.

`Disk` is the real one. Every failure is a `StoreError` with path and errno. Writes may be short of nothing: they are
whole or they raise. A file handle is an `int` descriptor; paths are `pathlib.Path`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.workers import outside

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_BYTES: Final = 4096


@contextlib.contextmanager
def _reported(verb: str, file: Path | int) -> Iterator[None]:
    try:
        with outside():
            yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        path = _path_of(file) if isinstance(file, int) else str(file)
        raise StoreError(f"cannot {verb} {path}: {error.strerror}", path=path, errno=name) from error


def _path_of(handle: int) -> str:
    """Return what a descriptor is open on, for people: its number means nothing to them."""
    try:
        return str(Path(f"/proc/self/fd/{handle}").readlink())
    except OSError:
        return f"a closed file ({handle})"


class _Dirty:
    """Pages of one open file that were written since its last sync."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self._pages = 0
        self._last = -1

    def wrote(self, offset: int, size: int) -> None:
        first, last = offset // PAGE_BYTES, max(offset, offset + size - 1) // PAGE_BYTES
        self._pages += last - first + (first != self._last)
        self._last = last

    def synced(self) -> int:
        pages, self._pages, self._last = self._pages, 0, -1
        return pages * PAGE_BYTES


class Disk:
    """The machine's file system.

    `written` counts the bytes of the pages that syncs brought to the medium, by the purpose of the folder that a file
    lies in, see `name_folder`. A page that is written twice in a row before a sync counts once, as in an append.
    """

    def __init__(self) -> None:
        self.written: dict[str, int] = {}
        self._folders: dict[Path, str] = {}
        self._dirty: dict[int, _Dirty] = {}
        self._read_only: set[int] = set()

    def _must_be_writable(self, verb: str, handle: int) -> None:
        if handle in self._read_only:
            path = _path_of(handle)
            raise StoreError(f"cannot {verb} {path}: {os.strerror(errno.EROFS)}", path=path, errno="EROFS")

    def name_folder(self, path: Path, purpose: str) -> None:
        """Count what is written to files below `path` under `purpose`; the innermost folder named counts."""
        self._folders[path] = purpose
        self.written.setdefault(purpose, 0)

    def make_folder(self, path: Path) -> None:
        """Create `path` and its parents where missing, and make the new entries durable."""
        if self.exists(path):
            return
        with _reported("create folder", path):
            path.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.sync_folder(path.parent)

    def exists(self, path: Path) -> bool:
        """Say whether anything is at `path`."""
        return path.exists()

    def names(self, path: Path) -> list[str]:
        """Return the names in folder `path`, sorted; none when the folder is missing."""
        with _reported("list", path):
            return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open for reading and writing; with `create` the file must not exist yet.

        On a read-only file system, and for a user who may only read, an existing file is opened for reading.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        with _reported("create" if create else "open", path):
            try:
                handle = os.open(path, flags, 0o640)
            except OSError as error:
                if create or error.errno not in (errno.EROFS, errno.EACCES):
                    raise
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._read_only.add(handle)
        for folder in path.parents:
            if folder in self._folders:
                self._dirty[handle] = _Dirty(self._folders[folder])
                break
        return handle

    def close(self, handle: int) -> None:
        """Close the descriptor; errors of a late write-back are not hidden."""
        self._dirty.pop(handle, None)
        self._read_only.discard(handle)
        with _reported("close", handle):
            os.close(handle)

    def allocate(self, handle: int, size: int) -> None:
        """Reserve `size` bytes of disk for the file, and set its length to at least that."""
        self._must_be_writable("reserve space for", handle)
        with _reported("reserve space for", handle):
            os.posix_fallocate(handle, 0, size)

    def size(self, handle: int) -> int:
        """Return the length of the file in bytes."""
        with _reported("stat", handle):
            return os.fstat(handle).st_size

    def read(self, handle: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`; fewer only at the end of the file."""
        parts = []
        while size > 0:
            with _reported("read", handle):
                part = os.pread(handle, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        self._must_be_writable("write", handle)
        view = memoryview(data)
        if handle in self._dirty:
            self._dirty[handle].wrote(offset, len(view))
        while view:
            with _reported("write", handle):
                written = os.pwrite(handle, view, offset)
            view = view[written:]
            offset += written

    def truncate(self, handle: int, size: int) -> None:
        """Set the length of the file."""
        self._must_be_writable("truncate", handle)
        with _reported("truncate", handle):
            os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        """Make data and length durable (fdatasync). A failure is final for the file: never try again."""
        with _reported("sync", handle):
            os.fdatasync(handle)
        if handle in self._dirty:
            dirty = self._dirty[handle]
            self.written[dirty.purpose] += dirty.synced()

    def sync_folder(self, path: Path) -> None:
        """Make the entries of a folder durable."""
        with _reported("sync folder", path):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def free(self, path: Path) -> int:
        """Return the bytes that we may still write to the file system of `path`."""
        with _reported("stat the file system of", path):
            found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` by `source` in one step; durable after `sync_folder` of the parent."""
        with _reported("rename", source):
            source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove the file; missing is fine."""
        with _reported("remove", path):
            path.unlink(missing_ok=True)

    def replace(self, path: Path, data: bytes) -> None:
        """Make `path` hold exactly `data`, durably and in one step: write aside, sync, rename, sync the folder."""
        aside = path.with_name(path.name + ".new")
        self.remove(aside)
        handle = self.open(aside, create=True)
        try:
            self.write(handle, data, 0)
            self.sync(handle)
        finally:
            self.close(handle)
        self.rename(aside, path)
        self.sync_folder(path.parent)

    def load(self, path: Path) -> bytes:
        """Return the whole content of a file."""
        with _reported("read", path):
            return path.read_bytes()
