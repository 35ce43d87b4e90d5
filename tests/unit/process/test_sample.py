"""Samplers against the independent computation of tests/support/oracle.py."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.schema import Sample
from gateway.process.sample import Sampler, Steps
from tests.support import oracle
from tests.support.oracle import Point

POINTS = st.lists(st.builds(Point, st.integers(0, 100), st.floats(-10, 10) | st.integers(-10, 10)), max_size=40)


def sampler(**options) -> Sampler:
    return Sampler(Steps(Sample(**options)))


def kept(points: list[Point], **options) -> list[Point]:
    one, found = sampler(**options), []
    for point in points:
        row = one.thinned({"v": point.value}, point.time_ns)
        if row:
            found.append(Point(point.time_ns, row["v"]))
        one = restarted(one, **options)
    return found


def restarted(one: Sampler, **options) -> Sampler:
    """Return what a checkpoint brings back."""
    again = sampler(**options)
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.state())))
    return again


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 5))
def test_every_n_th_row_goes_on_as_computed_independently(points, number) -> None:
    assert kept(points, every=number) == oracle.every(points, number)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 40))
def test_one_row_an_interval_goes_on_as_computed_independently(points, interval_ns) -> None:
    assert kept(points, interval_ns=interval_ns) == oracle.at_intervals(points, interval_ns)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.floats(0, 5), st.integers(0, 40))
def test_a_deadband_leaves_out_what_was_computed_independently(points, band, silence_ns) -> None:
    found = kept(points, deadband={"v": band}, silence_ns=silence_ns)
    assert found == oracle.outside_deadband(points, band, silence_ns)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 3), st.integers(0, 20), st.floats(0, 5))
def test_the_steps_apply_in_their_order(points, number, interval_ns, band) -> None:
    wanted = oracle.every(points, number)
    if interval_ns:
        wanted = oracle.at_intervals(wanted, interval_ns)
    wanted = oracle.outside_deadband(wanted, band, 0)
    assert kept(points, every=number, interval_ns=interval_ns, deadband={"v": band}) == wanted


def test_a_deadband_concerns_its_own_field_only() -> None:
    one = sampler(deadband={"a": 1.0, "missing": 1.0})
    rows = [one.thinned({"a": value, "b": 1}, 0) for value in (0.0, 0.5, 1.0)]
    assert rows == [{"a": 0.0, "b": 1}, {"b": 1}, {"a": 1.0, "b": 1}]


@pytest.mark.parametrize(
    "values", [("on", "on", "off"), (True, True, False), (b"1", b"1", b"2"), ("x" * 1000, "x" * 1000, "x" * 999)]
)
def test_what_is_no_number_goes_on_when_it_changes(values) -> None:
    one = sampler(deadband={"v": 5.0})
    assert [bool(one.thinned({"v": value}, 0)) for value in values] == [True, False, True]


def test_a_change_of_type_goes_on() -> None:
    one = sampler(deadband={"v": 5.0})
    assert [bool(one.thinned({"v": value}, 0)) for value in (1, True, 1.0, "1", b"1", 3)] == [True] * 6


def test_long_text_is_not_kept_in_memory() -> None:
    one = sampler(deadband={"v": 5.0})
    one.thinned({"v": "x" * 1_000_000}, 0)
    assert len(msgspec.msgpack.encode(one.state())) < 100
