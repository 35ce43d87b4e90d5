"""A receiver between two topics of Kafka, with nothing of its own: each reading once, whoever is killed or hangs."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.errors import ConfigError
from gateway.region import chosen
from gateway.region.kafka_state import read_state
from gateway.region.reconcile import LaneReport
from gateway.region.stream import Stream
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import NODE, Node, region, until
from tests.support.site import pems

COMPACTED = {"cleanup.policy": "compact"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "pki"
    write_pki(folder)
    return folder


@pytest.fixture
def kafka(tmp_path: Path, pki: Path) -> Iterator[KafkaCluster]:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with KafkaCluster(tmp_path / "kafka", files, pems(pki, "receiver")) as cluster:
        cluster.make_topic("edge", partitions=2)
        cluster.make_topic("edge-state", partitions=2, **COMPACTED)
        cluster.make_topic("edge-events", partitions=3)
        cluster.make_topic("edge-dead")
        yield cluster


def receiver(pki: Path, cluster: KafkaCluster, **options: object) -> schema.Receiver:
    files = pems(pki, "receiver")
    made = schema.Receiver(
        source="kafka",
        sinks=("kafka",),
        host="localhost",
        port=cluster.port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
    )
    return msgspec.structs.replace(made, **options)


def node(folder: Path, pki: Path, kafka: KafkaCluster, name: str = NODE) -> Node:
    (folder / name).mkdir()
    return Node(folder / name, region(pki, kafka.port, transport="kafka", acknowledge="broker"))


class Patience(random.Random):
    """Chance that counts how often it is asked, which is for a wait."""

    waits = 0

    def uniform(self, a: float, b: float) -> float:
        self.waits += 1
        return super().uniform(a, b)


@asynccontextmanager
async def running(options: schema.Receiver, chance: random.Random | None = None) -> AsyncIterator[Stream]:
    stream = Stream(options, Clock(), chance or random.Random(1))
    ready = asyncio.Event()
    task = asyncio.create_task(stream.run(ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 30.0)
        yield stream
    finally:
        stream.stop()
        await asyncio.wait_for(task, 60.0)


def values(kafka: KafkaCluster) -> list[int]:
    return sorted(json.loads(one.value() or b"")["data"]["value"] for one in kafka.messages("edge-events"))


def lane(options: schema.Receiver) -> LaneReport:
    (found,) = chosen.report(options).lanes
    return found


async def test_each_reading_becomes_one_event_also_when_all_batches_come_again(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    options = receiver(pki, kafka)
    box = node(tmp_path, pki, kafka)
    async with box.running():
        box.append(40)
        async with running(options):
            await until(lambda: len(values(kafka)) == 40, "the events are there")
        box.append(20)
        # Another group has no offsets: everything comes again, and only what was kept in the topic can tell.
        async with running(msgspec.structs.replace(options, share_group="others")):
            await until(lambda: len(values(kafka)) == 60, "the events are there")
    assert values(kafka) == list(range(1, 61))
    found = lane(options)
    assert (found.batches, found.received, found.duplicates, found.missing, found.unaccounted) == (60, 60, 40, 0, 0)


async def test_receivers_come_and_go_and_the_broker_is_killed_and_each_reading_is_there_once(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    options = receiver(pki, kafka)
    box = node(tmp_path, pki, kafka)
    async with box.running(), running(msgspec.structs.replace(options, name="one")):
        box.append(30)
        await until(lambda: len(values(kafka)) >= 10, "some events are there")
        async with running(msgspec.structs.replace(options, name="two")):
            box.append(30)
            await until(lambda: len(values(kafka)) >= 40, "more events are there")
        box.append(10)
        kafka.nodes[0].kill()
        box.append(10)
        kafka.nodes[0].start()
        kafka.wait()
        await until(lambda: len(values(kafka)) >= 80, "all events are there")
    assert values(kafka) == list(range(1, 81))
    assert (lane(options).batches, lane(options).unaccounted) == (80, 0)


async def test_state_behind_a_transaction_that_somebody_left_open_is_waited_for(kafka: KafkaCluster) -> None:
    dead, successor = (Producer(kafka.settings(**{"transactional.id": name})) for name in ("dead", "successor"))
    for producer, key in ((dead, b"lost"), (successor, b"known")):
        producer.init_transactions(30.0)
        producer.begin_transaction()
        producer.produce("edge-state", b"{}", key, partition=0)
        producer.flush(30.0)
    successor.commit_transaction(30.0)
    reading = asyncio.create_task(asyncio.to_thread(read_state, kafka.settings(), "edge-state", 0))
    await asyncio.wait([reading], timeout=1.0)
    dead.abort_transaction(30.0)
    assert await reading == [(b"known", b"{}")]


async def test_what_cannot_be_taken_is_in_the_topic_of_dead_letters(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    options = receiver(pki, kafka, kafka=schema.KafkaSource(sink=schema.KafkaSink(compression="none")))
    producer = Producer(kafka.settings())
    for key in (b"somebody", b"\xff" * 400_000):  # as text that is more than any topic takes
        producer.produce("edge", b"garbage", key, partition=0)
    producer.flush(10)
    box = node(tmp_path, pki, kafka)
    async with box.running(), running(options):
        box.append(1)
        await until(lambda: len(values(kafka)) == 1, "the event is there")
        await until(lambda: len(kafka.messages("edge-dead")) == 2, "the dead letters are there")
    for letter in kafka.messages("edge-dead"):
        assert (letter.value(), dict(letter.headers() or [])["reason"]) == (b"garbage", b"no_batch")
    assert chosen.report(options).rejected == {"no_batch": 2}
    with pytest.raises(ConfigError, match="records of the topic edge-dead"):
        chosen.editing(options)


async def test_an_event_too_large_for_its_topic_becomes_a_dead_letter_and_the_rest_goes_on(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("small", **{"max.message.bytes": "2000"})
    sink = schema.KafkaSink(topic="small", compression="none")
    options = receiver(pki, kafka, kafka=schema.KafkaSource(sink=sink))
    box = node(tmp_path, pki, kafka)
    patience = Patience(1)
    async with box.running(), running(options, patience) as stream:
        box.append(3)
        for number in range(4):
            box.append(1, value=random.Random(number).randbytes(5000).hex())
        box.append(3)
        await until(lambda: len(kafka.messages("small")) == 6, "the others are there")
        await until(lambda: not stream.too_large, "what was given up is forgotten")
    assert not patience.waits, "each costs a session, and no wait in which all others are held up"
    letters = [dict(letter.headers() or []) for letter in kafka.messages("edge-dead")]
    assert {said["reason"] for said in letters} == {b"too_large"}
    named = [f"{NODE}/telemetry/3/{number}/0".encode() for number in range(4, 8)]
    assert sorted(said["topic"] or b"" for said in letters) == named
    ids = Counter(dict(one.headers() or [])["content-type"] for one in kafka.messages("small"))
    assert ids == {b"application/cloudevents+json": 6}
    assert lane(options).batches == 10


async def test_a_topic_that_is_missing_or_too_narrow_or_forgetful_is_named(
    pki: Path, kafka: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.make_topic("narrow", **COMPACTED)
    kafka.make_topic("forgetful", partitions=2)
    kafka.make_topic("both", partitions=2, **{"cleanup.policy": "compact,delete"})
    faults = {
        "'nowhere' does not exist": schema.KafkaSink(topic="nowhere"),
        "'narrow' has 1 partitions": schema.KafkaSink(state_topic="narrow"),
        "'forgetful' forgets what is old": schema.KafkaSink(state_topic="forgetful"),
        "'both' forgets what is old": schema.KafkaSink(state_topic="both"),
    }
    for fault, sink in faults.items():
        stream = Stream(receiver(pki, kafka, kafka=schema.KafkaSource(sink=sink)), Clock(), random.Random(1))
        task = asyncio.create_task(stream.run(lambda: None))
        await until(lambda: fault in caplog.text, "the fault is named")  # noqa: B023  # awaited in the loop
        stream.stop()
        await asyncio.wait_for(task, 30.0)


async def test_a_stranger_in_the_state_topic_is_named_and_the_receiver_goes_on_when_it_is_gone(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer(kafka.settings())
    producer.produce("edge-state", b"hello", b"stranger", partition=0)
    producer.flush(10)
    box = node(tmp_path, pki, kafka)
    stream = Stream(receiver(pki, kafka), Clock(), random.Random(1))
    task = asyncio.create_task(stream.run(lambda: None))
    async with box.running():
        box.append(3)
        await until(lambda: "holds what is no state of ours" in caplog.text, "the fault is named")
        producer.produce("edge-state", None, b"stranger", partition=0)
        producer.flush(10)
        await until(lambda: values(kafka) == [1, 2, 3], "the events are there")
    stream.stop()
    await asyncio.wait_for(task, 30.0)
