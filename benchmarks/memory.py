"""Resident memory of the daemon with 500 and with 100,000 series, everything connected, after a time under load.

A topic has three fields, so 500 series are 167 topics and 100,000 are 33,334; each series is remembered by a deadband.
The load is 5,000 messages/s; the region is real (mTLS and receiver), so that the mirror's part is in the figure. With
100,000 series each topic speaks three times. The peak goes into the JSON too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.ingest import QUEUES, load
from benchmarks.rows import row, sized
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls

RATE = 5000
SIZES = {500: (167, 20, 80), 100_000: (33_334, 20, 250)}
"""Topics, seconds, budget in MB, by series."""
KB = 1000
ROUTES = """
[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
[route.sample.deadband]
temperature = 0.02
pressure = 0.02
rpm = 10
"""


def run() -> list[dict]:
    return [measured(series, *size) for series, size in SIZES.items()]


def measured(series: int, topics: int, seconds: int, budget: int) -> dict:
    """Return the row of one size."""
    count = RATE * sized(seconds, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pki(folder / "pki")
        with (
            Mosquitto(folder / "local", **QUEUES) as local,
            Mosquitto(folder / "central", **region_tls(folder / "pki")) as central,
            Site(
                folder,
                ROUTES,
                broker_port=local.port,
                region_port=central.port,
                pki=folder / "pki",
                lane='linger = "1s"',
            ) as site,
        ):
            site.receiver.start()
            site.daemon.start()
            idle = memory(site.daemon.pid)
            load(local.port, topics, count, RATE)
            site.wait_received(count)
            loaded = memory(site.daemon.pid)
    return {
        **row(f"resident memory, {series:,} series, {RATE:,} messages/s", loaded["VmRSS"], "MB"),
        "budget": f"figure <= {budget}",
        "peak": loaded["VmHWM"],
        "idle": idle["VmRSS"],
        "seconds": count / RATE,
    }


def memory(pid: int | str) -> dict[str, float]:
    """Return resident memory of a process, now and at its peak, in MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    pairs = (line.split() for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {key.rstrip(":"): int(kib) * 1024 / KB / KB for key, kib, _ in pairs}
