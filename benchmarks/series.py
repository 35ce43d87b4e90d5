"""What is remembered of each series, in memory and in a checkpoint, with 100,000 and with 1,000,000 of them.

Each kind of memory has a process of its own. Each topic has one field, so a series bears the whole of its topic; it has
said two different values; routes are as many as their bounds on topics need. The figures are

- bytes of resident memory for each series, which the same topics without that memory are taken off (the plans of
  topics, which are cached, and open rows are in both);
- bytes of the checkpoint's slices for each series;
- the longest time that making one slice takes, with 10 ms as the budget of what may hold the loop;
- the time of making all slices, and of going on from them (the baseline of the former).
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

from gateway.config import schema
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.pipeline import Pipeline

SERIES = {100_000: ("deadband", "swinging door", "windows", "duplicates", "limit"), 1_000_000: ("deadband", "windows")}
ROUTE_SERIES = 100_000
GROUP = 500
NS = 10**9
WALL_NS = 1_780_000_000 * NS
MEGA = 10**6
TIMEOUT_S = 600.0
PAGE_BYTES = 4096

KINDS = {
    "nothing": {},
    "deadband": {"sample": schema.Sample(deadband={"value": 0.5})},
    "swinging door": {"sample": schema.Sample(swinging_door={"value": 0.5}, idle_ns=86400 * NS)},
    "windows": {"window": schema.Window(size_ns=3600 * NS, idle_ns=86400 * NS)},
    "duplicates": {"duplicates": schema.Duplicates(keys_max=2 * ROUTE_SERIES)},
    "limit": {"limit": schema.Limit(messages_per_second=0.01)},
}


def run() -> list[dict]:
    rows = []
    for series, kinds in SERIES.items():
        bare = child("nothing", series)
        for kind in kinds:
            rows += rows_of(f"{series:,} series, {kind}", child(kind, series), bare, series)
    return rows


def rows_of(what: str, found: dict, bare: dict, series: int) -> list[dict]:
    memory = (found["resident"] - bare["resident"]) / series
    return [
        row(f"{what}: memory", memory, "bytes/series", None),
        row(f"{what}: checkpoint", found["bytes"] / series, "bytes/series", None),
        {**row(f"{what}: longest slice", found["longest_s"] * 1000, "ms", None), "budget": "figure <= 10", **found},
        row(f"{what}: all {found['slices']} slices", found["make_s"], "s", found["restore_s"]),
    ]


def row(name: str, figure: float, unit: str, baseline: float | None) -> dict:
    ratio = figure / baseline if baseline else None
    return {"name": name, "figure": figure, "unit": unit, "baseline": baseline, "ratio": ratio, "budget": None}


def child(kind: str, series: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.series", kind, str(series)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S).stdout)


def pipeline(kind: str, series: int) -> Pipeline:
    routes = tuple(
        schema.Route(name=f"r{number}", topics=(f"r{number}/#",), lane="telemetry", **KINDS[kind])
        for number in range(-(-series // ROUTE_SERIES))
    )
    return Pipeline(routes, (schema.Lane(name="telemetry"),), schema.Broker(), "bench", 1)


def feed(machine: Pipeline, series: int) -> None:
    """Let each series say two values, a second apart."""
    position = 0
    for turn in range(2):
        for first in range(0, series, GROUP):
            numbers = range(first, first + GROUP)
            topics = [f"r{number // ROUTE_SERIES}/plant/line{number % 7}/sensor{number}" for number in numbers]
            payloads = [b'{"value": %d.%d}' % ((number + turn) % 97, number % 10) for number in numbers]
            ids = [number % 65535 + 1 for number in numbers]
            group = MessageGroup(
                *(WALL_NS + turn * NS, turn * NS, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids),
                *([QOS1] * GROUP, {}),
            )
            for output in machine.apply(group, position):
                assert not output.quarantined, output.quarantined[0]
            position += 1


def measure(kind: str, series: int) -> dict:
    gc.disable()  # the state has no cycles; see gateway.collector
    before = resident_bytes()
    machine = pipeline(kind, series)
    feed(machine, series)
    resident = resident_bytes() - before
    longest_s, kept, began = 0.0, [], time.thread_time()
    slices = machine.state_slices()
    while True:
        slice_began = time.thread_time()
        slice_ = next(slices, None)
        longest_s = max(longest_s, time.thread_time() - slice_began)
        if slice_ is None:
            break
        kept.append(slice_)
    make_s = time.thread_time() - began
    again, began = pipeline(kind, series), time.thread_time()
    again.restore(kept)
    return {
        "resident": resident,
        "bytes": sum(map(len, kept)),
        "slices": len(kept),
        "longest_slice_bytes": max(map(len, kept)),
        "longest_s": longest_s,
        "make_s": make_s,
        "restore_s": time.thread_time() - began,
    }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
