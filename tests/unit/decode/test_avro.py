"""Avro data is read by its schema as another reader reads it, more strictly, and costs no more than it may."""

from __future__ import annotations

import io
import itertools
import json
import struct
import sys
import time
import tracemalloc
from decimal import Decimal

import fastavro
import pytest
from fastavro import schema as fastavro_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import avro
from gateway.decode.contract import Limits
from gateway.errors import ConfigError, DecodeError
from tests.support import catalogue

FOLDER = catalogue.ROOT / "avro"
CLIMATE, KINDS, LOGICAL = ((FOLDER / f"{name}.avsc").read_bytes() for name in ("climate", "kinds", "logical"))
WIDE = Limits(field_count_max=10_000, depth_max=64)


def of(*types) -> bytes:
    """Return the text of a schema of a record with fields a, b, …"""
    fields = [{"name": name, "type": type_} for name, type_ in zip("abcdef", types, strict=False)]
    return json.dumps({"type": "record", "name": "r", "fields": fields}).encode()


def written(schema, datum) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(json.loads(schema)), datum)
    return file.getvalue()


def varint(number) -> bytes:
    number = number << 1 ^ number >> 63
    content = b""
    while number > 0x7F:
        content += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return content + bytes((number,))


def reason_of(decode, payload) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert len(caught.value.fault) < 300
    return caught.value.reason


@pytest.mark.parametrize("example", catalogue.examples("avro"), ids=str)
def test_each_avro_message_of_the_catalogue_decodes_to_what_is_written_beside_it(example) -> None:
    options = {name: value for name, value in example.options.items() if name != "schema"}
    decode = avro.decoder(Limits(), example.file("schema"), **options)
    if example.records is None:
        assert reason_of(decode, example.payload) == example.refused
    else:
        assert catalogue.typed([("", None, decode(example.payload))]) == catalogue.typed(example.records)


def test_the_examples_on_the_page_of_avro_are_messages_of_the_catalogue() -> None:
    page = " ".join((catalogue.ROOT.parents[2] / "docs" / "decoders" / "avro.md").read_text("utf-8").split())
    assert " ".join(CLIMATE.decode().split()) in page
    for name in ("reading", "single-object"):
        assert f"{name}.payload" in page
        assert catalogue.example("avro", name).payload.hex(" ") in page


def flat(document, prefix="") -> dict:
    items = enumerate(document) if isinstance(document, list) else document.items()
    row = {}
    for key, value in items:
        if isinstance(value, dict | list):
            row |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            row[f"{prefix}{key}"] = value
    return row


def exact(row) -> list:
    return [(name, type(v), struct.pack("<d", v) if isinstance(v, float) else v) for name, v in row.items()]


NUMBER = itertools.count()


def named(kind, **rest) -> dict:
    return {"type": kind, "name": f"n{next(NUMBER)}", **rest}


LEAVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"]) | st.builds(
    lambda size: named("fixed", size=size), st.integers(0, 3)
) | st.builds(lambda count: named("enum", symbols=["A", "B", "C"][:count]), st.integers(1, 3))  # fmt: skip


def union_of(branches) -> list:
    kinds = [each if isinstance(each, str) else each["type"] for each in branches]
    return [each for index, each in enumerate(branches) if kinds[index] not in kinds[:index]]


TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda values: {"type": "map", "values": values}, inner),
        st.builds(
            lambda types: named("record", fields=[{"name": f"f{i}", "type": t} for i, t in enumerate(types)]),
            st.lists(inner, max_size=3),
        ),
        st.lists(inner.filter(lambda each: not isinstance(each, list)), min_size=1, max_size=3).map(union_of),
    ),
    max_leaves=5,
)
SCALARS = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=3),
    "string": st.text(max_size=3),
}


def bodies(type_):  # noqa: PLR0911  # one for each kind of type
    """Return a strategy of (bytes, datum) of a type, written by hand after the specification."""
    if isinstance(type_, list):
        return st.integers(0, len(type_) - 1).flatmap(
            lambda index: bodies(type_[index]).map(lambda body: (varint(index) + body[0], body[1]))
        )
    if isinstance(type_, str):
        return SCALARS[type_].map(lambda value: (scalar(type_, value), value))
    match type_["type"]:
        case "fixed":
            return st.binary(min_size=type_["size"], max_size=type_["size"]).map(lambda value: (value, value))
        case "enum":
            symbols = type_["symbols"]
            return st.integers(0, len(symbols) - 1).map(lambda index: (varint(index), symbols[index]))
        case "array":
            return st.lists(st.tuples(bodies(type_["items"]), st.booleans()), max_size=3).map(
                lambda items: (
                    blocks([(body, sized) for (body, _), sized in items]),
                    [value for (_, value), _ in items],
                )
            )
        case "map":
            entry = st.tuples(bodies(type_["values"]), st.booleans())
            return st.dictionaries(st.text(max_size=2), entry, max_size=3).map(
                lambda entries: (
                    blocks([(scalar("string", key) + body, sized) for key, ((body, _), sized) in entries.items()]),
                    {key: value for key, ((_, value), _) in entries.items()},
                )
            )
    inner = st.tuples(*(bodies(field["type"]) for field in type_["fields"]))
    names = [field["name"] for field in type_["fields"]]
    return inner.map(
        lambda found: (b"".join(body for body, _ in found), dict(zip(names, (v for _, v in found), strict=True)))
    )


def scalar(kind, value) -> bytes:
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes((value,))
        case "int" | "long":
            return varint(value)
        case "float" | "double":
            return struct.pack("<f" if kind == "float" else "<d", value)
    content = value.encode() if kind == "string" else value
    return varint(len(content)) + content


def blocks(items) -> bytes:
    """Write each item as a block of its own, some with their size in bytes."""
    return b"".join((varint(-1) + varint(len(body)) if sized else varint(1)) + body for body, sized in items) + b"\0"


@settings(max_examples=300, deadline=None)
@given(st.lists(TYPES, min_size=1, max_size=3), st.data())
def test_any_datum_of_any_schema_is_read_back_and_as_by_the_other_reader(types, chance) -> None:
    schema = of(*types)
    pairs = [chance.draw(bodies(type_)) for type_ in types]
    payload = b"".join(body for body, _ in pairs)
    datum = dict(zip("abcdef", (value for _, value in pairs), strict=False))
    assert fastavro.schemaless_reader(io.BytesIO(payload), json.loads(schema), None) == datum
    row = flat(datum)
    decode = avro.decoder(WIDE, schema)
    if row:
        assert exact(decode(payload)) == exact(row)
    else:
        assert reason_of(decode, payload) == "no_fields"


def check_against_the_other(schema, payload) -> None:
    """Whatever is read here is read the same by the other reader, to the last byte."""
    try:
        row = avro.decoder(WIDE, schema)(payload)
    except DecodeError as error:
        assert error.reason.isidentifier()  # noqa: PT017  # raising is allowed, not required
        return
    file = io.BytesIO(payload)
    assert exact(flat(fastavro.schemaless_reader(file, json.loads(schema), None))) == exact(row)
    assert file.tell() == len(payload)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40), TYPES)
def test_any_bytes_are_decided_as_avro(payload, type_) -> None:
    check_against_the_other(of(type_, "int"), payload)
    check_against_the_other(KINDS, payload)


@pytest.mark.parametrize("example", catalogue.examples("avro"), ids=str)
def test_an_avro_message_cut_anywhere_is_refused(example) -> None:
    if example.records is None:
        return
    options = {name: value for name, value in example.options.items() if name != "schema"}
    decode = avro.decoder(Limits(), example.file("schema"), **options)
    for end in range(len(example.payload)):
        assert reason_of(decode, example.payload[:end]) in {"malformed_avro", "empty"}


@pytest.mark.parametrize(
    ("schema", "payload", "reason"),
    [
        (of(["int", "null"], "int"), b"\x01\x02", "malformed_avro"),
        (of(["null", "int"]), b"\x04\x02", "malformed_avro"),
        (of({"type": "enum", "name": "e", "symbols": ["A"]}), b"\x01", "malformed_avro"),
        (of({"type": "enum", "name": "e", "symbols": ["A"]}), b"\x02", "malformed_avro"),
        (of("boolean"), b"\x02", "malformed_avro"),
        (of("int"), varint(2**31), "malformed_avro"),
        (of("int"), varint(-(2**31) - 1), "malformed_avro"),
        (of("long"), b"\xff" * 10 + b"\x01", "malformed_avro"),
        (of("long"), b"\xff" * 9 + b"\x02", "malformed_avro"),
        (of("bytes"), b"\x01", "malformed_avro"),
        (of("string"), b"\x02\xff", "not_utf8"),
        (of("double"), struct.pack("<d", float("inf")), "not_finite"),
        (of({"type": "array", "items": "int"}), b"\x01\x01\x02\x00", "malformed_avro"),
        (of({"type": "map", "values": "int"}), b"\x02\x02a\x02\x02\x02a\x02\x00", "duplicate_key"),
        (of("null"), b"", "no_fields"),
        (of("int"), b"", "malformed_avro"),
        (of("int"), b"\x02\x02", "malformed_avro"),
        (
            of({"type": "map", "values": "int"}),
            b"\x02" + scalar("string", "n" * 255) + b"\x02\x00",
            "field_name_too_long",
        ),
        (json.dumps(["null", {"type": "map", "values": "int"}]).encode(), b"\x00", "not_an_object"),
        (of({"type": "long", "logicalType": "timestamp-millis"}), varint(2**60), "time_invalid"),
        (
            of({"type": "bytes", "logicalType": "decimal", "precision": 9}),
            varint(300) + b"\x7f" * 300,
            "number_too_large",
        ),
        (
            of({"type": "bytes", "logicalType": "decimal", "precision": 9}),
            varint(200) + b"\x7f" * 200,
            "number_too_large",
        ),
    ],
)
def test_what_no_writer_of_the_schema_can_have_meant_is_refused(schema, payload, reason) -> None:
    assert reason_of(avro.decoder(Limits(), schema), payload) == reason


NULLS = of({"type": "array", "items": "null"})
SELF = json.dumps(
    {"type": "record", "name": "r", "fields": [{"name": "x", "type": "null"}, {"name": "next", "type": ["null", "r"]}]}
).encode()
ENDLESS = json.dumps({"type": "record", "name": "r", "fields": [{"name": "next", "type": "r"}]}).encode()
WIDE_ROWS = json.dumps(
    {
        "type": "array",
        "items": {"type": "record", "name": "w", "fields": [{"name": f"f{n}", "type": "null"} for n in range(1000)]},
    }
)


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        (NULLS, varint(2**62) + b"\0"),
        (NULLS, varint(-(2**62)) + b"\0\0"),
        (NULLS, varint(-(2**63)) + b"\0\0"),
        (NULLS, varint(200) * 9 + b"\0"),
        (of({"type": "array", "items": {"type": "array", "items": "null"}}), varint(200) + (varint(200) + b"\0") * 5),
        (of({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}), varint(2**40) + b"\0"),
        (of({"type": "array", "items": {"type": "fixed", "name": "z", "size": 0}}), varint(2**40) + b"\0"),
        (of({"type": "array", "items": ["null"]}), varint(2**40) + b"\0" * 12),
        (of({"type": "array", "items": "long"}), varint(2**40) + b"\0" * 12),
        (of({"type": "map", "values": "null"}), varint(2**40) + b"\0" * 12),
        (of(json.loads(WIDE_ROWS)), varint(250) + b"\0"),
        (of("string"), varint(2**62) + b"abc"),
        (of("bytes"), varint(-(2**62)) + b"abc"),
        (SELF, b"\x02" * 20),
        (ENDLESS, b""),
        (of({"type": "fixed", "name": "f", "size": 2**60}), b"abc"),
    ],
)
def test_twenty_bytes_that_claim_much_cost_nothing(schema, payload) -> None:
    assert len(payload) <= 20
    decode = avro.decoder(Limits(), schema)
    tracemalloc.start()
    assert reason_of(decode, payload) in {"too_many_fields", "too_deep", "malformed_avro"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024
    assert steps_of(decode, payload) < 1_500


def steps_of(decode, payload) -> int:
    """Return how many functions are called, in Python and in C, while a payload is refused."""
    steps = 0

    def count(_frame, event, _argument):
        nonlocal steps
        steps += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        decode(payload)
    except DecodeError:
        pass
    finally:
        sys.setprofile(None)
    return steps


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        (NULLS, varint(1) * 400_000),
        (of({"type": "array", "items": "int"}), varint(200_000) + b"\0" * 400_000),
        (of({"type": "array", "items": {"type": "map", "values": "int"}}), varint(2_000) + b"\0" * 400_000),
        (SELF, b"\x02" * 400_000),
        (of("long"), b"\xff" * 400_000),
        (of({"type": "array", "items": ["null", "int"]}), varint(2_000) + b"\0" * 400_000),
    ],
)
def test_a_hostile_avro_payload_costs_little(schema, payload) -> None:
    decode = avro.decoder(Limits(), schema)
    tracemalloc.start()
    started = time.perf_counter()
    assert reason_of(decode, payload) in {"too_many_fields", "too_deep", "malformed_avro"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - started < 4.0
    assert peak < 2**20


def test_as_many_fields_as_a_row_may_have_are_taken_whatever_holds_them() -> None:
    rows = {"type": "array", "items": {"type": "map", "values": ["null", "int", {"type": "array", "items": "int"}]}}
    decode = avro.decoder(Limits(field_count_max=200), of(rows))
    datum = {"a": [{"x": n, "y": [n]} for n in range(100)]}
    assert len(decode(written(of(rows), datum))) == 200
    assert reason_of(decode, written(of(rows), {"a": [*datum["a"], {"z": 1}]})) == "too_many_fields"


def test_what_lies_beside_does_not_count_as_depth() -> None:
    record = {"type": "record", "name": "e", "fields": [{"name": "x", "type": {"type": "map", "values": "int"}}]}
    schema = of({"type": "array", "items": record}, {"type": "array", "items": "e"}, "e")
    datum = {"a": [{"x": {"y": 1}}] * 9, "b": [{"x": {}}], "c": {"x": {"z": 2}}}
    assert avro.decoder(Limits(depth_max=4), schema)(written(schema, datum)) == flat(datum)


def test_data_is_nested_as_deep_as_allowed_and_only_wanted_fields_are_taken() -> None:
    decode = avro.decoder(Limits(depth_max=3, fields=("next.next.x", "x")), SELF.replace(b'"null"}', b'"int"}', 1))
    assert list(decode(b"\x02\x02\x04\x02\x06\x00").items()) == [("next.next.x", 3), ("x", 1)]
    assert reason_of(decode, b"\x02\x02\x04\x02\x06\x02\x08\x00") == "too_deep"


@settings(max_examples=200, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**20), max_value=10**20))
def test_a_decimal_is_the_nearest_float(value) -> None:
    schema = of({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 5})
    assert avro.decoder(Limits(), schema)(written(schema, {"a": value})) == {"a": float(Decimal(value))}


def test_a_fingerprint_is_computed_as_the_specification_says() -> None:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ 0xC15D213AA4D7A795 & -(value & 1)
        table.append(value)
    canonical = '{"name":"r","type":"record","fields":[{"name":"a","type":"int"}]}'
    assert fastavro_schema.to_parsing_canonical_form(json.loads(of("int"))) == canonical
    fingerprint = 0xC15D213AA4D7A795
    for byte in canonical.encode():
        fingerprint = fingerprint >> 8 ^ table[(fingerprint ^ byte) & 0xFF]
    header = b"\xc3\x01" + fingerprint.to_bytes(8, "little")
    decode = avro.decoder(Limits(), of("int"), "single-object")
    assert decode(header + b"\x02") == {"a": 1}
    assert reason_of(decode, header[:9] + b"\x00\x02") == "schema_unknown"
    assert reason_of(decode, b"") == "empty"
    for end in range(1, len(header)):
        assert reason_of(decode, header[:end]) == "malformed_avro"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (b"{", "not JSON"),
        (b'"int"', "no record or map"),
        (b'{"type": "array", "items": "int"}', "no record or map"),
        (b'["null", "int"]', "no record or map"),
        (of("other"), "no Avro schema"),
        (b"5", "no Avro schema"),
        (b"null", "no Avro schema"),
        (b'{"type": "record"}', "no Avro schema"),
        (b'{"type": "map"}', "no Avro schema"),
        (b'{"type": "record", "name": "r", "fields": 5}', "no Avro schema"),
        (b'{"type": {"type": "map", "values": "int"}}', "no Avro schema"),
        (of({"type": "fixed", "name": "f", "size": -1}), "no size"),
        (of({"type": "fixed", "name": "f", "size": "x"}), "no size"),
        (b'{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}', "of one name"),
        (of({"type": "bytes", "logicalType": "decimal", "precision": 900, "scale": 301}), "scale"),
        (b" " * 300_000, "are allowed"),
    ],
)
def test_an_avro_schema_that_cannot_be_used_is_a_fault_of_the_configuration(schema, says) -> None:
    with pytest.raises(ConfigError, match=says):
        avro.decoder(Limits(), schema)


def test_without_the_package_the_configuration_says_to_install_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(ConfigError) as caught:
        avro.decoder(Limits(), CLIMATE)
    assert caught.value.hint == "pip install 'edge-gateway[avro]'"
