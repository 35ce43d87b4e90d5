"""A simulated plant: 60 sensors whose values are made up, and the books of what they really sent.

Every sensor has a connection of its own to the local broker, numbers its messages 0, 1, 2, … in a field `n`, and books
what the broker acknowledged. The values come from a seed: mean-reverting walks with drift and noise, bursts, readings
of bad quality, and machines that send garbage on purpose.

    kind       sensors  QoS  what it shows                                 what becomes of it
    climate    20       0    temperature, humidity with drift              goes on as it is
    power      14       1    load steps, some of bad quality               bad ones filtered, small changes left out
    vibration  14       1    20 messages a second                          windows of one second
    state      8        1    bursts of changes, CBOR                       goes on as it is, first, in its own lane
    legacy     4        1    every second message is garbage               garbage is quarantined
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import cbor2
import mqtt5

from gateway.errors import GatewayError, LinkError
from gateway.transport.packets import PacketReader

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = 100
"""QoS 1 messages that a sensor has in flight at most; past it, it measures nothing."""
CONNECT_S: Final = 10.0

_PACKET_BYTES_MAX: Final = 64 * 1024
_GARBAGE: Final = (b"", b'{"n": 1, "value":', b'{"value": "\xff\xfe"}', b'{"value": NaN}', b"[1, 2, 3]", b"\x00" * 40)


@dataclass(slots=True)
class Sensor:
    """One sensor and its books. Messages numbered 0 to `sent` - 1 were sent, and `garbage` that has no number.

    `acknowledged` counts what the broker acknowledged, `unmatched` for how much of that it had no subscriber. `bad` are
    the numbers of messages of bad quality.
    """

    kind: str
    topic: str
    qos: int
    interval_s: float
    chance: random.Random
    sent: int = 0
    acknowledged: int = 0
    garbage: int = 0
    unmatched: int = 0
    payload_bytes: int = 0
    bad: set[int] = field(default_factory=set)
    value: float = 0.0

    @property
    def messages(self) -> int:
        """All messages sent, garbage included."""
        return self.sent + self.garbage

    def measure(self, now_ms: int) -> bytes:
        """Return the next payload and book it."""
        payload = _MAKERS[self.kind](self, now_ms)
        self.payload_bytes += len(payload)
        return payload

    def wait_s(self) -> float:
        """Return the time to the next message: jittered, and at times a burst."""
        if self.kind == "state" and self.chance.random() < 0.6:  # noqa: PLR2004  # burst more often than not
            return 0.02
        return self.interval_s * self.chance.uniform(0.8, 1.2)


def _walked(sensor: Sensor, centre: float, noise: float) -> float:
    """One step of a walk that tends to `centre`, which itself drifts slowly."""
    drifted = centre + 3.0 * noise * math.sin(sensor.sent / 200)
    sensor.value = drifted if not sensor.sent else sensor.value + 0.1 * (drifted - sensor.value)
    sensor.value += sensor.chance.gauss(0.0, noise)
    return round(sensor.value, 3)


def _number(sensor: Sensor) -> int:
    sensor.sent += 1
    return sensor.sent - 1


def _climate(sensor: Sensor, now_ms: int) -> bytes:
    temperature = _walked(sensor, 21.0, 0.2)
    row = {"n": _number(sensor), "t": now_ms, "temperature": temperature, "humidity": round(60 - temperature, 1)}
    return json.dumps(row).encode()


def _power(sensor: Sensor, now_ms: int) -> bytes:
    load = 1000.0 if (sensor.sent // 40) % 2 else 400.0
    watts = _walked(sensor, load, 5.0)
    row = {"n": _number(sensor), "t": now_ms, "watts": watts, "volts": round(sensor.chance.gauss(230, 0.4), 2)}
    is_bad = sensor.chance.random() < 0.05  # noqa: PLR2004  # one in twenty
    if is_bad:
        sensor.bad.add(sensor.sent - 1)
    return json.dumps({**row, "quality": "bad" if is_bad else "good"}).encode()


def _vibration(sensor: Sensor, now_ms: int) -> bytes:
    rms = abs(_walked(sensor, 2.0, 0.3))
    return json.dumps({"n": _number(sensor), "t": now_ms, "rms": rms}).encode()


def _state(sensor: Sensor, now_ms: int) -> bytes:
    state = sensor.chance.choice(("run", "idle", "stop", "alarm"))
    return cbor2.dumps({"n": _number(sensor), "t": now_ms, "state": state, "door_open": sensor.chance.random() < 0.5})  # noqa: PLR2004  # a coin


def _legacy(sensor: Sensor, now_ms: int) -> bytes:
    if sensor.chance.random() < 0.5:  # noqa: PLR2004  # a coin
        sensor.garbage += 1
        return sensor.chance.choice(_GARBAGE)
    return json.dumps({"n": _number(sensor), "t": now_ms, "value": _walked(sensor, 50.0, 1.0)}).encode()


_MAKERS: Final[dict[str, Callable[[Sensor, int], bytes]]] = {
    "climate": _climate,
    "power": _power,
    "vibration": _vibration,
    "state": _state,
    "legacy": _legacy,
}
_KINDS: Final = (
    ("climate", 20, 0, 0.2),
    ("power", 14, 1, 0.2),
    ("vibration", 14, 1, 0.05),
    ("state", 8, 1, 1.0),
    ("legacy", 4, 1, 0.5),
)

BAD_READINGS: Final = 4
"""Readings in a message of bad quality: n, watts, volts, quality; the time is none."""


def sensors(seed: int) -> list[Sensor]:
    """Return the 60 sensors; the same seed gives the same values."""
    return [
        Sensor(kind, f"plant/{kind}/{number:02}", qos, interval_s, random.Random(f"{seed}/{kind}/{number}"))  # noqa: S311  # repeatable
        for kind, count, qos, interval_s in _KINDS
        for number in range(count)
    ]


class Link(asyncio.BufferedProtocol):
    """The connection of one sensor to the local broker."""

    def __init__(self, sensor: Sensor) -> None:
        loop = asyncio.get_running_loop()
        self._sensor = sensor
        self._reader = PacketReader(_PACKET_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._last_id = 0
        self._waiting: set[int] = set()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return len(self._waiting)

    def publish(self, now_ms: int) -> None:
        """Measure once and send it; at QoS 1 only while the window has room."""
        sensor = self._sensor
        if self._transport is None or self.waiting >= WINDOW:
            return
        payload = sensor.measure(now_ms)
        packet_id = None
        if sensor.qos:
            self._last_id = packet_id = self._last_id % 65535 + 1
            self._waiting.add(packet_id)
        self._transport.write(
            mqtt5.PublishPacket(sensor.topic, payload, qos=mqtt5.QoS(sensor.qos), packet_id=packet_id).write()
        )

    def close(self) -> None:
        """Say goodbye."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(mqtt5.DisconnectPacket().write())
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        self._transport = cast("asyncio.Transport", transport)
        client_id = self._sensor.topic.replace("/", "-")
        self._transport.write(mqtt5.ConnectPacket(client_id, clean_start=True).write())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the reader knows better
        """Return where the next read goes."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Book what the broker acknowledges."""
        try:
            for packet in self._reader.received(nbytes):
                self._take(packet)
        except GatewayError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why does not matter here
        """Tell everyone who waits."""
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def _take(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.ConnAckPacket):
            if packet.reason_code == mqtt5.ConnAckReasonCode.SUCCESS and not self.accepted.done():
                self.accepted.set_result(None)
        elif isinstance(packet, mqtt5.PubAckPacket):
            self._waiting.remove(packet.packet_id)
            self._sensor.acknowledged += 1
            self._sensor.unmatched += packet.reason_code == mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS


class Plant:
    """All sensors at work. `run` until `stop`; then every message has been acknowledged, or `unacknowledged` says."""

    def __init__(self, seed: int, port: int) -> None:
        self.sensors = sensors(seed)
        self._port = port
        self._links: list[Link] = []
        self._stopping = asyncio.Event()

    @property
    def unacknowledged(self) -> int:
        """QoS 1 messages for which the local broker owes an acknowledgement."""
        return sum(link.waiting for link in self._links)

    def mark(self) -> dict[str, int]:
        """Return topic → messages numbered so far."""
        return {sensor.topic: sensor.sent for sensor in self.sensors}

    def stop(self) -> None:
        """Let every sensor send nothing more."""
        self._stopping.set()

    async def run(self) -> None:
        """Connect all sensors and let them send until `stop`; ends with the broker's last acknowledgement."""
        loop = asyncio.get_running_loop()
        try:
            for sensor in self.sensors:
                _, link = await loop.create_connection(lambda sensor=sensor: Link(sensor), "127.0.0.1", self._port)  # type: ignore[misc]
                self._links.append(link)
                answers = {link.accepted, link.closed}
                await asyncio.wait(answers, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
                if not link.accepted.done():
                    raise LinkError(f"the local broker did not accept {sensor.topic}")
            async with asyncio.TaskGroup() as group:
                for link, sensor in zip(self._links, self.sensors, strict=True):
                    group.create_task(self._work(link, sensor), name=sensor.topic)
            async with asyncio.timeout(CONNECT_S):
                while self.unacknowledged:  # noqa: ASYNC110  # sixty links, one condition, once
                    await asyncio.sleep(0.05)
        except OSError as error:  # TimeoutError is one
            raise LinkError(f"the local broker does not answer the sensors: {error or 'no word in time'}") from error
        finally:
            for link in self._links:
                link.close()

    async def _work(self, link: Link, sensor: Sensor) -> None:
        while not self._stopping.is_set():
            if link.closed.done():
                raise LinkError(f"the local broker dropped {sensor.topic}")
            link.publish(time.time_ns() // 10**6)
            await asyncio.sleep(sensor.wait_s())
