"""Duplicates: exact within their bounds, as a plain list says, what is forgotten counted, over restarts, too."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.process.duplicates import Duplicates
from gateway.process.state import Part, restore_slice, slices

NUMBERS = st.integers(0, 5)
ROWS = st.dictionaries(st.sampled_from("abk"), NUMBERS, min_size=1)
STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("st"), NUMBERS, ROWS), max_size=80)
"""Each: how long after the one before on the node's timeline, topic, time of the row, row."""
BOUNDS = {"keys_max": st.integers(1, 8), "span_ns": st.integers(1, 20)}


class Listed:
    """The same with a list: keys that went on, the oldest first, and when."""

    def __init__(self, options: schema.Duplicates) -> None:
        self.options = options
        self.keys: list[tuple[int, tuple]] = []
        self.forgotten = 0

    def left(self, topic: str, time_ns: int, row: dict, at: int) -> dict:
        self.keys = [(first, key) for first, key in self.keys if at < first + self.options.span_ns]
        if not self.options.key:
            return {name: value for name, value in row.items() if self.is_new((topic, name, time_ns), at)}
        if self.options.key not in row:
            return row
        key = (topic if self.options.scope == "topic" else "", row[self.options.key])
        return row if self.is_new(key, at) else {}

    def is_new(self, key: tuple, at: int) -> bool:
        if key in [known for _, known in self.keys]:
            return False
        if len(self.keys) == self.options.keys_max:
            del self.keys[0]
            self.forgotten += 1
        self.keys.append((at, key))
        return True


def restarted(one: Duplicates, options: schema.Duplicates) -> Duplicates:
    again = Duplicates(options)
    parts = {"duplicates": Part(again.state, again.restore)}
    for each in slices({"duplicates": Part(one.state, one.restore)}):
        restore_slice(parts, each)
    return again


@settings(max_examples=200, deadline=None)
@given(STEPS, st.sampled_from([("", "topic"), ("k", "topic"), ("k", "route")]), st.fixed_dictionaries(BOUNDS))
def test_a_plain_list_leaves_out_and_forgets_the_same_also_over_restarts(steps, kind, bounds) -> None:
    options = schema.Duplicates(key=kind[0], scope=kind[1], **bounds)
    one, listed, at = Duplicates(options), Listed(options), 0
    for after, topic, time_ns, row in steps:
        at += after
        assert one.left(topic, time_ns, dict(row), at) == listed.left(topic, time_ns, dict(row), at)
        assert one.forgotten == listed.forgotten
        assert len(one) <= options.keys_max
        one = restarted(one, options)
    assert one.unkeyed == (sum("k" not in row for _, _, _, row in steps) if options.key else 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300), st.integers(1, 150)), max_size=15), st.integers(1, 300)
)
def test_a_plain_list_agrees_when_more_is_over_its_span_than_one_row_removes(steps, keys_max) -> None:
    options = schema.Duplicates(keys_max=keys_max, span_ns=10)
    one, listed, at = Duplicates(options), Listed(options), 0
    for after, first, number in steps:
        at += after
        row = {f"f{index}": 1 for index in range(first, first + number)}
        assert one.left("t", 0, dict(row), at) == listed.left("t", 0, dict(row), at)
        assert one.forgotten == listed.forgotten


@settings(max_examples=50, deadline=None)
@given(STEPS, st.fixed_dictionaries(BOUNDS))
def test_the_state_of_a_restarted_filter_is_the_one_it_was_given(steps, bounds) -> None:
    options = schema.Duplicates(**bounds)
    one, at = Duplicates(options), 0
    for after, topic, time_ns, row in steps:
        at += after
        one.left(topic, time_ns, dict(row), at)
    assert list(restarted(one, options).state()) == list(one.state())


def test_with_room_and_within_the_span_each_reading_goes_on_exactly_once() -> None:
    one = Duplicates(schema.Duplicates(keys_max=1000, span_ns=1000))
    rows = [one.left("t", number % 100, {"a": 1, "b": number}, number) for number in range(500)]
    assert rows == [{"a": 1, "b": number} if number < 100 else {} for number in range(500)]
    assert one.forgotten == 0


def test_a_key_is_known_for_its_span_and_no_longer_and_repetition_does_not_prolong_it() -> None:
    one = Duplicates(schema.Duplicates(key="id", span_ns=10))
    went_on = [at for at in range(31) if one.left("t", at, {"id": 7}, at)]
    assert went_on == [0, 10, 20, 30]


def test_without_room_the_oldest_key_is_forgotten_and_counted() -> None:
    one = Duplicates(schema.Duplicates(key="id", keys_max=2, span_ns=1000))
    assert [bool(one.left("t", 0, {"id": number}, at)) for at, number in enumerate([1, 2, 3, 2, 3, 1])] == [
        *(True, True, True),
        *(False, False),
        True,
    ]
    assert one.forgotten == 2


def test_what_is_over_its_span_is_not_counted_as_forgotten() -> None:
    one = Duplicates(schema.Duplicates(keys_max=100, span_ns=10))
    for number in range(100):
        one.left("t", number, {"v": 1}, 0)
    assert len(one) == 100
    one.left("t", 0, {f"f{number}": 1 for number in range(100)}, 10)
    assert one.forgotten == 0
    assert len(one) == 100


def test_one_row_after_a_long_silence_removes_a_bounded_number_of_keys() -> None:
    one = Duplicates(schema.Duplicates(keys_max=10_000, span_ns=10))
    for number in range(10_000):
        one.left("t", number, {"v": 1}, 0)
    lengths = []
    for number in range(200):
        assert one.left("t", number, {"v": 1}, 10) == {"v": 1}
        lengths.append(len(one))
    assert 9_900 < lengths[0] < 10_000
    assert lengths[-1] == 200


def test_a_key_that_comes_again_after_its_span_is_as_young_as_it_came_again() -> None:
    one = Duplicates(schema.Duplicates(keys_max=200, span_ns=10))
    one.left("t", 0, {f"f{number}": 1 for number in range(200)}, 0)
    assert one.left("t", 0, {"f199": 1}, 10) == {"f199": 1}
    assert len(one.left("t", 1, {f"f{number}": 1 for number in range(199)}, 11)) == 199
    assert one.left("t", 0, {"f199": 1}, 12) == {}
    assert one.forgotten == 0


@pytest.mark.parametrize("scope", ["topic", "route"])
def test_the_scope_says_whose_rows_a_key_is_compared_with(scope) -> None:
    one = Duplicates(schema.Duplicates(key="id", scope=scope))
    assert one.left("s", 0, {"id": "x", "v": 1}, 0)
    assert bool(one.left("t", 0, {"id": "x", "v": 2}, 0)) == (scope == "topic")


def test_values_of_different_types_are_different_keys_and_equal_numbers_are_not() -> None:
    one = Duplicates(schema.Duplicates(key="id"))
    values = [1, 1.0, True, "1", b"1", 0, False, -0.0, "", b""]
    fresh = [bool(one.left("t", 0, {"id": value}, 0)) for value in values]
    assert fresh == [True, False, True, True, True, True, True, False, True, True]
    again = restarted(one, schema.Duplicates(key="id"))
    assert not any(again.left("t", 0, {"id": value}, 0) for value in values)


def test_long_keys_take_no_more_room_than_short_ones_and_are_told_apart() -> None:
    one = Duplicates(schema.Duplicates(key="id"))
    assert one.left("t", 0, {"id": "x" * 100_000}, 0)
    assert not one.left("t", 0, {"id": "x" * 100_000}, 0)
    assert one.left("t", 0, {"id": "x" * 99_999 + "y"}, 0)
    assert one.left("t", 0, {"id": b"x" * 100_000}, 0)
    digest = list(one.state())[1][3]
    assert one.left("t", 0, {"id": digest}, 0), "bytes that look like the digest of a text are another key"
    assert len(msgspec.msgpack.encode(list(one.state()))) < 250


def test_a_row_without_the_key_goes_on_and_is_counted() -> None:
    one = Duplicates(schema.Duplicates(key="id"))
    assert [one.left("t", 0, {"v": 1}, 0) for _ in range(3)] == [{"v": 1}] * 3
    assert (one.unkeyed, len(one)) == (3, 0)
