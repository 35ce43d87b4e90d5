"""Doors and duplicates in the whole machine: the books balance after every entry, a restart makes the same batches."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ledger
from gateway.config import schema
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, Tick
from gateway.process.pipeline import Pipeline

S = 10**9
NOW = 1_780_000_000 * S
ROUTES = (
    schema.Route(
        name="door",
        topics=("door/+",),
        lane="a",
        sample=schema.Sample(swinging_door={"v": 1.5, "w": 0.5}, on_change=("s",), silence_ns=20 * S, idle_ns=3 * S),
    ),
    schema.Route(
        name="once", topics=("once/+",), lane="a", duplicates=schema.Duplicates(key="id", keys_max=3, span_ns=9 * S)
    ),
    schema.Route(
        name="all",
        topics=("all/+",),
        lane="a",
        time=schema.Time(field="id", unit="s"),
        duplicates=schema.Duplicates(keys_max=4, span_ns=9 * S),
        sample=schema.Sample(swinging_door={"v": 1.0}, idle_ns=4 * S),
    ),
)
LANES = (schema.Lane(name="a", batch_readings_max=7, linger_ns=2 * S),)
ROWS = st.dictionaries(st.sampled_from(["v", "w", "s", "id"]), st.integers(0, 6), min_size=1)
MESSAGES = st.lists(st.tuples(st.sampled_from(["door/1", "door/2", "once/1", "all/1"]), ROWS), max_size=6)
ENTRIES = st.lists(st.tuples(st.integers(0, 4), MESSAGES), max_size=20)


def pipeline() -> Pipeline:
    return Pipeline(ROUTES, LANES, schema.Broker(), "node", 1)


def entries(steps) -> list:
    found, at = [], 0
    for after, messages in steps:
        at += after * S
        if messages:
            topics = [topic for topic, _ in messages]
            payloads = [json.dumps(row).encode() for _, row in messages]
            ids = list(range(1, len(messages) + 1))
            found.append(
                MessageGroup(NOW + at, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, [QOS1] * len(ids), {})
            )
        else:
            found.append(Tick(NOW + at, at, CLOCK_SYNCHRONISED))
    return found


@settings(max_examples=150, deadline=None)
@given(ENTRIES)
def test_doors_and_duplicates_balance_and_restart_at_every_entry(steps) -> None:
    one, other, batches, others = pipeline(), pipeline(), [], []
    for position, entry in enumerate(entries(steps)):
        for output in one.apply(entry, position):
            assert ledger.residuals(one.ledger, one.open_readings) == (0, 0)
            batches += output.batches
        assert one.deadline is None or one.deadline > entry.at
        again = pipeline()
        again.restore(list(other.state_slices()))
        for output in again.apply(entry, position):
            others += output.batches
        other = again
    batches += one.finish(NOW, 10**12).batches
    others += other.finish(NOW, 10**12).batches
    assert one.open_readings == 0
    assert ledger.residuals(one.ledger, 0) == (0, 0)
    assert batches == others
    assert one.ledger == other.ledger
    assert sum(batch.readings for batch in batches) == one.ledger.get(ledger.SEALED, 0)


def test_the_status_of_a_route_says_what_its_duplicates_had_to_forget() -> None:
    one = pipeline()
    rows = [*({"id": number, "v": 1} for number in range(5)), {"v": 1}]
    for position, entry in enumerate(entries([(0, [("once/1", row) for row in rows])])):
        list(one.apply(entry, position))
    door, once, _ = one.routes_status()
    assert (once["keys_forgotten"], once["rows_without_key"]) == (2, 1)
    assert "keys_forgotten" not in door


def rows_of(outputs) -> list[tuple[str, int, str]]:
    found = []
    for output in outputs:
        for batch in output.batches:
            for topic, (times, rows) in batch.rows.items():
                found += [(topic, time_ns, json.dumps(row)) for time_ns, row in zip(times, rows, strict=True)]
    return sorted(found)


@settings(max_examples=60)
@given(ENTRIES, st.integers(0, 20))
def test_a_change_of_other_settings_leaves_what_unchanged_routes_remember(steps, cut: int) -> None:
    whole, before = pipeline(), pipeline()
    wanted, found = [], []
    for position, entry in enumerate(entries(steps)):
        if position == cut:
            names = {route.name for route in ROUTES}
            found.append(before.finish(entry.wall_ns, 0, names))
            after = Pipeline(ROUTES, LANES, schema.Broker(receive_maximum=7), "node", 1)
            after.succeed(before, names)
            before = after
        wanted += whole.apply(entry, position)
        found += before.apply(entry, position)
        assert ledger.residuals(before.ledger, before.open_readings) == (0, 0)
    wanted.append(whole.finish(NOW, 10**12))
    found.append(before.finish(NOW, 10**12))
    assert rows_of(found) == rows_of(wanted)
    assert {name: number for name, number in before.ledger.items() if number} == {
        name: number for name, number in whole.ledger.items() if number
    }
