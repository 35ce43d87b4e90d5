"""The status of a running daemon over a Unix socket: connect, read one JSON object, done.

The socket is made with mode 0600 of the daemon's user; a stale one of a killed daemon is replaced. On a disk that takes
no socket the daemon runs without one, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from gateway import redaction
from gateway.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_WAIT_S = 5.0


class StatusEndpoint:
    """Serves `status()` as JSON. Use as an async context manager."""

    def __init__(self, path: Path, status: Callable[[], dict[str, object]]) -> None:
        self._path = path
        self._status = status
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._answer, self._path)
            self._path.chmod(0o600)
        except OSError as error:
            log.warning("nobody can ask for the status, %s cannot be made: %s", self._path, error.strerror)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(msgspec.json.encode(redaction.masked_all(msgspec.to_builtins(self._status()))) + b"\n")
            async with asyncio.timeout(_WAIT_S):
                await writer.drain()
        writer.close()


def ask(path: Path) -> dict[str, Any]:
    """Return the status of the daemon that listens on `path`; raise `LinkError` when none does."""
    parts = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_WAIT_S)
            connection.connect(str(path))
            while part := connection.recv(1 << 16):
                parts.append(part)
    except OSError as error:
        raise LinkError(
            f"no gateway answers on {path}: {error.strerror or error}",
            hint="is `gateway run` running with this configuration, and are you its user?",
        ) from error
    try:
        return cast("dict[str, Any]", json.loads(b"".join(parts)))
    except ValueError as error:
        raise LinkError(f"the gateway on {path} broke off its answer") from error
