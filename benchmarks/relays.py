"""What the comparisons with other gateways share: one load, one way to count what comes, and ours beside theirs.

A relay takes every message from the local broker and brings it, batched or not, to a central one. Every message has a
number; a probe at the central broker says which numbers have come and when, whatever a relay has packed them into. The
clock runs from the first message sent until the last number is there. `Interruption` is something done to the relay in
mid-stream, such as a kill and a new start.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.latency import CENTRAL, QUEUES
from benchmarks.probe import Probe, Seen, numbers
from benchmarks.soak import cpu_s, memory_mb
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

TOPICS = 60
FASTEST = 1e6
START_S = 60.0
SILENT_S = 20.0
"""A run ends when nothing new has come for so long; what is missing then is lost, or stuck."""
NUMBER = re.compile(rb'"n": ?"?(\d+)')
ROUTES = """
[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""


class Load(NamedTuple):
    """How many numbered messages, and how many of them in a second."""

    count: int
    rate: float = FASTEST


class Interruption(NamedTuple):
    """What is done to a relay, and how long after the load was started."""

    after_s: float
    act: Callable[[], None]


def gateway(folder: Path, load: Load, killed_after_s: float | None = None) -> dict:
    """Measure ours: journal, pipeline, spool, mTLS to the central broker, and a receiver that commits there.

    With `killed_after_s` it is ended with SIGKILL in mid-stream and started again; what is missing or twice is then
    counted in the receiver's database.
    """
    write_pki(folder / "pki")
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL, **region_tls(folder / "pki")))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        site = Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=folder / "pki")
        stack.enter_context(site)
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region", START_S)
        probe = stack.enter_context(Probe(central.port, ["edge/v1/+/batch/+"], pki=folder / "pki"))

        def kill_and_start() -> None:
            site.daemon.kill()
            site.daemon.start()

        interruption = Interruption(killed_after_s, kill_and_start) if killed_after_s else None
        before = cpu_s(site.daemon.pid)
        found = fed(local.port, probe, lambda one: numbers(one.payload), load, interruption)
        found |= used(site.daemon.pid, 0.0 if interruption else before, load.count)
        if interruption:
            wait_for(lambda: len(committed(site)) >= load.count - found["missing"], "all committed", START_S, 0.5)
            there = committed(site)
            found |= {"missing": load.count - len(set(there)), "twice": len(there) - len(set(there))}
        return found


def used(pid: int, cpu_s_before: float, count: int) -> dict:
    """Return what a process holds resident, and what it has spent on each message since it had spent so much."""
    return {"resident": memory_mb(pid), "processor": (cpu_s(pid) - cpu_s_before) * 1e6 / count}


def committed(site: Site) -> list[int]:
    """Return the numbers that the receiver has in its database, those of messages that are there twice twice."""
    return [int(one.value) for one in site.readings() if one.field == "n"]


def fed(
    port: int,
    probe: Probe,
    numbers_of: Callable[[Seen], Iterable[int]],
    load: Load,
    interruption: Interruption | None = None,
) -> dict:
    """Send all messages and wait until nothing new comes.

    Return the rate until the last, how many are missing, and how often a number came that was there already.
    """
    reports: list[dict] = []
    thread = threading.Thread(target=lambda: reports.append(send(port, load)))
    thread.start()
    begun_at = time.monotonic()
    arrivals: dict[int, float] = {}
    came, looked, news_at = 0, 0, begun_at
    while len(arrivals) < load.count and time.monotonic() - news_at < SILENT_S:
        time.sleep(0.1)
        if interruption and time.monotonic() - begun_at >= interruption.after_s:
            interruption.act()
            interruption = None
        for one in probe.seen[looked:]:
            looked += 1
            for number in numbers_of(one):
                came += 1
                arrivals.setdefault(number, one.at)
                news_at = one.at
    thread.join()
    assert interruption is None, "the run was over before it was interrupted"
    (report,) = reports
    return {
        "rate": len(arrivals) / (max(arrivals.values()) - report["started_at"]),
        "missing": load.count - len(arrivals),
        "twice": came - len(arrivals),
    }


def send(port: int, load: Load) -> dict:
    """Send numbered messages, at full speed as fast as the broker takes them."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--topics", str(TOPICS)]
    command += ["--count", str(load.count), "--rate", str(load.rate)]
    found = subprocess.run(command, check=True, capture_output=True, timeout=10 * START_S)
    return json.loads(found.stdout.splitlines()[-1])


def numbers_in_json(seen: Seen) -> list[int]:
    """Return the numbers of all messages that a payload of JSON holds, however they are nested."""
    return [int(number) for number in NUMBER.findall(seen.payload)]
