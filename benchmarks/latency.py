"""How long an alarm takes from the sensor to the region, against mosquitto's own bridge over the same line.

5,000 messages/s at a fixed rate, one in a hundred an alarm, go to the local broker; a probe at the region's broker
(mTLS) says when each alarm is there. The latency of message n counts from the moment at which n was due, not from when
it left, so no stall hides (see `load`). Compared are

- `bridge`: mosquitto forwards every message at QoS 1 to the region's broker, MQTT 5, mTLS, and persists nothing of it;
- `gateway`: journal with fdatasync before PUBACK, pipeline, a lane of alarms with linger 0, sealed batches in the
  spool, the mirror, and a receiver that commits to SQLite and acknowledges. Telemetry has a lane with a linger of 1 s.

`delivered` is when the alarm's batch arrives where the receiver gets it too, at the same moment. `committed` is when
the receiver's word that the batch is durable arrives at the region's broker; the bridge has nothing like it. Rounds
alternate and the latencies of all rounds count together. A run that lost an alarm fails.

What no software here can be faster than stands beside them: an fdatasync of one page into a file that is allocated, on
the same disk. Of everything that the gateway does for an alarm and the bridge does not, it is the part that waits for
hardware.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.ingest import QUEUES, bytes_written
from benchmarks.probe import Probe, Seen, numbers
from benchmarks.rows import quantile, row, sized
from gateway.batch.decode import DecodedBatch, decode
from gateway.demo.pki import write_pki
from gateway.disk import PAGE_BYTES
from gateway.transport import wire
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, pems, region_tls
from tests.support.waiting import wait_for

RATE = 5000
SECONDS = sized(30, 3)
ROUNDS = sized(2, 1)
ALARM_EVERY = 100
TOPICS = 60
WARM_S = 2.0
"""Alarms of the first seconds are not counted: connections, caches and the pace of commits find their way."""
TIMEOUT_S = 60.0
MS = 1000.0
SYNCS = sized(1000, 50)
SYNC_EVERY_S = 0.01
CENTRAL = {"max_inflight_messages": 1000, "max_queued_messages": 0}
ROUTES = """
[[route]]
name = "alarms"
topics = ["bench/alarm/#"]
lane = "alarm"

[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""
ALARM_LANE = """
[[spool.lanes]]
name = "alarm"
bytes_max = "16MiB"
linger = "0s"
"""


class Measured(NamedTuple):
    """Seconds of each alarm, and what the run wrote to flash for each byte of payload."""

    delivered: list[float]
    committed: list[float]
    flash: float


def run() -> list[dict]:
    found: dict[str, list[Measured]] = {"bridge": [], "gateway": []}
    with tempfile.TemporaryDirectory() as name:
        pki = Path(name) / "pki"
        write_pki(pki)
        for number in range(ROUNDS):
            for which, work in (("bridge", bridge), ("gateway", gateway)):
                found[which].append(work(Path(name) / f"{which}-{number}", pki))
        syncs = syncs_of(Path(name) / "page")
    ours, theirs = found["gateway"], found["bridge"]
    rows = []
    for share, word in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")):
        delivered, committed, bridged = (
            quantile([one for each in rounds for one in getattr(each, what)], share) * MS
            for rounds, what in ((ours, "delivered"), (ours, "committed"), (theirs, "delivered"))
        )
        what = f"alarm among {RATE:,} messages/s, {word}"
        budget = "ratio <= 3" if word == "p99" else None
        alarms = {"alarms": sum(len(each.delivered) for each in ours)}
        rows.append({**row(f"{what}, delivered", delivered, "ms", bridged, budget), **alarms})
        rows.append(row(f"{what}, committed at the receiver", committed, "ms", bridged))
        rows.append(
            row(f"fdatasync of a page, {word}, against the bridge's", quantile(syncs, share) * MS, "ms", bridged)
        )
    written = sum(each.flash for each in ours) / len(ours)
    rows.append(row(f"flash with {RATE // ALARM_EVERY} alarms/s", written, "bytes/payload byte", None, None))
    return rows


def bridge(folder: Path, pki: Path) -> Measured:
    """Measure mosquitto's bridge."""
    folder.mkdir()
    with (
        Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)) as central,
        Mosquitto(folder / "local", **QUEUES, **bridge_options(central.port, pki)) as local,
        Probe(central.port, ["bench/alarm/#"], pki=pki) as probe,
    ):
        wait_for(lambda: _is_bridged(local, probe), "the bridge connects", TIMEOUT_S)
        probe.seen.clear()
        report = load(local.port)
        wait_for(lambda: len(probe.seen) >= expected(), "every alarm behind the bridge", TIMEOUT_S)
        arrivals = {json.loads(one.payload)["n"]: one.at for one in probe.seen}
    return Measured(latencies(arrivals, report), [], 0.0)


def _is_bridged(local: Mosquitto, probe: Probe) -> bool:
    """Publish an alarm, and say whether one has come through."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(local.port), "--count", "1", "--rate", "100"]
    subprocess.run([*command, "--alarm-every", "1"], check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return bool(probe.seen)


def bridge_options(port: int, pki: Path) -> dict[str, object]:
    """Return what makes a mosquitto bridge everything of the load to the region's broker."""
    files = pems(pki, "node")
    return {
        "connection": "region",
        "addresses": f"localhost:{port}",
        "bridge_protocol_version": "mqttv50",
        "bridge_cafile": files["ca"],
        "bridge_certfile": files["certificate"],
        "bridge_keyfile": files["key"],
        "topic": "bench/# out 1",
        "notifications": "false",
        "restart_timeout": 1,
        "cleansession": "false",
    }


def gateway(folder: Path, pki: Path) -> Measured:
    """Measure the gateway."""
    folder.mkdir()
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
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
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region", TIMEOUT_S)
        probe = stack.enter_context(Probe(central.port, ["edge/v1/+/batch/alarm", "edge/v1/+/ack"], pki=pki))
        before = bytes_written(site.daemon.pid)
        report = load(local.port)
        wait_for(lambda: len(alarms_of(probe.seen)[0]) >= expected(), "every alarm at the region", TIMEOUT_S, 0.5)
        wait_for(lambda: len(alarms_of(probe.seen)[1]) >= expected(), "every alarm committed", TIMEOUT_S, 0.5)
        site.wait_received(RATE * SECONDS)
        flash = (bytes_written(site.daemon.pid) - before) / report["payload_bytes"]
        assert site.ledger()["message.decoded"] == RATE * SECONDS, site.ledger()
        delivered, committed = alarms_of(probe.seen)
        site.daemon.stop()
        site.receiver.stop()
    return Measured(latencies(delivered, report), latencies(committed, report), flash)


def syncs_of(path: Path) -> list[float]:
    """Return the seconds that each of `SYNCS` fdatasyncs of one page took, with pauses as between alarms."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(file, 0, SYNCS * PAGE_BYTES)
    os.fsync(file)
    took = []
    for number in range(SYNCS):
        os.pwrite(file, os.urandom(PAGE_BYTES), number * PAGE_BYTES)
        began_at = time.perf_counter()
        os.fdatasync(file)
        took.append(time.perf_counter() - began_at)
        time.sleep(SYNC_EVERY_S)
    os.close(file)
    return took


def alarms_of(seen: list[Seen]) -> tuple[dict[int, float], dict[int, float]]:
    """Return for the number of each alarm when its batch came, and when the receiver said that it is durable."""
    delivered: dict[int, float] = {}
    committed: dict[int, float] = {}
    batches: dict[int, list[int]] = {}
    words = []
    for one in list(seen):
        if one.topic.endswith("/ack"):
            words.append((one.at, wire.decode_acknowledgement(one.payload)))
            continue
        batch = decode(one.payload)
        assert isinstance(batch, DecodedBatch), batch
        found = batches.setdefault(batch.header.id.sequence, numbers(one.payload))
        for number in found:
            delivered.setdefault(number, one.at)
    for at, word in words:
        if word.lane == "alarm":
            for first, last in word.done:
                for sequence in range(first, last + 1):
                    for number in batches.get(sequence, ()):
                        committed.setdefault(number, at)
    return delivered, committed


def load(port: int) -> dict:
    """Run the load and return its report."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--topics", str(TOPICS)]
    command += ["--count", str(RATE * SECONDS), "--rate", str(RATE), "--alarm-every", str(ALARM_EVERY)]
    found = subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + TIMEOUT_S)
    return json.loads(found.stdout.splitlines()[-1])


def expected() -> int:
    """Return how many alarms a run sends."""
    return RATE * SECONDS // ALARM_EVERY


def latencies(arrivals: dict[int, float], report: dict) -> list[float]:
    """Return the latency of each alarm after the warm-up, from the moment it was due; every alarm must be there."""
    missing = [number for number in range(0, RATE * SECONDS, ALARM_EVERY) if number not in arrivals]
    assert not missing, f"{len(missing)} alarms are missing, the first is {missing[0]}"
    return [at - report["started_at"] - number / RATE for number, at in arrivals.items() if number / RATE >= WARM_S]
