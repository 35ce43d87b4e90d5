"""Every option of `gateway.toml`, declared once: name, type, default, bounds, unit and one sentence.

The loader, the reference page, the JSON Schema and `gateway config explain` are all made from these Structs. TOML keys
are the attribute names without a trailing `_ns`: durations are written as text with a unit ("250ms", "30s", "7d") and
kept in nanoseconds; sizes are written as text with a unit ("8MiB", "64kB") or as a number of bytes, and kept in bytes.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import field

from gateway.config.schema.amqp import Amqp
from gateway.config.schema.audit import AUDIT_ROUTE, AUDIT_TOPIC, Audit
from gateway.config.schema.console import Console
from gateway.config.schema.health import Health
from gateway.config.schema.kafka import Kafka, Registry
from gateway.config.schema.log import Log
from gateway.config.schema.nats import Nats
from gateway.config.schema.node import Broker, Journal, Lane, Node, Pressure, Spool, thin_lane
from gateway.config.schema.peer import Events, Peer
from gateway.config.schema.receiver import Forward, KafkaSink, KafkaSource, Parquet, Postgresql, Receiver
from gateway.config.schema.region import Link, Region
from gateway.config.schema.route import (
    Avro,
    Csv,
    Duplicates,
    Field,
    Limit,
    Line,
    Protobuf,
    Route,
    Sample,
    SenML,
    Sparkplug,
    Tag,
    Time,
    UnderPressure,
    Window,
)
from gateway.config.schema.trace import Trace
from gateway.config.schema.webhook import Webhook
from gateway.config.section import Section, option

__all__ = [
    "AUDIT_ROUTE",
    "AUDIT_TOPIC",
    "BLANK_OPTIONS",
    "NAME_OPTIONS",
    "PATH_OPTIONS",
    "Amqp",
    "Audit",
    "Avro",
    "Broker",
    "Console",
    "Csv",
    "Duplicates",
    "Events",
    "Field",
    "Forward",
    "Gateway",
    "Health",
    "Journal",
    "Kafka",
    "KafkaSink",
    "KafkaSource",
    "Lane",
    "Limit",
    "Line",
    "Link",
    "Log",
    "Nats",
    "Node",
    "Parquet",
    "Peer",
    "Postgresql",
    "Pressure",
    "Protobuf",
    "Receiver",
    "Region",
    "Registry",
    "Route",
    "Sample",
    "SenML",
    "Sparkplug",
    "Spool",
    "Tag",
    "Time",
    "Trace",
    "UnderPressure",
    "Webhook",
    "Window",
    "thin_lane",
]


class Gateway(Section, frozen=True, kw_only=True):
    """The whole file. A node needs `[node]`, lanes and routes, and mirrors to its regions; a receiver `[receiver]`."""

    node: Annotated[Node | None, option("The box itself.")] = None
    broker: Annotated[Broker, option("The local broker.")] = field(default_factory=Broker)
    journal: Annotated[Journal, option("The log of inputs.")] = field(default_factory=Journal)
    spool: Annotated[Spool, option("The durable ring.")] = field(default_factory=Spool)
    pressure: Annotated[Pressure, option("When the node is short of something.")] = field(default_factory=Pressure)
    route: Annotated[tuple[Route, ...], option("The routes, in order of precedence.")] = ()
    region: Annotated[tuple[Region, ...], option("The regions.")] = ()
    receiver: Annotated[Receiver | None, option("The central side.")] = None
    console: Annotated[Console, option("The console, a web page about the node.")] = field(default_factory=Console)
    health: Annotated[Health, option("What supervisors ask.")] = field(default_factory=Health)
    log: Annotated[Log, option("What the gateway says of itself.")] = field(default_factory=Log)
    audit: Annotated[Audit, option("Who changed what.")] = field(default_factory=Audit)
    trace: Annotated[Trace | None, option("Where spans go.")] = None

    @property
    def mirrored(self) -> tuple[Region, ...]:
        """The regions that the node mirrors to, without standbys."""
        return tuple(region for region in self.region if not region.failover_for)

    def standbys(self, name: str) -> tuple[Region, ...]:
        """Return the regions that stand by for the region of this name, in order of preference."""
        return tuple(region for region in self.region if region.failover_for == name)


NAME_OPTIONS: Final = frozenset(
    {
        "node.id",
        "spool.lanes.name",
        "route.name",
        "route.lane",
        "region.name",
        "receiver.name",
        "receiver.forward.name",
        "receiver.share_group",
        "receiver.postgresql.schema",
    }
)
"""Dotted paths of the options whose text must be a `Name`."""


BLANK_OPTIONS: Final = frozenset({"route.csv.columns"})
"""Dotted paths of the options whose texts may be empty, which stands for something left out."""


PATH_OPTIONS: Final = frozenset(
    {
        "node.state_folder",
        "node.status_socket",
        "broker.password_file",
        "broker.tls_ca",
        "broker.tls_certificate",
        "broker.tls_key",
        "console.tls_ca",
        "console.tls_certificate",
        "console.tls_key",
        "console.token_file",
        "route.key_file",
        "route.avro.reader_schema_file",
        "route.avro.schema_file",
        "route.protobuf.descriptor_file",
        "route.schema_file",
        "region.tls_ca",
        "region.tls_certificate",
        "region.tls_key",
        "region.password_file",
        "region.kafka.registry.password_file",
        "region.kafka.registry.tls_ca",
        "region.webhook.key_file",
        "region.webhook.secret_file",
        "region.webhook.token_file",
        "trace.tls_ca",
        "trace.token_file",
        "receiver.tls_ca",
        "receiver.tls_certificate",
        "receiver.tls_key",
        "receiver.state_folder",
        "receiver.kafka.password_file",
        "receiver.kafka.sink.registry.password_file",
        "receiver.kafka.sink.registry.tls_ca",
        "receiver.postgresql.password_file",
        "receiver.parquet.folder",
        "receiver.forward.tls_ca",
        "receiver.forward.tls_certificate",
        "receiver.forward.tls_key",
        "receiver.forward.kafka.registry.password_file",
        "receiver.forward.kafka.registry.tls_ca",
        "receiver.forward.password_file",
        "receiver.forward.webhook.key_file",
        "receiver.forward.webhook.secret_file",
        "receiver.forward.webhook.token_file",
    }
)
"""Dotted paths of the options that name files; relative ones are taken from the folder of the configuration file."""
