"""Options of a region behind Apache Kafka, or what speaks its protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.config.section import DURATION, MS, S, Section, option


class Registry(Section, frozen=True, kw_only=True):
    """A schema registry with Confluent's interface, for events in Avro or Protobuf."""

    url: Annotated[str, option("Where it is, https://…; empty means that there is none.")] = ""
    tls_ca: Annotated[str, option("PEM file of the CA of its certificate; empty means the brokers'.")] = ""
    username: Annotated[str, option("User name there, where it wants one.")] = ""
    password_file: Annotated[str, option("File with the password to `username`.")] = ""
    subject: Annotated[
        Literal["topic", "record", "topic_record"], option("What the subject of the schema is named after.")
    ] = "topic"
    register: Annotated[
        bool, option("Whether the schema is registered where it is missing; otherwise it must be there.")
    ] = True


class Kafka(Section, frozen=True, kw_only=True):
    """How batches or events are produced to topics of Apache Kafka."""

    topic: Annotated[str, option("Topic to produce to; {node} and {lane} are filled in. It must exist.")] = "edge"
    servers: Annotated[
        tuple[str, ...],
        option("Further brokers to begin with, as host:port, beside `host` and `port`; the cluster names the others."),
    ] = ()
    sasl: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        option("How `username` and its password are shown, within TLS."),
    ] = "SCRAM-SHA-512"
    compression: Annotated[
        Literal["auto", "none", "lz4", "zstd"],
        option("Compression of what is produced; auto: zstd for events, none for batches, which are compressed."),
    ] = "auto"
    linger_ns: Annotated[
        int, option("How long a message waits for others to go with.", unit=DURATION, low=0, high=10 * S)
    ] = 5 * MS
    registry: Annotated[Registry, option("Schema registry.")] = field(default_factory=Registry)
