"""A link that is given up lets go of the line too: what it had not sent must not stand before the next one's handshake.

On a line of 64 kbit/s every 8 kB that a closed socket still sends cost a second, and money.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import LinkError
from gateway.transport.contract import Link, Message
from gateway.transport.credentials import Credentials
from gateway.transport.mqtt import MqttTransport
from tests.support.authority import Authority
from tests.support.fault_proxy import FaultProxy
from tests.support.mirroring import region, until
from tests.support.mqtt_liar import Liar

UNSENT_BYTES_MAX = 24 << 10
"""What may still come: the window of the slow reader, and what was under way."""


def message(number: int) -> Message:
    return Message(f"{number}", "node-1", "telemetry", "node-1", "application/octet-stream", bytes(20_000), {})


async def sent(link: Link, number: int) -> None:
    """Send as the mirror does: when the line can take it."""
    await link.ready()
    await link.send([message(number)])


async def test_what_a_link_had_not_sent_when_it_was_given_up_is_not_sent_any_more(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", "localhost")
    authority.issue("node")
    files = {name: str(path) for name, path in authority.files("server").items()}
    with Liar(**files) as liar, FaultProxy(liar.port) as proxy:
        options = region(tmp_path, proxy.port)
        credentials = Credentials(options.tls_ca, options.tls_certificate, options.tls_key)
        transport = MqttTransport(options, "node-1", credentials)
        proxy.read_slowly(20_000.0, window_bytes=4096)
        async with transport.connected() as link:
            before = proxy.moved("up")
            sending = [asyncio.create_task(sent(link, number)) for number in range(20)]
            await until(lambda: proxy.moved("up") > before + 10_000, "the line is busy")
            proxy.stall(("up",))
            left_at = proxy.moved("up")
        for task in sending:
            with pytest.raises(LinkError):
                await task
        proxy.limit(0.0)
        proxy.stall(stalls=False)
        await until(lambda: not proxy.living(), "the connection is gone")
        assert proxy.moved("up") - left_at <= UNSENT_BYTES_MAX
