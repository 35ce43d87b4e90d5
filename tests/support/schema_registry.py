"""A schema registry of the tests' own, over HTTPS: the few calls of Confluent's interface that clients make.

Written from the published API reference. Consumers in the tests are Confluent's own, so both sides of it are held
against a client that is not ours.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from google.protobuf import descriptor_pb2

from tests.support.protobuf_classes import descriptor_set

USER, PASSWORD = "press", "secret"


class RegistryOfTests:
    """Numbers begin at 100,001, so that all four bytes matter. `closed` subjects are incompatible with everything."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.port = 0
        self.schemas: list[tuple[str, str]] = []
        self.subjects: dict[str, list[int]] = {}
        self.closed: set[str] = set()
        self.asked: list[str] = []
        self.is_down = False

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RegistryOfTests]:
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/subjects/{subject}/versions", self._register)
        app.router.add_post("/subjects/{subject}", self._look_up)
        app.router.add_get("/schemas/ids/{number}", self._schema)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    def register(self, subject: str, kind: str, text: str) -> int:
        """Give the schema a number, or return the one it has."""
        if (kind, text) not in self.schemas:
            self.schemas.append((kind, text))
        number = 100_001 + self.schemas.index((kind, text))
        if number not in self.subjects.setdefault(subject, []):
            self.subjects[subject].append(number)
        return number

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.is_down:
            return web.json_response({"error_code": 50002, "message": "the store is away"}, status=500)
        expected = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error_code": 401, "message": "User cannot access the resource."}, status=401)
        return await handler(request)

    async def _register(self, request: web.Request) -> web.Response:
        subject, kind, text = await _asked(request)
        if subject in self.closed:
            return web.json_response(
                {"error_code": 409, "message": "Schema being registered is incompatible"}, status=409
            )
        return web.json_response({"id": self.register(subject, kind, text)})

    async def _look_up(self, request: web.Request) -> web.Response:
        subject, kind, text = await _asked(request)
        for number in self.subjects.get(subject, ()):
            if self.schemas[number - 100_001] == (kind, text):
                return web.json_response({"subject": subject, "id": number, "version": 1, "schema": text})
        return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)

    async def _schema(self, request: web.Request) -> web.Response:
        kind, text = self.schemas[int(request.match_info["number"]) - 100_001]
        if kind == "PROTOBUF" and request.query.get("format") == "serialized":
            file = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set(text)).file[-1]
            text = b64encode(file.SerializeToString()).decode()
        return web.json_response({"schemaType": kind, "schema": text})


async def _asked(request: web.Request) -> tuple[str, str, str]:
    content = await request.json()
    return request.match_info["subject"], content.get("schemaType", "AVRO"), content["schema"]
