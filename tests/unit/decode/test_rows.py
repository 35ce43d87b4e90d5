"""Arrays of objects become one record for each object, whatever they were written in."""

from __future__ import annotations

import json

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import cbor, msgpack
from gateway.decode import json as json_format
from gateway.decode.contract import RECORDS_MAX, Limits, Record
from gateway.decode.rows import decoder, rows
from gateway.errors import DecodeError

FORMATS = {
    "json": (json_format.parse, lambda document: json.dumps(document).encode()),
    "cbor": (cbor.parse, cbor2.dumps),
    "msgpack": (msgpack.parse, msgspec.msgpack.encode),
}


def reason_of(function, *arguments) -> str:
    with pytest.raises(DecodeError) as caught:
        function(*arguments)
    return caught.value.reason


@pytest.mark.parametrize("name", FORMATS)
def test_each_object_of_an_array_is_a_record_in_its_order(name) -> None:
    parse, write = FORMATS[name]
    document = [{"t": 2, "axes": [1.5, None]}, {"t": 1, "raw": {"x": "y"}}]
    wanted = [Record("", None, {"t": 2, "axes.0": 1.5}), Record("", None, {"t": 1, "raw.x": "y"})]
    assert decoder(parse, Limits())(write(document), "t", 0) == wanted
    inside = decoder(parse, Limits(), ("data", "readings"))
    assert inside(write({"id": 7, "data": {"readings": document, "more": []}}), "t", 0) == wanted


def test_an_object_in_place_of_the_array_is_the_only_one() -> None:
    assert rows({"a": {"x": 1}}, Limits(), ("a",)) == [Record("", None, {"x": 1})]


def test_what_is_no_array_of_objects_is_refused_with_its_reason() -> None:
    limits = Limits()
    assert reason_of(rows, [{"x": 1}, 2], limits) == "not_an_object"
    assert reason_of(rows, [[{"x": 1}]], limits) == "not_an_object"
    assert reason_of(rows, 7, limits) == "not_an_object"
    assert reason_of(rows, None, limits) == "not_an_object"
    assert reason_of(rows, [], limits) == "no_fields"
    assert reason_of(rows, [{}, {"x": None}], limits) == "no_fields"
    assert reason_of(rows, {"a": []}, limits, ("b",)) == "path_missing"
    assert reason_of(rows, [{"a": 1}], limits, ("a",)) == "path_missing"
    assert reason_of(rows, [{"x": 1}] * (RECORDS_MAX + 1), limits) == "too_many_records"
    assert len(rows([{"x": 1}] * RECORDS_MAX, limits)) == RECORDS_MAX


def test_the_limits_hold_for_each_object_as_if_it_had_come_alone() -> None:
    limits = Limits(field_count_max=2, depth_max=2)
    assert len(rows([{"x": 1, "y": {"z": 1}}] * 5, limits)) == 5
    assert reason_of(rows, [{"x": 1}, {"x": 1, "y": 2, "z": 3}], limits) == "too_many_fields"
    assert reason_of(rows, [{"x": 1}, {"x": [[1]]}], limits) == "too_deep"


def test_objects_without_a_wanted_field_are_left_out() -> None:
    found = rows([{"x": 1, "y": 2}, {"z": 3}, {"y": 4}], Limits(fields=("y", "x")))
    assert [list(record.row.items()) for record in found] == [[("y", 2), ("x", 1)], [("y", 4)]]
    assert reason_of(rows, [{"z": 3}], Limits(fields=("y",))) == "no_fields"


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("json", b"", "empty"),
        ("json", b'[{"x":1,"x":2}]', "duplicate_key"),
        ("json", rb'[{"x":1,"\u0078":2}]', "duplicate_key"),
        ("json", b'{"other":{"y":1,"y":1},"a":[{"x":1}]}', "duplicate_key"),
        ("json", b"[" * 300 + b"]" * 300, "too_deep"),
        ("json", b'["\\n",' + b"[" * 300 + b"]" * 301, "too_deep"),
        ("json", b'[["\\n"],' + b"[" * 300 + b"]" * 301, "too_deep"),
        ("json", b'[{"x":1}', "malformed_json"),
        ("cbor", b"", "empty"),
        ("cbor", b"\x81\xa2\x61x\x01\x61x\x02", "duplicate_key"),
        ("cbor", b"\x81" * 300 + b"\x01", "too_deep"),
        ("cbor", b"\x81\xa1\x61x\xc1\x00", "unsupported_type"),
        ("cbor", b"\x81\xa1\x61x", "malformed_cbor"),
        ("msgpack", b"", "empty"),
        ("msgpack", b"\x91\x82\xa1x\x01\xa1x\x02", "duplicate_key"),
        ("msgpack", b"\x91" * 300 + b"\x01", "too_deep"),
        ("msgpack", b"\xdd\x00\x0f\x42\x40" + bytes(1_000_000), "too_many_fields"),
    ],
)
def test_a_bad_document_is_refused_with_its_reason(name, payload, reason) -> None:
    path = ("a",) if b"other" in payload else ()
    assert reason_of(decoder(FORMATS[name][0], Limits(), path), payload, "t", 0) == reason


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), max_size=5) | VALUES)
def test_all_three_syntaxes_of_a_document_are_decided_alike(document) -> None:
    outcomes = []
    for parse, write in FORMATS.values():
        try:
            outcomes.append(decoder(parse, Limits())(write(document), "t", 0))
        except DecodeError as error:
            outcomes.append(error.reason)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(sorted(FORMATS)))
def test_any_bytes_are_decided_as_rows(payload, name) -> None:
    try:
        records = decoder(FORMATS[name][0], Limits())(payload, "t", 0)
    except DecodeError as error:
        assert error.reason.isidentifier()  # noqa: PT017  # raising is allowed, not required
    else:
        assert all(record.row for record in records)
