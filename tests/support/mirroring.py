"""A node that is nothing but a spool and its mirrors, and a receiver that says what it has when it is told to."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.clock import Clock
from gateway.config import schema
from gateway.disk import Disk
from gateway.mirror.driver import Box, MirrorDriver
from gateway.model import Gap
from gateway.spool.lanes import Spool
from gateway.transport import wire
from gateway.transport.tls import client_context
from tests.support.batches import Rows, open_batch
from tests.support.site import pems

NODE = "node-1"
LANE = "telemetry"
SEGMENT_BYTES = 4 << 20
WAIT_S = 30.0


def region(pki: Path, port: int, name: str = "centre", **options: object) -> schema.Region:
    files = pems(pki, "node")
    defaults = {
        "host": "localhost",
        "backoff_min_ns": 10**8,
        "backoff_max_ns": 10**9,
        "resend_after_ns": 2 * 10**9,
    }
    return schema.Region(
        name=name,
        port=port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        **{**defaults, **options},
    )


class Node:
    """A spool with a mirror for each region; batches hold one reading each. `lanes` are in order of importance."""

    def __init__(
        self,
        folder: Path,
        *regions: schema.Region,
        lanes: Sequence[str | schema.Lane] = (LANE,),
        clock: Clock | None = None,
    ) -> None:
        self.regions = regions
        made = tuple(
            lane if isinstance(lane, schema.Lane) else schema.Lane(name=lane, bytes_max=4 * SEGMENT_BYTES)
            for lane in lanes
        )
        options = schema.Spool(lanes=made, segment_bytes=SEGMENT_BYTES)
        mirrored = tuple(one for one in regions if not one.failover_for)
        self.spool = Spool.open(Disk(), folder / "spool", options, NODE, mirrored, 1)
        self.readers = ThreadPoolExecutor(2)
        chance = random.Random(7)
        box = Box(NODE, folder, options.lanes, self.spool, Disk(), clock or Clock(), self.readers, chance)
        self.mirrors = [
            MirrorDriver(one, [standby for standby in regions if standby.failover_for == one.name], box)
            for one in mirrored
        ]
        self.appended = {lane.name: 0 for lane in made}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        tasks = [asyncio.create_task(mirror.run()) for mirror in self.mirrors]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self.readers.shutdown()
            self.spool.close()
            assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended

    def append(self, count: int, value: object = None, lane: str = LANE) -> None:
        for _ in range(count):
            self.appended[lane] += 1
            sequence = self.appended[lane]
            rows: Rows = {"plant/a": ([sequence], [{"value": value or sequence}])}
            made = open_batch(rows, sequence=sequence, readings_before=sequence - 1)
            made.id = made.id._replace(lane=lane)
            self.spool.append(envelope.seal(made, "boot"))
        for mirror in self.mirrors:
            mirror.notify()

    def has_all(self, name: str = "centre", lane: str = LANE) -> bool:
        return self.spool.cursor(name, lane) == self.appended[lane]


class Receiver:
    """Takes what the region's broker has for receivers, and, when told to, says what it has."""

    def __init__(self, *, says: bool = True) -> None:
        self.sequences: list[int] = []
        self.gaps: list[Gap] = []
        self.says = says
        self.is_there = asyncio.Event()

    async def run(self, pki: Path, port: int) -> None:
        files = pems(pki, "receiver")
        context = client_context(files["ca"], files["certificate"], files["key"])
        while True:
            try:
                await self._serve(port, context)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)

    async def _serve(self, port: int, context: ssl.SSLContext) -> None:
        # The client waits this long for a broker that was killed before it connects anew.
        options = {"protocol": aiomqtt.ProtocolVersion.V5, "tls_context": context, "timeout": 1}
        async with aiomqtt.Client("localhost", port, **options) as client:
            await client.subscribe(wire.batch_filter("edge/v1", "test"), qos=1)
            self.is_there.set()
            async for message in client.messages:
                found = decode(bytes(message.payload))
                if isinstance(found, DecodedBatch):
                    identity = found.header.id
                    lane, epoch, done = identity.lane, identity.epoch, (identity.sequence, identity.sequence)
                    self.sequences.append(identity.sequence)
                else:
                    lane, epoch, done = found.lane, found.epoch, (found.first, found.last)
                    self.gaps.append(found)
                if self.says:
                    word = wire.Acknowledgement("test", lane, epoch, (done,))
                    topic = wire.acknowledgement_topic("edge/v1", NODE)
                    await client.publish(topic, wire.encode_acknowledgement(word), qos=1)


async def until(condition: Callable[[], object], what: str) -> None:
    """Poll a condition, bounded."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while not condition():
        assert loop.time() < deadline, what
        await asyncio.sleep(0.02)


@asynccontextmanager
async def receiving(pki: Path, port: int, *, says: bool = True) -> AsyncIterator[Receiver]:
    """Run a receiver, from when its broker knows of it: what comes before nobody would ever get."""
    receiver = Receiver(says=says)
    task = asyncio.create_task(receiver.run(pki, port))
    try:
        await until(receiver.is_there.is_set, "the broker has granted the subscription")
        yield receiver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
