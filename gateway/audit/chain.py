"""The files of an audit log: entries are appended by whoever acts, one process at a time, each durable on return.

    <folder>/0000000000000001.audit    entries from 1 on, see `gateway.audit.entry`
    <folder>/0000000000000412.audit    begins with an anchor
    <folder>/lock                      held while one appends
    <folder>/handed-on                 number and hash of the last entry that is in the node's journal

A file that is full is followed by another, whose first entry is an anchor: it says which entry will be the oldest one
after it, with the `previous` of that. Only when the anchor is durable the older files go. So what rotation removes is
proved by an entry of the chain, and what somebody else removes is not.

A line is acknowledged after its fdatasync. What a crash leaves behind the last line end is torn and was acknowledged to
nobody: the next one to append cuts it off and says so in an entry. After a failed write or sync the next entry begins a
new file: the old one's pages may never reach the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.audit.entry import (
    ANCHOR,
    BEGAN,
    ENTRY_BYTES_MAX,
    NOTHING_BEFORE,
    TORN,
    Entry,
    content_of,
    hash_of,
    line_of,
    parsed,
    split,
    told,
)
from gateway.audit.proof import File, Proof, proof_of
from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway.disk import Disk

FOLDER: Final = "audit"
FILES_MAX: Final = 8
BYTES_MAX: Final = 64 * 1024 * 1024
"""Bound for whoever does not know what is configured: the most that may be, so that a tool removes nothing early."""
SUFFIX: Final = ".audit"
HANDED_ON: Final = "handed-on"
LOCK_S: Final = 10.0

_POLL_S: Final = 0.02
_LOCK: Final = "lock"
_ROOT: Final = 0


class Mark(msgspec.Struct, frozen=True):
    """The number and the hash of an entry."""

    number: int
    hash: str


class _End(NamedTuple):
    """Where the log ends: file, length of its whole lines, what comes after them, and the last entry's mark."""

    first: int
    size: int
    torn: int
    last: Mark


class _Failed(NamedTuple):
    """A write to a file from `size` to `end` that failed."""

    first: int
    size: int
    end: int


class Chain:
    """The log in one folder, of at most about `bytes_max` bytes."""

    def __init__(self, disk: Disk, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self._disk = disk
        self._folder = folder
        self._file_bytes_max = max(bytes_max // FILES_MAX, 2 * ENTRY_BYTES_MAX)
        self._failed: _Failed | None = None

    def append(self, kind: str, who: str, what: Mapping[str, object], time_ns: int) -> Mark:
        """Write one entry; it is durable on return. Raises `StoreError`: then it is not known to be there."""
        with self._owned():
            end = self._end() or self._begin(who, time_ns)
            if end.torn and self._failed is None:
                end = self._without_torn(end, who, time_ns)
            mark, _ = self._write(end, kind, who, what, time_ns)
        return mark

    def proof(self) -> Proof:
        """Read everything and verify it."""
        return proof_of(self.files())

    def files(self) -> list[File]:
        """Return all files, in order. Raises `StoreError`."""
        with self._owned(shared=True):
            return [File(first, self._disk.load(self._path(first))) for first in self._firsts()]

    def entries(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of the whole lines after an entry, oldest first, whatever they hold."""
        firsts = self._firsts()
        for first, end in zip(firsts, [*firsts[1:], 1 << 63], strict=False):
            if end <= after + 1:
                continue
            lines = self._disk.load(self._path(first)).split(b"\n")[:-1]
            yield from ((number, line) for number, line in enumerate(lines, first) if after < number < end)

    def last(self) -> int:
        """Return the number of the newest entry, 0 when there is none."""
        end = self._end()
        return end.last.number if end else 0

    def handed_on(self) -> Mark | None:
        """Return the newest entry that is in the journal, as far as it is known."""
        path = self._folder / HANDED_ON
        if not self._disk.exists(path):
            return None
        try:
            return msgspec.json.decode(self._disk.load(path), type=Mark)
        except msgspec.DecodeError:
            return None

    def note_handed_on(self, mark: Mark) -> None:
        """Remember that entries up to this one are in the journal. Raises `StoreError`."""
        self._disk.replace(self._folder / HANDED_ON, msgspec.json.encode(mark) + b"\n")

    def _firsts(self) -> list[int]:
        names = [name.removesuffix(SUFFIX) for name in self._disk.names(self._folder) if name.endswith(SUFFIX)]
        return sorted(int(name) for name in names if name.isdecimal())

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:016d}{SUFFIX}"

    def _end(self) -> _End | None:
        firsts = self._firsts()
        if not firsts:
            return None
        data = self._disk.load(self._path(firsts[-1]))
        failed = self._failed
        if failed is not None and failed.first == firsts[-1] and len(data) <= failed.end:
            data = data[: failed.size]  # nobody was told of what follows, and nobody has built on it
        size = data.rfind(b"\n") + 1
        lines = data[:size].split(b"\n")[:-1]
        if not lines:  # only what another hand did to it can leave a file without a line
            return _End(firsts[-1], 0, len(data), Mark(firsts[-1] - 1, NOTHING_BEFORE))
        last = hash_of(split(lines[-1])[1])
        return _End(firsts[-1], size, len(data) - size, Mark(firsts[-1] + len(lines) - 1, last))

    def _begin(self, who: str, time_ns: int) -> _End:
        content = content_of(Entry(number=1, time_ns=time_ns, kind=BEGAN, who=who, what={}, previous=NOTHING_BEFORE))
        return self._new_file(1, content)

    def _new_file(self, first: int, content: bytes) -> _End:
        line = line_of(content)
        self._disk.replace(self._path(first), line)
        self._give_to_owner(self._path(first))
        self._failed = None
        return _End(first, len(line), 0, Mark(first, hash_of(content)))

    def _without_torn(self, end: _End, who: str, time_ns: int) -> _End:
        handle = self._disk.open(self._path(end.first))
        try:
            self._disk.truncate(handle, end.size)
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)
        return self._write(end._replace(torn=0), TORN, who, {"bytes": end.torn}, time_ns)[1]

    def _write(self, end: _End, kind: str, who: str, what: Mapping[str, object], time_ns: int) -> tuple[Mark, _End]:
        content = self._content(end, kind, who, what, time_ns)
        if self._failed is not None or end.size + len(line_of(content)) > self._file_bytes_max:
            end = self._rotate(end, who, time_ns)
            content = self._content(end, kind, who, what, time_ns)
        line = line_of(content)
        handle = self._disk.open(self._path(end.first))
        try:
            self._disk.write(handle, line, end.size)
            self._disk.sync(handle)
        except StoreError:
            self._failed = _Failed(end.first, end.size, end.size + len(line))
            raise
        finally:
            self._disk.close(handle)
        mark = Mark(end.last.number + 1, hash_of(content))
        return mark, _End(end.first, end.size + len(line), 0, mark)

    def _content(self, end: _End, kind: str, who: str, what: Mapping[str, object], time_ns: int) -> bytes:
        return content_of(
            Entry(
                number=end.last.number + 1,
                time_ns=time_ns,
                kind=kind,
                who=who,
                what=told(what),
                previous=end.last.hash,
            )
        )

    def _rotate(self, end: _End, who: str, time_ns: int) -> _End:
        """Begin a new file, and let the oldest ones go once its anchor is durable."""
        kept = self._firsts()[-(FILES_MAX - 1) :]
        head = parsed(split(self._disk.load(self._path(kept[0])).partition(b"\n")[0])[1])
        previous = head.previous if head is not None else NOTHING_BEFORE
        what = {"oldest": kept[0], "oldest_previous": previous}
        made = self._new_file(end.last.number + 1, self._content(end, ANCHOR, who, what, time_ns))
        for first in self._firsts():
            if first < kept[0]:
                self._disk.remove(self._path(first))
        return made

    def _give_to_owner(self, path: Path) -> None:
        """Let what root made belong to whom the folder belongs to: the daemon must append to it."""
        if os.geteuid() == _ROOT:
            with contextlib.suppress(OSError):
                found = self._folder.stat()
                os.chown(path, found.st_uid, found.st_gid)

    @contextlib.contextmanager
    def _owned(self, *, shared: bool = False) -> Iterator[None]:
        """Keep others from appending. Raises `StoreError` when one of them does not finish."""
        if shared and not self._disk.exists(self._folder):
            yield
            return
        self._disk.make_folder(self._folder)
        path = self._folder / _LOCK
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if shared and error.errno in (errno.EROFS, errno.EACCES, errno.ENOSPC):
                yield  # to look at a log that we may not write to
                return
            name = errno.errorcode.get(error.errno or 0, "?")
            raise StoreError(f"cannot open {path}: {error.strerror}", path=str(path), errno=name) from error
        try:
            self._give_to_owner(path)
            self._lock(handle, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int, path: Path, how: int) -> None:
        give_up_at = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > give_up_at:
                    raise StoreError(f"another process has held {path} for {LOCK_S:.0f} s", path=str(path)) from error
                time.sleep(_POLL_S)
            else:
                return
