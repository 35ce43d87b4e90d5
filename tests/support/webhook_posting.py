"""A node's side of a webhook in tests: a transport with the options that matter, batches and events to post."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.config import schema
from gateway.transport.contract import Message
from gateway.transport.credentials import Credentials
from gateway.transport.webhook import WebhookTransport
from tests.support.authority import Authority
from tests.support.webhook_server import events

_NS = 10**9


def transport_to(
    url: str, pki: Authority, *, node: bool = False, keep_alive_s: float = 30.0, **options
) -> WebhookTransport:
    files = pki.files("node")
    certificate, key = (str(files["certificate"]), str(files["key"])) if node else ("", "")
    region = schema.Region(
        name="east",
        transport="webhook",
        tls_ca=str(files["ca"]),
        tls_certificate=certificate,
        tls_key=key,
        keep_alive_ns=round(keep_alive_s * _NS),
        webhook=schema.Webhook(url=url, **options),
    )
    return WebhookTransport(region, "n1", Credentials(region.tls_ca, certificate, key))


def structured(count: int, size: int = 40, first: int = 0) -> list[Message]:
    kind = "application/cloudevents+json"
    return [Message(name, "n1", "alarm", "n1", kind, data, {}) for name, data in events(count, size, first)]


def batch(number: int, payload: bytes = b"\x00\xffbatch") -> Message:
    attributes = {"specversion": "1.0", "id": f"n1/alarm/1/{number}", "source": "/edge/n1", "datacontenttype": "a/b"}
    return Message(attributes["id"], "n1", "alarm", "n1", "a/b", payload, attributes)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells, at most 5 s."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the kernel and the server have no events for us
            await asyncio.sleep(0.01)
