"""Coarser readings say what the finer ones said: against a plain computation, in one step and in two."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.batch.thin import Coarse, coarsened
from gateway.model import Thinned
from tests.support.batches import open_batch

S = 10**9

numbers = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9)
)
values = st.one_of(numbers, st.booleans(), st.text("ab", max_size=2), st.binary(max_size=2))
fields = st.sampled_from(["a", "b", "a.min", "x.count"])
rows = st.dictionaries(
    st.sampled_from(["one", "two"]),
    st.lists(
        st.tuples(st.integers(-50 * S, 50 * S), st.dictionaries(fields, values, min_size=1)), min_size=1, max_size=8
    ),
    min_size=1,
)


def batch(table, thinned: Thinned | None = None) -> DecodedBatch:
    entries = {topic: ([time for time, _ in found], [row for _, row in found]) for topic, found in table.items()}
    found = decode(envelope.seal(replace(open_batch(entries), thinned=thinned), "boot").data)
    assert isinstance(found, DecodedBatch)
    return found


def again(coarse: Coarse, interval_ns: int) -> DecodedBatch:
    table = {topic: list(zip(*found, strict=True)) for topic, found in coarse.rows.items()}
    return batch(table, Thinned(interval_ns, "telemetry", 1, 1, coarse.originals, 1))


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(tables, interval_ns: int):
    """Return (topic, start, field) → values in order of arrival, with their times."""
    cells = defaultdict(list)
    for table in tables:
        for topic, found in table.items():
            for time_ns, row in found:
                for field, value in row.items():
                    cells[topic, time_ns // interval_ns * interval_ns, field].append((time_ns, value))
    return cells


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3), st.sampled_from([S, 7 * S, 60 * S]))
def test_count_min_max_mean_and_last_are_those_of_a_plain_computation(tables, interval_ns) -> None:
    coarse = coarsened([batch(table) for table in tables], interval_ns)
    expected = plain(tables, interval_ns)
    found = {
        (topic, start, name): value
        for topic, (times, entries) in coarse.rows.items()
        for start, row in zip(times, entries, strict=True)
        for name, value in row.items()
    }
    assert len(found) == coarse.readings
    assert coarse.originals == sum(map(len, expected.values()))
    for (topic, start, field), seen in expected.items():
        assert found[topic, start, f"{field}.count"] == len(seen)
        latest = max(time_ns for time_ns, _ in seen)
        assert found[topic, start, f"{field}.last"] in [value for time_ns, value in seen if time_ns == latest]
        measured = [value for _, value in seen if is_number(value)]
        if measured:
            assert found[topic, start, f"{field}.min"] == min(measured)
            assert found[topic, start, f"{field}.max"] == max(measured)
            mean = fsum(value / len(measured) for value in measured)
            scale = max(abs(float(value)) for value in measured)
            assert found[topic, start, f"{field}.mean"] == pytest.approx(mean, rel=1e-9, abs=scale * 1e-9)
            assert float(min(measured)) <= found[topic, start, f"{field}.mean"] <= float(max(measured))
        else:
            assert (topic, start, f"{field}.min") not in found


@settings(max_examples=100, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3))
def test_two_levels_one_after_the_other_say_what_one_coarse_level_says(tables) -> None:
    tables = [
        {
            topic: [
                (time, {name: value for name, value in row.items() if is_number(value)} or {"a": 1})
                for time, row in found
            ]
            for topic, found in table.items()
        }
        for table in tables
    ]
    batches = [batch(table) for table in tables]
    fine = coarsened(batches, 2 * S)
    twice = coarsened([again(fine, 2 * S)], 10 * S)
    once = coarsened(batches, 10 * S)
    assert twice.originals == once.originals
    assert list(twice.rows) == list(once.rows)
    for topic, (times, entries) in once.rows.items():
        assert twice.rows[topic][0] == times
        for one, other in zip(entries, twice.rows[topic][1], strict=True):
            assert set(one) == set(other)
            for name, value in one.items():
                if name.endswith((".count", ".min", ".max")):
                    assert other[name] == value, name
                elif name.endswith(".mean"):
                    scale = max(abs(float(one[f"{name[:-5]}.{end}"])) for end in ("min", "max"))
                    assert other[name] == pytest.approx(value, rel=1e-9, abs=scale * 1e-9)


def test_the_same_batches_give_the_same_rows_in_the_same_order() -> None:
    table = {"b": [(3, {"z": 1, "a": 2.5})], "a": [(9, {"z": True}), (1, {"z": "on"})]}
    one, other = coarsened([batch(table)], S), coarsened([batch(table)], S)
    assert one == other
    assert list(one.rows) == ["a", "b"]
    assert one.rows["a"] == ([0], [{"z.count": 2, "z.last": True}])
    assert one.rows["b"][1] == [
        {"a.count": 1, "a.min": 2.5, "a.max": 2.5, "a.mean": 2.5, "a.last": 2.5}
        | {"z.count": 1, "z.min": 1, "z.max": 1, "z.mean": 1.0, "z.last": 1}
    ]


def test_a_field_of_a_thinned_batch_without_its_count_is_taken_as_it_is() -> None:
    mark = Thinned(S, "telemetry", 1, 1, 3, 1)
    coarse = coarsened([batch({"a": [(0, {"x.min": 3, "y": "on", "z.count": "many"})]}, mark)], S)
    assert coarse.originals == 3
    assert set(coarse.rows["a"][1][0]) == {
        *(f"x.min.{end}" for end in ("count", "min", "max", "mean", "last")),
        *("y.count", "y.last", "z.count.count", "z.count.last"),
    }
