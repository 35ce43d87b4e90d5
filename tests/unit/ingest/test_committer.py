"""PUBACK only after the journal has said durable, in order, and never across connections."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gateway.channel import Channel
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.ingest import committer as module
from gateway.ingest.committer import Committer, Timeline
from gateway.ingest.intake import Intake, Limits
from gateway.ingest.pace import Pace
from gateway.model import MessageGroup, Tick
from tests.support.links import NotedConnection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.model import Entry


class NotedJournal:
    """Stands for the journal: fails as often as told, and looks at the link at the moment of the commit."""

    def __init__(self, link: NotedConnection, faults: int = 0) -> None:
        self.link = link
        self.faults = faults
        self.entries: list[Entry] = []
        self.acknowledged_before: list[int] = []
        self.counts = {"bytes": 0}

    def commit(self, entries: Sequence[Entry]) -> int:
        """Take the entries, or refuse."""
        self.acknowledged_before.append(len(self.link.acknowledged))
        if self.faults:
            self.faults -= 1
            raise StoreError("no space left on the device of the test")
        self.entries += entries
        return len(self.entries) - 1


class NotedKeeper:
    """Stands for the upkeep of the disk: has room to make for so many times."""

    def __init__(self) -> None:
        self.faulty: set[str] = set()
        self.failures = 0
        self.room = 0

    def failed(self, part: str, error: StoreError) -> None:
        del error
        self.faulty.add(part)
        self.failures += 1

    def worked(self, part: str) -> None:
        self.faulty.discard(part)

    def relieve(self, error: StoreError) -> bool:
        del error
        self.room -= 1
        return self.room >= 0


@pytest.fixture
def writer() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


class Bench:
    """A committer between a noted link and a noted journal."""

    def __init__(self, writer: ThreadPoolExecutor, faults: int = 0, deadline: int | None = None) -> None:
        self.link = NotedConnection()
        self.journal = NotedJournal(self.link, faults)
        self.inputs: Channel[tuple[int, Entry]] = Channel("inputs", 1000)
        pace = Pace(0.001, 0.001)
        self.intake = Intake(Limits(100, 1 << 20, 10_000), lambda: 0, pace, lambda _: 0.0)
        clock = Clock()
        self.keeper = NotedKeeper()
        self.timeline = Timeline(clock, 0)
        self.committer = Committer(
            self.journal, self.intake, self.inputs, self.timeline, writer, self.keeper, lambda: deadline, pace
        )


async def test_a_message_is_acknowledged_only_after_its_commit(writer: ThreadPoolExecutor) -> None:
    bench = Bench(writer)
    bench.intake.on_publishes(bench.link, bench.link.sends(3))
    await bench.committer.commit()
    assert bench.journal.acknowledged_before == [0]
    assert bench.link.acknowledged == [1, 2, 3]
    position, entry = await bench.inputs.get()
    assert position == 0
    assert isinstance(entry, MessageGroup)
    assert bench.inputs.weight == 0


async def test_while_the_disk_refuses_nothing_is_acknowledged_and_nothing_is_forgotten(
    writer: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    bench = Bench(writer, faults=5)
    bench.intake.on_publishes(bench.link, bench.link.sends(3))
    await bench.committer.commit()
    assert bench.journal.acknowledged_before == [0] * 6
    assert bench.link.acknowledged == [1, 2, 3]
    assert bench.keeper.faulty == set()
    assert bench.keeper.failures == 5


async def test_on_a_full_disk_the_commit_is_tried_again_at_once_as_long_as_room_can_be_made(
    writer: ThreadPoolExecutor,
) -> None:
    bench = Bench(writer, faults=5)
    bench.keeper.room = 5
    bench.intake.on_publishes(bench.link, bench.link.sends(3))
    await bench.committer.commit()
    assert bench.link.acknowledged == [1, 2, 3]
    assert bench.keeper.failures == 0


async def test_an_acknowledgement_for_a_connection_that_died_goes_nowhere(writer: ThreadPoolExecutor) -> None:
    bench = Bench(writer)
    old, new = bench.link, NotedConnection(2)
    bench.intake.on_publishes(old, old.sends(2))
    old.is_open = False
    bench.intake.on_publishes(new, new.sends(1, first=2))
    await bench.committer.commit()
    await bench.committer.commit()
    assert (old.acknowledged, new.acknowledged) == ([], [2])
    assert bench.committer.counts["unacknowledged"] == 2
    assert len(bench.journal.entries) == 2


async def test_a_deadline_that_fell_due_is_journaled_as_a_tick(writer: ThreadPoolExecutor) -> None:
    bench = Bench(writer, deadline=0)
    work = asyncio.create_task(bench.committer.run())
    _, entry = await bench.inputs.get()
    assert isinstance(entry, Tick)
    assert entry.at >= 0
    bench.committer.stop()
    await work


async def test_stopping_commits_and_acknowledges_what_was_taken_in(writer: ThreadPoolExecutor) -> None:
    bench = Bench(writer)
    bench.intake.on_publishes(bench.link, bench.link.sends(3))
    bench.committer.stop()
    await bench.committer.run()
    assert bench.link.acknowledged == [1, 2, 3]


async def test_the_timeline_goes_on_where_the_journal_ended_and_never_runs_backwards() -> None:
    timeline = Timeline(Clock(), 10**18)
    first, second = timeline.now(), timeline.now()
    assert 10**18 <= first <= second < 10**18 + 10**12
