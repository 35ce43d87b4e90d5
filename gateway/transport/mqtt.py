"""A link to a region over MQTT 5 and mTLS, by aiomqtt.

Low rate by design: one message is one batch. The session at the region is kept for `SESSION_EXPIRY_S`, so words of the
receiver that were said while the link was down are read before anything is sent again.

A link ends as a whole: when the broker refuses a message or a subscription, closes, or acknowledges nothing for too
long while something is on its way, everything that waits raises `LinkError` with the reason, and the socket is closed
with whatever it still held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.errors import LinkError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    import paho.mqtt.client as paho
    from paho.mqtt.reasoncodes import ReasonCode

CONNECT_S: Final = 20.0
"""Longest wait for CONNACK, and for SUBACK; TCP and TLS have 5 s each, by paho."""
DISCONNECT_S: Final = 1.0
SESSION_EXPIRY_S: Final = 86400
INCOMING_MAX: Final = 1000
"""Words of receivers that wait to be read; more are let go: what they are about is sent, and said, again."""
PACKET_BYTES_MAX: Final = 1 << 20
"""Largest packet that the broker may send us; the longest word has a tenth of it."""

_SLOW: Final = "tried again by itself; on a slow link one batch must get through within resend_after and keep_alive"
_NO_SUBSCRIBERS: Final = 0x10
_RECEIVE_MAXIMUM: Final = 65535


class _Client(aiomqtt.Client):
    """aiomqtt, where it keeps from us what the broker said. `fault` is why the link ended, as far as anyone said so.

    It takes a PUBACK of refusal for one of success; it waits for a CONNACK when the broker has closed already; it
    leaves its socket open when it gives up; and paho tells TLS alerts to its log alone, and heeds no Receive Maximum.
    """

    def __init__(self, host: str, port: int, on_unheard: Callable[[], None], **options: Any) -> None:  # noqa: ANN401  # aiomqtt's
        logger = logging.Logger(__name__, logging.ERROR)  # noqa: LOG001  # this connection's own, leading nowhere else
        logger.addHandler(_Ear(self))
        super().__init__(host, port, logger=logger, **options)
        self.fault = ""
        self.receive_maximum = _RECEIVE_MAXIMUM
        self._on_unheard = on_unheard
        self._is_abandoned = False

    def close(self) -> None:
        """Close the socket, now or when a thread that is still connecting comes back with one."""
        self._is_abandoned = True
        self._client._sock_close()  # noqa: SLF001  # `disconnect` only asks, behind all that waits to be sent

    def _client_connect(self) -> None:
        super()._client_connect()
        if self._is_abandoned:
            self._loop.call_soon_threadsafe(self.close)

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401  # as paho has it
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _RECEIVE_MAXIMUM)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401  # as paho has it
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.fault = self.fault or f"the broker disconnected us: {reason_code}"
        # It may be called from the thread that connects.
        self._loop.call_soon_threadsafe(self._give_up)
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _give_up(self) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(self.fault or "the broker closed the connection"))
            self._connected.exception()  # nobody may be waiting, and that is no fault of its own

    def _on_publish(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401  # as paho has it
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        if reason_code.is_failure:
            self.fault = self.fault or f"the broker refused it: {reason_code}"
            client.disconnect()
            return
        if reason_code.value == _NO_SUBSCRIBERS:
            self._on_unheard()
        super()._on_publish(client, userdata, mid, reason_code, properties)


class _Ear(logging.Handler):
    """Hears what paho says of a connection that broke."""

    def __init__(self, client: _Client) -> None:
        super().__init__()
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first fault."""
        self._client.fault = self._client.fault or record.getMessage()


class MqttLink:
    """One connection; see `contract.Link`."""

    def __init__(self, client: _Client, acknowledged_within_s: float) -> None:
        self._client = client
        self._acknowledged_within_s = acknowledged_within_s
        self._window = asyncio.Semaphore(client.receive_maximum)
        self._limits: set[asyncio.Timeout] = set()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 and wait for the PUBACK, as long as any come."""
        loop = asyncio.get_running_loop()
        try:
            async with self._window, asyncio.timeout(self._acknowledged_within_s) as limit:
                self._limits.add(limit)
                try:
                    await self._client.publish(topic, payload, qos=1, timeout=math.inf)
                finally:
                    self._limits.discard(limit)
        except TimeoutError as error:
            silence = f"the region's broker acknowledged nothing for {self._acknowledged_within_s:g} s"
            raise LinkError(self._client.fault or silence, hint=_SLOW) from error
        except (aiomqtt.MqttError, ValueError, RuntimeError) as error:
            raise LinkError(f"the region's broker did not take a batch: {self._client.fault or error}") from error
        # On a slow link the last of many waits long, and all is well as long as others are acknowledged.
        until = loop.time() + self._acknowledged_within_s
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(until)

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what arrives on the topic that was subscribed to."""
        try:
            async for message in self._client.messages:
                if isinstance(message.payload, bytes):
                    yield message.payload
        except aiomqtt.MqttError as error:
            raise LinkError(
                f"the link to the region ended: {self._client.fault or error.__cause__ or error}"
            ) from error


@contextlib.asynccontextmanager
async def connected(
    host: str,
    port: int,
    client_id: str,
    topic: str,
    context: ssl.SSLContext,
    *,
    keep_alive_s: float,
    acknowledged_within_s: float,
    on_unheard: Callable[[], None] = lambda: None,
) -> AsyncIterator[MqttLink]:
    """Connect, subscribe to `topic` at QoS 1, and disconnect in the end. Raises `LinkError`.

    `on_unheard` is called for each message that the broker took although nobody subscribes to it.
    """
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    client = _Client(
        host,
        port,
        on_unheard,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        tls_context=context,
        keepalive=round(keep_alive_s),
        timeout=CONNECT_S,
        max_inflight_messages=_RECEIVE_MAXIMUM,
        max_queued_incoming_messages=INCOMING_MAX,
    )
    try:
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, ValueError) as error:
            raise LinkError(f"cannot connect to {host}:{port}: {error}") from error
        try:
            await _subscribe(client, topic)
            yield MqttLink(client, acknowledged_within_s)
        finally:
            # A broker that is gone answers no DISCONNECT: stopping must not wait for it.
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(DISCONNECT_S):
                    await client.__aexit__(None, None, None)
    finally:
        client.close()


async def _subscribe(client: _Client, topic: str) -> None:
    try:
        answers = await client.subscribe(topic, qos=1)
    except aiomqtt.MqttError as error:
        raise LinkError(f"cannot subscribe to {topic!r}: {client.fault or error}") from error
    for answer in answers:
        if not isinstance(answer, int) and answer.is_failure:
            raise LinkError(f"the broker refused the subscription {topic!r}: {answer}")
