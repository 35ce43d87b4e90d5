"""Which changes of an Avro schema are compatible, by the rules of "Schema Resolution" in its specification."""

from __future__ import annotations

import io
import os
import random
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.schemas.avro_resolution import unreadable

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # to run it again


def record(*fields: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **others}


def field(name: str, type_: Any, **others: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **others}


def enum(*symbols: str, **others: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **others}


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


NODE = record(field("v", "int"), field("next", ["null", "R"]))
WIDER_NODE = record(field("v", "double"), field("next", ["null", "R"]))

READABLE = [
    ("int", "long"),
    ("int", "double"),
    ("long", "float"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
    ("int", ["null", "long"]),
    (["int", "null"], ["null", "long"]),
    (["int", "long"], "double"),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "float"}),
    ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "int"]}),
    (record(field("a", "int"), field("b", "int")), record(field("a", "int"))),
    (record(field("a", "int")), record(field("a", "long"), field("b", "int", default=0))),
    (record(field("a", "int")), record(field("c", "int", aliases=["a"]))),
    (record(field("a", "int"), name="x.R"), record(field("a", "int"), name="R", namespace="y")),
    (record(field("a", "int"), name="Old"), record(field("a", "int"), aliases=["Old"])),
    (enum("A", "B"), enum("B", "A", "C")),
    (enum("A", "B"), enum("A", default="A")),
    ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 4}),
    (decimal(5, 2), decimal(5, 2)),
    ({"type": "long", "logicalType": "timestamp-millis"}, "long"),
    (NODE, WIDER_NODE),
    ({"type": {"type": "string"}}, "string"),
]

UNREADABLE = [
    ("long", "int", "", "long may be written"),
    ("double", "float", "", "double"),
    ("string", "int", "", "string"),
    ("null", ["int", "string"], "", "no branch"),
    (["int", "string"], "int", "", "string"),
    (["null", "int"], ["null"], "", "int"),
    ({"type": "array", "items": "string"}, {"type": "array", "items": "int"}, "/items", "string"),
    ({"type": "map", "values": "string"}, {"type": "map", "values": "int"}, "/values", "string"),
    (record(field("a", "int")), record(field("a", "int"), field("b", "int")), "/fields/b", "no default"),
    (record(field("a", "long")), record(field("a", "int")), "/fields/a/type", "long"),
    (record(field("a", "int")), record(field("a", "int"), name="Q"), "", "name"),
    (enum("A"), {**enum("A"), "name": "Z"}, "", "name"),
    (enum("A", "B"), enum("A"), "/symbols", "'B'"),
    ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, "", "4 bytes"),
    (decimal(5, 2), decimal(5, 3), "", "decimal(5, 2)"),
    (WIDER_NODE, NODE, "/fields/v/type", "double"),
    (record(field("a", "string")), ["null", record(field("a", "int"))], "/1/fields/a/type", "string"),
]

FAULTS = [
    1, None, {}, {"type": 4}, "nothing", {"type": "record"}, {"type": "record", "name": "R"},
    {"type": "record", "name": "R", "fields": [1]}, {"type": "record", "name": "R", "fields": [{"name": "a"}]},
    {"type": "enum", "name": "E"}, {"type": "enum", "name": "E", "symbols": [1]}, {"type": "array"}, ["int", "X"],
    record(field("a", record())), {"type": "fixed", "size": 3}, record(field("a", "int", aliases="b")),
]  # fmt: skip


@pytest.mark.parametrize(("writer", "reader"), READABLE, ids=str)
def test_what_reads_all_that_is_written_is_compatible(writer, reader) -> None:
    assert unreadable(writer, reader) == ()


@pytest.mark.parametrize(("writer", "reader", "path", "reason"), UNREADABLE, ids=str)
def test_what_does_not_read_it_is_said_with_its_path(writer, reader, path, reason) -> None:
    (finding,) = unreadable(writer, reader)
    assert finding.path == path
    assert reason in finding.reason


@pytest.mark.parametrize("schema", FAULTS, ids=str)
def test_what_is_no_avro_schema_is_refused(schema) -> None:
    with pytest.raises(ConfigError, match="no Avro schema"):
        unreadable(schema, "int")


def test_records_that_lead_through_each_other_without_end_are_told_to_be_too_large() -> None:
    chain: list[Any] = [record(name="R0")]
    chain += [record(field("a", f"R{index}"), name=f"R{index + 1}") for index in range(2000)]
    found = unreadable([*chain[:-1], chain[-1]], [*chain[:-1], chain[-1]])
    assert found[:1] == () or "too many" in found[0].reason


def some_type(chance: random.Random, depth: int, names: list[str]) -> Any:
    kind = chance.randrange(9 if depth else 5)
    if kind < 5:
        return chance.choice(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
    if kind == 5:
        return {"type": "array", "items": some_type(chance, depth - 1, names)}
    if kind == 6:
        return {"type": "map", "values": some_type(chance, depth - 1, names)}
    name = f"N{len(names)}"
    names.append(name)
    if kind == 7:
        return {"type": "enum", "name": name, "symbols": chance.sample(("A", "B", "C"), chance.randrange(1, 4))}
    fields = [field(each, some_type(chance, depth - 1, names)) for each in chance.sample(("a", "b", "c"), 2)]
    return {"type": "record", "name": name, "fields": fields}


def changed(chance: random.Random, one: Any) -> Any:
    """Return a type that a reader may have instead."""
    match one:
        case str():
            wider = {"int": "long", "long": "double", "float": "double", "string": "bytes"}
            return chance.choice((one, wider.get(one, one), "int"))
        case {"type": "array"}:
            return {**one, "items": changed(chance, one["items"])}
        case {"type": "map"}:
            return {**one, "values": changed(chance, one["values"])}
        case {"type": "enum"}:
            others = chance.choice(({}, {"default": one["symbols"][0]}))
            return {**one, "symbols": one["symbols"][: chance.randrange(1, 4)], **others}
    fields = [{**each, "type": changed(chance, each["type"])} for each in one["fields"] if chance.random() < 0.8]
    added = [field("z", "int", default=7)] if chance.random() < 0.3 else []
    return {**one, "fields": fields + added}


def some_datum(chance: random.Random, type_: Any) -> Any:  # noqa: PLR0911  # one case for each type
    match type_:
        case "null":
            return None
        case "boolean":
            return chance.random() < 0.5
        case "int" | "long":
            return chance.randrange(-9, 9)
        case "float" | "double":
            return 0.5
        case "bytes":
            return b"ab"
        case "string":
            return "ab"
        case {"type": "array"}:
            return [some_datum(chance, type_["items"]) for _ in range(2)]
        case {"type": "map"}:
            return {"k": some_datum(chance, type_["values"])}
        case {"type": "enum"}:
            return chance.choice(type_["symbols"])
    return {each["name"]: some_datum(chance, each["type"]) for each in type_["fields"]}


@seed(SEED)
@settings(max_examples=10_000 if IS_LONG else 300, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_a_datum_is_read_by_another_implementation_when_nothing_is_found(chance) -> None:
    fastavro = pytest.importorskip("fastavro")
    writer = some_type(chance, 2, [])
    reader = changed(chance, writer)
    found = unreadable(writer, reader)
    for _ in range(5):
        file = io.BytesIO()
        fastavro.schemaless_writer(file, writer, some_datum(chance, writer))
        file.seek(0)
        try:
            fastavro.schemaless_reader(file, writer, reader)
        except Exception as error:  # noqa: BLE001  # whatever that implementation raises, it cannot read
            assert found, (writer, reader, error)  # noqa: PT017  # raising is right when it was foreseen
