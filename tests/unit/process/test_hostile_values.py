"""The whole machine under the largest numbers and the furthest times: whatever a payload holds, batches come of it."""

from __future__ import annotations

import json
import sys

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway import ledger
from gateway.batch.decode import decode
from gateway.batch.envelope import seal
from gateway.config import schema
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, Tick
from gateway.process.pipeline import Pipeline

S = 10**9
NOW = 1_780_000_000 * S
LARGEST = sys.float_info.max
EARLIEST, LATEST = -(2**63), 2**63 - 1

ALL = (
    "count", "sum", "min", "max", "mean", "first", "last", "stddev", "increase", "rate", "twmean", "p50", "p90", "p99",
)  # fmt: skip
KEEP = (
    "v * 2 > 1 or w // v > 2 or w % v < 1 or abs(v) - w > 3 or round(v, 15) == 1 or round(w, -15) > 3"
    " or min(v, w) + max(v, w) > 1"
)


def route(name, **steps) -> schema.Route:
    time = schema.Time(field="ts", unit="ns")
    return schema.Route(name=name, topics=(f"{name}/+",), lane="a", time=time, **steps)


def window(**options) -> schema.Window:
    return schema.Window(functions=ALL, idle_ns=3 * S, **options)


ROUTES = (
    route("tumbling", window=window(size_ns=10 * S)),
    route("hopping", window=window(size_ns=20 * S, hop_ns=10 * S, late="correct")),
    route("session", window=window(gap_ns=5 * S, late="correct")),
    route("shared", window=window(size_ns=10 * S, watermark="route", late="correct", lateness_ns=5 * S)),
    route("month", window=window(size_ns=31 * 86_400 * S, late="correct", lateness_ns=86_400 * S)),
    route("door", sample=schema.Sample(swinging_door={"v": 1.5, "w": 1e-300}, silence_ns=20 * S, idle_ns=3 * S)),
    route(
        "bands",
        sample=schema.Sample(
            deadband={"v": 1e-300}, percent={"w": 5.0}, floor={"w": 1e300}, silence_ns=20 * S, interval_ns=S
        ),
    ),
    route(
        "rescaled",
        field=(schema.Field(name="v", factor=3600.0, offset=-7.0), schema.Field(name="w", factor=1e12, offset=0.5)),
        window=window(size_ns=10 * S),
    ),
    route("keyed", duplicates=schema.Duplicates(key="v", keys_max=3, span_ns=9 * S)),
    route("expression", keep=KEEP, keep_fault="quarantine"),
)
LANES = (schema.Lane(name="a", batch_readings_max=7, linger_ns=2 * S),)

EDGES = [EARLIEST, LATEST, 0, -1, 2**53 + 1, LARGEST, -LARGEST, 5e-324, -0.0, 1e300]
VALUES = st.one_of(
    st.sampled_from(EDGES),
    st.integers(EARLIEST, LATEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=2),
)
TIMES = st.sampled_from([EARLIEST, EARLIEST + 1, LATEST, 0, -1, NOW + 300 * S]) | st.integers(
    NOW - 60 * S, NOW + 60 * S
)
ROWS = st.fixed_dictionaries({"ts": TIMES}, optional={"v": VALUES, "w": VALUES})
MESSAGES = st.lists(
    st.tuples(st.sampled_from([route.name for route in ROUTES]), st.sampled_from("12"), ROWS), max_size=8
)


def pipeline() -> Pipeline:
    return Pipeline(ROUTES, LANES, schema.Broker(), "node", 1)


def entries(steps) -> list:
    found, at = [], 0
    for after, messages in steps:
        at += after * S
        if not messages:
            found.append(Tick(NOW + at, at, CLOCK_SYNCHRONISED))
            continue
        topics = [f"{name}/{device}" for name, device, _ in messages]
        payloads = [json.dumps(row).encode() for _, _, row in messages]
        ids = list(range(1, len(messages) + 1))
        found.append(
            MessageGroup(NOW + at, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, [QOS1] * len(ids), {})
        )
    return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 4), MESSAGES), max_size=8))
@example([(0, [("tumbling", "1", {"ts": NOW, "v": value}) for value in (1e308, 1e308, -1e308)])])
@example([(0, [("tumbling", "1", {"ts": NOW, "v": LARGEST})])])
@example([(0, [("hopping", "1", {"ts": EARLIEST, "v": 1})])])
def test_no_number_and_no_time_ends_the_machine_and_a_restart_makes_the_same_batches(steps) -> None:
    one, other, batches, again = pipeline(), pipeline(), [], []
    for position, entry in enumerate(entries(steps)):
        for output in one.apply(entry, position):
            assert ledger.residuals(one.ledger, one.open_readings) == (0, 0)
            batches += output.batches
        resumed = pipeline()
        resumed.restore(list(other.state_slices()))
        for output in resumed.apply(entry, position):
            again += output.batches
        other = resumed
    batches += one.finish(NOW, 10**12).batches
    again += other.finish(NOW, 10**12).batches
    sealed = [seal(batch, "boot").data for batch in batches]
    assert sealed == [seal(batch, "boot").data for batch in again]
    assert sum(decode(data).header.readings for data in sealed) == one.ledger.get(ledger.SEALED, 0)


def rows_of(topic, messages) -> list[tuple[int, dict]]:
    machine, found = pipeline(), []
    steps = [(0, [(*topic.split("/"), row) for row in messages])]
    outputs = [output for entry in entries(steps) for output in machine.apply(entry, 0)]
    for output in [*outputs, machine.finish(NOW, 10**12)]:
        for batch in output.batches:
            times, rows = batch.rows[topic]
            found += zip(times, rows, strict=True)
    return found


def test_what_no_float_can_hold_is_left_out_of_a_window_and_the_rest_of_it_goes_on() -> None:
    ((_, row),) = rows_of("tumbling/1", [{"ts": NOW, "v": value} for value in (1e308, 1e308, -1e308)])
    assert "v.stddev" not in row
    assert (row["v.count"], row["v.min"], row["v.max"]) == (3, -1e308, 1e308)


def test_quantiles_of_the_largest_numbers_are_within_one_percent() -> None:
    ((_, row),) = rows_of("tumbling/1", [{"ts": NOW, "v": LARGEST}])
    assert abs(row["v.p50"] / LARGEST - 1) <= 0.01


def test_a_correction_of_a_window_before_all_times_stands_at_the_earliest() -> None:
    ((time_ns, row),) = rows_of("hopping/1", [{"ts": EARLIEST, "v": 3}])
    assert time_ns == EARLIEST
    assert (row["v.sum"], row["late"]) == (3, True)
