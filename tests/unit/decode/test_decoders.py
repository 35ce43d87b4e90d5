"""Every payload is decided: a row that keeps the contract, or a reason."""

from __future__ import annotations

import json
import math
import struct
import time

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import cbor as cbor_format
from gateway.decode.contract import Limits
from gateway.decode.formats import FORMATS
from gateway.errors import DecodeError
from tests.support.pairs import Pairs, has_equal_keys

DEEP = 200_000

ROWS = {
    "json": [
        (b'{"t": 21.5, "n": 3, "ok": true, "s": "x"}', {"t": 21.5, "n": 3, "ok": True, "s": "x"}),
        (b'{"a":{"b":{"c":1}},"d":[1.5,{"e":2}]}', {"a.b.c": 1, "d.0": 1.5, "d.1.e": 2}),
        (b'{"a":null,"b":1}', {"b": 1}),
        (b'{"a":{},"b":[],"c":1}', {"c": 1}),
        (b'{"time":"2026-01-01T00:00:00Z","x":1}', {"time": "2026-01-01T00:00:00Z", "x": 1}),
        (rb'{"say \":\"":"a\u003ab","x":1}', {'say ":"': "a:b", "x": 1}),
        (b'{"min":-9223372036854775808,"max":9223372036854775807}', {"min": -(2**63), "max": 2**63 - 1}),
        (b'{"a":[{"x":1},{"x":2}]}', {"a.0.x": 1, "a.1.x": 2}),
        (b'{"":1}', {"": 1}),
    ],
    "cbor": [
        (cbor2.dumps({"t": 21.5, "n": 3, "ok": True, "s": "x", "b": b"\x00"}), None),
        (cbor2.dumps({"a": {"b": [1, None, 2.5]}}), {"a.b.0": 1, "a.b.2": 2.5}),
        (b"\xd9\xd9\xf7" + cbor2.dumps({"a": 1}), {"a": 1}),
        (b"\xbf\x61a\x9f\x01\x02\xff\xff", {"a.0": 1, "a.1": 2}),
        (b"\xa1\x61a\xf9\x3c\x00", {"a": 1.0}),
    ],
    "scalar": [
        (b"21.5", {"value": 21.5}),
        (b" -7\n", {"value": -7}),
        (b"+.5e1", {"value": 5.0}),
        (b"true", {"value": True}),
        (b"false", {"value": False}),
        ("grün".encode(), {"value": "grün"}),
        (b"12 ", {"value": 12}),
        (b"1_000", {"value": "1_000"}),
        (b"9223372036854775807", {"value": 2**63 - 1}),
    ],
}

BAD = {
    "json": [
        (b"", "empty"),
        (b"{", "malformed_json"),
        (b'{"a":1', "malformed_json"),
        (b'{"a":1}{"a":1}', "malformed_json"),
        (b"\x00\x01\x02", "malformed_json"),
        (b"[" * DEEP, "too_deep"),
        (b'{"a":' * DEEP, "too_deep"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "too_deep"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8"),
        (rb'{"a":"\ud800"}', "malformed_json"),
        (b'{"a":NaN}', "not_finite"),
        (b'{"a":-Infinity}', "not_finite"),
        (b'{"a":"NaN","b": [1, nan]}', "not_finite"),
        (b'{"a":"NaN","b":', "malformed_json"),
        (b'{"a":nano}', "malformed_json"),
        (b'{"a":1e999}', "number_too_large"),
        (b'{"a":9223372036854775808}', "integer_too_large"),
        (b'{"a":-9223372036854775809}', "integer_too_large"),
        (b'{"a":' + b"1" * 5000 + b"}", "integer_too_large"),
        (b'{"a":[18446744073709551616]}', "integer_too_large"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (rb'{"a":1,"\u0061":2}', "duplicate_key"),
        (rb'{"a":1,"a":"\u003a"}', "duplicate_key"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "duplicate_key"),
        (b'{"a":":","a":1}', "duplicate_key"),
        (b'{"a.b":1,"a":{"b":2}}', "duplicate_key"),
        (b"{}", "no_fields"),
        (b'{"a":null}', "no_fields"),
        (b'{"a":[[],{}]}', "no_fields"),
        (b"[1,2]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"7", "not_an_object"),
        (json.dumps({str(n): n for n in range(300)}).encode(), "too_many_fields"),
        (b'{"a":[' + b"[]," * 100_000 + b"1]}", "too_many_fields"),
        (b'{"' + b"n" * 300 + b'":1}', "field_name_too_long"),
        (b'{"a":{"' + b"n" * 255 + b'":1}}', "field_name_too_long"),
        (b"[" + b"1," * 2_500_000 + b"1]", "not_an_object"),
    ],
    "cbor": [
        (b"", "empty"),
        (b"\xa1\x61a", "malformed_cbor"),
        (b"\x81" * DEEP + b"\x01", "too_deep"),
        (b"\x9f" * DEEP, "too_deep"),
        (b"\xa1\x61a" * 9 + b"\x01", "too_deep"),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "malformed_cbor"),
        (b"\xbb\x00\x00\x00\x00\xff\xff\xff\xff", "malformed_cbor"),
        (b"\x5b\x00\x00\x00\x0f\xff\xff\xff\xff", "malformed_cbor"),
        (b"\xa2\x61a\x01\x61a\x02", "duplicate_key"),
        (b"\xa1\x61a\xf9\x7e\x00", "not_finite"),
        (b"\xa1\x61a\xf9\x7c\x00", "not_finite"),
        (b"\xa1\x61a\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "integer_too_large"),
        (b"\xa1\x61a\xc2\x49\x01" + bytes(8), "unsupported_type"),
        (b"\xa1\x61a\xc1\x00", "unsupported_type"),
        (b"\xa1\x61a\xd8\x1c\x81\xd8\x1d\x00", "unsupported_type"),
        (b"\xa1\x61a\xda\x00\x01\x00\x00\x00", "unsupported_type"),
        (b"\xa1\x61a\xf8\x20", "unsupported_type"),
        (b"\xa1\x61a\x61\xff", "not_utf8"),
        (b"\xa1\x41a\x01", "key_not_text"),
        (b"\xa1\x01\x01", "malformed_cbor"),
        (b"\xa1\x61a\x01\x00", "malformed_cbor"),
        (b"\x81\x01", "not_an_object"),
        (b"\xa0", "no_fields"),
        (b"\xa1\x61a\xf6", "no_fields"),
        (b"\xff", "malformed_cbor"),
    ],
    "scalar": [
        (b"", "empty"),
        (b"null", "no_fields"),
        (b"NaN", "not_finite"),
        (b"-Infinity", "not_finite"),
        (b"inf", "not_finite"),
        (b"1e999", "number_too_large"),
        (b"9223372036854775808", "integer_too_large"),
        (b"1" * 5_000_000, "integer_too_large"),
        (b"\xff\xfe", "not_utf8"),
    ],
}


def cases(table):
    return [(name, payload, wanted) for name, rows in table.items() for payload, wanted in rows]


def names(table):
    return [f"{name} {payload[:24]!r}" for name, payload, _ in cases(table)]


@pytest.mark.parametrize(("name", "payload", "row"), cases(ROWS), ids=names(ROWS))
def test_a_good_payload_becomes_its_row(name, payload, row) -> None:
    decoded = FORMATS[name](Limits())(payload)
    wanted = cbor2.loads(payload) if row is None else row
    assert decoded == wanted
    assert [type(value) for value in decoded.values()] == [type(value) for value in wanted.values()]


@pytest.mark.parametrize(("name", "payload", "reason"), cases(BAD), ids=names(BAD))
def test_a_bad_payload_is_refused_with_its_reason_and_soon(name, payload, reason) -> None:
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        FORMATS[name](Limits())(payload)
    assert caught.value.reason == reason
    assert len(caught.value.fault) < 300
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("name", ["json", "cbor"])
def test_only_the_fields_asked_for_are_taken_in_that_order(name) -> None:
    document = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
    payload = json.dumps(document).encode() if name == "json" else cbor2.dumps(document)
    row = FORMATS[name](Limits(fields=("e", "b.c", "missing")))(payload)
    assert list(row.items()) == [("e", 4), ("b.c", 2)]
    with pytest.raises(DecodeError, match="none of the fields") as caught:
        FORMATS[name](Limits(fields=("missing",)))(payload)
    assert caught.value.reason == "no_fields"


def test_fields_of_a_flat_object_are_taken_in_the_order_asked_for() -> None:
    assert list(FORMATS["json"](Limits(fields=("b", "a")))(b'{"a":1,"b":2}')) == ["b", "a"]


@pytest.mark.parametrize("depth", [1, 2, 64])
def test_the_deepest_nesting_allowed_is_taken_and_one_more_is_not(depth) -> None:
    decode = FORMATS["json"](Limits(depth_max=depth))
    assert len(decode(b'{"a":' * depth + b"1" + b"}" * depth)) == 1
    with pytest.raises(DecodeError):
        decode(b'{"a":' * (depth + 1) + b"1" + b"}" * (depth + 1))


def test_as_many_fields_as_allowed_are_taken() -> None:
    decode = FORMATS["json"](Limits(field_count_max=3))
    assert len(decode(b'{"a":1,"b":2,"c":3}')) == 3
    for payload in (b'{"a":1,"b":2,"c":3,"d":4}', b'{"a":1,"b":2,"c":3,"d":null}'):
        with pytest.raises(DecodeError) as caught:
            decode(payload)
        assert caught.value.reason == "too_many_fields"


def test_every_tag_that_the_installed_parser_computes_is_refused() -> None:
    decode = FORMATS["cbor"](Limits())
    for tag in range(70_000):
        head = b"\xda" + struct.pack(">I", tag)
        for inner in (b"\x01", b"\x61a", b"\x82\x01\x01", b"\x41a"):
            if tag > 1200 and tag not in cbor_format._COMPUTED_TAGS and inner != b"\x01":
                continue
            with pytest.raises(DecodeError) as caught:
                decode(b"\xa1\x61a" + head + inner)
            assert caught.value.reason == "unsupported_type", tag


def keeps_contract(row) -> bool:
    return 0 < len(row) <= 256 and all(
        (type(value) is int and -(2**63) <= value < 2**63)
        or (type(value) is float and math.isfinite(value))
        or type(value) in (bool, str, bytes)
        for value in row.values()
    )


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(sorted(FORMATS)))
def test_any_bytes_are_decided(payload, name) -> None:
    try:
        row = FORMATS[name](Limits())(payload)
    except DecodeError as error:
        assert error.reason.isidentifier()  # noqa: PT017  # raising is allowed, not required
    else:
        assert keeps_contract(row)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('ab:"\\'), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.text(st.sampled_from('ab:"\\'), max_size=2), inner), max_size=4).map(Pairs)
    ),
    max_leaves=8,
)


def written(value) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)} : {written(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_json_with_equal_keys_anywhere_is_never_taken(value) -> None:
    try:
        row = FORMATS["json"](Limits())(written(value).encode())
    except DecodeError as error:
        reasons = {"duplicate_key", "not_an_object", "no_fields", "integer_too_large", "too_deep"}
        assert error.reason in reasons  # noqa: PT017  # raising is allowed, not required
    else:
        assert keeps_contract(row)
        assert not has_equal_keys(value)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5), min_size=1))
def test_a_good_payload_cut_anywhere_is_decided(document) -> None:
    for name, payload in (("json", json.dumps(document).encode()), ("cbor", cbor2.dumps(document))):
        decode = FORMATS[name](Limits())
        assert decode(payload) == document
        for end in range(len(payload)):
            with pytest.raises(DecodeError):
                decode(payload[:end])
