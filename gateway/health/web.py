"""One small HTTP server for this machine: aiohttp's, bounded, with the route tables it is given.

Nobody who connects may hold the loop or memory. Request line and fields are short, contents small. There are
`CONNECTIONS_MAX` connections; one more takes the place of the one that was silent longest. A connection on which
nothing began for `SILENT_S` is cut, whether its client does not ask, asks byte by byte, or does not read the answer.

Only this machine is served, so a Host that is not this machine's means that a web page elsewhere has made a browser
here ask (DNS rebinding): it is refused. Over a Unix socket any Host will do.

A port that is taken, or a socket that cannot be made, costs the endpoint and nothing else: that is said, and tried
again each `RETRY_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from gateway.health.listen import address, host_of, is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp.web_protocol import RequestHandler

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 32
SILENT_S: Final = 20.0
SWEEP_S: Final = 1.0
RETRY_S: Final = 10.0
CLOSE_S: Final = 0.5
"""What requests under way get when the server ends."""

FIELD_BYTES_MAX: Final = 4096
FIELDS_MAX: Final = 64
CONTENT_BYTES_MAX: Final = 64 * 1024
WRITE_BYTES_MAX: Final = 64 * 1024
"""Of an answer that a client does not read, kept beyond the piece that is being written."""

_FIELDS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "edge-gateway"}


class WebServer:
    """Serves `tables` on `listen`, a valid one. Use as an async context manager.

    `name` says in the log what it is. `tls` lets in those with a certificate alone; then any address and Host will do.
    """

    def __init__(
        self,
        listen: str,
        tables: Iterable[web.RouteTableDef],
        *,
        name: str = "health",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._name = name
        self._tls = tls
        self._address = address(listen, is_guarded=tls is not None)
        app = web.Application(middlewares=[self._guard], client_max_size=CONTENT_BYTES_MAX)
        for table in tables:
            app.add_routes(table)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=CLOSE_S,
            keepalive_timeout=SILENT_S,
            lingering_time=1.0,
            max_line_size=FIELD_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=FIELDS_MAX,
        )
        self._touched: dict[RequestHandler, float] = {}
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._fault = ""
        self.counts = {"requests": 0, "cut": 0}

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        self._watch_ends()
        if not await self._listens():
            self._tasks.append(asyncio.create_task(self._retry(), name=f"{self._name} retry"))
        self._tasks.append(asyncio.create_task(self._sweep(), name=f"{self._name} sweep"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            if self._address.path:
                _remove(self._address.path)
        await self._runner.cleanup()

    def status(self) -> dict[str, object]:
        """Return where it listens and why not, and counts."""
        return {"listens": self._where(), "fault": self._fault, "connections": len(self._touched), **self.counts}

    def _where(self) -> str:
        if self._server is None:
            return ""
        if self._address.path:
            return self._address.path
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if await self._listens():
                return

    async def _listens(self) -> bool:
        loop = asyncio.get_running_loop()
        host, port, path = self._address
        try:
            if path:
                self._server = await loop.create_unix_server(self._connection, sock=_bound(path), ssl=self._tls)
            else:
                self._server = await loop.create_server(self._connection, host, port, ssl=self._tls)
        except OSError as error:
            fault = f"{path or f'{host}:{port}'} cannot be listened on: {error.strerror or error}"
            if fault != self._fault:
                log.warning("no %s endpoint, tried again each %.0f s: %s", self._name, RETRY_S, fault)
            self._fault = fault
            return False
        self._fault = ""
        log.info("%s endpoint on %s", self._name, self._where())
        return True

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        if len(self._touched) >= CONNECTIONS_MAX:
            self._cut(min(self._touched, key=self._touched.__getitem__))
        protocol = server()
        self._touched[protocol] = asyncio.get_running_loop().time()
        return protocol

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for protocol, at in list(self._touched.items()):
                if loop.time() - at >= SILENT_S:
                    self._cut(protocol)

    def _watch_ends(self) -> None:
        """Hear of each connection that is made or ends: aiohttp tells its server, and nobody else.

        Many may be accepted at once before the first of them is made: one that has lost its place by then is cut.
        """
        server = self._runner.server
        assert server is not None
        made, lost = server.connection_made, server.connection_lost

        def admit(handler: RequestHandler, transport: asyncio.Transport) -> None:
            made(handler, transport)
            if handler not in self._touched:
                self.counts["cut"] += 1
                transport.abort()

        def forget(handler: RequestHandler, error: BaseException | None = None) -> None:
            self._touched.pop(handler, None)
            lost(handler, error)

        server.connection_made = admit  # type: ignore[method-assign]
        server.connection_lost = forget  # type: ignore[method-assign, assignment]

    def _cut(self, protocol: RequestHandler) -> None:
        """Cut a connection with whatever its client has not read."""
        del self._touched[protocol]
        transport = protocol.transport
        if isinstance(transport, asyncio.Transport):
            self.counts["cut"] += 1
            transport.abort()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.counts["requests"] += 1
        protocol = request.protocol
        if protocol in self._touched:
            self._touched[protocol] = asyncio.get_running_loop().time()
        if request.transport is not None:
            request.transport.set_write_buffer_limits(WRITE_BYTES_MAX)
        if not (self._address.path or self._tls) and not is_loopback(host_of(request.host)):
            return web.Response(
                status=421, text="this server is asked by names of this machine only\n", headers=_FIELDS
            )
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(_FIELDS)
            raise
        if not response.prepared:
            for name, value in _FIELDS.items():
                response.headers.setdefault(name, value)
        return response


def _bound(path: str) -> socket.socket:
    """Return a socket on `path` that only our user may use. Raises `OSError`."""
    _make_way(Path(path))
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(made.fileno(), 0o600)  # before it has a name, so that it never has another mode
        made.bind(path)
    except OSError:
        made.close()
        raise
    return made


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    """Remove the socket that a killed process left. Raises `OSError` when something else is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(0, "something that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise FileExistsError(0, "another process listens there")
