"""Resident memory of the daemon with 500 series, everything connected, after a time under load.

500 series are 167 topics of three fields. The load is 5,000 messages/s for `SECONDS`; the region is real (mTLS and
receiver), so that the mirror's part is in the figure. The peak goes into the JSON too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.ingest import QUEUES, ROUTES, load
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls

TOPICS = 167
RATE = 5000
SECONDS = 20
KB = 1000


def run() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pki(folder / "pki")
        with (
            Mosquitto(folder / "local", **QUEUES) as local,
            Mosquitto(folder / "central", **region_tls(folder / "pki")) as central,
            Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=folder / "pki") as site,
        ):
            site.receiver.start()
            site.daemon.start()
            idle = memory(site.daemon.pid)
            load(local.port, TOPICS, RATE * SECONDS, RATE)
            site.wait_received(RATE * SECONDS)
            loaded = memory(site.daemon.pid)
    return [
        {
            "name": f"resident memory, 500 series, {RATE} messages/s",
            "figure": loaded["VmRSS"],
            "unit": "MB",
            "baseline": None,
            "ratio": None,
            "budget": "figure <= 90",
            "peak": loaded["VmHWM"],
            "idle": idle["VmRSS"],
            "seconds": SECONDS,
        }
    ]


def memory(pid: int | str) -> dict[str, float]:
    """Return resident memory of a process, now and at its peak, in MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    pairs = (line.split() for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {key.rstrip(":"): int(kib) * 1024 / KB / KB for key, kib, _ in pairs}
