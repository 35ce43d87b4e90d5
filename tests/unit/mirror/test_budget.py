"""The account of a line: a rate that is kept on average, days and months that never begin twice."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import schema
from gateway.mirror.budget import Budget, Spent

S = 10**9


def wall(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * S


@given(st.lists(st.integers(1, 5000), max_size=100))
def test_the_rate_is_kept_and_no_message_waits_longer_than_those_before_it_cost(sizes: list[int]) -> None:
    budget, now_ns = Budget(schema.Link(bytes_per_second=1000), Spent()), 0
    for size in sizes:
        now_ns += budget.wait_ns(now_ns)
        budget.spend("telemetry", size, now_ns)
    assert now_ns == sum(size * S // 1000 for size in sizes[:-1])


def test_without_a_rate_nothing_waits() -> None:
    budget = Budget(schema.Link(), Spent())
    budget.spend("telemetry", 10**12, 0)
    assert budget.wait_ns(0) == 0


def test_a_day_that_is_spent_ends_with_the_day_and_a_month_with_the_month() -> None:
    budget = Budget(schema.Link(bytes_per_day=100, bytes_per_month=150), Spent())
    budget.look(wall("2026-11-29T12:00"), is_trusted=True)
    budget.spend("telemetry", 100, 0)
    assert budget.is_spent
    budget.look(wall("2026-11-30T00:00"), is_trusted=True)
    assert not budget.is_spent
    budget.spend("alarm", 50, 0)
    assert budget.is_spent, "the month"
    assert budget.spent.lanes == {"telemetry": 100, "alarm": 50}
    budget.look(wall("2026-12-01T00:00"), is_trusted=True)
    assert not budget.is_spent
    assert budget.spent.lanes == {}


def test_a_clock_that_is_not_set_gives_no_day_anew() -> None:
    budget = Budget(schema.Link(bytes_per_day=100), Spent("2026-11-29", 100, "2026-11", 100))
    budget.look(wall("1970-01-01T00:00"), is_trusted=False)
    assert budget.is_spent
    budget.look(wall("2026-11-29T01:00"), is_trusted=True)
    assert budget.is_spent


def test_a_day_that_a_wrong_clock_had_begun_is_left_when_the_clock_is_right_again() -> None:
    budget = Budget(schema.Link(bytes_per_day=100), Spent())
    budget.look(wall("2036-01-01T00:00"), is_trusted=False)
    budget.spend("telemetry", 100, 0)
    budget.look(wall("2026-11-29T00:00"), is_trusted=False)
    assert budget.is_spent
    budget.look(wall("2026-11-29T00:00"), is_trusted=True)
    assert not budget.is_spent
