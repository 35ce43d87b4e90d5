"""A region behind NATS JetStream: each message is published to a stream, which acknowledges it when it is stored.

`Nats-Msg-Id` is the message's identity, so what is sent again within the stream's duplicate window is stored once.
Many messages are on their way at a time; the stream keeps them in the order in which they were published. The client
library never connects by itself here: a link that ended is ended.

Attributes travel as headers `ce-<name>`, percent-encoded as CloudEvents' HTTP binding has it, which its NATS binding
takes over. Source: CloudEvents NATS Protocol Binding 1.0.2; NATS JetStream API errors.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from nats.aio.client import Client
from nats.errors import NoRespondersError

from gateway.errors import LinkError
from gateway.transport.address import Address
from gateway.transport.contract import Refusal
from gateway.transport.subscriber import password_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from nats.js import JetStreamContext

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials

CONNECT_S: Final = 10
CLOSE_S: Final = 1.0
PENDING_MAX: Final = 4000
"""Messages on their way at a time."""

_NS: Final = 10**9
_NEVER_S: Final = 86400.0
"""Of a single message; how long none may be answered is ours to say."""
_TOO_LARGE: Final = 10054
"""JSStreamMessageExceedsMaximumErr: larger than the stream's `max_msg_size`."""
_PLAIN: Final = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""What needs no percent-encoding beside letters and digits: printable ASCII but space, quote and percent."""


class _Refusal(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """What JetStream says to a message, as far as it matters here."""

    error: _Refusal | None = None


class NatsLink:
    """One connection; see `contract.Link`."""

    def __init__(self, options: schema.Nats, acknowledged_within_s: float) -> None:
        self._subject = Address(options.subject)
        self._stream = options.stream or None
        self._acknowledged_within_s = acknowledged_within_s
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(PENDING_MAX)
        self._waiting: set[asyncio.Future[Any]] = set()
        self._acknowledged_at = 0.0
        self._fault = ""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Publish in order, and wait until the stream has stored or refused each."""
        most = self._alive().max_payload
        refusals: list[Refusal] = []
        sent: list[tuple[int, asyncio.Future[Any]]] = []
        async with self._turn:
            for position, message in enumerate(messages):
                headers = _headers(message, self._stream)
                if len(message.payload) + sum(len(name) + len(value) + 4 for name, value in headers.items()) > most:
                    refusals.append(Refusal(position, f"it exceeds the server's max_payload, {most} bytes"))
                else:
                    sent.append((position, await self._published(message, headers)))
        await self._settled([future for _, future in sent])
        for position, future in sent:
            reason = self._reason(future)
            if reason:
                refusals.append(Refusal(position, reason))
        return refusals

    async def ready(self) -> None:
        """Wait until what was written has left this process."""
        client = self._alive()
        # The library tells nobody.
        while client.pending_data_size and not self._failed.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        self._alive()

    async def words(self) -> AsyncIterator[bytes]:
        """Yield nothing, until the link fails."""
        await self._failed
        yield b""

    async def probe(self) -> None:
        """Ask the stream's server for its account."""
        try:
            assert self._jetstream is not None
            await self._jetstream.account_info()
        except Exception as error:
            raise LinkError(f"JetStream does not answer: {self._fault or error}") from error

    async def begin(self, client: Client) -> None:
        """Work on this connection."""
        self._client = client
        self._jetstream = client.jetstream(timeout=CONNECT_S)
        if self._stream is not None:
            try:
                await self._jetstream.stream_info(self._stream)
            except Exception as error:
                raise LinkError(f"the stream {self._stream!r} cannot be used: {error}") from error

    async def note(self, error: Exception) -> None:
        """Keep why the link is about to end."""
        self._fault = self._fault or str(error)

    async def ended(self) -> None:
        """End the link: the connection is closed."""
        self.fail(LinkError(f"the link to the region ended: {self._fault or 'closed by the server'}"))

    def fail(self, error: LinkError) -> None:
        """End the link: everything that waits raises."""
        if not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # nobody may be waiting, and that is no fault of its own
        for future in list(self._waiting):
            future.cancel()

    def _alive(self) -> Client:
        if self._failed.done():
            self._failed.result()
        assert self._client is not None
        return self._client

    async def _published(self, message: Message, headers: dict[str, str]) -> asyncio.Future[Any]:
        await self._room.acquire()
        client = self._alive()
        if not self._waiting:
            self._acknowledged_at = asyncio.get_running_loop().time()
        # The stream's answer is read here: the library's own asynchronous publishing leaves refusals unanswered.
        asking = client.request(self._subject(message), message.payload, timeout=_NEVER_S, headers=headers)
        future = asyncio.ensure_future(asking)
        self._waiting.add(future)
        future.add_done_callback(self._answered)
        await asyncio.sleep(0)  # so that it is written before the next one is
        return future

    def _answered(self, future: asyncio.Future[Any]) -> None:
        self._waiting.discard(future)
        self._room.release()
        self._acknowledged_at = asyncio.get_running_loop().time()

    async def _settled(self, futures: list[asyncio.Future[Any]]) -> None:
        bound_s = self._acknowledged_within_s
        waiting: set[asyncio.Future[Any]] = set(futures)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=bound_s)
            if waiting and asyncio.get_running_loop().time() - self._acknowledged_at >= bound_s:
                self.fail(LinkError(f"the region's stream acknowledged nothing for {bound_s:g} s"))

    def _reason(self, future: asyncio.Future[Any]) -> str:
        """Return why a message is refused for good, empty when it is stored; raise `LinkError` otherwise."""
        if future.cancelled():
            self._failed.result()
        error = future.exception()
        if isinstance(error, NoRespondersError):
            raise LinkError("no stream takes the subject; see what `nats stream ls` shows") from error
        if error is not None:
            raise LinkError(f"a message cannot be published: {self._fault or error}") from error
        try:
            refusal = msgspec.json.decode(future.result().data, type=_Answer).error
        except msgspec.DecodeError as fault:
            raise LinkError(f"the region's stream does not answer as JetStream does: {fault}") from fault
        if refusal is None:
            return ""
        if refusal.err_code == _TOO_LARGE:
            return f"the stream refuses it: {refusal.description}"
        raise LinkError(f"the region's stream did not take a message: {refusal.description}")


class NatsTransport:
    """Makes links to one region."""

    def __init__(self, region: schema.Region, node: str, credentials: Credentials) -> None:
        self._region = region
        self._node = node
        self._credentials = credentials
        self._password = password_of(region.password_file)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[NatsLink]:
        """Connect, and look whether the stream is there."""
        region = self._region
        link, client = NatsLink(region.nats, region.resend_after_ns / _NS), Client()
        context = await asyncio.get_running_loop().run_in_executor(None, self._credentials.context)
        password = self._password()
        where = f"{region.host}:{region.usual_port}"
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(
                    f"tls://{where}",
                    tls=context,
                    tls_hostname=region.host,
                    name=f"edge-gateway-{self._node}-{region.name}",
                    user=region.username or None,
                    password=None if password is None else password.decode(errors="replace"),
                    allow_reconnect=False,
                    connect_timeout=CONNECT_S,
                    ping_interval=max(1, round(region.keep_alive_ns / _NS)),
                    error_cb=link.note,
                    closed_cb=link.ended,
                )
        except Exception as error:  # the library passes on what asyncio, ssl and its own parser raise
            raise LinkError(f"cannot connect to {where}: {error or type(error).__name__}") from error
        try:
            await link.begin(client)
            yield link
        finally:
            link.fail(LinkError("the link was closed"))
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await client.close()


def _headers(message: Message, stream: str | None) -> dict[str, str]:
    """Return the headers: the identity for the stream, which stream is meant, and the attributes."""
    found = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in message.attributes.items()}
    if stream is not None:
        found["Nats-Expected-Stream"] = stream
    return {"Nats-Msg-Id": quote(message.id, safe=_PLAIN), "content-type": message.content_type, **found}
