"""Options of a region, as the box sees it, and of its receiver."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import field

from gateway.config.schema.amqp import Amqp
from gateway.config.schema.kafka import Kafka
from gateway.config.schema.nats import Nats
from gateway.config.schema.webhook import Webhook
from gateway.config.section import DURATION, GIB, KIB, MIB, MS, SIZE, Name, S, Section, option


class Link(Section, frozen=True, kw_only=True):
    """What the line to a region may carry, and when."""

    bytes_per_second: Annotated[
        int, option("Rate of sending; 0 means as fast as it goes.", unit=SIZE, low=0, high=GIB)
    ] = 0
    bytes_per_day: Annotated[
        int, option("Bytes of a day, UTC, after which only urgent lanes go; 0: any.", unit=SIZE, low=0, high=1024 * GIB)
    ] = 0
    bytes_per_month: Annotated[
        int,
        option("Bytes of a month, UTC, after which only urgent lanes go; 0: any.", unit=SIZE, low=0, high=1024 * GIB),
    ] = 0
    connect: Annotated[
        tuple[str, ...],
        option("When the radio goes up: cron expressions, five fields, UTC; empty means it is always up."),
    ] = ()
    connect_for_ns: Annotated[
        int, option("How long the radio then stays up.", unit=DURATION, low=S, high=86400 * S)
    ] = 600 * S
    flush: Annotated[
        bool, option("Whether open batches are sealed when the radio goes up, so that they travel with the others.")
    ] = True
    urgent_lanes: Annotated[
        tuple[str, ...], option("Lanes that no budget and no window holds back; empty means the first lane.")
    ] = ()


class Events(Section, frozen=True, kw_only=True):
    """How events are made, for consumers without our receiver."""

    of: Annotated[
        Literal["row", "reading"],
        option("One event for each row, all fields that came together, or for each reading."),
    ] = "row"
    mode: Annotated[
        Literal["structured", "binary"],
        option("Whether attributes and data are one JSON document, or attributes go where the protocol has a place."),
    ] = "structured"


USUAL_PORTS: Final = {"mqtt": 8883, "amqp": 5671, "kafka": 9093, "nats": 4222}
"""By transport, for those that are found by `host` and `port`."""


class Region(Section, frozen=True, kw_only=True):
    """One central site that receives every batch."""

    name: Annotated[Name, option("Name of the region, for cursors and messages.")]
    transport: Annotated[
        Literal["mqtt", "amqp", "kafka", "nats", "webhook"],
        option("Kind of broker or server there; all but mqtt are extras of the package."),
    ] = "mqtt"
    format: Annotated[
        Literal["batch", "events"],
        option(
            "What is sent: sealed batches for our receiver, or CloudEvents for anybody (mqtt: <prefix>/<node>/event)."
        ),
    ] = "batch"
    events: Annotated[Events, option("Events.")] = field(default_factory=Events)
    host: Annotated[
        str, option("Host name of the region's broker, for all but webhook; its certificate must name it.")
    ] = ""
    port: Annotated[
        int,
        option(
            "TCP port of the region's broker; 0 means the usual one: 8883, amqp 5671, kafka 9093, nats 4222.",
            low=0,
            high=65535,
        ),
    ] = 0
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of this node's certificate; needed by mqtt.")] = ""
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")] = ""
    username: Annotated[str, option("User name at the broker, where it wants one.")] = ""
    password_file: Annotated[str, option("File with the password to `username`.")] = ""
    topic_prefix: Annotated[str, option("First levels of all MQTT topics at the region.")] = "edge/v1"
    amqp: Annotated[Amqp, option("RabbitMQ.")] = field(default_factory=Amqp)
    kafka: Annotated[Kafka, option("Apache Kafka.")] = field(default_factory=Kafka)
    nats: Annotated[Nats, option("NATS JetStream.")] = field(default_factory=Nats)
    webhook: Annotated[Webhook, option("HTTPS.")] = field(default_factory=Webhook)
    link: Annotated[Link, option("The line.")] = field(default_factory=Link)
    acknowledge: Annotated[
        Literal["receiver", "broker"],
        option("Whose word moves the cursor: the receiver's after its durable write (mqtt only), or the broker's."),
    ] = "receiver"
    required: Annotated[
        bool,
        option("Whether batches are kept on disk until this region has them, as far as the ring's size allows."),
    ] = True
    lag_bytes_max: Annotated[
        int,
        option(
            "Disk that batches may take which only this optional region waits for; 0 means no bound but the ring's.",
            unit=SIZE,
            low=0,
            high=1024 * GIB,
        ),
    ] = 0
    in_flight_max: Annotated[
        int, option("Batches sent and not yet acknowledged.", unit="batches", low=1, high=1000)
    ] = 16
    failover_for: Annotated[
        str,
        option("Name of the region that this one stands by for; it then gets only what that one does not take."),
    ] = ""
    failover_after_ns: Annotated[
        int,
        option(
            "How long a region may not do its work until its next standby does.", unit=DURATION, low=S, high=86400 * S
        ),
    ] = 120 * S
    hold_down_ns: Annotated[
        int,
        option(
            "How long a region must hold a link before its standby gives the work back; up to half as long again.",
            unit=DURATION,
            low=S,
            high=86400 * S,
        ),
    ] = 300 * S
    backlog_share: Annotated[
        float,
        option("Share of the line for what has piled up, while newer batches go past it.", low=0.01, high=0.99),
    ] = 0.3
    resend_after_ns: Annotated[
        int, option("Age at which a batch in flight is sent again.", unit=DURATION, low=S, high=3600 * S)
    ] = 30 * S
    keep_alive_ns: Annotated[
        int, option("Silence after which the link is probed.", unit=DURATION, low=S, high=3600 * S)
    ] = 30 * S
    backoff_min_ns: Annotated[
        int,
        option(
            "Ceiling of the first random wait before a new connection.",
            unit=DURATION,
            low=10 * MS,
            high=60 * S,
        ),
    ] = 500 * MS
    backoff_max_ns: Annotated[
        int,
        option("Ceiling of all random waits before a new connection.", unit=DURATION, low=S, high=3600 * S),
    ] = 120 * S

    @property
    def usual_port(self) -> int:
        """The port that is meant: `port`, or the usual one."""
        return self.port or USUAL_PORTS[self.transport]


class Receiver(Section, frozen=True, kw_only=True):
    """The central side: `gateway region run`."""

    name: Annotated[Name, option("Name of this receiver, part of its MQTT client id.")] = "receiver"
    host: Annotated[str, option("Host name of the region's MQTT 5 broker; its certificate must name it.")] = "localhost"
    port: Annotated[int, option("TCP port of the region's broker.", low=1, high=65535)] = 8883
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of the receiver's certificate.")]
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")]
    topic_prefix: Annotated[str, option("First levels of all topics at the region.")] = "edge/v1"
    share_group: Annotated[Name, option("Shared subscription group; receivers of one group divide the batches.")] = (
        "receivers"
    )
    state_folder: Annotated[str, option("Folder for watermarks and sinks.")] = "/var/lib/edge-region"
    sinks: Annotated[
        tuple[Literal["ndjson", "sqlite"], ...],
        option("Where readings go: NDJSON files, and tables beside the watermarks in SQLite."),
    ] = ("sqlite",)
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
