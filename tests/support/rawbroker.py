"""A broker made of a bare socket: the test says byte by byte what the client under test gets to read.

It accepts one connection at a time, in the test's own thread, and every wait is bounded. Whole packets are made with
the mqtt5 codec where they are valid, and written out by hand where no codec would make them.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Self

import mqtt5

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 15.0


class RawConnection:
    """One accepted socket. Pings are answered while the test reads packets."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._packet_id = 0
        self.connect: mqtt5.ConnectPacket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def handshake(self, *, session_present: bool = False, refuse: str = "") -> None:
        """Read CONNECT, accept it, and grant what is subscribed to, unless it ends in `refuse`."""
        self.read_connect()
        self.send(mqtt5.ConnAckPacket(session_present=session_present).write())
        packet = self.packet()
        assert isinstance(packet, mqtt5.SubscribePacket), packet
        granted = [
            mqtt5.SubAckReasonCode.NOT_AUTHORIZED
            if refuse and topic.pattern.endswith(refuse)
            else mqtt5.SubAckReasonCode(min(int(topic.max_qos), 1))
            for topic in packet.topic_filters
        ]
        self.send(mqtt5.SubAckPacket(packet.packet_id, granted).write())

    def read_connect(self) -> mqtt5.ConnectPacket:
        """Read the CONNECT that opens every connection."""
        packet = self.packet()
        assert isinstance(packet, mqtt5.ConnectPacket), packet
        self.connect = packet
        return packet

    def send(self, data: bytes) -> None:
        """Write bytes as they are; a client that has already closed is no fault of the test."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, packet_id: int = 0, duplicate: bool = False) -> int:
        """Send a whole PUBLISH and return its packet id, 0 at QoS 0; a packet id of 0 takes the next one."""
        if qos:
            self._packet_id = packet_id or self._packet_id % 65535 + 1
        number = self._packet_id if qos else None
        self.send(
            mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS(qos), packet_id=number, duplicate=duplicate).write()
        )
        return number or 0

    def packet(self, timeout_s: float = TIMEOUT_S) -> mqtt5.Packet:
        """Read the next packet that is no PINGREQ; fail when the client closes or nothing comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            packet = self._buffered()
            if isinstance(packet, mqtt5.PingReqPacket):
                self.send(mqtt5.PingRespPacket().write())
            elif packet is not None:
                return packet
            elif not self._fill(deadline):
                raise AssertionError("the client closed the connection")

    def wait_acknowledged(self, packet_ids: Sequence[int]) -> None:
        """Read PUBACKs until exactly these packet ids were acknowledged, in this order."""
        for expected in packet_ids:
            packet = self.packet()
            assert isinstance(packet, mqtt5.PubAckPacket), packet
            assert packet.packet_id == expected

    def wait_closed(self, timeout_s: float = TIMEOUT_S) -> list[mqtt5.Packet]:
        """Wait until the client closes, and return the packets that it still sent."""
        deadline = time.monotonic() + timeout_s
        packets: list[mqtt5.Packet] = []
        while self._fill(deadline):
            while (packet := self._buffered()) is not None:
                packets.append(packet)
        return packets

    def _buffered(self) -> mqtt5.Packet | None:
        try:
            packet, used = mqtt5.read(memoryview(bytes(self._buffer)))
        except IndexError:
            return None
        del self._buffer[:used]
        return packet

    def _fill(self, deadline: float) -> bool:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        except TimeoutError as error:
            raise AssertionError("the client sent nothing and stayed connected") from error
        self._buffer += data
        return bool(data)


class RawBroker:
    """Listens on a free port of the loopback interface; `accept` gives the next connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def accept(self, timeout_s: float = TIMEOUT_S) -> RawConnection:
        """Wait for the client's next connection."""
        self._listener.settimeout(timeout_s)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError as error:
            raise AssertionError(f"the client did not connect within {timeout_s} s") from error
        return RawConnection(connection)

    def serve(self, *, session_present: bool = False) -> RawConnection:
        """Accept the next connection and finish its handshake."""
        connection = self.accept()
        connection.handshake(session_present=session_present)
        return connection


def fixed_header(kind_and_flags: int, length: int) -> bytes:
    """Return a fixed header that announces `length` bytes, whatever follows it."""
    encoded = bytearray([kind_and_flags])
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def publish_bytes(topic: bytes, payload: bytes, *, qos: int = 1, packet_id: int = 1) -> bytes:
    """Return a PUBLISH of exactly these bytes, be they allowed or not."""
    body = len(topic).to_bytes(2, "big") + topic
    body += (packet_id.to_bytes(2, "big") if qos else b"") + b"\x00" + payload
    return fixed_header(0x30 | qos << 1, len(body)) + body
