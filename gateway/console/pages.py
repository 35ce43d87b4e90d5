"""The routes of the console: files of the page, documents, actions. Each answer carries the headers of `admission`."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from gateway.audit.trail import record_security
from gateway.console import assets
from gateway.console.actions import Actions, key_of, keys_of
from gateway.console.admission import HEADERS, Doorman, Refused, actor_of, may_look, why_read_only
from gateway.console.documents import Documents
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.console.contract import Desk

    Handler = Callable[[web.Request], Awaitable[web.Response]]


class Pages:
    """Everything that is answered about one daemon."""

    def __init__(self, desk: Desk) -> None:
        assert desk.config.node is not None
        self._desk = desk
        self._token_file = desk.config.console.token_file
        self._documents = Documents(desk, Path(desk.config.node.state_folder))
        self._actions = Actions(desk, self._documents)
        self._doorman = Doorman(self._token_file, time.monotonic)
        self._assets = assets.read()

    def close(self) -> None:
        """Let go of threads."""
        self._documents.close()
        self._actions.close()

    def routes(self) -> web.RouteTableDef:
        """Return the table of routes."""
        table = web.RouteTableDef()
        for name in self._assets:
            path = "/" if name == "index.html" else f"/{name}"
            table.get(path)(_guarded(self._asset))
        table.get("/now")(_guarded(self._now))
        table.get("/series")(_guarded(self._series))
        table.get("/quarantine")(_guarded(self._quarantine))
        table.get("/quarantine/{key}")(_guarded(self._message))
        table.get("/configuration")(_guarded(self._configuration))
        table.post("/actions/{name:redrive|purge|reload}")(_guarded(self._act))
        return table

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets[request.path.lstrip("/") or "index.html"]
        return web.Response(body=asset.data, content_type=asset.content_type, charset="utf-8")

    async def _now(self, request: web.Request) -> web.Response:
        why = why_read_only(request, self._token_file)
        picture = await self._documents.now()
        return _json({"picture": picture, "time_ms": time.time_ns() // 1_000_000, "read_only": why})

    async def _series(self, request: web.Request) -> web.Response:
        return _json(self._documents.series(request.query.get("words", "")))

    async def _quarantine(self, request: web.Request) -> web.Response:
        return _json(await self._documents.quarantine(request.query.get("reason", "")))

    async def _message(self, request: web.Request) -> web.Response:
        try:
            key = key_of(request.match_info["key"])
        except ValueError as error:
            raise Refused(400, str(error)) from error
        found = await self._documents.message(key)
        if found is None:
            raise Refused(404, "this message is not in quarantine any more")
        return _json(found)

    async def _configuration(self, _: web.Request) -> web.Response:
        return _json(self._documents.configuration())

    async def _act(self, request: web.Request) -> web.Response:
        who = actor_of(request)
        try:
            self._doorman.may_change(request)
        except Refused as refused:
            if refused.status == HTTPStatus.UNAUTHORIZED:
                record_security("console.token.refused", who)
            raise
        act = {"redrive": self._actions.redrive, "purge": self._actions.purge, "reload": self._actions.reload}
        try:
            keys = keys_of(json.loads(await request.text() or "{}"))
        except (ValueError, RecursionError) as error:
            raise Refused(400, str(error)) from error
        return _json(await act[request.match_info["name"]](keys, who))


def _guarded(handler: Handler) -> Handler:
    """Let in who may look, and turn what is refused or fails into a sentence."""

    async def answer(request: web.Request) -> web.Response:
        try:
            may_look(request)
            response = await handler(request)
        except Refused as refused:
            response = _json({"error": refused.sentence}, refused.status)
        except GatewayError as error:
            response = _json({"error": error.fault}, 503)
        response.headers.update(HEADERS)
        return response

    return answer


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json", status=status)
