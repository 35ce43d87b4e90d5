"""A persistent MQTT 5 session that comes back by itself and acknowledges only when its owner says so.

Connect (Clean Start 0, fixed client id, explicit Receive Maximum), subscribe, serve until the connection dies, wait
with full jitter, again, for ever; only cancellation ends `run`. Subscribing is repeated on every connection: it costs
little and heals a broker that lost our session. Nothing here queues: packets are handed over inside the read.

Used by `ingest` towards the local broker and by `region` towards the region's; the hot path is `connection`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mqtt5

from gateway import redaction
from gateway.audit.trail import record_security
from gateway.errors import CredentialError, GatewayError, MalformedPacketError
from gateway.transport import opening
from gateway.transport.backoff import Backoff
from gateway.transport.connection import Connection
from gateway.transport.tls import is_refusal

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import Callable

    from gateway.transport.connection import OnPublishes

log = logging.getLogger(__name__)

_RETAIN_HANDLING = {
    "always": mqtt5.RetainHandling.SEND_ALWAYS,
    "new": mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
    "never": mqtt5.RetainHandling.SEND_NEVER,
}


@dataclass(slots=True, frozen=True, kw_only=True)
class SubscriberOptions:
    """Where and how to connect. `filters` are (topic filter, QoS); `tls` makes a fresh context for each connection."""

    host: str
    port: int
    client_id: str
    filters: tuple[tuple[str, int], ...]
    receive_maximum: int
    keep_alive_s: float
    session_expiry_s: int
    packet_bytes_max: int
    retain_handling: str = "new"
    username: str | None = None
    password: Callable[[], bytes | None] = lambda: None
    tls: Callable[[], ssl.SSLContext] | None = None
    backoff_min_s: float = 0.2
    backoff_max_s: float = 5.0
    """Short: a box's own broker has one such client and a region's has its receivers, not a fleet."""
    optional: frozenset[str] = frozenset()
    """Filters that the broker may refuse: what would come by them is done without."""
    former_filters: tuple[str, ...] = ()
    """What the broker's session may still be subscribed to, and should not be any more."""


class Subscriber:
    """The session; `counts` and `last_fault` are for people, `connection` is the one that lives or None."""

    def __init__(
        self,
        options: SubscriberOptions,
        on_publishes: OnPublishes,
        chance: random.Random,
        *,
        last_connection: int = 0,
        on_subscribed: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._on_publishes = on_publishes
        self._on_subscribed = on_subscribed
        self._backoff = Backoff(chance, options.backoff_min_s, options.backoff_max_s)
        self._number = last_connection
        self._had_session = last_connection > 0
        self.connection: Connection | None = None
        self.counts = {"connects": 0, "connection_faults": 0, "malformed": 0, "sessions_lost": 0, "overruns": 0}
        self.last_fault = ""
        self._without: list[str] = []

    @property
    def last_connection(self) -> int:
        """The number of the newest connection that was tried."""
        return self._number

    @property
    def is_connected(self) -> bool:
        """Whether the broker has granted our subscriptions on a connection that lives."""
        return self.connection is not None and self.connection.subscribed.done() and not self.connection.closed.done()

    async def run(self) -> None:
        """Keep the session alive until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            up_since = None
            try:
                connection = await self._open()
                up_since = loop.time()
                await opening.served(connection)
            except GatewayError as error:
                self._count(error)
            finally:
                self._drop()
            up_s = 0.0 if up_since is None else loop.time() - up_since
            await asyncio.sleep(self._backoff.next_wait_s(up_s))

    def _count(self, error: GatewayError) -> None:
        self.counts["connection_faults"] += 1
        if isinstance(error, MalformedPacketError):
            self.counts["malformed"] += 1
        if error.fault != self.last_fault:
            log.warning("broker %s:%s: %s", self._options.host, self._options.port, error)
            if is_refusal(error.fault):
                peer = f"broker {self._options.host}:{self._options.port}"
                record_security("certificate.refused", peer=peer, fault=error.fault)
        self.last_fault = error.fault

    def _count_overrun(self) -> None:
        self.counts["overruns"] += 1

    def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    async def _open(self) -> Connection:
        options = self._options
        self._number += 1
        connect = mqtt5.ConnectPacket(
            options.client_id,
            username=options.username,
            password=options.password(),
            clean_start=False,
            keep_alive=round(options.keep_alive_s),
            session_expiry_interval=options.session_expiry_s,
            receive_max=options.receive_maximum,
            max_packet_size=options.packet_bytes_max,
        )
        context = options.tls() if options.tls else None
        connection = await opening.opened(
            options.host,
            options.port,
            context,
            lambda: Connection(self._number, connect, self._on_publishes, self._count_overrun, is_quick=True),
        )
        self.connection = connection
        self.counts["connects"] += 1
        if self._had_session and not connection.resumed:
            self.counts["sessions_lost"] += 1
            where = f"{options.host}:{options.port}"
            log.warning("broker %s: the broker lost our session: what waited for us there is gone", where)
        self._had_session = True
        await self._subscribe(connection)
        return connection

    async def _subscribe(self, connection: Connection) -> None:
        handling = _RETAIN_HANDLING[self._options.retain_handling]
        filters = [
            mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS(min(qos, 1)), retain_handling=handling)
            for pattern, qos in self._options.filters
        ]
        without = await opening.subscribed(connection, filters, self._options.optional)
        if self._options.former_filters and connection.resumed:
            connection.unsubscribe(self._options.former_filters)
        log.info("broker %s:%s: connected", self._options.host, self._options.port)
        if without and without != self._without:
            names = ", ".join(without)
            log.warning(
                "broker %s:%s: goes without %s, which is refused", self._options.host, self._options.port, names
            )
        self._without = without
        self.last_fault = ""
        self._on_subscribed(connection)


def password_of(path: str) -> Callable[[], bytes | None]:
    """Return a reader of the first line of `path`, read anew for each connection; of nothing when `path` is empty."""

    def read() -> bytes | None:
        if not path:
            return None
        try:
            with open(path, "rb") as file:  # noqa: PTH123  # one line of a small file
                password = file.readline().rstrip(b"\r\n")
        except OSError as error:
            raise CredentialError(f"cannot read the password file {path}: {error.strerror}") from error
        redaction.learn(password)
        return password

    return read
