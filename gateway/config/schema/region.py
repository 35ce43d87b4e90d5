"""Options of a region, as the box sees it, and of its receiver."""

from __future__ import annotations

from typing import Annotated, Literal

from gateway.config.section import DURATION, GIB, KIB, MIB, MS, SIZE, Name, S, Section, option


class Region(Section, frozen=True, kw_only=True):
    """One central site that receives every batch."""

    name: Annotated[Name, option("Name of the region, for cursors and messages.")]
    host: Annotated[str, option("Host name of the region's MQTT 5 broker; its certificate must name it.")]
    port: Annotated[int, option("TCP port of the region's broker.", low=1, high=65535)] = 8883
    tls_ca: Annotated[str, option("PEM file of the only CA that may have signed the broker's certificate.")]
    tls_certificate: Annotated[str, option("PEM file of this node's certificate.")]
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")]
    topic_prefix: Annotated[str, option("First levels of all topics at the region.")] = "edge/v1"
    acknowledge: Annotated[
        Literal["receiver", "broker"],
        option("What moves the cursor: the receiver's word after its durable write, or the broker's PUBACK."),
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
