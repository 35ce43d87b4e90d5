"""The transport that a region is configured for; those that need an extra of the package are imported when chosen."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

from gateway.errors import ConfigError
from gateway.transport.mqtt import MqttTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import schema
    from gateway.transport.contract import Transport
    from gateway.transport.credentials import Credentials

_EXTRAS: Final = {
    "amqp": "AmqpTransport",
    "kafka": "KafkaTransport",
    "nats": "NatsTransport",
    "webhook": "WebhookTransport",
}
"""Class by transport; its module has the transport's name, and so has the extra of the package."""


def transport(region: schema.Peer, node: str, credentials: Credentials, on_unheard: Callable[[], None]) -> Transport:
    """Return the transport of a region. Raises `ConfigError` when its extra is not installed."""
    kind = region.transport
    if kind not in _EXTRAS:
        return MqttTransport(region, node, credentials, on_unheard)
    try:
        module = importlib.import_module(f"gateway.transport.{kind}")
    except ImportError as error:
        fault = f"region {region.name}: the transport {kind} needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint=f"pip install 'edge-gateway[{kind}]'") from error
    return cast("Transport", getattr(module, _EXTRAS[kind])(region, node, credentials))
