"""SenML packs resolve as RFC 8428 says, in JSON and in CBOR, or are refused with a reason."""

from __future__ import annotations

import json
import math
import time
from base64 import urlsafe_b64encode
from fractions import Fraction

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode import senml, senml_cbor
from gateway.decode.contract import RECORDS_MAX, Limits, Record
from gateway.errors import DecodeError

NOW_NS = 1_763_888_400_123_456_789
LABELS = {"bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "bver": -1, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4}
LABELS |= {"s": 5, "t": 6, "ut": 7, "vd": 8}
BASE = ("bn", "bt", "bu", "bv", "bs", "bver")

decode_json = senml.decoder(Limits(), unit=True)
decode_cbor = senml_cbor.decoder(Limits(), unit=True)


def as_json(pack) -> bytes:
    return json.dumps(
        [{k: urlsafe_b64encode(v).decode().rstrip("=") if k == "vd" else v for k, v in r.items()} for r in pack]
    ).encode()


def as_cbor(pack) -> bytes:
    return cbor2.dumps([{LABELS.get(label, label): value for label, value in record.items()} for record in pack])


def reference(pack, now_ns=NOW_NS) -> list[Record]:
    """Resolve a sound pack slowly: for each record, look back for the base fields that hold."""
    found = []
    for number, record in enumerate(pack):
        if all(label in BASE or label not in LABELS for label in record):
            continue
        base = {label: earlier[label] for earlier in pack[: number + 1] for label in BASE if label in earlier}
        seconds = base.get("bt", 0) + record.get("t", 0)
        nanoseconds = math.floor(Fraction(seconds) * 10**6 + Fraction(1, 2)) * 1000 + (now_ns if seconds < 2**28 else 0)
        name = base.get("bn", "") + record.get("n", "")
        found.append(Record(name, nanoseconds if seconds else None, reference_row(base, record)))
    return found


def reference_row(base, record) -> dict:
    row = {}
    for label in {"vs", "vb", "vd"} & set(record):
        row["value"] = record[label]
    if "v" in record or ("bv" in base and not row and "s" not in record):
        row["value"] = base.get("bv", 0) + record.get("v", 0)
    if "s" in record or "bs" in base:
        row["sum"] = base.get("bs", 0) + record.get("s", 0)
    unit = record.get("u") or base.get("bu")
    return row | ({"unit": unit} if unit else {})


NUMBERS = (
    st.integers(-(2**40), 2**40) | st.floats(-1e12, 1e12, allow_nan=False) | st.sampled_from([0, 0.0, -0.0, 1e300])
)
SECONDS = (
    st.integers(-(2**29), 2**31)
    | st.floats(-1e6, 1e6)
    | st.sampled_from([0, 2**28, 2**28 - 1, 2**28 - 0.5, 1.276020076001e9])
)
NAMES = st.text(st.sampled_from("aZ0:./_-"), max_size=6)
VALUES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"v": NUMBERS}),
    st.fixed_dictionaries({"vs": st.text(max_size=5)}),
    st.fixed_dictionaries({"vb": st.booleans()}),
    st.fixed_dictionaries({"vd": st.binary(max_size=7)}),
)
UNITS = st.sampled_from(["Cel", "%RH", "/", ""])
NESTED = st.recursive(
    st.none() | st.integers(-(2**64), 2**64 - 1) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OTHERS = st.fixed_dictionaries(
    {}, optional={"n": NAMES, "u": UNITS, "t": SECONDS, "s": NUMBERS, "ut": NUMBERS, "extra": NESTED, "_x": NESTED}
)
BASES = st.fixed_dictionaries(
    {}, optional={"bn": NAMES.map(lambda name: "x" + name), "bt": SECONDS, "bu": UNITS, "bv": NUMBERS, "bs": NUMBERS}
)
RECORDS = st.tuples(BASES, VALUES, OTHERS).map(lambda parts: parts[0] | parts[1] | parts[2])


def is_sound(pack) -> bool:
    """Return whether each measurement has a value or a sum, and one is there."""
    records = reference(pack)
    return bool(records) and all({"value", "sum"} & set(record.row) for record in records)


PACKS = st.lists(RECORDS, min_size=1, max_size=5).map(lambda pack: [{"bn": "x", **pack[0]}, *pack[1:]]).filter(is_sound)


def same(ours, wanted) -> bool:
    return [(r.series, r.time_ns, [(k, type(v), v) for k, v in r.row.items()]) for r in ours] == [
        (r.series, r.time_ns, [(k, type(v), v) for k, v in r.row.items()]) for r in wanted
    ]


@settings(max_examples=300, deadline=None)
@given(PACKS)
def test_json_and_cbor_resolve_like_a_slow_look_back(pack) -> None:
    wanted = reference(pack)
    in_json = [{k: v for k, v in record.items() if k not in ("extra", "_x")} | unknown(record) for record in pack]
    assert same(decode_json(as_json(in_json), "t", NOW_NS), wanted)
    assert same(decode_cbor(as_cbor(pack), "t", NOW_NS), wanted)


def unknown(record) -> dict[str, str]:
    """Return the unknown labels of a record with text in place of numbers that JSON may not be able to hold."""
    return {label: repr(record[label]) for label in ("extra", "_x") if label in record}


@settings(max_examples=200, deadline=None)
@given(PACKS)
def test_a_pack_says_the_same_with_every_way_to_write_its_cbor(pack) -> None:
    wanted = decode_cbor(as_cbor(pack), "t", NOW_NS)
    stream = b"\x9f" + b"".join(as_cbor([record])[1:] for record in pack) + b"\xff"
    assert same(decode_cbor(stream, "t", NOW_NS), wanted)
    assert same(decode_cbor(b"\xd9\xd9\xf7" + stream, "t", NOW_NS), wanted)
    assert same(decode_cbor(cbor2.dumps(pack), "t", NOW_NS), wanted), "text labels"
    open_maps = b"\x9f" + b"".join(
        b"\xbf" + b"".join(cbor2.dumps(LABELS.get(k, k)) + cbor2.dumps(v) for k, v in record.items()) + b"\xff"
        for record in pack
    )
    assert same(decode_cbor(open_maps + b"\xff", "t", NOW_NS), wanted)


@settings(max_examples=60, deadline=None)
@given(PACKS)
def test_a_pack_cut_anywhere_is_refused(pack) -> None:
    for decode, payload in ((decode_cbor, as_cbor(pack)), (senml.decoder(Limits()), json.dumps([{"n": "a"}]).encode())):
        for end in range(len(payload)):
            with pytest.raises(DecodeError):
                decode(payload[:end], "t", NOW_NS)


def is_kept(record) -> bool:
    return all(
        (type(value) is int and -(2**63) <= value < 2**63)
        or (type(value) is float and math.isfinite(value))
        or type(value) in (bool, str, bytes)
        for value in record.row.values()
    ) and (record.time_ns is None or -(2**63) <= record.time_ns < 2**63)


def check_decided(decode, payload) -> None:
    try:
        records = decode(payload, "t", NOW_NS)
    except DecodeError as error:
        assert error.reason.isidentifier()  # noqa: PT017  # raising is allowed, not required
        assert len(error.fault) < 300  # noqa: PT017  # likewise
    else:
        assert 0 < len(records) <= RECORDS_MAX
        assert all(map(is_kept, records))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x81\xa3\x00\x61a" + tail))
def test_any_bytes_are_decided_as_senml(payload) -> None:
    check_decided(decode_cbor, payload)
    check_decided(decode_json, payload)


@settings(max_examples=200, deadline=None)
@given(PACKS, st.integers(0), st.integers(0, 255))
def test_a_pack_with_one_byte_changed_is_decided(pack, place, byte) -> None:
    for decode, payload in ((decode_cbor, as_cbor(pack)), (decode_json, as_json([{"n": "a", "v": 1, "t": 2}]))):
        at = place % len(payload)
        check_decided(decode, payload[:at] + bytes([byte]) + payload[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*LABELS, "x", "x_"]), NESTED | st.booleans() | FINITE, max_size=5))
def test_labels_that_hold_anything_are_decided_alike_in_both_forms(record) -> None:
    record.pop("vd", None)
    outcomes = []
    for decode, payload in ((decode_json, json.dumps([record]).encode()), (decode_cbor, as_cbor([record]))):
        try:
            outcomes.append(decode(payload, "t", NOW_NS))
        except DecodeError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


REFUSED = {
    "empty": [b""],
    "not_an_array": [b'{"n":"a","v":1}', b"7", b"null"],
    "not_an_object": [b"[1]", b"[null]", b'[[{"n":"a","v":1}]]'],
    "no_fields": [b"[]", b'[{"bn":"a"}]', b'[{"bn":"a","bv":1,"bs":2}]', b"[{}]", b'[{"x":1}]'],
    "name_invalid": [
        b'[{"v":1}]',
        b'[{"n":"","v":1}]',
        b'[{"n":"a b","v":1}]',
        b'[{"bn":"/a","v":1}]',
        b'[{"n":"_a","v":1}]',
        b'[{"n":"a#","v":1}]',
        b'[{"n":"a+","v":1}]',
        b'[{"n":"a\\n","v":1}]',
        '[{"n":"grün","v":1}]'.encode(),
        '[{"n":"\u0661","v":1}]'.encode(),
        b'[{"bn":"' + b"a" * 200 + b'","n":"' + b"b" * 57 + b'","v":1}]',
    ],
    "value_missing": [b'[{"n":"a"}]', b'[{"n":"a","t":5}]', b'[{"n":"a","u":"Cel","ut":1}]'],
    "value_ambiguous": [b'[{"n":"a","v":1,"vb":true}]', b'[{"n":"a","vs":"x","vd":"aGk"}]'],
    "field_invalid": [
        b'[{"n":1,"v":1}]',
        b'[{"n":"a","v":"1"}]',
        b'[{"n":"a","v":true}]',
        b'[{"n":"a","v":null}]',
        b'[{"n":"a","vb":1}]',
        b'[{"n":"a","vs":1}]',
        b'[{"n":"a","vd":1}]',
        b'[{"n":"a","vd":"aGkgCg=="}]',
        b'[{"n":"a","vd":"aGk+"}]',
        b'[{"n":"a","vd":"aGkgC"}]',
        b'[{"n":"a","v":1,"t":"now"}]',
        b'[{"n":"a","v":1,"ut":[1]}]',
        b'[{"bver":5.0,"n":"a","v":1}]',
        b'[{"bver":true,"n":"a","v":1}]',
        b'[{"bn":null,"n":"a","v":1}]',
    ],
    "must_understand": [b'[{"n":"a","v":1,"x_":1}]', b'[{"n":"a","v":1},{"_":[]}]'],
    "version_unsupported": [b'[{"bver":11,"n":"a","v":1}]', b'[{"bver":0,"n":"a","v":1}]', b'[{"bver":-1}]'],
    "version_mixed": [
        b'[{"bver":5,"n":"a","v":1},{"bver":10,"n":"a","v":1}]',
        b'[{"n":"a","v":1},{"bver":5,"n":"a","v":1}]',
    ],
    "time_invalid": [
        b'[{"n":"a","v":1,"t":1e300}]',
        b'[{"n":"a","v":1,"t":-1e300}]',
        b'[{"n":"a","v":1,"t":9223372037}]',
        b'[{"bt":9000000000,"n":"a","v":1,"t":9000000000}]',
        b'[{"n":"a","v":1,"t":-11000000000}]',
    ],
    "integer_too_large": [
        b'[{"n":"a","v":9223372036854775808}]',
        b'[{"bv":9223372036854775807,"n":"a","v":1}]',
        b'[{"bt":1e3,"n":"a","v":1,"t":1' + b"0" * 400 + b"}]",
    ],
    "number_too_large": [b'[{"bv":1e308,"n":"a","v":1e308}]', b'[{"n":"a","v":1e999}]'],
    "not_finite": [b'[{"n":"a","v":NaN}]'],
    "duplicate_key": [
        b'[{"n":"a","v":1,"v":2}]',
        b'[{"n":"a:","v":1,"\\u0076":2}]',
        b'[{"n":"a:b","v":1},{"n":"a:c","v":2,"n":"a:d"}]',
        b'[{"n":"a","v":1,"x":{"y":1,"y":2}}]',
    ],
    "malformed_json": [b'[{"n":"a","v":1}', b"[", b'[{"n":"a","v":1}]x'],
    "not_utf8": [b'[{"n":"a","vs":"\xff"}]'],
    "too_deep": [b'[{"n":"a","v":1,"x":' + b"[" * 500 + b"]" * 500 + b"}]", b"[" * 100_000],
    "too_many_fields": [b'[{"n":"a","v":1' + b"".join(b',"x%d":1' % n for n in range(70)) + b"}]"],
    "too_many_records": [b"[" + b'{"n":"a","v":1},' * RECORDS_MAX + b"{}]"],
}


@pytest.mark.parametrize(
    ("reason", "payload"), [(reason, payload) for reason in REFUSED for payload in REFUSED[reason]]
)
def test_a_bad_json_pack_is_refused_with_its_reason_and_soon(reason, payload) -> None:
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        decode_json(payload, "t", NOW_NS)
    assert caught.value.reason == reason
    assert time.perf_counter() - started < 1.0


REFUSED_CBOR = {
    "empty": [b""],
    "not_an_array": [b"\xa2\x00\x61a\x02\x01", b"\xd9\xd9\xf7\x01", b"\xff"],
    "not_an_object": [b"\x81\x01", b"\x81\xff"],
    "no_fields": [b"\x80", b"\x9f\xff", b"\x81\xa0", b"\x81\xa1\x21\x61a"],
    "duplicate_key": [b"\x81\xa3\x00\x61a\x02\x01\x02\x02", b"\x81\xa3\x00\x61a\x02\x01\x61v\x02"],
    "key_not_text": [b"\x81\xa1\x41a\x01", b"\x81\xa1\xf5\x01", b"\x81\xa1\x80\x01", b"\x81\xa1\xf9\x3c\x00\x01"],
    "malformed_cbor": [
        b"\x81",
        b"\x81\xa1\x00",
        b"\x81\xa1\x00\x62a",
        b"\x81\xa1\x02\xfb\x00",
        b"\x81\xa2\x00\x61a\x02\x01\x00",
        b"\x81\xa2\x00\x7f\x61a\xff\x02\x01",
        b"\x81\xa1\x1c\x01",
        b"\x9b\x00",
        b"\x81\xbb" + b"\xff" * 8,
        b"\x81\xa1\x61x\x5b" + b"\xff" * 8,
        b"\x81\xa1\x61x\xff",
        b"\x81\xa1\x61x\x1f",
    ],
    "not_utf8": [b"\x81\xa1\x00\x61\xff", b"\x81\xa1\x61\xff\x00"],
    "unsupported_type": [
        b"\x81\xa2\x00\x61a\x02\xc2\x41\x01",
        b"\x81\xa2\x00\x61a\x02\xc4\x01",
        b"\x81\xa2\x00\x61a\x02\xc4\x81\x01",
        b"\x81\xa2\x00\x61a\x02\xc4\x82\x01\x61a",
        b"\x81\xa2\x00\x61a\x02\xc4\x82\x01\xc2\x41\x01",
        b"\x81\xa2\x00\x61a\x02\xf7",
    ],
    "field_invalid": [
        b"\x81\xa2\x00\x61a\x02\xf6",
        b"\x81\xa2\x00\x61a\x02\x80",
        b"\x81\xa2\x00\x61a\x08\x61b",
        b"\x81\xa2\x00\x61a\x03\x41b",
    ],
    "number_too_large": [
        b"\x81\xa2\x00\x61a\x02\xc4\x82\x19\x01\x90\x01",
        b"\x81\xa2\x00\x61a\x02\xc4\x82\x1b" + b"\xff" * 8 + b"\x01",
    ],
    "integer_too_large": [b"\x81\xa2\x00\x61a\x02\x1b" + b"\xff" * 8],
    "not_finite": [b"\x81\xa2\x00\x61a\x02\xf9\x7e\x00", b"\x81\xa2\x00\x61a\x06\xf9\xfc\x00"],
    "must_understand": [b"\x81\xa3\x00\x61a\x02\x01\x62x_\x01"],
    "version_unsupported": [b"\x81\xa3\x20\x0b\x00\x61a\x02\x01", b"\x81\xa3\x20\x20\x00\x61a\x02\x01"],
    "too_many_fields": [
        b"\x81\xa1\x61x" + b"\x81" * 100_000,
        b"\x81\xa1\x61x" + b"\x9f" * 100_000,
        b"\x81\xa1\x61x" + b"\xc1" * 100_000,
        b"\x81\xa1\x61x\x9a\x00\x2d\xc6\xc0" + bytes(3_000_000),
        b"\x81\xb8\x46" + b"".join(b"\x18" + bytes([n, 0]) for n in range(100, 170)),
    ],
    "too_many_records": [b"\x9a\x00\x01\x00\x00", b"\x9f" + b"\xa2\x00\x61a\x02\x01" * (RECORDS_MAX + 1) + b"\xff"],
}


@pytest.mark.parametrize(
    ("reason", "payload"), [(reason, payload) for reason in REFUSED_CBOR for payload in REFUSED_CBOR[reason]]
)
def test_a_bad_cbor_pack_is_refused_with_its_reason_and_soon(reason, payload) -> None:
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        decode_cbor(payload, "t", NOW_NS)
    assert caught.value.reason == reason
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(("seconds", "relative"), [(2**28 - 1, True), (2**28, False), (-1, True), (2**28 - 0.5, True)])
def test_times_below_two_to_the_28_are_relative_to_the_arrival(seconds, relative) -> None:
    records = decode_json(as_json([{"n": "a", "v": 1, "t": seconds}]), "t", NOW_NS)
    assert records[0].time_ns == int(seconds * 10**9) + (NOW_NS if relative else 0)


def test_whether_a_time_is_relative_is_told_by_its_sum_with_the_base_time() -> None:
    pack = [{"bn": "a", "bt": 2**27, "t": 2**27, "v": 1}, {"t": 2**27 - 1, "v": 1}, {"t": -(2**27), "v": 1}]
    times = [record.time_ns for record in decode_cbor(as_cbor(pack), "t", NOW_NS)]
    assert times == [2**28 * 10**9, (2**28 - 1) * 10**9 + NOW_NS, None]


def test_the_unit_is_a_field_only_where_it_is_asked_for() -> None:
    payload = as_json([{"bn": "a", "bu": "Cel", "v": 1}, {"u": "K", "v": 2}])
    assert [record.row for record in senml.decoder(Limits())(payload, "t", 0)] == [{"value": 1}, {"value": 2}]
    rows = [record.row for record in senml.decoder(Limits(), unit=True)(payload, "t", 0)]
    assert rows == [{"value": 1, "unit": "Cel"}, {"value": 2, "unit": "K"}]


def test_records_without_the_fields_that_are_wanted_are_left_out() -> None:
    payload = as_cbor([{"bn": "a", "v": 1}, {"s": 5, "v": 2}, {"s": 7}])
    records = senml_cbor.decoder(Limits(fields=("sum", "value")))(payload, "t", 0)
    assert [list(record.row.items()) for record in records] == [
        [("value", 1)],
        [("sum", 5), ("value", 2)],
        [("sum", 7)],
    ]
    assert [record.row for record in senml_cbor.decoder(Limits(fields=("sum",)))(payload, "t", 0)] == [
        {"sum": 5},
        {"sum": 7},
    ]
    with pytest.raises(DecodeError) as caught:
        senml_cbor.decoder(Limits(fields=("other",)))(payload, "t", 0)
    assert caught.value.reason == "no_fields"


def test_a_row_may_not_have_more_fields_than_allowed() -> None:
    payload = as_json([{"n": "a", "v": 1, "s": 2}])
    assert senml.decoder(Limits(field_count_max=2))(payload, "t", 0)[0].row == {"value": 1, "sum": 2}
    with pytest.raises(DecodeError) as caught:
        senml.decoder(Limits(field_count_max=1))(payload, "t", 0)
    assert caught.value.reason == "too_many_fields"


@settings(max_examples=200, deadline=None)
@given(st.integers(-400, 300), st.integers(-(2**64), 2**64 - 1))
def test_decimal_fractions_are_the_nearest_double(exponent, mantissa) -> None:
    payload = b"\x81\xa2\x00\x61a\x02\xc4\x82" + cbor2.dumps(exponent) + cbor2.dumps(mantissa)
    try:
        value = float(Fraction(mantissa) * Fraction(10) ** exponent)
    except OverflowError:
        with pytest.raises(DecodeError):
            decode_cbor(payload, "t", 0)
    else:
        assert decode_cbor(payload, "t", 0)[0].row == {"value": value}


def test_as_many_records_as_allowed_are_taken_in_order_and_soon() -> None:
    pack = [{"bn": "a", "v": 0}, *({"t": -number, "v": number} for number in range(1, RECORDS_MAX))]
    started = time.perf_counter()
    for decode, payload in ((decode_json, as_json(pack)), (decode_cbor, as_cbor(pack))):
        records = decode(payload, "t", NOW_NS)
        assert [record.row["value"] for record in records] == list(range(RECORDS_MAX))
    assert time.perf_counter() - started < 2.0


def test_many_integer_labels_with_colliding_hashes_cost_no_more_than_others() -> None:
    payload = b"\x81\xba\x00\x03\x0d\x40" + b"".join(
        b"\x1b" + (number << 40).to_bytes(8) + b"\x00" for number in range(200_000)
    )
    started = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        decode_cbor(payload, "t", 0)
    assert caught.value.reason == "too_many_fields"
    assert time.perf_counter() - started < 0.5
