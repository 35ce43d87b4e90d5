"""One MQTT 5 connection whose acknowledgements the application decides; it dies with its socket.

Every read of the socket hands all its PUBLISH packets over in one call. Nothing is acknowledged by itself: the
owner calls `acknowledge` with packet ids when their messages are durable, and all PUBACKs leave in one write.
Withholding them is the only back-pressure; the socket is still read, so that PINGRESP and DISCONNECT are seen.

A peer that sends past our Receive Maximum (mosquitto 2.0.11 does, with retained or queued messages) is not
disconnected, as MQTT 5.0 section 4.9 would have it: it would do the same on the next connection, for ever. What it sent
is taken, and the socket is not read until enough is acknowledged.

Invariants: past the Receive Maximum at most one read more is taken; an acknowledgement given to a closed connection
goes nowhere, because on the next one the same packet id can name another message; no exception leaves a callback: a
fault closes the connection and is kept.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import mqtt5

from gateway.errors import GatewayError, LinkError, MalformedPacketError
from gateway.transport.counted import Counts, acknowledge_soon, counts_of, drop_unsent
from gateway.transport.packets import PacketReader
from gateway.transport.tls import fault_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    OnPublishes = Callable[["Connection", list[mqtt5.PublishPacket]], None]

PIECE_BYTES: Final = 64 * 1024
"""What is written at once, and what may be unsent in the kernel, or held by the transport, until we wait for it."""
PING_BYTES_MAX: Final = 64
"""A PINGREQ in any record of TLS."""

_SIOCOUTQNSD: Final = 0x894B
"""Of linux/sockios.h: asks for the bytes of a socket that are not sent yet."""
_LOOK_MIN_S: Final = 0.001
_LOOK_MAX_S: Final = 0.05
_INT: Final = struct.Struct("i")
_PUBACKS: Final = b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in range(65536))
_PACKET_IDS: Final = 65535
_PINGREQ: Final = mqtt5.PingReqPacket().write()
_NORMAL: Final = mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION


class Connection(asyncio.BufferedProtocol):
    """The life of one socket. `number` tells connections apart; `resumed` says the broker kept our session.

    `packet_bytes_max` is the largest packet that the peer takes, 0 means any. `is_quick` lets the kernel acknowledge
    each read by itself: a peer that sends by Nagle's rule (mosquitto, unless told not to) holds a message back until
    what it sent before is acknowledged, and our PUBACK waits for a commit. Not for a line whose packets are paid for.
    """

    def __init__(
        self,
        number: int,
        connect: mqtt5.ConnectPacket,
        on_publishes: OnPublishes,
        on_overrun: Callable[[], None] = lambda: None,
        on_acknowledged: Callable[[mqtt5.PubAckPacket], None] = lambda _: None,
        *,
        is_quick: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.resumed = False
        self.keep_alive_s = float(connect.keep_alive)
        self.fault: GatewayError | None = None
        self.accepted: asyncio.Future[mqtt5.ConnAckPacket] = loop.create_future()
        self.subscribed: asyncio.Future[mqtt5.SubAckPacket] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._connect = connect
        self._on_publishes = on_publishes
        self._on_overrun = on_overrun
        self._on_acknowledged = on_acknowledged
        self._is_quick = is_quick
        self._is_overrun = False
        self._is_held = False
        self._reader = PacketReader(connect.max_packet_size or 256 * 1024 * 1024)
        self._transport: asyncio.Transport | None = None
        self._closing: asyncio.Transport | None = None
        self._unacknowledged = 0
        self._sent_ids: set[int] = set()
        self._last_id = 0
        self._peer_receive_maximum = 0
        self.packet_bytes_max = 0
        self._unwritten: deque[memoryview] = deque()
        self._is_full = False
        self._pings = self._taken_bytes = 0
        self._counts = Counts()
        self.received_at = self.sent_at = self._taken_at = loop.time()

    def acknowledge(self, packet_ids: Sequence[int]) -> bool:
        """Send PUBACK for each packet id, in this order, in one write; False when the connection is closed."""
        if self._transport is None or not packet_ids:
            return False
        self._unacknowledged -= len(packet_ids)
        self._write(b"".join([_PUBACKS[4 * number : 4 * number + 4] for number in packet_ids]))
        if self._is_overrun and self._unacknowledged <= self._connect.receive_max:
            self._pause(is_overrun=False, is_held=self._is_held)
        return True

    @property
    def is_paused(self) -> bool:
        """Whether the socket is not read for now."""
        return self._is_overrun or self._is_held

    def hold(self, *, is_held: bool) -> None:
        """Read the socket no more, or again: for whoever takes what is read."""
        self._pause(is_overrun=self._is_overrun, is_held=is_held)

    @property
    def window_is_used_up(self) -> bool:
        """Whether the peer may send nothing more before we acknowledge."""
        return self._unacknowledged >= self._connect.receive_max

    @property
    def has_room(self) -> bool:
        """Whether the peer's window takes another message at QoS 1."""
        return self._transport is not None and len(self._sent_ids) < self._peer_receive_maximum

    def publish(self, topic: str, payload: bytes, **properties: Any) -> int:  # noqa: ANN401  # as the codec has them
        """Send a message at QoS 1; return its packet id, or 0 when closed or the peer's window is full."""
        if not self.has_room:
            return 0
        packet_id = self._next_id()
        at_least_once = mqtt5.QoS.AT_LEAST_ONCE
        packet = mqtt5.PublishPacket(topic, payload, qos=at_least_once, packet_id=packet_id, **properties)
        self._write(packet.write())
        return packet_id

    def tell(self, topic: str, payload: bytes) -> None:
        """Send a message at QoS 0; nothing when closed."""
        self._write(mqtt5.PublishPacket(topic, payload).write())

    async def drained(self) -> None:
        """Wait until little of what was written is unsent, here and in the kernel, or the connection is closed.

        Nobody tells when the kernel has sent something, so it is asked, soon at first and then less often.
        """
        wait_s = _LOOK_MIN_S
        while self._transport is not None and (self._is_full or self._unwritten or self._kernel_is_full()):
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LOOK_MAX_S)

    def taken_at(self) -> float:
        """Return when the peer's kernel was last seen to have taken bytes of ours, in the loop's time.

        Seen by looking, so as exact as this is called often. On a slow line a message may be minutes under way, in
        which the peer has nothing to say. Pings do not count: any kernel takes them, whatever hangs above it.
        """
        taken = self._counted().acknowledged - self._pings * PING_BYTES_MAX
        if taken > self._taken_bytes:
            self._taken_bytes, self._taken_at = taken, self._loop.time()
        return self._taken_at

    def traffic(self) -> int:
        """Return the bytes on the line so far, both ways: TCP's own count with what was sent again, and all headers."""
        return self._counted().traffic

    def subscribe(self, filters: Iterable[mqtt5.TopicFilter]) -> None:
        """Send SUBSCRIBE; `subscribed` is set by its answer."""
        self._write(mqtt5.SubscribePacket(self._next_id(), list(filters)).write())

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Send UNSUBSCRIBE, without waiting for its answer."""
        self._write(mqtt5.UnsubscribePacket(self._next_id(), list(filters)).write())

    def ping(self) -> None:
        """Send PINGREQ."""
        self._pings += 1
        self._write(_PINGREQ)

    def close(self, fault: GatewayError | None = None, reason: mqtt5.DisconnectReasonCode = _NORMAL) -> None:
        """Send DISCONNECT and close; the first fault is the one that is kept."""
        if self.fault is None:
            self.fault = fault
        if self._unwritten:
            self.abort()  # part of a packet is on the line, nothing else can follow
        transport, self._transport = self._transport, None
        if transport is not None:
            self._closing = transport
            transport.write(mqtt5.DisconnectPacket(reason_code=reason).write())
            transport.close()

    def abort(self) -> None:
        """Drop the socket at once, unsent bytes and all; also one that is closing."""
        transport, self._transport = self._transport or self._closing, None
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                drop_unsent(sock)
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)
        self._write(self._connect.write())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the reader knows better
        """Return where the next read goes."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Decode everything that one read brought and hand it on."""
        self.received_at = self._loop.time()
        if self._is_quick:
            acknowledge_soon(self._socket())
        try:
            self._take(self._reader.received(nbytes))
        except GatewayError as error:
            self.close(error, mqtt5.DisconnectReasonCode.MALFORMED_PACKET)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._transport = None
        if self.fault is None:
            self.fault = LinkError(f"connection lost: {fault_of(exc) if exc else 'closed by the peer'}")
        for future in (self.accepted, self.subscribed):
            if not future.done():
                future.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def _pause(self, *, is_overrun: bool, is_held: bool) -> None:
        was_paused = self.is_paused
        self._is_overrun, self._is_held = is_overrun, is_held
        if self._transport is None or self.is_paused == was_paused:
            return
        if was_paused:
            self.received_at = self._loop.time()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Write nothing more for now: the line is slower than we are."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Write on."""
        self._is_full = False
        self._write_on()

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
        self.sent_at = self._loop.time()
        if self._is_full or self._unwritten or len(data) > PIECE_BYTES:
            self._unwritten.append(memoryview(data))
            self._write_on()
        else:
            self._transport.write(data)

    def _write_on(self) -> None:
        """Write piece by piece: what the transport holds nobody can count, so it is given little."""
        while self._unwritten and not self._is_full and self._transport is not None:
            first = self._unwritten.popleft()
            if len(first) > PIECE_BYTES:
                self._unwritten.appendleft(first[PIECE_BYTES:])
            self._transport.write(first[:PIECE_BYTES])

    def _socket(self) -> socket.socket | None:
        """Return the socket; None when it is closed, and nobody was told yet."""
        transport = self._transport or self._closing
        found = None if transport is None else transport.get_extra_info("socket")
        return None if found is None or found.fileno() < 0 else found

    def _counted(self) -> Counts:
        """Return what the kernel counts of this connection."""
        self._counts = counts_of(self._socket(), self._counts)
        return self._counts

    def _kernel_is_full(self) -> bool:
        sock = self._socket()
        if sock is None:
            return False
        (unsent,) = _INT.unpack(fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, _INT.pack(0)))
        return bool(unsent > PIECE_BYTES)

    def _next_id(self) -> int:
        assert len(self._sent_ids) < _PACKET_IDS
        while True:
            self._last_id = self._last_id % _PACKET_IDS + 1
            if self._last_id not in self._sent_ids:
                self._sent_ids.add(self._last_id)
                return self._last_id

    def _take(self, packets: list[mqtt5.Packet]) -> None:
        if self._transport is None:
            return
        kind = mqtt5.PublishPacket
        publishes = [packet for packet in packets if packet.__class__ is kind]
        if len(publishes) != len(packets):
            for packet in packets:
                if packet.__class__ is not kind:
                    self._control(packet)
        if publishes and self._transport is not None:
            self._admit(publishes)

    def _admit(self, publishes: list[mqtt5.PublishPacket]) -> None:
        if not self.accepted.done():
            raise MalformedPacketError("the peer sent PUBLISH before CONNACK")
        waiting = 0
        for packet in publishes:
            packet_id = packet.packet_id
            if packet_id is not None:
                waiting += 1
                if packet.qos == mqtt5.QoS.EXACTLY_ONCE or packet_id == 0:
                    raise MalformedPacketError("the peer sent QoS 2 or packet id 0, which we did not ask for")
            if not packet.topic:
                raise MalformedPacketError("the peer used a topic alias, which we did not allow")
        self._unacknowledged += waiting
        if self._unacknowledged > self._connect.receive_max and not self._is_overrun:
            self._pause(is_overrun=True, is_held=self._is_held)
            self._on_overrun()
        self._on_publishes(self, publishes)

    def _control(self, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.PubAckPacket():
                self._sent_ids.discard(packet.packet_id)
                self._on_acknowledged(packet)
            case mqtt5.UnsubAckPacket():
                self._sent_ids.discard(packet.packet_id)
            case mqtt5.PingRespPacket():
                pass
            case mqtt5.ConnAckPacket():
                self._connected(packet)
            case mqtt5.SubAckPacket():
                self._sent_ids.discard(packet.packet_id)
                if not self.subscribed.done():
                    self.subscribed.set_result(packet)
            case mqtt5.DisconnectPacket():
                text = packet.reason_str or packet.reason_code.name.lower().replace("_", " ")
                self.close(LinkError(f"the peer disconnected us: {text}"))
            case _:
                raise MalformedPacketError(f"the peer sent {type(packet).__name__}, which a server never does")

    def _connected(self, packet: mqtt5.ConnAckPacket) -> None:
        if self.accepted.done():
            raise MalformedPacketError("the peer sent CONNACK twice")
        if packet.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            text = packet.reason_str or packet.reason_code.name.lower().replace("_", " ")
            self.close(LinkError(f"the broker refused the connection: {text}"))
            return
        self.resumed = packet.session_present
        self._peer_receive_maximum = packet.receive_max
        self.packet_bytes_max = packet.max_packet_size or 0
        if packet.server_keep_alive is not None:
            self.keep_alive_s = float(packet.server_keep_alive)
        self.accepted.set_result(packet)
