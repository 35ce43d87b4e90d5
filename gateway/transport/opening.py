"""One connection from its first packet to its end: open it, subscribe, keep it alive.

Each wait is bounded and ends at once when the connection does, with the reason that the peer or the socket gave.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.errors import LinkError
from gateway.transport.tls import fault_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Sequence

    import mqtt5

    from gateway.transport.connection import Connection

Answer = TypeVar("Answer")

CONNECT_S: Final = 10.0
"""Longest wait for each of: TCP and TLS, CONNACK, SUBACK."""

_REFUSED: Final = 0x80


async def opened(host: str, port: int, context: ssl.SSLContext | None, make: Callable[[], Connection]) -> Connection:
    """Connect by TCP, with TLS if there is a context, and wait for the CONNACK. Raises `LinkError`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, connection = await loop.create_connection(make, host, port, ssl=context)
    except TimeoutError as error:
        raise LinkError(f"no connection to {host}:{port} within {CONNECT_S:.0f} s") from error
    except OSError as error:
        raise LinkError(f"cannot connect to {host}:{port}: {fault_of(error)}") from error
    try:
        await _answered(connection, connection.accepted, "CONNACK")
    except BaseException:
        connection.abort()
        raise
    return connection


async def subscribed(
    connection: Connection, filters: Sequence[mqtt5.TopicFilter], optional: Collection[str] = ()
) -> list[str]:
    """Subscribe, wait for the SUBACK, and return which `optional` filters are refused.

    Raises `LinkError` when another one is.
    """
    connection.subscribe(filters)
    await _answered(connection, connection.subscribed, "SUBACK")
    without = []
    for asked, code in zip(filters, connection.subscribed.result().reason_codes, strict=False):
        if code.value >= _REFUSED:
            if asked.pattern in optional:
                without.append(asked.pattern)
                continue
            name = code.name.lower().replace("_", " ")
            raise LinkError(f"the broker refused the subscription {asked.pattern!r}: {name}")
    return without


async def served(connection: Connection) -> None:
    """Keep the connection alive until it ends, and raise why; a peer that is silent for two keep-alives is left."""
    loop = asyncio.get_running_loop()
    while not connection.closed.done():
        half_s = connection.keep_alive_s / 2 or None
        await asyncio.wait({connection.closed}, timeout=half_s)
        now = loop.time()
        if half_s is None or connection.closed.done():
            continue
        # While the socket is not read nothing can be heard, but the broker must go on hearing us.
        heard_at = now if connection.is_paused else max(connection.received_at, connection.taken_at())
        if now - heard_at >= 4 * half_s:
            connection.abort()
            raise LinkError(f"the broker was silent for {4 * half_s:.0f} s")
        if now - min(heard_at, connection.sent_at) >= half_s:
            connection.ping()
    raise connection.fault or LinkError("connection closed")


async def _answered(connection: Connection, future: asyncio.Future[Answer], name: str) -> None:
    waited: set[asyncio.Future[Any]] = {future, connection.closed}
    await asyncio.wait(waited, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
    if connection.fault is not None:
        raise connection.fault
    if not future.done() or future.cancelled():
        connection.abort()
        raise LinkError(f"the broker sent no {name} within {CONNECT_S:.0f} s")
