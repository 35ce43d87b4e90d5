"""A small box: the daemon on a quarter of a core and in 128 MB, at rates that rise until it cannot follow.

A control group confines the daemon alone, from its first moment; brokers, receiver and load have the rest of the
machine. At each rate messages come for some seconds, one in a hundred an alarm, then everything must arrive: a run
that loses a message fails. A rate is followed when the last message is at the region within `BEHIND_S` of the moment
it was due, so that no queue was building up at the broker. Memory is the group's own count, page cache included.
Where no control group can be made there are no rows, and a line says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.confined import Confined, why_not
from benchmarks.latency import ALARM_EVERY, ALARM_LANE, CENTRAL, QUEUES, ROUTES, TOPICS
from benchmarks.probe import Probe, numbers
from benchmarks.rows import is_trial, quantile, row, sized
from benchmarks.soak import memory_mb
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

CORE_SHARE = 0.25
MEMORY_MB = 128
RATES = (500,) if is_trial() else (500, 2000, 4000, 8000, 12_000, 16_000, 24_000)
SECONDS = sized(20, 3)
WARM_S = 2.0
BEHIND_S = 2.5
"""Linger of telemetry, which is a second, and what a commit and the region take."""
START_S = 60.0
SETTLE_S = 300.0
MS = 1000.0


def run() -> list[dict]:
    reason = why_not()
    if reason:
        print(f"left out: small: {reason}", file=sys.stderr)
        return []
    rows, followed = [], 0
    with tempfile.TemporaryDirectory() as name:
        pki = Path(name) / "pki"
        write_pki(pki)
        for rate in RATES:
            found = measured(Path(name) / str(rate), pki, rate)
            what = f"small box, {rate:,} messages/s"
            rows += [
                {**row(f"{what}, behind at the end", found["behind_s"], "s"), **found},
                row(f"{what}, alarm p50", found["p50_ms"], "ms"),
                row(f"{what}, alarm p99", found["p99_ms"], "ms"),
                row(f"{what}, resident", found["resident_mb"], "MB"),
                row(f"{what}, with page cache at most", found["peak_mb"], "MB"),
                row(f"{what}, periods it waited in", found["throttled"], "%"),
            ]
            if found["behind_s"] > BEHIND_S:
                break
            followed = rate
    return [row("small box, highest rate tried that it follows", followed, "messages/s"), *rows]


def measured(folder: Path, pki: Path, rate: int) -> dict:
    """Run at one rate and return what was seen."""
    folder.mkdir()
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        confined = stack.enter_context(Confined(MEMORY_MB, CORE_SHARE))
        site = Site(
            folder,
            ROUTES,
            broker_port=local.port,
            region_port=central.port,
            pki=pki,
            broker=ALARM_LANE,  # tables after that of the broker, so that this lane is the first
            lane='linger = "1s"',
        )
        stack.enter_context(site)
        site.daemon.prefix = confined.prefix
        site.receiver.start()
        began = time.monotonic()
        site.daemon.start(START_S)
        start_s = time.monotonic() - began
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region is connected", START_S)
        probe = stack.enter_context(Probe(central.port, ["edge/v1/+/batch/+"], pki=pki))
        before = confined.throttled()
        started_at = load(local.port, rate)
        arrivals = arrived(probe, rate * SECONDS)
        after = confined.throttled()
        memory, resident_mb = confined.memory(), memory_mb(site.daemon.pid)
        assert site.ledger()["message.received"] == rate * SECONDS, site.ledger()
        site.daemon.stop()
        site.receiver.stop()
    late = [
        at - started_at - number / rate
        for number, at in arrivals.items()
        if number % ALARM_EVERY == 0 and number / rate >= WARM_S
    ]
    periods = after["nr_periods"] - before["nr_periods"]
    return {
        "behind_s": max(arrivals.values()) - started_at - SECONDS,
        "p50_ms": quantile(late, 0.5) * MS,
        "p99_ms": quantile(late, 0.99) * MS,
        "resident_mb": resident_mb,
        "peak_mb": memory["peak"],
        "bound_met": memory["bound_met"],
        "throttled": 100 * (after["nr_throttled"] - before["nr_throttled"]) / max(1, periods),
        "start_s": start_s,
    }


def load(port: int, rate: int) -> float:
    """Run the load; return the time at which its first message was due."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--topics", str(TOPICS)]
    command += ["--count", str(rate * SECONDS), "--rate", str(rate), "--alarm-every", str(ALARM_EVERY)]
    found = subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + SETTLE_S)
    return float(json.loads(found.stdout.splitlines()[-1])["started_at"])


def arrived(probe: Probe, count: int) -> dict[int, float]:
    """Return when each message was at the region, after waiting for the last."""
    arrivals: dict[int, float] = {}
    looked = 0

    def are_all_there() -> bool:
        nonlocal looked
        for one in probe.seen[looked:]:
            looked += 1
            for number in numbers(one.payload):
                arrivals.setdefault(number, one.at)
        return len(arrivals) >= count

    wait_for(are_all_there, f"all of {count:,} messages at the region", SETTLE_S, 0.2)
    return arrivals
