"""Repeats of a line as a timeline: what goes through, what is left out, and that the two always add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.repeats import TELL_S, LeftOut, Repeats


def test_as_many_lines_as_a_minute_may_have_go_through_at_once_and_the_next_ones_are_left_out() -> None:
    repeats = Repeats[str](3)
    assert [repeats.admits("a", 100.0) for _ in range(5)] == [True, True, True, False, False]


def test_a_kind_may_speak_again_as_its_bucket_fills() -> None:
    repeats = Repeats[str](3)
    for _ in range(4):
        repeats.admits("a", 0.0)
    assert not repeats.admits("a", 19.0)
    assert repeats.admits("a", 21.0)
    assert not repeats.admits("a", 22.0)


def test_one_kind_takes_nothing_from_another() -> None:
    repeats = Repeats[str](1)
    assert repeats.admits("a", 0.0)
    assert not repeats.admits("a", 0.0)
    assert repeats.admits("b", 0.0)


def test_what_is_left_out_is_told_once_a_minute_later_with_its_count() -> None:
    repeats = Repeats[str](1)
    for second in range(11):
        repeats.admits("a", float(second))
    assert list(repeats.due(30.0)) == []
    assert list(repeats.due(1.0 + TELL_S)) == [LeftOut("a", 10, TELL_S)]
    assert list(repeats.due(1000.0)) == []


def test_the_end_tells_what_is_not_due_yet() -> None:
    repeats = Repeats[str](1)
    repeats.admits("a", 0.0)
    repeats.admits("a", 1.0)
    assert list(repeats.rest(3.0)) == [LeftOut("a", 1, 2.0)]


def test_a_kind_that_has_to_make_room_is_told_first() -> None:
    repeats = Repeats[str](1, kinds_max=2)
    for kind in ("a", "a", "b", "c"):
        repeats.admits(kind, 0.0)
    assert list(repeats.due(5.0)) == [LeftOut("a", 1, 0.0)]


def test_zero_lets_everything_through() -> None:
    repeats = Repeats[str](0)
    assert all(repeats.admits("a", 0.0) for _ in range(1000))


@given(
    per_minute=st.integers(1, 5),
    asked=st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 90), st.booleans()), max_size=200),
)
def test_no_line_is_left_out_without_being_told(per_minute, asked) -> None:
    repeats = Repeats[str](per_minute, kinds_max=3)
    now_s, admitted, told = 0.0, 0, 0
    for kind, wait_s, looks in asked:
        now_s += wait_s
        admitted += repeats.admits(kind, now_s)
        if looks:
            told += sum(one.lines for one in repeats.due(now_s))
    told += sum(one.lines for one in repeats.rest(now_s))
    assert admitted + told == len(asked)
