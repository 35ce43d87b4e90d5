"""A mirror to an HTTPS webhook: everything once in effect, whatever the server does in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.demo.pki import write_pki
from tests.support.batches import open_batch
from tests.support.mirroring import NODE, Node, region, until
from tests.support.webhook_server import Posted, WebhookServer, accept, answer, in_turn, reset, server_context, stall


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


@pytest.fixture
async def server(pki: Path) -> AsyncIterator[WebhookServer]:
    async with WebhookServer(server_context(pki / "server.pem", pki / "server.key", pki / "ca.pem")).running() as found:
        yield found


def node_of(tmp_path: Path, pki: Path, server: WebhookServer, **options: object) -> Node:
    webhook = schema.Webhook(url=server.url, timeout_ns=10**9, **options.pop("webhook", {}))
    settings = {"transport": "webhook", "acknowledge": "broker", "host": "", "webhook": webhook, **options}
    return Node(tmp_path, region(pki, 0, **settings))


def sequences(posted: list[Posted]) -> list[int]:
    found = [decode(one.content) for one in posted]
    return [one.header.id.sequence for one in found if isinstance(one, DecodedBatch)]


async def test_batches_arrive_once_and_in_order(tmp_path: Path, pki: Path, server: WebhookServer) -> None:
    node = node_of(tmp_path, pki, server)
    async with node.running():
        node.append(50)
        await until(node.has_all, "the server has all")
    assert sequences(server.posted) == list(range(1, 51))
    assert server.posted[0].fields["ce-type"] == "io.edge-gateway.batch.v1"


async def test_whatever_a_server_does_in_between_all_arrives(tmp_path: Path, pki: Path, server: WebhookServer) -> None:
    taken: list[Posted] = []

    async def keep(posted: Posted, request: web.Request) -> web.StreamResponse:
        taken.append(posted)
        return await accept(posted, request)

    faults = (answer(503, Retry_After="1"), reset, stall, answer(429), answer(401), answer(404), answer(500))
    server.behave = in_turn(keep, *(one for fault in faults for one in (fault, keep)))
    node = node_of(tmp_path, pki, server)
    async with node.running():
        node.append(50)
        await until(node.has_all, "the server has all")
    assert sorted(set(sequences(taken))) == list(range(1, 51))


async def test_events_are_posted_as_lists_and_a_bad_one_parks_its_batch(tmp_path, pki, server) -> None:
    taken: list[dict[str, object]] = []

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        events = json.loads(posted.content)
        if any(event["data"] == {"value": 3} for event in events):
            return await answer(422, "three is not liked")(posted, request)
        taken.extend(events)
        return await accept(posted, request)

    server.behave = behave
    node = node_of(tmp_path, pki, server, format="events")
    made = open_batch({"plant/a": ([*range(6)], [{"value": number} for number in range(6)])}, sequence=1)
    node.spool.append(envelope.seal(made, "boot"))
    node.appended["telemetry"] = 1
    async with node.running():
        await until(node.has_all, "the server has all that it takes")
    assert [event["data"]["value"] for event in taken] == [0, 1, 2, 4, 5]
    assert node.mirrors[0].status()["parked"] == 1
    assert taken[0]["id"] == f"{NODE}/telemetry/{made.id.epoch}/1/0"


async def test_a_batch_of_one_bad_event_does_not_hold_up_the_others(tmp_path, pki, server) -> None:
    taken: list[dict[str, object]] = []

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        events = json.loads(posted.content)
        if any(event["data"] == {"value": 3} for event in events):
            return await answer(422, "three is not liked")(posted, request)
        taken.extend(events)
        return await accept(posted, request)

    server.behave = behave
    node = node_of(tmp_path, pki, server, format="events")
    async with node.running():
        node.append(6)
        await until(node.has_all, "the server has all that it takes")
    assert {event["data"]["value"] for event in taken} == {1, 2, 4, 5, 6}
    assert node.mirrors[0].status()["parked"] == 1
    assert taken[0]["id"] == f"{NODE}/telemetry/3/1/0"
