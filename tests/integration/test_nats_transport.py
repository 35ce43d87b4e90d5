"""A mirror to NATS JetStream: stored once by identity, in order, with attributes; and what a server can do to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.transport.tls import client_context
from tests.support.mirroring import NODE, Node, region, until
from tests.support.nats import NatsServer
from tests.support.site import pems, region_tls

SECOND_NS = 10**9


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def node_of(tmp_path: Path, pki: Path, server: NatsServer, **options: object) -> Node:
    settings = {"transport": "nats", "acknowledge": "broker", "nats": schema.Nats(stream="edge"), **options}
    return Node(tmp_path, region(pki, server.port, **settings))


@asynccontextmanager
async def jetstream(pki: Path, port: int) -> AsyncIterator[JetStreamContext]:
    files = pems(pki, "receiver")
    context = client_context(files["ca"], files["certificate"], files["key"])
    client = await nats.connect(f"tls://localhost:{port}", tls=context, tls_hostname="localhost")
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def stored(stream: JetStreamContext) -> list[nats.js.api.RawStreamMsg]:
    state = (await stream.stream_info("edge")).state
    return [await stream.get_msg("edge", seq=number) for number in range(state.first_seq, state.last_seq + 1)]


def fault(node: Node) -> str:
    return str(node.mirrors[0].status()["last_fault"])


async def test_batches_are_stored_once_in_order_with_their_attributes(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
            node = node_of(tmp_path, pki, server)
            async with node.running():
                node.append(50)
                await until(node.has_all, "the stream has all")
            found = await stored(stream)
    batches = [decode(message.data) for message in found if message.data]
    assert all(isinstance(batch, DecodedBatch) for batch in batches)
    assert [batch.header.id.sequence for batch in batches if isinstance(batch, DecodedBatch)] == list(range(1, 51))
    assert found[0].subject == f"edge.{NODE}.telemetry"
    headers = found[0].headers or {}
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == f"{NODE}/telemetry/3/1"
    assert headers["ce-type"] == "io.edge-gateway.batch.v1"


async def test_events_are_stored_one_by_one(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
            node = node_of(tmp_path, pki, server, format="events", events=schema.Events(mode="binary"))
            async with node.running():
                node.append(5)
                await until(node.has_all, "the stream has all")
            found = await stored(stream)
    assert [json.loads(message.data or b"") for message in found] == [{"value": number} for number in range(1, 6)]
    assert (found[0].headers or {})["ce-subject"] == "plant/a"


async def test_a_server_that_is_killed_again_and_again_has_each_batch_once(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        node = node_of(tmp_path, pki, server)
        async with node.running():
            for _ in range(3):
                node.append(40)
                await until(lambda: node.spool.cursor("centre", "telemetry") > node.appended["telemetry"] - 30, "some")
                server.kill()
                node.append(10)
                server.start()
            await until(node.has_all, "the stream has all")
        async with jetstream(pki, server.port) as stream:
            identities = [(message.headers or {})["Nats-Msg-Id"] for message in await stored(stream)]
    assert len(identities) == len(set(identities)) == 150


async def test_a_stream_that_is_not_there_is_named_and_found_when_it_is_made(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        node = node_of(tmp_path, pki, server)
        async with node.running():
            node.append(3)
            await until(lambda: "the stream 'edge' cannot be used" in fault(node), "it is named")
            async with jetstream(pki, server.port) as stream:
                await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
                await until(node.has_all, "the stream has all")


async def test_a_subject_that_no_stream_takes_is_named(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        node = node_of(tmp_path, pki, server, nats=schema.Nats(subject="nowhere.{lane}"))
        async with node.running():
            node.append(1)
            await until(lambda: "no stream takes the subject" in fault(node), "it is named")
            assert not node.has_all()


@pytest.mark.parametrize("by", ["server", "stream"])
async def test_what_is_too_large_is_parked_and_the_others_are_stored(tmp_path: Path, pki: Path, by: str) -> None:
    limit = 20_000
    with NatsServer(tmp_path / "nats", max_payload=limit if by == "server" else 1 << 20, **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            bound = limit if by == "stream" else -1
            await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"], max_msg_size=bound))
            node = node_of(tmp_path, pki, server)
            async with node.running():
                node.append(2)
                node.append(1, random.Random(1).randbytes(2 * limit).hex())
                node.append(2)
                await until(node.has_all, "the stream has what it takes")
                assert node.mirrors[0].status()["parked"] == 1
            kinds = [(message.headers or {})["ce-type"] for message in await stored(stream)]
    assert kinds.count("io.edge-gateway.batch.v1") == 4
    assert kinds.count("io.edge-gateway.gap.v1") == 1


async def test_a_full_stream_loses_nothing_and_is_named(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            full = StreamConfig(name="edge", subjects=["edge.>"], max_msgs=5, discard=nats.js.api.DiscardPolicy.NEW)
            await stream.add_stream(full)
            node = node_of(tmp_path, pki, server)
            async with node.running():
                node.append(10)
                await until(lambda: "maximum messages" in fault(node), "it is named")
                assert node.spool.cursor("centre", "telemetry") == 5
                full.max_msgs = 100
                await stream.update_stream(full)
                await until(node.has_all, "the stream has all")


async def test_a_certificate_that_the_server_does_not_trust_is_named(tmp_path: Path, pki: Path) -> None:
    write_pki(tmp_path / "foreign")
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        for name in ("node.pem", "node.key"):
            (pki / name).write_bytes((tmp_path / "foreign" / name).read_bytes())
        node = node_of(tmp_path, pki, server)
        async with node.running():
            node.append(1)
            await until(lambda: fault(node), "it is reported")
            await asyncio.sleep(0.2)
            assert not node.has_all()


async def test_a_link_leaves_no_task_behind(tmp_path: Path, pki: Path) -> None:
    with NatsServer(tmp_path / "nats", **region_tls(pki)) as server:
        async with jetstream(pki, server.port) as stream:
            await stream.add_stream(StreamConfig(name="edge", subjects=["edge.>"]))
        before = len(asyncio.all_tasks())
        node = node_of(tmp_path, pki, server)
        async with node.running():
            node.append(3)
            await until(node.has_all, "the stream has all")
            server.kill()
            await until(lambda: not node.mirrors[0].is_connected, "the link has ended")
            server.start()
            node.append(3)
            await until(node.has_all, "the stream has all")
        await until(lambda: len(asyncio.all_tasks()) <= before, "no task is left")
