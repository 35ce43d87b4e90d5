"""Publishes single messages to the local broker at QoS 1, for tools; by aiomqtt.

One message is on its way at a time, so whoever asks knows of each what the broker said about it. That a broker took a
message is not enough: MQTT 5 lets it take one that nobody subscribes to, and it is gone then.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import aiomqtt

from gateway.errors import CredentialError, LinkError
from gateway.transport.subscriber import password_of
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import paho.mqtt.client as paho
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.config import schema

ANSWER_S: Final = 10.0
"""Longest wait for CONNACK, and for each PUBACK."""

_NO_SUBSCRIBERS: Final = 0x10
_SILENT: Final = logging.Logger(__name__, logging.CRITICAL)  # noqa: LOG001  # what paho would tell, we tell


class _Client(aiomqtt.Client):
    """aiomqtt, which takes a PUBACK of refusal for one of success; `answers` are what PUBACKs said."""

    fault = ""

    def __init__(self, *positional: Any, **named: Any) -> None:  # noqa: ANN401  # as aiomqtt has it
        super().__init__(*positional, **named)
        self.answers: list[ReasonCode] = []

    def _on_publish(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401  # as paho has it
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        self.answers.append(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,  # noqa: ANN401  # as paho has it
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.fault = f"the broker disconnected us: {reason_code}"
        super()._on_disconnect(client, userdata, flags, reason_code, properties)


class Publisher:
    """One connection that publishes."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    async def publish(self, topic: str, payload: bytes) -> str:
        """Publish and wait for the PUBACK; return why no subscriber gets the message, empty when one does.

        Raises `LinkError` when the link ends before: whether the broker has the message is not known then.
        """
        answers = self._client.answers
        answers.clear()
        try:
            await self._client.publish(topic, payload, qos=1, timeout=ANSWER_S)
        except ValueError as error:  # paho looks at the topic
            return f"it cannot be published: {error}"
        except aiomqtt.MqttError as error:
            raise LinkError(self._client.fault or f"the link to the broker ended: {error}") from error
        if not answers:
            raise LinkError("the link to the broker ended before its answer")
        answer = answers[-1]
        if answer.is_failure:
            return f"the broker refuses it: {answer}"
        return "nobody subscribes to its topic" if answer.value == _NO_SUBSCRIBERS else ""


@contextlib.asynccontextmanager
async def connected(broker: schema.Broker, client_id: str) -> AsyncIterator[Publisher]:
    """Connect as `[broker]` says, but under `client_id`; raises `LinkError`, `CredentialError`."""
    client = _Client(
        broker.host,
        broker.port,
        identifier=client_id,
        username=broker.username or None,
        password=_password(broker.password_file),
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        tls_context=client_context(broker.tls_ca, broker.tls_certificate, broker.tls_key) if broker.tls_ca else None,
        timeout=ANSWER_S,
        logger=_SILENT,
    )
    try:
        await client.__aenter__()
    except (aiomqtt.MqttError, ValueError) as error:
        raise LinkError(
            f"cannot connect to {broker.host}:{broker.port}: {client.fault or error}",
            hint="is the local broker running, and does [broker] say where?",
        ) from error
    try:
        yield Publisher(client)
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


def _password(path: str) -> str | None:
    found = password_of(path)()
    try:
        return None if found is None else found.decode()
    except UnicodeDecodeError as error:
        raise CredentialError(f"the password in {path} is not UTF-8") from error
