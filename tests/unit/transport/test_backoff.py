"""Waits between attempts."""

from __future__ import annotations

import random

from gateway.transport.backoff import Backoff


class Highest(random.Random):
    """Chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002
        return b


def test_the_ceiling_doubles_with_each_failure_up_to_the_maximum() -> None:
    backoff = Backoff(Highest(), 0.5, 6.0)
    assert [backoff.next_wait_s(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 6.0]


def test_only_a_stable_link_makes_failures_forgotten() -> None:
    backoff = Backoff(Highest(), 0.5, 60.0, stable_s=30.0)
    waits = [backoff.next_wait_s(up_s) for up_s in (0.0, 29.0, 30.0, 0.0)]
    assert waits == [0.5, 1.0, 0.5, 0.5]


def test_waits_are_spread_over_the_whole_range() -> None:
    chance = random.Random(1)
    waits = [Backoff(chance, 0.5, 60.0).next_wait_s(0.0) for _ in range(500)]
    assert min(waits) < 0.05
    assert max(waits) > 0.45
    assert all(0.0 <= wait <= 0.5 for wait in waits)


def test_a_link_that_fails_for_ever_never_overflows() -> None:
    backoff = Backoff(random.Random(1), 0.5, 60.0)
    assert all(backoff.next_wait_s(0.0) <= 60.0 for _ in range(2000))
