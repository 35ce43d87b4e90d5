"""One connection to an HTTPS server, kept alive, for one request after the other; by aiohttp, HTTP/1.1.

A request has failed when, for as long as the bound says, neither the peer's kernel took more of it nor an answer came:
on a slow line a request may be minutes under way, in which the server has nothing to say. An answer's content is read
up to a bound, and the connection closed when there is more. Redirects are not followed, cookies not kept, contents not
decompressed, proxies of the environment not used.

A server may close a connection that it kept alive at the moment it is used again. So what fails without an answer on a
connection that had served before is sent again, once, on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from gateway.errors import LinkError
from gateway.transport.counted_sockets import CountedSockets
from gateway.transport.tls import fault_of
from gateway.transport.webhook_answers import Answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

CONNECT_S: Final = 10.0
"""Longest wait for TCP and TLS."""
CLOSE_S: Final = 1.0
CONTENT_S: Final = 5.0
"""Longest wait for an answer's content once its status is there."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""Most of an answer's content that is read."""
FIELD_BYTES_MAX: Final = 8190
"""Longest line or field of an answer."""

_CLOSED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
"""What is raised when the peer has closed."""
_ERRORS: Final = (aiohttp.ClientError, OSError)
_SKIPPED: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class HttpsLine:
    """The connection; it is made when the first request needs it, and again when it is gone."""

    def __init__(self, context: ssl.SSLContext, timeout_s: float, kept_s: float) -> None:
        self._timeout_s = timeout_s
        self._sockets = CountedSockets()
        self._bound: asyncio.Timeout | None = None
        self._taken = 0
        self._is_closed = False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=1, ssl=context, keepalive_timeout=kept_s, socket_factory=self._sockets.make
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_SKIPPED,
            max_line_size=FIELD_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
        )

    async def exchange(self, method: str, url: str, fields: Mapping[str, str], content: bytes = b"") -> Answer:
        """Send a request and return the answer. Raises `LinkError`."""
        self._check_open()
        made_before, is_done = self._sockets.made, False
        bound = self._bound = asyncio.timeout(self._timeout_s)
        try:
            async with bound:
                try:
                    answer = await self._once(method, url, fields, content)
                except _CLOSED:
                    is_new = made_before == 0 or self._sockets.made > made_before
                    if is_new:
                        raise
                    self._check_open()
                    answer = await self._once(method, url, fields, content)
            is_done = True
        except _ERRORS as error:  # TimeoutError is an OSError
            if bound.expired():
                raise LinkError(f"no answer from the server within {self._timeout_s:g} s") from error
            raise LinkError(f"no answer from the server: {fault_of(error)}") from error
        finally:
            self._bound = None
            if not is_done:
                self._sockets.abort()
        return answer

    def look(self) -> None:
        """Give a request on its way more time when the peer has taken more of it; to be called often."""
        taken = self._sockets.look()
        if taken > self._taken and self._bound is not None and not self._bound.expired():
            self._bound.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
        self._taken = taken

    def traffic(self) -> int:
        """Return the bytes on the line so far, both ways, overhead included."""
        return self._sockets.traffic()

    async def close(self) -> None:
        """Drop the connection at once, with what is unsent."""
        self._is_closed = True
        self._sockets.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._session.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise LinkError("the link was closed")

    async def _once(self, method: str, url: str, fields: Mapping[str, str], content: bytes) -> Answer:
        # From a file aiohttp writes piece by piece, as the line takes it.
        body = io.BytesIO(content) if content else None
        async with self._session.request(
            method, URL(url, encoded=True), headers=fields, data=body, allow_redirects=False
        ) as response:
            data = bytearray()
            # The status is the answer: a content that breaks off or does not end takes nothing away from it.
            with contextlib.suppress(*_ERRORS):
                async with asyncio.timeout(CONTENT_S):
                    while len(data) <= ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                        data += more
            if not response.content.at_eof():
                response.close()
            found = response.headers
            return Answer(
                response.status, found.get("Retry-After", ""), found.get("Location", ""), bytes(data[:ANSWER_BYTES_MAX])
            )
