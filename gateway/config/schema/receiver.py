"""Options of the central side: the receiver, and what it hands on to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.config.schema.peer import Peer
from gateway.config.section import GIB, KIB, MIB, SIZE, Name, Section, option


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
        tuple[Literal["ndjson", "sqlite", "postgresql"], ...],
        option("Where readings go: NDJSON files, a table beside the watermarks in SQLite, or both in PostgreSQL."),
    ] = ("sqlite",)
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
