"""Overlapping windows, sessions, a watermark of the route and what comes late, each against plain lists."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, Tick
from gateway.process import window
from gateway.process.pipeline import SLICE_MESSAGES_MAX, Pipeline
from gateway.process.window import Windows

S = 10**9
NOON = 1_780_000_000 * S
EVERYTHING = 1_000_000
FUNCTIONS = (
    "count", "sum", "min", "max", "mean", "first", "last", "stddev", "increase", "rate", "twmean", "p50", "p99",
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 120), st.integers(-5, 5)), max_size=50)


def options(**values: object) -> schema.Window:
    return schema.Window(**{"functions": ("count", "sum"), "idle_ns": 10**6, **values})  # type: ignore[arg-type]


def restarted(one: Windows, chosen: schema.Window) -> Windows:
    again = Windows(chosen)
    for record in msgspec.msgpack.decode(msgspec.msgpack.encode(list(one.state()))):
        again.restore([record])
    return again


def run(chosen: schema.Window, steps, *, restart: bool = False) -> tuple[list, list, list]:
    """Return (windows closed by watermarks, late steps, windows closed by silence)."""
    one, closed, late = Windows(chosen), [], []
    for step in steps:
        topic, time_ns, value = step
        if not one.take(topic, time_ns, {"v": value}, 0):
            late.append(step)
        while one.has_due:
            closed += one.due(1)
        if restart:
            one = restarted(one, chosen)
    silent = []
    while one.expire(None) or one.has_due:
        silent += one.due(EVERYTHING)
    assert (one._cells, one._characters, one.deadline) == (0, 0, None)
    return closed, late, silent


def test_a_row_goes_into_every_window_that_overlaps_it() -> None:
    chosen = options(size_ns=30, hop_ns=10)
    closed, late, silent = run(chosen, [("a", 35, 1), ("a", 41, 2), ("a", 62, 4)])
    sums = {start: row["v.sum"] for _, start, row in closed}
    assert sums == {10: 1, 20: 3, 30: 3}, "a window that ends at 70 is not closed by 62"
    assert [(start, row["v.sum"]) for _, start, row in silent] == [(40, 6), (50, 4), (60, 4)]
    assert late == []


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(1, 12), st.integers(0, 40), st.booleans(), st.booleans())
def test_overlapping_windows_hold_what_a_list_holds(steps, hops, hop_ns, lateness_ns, shared, restart) -> None:
    size_ns = hops * hop_ns
    watermark = "route" if shared else "topic"
    chosen = options(size_ns=size_ns, hop_ns=hop_ns, lateness_ns=lateness_ns, watermark=watermark)
    closed, late, silent = run(chosen, steps, restart=restart)
    newest, wanted_late, taken = {}, [], {}
    for topic, time_ns, value in steps:
        mark = max(newest.values(), default=0) if shared else newest.get(topic, 0)
        starts = [start for start in range(0, time_ns + 1, hop_ns) if start <= time_ns < start + size_ns]
        open_ones = [start for start in starts if start + size_ns + lateness_ns > mark]
        if not open_ones:
            wanted_late.append((topic, time_ns, value))
            continue
        for start in open_ones:
            taken.setdefault((topic, start), []).append(value)
        newest[topic] = max(newest.get(topic, 0), time_ns)
    assert late == wanted_late
    found = {(topic, start): (row["v.count"], row["v.sum"]) for topic, start, row in closed + silent}
    assert len(found) == len(closed) + len(silent), "no window closes twice"
    assert found == {key: (len(values), sum(values)) for key, values in taken.items()}
    for topic, start, _ in closed:
        mark = max(newest.values()) if shared else newest[topic]
        assert start + size_ns + lateness_ns <= mark


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 15), st.booleans())
def test_sessions_are_runs_without_a_gap(steps, gap_ns, restart) -> None:
    chosen = options(gap_ns=gap_ns, lateness_ns=1000)
    closed, late, silent = run(chosen, steps, restart=restart)
    assert (closed, late) == ([], []), "nothing is a thousand late"
    wanted = []
    for name in "ab":
        run_of: list[tuple[int, int]] = []
        for time_ns, value in sorted((time_ns, value) for topic, time_ns, value in steps if topic == name):
            if run_of and time_ns - run_of[-1][0] >= gap_ns:
                wanted.append((name, run_of[0][0], len(run_of), sum(value for _, value in run_of)))
                run_of = []
            run_of.append((time_ns, value))
        if run_of:
            wanted.append((name, run_of[0][0], len(run_of), sum(value for _, value in run_of)))
    assert sorted((topic, start, row["v.count"], row["v.sum"]) for topic, start, row in silent) == sorted(wanted)


def test_a_session_closes_when_nothing_can_follow_it_any_more() -> None:
    closed, late, silent = run(
        options(gap_ns=10, lateness_ns=5), [("a", 0, 1), ("a", 9, 1), ("a", 20, 1), ("a", 24, 1)]
    )
    assert [(start, row["v.count"]) for _, start, row in closed] == [(0, 2)]
    assert [(start, row["v.count"]) for _, start, row in silent] == [(20, 2)]
    assert late == []


def test_joined_sessions_have_what_one_session_would_have() -> None:
    points = [("a", 0, 3), ("a", 4, 9), ("a", 30, 2), ("a", 34, 5), ("a", 15, 7)]
    chosen = options(gap_ns=16, lateness_ns=1000, functions=FUNCTIONS)
    ((_, start, row),) = run(chosen, points)[2]
    ((_, _, whole),) = run(chosen, sorted(points, key=lambda point: point[1]))[2]
    assert start == 0
    in_order = {"v.increase", "v.rate", "v.twmean"}
    assert {key: value for key, value in row.items() if key not in in_order} == pytest.approx(
        {key: value for key, value in whole.items() if key not in in_order}
    )


def test_a_watermark_of_the_route_closes_the_windows_of_topics_that_are_silent() -> None:
    chosen = options(size_ns=10, watermark="route")
    closed, late, _ = run(chosen, [("a", 3, 1), ("b", 25, 1), ("a", 4, 1)])
    assert [(topic, start) for topic, start, _ in closed] == [("a", 0)]
    assert late == [("a", 4, 1)]


@settings(max_examples=100, deadline=None)
@given(
    STEPS,
    st.sampled_from(
        [{"size_ns": 20}, {"size_ns": 20, "hop_ns": 5}, {"gap_ns": 8}, {"size_ns": 9, "watermark": "route"}]
    ),
)
def test_a_restart_after_every_row_changes_nothing(steps, kind) -> None:
    chosen = options(functions=FUNCTIONS, lateness_ns=7, **kind)
    assert run(chosen, steps, restart=True) == run(chosen, steps)


def machine(**values: object) -> Pipeline:
    route = schema.Route(name="w", topics=("#",), lane="t", window=options(**values))
    return Pipeline((route,), (schema.Lane(name="t", linger_ns=10**18),), schema.Broker(), "n", 1)


def group(at: int, *messages: tuple[str, bytes]) -> MessageGroup:
    topics, payloads = [topic for topic, _ in messages], [payload for _, payload in messages]
    ids, flags = list(range(1, len(messages) + 1)), [QOS1] * len(messages)
    return MessageGroup(NOON, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, flags, {})


def test_a_late_row_is_counted_or_becomes_a_correction() -> None:
    for late, fates in (("drop", {"reading.late": 1}), ("correct", {})):
        time = schema.Time(field="t", unit="s")
        route = schema.Route(
            name="w", topics=("#",), lane="t", time=time, window=options(size_ns=10 * S, late=late, functions=("sum",))
        )
        pipeline = Pipeline((route,), (schema.Lane(name="t"),), schema.Broker(), "n", 1)
        payloads = [(b'{"t": %d, "v": %d}' % pair) for pair in ((5, 1), (25, 2), (6, 4))]
        for _ in pipeline.apply(group(1, *(("a", payload) for payload in payloads)), 0):
            pass
        (batch,) = pipeline.finish(NOON, 2).batches
        times, rows = batch.rows["a"]
        found = list(zip(times, rows, strict=True))
        assert ((0, {"v.sum": 4, "late": True}) in found) == (late == "correct")
        assert (0, {"v.sum": 1}) in found
        assert {key: number for key, number in pipeline.ledger.items() if key == "reading.late"} == fates
        assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)


def test_however_many_windows_fall_due_together_they_close_in_slices() -> None:
    number = 5000
    time = schema.Time(field="t", unit="ms")
    window_ = options(size_ns=10**6, lateness_ns=10**6 * number, functions=("count",))
    route = schema.Route(name="w", topics=("#",), lane="t", time=time, window=window_)
    pipeline = Pipeline((route,), (schema.Lane(name="t", linger_ns=10**18),), schema.Broker(), "n", 1)
    messages = [("a", b'{"t": %d, "v": 1}' % millisecond) for millisecond in range(number)]
    for _ in pipeline.apply(group(1, *messages), 0):
        pass
    assert pipeline.ledger.get("reading.emitted", 0) == 0
    late = group(2, ("a", b'{"t": %d, "v": 1}' % (3 * number)))
    counts = [0, *(pipeline.ledger.get("reading.emitted", 0) for _ in pipeline.apply(late, 1))]
    assert counts[-1] <= window.CLOSED_MAX, "a message closes no more than a call may"
    assert pipeline.deadline is not None
    assert pipeline.deadline < 2, "and lets a tick come at once for the rest"
    counts += [pipeline.ledger["reading.emitted"] for _ in pipeline.apply(Tick(NOON, 3, CLOCK_SYNCHRONISED), 2)]
    counts.append(pipeline.ledger["reading.emitted"])
    assert counts[-1] == number
    assert max(after - before for before, after in pairwise(counts)) <= SLICE_MESSAGES_MAX + window.CLOSED_MAX
