"""How fast the pipeline alone decides messages, on one core: journaled groups in, open batches out.

Messages are 3-field JSON of 60 and of 500 topics with noise, in groups of 500 as a busy journal brings them. The
baseline is a bare loop of the same JSON parser over the same payloads: what is left of it says what deciding,
counting and keeping costs. Another is an aiomqtt loop that does nothing but receive messages of the same form from a
mosquitto. Encoding of the batches is another thread's work and is not in the figures.
"""

from __future__ import annotations

import json
import random
import statistics
import time

import msgspec

from benchmarks.ingest import LOOP_COUNT, subscriber_rate
from benchmarks.rows import row, sized
from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.pipeline import Pipeline

COUNT = sized(100_000, 5000)
GROUP = 500
ROUNDS = sized(3, 1)
STEP_NS = 5_000_000
START_NS = 1_780_000_000 * 10**9

STEPS = {
    "": {},
    ", keep": {"keep": "temperature > -40 and humidity <= 100"},
    ", keep and deadband": {
        "keep": "temperature > -40 and humidity <= 100",
        "sample": schema.Sample(deadband={"temperature": 0.1, "humidity": 1.0, "pressure": 0.5}, silence_ns=60 * 10**9),
    },
    ", windows of 1 s": {"window": schema.Window(size_ns=10**9)},
    ", time, keep, every 2nd, windows of 1 s": {
        "time": schema.Time(field="time", unit="ms"),
        "keep": "temperature > -40 and humidity <= 100",
        "sample": schema.Sample(every=2),
        "window": schema.Window(size_ns=10**9),
    },
}


def run() -> list[dict]:
    rows = []
    for topics in (60, 500):
        groups = load(topics, with_time=False)
        baseline = statistics.median(parse_rate(groups) for _ in range(ROUNDS))
        for name, steps in STEPS.items() if topics == 500 else [("", {})]:
            if "time" in steps:
                groups = load(topics, with_time=True)
            figure = statistics.median(pipeline_rate(groups, steps) for _ in range(ROUNDS))
            what, budget = f"pipeline, {topics} topics{name}", None if name else "figure >= 250000"
            rows.append(row(what, figure, "messages/s", baseline, budget))
            if topics == 60:
                other = subscriber_rate("aiomqtt", topics, LOOP_COUNT)
                rows.append(row(f"{what}, against a loop of aiomqtt", figure, "messages/s", other, "ratio >= 8"))
    return rows


def load(topics: int, *, with_time: bool) -> list[MessageGroup]:
    """Return the groups: the same for every call."""
    chance = random.Random(1)
    names = [f"plant/line{number % 7}/sensor{number}" for number in range(topics)]
    groups = []
    for first in range(0, COUNT, GROUP):
        at = first // GROUP * STEP_NS
        payloads = []
        for _ in range(GROUP):
            document: dict[str, float] = {
                "temperature": round(chance.gauss(21, 3), 2),
                "humidity": chance.randrange(20, 90),
                "pressure": round(chance.gauss(1013, 4), 1),
            }
            if with_time:
                document["time"] = (START_NS + at) // 10**6
            payloads.append(json.dumps(document, separators=(",", ":")).encode())
        groups.append(
            MessageGroup(
                START_NS + at,
                at,
                CLOCK_SYNCHRONISED,
                1,
                False,
                [names[number % topics] for number in range(first, first + GROUP)],
                payloads,
                [number % 65535 + 1 for number in range(first, first + GROUP)],
                [QOS1] * GROUP,
                {},
            )
        )
    return groups


def pipeline_rate(groups: list[MessageGroup], steps: dict) -> float:
    """Return messages/s through a fresh pipeline, whose books must balance."""
    route = schema.Route(name="bench", topics=("plant/#",), lane="telemetry", **steps)
    pipeline = Pipeline((route,), (schema.Lane(name="telemetry"),), schema.Broker(), "bench", 1)
    started = time.perf_counter()
    for position, group in enumerate(groups):
        for output in pipeline.apply(group, position):
            assert not output.quarantined
    elapsed = time.perf_counter() - started
    assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    return COUNT / elapsed


def parse_rate(groups: list[MessageGroup]) -> float:
    """Return messages/s of a loop that parses and forgets."""
    parse = msgspec.json.Decoder().decode
    started = time.perf_counter()
    for group in groups:
        for payload in group.payloads:
            parse(payload)
    return COUNT / (time.perf_counter() - started)
