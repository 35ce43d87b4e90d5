"""Functions of windows against plain computations: deviation, growth, mean by time, quantiles within their error."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.process.cells import Cell, Course, Spread, Wanted
from gateway.process.sketch import BUCKETS_MAX, RELATIVE_ERROR, Sketch

S = 10**9
NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.integers(-1000, 1000), min_size=1, max_size=60)
LARGE = st.floats(-1e12, 1e12, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


def exact_quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


@given(NUMBERS)
def test_the_deviation_is_that_of_a_sample(values) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    if len(values) == 1:
        assert spread.deviation() is None
    else:
        assert spread.deviation() == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@given(NUMBERS, st.integers(0, 60))
def test_two_spreads_merge_into_that_of_all(values, cut) -> None:
    cut = min(cut, len(values) - 1)
    assume(cut > 0)
    parts = Spread(), Spread()
    for index, value in enumerate(values):
        parts[index >= cut].add(value)
    parts[0].merge(parts[1])
    assert parts[0].deviation() == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    assert Spread(*parts[0].state()).deviation() == parts[0].deviation()


@settings(max_examples=200)
@given(st.lists(LARGE, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_quantiles_are_within_their_relative_error(values, share) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    wanted = exact_quantile(values, share)
    for one in (sketch, Sketch.restored(sketch.state())):
        assert abs(one.quantile(share) - wanted) <= RELATIVE_ERROR * abs(wanted) * (1 + 1e-9)


@given(st.lists(LARGE, min_size=2, max_size=100), st.integers(1, 99))
def test_two_sketches_merge_into_that_of_all(values, cut) -> None:
    parts, whole = (Sketch(), Sketch()), Sketch()
    for index, value in enumerate(values):
        parts[index >= cut].add(value)
        whole.add(value)
    parts[0].merge(parts[1])
    assert parts[0].state() == whole.state()


def test_a_sketch_never_grows_beyond_its_bound_and_keeps_the_upper_quantiles() -> None:
    sketch = Sketch()
    values = [1.02**exponent for exponent in range(-10_000, 10_000, 3)]
    for value in values:
        sketch.add(value)
    assert len(sketch.state()[1]) == BUCKETS_MAX  # type: ignore[arg-type]  # a list
    assert sketch.quantile(0.99) == pytest.approx(exact_quantile(values, 0.99), rel=RELATIVE_ERROR)


def course(points: list[tuple[int, float]], start: int = 0, base: tuple[int, float] | None = None) -> Course:
    first, *others = points
    found = Course(start, *first, base)
    for point in others:
        found.add(*point)
    return Course.restored(found.state())


def test_a_counter_grows_by_its_steps_and_starts_again_at_zero() -> None:
    points = [(0, 100), (S, 130), (2 * S, 10), (4 * S, 25)]
    assert course(points).increase() == 30 + 10 + 15
    assert course(points).rate() == 55 / 4
    assert course(points[:1]).increase() is None
    assert course(points[1:], S, base=(0, 100)).increase() == 55


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 100)), min_size=2, max_size=30), st.integers(1, 29))
def test_growth_over_windows_adds_up_to_that_of_all(steps, cut) -> None:
    times = [sum(step for step, _ in steps[: index + 1]) for index in range(len(steps))]
    points = list(zip(times, (value for _, value in steps), strict=True))
    cut = min(cut, len(points) - 1)
    before, after = points[:cut], points[cut:]
    grown = course(before).increase() or 0
    assert grown + (course(after, after[0][0], before[-1]).increase() or 0) == course(points).increase()


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(-100, 100)), min_size=1, max_size=30), st.booleans())
def test_the_mean_by_time_weighs_each_value_by_how_long_it_held(steps, has_base) -> None:
    start, end = 100, 1000
    times = [start + sum(step for step, _ in steps[: index + 1]) for index in range(len(steps))]
    points = list(zip(times, (value for _, value in steps), strict=True))
    base = (start - 30, 7) if has_base else None
    held = [(start, 7), *points] if has_base else points
    area = sum(value * (until - since) for (since, value), (until, _) in pairwise([*held, (end, 0)]))
    assert course(points, start, base).mean(end) == pytest.approx(area / (end - held[0][0]))


def test_what_comes_after_a_later_value_is_left_out_of_growth_and_mean_by_time() -> None:
    in_order = course([(0, 1), (10, 5), (20, 9)])
    disturbed = course([(0, 1), (10, 5), (5, 999), (20, 9)])
    assert (disturbed.increase(), disturbed.mean(30)) == (in_order.increase(), in_order.mean(30))


def test_only_what_is_wanted_is_kept() -> None:
    cell = Cell(0, 1)
    cell.count_more(Wanted(("stddev",)), 0, (0, 1), None)
    assert cell.spread is not None
    assert (cell.course, cell.sketch) == (None, None)
    assert Wanted(("count", "mean")).more is False
