"""Coarser readings say what the finer ones said: against a plain computation, in one step and in two."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.batch.thin import COUNT_MAX, Coarse, coarsened
from gateway.model import Thinned, Value
from tests.support.batches import open_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

S = 10**9
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
FLOAT_MAX = 1.7976931348623157e308
ENDS = ("count", "min", "max", "mean", "last")
KINDS = (int, float, bool, str, bytes)
"""The types in the order in which the format numbers them."""

Table = dict[str, list[tuple[int, dict[str, Value]]]]
Cell = tuple[str, int, str]

numbers = st.one_of(
    st.integers(INT_MIN, INT_MAX), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, 0.0, 1, 1.0])
)
others = st.one_of(st.booleans(), st.text("ab", max_size=2), st.binary(max_size=2))
values = st.one_of(numbers, others)
times = st.one_of(st.integers(-50 * S, 50 * S), st.integers(-3, 3), st.sampled_from([INT_MIN, INT_MIN + 1, INT_MAX]))


def tables(fields: st.SearchStrategy[dict[str, Value]]) -> st.SearchStrategy[Table]:
    found = st.lists(st.tuples(times, fields), min_size=1, max_size=8)
    return st.dictionaries(st.sampled_from(["one", "two", "Grüße"]), found, min_size=1)


mixed = tables(st.dictionaries(st.sampled_from(["a", "b", "a.min", "x.count"]), values, min_size=1))
of_one_sort = tables(
    st.fixed_dictionaries(
        {"a": numbers}, optional={"a.min": numbers, "x.count": numbers, "": numbers, "b": others, "a.last": others}
    )
)
"""No field holds both numbers and others: so levels lose nothing."""


def batch(table: Table, thinned: Thinned | None = None) -> DecodedBatch:
    entries = {topic: ([time for time, _ in found], [row for _, row in found]) for topic, found in table.items()}
    found = decode(envelope.seal(replace(open_batch(entries), thinned=thinned), "boot").data)
    assert isinstance(found, DecodedBatch)
    return found


def mark(originals: int = 3, interval_ns: int = S) -> Thinned:
    return Thinned(interval_ns, "telemetry", 1, 1, originals, 1)


def again(coarse: Coarse, interval_ns: int = S) -> DecodedBatch:
    """Return the coarse rows as the batch that a lane would hold."""
    table = {topic: list(zip(*found, strict=True)) for topic, found in coarse.rows.items()}
    return batch(table, mark(coarse.originals, interval_ns))


def flat(coarse: Coarse) -> dict[Cell, Value]:
    found = {
        (topic, start, name): value
        for topic, (starts, entries) in coarse.rows.items()
        for start, row in zip(starts, entries, strict=True)
        for name, value in row.items()
    }
    assert len(found) == coarse.readings, "no reading comes twice"
    return found


def start_of(time_ns: int, interval_ns: int) -> int:
    return max(time_ns // interval_ns * interval_ns, INT_MIN)


def plain(found: Iterable[Table], interval_ns: int) -> dict[Cell, list[Value]]:
    """Return the values of each series and interval, the latest at the end."""
    cells: dict[Cell, list[tuple[tuple[int, int, int], Value]]] = {}
    for number, table in enumerate(found):
        for topic, rows in table.items():
            for time_ns, row in rows:
                for name, value in row.items():
                    place = (topic, start_of(time_ns, interval_ns), name)
                    cells.setdefault(place, []).append(((time_ns, number, KINDS.index(type(value))), value))
    return {place: [value for _, value in sorted(seen, key=lambda one: one[0])] for place, seen in cells.items()}


def is_number(value: Value) -> bool:
    return type(value) in (int, float)


def is_same(one: Value, other: Value) -> bool:
    return one == other and type(one) is type(other)


def check_mean(found: Value, exact: Fraction, scale: float) -> None:
    """A float may be off by rounding: in proportion to the largest number of its interval."""
    assert isinstance(found, float)
    assert abs(Fraction(found) - exact) <= Fraction(scale) / 10**12 + Fraction(5e-324)


@settings(max_examples=100, deadline=None)
@given(st.lists(mixed, min_size=1, max_size=3), st.sampled_from([1, S, 7 * S, 60 * S, INT_MAX]))
def test_count_min_max_mean_and_last_are_those_of_a_plain_computation(found, interval_ns) -> None:
    coarse = coarsened([batch(table) for table in found], interval_ns)
    cells, said = plain(found, interval_ns), flat(coarse)
    assert coarse.originals == sum(map(len, cells.values()))
    for (topic, start, name), seen in cells.items():
        of = {end: said.pop((topic, start, f"{name}.{end}")) for end in ENDS if (topic, start, f"{name}.{end}") in said}
        assert of["count"] == len(seen)
        assert is_same(of["last"], seen[-1])
        measured = [value for value in seen if is_number(value)]
        assert of.keys() == (set(ENDS) if measured else {"count", "last"})
        if measured:
            low, high = min(measured), max(measured)
            assert any(is_same(of["min"], value) for value in measured if value == low)
            assert any(is_same(of["max"], value) for value in measured if value == high)
            assert float(low) <= of["mean"] <= float(high)
            exact = sum(map(Fraction, measured), Fraction()) / len(measured)
            check_mean(of["mean"], exact, max(abs(float(low)), abs(float(high))))
    assert not said, "nothing else is said"


@settings(max_examples=100, deadline=None)
@given(st.lists(mixed, min_size=1, max_size=3), st.sampled_from([S, 7 * S]))
def test_no_reading_is_lost_or_doubled_through_any_levels(found, interval_ns) -> None:
    coarse = coarsened([batch(table) for table in found], interval_ns)
    readings = sum(len(row) for table in found for rows in table.values() for _, row in rows)
    for factor in (1, 3, 2):  # one that changes nothing, one that divides, one that does not
        assert coarse.originals == readings
        assert sum(value for (_, _, name), value in flat(coarse).items() if name.endswith(".count")) == readings
        coarse = coarsened([again(coarse, interval_ns)], interval_ns * factor)


@settings(max_examples=100, deadline=None)
@given(st.lists(of_one_sort, min_size=1, max_size=3))
def test_two_levels_one_after_the_other_say_what_one_coarse_level_says(found) -> None:
    batches = [batch(table) for table in found]
    once = coarsened(batches, 10 * S)
    check_levels(once, coarsened([again(coarsened(batches, 2 * S), 2 * S)], 10 * S), ENDS)
    each = [again(coarsened([one], 2 * S), 2 * S) for one in batches]
    check_levels(once, coarsened(each, 10 * S), ("count", "min", "max", "mean"))
    halves = [each[0], *batches[1:]]
    check_levels(once, coarsened(halves, 10 * S), ("count", "min", "max", "mean"))


def check_levels(once: Coarse, twice: Coarse, ends: Iterable[str]) -> None:
    assert twice.originals == once.originals
    direct, through = flat(once), flat(twice)
    assert list(direct) == list(through)
    for (topic, start, field), value in direct.items():
        name, _, end = field.rpartition(".")
        if end == "mean":
            scale = max(abs(float(direct[topic, start, f"{name}.{side}"])) for side in ("min", "max"))
            check_mean(through[topic, start, field], Fraction(value), scale)
        elif end in ends:
            assert through[topic, start, field] == value, field


def test_a_mean_that_needs_no_rounding_is_exact() -> None:
    table = {"a": [(time, {"v": time}) for time in range(1, 50)]}
    assert coarsened([batch(table)], S).rows["a"][1][0]["v.mean"] == 25.0


def test_extremes_keep_their_type_and_their_mean_does_not_overflow() -> None:
    for number in (INT_MIN, INT_MAX, FLOAT_MAX, -FLOAT_MAX, 5e-324):
        row = coarsened([batch({"a": [(time, {"v": number}) for time in range(9)]})] * 2, S).rows["a"][1][0]
        assert row == {"v.count": 18} | {f"v.{end}": number for end in ("min", "max", "last")} | {
            "v.mean": float(number)
        }
        assert all(type(row[f"v.{end}"]) is type(number) for end in ("min", "max", "last"))
    halves = [batch({"a": [(time, {"v": sign * FLOAT_MAX}) for time in range(9)]}) for sign in (1, -1)]
    assert coarsened(halves, S).rows["a"][1][0]["v.mean"] == 0.0


def test_integers_and_floats_of_one_field_are_compared_exactly() -> None:
    table = {"a": [(0, {"v": 2.0**53}), (1, {"v": 2**53 + 1}), (2, {"v": 1.5})]}
    row = coarsened([batch(table)], S).rows["a"][1][0]
    assert is_same(row["v.max"], 2**53 + 1)
    assert is_same(row["v.min"], 1.5)


def test_times_before_1970_and_at_the_ends_of_time_have_their_interval() -> None:
    table = {"a": [(-1, {"v": 1}), (0, {"v": 2}), (INT_MIN, {"v": 3}), (INT_MAX, {"v": 4})]}
    coarse = coarsened([batch(table)], 7 * S)
    assert coarse.rows["a"][0] == [INT_MIN, -7 * S, 0, INT_MAX // (7 * S) * 7 * S]
    assert coarsened([again(coarse, 7 * S)], 7 * S) == coarse


def test_the_same_readings_give_the_same_rows_in_the_same_order() -> None:
    table: Table = {"b": [(3, {"z": 1, "a": 2.5})], "a": [(9, {"z": True}), (1, {"z": "on"})]}
    one, other = coarsened([batch(table)], S), coarsened([batch(dict(reversed(table.items())))], S)
    assert list(flat(one).items()) == list(flat(other).items())
    assert list(one.rows) == ["a", "b"]
    assert one.rows["a"] == ([0], [{"z.count": 2, "z.last": True}])
    assert list(one.rows["b"][1][0].items()) == [
        *(("a.count", 1), ("a.min", 2.5), ("a.max", 2.5), ("a.mean", 2.5), ("a.last", 2.5)),
        *(("z.count", 1), ("z.min", 1), ("z.max", 1), ("z.mean", 1.0), ("z.last", 1)),
    ]


def test_intervals_that_do_not_divide_go_to_where_they_begin() -> None:
    table = {"a": [(time * S, {"v": time}) for time in range(12)]}
    fine = coarsened([batch(table)], 4 * S)
    coarse = coarsened([again(fine, 4 * S)], 6 * S)
    assert coarse.rows["a"][0] == [0, 6 * S]
    assert [row["v.count"] for row in coarse.rows["a"][1]] == [8, 4]
    assert [row["v.last"] for row in coarse.rows["a"][1]] == [7, 11]
    assert [row["v.mean"] for row in coarse.rows["a"][1]] == [3.5, 9.5]


def test_numbers_in_some_rows_of_a_thinned_field_and_text_in_others_stay_apart() -> None:
    table: Table = {
        "a": [(0, {"v": 2}), (1, {"v": 4.0}), (2 * S, {"v": "on"})],
        "b": [(0, {"v": b"x"}), (5 * S, {"v": 9})],
    }
    coarse = coarsened([again(coarsened([batch(table)], S))], 4 * S)
    assert coarse.rows == {
        "a": ([0], [{"v.count": 3, "v.min": 2, "v.max": 4.0, "v.mean": 3.0, "v.last": "on"}]),
        "b": (
            [0, 4 * S],
            [
                {"v.count": 1, "v.last": b"x"},
                {"v.count": 1, "v.min": 9, "v.max": 9, "v.mean": 9.0, "v.last": 9},
            ],
        ),
    }


def test_topics_may_come_in_another_order_than_in_an_earlier_batch() -> None:
    table: Table = {"a": [(0, {"v": 0.5})], "b": [(0, {"v": 7})], "c": [(0, {"v": True})]}
    fine = coarsened([batch(table)], S)
    coarse = coarsened([batch({"c": [(0, {"w": 1})]}), batch({"b": [(0, {"w": 1})]}), again(fine)], 2 * S)
    assert coarse.rows["a"] == fine.rows["a"]
    assert coarse.rows["b"][1][0].items() > fine.rows["b"][1][0].items()
    assert coarse.rows["c"][1][0].items() > fine.rows["c"][1][0].items()


def test_a_mean_is_weighted_by_count() -> None:
    rows = [
        (0, {"v.count": 9, "v.min": 0, "v.max": 4, "v.mean": 1.0, "v.last": 0}),
        (S, {"v.count": 1, "v.min": 11, "v.max": 11, "v.mean": 11.0, "v.last": 11}),
    ]
    row = coarsened([batch({"a": rows}, mark(10))], 2 * S).rows["a"][1][0]
    assert row == {"v.count": 10, "v.min": 0, "v.max": 11, "v.mean": 2.0, "v.last": 11}


WHOLE: dict[str, Value] = {"x.count": 2, "x.min": 1, "x.max": 3, "x.mean": 2.0, "x.last": 3}
NOT_WHOLE: dict[str, list[tuple[int, dict[str, Value]]]] = {
    "no count": [(0, {name: value for name, value in WHOLE.items() if name != "x.count"})],
    "no last": [(0, {name: value for name, value in WHOLE.items() if name != "x.last"})],
    "a last elsewhere": [(0, {"x.count": 2}), (1, {"x.last": 3})],
    "a least elsewhere": [(0, {name: value for name, value in WHOLE.items() if name != "x.min"}), (1, {"x.min": 1})],
    "no mean": [(0, {name: value for name, value in WHOLE.items() if name != "x.mean"})],
    "another name": [(0, WHOLE | {"x.more": 1})],
    "a row without a count": [(0, WHOLE), (1, {name: value for name, value in WHOLE.items() if name != "x.count"})],
    "a row without a mean": [(0, WHOLE), (1, {name: value for name, value in WHOLE.items() if name != "x.mean"})],
    "numbers where no count is": [(0, {"x.count": 1, "x.last": 1}), (1, {"x.min": 1, "x.max": 1, "x.mean": 1.0})],
    "two counts at one time": [(0, WHOLE), (0, WHOLE)],
    "numbers twice at one time": [
        *((0, WHOLE), (1, {"x.count": 2, "x.last": 3})),
        (0, {"x.min": 1, "x.max": 3, "x.mean": 2.0}),
    ],
    "a count of none": [(0, WHOLE | {"x.count": 0})],
    "a count of fewer": [(0, WHOLE), (1, WHOLE | {"x.count": -2})],
    "a count of too many": [(0, WHOLE | {"x.count": COUNT_MAX + 1})],
    "a count that is a float": [(0, WHOLE | {"x.count": 2.0})],
    "a count that is text": [(0, WHOLE), (1, WHOLE | {"x.count": "many"})],
    "a count that is a boolean": [(0, WHOLE | {"x.count": True})],
    "a least that is text": [(0, WHOLE), (1, WHOLE | {"x.min": "low"})],
    "a mean that is a boolean": [(0, WHOLE | {"x.mean": False})],
    "no dot": [(0, {"count": 2, "last": 3})],
}


@pytest.mark.parametrize("rows", NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_readings_of_a_thinned_field_that_is_not_whole_are_taken_as_they_are(rows) -> None:
    other: dict[str, Value] = {"y.count": 7, "y.last": "on"}
    table: Table = {"a": rows, "b": [(0, other)]}
    coarse = coarsened([batch(table, mark(20))], S)
    assert coarse.originals == 20
    assert coarse.rows.pop("b") == ([0], [other]), "a field that is whole is taken as thinned all the same"
    assert coarse.rows == coarsened([batch({"a": rows})], S).rows


def test_a_whole_thinned_field_comes_out_as_it_went_in() -> None:
    assert coarsened([batch({"a": [(0, WHOLE)]}, mark(2))], S).rows == {"a": ([0], [WHOLE])}
    most: dict[str, Value] = {"x.count": COUNT_MAX, "x.last": 3}
    assert coarsened([batch({"a": [(0, most)]}, mark(2))], S).rows == {"a": ([0], [most])}


names = st.sampled_from([*(f"{name}.{end}" for name in ("x", "x.min", "") for end in ENDS), "x", "count", "x.more"])


@settings(max_examples=60, deadline=None)
@given(st.lists(tables(st.dictionaries(names, values, min_size=1)), min_size=1, max_size=2), st.booleans())
def test_whatever_a_thinned_batch_holds_makes_a_batch_that_can_be_read(found, is_first_whole) -> None:
    batches = [batch(table, mark()) for table in found]
    if is_first_whole:
        batches[0] = batch(found[0])
    coarse = coarsened(batches, 10 * S)
    assert again(coarse, 10 * S).header.readings == coarse.readings


def test_no_batches_make_no_rows() -> None:
    assert coarsened([], S) == Coarse({}, 0, 0)
