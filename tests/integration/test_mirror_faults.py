"""What a region's broker can do to a mirror: refuse, keep silent, dawdle, babble. Nothing is lost, and it is named."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import mqtt5
import pytest

from gateway.batch import envelope
from gateway.demo.pki import write_pki
from gateway.transport import wire
from gateway.transport.credentials import Credentials
from gateway.transport.mqtt import MqttTransport
from gateway.transport.tls import client_context, server_context
from tests.support.mirroring import LANE, NODE, Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls

SECOND_NS = 10**9
SOON_S = 5.0


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def status(node: Node) -> dict[str, object]:
    return node.mirrors[0].status()


def fault(node: Node) -> str:
    return str(status(node)["last_fault"]).lower()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class SlowBroker:
    """Takes one client at a time and acknowledges each message `delay_s` after the one before it, or none."""

    def __init__(
        self, *, delay_s: float | None, receive_maximum: int = 65535, read_bytes_per_s: float = math.inf
    ) -> None:
        self.delay_s = delay_s
        self.read_bytes_per_s = read_bytes_per_s
        self.receive_maximum = receive_maximum
        self.taken: list[bytes] = []
        self.unacknowledged_max = 0
        self.port = 0

    @asynccontextmanager
    async def running(self, pki: Path) -> AsyncIterator[SlowBroker]:
        files = pems(pki, "server")
        context = server_context(files["ca"], files["certificate"], files["key"])
        listener = socket.create_server(("127.0.0.1", 0))
        if self.read_bytes_per_s < math.inf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        server = await asyncio.start_server(self._serve, sock=listener, ssl=context, limit=4096)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.sleep(0)  # what was just accepted begins: nobody would close its socket

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[int] = asyncio.Queue()
        acknowledging = asyncio.create_task(self._acknowledge(waiting, writer))
        buffer = b""
        while data := await reader.read(65536):
            await asyncio.sleep(len(data) / self.read_bytes_per_s)
            buffer += data
            while True:
                try:
                    packet, used = mqtt5.read(memoryview(buffer))
                except IndexError:
                    break
                buffer = buffer[used:]
                if isinstance(packet, mqtt5.ConnectPacket):
                    writer.write(mqtt5.ConnAckPacket(receive_max=self.receive_maximum).write())
                elif isinstance(packet, mqtt5.SubscribePacket):
                    writer.write(mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode(1)]).write())
                elif isinstance(packet, mqtt5.PublishPacket):
                    assert packet.packet_id
                    self.taken.append(bytes(packet.payload))
                    waiting.put_nowait(packet.packet_id)
                    self.unacknowledged_max = max(self.unacknowledged_max, waiting.qsize())
        acknowledging.cancel()
        writer.close()

    async def _acknowledge(self, waiting: asyncio.Queue[int], writer: asyncio.StreamWriter) -> None:
        while self.delay_s is not None:
            await asyncio.sleep(self.delay_s)
            writer.write(mqtt5.PubAckPacket(await waiting.get()).write())


async def test_a_batch_that_the_broker_refuses_is_not_taken_for_delivered(tmp_path: Path, pki: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(f"topic read edge/#\npattern write edge/v1/{NODE}/other\n")
    with Mosquitto(tmp_path / "central", acl_file=rules, **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(3)
            await until(lambda: "not authorized" in fault(node), "the refusal is reported")
            assert node.spool.cursor("centre", LANE) == 0
            rules.write_text("topic readwrite edge/#\n")
            os.kill(central.pid, signal.SIGHUP)
            await until(node.has_all, "the broker has all")
            assert fault(node) == ""


async def test_a_certificate_that_the_broker_does_not_trust_is_reported_at_once_with_its_reason(
    tmp_path: Path, pki: Path
) -> None:
    write_pki(tmp_path / "foreign")
    for name in ("node.pem", "node.key"):
        (tmp_path / name).write_bytes((pki / name).read_bytes())
        (pki / name).write_bytes((tmp_path / "foreign" / name).read_bytes())
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(3)
            started = time.monotonic()
            await until(lambda: "unknown ca" in fault(node), "it is reported")
            assert time.monotonic() - started < SOON_S
            for name in ("node.pem", "node.key"):
                (pki / name).write_bytes((tmp_path / name).read_bytes())
            await until(node.has_all, "the broker has all")


async def test_an_expired_certificate_is_reported_and_heals_when_it_is_renewed(tmp_path: Path, pki: Path) -> None:
    write_pki(tmp_path / "expired", days=0)
    good = contents(pki)
    for name, data in contents(tmp_path / "expired").items():
        (pki / name).write_bytes(data)
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(3)
            await until(lambda: "certificate has expired" in fault(node), "it is reported")
            for name, data in good.items():
                (pki / name).write_bytes(data)
            central.stop()
            central.start()
            await until(node.has_all, "the broker has all")


async def test_a_broker_whose_certificate_names_another_host_is_not_trusted(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, host="127.1"))  # another spelling of the address it listens on
        async with node.running():
            await until(lambda: "mismatch" in fault(node) and "127.1" in fault(node), "it is reported")
            assert status(node)["connects"] == 0


async def test_a_broker_that_never_acknowledges_is_left_and_nothing_is_taken_for_delivered(
    tmp_path: Path, pki: Path
) -> None:
    async with SlowBroker(delay_s=None).running(pki) as broker:
        options = {"acknowledge": "broker", "resend_after_ns": SECOND_NS // 2, "in_flight_max": 3}
        node = Node(tmp_path, region(pki, broker.port, **options))
        async with node.running():
            node.append(5)
            await until(lambda: status(node)["connects"] == 3, "it is tried again and again")
            await until(lambda: "acknowledged nothing" in fault(node), "it is reported")
            assert node.spool.cursor("centre", LANE) == 0
            broker.delay_s = 0.0
            await until(node.has_all, "the broker has all")


async def test_a_link_on_which_each_acknowledgement_takes_long_is_kept_and_nothing_is_sent_twice(
    tmp_path: Path, pki: Path
) -> None:
    async with SlowBroker(delay_s=0.25).running(pki) as broker:
        options = {"acknowledge": "broker", "resend_after_ns": SECOND_NS, "in_flight_max": 10}
        node = Node(tmp_path, region(pki, broker.port, **options))
        async with node.running():
            node.append(10)
            await until(node.has_all, "the broker has all")
            assert (status(node)["connects"], status(node)["resent"], status(node)["faults"]) == (1, 0, 0)
        assert len(broker.taken) == len(set(broker.taken)) == 10


async def test_a_batch_that_needs_longer_than_any_bound_on_a_slow_line_arrives_on_the_first_link(
    tmp_path: Path, pki: Path
) -> None:
    async with SlowBroker(delay_s=0.0, read_bytes_per_s=400_000).running(pki) as broker:
        options = {"acknowledge": "broker", "resend_after_ns": 2 * SECOND_NS, "keep_alive_ns": SECOND_NS}
        node = Node(tmp_path, region(pki, broker.port, **options))
        async with node.running():
            started = time.monotonic()
            node.append(1, random.Random(1).randbytes(2_000_000).hex())
            await until(node.has_all, "the broker has it")
            assert time.monotonic() - started > 4
            assert (status(node)["connects"], status(node)["sent"], status(node)["resent"]) == (1, 1, 0)


async def test_an_urgent_batch_overtakes_what_waits_for_a_slow_line(tmp_path: Path, pki: Path) -> None:
    async with SlowBroker(delay_s=0.0, read_bytes_per_s=2_000_000).running(pki) as broker:
        node = Node(tmp_path, region(pki, broker.port, acknowledge="broker"), lanes=("alarm", LANE))
        async with node.running():
            await until(lambda: status(node)["connected"], "the mirror is connected")
            for _ in range(10):
                node.append(1, random.Random(1).randbytes(250_000).hex())
            await until(lambda: status(node)["sent"], "the line is busy")
            node.append(1, lane="alarm")
            await until(lambda: node.has_all() and node.has_all(lane="alarm"), "the broker has all")
        lanes = [envelope.peek(data).id.lane for data in broker.taken]
        assert lanes.index("alarm") < 5, lanes


async def test_the_brokers_receive_maximum_is_kept(tmp_path: Path, pki: Path) -> None:
    async with SlowBroker(delay_s=0.0, receive_maximum=2).running(pki) as broker:
        node = Node(tmp_path, region(pki, broker.port, acknowledge="broker"))
        async with node.running():
            node.append(50)
            await until(node.has_all, "the broker has all")
        assert broker.unacknowledged_max <= 2


async def test_batches_that_nobody_subscribes_to_are_counted(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            node.append(4)
            await until(node.has_all, "the broker has all")
            assert status(node)["unheard"] == 4
            async with receiving(pki, central.port, says=False) as receiver:
                await until(lambda: _is_taken(node, receiver.sequences), "somebody subscribes")


def _is_taken(node: Node, sequences: list[int]) -> bool:
    node.append(1)
    return bool(sequences)


async def test_words_that_make_no_sense_are_counted_and_the_mirror_goes_on(tmp_path: Path, pki: Path) -> None:
    topic = wire.acknowledgement_topic("edge/v1", NODE)
    words = [b"", b"\x81" * 5000, b"no cbor", wire.encode_acknowledgement(wire.Acknowledgement("r", "x", 9, ((9, 1),)))]
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port))
        files = pems(pki, "receiver")
        context = client_context(files["ca"], files["certificate"], files["key"])
        async with receiving(pki, central.port), node.running():
            await until(lambda: status(node)["connected"], "the mirror is connected")
            async with aiomqtt.Client("localhost", central.port, tls_context=context) as babbler:
                for word in words:
                    await babbler.publish(topic, word, qos=1)
            node.append(20)
            await until(node.has_all, "the receiver has said that it has all")
            assert status(node)["not_understood"] == 3
            assert status(node)["connects"] == 1


async def test_links_that_end_leave_no_task_and_no_socket_behind(tmp_path: Path, pki: Path) -> None:
    files = pems(pki, "node")
    async with SlowBroker(delay_s=None).running(pki) as broker:
        node = Node(tmp_path, region(pki, broker.port, acknowledge="broker", resend_after_ns=SECOND_NS // 10))
        tasks = len(asyncio.all_tasks())
        async with node.running():
            node.append(3)
            await until(lambda: status(node)["connects"] == 2, "two links were made")
            sockets = open_files()
            await until(lambda: status(node)["connects"] == 5, "more links were made")
            assert open_files() <= sockets + 2
            credentials = Credentials(files["ca"], files["certificate"], files["key"])
            for _ in range(3):
                connecting = MqttTransport(region(pki, broker.port), "other", credentials).connected()
                attempt = asyncio.ensure_future(connecting.__aenter__())
                await asyncio.sleep(0.001)  # the thread is connecting
                attempt.cancel()
                await asyncio.gather(attempt, return_exceptions=True)
            await until(lambda: open_files() <= sockets + 2, "sockets are closed")
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
