"""The page on schemas says what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.errors import DecodeError
from gateway.schemas.compatibility import compatibility, schema_of
from gateway.schemas.contract import Contract
from tests.support.protobuf_classes import descriptor_set

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "schemas.md").read_text("utf-8")
JSON_PART, AVRO_PART, PROTOBUF_PART, WIRE_PART = re.split("### Avro|### Protobuf|By the wire alone:", PAGE)
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| (\w+) \|$", re.MULTILINE)


def test_its_examples_of_json_schema_are_as_compatible_as_it_says() -> None:
    examples = ROW.findall(JSON_PART)
    assert len(examples) == 6
    for old, new, verdict in examples:
        assert compatibility(json.loads(old), json.loads(new), "json").verdict == verdict, (old, new)


def test_its_examples_of_avro_are_as_compatible_as_it_says() -> None:
    examples = ROW.findall(AVRO_PART)
    assert len(examples) == 5
    for old, new, verdict in examples:
        assert compatibility(json.loads(old), json.loads(new), "avro").verdict == verdict, (old, new)


@pytest.mark.parametrize(
    ("schema_format", "part", "count"), [("protobuf", PROTOBUF_PART, 9), ("protobuf-wire", WIRE_PART, 5)]
)
def test_its_examples_of_protobuf_are_as_compatible_as_it_says(schema_format, part, count) -> None:
    examples = ROW.findall(part)
    assert len(examples) == count
    for *bodies, verdict in examples:
        old, new = (
            schema_of(descriptor_set(f'syntax = "proto3"; message R {{ {body} }}'), schema_format) for body in bodies
        )
        assert compatibility(old, new, schema_format).verdict == verdict, bodies


def test_its_example_of_a_broken_contract_is_what_is_said() -> None:
    (said,) = re.findall(r"^/t: .*$", PAGE, re.MULTILINE)
    contract = Contract(b'{"properties": {"t": {"maximum": 125}}}', "climate-1.json")
    with pytest.raises(DecodeError) as caught:
        contract.check({"t": 126})
    assert caught.value.fault == said
