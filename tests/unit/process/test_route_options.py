"""Options of routes as the whole machine carries them out: contracts, arrays of rows, SenML, faults of expressions."""

from __future__ import annotations

import json
import struct

import cbor2
import msgspec
import pytest
from google.protobuf import descriptor_pb2

from gateway.config import schema
from gateway.errors import ConfigError
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.material import Material
from gateway.process.pipeline import Pipeline

NOW = 1_780_000_000 * 10**9
SCHEMA = json.dumps({"type": "object", "properties": {"t": {"type": "number", "maximum": 125}}, "required": ["t"]})
ENCODERS = {"json": lambda value: json.dumps(value).encode(), "cbor": cbor2.dumps, "msgpack": msgspec.msgpack.encode}


def run(payload: bytes, **options: object) -> tuple[Pipeline, list[tuple[str, int, dict[str, object]]]]:
    """Apply one message; return the machine, and (topic, time, row) of everything that goes on."""
    route = schema.Route(name="raw", topics=("#",), lane="t", **options)  # type: ignore[arg-type]
    material = Material({"s.json": SCHEMA.encode()}, {})
    pipeline = Pipeline((route,), (schema.Lane(name="t"),), schema.Broker(), "n", 1, material)
    group = MessageGroup(NOW, 1, CLOCK_SYNCHRONISED, 1, False, ["plant/a"], [payload], [1], [QOS1], {})
    outputs = [*pipeline.apply(group, 0), pipeline.finish(NOW, 2)]
    assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    rows = [
        (topic, time_ns, row)
        for output in outputs
        for batch in output.batches
        for topic, (times, each) in batch.rows.items()
        for time_ns, row in zip(times, each, strict=True)
    ]
    return pipeline, rows


def quarantined(pipeline: Pipeline) -> dict[str, int]:
    return {key: number for key, number in pipeline.ledger.items() if key.startswith("message.quarantined") and number}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("rows", ["", "."])
def test_a_document_that_breaks_its_contract_goes_to_quarantine(name: str, rows: str) -> None:
    _, found = run(ENCODERS[name]({"t": 20}), decoder=name, schema_file="s.json", rows=rows)
    assert found == [("plant/a", NOW, {"t": 20})]
    for broken in ({"t": 126}, {"x": 1}):
        pipeline, found = run(ENCODERS[name](broken), decoder=name, schema_file="s.json", rows=rows)
        assert (found, quarantined(pipeline)) == ([], {"message.quarantined.schema_violated": 1})


def test_a_schema_that_cannot_be_used_is_an_error_of_the_configuration() -> None:
    route = schema.Route(name="raw", topics=("#",), lane="t", schema_file="x")
    with pytest.raises(ConfigError, match="is no JSON Schema"):
        Pipeline((route,), (schema.Lane(name="t"),), schema.Broker(), "n", 1, Material({"x": b'{"type": 7}'}, {}))


@pytest.mark.parametrize("name", ENCODERS)
def test_an_array_of_objects_is_one_row_each_at_its_own_time(name: str) -> None:
    document = {"device": {"log": [{"at": 5, "v": 1}, {"at": 6, "v": 2}]}}
    time = schema.Time(field="at", unit="s")
    _, found = run(ENCODERS[name](document), decoder=name, rows="device.log", time=time)
    assert found == [("plant/a", 5 * 10**9, {"v": 1}), ("plant/a", 6 * 10**9, {"v": 2})]
    pipeline, _ = run(ENCODERS[name]([{"at": 5, "v": 1}]), decoder=name, rows="device.log", time=time)
    assert quarantined(pipeline) == {"message.quarantined.path_missing": 1}


def test_senml_records_go_to_the_series_that_they_name() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "u": "Cel", "v": 23.1},
        {"n": "hum", "u": "%RH", "v": 40},
    ]
    payload = json.dumps(pack).encode()
    _, found = run(payload, decoder="senml-json")
    assert [(topic.removeprefix("plant/a/"), row) for topic, _, row in found] == [
        ("urn:dev:ow:10e2073a01080063:temp", {"value": 23.1}),
        ("urn:dev:ow:10e2073a01080063:hum", {"value": 40}),
    ]
    _, found = run(payload, decoder="senml-json", senml=schema.SenML(unit=True))
    assert [row["unit"] for _, _, row in found] == ["Cel", "%RH"]


@pytest.mark.parametrize(
    ("choice", "readings", "fates"),
    [
        ("drop", 0, {"reading.filtered": 1}),
        ("keep", 1, {}),
        ("quarantine", 0, {"message.quarantined.expression_missing_field": 1}),
    ],
)
def test_what_a_fault_of_the_expression_means_is_the_routes_choice(choice: str, readings: int, fates) -> None:
    pipeline, found = run(b'{"other": 1}', keep="t > 5", keep_fault=choice)
    assert len(found) == readings
    ends = {key: number for key, number in pipeline.ledger.items() if "filtered" in key or "quarantined" in key}
    assert ends == fates


@pytest.mark.parametrize(
    ("keep", "readings"), [("topic[1] == 'a'", 1), ("topic == 'plant/b'", 0), ("clock == 'synchronised'", 1)]
)
def test_an_expression_sees_the_topic_and_the_clock(keep: str, readings: int) -> None:
    _, found = run(b'{"v": 1}', keep=keep)
    assert len(found) == readings


def test_a_protobuf_message_is_read_by_its_descriptor_set() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="plant", syntax="proto3")
    field = file.message_type.add(name="Reading").field.add(name="t", number=1)
    field.type, field.label = field.TYPE_DOUBLE, field.LABEL_OPTIONAL
    descriptors = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    options = schema.Protobuf(descriptor_file="s.json", message="plant.Reading")
    route = schema.Route(name="raw", topics=("#",), lane="t", decoder="protobuf", protobuf=options)
    lanes, material = (schema.Lane(name="t"),), Material({"s.json": descriptors}, {})
    pipeline = Pipeline((route,), lanes, schema.Broker(), "n", 1, material)
    payload = b"\x09" + struct.pack("<d", 21.5)
    group = MessageGroup(NOW, 1, CLOCK_SYNCHRONISED, 1, False, ["plant/a"], [payload], [1], [QOS1], {})
    for _ in pipeline.apply(group, 0):
        pass
    (batch,) = pipeline.finish(NOW, 2).batches
    assert batch.rows == {"plant/a": ([NOW], [{"t": 21.5}])}


def test_avro_data_is_read_by_its_schema() -> None:
    schema_ = {"type": "record", "name": "Reading", "fields": [{"name": "t", "type": "double"}]}
    route = schema.Route(name="raw", topics=("#",), lane="t", decoder="avro", avro=schema.Avro(schema_file="s.avsc"))
    lanes, material = (schema.Lane(name="t"),), Material({"s.avsc": json.dumps(schema_).encode()}, {})
    pipeline = Pipeline((route,), lanes, schema.Broker(), "n", 1, material)
    payload = struct.pack("<d", 21.5)
    group = MessageGroup(NOW, 1, CLOCK_SYNCHRONISED, 1, False, ["plant/a"], [payload], [1], [QOS1], {})
    for _ in pipeline.apply(group, 0):
        pass
    (batch,) = pipeline.finish(NOW, 2).batches
    assert batch.rows == {"plant/a": ([NOW], [{"t": 21.5}])}


def test_tags_are_added_to_every_row_that_goes_on_and_counted() -> None:
    tags = (
        schema.Tag(topics=("plant/+",), fields={"line": "A", "v": "no"}),
        schema.Tag(topics=("#",), fields={"line": "B", "site": "north"}),
        schema.Tag(topics=("other/#",), fields={"hall": "4"}),
    )
    pipeline, found = run(b'{"v": 1}', tag=tags)
    assert found == [("plant/a", NOW, {"v": 1, "line": "A", "site": "north"})]
    assert pipeline.ledger["reading.tagged"] == 2
    window = schema.Window(size_ns=10**9, functions=("count",))
    _, found = run(b'{"v": 1}', tag=tags, window=window)
    assert found == [("plant/a", NOW, {"v.count": 1, "line": "A", "v": "no", "site": "north"})]
    _, found = run(b'{"v": 1}', tag=tags, keep="v > 5")
    assert found == [], "a tag alone is no row"
