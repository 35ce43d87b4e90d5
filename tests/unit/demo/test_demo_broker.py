"""The broker of the demo on real sockets, against clients that others wrote and against our own subscriber."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import aiomqtt
import mqtt5
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.demo.broker import Broker, Listener
from gateway.demo.pki import write_pki
from gateway.transport.connection import Connection
from gateway.transport.tls import client_context, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker() as running:
        yield running


@pytest.fixture
async def port(broker) -> int:
    return (await broker.listen("local")).port


async def until(condition: Callable[[], object], what: str, timeout_s: float = 5.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  # conditions of many kinds
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


def expiry(seconds: int) -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = seconds
    return properties


def client(port: int, name: str = "", **options) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", port, identifier=name or None, protocol=aiomqtt.ProtocolVersion.V5, **options)


async def test_aiomqtt_subscribes_publishes_and_gets_properties_and_retained_messages(port) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("unit", "K")]
    async with client(port, "one") as one, client(port) as two:
        await one.publish("plant/kept", b"kept", qos=1, retain=True)
        await one.subscribe("plant/+", qos=1)
        await two.publish("plant/a", b"1", qos=1, properties=properties)
        await two.publish("plant/b", b"2", qos=0)
        got = []
        async with asyncio.timeout(5):
            async for message in one.messages:
                got.append((str(message.topic), message.payload, message.qos, message.retain))
                if message.topic.value == "plant/a":
                    assert message.properties.UserProperty == [("unit", "K")]
                if len(got) == 3:
                    break
    assert got == [
        ("plant/kept", b"kept", 1, True),
        ("plant/a", b"1", 1, False),
        ("plant/b", b"2", 0, False),
    ]


async def test_paho_resumes_its_session_and_gets_what_it_missed(broker, port) -> None:
    got: list[bytes] = []
    present: list[bool] = []

    def sessions() -> paho.Client:
        one = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="p", protocol=paho.MQTTv5)
        ready = threading.Event()
        one.on_message = lambda _client, _data, message: got.append(message.payload)
        one.on_subscribe = lambda *_: ready.set()

        def on_connect(client, _data, flags, *_rest) -> None:
            present.append(flags.session_present)
            client.subscribe("plant/#", options=SubscribeOptions(qos=1))

        one.on_connect = on_connect
        one.connect("127.0.0.1", port, clean_start=False, properties=expiry(60))
        one.loop_start()
        assert ready.wait(5)
        return one

    first = await asyncio.to_thread(sessions)
    first.disconnect()
    await asyncio.to_thread(first.loop_stop)
    await until(lambda: not broker.sessions.status()["p"]["connected"], "the broker notes the goodbye")
    async with client(port) as other:
        for number in range(300):
            await other.publish("plant/a", b"%d" % number, qos=1)
    second = await asyncio.to_thread(sessions)
    await until(lambda: len(got) == 300, "everything that was missed")
    second.disconnect()
    await asyncio.to_thread(second.loop_stop)
    assert got == [b"%d" % number for number in range(300)]
    assert present == [False, True]


async def subscribed(port: int, number: int, on_publishes) -> Connection:
    """Return a connection of our own client, which acknowledges when it is told to, with a window of 5."""
    connect = mqtt5.ConnectPacket("node", session_expiry_interval=60, receive_max=5)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(number, connect, on_publishes), "127.0.0.1", port)
    await connection.accepted
    connection.subscribe([mqtt5.TopicFilter("plant/#", max_qos=mqtt5.QoS.AT_LEAST_ONCE)])
    await connection.subscribed
    return connection


async def test_what_is_not_acknowledged_bounds_what_is_sent_and_comes_again(broker, port) -> None:
    got: list[mqtt5.PublishPacket] = []
    connection = await subscribed(port, 1, lambda _, packets: got.extend(packets))
    async with client(port) as other:
        for number in range(12):
            await other.publish("plant/a", b"%d" % number, qos=1)
        await until(lambda: len(got) == 5, "a window full")
        first = [(packet.payload, packet.packet_id) for packet in got]
        got.clear()
        broker.listeners["local"].cut()
        await connection.closed
    await broker.listeners["local"].heal()
    connection = await subscribed(port, 2, lambda _, packets: got.extend(packets))
    assert connection.resumed
    await until(lambda: len(got) == 5, "the window again")
    assert [(packet.payload, packet.packet_id) for packet in got] == first
    assert all(packet.duplicate for packet in got)
    for index in range(12):
        await until(lambda index=index: len(got) > index, f"message {index}")
        connection.acknowledge([got[index].packet_id or 0])
    await until(lambda: broker.sessions.status()["node"]["in_flight"] == 0, "all acknowledged")
    assert [packet.payload for packet in got] == [b"%d" % number for number in range(12)]
    connection.close()
    await connection.closed


async def test_receivers_of_a_share_group_divide_the_messages(port) -> None:
    async with client(port, "r1") as one, client(port, "r2") as two, client(port) as other:
        for receiver in (one, two):
            await receiver.subscribe("$share/receivers/edge/+/batch/+", qos=1)
        for _ in range(10):
            await other.publish("edge/n/batch/l", b"x", qos=1)
        for receiver in (one, two):
            async with asyncio.timeout(5):
                for _ in range(5):
                    await anext(receiver.messages)
        assert len(one.messages) == len(two.messages) == 0


async def test_a_cut_listener_refuses_and_leaves_the_other_alone(broker) -> None:
    uplink, inside = await broker.listen("uplink"), await broker.listen("inside")
    async with client(inside.port, "receiver") as receiver:
        async with client(uplink.port, "node"):
            pass
        uplink.cut()
        with pytest.raises(aiomqtt.MqttError, match="refused"):
            async with client(uplink.port, "node"):
                pass
        await receiver.subscribe("a", qos=1)
        await uplink.heal()
        async with client(uplink.port, "node") as node:
            await node.publish("a", b"x", qos=1)
        assert (await anext(receiver.messages)).payload == b"x"


async def test_a_client_that_falls_silent_is_ended_and_its_will_is_published(port) -> None:
    async with client(port) as watcher:
        await watcher.subscribe("gone/#", qos=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        will = mqtt5.Will("gone/c", payload=b"bye", qos=mqtt5.QoS.AT_LEAST_ONCE)
        writer.write(mqtt5.ConnectPacket("c", keep_alive=1, will=will).write())
        async with asyncio.timeout(5):
            assert (await anext(watcher.messages)).payload == b"bye"
            data = await reader.read()
        connack, used = mqtt5.read(memoryview(data))
        disconnect, _ = mqtt5.read(memoryview(data)[used:])
        assert connack.max_qos == mqtt5.QoS.AT_LEAST_ONCE
        assert disconnect.reason_code == mqtt5.DisconnectReasonCode.KEEP_ALIVE_TIMEOUT
        writer.close()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("not_mqtt", b"GET / HTTP/1.1\r\nX: " + b"y" * 80),
        ("mqtt_3_1_1", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"),
        ("no_connect", mqtt5.PingReqPacket().write()),
        ("two_connects", mqtt5.ConnectPacket("c").write() * 2),
        (
            "qos_2",
            mqtt5.ConnectPacket("c").write()
            + mqtt5.PublishPacket("a", b"", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1).write(),
        ),
        ("connack", mqtt5.ConnectPacket("c").write() + mqtt5.ConnAckPacket().write()),
        ("alias", mqtt5.ConnectPacket("c").write() + mqtt5.PublishPacket("a", b"", topic_alias=1).write()),
    ],
)
async def test_a_client_that_breaks_the_rules_is_disconnected_and_others_go_on(broker, port, name, data) -> None:
    async with client(port) as good:
        await good.subscribe("a")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await good.publish("a", name.encode(), qos=1)
        assert (await anext(good.messages)).payload == name.encode()
    assert broker.listeners["local"].counts["malformed"] == 1


@pytest.fixture
async def secured(broker, tmp_path) -> tuple[Listener, Path]:
    write_pki(tmp_path)
    context = server_context(tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key")
    return await broker.listen("uplink", context), tmp_path


async def test_a_client_with_a_certificate_is_served_over_tls(secured) -> None:
    listener, pki = secured
    context = client_context(pki / "ca.pem", pki / "node.pem", pki / "node.key")
    async with aiomqtt.Client(
        "localhost", listener.port, identifier="n", protocol=aiomqtt.ProtocolVersion.V5, tls_context=context
    ) as node:
        await node.subscribe("a", qos=1)
        await node.publish("a", bytes(1_000_000), qos=1)
        async with asyncio.timeout(5):
            assert (await anext(node.messages)).payload == bytes(1_000_000)


async def test_a_client_without_a_certificate_is_refused(secured) -> None:
    listener, pki = secured
    reader, writer = await asyncio.open_connection(
        "localhost", listener.port, ssl=ssl.create_default_context(cafile=str(pki / "ca.pem"))
    )
    writer.write(mqtt5.ConnectPacket("c").write())
    with suppress(OSError):  # TLS 1.3 says it with the first read
        assert await reader.read() == b""
    writer.transport.abort()
    assert listener.counts["connects"] == 0


async def test_orders_as_json_open_cut_heal_and_count(broker) -> None:
    answer = await broker.obey({"do": "listen", "name": "local"})
    async with client(answer["port"]) as one:
        await one.publish("a", b"x", qos=1)
    assert await broker.obey({"do": "cut", "name": "local"}) == {}
    assert broker.listeners["local"].is_cut
    assert await broker.obey({"do": "heal", "name": "local"}) == {}
    status = await broker.obey({"do": "status"})
    assert status["messages"] == {"received_qos1": 1, "unmatched": 1}
    assert status["listeners"]["local"]["connects"] == 1
    assert "fault" in await broker.obey({"do": "dance"})
