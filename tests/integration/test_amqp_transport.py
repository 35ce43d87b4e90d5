"""A mirror to RabbitMQ: confirmed, in order, with attributes; and what a broker and its queues can do to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.transport.tls import client_context
from tests.support.mirroring import NODE, Node, region, until
from tests.support.rabbitmq import RabbitMq
from tests.support.site import pems, region_tls


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amqp") / "pki"
    write_pki(folder)
    return folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[RabbitMq]:
    with RabbitMq(tmp_path_factory.mktemp("rabbitmq"), user=NODE, **region_tls(pki)) as broker:
        yield broker


@pytest.fixture
def name() -> str:
    return f"edge-{uuid4().hex}"


def node_of(tmp_path: Path, pki: Path, broker: RabbitMq, name: str, **options: object) -> Node:
    (tmp_path / "password").write_text("secret\n", "ascii")
    settings = {
        "transport": "amqp",
        "acknowledge": "broker",
        "username": NODE,
        "password_file": str(tmp_path / "password"),
        "amqp": schema.Amqp(routing_key=name),
        **options,
    }
    return Node(tmp_path, region(pki, broker.port, **settings))


@asynccontextmanager
async def channel(pki: Path, broker: RabbitMq) -> AsyncIterator[AbstractChannel]:
    files = pems(pki, "receiver")
    context = client_context(files["ca"], files["certificate"], files["key"])
    options = {"login": NODE, "password": "secret", "ssl": True, "ssl_context": context}
    async with await aio_pika.connect(host="localhost", port=broker.port, **options) as connection:
        yield await connection.channel()


async def all_of(queue: AbstractQueue) -> list[AbstractIncomingMessage]:
    found = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        found.append(message)
    return found


def fault(node: Node) -> str:
    return str(node.mirrors[0].status()["last_fault"])


async def test_batches_are_confirmed_in_order_with_their_attributes(
    tmp_path: Path, pki: Path, broker: RabbitMq, name: str
) -> None:
    async with channel(pki, broker) as opened:
        queue = await opened.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        node = node_of(tmp_path, pki, broker, name)
        async with node.running():
            node.append(50)
            await until(node.has_all, "the queue has all")
        found = await all_of(queue)
    batches = [decode(message.body) for message in found]
    assert [batch.header.id.sequence for batch in batches if isinstance(batch, DecodedBatch)] == list(range(1, 51))
    assert found[0].message_id == found[0].headers["cloudEvents:id"] == f"{NODE}/telemetry/3/1"
    assert found[0].delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert found[0].content_type == "application/vnd.edge-gateway.batch"


async def test_events_go_to_an_exchange_one_by_one(tmp_path: Path, pki: Path, broker: RabbitMq, name: str) -> None:
    async with channel(pki, broker) as opened:
        exchange = await opened.declare_exchange(f"{name}-events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await opened.declare_queue(name, durable=True)
        await queue.bind(exchange, "readings.#")
        options = schema.Amqp(exchange=f"{name}-events", routing_key="readings.{node}.{lane}")
        node = node_of(tmp_path, pki, broker, name, amqp=options, format="events")
        async with node.running():
            node.append(5)
            await until(node.has_all, "the queue has all")
        found = await all_of(queue)
    assert [json.loads(message.body)["data"] for message in found] == [{"value": number} for number in range(1, 6)]
    assert found[0].routing_key == f"readings.{NODE}.telemetry"


async def test_a_certificate_alone_is_enough_where_no_user_is_named(
    tmp_path: Path, pki: Path, broker: RabbitMq, name: str
) -> None:
    async with channel(pki, broker) as opened:
        await opened.declare_queue(name, durable=True)
        node = node_of(tmp_path, pki, broker, name, username="", password_file="")
        async with node.running():
            node.append(3)
            await until(node.has_all, "the queue has all")


async def test_a_wrong_password_is_named(tmp_path: Path, pki: Path, broker: RabbitMq, name: str) -> None:
    node = node_of(tmp_path, pki, broker, name)
    (tmp_path / "password").write_text("wrong\n", "ascii")
    async with node.running():
        node.append(1)
        await until(lambda: "ACCESS_REFUSED" in fault(node), "it is named")
        (tmp_path / "password").write_text("secret\n", "ascii")
        async with channel(pki, broker) as opened:
            await opened.declare_queue(name, durable=True)
            await until(node.has_all, "the queue has all")


async def test_what_no_queue_takes_is_not_taken_for_delivered(
    tmp_path: Path, pki: Path, broker: RabbitMq, name: str
) -> None:
    node = node_of(tmp_path, pki, broker, name)
    async with node.running():
        node.append(3)
        await until(lambda: "no queue takes the routing key" in fault(node), "it is named")
        assert node.spool.cursor("centre", "telemetry") == 0
        async with channel(pki, broker) as opened:
            await opened.declare_queue(name, durable=True)
            await until(node.has_all, "the queue has all")


async def test_a_full_queue_that_refuses_loses_nothing(tmp_path: Path, pki: Path, broker: RabbitMq, name: str) -> None:
    async with channel(pki, broker) as opened:
        bounded = {"x-max-length": 5, "x-overflow": "reject-publish"}
        queue = await opened.declare_queue(name, durable=True, arguments=bounded)
        node = node_of(tmp_path, pki, broker, name)
        async with node.running():
            node.append(20)
            await until(lambda: "a queue refuses it" in fault(node), "it is named")
            sequences: set[int] = set()

            async def emptied() -> bool:
                for message in await all_of(queue):
                    batch = decode(message.body)
                    assert isinstance(batch, DecodedBatch)
                    sequences.add(batch.header.id.sequence)
                return node.has_all()

            async with asyncio.timeout(30.0):
                while not await emptied():  # noqa: ASYNC110  # the consumer is this loop
                    await asyncio.sleep(0.02)
            await emptied()
    assert sequences == set(range(1, 21))


async def test_a_broker_that_is_killed_has_each_batch_and_repeats_are_known_by_id(
    tmp_path: Path, pki: Path, broker: RabbitMq, name: str
) -> None:
    async with channel(pki, broker) as opened:
        await opened.declare_queue(name, durable=True)
    node = node_of(tmp_path, pki, broker, name)
    async with node.running():
        node.append(40, random.Random(1).randbytes(1000).hex())
        await until(lambda: node.spool.cursor("centre", "telemetry") > 5, "some are confirmed")
        broker.kill()
        node.append(40)
        broker.start()
        await until(node.has_all, "the queue has all")
    async with channel(pki, broker) as opened:
        queue = await opened.declare_queue(name, durable=True)
        identities = [message.message_id for message in await all_of(queue)]
    assert {f"{NODE}/telemetry/3/{number}" for number in range(1, 81)} == set(identities)
