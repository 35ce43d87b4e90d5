"""The time table of the demo and what it does to the processes. Everything that is shown is asked of them.

    plant ─▶ local broker ─▶ daemon ─▶ uplink (mTLS, cut in the middle) ─▶ region's broker ─▶ receiver ─▶ sinks

Brokers, daemon and receiver are processes of their own; the plant runs here. The daemon is killed with SIGKILL, and
comes back from its journal. In the end the plant falls silent, and the books are closed again and again until nothing
is unaccounted for or `SETTLE_S` is over: what is left then is the result.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.demo import books, site
from gateway.demo.pki import write_pki
from gateway.demo.plant import Plant
from gateway.demo.processes import BrokerProcess, Program
from gateway.errors import GatewayError, LinkError, StoreError
from gateway.health.endpoint import ask
from gateway.region.watermarks import report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from gateway.demo.books import Books
    from gateway.region.reconcile import Report

LOOK_S: Final = 0.5
SETTLE_S: Final = 30.0
CONNECTED_S: Final = 20.0
BEFORE_KILL_S: Final = 1.0
"""How long before a kill a QoS 0 message may have been sent that died with the daemon; a commit interval is 20 ms."""

SENTENCES: Final = {
    "start": "Brokers, receiver and daemon start; the plant's 60 simulated sensors connect.",
    "flow": "Sensors publish to the local broker; the gateway journals, decides, batches and mirrors over mTLS.",
    "cut": "The uplink is cut. The site goes on; sealed batches stay in the durable ring.",
    "drain": "The uplink is back. The backlog drains from where the region's cursor stood.",
    "kill": "SIGKILL for the daemon. QoS 1 messages wait at the local broker, nothing acknowledged is lost.",
    "recover": "The daemon is back: checkpoint, replay of the journal, then what the broker kept for it.",
    "settle": "The plant is silent. Everything on its way arrives, and the books are compared.",
}
"""Act → what is happening, for people."""

_ENDS: Final = (("flow", 0.28), ("cut", 0.50), ("drain", 0.68), ("kill", 0.74), ("recover", 0.92))
"""Act → the share of all the time at which it ends."""


@dataclass(slots=True)
class Look:
    """What was seen at one moment. `status` is None while the daemon does not answer."""

    act: str
    elapsed_s: float
    seconds: float
    messages: int = 0
    status: Mapping[str, Any] | None = None
    report: Report | None = None
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)


class Scene:
    """One run of the demo in `folder`; `tell` is given a look twice a second."""

    def __init__(self, folder: Path, seconds: float, seed: int, tell: Callable[[Look], None]) -> None:
        self._folder = folder
        self._seconds = seconds
        self._seed = seed
        self._tell = tell
        self._act = "start"
        self._started = 0.0
        self._local = BrokerProcess("local-broker", folder)
        self._central = BrokerProcess("region-broker", folder)
        self._daemon = Program("daemon", folder, ("run", "-c", str(folder / "gateway.toml")))
        self._receiver = Program("receiver", folder, ("region", "run", "-c", str(folder / "receiver.toml")))
        self._kills: list[tuple[Mapping[str, int], Mapping[str, int]]] = []

    async def run(self) -> Books:
        """Play all acts and return the books. Raises `GatewayError` when a process fails."""
        self._started = asyncio.get_running_loop().time()
        try:
            plant = await self._start()
            async with self._sending(plant):
                await self._play(plant)
            self._act = "settle"
            return await self._settled(plant)
        finally:
            await asyncio.gather(self._daemon.stop(), self._receiver.stop())
            await asyncio.gather(self._local.stop(), self._central.stop())

    async def _start(self) -> Plant:
        pki, state = self._folder / "pki", self._folder / "node"
        write_pki(pki, site.NODE)
        await asyncio.gather(self._local.start(), self._central.start())
        files = site.credentials(pki, "server")
        local = await self._local.listen("local")
        uplink = await self._central.listen("uplink", **files)
        inside = await self._central.listen("inside", **files)
        site.write_node(self._folder / "gateway.toml", state, pki, local_port=local, uplink_port=uplink)
        site.write_receiver(self._folder / "receiver.toml", self._folder / "region", pki, inside_port=inside)
        await self._show(None)
        await asyncio.gather(self._receiver.start(), self._daemon.start())
        await self._connected()
        return Plant(self._seed, local)

    @contextlib.asynccontextmanager
    async def _sending(self, plant: Plant) -> AsyncIterator[None]:
        """Let the plant send; after the block it is silent and everything is acknowledged to it."""
        task = asyncio.create_task(plant.run(), name="plant")
        try:
            yield
            plant.stop()
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _play(self, plant: Plant) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for act, end in _ENDS:
            self._act = act
            until = begin + end * self._seconds
            match act:
                case "cut":
                    await self._central.order("cut", name="uplink")
                case "drain":
                    await self._central.order("heal", name="uplink")
                    until -= BEFORE_KILL_S
                case "kill":
                    before = plant.mark()
                    await self._watch(plant, loop.time() + BEFORE_KILL_S)
                    self._daemon.kill()
                case "recover":
                    await self._daemon.start()
                    await self._connected()
                    self._kills.append((before, plant.mark()))
            await self._watch(plant, until)

    async def _watch(self, plant: Plant, until: float) -> None:
        """Show what goes on, and notice who has failed."""
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            self._receiver.check()
            if self._act != "kill":
                self._daemon.check()
            await self._show(plant)
            await asyncio.sleep(min(LOOK_S, left))

    async def _connected(self) -> None:
        """Wait until the daemon has its subscriptions at the local broker."""
        try:
            async with asyncio.timeout(CONNECTED_S):
                while not ((status := await self._status()) and status["ingest"]["connected"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise LinkError(f"the daemon is not connected to the local broker within {CONNECTED_S:.0f} s") from error

    async def _settled(self, plant: Plant) -> Books:
        """Close the books until nothing is unaccounted for, or the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_S
        while True:
            look = await self._show(plant)
            closed = None
            with contextlib.suppress(StoreError):
                closed = await asyncio.to_thread(self._closed, plant, look)
            if closed is not None and (closed.unaccounted == 0 or loop.time() >= until):
                return closed
            if loop.time() >= until:
                raise LinkError("node or region did not answer when the books were to be closed")
            await asyncio.sleep(LOOK_S)

    def _closed(self, plant: Plant, look: Look) -> Books | None:
        if look.status is None:
            return None
        state = self._folder / "region"
        return books.close(
            books.Evidence(
                sensors=plant.sensors,
                unacknowledged=plant.unacknowledged,
                kills=self._kills,
                status=look.status,
                report=report(state),
                sinks=site.sinks(state),
                uplink_bytes=look.central["listeners"]["uplink"]["bytes_in"],
            )
        )

    async def _show(self, plant: Plant | None) -> Look:
        look = Look(self._act, asyncio.get_running_loop().time() - self._started, self._seconds)
        look.local, look.central = await asyncio.gather(self._local.order("status"), self._central.order("status"))
        look.status = await self._status()
        with contextlib.suppress(StoreError):
            look.report = await asyncio.to_thread(report, self._folder / "region")
        if plant is not None:
            look.messages = sum(sensor.messages for sensor in plant.sensors)
        self._tell(look)
        return look

    async def _status(self) -> Mapping[str, Any] | None:
        try:
            return await asyncio.to_thread(ask, self._folder / "node" / "gateway.sock")
        except GatewayError:
            return None
