"""Bytes that pass the checksum and are wrong all the same: they are buried or taken, and never stop the receiver."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import cbor2
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.model import BatchId, OpenBatch
from gateway.region.intake import Message
from gateway.region.receiver import REASONS_MAX
from gateway.transport import wire
from tests.support.receiving import PREFIX, Region, gap, message, sent_gap
from tests.support.spooled import batch

ROWS = {
    "plant/a": ([1, 2, 3], [{"value": 1.5, "state": "on"}, {"value": 2.5, "raw": b"\0"}, {"value": 4}]),
    "plant/b": ([2], [{"value": True, "state": "off"}]),
}
READINGS = 7
HEAD_BYTES = 16
TOPIC = wire.batch_topic(PREFIX, "node", "telemetry")
BIG = [0, 1, (1 << 31) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, 1 << 80]


def whole() -> bytes:
    identity = BatchId("node", "telemetry", 100, 1)
    return envelope.seal(OpenBatch(identity, ROWS, READINGS, 0, {"reading.sealed": READINGS}, 1, 0), "boot").data


def with_checksum(data: bytes) -> bytes:
    return data + struct.pack("<I", crc32c(data))


def take_all(*payloads: bytes) -> None:
    """Hand the payloads over, then a good batch: nothing raises, nothing is written twice, the good one is taken."""
    with tempfile.TemporaryDirectory() as folder, Region(Path(folder)) as region:
        outcome = region.take(*(Message(TOPIC, payload) for payload in payloads))
        assert outcome.messages == len(payloads)
        assert region.take(message(batch(1, "alarm"))).decided == {"fresh": 1}
        assert len(region.rows()) == len(region.lines())
        assert region.report().lanes


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 255)), max_size=3), max_size=8))
def test_changed_bytes_under_a_right_checksum_are_decided(changes) -> None:
    payloads = []
    for change in changes:
        data = bytearray(whole()[:-4])
        for at, mask in change:
            data[at % len(data)] ^= mask
        payloads.append(with_checksum(bytes(data)))
    take_all(*payloads)


@pytest.mark.parametrize("what", [whole(), sent_gap(gap(2, 4)).payload], ids=["batch", "gap"])
@pytest.mark.parametrize("value", [*BIG, None, "", "x" * 100, b"", [], {}, 1.5, float("nan"), True])
def test_any_value_of_any_header_field_is_decided(what, value) -> None:
    opened = envelope.opened(what)
    payloads = [envelope.enclose(opened.kind, {**opened.fields, name: value}, opened.body) for name in opened.fields]
    payloads += [envelope.enclose(opened.kind, dict.fromkeys(opened.fields, value), opened.body)]
    payloads += [
        envelope.enclose(opened.kind, {key: kept for key, kept in opened.fields.items() if key != name}, opened.body)
        for name in opened.fields
    ]
    take_all(*payloads)


def test_the_highest_numbers_that_the_format_allows_are_taken_and_balance() -> None:
    top = (1 << 63) - 1
    identity = BatchId("node", "telemetry", top, top)
    sealed = envelope.seal(OpenBatch(identity, ROWS, READINGS, top - READINGS, {"reading.sealed": top}, 1, 0), "boot")
    lost = {"node": "node", "lane": "telemetry", "epoch": top, "first": 1, "last": top - 1}
    lost |= {"readings": top - READINGS, "readings_before": 0, "reason": "evicted"}
    with tempfile.TemporaryDirectory() as folder, Region(Path(folder)) as region:
        outcome = region.take(Message(TOPIC, sealed.data), Message(TOPIC, envelope.enclose(envelope.GAP, lost, b"")))
        assert outcome.decided == {"fresh": 2}
        (word,) = (word for _, word in outcome.words("centre"))
        assert wire.decode_acknowledgement(wire.encode_acknowledgement(word)).done == ((1, top),)
        (lane,) = region.report().lanes
        assert (lane.watermark, lane.received, lane.missing, lane.unaccounted) == (top, READINGS, 0, 0)


@pytest.mark.parametrize("header", [b"", b"\xa0", b"\x80", b"\xff", b"\x9f" * 5000, cbor2.dumps({"v": 1})])
def test_a_header_that_is_none_is_decided(header) -> None:
    head = struct.pack("<4sBBHII", envelope.MAGIC, envelope.BATCH, envelope.VERSION, 0, len(header), 0)
    assert len(head) == HEAD_BYTES
    take_all(with_checksum(head + header))


@pytest.mark.parametrize("reason", ["\0", "ev\0icted", "\ufffd", "x" * 64])
def test_a_batch_that_comes_after_a_gap_of_any_reason_is_taken_back_out_of_it(tmp_path: Path, reason: str) -> None:
    with Region(tmp_path) as region:
        region.take(message(batch(1)), sent_gap(gap(2, 3, reason=reason)))
        assert region.take(message(batch(2))).decided == {"recovered": 1}
        assert region.lane().unaccounted == 0
        assert sum(region.lane().lost.values()) == batch(3).readings


def test_a_node_that_makes_up_reasons_makes_only_so_many(tmp_path: Path) -> None:
    with Region(tmp_path) as region:
        for number in range(1, 3 * REASONS_MAX):
            region.take(sent_gap(gap(number, number, reason=f"made up {number}")))
        lost = region.lane().lost
        assert len(lost) == REASONS_MAX + 1
        assert sum(lost.values()) == sum(batch(number).readings for number in range(1, 3 * REASONS_MAX))
        assert region.take(message(batch(3 * REASONS_MAX - 1))).decided == {"recovered": 1}
        assert region.lane().unaccounted == 0
