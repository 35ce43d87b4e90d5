"""A batch or a gap → CloudEvents in JSON. Pure.

One event for each row (all fields of a topic that came together at one time), or for each reading. `data` is an object
of field → value in both cases, so a consumer needs to know only one shape. Values are JSON's own; bytes are
{"base64": "…"}; integers have all their digits, up to 64 bits.

    {"specversion":"1.0","type":"io.edge-gateway.readings.v1","source":"/edge-gateway/press-7",
     "id":"press-7/telemetry/1764072000/48/0","subject":"plant/press-7/climate","time":"2026-11-23T12:00:00.250000000Z",
     "datacontenttype":"application/json","data":{"temperature":21.5,"quality":"good"}}

The id is the batch's identity and the event's number in it. The number counts rows (and fields within them) in the
batch's canonical order, which is part of its content hash: the same batch makes the same bytes, wherever and whenever.
A gap makes one event, of type io.edge-gateway.gap.v1: so what is lost is told to these consumers as well.

Structured mode puts attributes and data into one JSON document; binary mode leaves `data` alone as payload and gives
the attributes to the transport, which has its own place for them.

Source: CloudEvents 1.0.2 and its JSON Event Format.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from gateway.batch.decode import DecodedBatch
from gateway.transport.contract import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.batch.decode import Table
    from gateway.model import Gap

READINGS: Final = "io.edge-gateway.readings.v1"
GAP: Final = "io.edge-gateway.gap.v1"
STRUCTURED: Final = "application/cloudevents+json"
DATA: Final = "application/json"

_BEFORE_DATA: Final = f',"datacontenttype":"{DATA}","data":'.encode()
_encode = msgspec.json.Encoder().encode


class Shape(NamedTuple):
    """How events are made: one for each reading instead of each row; attributes beside the payload, not in it."""

    of_readings: bool = False
    is_binary: bool = False


class _Event(NamedTuple):
    """What tells one event from the others of its batch; no topic and no time for a gap."""

    number: str
    topic: str
    time: str
    data: bytes


class _Maker:
    """Turns events of one batch into messages; what they share is made once."""

    def __init__(self, node: str, lane: str, begin: str, kind: str, *, is_backlog: bool) -> None:
        self._node = node
        self._lane = lane
        self._begin = begin
        self._common = {"specversion": "1.0", "type": kind, "source": f"/edge-gateway/{node}"}
        if is_backlog:
            self._common["backlog"] = "true"
        # Ends in `"id":"node/lane/…/`, without the closing quote; the number that follows needs no escape.
        self._head = _encode({**self._common, "id": begin})[:-2]
        self._subjects: dict[str, bytes] = {}

    def structured(self, event: _Event) -> Message:
        number, topic, time, data = event
        parts = [self._head, number.encode(), b'"']
        if topic:
            if topic not in self._subjects:
                self._subjects[topic] = b',"subject":' + _encode(topic) + b',"time":"'
            parts += (self._subjects[topic], time.encode(), b'"')
        payload = b"".join((*parts, _BEFORE_DATA, data, b"}"))
        return Message(self._begin + number, self._node, self._lane, self._key(topic), STRUCTURED, payload, {})

    def binary(self, event: _Event) -> Message:
        number, topic, time, data = event
        identity = self._begin + number
        attributes = {**self._common, "id": identity}
        if topic:
            attributes.update(subject=topic, time=time)
        return Message(identity, self._node, self._lane, self._key(topic), DATA, data, attributes)

    def _key(self, topic: str) -> str:
        return f"{self._node}/{topic}" if topic else self._node


def messages(found: DecodedBatch | Gap, shape: Shape, *, is_backlog: bool = False) -> list[Message]:
    """Return the events of a batch, or of a gap, in their order."""
    if isinstance(found, DecodedBatch):
        identity = found.header.id
        maker = _Maker(identity.node, identity.lane, f"{identity}/", READINGS, is_backlog=is_backlog)
        events = _events(found, shape)
    else:
        begin = f"{found.node}/{found.lane}/{found.epoch}/"
        maker = _Maker(found.node, found.lane, begin, GAP, is_backlog=is_backlog)
        told = {"lane": found.lane, "first": found.first, "last": found.last}
        data = _encode({**told, "readings": found.readings, "reason": found.reason})
        events = iter([_Event(f"{found.first}-{found.last}", "", "", data)])
    return list(map(maker.binary if shape.is_binary else maker.structured, events))


def _events(batch: DecodedBatch, shape: Shape) -> Iterator[_Event]:
    number = 0
    for tables in _groups(batch.tables):
        topics = batch.topics
        names = [topics[index] for index in tables[0].topics.tolist()]
        times = np.datetime_as_string(tables[0].times_ns.astype("datetime64[ns]"), unit="ns").tolist()
        fields = [table.field for table in tables]
        for topic, time, *row in zip(names, times, *map(_values, tables), strict=True):
            said = dict(zip(fields, row, strict=True))
            for part in [{field: value} for field, value in said.items()] if shape.of_readings else [said]:
                yield _Event(str(number), topic, f"{time}Z", _encode(part))
                number += 1


def _groups(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Yield the tables of fields that came together: they share their keys."""
    groups: dict[int, list[Table]] = {}
    for table in tables:
        groups.setdefault(id(table.topics), []).append(table)
    yield from groups.values()


def _values(table: Table) -> list[object]:
    if isinstance(table.values, np.ndarray):
        return list(table.values.tolist())
    return [{"base64": b64encode(one).decode()} if isinstance(one, bytes) else one for one in table.values]
