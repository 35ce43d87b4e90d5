"""Parquet files of readings, one folder for each UTC day of the readings, written from an outbox, each reading once.

    <folder>/date=2026-11-23/0000000000000017-0000000000000254.parquet

Small groups of batches would make small files, so batches wait in the outbox (compressed, in the transaction of their
watermarks) until there are `rows_max` readings, or the oldest has waited for `interval`. Then one file for each day is
written beside its place, a list of all of them is made durable, they get their names, and the batches leave the outbox.
A crash before the list leaves nothing that counts; after it, the next start goes on with the list. A file is there
whole or not at all, and never changes; what is not finished has a name that readers of such folders leave out.

Columns: time (timestamp, ns, UTC), node, lane, topic, field (dictionaries), number, integer, text, bool, bytes: one of
the last five holds the value, by its type. Compressed with zstd, sorted as the batches are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.errors import BatchError, StoreError
from gateway.region.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.model import Value
    from gateway.region.outbox import Waiting
    from gateway.region.store import Database, Store

log = logging.getLogger(__name__)

OUTBOX: Final = "parquet files"
"""No forward has this name: names have no spaces."""
GROUP_MAX: Final = 4096
GROUP_BYTES_MAX: Final = 16 * 1024 * 1024
LOOKS: Final = 60
"""How often what waits is looked at while an interval passes; more often than each `LOOK_S` never."""
LOOK_S: Final = 1.0
RETRY_S: Final = 5.0

_LIST: Final = "_pending.json"
_PART: Final = ".part"
_NS: Final = 10**9
_DAY_NS: Final = 86400 * _NS
VALUES: Final = ("number", "integer", "text", "bool", "bytes")
_TYPES: Final = {float: "number", int: "integer", str: "text", bool: "bool", bytes: "bytes"}
_WORDS: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("time", pa.timestamp("ns", tz="UTC")),
        ("node", _WORDS),
        ("lane", _WORDS),
        ("topic", _WORDS),
        ("field", _WORDS),
        ("number", pa.float64()),
        ("integer", pa.int64()),
        ("text", pa.string()),
        ("bool", pa.bool_()),
        ("bytes", pa.binary()),
    ]
)


class _Pending(msgspec.Struct):
    """The list: what gets its name, by (name of the part, name of the file), and the last id that is in it."""

    files: list[tuple[str, str]]
    last: int


class ParquetFiles:
    """The writer. `store` is used in `worker` only, the files in a thread of its own."""

    def __init__(
        self,
        options: schema.Parquet,
        receiver: str,
        folder: Path,
        store: Store,
        worker: ThreadPoolExecutor,
        disk: Disk,
    ) -> None:
        self.outbox = Outbox(receiver, OUTBOX, options.outbox_bytes_max)
        self.counts = {"files": 0, "readings": 0}
        self._options = options
        self._folder = folder
        self._store = store
        self._worker = worker
        self._disk = disk
        self._maker = ThreadPoolExecutor(1, "parquet")
        self._changed = asyncio.Event()
        self._fault = ""

    def notify(self) -> None:
        """Hear that something may wait."""
        self._changed.set()

    def status(self) -> dict[str, object]:
        """Return counts, and why no file can be written; empty when one can."""
        return {**self.counts, "last_fault": self._fault}

    def close(self) -> None:
        """Let go of the thread; after `run` has ended."""
        self._maker.shutdown(wait=True, cancel_futures=True)

    async def run(self) -> None:
        """Write files until cancelled; what waits then waits for the next start."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._finish()
                await loop.run_in_executor(self._maker, self._sweep)
                await self._work()
            except StoreError as error:
                if error.fault != self._fault:
                    log.warning("Parquet: %s (the receiver tries again by itself)", error)
                self._fault = error.fault
                await asyncio.sleep(RETRY_S)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        oldest, since = 0, 0.0
        while True:
            self._changed.clear()
            waiting = await self._in_worker(self._waiting)
            if not waiting:
                await self._changed.wait()
                continue
            if waiting[0].id != oldest:
                oldest, since = waiting[0].id, loop.time()
            group, is_full = await loop.run_in_executor(self._maker, self._group, waiting)
            left_s = since + self._options.interval_ns / _NS - loop.time()
            if not is_full and left_s > 0:
                await asyncio.sleep(min(max(LOOK_S, self._options.interval_ns / _NS / LOOKS), left_s))
                continue
            await loop.run_in_executor(self._maker, self._write, group)
            await self._finish()
            self._fault = ""

    async def _finish(self) -> None:
        """Do what the list says, if there is one; then forget it."""
        loop = asyncio.get_running_loop()
        pending = await loop.run_in_executor(self._maker, self._renamed)
        if pending is not None:
            await self._in_worker(self.outbox.remove_to, pending.last)
            await loop.run_in_executor(self._maker, self._disk.remove, self._folder / _LIST)

    def _waiting(self, transaction: Database) -> list[Waiting]:
        return self.outbox.oldest(transaction, GROUP_MAX, GROUP_BYTES_MAX)

    def _group(self, waiting: Sequence[Waiting]) -> tuple[Sequence[Waiting], bool]:
        """Return the first that make a file, and whether there are as many as may be."""
        readings = 0
        for number, one in enumerate(waiting):
            with contextlib.suppress(BatchError):  # a gap has no readings
                readings += envelope.peek(one.envelope).readings
            if readings >= self._options.rows_max:
                return waiting[: number + 1], True
        return waiting, len(waiting) >= GROUP_MAX or sum(len(one.envelope) for one in waiting) >= GROUP_BYTES_MAX // 2

    def _write(self, group: Sequence[Waiting]) -> None:
        """Write all parts, then the list of them."""
        self._disk.make_folder(self._folder)
        first, last = group[0].id, group[-1].id
        files = []
        decoded = [decode(one.envelope) for one in group]
        for day, table in _tables([one for one in decoded if isinstance(one, DecodedBatch)]):
            name = f"{first:016d}-{last:016d}.parquet"
            sink = pa.BufferOutputStream()
            parquet.write_table(table, sink, compression="zstd")
            path = self._folder / f"date={day}" / f".{name}{_PART}"
            self._disk.make_folder(path.parent)
            self._disk.remove(path)
            handle = self._disk.open(path, create=True)
            try:
                self._disk.write(handle, memoryview(sink.getvalue()), 0)
                self._disk.sync(handle)
            finally:
                self._disk.close(handle)
            self._disk.sync_folder(path.parent)  # before the list: a part that it names must be there
            files.append((f"date={day}/{path.name}", f"date={day}/{name}"))
            self.counts["readings"] += table.num_rows
        self._disk.replace(self._folder / _LIST, msgspec.json.encode(_Pending(files, last)))
        self.counts["files"] += len(files)

    def _renamed(self) -> _Pending | None:
        """Give the files of the list their names, as far as they have them not yet."""
        if not self._disk.exists(self._folder / _LIST):
            return None
        try:
            pending = msgspec.json.decode(self._disk.load(self._folder / _LIST), type=_Pending)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{self._folder / _LIST} is damaged: {error}", hint="remove it; files may come twice"
            ) from error
        for part, name in pending.files:
            if self._disk.exists(self._folder / part):
                self._disk.rename(self._folder / part, self._folder / name)
            self._disk.sync_folder((self._folder / name).parent)
        return pending

    def _sweep(self) -> None:
        """Remove parts that no list names: their batches still wait."""
        self._disk.make_folder(self._folder)
        for day in self._disk.names(self._folder):
            if day.startswith("date="):
                for name in self._disk.names(self._folder / day):
                    if name.endswith(_PART):
                        self._disk.remove(self._folder / day / name)

    async def _in_worker(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  # what `work` returns
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._store.within, work, *arguments)


def _tables(batches: Sequence[DecodedBatch]) -> Iterator[tuple[str, pa.Table]]:
    """Yield a table for each UTC day of the readings, with the day."""
    parts: dict[int, list[pa.Table]] = defaultdict(list)
    for batch in batches:
        identity = batch.header.id
        for topic, field, times_ns, values in batch.columns():
            times = np.array(times_ns, dtype=np.int64)
            days = times // _DAY_NS
            for day in np.unique(days).tolist():
                chosen = np.flatnonzero(days == day)
                names = (identity.node, identity.lane, topic, field)
                parts[day].append(_part(times[chosen], names, [values[at] for at in chosen.tolist()]))
    for day in sorted(parts):
        yield str(np.datetime64(day, "D")), pa.concat_tables(parts[day]).unify_dictionaries()


def _part(times: np.ndarray[Any, Any], names: Sequence[str], values: Sequence[Value]) -> pa.Table:
    """Return the readings of one series, which are all of one type."""
    count = len(values)
    words = [pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [name]) for name in names]
    held = _TYPES[type(values[0])]
    cells = [pa.array(values if name == held else [None] * count, type=SCHEMA.field(name).type) for name in VALUES]
    return pa.table([pa.array(times, type=SCHEMA.field("time").type), *words, *cells], schema=SCHEMA)
