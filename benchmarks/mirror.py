"""How fast a backlog leaves the spool for a region over mTLS, against a bare paho publisher of the same payloads.

Batches are real ones of 11,000 readings each, noisy enough to be about 100 kB; the region is a mosquitto on loopback
that takes only clients with a certificate, and acknowledges. The mirror reads each batch from the spool,
checks it, sends it, and moves the cursor on the PUBACK; the bare publisher has the payloads in memory, uses the
library's own thread, and as many messages in flight. Both count from the connection's first PUBLISH to the last PUBACK.
Rounds alternate, the median counts; a mirror that was disturbed in between fails.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as paho

from benchmarks.rows import row, sized
from gateway.batch import envelope
from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.mirror.driver import Box, MirrorDriver
from gateway.model import BatchId, OpenBatch, SealedBatch
from gateway.spool.lanes import Appended, Spool
from gateway.transport import wire
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls

BATCHES = sized(400, 20)
TOPICS = 40
ROWS = 275
READINGS = TOPICS * ROWS
IN_FLIGHT = 16
RECEIVE_MAXIMUM = 64
ROUNDS = sized(3, 1)
LANE = "telemetry"
NODE = "bench"
TIMEOUT_S = 60.0


def run() -> list[dict]:
    sealed = list(batches())
    mirrored, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        pki = Path(folder) / "pki"
        write_pki(pki)
        with Mosquitto(Path(folder) / "region", max_inflight_messages=RECEIVE_MAXIMUM, **region_tls(pki)) as central:
            for number in range(ROUNDS):
                bare.append(BATCHES / bare_s(central.port, pki, sealed))
                state = Path(folder) / f"spool-{number}"
                region = region_of(pki, port=central.port)
                mirrored.append(BATCHES / asyncio.run(drained_s(region, state, sealed)))
    rate, baseline = statistics.median(mirrored), statistics.median(bare)
    size = statistics.mean(len(batch.data) for batch in sealed) / 1000
    name = f"mirror, drain batches of {size:.0f} kB over mTLS"
    return [
        row(name, rate, "batches/s", baseline),
        row(f"{name}, in readings", rate * READINGS, "readings/s", baseline * READINGS, "figure >= 2000000"),
    ]


def batches(most: int = BATCHES) -> list[SealedBatch]:
    chance = random.Random(1)
    found = []
    for sequence in range(1, most + 1):
        began_ns = 1_764_000_000_000_000_000 + sequence * ROWS * 1_000_000_000
        rows = {
            f"bench/{topic}": (
                [began_ns + number * 1_000_000_000 + chance.randrange(10_000_000) for number in range(ROWS)],
                [{"value": 20 + chance.random()} for _ in range(ROWS)],
            )
            for topic in range(TOPICS)
        }
        before = (sequence - 1) * READINGS
        batch = OpenBatch(BatchId(NODE, LANE, 1, sequence), rows, READINGS, before, {}, began_ns, 0)
        found.append(envelope.seal(batch, "boot"))
    return found


def region_of(pki: Path, **options: object) -> schema.Region:
    """Return a region on this machine whose broker's word counts."""
    files = pems(pki, "node")
    settings = {"host": "localhost", "acknowledge": "broker", "in_flight_max": IN_FLIGHT, **options}
    return schema.Region(
        name="centre", tls_ca=files["ca"], tls_certificate=files["certificate"], tls_key=files["key"], **settings
    )


async def drained_s(region: schema.Region, folder: Path, sealed: list[SealedBatch]) -> float:
    """Return the seconds in which the mirror brings the whole backlog to the region's broker."""
    lane = schema.Lane(name=LANE, bytes_max=2 * sum(len(batch.data) for batch in sealed))
    options = schema.Spool(bytes_max=lane.bytes_max, lanes=(lane,))
    spool = Spool.open(Disk(), folder, options, NODE, (region,), 1)
    for batch in sealed:
        assert spool.append(batch) is Appended.STORED
    spool.sync()
    with ThreadPoolExecutor(2) as readers:
        mirror = MirrorDriver(
            region, (), Box(NODE, folder, options.lanes, spool, Disk(), Clock(), readers, random.Random(1))
        )
        task = asyncio.create_task(mirror.run())
        async with asyncio.timeout(TIMEOUT_S):
            while not mirror.is_connected:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0)
            started = time.perf_counter()
            while spool.cursor(region.name, LANE) < len(sealed):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.005)
            seconds = time.perf_counter() - started
        status = mirror.status()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    spool.close()
    assert (status["connects"], status["resent"], status["faults"]) == (1, 0, 0), status
    return seconds


def bare_s(port: int, pki: Path, sealed: list[SealedBatch]) -> float:
    """Return the seconds in which paho brings the same payloads to the same broker."""
    files = pems(pki, "node")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
    client.tls_set(files["ca"], files["certificate"], files["key"])
    client.max_inflight_messages_set(IN_FLIGHT)
    connected, done, acknowledged = threading.Event(), threading.Event(), 0

    def note(*_: object) -> None:
        nonlocal acknowledged
        acknowledged += 1
        if acknowledged == BATCHES:
            done.set()

    client.on_connect = lambda *_: connected.set()
    client.on_publish = note
    client.connect("localhost", port)
    client.loop_start()
    assert connected.wait(TIMEOUT_S)
    topic = wire.batch_topic("edge/v1", NODE, LANE)
    started = time.perf_counter()
    for batch in sealed:
        client.publish(topic, batch.data, qos=1)
    assert done.wait(TIMEOUT_S)
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return seconds
