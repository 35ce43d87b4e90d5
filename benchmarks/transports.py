"""How fast a backlog leaves the spool for each kind of region, over TLS, against MQTT in the same run.

The batches are those of `mirror`; the servers are real ones on this machine (mosquitto, RabbitMQ with a quorum queue,
NATS JetStream with a file store, one Kafka broker, an HTTPS server of aiohttp in a process of its own), none of them
tuned, all on two cores with the mirror: a rate says what such a pair does, not what the transport could. The clock runs
from the connection to the last cursor. Rounds go through all kinds, the median counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import aio_pika
import nats

from benchmarks.mirror import BATCHES, NODE, READINGS, RECEIVE_MAXIMUM, batches, drained_s, region_of
from benchmarks.rows import row, sized
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.transport.tls import client_context
from tests.support.kafka import KafkaCluster
from tests.support.mosquitto import Mosquitto
from tests.support.nats import NatsServer
from tests.support.rabbitmq import RabbitMq
from tests.support.site import pems, region_tls
from tests.support.webhook_server import WebhookServer, server_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

ROUNDS = 3


def run() -> list[dict]:
    sealed = batches(sized(BATCHES, 20))
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_pki(folder / "pki", node=NODE)
        regions = {kind: stack.enter_context(made(folder, folder / "pki")) for kind, made in KINDS.items()}
        for number in range(sized(ROUNDS, 1)):
            for kind, region in regions.items():
                state = folder / f"spool-{kind}-{number}"
                rates.setdefault(kind, []).append(len(sealed) / asyncio.run(drained_s(region, state, sealed)))
    size = statistics.mean(len(batch.data) for batch in sealed) / 1000
    medians = {kind: statistics.median(found) * READINGS for kind, found in rates.items()}
    title = f"drain batches of {size:.0f} kB over TLS"
    return [row(f"{title}, {kind}", rate, "readings/s", medians["mqtt"]) for kind, rate in medians.items()]


@contextlib.contextmanager
def mqtt(folder: Path, pki: Path) -> Iterator[schema.Region]:
    options = {"max_inflight_messages": RECEIVE_MAXIMUM}
    with Mosquitto(folder / "mosquitto", **options, **region_tls(pki)) as broker:
        yield region_of(pki, port=broker.port)


@contextlib.contextmanager
def amqp(folder: Path, pki: Path) -> Iterator[schema.Region]:
    (folder / "password").write_text("secret\n", "ascii")
    with RabbitMq(folder / "rabbitmq", user=NODE, **region_tls(pki)) as broker:
        asyncio.run(_declare(pki, broker.port))
        said = {"username": NODE, "password_file": str(folder / "password"), "amqp": schema.Amqp(routing_key="edge")}
        yield region_of(pki, port=broker.port, transport="amqp", **said)


async def _declare(pki: Path, port: int) -> None:
    files = pems(pki, "receiver")
    context = client_context(files["ca"], files["certificate"], files["key"])
    options = {"login": NODE, "password": "secret", "ssl": True, "ssl_context": context}
    async with await aio_pika.connect(host="localhost", port=port, **options) as connection:
        channel = await connection.channel()
        await channel.declare_queue("edge", durable=True, arguments={"x-queue-type": "quorum"})


@contextlib.contextmanager
def jetstream(folder: Path, pki: Path) -> Iterator[schema.Region]:
    with NatsServer(folder / "nats", **region_tls(pki)) as server:
        asyncio.run(_add_stream(pki, server.port))
        # Three rounds bring the same identities: the server must take each as new.
        yield region_of(pki, port=server.port, transport="nats", nats=schema.Nats(stream="edge"))


async def _add_stream(pki: Path, port: int) -> None:
    files = pems(pki, "receiver")
    context = client_context(files["ca"], files["certificate"], files["key"])
    client = await nats.connect(f"tls://localhost:{port}", tls=context, tls_hostname="localhost")
    options = {"name": "edge", "subjects": ["edge.>"], "duplicate_window": 0.1}
    await client.jetstream().add_stream(nats.js.api.StreamConfig(**options))
    await client.close()


@contextlib.contextmanager
def kafka(folder: Path, pki: Path) -> Iterator[schema.Region]:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with KafkaCluster(folder / "kafka", files, pems(pki, "receiver")) as cluster:
        cluster.make_topic("edge")
        options = schema.Kafka(topic="edge", servers=tuple(cluster.servers.split(",")[1:]))
        yield region_of(pki, port=cluster.port, transport="kafka", kafka=options)


@contextlib.contextmanager
def webhook(_: Path, pki: Path) -> Iterator[schema.Region]:
    mine, other = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(str(pki), other), daemon=True)
    server.start()
    try:
        options = schema.Webhook(url=mine.recv())
        yield region_of(pki, host="", port=0, transport="webhook", webhook=options)
    finally:
        server.terminate()
        server.join()


def serve(pki: str, ready: Connection) -> None:
    """Answer posts until this process is ended."""
    asyncio.run(_serve(Path(pki), ready))


async def _serve(pki: Path, ready: Connection) -> None:
    files = region_tls(pki)
    server = WebhookServer(server_context(files["certificate"], files["key"], files["ca"]))
    async with server.running():
        ready.send(server.url)
        while True:
            await asyncio.sleep(1)
            server.posted.clear()


KINDS = {"mqtt": mqtt, "amqp": amqp, "nats": jetstream, "kafka": kafka, "webhook": webhook}
