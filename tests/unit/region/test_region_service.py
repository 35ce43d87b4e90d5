"""The receiver's session without a broker: nothing is said before the commit, nothing waits without bound."""

from __future__ import annotations

import asyncio
import errno
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import mqtt5
import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.errors import StoreError
from gateway.region import intake, watermarks
from gateway.region import service as module
from gateway.region.service import Service
from gateway.transport import wire
from tests.support.faultdisk import FaultDisk
from tests.support.receiving import gap, sent, sent_gap
from tests.support.spooled import readings_between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gateway.region.intake import Message

TIMEOUT_S = 10.0


class NotedConnection:
    """Has what the service uses of a connection, and notes what it does, in order."""

    def __init__(self, window: int = 100) -> None:
        self.window = window
        self.said: list[tuple[str, object]] = []

    def publish(self, topic: str, payload: bytes) -> bool:
        if not self.window:
            return False
        self.window -= 1
        self.said.append((topic, wire.decode_acknowledgement(payload)))
        return True

    def acknowledge(self, packet_ids: Sequence[int]) -> bool:
        self.said.append(("PUBACK", list(packet_ids)))
        return True

    def pubacks(self) -> list[int]:
        return [number for what, ids in self.said if what == "PUBACK" for number in ids]

    def words(self) -> list[wire.Acknowledgement]:
        return [word for what, word in self.said if what != "PUBACK"]


class StillSubscriber:
    """A session that never brings anything by itself."""

    def __init__(self, connection: NotedConnection | None) -> None:
        self.connection = connection
        self.was_cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled = True


class Bench:
    """One service, its disk and its present connection."""

    def __init__(self, folder, **options) -> None:
        self.folder = folder
        self.disk = FaultDisk()
        receiver = schema.Receiver(
            name="centre",
            tls_ca="",
            tls_certificate="",
            tls_key="",
            state_folder=str(folder),
            sinks=("ndjson",),
            **options,
        )
        self.service = Service(receiver, self.disk, Clock(), random.Random(1))
        self.connection = NotedConnection()
        self.subscriber = StillSubscriber(self.connection)
        self.service._subscriber = self.subscriber

    def bring(self, *messages: Message, first: int = 1, qos: int = 1) -> None:
        """Hand messages over as one read of the present connection."""
        self.service._on_publishes(
            self.connection,
            [
                mqtt5.PublishPacket(
                    one.topic, one.payload, qos=mqtt5.QoS(qos), packet_id=first + number if qos else None
                )
                for number, one in enumerate(messages)
            ],
        )

    def reconnect(self, window: int = 100) -> NotedConnection:
        self.connection = self.subscriber.connection = NotedConnection(window)
        return self.connection

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # noqa: ASYNC110  # no event tells what the test looks at
                await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.005)
    monkeypatch.setattr(module, "_WORDS_RETRY_S", 0.005)


@asynccontextmanager
async def running(folder, **options) -> AsyncIterator[Bench]:
    bench = Bench(folder, **options)
    task = asyncio.create_task(bench.service.run(lambda: None))
    try:
        yield bench
        bench.service.stop()
        async with asyncio.timeout(TIMEOUT_S):
            await task
        assert bench.subscriber.was_cancelled
    finally:
        task.cancel()
        bench.service.close()


async def test_the_node_is_told_and_then_the_broker_after_the_commit(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.bring(sent(1), sent(2), sent_gap(gap(4, 5)))
        await bench.until(bench.connection.pubacks)
        assert bench.connection.said == [
            ("edge/v1/node/ack", wire.Acknowledgement("centre", "telemetry", 100, ((1, 2), (4, 5)))),
            ("PUBACK", [1, 2, 3]),
        ]
        assert bench.service.counts == {"messages": 3, "readings": readings_between(1, 2), "groups": 1, "shed": 0}


async def test_what_cannot_be_taken_is_acknowledged_to_the_broker_alone(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.bring(intake.Message("edge/v1/node/batch/telemetry", b"no batch"))
        await bench.until(bench.connection.pubacks)
        assert bench.connection.said == [("PUBACK", [1])]
    assert watermarks.report(tmp_path).rejected == {"no_batch": 1}


async def test_nothing_is_said_while_commits_fail_and_the_fault_is_logged_once(tmp_path, caplog) -> None:
    async with running(tmp_path) as bench:
        bench.disk.fail("sync", errno.EIO, times=5)
        bench.bring(sent(1))
        await bench.until(lambda: bench.disk.counts()["sync"] >= 3)
        assert bench.connection.said == []
        await bench.until(bench.connection.pubacks)
    faults = [record for record in caplog.records if "nothing is acknowledged" in record.getMessage()]
    assert len(faults) == 1
    assert any("work again" in record.getMessage() for record in caplog.records)


async def test_a_stop_while_commits_fail_ends_and_leaves_the_message_to_the_broker(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.disk.fail("sync", errno.EIO, times=10_000)
        bench.bring(sent(1))
        await bench.until(lambda: bench.disk.counts()["sync"])
    assert bench.connection.said == []


async def test_a_stop_finishes_the_group_in_hand(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.bring(sent(1))
        await bench.until(lambda: bench.service._in_hand)
    assert bench.connection.pubacks() == [1]


async def test_a_word_that_found_no_room_is_said_as_soon_as_there_is_some(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.connection.window = 0
        for number in range(1, 4):
            bench.bring(sent(number), first=number)
            await bench.until(lambda number=number: number in bench.connection.pubacks())
        assert bench.connection.words() == []
        bench.connection.window = 1
        await bench.until(bench.connection.words)
        (word,) = bench.connection.words()
        assert {sequence for first, last in word.done for sequence in range(first, last + 1)} == {1, 2, 3}


async def test_a_word_never_has_more_pairs_than_a_node_takes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(wire, "PAIRS_MAX", 3)
    async with running(tmp_path) as bench:
        bench.connection.window = 0
        for sequences in ((9, 7, 5, 3), (1, 11), (2, 4)):
            bench.bring(*map(sent, sequences), first=sequences[0])
            await bench.until(lambda first=sequences[0]: first in bench.connection.pubacks())
        bench.connection.window = 1
        await bench.until(bench.connection.words)
        (word,) = bench.connection.words()
        assert word.done == ((1, 5),)


async def test_words_that_wait_are_said_on_the_next_connection(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.subscriber.connection = None
        bench.bring(sent(1))
        await bench.until(bench.connection.pubacks)
        new = bench.reconnect()
        await bench.until(new.words)
        assert new.pubacks() == []


async def test_what_waits_of_a_dead_connection_is_forgotten_because_the_broker_sends_it_again(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.disk.fail("sync", errno.EIO, times=3)
        bench.bring(sent(1))
        await bench.until(lambda: bench.service._in_hand)
        for number in range(50):
            bench.reconnect()
            bench.bring(sent(1), sent(2), first=7 + number)
            assert len(bench.service._waiting) <= 3
        await bench.until(bench.connection.pubacks)
        assert bench.connection.pubacks() == [56, 57]
    assert watermarks.report(tmp_path).lanes[0].batches == 2


async def test_a_group_is_cut_by_bytes_and_by_readings(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES_MAX", len(sent(1).payload) + len(sent(2).payload))
    monkeypatch.setattr(intake, "GROUP_READINGS_MAX", readings_between(1, 1))
    async with running(tmp_path) as bench:
        bench.bring(*(sent(number) for number in range(1, 7)))
        await bench.until(lambda: len(bench.connection.pubacks()) == 6)
        assert bench.connection.pubacks() == [1, 2, 3, 4, 5, 6]
        assert bench.service.counts["groups"] > 3
    assert watermarks.report(tmp_path).lanes[0].batches == 6


async def test_what_comes_at_qos_0_is_taken_without_puback_and_shed_beyond_the_bound(tmp_path) -> None:
    async with running(tmp_path, receive_maximum=2) as bench:
        bench.bring(sent(1), sent(2), sent(3), qos=0)
        assert len(bench.service._waiting) == 2
        await bench.until(bench.connection.words)
        assert bench.service.counts["shed"] == 1
        assert bench.connection.pubacks() == []


def beat(number: int, node: str = "node") -> Message:
    return intake.Message(wire.heartbeat_topic("edge/v1", node), wire.encode_heartbeat(number))


async def test_a_heartbeat_is_answered_after_a_durable_write_and_moves_nothing(tmp_path) -> None:
    async with running(tmp_path, share_group="blue") as bench:
        before = bench.service._store.path.stat().st_mtime_ns
        bench.bring(beat(7))
        await bench.until(bench.connection.pubacks)
        answer = wire.Acknowledgement("centre", "", 7, (), "blue")
        assert bench.connection.said == [("edge/v1/node/ack", answer), ("PUBACK", [1])]
        wal = bench.service._store.path.with_name(bench.service._store.path.name + "-wal")
        assert max(path.stat().st_mtime_ns for path in (bench.service._store.path, wal) if path.exists()) > before
    assert not watermarks.report(tmp_path).lanes


async def test_no_heartbeat_is_answered_while_nothing_can_be_written(tmp_path, monkeypatch) -> None:
    async with running(tmp_path) as bench:
        refused = StoreError("the disk is gone")
        monkeypatch.setattr(bench.service._store, "count", lambda *_: (_ for _ in ()).throw(refused))
        bench.bring(beat(1))
        await bench.until(bench.connection.pubacks)
        assert bench.connection.words() == []
        monkeypatch.undo()
        bench.bring(beat(2), first=2)
        await bench.until(bench.connection.words)
        assert [word.epoch for word in bench.connection.words()] == [2]


async def test_what_is_no_heartbeat_is_acknowledged_to_the_broker_alone(tmp_path) -> None:
    async with running(tmp_path) as bench:
        bench.bring(intake.Message("edge/v1/node/beat", b"\xff"))
        await bench.until(bench.connection.pubacks)
        assert bench.connection.words() == []


async def test_heartbeats_are_bounded_whatever_nodes_send(tmp_path) -> None:
    async with running(tmp_path, receive_maximum=2) as bench:
        bench.connection.window = 0
        bench.bring(*(beat(number) for number in range(50)), qos=0)
        assert len(bench.service._beats) == 2
        for number in range(50):
            bench.reconnect(window=0)
            bench.bring(beat(number), first=number + 1)
            assert len(bench.service._beats) == 1
            await bench.until(bench.connection.pubacks)
            assert len(bench.service._words) == 1, "one answer for each node, the newest"
        assert bench.service.counts["shed"] == 48
