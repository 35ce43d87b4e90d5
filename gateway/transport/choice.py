"""The transport that a region is configured for; those that need an extra of the package are imported when chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.transport.mqtt import MqttTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import schema
    from gateway.transport.contract import Transport
    from gateway.transport.credentials import Credentials


def transport(region: schema.Region, node: str, credentials: Credentials, on_unheard: Callable[[], None]) -> Transport:
    """Return the transport of a region. Raises `ConfigError` when its extra is not installed."""
    assert region.transport == "mqtt", region.transport
    return MqttTransport(region, node, credentials, on_unheard)
