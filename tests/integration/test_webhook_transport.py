"""Batches and events over real TLS to a real HTTP server that checks, refuses, stalls, resets and lies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import CredentialError, LinkError
from gateway.transport.contract import Link, Metered, Transport
from tests.support.authority import Authority
from tests.support.webhook_posting import batch, structured, transport_to, until
from tests.support.webhook_server import (
    Posted,
    WebhookServer,
    accept,
    answer,
    in_turn,
    reset,
    reset_after,
    server_context,
    slowly,
    stall,
    whole,
)

_NS = 10**9


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.issue("server", "localhost")
    made.issue("other", "elsewhere.example.org")
    made.issue("node")
    return made


@pytest.fixture
async def server(pki: Authority) -> AsyncIterator[WebhookServer]:
    files = pki.files("server")
    async with WebhookServer(server_context(files["certificate"], files["key"])).running() as found:
        yield found


def refuse(*bad: str, status: int = 422):
    """Refuse each request that holds one of these events."""

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        found = sorted(set(bad) & set(posted.ids))
        return await (answer(status, f"bad: {found[0]}") if found else accept)(posted, request)

    return behave


async def until_it_fails(link: Link) -> None:
    async for _ in link.words():
        raise AssertionError


async def test_a_batch_arrives_in_binary_mode_as_it_was(server: WebhookServer, pki: Authority) -> None:
    transport = transport_to(server.url.replace("edge", "edge/{node}/{lane}?a=%2F"), pki)
    async with transport.connected() as link:
        assert isinstance(link, Metered)
        assert await link.send([batch(7)]) == []
    (posted,) = server.posted
    assert posted.path == "/edge/n1/alarm?a=%2F"
    assert posted.content == b"\x00\xffbatch"
    assert posted.fields == {
        "host": f"localhost:{server.port}",
        "content-type": "a/b",
        "content-length": "7",
        "idempotency-key": '"n1/alarm/1/7"',
        "ce-specversion": "1.0",
        "ce-id": "n1/alarm/1/7",
        "ce-source": "/edge/n1",
    }


async def test_events_are_joined_and_kept_in_order_on_one_connection(server: WebhookServer, pki: Authority) -> None:
    async with transport_to(server.url, pki, events_max=100).connected() as link:
        assert await link.send(structured(250)) == []
        assert await link.send(structured(10, first=250)) == []
    assert [len(posted.ids) for posted in server.posted] == [100, 100, 50, 10]
    assert [name for posted in server.posted for name in posted.ids] == [one.id for one in structured(260)]
    assert server.connections == 1


async def test_sending_again_makes_the_same_requests_with_the_same_keys(server: WebhookServer, pki: Authority) -> None:
    transport = transport_to(server.url, pki, events_max=64)
    for _ in range(2):
        async with transport.connected() as link:
            await link.send(structured(150))
    keys = [posted.fields["idempotency-key"] for posted in server.posted]
    assert keys[:3] == keys[3:]
    assert len(set(keys)) == 3


async def test_a_refused_event_is_found_and_the_others_arrive_once(server: WebhookServer, pki: Authority) -> None:
    server.behave = refuse("n1/alarm/1/17", "n1/alarm/1/18", "n1/alarm/1/90")
    taken: list[str] = []

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        said = await refuse("n1/alarm/1/17", "n1/alarm/1/18", "n1/alarm/1/90")(posted, request)
        taken.extend(posted.ids if said.status < 300 else [])
        return said

    server.behave = behave
    async with transport_to(server.url, pki, events_max=50).connected() as link:
        refusals = await link.send(structured(100))
    assert [(one.position, one.is_final) for one in refusals] == [(17, True), (18, True), (90, True)]
    assert refusals[0].reason == "the server answers 422 Unprocessable Entity: bad: n1/alarm/1/17"
    assert taken == [one.id for number, one in enumerate(structured(100)) if number not in (17, 18, 90)]


async def test_a_server_that_refuses_everything_says_nothing_about_a_single_event(server, pki) -> None:
    server.behave = answer(415)
    async with transport_to(server.url, pki).connected() as link:
        refusals = await link.send(structured(5))
    assert [(one.position, one.is_final) for one in refusals] == [(number, False) for number in range(5)]


async def test_a_server_with_a_lower_limit_teaches_it_once(server: WebhookServer, pki: Authority) -> None:
    limit = 20_000

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        return await (answer(413) if len(posted.content) > limit else accept)(posted, request)

    server.behave = behave
    async with transport_to(server.url, pki, connections=1).connected() as link:
        assert await link.send(structured(400, 100)) == []
        server.posted.clear()
        assert await link.send(structured(400, 100, 400)) == []
        assert max(len(posted.content) for posted in server.posted) <= limit
        (refusal,) = await link.send(structured(1, limit))
        assert refusal.is_final


@pytest.mark.parametrize(
    ("behave", "error", "fault"),
    [
        (answer(401), CredentialError, "401 Unauthorized"),
        (answer(403), CredentialError, "403 Forbidden"),
        (answer(404), LinkError, r"check region\.webhook\.url"),
        (answer(308, Location="https://b.example/"), LinkError, "to https://b.example/"),
        (answer(500, "out of order"), LinkError, "500 Internal Server Error: out of order"),
        (reset, LinkError, "no answer from the server"),
        (stall, LinkError, "no answer from the server within 1 s"),
    ],
)
async def test_what_is_not_about_the_content_ends_the_link(server, pki, behave, error, fault) -> None:
    server.behave = behave
    async with transport_to(server.url, pki, timeout_ns=_NS).connected() as link:
        with pytest.raises(error, match=fault):
            await link.send([batch(1)])
        with pytest.raises(error, match=fault):
            await link.send([batch(2)])
        with pytest.raises(error, match=fault):
            await link.ready()
        with pytest.raises(error, match=fault):
            await until_it_fails(link)
    assert {posted.fields["ce-id"] for posted in server.posted} == {"n1/alarm/1/1"}


async def test_the_wait_that_a_server_asks_for_is_told_and_kept(server: WebhookServer, pki: Authority) -> None:
    server.behave = answer(429, Retry_After="2")
    transport = transport_to(server.url, pki)
    async with transport.connected() as link:
        asked_at = time.monotonic()
        with pytest.raises(LinkError, match="429 Too Many Requests") as caught:
            await link.send([batch(1)])
    assert caught.value.facts["retry_after_s"] == 2.0
    with pytest.raises(LinkError, match="429 Too Many Requests") as caught:
        await connect(transport)
    assert 0 < caught.value.facts["retry_after_s"] <= 2.0
    while True:
        try:
            await connect(transport)
            break
        except LinkError as error:
            await asyncio.sleep(error.facts["retry_after_s"])
    assert time.monotonic() - asked_at > 2.0


async def connect(transport: Transport) -> None:
    async with transport.connected():
        pass


async def test_a_server_that_closes_what_it_kept_alive_is_asked_again_on_a_new_one(server, pki) -> None:
    server.behave = in_turn(accept, reset, accept)
    async with transport_to(server.url, pki).connected() as link:
        assert await link.send([batch(1)]) == []
        assert await link.send([batch(2)]) == []
    assert [posted.fields["ce-id"][-1] for posted in server.posted] == ["1", "2", "2"]
    assert server.connections == 2


async def test_a_reset_in_the_middle_of_a_request_is_a_failed_link(server: WebhookServer, pki: Authority) -> None:
    async with transport_to(server.url, pki).connected() as link:
        server.take = reset_after(100_000)
        with pytest.raises(LinkError, match="no answer from the server"):
            await link.send([batch(1, bytes(1 << 20))])
    assert server.posted == []


async def test_a_slow_line_is_waited_for_as_long_as_it_takes_bytes(server: WebhookServer, pki: Authority) -> None:
    server.take = slowly(512 * 1024, 0.1)
    payload = bytes(12 << 20)
    began = time.monotonic()
    async with transport_to(server.url, pki, timeout_ns=_NS).connected() as link:
        assert await link.send([batch(1, payload)]) == []
    assert time.monotonic() - began > 1.5
    assert server.posted[0].content == payload


def open_sockets(port: int) -> int:
    """Return how many of this process's sockets are connected to this port, by the kernel's own table."""
    remote = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(remote) and row[9] != "0" for row in rows)


async def test_what_is_cancelled_is_dropped_with_what_is_unsent_and_the_link_goes_on(server, pki) -> None:
    server.take = slowly(1, 60)
    async with transport_to(server.url, pki).connected() as link:
        sending = asyncio.create_task(link.send([batch(1, bytes(16 << 20))]))
        await until(lambda: link.traffic() > 1 << 20)
        sending.cancel()
        await asyncio.wait([sending])
        await until(lambda: open_sockets(server.port) == 0)
        server.take = whole
        assert await link.send([batch(2)]) == []


async def test_leaving_does_not_wait_for_a_server_that_takes_nothing(server: WebhookServer, pki: Authority) -> None:
    server.take = slowly(1, 60)
    async with asyncio.timeout(8):  # the server would take months
        async with transport_to(server.url, pki).connected() as link:
            sending = asyncio.create_task(link.send([batch(1, bytes(16 << 20))]))
            await until(lambda: link.traffic() > 1 << 20)
        with pytest.raises(LinkError):
            await sending
        await until(lambda: open_sockets(server.port) == 0)


async def test_messages_of_one_key_arrive_in_the_order_of_the_calls(server: WebhookServer, pki: Authority) -> None:
    async with transport_to(server.url, pki).connected() as link:
        await asyncio.gather(*(link.send([batch(number)]) for number in range(30)))
    assert [posted.fields["ce-id"] for posted in server.posted] == [batch(number).id for number in range(30)]
    assert server.connections == 1


async def test_keys_are_spread_over_the_connections_and_refusals_find_their_places(server, pki) -> None:
    server.behave = refuse("n1/alarm/1/3", "n1/alarm/1/40")
    messages = [one._replace(key=f"series-{number % 8}") for number, one in enumerate(structured(60))]
    async with transport_to(server.url, pki).connected() as link:
        refusals = await link.send(messages)
    assert [refusal.position for refusal in refusals] == [3, 40]
    assert server.connections > 1


async def test_without_order_all_connections_are_used_at_once(server: WebhookServer, pki: Authority) -> None:
    waiting: list[str] = []
    all_there = asyncio.Event()

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        waiting.extend(posted.ids)
        if len(waiting) == 3:
            all_there.set()
        await all_there.wait()
        return await accept(posted, request)

    server.behave = behave
    transport = transport_to(server.url, pki, connections=3, in_order=False)
    async with transport.connected() as link, asyncio.TaskGroup() as group:
        for number in range(3):
            await link.ready()
            group.create_task(link.send([batch(number)]))
            await asyncio.sleep(0)
        ready = group.create_task(link.ready())
        await asyncio.sleep(0)
        assert not ready.done()


async def test_in_order_nothing_is_ready_while_something_is_on_its_way(server: WebhookServer, pki: Authority) -> None:
    go = asyncio.Event()

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        await go.wait()
        return await accept(posted, request)

    server.behave = behave
    async with transport_to(server.url, pki).connected() as link, asyncio.TaskGroup() as group:
        await link.ready()
        group.create_task(link.send([batch(1)]))
        await asyncio.sleep(0)
        ready = group.create_task(link.ready())
        await until(lambda: bool(server.posted))
        assert not ready.done()
        go.set()


async def test_an_idle_link_is_probed_and_ends_with_its_server(server: WebhookServer, pki: Authority) -> None:
    async with transport_to(server.url, pki, keep_alive_s=0.1).connected() as link:
        await link.probe()
        server.probed = answer(503, Retry_After="5")
        with pytest.raises(LinkError, match="503 Service Unavailable") as caught:
            await until_it_fails(link)
    assert caught.value.facts["retry_after_s"] == 5.0


@pytest.mark.parametrize("status", [200, 204, 401, 404, 405, 500, 501])
async def test_a_server_need_not_like_a_probe(server: WebhookServer, pki: Authority, status) -> None:
    server.probed = answer(status)
    async with transport_to(server.url, pki).connected() as link:
        assert await link.send([batch(1)]) == []


def pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
async def test_signatures_hold_and_a_renewed_key_is_used_on_the_same_link(server, pki, tmp_path, algorithm) -> None:
    keys = [Ed25519PrivateKey.generate() if algorithm == "ed25519" else bytes([number] * 32) for number in range(2)]
    path = tmp_path / "key"

    def write(key: Ed25519PrivateKey | bytes) -> None:
        (tmp_path / "new").write_bytes(key if isinstance(key, bytes) else pem(key))
        (tmp_path / "new").rename(path)

    write(keys[0])
    server.keys = {"edge-1": keys[0]}
    options = {"signature": algorithm, "key_file": str(path), "key_id": "edge-1", "signature_nonce": True}
    async with transport_to(server.url + "?a=b", pki, **options).connected() as link:
        assert await link.send([batch(1, bytes(300_000))]) == []
        assert await link.send(structured(100)) == []
        server.keys = {"edge-1": keys[1]}
        write(keys[1])
        assert await link.send([batch(2)]) == []
        server.keys = {"edge-1": b"another key of some length"}
        with pytest.raises(CredentialError, match="401 Unauthorized"):
            await link.send([batch(3)])
    nonces = [posted.signed.parameters.nonce for posted in server.posted]
    assert len(set(nonces)) == 3
    assert "ce-source" in server.posted[0].signed.components
    assert len(server.refused) == 1


async def test_a_token_and_a_secret_are_sent_and_read_again_when_they_change(server, pki, tmp_path) -> None:
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "secret").write_text("key1\n")
    options = {
        "token_file": str(tmp_path / "token"),
        "secret_header": "aeg-sas-key",
        "secret_file": str(tmp_path / "secret"),
    }
    async with transport_to(server.url, pki, **options).connected() as link:
        await link.send([batch(1)])
        (tmp_path / "token").write_text("two again\n")
        await link.send([batch(2)])
    sent = [(posted.fields["authorization"], posted.fields["aeg-sas-key"]) for posted in server.posted]
    assert sent == [("Bearer one", "key1"), ("Bearer two again", "key1")]


async def test_a_client_certificate_is_shown_where_the_server_wants_one(pki: Authority) -> None:
    files = pki.files("server")
    context = server_context(files["certificate"], files["key"], files["ca"])
    async with WebhookServer(context).running() as server:
        async with transport_to(server.url, pki, node=True).connected() as link:
            assert await link.send([batch(1)]) == []
        with pytest.raises(LinkError):
            await connect(transport_to(server.url, pki))


async def test_a_server_of_another_name_or_another_authority_is_not_spoken_to(pki: Authority, tmp_path: Path) -> None:
    for files, fault in (
        (pki.files("other"), "not valid for 'localhost'"),
        (foreign(tmp_path), "the server's certificate is refused: "),
    ):
        async with WebhookServer(server_context(files["certificate"], files["key"])).running() as server:
            with pytest.raises(LinkError, match=fault):
                await connect(transport_to(server.url, pki))


def foreign(folder: Path) -> dict[str, Path]:
    made = Authority(folder)
    made.issue("server", "localhost")
    return made.files("server")


async def test_a_server_that_is_not_there_is_a_failed_link(pki: Authority) -> None:
    with pytest.raises(LinkError, match="no answer from the server"):
        await connect(transport_to("https://localhost:1/", pki))


async def test_what_is_posted_is_valid_json_event_by_event(server: WebhookServer, pki: Authority) -> None:
    async with transport_to(server.url, pki, events_max=1).connected() as link:
        await link.send(structured(3))
    assert [posted.fields["content-type"] for posted in server.posted] == ["application/cloudevents+json"] * 3
    assert [json.loads(posted.content)["id"] for posted in server.posted] == [one.id for one in structured(3)]
