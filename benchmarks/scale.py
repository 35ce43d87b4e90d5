"""Does the cost of one stay the same when there are many? Series, readings in the spool, regions; as plots.

    python -m benchmarks.scale [--only series|spool|regions]... [--folder docs/performance] [--trial]

Each point is a process of its own, so that memory is its own:

- `series`, 1 to 1,000,000: the pipeline with a deadband on each. Time of a message, when every series is known already;
  resident memory for each series, beyond an empty pipeline. More topics than the cache of plans holds are matched anew.
- `spool`, 10 to 10,000,000 readings in batches of at most 20,000: time of a reading to be appended and to be read back;
  bytes on disk for each; time to open.
- `regions`, 1 to 8: a daemon that mirrors 5,000 messages/s to as many brokers over mTLS. Processor time of a message
  and resident memory.

Writes `scale-NAME.csv` and `scale-NAME.png` for each. Plots need the extra `bench`.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.batch import random_walk
from benchmarks.ingest import QUEUES, load
from benchmarks.rows import TRIAL, is_trial, sized
from benchmarks.series import GROUP, pipeline, resident_bytes
from benchmarks.soak import cpu_s, memory_mb
from gateway.batch import envelope
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup, SealedBatch
from gateway.spool.lanes import Appended, Spool
from tests.support.batches import open_batch
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, pems, region_tls
from tests.support.waiting import wait_for

NS = 10**9
WALL_NS = 1_780_000_000 * NS
MESSAGES = sized(200_000, 2000)
BATCH_READINGS = 20_000
RATE = 5000
REGION_SECONDS = sized(15, 2)
CHILD_S = 900.0
POINTS = {
    "series": tuple(10**power for power in range(sized(7, 4))),
    "spool": tuple(10**power for power in range(1, sized(8, 5))),
    "regions": (1, 2, 4, 8)[: sized(4, 2)],
}
CURVES = {
    "series": (("message_ns", "ns for a message"), ("bytes_per_series", "bytes for a series")),
    "spool": (
        ("append_ns", "ns to append a reading"),
        ("read_ns", "ns to read a reading back"),
        ("disk_bytes", "bytes on disk for a reading"),
        ("open_ms", "ms to open all"),
    ),
    "regions": (("cpu_us", "µs of processor for a message"), ("resident_mb", "MB resident")),
}
ROUTES = """
[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""
REGION = """
[[region]]
name = "region-{number}"
host = "localhost"
port = {port}
acknowledge = "broker"
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
"""


def series(count: int) -> dict[str, float]:
    """Feed each series once, then measure `MESSAGES` messages or more over all of them."""
    gc.disable()  # the state has no cycles; see gateway.collector
    machine = pipeline("deadband", 1)
    list(machine.apply(group(0, 1, 0), 0))
    before = resident_bytes()
    machine = pipeline("deadband", count)
    position = 0
    for first in range(0, count, GROUP):
        list(machine.apply(group(first, min(GROUP, count - first), 0), position))
        position += 1
    resident = resident_bytes() - before
    spent = messages = turn = 0
    while messages < MESSAGES:
        turn += 1
        for first in range(0, count, GROUP):
            one = group(first, min(GROUP, count - first), turn)
            began = time.thread_time_ns()
            list(machine.apply(one, position))
            spent += time.thread_time_ns() - began
            messages += len(one.topics)
            position += 1
    return {"message_ns": spent / messages, "bytes_per_series": max(0, resident) / count, "messages": messages}


def group(first: int, number: int, turn: int) -> MessageGroup:
    """Return one message of each of `number` series; groups of few series repeat them."""
    numbers = [first + index % number for index in range(GROUP if number < GROUP and first == 0 else number)]
    topics = [f"r{one // 100_000}/plant/line{one % 7}/sensor{one}" for one in numbers]
    payloads = [b'{"value": %d.%d}' % ((one + turn) % 97, one % 10) for one in numbers]
    ids = [index % 65535 + 1 for index in range(len(numbers))]
    at = turn * NS
    return MessageGroup(WALL_NS + at, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, [QOS1] * len(topics), {})


def spool(count: int) -> dict[str, float]:
    """Append so many readings, open again, read back."""
    sensors = 60 if count >= 3 * 60 else 1
    walk = random_walk(sensors, max(1, min(count, BATCH_READINGS) // (3 * sensors)))
    size = open_batch(walk).readings
    batches = max(1, count // size)
    append_ns = read_ns = written = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "spool"
        kept = opened(folder)
        for sequence in range(1, batches + 1):
            one = envelope.seal(open_batch(walk, sequence=sequence, readings_before=(sequence - 1) * size), "benchmark")
            written += len(one.data)
            began = time.perf_counter_ns()
            assert kept.append(one) is Appended.STORED
            append_ns += time.perf_counter_ns() - began
        began = time.perf_counter_ns()
        kept.sync()
        append_ns += time.perf_counter_ns() - began
        kept.save_cursors()
        kept.close()
        began = time.perf_counter_ns()
        again = opened(folder)
        open_ns = time.perf_counter_ns() - began
        assert again.head("telemetry") == batches
        for sequence in range(1, batches + 1):
            began = time.perf_counter_ns()
            assert isinstance(again.read("telemetry", sequence), SealedBatch)
            read_ns += time.perf_counter_ns() - began
        again.close()
    readings = batches * size
    return {
        "readings": readings,
        "batches": batches,
        "append_ns": append_ns / readings,
        "read_ns": read_ns / readings,
        "disk_bytes": written / readings,
        "open_ms": open_ns / 1e6,
    }


def opened(folder: Path) -> Spool:
    lane = schema.Lane(name="telemetry", bytes_max=1 << 30)
    region = schema.Region(name="region", host="localhost", tls_ca="", tls_certificate="", tls_key="")
    options = schema.Spool(bytes_max=lane.bytes_max, lanes=(lane,))
    return Spool.open(Disk(), folder, options, "node-1", (region,), 1)


def regions(count: int) -> dict[str, float]:
    """Mirror to so many brokers."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_pki(folder / "pki")
        files = pems(folder / "pki", "node")
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        text = ROUTES
        for number in range(count):
            broker = stack.enter_context(Mosquitto(folder / f"region-{number}", **region_tls(folder / "pki")))
            text += REGION.format(number=number, port=broker.port, **files)
        site = stack.enter_context(Site(folder, text, broker_port=local.port, lane='linger = "1s"'))
        site.daemon.start()
        wait_for(lambda: all(one["connected"] for one in site.status()["regions"].values()), "all regions")
        used, messages = cpu_s(site.daemon.pid), RATE * REGION_SECONDS
        load(local.port, 60, messages, RATE)
        site.wait_received(messages)

        def is_drained() -> bool:
            status = site.status()
            head = max(one["head"] for one in status["lanes"])
            cursors = {one["cursors"]["telemetry"] for one in status["regions"].values()}
            return status["open_readings"] == 0 and cursors == {head}

        wait_for(is_drained, "all regions have everything", 60.0, 0.1)
        found = {"cpu_us": (cpu_s(site.daemon.pid) - used) / messages * 1e6, "resident_mb": memory_mb(site.daemon.pid)}
        site.daemon.stop()
    return found


def child(name: str, count: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.scale", "--point", name, str(count)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=CHILD_S)
    return {name: count, **json.loads(found.stdout)}


def plot(name: str, rows: list[dict], path: Path) -> None:
    """Draw a panel for each curve over the number of things, with the same kind of scale both ways."""
    import matplotlib as mpl  # noqa: PLC0415  # of an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    curves = CURVES[name]
    figure, panels = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3), squeeze=False)
    for panel, (key, label) in zip(panels[0], curves, strict=True):
        panel.plot([row[name] for row in rows], [row[key] for row in rows], marker="o")
        panel.set_xscale("log", base=2 if name == "regions" else 10)
        if name == "regions":
            panel.set_ylim(bottom=0)
        else:
            panel.set_yscale("log")
        panel.set_xlabel({"spool": "readings in the spool"}.get(name, name))
        panel.set_ylabel(label)
        panel.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Does the cost of one stay flat?")
    parser.add_argument("--only", action="append", choices=tuple(POINTS))
    parser.add_argument("--folder", type=Path, default=Path("docs/performance"))
    parser.add_argument("--trial", action="store_true", help="few points and tiny sizes")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        name, count = arguments.point
        print(json.dumps({"series": series, "spool": spool, "regions": regions}[name](int(count))))
        return
    if arguments.trial and not is_trial():  # sizes are settled by now
        subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", *sys.argv[1:]], check=True, env=os.environ | {TRIAL: "1"}
        )
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or POINTS:
        rows = []
        for count in POINTS[name]:
            rows.append(child(name, count))
            print(*(f"{key} {value:,.4g}" for key, value in rows[-1].items()), flush=True)
        with (arguments.folder / f"scale-{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        plot(name, rows, arguments.folder / f"scale-{name}.png")


if __name__ == "__main__":
    main()
