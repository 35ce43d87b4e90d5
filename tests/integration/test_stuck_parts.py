"""A part that is really stuck stops the feeding of the watchdog; a disk that hangs does not, nor does idleness."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.config.load import load
from gateway.disk import Disk
from gateway.flow import Flow
from gateway.health.notify import Notifier
from gateway.health.supervision import supervise
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import NODE
from tests.support.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import pytest

ROUTES = """
[journal]
commit_interval_max = "50ms"

[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""
STUCK_S = 1.0
WATCHDOG_S = 0.8
WAIT_S = 20.0
FED = "WATCHDOG=1"


class Bench:
    """A flow in this process, a supervisor that listens, and a sensor."""

    def __init__(self, flow: Flow, supervisor: Supervisor, sensor: PahoSensor) -> None:
        self.flow = flow
        self.supervisor = supervisor
        self.sensor = sensor

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait on a condition; the loop goes on."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # what is waited for is in other threads too
                await asyncio.sleep(0.02)
        assert condition(), what

    async def is_fed(self) -> None:
        """Wait until the watchdog has been fed five times more."""
        goal = len(self.supervisor.times(FED)) + 5
        await self.until(lambda: len(self.supervisor.times(FED)) >= goal, "the watchdog is fed")

    async def is_stuck(self, part: str) -> None:
        """Wait until a part is told to be stuck, and see that nothing is fed any more."""
        await self.until(
            lambda: any(said.startswith("stuck: ") and part in said for said in self.supervisor.statuses()[-1:]),
            f"{part} is stuck",
        )
        fed = len(self.supervisor.times(FED))
        await asyncio.sleep(3 * WATCHDOG_S)
        assert len(self.supervisor.times(FED)) == fed

    def publish(self, number: int = 10) -> None:
        """Send messages; the broker takes them."""
        for one in range(number):
            self.sensor.publish("raw/1", b'{"value": %d}' % one, 1)
        self.sensor.wait_until_at_most()


@asynccontextmanager
async def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("gateway.health.supervision.SENTENCE_S", 0.0)
    monkeypatch.setattr("gateway.upkeep.LOOK_S", STUCK_S / 4)
    path = folder / "gateway.toml"
    with (
        Mosquitto(folder / "local", max_queued_messages=0) as local,
        Supervisor(folder, watchdog_s=WATCHDOG_S) as supervisor,
        PahoSensor(local.port, "sensor", 5) as sensor,
    ):
        text = NODE.format(state=folder / "node", port=local.port, broker="", lane='linger = "100ms"') + ROUTES
        path.write_text(text, "utf-8")
        flow = Flow(load(path).to_start(), Clock(), Disk(), random.Random(1))
        notifier = Notifier(supervisor.environment, os.getpid())
        work = asyncio.create_task(flow.run(notifier.ready))
        watching = asyncio.create_task(supervise(notifier, flow.vitals.marks, lambda: "well", STUCK_S))
        bench = Bench(flow, supervisor, sensor)
        try:
            await bench.until(lambda: flow.subscriber.is_connected, "the flow has subscribed")
            yield bench
        finally:
            flow.stop()
            await asyncio.wait_for(work, WAIT_S)
            watching.cancel()
            flow.close()


async def test_a_flow_that_works_or_rests_is_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work(tmp_path, monkeypatch) as bench:
        await bench.is_fed()
        bench.publish()
        await bench.until(lambda: bench.flow.status()["ledger"].get("reading.sealed") == 10, "all is sealed")
        await asyncio.sleep(2 * STUCK_S)
        await bench.is_fed()
        assert not [said for said in bench.supervisor.statuses() if said.startswith("stuck")]


async def test_a_writer_thread_that_waits_for_a_lock_for_ever_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, monkeypatch) as bench:
        with bench.flow.spool._writing:
            bench.publish()
            await bench.is_stuck("thread writer")
        await bench.is_fed()


async def test_a_disk_that_hangs_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, hangs = threading.Event(), threading.Event()
    really = os.fdatasync

    def fdatasync(handle: int) -> None:
        hangs.set()
        assert answers.wait(WAIT_S)
        really(handle)

    monkeypatch.setattr("gateway.vitals.HANG_S", STUCK_S / 4)
    async with at_work(tmp_path, monkeypatch) as bench:
        monkeypatch.setattr("gateway.disk.os.fdatasync", fdatasync)
        bench.publish()
        await bench.until(hangs.is_set, "the disk hangs")
        await asyncio.sleep(3 * STUCK_S)
        await bench.is_fed()
        answers.set()


async def test_a_pipeline_that_never_comes_back_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = asyncio.Event()

    async def hand_on(_: object) -> None:
        await goes_on.wait()

    async with at_work(tmp_path, monkeypatch) as bench:
        monkeypatch.setattr(bench.flow, "_hand_on", hand_on)
        bench.publish()
        await bench.is_stuck("pipeline")
        goes_on.set()
        await bench.is_fed()


async def test_a_committer_that_never_comes_back_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = asyncio.Event()
    async with at_work(tmp_path, monkeypatch) as bench:
        really = bench.flow.committer._durable

        async def durable(entry: object) -> int:
            await goes_on.wait()
            return await really(entry)

        monkeypatch.setattr(bench.flow.committer, "_durable", durable)
        bench.publish()
        await bench.is_stuck("committer")
        goes_on.set()
        await bench.is_fed()


async def test_a_ring_that_refuses_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work(tmp_path, monkeypatch) as bench:
        monkeypatch.setattr(bench.flow.spool, "append", lambda *_: _refused())
        bench.publish()
        await bench.until(lambda: bench.flow.status()["refusing"] == "telemetry", "the ring refuses")
        await asyncio.sleep(2 * STUCK_S)
        await bench.is_fed()
        monkeypatch.undo()


def _refused() -> object:
    from gateway.spool.lanes import Appended  # noqa: PLC0415

    return Appended.REFUSED
