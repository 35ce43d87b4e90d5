"""Options of whoever is sent batches or events: a region, or what a receiver hands on to."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import field

from gateway.config.schema.amqp import Amqp
from gateway.config.schema.kafka import Kafka
from gateway.config.schema.nats import Nats
from gateway.config.schema.webhook import Webhook
from gateway.config.section import DURATION, MS, Name, S, Section, option


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
    encoding: Annotated[
        Literal["json", "avro", "protobuf"],
        option("What data, and structured events, are written in; avro and protobuf are extras of the package."),
    ] = "json"


USUAL_PORTS: Final = {"mqtt": 8883, "amqp": 5671, "kafka": 9093, "nats": 4222}
"""By transport, for those that are found by `host` and `port`."""


class Peer(Section, frozen=True, kw_only=True):
    """A broker or server, and how it is spoken to."""

    name: Annotated[Name, option("Name, for cursors and messages.")]
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
    host: Annotated[str, option("Host name of the broker, for all but webhook; its certificate must name it.")] = ""
    port: Annotated[
        int,
        option(
            "TCP port of the broker; 0 means the usual one: 8883, amqp 5671, kafka 9093, nats 4222.",
            low=0,
            high=65535,
        ),
    ] = 0
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of the certificate to show; needed by mqtt.")] = ""
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")] = ""
    username: Annotated[str, option("User name at the broker, where it wants one.")] = ""
    password_file: Annotated[str, option("File with the password to `username`.")] = ""
    topic_prefix: Annotated[str, option("First levels of all MQTT topics there.")] = "edge/v1"
    amqp: Annotated[Amqp, option("RabbitMQ.")] = field(default_factory=Amqp)
    kafka: Annotated[Kafka, option("Apache Kafka.")] = field(default_factory=Kafka)
    nats: Annotated[Nats, option("NATS JetStream.")] = field(default_factory=Nats)
    webhook: Annotated[Webhook, option("HTTPS.")] = field(default_factory=Webhook)
    in_flight_max: Annotated[
        int, option("Batches sent and not yet acknowledged.", unit="batches", low=1, high=1000)
    ] = 16
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
