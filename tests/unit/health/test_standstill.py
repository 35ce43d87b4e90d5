"""Timelines of marks: who is stuck, and who only waits."""

from __future__ import annotations

from gateway.health.standstill import Standstill

LIMIT_S = 10.0
LOOK_S = 1.0


def stuck_at(timeline: list[object], part: str = "pipeline") -> float | None:
    """Return when a part is found stuck whose mark at each second is given."""
    standstill = Standstill(LIMIT_S)
    for second, mark in enumerate(timeline):
        if part in standstill.look(second * LOOK_S, {part: mark}):
            return second * LOOK_S
    return None


def test_a_part_that_gets_on_is_never_stuck() -> None:
    assert stuck_at(list(range(100))) is None


def test_a_part_without_work_is_never_stuck() -> None:
    assert stuck_at([None] * 100) is None


def test_a_part_that_stands_still_with_work_is_stuck_after_the_limit() -> None:
    assert stuck_at([1, 2, 3, *[3] * 100]) == 2 + LIMIT_S


def test_a_part_that_gets_on_slowly_is_not_stuck() -> None:
    assert stuck_at([second // 9 for second in range(200)]) is None


def test_waiting_with_good_reason_begins_the_time_anew() -> None:
    assert stuck_at([1] * 9 + [None] + [1] * 9 + [None] + [1] * 11) == 20 + LIMIT_S


def test_zero_is_a_mark_like_any_other() -> None:
    assert stuck_at([0] * 20) == LIMIT_S


def test_one_stuck_part_is_named_among_others() -> None:
    standstill = Standstill(LIMIT_S)
    for second in range(20):
        found = standstill.look(second, {"writer": 7, "upkeep": second, "spool": None})
    assert found == {"writer": 19.0}


def test_a_part_that_is_gone_is_forgotten() -> None:
    standstill = Standstill(LIMIT_S)
    standstill.look(0.0, {"mirror a": 1})
    standstill.look(5.0, {})
    assert standstill.look(11.0, {"mirror a": 1}) == {}


def test_after_the_machine_has_slept_all_parts_get_their_time_anew() -> None:
    standstill = Standstill(LIMIT_S)
    standstill.look(0.0, {"writer": 7})
    assert standstill.look(3600.0, {"writer": 7}) == {}
    assert standstill.look(3609.0, {"writer": 7}) == {}
    assert standstill.look(3610.0, {"writer": 7}) == {"writer": LIMIT_S}


def test_a_part_that_gets_on_again_is_not_stuck_any_more() -> None:
    standstill = Standstill(LIMIT_S)
    for second in range(11):
        standstill.look(second, {"writer": 7})
    assert standstill.look(11.0, {"writer": 8}) == {}
