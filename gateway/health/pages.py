"""The pages that supervisors ask for: is it well, is it ready, what does it do.

    /healthz   200 when the loop and the writer thread answer; 503 with the reason: start it anew
    /readyz    200 when input is taken in, whatever the regions do; 503 with the reason
    /status    everything, JSON: what `gateway status --json` prints

What costs time to make is made four times a second at most, however many ask.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec
from aiohttp import web

from gateway import redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.health.contract import Watched

Made = TypeVar("Made")

MADE_ANEW_S: Final = 0.25


class Kept(Generic[Made]):
    """A value that is made again when it is asked for and older than `MADE_ANEW_S`."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: tuple[float, Made] | None = None

    def get(self) -> Made:
        """Return the value."""
        now = time.monotonic()
        if self._made is None or now - self._made[0] >= MADE_ANEW_S:
            self._made = now, self._make()
        return self._made[1]


def routes(watched: Watched) -> web.RouteTableDef:
    """Return the pages about `watched`."""
    table = web.RouteTableDef()
    status = Kept(lambda: msgspec.json.encode(redaction.masked_all(msgspec.to_builtins(watched.status()))) + b"\n")

    @table.get("/healthz")
    async def healthz(_: web.Request) -> web.Response:
        return _verdict(watched.unwell())

    @table.get("/readyz")
    async def readyz(_: web.Request) -> web.Response:
        return _verdict(watched.unready())

    @table.get("/status")
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=status.get(), content_type="application/json")

    return table


def _verdict(fault: str) -> web.Response:
    return web.Response(status=503 if fault else 200, text=f"{fault or 'ok'}\n")
