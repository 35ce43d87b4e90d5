"""What `[broker]` and the routes say, as the options of a session with the local broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.process.topics import covers
from gateway.transport.subscriber import SubscriberOptions, password_of
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import schema

_NS = 10**9


def subscriber_options(config: schema.Gateway, former_filters: tuple[str, ...] = ()) -> SubscriberOptions:
    """Return the options of the daemon's session; `former_filters` is what it may still be subscribed to."""
    broker = config.broker
    assert config.node is not None
    filters, covered = _subscriptions(config.route)
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
        former_filters=(*former_filters, *covered),
    )


def _subscriptions(routes: Sequence[schema.Route]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the filters to subscribe to, with their QoS, and those that others cover.

    A broker may send a message once for each subscription that takes it (MQTT 5.0, section 3.3.4; mosquitto does), and
    nothing tells these copies from messages that are equal. So a filter that another one covers is left to that one, at
    the higher QoS of both.
    """
    wanted = {pattern: route.qos for route in reversed(routes) for pattern in route.topics}
    covered = [one for one in wanted if any(other != one and covers(other, one) for other in wanted)]
    filters = {
        pattern: max(qos for one, qos in wanted.items() if covers(pattern, one))
        for pattern in wanted
        if pattern not in covered
    }
    return filters, tuple(covered)
