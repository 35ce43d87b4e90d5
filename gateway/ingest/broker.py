"""What `[broker]` and the routes say, as the options of a session with the local broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.transport.subscriber import SubscriberOptions, password_of
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from gateway.config import schema

_NS = 10**9


def subscriber_options(config: schema.Gateway, former_filters: tuple[str, ...] = ()) -> SubscriberOptions:
    """Return the options of the daemon's session; `former_filters` is what it may still be subscribed to."""
    broker = config.broker
    assert config.node is not None
    filters = {pattern: route.qos for route in reversed(config.route) for pattern in route.topics}
    tls = None
    if broker.tls_ca:
        tls = lambda: client_context(broker.tls_ca, broker.tls_certificate, broker.tls_key)  # noqa: E731
    return SubscriberOptions(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id or f"edge-gateway-{config.node.id}",
        filters=tuple(filters.items()),
        receive_maximum=broker.receive_maximum,
        keep_alive_s=broker.keep_alive_ns / _NS,
        session_expiry_s=broker.session_expiry_ns // _NS,
        packet_bytes_max=broker.packet_bytes_max,
        retain_handling=broker.retain_handling,
        username=broker.username or None,
        password=password_of(broker.password_file),
        tls=tls,
        former_filters=former_filters,
    )
