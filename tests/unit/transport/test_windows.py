"""Windows of a radio: held against every minute of days, looked at in any order."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.windows import Windows, fault

S = 10**9
MINUTE_NS = 60 * S
BEGIN_NS = int(dt.datetime(2026, 11, 23, tzinfo=dt.UTC).timestamp()) * S


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=dt.UTC).timestamp()) * S


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("23T05:59:59", False),
        ("23T06:00:00", True),
        ("23T06:09:59", True),
        ("23T06:10:00", False),
        ("23T18:29:59", False),
        ("23T18:30:00", True),
        ("24T06:05:00", True),
    ],
)
def test_a_window_is_open_from_its_minute_on_for_its_length(moment: str, is_open: bool) -> None:  # noqa: FBT001  # a case
    windows = Windows(("0 6 * * *", "30 18 * * *"), 10 * MINUTE_NS)
    assert windows.is_open(at(moment), is_set=True) is is_open


@given(st.lists(st.integers(0, 3 * 1440 * 60), max_size=50), st.integers(1, 5 * 60))
def test_what_is_open_does_not_depend_on_when_it_was_looked_at_before(seconds: list[int], minutes: int) -> None:
    windows = Windows(("0 */4 * * *", "15 3 * * *"), minutes * MINUTE_NS)
    for second in seconds:
        of_day = second % 86400
        starts = [hour * 3600 - day for hour in range(0, 24, 4) for day in (0, 86400)]
        starts += [3 * 3600 + 15 * 60, 3 * 3600 + 15 * 60 - 86400]
        expected = any(start <= of_day < start + minutes * 60 for start in starts)
        assert windows.is_open(BEGIN_NS + second * S, is_set=True) is expected


def test_without_windows_and_without_a_clock_the_line_is_open() -> None:
    assert Windows((), MINUTE_NS).is_open(BEGIN_NS, is_set=True)
    assert Windows(("0 6 * * *",), MINUTE_NS).is_open(BEGIN_NS, is_set=False)


def test_the_next_window_is_known() -> None:
    windows = Windows(("0 6 * * *", "30 18 * * *"), 10 * MINUTE_NS)
    windows.is_open(at("23T07:00:00"), is_set=True)
    assert windows.next_ns() == at("23T18:30:00")


@pytest.mark.parametrize("text", ["", "* * *", "61 * * * *", "x * * * *", "0 0 31 2 *", "0 0 * * * * *"])
def test_what_is_no_cron_expression_is_named(text: str) -> None:
    assert fault(text)


def test_a_cron_expression_has_no_fault() -> None:
    assert fault("*/15 6-18 * * MON-FRI") == ""
