"""What flows through the gateway: messages, readings, batches and their identities.

Values only: no input or output, no clock, no threads. A **message** is one MQTT PUBLISH, undecoded. Messages
arrive in **groups** (what the journal commits at once) because everything on the hot path works on columns:
one list of topics, one list of payloads. A decoder turns a message into **rows**; a row is what one topic
said at one time, field by field, and each of its fields is one **reading** of the series (node, topic, field).
A **batch** holds readings of one lane; sealed once, its bytes never change.

Units: every `*_ns` is nanoseconds since the Unix epoch (wall time); every `*_at` is nanoseconds on the node's own
timeline, which never runs backwards and goes on after a restart where the journal ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import msgspec

Value: TypeAlias = float | int | bool | str | bytes
"""What a reading can hold. Integers fit 64 signed bits; floats are finite."""

Row: TypeAlias = dict[str, Value]
"""What one topic said at one time: field name → value. Never empty."""

Ledger: TypeAlias = dict[str, int]
"""Cumulative counts by fate, see `gateway.ledger`."""

RETAIN = 1
"""Flag bit: the broker sent the message because it was retained, not because it was new."""
DUPLICATE = 2
"""Flag bit: the broker says it may have sent this message before."""
QOS1 = 4
"""Flag bit: the message waits for our PUBACK."""

CLOCK_UNSYNCHRONISED = 0
CLOCK_HOLDOVER = 1
CLOCK_SYNCHRONISED = 2


OWN = 0
"""`connection` of messages that the gateway made itself: no broker brought them."""


class MessageGroup(msgspec.Struct, tag="m", array_like=True):
    """Messages that are journaled and acknowledged together, as columns of equal length.

    `packet_ids` holds 0 where the message came at QoS 0. `connection` counts connections to the local broker over
    the life of the node: an acknowledgement never crosses it. `resumed` says that the broker kept our session when
    this connection was made. `shed` counts messages that were given up before this group, by reason. `pressure` says
    what the node was short of then, see `gateway.pressure`.
    """

    wall_ns: int
    at: int
    clock: int
    connection: int
    resumed: bool
    topics: list[str]
    payloads: list[bytes]
    packet_ids: list[int]
    flags: list[int]
    shed: dict[str, int]
    pressure: tuple[str, ...] = ()


class Tick(msgspec.Struct, tag="t", array_like=True):
    """The passing of time, journaled when a deadline of the pipeline falls due."""

    wall_ns: int
    at: int
    clock: int
    pressure: tuple[str, ...] = ()


Entry: TypeAlias = MessageGroup | Tick
"""One input of the pipeline, as the journal keeps it."""


class Reading(NamedTuple):
    """One value of one series at one time."""

    node: str
    topic: str
    field: str
    time_ns: int
    value: Value


class BatchId(NamedTuple):
    """Names one batch for ever: the same identity always means the same content."""

    node: str
    lane: str
    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.node}/{self.lane}/{self.epoch}/{self.sequence}"


@dataclass(slots=True, frozen=True)
class Thinned:
    """What a coarser batch stands for: batches `first` to `last` of `lane`, one row per topic and `interval_ns`.

    `readings` counts the readings as they came from the sensors, through all levels; `batches` those of `first` to
    `last` that were there.
    """

    interval_ns: int
    lane: str
    first: int
    last: int
    readings: int
    batches: int


@dataclass(slots=True)
class OpenBatch:
    """Readings of one lane whose set is final and whose bytes are not made yet.

    `rows` maps topic → (times in ns, rows), equally long, in order of arrival. `readings_before` counts the readings
    of this lane in all earlier batches of its ring, so that a receiver can tell exactly how many a gap holds. `thinned`
    says what a coarser batch stands for. `came_at` is when its first row came; it is not part of its bytes.
    `traceparent` names its span where it is traced, `links` those of its messages: no part of what a batch says.
    """

    id: BatchId
    rows: dict[str, tuple[list[int], list[Row]]]
    readings: int
    readings_before: int
    ledger: Ledger
    sealed_ns: int
    clock: int
    thinned: Thinned | None = None
    came_at: int = 0
    traceparent: str = ""
    links: list[str] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class SealedBatch:
    """A batch as it lies on flash and travels: `data` is the whole envelope, `hash` the hash of its content."""

    id: BatchId
    readings: int
    hash: bytes
    data: bytes


@dataclass(slots=True, frozen=True)
class Gap:
    """A run of batches that will never be delivered, with exact counts and the reason.

    `readings_before` counts the readings of the lane before `first`, as in a batch. Reasons: see `gateway.spool.books`.
    """

    node: str
    lane: str
    epoch: int
    first: int
    last: int
    readings: int
    readings_before: int
    reason: str


@dataclass(slots=True, frozen=True)
class Quarantined:
    """A message that no decoder could take, kept aside for a person.

    `key` is unique and comes out the same on replay, so that keeping it twice is harmless. `cut_bytes` of the payload
    are left out at its end.
    """

    key: int
    wall_ns: int
    topic: str
    payload: bytes
    route: str
    reason: str
    detail: str
    cut_bytes: int = 0


@dataclass(slots=True)
class Output:
    """What a slice of input produced: batches to seal and messages to quarantine, each in order.

    `requests` are (topic, payload) to publish to the local broker at QoS 0; nothing is lost when that cannot be done.
    """

    batches: list[OpenBatch] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
