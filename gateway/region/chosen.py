"""The source, the store and the sinks that a receiver is configured for; an extra of the package is imported then."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.errors import ConfigError
from gateway.region import watermarks
from gateway.region.forward import Forward
from gateway.region.sink.ndjson import NdjsonSink
from gateway.region.sink.sqlite import SqliteSink
from gateway.region.watermarks import Watermarks
from gateway.transport import wire
from gateway.transport.subscriber import Subscriber, SubscriberOptions
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import AbstractContextManager
    from types import ModuleType

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.region.outbox import Outbox
    from gateway.region.reconcile import Report
    from gateway.region.sink import Sink
    from gateway.region.store import Database, Store
    from gateway.region.stream import Stream

SESSION_EXPIRY_S: Final = 7 * 86400
KEEP_ALIVE_S: Final = 30.0

_PACKET_OVERHEAD: Final = 4096


class Connection(Protocol):
    """What is acknowledged to."""

    def publish(self, topic: str, payload: bytes) -> int:
        """Say something to a node; 0 when there is no room now."""

    def acknowledge(self, packet_ids: Sequence[int]) -> bool:
        """Let the broker forget these."""


class Source(Protocol):
    """A session with a broker that goes on until it is cancelled."""

    @property
    def connection(self) -> Connection | None:
        """The present connection, if there is one."""

    @property
    def is_connected(self) -> bool:
        """Whether batches can come."""

    async def run(self) -> None:
        """Bring what arrives."""


class Behind(Protocol):
    """Whoever takes from an outbox what was committed, and brings it on in its own time."""

    outbox: Outbox

    async def run(self) -> None:
        """Work until cancelled."""

    def notify(self) -> None:
        """Hear that something was committed."""

    def status(self) -> dict[str, object]:
        """Return what people want to know of it."""

    def close(self) -> None:
        """Let go of threads; after `run` has ended."""


def source(
    options: schema.Receiver,
    on_packets: Callable[[Any, list[Any]], None],
    chance: random.Random,
    on_ready: Callable[[Any], None],
) -> Source:
    """Return the session that brings batches. Raises `ConfigError` when its extra is not installed."""
    if options.source == "mqtt":
        return Subscriber(_subscriber_options(options), on_packets, chance, on_subscribed=on_ready)
    made: Source = _kafka("kafka_source").KafkaSource(options, on_packets, chance, on_ready)
    return made


def stream(options: schema.Receiver, clock: Clock, chance: random.Random) -> Stream:
    """Return what works from one topic of Kafka to another. Raises as `source` does."""
    made: Stream = _kafka("stream").Stream(options, clock, chance)
    return made


def store(options: schema.Receiver) -> Store:
    """Open the store. Raises `ConfigError` when its extra is not installed, `StoreError` when it cannot be opened."""
    if "postgresql" in options.sinks:
        hands_on = bool(options.forward) or "parquet" in options.sinks
        made: Store = _postgresql().PostgresqlStore(options.postgresql, options.name if hands_on else "")
        return made
    return Watermarks(Path(options.state_folder))


def sinks(options: schema.Receiver, disk: Disk, clock: Clock) -> list[Sink]:
    """Return the sinks, in the order in which they are named."""
    made: list[Sink] = []
    for name in options.sinks:
        match name:
            case "ndjson":
                made.append(NdjsonSink(Path(options.state_folder) / "ndjson", disk, clock))
            case "sqlite":
                made.append(SqliteSink())
            case "postgresql":
                from gateway.region.sink.postgresql import PostgresqlSink  # noqa: PLC0415  # of an extra

                made.append(PostgresqlSink())
    return made


def behind(
    options: schema.Receiver, store: Store, worker: ThreadPoolExecutor, disk: Disk, clock: Clock, chance: random.Random
) -> list[Behind]:
    """Return what works from outboxes. Raises `ConfigError` when an extra is not installed."""
    made: list[Behind] = [Forward(one, options.name, store, worker, clock, chance) for one in options.forward]
    if "parquet" in options.sinks:
        try:
            from gateway.region.parquet import ParquetFiles  # noqa: PLC0415  # of an extra
        except ImportError as error:
            fault = f"the sink parquet needs a package that is not installed: {error.name}"
            raise ConfigError(fault, hint="pip install 'edge-gateway[parquet]'") from error
        folder = Path(options.parquet.folder or Path(options.state_folder) / "parquet")
        made.append(ParquetFiles(options.parquet, options.name, folder, store, worker, disk))
    return made


def report(options: schema.Receiver) -> Report:
    """Read the store of a receiver, running or not, and reconcile every lane. Raises as `store` does."""
    found: Report
    if "postgresql" in options.sinks:
        found = _postgresql().report(options.postgresql)
        return found
    if "kafka" in options.sinks:
        found = _kafka("kafka_state").report(options)
        return found
    return watermarks.report(Path(options.state_folder))


def editing(options: schema.Receiver) -> AbstractContextManager[Database]:
    """Give a transaction on the store of a receiver, running or not. Raises as `store` does."""
    if "postgresql" in options.sinks:
        found: AbstractContextManager[Database] = _postgresql().editing(options.postgresql)
        return found
    if "kafka" in options.sinks:
        topic = options.kafka.sink.dead_letter_topic
        hint = f"look at them with Kafka's own tools; what is to be taken again, produce to {options.kafka.topic}"
        raise ConfigError(f"the dead letters of this receiver are records of the topic {topic}", hint=hint)
    return watermarks.editing(Path(options.state_folder))


def _kafka(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"gateway.region.{module}")
    except ImportError as error:
        fault = f"the source kafka needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[kafka]'") from error


def _postgresql() -> ModuleType:
    try:
        return importlib.import_module("gateway.region.postgresql")
    except ImportError as error:
        fault = f"the sink postgresql needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[postgresql]'") from error


def _subscriber_options(options: schema.Receiver) -> SubscriberOptions:
    heartbeats = wire.heartbeat_filter(options.topic_prefix, options.share_group)
    return SubscriberOptions(
        host=options.host,
        port=options.usual_port,
        client_id=f"edge-region-{options.share_group}-{options.name}",
        filters=(
            (wire.batch_filter(options.topic_prefix, options.share_group), 1),
            (heartbeats, 1),
        ),
        optional=frozenset({heartbeats}),
        receive_maximum=options.receive_maximum,
        keep_alive_s=KEEP_ALIVE_S,
        session_expiry_s=SESSION_EXPIRY_S,
        packet_bytes_max=options.batch_bytes_max + _PACKET_OVERHEAD,
        retain_handling="always",
        tls=lambda: client_context(options.tls_ca, options.tls_certificate, options.tls_key),
    )
