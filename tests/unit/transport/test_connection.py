"""One connection, fed bytes by hand: what it hands on, what it writes, and what ends it."""

from __future__ import annotations

import asyncio
import socket

import mqtt5
import pytest

from gateway.errors import GatewayError, MalformedPacketError
from gateway.transport.connection import PIECE_BYTES, Connection
from gateway.transport.counted import acknowledge_soon

CONNECT = mqtt5.ConnectPacket("c", keep_alive=30, receive_max=10, max_packet_size=100_000).write()
CONNACK = mqtt5.ConnAckPacket(session_present=True, receive_max=2).write()
AT_LEAST_ONCE = mqtt5.QoS.AT_LEAST_ONCE


class Wire(asyncio.Transport):
    """The peer's end: notes what was written, and closes when told."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False
        self.is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    abort = close


class Peer:
    """A connection under test with everything it handed on."""

    def __init__(self, receive_maximum: int = 10, *, accept: bool = True) -> None:
        self.reads: list[list[mqtt5.PublishPacket]] = []
        connect = mqtt5.ConnectPacket("c", keep_alive=30, receive_max=receive_maximum, max_packet_size=100_000)
        self.overruns = 0
        self.connection = Connection(3, connect, lambda _, packets: self.reads.append(packets), self.overrun)
        self.wire = Wire()
        self.connection.connection_made(self.wire)
        if accept:
            self.feed(CONNACK)

    def overrun(self) -> None:
        self.overruns += 1

    def feed(self, data: bytes) -> None:
        """Write into the connection's buffer as one read."""
        self.connection.get_buffer(-1)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def fault(self) -> GatewayError | None:
        """Lose the socket and return why."""
        assert self.wire.is_closed
        self.connection.connection_lost(None)
        return self.connection.fault


def publish(packet_id: int, payload: bytes = b"1") -> bytes:
    """Return a QoS 1 PUBLISH."""
    return mqtt5.PublishPacket("plant/a", payload, qos=AT_LEAST_ONCE, packet_id=packet_id).write()


async def test_everything_one_read_brought_is_handed_on_in_one_call() -> None:
    peer = Peer()
    peer.feed(publish(1) + publish(2) + mqtt5.PublishPacket("plant/b", b"0").write() + publish(3)[:5])
    assert [[packet.packet_id for packet in packets] for packets in peer.reads] == [[1, 2, None]]
    peer.feed(publish(3)[5:])
    assert peer.reads[1][0].packet_id == 3
    assert peer.connection.resumed


async def test_acknowledgements_leave_in_order_in_one_write() -> None:
    peer = Peer()
    peer.feed(publish(513) + publish(2) + publish(65535))
    before = len(peer.wire.writes)
    assert peer.connection.acknowledge([513, 2, 65535])
    assert peer.wire.writes[before:] == [b"\x40\x02\x02\x01\x40\x02\x00\x02\x40\x02\xff\xff"]


async def test_nothing_is_acknowledged_by_itself_and_the_window_says_when_it_is_used_up() -> None:
    peer = Peer(receive_maximum=2)
    before = len(peer.wire.writes)
    peer.feed(publish(1))
    assert not peer.connection.window_is_used_up
    peer.feed(publish(2))
    assert peer.connection.window_is_used_up
    assert len(peer.wire.writes) == before
    peer.connection.acknowledge([1])
    assert not peer.connection.window_is_used_up


async def test_a_peer_that_sends_past_the_window_is_not_read_until_enough_is_acknowledged() -> None:
    peer = Peer(receive_maximum=2)
    peer.feed(publish(1) + publish(2) + publish(3) + publish(4))
    assert [packet.packet_id for packet in peer.reads[0]] == [1, 2, 3, 4]
    assert not peer.wire.is_read
    peer.connection.acknowledge([1])
    assert not peer.wire.is_read
    peer.connection.acknowledge([2])
    assert peer.wire.is_read
    assert peer.overruns == 1
    assert not peer.wire.is_closed


async def test_an_acknowledgement_on_a_closed_connection_writes_nothing() -> None:
    peer = Peer()
    peer.feed(publish(1))
    peer.connection.close()
    before = len(peer.wire.writes)
    assert not peer.connection.acknowledge([1])
    assert len(peer.wire.writes) == before


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00",
        b"\x30\x03\x00\xff\x00",
        mqtt5.PublishPacket("a", b"", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1).write(),
        mqtt5.PublishPacket("", b"", topic_alias=1).write(),
        CONNACK,
        mqtt5.PingReqPacket().write(),
        mqtt5.ConnectPacket("x").write(),
        b"\x30\xff\xff\xff\x7f",
    ],
)
async def test_what_a_broker_never_sends_closes_the_connection_and_raises_nothing(data: bytes) -> None:
    peer = Peer()
    peer.feed(data)
    assert isinstance(peer.fault(), MalformedPacketError)
    assert peer.reads == []


async def test_publish_before_connack_is_malformed() -> None:
    peer = Peer(accept=False)
    peer.feed(publish(1))
    assert isinstance(peer.fault(), MalformedPacketError)


async def test_a_refusal_and_a_disconnect_say_why() -> None:
    refused = Peer(accept=False)
    refused.feed(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write())
    assert "not authorized" in str(refused.fault())
    gone = Peer()
    gone.feed(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write())
    assert "session taken over" in str(gone.fault())


async def test_publishing_respects_the_peers_window_and_never_reuses_an_id_in_flight() -> None:
    peer = Peer()
    assert peer.connection.publish("ack", b"1")
    assert peer.connection.publish("ack", b"2")
    assert not peer.connection.publish("ack", b"3")
    sent = [mqtt5.read(memoryview(data))[0].packet_id for data in peer.wire.writes[-2:]]
    assert len(set(sent)) == 2
    peer.feed(mqtt5.PubAckPacket(sent[0]).write())
    assert peer.connection.publish("ack", b"3")
    assert not peer.connection.publish("ack", b"4")


async def test_a_large_message_is_written_piece_by_piece_while_the_line_takes_it() -> None:
    peer = Peer()
    assert peer.connection.publish("batch", bytes(3 * PIECE_BYTES))
    whole = b"".join(peer.wire.writes)
    peer.connection.pause_writing()
    peer.wire.writes.clear()
    assert peer.connection.publish("batch", bytes(3 * PIECE_BYTES))
    peer.connection.ping()
    assert peer.wire.writes == []
    peer.connection.resume_writing()
    assert len(peer.wire.writes) > 3
    assert all(len(piece) <= PIECE_BYTES for piece in peer.wire.writes)
    written = b"".join(peer.wire.writes)
    assert written.endswith(mqtt5.PingReqPacket().write())
    assert len(written) == len(whole) - len(CONNECT) + 2


async def test_a_connection_that_is_closed_in_the_middle_of_a_packet_is_dropped() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.connection.publish("batch", b"1")
    peer.wire.writes.clear()
    peer.connection.close()
    assert peer.wire.is_closed
    assert peer.wire.writes == []


async def test_a_quick_connection_has_each_read_acknowledged_by_the_kernel_and_no_other_does(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("gateway.transport.connection.acknowledge_soon", asked.append)
    connect = mqtt5.ConnectPacket("c", keep_alive=30, receive_max=10, max_packet_size=100_000)
    for is_quick in (False, True):
        peer = Peer(accept=False)
        peer.connection = Connection(3, connect, lambda *_: None, is_quick=is_quick)
        peer.connection.connection_made(peer.wire)
        peer.feed(CONNACK)
        peer.feed(publish(1))
        assert len(asked) == 2 * is_quick


def test_asking_the_kernel_to_acknowledge_soon_is_no_fault_where_it_cannot() -> None:
    acknowledge_soon(None)
    local, other = socket.socketpair()
    with local, other:
        acknowledge_soon(local)
    acknowledge_soon(local)
    with socket.socket() as plain:
        acknowledge_soon(plain)
