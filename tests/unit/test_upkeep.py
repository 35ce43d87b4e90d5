"""The reserve gives way first, then the rings; what was held is written when the disk takes it again."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import upkeep as module
from gateway.config import schema
from gateway.errors import StoreError
from gateway.medium import State
from gateway.spool.lanes import Spool
from gateway.upkeep import Upkeep
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch, options, region

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = Path("/state")
FULL = StoreError("cannot write: full", errno="ENOSPC")


class Bench:
    """A spool on a disk in memory, and its upkeep in the writer's thread."""

    def __init__(self, writer: ThreadPoolExecutor) -> None:
        self.disk = FaultDisk()
        self.trimmed: bool | None = False
        self.spool = Spool.open(self.disk, STATE / "spool", options(segments=8), "node", [region("one")], 100)
        config = schema.Gateway(
            node=schema.Node(id="node"), spool=options(segments=8), journal=schema.Journal(segment_bytes=65536)
        )
        self.upkeep = Upkeep(self.disk, STATE, self.spool, config, writer, lambda: 0, lambda: self.trimmed)

    def append(self, count: int) -> None:
        for _ in range(count):
            self.spool.append(batch(self.spool.head("telemetry") + 1))

    async def until(self, what) -> None:
        work = asyncio.create_task(self.upkeep.run())
        async with asyncio.timeout(5):
            while not what():  # noqa: ASYNC110  # whether there is space is no event
                await asyncio.sleep(0)
        work.cancel()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    with ThreadPoolExecutor(1) as writer:
        yield Bench(writer)


async def test_a_reserve_stands_on_the_disk_and_gives_way_to_a_checkpoint_before_any_batch(bench: Bench) -> None:
    await bench.until(lambda: bench.upkeep.medium.free_bytes > 0)
    assert len(bench.disk.entries[STATE / "reserve"].seen) == 65536
    bench.append(20)
    bench.spool.sync()
    segments = bench.spool.status()[0]["segments"]
    assert bench.upkeep.relieve_checkpoint(FULL)
    assert STATE / "reserve" not in bench.disk.entries
    assert bench.spool.status()[0]["segments"] == segments
    assert bench.upkeep.relieve_checkpoint(FULL)
    assert bench.spool.status()[0]["segments"] == segments - 1


async def test_the_journal_is_trimmed_before_any_batch_goes(bench: Bench) -> None:
    await bench.until(lambda: bench.upkeep.medium.free_bytes > 0)
    bench.append(20)
    bench.spool.sync()
    segments = bench.spool.status()[0]["segments"]
    for bench.trimmed, expected, left in ((True, True, segments), (None, False, segments), (False, True, segments - 1)):
        assert bench.upkeep.relieve(FULL) == expected
        assert bench.spool.status()[0]["segments"] == left
    assert STATE / "reserve" in bench.disk.entries, "it is kept for a checkpoint"


async def test_a_fault_that_is_not_about_space_makes_no_room(bench: Bench) -> None:
    bench.append(20)
    assert not bench.upkeep.relieve(StoreError("cannot write: broken", errno="EIO"))
    assert bench.spool.status()[0]["evicted_batches"] == 0


async def test_what_was_held_is_written_when_the_disk_takes_it_again(bench: Bench) -> None:
    bench.disk.fail("create", times=1000)
    bench.append(2)
    assert bench.spool.is_held
    await bench.until(lambda: bench.upkeep.medium.state is State.FAILED)
    bench.disk.heal()
    await bench.until(lambda: bench.upkeep.medium.state is State.OK)
    assert not bench.spool.is_held
    assert bench.spool.status()[0]["durable"] == 2


async def test_low_space_stops_the_growth_of_rings_until_there_is_enough(bench: Bench) -> None:
    bench.disk.free_bytes = 1000
    await bench.until(lambda: bench.upkeep.medium.state is State.LOW_SPACE)
    bench.append(60)
    assert bench.spool.status()[0]["segments"] == 1
    bench.disk.free_bytes = 1 << 40
    await bench.until(lambda: bench.upkeep.medium.state is State.OK)
    bench.append(60)
    assert bench.spool.status()[0]["segments"] == 8
