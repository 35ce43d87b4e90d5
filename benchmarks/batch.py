"""How small batches are, and how fast they are sealed and decoded.

Inputs: a real day of a weather station (20 sensors, a row a minute, whole and under a deadband), other real data
(`datasets`; left out, and said so, where they cannot be downloaded), and a random walk of 60 sensors with three fields
and a jittering clock. Sizes are compared with others of the same readings in the same run: NDJSON under zstd level 3,
which is what a careful bridge would send; bare pcodec columns (per table: topic index, time and value of each reading,
each compressed alone, without a name, header or checksum, and with the columns that tables share counted once), which
is about as small as general numbers get; and, without a budget, what else people send (`otherwise`). Other formats are
given rows in the order of time, and wide tables where they have them.
"""

from __future__ import annotations

import sys
import time

import msgspec
import numpy as np
import zstandard
from pcodec import ChunkConfig, standalone

from benchmarks import datasets, otherwise
from benchmarks.rows import row
from gateway.batch import envelope
from gateway.batch.decode import decode
from tests.support.batches import open_batch
from tests.support.surfrad import MISSING, observations

ROUNDS = 7
SECOND_NS = 10**9
START_NS = 1_764_000_000 * SECOND_NS
BATCH_ROWS = 1000
"""Rows of the weather station in one batch: 20 fields each make the usual 20,000 readings."""
REAL = {
    "river": lambda: datasets.water(1000, 4000),
    "motion": lambda: datasets.motion(1000, 2222),
    "sunlight": lambda: datasets.sunlight(1151),
    "meters": lambda: datasets.meters(6666),
    "plugs": lambda: datasets.plugs(20),
}
"""About 20,000 readings of each, `sunlight` has no more than 13,800."""


def run() -> list[dict]:
    rows = []
    for name, batch in inputs().items():
        sealed = envelope.seal(batch, "benchmark")
        count = sum(len(times) for times, _ in batch.rows.values())
        fields = batch.readings / count
        seal_s = fastest(lambda batch=batch: envelope.seal(batch, "benchmark"))
        decode_s = fastest(lambda data=sealed.data: decode(data).tables)
        rows += [
            row(f"seal, {name}", seal_s / count * 1e9, f"ns/row of {fields:.3g}", None, budget_of_sealing(name)),
            row(f"decode, {name}", batch.readings / decode_s, "readings/s", None, "figure >= 2000000"),
        ]
        size = len(sealed.data)
        for other, baseline, budget in (
            ("NDJSON + zstd-3", ndjson_bytes(sealed.data), "ratio <= 0.25"),
            ("bare pcodec columns", bare_bytes(sealed.data), "ratio <= 1.15"),
            *((other, number, None) for other, number in otherwise.sizes(sealed.data).items()),
        ):
            what = f"size, {name}, against {other}"
            rows.append(row(what, size / batch.readings, "bytes/reading", baseline / batch.readings, budget))
    return rows


def budget_of_sealing(name: str) -> str | None:
    """The budget is for rows of three fields that are all there."""
    return "figure <= 1200" if name == "random walk" else None


def inputs() -> dict:
    found = {
        "random walk": open_batch(random_walk()),
        "weather": open_batch(weather()),
        "weather, deadband": open_batch(deadband(weather())),
    }
    for name, make in REAL.items():
        try:
            found[name] = open_batch(make())
        except RuntimeError as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
    return found


def random_walk(topics: int = 60, per_topic: int = 111) -> dict:
    """Return 20,000 readings: temperature, humidity and pressure of 60 sensors, one row a second."""
    chance = np.random.default_rng(7)
    rows = {}
    for number in range(topics):
        jitter_ms = chance.integers(-3, 4, per_topic) + chance.integers(0, 1000)
        times = (START_NS + np.arange(per_topic) * SECOND_NS + jitter_ms * 1_000_000).tolist()
        temperature = np.round(20 + np.cumsum(chance.normal(0, 0.05, per_topic)), 2).tolist()
        humidity = np.round(40 + np.cumsum(chance.normal(0, 0.2, per_topic)), 1).tolist()
        pressure = np.round(1013 + np.cumsum(chance.normal(0, 0.01, per_topic)), 3).tolist()
        entries = [
            {"temperature": one, "humidity": two, "pressure": three}
            for one, two, three in zip(temperature, humidity, pressure, strict=True)
        ]
        rows[f"plant/line{number % 7}/sensor{number}/data"] = (times, entries)
    return rows


def weather() -> dict:
    """Return the station's first rows; a sensor's value that is missing is left out of its row."""
    day = observations()
    sensors = list(day)
    minutes = [one.time_ns for one in day[sensors[0]][:BATCH_ROWS]]
    entries = [
        {sensor: day[sensor][minute].value for sensor in sensors if day[sensor][minute].value != MISSING}
        for minute in range(len(minutes))
    ]
    return {"surfrad/alamosa": (minutes, entries)}


def deadband(rows: dict) -> dict:
    """Return the rows without the values that repeat the last one of their field."""
    kept = {}
    for topic, (times, entries) in rows.items():
        last: dict = {}
        changed = []
        for time_ns, row_before in zip(times, entries, strict=True):
            new = {name: value for name, value in row_before.items() if last.get(name) != value}
            last |= new
            if new:
                changed.append((time_ns, new))
        kept[topic] = ([time_ns for time_ns, _ in changed], [new for _, new in changed])
    return kept


def fastest(work) -> float:
    """Return the seconds of the fastest round: noise of the machine only ever adds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def ndjson_bytes(data: bytes) -> int:
    """Return the size of the readings as NDJSON under zstd; in order of time, as they would be sent."""
    readings = sorted(decode(data).readings(), key=lambda one: (one.time_ns, one.topic))
    lines = msgspec.json.Encoder().encode_lines([one._asdict() for one in readings])
    return len(zstandard.ZstdCompressor(level=3).compress(lines))


def bare_bytes(data: bytes) -> int:
    """Return the size of the columns alone, each distinct one compressed once by pcodec with its defaults."""
    columns = {column.tobytes(): column for table in decode(data).tables for column in (table.topics, table.times_ns)}
    values = [table.values for table in decode(data).tables]
    return sum(len(standalone.simple_compress(column, ChunkConfig())) for column in [*columns.values(), *values])
