"""Receivers that take batches from a topic of Kafka: once each, whoever joins, leaves or is killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.region import postgresql, watermarks
from gateway.region.reconcile import Report
from gateway.region.service import Service
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import NODE, Node, region, until
from tests.support.postgresql import Postgresql
from tests.support.site import pems, region_tls


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "pki"
    write_pki(folder)
    return folder


@pytest.fixture
def kafka(tmp_path: Path, pki: Path) -> Iterator[KafkaCluster]:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with KafkaCluster(tmp_path / "kafka", files, pems(pki, "receiver")) as cluster:
        yield cluster


def receiver(folder: Path, pki: Path, kafka: KafkaCluster, **options: object) -> schema.Receiver:
    files = pems(pki, "receiver")
    made = schema.Receiver(
        source="kafka",
        host="localhost",
        port=kafka.port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        state_folder=str(folder / "region"),
        receive_maximum=8,
    )
    return msgspec.structs.replace(made, **options)


def node(folder: Path, pki: Path, kafka: KafkaCluster, name: str = NODE) -> Node:
    (folder / name).mkdir()
    return Node(folder / name, region(pki, kafka.port, transport="kafka", acknowledge="broker"))


@asynccontextmanager
async def running(options: schema.Receiver) -> AsyncIterator[asyncio.Task[None]]:
    service = Service(options, Disk(), Clock(), random.Random(1))
    ready = asyncio.Event()
    task = asyncio.create_task(service.run(ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 30.0)
        yield task
        service.stop()
        await asyncio.wait_for(task, 20.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        service.close()


def batches(report: Report) -> int:
    return sum(lane.batches for lane in report.lanes)


async def test_all_batches_arrive_once_also_when_the_offsets_of_some_were_never_committed(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("edge", partitions=2)
    options = receiver(tmp_path, pki, kafka)
    box = node(tmp_path, pki, kafka)
    async with box.running():
        box.append(60)
        async with running(options):
            await until(lambda: batches(watermarks.report(tmp_path / "region")) == 60, "the receiver has all")
        box.append(20)
        # Another group has no offsets, as if none had been committed: everything comes again.
        async with running(msgspec.structs.replace(options, share_group="others")):
            await until(lambda: batches(watermarks.report(tmp_path / "region")) == 80, "the receiver has all")
    (lane,) = watermarks.report(tmp_path / "region").lanes
    assert (lane.batches, lane.missing, lane.unaccounted, lane.duplicates) == (80, 0, 0, 60)


async def test_what_was_acknowledged_does_not_come_again(tmp_path: Path, pki: Path, kafka: KafkaCluster) -> None:
    kafka.make_topic("edge")
    options = receiver(tmp_path, pki, kafka)
    box = node(tmp_path, pki, kafka)
    async with box.running():
        for wanted in (30, 60):
            box.append(30)
            async with running(options):
                await until(lambda: batches(watermarks.report(tmp_path / "region")) == wanted, "the receiver has all")  # noqa: B023  # awaited in the loop
    (lane,) = watermarks.report(tmp_path / "region").lanes
    assert (lane.batches, lane.duplicates) == (60, 0)


async def test_receivers_on_postgresql_come_and_go_and_a_broker_is_killed_and_each_batch_is_there_once(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("edge", partitions=4)
    with Postgresql(tmp_path / "postgresql", **region_tls(pki)) as server:
        options = receiver(tmp_path, pki, kafka, sinks=("postgresql",), postgresql=server.options)
        box = node(tmp_path, pki, kafka)
        async with box.running(), AsyncExitStack() as stack:
            await stack.enter_async_context(running(msgspec.structs.replace(options, name="one")))
            box.append(40)
            async with running(msgspec.structs.replace(options, name="two")):
                box.append(40)
                await until(lambda: batches(postgresql.report(server.options)) == 80, "the receivers have all")
                kafka.nodes[0].kill()
                box.append(20)
                kafka.nodes[0].start()
                kafka.wait()
            box.append(20)
            server.kill()
            server.start()
            await until(lambda: batches(postgresql.report(server.options)) == 120, "the receivers have all")
        (lane,) = postgresql.report(server.options).lanes
        assert (lane.batches, lane.missing, lane.unaccounted, lane.forks) == (120, 0, 0, 0)
        assert len(server.rows("SELECT 1 FROM reading")) == lane.received


async def test_a_record_of_another_node_is_not_taken(tmp_path: Path, pki: Path, kafka: KafkaCluster) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415  # only here

    kafka.make_topic("edge")
    box = node(tmp_path, pki, kafka)
    async with box.running():
        box.append(1)
        await until(box.has_all, "the topic has it")
    (genuine,) = kafka.messages("edge")
    producer = Producer(kafka.settings())
    producer.produce("edge", genuine.value(), b"somebody", headers=genuine.headers() or [])
    producer.produce("edge", b"garbage", b"somebody")
    producer.flush(10)
    async with running(receiver(tmp_path, pki, kafka)):
        await until(lambda: len(watermarks.report(tmp_path / "region").rejected) == 2, "both are told")
        await until(lambda: batches(watermarks.report(tmp_path / "region")) == 1, "the genuine one is taken")
    assert watermarks.report(tmp_path / "region").rejected == {"other_node": 1, "no_batch": 1}
