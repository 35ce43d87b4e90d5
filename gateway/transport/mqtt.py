"""A link to a region over MQTT 5 and mTLS, by aiomqtt.

Low rate by design: one message is one batch. The session at the region is kept for `SESSION_EXPIRY_S`, so words of the
receiver that were said while the link was down are read before anything is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.errors import LinkError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

CONNECT_S: Final = 20.0
"""Longest wait for TCP, TLS and CONNACK, and for SUBACK."""
DISCONNECT_S: Final = 1.0
SESSION_EXPIRY_S: Final = 86400

_PENDING_MAX: Final = 2000
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)  # what goes wrong reaches us as errors, once


class MqttLink:
    """One connection; see `contract.Link`."""

    def __init__(self, client: aiomqtt.Client, acknowledged_within_s: float) -> None:
        self._client = client
        self._acknowledged_within_s = acknowledged_within_s

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 and wait for the PUBACK."""
        try:
            await self._client.publish(topic, payload, qos=1, timeout=self._acknowledged_within_s)
        except (aiomqtt.MqttError, ValueError) as error:
            raise LinkError(f"the region's broker did not take a batch: {error}") from error

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what arrives on the topic that was subscribed to."""
        try:
            async for message in self._client.messages:
                if isinstance(message.payload, bytes):
                    yield message.payload
        except aiomqtt.MqttError as error:
            raise LinkError(f"the link to the region ended: {error}") from error


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
) -> AsyncIterator[MqttLink]:
    """Connect, subscribe to `topic` at QoS 1, and disconnect in the end. Raises `LinkError`."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    client = aiomqtt.Client(
        host,
        port,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        tls_context=context,
        keepalive=round(keep_alive_s),
        timeout=CONNECT_S,
        logger=_quiet,
    )
    client.pending_calls_threshold = _PENDING_MAX
    try:
        await client.__aenter__()
    except (aiomqtt.MqttError, ValueError) as error:
        raise LinkError(f"cannot connect to {host}:{port}: {error}") from error
    try:
        await client.subscribe(topic, qos=1)
        yield MqttLink(client, acknowledged_within_s)
    except aiomqtt.MqttError as error:
        raise LinkError(f"cannot subscribe to {topic!r}: {error}") from error
    finally:
        # A broker that is gone answers no DISCONNECT: stopping must not wait for it.
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(DISCONNECT_S):
                await client.__aexit__(None, None, None)
