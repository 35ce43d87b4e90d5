"""Parquet files: every type, a folder for each day, each reading once whenever the power is cut."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import parquet

from gateway.batch import envelope
from gateway.config import schema
from gateway.disk import Disk
from gateway.region import parquet as module
from gateway.region import watermarks
from gateway.region.intake import Intake, Message
from gateway.region.parquet import OUTBOX, ParquetFiles
from gateway.region.watermarks import Watermarks
from tests.support.batches import open_batch
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.receiving import PREFIX, StoppedClock, gap, message, sent, sent_gap

FILES = Path("/files")
AT_ONCE = schema.Parquet(interval_ns=0)
DAY_NS = 86400 * 10**9


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.005)
    monkeypatch.setattr(module, "LOOK_S", 0.005)


class Writer:
    """A receiver's store in `folder` with a Parquet sink that writes to `files` on `disk`."""

    def __init__(self, folder: Path, disk: Disk, files: Path = FILES, options: schema.Parquet = AT_ONCE) -> None:
        self.folder = folder
        self._disk = disk
        self._files = files
        self._store = Watermarks(folder)
        self._worker = ThreadPoolExecutor(1)
        self._parquet = ParquetFiles(options, "centre", files, self._store, self._worker, disk)
        self._intake = Intake(self._store, [self._parquet.outbox], StoppedClock(), PREFIX)

    def take(self, *messages: Message) -> None:
        self._intake.take(messages)

    def waiting(self) -> int:
        return watermarks.report(self.folder).outboxes[f"centre/{OUTBOX}"]["messages"]

    async def work(self, *, leaves: int = 0) -> None:
        """Run until so many envelopes wait; ends when the power is cut."""
        task = asyncio.create_task(self._parquet.run())
        async with asyncio.timeout(10.0):
            while (self.waiting() > leaves or self._is_listed()) and not task.done():  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.002)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PowerCutError):
            await task

    def _is_listed(self) -> bool:
        return self._disk.exists(self._files / "_pending.json")

    def close(self) -> None:
        self._parquet.close()
        self._worker.shutdown()
        self._store.close()


def readings(disk: FaultDisk) -> list[tuple[object, ...]]:
    """Return (topic, field, time, value) of all files that have their name."""
    found = []
    for path, file in disk.entries.items():
        if path.suffix == ".parquet":
            table = parquet.read_table(io.BytesIO(bytes(file.seen)))
            times = table.column("time").cast("int64").to_pylist()
            for time_ns, row in zip(times, table.drop_columns("time").to_pylist(), strict=True):
                value = next(row[name] for name in module.VALUES if row[name] is not None)
                found.append((row["topic"], row["field"], time_ns, value))
    return sorted(found, key=repr)


def expected(*messages: Message) -> list[tuple[object, ...]]:
    from gateway.batch.decode import DecodedBatch, decode  # noqa: PLC0415  # only here

    batches = [decode(one.payload) for one in messages]
    return sorted(
        (tuple(row[1:]) for one in batches if isinstance(one, DecodedBatch) for row in one.readings()), key=repr
    )


async def test_every_type_of_value_comes_back_in_the_folder_of_its_day(tmp_path: Path) -> None:
    rows = {
        "a": ([1, DAY_NS + 5], [{"x": 1.5}, {"x": -0.25}]),
        "b": ([2 * DAY_NS], [{"i": 2**62, "t": "ü\0", "b": True, "raw": b"\x00\xff"}]),
        "old": ([-5], [{"x": 7}]),
    }
    disk = FaultDisk()
    writer = Writer(tmp_path, disk)
    batch = message(envelope.seal(open_batch(rows, sequence=1, readings_before=0), "boot"))
    writer.take(batch, sent_gap(gap(2, 3)))
    await writer.work()
    writer.close()
    assert readings(disk) == expected(batch)
    days = {path.parent.name for path in disk.entries if path.suffix == ".parquet"}
    assert days == {"date=1969-12-31", "date=1970-01-01", "date=1970-01-02", "date=1970-01-03"}


async def test_a_file_is_begun_when_it_is_large_enough_or_old_enough(tmp_path: Path) -> None:
    messages = [sent(number) for number in range(1, 41)]
    disk = FaultDisk()
    patient = schema.Parquet(rows_max=30, interval_ns=3600 * 10**9)
    writer = Writer(tmp_path, disk, options=patient)
    writer.take(*messages)
    count = len(expected(*messages))
    await writer.work(leaves=11)
    held = len(readings(disk))
    assert 0 < count - held < 30
    writer.close()
    hasty = Writer(tmp_path, disk)
    await hasty.work()
    hasty.close()
    assert readings(disk) == expected(*messages)


async def test_a_disk_that_refuses_costs_time_and_nothing_else(tmp_path: Path) -> None:
    messages = [sent(number) for number in range(1, 11)]
    for verb in ("create", "write", "sync", "rename", "sync_folder", "remove"):
        disk = FaultDisk()
        writer = Writer(tmp_path / verb, disk)
        writer.take(*messages)
        disk.fail(verb, times=3)
        await writer.work()
        writer.close()
        assert readings(disk) == expected(*messages), verb


async def test_a_power_cut_at_any_operation_neither_loses_nor_repeats_a_reading(tmp_path: Path) -> None:
    messages = [sent(number) for number in range(1, 13)]
    chance = random.Random(3)
    cuts = Counter[bool]()
    for operations in range(40):
        disk = FaultDisk()
        folder = tmp_path / str(operations)
        writer = Writer(folder, disk)
        writer.take(*messages[:6])
        disk.cut_power_in(operations)
        await writer.work()
        cuts[writer.waiting() > 0] += 1
        writer.close()
        disk.power_up(chance)
        again = Writer(folder, disk)
        again.take(*messages[6:])
        await again.work()
        again.close()
        assert readings(disk) == expected(*messages), operations
        assert not [path for path in disk.entries if path.suffix != ".parquet"], operations
    assert cuts[True] > 5, "the power was cut in the middle"
    assert cuts[False] > 0, "the last cuts come after the end"


async def test_on_a_real_disk_the_files_are_where_they_should_be(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "region", Disk(), tmp_path / "files")
    messages = [sent(number) for number in range(1, 11)]
    writer.take(*messages)
    await writer.work()
    writer.close()
    table = parquet.read_table(tmp_path / "files")
    assert table.num_rows == len(expected(*messages))
    assert "date" in table.column_names, "the days are a partition"
