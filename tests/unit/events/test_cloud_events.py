"""CloudEvents: every reading of a batch in exactly one event, bit for bit, and the same bytes each time."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.events.choice import encoding
from gateway.events.cloud_event import GAP, READINGS, Shape, messages
from gateway.model import Gap
from gateway.schemas import event as schemas
from gateway.transport.contract import Message
from tests.support.batches import Rows, open_batch
from tests.support.protobuf_classes import descriptor_set, message_class

ENCODINGS = [encoding(schema.Events(encoding=name)) for name in ("json", "avro", "protobuf")]
SHAPES = [
    Shape(one, of_readings, is_binary)
    for one in ENCODINGS
    for of_readings in (False, True)
    for is_binary in (False, True)
]
GONE = Gap("node-1", "telemetry", 3, 7, 9, 60, 140, "evicted")

VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
TOPICS = st.sampled_from(["plant/a", "plant/b", 'plant/"quoted"/ü'])
FIELDS = st.sampled_from(["t", "state", "x.y", 'f"'])
MAPS = ("floats", "integers", "booleans", "strings", "bytes")

CLOUD_EVENT_IN_AVRO: dict[str, Any] = {
    "namespace": "io.cloudevents",
    "type": "record",
    "name": "CloudEvent",
    "fields": [
        {"name": "attribute", "type": {"type": "map", "values": ["null", "boolean", "int", "string", "bytes"]}},
        {
            "name": "data",
            "type": ["bytes", "null", "boolean", {"type": "map", "values": "string"}, "double", "string"],
        },
    ],
}
"""Avro Event Format of CloudEvents 1.0.2, section 2.4; what may stand for JSON in the data is shortened."""

CLOUD_EVENT_IN_PROTOBUF = """
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
  oneof data {
    bytes binary_data = 6;
    string text_data = 7;
    google.protobuf.Any proto_data = 8;
  }
  message CloudEventAttributeValue {
    oneof attr {
      bool ce_boolean = 1;
      int32 ce_integer = 2;
      string ce_string = 3;
      bytes ce_bytes = 4;
      string ce_uri = 5;
      string ce_uri_ref = 6;
      google.protobuf.Timestamp ce_timestamp = 7;
    }
  }
}
"""
"""Protobuf Event Format of CloudEvents 1.0.2, its schema."""

DATA_IN_PROTOBUF = message_class(descriptor_set(schemas.protobuf()), schemas.NAME)
WHOLE_IN_PROTOBUF = message_class(descriptor_set(CLOUD_EVENT_IN_PROTOBUF), "io.cloudevents.v1.CloudEvent")


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    made: Rows = {}
    for topic in draw(st.lists(TOPICS, min_size=1, unique=True)):
        times = draw(st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True))
        made[topic] = times, [draw(st.dictionaries(FIELDS, VALUES, min_size=1)) for _ in times]
    return made


def sealed(made: Rows) -> DecodedBatch:
    found = decode(envelope.seal(open_batch(made), "boot").data)
    assert isinstance(found, DecodedBatch)
    return found


def opened(message: Message, shape: Shape) -> tuple[dict[str, object], dict[str, object]]:
    """Return attributes and data of an event, read as a consumer would; the data as in JSON, with bytes as they are."""
    read = {"json": of_json, "avro": of_avro, "protobuf": of_protobuf}[
        message.content_type.rpartition("/")[2].split("+")[-1]
    ]
    assert message.content_type == (shape.encoding.data_type if shape.is_binary else shape.encoding.structured_type)
    attributes, data, node_topic_time = read(message, is_binary=shape.is_binary)
    assert attributes.pop("datacontenttype", shape.encoding.data_type) == shape.encoding.data_type
    if node_topic_time is not None:
        time = str(attributes.get("time", "1970-01-01T00:00:00Z"))
        assert node_topic_time == ("node-1", attributes.get("subject", ""), nanoseconds(time))
    return attributes, data


def of_json(message: Message, *, is_binary: bool):
    if is_binary:
        attributes, data = dict(message.attributes), json.loads(message.payload)
    else:
        attributes = json.loads(message.payload)
        data = attributes.pop("data")
    return (
        attributes,
        {name: b64decode(one["base64"]) if isinstance(one, dict) else one for name, one in data.items()},
        None,
    )


def of_avro(message: Message, *, is_binary: bool):
    attributes, data = dict(message.attributes), message.payload
    if not is_binary:
        whole: Any = schemaless_reader(BytesIO(data), CLOUD_EVENT_IN_AVRO, None)
        attributes, data = whole["attribute"], whole["data"]
    record: Any = schemaless_reader(BytesIO(data), json.loads(schemas.avro()), None)
    if record["gap"] is not None:
        return attributes, record["gap"], (record["node"], record["topic"] or "", record["time"] or 0)
    values = {field: value for name in MAPS for field, value in record[name].items()}
    return attributes, values, (record["node"], record["topic"], record["time"])


def of_protobuf(message: Message, *, is_binary: bool):
    attributes, data = dict(message.attributes), message.payload
    if not is_binary:
        whole = WHOLE_IN_PROTOBUF.FromString(data)
        attributes = {"specversion": whole.spec_version, "type": whole.type, "source": whole.source, "id": whole.id}
        attributes |= {name: one.ce_string for name, one in whole.attributes.items() if one.HasField("ce_string")}
        assert (
            whole.attributes["dataschema"].ce_uri == whole.proto_data.type_url == f"type.googleapis.com/{schemas.NAME}"
        )
        if "time" in whole.attributes:
            stamp = whole.attributes["time"].ce_timestamp
            moment = datetime.fromtimestamp(stamp.seconds, UTC).isoformat().removesuffix("+00:00")
            attributes["time"] = f"{moment}.{stamp.nanos:09}Z"
        data = whole.proto_data.value
    record = DATA_IN_PROTOBUF.FromString(data)
    values = {field: value for name in MAPS for field, value in getattr(record, name).items()}
    if record.HasField("gap"):
        values = {field.name: getattr(record.gap, field.name) for field in record.gap.DESCRIPTOR.fields}
    return attributes, values, (record.node, record.topic, record.time_ns)


def nanoseconds(time: str) -> int:
    second, _, fraction = time.removesuffix("Z").partition(".")
    return round(datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp()) * 10**9 + int(fraction or 0)


@pytest.mark.parametrize("shape", SHAPES)
@given(made=rows())
def test_every_reading_is_in_exactly_one_event_with_its_value_its_time_and_its_topic(shape: Shape, made: Rows) -> None:
    expected = sorted(
        (topic, time_ns, field, type(value).__name__, repr(value))
        for topic, (times, fields) in made.items()
        for time_ns, row in zip(times, fields, strict=True)
        for field, value in row.items()
    )
    found = []
    for message in messages(sealed(made), shape):
        attributes, data = opened(message, shape)
        time_ns = nanoseconds(str(attributes["time"]))
        assert len(data) == 1 or not shape.of_readings
        for field, value in data.items():
            found.append((attributes["subject"], time_ns, field, type(value).__name__, repr(value)))
    assert sorted(found) == expected


@pytest.mark.parametrize("shape", SHAPES)
@given(made=rows())
def test_ids_are_unique_and_a_batch_makes_the_same_events_each_time(shape: Shape, made: Rows) -> None:
    first, again = messages(sealed(made), shape), messages(sealed(made), shape)
    assert first == again
    assert len({message.id for message in first}) == len(first)
    assert all(message.id.startswith("node-1/telemetry/3/5/") for message in first)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_says_what_the_specification_requires(shape: Shape) -> None:
    (message,) = messages(sealed({"plant/a": ([1_764_072_000_250_000_000], [{"t": 21.5}])}), shape, is_backlog=True)
    attributes, data = opened(message, shape)
    assert attributes == {
        "specversion": "1.0",
        "type": READINGS,
        "source": "/edge-gateway/node-1",
        "id": "node-1/telemetry/3/5/0",
        "subject": "plant/a",
        "time": "2025-11-25T12:00:00.250000000Z",
        "backlog": "true",
    }
    assert data == {"t": 21.5}
    assert (message.id, message.key) == ("node-1/telemetry/3/5/0", "node-1/plant/a")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_lost_is_told_as_well(shape: Shape) -> None:
    (message,) = messages(GONE, shape)
    attributes, data = opened(message, shape)
    assert (attributes["type"], attributes["id"]) == (GAP, "node-1/telemetry/3/7-9")
    assert data == {"lane": "telemetry", "epoch": 3, "first": 7, "last": 9, "readings": 60, "reason": "evicted"}
