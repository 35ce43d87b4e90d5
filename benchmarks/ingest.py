"""How fast the gateway takes QoS 1 messages from mosquitto and makes them durable, and what that costs the flash.

The same pre-encoded load goes through the same broker configuration to three subscribers, one after the other: the
gateway (journal, pipeline, batches, spool; no region in reach), a subscriber that only acknowledges (`null`), and the
loops that aiomqtt and paho-mqtt show in their documentation. The time is from the first PUBLISH of the load to the last
message acknowledged by the subscriber; for the gateway that is when its ledger shows all of them, which is after the
journal's fdatasync. Rounds alternate, the median counts, and a gateway run that lost a message fails. The last group of
a run does not fill the broker's window and waits for its commit, up to `commit_interval_max` of a second: runs are long
enough (four seconds) that this is not what they measure.

Bytes to flash are `write_bytes` of /proc/PID/io: what the daemon made the kernel write to a block device. A tmpfs
counts as none, so the row is left out there.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import row, sized
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site
from tests.support.waiting import wait_for

COUNT = sized(500_000, 5000)
LOOP_COUNT = sized(20_000, 1000)
ROUNDS = sized(3, 1)
RECEIVE_MAXIMUM = 2000
QUEUES = {"max_inflight_messages": 20_000, "max_queued_messages": 0}
TIMEOUT_S = 120.0
ROUTES = """
[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""


def run() -> list[dict]:
    rows = []
    for topics in (60, 500):
        gateway, null = [], []
        for _ in range(ROUNDS):
            null.append(subscriber_rate("null", topics, COUNT))
            gateway.append(gateway_run(topics))
        rate, baseline = (statistics.median(rates) for rates in ([one["rate"] for one in gateway], null))
        name = f"ingest, {topics} topics, against"
        rows.append(row(f"{name} a null subscriber", rate, "messages/s", baseline, "ratio >= 0.9"))
        if topics == 60:  # one comparison says enough of them
            for which in ("aiomqtt", "paho"):
                other = subscriber_rate(which, topics, LOOP_COUNT)
                rows.append(row(f"{name} a loop of {which}", rate, "messages/s", other))
        flash = [one["flash"] for one in gateway if one["flash"] is not None]
        if flash:
            written = statistics.median(flash)
            rows.append(row(f"flash, {topics} topics", written, "bytes/payload byte", None, "figure <= 0.35"))
    rows.append(row("load at QoS 0 into mosquitto alone", broker_rate(0), "messages/s"))
    rows.append(row("load at QoS 1 into mosquitto alone", broker_rate(1), "messages/s"))
    return rows


def broker_rate(qos: int) -> float:
    """Return messages/s that the load brings into a mosquitto that nobody subscribes at: what load and broker can."""
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder), **QUEUES) as broker:
        sent = load(broker.port, 60, COUNT, qos=qos)
    return COUNT / (sent["ended_at"] - sent["started_at"])


def subscriber_rate(which: str, topics: int, count: int) -> float:
    """Return messages/s of one of the subscribers that do nothing."""
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder), **QUEUES) as broker:
        command = [sys.executable, "-m", "benchmarks.subscribers", which, "--port", str(broker.port)]
        command += ["--count", str(count), "--receive-maximum", str(RECEIVE_MAXIMUM)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            sent = load(broker.port, topics, count)
            received = json.loads(process.stdout.readline())
    return count / (received["ended_at"] - sent["started_at"])


def gateway_run(topics: int) -> dict:
    """Return the gateway's messages/s and the bytes it made the kernel write per payload byte."""
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder), **QUEUES) as broker:
        options = f"receive_maximum = {RECEIVE_MAXIMUM}"
        with Site(Path(folder), ROUTES, broker_port=broker.port, broker=options, lane='linger = "1s"') as site:
            site.daemon.start()
            before = bytes_written(site.daemon.pid)
            sent = load(broker.port, topics, COUNT)
            wait_for(lambda: site.ledger().get("message.received", 0) >= COUNT, "all messages", TIMEOUT_S, 0.02)
            ended_at = time.monotonic()
            status = site.status()
            assert status["ledger"]["message.decoded"] == COUNT, status
            written = bytes_written(site.daemon.pid) - before
            site.daemon.stop()
    return {
        "rate": COUNT / (ended_at - sent["started_at"]),
        "flash": written / sent["payload_bytes"] if written else None,
    }


def load(port: int, topics: int, count: int, rate: float = 0.0, qos: int = 1) -> dict:
    """Run the load in its own process and return its report."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--topics", str(topics)]
    command += ["--count", str(count), "--rate", str(rate), "--qos", str(qos)]
    found = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    return json.loads(found.stdout.splitlines()[-1])


def bytes_written(pid: int) -> int:
    """Return how many bytes the process made the kernel write to block devices."""
    for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines():
        name, value = line.split(":")
        if name == "write_bytes":
            return int(value)
    raise AssertionError("the kernel counts no write_bytes")
