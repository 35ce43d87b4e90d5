"""A mirror to Apache Kafka: all replicas have it, in order of its key, with attributes; and what can go wrong."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message

from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.demo.pki import write_pki
from tests.support.authority import Authority
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import NODE, Node, region, until
from tests.support.site import pems

SECOND_NS = 10**9
TOPIC = "edge"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kafka") / "pki"
    write_pki(folder)
    return folder


def cluster_of(folder: Path, pki: Path, **options: int) -> KafkaCluster:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    return KafkaCluster(folder, files, pems(pki, "receiver"), **options)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[KafkaCluster]:
    with cluster_of(tmp_path_factory.mktemp("kafka") / "one", pki) as cluster:
        yield cluster


def node_of(tmp_path: Path, pki: Path, cluster: KafkaCluster, topic: str = TOPIC, **options: object) -> Node:
    chosen = schema.Kafka(topic=topic, servers=tuple(cluster.servers.split(",")[1:]))
    settings = {"transport": "kafka", "acknowledge": "broker", "kafka": chosen, **options}
    return Node(tmp_path, region(pki, cluster.port, **settings))


def fault(node: Node) -> str:
    return str(node.mirrors[0].status()["last_fault"])


def sequences(messages: list[Message]) -> list[int]:
    batches = [decode(message.value() or b"") for message in messages]
    return [batch.header.id.sequence for batch in batches if isinstance(batch, DecodedBatch)]


def headers(message: Message) -> dict[str, str]:
    return {name: bytes(value).decode() for name, value in message.headers() or ()}


async def test_batches_are_produced_in_order_with_key_and_attributes(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("in-order", partitions=3)
    node = node_of(tmp_path, pki, kafka, "in-order")
    async with node.running():
        node.append(50)
        await until(node.has_all, "the topic has all")
    found = kafka.messages("in-order")
    assert sequences(found) == list(range(1, 51))
    assert {message.key() for message in found} == {NODE.encode()}
    said = headers(found[0])
    assert said["ce_id"] == f"{NODE}/telemetry/3/1"
    assert said["ce_type"] == "io.edge-gateway.batch.v1"
    assert said["content-type"] == "application/vnd.edge-gateway.batch"


async def test_events_are_produced_one_by_one_under_the_key_of_their_series(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("events-telemetry")
    node = node_of(tmp_path, pki, kafka, "events-{lane}", format="events")
    async with node.running():
        node.append(20)
        await until(node.has_all, "the topic has all")
    found = kafka.messages("events-telemetry")
    assert [json.loads(message.value() or b"")["data"] for message in found] == [
        {"value": number} for number in range(1, 21)
    ]
    assert {message.key() for message in found} == {f"{NODE}/plant/a".encode()}
    assert headers(found[0])["content-type"] == "application/cloudevents+json"


async def test_a_topic_that_is_missing_is_named_and_used_once_it_is_there(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    node = node_of(tmp_path, pki, kafka, "made-late")
    async with node.running():
        node.append(3)
        await until(lambda: "'made-late' cannot be used" in fault(node), "the fault is named")
        kafka.make_topic("made-late")
        await until(node.has_all, "the topic has all")
    assert sequences(kafka.messages("made-late")) == [1, 2, 3]


async def test_what_the_topic_finds_too_large_is_parked_and_the_rest_goes_on(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("small", **{"max.message.bytes": "2000"})
    node = node_of(tmp_path, pki, kafka, "small")
    large = random.Random(5).randbytes(5000).hex()
    async with node.running():
        node.append(3)
        node.append(1, value=large)
        node.append(3)
        await until(node.has_all, "the topic has all that fits")
        status = node.mirrors[0].status()
    assert sequences(kafka.messages("small")) == [1, 2, 3, 5, 6, 7]
    assert status["parked"], status


async def test_a_client_without_a_good_certificate_is_told_so(tmp_path: Path, pki: Path, kafka: KafkaCluster) -> None:
    stranger = Authority(tmp_path / "other")
    stranger.issue("node")
    (stranger.folder / "ca.pem").write_bytes((pki / "ca.pem").read_bytes())
    node = node_of(tmp_path, stranger.folder, kafka, "strange")
    async with node.running():
        node.append(1)
        await until(lambda: "SSL" in fault(node) or "ssl" in fault(node), "the fault is named")


async def test_a_user_with_a_password_needs_no_certificate_and_a_wrong_password_is_named(
    tmp_path: Path, pki: Path, kafka: KafkaCluster
) -> None:
    kafka.make_topic("of-users")
    secret = tmp_path / "password"
    secret.write_text("wrong\n", "utf-8")
    chosen = schema.Kafka(topic="of-users", sasl="PLAIN")
    made = region(pki, kafka.nodes[0].users_port, transport="kafka", acknowledge="broker", kafka=chosen)
    shown = {"tls_certificate": "", "tls_key": "", "username": "press", "password_file": str(secret)}
    node = Node(tmp_path, msgspec.structs.replace(made, **shown))
    async with node.running():
        node.append(3)
        await until(lambda: "Authentication failed" in fault(node), "the fault is named")
        secret.write_text("secret\n", "utf-8")
        await until(node.has_all, "the topic has all")
    assert sequences(kafka.messages("of-users")) == [1, 2, 3]


async def test_a_broker_that_hangs_is_left_and_all_arrives_when_it_is_back(tmp_path: Path, pki: Path) -> None:
    with cluster_of(tmp_path / "own", pki) as cluster:
        cluster.make_topic(TOPIC)
        node = node_of(tmp_path, pki, cluster, resend_after_ns=SECOND_NS)
        async with node.running():
            node.append(5)
            await until(node.has_all, "the topic has the first ones")
            cluster.nodes[0].hang()
            node.append(5)
            await until(lambda: "took nothing for 1 s" in fault(node), "the silence is noticed")
            cluster.nodes[0].go_on()
            await until(node.has_all, "the topic has all")
        assert set(sequences(cluster.messages(TOPIC))) == set(range(1, 11))


async def test_a_broker_killed_in_mid_stream_loses_nothing_and_repeats_carry_their_identity(
    tmp_path: Path, pki: Path
) -> None:
    with cluster_of(tmp_path / "own", pki) as cluster:
        cluster.make_topic(TOPIC)
        node = node_of(tmp_path, pki, cluster)
        async with node.running():
            for _ in range(2):
                node.append(40)
                cluster.nodes[0].kill()
                node.append(40)
                await until(lambda: fault(node) != "", "the loss is noticed")
                cluster.nodes[0].start()
                cluster.wait()
                await until(node.has_all, "the topic has all")
        found = cluster.messages(TOPIC)
    assert set(sequences(found)) == set(range(1, 161))
    repeats = Counter(headers(message)["ce_id"] for message in found)
    assert all(sequence in range(1, 161) for sequence in sequences(found))
    assert len(repeats) == 160


async def test_of_three_brokers_one_may_be_killed_and_nothing_comes_twice(tmp_path: Path, pki: Path) -> None:
    with cluster_of(tmp_path / "own", pki, nodes=3) as cluster:
        cluster.make_topic(TOPIC, partitions=3)
        node = node_of(tmp_path, pki, cluster, resend_after_ns=20 * SECOND_NS)
        async with node.running():
            for victim in cluster.nodes if os.environ.get("GATEWAY_LONG") else cluster.nodes[:1]:
                node.append(40)
                victim.kill()
                node.append(40)
                await until(node.has_all, "the topic has all with two brokers")
                victim.start()
                cluster.wait_replicated(TOPIC)
        assert sequences(cluster.messages(TOPIC)) == list(range(1, node.appended["telemetry"] + 1))
        assert node.mirrors[0].status()["connects"] == 1
