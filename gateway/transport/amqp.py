"""A region behind RabbitMQ, over AMQP 0-9-1: each message is confirmed by the broker, and must reach a queue.

Messages are persistent, and published with `mandatory`: one that no queue takes comes back, and counts as not taken. A
broker confirms when the message is on disk (classic queues) or with a majority (quorum queues), so the cursor's word is
as good as the queue. Many messages are on their way at a time; each channel keeps their order.

Attributes travel as application properties `cloudEvents:<name>`; the identity is the `message_id`, by which consumers
leave out what they have: RabbitMQ itself does not. A link that ended is ended: the session above connects anew.

Source: RabbitMQ's Consumer Acknowledgements and Publisher Confirms; CloudEvents AMQP Protocol Binding 1.0.2.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import aio_pika
from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError, PublishError

from gateway.errors import LinkError
from gateway.transport.address import Address
from gateway.transport.contract import Refusal
from gateway.transport.outstanding import Outstanding
from gateway.transport.subscriber import password_of
from gateway.transport.tls import fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials

CONNECT_S: Final = 15.0
CLOSE_S: Final = 1.0
_NS: Final = 10**9


class AmqpLink:
    """One connection with one channel; see `contract.Link`."""

    def __init__(self, options: schema.Amqp, outstanding: Outstanding) -> None:
        self._options = options
        self._routing_key = Address(options.routing_key)
        self._outstanding = outstanding
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self.words = outstanding.words

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Publish in order, and wait until the broker has confirmed or refused each."""
        exchange = self._exchange
        assert exchange is not None
        sent: list[asyncio.Future[Any]] = []
        async with self._outstanding.turn:
            for message in messages:
                publishing = exchange.publish(_made(message), self._routing_key(message), mandatory=True)
                sent.append(await self._outstanding.start(publishing))
        await self._outstanding.settled(sent)
        refusals = []
        for position, future in enumerate(sent):
            reason = self._reason(future)
            if reason:
                refusals.append(Refusal(position, reason))
        return refusals

    async def ready(self) -> None:
        """Return at once: the library waits for the socket before it takes the next message."""
        self._outstanding.check()

    async def probe(self) -> None:
        """Ask the broker for the exchange, or for a queue of no name, which it denies: both are a round trip."""
        self._outstanding.check()
        try:
            connection = self._connection
            assert connection is not None
            channel = await connection.channel()
            await channel.close()
        except Exception as error:
            raise LinkError(f"the broker does not answer: {error}") from error

    async def begin(self, **options: Any) -> None:  # noqa: ANN401  # the library's
        """Connect, open the channel and find the exchange. Raises what the library does."""
        self._connection = await aio_pika.connect(**options)
        self._connection.close_callbacks.add(self._ended)
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        self._channel.close_callbacks.add(self._ended)
        name = self._options.exchange
        self._exchange = await self._channel.get_exchange(name) if name else self._channel.default_exchange

    async def end(self) -> None:
        """Close the connection."""
        self._outstanding.fail(LinkError("the link was closed"))
        if self._connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await self._connection.close()

    def _ended(self, _: object, error: BaseException | None) -> None:
        self._outstanding.fail(LinkError(f"the link to the region ended: {error or 'closed by the broker'}"))

    def _reason(self, future: asyncio.Future[Any]) -> str:
        """Return why a message is refused for good, empty when it is confirmed; raise `LinkError` otherwise."""
        error = future.exception()
        if error is None:
            return ""
        if isinstance(error, PublishError):
            fault = "no queue takes the routing key: bind one to the exchange, or correct routing_key"
        elif isinstance(error, DeliveryError):
            fault = "a queue refuses it: it is full, or one of its replicas is gone"
        elif isinstance(error, ChannelPreconditionFailed):
            return f"the broker refuses it: {error}"
        else:
            fault = str(error) or type(error).__name__
        raise LinkError(f"the region's broker did not take a message: {fault}") from error


class AmqpTransport:
    """Makes links to one region."""

    def __init__(self, region: schema.Peer, node: str, credentials: Credentials) -> None:
        self._region = region
        self._node = node
        self._credentials = credentials
        self._password = password_of(region.password_file)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[AmqpLink]:
        """Connect, by certificate alone (EXTERNAL) where no user is named."""
        region = self._region
        link = AmqpLink(region.amqp, Outstanding(region.resend_after_ns / _NS))
        context = await asyncio.get_running_loop().run_in_executor(None, self._credentials.context)
        where = f"{region.host}:{region.usual_port}"
        named: dict[str, Any] = {"auth": "EXTERNAL"}
        if region.username:
            named = {"login": region.username, "password": (self._password() or b"").decode(errors="replace")}
        try:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await link.begin(
                        host=region.host,
                        port=region.usual_port,
                        virtualhost=region.amqp.virtual_host,
                        ssl=True,
                        ssl_context=context,
                        client_properties={"connection_name": f"edge-gateway-{self._node}-{region.name}"},
                        heartbeat=max(1, round(region.keep_alive_ns / _NS)),
                        **named,
                    )
            except Exception as error:  # the library passes on what asyncio, ssl and the broker say
                raise LinkError(f"cannot connect to {where}: {fault_of(error)}") from error
            yield link
        finally:
            await link.end()


def _made(message: Message) -> aio_pika.Message:
    return aio_pika.Message(
        message.payload,
        message_id=message.id,
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers={f"cloudEvents:{name}": value for name, value in message.attributes.items()},
    )
