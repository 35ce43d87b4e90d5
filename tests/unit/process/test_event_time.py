"""The time of a row: from the payload, exact, bounded."""

from __future__ import annotations

import pytest

from gateway.config.schema import Time
from gateway.errors import DecodeError
from gateway.process.event_time import time_reader

LATEST = 1_800_000_000 * 10**9

GOOD = [
    ("s", 1_700_000_000, 1_700_000_000 * 10**9),
    ("s", 1_700_000_000.1, 1_700_000_000_100_000_000),
    ("s", 1_700_000_000.123456, 1_700_000_000_123_456_000),
    ("ms", 1_700_000_000_123, 1_700_000_000_123 * 10**6),
    ("ms", 1_700_000_000_123.5, 1_700_000_000_123_500_000),
    ("us", 1_700_000_000_123_456, 1_700_000_000_123_456_000),
    ("ns", 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
    ("ms", 0, 0),
    ("ms", -1000, -(10**9)),
    ("iso8601", "2026-01-02T03:04:05.678901Z", 1_767_323_045_678_901_000),
    ("iso8601", "2026-01-02T05:04:05+02:00", 1_767_323_045 * 10**9),
    ("iso8601", "2026-01-02 03:04:05", 1_767_323_045 * 10**9),
    ("ms", LATEST // 10**6, LATEST),
]

BAD = [
    ("ms", None, "time_missing"),
    ("ms", "1700000000000", "time_invalid"),
    ("ms", True, "time_invalid"),
    ("ms", b"1", "time_invalid"),
    ("ms", 2**62, "time_invalid"),
    ("ms", 9e300, "time_invalid"),
    ("ms", -9e300, "time_invalid"),
    ("iso8601", 1_700_000_000, "time_invalid"),
    ("iso8601", "yesterday", "time_invalid"),
    ("iso8601", "9" * 10_000, "time_invalid"),
    ("iso8601", "9999-12-31T23:59:59-23:59", "time_invalid"),
    ("iso8601", "0001-01-01T00:00:00+23:59", "time_invalid"),
    ("ms", LATEST // 10**6 + 1, "time_ahead"),
    ("ms", LATEST // 10**6 + 10 * 365 * 86400 * 1000, "time_ahead"),
]


@pytest.mark.parametrize(("unit", "value", "time_ns"), GOOD)
def test_a_time_is_read_to_the_nanosecond_and_taken_out_of_the_row(unit, value, time_ns) -> None:
    row = {"t": value, "x": 1}
    read = time_reader(Time(field="t", unit=unit))
    assert read is not None
    assert read(row, LATEST) == time_ns
    assert row == {"x": 1}


@pytest.mark.parametrize(("unit", "value", "reason"), BAD)
def test_a_time_that_cannot_be_is_refused_with_its_reason(unit, value, reason) -> None:
    read = time_reader(Time(field="t", unit=unit))
    assert read is not None
    with pytest.raises(DecodeError) as caught:
        read({"t": value, "x": 1} if value is not None else {"x": 1}, LATEST)
    assert caught.value.reason == reason


def test_without_a_time_field_there_is_nothing_to_read() -> None:
    assert time_reader(Time()) is None
