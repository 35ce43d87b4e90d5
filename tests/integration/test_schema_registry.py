"""Events in Avro and Protobuf at Kafka, through a schema registry, read by Confluent's own deserialisers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.schemas import event
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import NODE, Node, region, until
from tests.support.protobuf_classes import descriptor_set, message_class
from tests.support.schema_registry import PASSWORD, USER, RegistryOfTests
from tests.support.site import pems


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry") / "pki"
    write_pki(folder)
    return folder


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[KafkaCluster]:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with KafkaCluster(tmp_path_factory.mktemp("registry") / "kafka", files, pems(pki, "receiver")) as cluster:
        yield cluster


@pytest.fixture
async def registry(pki: Path) -> AsyncIterator[RegistryOfTests]:
    files = pems(pki, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certificate"], files["key"])
    async with RegistryOfTests(context).running() as running:
        yield running


def node_of(
    folder: Path,
    pki: Path,
    kafka: KafkaCluster,
    registry: RegistryOfTests,
    topic: str,
    encoding: str,
    **options: object,
) -> Node:
    secret = folder / "password"
    if not secret.exists():
        secret.write_text(f"{PASSWORD}\n", "utf-8")
    chosen = schema.Registry(**{"url": registry.url, "username": USER, "password_file": str(secret), **options})
    made = region(
        pki,
        kafka.port,
        transport="kafka",
        acknowledge="broker",
        format="events",
        events=schema.Events(mode="binary", encoding=encoding),
        kafka=schema.Kafka(topic=topic, registry=chosen),
    )
    return Node(folder, made)


def client_of(pki: Path, registry: RegistryOfTests) -> SchemaRegistryClient:
    return SchemaRegistryClient(
        {"url": registry.url, "ssl.ca.location": str(pki / "ca.pem"), "basic.auth.user.info": f"{USER}:{PASSWORD}"}
    )


def fault(node: Node) -> str:
    return str(node.mirrors[0].status()["last_fault"])


async def sent(node: Node, count: int = 3) -> None:
    async with node.running():
        node.append(count)
        await until(node.has_all, "the topic has all")


async def test_confluents_consumer_reads_events_in_avro(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests
) -> None:
    kafka.make_topic("in-avro")
    await sent(node_of(tmp_path, pki, kafka, registry, "in-avro", "avro"))
    with client_of(pki, registry) as client:
        read = AvroDeserializer(client)
        context = SerializationContext("in-avro", MessageField.VALUE)
        found = [await asyncio.to_thread(read, message.value(), context) for message in kafka.messages("in-avro")]
    assert [one["integers"] for one in found] == [{"value": 1}, {"value": 2}, {"value": 3}]
    assert {(one["node"], one["topic"]) for one in found} == {(NODE, "plant/a")}
    assert list(registry.subjects) == ["in-avro-value"]


async def test_confluents_consumer_reads_events_in_protobuf(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests
) -> None:
    kafka.make_topic("in-protobuf")
    await sent(node_of(tmp_path, pki, kafka, registry, "in-protobuf", "protobuf"))
    made = message_class(descriptor_set(event.protobuf()), event.NAME)
    with client_of(pki, registry) as client:
        read = ProtobufDeserializer(made, {"use.deprecated.format": False}, client)
        context = SerializationContext("in-protobuf", MessageField.VALUE)
        found = [await asyncio.to_thread(read, message.value(), context) for message in kafka.messages("in-protobuf")]
    assert [dict(one.integers) for one in found] == [{"value": 1}, {"value": 2}, {"value": 3}]
    assert registry.schemas == [("PROTOBUF", event.protobuf())]


@pytest.mark.parametrize(
    ("subject", "name"), [("record", "edge_gateway.v1.Event"), ("topic_record", "{topic}-edge_gateway.v1.Event")]
)
async def test_a_subject_may_be_named_after_the_record(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests, subject: str, name: str
) -> None:
    topic = f"{subject}-telemetry"
    kafka.make_topic(topic)
    await sent(node_of(tmp_path, pki, kafka, registry, f"{subject}-{{lane}}", "avro", subject=subject), 20)
    assert list(registry.subjects) == [name.format(topic=topic)]
    assert len(registry.asked) == 1


async def test_a_registry_that_is_away_or_refuses_us_is_named_and_nothing_is_lost(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests
) -> None:
    kafka.make_topic("held-back")
    secret = tmp_path / "password"
    secret.write_text("wrong\n", "utf-8")
    node = node_of(tmp_path, pki, kafka, registry, "held-back", "avro")
    registry.is_down = True
    async with node.running():
        node.append(3)
        await until(lambda: "500 the store is away" in fault(node), "the registry is named")
        registry.is_down = False
        await until(lambda: "does not let us in: 401" in fault(node), "the credentials are named")
        assert not kafka.messages("held-back")
        secret.write_text(f"{PASSWORD}\n", "utf-8")
        await until(node.has_all, "the topic has all")
    assert len(kafka.messages("held-back")) == 3


async def test_an_incompatible_subject_is_named(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests
) -> None:
    kafka.make_topic("incompatible")
    registry.closed.add("incompatible-value")
    node = node_of(tmp_path, pki, kafka, registry, "incompatible", "avro")
    async with node.running():
        node.append(1)
        await until(lambda: "incompatible with what the subject incompatible-value has" in fault(node), "it is named")


async def test_a_schema_that_must_not_be_registered_is_used_once_somebody_did(
    tmp_path: Path, pki: Path, kafka: KafkaCluster, registry: RegistryOfTests
) -> None:
    kafka.make_topic("by-hand")
    node = node_of(tmp_path, pki, kafka, registry, "by-hand", "protobuf", register=False)
    async with node.running():
        node.append(2)
        await until(lambda: "does not have our schema under the subject by-hand-value" in fault(node), "it is named")
        number = registry.register("by-hand-value", "PROTOBUF", event.protobuf())
        await until(node.has_all, "the topic has all")
    begins = {(message.value() or b"")[:6] for message in kafka.messages("by-hand")}
    assert begins == {b"\0" + number.to_bytes(4, "big") + b"\0"}
