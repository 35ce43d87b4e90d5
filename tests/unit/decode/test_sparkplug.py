"""Sparkplug B is read as Google's Protobuf and another library wrote it, and remembers no more than it may."""

from __future__ import annotations

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.decode.contract import RECORDS_MAX, Limits
from gateway.decode.sparkplug.topic import place_of
from gateway.errors import DecodeError
from tests.support import catalogue, tahu
from tests.support.edge_node import (
    BOOLEAN,
    DBIRTH,
    DDATA,
    DDEATH,
    DOUBLE,
    INT32,
    MS,
    NBIRTH,
    NDATA,
    NDEATH,
    STRING,
    TOPICS,
    birth,
    data,
    decoder,
    metric,
    outcome,
    payload,
    refused,
    rows_of,
)


@pytest.mark.parametrize("example", catalogue.examples("sparkplug"), ids=str)
def test_each_sparkplug_message_of_the_catalogue_decodes_to_what_is_written_beside_it(example) -> None:
    told = dict(example.options)
    topic, before = told.pop("topic"), told.pop("after", [])
    sparkplug = decoder(**told)
    for name in before:
        earlier = catalogue.example("sparkplug", name)
        sparkplug.decode(earlier.payload, earlier.options["topic"], 0)
    if example.records is None:
        assert refused(sparkplug, example.payload, topic) == example.refused
    else:
        assert catalogue.typed(sparkplug.decode(example.payload, topic, 0)) == catalogue.typed(example.records)


def test_the_examples_on_the_page_of_sparkplug_are_messages_of_the_catalogue() -> None:
    page = (catalogue.ROOT.parents[2] / "docs" / "decoders" / "sparkplug.md").read_text("utf-8")
    shown = [line.split("(")[1].split(")")[0] for line in page.splitlines() if "fixtures/messages/sparkplug/" in line]
    assert shown
    for place in shown:
        name = place.rsplit("/", 1)[1].removesuffix(".payload")
        assert catalogue.example("sparkplug", name).payload.hex(" ") in " ".join(page.split())


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("spBv1.0/g/NDATA", "topic_invalid"),
        ("spBv1.0/g/NDATA/e/d", "topic_invalid"),
        ("spBv1.0/g/DDATA/e", "topic_invalid"),
        ("spBv1.0/g/DDATA/e/d/x", "topic_invalid"),
        ("spBv1.0/STATE/scada", "topic_invalid"),
        ("spBv1.0//NDATA/e", "topic_invalid"),
        ("spAv1.0/g/NDATA/e", "topic_invalid"),
        ("spBv1.0/g/NCMD/e/d", "topic_invalid"),
        ("", "topic_invalid"),
    ],
)
def test_a_topic_without_readings_is_refused(topic, reason) -> None:
    assert refused(decoder(), birth(), topic) == reason


def test_births_data_and_deaths_of_one_place_have_one_origin() -> None:
    assert {place_of(topic).origin for topic in (NBIRTH, NDATA, NDEATH)} == {"spBv1.0/g/e"}
    assert {place_of(topic).origin for topic in (DBIRTH, DDATA, DDEATH)} == {"spBv1.0/g/e/d"}


@pytest.mark.parametrize(
    ("bits", "field", "sent_bits"),
    [
        *((bits, "int_value", sent_bits) for bits, sent_bits in [(8, 8), (8, 32), (16, 16), (16, 32), (32, 32)]),
        *((bits, "long_value", sent_bits) for bits in (8, 16, 32, 64) for sent_bits in (bits, 64)),
    ],
)
def test_a_signed_integer_is_read_however_many_bits_its_sign_fills(bits, field, sent_bits) -> None:
    datatype = {8: 1, 16: 2, 32: 3, 64: 4}[bits]
    for value in (-1, -2, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0):
        said = payload(metric("x", datatype=datatype, **{field: value % 2**sent_bits}), seq=0)
        assert rows_of(decoder().decode(said, NBIRTH, 0)) == [{"x": value}]


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        (1, "int_value", 300),
        (1, "int_value", 2**16 - 1),
        (2, "int_value", 2**16),
        (3, "long_value", 2**32),
        (5, "int_value", 256),
        (6, "int_value", 2**32 - 1),
        (7, "long_value", 2**32),
        (INT32, "double_value", 1.0),
        (DOUBLE, "int_value", 1),
        (BOOLEAN, "int_value", 1),
        (STRING, "bytes_value", b"x"),
        (17, "string_value", "x"),
        (13, "string_value", "2026"),
        (16, "string_value", "x"),
        (19, "int_value", 1),
        (22, "int_value", 1),
        (20, "int_value", 1),
        (99, "int_value", 1),
        (0, "int_value", 1),
    ],
)
def test_a_value_that_its_type_cannot_have_is_refused(datatype, field, value) -> None:
    said = payload(metric("x", datatype=datatype, **{field: value}), seq=0)
    assert refused(decoder(), said, NBIRTH) == "value_mismatch"


@pytest.mark.parametrize(
    ("datatype", "raw", "reason"),
    [
        (23, b"\0", "array_invalid"),
        (32, b"\1\0\0", "array_invalid"),
        (32, b"\1\0\0\0", "array_invalid"),
        (32, b"\1\0\0\0\0\0", "array_invalid"),
        (32, b"\xff\xff\xff\xff", "too_many_fields"),
        (33, b"ab", "array_invalid"),
        (33, b"\xff\0", "not_utf8"),
        (33, b"\0" * 300, "too_many_fields"),
        (22, b"\0" * 300, "too_many_fields"),
        (29, b"\xff" * 8, "integer_too_large"),
        (30, struct.pack("<f", float("nan")), "not_finite"),
        (34, b"\xff" * 8, "time_invalid"),
    ],
)
def test_a_malformed_array_is_refused(datatype, raw, reason) -> None:
    assert refused(decoder(), payload(metric("x", datatype=datatype, bytes_value=raw)), NBIRTH) == reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "empty"),
        (payload(metric(datatype=3, int_value=1)), "name_missing"),
        (payload(metric("a" * 257, datatype=3, int_value=1)), "field_name_too_long"),
        (payload(metric("a" * 255, datatype=22, bytes_value=b"\1")), "field_name_too_long"),
        (payload(metric("a", alias=1, datatype=3), metric("b", alias=1, datatype=3)), "duplicate_alias"),
        (payload(metric("a", datatype=13, long_value=2**63)), "time_invalid"),
        (payload(metric("a", datatype=3, int_value=1, timestamp=2**60)), "time_invalid"),
        (payload(seq=256), "seq_invalid"),
        (b"\x12\x03\x0a\x01\xff", "not_utf8"),
    ],
)
def test_a_birth_that_cannot_be_read_is_refused(said, reason) -> None:
    assert refused(decoder(), said, NBIRTH) == reason


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (tahu.dataset(["a", "a"], [3, 3], []), "duplicate_key"),
        (tahu.dataset(["a"], [3, 3], []), "dataset_invalid"),
        (tahu.dataset(["a"], [3], [[{"int_value": 1}, {"int_value": 2}]]), "dataset_invalid"),
        (tahu.message("DataSet", num_of_columns=2, columns=["a"], types=[3]), "dataset_invalid"),
        (tahu.dataset(["a"], [3], [[{"string_value": "x"}]]), "value_mismatch"),
        (tahu.dataset(["a" * 257], [3], []), "field_name_too_long"),
        (tahu.dataset([str(n) for n in range(257)], [3] * 257, []), "too_many_fields"),
        (tahu.dataset(["a"], [3], [[{}]] * (RECORDS_MAX + 1)), "too_many_records"),
        (tahu.dataset(["a"], [3], [[{"int_value": 1}]] * RECORDS_MAX), "too_many_records"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(table, reason) -> None:
    assert refused(decoder(), payload(metric("t", datatype=16, dataset_value=table)), NBIRTH) == reason


def test_the_types_of_a_data_set_may_come_packed() -> None:
    plain = tahu.dataset(["a", "b"], [3, 10], [[{"int_value": 2**32 - 1}, {"double_value": 0.5}]])
    packed = bytes(plain.SerializeToString()).replace(b"\x18\x03\x18\x0a", b"\x1a\x02\x03\x0a")
    said = payload(metric("t", datatype=16, dataset_value=plain))
    repacked = said.replace(bytes(plain.SerializeToString()), packed)
    assert (
        rows_of(decoder().decode(repacked, NBIRTH, 0))
        == [{"a": -1, "b": 0.5}]
        == rows_of(decoder().decode(said, NBIRTH, 0))
    )


def test_a_birth_of_more_metrics_than_a_row_has_fields_becomes_several_rows() -> None:
    rows = rows_of(decoder(Limits(field_count_max=4)).decode(birth(*range(10)), NBIRTH, 0))
    assert [len(row) for row in rows] == [4, 4, 2]
    assert [value for row in rows for value in row.values()] == list(range(10))


def test_only_wanted_metrics_are_taken_in_their_order_and_a_birth_is_taken_without_any() -> None:
    sparkplug = decoder(Limits(fields=("m2", "m0")))
    assert [list(row) for row in rows_of(sparkplug.decode(birth(0, 1, 2), NBIRTH, 0))] == [["m2", "m0"]]
    assert refused(sparkplug, data(1), NDATA) == "no_fields"
    assert rows_of(sparkplug.decode(data(2, seq=2), NDATA, 0)) == [{"m2": 5}]
    assert [row for _, _, row in decoder(Limits(fields=("x",))).decode(birth(1), NBIRTH, 0)] == [
        {"online": True, "bd_seq": 1}
    ]


def test_a_marked_row_is_within_the_limit_of_fields() -> None:
    sparkplug = decoder(Limits(field_count_max=3), historical="mark")
    metrics = [metric(f"m{n}", datatype=INT32, int_value=n, is_historical=True) for n in range(4)]
    rows = rows_of(sparkplug.decode(payload(*metrics), NBIRTH, 0))
    assert [list(row) for row in rows] == [["m0", "m1", "is_historical"], ["m2", "m3", "is_historical"]]


def test_templates_are_followed_as_deep_as_allowed() -> None:
    def nested(depth):
        inner = metric("x", datatype=INT32, int_value=1)
        for _ in range(depth):
            inner = metric("t", datatype=19, template_value=tahu.message("Template", metrics=[inner]))
        return payload(inner)

    limits = Limits(depth_max=3)
    assert rows_of(decoder(limits).decode(nested(2), NBIRTH, 0)) == [{"t/t/x": 1}]
    assert refused(decoder(limits), nested(3), NBIRTH) == "too_deep"


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x12\x00" * 200_000,
        b"\x12\x02\x0a\x00" * 100_000,
        b"\x08" + b"\xff" * 400_000,
        b"\x12\xff\xff\xff\xff\x7f",
        b"\x33" * 400_000,
        b"\x1b" * 400_000,
        payload(metric("t", datatype=16, dataset_value=tahu.dataset([], [], [[]] * 10_000))) * 2,
        payload(metric("x", datatype=3, template_value=tahu.message("Template", metrics=[tahu.metric()] * 100_000))),
        payload(metric("x", datatype=32, bytes_value=b"\xff\xff\xff\xff")),
    ],
)
def test_a_hostile_sparkplug_payload_costs_little(hostile) -> None:
    for topic in (NBIRTH, NDATA, NDEATH):
        tracemalloc.start()
        started = time.perf_counter()
        try:
            decoder().decode(hostile, topic, 0)
        except DecodeError as error:
            assert len(error.fault) < 300  # noqa: PT017  # raising is allowed, not required
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.perf_counter() - started < 4.0
        assert peak < 24 * 2**20


VALUES = st.one_of(
    st.tuples(st.just(1), st.just("int_value"), st.integers(-(2**7), 2**7 - 1)),
    st.tuples(st.just(2), st.just("int_value"), st.integers(-(2**15), 2**15 - 1)),
    st.tuples(st.just(3), st.just("int_value"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(4), st.just("long_value"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(7), st.just("int_value"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(8), st.just("long_value"), st.integers(0, 2**63 - 1)),
    st.tuples(st.just(9), st.just("float_value"), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(10), st.just("double_value"), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(11), st.just("boolean_value"), st.booleans()),
    st.tuples(st.just(12), st.just("string_value"), st.text(max_size=5)),
    st.tuples(st.just(17), st.just("bytes_value"), st.binary(max_size=5)),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda name: name != "bdSeq")


def sent(field, value) -> dict:
    if type(value) is int:
        return {field: value % 2 ** (32 if field == "int_value" else 64)}
    return {field: value}


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(VALUES, st.integers(0, 3)), max_size=6), st.randoms())
def test_what_protobuf_wrote_is_read_back_by_name_and_by_alias(said, chance) -> None:
    sparkplug = decoder()
    names = list(said)
    learnt = [
        metric(name, alias=number, datatype=said[name][0][0], timestamp=said[name][1], **sent(*said[name][0][1:]))
        for number, name in enumerate(names)
    ]
    sparkplug.decode(payload(*learnt, seq=0), NBIRTH, 0)
    order = chance.sample(range(len(names)), len(names))
    again = [
        metric(alias=number, timestamp=said[names[number]][1], **sent(*said[names[number]][0][1:])) for number in order
    ]
    found = sparkplug.decode(payload(*again, seq=1), NDATA, 0) if names else []
    values = [(time_ns, name, type(value), value) for _, time_ns, row in found for name, value in row.items()]
    assert values == [
        (said[names[n]][1] * MS or None, names[n], type(said[names[n]][0][2]), said[names[n]][0][2]) for n in order
    ]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(TOPICS))
def test_any_bytes_are_decided_as_sparkplug(said, topic) -> None:
    assert outcome(decoder(), said, topic, 0)[0] in {"records", "refused"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(catalogue.examples("sparkplug")), st.data())
def test_a_sparkplug_message_changed_anywhere_is_decided(example, chance) -> None:
    changed = bytearray(example.payload)
    for _ in range(chance.draw(st.integers(1, 3))):
        changed[chance.draw(st.integers(0, len(changed) - 1))] = chance.draw(st.integers(0, 255))
    for topic in (NBIRTH, NDATA):
        assert outcome(decoder(), bytes(changed), topic, 0)[0] in {"records", "refused"}


@pytest.mark.parametrize("example", catalogue.examples("sparkplug"), ids=str)
def test_a_sparkplug_message_cut_anywhere_is_decided_as_protobuf_decides_it(example) -> None:
    for end in range(1, len(example.payload)):
        try:
            tahu.parsed(example.payload[:end])
            is_whole = True
        except Exception:  # noqa: BLE001  # whatever the other parser raises
            is_whole = False
        kind, found, _ = outcome(decoder(), example.payload[:end], NBIRTH, 0)
        assert is_whole or (kind == "refused" and found in {"malformed_protobuf", "not_utf8"})
        assert not is_whole or found != "malformed_protobuf"


def test_a_command_holds_no_readings() -> None:
    one = decoder()
    for topic in ("spBv1.0/g/NCMD/e", "spBv1.0/g/DCMD/e/d"):
        assert one.decode(b"", topic, 0) == []
    assert one.take_requests() == []
