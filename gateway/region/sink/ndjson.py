"""NDJSON files: one line per reading, one file per UTC day of receipt, a new one past `FILE_BYTES_MAX`.

    {"node":"n","topic":"t","field":"f","time_ns":1732352400000000000,"value":21.5}

Bytes are written as {"base64": "…"}; everything else is JSON's own. Files are `readings-<day>-<number>.ndjson`.

Exactly once in effect: the length of each file is a row of the transaction. Lines are appended at that length and
synced before the commit, so bytes past it are of a write that never counted, and are cut off before the next. A file
that failed to sync is never written again (the kernel may have dropped its dirty pages): it stays at its recorded
length, which an earlier sync covered, and a new number is begun.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.model import Value

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.batch.decode import DecodedBatch
    from gateway.clock import Clock
    from gateway.disk import Disk

FILE_BYTES_MAX: Final = 1 << 30

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
            _Line(node, column.topic, column.field, time_ns, value)
            for column in batch.columns()
            for time_ns, value in zip(column.times_ns, values(column), strict=True)
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
        self._handle = -1
        self._is_new = False
