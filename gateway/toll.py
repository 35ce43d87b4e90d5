"""What the line carries beside payloads: headers of the protocol, TLS, TCP and IP, answers, pings, handshakes. Pure.

An estimate for each transport, both ways, as `Metered.traffic` counts it where a link can count: bytes of TCP with the
headers of each segment, no resends. For MQTT packets are counted out; for the others what their clients put around a
message is a constant, so it is good to some ten bytes a message. `tests/integration/test_plan_command.py` holds the
figures for MQTT against a real line.

    message  ─▶ protocol's headers ─▶ records of TLS ─▶ segments of TCP          and back: an answer for each
                                                                                 and the receiver's word on a batch
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.transport import webhook_requests, wire
from gateway.transport.counted import SEGMENT_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema
    from gateway.transport.contract import Message

HANDSHAKE_BYTES: Final = 5_400
"""A connection's TCP and mutual TLS with two certificates of elliptic keys, CONNECT, SUBSCRIBE, and their answers."""

PING_BYTES: Final = 2 * (2 + 22 + SEGMENT_OVERHEAD_BYTES) + SEGMENT_OVERHEAD_BYTES
"""A ping over TLS, its answer, and TCP's acknowledgement of that."""

_SEGMENT_BYTES: Final = 1448
_RECORD_BYTES: Final = 16384
_RECORD_OVERHEAD_BYTES: Final = 22
_VARINT_BITS: Final = 7
_ANSWER_BYTES: Final = 4
_WORD_BYTES: Final = 75
"""A receiver's word beside the names of topic and lane: fixed parts of the packet, and the CBOR map."""


def toll(peer: schema.Peer, messages: Sequence[Message], *, is_heard: bool) -> int:
    """Return the bytes beside the payloads when the messages of one batch are sent to `peer`.

    `is_heard`: a receiver says that it has them. `messages` are those of one batch, at least one.
    """
    match peer.transport:
        case "mqtt":
            return _published(peer, messages) + (_word(peer, messages[0]) if is_heard else 0)
        case "amqp":
            around = (8 + 12 + len(peer.amqp.exchange) + _said(peer.amqp.routing_key, messages[0])) + (8 + 30) + 8
            return sum(_exchange(message, around + _headers(message, 18), 21) for message in messages)
        case "nats":
            around = 60 + _said(peer.nats.subject, messages[0]) + 48 + len("Nats-Msg-Idcontent-type")
            return sum(_exchange(message, around + _headers(message, 7), 120) for message in messages)
        case "kafka":
            around = sum(12 + len(message.key) + _headers(message, 5) for message in messages)
            size = sum(len(message.payload) for message in messages) + around + 120
            return around + 120 + _line(size) + _back(80)
    return sum(_posted(peer, request) for request in _requests(peer, messages))


def heartbeat_toll(peer: schema.Peer, node: str) -> int:
    """Return the bytes of a heartbeat of `node` over MQTT, of the receiver's answer, and of what acknowledges both."""
    asked = 7 + len(wire.heartbeat_topic(peer.topic_prefix, node)) + len(wire.encode_heartbeat(1 << 16))
    said = _WORD_BYTES + len(wire.acknowledgement_topic(peer.topic_prefix, node))
    return sum(size + _line(size) + SEGMENT_OVERHEAD_BYTES + _back(_ANSWER_BYTES) for size in (asked, said))


def hears_receiver(region: schema.Region) -> bool:
    """Whether a receiver has a way to say something to the node."""
    return region.acknowledge == "receiver" and region.transport == "mqtt" and region.format == "batch"


def ping_after_s(peer: schema.Peer) -> float:
    """Return the silence after which a link of this transport pings, and between two pings."""
    seconds = peer.keep_alive_ns / 1e9
    return seconds / 2 if peer.transport == "mqtt" else seconds


def _published(peer: schema.Peer, messages: Sequence[Message]) -> int:
    """Return the cost of PUBLISHes at QoS 1 and their PUBACKs.

    Each packet is a record of its own; those of one batch share segments on the way out, PUBACKs on the way back do not
    wait for each other.
    """
    around = sum(_packet(peer, message) for message in messages)
    records = len(messages) * _RECORD_OVERHEAD_BYTES
    size = sum(len(message.payload) for message in messages) + around + records
    records += size // _RECORD_BYTES * _RECORD_OVERHEAD_BYTES
    answers = len(messages) * (_ANSWER_BYTES + _RECORD_OVERHEAD_BYTES + SEGMENT_OVERHEAD_BYTES)
    return around + records + _segments(size) + answers + SEGMENT_OVERHEAD_BYTES


def _packet(peer: schema.Peer, message: Message) -> int:
    """Return the bytes of a PUBLISH beside its payload."""
    topic = wire.batch_topic if peer.format == "batch" else wire.event_topic
    around = 6 + len(topic(peer.topic_prefix, message.node, message.lane).encode())
    if peer.format == "events":
        around += 3 + len(message.content_type) + _headers(message, 5)
    return around + -(-(around + len(message.payload)).bit_length() // _VARINT_BITS)


def _word(peer: schema.Peer, message: Message) -> int:
    """Return the cost of the receiver's word on a batch, and of our answer."""
    topic = wire.acknowledgement_topic(peer.topic_prefix, message.node)
    said = _WORD_BYTES + len(topic) + len(message.lane)
    return said + _line(said) + SEGMENT_OVERHEAD_BYTES + _back(_ANSWER_BYTES)


def _requests(peer: schema.Peer, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Yield the messages of each request."""
    options = peer.webhook
    first, urls = 0, [""] * len(messages)
    while first < len(messages):
        end = webhook_requests.cut(messages, urls, first, options.events_max, options.bytes_max)
        yield messages[first:end]
        first = end


def _posted(peer: schema.Peer, messages: Sequence[Message]) -> int:
    """Return the cost of one request and its answer."""
    signed = 450 if peer.webhook.signature != "none" else 0
    around = 320 + len(peer.webhook.url) + signed + _headers(messages[0], 7) + len(messages)
    size = sum(len(message.payload) for message in messages) + around
    return around + _line(size) + _back(180)


def _exchange(message: Message, around: int, answer: int) -> int:
    """Return the cost of a message, with so many bytes of the protocol `around` it, and of an answer."""
    return around + _line(len(message.payload) + around) + _back(answer)


def _headers(message: Message, each: int) -> int:
    """Return the bytes of attributes beside the payload, with so many bytes around each."""
    return sum(each + len(name) + len(value) for name, value in message.attributes.items())


def _said(template: str, message: Message) -> int:
    return len(template.format(node=message.node, lane=message.lane))


def _line(size: int) -> int:
    """Return what TLS and TCP add to so many bytes that are written at once."""
    records = -(-size // _RECORD_BYTES) * _RECORD_OVERHEAD_BYTES
    return records + _segments(size + records)


def _segments(size: int) -> int:
    """Return the headers of the segments of so many bytes; one segment in two is acknowledged."""
    segments = -(-size // _SEGMENT_BYTES)
    return (segments + segments // 2) * SEGMENT_OVERHEAD_BYTES


def _back(size: int) -> int:
    """Return the bytes of a short answer, with TCP's acknowledgement of it."""
    return size + _line(size) + SEGMENT_OVERHEAD_BYTES
