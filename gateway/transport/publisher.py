"""Publishes single messages to the local broker at QoS 1, for tools.

One message is on its way at a time, so whoever asks knows of each what the broker said about it. That a broker took a
message is not enough: MQTT 5 lets it take one that nobody subscribes to, and it is gone then.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import mqtt5

from gateway.errors import LinkError
from gateway.transport import opening
from gateway.transport.connection import Connection
from gateway.transport.subscriber import password_of
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.config import schema

ANSWER_S: Final = 10.0
"""Longest wait for each PUBACK."""

_KEEP_ALIVE_S: Final = 60
_NO_SUBSCRIBERS: Final = 0x10
_REFUSED: Final = 0x80


class Publisher:
    """One connection that publishes."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._answers: asyncio.Queue[mqtt5.PubAckPacket] = asyncio.Queue()

    async def publish(self, topic: str, payload: bytes) -> str:
        """Publish and wait for the PUBACK; return why no subscriber gets the message, empty when one does.

        Raises `LinkError` when the link ends before: whether the broker has the message is not known then.
        """
        connection = self._connection
        assert connection is not None
        if 0 < connection.packet_bytes_max < len(topic.encode()) + len(payload):
            return f"it exceeds the broker's largest packet, {connection.packet_bytes_max} bytes"
        if not connection.publish(topic, payload):
            raise connection.fault or LinkError("the link to the broker ended")
        answer = asyncio.ensure_future(self._answers.get())
        waited: set[asyncio.Future[Any]] = {answer, connection.closed}
        try:
            await asyncio.wait(waited, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise connection.fault or LinkError(f"the broker did not answer within {ANSWER_S:.0f} s")
            return _why_not(answer.result())
        finally:
            answer.cancel()

    def attach(self, connection: Connection) -> None:
        """Publish on this connection."""
        self._connection = connection

    def answered(self, packet: mqtt5.PubAckPacket) -> None:
        """Note what the broker says of the message on its way."""
        self._answers.put_nowait(packet)


@contextlib.asynccontextmanager
async def connected(broker: schema.Broker, client_id: str) -> AsyncIterator[Publisher]:
    """Connect as `[broker]` says, but under `client_id`; raises `LinkError`, `CredentialError`."""
    publisher = Publisher()
    connect = mqtt5.ConnectPacket(
        client_id,
        username=broker.username or None,
        password=password_of(broker.password_file)(),
        clean_start=True,
        keep_alive=_KEEP_ALIVE_S,
    )
    context = client_context(broker.tls_ca, broker.tls_certificate, broker.tls_key) if broker.tls_ca else None
    try:
        connection = await opening.opened(
            broker.host,
            broker.port,
            context,
            lambda: Connection(0, connect, lambda *_: None, on_acknowledged=publisher.answered),
        )
    except LinkError as error:
        where = f"{broker.host}:{broker.port}"
        fault = error.fault if where in error.fault else f"cannot connect to {where}: {error.fault}"
        raise LinkError(fault, hint="is the local broker running, and does [broker] say where?") from error
    publisher.attach(connection)
    serving = asyncio.create_task(_served(connection))
    try:
        yield publisher
    finally:
        connection.close()
        await asyncio.wait({connection.closed}, timeout=1.0)
        connection.abort()
        await serving


async def _served(connection: Connection) -> None:
    with contextlib.suppress(LinkError):
        await opening.served(connection)


def _why_not(answer: mqtt5.PubAckPacket) -> str:
    code, text = answer.reason_code, answer.reason_str or answer.reason_code.name.lower().replace("_", " ")
    if code.value >= _REFUSED:
        return f"the broker refuses it: {text}"
    return "nobody subscribes to its topic" if code.value == _NO_SUBSCRIBERS else ""
