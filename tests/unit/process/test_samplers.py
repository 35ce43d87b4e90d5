"""The samplers of a route: what doors hold back is counted, released in time, in order, and survives a restart."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ledger
from gateway.config.schema import Sample
from gateway.errors import DecodeError
from gateway.process.sample import Steps
from gateway.process.samplers import Samplers
from gateway.process.state import Part, restore_slice, slices

IDLE = 10
OPTIONS = Sample(
    share=0.9,
    share_of="series",
    every=2,
    every_silence_ns=15,
    interval_ns=2,
    on_change=("c",),
    deadband={"d": 2.0},
    percent={"p": 50.0},
    swinging_door={"a": 1.5, "b": 1.5},
    silence_ns=20,
    idle_ns=IDLE,
)
DOORS = Sample(swinging_door={"a": 1.5, "b": 1.5}, idle_ns=IDLE)
ROWS = st.dictionaries(st.sampled_from("abcdpx"), st.integers(-5, 5) | st.just("text"), min_size=1)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("stu"), st.integers(0, 6), ROWS), max_size=60)
"""Each: how long after the one before, topic, time that passed for the sensor, row."""


class Node:
    """What the pipeline does around the samplers: the timeline, the ledger, the rows that went on."""

    def __init__(self, options: Sample) -> None:
        self.options = options
        self.samplers = Samplers("route", Steps(options))
        self.at = self.time_ns = 0
        self.ledger = dict.fromkeys((ledger.RECEIVED, ledger.DECODED), 0)
        self.went_on: list[tuple[str, int, dict]] = []

    def take(self, after: int, topic: str, time_after_ns: int, row: dict) -> None:
        self.at += after
        self.time_ns += time_after_ns
        self.fall_due(self.at)
        ledger.count(self.ledger, ledger.READ, len(row))
        samplers = self.samplers
        before, sampler = samplers.open_readings + len(row), samplers.sampler(topic)
        row = sampler.thinned(dict(row), self.time_ns, self.at)
        released = sampler.released()
        self.go_on(released)
        gone = sum(len(one.row) for one in released) + len(row)
        left_out = before - gone - samplers.open_readings
        assert left_out >= 0
        ledger.count(self.ledger, ledger.SAMPLED_OUT, left_out)
        self.go_on([(topic, self.time_ns, row)] if row else [])

    def fall_due(self, at: int | None) -> None:
        while released := self.samplers.release(at):
            self.go_on([released])

    def go_on(self, rows) -> None:
        for topic, time_ns, row in rows:
            assert row
            self.went_on.append((topic, time_ns, dict(row)))
            ledger.count(self.ledger, ledger.SEALED, len(row))

    def restart(self) -> None:
        old = self.samplers
        self.samplers = Samplers("route", Steps(self.options))
        parts = {"samplers": Part(self.samplers.state, self.samplers.restore)}
        for each in slices({"samplers": Part(old.state, old.restore)}):
            restore_slice(parts, each)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.sampled_from([OPTIONS, DOORS]))
def test_the_books_balance_after_every_row_and_every_reading_goes_on_once_at_most(steps, options) -> None:
    node, readings = Node(options), Counter()
    for step in steps:
        node.take(*step)
        readings.update((step[1], node.time_ns, name, value) for name, value in step[3].items())
        assert ledger.residuals(node.ledger, node.samplers.open_readings) == (0, 0)
    node.fall_due(None)
    assert node.samplers.open_readings == 0
    assert node.samplers.deadline is None
    assert ledger.residuals(node.ledger, 0) == (0, 0)
    went_on = Counter((topic, time_ns, *item) for topic, time_ns, row in node.went_on for item in row.items())
    assert went_on <= readings


@settings(max_examples=100, deadline=None)
@given(STEPS, st.sampled_from([OPTIONS, DOORS]))
def test_a_restart_at_any_point_changes_nothing(steps, options) -> None:
    node, restarted = Node(options), Node(options)
    for step in steps:
        node.take(*step)
        restarted.take(*step)
        restarted.restart()
        assert restarted.samplers.deadline == node.samplers.deadline
    node.fall_due(None)
    restarted.fall_due(None)
    assert restarted.went_on == node.went_on
    assert list(restarted.samplers.state()) == list(node.samplers.state())


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_readings_of_a_series_go_on_in_the_order_they_came(steps) -> None:
    node = Node(DOORS)
    for step in steps:
        node.take(*step)
    node.fall_due(None)
    last: dict[tuple[str, str], int] = {}
    for topic, time_ns, row in node.went_on:
        for name in row:
            assert last.get((topic, name), 0) <= time_ns
            last[topic, name] = time_ns


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_reading_is_held_longer_than_idle_after_it_came(steps) -> None:
    node, came_at = Node(DOORS), {}
    for after, topic, time_after_ns, row in steps:
        node.take(after, topic, time_after_ns, row)
        came_at.setdefault(node.time_ns, node.at)
        due = [line[6] + IDLE for _, *state in records(node.samplers) for line in state[4] if line[4] is not None]
        assert len(due) == node.samplers.open_readings
        assert node.samplers.deadline == min(due, default=None)
        assert all(at > node.at for at in due)


def records(samplers: Samplers) -> list[tuple]:
    """Return the records of topics, as they lie in a checkpoint."""
    return [one for one in msgspec.msgpack.decode(msgspec.msgpack.encode(list(samplers.state()))) if len(one) > 2]


def test_silent_topics_let_go_of_what_was_held_longest_first() -> None:
    node = Node(DOORS)
    for after, topic in [(0, "s"), (0, "t"), (3, "t"), (1, "s"), (1, "s"), (0, "t")]:
        node.take(after, topic, 1, {"a": 1, "b": 1})
    del node.went_on[:]
    assert node.samplers.deadline == 5 + IDLE
    node.fall_due(4 + IDLE)
    assert node.went_on == []
    assert node.samplers.open_readings == 4
    node.fall_due(5 + IDLE)
    assert node.went_on == [("s", 5, {"a": 1, "b": 1}), ("t", 6, {"a": 1, "b": 1})]
    assert node.samplers.open_readings == 0


def test_a_field_that_is_not_sent_any_more_is_let_go_although_its_topic_goes_on() -> None:
    node = Node(DOORS)
    for _ in range(2):
        node.take(1, "t", 1, {"a": 1, "b": 1})
    for _ in range(IDLE):
        node.take(1, "t", 1, {"a": 1})
    assert ("t", 2, {"b": 1}) in node.went_on
    assert node.samplers.open_readings == 1


def test_fields_held_at_different_times_are_let_go_as_rows_of_their_own() -> None:
    node = Node(DOORS)
    for row in ({"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1}):
        node.take(0, "t", 1, row)
    node.fall_due(IDLE)
    assert node.went_on[1:] == [("t", 2, {"b": 1}), ("t", 3, {"a": 1})]


def test_the_order_in_which_readings_were_held_survives_a_restart() -> None:
    node = Node(DOORS)
    for topic in ("s", "t", "u", "u", "t", "s"):
        node.take(0, topic, 1, {"a": 1})
    node.restart()
    node.fall_due(IDLE)
    assert [topic for topic, _, _ in node.went_on[3:]] == ["u", "t", "s"]


def test_another_value_at_the_time_of_the_held_one_leaves_nothing_held() -> None:
    node = Node(DOORS)
    for after_ns, value in [(1, 0), (1, 1), (0, 2)]:
        node.take(0, "t", after_ns, {"a": value})
    assert (node.samplers.open_readings, node.samplers.deadline) == (0, None)
    assert [(time_ns, row["a"]) for _, time_ns, row in node.went_on] == [(1, 0), (2, 1), (2, 2)]


def test_what_was_let_go_is_the_start_of_the_next_line() -> None:
    node = Node(DOORS)
    for after, value in [(0, 0), (1, 0), (IDLE, 5), (1, 10), (1, 15)]:
        node.take(after, "t", 1, {"a": value})
    node.fall_due(None)
    assert [(time_ns, row["a"]) for _, time_ns, row in node.went_on] == [(1, 0), (2, 0), (5, 15)]


def test_one_topic_too_many_is_refused_and_the_others_go_on() -> None:
    samplers = Samplers("route", Steps(DOORS), topics_max=2)
    first, _ = samplers.sampler("s"), samplers.sampler("t")
    with pytest.raises(DecodeError) as raised:
        samplers.sampler("u")
    assert raised.value.reason == "too_many_topics"
    assert samplers.sampler("s") is first


@pytest.mark.parametrize("silence_ns", [0, 30])
def test_every_n_th_row_goes_on_and_one_after_silence_begins_the_count_anew(silence_ns) -> None:
    node = Node(Sample(every=4, every_silence_ns=silence_ns))
    for after_ns in (1, 1, 1, 1, 1, 30, 1, 1, 29, 1):
        node.take(0, "t", after_ns, {"v": 1})
    times = [time_ns for _, time_ns, _ in node.went_on]
    assert times == ([1, 5, 66] if silence_ns == 0 else [1, 5, 35, 66])


def test_a_clock_set_back_ends_the_silence_of_every_n_th_row() -> None:
    node = Node(Sample(every=100, every_silence_ns=30))
    for after_ns in itertools.repeat(-10, 7):
        node.take(0, "t", after_ns, {"v": 1})
    assert [time_ns for _, time_ns, _ in node.went_on] == [-10, -40, -70]
