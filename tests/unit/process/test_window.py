"""Windows against the independent computation of tests/support/oracle.py, their bounds and their silence."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.schema import Window
from gateway.process import window
from gateway.process.window import Windows
from tests.support import oracle
from tests.support.oracle import Point

ALL = ("count", "sum", "min", "max", "mean", "first", "last")
POINTS = st.lists(st.builds(Point, st.integers(0, 200), st.floats(-10, 10) | st.integers(-10, 10)), max_size=60)


def windows(size_ns=10, lateness_ns=0, idle_ns=100, functions=ALL) -> Windows:
    return Windows(Window(size_ns=size_ns, lateness_ns=lateness_ns, idle_ns=idle_ns, functions=functions))


def add(one: Windows, topic: str, time_ns: int, row, at: int = 0) -> list[tuple[int, dict]] | None:
    """Take a row; return the windows of its topic that this closes, None when it is late."""
    if not one.take(topic, time_ns, row, at):
        return None
    return [(start, found) for name, start, found in everything_due(one) if name == topic]


def everything_due(one: Windows) -> list[tuple[str, int, dict]]:
    closed = []
    while one.has_due:
        closed += one.due(1_000_000)
    return closed


def expire(one: Windows, at: int | None) -> list[tuple[str, int, dict]]:
    """Let silent topics end, and return all their windows."""
    while one.expire(at):
        pass
    return everything_due(one)


def restarted(one: Windows, **options) -> Windows:
    """Return what a checkpoint brings back."""
    again = windows(**options)
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(list(one.state()))))
    return again


@settings(max_examples=100, deadline=None)
@given(POINTS, st.integers(1, 30), st.integers(0, 40), st.booleans())
def test_windows_close_with_what_was_computed_independently(points, size_ns, lateness_ns, restart) -> None:
    options = {"size_ns": size_ns, "lateness_ns": lateness_ns}
    one, closed, late = windows(**options), {}, 0
    for point in points:
        found = add(one, "t", point.time_ns, {"v": point.value}, 0)
        if found is None:
            late += 1
            continue
        for start, row in found:
            assert start not in closed
            closed[start] = {name.removeprefix("v."): value for name, value in row.items()}
        if restart:
            one = restarted(one, **options)
    wanted = oracle.windows(points, size_ns, lateness_ns)
    assert (closed, late) == (wanted.closed, wanted.late)
    assert sum(row["v.count"] for _, _, row in expire(one, None)) == wanted.waiting
    assert one.deadline is None
    assert (one._cells, one._characters) == (0, 0)


def test_topics_do_not_share_windows_or_watermarks() -> None:
    one = windows()
    assert add(one, "a", 100, {"v": 1}, 0) == []
    assert add(one, "b", 5, {"v": 1}, 0) == []
    assert add(one, "a", 5, {"v": 1}, 0) is None
    assert [start for start, _ in add(one, "b", 200, {"v": 1}, 0)] == [0]


def test_a_silent_topic_closes_its_windows_at_its_deadline_and_begins_afresh() -> None:
    one = windows(lateness_ns=1000, functions=("count",))
    assert one.deadline is None
    add(one, "a", 5, {"v": 1}, at=10)
    add(one, "b", 5, {"v": 1}, at=20)
    add(one, "a", 15, {"v": 1}, at=30)
    assert one.deadline == 120
    assert expire(one, 119) == []
    assert expire(one, 120) == [("b", 0, {"v.count": 1})]
    assert one.deadline == 130
    one = restarted(one, lateness_ns=1000, functions=("count",))
    assert expire(one, 130) == [("a", 0, {"v.count": 1}), ("a", 10, {"v.count": 1})]
    assert one.deadline is None
    assert add(one, "a", 5, {"v": 1}, at=140) == []


def test_a_watermark_driven_ahead_by_a_wrong_clock_heals_after_a_silence() -> None:
    one = windows()
    add(one, "a", 10**18, {"v": 1}, at=0)
    assert add(one, "a", 5, {"v": 1}, at=99) is None
    assert len(expire(one, 100)) == 1
    assert add(one, "a", 5, {"v": 1}, at=100) == []


def test_what_is_no_number_has_count_first_and_last_only() -> None:
    one = windows()
    for time_ns, value in ((3, "b"), (1, "a"), (4, True), (2, 7)):
        add(one, "t", time_ns, {"v": value}, 0)
    ((_, _, row),) = expire(one, None)
    assert row == {
        "v.count": 4, "v.sum": 7, "v.min": 7, "v.max": 7, "v.mean": 7.0, "v.first": "a", "v.last": True,
    }  # fmt: skip
    add(one, "t", 3, {"s": "x"}, 0)
    ((_, _, row),) = expire(one, None)
    assert row == {"s.count": 1, "s.first": "x", "s.last": "x"}


def test_a_window_without_anything_to_say_emits_nothing() -> None:
    one = windows(functions=("mean",))
    add(one, "t", 3, {"s": "x"}, 0)
    assert add(one, "t", 50, {"s": "x"}, 0) == []
    assert expire(one, None) == []


def test_sums_stay_within_what_a_reading_can_hold() -> None:
    one = windows(functions=("sum", "mean"))
    for _ in range(2):
        add(one, "t", 1, {"i": 2**63 - 1, "f": 1.7e308}, 0)
    one = restarted(one, functions=("sum", "mean"))
    ((_, _, row),) = expire(one, None)
    assert row == {"i.sum": float(2**64 - 2), "i.mean": float(2**63 - 1)}


def test_a_row_dated_before_1970_is_late() -> None:
    one = windows()
    assert add(one, "t", -5, {"v": 1}, 0) is None
    assert one.deadline is None


def test_topics_beyond_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "TOPICS_MAX", 2)
    one = windows()
    add(one, "a", 1, {"v": 1}, 0)
    assert not one.is_crowded
    add(one, "b", 1, {"v": 1}, 0)
    assert one.is_crowded
    assert one.refusal("c", 1, {"v": 1}) == "too_many_topics"
    assert one.refusal("b", 1, {"v": 1}) == ""


def test_windows_and_text_beyond_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CELLS_MAX", 4)
    one = windows(lateness_ns=1000)
    for time_ns in (5, 15, 25, 35):
        assert not one.is_crowded
        add(one, "a", time_ns, {"v": 1}, 0)
    assert one.is_crowded
    assert one.refusal("a", 45, {"v": 1}) == "too_many_windows"
    assert one.refusal("b", 45, {"v": 1}) == "too_many_windows"
    assert one.refusal("a", 5, {"v": 2}) == ""
    assert one.refusal("a", 5, {"w": 2}) == "too_many_windows"
    assert one.refusal("a", 5, {"v": "text"}) == "too_many_windows"
    one = windows()
    add(one, "a", 5, {"v": "x" * 1000}, 0)
    assert one.is_crowded
    add(one, "a", 5, {"v": 1}, 0)
    add(one, "a", 4, {"v": 1}, 0)
    assert not one.is_crowded
