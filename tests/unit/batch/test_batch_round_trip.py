"""What is sealed comes out again, exactly; and its hash depends on nothing but the readings."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import body, columns, envelope, gap, packing
from gateway.batch.decode import DecodedBatch, decode
from gateway.model import Gap, Reading, SealedBatch
from tests.support.batches import LEDGER, expected_readings, open_batch

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TIMES = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 5)
VALUES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.binary(max_size=40),
    st.sampled_from([0, 1, 0.0, -0.0, "", b"", True]),
)
ROWS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
ENTRIES = st.lists(st.tuples(TIMES, ROWS), min_size=1, max_size=12)


def columns_of(entries):
    return [time_ns for time_ns, _ in entries], [row for _, row in entries]


OPEN_ROWS = st.dictionaries(NAMES, ENTRIES.map(columns_of), min_size=1, max_size=5)


def sealed_and_decoded(rows, **options):
    sealed = envelope.seal(open_batch(rows, **options), "boot-a")
    decoded = decode(sealed.data)
    assert isinstance(decoded, DecodedBatch)
    return sealed, decoded


def exact(readings):
    """Floats as their bits, types beside values: NaN equals NaN, 0.0 is not -0.0, True is not 1."""
    return [
        one._replace(
            value=(type(one.value), struct.pack("<d", one.value) if isinstance(one.value, float) else one.value)
        )
        for one in readings
    ]


@settings(max_examples=150, deadline=None)
@given(OPEN_ROWS)
def test_what_is_sealed_comes_out_again_in_the_promised_order(rows):
    _, decoded = sealed_and_decoded(rows)
    assert exact(decoded.readings()) == exact(expected_readings(open_batch(rows)))


@settings(max_examples=30, deadline=None)
@given(OPEN_ROWS, st.randoms())
def test_the_order_of_topics_and_fields_in_memory_changes_no_byte(rows, chance):
    shuffled = {}
    for topic in chance.sample(sorted(rows), len(rows)):
        times, entries = rows[topic]
        shuffled[topic] = (times, [dict(chance.sample(sorted(row.items(), key=str), len(row))) for row in entries])
    assert envelope.seal(open_batch(shuffled), "b").data == envelope.seal(open_batch(rows), "b").data


def test_floats_come_back_bit_for_bit_whatever_they_are():
    odd = [b"\x01\0\0\0\0\0\xf8\xff", b"\0\0\0\0\0\0\xf8\x7f", b"\0\0\0\0\0\0\0\x80", b"\x01" + bytes(7)]
    values = [struct.unpack("<d", bits)[0] for bits in odd] * 50 + [0.1 * number for number in range(300)]
    rows = {"t": (list(range(len(values))), [{"f": value} for value in values])}
    _, decoded = sealed_and_decoded(rows)
    (table,) = decoded.tables
    assert table.values.tobytes() == np.array(values).tobytes()


def test_values_of_one_time_keep_the_order_in_which_they_came():
    times = [7, 3, 7, 3, 7]
    _, decoded = sealed_and_decoded({"t": (times, [{"f": number} for number in range(5)])})
    assert list(decoded.columns()) == [("t", "f", [3, 3, 7, 7, 7], [1, 3, 0, 2, 4])]


def test_one_field_of_several_types_makes_one_table_of_each():
    rows = {"t": ([1, 2, 3, 4], [{"f": 1}, {"f": 1.0}, {"f": True}, {"f": "1"}])}
    _, decoded = sealed_and_decoded(rows)
    assert [(table.field, len(table.values)) for table in decoded.tables] == [("f", 1)] * 4
    assert [type(one.value) for one in decoded.readings()] == [int, float, bool, str]


def test_tables_of_fields_that_came_together_share_their_times():
    rows = {topic: ([1, 2], [{"x": 1, "y": 2.0, "z": "a"}] * 2) for topic in "abc"}
    _, decoded = sealed_and_decoded(rows)
    assert len({id(table.times_ns) for table in decoded.tables}) == 1


def test_tables_are_arrays_of_equal_length_that_index_the_topics():
    _, decoded = sealed_and_decoded({"b": ([5], [{"x": 2.5}]), "a": ([6, 4], [{"x": 1.5}, {"x": 0.5}])})
    (table,) = decoded.tables
    assert decoded.topics == ["a", "b"]
    assert (table.topics.tolist(), table.times_ns.tolist(), table.values.tolist()) == (
        [0, 0, 1],
        [4, 6, 5],
        [0.5, 1.5, 2.5],
    )


def test_the_header_says_what_the_batch_is():
    batch = open_batch({"t": ([9, 2], [{"x": 1}, {"x": 2, "y": 3}])})
    sealed, decoded = sealed_and_decoded(batch.rows)
    header = decoded.header
    assert isinstance(sealed, SealedBatch)
    assert (sealed.id, sealed.readings, sealed.hash) == (header.id, header.readings, header.hash)
    assert (header.id, header.readings, header.readings_before) == (batch.id, 3, 1000)
    assert (header.first_ns, header.last_ns, header.sealed_ns) == (2, 9, batch.sealed_ns)
    assert (header.clock, header.correction_ns, header.boot, header.ledger) == (2, 0, "boot-a", LEDGER)


def test_peek_reads_the_header_from_the_first_bytes():
    sealed, decoded = sealed_and_decoded({"t": (list(range(500)), [{"x": number * 1.7} for number in range(500)])})
    header_bytes = int.from_bytes(sealed.data[8:12], "little")
    assert envelope.peek(sealed.data[: 16 + header_bytes]) == decoded.header


def test_the_hash_depends_on_readings_and_their_line_and_not_on_identity_boot_or_time():
    rows = {"t": ([1, 2], [{"x": 1.5}, {"x": 2.5}])}
    first, again = open_batch(rows), open_batch(rows, sequence=6)
    again.sealed_ns, again.ledger = 1, {}
    assert envelope.seal(first, "boot-a").hash == envelope.seal(again, "boot-b").hash
    assert envelope.seal(open_batch(rows, readings_before=1001), "").hash != envelope.seal(first, "").hash
    for other in (
        {"t": ([1, 2], [{"x": 1.5}, {"x": 2.25}])},
        {"t": ([1, 3], [{"x": 1.5}, {"x": 2.5}])},
        {"u": ([1, 2], [{"x": 1.5}, {"x": 2.5}])},
        {"t": ([1, 2], [{"y": 1.5}, {"y": 2.5}])},
        {"t": ([1, 2], [{"x": 1}, {"x": 2}])},
    ):
        assert envelope.seal(open_batch(other), "").hash != envelope.seal(first, "").hash


@pytest.mark.parametrize(("small_bytes", "zstd_level", "pco_level"), [(1 << 30, 1, 1), (0, 19, 12), (0, 1, 0)])
def test_the_hash_does_not_depend_on_how_columns_are_compressed(monkeypatch, small_bytes, zstd_level, pco_level):
    rows = {
        topic: (
            list(range(200)),
            [{"i": n % 7, "f": n / 3, "b": n % 3 == 0, "t": f"state {n % 4}", "r": bytes([n])} for n in range(200)],
        )
        for topic in ("a", "b")
    }
    usual = envelope.seal(open_batch(rows), "boot")
    monkeypatch.setattr(packing, "_SMALL_BYTES", small_bytes)
    monkeypatch.setattr(packing, "_ZSTD_LEVEL", zstd_level)
    monkeypatch.setattr(packing, "_PCO_LEVEL", pco_level)
    other = envelope.seal(open_batch(rows), "boot")
    assert other.data != usual.data
    assert other.hash == usual.hash
    assert list(decode(other.data).readings()) == list(decode(usual.data).readings())


def test_the_hash_is_what_the_format_page_says():
    """Computed here by hand from the page, for two topics that share the key of two fields."""
    rows = {"b": ([20, 10], [{"x": 1.5, "n": "é"}, {"x": 2.5, "n": ""}]), "a": ([30], [{"x": -1.0, "n": "k"}])}
    form = struct.pack("<Q4I", 1000, 2, 2, 1, 2)
    form += struct.pack("<2I", 1, 1) + b"ab"
    form += struct.pack("<2I", 1, 1) + b"nx"
    form += struct.pack("<I", 2) + struct.pack("<2I", 0, 1) + struct.pack("<2I", 1, 2) + struct.pack("<3q", 30, 10, 20)
    form += struct.pack("<3I", 0, 4, 0) + struct.pack("<3I", 1, 0, 2) + b"k" + "é".encode()
    form += struct.pack("<3I", 1, 2, 0) + struct.pack("<3d", -1.0, 2.5, 1.5)
    assert envelope.seal(open_batch(rows), "").hash == columns.hashlib.blake2b(form, digest_size=16).digest()


@given(st.integers(1, 1 << 62), st.integers(0, 1 << 62), st.sampled_from(["evicted", "damaged"]))
@settings(max_examples=30, deadline=None)
def test_a_gap_comes_out_as_it_went_in(first, readings, reason):
    lost = Gap("node-1", "alarm", 9, first, first + 3, readings, 77, reason)
    assert decode(gap.encode(lost)) == lost


def test_the_readings_of_a_batch_are_counted_once():
    _, decoded = sealed_and_decoded({"t": ([1], [{"x": 1, "y": 2}])})
    assert list(decoded.readings()) == [Reading("node-1", "t", "x", 1, 1), Reading("node-1", "t", "y", 1, 2)]
    assert body.read(body.write(columns.content({"t": ([1], [{"x": 1}])})), 1).fields == ["x"]
