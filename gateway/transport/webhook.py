"""A region behind HTTPS: batches in CloudEvents binary mode, events as structured ones, joined to lists.

A request that the server answers with 2xx is acknowledged, all of it. What the other answers mean is in
`webhook_answers`, how messages share a request and how a refused one is found in `webhook_requests`.

There are `connections` lines. In order, all messages of a key go by one of them, one request after the other, in the
order of the calls. Otherwise a call takes the line with the least to do. A call's messages share requests with each
other only: so the same messages make the same requests each time, and a receiver that remembers idempotency keys takes
none twice.

HTTP has no link that could fail by itself. So the link asks the server (`probe`) at its beginning, and whenever nothing
was answered for `keep_alive`: any answer will do that is no error of the server. It fails with the first request that
is neither answered nor refused for its content. After an answer with Retry-After no link is made before that time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError, LinkError
from gateway.transport import webhook_requests
from gateway.transport.address import Address
from gateway.transport.contract import Message
from gateway.transport.https import HttpsLine
from gateway.transport.webhook_answers import verdict
from gateway.transport.webhook_authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.config import schema
    from gateway.transport.contract import Refusal
    from gateway.transport.credentials import Credentials
    from gateway.transport.webhook_answers import Answer
    from gateway.transport.webhook_requests import Verdict

LOOK_S: Final = 0.25
"""Time between two looks at what the lines have taken."""
KEPT_FOR: Final = 2.5
"""How long a line that is not used is kept, in intervals of `keep_alive`."""
BYTES_MIN: Final = 4096
"""Below this the bound of a joined request is not lowered, whatever a server says is too large."""

SIGNED_AT_ONCE_BYTES: Final = 128 * 1024
"""Larger contents are hashed in a thread, so that nothing else waits."""

_NS: Final = 10**9
_UNWELL: Final = frozenset({429, 502, 503, 504})
"""Answers to a probe that say more than that the server does not like the question."""


class WebhookLink:
    """The lines to one server; see `contract.Link`."""

    def __init__(self, transport: WebhookTransport, lines: Sequence[HttpsLine]) -> None:
        loop = asyncio.get_running_loop()
        self._transport = transport
        self._options = transport.options
        self._lines = lines
        self._turns = [asyncio.Lock() for _ in lines]
        self._busy = [0] * len(lines)
        self._room = asyncio.Event()
        self._failed: asyncio.Future[None] = loop.create_future()
        self._answered_at = loop.time()

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Post, and find out which messages are refused."""
        self._alive()
        parts = self._parts(messages)
        if len(parts) == 1:
            return await self._deliver(*parts[0], messages)
        found = await asyncio.gather(
            *(self._deliver(line, positions, messages) for line, positions in parts), return_exceptions=True
        )
        errors = [one for one in found if isinstance(one, BaseException)]
        if errors:
            raise errors[0]
        return sorted(refusal for one in found if not isinstance(one, BaseException) for refusal in one)

    async def ready(self) -> None:
        """Wait until a line is free; until all are where the order is kept, as what is sent next may need any."""
        while not self._has_room():
            self._room.clear()
            await self._room.wait()
        self._alive()

    async def words(self) -> AsyncIterator[bytes]:
        """Yield nothing: nobody speaks to the node here. Raises when the link has failed."""
        await asyncio.shield(self._failed)
        yield b""

    async def probe(self) -> None:
        """Ask the server something that changes nothing."""
        async with self._turn(0) as line:
            url = self._transport.url
            answer = await self._exchange(line, self._options.probe, url, self._transport.authority.fields(), b"")
            if answer.status in _UNWELL:
                verdict(answer, time.time())

    def traffic(self) -> int:
        """Return the bytes on all lines so far."""
        return sum(line.traffic() for line in self._lines)

    def fail(self, error: GatewayError) -> None:
        """End the link."""
        if not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # nobody may be waiting, and that is no fault of its own
        self._room.set()

    async def watch(self) -> None:
        """Look after the lines until the link has failed."""
        loop = asyncio.get_running_loop()
        while not self._failed.done():
            await asyncio.sleep(LOOK_S)
            for line in self._lines:
                line.look()
            if loop.time() - self._answered_at >= self._transport.keep_alive_s and not any(self._busy):
                with contextlib.suppress(GatewayError):  # the link has failed then
                    await self.probe()

    def _alive(self) -> None:
        if self._failed.done():
            self._failed.result()

    def _has_room(self) -> bool:
        return self._failed.done() or not (any(self._busy) if self._options.in_order else all(self._busy))

    @contextlib.asynccontextmanager
    async def _turn(self, number: int) -> AsyncIterator[HttpsLine]:
        """Wait until a line is free and have it for oneself; who fails meanwhile fails the link, for all who wait."""
        self._busy[number] += 1
        try:
            async with self._turns[number]:
                self._alive()
                try:
                    yield self._lines[number]
                except GatewayError as error:
                    self._transport.obey(error)
                    self.fail(error)
                    raise
        finally:
            self._busy[number] -= 1
            self._room.set()

    def _parts(self, messages: Sequence[Message]) -> list[tuple[int, list[int]]]:
        """Return which messages go by which line, by position."""
        count = len(self._lines)
        if not self._options.in_order:
            return [(min(range(count), key=self._busy.__getitem__), list(range(len(messages))))]
        parts: dict[int, list[int]] = {}
        for position, message in enumerate(messages):
            parts.setdefault(webhook_requests.line_of(message.key, count), []).append(position)
        return list(parts.items())

    async def _deliver(self, number: int, positions: list[int], messages: Sequence[Message]) -> list[Refusal]:
        """Post the messages at these positions by one line."""
        chosen = [messages[position] for position in positions]
        urls = [self._transport.address(message) for message in chosen]
        refusals: list[Refusal] = []
        first = 0
        async with self._turn(number) as line:
            while first < len(chosen):
                self._alive()
                end = webhook_requests.cut(
                    chosen, urls, first, self._options.events_max, self._transport.request_bytes_max
                )

                async def ask(part: range, url: str = urls[first]) -> Verdict:
                    return await self._post(line, url, chosen[part[0] : part[-1] + 1])

                found = await webhook_requests.settled(range(first, end), ask)
                refusals += [refusal._replace(position=positions[refusal.position]) for refusal in found]
                first = end
        return webhook_requests.judged(refusals, positions)

    async def _post(self, line: HttpsLine, url: str, messages: Sequence[Message]) -> Verdict:
        made = webhook_requests.post(messages, as_list=self._options.events_max > 1)
        signed = self._transport.authority.signed
        if len(made.content) > SIGNED_AT_ONCE_BYTES:
            loop = asyncio.get_running_loop()
            fields = await loop.run_in_executor(None, signed, "POST", url, made.fields, made.content, time.time())
        else:
            fields = signed("POST", url, made.fields, made.content, time.time())
        answer = await self._exchange(line, "POST", url, fields, made.content)
        found = verdict(answer, time.time())
        if found.is_too_large and len(messages) > 1:
            self._transport.lower(len(made.content) // 2)
        return found

    async def _exchange(self, line: HttpsLine, method: str, url: str, fields: dict[str, str], content: bytes) -> Answer:
        answer = await line.exchange(method, url, fields, content)
        self._answered_at = asyncio.get_running_loop().time()
        return answer


class WebhookTransport:
    """Makes links to one region. Raises `ConfigError` for options that do not fit each other."""

    def __init__(self, region: schema.Peer, node: str, credentials: Credentials) -> None:
        self.options = region.webhook
        self.authority = Authority(region.webhook)
        self.address = Address(region.webhook.url)
        self.url = self.address(Message("", node, "", "", "", b"", {}))
        self.keep_alive_s = region.keep_alive_ns / _NS
        self.request_bytes_max = region.webhook.bytes_max
        self._credentials = credentials
        self._welcome_at = 0.0
        self._sent_away: LinkError | None = None

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[WebhookLink]:
        """Connect a first line and ask the server something; drop all lines in the end."""
        self._check_welcome()
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, self._credentials.context)
        self.authority.fields()
        options, kept_s = self.options, self.keep_alive_s * KEPT_FOR
        lines = [HttpsLine(context, options.timeout_ns / _NS, kept_s) for _ in range(options.connections)]
        link = WebhookLink(self, lines)
        watching: asyncio.Task[None] | None = None
        try:
            await link.probe()
            watching = asyncio.create_task(link.watch(), name=f"webhook {self.url}: watch")
            yield link
        finally:
            link.fail(LinkError("the link was closed"))
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await asyncio.gather(*(line.close() for line in lines))

    def obey(self, error: GatewayError) -> None:
        """Keep away from the server as long as it has asked for."""
        wait_s = error.facts.get("retry_after_s")
        if isinstance(error, LinkError) and isinstance(wait_s, float):
            self._welcome_at, self._sent_away = time.monotonic() + wait_s, error

    def lower(self, size: int) -> None:
        """Join less from now on: a request of twice this size, in bytes, was too large for the server."""
        self.request_bytes_max = max(BYTES_MIN, min(self.request_bytes_max, size))

    def _check_welcome(self) -> None:
        wait_s = self._welcome_at - time.monotonic()
        if self._sent_away is not None and wait_s > 0:
            raise LinkError(self._sent_away.fault, hint=self._sent_away.hint, retry_after_s=wait_s)
