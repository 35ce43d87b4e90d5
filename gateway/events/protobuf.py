"""Events in Protobuf. Pure.

The data is a message of one schema (`gateway.schemas.event`), in which each type of value has a map of its own, from
field to value. It names node, topic and time as well, for consumers that look at nothing but the data. Whole events are
messages of CloudEvents' own schema, and the data is one of any type in them.

Source: https://protobuf.dev/programming-guides/encoding/; Protobuf Event Format of CloudEvents 1.0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.events.cloud_event import plain
from gateway.schemas import event as schemas
from gateway.schemas.protobuf_files import files_of
from gateway.schemas.protobuf_text import descriptor_set_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.batch.decode import Table
    from gateway.events.cloud_event import Event
    from gateway.model import Gap

DATA: Final = "application/protobuf"
STRUCTURED: Final = "application/cloudevents+protobuf"
TYPE_URL: Final = f"type.googleapis.com/{schemas.NAME}"

_WHOSE: Final = "events in Protobuf"
_WHOLE: Final = """
syntax = "proto3";
package io.cloudevents.v1;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
message CloudEvent {
  string id = 1;
  string source = 2;
  string spec_version = 3;
  string type = 4;
  map<string, CloudEventAttributeValue> attributes = 5;
  google.protobuf.Any proto_data = 8;
  message CloudEventAttributeValue {
    oneof attr {
      string ce_string = 3;
      string ce_uri = 5;
      google.protobuf.Timestamp ce_timestamp = 7;
    }
  }
}
"""
"""Of CloudEvents' schema what we write."""
_MAPS: Final = {float: "floats", int: "integers", bool: "booleans", str: "strings", bytes: "bytes"}
_NS: Final = 10**9


class ProtobufEncoding:
    """See `cloud_event.Encoding`. Raises `ConfigError` where the package protobuf is missing."""

    data_type = DATA
    structured_type = STRUCTURED

    def __init__(self) -> None:
        self._data = _class_of(schemas.PROTO_FILE, schemas.protobuf(), schemas.NAME)
        self._whole = _class_of("cloud_event.proto", _WHOLE, "io.cloudevents.v1.CloudEvent")

    def values(self, table: Table) -> list[object]:
        """Return values as they are."""
        return plain(table)

    def row(self, node: str, topic: str, time_ns: int, values: Mapping[str, object]) -> bytes:
        """Return the message of readings."""
        maps: dict[str, dict[str, object]] = {}
        for field, value in values.items():
            maps.setdefault(_MAPS[type(value)], {})[field] = value
        return _bytes(self._data(node=node, topic=topic, time_ns=time_ns, **maps))

    def gap(self, found: Gap) -> bytes:
        """Return the message of a gap."""
        told = {"lane": found.lane, "epoch": found.epoch, "first": found.first, "last": found.last}
        gap = {**told, "readings": found.readings, "reason": found.reason}
        return _bytes(self._data(node=found.node, gap=gap))

    def envelope(self, common: Mapping[str, str], begin: str) -> Callable[[Event], bytes]:
        """Return what writes attributes and data as one message."""
        named = {"spec_version": common["specversion"], "type": common["type"], "source": common["source"]}
        others: dict[str, dict[str, object]] = {
            name: {"ce_string": value}
            for name, value in common.items()
            if name not in {"specversion", "type", "source"}
        }
        others |= {"datacontenttype": {"ce_string": DATA}, "dataschema": {"ce_uri": TYPE_URL}}

        def whole(event: Event) -> bytes:
            attributes = dict(others)
            if event.topic:
                seconds, nanos = divmod(event.time_ns, _NS)
                attributes["subject"] = {"ce_string": event.topic}
                attributes["time"] = {"ce_timestamp": {"seconds": seconds, "nanos": nanos}}
            data = {"type_url": TYPE_URL, "value": event.data}
            made = self._whole(**named, id=begin + event.number, attributes=attributes, proto_data=data)
            return _bytes(made)

        return whole


def _class_of(name: str, text: str, message: str) -> Any:  # noqa: ANN401  # the package has no types of its own
    files = files_of(descriptor_set_of(name, {name: text.encode()}.__getitem__, _WHOSE), _WHOSE)
    from google.protobuf.message_factory import (  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, there
        GetMessageClass,
    )

    return GetMessageClass(files.message(message))


def _bytes(message: Any) -> bytes:  # noqa: ANN401  # as above
    """Return the same bytes each time: entries of maps in the order of their keys."""
    return bytes(message.SerializeToString(deterministic=True))
