"""NDJSON files: one line per reading, one file per UTC day of receipt, a new one past `FILE_BYTES_MAX`.

    {"node":"n","topic":"t","field":"f","time_ns":1732352400000000000,"value":21.5}

Bytes are written as {"base64": "…"}; NaN and Infinity, which no node of ours sends, become null; everything else is
JSON's own. Files are `readings-<day>-<number>.ndjson`.

Exactly once in effect: the length of each file is a row of the transaction. Lines are appended at that length and
synced before the commit, so bytes past it are of a write that never counted, and are cut off before the next. A file
that failed to sync is never written again by this process (the kernel may have dropped its dirty pages): it stays at
its recorded length, which an earlier sync covered, and a new number is begun; one of recorded length 0 is removed
instead, so a disk that fails for a day leaves no trail of empty files. A file that someone else moved away or cut is
not written again either, and one without a row (of a crash, or because the store was lost) is kept aside at the start
as `<name>.unrecorded-<number>`: what a lost store knew is nowhere else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.model import Value  # noqa: TC001  # the encoder reads the types of its Structs
from gateway.region.sink import batches

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.batch.decode import DecodedBatch
    from gateway.clock import Clock
    from gateway.disk import Disk
    from gateway.region.sink import Taken

FILE_BYTES_MAX: Final = 1 << 30
SUFFIX: Final = ".ndjson"

_encoder: Final = msgspec.json.Encoder()


class _Base64(msgspec.Struct, gc=False):
    base64: bytes


class _Line(msgspec.Struct, gc=False):
    node: str
    topic: str
    field: str
    time_ns: int
    value: Value | _Base64


def lines(batch: DecodedBatch) -> bytes:
    """Return the readings of a batch as NDJSON, each line ended."""
    node = batch.header.id.node
    return _encoder.encode_lines(
        [
            _Line(node, topic, field, time_ns, _Base64(value) if isinstance(value, bytes) else value)
            for topic, field, times_ns, values in batch.columns()
            for time_ns, value in zip(times_ns, values, strict=True)
        ]
    )


class NdjsonSink:
    """Appends to one file at a time in `folder`."""

    def __init__(self, folder: Path, disk: Disk, clock: Clock, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._folder = folder
        self._disk = disk
        self._clock = clock
        self._file_bytes_max = file_bytes_max
        self._name = ""
        self._recorded = 0
        self._handle: int | None = None
        self._is_dirty = False
        self._failed: set[str] = set()
        self._uncut: dict[str, int] = {}

    def prepare(self, transaction: sqlite3.Connection) -> None:
        """Cut every file to its recorded length, and set aside what no transaction knows."""
        self._disk.make_folder(self._folder)
        transaction.execute("CREATE TABLE IF NOT EXISTS ndjson (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL)")
        recorded = dict(transaction.execute("SELECT name, bytes FROM ndjson").fetchall())
        self._failed = set(recorded)
        for name in self._disk.names(self._folder):
            if name in recorded and self._cut(name, recorded[name]) == recorded[name]:
                self._failed.discard(name)
            elif name not in recorded and name.endswith(SUFFIX):
                self._set_aside(name)

    def write(self, transaction: sqlite3.Connection, taken: Sequence[Taken]) -> None:
        """Append at the recorded length and record the new one."""
        fresh = list(batches(taken))
        if not fresh:
            return
        self._cut_again()
        name, self._recorded = self._place(transaction)
        if name != self._name:
            self._leave(transaction)
        handle = self._open(name) if self._handle is None else self._handle
        self._is_dirty = True
        if self._disk.size(handle) > self._recorded:
            self._disk.truncate(handle, self._recorded)
        at = self._recorded
        for batch in fresh:
            data = lines(batch)
            self._disk.write(handle, data, at)
            at += len(data)
        transaction.execute(
            "INSERT INTO ndjson VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET bytes = ?2", (name, at)
        )

    def sync(self) -> None:
        """Make durable what was appended."""
        if self._handle is None or not self._is_dirty:
            return
        try:
            self._disk.sync(self._handle)
        except StoreError:
            self._abandon()
            raise
        self._is_dirty = False

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close(handle)

    def _place(self, transaction: sqlite3.Connection) -> tuple[str, int]:
        """Return the file to append to and where: the first of the day that has room and has not failed."""
        day = dt.datetime.fromtimestamp(self._clock.wall_ns() // 10**9, dt.UTC).date().isoformat()
        number = 1
        while True:
            name = f"readings-{day}-{number:04d}{SUFFIX}"
            recorded = _recorded(transaction, name)
            if recorded < self._file_bytes_max and name not in self._failed:
                return name, recorded
            number += 1

    def _leave(self, transaction: sqlite3.Connection) -> None:
        """Close the file before another is begun: what it holds without a commit comes again in that one."""
        if self._handle is None:
            return
        recorded = _recorded(transaction, self._name)
        if self._disk.size(self._handle) > recorded:
            self._disk.truncate(self._handle, recorded)
        self.close()
        if not recorded:
            with contextlib.suppress(StoreError):
                self._disk.remove(self._folder / self._name)

    def _open(self, name: str) -> int:
        path = self._folder / name
        is_new = not self._disk.exists(path)
        self._name = name
        self._handle = self._disk.open(path, create=is_new)
        if is_new:
            try:
                self._disk.sync_folder(self._folder)
            except StoreError:
                self._abandon()
                raise
        return self._handle

    def _abandon(self) -> None:
        """Give up the file: after a failed sync nobody knows what of it, past its recorded length, is on disk."""
        handle, self._handle = self._handle, None
        assert handle is not None
        self._failed.add(self._name)
        try:
            self._disk.truncate(handle, self._recorded)  # who reads along must not see what comes again elsewhere
        except StoreError:
            self._uncut[self._name] = self._recorded
        with contextlib.suppress(StoreError):
            self._disk.close(handle)
        if not self._recorded:
            with contextlib.suppress(StoreError):
                self._disk.remove(self._folder / self._name)
                self._failed.discard(self._name)

    def _cut_again(self) -> None:
        """Cut abandoned files that refused it before: nothing is written elsewhere while its first copy can be read."""
        for name, size in list(self._uncut.items()):
            if self._disk.exists(self._folder / name):
                self._cut(name, size)
            del self._uncut[name]

    def _cut(self, name: str, size: int) -> int:
        """Cut the file to at most `size` and return its length."""
        handle = self._disk.open(self._folder / name)
        try:
            found = self._disk.size(handle)
            if found > size:
                self._disk.truncate(handle, size)
                self._disk.sync(handle)
            return min(found, size)
        finally:
            self._disk.close(handle)

    def _set_aside(self, name: str) -> None:
        number = 1
        while self._disk.exists(aside := self._folder / f"{name}.unrecorded-{number}"):
            number += 1
        self._disk.rename(self._folder / name, aside)
        self._disk.sync_folder(self._folder)


def _recorded(transaction: sqlite3.Connection, name: str) -> int:
    row = transaction.execute("SELECT bytes FROM ndjson WHERE name = ?", (name,)).fetchone()
    return row[0] if row is not None else 0
