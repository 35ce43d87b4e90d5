"""The codec stands behind a reader that bounds and translates it: this is what an upgrade of the codec must keep."""

from __future__ import annotations

import random

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedPacketError
from gateway.transport.packets import PacketReader, announced_bytes

# Text that is not UTF-8 makes the codec panic; what Python says of that ends in the hook for lost errors.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIMIT = 1 << 20

PACKETS = [
    mqtt5.ConnAckPacket(session_present=True, receive_max=20),
    mqtt5.PublishPacket("plant/a", b"1"),
    mqtt5.PublishPacket("plant/\u00e9", b"", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=65535, duplicate=True, retain=True),
    mqtt5.PublishPacket("plant/b", b"x" * 300, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1),
    mqtt5.PubAckPacket(7),
    mqtt5.PingRespPacket(),
    mqtt5.DisconnectPacket(),
]
STREAM = b"".join(packet.write() for packet in PACKETS)


def feed(reader: PacketReader, data: bytes, step: int) -> list[mqtt5.Packet]:
    """Write `data` into the reader in pieces of at most `step` bytes, as a socket would."""
    packets = []
    offset = 0
    while offset < len(data):
        room = reader.room()
        piece = data[offset : offset + min(step, len(room))]
        room[: len(piece)] = piece
        offset += len(piece)
        packets += reader.received(len(piece))
    return packets


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 100_000])
def test_a_stream_gives_the_same_packets_however_it_is_cut(step: int) -> None:
    found = feed(PacketReader(LIMIT), STREAM, step)
    assert [packet.write() for packet in found] == [packet.write() for packet in PACKETS]


def test_a_truncated_stream_gives_the_whole_packets_before_the_cut() -> None:
    ends = []
    end = 0
    for packet in PACKETS:
        end += len(packet.write())
        ends.append(end)
    for cut in range(len(STREAM)):
        assert len(feed(PacketReader(LIMIT), STREAM[:cut], len(STREAM))) == sum(end <= cut for end in ends), cut


def test_a_packet_larger_than_the_buffer_is_read_and_the_buffer_shrinks_again() -> None:
    reader = PacketReader(LIMIT)
    large = mqtt5.PublishPacket("a", b"x" * 700_000)
    assert feed(reader, large.write() + STREAM, 50_000)[0].payload == large.payload
    assert len(reader.room()) < 300_000


def test_a_packet_past_the_limit_is_refused_by_its_announced_length() -> None:
    head = mqtt5.PublishPacket("a", b"x" * (2 * LIMIT)).write()[:5]
    with pytest.raises(MalformedPacketError, match="announced"):
        feed(PacketReader(LIMIT), head, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x00\x00",  # packet type 0
        b"\x30\x04\x00\x02\xff\xfe\x00",  # topic that is not UTF-8
        b"\x30\x03\x00\xff\x00",  # inner length past the packet's end
        b"\xf0\x00" + b"\x30",
    ],
)
def test_malformed_bytes_are_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(MalformedPacketError):
        feed(PacketReader(LIMIT), data, len(data))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_mutated_streams_give_packets_or_a_malformed_packet_error_and_nothing_else(seed: int, flips: int) -> None:
    chance = random.Random(seed)
    data = bytearray(STREAM)
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        feed(PacketReader(LIMIT), bytes(data), chance.choice([1, 5, len(data)]))
    except MalformedPacketError:
        return


@given(st.integers(0, 268_435_455))
def test_announced_bytes_is_header_and_remaining_length(length: int) -> None:
    encoded = bytearray([0x30])
    rest = length
    while True:
        encoded.append(rest % 128 | (0x80 if rest > 127 else 0))
        rest //= 128
        if not rest:
            break
    assert announced_bytes(memoryview(encoded)) == len(encoded) + length
    assert announced_bytes(memoryview(encoded)[:-1]) is None
