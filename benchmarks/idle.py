"""What a daemon costs that has nothing to do: processor time of all its threads, as a share of one core.

Everything is connected (local broker, region over mTLS, receiver), and 500 topics have spoken before; then nobody
says anything for a minute. The kernel counts in hundredths of a second.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.ingest import QUEUES, ROUTES, load
from benchmarks.rows import row, sized
from benchmarks.soak import cpu_s
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

SECONDS = sized(60, 5)
TOPICS = 500
REST_S = 3.0


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
            load(local.port, TOPICS, TOPICS)
            site.wait_received(TOPICS)
            wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region is connected")
            time.sleep(REST_S)
            switches, used, began = context_switches(site.daemon.pid), cpu_s(site.daemon.pid), time.monotonic()
            time.sleep(SECONDS)
            elapsed = time.monotonic() - began
            share = (cpu_s(site.daemon.pid) - used) / elapsed
            wakings = (context_switches(site.daemon.pid) - switches) / elapsed
    return [
        row(f"idle for {SECONDS} s", 100 * share, "% of a core", None, "figure <= 1"),
        row("idle, wakings of all threads", wakings, "1/s"),
    ]


def context_switches(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep by themselves."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text("ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total
