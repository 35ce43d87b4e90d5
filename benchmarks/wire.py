"""What the line to a region carries for each reading, all of it: TLS, MQTT and the answers, counted by TCP.

The same 5,000 messages/s of three fields go through the gateway and, in a run of its own, through mosquitto's bridge;
both send over mTLS to the same kind of broker. `ss` tells how many bytes of payload TCP has carried either way for the
process that sends. Beside them stands what the same readings weigh as NDJSON under zstd level 3, batch by batch as the
gateway cut them, without any protocol around. Needs `ss` of iproute2.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.batch import ndjson_bytes
from benchmarks.ingest import QUEUES, ROUTES, load
from benchmarks.latency import CENTRAL, bridge_options
from benchmarks.probe import Probe
from benchmarks.rows import row, sized
from gateway.batch.decode import DecodedBatch, decode
from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

RATE = 5000
SECONDS = sized(20, 3)
COUNT = RATE * SECONDS
FIELDS = 4
"""The number of the message, and three values."""
TOPICS = 60
TIMEOUT_S = 60.0
LINGERS = ("1s", "5s")


def run() -> list[dict]:
    if shutil.which("ss") is None:
        raise RuntimeError("ss is missing: apt-get install iproute2")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        pki = Path(name) / "pki"
        write_pki(pki)
        bridged = bridge(Path(name) / "bridge", pki) / (FIELDS * COUNT)
        for linger in LINGERS:
            written, sealed, ndjson = gateway(Path(name) / linger, pki, linger)
            ours = written / (FIELDS * COUNT)
            what = f"on the wire, linger {linger}, against"
            rows.append(
                row(f"{what} NDJSON + zstd-3", ours, "bytes/reading", ndjson / (FIELDS * COUNT), "ratio <= 0.25")
            )
            rows.append(row(f"{what} mosquitto's bridge", ours, "bytes/reading", bridged))
            rows.append(row(f"{what} the batches alone", ours, "bytes/reading", sealed / (FIELDS * COUNT)))
    return rows


def bridge(folder: Path, pki: Path) -> int:
    """Return the bytes on the bridge's line."""
    folder.mkdir()
    with (
        Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)) as central,
        Mosquitto(folder / "local", **QUEUES, **bridge_options(central.port, pki)) as local,
        Probe(central.port, ["bench/#"], pki=pki) as probe,
    ):
        wait_for(lambda: load(local.port, 1, 1, 100.0) and probe.seen, "the bridge connects", TIMEOUT_S)
        probe.seen.clear()
        before = line_bytes(local.pid, central.port)
        load(local.port, TOPICS, COUNT, RATE)
        wait_for(lambda: len(probe.seen) >= COUNT, "every message behind the bridge", TIMEOUT_S, 0.1)
        time.sleep(1.0)
        return line_bytes(local.pid, central.port) - before


def gateway(folder: Path, pki: Path, linger: str) -> tuple[int, int, int]:
    """Return the bytes on the gateway's line, of the batches in them, and of these as compressed NDJSON."""
    folder.mkdir()
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        lane = f'linger = "{linger}"'
        site = Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=pki, lane=lane)
        stack.enter_context(site)
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region", TIMEOUT_S)
        probe = stack.enter_context(Probe(central.port, ["edge/v1/+/batch/+"], pki=pki))
        before = line_bytes(site.daemon.pid, central.port)
        load(local.port, TOPICS, COUNT, RATE)
        wait_for(lambda: readings(probe) >= FIELDS * COUNT, "every reading at the region", TIMEOUT_S, 0.5)
        time.sleep(1.0)
        written = line_bytes(site.daemon.pid, central.port) - before
        assert readings(probe) == FIELDS * COUNT, readings(probe)
        ndjson = sum(ndjson_bytes(one.payload) for one in probe.seen)
        site.daemon.stop()
        site.receiver.stop()
    return written, sum(len(one.payload) for one in probe.seen), ndjson


def readings(probe: Probe) -> int:
    """Return how many readings have come."""
    found = (decode(one.payload) for one in list(probe.seen))
    return sum(one.header.readings for one in found if isinstance(one, DecodedBatch))


def line_bytes(pid: int, port: int) -> int:
    """Return what TCP has carried between a process and a port, both ways, without its headers."""
    shown = subprocess.run(["ss", "-tinpH", f"dport = :{port}"], check=True, capture_output=True, text=True).stdout
    total = 0
    for entry in re.split(r"\n(?=\S)", shown):
        if f"pid={pid}," in entry:
            total += sum(int(number) for number in re.findall(r"bytes_(?:acked|received):(\d+)", entry))
    assert total, f"ss shows no line of process {pid} to port {port}: {shown}"
    return total
