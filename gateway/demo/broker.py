"""A small MQTT 5 broker for the demo and for tests only: it keeps everything in memory and asks nobody for a password.

No broker that pip installs can be stopped from a program, cut off from its clients and asked for its counts, and speaks
MQTT 5 with client certificates; hence this one. It knows QoS 0 and 1, persistent sessions, Receive Maximum, retained
messages, wills, wildcards, shared subscriptions, keep-alive and mTLS; it knows no QoS 2, no message expiry, no topic
aliases, no MQTT 3.1.1 (its codec reads MQTT 5 only). `sessions` decides, this file moves bytes.

Each `Listener` has a port of the loopback interface that the kernel chose. `cut` drops its connections and refuses new
ones until `heal`: the fault of an uplink. As a process (`python -m gateway.demo.broker`, see `processes`) it is led
by JSON lines on standard input, answers each on standard output, and ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, cast

import mqtt5

from gateway.demo.sessions import Sessions
from gateway.errors import MalformedPacketError
from gateway.process.topics import topic_fault
from gateway.transport.packets import PacketReader
from gateway.transport.tls import server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from gateway.demo.sessions import Session

HOST: Final = "127.0.0.1"
PACKET_BYTES_MAX: Final = 64 * 1024 * 1024
CONNECT_S: Final = 10.0
"""Longest wait for the CONNECT of a new connection."""
SWEEP_S: Final = 0.25
"""Time between looks at keep-alives, wills and sessions."""

_GRACE: Final = 1.5
"""Keep-alives that a client may be silent, MQTT 5.0 section 3.1.2.10."""
_Reason = mqtt5.DisconnectReasonCode


class ProtocolFaultError(MalformedPacketError):
    """A client did what MQTT 5 does not allow; `reason` is what it is told."""

    def __init__(self, fault: str, reason: mqtt5.DisconnectReasonCode) -> None:
        super().__init__(fault)
        self.reason = reason


class Peer(asyncio.BufferedProtocol):
    """One connection of one client."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._sessions = listener.sessions
        self._reader = PacketReader(PACKET_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._disconnect: mqtt5.DisconnectPacket | None = None
        self.deadline_s = CONNECT_S
        self.heard_at = self._loop.time()

    @property
    def unread_bytes(self) -> int:
        """Bytes that wait for the socket."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def send(self, data: bytes) -> None:
        """Write a packet; nothing when the connection is closed."""
        if self._transport is not None:
            self._transport.write(data)
            self._listener.counts["bytes_out"] += len(data)

    def end(self, reason: mqtt5.DisconnectReasonCode) -> None:
        """Send DISCONNECT, where the client is known, and close."""
        if self._session is not None:
            self.send(mqtt5.DisconnectPacket(reason_code=reason).write())
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def drop(self) -> None:
        """Close at once, unsent bytes and all."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for CONNECT; a connection that was on its way when the listener was cut is dropped."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.peers.add(self)
        if self._listener.is_cut:
            self.drop()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the reader knows better
        """Return where the next read goes."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Answer every packet that one read brought; a fault ends this connection only."""
        self._listener.counts["bytes_in"] += nbytes
        self.heard_at = self._loop.time()
        try:
            for packet in self._reader.received(nbytes):
                if self._transport is None:
                    return
                self._take(packet)
        except MalformedPacketError as error:
            self._listener.counts["malformed"] += 1
            self.end(error.reason if isinstance(error, ProtocolFaultError) else _Reason.MALFORMED_PACKET)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why does not matter here
        """Leave the session."""
        self._transport = None
        self._listener.peers.discard(self)
        if self._session is None:
            return
        word = self._disconnect
        keep_will = word is None or word.reason_code != _Reason.NORMAL_DISCONNECTION
        expiry_s = None if word is None else word.session_expiry_interval
        self._sessions.leave(self._session, self, self._loop.time(), keep_will=keep_will, expiry_s=expiry_s)

    def _take(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.ConnectPacket):
            self._connect(packet)
            return
        session = self._session
        if session is None:
            raise ProtocolFaultError("the first packet is not CONNECT", _Reason.PROTOCOL_ERROR)
        match packet:
            case mqtt5.PublishPacket():
                self._publish(session, packet)
            case mqtt5.PubAckPacket():
                session.acknowledge(packet.packet_id)
            case mqtt5.PingReqPacket():
                self.send(mqtt5.PingRespPacket().write())
            case mqtt5.SubscribePacket():
                self._subscribe(session, packet)
            case mqtt5.UnsubscribePacket():
                answers = list(self._sessions.unsubscribe(session, packet.patterns))
                self.send(mqtt5.UnsubAckPacket(packet.packet_id, answers).write())
            case mqtt5.DisconnectPacket():
                self._disconnect = packet
                transport, self._transport = self._transport, None
                assert transport is not None
                transport.close()
            case _:
                raise ProtocolFaultError(f"{type(packet).__name__} from a client", _Reason.PROTOCOL_ERROR)

    def _connect(self, packet: mqtt5.ConnectPacket) -> None:
        if self._session is not None:
            raise ProtocolFaultError("CONNECT came twice", _Reason.PROTOCOL_ERROR)
        assigned = None if packet.client_id else f"auto-{secrets.token_hex(8)}"
        opened = self._sessions.open(assigned or packet.client_id, packet, self)
        if opened is None:
            self.send(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.QUOTA_EXCEEDED).write())
            self.end(_Reason.QUOTA_EXCEEDED)
            return
        self._session, present = opened
        self.deadline_s = packet.keep_alive * _GRACE
        self._listener.counts["connects"] += 1
        self.send(
            mqtt5.ConnAckPacket(
                session_present=present,
                assigned_client_id=assigned,
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                max_packet_size=PACKET_BYTES_MAX,
            ).write()
        )
        self._session.resume()

    def _publish(self, session: Session, packet: mqtt5.PublishPacket) -> None:
        if packet.qos == mqtt5.QoS.EXACTLY_ONCE:
            raise ProtocolFaultError("QoS 2 is not supported", _Reason.QOS_NOT_SUPPORTED)
        if packet.topic_alias is not None:
            raise ProtocolFaultError("a topic alias was not allowed", _Reason.TOPIC_ALIAS_INVALID)
        if topic_fault(packet.topic):
            raise ProtocolFaultError(f"topic: {topic_fault(packet.topic)}", _Reason.TOPIC_NAME_INVALID)
        found = self._sessions.publish(packet, session.client_id)
        if packet.packet_id is not None:
            codes = mqtt5.PubAckReasonCode
            reason = codes.SUCCESS if found else codes.NO_MATCHING_SUBSCRIBERS
            self.send(mqtt5.PubAckPacket(packet.packet_id, reason_code=reason).write())

    def _subscribe(self, session: Session, packet: mqtt5.SubscribePacket) -> None:
        # Retained messages may leave before SUBACK: MQTT 5.0 section 3.8.4 allows it.
        answers = list(self._sessions.subscribe(session, packet))
        self.send(mqtt5.SubAckPacket(packet.packet_id, answers).write())


class Listener:
    """One port; `counts` has bytes after TLS, connections and faults.

    A second socket, bound and never listening, keeps the port ours while the listener is cut: clients are then refused
    as by a machine that is not there, and nobody else gets the port.
    """

    def __init__(self, sessions: Sessions, context: ssl.SSLContext | None) -> None:
        self.sessions = sessions
        self.peers: set[Peer] = set()
        self.counts = {"connects": 0, "malformed": 0, "bytes_in": 0, "bytes_out": 0}
        self._context = context
        self._kept = _bound(0)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port on `HOST`."""
        return int(self._kept.getsockname()[1])

    @property
    def is_cut(self) -> bool:
        """Whether connections are refused."""
        return self._server is None

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for peer in list(self.peers):
            peer.drop()

    async def heal(self) -> None:
        """Listen, for the first time or again."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Peer(self), sock=_bound(self.port), ssl=self._context)

    def close(self) -> None:
        """Cut for good."""
        self.cut()
        self._kept.close()

    def end_silent(self, now: float) -> None:
        """End connections whose client has been silent for too long."""
        for peer in list(self.peers):
            if peer.deadline_s and now - peer.heard_at > peer.deadline_s:
                peer.end(_Reason.KEEP_ALIVE_TIMEOUT)


class Broker:
    """A broker in this process. Use as an async context manager; `listeners` by name."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.listeners: dict[str, Listener] = {}
        self._sweep: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweep = asyncio.create_task(self._look(), name="broker sweep")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sweep is not None
        self._sweep.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweep
        for listener in self.listeners.values():
            listener.close()
        await asyncio.sleep(0)

    async def listen(self, name: str, context: ssl.SSLContext | None = None) -> Listener:
        """Open a listener."""
        listener = self.listeners[name] = Listener(self.sessions, context)
        await listener.heal()
        return listener

    def status(self) -> dict[str, Any]:
        """Return all counts."""
        return {
            "messages": dict(self.sessions.counts),
            "sessions": self.sessions.status(),
            "listeners": {name: dict(listener.counts) for name, listener in self.listeners.items()},
        }

    async def obey(self, order: Mapping[str, str]) -> dict[str, Any]:
        """Do what one line of input says, and return the answer."""
        match order:
            case {"do": "listen", "name": name, "ca": ca, "certificate": certificate, "key": key}:
                return {"port": (await self.listen(name, server_context(ca, certificate, key))).port}
            case {"do": "listen", "name": name}:
                return {"port": (await self.listen(name)).port}
            case {"do": "cut", "name": name}:
                self.listeners[name].cut()
                return {}
            case {"do": "heal", "name": name}:
                await self.listeners[name].heal()
                return {}
            case {"do": "status"}:
                return self.status()
        return {"fault": f"no such order: {dict(order)}"}

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            self.sessions.expire(now)
            for listener in self.listeners.values():
                listener.end_silent(now)


def _bound(port: int) -> socket.socket:
    """Return a socket on `port` of the loopback interface that others of ours may be bound to as well."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


async def serve_orders() -> None:
    """Obey the lines of standard input until it ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is for the demo, which closes our input
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Broker() as broker:
        while line := await reader.readline():
            answer = await broker.obey(json.loads(line))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve_orders())
