"""A broker's own certificate expires in mid-session: the session goes on, the next one is refused and says why.

Nothing is lost meanwhile, and node and receiver go on by themselves as soon as the broker shows a new certificate.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.disk import Disk
from gateway.region import watermarks
from gateway.region.service import Service
from tests.support.authority import Authority
from tests.support.fault_proxy import FaultProxy
from tests.support.kafka import KafkaCluster, Uplink, free_ports
from tests.support.mirroring import Node, region, until
from tests.support.mosquitto import Mosquitto

EXPIRED = "the server's certificate is refused: certificate has expired"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    for party in ("node", "receiver"):
        made.issue(party)
    return made


class Expiring:
    """A certificate, else of the broker, that is valid for `valid_s` from now on."""

    def __init__(self, authority: Authority, valid_s: float, party: str = "server") -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + valid_s
        authority.issue(party, *(["localhost"] if party == "server" else []), valid_s=valid_s)

    async def expired(self) -> None:
        """Wait until it has expired; times in certificates are whole seconds."""
        await until(lambda: self._loop.time() > self._ends_at + 1.0, "it has expired")


def receiver(folder: Path, authority: Authority, port: int, **options: object) -> schema.Receiver:
    files = {f"tls_{name}": str(path) for name, path in authority.files("receiver").items()}
    return schema.Receiver(port=port, state_folder=str(folder / "region"), **files, **options)


@asynccontextmanager
async def running(options: schema.Receiver) -> AsyncIterator[None]:
    service = Service(options, Disk(), Clock(), random.Random(1))
    ready = asyncio.Event()
    task = asyncio.create_task(service.run(ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 20.0)
        yield
        service.stop()
        await asyncio.wait_for(task, 20.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        service.close()


def received(folder: Path) -> list[tuple[int, int, int]]:
    """Return (batches, missing, unaccounted) of each lane."""
    lanes = watermarks.report(folder / "region").lanes
    return [(lane.batches, lane.missing, lane.unaccounted) for lane in lanes]


def fault(node: Node) -> str:
    return str(node.mirrors[0].status()["last_fault"])


async def test_node_and_receiver_name_a_brokers_expired_certificate_and_go_on_once_it_is_renewed(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Expiring(authority, 4.0)
    with Mosquitto(tmp_path / "central", **authority.files("server")) as central:
        node = Node(tmp_path, region(authority.folder, central.port))
        async with running(receiver(tmp_path, authority, central.port)), node.running():
            node.append(1)
            await until(node.has_all, "the sessions are up")
            await certificate.expired()
            node.append(2)
            await until(node.has_all, "the session goes on")
            assert node.mirrors[0].status()["connects"] == 1
            central.stop()
            central.start()
            node.append(3)
            await until(lambda: EXPIRED in fault(node), "the node says why")
            said = f"broker localhost:{central.port}: cannot connect to localhost:{central.port}: {EXPIRED}"
            await until(lambda: said in caplog.text, "the receiver says why")
            assert not node.has_all()
            assert received(tmp_path) == [(3, 0, 0)]
            authority.issue("server", "localhost")
            os.kill(central.pid, signal.SIGHUP)  # it reads its certificate again
            await until(node.has_all, "the receiver has all")
            assert fault(node) == ""
        assert received(tmp_path) == [(6, 0, 0)]


async def test_node_and_receiver_outlive_the_expired_certificate_of_kafka(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    authority.issue("server", "localhost")
    (port,) = free_ports(1)
    client = {name: str(path) for name, path in authority.files("receiver").items()}
    with FaultProxy(port) as proxy:
        uplink = Uplink("127.0.0.1", port, proxy.port)
        with KafkaCluster(tmp_path / "kafka", authority.files("server"), client, uplink=uplink) as kafka:
            kafka.make_topic("edge")
            certificate = Expiring(authority, 6.0)
            kafka.nodes[0].renew(authority.files("server"))
            node = Node(tmp_path, region(authority.folder, proxy.port, transport="kafka", acknowledge="broker"))
            async with running(receiver(tmp_path, authority, proxy.port, source="kafka")), node.running():
                node.append(1)
                await until(lambda: received(tmp_path) == [(1, 0, 0)], "the sessions are up")
                await certificate.expired()
                node.append(2)
                await until(lambda: received(tmp_path) == [(3, 0, 0)], "the sessions go on")
                assert node.mirrors[0].status()["connects"] == 1
                proxy.cut()
                node.append(3)
                said = f"cannot connect to localhost:{proxy.port}: {EXPIRED}"
                await until(lambda: said in fault(node), "the node says why")
                await until(lambda: f"Kafka: {said}" in caplog.text, "the receiver says why")
                assert not node.has_all()
                authority.issue("server", "localhost")
                kafka.nodes[0].renew(authority.files("server"))
                await until(lambda: received(tmp_path) == [(6, 0, 0)], "the receiver has all")
                await until(node.has_all, "the node knows it")
                assert fault(node) == ""


async def test_a_receiver_at_kafka_lives_on_with_its_renewed_certificate(tmp_path: Path, authority: Authority) -> None:
    (port,) = free_ports(1)
    authority.issue("operator")
    authority.issue("server", "localhost")
    client = {name: str(path) for name, path in authority.files("operator").items()}
    with FaultProxy(port) as proxy:
        uplink = Uplink("127.0.0.1", port, proxy.port)
        with KafkaCluster(tmp_path / "kafka", authority.files("server"), client, uplink=uplink) as kafka:
            kafka.make_topic("edge")
            node = Node(tmp_path, region(authority.folder, proxy.port, transport="kafka", acknowledge="broker"))
            certificate = Expiring(authority, 10.0, "receiver")
            async with running(receiver(tmp_path, authority, proxy.port, source="kafka")), node.running():
                authority.issue("receiver")
                await certificate.expired()
                proxy.cut()
                node.append(3)
                await until(lambda: received(tmp_path) == [(3, 0, 0)], "the receiver has all")
