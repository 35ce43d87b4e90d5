"""What a receiver commits is handed on to brokers: all of it, under its identity, whoever is away meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import nats
import pytest
from nats.js.api import StreamConfig

from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.region import forward as module
from gateway.region import watermarks
from gateway.region.intake import Message
from gateway.region.service import Service
from gateway.transport.tls import client_context
from tests.support.kafka import KafkaCluster
from tests.support.mirroring import until
from tests.support.mosquitto import Mosquitto
from tests.support.nats import NatsServer
from tests.support.receiving import gap, sent, sent_gap
from tests.support.site import pems, region_tls

SECOND_NS = 10**9


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def forward(pki: Path, name: str, transport: str, port: int, **options: Any) -> schema.Forward:
    files = pems(pki, "receiver")
    return schema.Forward(
        name=name,
        transport=transport,
        host="localhost",
        port=port,
        tls_ca=files["ca"],
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        backoff_min_ns=SECOND_NS // 20,
        backoff_max_ns=SECOND_NS,
        resend_after_ns=2 * SECOND_NS,
        **options,
    )


class Region:
    """A receiver at a real broker, and a node that publishes whole batches to it."""

    def __init__(self, folder: Path, pki: Path, port: int, *forwards: schema.Forward) -> None:
        files = pems(pki, "receiver")
        self.folder = folder / "region"
        self._options = schema.Receiver(
            host="localhost",
            port=port,
            tls_ca=files["ca"],
            tls_certificate=files["certificate"],
            tls_key=files["key"],
            state_folder=str(self.folder),
            sinks=("sqlite",),
            forward=forwards,
        )
        self._pki = pki

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[[Message], Any]]:
        service = Service(self._options, Disk(), Clock(), random.Random(1))
        ready = asyncio.Event()
        task = asyncio.create_task(service.run(ready.set))
        files = pems(self._pki, "node")
        context = client_context(files["ca"], files["certificate"], files["key"])
        port = self._options.port
        try:
            await asyncio.wait_for(ready.wait(), 20.0)
            options = {"protocol": aiomqtt.ProtocolVersion.V5, "tls_context": context}
            async with aiomqtt.Client("localhost", port, **options) as client:
                yield lambda message: client.publish(message.topic, message.payload, qos=1)
            service.stop()
            await asyncio.wait_for(task, 10.0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            service.close()

    def report(self) -> watermarks.Report:
        return watermarks.report(self.folder)

    def waiting(self) -> int:
        return sum(one["messages"] for one in self.report().outboxes.values())

    def taken(self) -> int:
        return sum(lane.batches for lane in self.report().lanes)


def identities(payloads: list[bytes]) -> Counter[str]:
    return Counter(json.loads(payload)["id"] for payload in payloads)


async def test_three_brokers_get_every_event_and_every_gap(tmp_path: Path, pki: Path) -> None:
    files = {name: Path(path) for name, path in pems(pki, "server").items()}
    with (
        Mosquitto(tmp_path / "central", max_queued_messages=0, **region_tls(pki)) as central,
        NatsServer(tmp_path / "nats", **region_tls(pki)) as server,
        KafkaCluster(tmp_path / "kafka", files, pems(pki, "receiver")) as kafka,
    ):
        kafka.make_topic("readings")
        context = client_context(*pems(pki, "receiver").values())
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context, tls_hostname="localhost")
        stream = client.jetstream()
        await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        region = Region(
            tmp_path,
            pki,
            central.port,
            forward(pki, "queue", "nats", server.port),
            forward(pki, "log", "kafka", kafka.port, kafka=schema.Kafka(topic="readings")),
            forward(pki, "topic", "mqtt", central.port, topic_prefix="open"),
        )
        heard: list[bytes] = []
        async with aiomqtt.Client("localhost", central.port, tls_context=context) as listener:
            await listener.subscribe("open/#", qos=1)
            listening = asyncio.create_task(_listen(listener, heard))
            async with region.running() as publish:
                for message in (sent(1), sent(2), sent(2), sent_gap(gap(3, 4)), sent(5)):
                    await publish(message)
                await until(lambda: region.taken() == 3 and not region.waiting(), "all is handed on")
            listening.cancel()
        state = (await stream.stream_info("edge")).state
        stored = [(await stream.get_msg("edge", seq=number)).data or b"" for number in range(1, state.last_seq + 1)]
        await client.close()
        kept = [message.value() or b"" for message in kafka.messages("readings")]
    assert set(identities(stored).values()) == {1}
    assert identities(stored) == identities(kept) == identities(heard)
    lane = region.report().lanes[0]
    readings = sum(len(json.loads(one)["data"]) for one in kept if "readings" in json.loads(one)["type"])
    gaps = [json.loads(one)["data"]["readings"] for one in kept if "gap" in json.loads(one)["type"]]
    assert (readings, gaps) == (lane.received, [lane.lost["evicted"]])


async def _listen(listener: aiomqtt.Client, heard: list[bytes]) -> None:
    async for message in listener.messages:
        heard += [bytes(message.payload)]


async def test_a_forward_that_is_away_holds_up_nothing_until_its_outbox_is_full_and_then_all_arrives(
    tmp_path: Path, pki: Path
) -> None:
    with (
        Mosquitto(tmp_path / "central", max_queued_messages=0, **region_tls(pki)) as central,
        NatsServer(tmp_path / "nats", **region_tls(pki)) as server,
    ):
        context = client_context(*pems(pki, "receiver").values())
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context, tls_hostname="localhost")
        await client.jetstream().add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        await client.close()
        away = forward(pki, "away", "nats", server.port, format="batch")
        size = len(sent(1).payload)
        region = Region(tmp_path, pki, central.port, msgspec.structs.replace(away, outbox_bytes_max=10 * (size - 10)))
        server.kill()
        async with region.running() as publish:
            for number in range(1, 11):
                await publish(sent(number))
            await until(lambda: region.taken() == 10, "all is taken in while there is room")
            for number in range(11, 31):
                await publish(sent(number))
            await asyncio.sleep(1.5)  # the receiver tries again each second
            assert region.taken() == region.waiting() == 10
        server.start()
        async with region.running():
            await until(lambda: region.taken() == 30 and not region.waiting(), "all is handed on")
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context, tls_hostname="localhost")
        state = (await client.jetstream().stream_info("edge")).state
        await client.close()
    assert state.messages == 30
    assert region.report().unaccounted == 0


async def test_a_forward_connects_anew_with_a_renewed_certificate(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CREDENTIALS_S", 0.05)
    caplog.set_level("INFO", "gateway.mirror.place")
    with (
        Mosquitto(tmp_path / "central", max_queued_messages=0, **region_tls(pki)) as central,
        NatsServer(tmp_path / "nats", **region_tls(pki)) as server,
    ):
        own = tmp_path / "own"
        own.mkdir()
        for name in ("ca.pem", "receiver.pem", "receiver.key"):
            shutil.copy(pki / name, own / name)
        context = client_context(*pems(pki, "receiver").values())
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context, tls_hostname="localhost")
        await client.jetstream().add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        region = Region(tmp_path, pki, central.port, forward(own, "renewed", "nats", server.port, format="batch"))
        async with region.running() as publish:
            await publish(sent(1))
            await until(lambda: region.taken() == 1 and not region.waiting(), "the first is handed on")
            for name in ("receiver.pem", "receiver.key"):
                shutil.copy(pki / name.replace("receiver", "node"), own / name)
            await until(lambda: caplog.text.count("forward renewed: connected") == 2, "it connects anew")
            await publish(sent(2))
            await until(lambda: region.taken() == 2 and not region.waiting(), "the second is handed on")
        assert (await client.jetstream().stream_info("edge")).state.messages == 2
        await client.close()
    assert "new credentials" in caplog.text


async def test_what_a_forward_refuses_for_good_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "central", max_queued_messages=0, **region_tls(pki)) as central,
        NatsServer(tmp_path / "nats", max_payload=577, **region_tls(pki)) as server,
    ):
        context = client_context(*pems(pki, "receiver").values())
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context, tls_hostname="localhost")
        await client.jetstream().add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        batches = [sent(number) for number in range(1, 6)]  # the third one is the largest
        region = Region(tmp_path, pki, central.port, forward(pki, "small", "nats", server.port, format="batch"))
        async with region.running() as publish:
            for message in batches:
                await publish(message)
            await until(lambda: region.taken() == 5 and not region.waiting(), "all is decided")
        state = (await client.jetstream().stream_info("edge")).state
        await client.close()
    assert state.messages == 4
    assert region.report().rejected == {"refused_by_forward": 1}
    assert region.report().dead_letters[0]["topic"] == "small/node/telemetry/100/3"
