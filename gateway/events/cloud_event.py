"""A batch or a gap → CloudEvents 1.0. Pure.

One event for each row (all fields of a topic that came together at one time), or for each reading. A gap makes one
event, of type io.edge-gateway.gap.v1: so what is lost is told to these consumers as well.

The id is the batch's identity and the event's number in it. The number counts rows (and fields within them) in the
batch's canonical order, which is part of its content hash: the same batch makes the same bytes, wherever and whenever.

Structured mode puts attributes and data into one document of the encoding; binary mode leaves the data alone as payload
and gives the attributes to the transport, which has its own place for them.

Source: CloudEvents 1.0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from gateway.batch.decode import DecodedBatch
from gateway.transport.contract import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gateway.batch.decode import Table
    from gateway.model import Gap

READINGS: Final = "io.edge-gateway.readings.v1"
GAP: Final = "io.edge-gateway.gap.v1"


class Event(NamedTuple):
    """What tells one event from the others of its batch; no topic and no time for a gap.

    `time` is text (RFC 3339, ns), for `time_ns`.
    """

    number: str
    topic: str
    time: str
    time_ns: int
    data: bytes


class Encoding(Protocol):
    """How data, and whole events, are written."""

    data_type: str
    structured_type: str

    def values(self, table: Table) -> list[object]:
        """Return the values of a table as `row` takes them."""

    def row(self, node: str, topic: str, time_ns: int, values: Mapping[str, object]) -> bytes:
        """Return the data of readings."""

    def gap(self, found: Gap) -> bytes:
        """Return the data of a gap."""

    def envelope(self, common: Mapping[str, str], begin: str) -> Callable[[Event], bytes]:
        """Return what writes whole events that share these attributes; the id is `begin` and the number."""


class Shape(NamedTuple):
    """How events are made: one for each reading instead of each row; attributes beside the payload, not in it."""

    encoding: Encoding
    of_readings: bool = False
    is_binary: bool = False


class _Maker:
    """Turns events of one batch into messages; what they share is made once."""

    def __init__(self, shape: Shape, node: str, lane: str, begin: str, kind: str, **more: str) -> None:
        self._node = node
        self._lane = lane
        self._begin = begin
        self._encoding = shape.encoding
        self._common = {"specversion": "1.0", "type": kind, "source": f"/edge-gateway/{node}"}
        self._common |= more
        if shape.is_binary:
            self.message = self._binary
        else:
            self.message = self._structured
            self._whole = shape.encoding.envelope(self._common, begin)

    def _structured(self, event: Event) -> Message:
        identity = self._begin + event.number
        payload = self._whole(event)
        kind = self._encoding.structured_type
        return Message(identity, self._node, self._lane, self._key(event.topic), kind, payload, {})

    def _binary(self, event: Event) -> Message:
        identity = self._begin + event.number
        attributes = {**self._common, "id": identity}
        if event.topic:
            attributes.update(subject=event.topic, time=event.time)
        kind = self._encoding.data_type
        return Message(identity, self._node, self._lane, self._key(event.topic), kind, event.data, attributes)

    def _key(self, topic: str) -> str:
        return f"{self._node}/{topic}" if topic else self._node


def messages(found: DecodedBatch | Gap, shape: Shape, *, is_backlog: bool = False) -> list[Message]:
    """Return the events of a batch, or of a gap, in their order."""
    more = {"backlog": "true"} if is_backlog else {}
    if isinstance(found, DecodedBatch):
        identity = found.header.id
        if found.header.traceparent:
            more["traceparent"] = found.header.traceparent
        maker = _Maker(shape, identity.node, identity.lane, f"{identity}/", READINGS, **more)
        return list(map(maker.message, _events(found, shape)))
    begin = f"{found.node}/{found.lane}/{found.epoch}/"
    maker = _Maker(shape, found.node, found.lane, begin, GAP, **more)
    return [maker.message(Event(f"{found.first}-{found.last}", "", "", 0, shape.encoding.gap(found)))]


def _events(batch: DecodedBatch, shape: Shape) -> Iterator[Event]:
    node = batch.header.id.node
    encode, values_of = shape.encoding.row, shape.encoding.values
    number = 0
    for tables in _groups(batch.tables):
        topics = batch.topics
        names = [topics[index] for index in tables[0].topics.tolist()]
        times_ns = tables[0].times_ns
        times = np.datetime_as_string(times_ns.astype("datetime64[ns]"), unit="ns").tolist()
        fields = [table.field for table in tables]
        columns = map(values_of, tables)
        for topic, time_ns, time, *row in zip(names, times_ns.tolist(), times, *columns, strict=True):
            said = dict(zip(fields, row, strict=True))
            for part in [{field: value} for field, value in said.items()] if shape.of_readings else [said]:
                yield Event(str(number), topic, f"{time}Z", time_ns, encode(node, topic, time_ns, part))
                number += 1


def _groups(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Yield the tables of fields that came together: they share their keys."""
    groups: dict[int, list[Table]] = {}
    for table in tables:
        groups.setdefault(id(table.topics), []).append(table)
    yield from groups.values()


def plain(table: Table) -> list[object]:
    """Return the values of a table as int, float, bool, str or bytes."""
    return list(table.values.tolist() if isinstance(table.values, np.ndarray) else table.values)
