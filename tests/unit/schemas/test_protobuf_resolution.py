"""Which changes of a Protobuf schema are compatible, held against what Google's protobuf reads of what it wrote."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gateway.decode import protobuf
from gateway.decode.contract import Limits
from gateway.errors import ConfigError, DecodeError
from gateway.schemas.compatibility import compatibility, schema_of
from gateway.schemas.protobuf_resolution import unreadable, unreadable_on_wire
from gateway.schemas.protobuf_types import types_of
from tests.support.protobuf_classes import descriptor_set, is_read_as_written, message_class

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED") or random.randrange(1 << 32))
print(f"GATEWAY_SEED={SEED}")  # noqa: T201  # to run it again

REST = """
enum E { ZERO = 0; ONE = 1; TWO = 2; }
enum Fewer { F_ZERO = 0; F_ONE = 1; }
enum Below { B_ZERO = 0; B_MINUS = -1; }
message M { int32 x = 1; optional string y = 2; }
message N { string x = 1; }
message K { string key = 1; int32 value = 2; }
"""
PROTO2 = REST.replace("int32 x", "optional int32 x").replace("string x", "optional string x")
PROTO2 = PROTO2.replace("string key", "optional string key").replace("int32 value", "optional int32 value")


def text(body: str, syntax: str = "proto3") -> str:
    """Return a schema with the message R, which has `body`."""
    return f'syntax = "{syntax}"; package p; message R {{ {body} }} {REST if syntax == "proto3" else PROTO2}'


def of(body: str, syntax: str = "") -> bytes:
    """Return the descriptor set of such a schema; one that begins with 2: is in proto2."""
    if body.startswith("2:"):
        return descriptor_set(text(body[2:], "proto2"))
    return descriptor_set(text(body, syntax or "proto3"))


READABLE = [
    ("int32 a = 1;", "int64 a = 1;", {"a": -5}),
    ("uint32 a = 1;", "int64 a = 1;", {"a": 2**32 - 1}),
    ("uint32 a = 1;", "uint64 a = 1;", {"a": 2**32 - 1}),
    ("bool a = 1;", "int32 a = 1;", {"a": True}),
    ("sint32 a = 1;", "sint64 a = 1;", {"a": -5}),
    ("string a = 1;", "bytes a = 1;", {"a": "\u00e9"}),
    ("M a = 1;", "bytes a = 1;", {"a": {"x": 7}}),
    ("E a = 1;", "int32 a = 1;", {"a": 2}),
    ("E a = 1;", "uint64 a = 1;", {"a": 2}),
    ("Fewer a = 1;", "bool a = 1;", {"a": 1}),
    ("int32 a = 1;", "E a = 1;", {"a": 99}),
    ("bool a = 1;", "2: optional E a = 1;", {"a": True}),
    ("int32 a = 1;", "repeated int32 a = 1;", {"a": 5}),
    ("repeated int32 a = 1;", "repeated int32 a = 1 [packed = false];", {"a": [1, 2]}),
    ("map<string, int32> a = 1;", "repeated K a = 1;", {"a": {"k": 1, "l": 2}}),
    ("optional int32 a = 1;", "int32 a = 1;", {"a": 0}),
    ("int32 a = 1;", "optional int32 a = 1;", {"a": 0}),
    ("int32 a = 1;", "int32 b = 1;", {"a": 3}),
    ("oneof o { int32 a = 1; int32 b = 2; }", "optional int32 a = 1; optional int32 b = 2;", {"a": 3}),
    ("optional int32 a = 1;", "oneof o { int32 a = 1; int32 b = 2; }", {"a": 3}),
    ("2: required int32 a = 1;", "int32 a = 1;", {"a": 3}),
    ("2: optional int32 a = 1 [default = 5];", "2: optional int64 a = 1 [default = 5];", {}),
    ("2: optional group G = 1 { optional int32 x = 1; }", "2: optional group H = 1 { optional int64 x = 1; }", {}),
    ("2: extensions 1 to 9; extend R { optional int32 e = 1; }", "2: optional int32 e = 1;", {}),
    ("repeated M a = 1;", "repeated M a = 1;", {"a": [{"x": 1}, {"y": ""}]}),
]
"""(written, read, a message): readable by the wire."""

UNREADABLE = [
    ("int64 a = 1;", "int32 a = 1;", {"a": 2**40}, "/p.R/a", "cannot hold"),
    ("int32 a = 1;", "uint64 a = 1;", {"a": -1}, "/p.R/a", "cannot hold -2147483648"),
    ("uint32 a = 1;", "int32 a = 1;", {"a": 2**31}, "/p.R/a", "cannot hold 4294967295"),
    ("uint64 a = 1;", "int64 a = 1;", {"a": 2**63}, "/p.R/a", "cannot hold"),
    ("int32 a = 1;", "bool a = 1;", {"a": 2}, "/p.R/a", "read as true"),
    ("int32 a = 1;", "sint32 a = 1;", {"a": 1}, "/p.R/a", "something else"),
    ("sint64 a = 1;", "sint32 a = 1;", {"a": 2**40}, "/p.R/a", "cannot hold"),
    ("fixed32 a = 1;", "sfixed32 a = 1;", {"a": 2**31}, "/p.R/a", "cannot hold"),
    ("sfixed64 a = 1;", "fixed64 a = 1;", {"a": -1}, "/p.R/a", "cannot hold"),
    ("float a = 1;", "fixed32 a = 1;", {"a": 1.5}, "/p.R/a", "something else"),
    ("double a = 1;", "int64 a = 1;", {"a": 1.5}, "/p.R/a", "wire type"),
    ("double a = 1;", "float a = 1;", {"a": 1.5}, "/p.R/a", "wire type"),
    ("int32 a = 1;", "string a = 1;", {"a": 1}, "/p.R/a", "wire type"),
    ("bytes a = 1;", "string a = 1;", {"a": b"\xff"}, "/p.R/a", "UTF-8"),
    ("bytes a = 1;", "M a = 1;", {"a": b"\xff"}, "/p.R/a", "no such message"),
    ("string a = 1;", "M a = 1;", {"a": "\x08\x07"}, "/p.R/a", "something else"),
    ("M a = 1;", "string a = 1;", {"a": {"x": 200}}, "/p.R/a", "something else"),
    ("M a = 1;", "N a = 1;", {"a": {"x": 7}}, "/p.N/x", "wire type"),
    ("int32 a = 1;", "2: optional E a = 1;", {"a": 99}, "/p.R/a", "closed enum"),
    ("int64 a = 1;", "E a = 1;", {"a": 2**40}, "/p.R/a", "cannot hold"),
    ("E a = 1;", "bool a = 1;", {"a": 2}, "/p.R/a", "read as true"),
    ("Below a = 1;", "uint32 a = 1;", {"a": -1}, "/p.R/a", "cannot hold -1"),
    ("E a = 1;", "2: optional Fewer a = 1;", {"a": 2}, "/p.Fewer", "TWO = 2"),
    ("repeated string a = 1;", "string a = 1;", {"a": ["x", "y"]}, "/p.R/a", "several values"),
    ("repeated K a = 1;", "map<string, int32> a = 1;", {"a": [{"key": "k"}] * 2}, "/p.R/a", "one key"),
    ("map<int32, int32> a = 1;", "map<string, int32> a = 1;", {"a": {1: 1}}, "/p.R.AEntry/key", "wire type"),
    ("int32 a = 1; int32 b = 2;", "oneof o { int32 a = 1; int32 b = 2; }", {"a": 1, "b": 2}, "/p.R/o", "a, b"),
    ("optional int32 a = 1;", "2: required int32 a = 1;", {}, "/p.R/a", "required"),
    ("", "2: required int32 a = 1;", {}, "/p.R/a", "is not written"),
    ("2: optional int32 a = 1 [default = 5];", "int32 a = 1;", {}, "/p.R/a", "left out it means 5"),
    ("2: optional E a = 1 [default = ONE];", "2: optional E a = 1;", {}, "/p.R/a", "left out"),
    ("2: optional group G = 1 { optional int32 x = 1; }", "M g = 1;", {"g": {"x": 1}}, "/p.R/g", "wire type"),
]
"""(written, read, a message that is not read as it was written, path and reason of the finding)."""

ROWS = [
    ("int32 a = 1;", "int32 b = 1;", "/p.R/b", "number 1 is written as a"),
    ("int32 a = 1;", "reserved 1; int32 a = 2;", "/p.R/a", "as number 1, and read as number 2"),
    ("optional int32 a = 1;", "int32 a = 1;", "/p.R/a", "left out, and is read as 0"),
    ("int32 a = 1;", "optional int32 a = 1;", "/p.R/a", "0 is not sent"),
    ("string a = 1;", "optional string a = 1;", "/p.R/a", "empty is not sent"),
    ("int32 a = 1;", "repeated int32 a = 1;", "/p.R/a", "one value is written, and a list is read"),
    ("map<string, int32> a = 1;", "repeated K a = 1;", "/p.R/a", "a map is written, and a list"),
    ("E a = 1;", "int32 a = 1;", "/p.R/a", "as the name of a value, and a row has a number"),
    ("Fewer a = 1;", "E a = 1;", "/p.R/a", "F_ZERO = 0 may be written, and is read as ZERO"),
    ("string a = 1;", "bytes a = 1;", "/p.R/a", "as text, and a row has bytes"),
    ("M a = 1;", "bytes a = 1;", "/p.R/a", "as a message, and a row has bytes"),
]
"""What is readable by the wire, and another row."""


@pytest.mark.parametrize(("writer", "reader", "values"), READABLE, ids=str)
def test_what_is_read_as_it_was_written_is_compatible_by_the_wire(writer, reader, values) -> None:
    one, other = of(writer), of(reader)
    assert unreadable_on_wire(types_of(one), types_of(other)) == ()
    assert is_read_as_written(message_class(one, "p.R")(**values), message_class(other, "p.R"))


@pytest.mark.parametrize(("writer", "reader", "values", "path", "reason"), UNREADABLE, ids=str)
def test_what_is_read_as_something_else_is_said_with_its_path(writer, reader, values, path, reason) -> None:
    one, other = of(writer), of(reader)
    found = unreadable_on_wire(types_of(one), types_of(other))
    assert [each.path for each in found if reason in each.reason] == [path], found
    assert not is_read_as_written(message_class(one, "p.R")(**values), message_class(other, "p.R"))


@pytest.mark.parametrize(("writer", "reader", "path", "reason"), ROWS, ids=str)
def test_what_makes_another_row_is_said_unless_the_wire_alone_is_asked_for(writer, reader, path, reason) -> None:
    one, other = types_of(of(writer)), types_of(of(reader))
    assert unreadable_on_wire(one, other) == ()
    found = unreadable(one, other)
    assert [each.path for each in found if reason in each.reason] == [path], found


HISTORY = [
    ("int32 a = 1; int32 b = 2;", "int32 a = 1; reserved 2;", []),
    ("int32 a = 1; int32 b = 2;", "int32 a = 1; reserved 2 to max;", []),
    ("int32 a = 1; int32 b = 2;", "int32 a = 1;", [("/p.R", "b = 2 is gone")]),
    ("int32 a = 1;", "int32 a = 1; int32 b = 2;", []),
    ("reserved 4 to 9;", "reserved 4 to 6, 7, 8 to 9;", []),
    ("reserved 4 to 9;", "reserved 4, 9;", [("/p.R", "numbers 5 to 8 were reserved")]),
    ("reserved 4;", "", [("/p.R", "number 4 was reserved")]),
    ("reserved 4;", "int32 c = 4;", [("/p.R/c", "used again")]),
    ("enum X { A = 0; B = 1; } X x = 1;", "enum X { A = 0; } X x = 1;", [("/p.R.X", "B = 1 is gone")]),
    ("enum X { A = 0; B = 1; } X x = 1;", "enum X { A = 0; reserved 1; } X x = 1;", []),
    ("enum X { A = 0; reserved 1; } X x = 1;", "enum X { A = 0; C = 1; } X x = 1;", [("/p.R.X/C", "used again")]),
]


@pytest.mark.parametrize(("old", "new", "expected"), HISTORY, ids=str)
def test_a_number_that_is_given_up_must_stay_reserved_which_is_asked_backward_only(old, new, expected) -> None:
    found = compatibility(schema_of(of(old), "protobuf"), schema_of(of(new), "protobuf"), "protobuf-wire")
    assert [each.path for each in found.backward] == [path for path, _ in expected]
    assert all(reason in each.reason for each, (_, reason) in zip(found.backward, expected, strict=True))
    assert found.forward == ()


def test_messages_that_nobody_holds_are_compared_and_those_that_are_held_where_they_are() -> None:
    both = {name: types_of(descriptor_set(f'syntax = "proto3"; package p; {rest}')) for name, rest in {
        "old": "message R { int32 a = 1; }",
        "new": "message R { int32 a = 1; S s = 2; } message S { R again = 1; } message Other { int32 a = 1; }",
    }.items()}  # fmt: skip
    assert both["old"].roots == ("p.R",)
    assert both["new"].roots == ("p.Other", "p.R")
    assert unreadable(both["old"], both["new"]) == ()
    assert [each.path for each in unreadable(both["new"], both["old"])] == ["/p.Other"]


def test_one_message_is_compared_alone_when_it_is_named() -> None:
    old, new = of("N n = 1; int32 a = 2;"), of("N n = 1; string a = 2;")
    assert unreadable(types_of(old, "p.N"), types_of(new, "p.N")) == ()
    assert unreadable(types_of(old, "p.R"), types_of(new, "p.R")) != ()
    with pytest.raises(ConfigError, match=r"no message 'p.X', it has p.K, p.M, p.N, p.R"):
        types_of(old, "p.X")


def test_a_time_of_google_and_a_message_like_it_are_the_same_on_the_wire_only() -> None:
    imported = 'syntax = "proto3"; import "google/protobuf/timestamp.proto"; message R {'
    old = types_of(descriptor_set(f"{imported} google.protobuf.Timestamp t = 1; }}"), "R")
    new = types_of(
        descriptor_set('syntax = "proto3"; message R { T t = 1; } message T { int64 seconds = 1; int32 nanos = 2; }'),
        "R",
    )
    assert unreadable_on_wire(old, new) == unreadable_on_wire(new, old) == ()
    assert [each.path for each in unreadable(old, new)] == ["/R/t"]


def test_a_message_set_is_no_message_with_the_same_extensions() -> None:
    body = "extensions 4 to max;"
    one, other = (
        types_of(of(f"2:{option} {body}"), "p.R") for option in ("option message_set_wire_format = true;", "")
    )
    assert unreadable_on_wire(one, one) == ()
    assert [each.path for each in unreadable_on_wire(one, other)] == ["/p.R"]


def test_messages_that_lead_into_each_other_without_end_are_compared_once_each() -> None:
    chain = "".join(f"message M{n} {{ M{(n + 1) % 400} next = 1; M{n} self = 2; }}" for n in range(400))
    types = types_of(descriptor_set(f'syntax = "proto3"; {chain}'))
    assert types.roots == ("M0",)
    assert unreadable(types, types) == ()


def test_no_more_findings_are_told_than_anybody_reads() -> None:
    fields = [" ".join(f"{kind} f{n} = {n};" for n in range(1, 500)) for kind in ("string", "int32")]
    assert len(unreadable(types_of(of(fields[0])), types_of(of(fields[1])))) == 100


KINDS = (
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
    "sfixed64", "bool", "string", "bytes", "E", "Fewer", "M", "N",
)  # fmt: skip
NEAR = {
    "int32": ("int64", "uint32", "bool", "E"), "bool": ("int32", "uint64", "E"), "uint32": ("uint64", "int64"),
    "E": ("int32", "Fewer", "uint32"), "Fewer": ("E", "bool"), "string": ("bytes",), "bytes": ("string",),
    "M": ("N", "bytes"), "sint32": ("sint64",), "fixed32": ("sfixed32",), "fixed64": ("sfixed64",),
}  # fmt: skip
LABELS = {"proto3": ("", "optional ", "repeated "), "proto2": ("optional ", "required ", "repeated ")}


def some_schema(chance: random.Random) -> tuple[str, list[list[Any]]]:
    """Return a syntax, and fields as [number, name, kind, label, is in the oneof]."""
    syntax = chance.choice(("proto3", "proto3", "proto2"))
    fields = [
        [number, f"f{number}", chance.choice(KINDS), chance.choice(LABELS[syntax]), chance.random() < 0.3]
        for number in range(1, chance.randrange(2, 6))
    ]
    return syntax, fields


def changed(chance: random.Random, syntax: str, fields: list[list[Any]]) -> tuple[str, list[list[Any]]]:
    """Return a schema that a reader may have instead."""
    new = chance.choice((syntax, syntax, syntax, "proto2", "proto3"))
    found = []
    for number, name, kind, label, is_in in fields:
        if chance.random() < 0.1:
            continue
        kind = chance.choice((kind, kind, *NEAR.get(kind, (kind,))))  # noqa: PLW2901  # what is changed
        label = label if new == syntax and chance.random() < 0.8 else chance.choice(LABELS[new])  # noqa: PLW2901
        found.append(
            [number, name if chance.random() < 0.9 else f"{name}x", kind, label, is_in ^ (chance.random() < 0.1)]
        )
    return new, [*found, *([[9, "f9", "int32", "optional ", False]] if chance.random() < 0.3 else [])]


def schema_text(syntax: str, fields: list[list[Any]]) -> str:
    single = [f"{kind} {name} = {number};" for number, name, kind, _, is_in in fields if is_in]
    others = [f"{label}{kind} {name} = {number};" for number, name, kind, label, is_in in fields if not is_in]
    return text(" ".join([*others, *(["oneof o {", *single, "}"] if single else [])]), syntax)


VALUES: dict[str, tuple[Any, ...]] = {
    "int32": (0, 1, -1, -(2**31), 2**31 - 1), "int64": (0, -1, -(2**63), 2**63 - 1), "uint32": (0, 1, 2**32 - 1),
    "uint64": (0, 1, 2**64 - 1), "float": (0.0, 1.5, -0.25), "bool": (False, True), "string": ("", "\u00e9"),
    "bytes": (b"", b"\xff", b"\x08\x07"), "E": (0, 1, 2), "Fewer": (0, 1), "M": ({}, {"x": 7}, {"y": "a"}),
    "N": ({}, {"x": "a"}),
}  # fmt: skip
SAME = {"double": "float", "sint32": "int32", "sfixed32": "int32", "fixed32": "uint32", "fixed64": "uint64"}


def some_message(chance: random.Random, cls: Any, fields: list[list[Any]]) -> Any:
    message: dict[str, Any] = {}
    is_chosen = False
    for _, name, kind, label, is_in in fields:
        values = VALUES[kind] if kind in VALUES else VALUES[SAME.get(kind, "int64")]
        if is_in:
            if not is_chosen and chance.random() < 0.7:
                message[name], is_chosen = chance.choice(values), True
        elif label == "repeated ":
            message[name] = [chance.choice(values) for _ in range(chance.randrange(4))]
        elif label == "required " or chance.random() < 0.7:
            message[name] = chance.choice(values)
    return cls(**message)


@seed(SEED)
@settings(max_examples=10_000 if IS_LONG else 150, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_a_message_is_read_as_it_was_written_when_nothing_is_found(chance) -> None:
    old = some_schema(chance)
    new = changed(chance, *old)
    one, other = (descriptor_set(schema_text(*each)) for each in (old, new))
    writer, reader = types_of(one), types_of(other)
    for _ in range(5):
        written = some_message(chance, message_class(one, "p.R"), old[1])
        if not is_read_as_written(written, message_class(other, "p.R")):
            assert unreadable_on_wire(writer, reader), (schema_text(*old), schema_text(*new), written)
        if not unreadable(writer, reader):
            check_rows(written.SerializeToString(), one, other)


def check_rows(payload: bytes, one: bytes, other: bytes) -> None:
    """Compare the rows of both schemas in all that both know."""
    try:
        rows = [protobuf.decoder(Limits(), each, "p.R")(payload) for each in (one, other)]
    except DecodeError as error:
        assert error.reason in {"no_fields", "integer_too_large"}  # noqa: PT017  # raising is allowed, not required
        return
    names = [{field.name for field in message_class(each, "p.R").DESCRIPTOR.fields} for each in (one, other)]
    both = names[0] & names[1]
    first, second = ({name: v for name, v in row.items() if name.partition(".")[0] in both} for row in rows)
    assert first == second


@seed(SEED)
@settings(max_examples=2_000 if IS_LONG else 60, deadline=None)
@given(st.integers(0, 2**63).map(random.Random))
def test_every_schema_is_fully_compatible_with_itself(chance) -> None:
    types = types_of(descriptor_set(schema_text(*some_schema(chance))))
    assert compatibility(types, types, "protobuf").verdict == "full"
