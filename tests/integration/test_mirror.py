"""A real spool mirrored over mTLS to real mosquittos that are cut, frozen, renewed and dead."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import msgspec
import pytest

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.mirror.driver import MirrorDriver
from gateway.spool.lanes import Spool
from gateway.transport import wire
from gateway.transport.tls import client_context
from tests.support.batches import Rows, open_batch
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# The client library leaves the socket of a refused handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NODE = "node-1"
LANE = "telemetry"
OPTIONS = schema.Spool(lanes=(schema.Lane(name=LANE, bytes_max=4 << 20),), segment_bytes=1 << 20)
WAIT_S = 30.0


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def region(pki: Path, port: int, name: str = "centre", **options: object) -> schema.Region:
    files = pems(pki, "node")
    return schema.Region(
        name=name,
        host="localhost",
        port=port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        **{"backoff_min_ns": 10**8, "backoff_max_ns": 10**9, "resend_after_ns": 2 * 10**9, **options},
    )


class Node:
    """A spool with a mirror for each region; batches hold one reading each."""

    def __init__(self, folder: Path, *regions: schema.Region) -> None:
        self.regions = regions
        self.spool = Spool.open(Disk(), folder / "spool", OPTIONS, NODE, regions, 1)
        self.readers = ThreadPoolExecutor(2)
        chance = random.Random(7)
        self.mirrors = [MirrorDriver(one, NODE, self.spool, self.readers, chance) for one in regions]
        self.appended = 0

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

    def append(self, count: int) -> None:
        for _ in range(count):
            self.appended += 1
            rows: Rows = {"plant/a": ([self.appended], [{"value": self.appended}])}
            batch = open_batch(rows, sequence=self.appended, readings_before=self.appended - 1)
            self.spool.append(envelope.seal(batch, "boot"))
        for mirror in self.mirrors:
            mirror.notify()

    def has_all(self, name: str = "centre") -> bool:
        return self.spool.cursor(name, LANE) == self.appended


class Receiver:
    """Takes what the region's broker has for receivers, and, when told to, says what it has."""

    def __init__(self, *, says: bool = True) -> None:
        self.sequences: list[int] = []
        self.says = says

    async def run(self, pki: Path, port: int) -> None:
        files = pems(pki, "receiver")
        context = client_context(files["ca"], files["certificate"], files["key"])
        while True:
            try:
                await self._serve(port, context)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)

    async def _serve(self, port: int, context: ssl.SSLContext) -> None:
        options = {"protocol": aiomqtt.ProtocolVersion.V5, "tls_context": context, "timeout": 5}
        async with aiomqtt.Client("localhost", port, **options) as client:
            await client.subscribe(wire.batch_filter("edge/v1", "test"), qos=1)
            async for message in client.messages:
                batch = decode(bytes(message.payload))
                assert isinstance(batch, DecodedBatch)
                identity = batch.header.id
                self.sequences.append(identity.sequence)
                if self.says:
                    done = ((identity.sequence, identity.sequence),)
                    word = wire.Acknowledgement("test", LANE, identity.epoch, done)
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
    receiver = Receiver(says=says)
    task = asyncio.create_task(receiver.run(pki, port))
    try:
        yield receiver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_uplink_that_is_cut_again_and_again_loses_nothing(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port))
        async with node.running(), receiving(pki, central.port) as receiver:
            for _ in range(3):
                node.append(30)
                await until(lambda: len(set(receiver.sequences)) > node.appended - 25, "some have arrived")
                central.kill()
                node.append(10)
                central.start()
            await until(node.has_all, "the receiver has said that it has all")
        assert set(receiver.sequences) == set(range(1, node.appended + 1))


async def test_a_frozen_broker_is_waited_for_and_nothing_is_lost(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker", resend_after_ns=10**9))
        async with node.running():
            node.append(5)
            await until(node.has_all, "the broker has all")
            os.kill(central.pid, signal.SIGSTOP)
            node.append(20)
            await until(lambda: node.mirrors[0].status()["faults"], "the silence is noticed")
            os.kill(central.pid, signal.SIGCONT)
            await until(node.has_all, "the broker has all")


async def test_without_a_word_of_the_receiver_the_cursor_stays(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, in_flight_max=3))
        async with node.running(), receiving(pki, central.port, says=False) as receiver:
            node.append(10)
            await until(lambda: len(receiver.sequences) >= 6, "the window was sent twice")
            assert node.spool.cursor("centre", LANE) == 0
            assert set(receiver.sequences) == {1, 2, 3}
            receiver.says = True
            await until(node.has_all, "the receiver has said that it has all")


async def test_renewed_certificates_are_used_without_losing_anything(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", log_type="all", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port))
        async with node.running(), receiving(pki, central.port) as receiver:
            node.append(20)
            await until(node.has_all, "all is there")
            swap(pki, "node", "receiver")
            node.append(20)
            await until(lambda: node.mirrors[0].status()["connects"] == 2, "a new link is made")
            node.append(20)
            await until(node.has_all, "all is there")
            assert node.mirrors[0].status()["faults"] == 0
        assert sorted(set(receiver.sequences)) == list(range(1, 61))


def swap(pki: Path, who: str, other: str) -> None:
    """Put the credentials of another party in the place of one's own, file by file."""
    for suffix in ("pem", "key"):
        data = (pki / f"{other}.{suffix}").read_bytes()
        (pki / f"{who}.{suffix}").unlink()
        (pki / f"{who}.{suffix}").write_bytes(data)


async def test_a_wrong_ca_is_reported_and_heals_when_it_is_put_right(tmp_path: Path, pki: Path) -> None:
    write_pki(tmp_path / "other")
    right = (pki / "ca.pem").read_bytes()
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        (tmp_path / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
        options = region(pki, central.port, acknowledge="broker")
        options = msgspec.structs.replace(options, tls_ca=str(tmp_path / "ca.pem"))
        node = Node(tmp_path, options)
        async with node.running():
            node.append(3)
            await until(lambda: "certificate" in str(node.mirrors[0].status()["last_fault"]).lower(), "it is reported")
            (tmp_path / "ca.pem").write_bytes(right)
            await until(node.has_all, "the broker has all")
            assert node.mirrors[0].status()["last_fault"] == ""


async def test_missing_credentials_are_reported_and_heal_when_they_come(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        (pki / "node.key").rename(tmp_path / "away")
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(3)
            await until(lambda: "node.key" in str(node.mirrors[0].status()["last_fault"]), "it is reported")
            (tmp_path / "away").rename(pki / "node.key")
            await until(node.has_all, "the broker has all")


async def test_a_client_without_a_certificate_is_refused_by_the_regions_broker(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        context = client_context(str(pki / "ca.pem"))
        with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
            async with aiomqtt.Client("localhost", central.port, tls_context=context, timeout=3):
                pytest.fail("the broker took a client without a certificate")


async def test_a_dead_region_does_not_hold_up_another(tmp_path: Path, pki: Path) -> None:
    async with AsyncExitStack() as stack:
        central = stack.enter_context(Mosquitto(tmp_path / "central", **region_tls(pki)))
        dead = stack.enter_context(Mosquitto(tmp_path / "dead", **region_tls(pki)))
        node = Node(
            tmp_path,
            region(pki, central.port, acknowledge="broker"),
            region(pki, dead.port, "dead", acknowledge="broker"),
        )
        await stack.enter_async_context(node.running())
        os.kill(dead.pid, signal.SIGSTOP)
        node.append(100)
        await until(node.has_all, "the living region has all")
        assert node.spool.cursor("dead", LANE) < 100
        os.kill(dead.pid, signal.SIGCONT)
        await until(lambda: node.has_all("dead"), "the other has all too")
