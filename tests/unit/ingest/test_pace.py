"""A trickle waits until it fills a page, a flood does not wait longer than it must."""

from __future__ import annotations

import pytest

from gateway.ingest.pace import PAGE_BYTES, Pace


@pytest.mark.parametrize(
    ("bytes_per_s", "interval_s"),
    [(0, 1.0), (100, 1.0), (PAGE_BYTES, 1.0), (4 * PAGE_BYTES, 0.25), (50 * PAGE_BYTES, 0.02), (10**9, 0.02)],
)
def test_the_interval_is_the_time_in_which_the_journal_fills_a_page(bytes_per_s: int, interval_s: float) -> None:
    pace = Pace(0.02, 1.0)
    for second in range(1, 10):
        pace.looked(second * bytes_per_s, float(second))
    assert pace.interval_s == pytest.approx(interval_s)
    assert pace.is_slow == (interval_s > 0.02)


def test_a_start_begins_with_the_longest_interval_and_follows_the_rate() -> None:
    pace = Pace(0.02, 1.0)
    assert pace.interval_s == 1.0
    pace.looked(10**6, 100.0)
    assert pace.interval_s == 1.0, "nothing is known of the time before"
    pace.looked(10**8, 103.0)
    assert pace.interval_s == 0.02
    pace.looked(10**8 + 10, 106.0)
    assert pace.interval_s == 1.0


def test_a_longest_interval_below_the_shortest_means_the_shortest() -> None:
    pace = Pace(0.5, 0.1)
    pace.looked(0, 1.0)
    pace.looked(1, 10.0)
    assert pace.interval_s == 0.5
