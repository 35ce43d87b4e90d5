"""Each schema of the catalogue is one that the comparison reads, and what a newer sender adds is compatible."""

from __future__ import annotations

import json

import pytest

from gateway.decode import protobuf
from gateway.decode.contract import Limits
from gateway.schemas.compatibility import compatibility, schema_of
from gateway.schemas.protobuf_text import descriptor_set_of
from tests.support import catalogue

AVRO, PROTOBUF = catalogue.ROOT / "avro", catalogue.ROOT / "protobuf"
PLANT = (PROTOBUF / "plant.proto").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(AVRO.glob("*.avsc")), ids=lambda path: path.name)
def test_a_schema_of_avro_is_fully_compatible_with_itself(path) -> None:
    document = schema_of(path.read_bytes(), "avro")
    assert compatibility(document, document, "avro").verdict == "full"


@pytest.mark.parametrize("path", sorted(PROTOBUF.glob("*.proto")), ids=lambda path: path.name)
def test_a_text_of_protobuf_is_fully_compatible_with_its_descriptor_set(path) -> None:
    text = schema_of(descriptor_set_of(path.name, lambda name: (PROTOBUF / name).read_bytes()), "protobuf")
    made = schema_of(path.with_suffix(".desc").read_bytes(), "protobuf")
    assert compatibility(text, made, "protobuf").verdict == "full"


def test_a_field_more_of_avro_is_backward_compatible_with_a_default_only() -> None:
    old = json.loads((AVRO / "climate.avsc").read_bytes())
    for more, verdict in (({"default": 0}, "full"), ({}, "forward")):
        new = {**old, "fields": [*old["fields"], {"name": "pressure", "type": "double", **more}]}
        assert compatibility(old, new, "avro").verdict == verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("fixed64 serial = 15;", "fixed64 serial = 15; optional double pressure = 16;", "full"),
        ("bytes raw = 14;", "reserved 14;", "full"),
        ("FAULT = 2;", "FAULT = 2; OFF = 3;", "full"),
        ("sint32 rssi = 1;", "sint64 rssi = 1;", "backward"),
        ("FAULT = 2;", "", "forward"),
        ("sint32 rssi = 1;", "int32 rssi = 1;", "none"),
        ("optional double humidity = 3;", "double humidity = 3;", "none"),
    ],
)
def test_a_change_of_the_message_on_the_page_is_judged_as_its_payloads_are_read(old, new, verdict) -> None:
    sets = [
        descriptor_set_of("plant.proto", lambda _, text=text: text.encode())
        for text in (PLANT, PLANT.replace(old, new))
    ]
    assert sets[0] != sets[1]
    before, after = (schema_of(each, "protobuf", "plant.Reading") for each in sets)
    assert compatibility(before, after, "protobuf").verdict == verdict
    payload = catalogue.example("protobuf", "reading").payload
    rows = [protobuf.decoder(Limits(), each, "plant.Reading")(payload) for each in sets]
    both = rows[0].keys() & rows[1].keys()
    is_same = all(rows[0][name] == rows[1][name] for name in both)
    assert is_same or verdict == "none"
