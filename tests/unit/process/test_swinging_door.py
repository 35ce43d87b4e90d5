"""Swinging doors: what is left out lies on straight lines between what went on, and a naive computation agrees."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config.schema import Sample
from gateway.process.sample import Sampler, Steps
from tests.support.straight import Reading, computed, distance, lost_between, through_door

TIMES = st.integers(0, 60) | st.integers(-(2**62), 2**62)
VALUES = st.integers(-20, 20) | st.floats(-20, 20) | st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.tuples(TIMES, VALUES), max_size=60, unique=True)
RISING = st.lists(st.tuples(st.integers(0, 100), st.integers(-9, 9)), max_size=60, unique_by=lambda point: point[0])
DRIFTING = st.lists(st.tuples(st.integers(1, 2), st.integers(-1, 1)), max_size=50).map(
    lambda steps: list(zip(accumulate(step[0] for step in steps), accumulate(step[1] for step in steps), strict=True))
)
NEVER_MET = 1 / 1009
"""Added to a bound so that no distance between whole values at times from 0 to 100 is equal to it."""


@settings(max_examples=300, deadline=None)
@given(POINTS, st.floats(1e-6, 1e3), st.integers(0, 50))
@example([(0, 1.7e308), (1, -1.7e308), (2, -1e308), (3, 0.0)], 1.0, 0)
@example([(0, 2**53), (1, float(2**53)), (2, 2**53 + 1), (3, float(2**53)), (4, 2**53)], 0.5, 0)
def test_every_reading_left_out_lies_within_the_bound_of_the_line_between_its_neighbours(
    points, bound, silence_ns
) -> None:
    kept, held = through_door(points, bound, silence_ns)
    kept += [held] if held else []
    for before, after, lost in lost_between(points, kept):
        for one in lost:
            assert before.time_ns < one.time_ns < after.time_ns
            away = Fraction(bound) + abs(Fraction(one.value) - Fraction(before.value))
            assert distance(before, after, one) <= Fraction(bound) + away / 2**49


@settings(max_examples=200, deadline=None)
@given(st.one_of(DRIFTING, DRIFTING, RISING.map(sorted), RISING), st.integers(0, 5), st.just(0) | st.integers(10, 60))
def test_a_naive_computation_keeps_and_holds_back_the_same_readings(points, whole, silence_ns) -> None:
    bound = whole + NEVER_MET
    assert through_door(points, bound, silence_ns, restarts=True) == computed(points, bound, silence_ns)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3)), max_size=40), st.integers(0, 5))
def test_repeated_and_unordered_readings_are_decided_as_computed(points, silence_ns) -> None:
    bound = 1 + NEVER_MET
    assert through_door(points, bound, silence_ns) == computed(points, bound, silence_ns)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), VALUES | st.text("ab", max_size=1) | st.booleans() | st.just(2**60))),
    st.integers(0, 9),
)
def test_a_restart_changes_nothing_whatever_the_values_are(points, silence_ns) -> None:
    assert through_door(points, 1.0, silence_ns, restarts=True) == through_door(points, 1.0, silence_ns)


def test_a_straight_line_is_told_by_its_ends() -> None:
    points = [(time, 3 * time) for time in range(1000)]
    kept, held = through_door(points, 0.001)
    assert (kept, held) == ([Reading(0, 0)], Reading(999, 2997))


def test_a_distance_of_exactly_the_bound_is_within_it() -> None:
    points = [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (5, 9)]
    assert through_door(points, 1.0) == ([(0, 0), (4, 0)], Reading(5, 9))


def test_a_step_goes_on_with_the_last_reading_before_it() -> None:
    points = [(time, 0 if time < 5 else 10) for time in range(10)]
    kept, held = through_door([*points, (10, 0)], 1.0)
    assert kept == [(0, 0), (4, 0), (5, 10), (9, 10)]
    assert held == (10, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_cone_is_what_all_doors_have_in_common_not_what_the_last_one_leaves(sign) -> None:
    # The line from 0 to 3 passes the reading at 2 within 1, but the one at 1 by 1.1.
    points = [(0, 0.0), (1, sign * 1.0), (2, sign * 0.1), (3, sign * -0.3)]
    kept, _ = through_door(points, 1.0)
    assert kept == [(0, 0.0), (2, sign * 0.1)]


def test_silence_bounds_how_long_a_line_lasts_and_holds_nothing_back_at_its_end() -> None:
    points = [(time, 0.0) for time in range(0, 100, 5)]
    kept, held = through_door(points, 1.0, silence_ns=20)
    assert [one.time_ns for one in kept] == [0, 20, 40, 60, 80]
    assert held == (95, 0.0)


def test_a_clock_set_back_starts_a_new_line_and_nothing_is_lost() -> None:
    kept, held = through_door([(100, 0), (110, 0), (120, 0), (5, 0), (6, 0), (7, 0)], 1.0)
    assert (kept, held) == ([(100, 0), (120, 0), (5, 0)], Reading(7, 0))


def test_the_same_reading_once_more_is_left_out_and_another_value_at_its_time_is_not() -> None:
    assert through_door([(0, 0), (0, 0), (1, 0), (1, 0.0)], 1.0) == ([(0, 0)], Reading(1, 0))
    assert through_door([(0, 0), (1, 0), (1, 0.5)], 1.0) == ([(0, 0), (1, 0), (1, 0.5)], None)


@pytest.mark.parametrize("one", ["on", b"on", True, 2**53 + 1], ids=["text", "bytes", "boolean", "integer"])
def test_what_is_no_number_ends_a_line_and_goes_on_when_it_changes(one) -> None:
    points = [(0, 0.0), (1, 0.0), (2, one), (3, one), (4, one), (5, 0.0), (6, 0.0)]
    kept, held = through_door(points, 1.0)
    assert (kept, held) == ([(0, 0.0), (1, 0.0), (2, one), (5, 0.0)], Reading(6, 0.0))
    kept, _ = through_door(points, 1.0, silence_ns=2)
    assert (4, one) in kept
    assert (3, one) not in kept


def test_fields_that_were_held_at_one_time_go_on_as_one_row_and_others_before_it() -> None:
    sampler = Sampler(Steps(Sample(swinging_door={"a": 1.0, "b": 1.0, "c": 1.0})), "t")
    for time_ns in range(3):
        row = {"a": 0, "b": 0, "x": time_ns} | ({"c": 0} if time_ns < 2 else {})
        assert sampler.thinned(row, time_ns) == ({"x": time_ns} if time_ns else {"a": 0, "b": 0, "c": 0, "x": 0})
    assert sampler.thinned({"a": 9, "b": 9, "c": "off"}, 3) == {"c": "off"}
    assert sampler.released() == [("t", 1, {"c": 0}), ("t", 2, {"a": 0, "b": 0})]
    assert sampler.released() == []
