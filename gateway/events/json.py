"""Events in JSON. Pure.

`data` is an object of field → value, of readings and of a gap, so a consumer needs to know only one shape. Values are
JSON's own; bytes are {"base64": "…"}; integers have all their digits, up to 64 bits.

    {"specversion":"1.0","type":"io.edge-gateway.readings.v1","source":"/edge-gateway/press-7",
     "id":"press-7/telemetry/1764072000/48/0","subject":"plant/press-7/climate","time":"2026-11-23T12:00:00.250000000Z",
     "datacontenttype":"application/json","data":{"temperature":21.5,"quality":"good"}}

Source: JSON Event Format of CloudEvents 1.0.2.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.batch.decode import Table
    from gateway.events.cloud_event import Event
    from gateway.model import Gap

STRUCTURED: Final = "application/cloudevents+json"
DATA: Final = "application/json"

_BEFORE_DATA: Final = f',"datacontenttype":"{DATA}","data":'.encode()
_encode = msgspec.json.Encoder().encode


class JsonEncoding:
    """See `cloud_event.Encoding`."""

    data_type = DATA
    structured_type = STRUCTURED

    def values(self, table: Table) -> list[object]:
        """Return values as JSON has them."""
        if isinstance(table.values, np.ndarray):
            return list(table.values.tolist())
        return [{"base64": b64encode(one).decode()} if isinstance(one, bytes) else one for one in table.values]

    def row(self, node: str, topic: str, time_ns: int, values: Mapping[str, object]) -> bytes:
        """Return the object of the values; the attributes say of what and when they are."""
        del node, topic, time_ns
        return _encode(values)

    def gap(self, found: Gap) -> bytes:
        """Return an object that says which batches are lost, and why."""
        told = {"lane": found.lane, "epoch": found.epoch, "first": found.first, "last": found.last}
        return _encode({**told, "readings": found.readings, "reason": found.reason})

    def envelope(self, common: Mapping[str, str], begin: str) -> Callable[[Event], bytes]:
        """Return what puts attributes and data side by side; nothing is encoded twice."""
        # Ends in `"id":"node/lane/…/`, without the closing quote; the number that follows needs no escape.
        head = _encode({**common, "id": begin})[:-2]
        subjects: dict[str, bytes] = {}

        def whole(event: Event) -> bytes:
            parts = [head, event.number.encode(), b'"']
            if event.topic:
                if event.topic not in subjects:
                    subjects[event.topic] = b',"subject":' + _encode(event.topic) + b',"time":"'
                parts += (subjects[event.topic], event.time.encode(), b'"')
            return b"".join((*parts, _BEFORE_DATA, event.data, b"}"))

        return whole
