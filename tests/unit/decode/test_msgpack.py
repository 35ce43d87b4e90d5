"""MessagePack payloads are decided like the same document in JSON, and as strictly."""

from __future__ import annotations

import json
import struct
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import json as json_format
from gateway.decode import msgpack
from gateway.decode.contract import Limits
from gateway.errors import DecodeError
from tests.support.pairs import Pairs, has_equal_keys

encode = msgspec.msgpack.encode
decode = msgpack.decoder(Limits())
DEEP = 200_000

REFUSED = {
    "empty": [b""],
    "not_an_object": [b"\x93\x01\x02\x03", b"\xc0", b"\x07", b"\xa1a", b"\xdd\xff\xff\xff\xff"],
    "malformed_msgpack": [
        b"\x81",
        b"\x81\xa1",
        b"\x81\xa1a",
        b"\x81\xa1a\xcb\x00",
        b"\x81\xa1a\xc1",
        b"\x81\xa1a\x01\x00",
        b"\x81\xa1a\x91\x01\x00",
        b"\x81\xd9\xffa\x01",
        b"\x81\xdb\xff\xff\xff\xff",
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xde\x00",
    ],
    "not_utf8": [b"\x81\xa1a\xa1\xff", b"\x81\xa1\xff\x01", b"\x81\xa1a\x91\xa1\xff"],
    "key_not_text": [b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\x81\xc0\x02", b"\x81\xa1a\x81\x90\x01"],
    "unsupported_type": [
        b"\x81\xa1a\xd6\xff\x00\x00\x00\x01",
        b"\x81\xa1a\xd4\x05\x01",
        b"\x81\xa1a\x91\xc7\x00\x05",
        b"\x81\xa1a\xd8" + bytes(17),
    ],
    "duplicate_key": [
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x82\xa1a\x01\xd9\x01a\x02",
        b"\x82\xa1a\x01\xa1a\xc0",
        b"\x81\xa1a\x82\xa1b\x01\xa1b\x01",
        b"\x82\xa1a\x82\xa1b\x01\xa1b\x01\xa1c\x01",
        b"\xde\x00\x02\xa1a\x01\xa1a\x02",
        encode({"a.b": 1, "a": {"b": 2}}),
    ],
    "not_finite": [b"\x81\xa1a\xca\x7f\xc0\x00\x00", b"\x81\xa1a\x91\xcb\xff\xf0" + bytes(6)],
    "integer_too_large": [b"\x81\xa1a\xcf" + b"\xff" * 8, b"\x81\xa1a\x91\xcf\x80" + bytes(7)],
    "too_deep": [b"\x91" * DEEP, b"\x81\xa1a" * DEEP, b"\x81\xa1a" * 9 + b"\x01"],
    "too_many_fields": [
        encode({str(n): n for n in range(300)}),
        encode({"a": list(range(300))}),
        encode({"a": [[]] * 300}),
        encode({"a": [None] * 300}),
        b"\x81\xa1a\xdd\x00\x2d\xc6\xc0" + bytes(3_000_000),
    ],
    "field_name_too_long": [encode({"n" * 300: 1}), encode({"a": {"n" * 255: 1}})],
    "no_fields": [b"\x80", b"\x81\xa1a\xc0", b"\x81\xa1a\x90"],
}
REFUSED["not_an_object"].append(REFUSED["too_deep"].pop(0))


@pytest.mark.parametrize(
    ("reason", "payload"), [(reason, payload) for reason in REFUSED for payload in REFUSED[reason]]
)
def test_a_bad_msgpack_payload_is_refused_with_its_reason_and_soon(reason, payload) -> None:
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.reason == reason
    assert len(caught.value.fault) < 300
    assert time.perf_counter() - started < 1.0


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=5)


def outcome(decoder, payload) -> tuple:
    try:
        return "row", [(name, type(value), value) for name, value in decoder(payload).items()]
    except DecodeError as error:
        return "refused", error.reason


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS | VALUES, st.integers(1, 6), st.integers(1, 8))
def test_msgpack_is_decided_like_the_same_document_in_json(document, depth_max, field_count_max) -> None:
    limits = Limits(depth_max=depth_max, field_count_max=field_count_max)
    wanted = outcome(json_format.decoder(limits), json.dumps(document).encode())
    found = outcome(msgpack.decoder(limits), encode(document))
    several_faults = {"too_deep", "too_many_fields", "duplicate_key"}
    assert found == wanted or (found[0] == wanted[0] == "refused" and {found[1], wanted[1]} <= several_faults)


def widest(value) -> bytes:
    """Write `value` with the longest form that MessagePack has for it, equal keys of `Pairs` and all."""
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(widest(k) + widest(v) for k, v in value.items())
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(widest, value))
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    return b"\xd3" + struct.pack(">q", value) if type(value) is int else encode(value)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_every_width_of_a_head_says_the_same(document) -> None:
    assert outcome(decode, widest(document)) == outcome(decode, encode(document))


PAIRS = st.recursive(
    st.integers(0, 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from(["a", "b", ""]), inner), min_size=1, max_size=3).map(Pairs)
    ),
    max_leaves=8,
)


def written(value) -> bytes:
    if isinstance(value, Pairs):
        return bytes([0x80 | len(value)]) + b"".join(encode(key) + written(inner) for key, inner in value)
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(written, value))
    return encode(value)


@settings(max_examples=300, deadline=None)
@given(PAIRS)
def test_a_document_with_equal_keys_anywhere_is_never_parsed(value) -> None:
    if has_equal_keys(value):
        with pytest.raises(DecodeError) as caught:
            msgpack.parse(written(value))
        assert caught.value.reason == "duplicate_key"
    else:
        assert encode(msgpack.parse(written(value))) == written(value)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda tail: b"\x82\xa1a" + tail))
def test_any_bytes_are_decided_as_msgpack(payload) -> None:
    for decoder in (decode, msgpack.parse):
        try:
            decoder(payload)
        except DecodeError as error:
            assert error.reason.isidentifier()  # noqa: PT017  # raising is allowed, not required


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1))
def test_a_msgpack_document_cut_anywhere_is_refused(document) -> None:
    payload = encode(document)
    for end in range(len(payload)):
        for decoder in (decode, msgpack.parse):
            with pytest.raises(DecodeError):
                decoder(payload[:end])


def test_bytes_are_a_value_and_only_wanted_fields_are_taken_in_their_order() -> None:
    payload = encode({"raw": b"\x00\xff", "x": 1, "a": {"b": 2}})
    assert decode(payload) == {"raw": b"\x00\xff", "x": 1, "a.b": 2}
    wanted = msgpack.decoder(Limits(fields=("a.b", "raw", "none")))
    assert list(wanted(payload).items()) == [("a.b", 2), ("raw", b"\x00\xff")]
    assert list(msgpack.decoder(Limits(fields=("y", "x")))(encode({"x": 1, "y": 2}))) == ["y", "x"]
