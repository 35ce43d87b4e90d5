"""Events of a real node at a real broker, read by another client: every reading once by id, with its properties."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiomqtt
import pytest

from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.transport.contract import Message
from gateway.transport.credentials import Credentials
from gateway.transport.mqtt import MqttTransport
from gateway.transport.tls import client_context
from tests.support.mirroring import NODE, Node, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


class Consumer:
    """Subscribes to the events of all nodes and keeps what it gets."""

    def __init__(self, pki: Path, port: int) -> None:
        files = pems(pki, "receiver")
        self._context = client_context(files["ca"], files["certificate"], files["key"])
        self._port = port
        self.messages: list[aiomqtt.Message] = []
        self.is_ready = False

    async def run(self) -> None:
        options = {"protocol": aiomqtt.ProtocolVersion.V5, "tls_context": self._context}
        async with aiomqtt.Client("localhost", self._port, **options) as client:
            await client.subscribe("edge/v1/+/event/+", qos=1)
            self.is_ready = True
            async for message in client.messages:
                self.messages.append(message)


async def test_a_consumer_gets_every_reading_as_an_event(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "apps", **region_tls(pki)) as apps:
        node = Node(tmp_path, region(pki, apps.port, acknowledge="broker", format="events"))
        consumer = Consumer(pki, apps.port)
        consuming = asyncio.create_task(consumer.run())
        await until(lambda: consumer.is_ready, "the consumer has subscribed")
        async with node.running():
            node.append(20)
            await until(node.has_all, "the broker has all")
            await until(lambda: len(consumer.messages) == 20, "the consumer has all")
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
    events = [json.loads(bytes(message.payload)) for message in consumer.messages]
    assert [event["data"] for event in events] == [{"value": number} for number in range(1, 21)]
    assert {str(message.topic) for message in consumer.messages} == {f"edge/v1/{NODE}/event/telemetry"}
    assert {message.properties.ContentType for message in consumer.messages} == {"application/cloudevents+json"}


async def test_in_binary_mode_the_attributes_are_user_properties(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "apps", **region_tls(pki)) as apps:
        options = {"format": "events", "events": schema.Events(mode="binary")}
        node = Node(tmp_path, region(pki, apps.port, acknowledge="broker", **options))
        consumer = Consumer(pki, apps.port)
        consuming = asyncio.create_task(consumer.run())
        await until(lambda: consumer.is_ready, "the consumer has subscribed")
        async with node.running():
            node.append(1)
            await until(lambda: len(consumer.messages) == 1, "the consumer has it")
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
    (message,) = consumer.messages
    assert json.loads(bytes(message.payload)) == {"value": 1}
    properties = dict(message.properties.UserProperty)
    assert properties["id"] == f"{NODE}/telemetry/3/1/0"
    assert (properties["subject"], properties["type"]) == ("plant/a", "io.edge-gateway.readings.v1")


async def test_an_event_that_is_refused_is_parked_and_the_others_of_its_batch_are_not_held_up(
    tmp_path: Path, pki: Path
) -> None:
    with Mosquitto(tmp_path / "apps", message_size_limit=2000, **region_tls(pki)) as apps:
        node = Node(tmp_path, region(pki, apps.port, acknowledge="broker", format="events"))
        async with node.running():
            node.append(1)
            node.append(1, "x" * 5000)
            node.append(1)
            await until(node.has_all, "what can be taken is taken")
            assert node.mirrors[0].status()["parked"] == 1
    (why,) = (tmp_path / "parked" / "centre").glob("*.why")
    assert "1 of 1 events, the first is node-1/telemetry/3/2/0" in why.read_text("utf-8")


@pytest.mark.parametrize(
    "topic", ["plant/a\0b", "plant/\x07", "plant/\x7f", "plant/\x85", "plant/\uffff", "p" * 70_000]
)
async def test_an_attribute_that_is_no_text_of_mqtt_is_refused_and_the_link_goes_on(
    tmp_path: Path, pki: Path, topic: str
) -> None:
    with Mosquitto(tmp_path / "apps", **region_tls(pki)) as apps:
        options = region(pki, apps.port, acknowledge="broker", format="events", events=schema.Events(mode="binary"))
        events = [
            Message(str(number), NODE, "telemetry", NODE, "", b"{}", {"subject": one})
            for number, one in enumerate(["plant/a", topic, "plant/b"])
        ]
        credentials = Credentials(options.tls_ca, options.tls_certificate, options.tls_key)
        async with MqttTransport(options, NODE, credentials).connected() as link:
            (refusal,) = await link.send(events)
            assert (refusal.position, refusal.is_final) == (1, True)
            assert "subject" in refusal.reason
