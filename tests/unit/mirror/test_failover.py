"""Which place carries a mirror: the preferred one while it works, each of the others in turn when it does not."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.mirror.failover import STABLE_NS, Failover

S = 10**9
AFTER_NS = 60 * S
HOLD_DOWN_NS = 300 * S


def failover(places: int = 3, seed: int = 1) -> Failover:
    return Failover(places, AFTER_NS, HOLD_DOWN_NS, random.Random(seed))


def test_a_place_that_does_not_work_for_long_enough_is_left_for_the_next() -> None:
    one = failover()
    one.does_not_work(0)
    one.does_not_work(AFTER_NS - 1)
    assert not one.is_overdue(AFTER_NS - 1)
    assert one.is_overdue(AFTER_NS)
    one.go_on(AFTER_NS)
    assert (one.active, list(one.better)) == (1, [0])


def test_a_place_that_works_now_and_then_is_kept() -> None:
    one = failover()
    for now_ns in range(0, 1000 * S, 50 * S):
        one.does_not_work(now_ns)
        assert not one.is_overdue(now_ns + 49 * S)
        one.works()
    assert not one.is_overdue(10**6 * S)


def test_while_no_place_works_each_has_its_turn_as_long_as_the_others() -> None:
    one, turns = failover(), []
    for now_ns in range(0, 601 * S, S):
        one.does_not_work(now_ns)
        if one.is_overdue(now_ns):
            one.go_on(now_ns)
            turns.append((now_ns // S, one.active))
    assert turns == [(60, 1), (120, 2), (180, 0), (240, 1), (300, 2), (360, 0), (420, 1), (480, 2), (540, 0), (600, 1)]


def test_a_better_place_that_has_proved_itself_carries_again() -> None:
    one = failover()
    for now_ns in (0, AFTER_NS, 2 * AFTER_NS):
        one.does_not_work(now_ns)
        if one.is_overdue(now_ns):
            one.go_on(now_ns)
    assert one.active == 2
    one.go_back(0)
    assert one.active == 0
    assert not one.is_overdue(10 * AFTER_NS)
    assert one.counts == {"failovers": 2, "failbacks": 1}


def test_a_single_place_is_never_left() -> None:
    one = failover(places=1)
    one.does_not_work(0)
    assert not one.is_overdue(10**9 * S)


@given(st.integers())
def test_nodes_hold_a_place_down_for_different_times_within_bounds(seed: int) -> None:
    one = failover(seed=seed)
    assert HOLD_DOWN_NS <= one.hold_down_ns <= HOLD_DOWN_NS * 3 // 2


def test_who_waits_knows_when_another_place_is_to_have_its_turn() -> None:
    alone, two = Failover(1, 10, 5, random.Random(1)), Failover(2, 10, 5, random.Random(1))
    for one in (alone, two):
        assert one.overdue_in_ns(0) is None
        one.does_not_work(100)
    assert alone.overdue_in_ns(1000) is None
    assert [two.overdue_in_ns(at) for at in (100, 109, 110, 500)] == [10, 1, 0, 0]
    two.works()
    assert two.overdue_in_ns(500) is None


def test_a_link_that_is_idle_works_before_it_could_be_left_for_idleness() -> None:
    assert Failover(2, 120 * S, HOLD_DOWN_NS, random.Random(1)).stable_ns == STABLE_NS
    assert Failover(2, 5 * S, HOLD_DOWN_NS, random.Random(1)).stable_ns == 2.5 * S
