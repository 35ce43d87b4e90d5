"""What the gateway's ingest is compared with: subscribers that do nothing, each in a process of its own.

    python -m benchmarks.subscribers (null | aiomqtt | paho) --port P --count N [--receive-maximum 2000]

`null` is the same codec under the same kind of protocol as the gateway, and acknowledges all that one read brought at
once: nothing that keeps a message can be faster by its own merit. `aiomqtt` and `paho` are the loops that their
documentation shows. All print `ready` when subscribed and, after N messages, one JSON object with `ended_at` on the
shared monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import aiomqtt
import mqtt5
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

FILTER = "bench/#"
BUFFER_BYTES = 1 << 18
PUBACKS = [b"\x40\x02" + number.to_bytes(2, "big") for number in range(65536)]


class NullSubscriber(asyncio.BufferedProtocol):
    """Decode every packet of a read, acknowledge them in one write, count them."""

    def __init__(self, count: int, receive_maximum: int) -> None:
        self.left = count
        self.ended = asyncio.get_running_loop().create_future()
        self._receive_maximum = receive_maximum
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._end = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.write(mqtt5.ConnectPacket("null", clean_start=True, receive_max=self._receive_maximum).write())
        wanted = [mqtt5.TopicFilter(FILTER, max_qos=mqtt5.QoS.AT_LEAST_ONCE)]
        transport.write(mqtt5.SubscribePacket(1, wanted).write())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the buffer has one size
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        start, end, view, answers = 0, self._end + nbytes, self._view, []
        try:
            while start < end:
                packet, used = mqtt5.read(view[start:end])
                start += used
                if packet.__class__ is mqtt5.PublishPacket:
                    answers.append(PUBACKS[packet.packet_id])
                elif packet.__class__ is mqtt5.SubAckPacket:
                    print("ready", flush=True)
        except IndexError:
            pass
        self._buffer[: end - start] = view[start:end]
        self._end = end - start
        if answers:
            self._transport.write(b"".join(answers))
            self.left -= len(answers)
            if self.left <= 0 and not self.ended.done():
                self.ended.set_result(time.monotonic())


async def null(port: int, count: int, receive_maximum: int) -> float:
    """Return the time at which the last of `count` messages was acknowledged."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: NullSubscriber(count, receive_maximum), "127.0.0.1", port
    )
    ended_at = await protocol.ended
    transport.close()
    return ended_at


async def aiomqtt_loop(port: int, count: int, receive_maximum: int) -> float:
    """Return the time at which the last of `count` messages came out of the library's iterator."""
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = receive_maximum
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        protocol=aiomqtt.ProtocolVersion.V5,
        properties=properties,
        clean_start=paho.MQTT_CLEAN_START_FIRST_ONLY,
    ) as client:
        await client.subscribe(FILTER, qos=1)
        print("ready", flush=True)
        async for _ in client.messages:
            count -= 1
            if count <= 0:
                break
        return time.monotonic()


async def paho_loop(port: int, count: int, receive_maximum: int) -> float:
    """Return the time at which the last of `count` messages was handed to paho-mqtt's callback."""
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = receive_maximum
    ended_at = 0.0
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

    def take(*_: object) -> None:
        nonlocal count, ended_at
        count -= 1
        if count == 0:
            ended_at = time.monotonic()
            client.disconnect()

    client.on_message = take
    client.on_connect = lambda *_: client.subscribe(FILTER, qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", port, properties=properties)
    client.loop_forever()
    return ended_at


def main() -> None:
    """Run one of them and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=("null", "aiomqtt", "paho"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--receive-maximum", type=int, default=2000)
    arguments = parser.parse_args()
    run = {"null": null, "aiomqtt": aiomqtt_loop, "paho": paho_loop}[arguments.which]
    ended_at = asyncio.run(run(arguments.port, arguments.count, arguments.receive_maximum))
    print(json.dumps({"ended_at": ended_at}), flush=True)


if __name__ == "__main__":
    main()
