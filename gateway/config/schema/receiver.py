"""Options of the central side: the receiver, and what it hands on to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.config.schema.kafka import Registry
from gateway.config.schema.peer import USUAL_PORTS, Events, Peer
from gateway.config.section import DURATION, GIB, KIB, MIB, SIZE, Name, S, Section, option


class Forward(Peer, frozen=True, kw_only=True):
    """A broker or server that gets what the receiver has committed."""

    format: Annotated[
        Literal["batch", "events"],
        option("What is sent: CloudEvents for anybody, or the batches as they came."),
    ] = "events"
    outbox_bytes_max: Annotated[
        int,
        option(
            "Disk for what it has not taken yet; when it is used up, the receiver takes nothing new.",
            unit=SIZE,
            low=MIB,
            high=1024 * GIB,
        ),
    ] = GIB


class Postgresql(Section, frozen=True, kw_only=True):
    """The database of the receivers, where `sinks` has postgresql."""

    connect: Annotated[
        str, option("How to connect, in libpq's words, without a password: host=… dbname=… user=… sslmode=verify-full.")
    ] = ""
    password_file: Annotated[str, option("File with the password, where the server wants one.")] = ""
    schema: Annotated[Name, option("Schema that holds the tables; made where it is missing.")] = "edge"


class KafkaSink(Section, frozen=True, kw_only=True):
    """Topics of the same cluster that are written in one transaction, where `sinks` is kafka."""

    topic: Annotated[str, option("Topic for the events; {node} and {lane} are filled in. It must exist.")] = (
        "edge-events"
    )
    state_topic: Annotated[
        str, option("Compacted topic for what is known of the nodes, with as many partitions as the batches' topic.")
    ] = "edge-state"
    dead_letter_topic: Annotated[str, option("Topic for what cannot be taken.")] = "edge-dead"
    events: Annotated[Events, option("Events.")] = field(default_factory=Events)
    registry: Annotated[Registry, option("Schema registry.")] = field(default_factory=Registry)
    compression: Annotated[Literal["none", "lz4", "zstd"], option("Compression of what is produced.")] = "zstd"


class KafkaSource(Section, frozen=True, kw_only=True):
    """Where batches come from, where `source` is kafka."""

    topic: Annotated[str, option("Topic with the nodes' batches; a regular expression where it begins with ^.")] = (
        "edge"
    )
    servers: Annotated[
        tuple[str, ...], option("Further brokers to begin with, as host:port, beside `host` and `port`.")
    ] = ()
    username: Annotated[str, option("User name at the brokers, where they want one.")] = ""
    password_file: Annotated[str, option("File with the password to `username`.")] = ""
    sasl: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        option("How `username` and its password are shown, within TLS."),
    ] = "SCRAM-SHA-512"
    sink: Annotated[KafkaSink, option("What is written to the same cluster.")] = field(default_factory=KafkaSink)


class Parquet(Section, frozen=True, kw_only=True):
    """How Parquet files are written, where `sinks` has parquet."""

    folder: Annotated[str, option("Folder of the files; empty means parquet in `state_folder`.")] = ""
    rows_max: Annotated[int, option("Readings that make a file.", unit="readings", low=1000, high=50_000_000)] = (
        1_000_000
    )
    interval_ns: Annotated[
        int, option("How long a reading waits for its file at most.", unit=DURATION, low=S, high=86400 * S)
    ] = 300 * S
    outbox_bytes_max: Annotated[
        int,
        option(
            "Disk for batches that wait for their file; when it is used up, the receiver takes nothing new.",
            unit=SIZE,
            low=MIB,
            high=1024 * GIB,
        ),
    ] = GIB


class Receiver(Section, frozen=True, kw_only=True):
    """The central side: `gateway region run`."""

    name: Annotated[Name, option("Name of this receiver, part of its MQTT client id.")] = "receiver"
    source: Annotated[
        Literal["mqtt", "kafka"],
        option("Where batches come from: a shared subscription, or a consumer group of Kafka."),
    ] = "mqtt"
    host: Annotated[str, option("Host name of the region's broker; its certificate must name it.")] = "localhost"
    port: Annotated[
        int, option("TCP port of the region's broker; 0 means the usual one: 8883, kafka 9093.", low=0, high=65535)
    ] = 0
    kafka: Annotated[KafkaSource, option("Apache Kafka.")] = field(default_factory=KafkaSource)
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of the receiver's certificate.")]
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")]
    topic_prefix: Annotated[str, option("First levels of all topics at the region.")] = "edge/v1"
    share_group: Annotated[Name, option("Group of the subscription; receivers of one group divide the batches.")] = (
        "receivers"  # transport/wire leaves this one out of words
    )
    state_folder: Annotated[str, option("Folder for watermarks and sinks.")] = "/var/lib/edge-gateway-region"
    sinks: Annotated[
        tuple[Literal["ndjson", "sqlite", "postgresql", "parquet", "kafka"], ...],
        option(
            "Where readings go: NDJSON or Parquet files, a table beside the watermarks in SQLite or PostgreSQL;"
            " or kafka alone, a topic of the Kafka that is the source."
        ),
    ] = ("sqlite",)
    parquet: Annotated[Parquet, option("Parquet.")] = field(default_factory=Parquet)
    postgresql: Annotated[Postgresql, option("PostgreSQL.")] = field(default_factory=Postgresql)
    receive_maximum: Annotated[
        int,
        option(
            "Batches that the broker may have sent and we have not acknowledged.",
            unit="batches",
            low=1,
            high=65535,
        ),
    ] = 64
    batch_bytes_max: Annotated[int, option("Largest batch that is taken.", unit=SIZE, low=KIB, high=64 * MIB)] = (
        32 * MIB
    )
    forward: Annotated[tuple[Forward, ...], option("Brokers and servers that readings are handed on to.")] = ()

    @property
    def keeps_state(self) -> bool:
        """Whether the receiver has a state folder of its own; else its state lies in a database or at the brokers."""
        return not {"postgresql", "kafka"} & set(self.sinks)

    @property
    def usual_port(self) -> int:
        """The port that is meant: `port`, or the usual one."""
        return self.port or USUAL_PORTS[self.source]
