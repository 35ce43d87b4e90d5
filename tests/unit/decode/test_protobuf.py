"""Protobuf payloads are read by their schema as Google's own parser reads them, and cost no more than they may."""

from __future__ import annotations

import struct
import sys
import time
import tracemalloc

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as OtherDecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import protobuf
from gateway.decode.contract import Limits
from gateway.errors import ConfigError, DecodeError
from tests.support import catalogue

FOLDER = catalogue.ROOT / "protobuf"
PLANT, KINDS = (FOLDER / "plant.desc").read_bytes(), (FOLDER / "kinds.desc").read_bytes()
WIDE = Limits(field_count_max=10_000, depth_max=64)


def class_of(descriptor_set, name):
    """Return the class of a message, in which maps are what they are on the wire: repeated entries.

    (The other parser drops the whole entry of a map when a field of it is not known; others of Google's do not.)
    """
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        for inner in (inner for message in file.message_type for inner in message.nested_type):
            inner.options.map_entry = False
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


Reading, Kinds = class_of(PLANT, "plant.Reading"), class_of(KINDS, "kinds.Kinds")


def reason_of(decode, payload) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert len(caught.value.fault) < 300
    return caught.value.reason


@pytest.mark.parametrize("example", catalogue.examples("protobuf"), ids=str)
def test_each_protobuf_message_of_the_catalogue_decodes_to_what_is_written_beside_it(example) -> None:
    decode = protobuf.decoder(Limits(), example.file("descriptor_set"), example.options["message"])
    if example.records is None:
        assert reason_of(decode, example.payload) == example.refused
    else:
        assert catalogue.typed([("", None, decode(example.payload))]) == catalogue.typed(example.records)


def test_the_examples_on_the_page_of_protobuf_are_messages_of_the_catalogue() -> None:
    page = (catalogue.ROOT.parents[2] / "docs" / "decoders" / "protobuf.md").read_text("utf-8")
    assert " ".join((FOLDER / "plant.proto").read_text("utf-8").split()) in " ".join(page.split())
    shown = [line.split("(")[1].split(")")[0] for line in page.splitlines() if ".payload)" in line]
    assert shown
    for place in shown:
        name = place.rsplit("/", 1)[1].removesuffix(".payload")
        assert catalogue.example("protobuf", name).payload.hex(" ") in " ".join(page.split())


def expected(message) -> dict:
    """Return what a parsed message holds, level by level, by Google's own access to it."""
    found = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.name.endswith("Entry"):
            inner = field.message_type.fields_by_name["value"]
            entries = {str(each.key).lower(): single(inner, each.value) for each in value}
            if entries:
                found[field.name] = entries
        elif field.is_repeated:
            if value:
                found[field.name] = [single(field, each) for each in value]
        elif not field.has_presence or message.HasField(field.name):
            found[field.name] = single(field, value)
    return found


def single(field, value):
    if field.message_type is not None:
        if field.message_type.full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
            return value.seconds * 10**9 + value.nanos
        return expected(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return value


def flat(document, prefix="") -> dict:
    items = enumerate(document) if isinstance(document, list) else document.items()
    row = {}
    for key, value in items:
        if isinstance(value, dict | list):
            row |= flat(value, f"{prefix}{key}.")
        else:
            row[f"{prefix}{key}"] = value
    return row


def exact(row) -> list:
    """Return a row so that it can be compared: maps have no order, and 0.0 is not -0.0."""
    return sorted((name, type(v), struct.pack("<d", v) if isinstance(v, float) else v) for name, v in row.items())


def check(cls, payload) -> None:
    """Decide a payload here and by the other parser, and compare."""
    descriptor_set = KINDS if cls.DESCRIPTOR.name == "Kinds" else PLANT
    decode = protobuf.decoder(WIDE, descriptor_set, cls.DESCRIPTOR.full_name)
    try:
        row = flat(expected(cls.FromString(payload)))
    except (OtherDecodeError, UnicodeDecodeError):
        assert reason_of(decode, payload) in {"malformed_protobuf", "not_utf8", "too_deep"}
        return
    try:
        found = decode(payload)
    except DecodeError as error:
        if error.reason == "not_utf8":  # which proto2 lets pass in fields of its own
            return
        ours = {"no_fields", "not_finite", "integer_too_large", "time_invalid", "too_deep", "duplicate_key"}
        assert error.reason in ours, error.reason  # noqa: PT017  # raising is allowed, not required
        assert row == {} or error.reason != "no_fields"  # noqa: PT017  # as above
        return
    assert exact(found) == exact(row)


def tagged(number, wire_type, content) -> bytes:
    return varint(number << 3 | wire_type) + content


def varint(number) -> bytes:
    written = b""
    while number > 0x7F:
        written += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return written + bytes((number,))


NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 3) | st.sampled_from([2**32 - 1, 2**31, 2**64 - 1])
BYTES = st.binary(max_size=6) | st.text(max_size=4).map(str.encode)


def field_of(numbers, inner):
    number = st.sampled_from(numbers)
    return st.one_of(
        st.builds(tagged, number, st.just(0), NUMBERS.map(varint)),
        st.builds(tagged, number, st.just(1), st.floats(width=64).map(lambda v: struct.pack("<d", v))),
        st.builds(tagged, number, st.just(5), st.floats(width=32).map(lambda v: struct.pack("<f", v))),
        st.builds(lambda n, b: tagged(n, 2, varint(len(b)) + b), number, BYTES | inner),
        st.builds(lambda n, b: tagged(n, 3, b) + tagged(n, 4, b""), number, inner),
        st.builds(
            lambda n, vs: tagged(n, 2, varint(len(b"".join(vs))) + b"".join(vs)), number, st.lists(NUMBERS.map(varint))
        ),
    )


def payloads(numbers):
    return st.recursive(
        st.just(b""), lambda inner: st.lists(field_of(numbers, inner), max_size=5).map(b"".join), max_leaves=6
    )


@settings(max_examples=600, deadline=None)
@given(payloads([*range(1, 28), 20, 21, 22, 23, 25, 27, 99]))
def test_any_fields_of_proto2_are_read_as_by_the_other_parser(payload) -> None:
    check(Kinds, payload)


@settings(max_examples=600, deadline=None)
@given(payloads([*range(1, 16), 6, 7, 9, 10, 13, 99]))
def test_any_fields_of_proto3_are_read_as_by_the_other_parser(payload) -> None:
    check(Reading, payload)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_decided_as_by_the_other_parser(payload, is_kinds) -> None:
    check(Kinds if is_kinds else Reading, payload)


@pytest.mark.parametrize("example", catalogue.examples("protobuf"), ids=str)
def test_a_protobuf_message_cut_anywhere_is_decided_as_by_the_other_parser(example) -> None:
    cls = class_of(example.file("descriptor_set"), example.options["message"])
    for end in range(len(example.payload)):
        check(cls, example.payload[:end])


@pytest.mark.parametrize(
    "payload",
    [
        b"\x82\x01" * 3,
        b"\x80" * 10 + b"\x01",
        b"\x88\x80\x80\x80\x80\x00\x01",
        b"\x00\x01",
        b"\x0c",
        b"\x0b\x14",
        b"\x0e\x01",
        b"\x18" + b"\xff" * 10,
        b"\x18" + b"\xff" * 9 + b"\x7f",
        b"\x18" + b"\x80" * 10 + b"\x00",
        tagged(20, 3, b"\x08\x01") + tagged(20, 4, b"") + tagged(20, 3, b"\x10\x02") + tagged(20, 4, b""),
        tagged(20, 3, b"\x00\x01") + tagged(20, 4, b""),
        tagged(99, 3, b"\x00\x01") + tagged(99, 4, b""),
        tagged(24, 0, b"\x05") + tagged(26, 0, b"\x09"),
        tagged(24, 0, b"\x05") + tagged(26, 0, b"\x01"),
        tagged(26, 0, b"\x01") + tagged(25, 2, b"\x02\x18\x01") + tagged(25, 2, b"\x02\x20\x02"),
        tagged(25, 2, b"\x02\x18\x01") + tagged(24, 0, b"\x05") + tagged(25, 2, b"\x02\x20\x02"),
        tagged(25, 2, b"\x01\x18") + tagged(24, 0, b"\x05"),
        tagged(21, 2, b"\x01\x18") + tagged(21, 2, b"\x01\x05"),
        tagged(23, 2, b"\x00"),
        tagged(23, 2, b"\x02\x10\x07"),
        tagged(23, 2, b"\x04\x08\x07\x10\x01") * 2,
        tagged(23, 2, b"\x06\x08\x07\x10\x01\x18\x01"),
        tagged(27, 2, b"\x00"),
        tagged(27, 2, b"\x04\x08\x01\x12\x00"),
        b"\x0b" * 101 + b"\x0c" * 101,
    ],
)
def test_what_is_rare_on_the_wire_is_read_as_by_the_other_parser(payload) -> None:
    check(Kinds, payload)


def test_only_wanted_fields_are_taken_and_a_field_without_presence_is_its_default() -> None:
    decode = protobuf.decoder(Limits(fields=("state", "temperature", "humidity")), PLANT, "plant.Reading")
    assert list(decode(b"").items()) == [("state", "IDLE"), ("temperature", 0.0)]
    assert decode(Reading(state=9, humidity=0).SerializeToString()) == {"state": 9, "temperature": 0.0, "humidity": 0.0}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Reading(temperature=float("nan")), "not_finite"),
        (Reading(serial=2**63), "integer_too_large"),
        (Reading(time={"seconds": 2**62}), "time_invalid"),
        (Reading(axes=[1.0] * 300), "too_many_fields"),
        (Reading(neighbours=[{}] * 300), "too_many_fields"),
        (Reading(counters=[{"key": str(n), "value": n} for n in range(300)]), "too_many_fields"),
        (Reading(counters=[{"key": "n" * 257, "value": 1}]), "field_name_too_long"),
    ],
)
def test_a_protobuf_message_that_no_row_can_hold_is_refused(made, reason) -> None:
    assert reason_of(protobuf.decoder(Limits(), PLANT, "plant.Reading"), made.SerializeToString()) == reason


def test_as_many_fields_as_a_row_may_have_are_taken_whatever_holds_them() -> None:
    decode = protobuf.decoder(Limits(field_count_max=206), PLANT, "plant.Reading")
    row = decode(Reading(neighbours=[{"rssi": n, "id": "x"} for n in range(100)]).SerializeToString())
    assert len(row) == 205
    row = decode(Reading(counters=[{"key": str(n)} for n in range(200)], time={"seconds": 1}).SerializeToString())
    assert len(row) == 206


def test_an_entry_of_a_map_whose_symbol_is_not_known_is_ignored_like_the_symbol() -> None:
    decode = protobuf.decoder(Limits(), KINDS, "kinds.Kinds")
    entries = [b"\x08\x01\x10\x01", b"\x08\x02\x10\x07", b"\x08\x03"]
    assert decode(b"".join(tagged(28, 2, bytes((len(entry),)) + entry) for entry in entries)) == {
        "symbols.1": "ONE",
        "symbols.3": "ZERO",
    }


def test_messages_are_nested_as_deep_as_allowed() -> None:
    def nested(depth):
        made = Kinds(int32=1)
        for _ in range(depth):
            made = Kinds(again=made)
        return made.SerializeToString()

    decode = protobuf.decoder(Limits(depth_max=3), KINDS, "kinds.Kinds")
    assert decode(nested(2)) == {"again.again.int32": 1}
    assert reason_of(decode, nested(3)) == "too_deep"


@pytest.mark.parametrize(
    "hostile",
    [
        tagged(22, 2, b"\x00") * 200_000,
        tagged(22, 2, tagged(22, 2, b"\x00") * 20) * 4_000,
        tagged(22, 2, varint(300) + tagged(22, 2, b"\x00") * 100) * 3_000,
        tagged(17, 2, varint(400_000) + b"\x01" * 400_000),
        tagged(18, 2, varint(400_000) + b"\x01" * 400_000),
        b"\x18\x01" * 200_000,
        tagged(20, 3, b"") * 200_000,
        tagged(99, 3, b"") * 200_000,
        b"\xa3\x06" * 100_000 + b"\xa4\x06" * 100_000,
        tagged(23, 2, b"\x02\x08\x01") * 100_000,
        tagged(14, 2, varint(2**60)),
    ],
)
def test_a_hostile_protobuf_payload_costs_little(hostile) -> None:
    decode = protobuf.decoder(Limits(), KINDS, "kinds.Kinds")
    tracemalloc.start()
    started = time.perf_counter()
    assert reason_of(decode, hostile) in {"too_many_fields", "malformed_protobuf", "too_deep"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - started < 4.0
    assert peak < 12 * 2**20


@pytest.mark.parametrize(
    ("descriptor_set", "message", "says"),
    [
        (b"\xff", "plant.Reading", "no descriptor set"),
        (b"", "plant.Reading", "no message"),
        (
            PLANT,
            "plant.Other",
            "it has google.protobuf.Duration, google.protobuf.Timestamp, plant.Radio, plant.Reading",
        ),
        (PLANT, "plant.State", "no message"),
        (b"\0" * 300_000, "plant.Reading", "are allowed"),
    ],
)
def test_a_descriptor_set_that_cannot_be_used_is_a_fault_of_the_configuration(descriptor_set, message, says) -> None:
    with pytest.raises(ConfigError, match=says):
        protobuf.decoder(Limits(), descriptor_set, message)


def test_a_descriptor_set_without_its_imports_says_how_to_make_one() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(PLANT)
    alone = descriptor_pb2.FileDescriptorSet(file=[file for file in files.file if file.name == "plant.proto"])
    with pytest.raises(ConfigError) as caught:
        protobuf.decoder(Limits(), alone.SerializeToString(), "plant.Reading")
    assert "--include_imports" in caught.value.hint


def test_without_the_package_the_configuration_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(ConfigError) as caught:
        protobuf.decoder(Limits(), PLANT, "plant.Reading")
    assert caught.value.hint == "pip install 'edge-gateway[protobuf]'"
