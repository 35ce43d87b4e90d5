"""A real HTTPS server that takes what a node posts, holds signatures against their keys, and misbehaves when told to.

`behave` decides about each request once its content is there; `take` how the content is read before that. Both may be
replaced while the server runs. `raw_server` speaks whatever bytes a test writes, after TLS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.transport.http_signatures import Key, Request, SignatureError, Signed, verify

PATH = "/edge"
COVERED = ("@method", "@authority", "@path", "content-type", "content-digest", "idempotency-key")


@dataclass
class Posted:
    """A request as it came; field names are in lower case."""

    method: str
    path: str
    fields: dict[str, str]
    content: bytes
    connection: tuple[str, int]
    signed: Signed | None = None

    @property
    def ids(self) -> list[str]:
        """The ids of the events in it."""
        kind = self.fields["content-type"]
        if kind == "application/cloudevents-batch+json":
            return [event["id"] for event in json.loads(self.content)]
        return [json.loads(self.content)["id"] if kind == "application/cloudevents+json" else self.fields["ce-id"]]


Behaviour = Callable[[Posted, web.Request], Awaitable[web.StreamResponse]]
Taking = Callable[[web.Request], Awaitable[bytes | None]]


async def accept(_: Posted, __: web.Request) -> web.StreamResponse:
    """Answer 204."""
    return web.Response(status=204)


def answer(status: int, text: str = "", **fields: str) -> Behaviour:
    """Answer the same to all."""

    async def behave(_: Posted, __: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={name.replace("_", "-"): fields[name] for name in fields})

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave as each says, one after the other, and then as the last."""
    left = list(behaviours)

    async def behave(posted: Posted, request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(posted, request)

    return behave


async def stall(_: Posted, __: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def reset(_: Posted, request: web.Request) -> web.StreamResponse:
    """Close the connection instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def whole(request: web.Request) -> bytes:
    """Take the content as it comes."""
    return await request.read()


def reset_after(size: int) -> Taking:
    """Close the connection once this much of the content is there."""

    async def take(request: web.Request) -> None:
        taken = 0
        while taken < size:
            taken += len(await request.content.read(size - taken))
        assert request.transport is not None
        request.transport.abort()

    return take


def slowly(piece: int, wait_s: float) -> Taking:
    """Take the content piece by piece with waits between, so that the line fills up."""

    async def take(request: web.Request) -> bytes:
        data = b""
        while more := await request.content.read(piece):
            data += more
            await asyncio.sleep(wait_s)
        return data

    return take


@dataclass
class WebhookServer:
    """The server; `port` is there once it runs. With `keys` it takes only what is signed by one of them."""

    context: ssl.SSLContext
    keys: dict[str, Key] = field(default_factory=dict)
    behave: Behaviour = accept
    take: Taking = whole
    probed: Behaviour = accept
    posted: list[Posted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where to post."""
        return f"https://localhost:{self.port}{PATH}"

    @property
    def connections(self) -> int:
        """How many connections brought something."""
        return len({posted.connection for posted in self.posted})

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[WebhookServer]:
        """Serve on a port of the kernel's choice."""
        runner = web.ServerRunner(web.Server(self._handle), handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=self.context)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fields = {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}
        peer = request.transport.get_extra_info("peername")[:2] if request.transport else ("", 0)
        if request.method != "POST":
            return await self.probed(Posted(request.method, request.path_qs, fields, b"", peer), request)
        content = await self.take(request)
        if content is None:
            return web.Response()
        posted = Posted(request.method, request.path_qs, fields, content, peer)
        if self.keys:
            url = f"https://{fields['host']}{request.path_qs}"
            signed = Request(request.method, url, fields)
            try:
                posted.signed = verify(signed, content, self.keys.get, time.time(), required=COVERED)
            except SignatureError as error:
                self.refused.append(error.fault)
                return web.Response(status=401, text=error.fault)
        self.posted.append(posted)
        return await self.behave(posted, request)


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return the context of a server; with `client_ca` it takes only clients that show a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def raw_server(
    context: ssl.SSLContext, speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]
) -> AsyncIterator[str]:
    """Answer each connection with `speak`, which gets its streams; yield the address to post to."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}{PATH}"
    finally:
        server.close()
        await asyncio.sleep(0)  # what was just accepted begins: nobody would close its socket


def events(count: int, size: int = 40, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield ids and structured events of about this size."""
    for number in range(first, first + count):
        event = {"specversion": "1.0", "id": f"n1/alarm/1/{number}", "source": "/n1", "type": "t", "data": "x" * size}
        yield str(event["id"]), json.dumps(event, separators=(",", ":")).encode()
