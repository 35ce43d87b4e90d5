"""The text of a `.proto` file is read as protoc reads it, and what is none is refused with its line."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.schemas.protobuf_text import descriptor_set_of
from gateway.schemas.protobuf_types import types_of
from tests.support import catalogue

FOLDER = catalogue.ROOT / "protobuf"

WHOLE = rb"""
// comments, of both kinds
syntax = "proto2"; /* and what nobody
needs */ package a.b;
import public "other.proto";
import weak "google/protobuf/duration.proto";
option java_package = "x"; option (own).inner = { a: 1 b { c: "}" } };
service S { rpc Get (R) returns (R) { option (http) = { get: "/v1" }; } }
extend R { optional string seen = 100 [deprecated = true]; }
message R {
  option (own) = 1; option message_set_wire_format = false;
  required int32 a = 0x1 [default = -017, (own).b = "x", deprecated = true];
  optional string b = 2 [default = "it\x27s" ' \303\251\n'];
  optional bytes c = 3 [default = "\377\\a\"", json_name = "sea"];
  optional double d = 4 [default = -inf]; optional float e = 5 [default = 1.5e3];
  optional bool f = 6 [default = true]; optional Kind kind = 7 [default = LOUD];
  repeated int32 many = 8 [packed = true];
  map<string, .a.b.other.O> others = 9;
  optional group Inner = 10 { optional Kind kind = 1; message Deep { optional R r = 1; } }
  oneof choice { option (own) = 2; int32 g = 11; group H = 12 { optional int32 x = 1; } Inner.Deep deep = 13; }
  extensions 100 to 199, 500 to max [verification = UNVERIFIED];
  reserved 20, 30 to 39; reserved "old", "older";
  extend R { optional int32 nested = 101; }
  enum Kind { option allow_alias = true; QUIET = 0; LOUD = 1 [deprecated = true]; NOISY = 1;
    reserved -5 to -1, 9 to max; }
  ;
}
"""
OTHER = b'syntax = "proto3"; package a.b.other; message O { optional int32 message = 1; repeated int32 list = 2; }'
EDITION = b"""
edition = "2023"; package e; option features.field_presence = IMPLICIT;
message R { int32 a = 1; int32 b = 2 [features.field_presence = EXPLICIT]; K k = 3 [features.field_presence = EXPLICIT];
  R r = 4 [features.message_encoding = DELIMITED]; int32 must = 5 [features.field_presence = LEGACY_REQUIRED];
  reserved old; }
enum K { option features.enum_type = CLOSED; ONE = 1; }
"""


def made(text: bytes, **others: bytes):
    def read(name: str) -> bytes:
        if name.removesuffix(".proto") in others:
            return others[name.removesuffix(".proto")]
        raise ConfigError(f"there is no {name}")

    return descriptor_set_of("it.proto", lambda name: text if name == "it.proto" else read(name))


@pytest.mark.parametrize("name", ["plant", "kinds"])
def test_a_text_of_the_catalogue_is_what_protoc_made_of_it(name) -> None:
    ours = descriptor_set_of(f"{name}.proto", lambda each: (FOLDER / each).read_bytes())
    theirs = (FOLDER / f"{name}.desc").read_bytes()
    assert repr(types_of(ours)) == repr(types_of(theirs))
    last, other = (descriptor_pb2.FileDescriptorSet.FromString(each).file[-1] for each in (ours, theirs))
    assert [each.name for each in last.message_type] == [each.name for each in other.message_type]


def test_everything_that_a_file_may_hold_is_read_or_passed_over() -> None:
    types = types_of(made(WHOLE, other=OTHER))
    assert types.roots == ("a.b.R",)
    found = types.messages["a.b.R"]
    assert found.reserved == ((20, 20), (30, 39))
    assert {number: field.name for number, field in found.fields.items()} == {
        1: "a", 2: "b", 3: "c", 4: "d", 5: "e", 6: "f", 7: "kind", 8: "many", 9: "others", 10: "inner", 11: "g",
        12: "h", 13: "deep", 100: "[a.b.seen]", 101: "[a.b.R.nested]",
    }  # fmt: skip
    defaults = [-15, "it's \u00e9\n", b'\xff\\a"', float("-inf"), 1500.0, True, 1]
    assert [found.fields[number].default for number in range(1, 8)] == defaults
    assert [number for number, field in found.fields.items() if field.is_required] == [1]
    assert [number for number, field in found.fields.items() if field.oneof] == [11, 12, 13]
    assert [number for number, field in found.fields.items() if field.is_repeated] == [8, 9]
    assert found.fields[9].is_map
    assert [found.fields[number].kind for number in (8, 9, 10, 13)] == ["int32", "message", "group", "message"]
    kind = found.fields[7].enum
    assert kind is not None
    assert (kind.names, kind.is_closed) == ({0: "QUIET", 1: "LOUD"}, True)
    assert kind.reserved == ((-5, -1), (9, 2**31 - 1))
    other = types.messages["a.b.other.O"]
    assert [(field.name, field.has_presence, field.oneof) for field in other.fields.values()] == [
        ("message", True, ""),
        ("list", False, ""),
    ]


def test_features_of_an_edition_say_what_syntax_said() -> None:
    fields = types_of(made(EDITION)).messages["e.R"].fields
    assert [field.has_presence for field in fields.values()] == [False, True, True, True, True]
    assert [field.kind for field in fields.values()] == ["int32", "int32", "enum", "group", "int32"]
    assert fields[5].is_required
    assert fields[3].enum is not None
    assert fields[3].enum.is_closed


FAULTS = [
    (b"message R {", "line 1: 'the end'|is missing before 'the end'"),
    (b"\n\nmessage R { int32 a 1; }", "it.proto: .*line 3: '=' is missing before '1'"),
    (b"message R { int32 a = x; }", "a number is missing before 'x'"),
    (b"message R { int32 a = 1.5; }", "'1.5' is no integer"),
    (b"message R { int32 a = 99999999999; }", "line 1"),
    (b'syntax = "proto4";', "syntax 'proto4' is not known"),
    (b'edition = "1999";', "EDITION_1999"),
    (b"wrong;", "'wrong' begins nothing"),
    (b'syntax = "proto3"; message R { Unknown a = 1; }', "does not hold together"),
    (b'syntax = "proto3"; message R { int32 a = 1; int32 b = 1; }', "does not hold together"),
    (b'syntax = "proto3"; enum E { A = 1; }', "does not hold together"),
    (b'import "missing.proto";', "there is no missing.proto"),
    (b'import "google/protobuf/missing.proto";', "there is no google/protobuf/missing.proto"),
    (b'import "it.proto";', "imports itself"),
    (b"message R { \x00 }", "is unexpected"),
    (b"\xff", "not UTF-8"),
    (b"/* never closed", "is unexpected"),
    (b"message M {" * 100, "nested deeper than 32"),
    (b" " * 300_000, "are allowed"),
    (b'edition = "2023"; option features.enum_type = OTHER;', "feature enum_type cannot be 'OTHER'"),
]


@pytest.mark.parametrize(("text", "says"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_text_that_cannot_be_used_is_refused_and_says_where(text, says) -> None:
    with pytest.raises(ConfigError, match=says):
        types_of(made(text))


def test_files_that_import_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="imports itself"):
        made(b'import "a.proto";', a=b'import "b.proto";', b=b'import "a.proto";')


WORDS = [
    "message", "enum", "R", "{", "}", "int32", "=", "1", ";", "map", "<", ">", "oneof", "group", "[", "]", "default",
    "reserved", "to", "max", ",", '"x"', "extend", "optional", "-", "option", "(", ")", ".", "2", "extensions",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text) -> None:
    for whole in (text, f"message R {{ {text} }}", f'syntax = "proto3"; {text}'):
        try:
            types_of(made(whole.encode(errors="replace")))
        except ConfigError as error:
            assert error.fault  # noqa: PT017  # raising is allowed, not required


def test_a_text_that_was_cut_anywhere_is_read_or_refused() -> None:
    taken = 0
    for end in range(len(WHOLE)):
        try:
            types_of(made(WHOLE[:end], other=OTHER))
            taken += 1
        except ConfigError as error:
            assert error.fault  # noqa: PT017  # raising is allowed, not required
    assert taken < len(WHOLE) // 2
