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
from gateway.transport.outstanding import Outstanding
from gateway.transport.subscriber import password_of
from gateway.transport.tls import fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials

CONNECT_S: Final = 10
CLOSE_S: Final = 1.0
_NS: Final = 10**9
_NEVER_S: Final = 86400.0
"""Of a single message; how long none may be answered is ours to say."""
_TOO_LARGE: Final = 10054
"""JSStreamMessageExceedsMaximumErr: larger than the stream's `max_msg_size`."""
_AROUND_HEADERS: Final = len("NATS/1.0\r\n\r\n")
"""ADR-4 of NATS: the version line and the empty one count for `max_payload` as the headers do."""
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

    def __init__(self, options: schema.Nats, outstanding: Outstanding) -> None:
        self._subject = Address(options.subject)
        self._stream = options.stream or None
        self._outstanding = outstanding
        self._client = Client()
        self._fault = ""
        self.words = outstanding.words

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Publish in order, and wait until the stream has stored or refused each."""
        most = self._client.max_payload
        refusals: list[Refusal] = []
        sent: list[tuple[int, asyncio.Future[Any]]] = []
        async with self._outstanding.turn:
            for position, message in enumerate(messages):
                headers = _headers(message, self._stream)
                lines = sum(len(name) + len(value) + 4 for name, value in headers.items())
                if len(message.payload) + lines + _AROUND_HEADERS > most:
                    refusals.append(Refusal(position, f"it exceeds the server's max_payload, {most} bytes"))
                    continue
                # The answer is read here: the library's own asynchronous publishing leaves refusals unanswered.
                subject = self._subject(message)
                asking = self._client.request(subject, message.payload, timeout=_NEVER_S, headers=headers)
                sent.append((position, await self._outstanding.start(asking)))
        await self._outstanding.settled([future for _, future in sent])
        for position, future in sent:
            reason = self._reason(future)
            if reason:
                refusals.append(Refusal(position, reason))
        return refusals

    async def ready(self) -> None:
        """Wait until what was written has left this process."""
        # The library tells nobody.
        while self._client.pending_data_size and self._client.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        self._outstanding.check()

    async def probe(self) -> None:
        """Ask JetStream for the account."""
        try:
            await self._client.jetstream(timeout=CONNECT_S).account_info()
        except Exception as error:
            raise LinkError(f"JetStream does not answer: {self._fault or error}") from error

    async def begin(self, url: str, **options: Any) -> None:  # noqa: ANN401  # the library's
        """Connect, and look whether the stream is there. Raises what the library does; `LinkError` for the stream."""
        await self._client.connect(url, allow_reconnect=False, error_cb=self._note, closed_cb=self._ended, **options)
        if self._stream is not None:
            try:
                await self._client.jetstream(timeout=CONNECT_S).stream_info(self._stream)
            except Exception as error:
                raise LinkError(f"the stream {self._stream!r} cannot be used: {error}") from error

    async def end(self) -> None:
        """Close the connection."""
        self._outstanding.fail(LinkError("the link was closed"))
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()

    async def _note(self, error: Exception) -> None:
        self._fault = self._fault or str(error)

    async def _ended(self) -> None:
        self._outstanding.fail(LinkError(f"the link to the region ended: {self._fault or 'closed by the server'}"))

    def _reason(self, future: asyncio.Future[Any]) -> str:
        """Return why a message is refused for good, empty when it is stored; raise `LinkError` otherwise."""
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

    def __init__(self, region: schema.Peer, node: str, credentials: Credentials) -> None:
        self._region = region
        self._node = node
        self._credentials = credentials
        self._password = password_of(region.password_file)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[NatsLink]:
        """Connect, and look whether the stream is there."""
        region = self._region
        link = NatsLink(region.nats, Outstanding(region.resend_after_ns / _NS))
        context = await asyncio.get_running_loop().run_in_executor(None, self._credentials.context)
        password = self._password()
        where = f"{region.host}:{region.usual_port}"
        try:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await link.begin(
                        f"tls://{where}",
                        tls=context,
                        tls_hostname=region.host,
                        name=f"edge-gateway-{self._node}-{region.name}",
                        user=region.username or None,
                        password=None if password is None else password.decode(errors="replace"),
                        connect_timeout=CONNECT_S,
                        ping_interval=max(1, round(region.keep_alive_ns / _NS)),
                    )
            except LinkError:
                raise
            except Exception as error:  # the library passes on what asyncio, ssl and its own parser raise
                raise LinkError(f"cannot connect to {where}: {fault_of(error)}") from error
            yield link
        finally:
            await link.end()


def _headers(message: Message, stream: str | None) -> dict[str, str]:
    """Return the headers: the identity for the stream, which stream is meant, and the attributes."""
    found = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in message.attributes.items()}
    if stream is not None:
        found["Nats-Expected-Stream"] = stream
    return {"Nats-Msg-Id": quote(message.id, safe=_PLAIN), "content-type": message.content_type, **found}
