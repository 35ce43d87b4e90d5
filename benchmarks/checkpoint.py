"""How long a checkpoint holds the loop when much is remembered, and what else it costs.

There are 100,000 topics under a deadband, 100,000 with an open window and 100,000 with an open row, from a journal that
the daemon's flow replays. Then the real flow runs in a process of its own, with 2,000 messages/s of other topics from
mosquitto, and takes a checkpoint each second. A task that wants to wake up each millisecond says how late it did:
during checkpoints (the figure) and between them (the baseline). Another process then starts from the last checkpoint.

What the loop's thread waited for a core is no stall of ours and is taken off: else the figure would tell how busy the
machine is. Beside it in the JSON are the longest stall with that wait, and the most CPU time between two wakings.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ingest import QUEUES, load
from benchmarks.memory import memory
from gateway.clock import Clock
from gateway.collector import collect, standing_still
from gateway.config import schema
from gateway.config.section import MIB
from gateway.disk import Disk
from gateway.flow import Flow
from gateway.journal.writer import JournalWriter
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from tests.support.mosquitto import Mosquitto

SERIES = 100_000
KINDS = ("band", "window", "open")
GROUP = 500
RATE = 2000
SECONDS = 10
TICK_S = 0.001
TIMEOUT_S = 120.0
NS = 10**9
MEGA = 1e6

ROUTES = (
    schema.Route(name="band", topics=("band/#",), lane="telemetry", sample=schema.Sample(deadband={"value": 0.5})),
    schema.Route(
        name="window",
        topics=("window/#",),
        lane="telemetry",
        window=schema.Window(size_ns=3600 * NS, idle_ns=86400 * NS),
    ),
    schema.Route(name="open", topics=("open/#",), lane="open"),
    schema.Route(name="load", topics=("bench/#",), lane="telemetry"),
)
LANES = (
    schema.Lane(name="telemetry"),
    schema.Lane(name="open", linger_ns=86400 * NS, batch_readings_max=1_000_000, batch_bytes_max=16 * MIB),
)


def run() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_journal(folder / "journal")
        with Mosquitto(folder / "broker", **QUEUES) as broker:
            first = child(folder, broker.port, "work")
            second = child(folder, broker.port, "restore")
    what = f"{len(KINDS) * SERIES:,} topics"
    stall = row(f"checkpoint, {what}, longest stall of the loop", first["stall_ms"], "ms", first["baseline_ms"])
    return [
        {**stall, "budget": "figure <= 10", **first},
        row(f"checkpoint, {what}, from begin to end", first["seconds"], "s", None),
        row(f"checkpoint, {what}, file", first["bytes"] / MEGA, "MB", None),
        row(f"checkpoint, {what}, memory while it is made", first["extra_mb"], "MB", first["resident_mb"]),
        row(f"checkpoint, {what}, start from it", second["seconds"], "s", first["replay_s"]),
    ]


def row(name: str, figure: float, unit: str, baseline: float | None) -> dict:
    ratio = figure / baseline if baseline else None
    return {"name": name, "figure": figure, "unit": unit, "baseline": baseline, "ratio": ratio, "budget": None}


def write_journal(folder: Path) -> None:
    """Write what the topics have said, once each, of this hour."""
    wall_ns, disk = time.time_ns(), Disk()
    journal = JournalWriter(disk, folder, schema.Journal(), 0)
    for position in range(len(KINDS) * SERIES // GROUP):
        kind, first = KINDS[position * GROUP // SERIES], position * GROUP % SERIES
        numbers = range(first, first + GROUP)
        topics = [f"{kind}/plant/line{number % 7}/sensor{number}" for number in numbers]
        payloads = [b'{"value": %d.%d}' % (number % 97, number % 10) for number in numbers]
        ids = [number % 65535 + 1 for number in numbers]
        journal.commit(
            [MessageGroup(wall_ns, position, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, [QOS1] * GROUP, {})]
        )
    journal.close()


def child(folder: Path, port: int, what: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.checkpoint", str(folder), str(port), what]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S).stdout)


def configuration(folder: Path, port: int) -> schema.Gateway:
    return schema.Gateway(
        node=schema.Node(id="bench", state_folder=str(folder)),
        broker=schema.Broker(port=port),
        journal=schema.Journal(checkpoint_interval_ns=NS),
        spool=schema.Spool(lanes=LANES),
        route=ROUTES,
    )


Tick = tuple[float, float, float, float]


class WatchedFlow(Flow):
    """Says when it took checkpoints: (begin, end) on the loop's clock."""

    def watch(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self.took_one = asyncio.Event()

    async def _checkpoint(self) -> None:
        began = time.monotonic()
        await super()._checkpoint()
        self.spans.append((began, time.monotonic()))
        self.took_one.set()


async def work(folder: Path, port: int) -> dict:
    """Recover from the journal, run under load, and return what was measured."""
    with standing_still():
        flow = WatchedFlow(configuration(folder, port), Clock(), Disk(), random.Random(1))
    flow.watch()
    replay_s, resident = flow.recovered.seconds, memory_now("VmRSS")
    forget_peak()
    ticks: list[Tick] = []
    helpers = [asyncio.create_task(tick(ticks)), asyncio.create_task(collect())]
    running = asyncio.create_task(flow.run(lambda: None))
    await flow.took_one.wait()
    extra = memory_now("VmHWM") - resident
    await asyncio.to_thread(load, port, 60, RATE * SECONDS, RATE)
    status_ms = timed_ms(flow.status)
    flow.stop()
    await running
    for helper in helpers:
        helper.cancel()
    flow.close()
    assert flow.pipeline.ledger["message.decoded"] == RATE * SECONDS + len(KINDS) * SERIES, flow.pipeline.ledger
    inside, outside = (
        [one for one in ticks if any(begin <= one[0] <= end for begin, end in flow.spans) is within]
        for within in (True, False)
    )
    return {
        "stall_ms": max(late - coreless for _, late, coreless, _ in inside) * 1000,
        "stall_with_wait_ms": max(late for _, late, _, _ in inside) * 1000,
        "stall_cpu_ms": max(busy for _, _, _, busy in inside) * 1000,
        "baseline_ms": max(late - coreless for _, late, coreless, _ in outside) * 1000,
        "baseline_with_wait_ms": max(late for _, late, _, _ in outside) * 1000,
        "baseline_cpu_ms": max(busy for _, _, _, busy in outside) * 1000,
        "seconds": max(end - begin for begin, end in flow.spans),
        "checkpoints": len(flow.spans),
        "bytes": flow.checkpoints.size,
        "replay_s": replay_s,
        "resident_mb": resident,
        "extra_mb": extra,
        "status_ms": status_ms,
    }


async def restore(folder: Path, port: int) -> dict:
    """Recover from the checkpoint alone, and return how long it took."""
    with standing_still():
        flow = Flow(configuration(folder, port), Clock(), Disk(), random.Random(1))
    assert flow.recovered.journal.entries == 0, flow.recovered.report()
    flow.close()
    return {"seconds": flow.recovered.seconds, "resident_mb": memory_now("VmRSS")}


async def tick(found: list[Tick]) -> None:
    """Append (when, seconds late, of them without a core, CPU seconds of this thread) each time the loop lets us."""
    with Path("/proc/thread-self/schedstat").open("rb", buffering=0) as file:  # noqa: ASYNC230  # of the kernel's memory

        def coreless_s() -> float:
            file.seek(0)
            return int(file.read().split()[1]) / NS

        while True:
            began, busy, coreless = time.monotonic(), time.thread_time(), coreless_s()
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            found.append((now, now - began - TICK_S, coreless_s() - coreless, time.thread_time() - busy))


def forget_peak() -> None:
    """Let the peak of resident memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def memory_now(key: str) -> float:
    return memory("self")[key]


def timed_ms(call: object) -> float:
    began = time.monotonic()
    call()
    return (time.monotonic() - began) * 1000


def main() -> None:
    """Run one of the two children."""
    folder, port, what = sys.argv[1:]
    print(json.dumps(asyncio.run({"work": work, "restore": restore}[what](Path(folder), int(port)))))


if __name__ == "__main__":
    main()
