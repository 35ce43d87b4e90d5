"""Events in Avro. Pure.

The data is a record of one schema (`gateway.schemas.event`), in which each type of value has a map of its own, from
field to value: no unions, so readers that have none can read it. It names node, topic and time as well, for consumers
that look at nothing but the data. Whole events are records of CloudEvents' own schema, and the data is bytes in them.

Source: Apache Avro 1.12, "Binary encoding"; Avro Event Format of CloudEvents 1.0.2, section 2.4.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigError
from gateway.events.cloud_event import plain
from gateway.schemas import event as schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.batch.decode import Table
    from gateway.events.cloud_event import Event
    from gateway.model import Gap

DATA: Final = "application/avro"
STRUCTURED: Final = "application/cloudevents+avro"

_WHOLE: Final[dict[str, object]] = {
    "type": "record",
    "name": "CloudEvent",
    "namespace": "io.cloudevents",
    "fields": [
        {"name": "attribute", "type": {"type": "map", "values": ["null", "boolean", "int", "string", "bytes"]}},
        {"name": "data", "type": ["bytes"]},
    ],
}
"""CloudEvents' schema without the branches that we never write: their numbers come after, so the bytes are the same."""
_MAPS: Final = {float: "floats", int: "integers", bool: "booleans", str: "strings", bytes: "bytes"}


class AvroEncoding:
    """See `cloud_event.Encoding`. Raises `ConfigError` where the package fastavro is missing."""

    data_type = DATA
    structured_type = STRUCTURED

    def __init__(self) -> None:
        try:
            from fastavro import parse_schema, schemaless_writer  # noqa: PLC0415  # an extra
        except ImportError:
            hint = "pip install 'edge-gateway[avro]'"
            raise ConfigError("events in Avro need the package fastavro", hint=hint) from None
        self._write = schemaless_writer
        self._data = parse_schema(json.loads(schemas.avro()))
        self._whole = parse_schema(_WHOLE)

    def values(self, table: Table) -> list[object]:
        """Return values as they are."""
        return plain(table)

    def row(self, node: str, topic: str, time_ns: int, values: Mapping[str, object]) -> bytes:
        """Return the record of readings."""
        record: dict[str, Any] = {"node": node, "topic": topic, "time": time_ns}
        for field, value in values.items():
            record.setdefault(_MAPS[type(value)], {})[field] = value
        return self._bytes(self._data, record)

    def gap(self, found: Gap) -> bytes:
        """Return the record of a gap."""
        told = {"lane": found.lane, "epoch": found.epoch, "first": found.first, "last": found.last}
        gap = {**told, "readings": found.readings, "reason": found.reason}
        return self._bytes(self._data, {"node": found.node, "gap": gap})

    def envelope(self, common: Mapping[str, str], begin: str) -> Callable[[Event], bytes]:
        """Return what writes attributes and data as one record."""
        shared = {**common, "datacontenttype": DATA}

        def whole(event: Event) -> bytes:
            attributes = {**shared, "id": begin + event.number}
            if event.topic:
                attributes.update(subject=event.topic, time=event.time)
            return self._bytes(self._whole, {"attribute": attributes, "data": event.data})

        return whole

    def _bytes(self, schema: Any, record: Mapping[str, object]) -> bytes:  # noqa: ANN401  # what the package makes of it
        written = BytesIO()
        self._write(written, schema, record)
        return written.getvalue()
