"""Data that one schema wrote is read as data of another, as another implementation of Avro reads it."""

from __future__ import annotations

import io
import json
import os
import random
import re
import time
from typing import Any

import fastavro
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.config.load import load
from gateway.config.material import read_material
from gateway.decode import avro
from gateway.decode.contract import Limits
from gateway.decode.formats import decoding_of
from gateway.errors import ConfigError, DecodeError
from gateway.process.material import documents_of
from gateway.schemas.avro_resolution import unreadable
from tests.support import catalogue

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # to run it again
CLIMATE = (catalogue.ROOT / "avro" / "climate.avsc").read_bytes()


def record(*fields: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **others}


def field(name: str, type_: Any, **others: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **others}


def enum(*symbols: str, **others: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **others}


def logical(type_: str, name: str, **others: Any) -> dict[str, Any]:
    return {"type": type_, "logicalType": name, **others}


def written(schema: Any, datum: Any) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(json.loads(json.dumps(schema))), datum)
    return file.getvalue()


def decoder(writer: Any, reader: Any, limits: Limits | None = None, framing: Any = "bare"):
    return avro.decoder(limits or Limits(), json.dumps(writer).encode(), framing, json.dumps(reader).encode())


def typed(row: dict[str, Any]) -> list[tuple[str, type, Any]]:
    return [(name, type(value), value) for name, value in row.items()]


A = record(field("a", "int"))
INNER = {"type": "record", "name": "I", "fields": [field("x", "int")]}
F2 = {"type": "fixed", "name": "F", "size": 2}
READ: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (A, record(field("a", "long")), {"a": 7}, {"a": 7}),
    (A, record(field("a", "double")), {"a": 7}, {"a": 7.0}),
    (record(field("a", "long")), record(field("a", "float")), {"a": 7}, {"a": 7.0}),
    (record(field("a", "float")), record(field("a", "double")), {"a": 0.5}, {"a": 0.5}),
    (record(field("a", "string")), record(field("a", "bytes")), {"a": "\u00e9"}, {"a": b"\xc3\xa9"}),
    (record(field("a", "bytes")), record(field("a", "string")), {"a": b"\xc3\xa9"}, {"a": "\u00e9"}),
    (A, record(field("b", "int", aliases=["a"])), {"a": 7}, {"b": 7}),
    (record(field("a", "int"), name="x.Old"), record(field("a", "int"), name="x.New", aliases=["Old"]),
     {"a": 7}, {"a": 7}),
    (record(field("a", "int"), field("b", "string"), field("c", "int")), record(field("c", "int"), field("a", "int")),
     {"a": 1, "b": "x", "c": 3}, {"c": 3, "a": 1}),
    (record(field("a", INNER), field("b", "I"), field("c", "int")), record(field("c", "int")),
     {"a": {"x": 1}, "b": {"x": 2}, "c": 3}, {"c": 3}),
    (record(field("a", INNER), field("b", "I")), record(field("b", INNER)),
     {"a": {"x": 1}, "b": {"x": 2}}, {"b.x": 2}),
    (A, record(field("a", "int"), field("n", "string", default="none")), {"a": 7}, {"a": 7, "n": "none"}),
    (A, record(field("n", "double", default=2), field("a", "int")), {"a": 7}, {"n": 2.0, "a": 7}),
    (A, record(field("a", "int"), field("n", ["null", "int"], default=None)), {"a": 7}, {"a": 7}),
    (A, record(field("n", ["string", "int"], default="x")), {"a": 7}, {"n": "x"}),
    (A, record(field("n", ["null", "int"], default=5)), {"a": 7}, {"n": 5}),
    (A, record(field("n", "bytes", default="\u00ff\u0001")), {"a": 7}, {"n": b"\xff\x01"}),
    (A, record(field("n", F2, default="\u0000\u00ff")), {"a": 7}, {"n": b"\x00\xff"}),
    (A, record(field("n", enum("X", "Y"), default="Y")), {"a": 7}, {"n": "Y"}),
    (A, record(field("n", "boolean", default=True)), {"a": 7}, {"n": True}),
    (A, record(field("n", {"type": "array", "items": "long"}, default=[1, 2])), {"a": 7}, {"n.0": 1, "n.1": 2}),
    (A, record(field("n", {"type": "map", "values": "int"}, default={"k": 1})), {"a": 7}, {"n.k": 1}),
    (A, record(field("n", {**INNER, "fields": [field("x", "int"), field("y", "int", default=2)]}, default={"x": 1})),
     {"a": 7}, {"n.x": 1, "n.y": 2}),
    (A, record(field("n", logical("long", "timestamp-millis"), default=5)), {"a": 7}, {"n": 5_000_000}),
    (A, record(field("n", logical("bytes", "decimal", precision=4, scale=2), default="\u0001\u0000")),
     {"a": 7}, {"n": 2.56}),
    (record(field("e", enum("A", "B"))), record(field("e", enum("A", "Z", default="Z"))), {"e": "B"}, {"e": "Z"}),
    (record(field("e", enum("A", "B"))), record(field("e", enum("B", "A"))), {"e": "B"}, {"e": "B"}),
    (record(field("u", ["null", "int"])), record(field("u", ["null", "double"])), {"u": 3}, {"u": 3.0}),
    (record(field("u", ["int", "float"])), record(field("u", "double")), {"u": 3}, {"u": 3.0}),
    (record(field("u", "string")), record(field("u", ["bytes", "string"])), {"u": "x"}, {"u": "x"}),
    (record(field("u", "int")), record(field("u", ["string", "long", "double"])), {"u": 3}, {"u": 3}),
    (record(field("u", INNER)), record(field("u", ["null", {**INNER, "fields": [field("x", "double")]}])),
     {"u": {"x": 1}}, {"u.x": 1.0}),
    (record(field("f", F2)), record(field("f", F2)), {"f": b"ab"}, {"f": b"ab"}),
    (record(field("v", "int"), field("next", ["null", "R"])), record(field("next", ["null", "R"]), field("v", "long")),
     {"v": 1, "next": {"v": 2, "next": None}}, {"next.v": 2, "v": 1}),
    (record(field("t", logical("long", "timestamp-millis"))), record(field("t", logical("long", "timestamp-micros"))),
     {"t": 5}, {"t": 5_000_000}),
    (record(field("t", "long")), record(field("t", logical("long", "timestamp-micros"))), {"t": 5}, {"t": 5_000}),
    (record(field("t", logical("long", "timestamp-millis"))), record(field("t", "long")), {"t": 5}, {"t": 5}),
]  # fmt: skip
"""(writer, reader, datum, row), by the specification."""


@pytest.mark.parametrize(("writer", "reader", "datum", "row"), READ, ids=str)
def test_data_of_one_schema_is_read_as_data_of_another(writer, reader, datum, row) -> None:
    assert typed(decoder(writer, reader)(written(writer, datum))) == typed(row)


REFUSED = [
    (A, record(field("a", "string")), "/fields/a/type: int may be written"),
    (A, record(field("a", "int"), field("b", "int")), "/fields/b: the field is not written and has no default"),
    (A, record(field("a", "int"), name="Q"), "whose name is another"),
    (A, 7, "the reader's schema: the file is no Avro schema"),
    (A, record(field("n", "int", default="x")), "Default value"),
    (A, record(field("n", "boolean", default=1)), "Default value"),
    (A, record(field("n", "int", default=True)), "the default of the field n"),
    (A, record(field("n", "null", default=0)), "Default value"),
    (A, record(field("n", F2, default="abc")), "the default of the field n"),
    (A, record(field("n", "bytes", default="\u0100")), "the default of the field n"),
    (A, record(field("n", enum("X"), default="Q")), "the default of the field n"),
    (A, record(field("n", INNER, default={})), "the default of the field n"),
    (A, record(field("n", INNER, default=[1])), "Default value"),
    (A, record(field("n", ["null", "int"], default="x")), "Default value"),
    (A, record(field("n", {"type": "array", "items": "int"}, default=5)), "Default value"),
    (A, record(field("n", logical("long", "timestamp-millis"), default=2**62)), "the default of the field n"),
    (A, record(field("b", "int", aliases=["a"]), field("c", "int", aliases=["a"])), "two fields"),
]


@pytest.mark.parametrize(("writer", "reader", "says"), REFUSED, ids=str)
def test_a_reader_that_may_not_read_all_is_a_fault_of_the_configuration(writer, reader, says) -> None:
    with pytest.raises(ConfigError) as caught:
        decoder(writer, reader)
    assert says in caught.value.fault


def test_what_was_composed_for_a_branch_that_does_not_match_is_not_used_by_the_one_that_does() -> None:
    def tree(name: str, inner: Any, a: str) -> dict[str, Any]:
        return {"type": "record", "name": name, "fields": [field("n", inner), field("a", a)]}

    def up(*branches: Any) -> dict[str, Any]:
        return {"type": "record", "name": "p.N", "fields": [field("up", ["null", *branches])]}

    writer = record(field("u", tree("p.T", up("p.T"), "string")))
    reader = record(field("u", [tree("p.T", up("p.T", tree("x.T", "p.N", "string")), "int"), "x.T"]))
    datum = {"u": {"n": {"up": {"n": {"up": None}, "a": "in"}}, "a": "out"}}
    assert decoder(writer, reader)(written(writer, datum)) == {"u.n.up.a": "in", "u.a": "out"}


def test_what_is_read_must_become_a_row() -> None:
    with pytest.raises(ConfigError, match="no record or map"):
        decoder("int", "long")


def test_the_header_is_that_of_the_writer() -> None:
    header = avro.decoder(Limits(), CLIMATE, "single-object")
    payload = (catalogue.ROOT / "avro" / "single-object.payload").read_bytes()
    wanted = json.loads(CLIMATE)
    wanted["fields"] = [each for each in wanted["fields"] if each["name"] in {"sensor", "time"}]
    decode = avro.decoder(Limits(), CLIMATE, "single-object", json.dumps(wanted).encode())
    assert decode(payload) == {name: header(payload)[name] for name in ("sensor", "time")}
    with pytest.raises(DecodeError) as caught:
        decode(payload[:2] + b"12345678" + payload[10:])
    assert caught.value.reason == "schema_unknown"


PAGE = (catalogue.ROOT.parents[2] / "docs" / "decoders" / "avro.md").read_text("utf-8")
SITE = '[node]\nid = "node-1"\nstate_folder = "state"\n[[spool.lanes]]\nname = "telemetry"\n'
FILES = {
    "climate-1.avsc": record(field("t", "int"), field("old", "string")),
    "climate-2.avsc": record(field("t", "double"), field("unit", "string", default="C")),
}


def test_the_example_of_the_page_reads_one_version_as_another(tmp_path, monkeypatch) -> None:
    (example,) = re.findall(r"```toml\n(\[\[route]].*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, document in FILES.items():
        (tmp_path / name).write_text(json.dumps(document))
    (tmp_path / "gateway.toml").write_text(SITE + example)
    (route,) = load(tmp_path / "gateway.toml").config.route
    decoding = decoding_of(route, Limits(), read_material([route]).documents)
    assert decoding.row is not None
    assert decoding.row(written(FILES["climate-1.avsc"], {"t": 21, "old": "x"})) == {"t": 21.0, "unit": "C"}
    with pytest.raises(DecodeError, match=r"climate-1\.avsc version 1\)"):
        decoding.row(b"\x02")
    assert len(documents_of(route)) == 2


TREE = record(field("v", "int"), field("inner", {"type": "array", "items": "R"}))


@pytest.mark.parametrize(
    ("reader", "payload", "reason"),
    [
        (record(field("v", "long")), b"\x02" + b"\x02\x02" * 100_000, "too_deep"),
        (record(field("v", "long")), b"\x02" + b"\x80\x80\x80\x80\x10", "too_many_fields"),
        (record(field("v", "long"), field("inner", {"type": "array", "items": "R"})), b"\x02\x02" * 50_000, "too_deep"),
        (record(field("v", "long")), b"\x02", "malformed_avro"),
        (record(field("v", "long")), b"\x02\x00\x00", "malformed_avro"),
    ],
)
def test_hostile_data_costs_little_even_where_it_is_dropped(reader, payload, reason) -> None:
    decode = decoder(TREE, reader)
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.reason == reason
    assert time.perf_counter() - started < 4.0


def some_type(chance: random.Random, depth: int, names: list[str]) -> Any:
    kind = chance.randrange(10 if depth else 5)
    if kind < 5:
        return chance.choice(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
    if kind == 5:
        return {"type": "array", "items": some_type(chance, depth - 1, names)}
    if kind == 6:
        return {"type": "map", "values": some_type(chance, depth - 1, names)}
    if kind == 7:
        return ["null", chance.choice(("int", "string", "double"))]
    name = f"N{len(names)}"
    names.append(name)
    if kind == 8:
        return {"type": "enum", "name": name, "symbols": chance.sample(("A", "B", "C"), chance.randrange(1, 4))}
    fields = [field(each, some_type(chance, depth - 1, names)) for each in chance.sample(("a", "b", "c"), 2)]
    return {"type": "record", "name": name, "fields": fields}


def changed(chance: random.Random, one: Any) -> Any:
    """Return a type that a reader may have instead."""
    match one:
        case str():
            wider = {"int": "long", "long": "double", "float": "double", "string": "bytes", "bytes": "string"}
            return chance.choice((one, wider.get(one, one), ["null", one]))
        case list():
            return [*one, "boolean"]
        case {"type": "array"}:
            return {**one, "items": changed(chance, one["items"])}
        case {"type": "map"}:
            return {**one, "values": changed(chance, one["values"])}
        case {"type": "enum"}:
            return {**one, "symbols": one["symbols"][: chance.randrange(1, 4)], "default": one["symbols"][0]}
    fields = [{**each, "type": changed(chance, each["type"])} for each in one["fields"] if chance.random() < 0.8]
    chance.shuffle(fields)
    return {**one, "fields": [*fields, *([field("z", "int", default=7)] if chance.random() < 0.3 else [])]}


def some_datum(chance: random.Random, type_: Any) -> Any:
    match type_:
        case list():
            return some_datum(chance, chance.choice(type_))
        case str():
            values = {"null": [None], "boolean": [True, False], "bytes": [b"ab", b""], "string": ["ab", "\u00e9"]}
            return chance.choice(values.get(type_, [0.5, -2.0] if type_ in {"float", "double"} else [0, 7, -9]))
        case {"type": "array"}:
            return [some_datum(chance, type_["items"]) for _ in range(2)]
        case {"type": "map"}:
            return {"k": some_datum(chance, type_["values"])}
        case {"type": "enum"}:
            return chance.choice(type_["symbols"])
    return {each["name"]: some_datum(chance, each["type"]) for each in type_["fields"]}


def flat(document: Any, prefix: str = "") -> dict[str, Any]:
    row = {}
    for key, value in enumerate(document) if isinstance(document, list) else document.items():
        if isinstance(value, dict | list):
            row |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            row[f"{prefix}{key}"] = value
    return row


@seed(SEED)
@settings(max_examples=10_000 if IS_LONG else 300, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_any_datum_is_read_as_by_the_other_implementation(chance) -> None:
    names: list[str] = []
    writer = record(*(field(name, some_type(chance, 2, names)) for name in "abc"))
    reader = changed(chance, writer)
    if unreadable(writer, reader):
        with pytest.raises(ConfigError):
            decoder(writer, reader)
        return
    decode = decoder(writer, reader)
    for _ in range(3):
        payload = written(writer, some_datum(chance, writer))
        theirs = flat(fastavro.schemaless_reader(io.BytesIO(payload), writer, reader))
        try:
            ours = decode(payload)
        except DecodeError as error:
            assert error.reason == "no_fields" and not theirs  # noqa: PT017, PT018  # raising is right then
            continue
        assert ours == theirs
        for end in range(len(payload)):
            with pytest.raises(DecodeError):
                decode(payload[:end])


def test_values_that_are_dropped_count_like_those_that_are_kept() -> None:
    pair = {"type": "record", "name": "P", "fields": [field("x", "int"), field("y", "int")]}
    writer = record(field("v", "int"), field("pairs", {"type": "array", "items": pair}))
    decode = decoder(writer, record(field("v", "int")), Limits(field_count_max=9))
    assert decode(written(writer, {"v": 1, "pairs": [{"x": 1, "y": 2}] * 4})) == {"v": 1}
    with pytest.raises(DecodeError) as caught:
        decode(written(writer, {"v": 1, "pairs": [{"x": 1, "y": 2}] * 5}))
    assert caught.value.reason == "too_many_fields"
