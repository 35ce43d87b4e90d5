"""How fast a whole receiver drains its region's broker over mTLS: session, verify, decide, write, commit, acknowledge.

Batches of several nodes wait at a real mosquitto in the persistent session of the receiver's shared subscription; then
the receiver starts, and the clock runs until the last reading is committed, connecting included. The baseline is
the same session at the same broker, which acknowledges each batch at once and does nothing else: so the ratio is the
share of the broker's own rate that a receiver keeps up with. Nothing is published meanwhile; broker and receiver share
the machine. Large batches show the cost of a reading, small ones that of a batch. Rounds alternate, the fastest counts;
a run that did not commit every reading once fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho

from benchmarks.batch import random_walk
from gateway.batch import envelope
from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.region import chosen, watermarks
from gateway.region.service import Service
from gateway.transport import wire
from tests.support.batches import open_batch
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.model import SealedBatch

NODES = 8
ROUNDS = 2
SINKS = ("sqlite", "ndjson")
SHAPES = {"large": (4, 60, 111), "small": (250, 5, 10)}
"""Batches of each node, sensors in a batch, rows of a sensor; a row has three readings."""
TIMEOUT_S = 120.0
POLL_S = 0.002


def run() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pki(folder / "pki")
        broker = Mosquitto(
            folder / "broker", max_inflight_messages=64, max_queued_messages=0, **region_tls(folder / "pki")
        )
        with broker:
            return [row for shape in SHAPES for row in measured(shape, folder, broker.port)]


def measured(shape: str, folder: Path, port: int) -> list[dict]:
    sealed = backlog(*SHAPES[shape])
    readings = sum(batch.readings for batch in sealed)
    per_batch = readings // len(sealed)
    seconds = dict.fromkeys(("bare", *SINKS), float("inf"))
    for number in range(ROUNDS):
        for name in seconds:
            state = folder / f"{shape}-{name}-{number}"
            options = receiver_options(folder / "pki", port, state, name)
            work = bare_s if name == "bare" else receiver_s
            seconds[name] = min(seconds[name], asyncio.run(drained(options, sealed, work)))
    return [
        {
            "name": f"receiver, {name}, {NODES} nodes over mTLS, batches of {per_batch:,} readings",
            "figure": readings / seconds[name],
            "unit": "readings/s",
            "baseline": readings / seconds["bare"],
            "ratio": seconds["bare"] / seconds[name],
            "budget": None,
            "batches_per_second": len(sealed) / seconds[name],
        }
        for name in SINKS
    ]


def backlog(count: int, sensors: int, rows: int) -> list[SealedBatch]:
    """Return the batches of all nodes, as they would come: each node's in order, the nodes in turn."""
    walk = random_walk(sensors, rows)
    sealed = []
    for sequence in range(1, count + 1):
        for node in range(NODES):
            batch = open_batch(walk, sequence=sequence, readings_before=(sequence - 1) * 3 * sensors * rows)
            batch.id = batch.id._replace(node=f"node-{node}")
            sealed.append(envelope.seal(batch, "benchmark"))
    return sealed


def receiver_options(pki: Path, port: int, state: Path, sink: str) -> schema.Receiver:
    files = pems(pki, "receiver")
    return schema.Receiver(
        name=state.name,
        topic_prefix=f"edge/v1/{state.name}",
        port=port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        state_folder=str(state),
        sinks=(sink,) if sink in SINKS else (),
    )


async def drained(options: schema.Receiver, sealed: list[SealedBatch], work: Callable) -> float:
    """Fill the session of this receiver, and return the seconds in which `work` empties it."""
    async with asyncio.timeout(TIMEOUT_S), session(options, lambda *_: None):
        pass
    await asyncio.to_thread(publish, options, sealed)
    async with asyncio.timeout(TIMEOUT_S):
        return await work(options, sealed)


@contextlib.asynccontextmanager
async def session(options: schema.Receiver, on_packets: Callable) -> AsyncIterator[None]:
    """Hold the receiver's session with the broker; entered when the subscription is granted."""
    ready = asyncio.Event()
    source = chosen.source(options, on_packets, random.Random(1), lambda _: ready.set())
    task = asyncio.create_task(source.run())
    try:
        await ready.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def publish(options: schema.Receiver, sealed: list[SealedBatch]) -> None:
    """Bring all batches to the broker, acknowledged."""
    files = pems(Path(options.tls_ca).parent, "node")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"load-{options.name}", protocol=paho.MQTTv5)
    client.tls_set(files["ca"], files["certificate"], files["key"])
    client.max_inflight_messages_set(64)
    client.connect("localhost", options.port)
    client.loop_start()
    sent = [
        client.publish(wire.batch_topic(options.topic_prefix, one.id.node, one.id.lane), one.data, qos=1)
        for one in sealed
    ]
    for one in sent:
        one.wait_for_publish(TIMEOUT_S)
    assert all(one.is_published() for one in sent)
    client.disconnect()
    client.loop_stop()


async def bare_s(options: schema.Receiver, sealed: list[SealedBatch]) -> float:
    """Return the seconds in which a session that does nothing but acknowledge has seen every batch."""
    done = asyncio.Event()
    seen = 0

    def take(connection: chosen.Connection, packets: list) -> None:
        nonlocal seen
        seen += len(packets)
        connection.acknowledge([packet.packet_id for packet in packets])
        if seen == len(sealed):
            done.set()

    started = time.perf_counter()
    async with session(options, take):
        await done.wait()
        return time.perf_counter() - started


async def receiver_s(options: schema.Receiver, sealed: list[SealedBatch]) -> float:
    """Return the seconds in which a receiver has committed every reading once."""
    readings = sum(batch.readings for batch in sealed)
    service = Service(options, Disk(), Clock(), random.Random(1))
    started = time.perf_counter()
    task = asyncio.create_task(service.run(lambda: None))
    while service.counts["readings"] < readings:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(POLL_S)
    seconds = time.perf_counter() - started
    service.stop()
    await task
    service.close()
    report = watermarks.report(Path(options.state_folder))
    assert len(report.lanes) == NODES
    assert (sum(lane.received for lane in report.lanes), report.unaccounted) == (readings, 0)
    return seconds
