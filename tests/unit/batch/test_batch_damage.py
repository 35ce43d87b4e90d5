"""Whatever the bytes are, the decoder returns what was sealed or raises `BatchError`, and never takes much memory."""

import contextlib
import struct
import tracemalloc

import cbor2
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pcodec import ChunkConfig, standalone

from gateway.batch import body, envelope, gap, packing
from gateway.batch.columns import content
from gateway.batch.decode import decode
from gateway.batch.packing import Packer, Unpacker
from gateway.errors import BatchError
from gateway.model import Gap, Thinned
from tests.support.batch_vectors import FOLDER
from tests.support.batches import open_batch

VECTORS = {path.stem: path.read_bytes() for path in FOLDER.glob("*.egb")}
ROWS = {
    topic: (
        list(range(30)),
        [{"f": n / 4, "i": n * n, "b": n % 3 == 0, "t": "on" if n % 4 else "öff"} for n in range(30)],
    )
    for topic in ("a", "b")
}
SMALL = envelope.seal(open_batch(ROWS), "boot").data


def parts(data):
    found = envelope.opened(data)
    return found.fields, found.body


def with_checksum(data):
    covered = bytes(data[:-4])
    return covered + struct.pack("<I", envelope.crc32c(covered))


def body_of(*columns, counts=(1, 1, 1, 1)):
    """Return a body of numpy columns and blobs; the usual one has topic t, field f and one integer."""
    packer = Packer()
    for number in counts:
        packer.count(number)
    for column in columns:
        packer.blob(column) if isinstance(column, bytes) else packer.numbers(column)
    return packer.done()


def u32(*numbers):
    return np.array(numbers, np.uint32)


def i64(*numbers):
    return np.array(numbers, np.int64)


def test_every_truncation_is_refused():
    for data in (SMALL, VECTORS["one_reading"], VECTORS["gap"]):
        for size in range(len(data)):
            with pytest.raises(BatchError):
                decode(data[:size])
        with pytest.raises(BatchError):
            decode(data + b"\0")


def test_every_flipped_byte_is_refused():
    for data in (VECTORS["one_reading"], VECTORS["gap"]):
        for offset in range(len(data)):
            for bits in range(1, 256):
                damaged = bytearray(data)
                damaged[offset] ^= bits
                with pytest.raises(BatchError):
                    decode(damaged)


def test_a_flipped_bit_under_a_right_checksum_is_refused_or_changes_no_reading():
    readings = list(decode(SMALL).readings())
    for offset in range(len(SMALL) - 4):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[offset] ^= 1 << bit
            try:
                found = decode(with_checksum(damaged))
            except BatchError:
                continue
            assert [one._replace(node="node-1") for one in found.readings()] == readings, (offset, bit)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 5), st.integers(0, 255)), min_size=1, max_size=12))
def test_hostile_bytes_under_a_right_checksum_never_raise_anything_else(changes):
    damaged = bytearray(SMALL)
    for offset, byte in changes:
        damaged[offset] = byte
    with contextlib.suppress(BatchError):
        decode(with_checksum(damaged))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_at_every_depth(data):
    for attempt in (
        lambda: decode(data),
        lambda: envelope.peek(envelope.MAGIC + b"\1\1\0\0" + data),
        lambda: body.read(data, 100),
    ):
        with pytest.raises(BatchError):
            attempt()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("node", value) for value in ("", "a/b", "x" * 65, "n\n", 5, None)),
        *(("readings", value) for value in (0, -1, 239, 241, 1 << 23, "9", 2.0)),
        *(("readings_before", value) for value in (-1, 1 << 63, 999)),
        *(("sequence", value) for value in (0, -1, 1 << 64, True)),
        *(("first_ns", value) for value in (1, -1, 1 << 63)),
        *(("last_ns", value) for value in (0, 30)),
        *(("hash", value) for value in (b"", bytes(16), bytes(17), "a" * 16)),
        *(("ledger", value) for value in ({"a": -1}, {"a": "1"}, {1: 1}, [], {str(n): n for n in range(5000)})),
        *(("clock", value) for value in (3, -1)),
        ("codec", 2),
        ("boot", "x" * 65),
    ],
)
def test_a_header_with_a_wrong_value_is_refused(name, value):
    fields, content_bytes = parts(SMALL)
    with pytest.raises(BatchError):
        decode(envelope.enclose(envelope.BATCH, fields | {name: value}, content_bytes))


THINNED = {"interval_ns": 1, "lane": "telemetry", "first": 4, "last": 4, "readings": 0, "batches": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"interval_ns": value} for value in (0, -1, 1 << 63, "1s", 1.0, None)),
        *({"lane": value} for value in ("", "a/b", "x" * 65, 5)),
        *({"first": value} for value in (0, 5, "4")),
        *({"last": value} for value in (3, 1 << 63)),
        *({name: value} for name in ("readings", "batches") for value in (-1, 1 << 63, 1.5)),
    ],
    ids=str,
)
def test_a_wrong_word_on_what_a_batch_stands_for_is_refused(wrong):
    fields, content_bytes = parts(SMALL)
    with pytest.raises(BatchError):
        decode(envelope.enclose(envelope.BATCH, fields | {"thinned": THINNED | wrong}, content_bytes))


def test_what_a_batch_stands_for_is_whole_or_not_there():
    fields, content_bytes = parts(SMALL)
    assert "thinned" not in fields
    for name in THINNED:
        less = {key: value for key, value in THINNED.items() if key != name}
        with pytest.raises(BatchError):
            decode(envelope.enclose(envelope.BATCH, fields | {"thinned": less}, content_bytes))
    more = envelope.enclose(envelope.BATCH, fields | {"thinned": THINNED | {"later": [1]}}, content_bytes)
    assert decode(more).header.thinned == Thinned(**THINNED)


def test_a_header_without_a_key_is_refused_and_an_unknown_key_is_ignored():
    fields, content_bytes = parts(SMALL)
    for name in fields:
        less = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(BatchError):
            decode(envelope.enclose(envelope.BATCH, less, content_bytes))
    more = envelope.enclose(envelope.BATCH, fields | {"later": [1]}, content_bytes)
    assert list(decode(more).readings()) == list(decode(SMALL).readings())


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xf6",
        b"\xbf\xff",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xa1\x61a\x18\x01",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd8\x23\x61(",
        b"\x81" * 500,
        cbor2.dumps({"a": 1}) + b"\0",
    ],
)
def test_a_header_that_is_not_a_canonical_map_is_refused(header):
    data = struct.pack("<4sBBHII", envelope.MAGIC, 1, 1, 0, len(header), 0) + header + bytes(4)
    with pytest.raises(BatchError):
        decode(with_checksum(data))


@pytest.mark.parametrize(("offset", "byte"), [(4, 3), (5, 2), (6, 1), (7, 1), (11, 255)])
def test_an_unknown_kind_or_version_is_refused_before_anything_is_read(offset, byte):
    changed = bytearray(SMALL)
    changed[offset] = byte
    with pytest.raises(BatchError):
        envelope.peek(bytes(changed))


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 0},
        {"first": 22},
        {"readings": -1},
        {"reason": ""},
        {"lane": "#"},
        {"last": None},
    ],
)
def test_a_gap_with_a_wrong_value_is_refused(wrong):
    fields = parts(VECTORS["gap"])[0] | wrong
    with pytest.raises(BatchError):
        decode(envelope.enclose(envelope.GAP, fields, b""))
    with pytest.raises(BatchError):
        decode(envelope.enclose(envelope.GAP, parts(VECTORS["gap"])[0], b"\0"))


def test_peek_refuses_a_gap():
    with pytest.raises(BatchError):
        envelope.peek(gap.encode(Gap("n", "l", 1, 1, 1, 1, 0, "evicted")))


USUAL = (u32(1), b"t", u32(1), b"f", u32(1), u32(0), u32(1), u32(0), u32(0), u32(1), i64(5), i64(7))


def test_a_body_made_by_hand_is_read():
    assert body.write(content({"t": ([5], [{"f": 7}])})) == body_of(*USUAL)
    assert body.read(body_of(*USUAL), 1).tables[0].values.tolist() == [7]


@pytest.mark.parametrize(
    ("fault", "columns", "counts", "readings"),
    [
        ("another number of readings", USUAL, (1, 1, 1, 1), 2),
        ("no tables", (u32(), b"", u32(), b"", u32(), u32(), u32(), u32()), (0, 0, 0, 0), 1),
        ("no readings", USUAL, (1, 1, 1, 1), 0),
        ("ascending", (u32(1, 1), b"tt", *USUAL[2:]), (2, 1, 1, 1), 2),
        ("topic of the batch has no", (u32(1, 1), b"tu", *USUAL[2:]), (2, 1, 1, 1), 2),
        ("UTF-8", (u32(1), b"\xff", *USUAL[2:]), (1, 1, 1, 1), 1),
        ("too long", (u32(65536), b"t" * 65536, *USUAL[2:]), (1, 1, 1, 1), 1),
        ("fields", (*USUAL[:2], u32(1, 1), b"fg", *USUAL[4:]), (1, 2, 1, 1), 2),
        ("unknown type", (*USUAL[:6], u32(0), *USUAL[7:]), (1, 1, 1, 1), 1),
        ("unknown type", (*USUAL[:6], u32(6), *USUAL[7:]), (1, 1, 1, 1), 1),
        ("keys", (*USUAL[:7], u32(1), *USUAL[8:]), (1, 1, 1, 1), 1),
        ("topics of a key", (*USUAL[:8], u32(1), *USUAL[9:]), (1, 1, 1, 1), 1),
        ("empty run", (*USUAL[:9], u32(0), i64(), i64()), (1, 1, 1, 1), 1),
        ("more rows", (*USUAL[:9], u32(4_000_000_000), i64(5), i64(7)), (1, 1, 1, 1), 1),
        ("key is empty", (*USUAL[:4], u32(0), *USUAL[5:8], u32(), u32(), i64(), i64()), (1, 1, 1, 1), 1),
        ("memory", (*USUAL[:4], u32(4_000_000_000), *USUAL[5:]), (1, 1, 1, 1), 1),
        ("bytes follow", (*USUAL, i64(8)), (1, 1, 1, 1), 1),
        ("times", (*USUAL[:9], u32(2), i64(5, 4), i64(7, 7)), (1, 1, 1, 1), 2),
        ("divided", (*USUAL[:6], u32(4), *USUAL[7:9], u32(2), i64(1, 1), u32(1, 1), "é".encode()), (1,) * 4, 2),
        ("UTF-8", (*USUAL[:6], u32(4), *USUAL[7:11], u32(1), b"\xff"), (1,) * 4, 1),
        (
            "equal",
            (*USUAL[:4], u32(1, 1), u32(0, 0), u32(1, 2), u32(0, 1), *USUAL[8:11] * 2, i64(7), i64(0)),
            (1, 1, 2, 2),
            2,
        ),
        (
            "in order",
            (
                *USUAL[:4],
                u32(1, 1),
                u32(0, 0),
                u32(1, 2),
                u32(1, 0),
                *USUAL[8:11],
                *USUAL[8:10],
                i64(6),
                i64(7),
                i64(0),
            ),
            (1, 1, 2, 2),
            2,
        ),
        ("not in order", (*USUAL[:5], u32(0, 0), u32(2, 1), u32(0, 0), *USUAL[8:], i64(7)), (1, 1, 1, 2), 2),
    ],
)
def test_a_body_out_of_canonical_order_is_refused(fault, columns, counts, readings):
    with pytest.raises(BatchError, match=fault):
        body.read(body_of(*columns, counts=counts), readings)


def column(codec, stored):
    return packing._varint(len(stored) << 2 | codec) + stored


@pytest.mark.parametrize(
    "data",
    [
        column(packing.ZSTD, zstandard.compress(bytes(1 << 30))),
        column(packing.ZSTD, zstandard.compress(b"12345678") + b"more"),
        column(packing.ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress(b"12345678")),
        column(packing.ZSTD, b"12345678"),
        column(packing.RAW, b"1234567"),
        column(packing.CONSTANT, b"1234567"),
        column(packing.PCO, b"12345678"),
        column(packing.PCO, standalone.simple_compress(np.arange(2), ChunkConfig())),
        column(packing.PCO, standalone.simple_compress(np.arange(0), ChunkConfig())),
        column(packing.PCO, standalone.simple_compress(np.arange(1) * 1.0, ChunkConfig())),
        b"\xff" * 9,
        b"\xff",
        b"",
    ],
)
def test_a_column_that_is_not_what_was_asked_for_is_refused_in_little_memory(data):
    tracemalloc.start()
    with pytest.raises(BatchError):
        Unpacker(data).numbers(np.int64, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_all_columns_together_are_bounded():
    constant = column(packing.CONSTANT, bytes(8))
    unpacker = Unpacker(constant * 40)
    for _ in range(packing.RAW_BYTES_MAX // (8 * body.READINGS_MAX)):
        unpacker.numbers(np.int64, body.READINGS_MAX)
    with pytest.raises(BatchError, match="memory"):
        unpacker.numbers(np.int64, 1)


def test_truth_values_have_no_loose_bits():
    for data in (column(packing.RAW, b"\x08"), column(packing.CONSTANT, b"\x02"), column(packing.PCO, b"\x01")):
        with pytest.raises(BatchError):
            Unpacker(data).bits(3)


def test_a_library_that_gives_back_other_values_is_found_by_the_hash():
    fields, _ = parts(SMALL)
    other = {topic: (times, [row | {"i": -1} for row in rows]) for topic, (times, rows) in ROWS.items()}
    with pytest.raises(BatchError, match="hash"):
        decode(envelope.enclose(envelope.BATCH, fields, body.write(content(other))))
