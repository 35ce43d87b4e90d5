"""Changes: when a value is worth a reading, against the definition in exact numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gateway.config.schema import Sample
from gateway.process.deadband import absolute, any_change, percent, remembered
from gateway.process.sample import Sampler, Steps

WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = WHOLE | st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.tuples(st.integers(0, 100), st.integers(-12, 12)), min_size=5, max_size=50)
SILENCES = st.just(0) | st.integers(60, 90)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, NUMBERS)
@example(2**53, 2**53 + 1)
@example(float(2**53), 2**53 + 1)
@example(5e-324, 0.0)
def test_any_change_tells_two_numbers_apart_exactly(last, value) -> None:
    assert any_change(last, value) == (Fraction(last) != Fraction(value))


@settings(max_examples=200, deadline=None)
@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 64), st.integers(0, 50))
def test_percent_is_the_larger_of_the_share_of_the_last_value_and_the_floor(last, value, part, floor) -> None:
    is_far = 64 * abs(value - last) >= max(part * abs(last), 64 * floor)
    assert percent(part / 64, float(floor))(last, value) == (is_far and value != last)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, st.floats(0, 1), st.floats(0, 10))
def test_the_same_number_is_no_change_under_percent_whatever_the_band(value, fraction, floor) -> None:
    assert not percent(fraction, floor)(value, value)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, NUMBERS, st.floats(0, 1e300))
def test_no_two_numbers_raise(last, value, band) -> None:
    assume(last != value)
    assert absolute(0.0)(last, value)
    assert absolute(band)(last, value) in {True, False}
    assert percent(1.0, band)(last, value) in {True, False}


def test_percent_at_zero_is_the_floor() -> None:
    assert percent(0.5, 2.0)(0, 1.9) is False
    assert percent(0.5, 2.0)(0, -2) is True
    assert percent(0.5, 0.0)(0, 1e-9) is True


@settings(max_examples=100, deadline=None)
@given(POINTS, st.integers(1, 24), st.integers(0, 5), SILENCES)
def test_the_band_of_percent_follows_the_last_value_that_went_on(points, part, floor, silence_ns) -> None:
    options = Sample(percent={"v": part / 64 * 100}, floor={"v": float(floor)}, silence_ns=silence_ns)
    sampler, kept = Sampler(Steps(options)), []
    for time_ns, value in points:
        went_on = bool(sampler.thinned({"v": value}, time_ns))
        if kept:
            last_ns, last = kept[-1]
            is_far = value != last and 64 * abs(value - last) >= max(part * abs(last), 64 * floor)
            assert went_on == (is_far or (silence_ns > 0 and abs(time_ns - last_ns) >= silence_ns))
        kept += [(time_ns, value)] if went_on else []
    assert kept


def test_percent_is_hundredths() -> None:
    sampler = Sampler(Steps(Sample(percent={"v": 5.0})))
    assert [bool(sampler.thinned({"v": value}, 0)) for value in (100, 104.97, 105)] == [True, False, True]


@settings(max_examples=100, deadline=None)
@given(POINTS, SILENCES)
def test_on_change_only_differing_neighbours_go_on_and_after_silence_equal_ones(points, silence_ns) -> None:
    points = [(time_ns, value // 6) for time_ns, value in points]
    sampler, kept = Sampler(Steps(Sample(on_change=("v",), silence_ns=silence_ns))), []
    for time_ns, value in points:
        went_on = bool(sampler.thinned({"v": value}, time_ns))
        is_due = not kept or kept[-1][1] != value or 0 < silence_ns <= abs(time_ns - kept[-1][0])
        assert went_on == is_due
        kept += [(time_ns, value)] if went_on else []


@pytest.mark.parametrize("change", [absolute(5.0), percent(0.5, 5.0), any_change])
@pytest.mark.parametrize("value", ["on", True, b"1", 7])
def test_what_is_no_number_changes_when_it_is_another_or_of_another_type(change, value) -> None:
    others = {"on": "off", True: False, b"1": b"2", 7: "7"}
    assert not change(remembered(value), value)
    assert change(remembered(value), others[value])
    assert change("x", value)
    assert change(1 if value is True else True, value)


@pytest.mark.parametrize("change", [absolute(5.0), percent(0.5, 5.0), any_change])
def test_long_text_is_told_apart_by_its_digest(change) -> None:
    long = "ü" * 100_000
    assert len(remembered(long)) == 16
    assert not change(remembered(long), long)
    assert change(remembered(long), long + "x")
