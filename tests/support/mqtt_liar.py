"""A small MQTT 5 broker over mutual TLS that misbehaves by choice: it may withhold, forget, refuse, fall silent, leave.

With the manners it begins with it is a plain broker: sessions that outlive their connection, QoS 1, shared
subscriptions (to one subscriber), its peers' Receive Maximum. So a real node and a real receiver work through it, and
what it does to them is the only fault there is. It keeps to the standard where a peer might break it, and writes down
in `violations` what a peer did: more in flight than its Receive Maximum, a packet above its Maximum Packet Size.

Manners may be changed by any thread at any time and count for the next packet. It has no will messages, no retained
ones, and answers QoS 2 with an end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import mqtt5

from gateway.transport.packets import PacketReader
from gateway.transport.tls import server_context
from tests.support.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable

PACKET_BYTES_MAX = 64 << 20
BACKLOG = 1024
REFUSED = 0x80


@dataclass
class Manners:
    """What the broker does. `number` counts the messages that it got, from 1, over all connections.

    `keeps` says whether an acknowledged message is handed on, or forgotten; `answer` what a PUBACK says to a number and
    payload: from 0x80 on the message is not handed on.
    """

    connack: mqtt5.ConnAckReasonCode = field(default_factory=lambda: mqtt5.ConnAckReasonCode.SUCCESS)
    receive_maximum: int = 65535
    packet_bytes_max: int | None = None
    keep_alive_s: int | None = None
    acknowledges: bool = True
    acknowledges_after_s: float = 0.0
    answers_pings: bool = True
    keeps: Callable[[int], bool] = lambda _: True
    answer: Callable[[int, bytes], mqtt5.PubAckReasonCode] = lambda *_: mqtt5.PubAckReasonCode.SUCCESS


@dataclass
class Session:
    """What is kept of a client: its filters, and what it has not acknowledged, oldest first."""

    filters: list[str] = field(default_factory=list)
    pending: deque[tuple[str, bytes]] = field(default_factory=deque)
    in_flight: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    connection: _Connection | None = None
    last_id: int = 0


class Liar:
    """The broker. `taken` lists (client id, topic, payload) as they came, `connects` when each client was accepted."""

    def __init__(self, ca: str, certificate: str, key: str, **manners: object) -> None:
        self._context = server_context(str(ca), str(certificate), str(key))
        self._thread = LoopThread("liar")
        self._server: asyncio.Server | None = None
        self.manners = Manners(**manners)  # type: ignore[arg-type]
        self.sessions: dict[str, Session] = {}
        self.connections: set[_Connection] = set()
        self.taken: list[tuple[str, str, bytes]] = []
        self.forgotten: list[tuple[str, bytes]] = []
        self.connects: list[tuple[float, str]] = []
        self.violations: list[str] = []
        self.unacknowledged_max = 0
        self.pings = 0
        self.fault: BaseException | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.wait(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._close)
        self._thread.__exit__()
        assert self.fault is None, self.fault

    def disconnect(self, client: str, reason: mqtt5.DisconnectReasonCode) -> None:
        """Send DISCONNECT to each client whose id contains `client`, and close."""

        def leave() -> None:
            for connection in self._named(client):
                connection.leave(reason)

        self._thread.call(leave)

    def drop(self, client: str) -> None:
        """Close without a word the connections of each client whose id contains `client`."""

        def leave() -> None:
            for connection in self._named(client):
                connection.abort()

        self._thread.call(leave)

    def forget_sessions(self) -> None:
        """Forget every session that has no connection, as a broker without persistence does when it restarts."""
        self._thread.call(
            lambda: self.sessions.update(
                {name: Session() for name, one in self.sessions.items() if one.connection is None}
            )
        )

    def connected(self, client: str) -> bool:
        """Whether a client whose id contains `client` is connected."""
        return bool(self._named(client))

    def routed(self, topic: str, payload: bytes) -> bool:
        """Hand a message to every session that subscribes to its topic; in the loop."""
        found = [one for one in self.sessions.values() if any(matches(each, topic) for each in one.filters)]
        for session in found:
            session.pending.append((topic, payload))
            if session.connection is not None:
                session.connection.deliver()
        return bool(found)

    async def _listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._context, backlog=BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.abort()

    def _named(self, client: str) -> list[_Connection]:
        return [one for one in self.connections if client in one.client]


class _Connection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, broker: Liar) -> None:
        self._broker = broker
        self._reader = PacketReader(PACKET_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._session = Session()
        self._receive_maximum = 0
        self._unacknowledged: set[int] = set()
        self._allowed = 65535
        self.client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._broker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._broker.connections.discard(self)
        if self._session.connection is self:
            self._session.connection = None

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for packet in self._reader.received(nbytes):
                if self._transport is not None:
                    self._take(packet)
        except BaseException as error:  # noqa: BLE001  # of the tests' own broker, or of what a client sent: the test fails
            self._broker.fault = self._broker.fault or error
            self.abort()

    def abort(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def leave(self, reason: mqtt5.DisconnectReasonCode) -> None:
        self._write(mqtt5.DisconnectPacket(reason_code=reason).write())
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def deliver(self) -> None:
        """Send what waits for this client, as far as its Receive Maximum allows."""
        session = self._session
        while session.pending and len(session.in_flight) < self._receive_maximum:
            session.last_id = session.last_id % 65535 + 1
            session.in_flight[session.last_id] = session.pending.popleft()
            self._send(session.last_id)

    def _send(self, packet_id: int, *, duplicate: bool = False) -> None:
        topic, payload = self._session.in_flight[packet_id]
        qos = mqtt5.QoS.AT_LEAST_ONCE
        self._write(mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id, duplicate=duplicate).write())

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _take(self, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.ConnectPacket():
                self._connected(packet)
            case mqtt5.PublishPacket():
                self._published(packet)
            case mqtt5.PubAckPacket():
                self._session.in_flight.pop(packet.packet_id, None)
                self.deliver()
            case mqtt5.SubscribePacket():
                self._subscribed(packet)
            case mqtt5.PingReqPacket():
                self._broker.pings += 1
                if self._broker.manners.answers_pings:
                    self._write(mqtt5.PingRespPacket().write())
            case mqtt5.DisconnectPacket():
                self.abort()
            case _:
                self.leave(mqtt5.DisconnectReasonCode.PROTOCOL_ERROR)

    def _connected(self, packet: mqtt5.ConnectPacket) -> None:
        broker, manners = self._broker, self._broker.manners
        if manners.connack != mqtt5.ConnAckReasonCode.SUCCESS:
            self._write(mqtt5.ConnAckPacket(reason_code=manners.connack).write())
            transport, self._transport = self._transport, None
            assert transport is not None
            transport.close()
            return
        self.client = packet.client_id
        self._receive_maximum = packet.receive_max
        self._allowed = manners.receive_maximum
        known = None if packet.clean_start else broker.sessions.get(packet.client_id)
        self._session = known or Session()
        broker.sessions[packet.client_id] = self._session
        if self._session.connection is not None:
            self._session.connection.leave(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        self._session.connection = self
        broker.connects.append((time.monotonic(), packet.client_id))
        answer = mqtt5.ConnAckPacket(
            session_present=known is not None,
            receive_max=manners.receive_maximum,
            max_packet_size=manners.packet_bytes_max,
            server_keep_alive=manners.keep_alive_s,
        )
        self._write(answer.write())
        for packet_id in list(self._session.in_flight):
            self._send(packet_id, duplicate=True)
        self.deliver()

    def _subscribed(self, packet: mqtt5.SubscribePacket) -> None:
        filters = self._session.filters
        filters += [one.pattern for one in packet.topic_filters if one.pattern not in filters]
        granted = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE for _ in packet.topic_filters]
        self._write(mqtt5.SubAckPacket(packet.packet_id, granted).write())

    def _published(self, packet: mqtt5.PublishPacket) -> None:
        broker, manners = self._broker, self._broker.manners
        payload = bytes(packet.payload)
        size = len(packet.write())
        if manners.packet_bytes_max is not None and size > manners.packet_bytes_max:
            broker.violations.append(f"{self.client} sent a packet of {size} bytes")
            self.leave(mqtt5.DisconnectReasonCode.PACKET_TOO_LARGE)
            return
        broker.taken.append((self.client, packet.topic, payload))
        number, packet_id = len(broker.taken), packet.packet_id
        if packet_id is None:
            broker.routed(packet.topic, payload)
            return
        self._unacknowledged.add(packet_id)
        broker.unacknowledged_max = max(broker.unacknowledged_max, len(self._unacknowledged))
        if len(self._unacknowledged) > self._allowed:
            broker.violations.append(f"{self.client} has {len(self._unacknowledged)} messages in flight")
            self.leave(mqtt5.DisconnectReasonCode.RECEIVE_MAX_EXCEEDED)
            return
        if not manners.acknowledges:
            return
        code = manners.answer(number, payload)
        if code.value < REFUSED:
            if not manners.keeps(number):
                broker.forgotten.append((packet.topic, payload))
            elif not broker.routed(packet.topic, payload):
                code = mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS
        answer = mqtt5.PubAckPacket(packet_id, reason_code=code).write()
        asyncio.get_running_loop().call_later(manners.acknowledges_after_s, self._acknowledge, packet_id, answer)

    def _acknowledge(self, packet_id: int, answer: bytes) -> None:
        self._unacknowledged.discard(packet_id)
        self._write(answer)


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter, shared or not, takes a topic. Source: MQTT 5.0, section 4.7.1."""
    levels = pattern.split("/")[2 if pattern.startswith("$share/") else 0 :]
    names = topic.split("/")
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= len(names) or level not in {"+", names[index]}:
            return False
    return len(levels) == len(names)
