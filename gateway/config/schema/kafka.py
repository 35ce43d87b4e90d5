"""Options of a region behind Kafka."""

from __future__ import annotations

from typing import Annotated, Literal

from gateway.config.section import DURATION, MS, S, Section, option


class Kafka(Section, frozen=True, kw_only=True):
    """How batches or events are produced to Kafka."""

    servers: Annotated[
        tuple[str, ...], option('Brokers to begin with, each as "host:port"; certificates must name them.')
    ] = ()
    topic: Annotated[str, option("Topic to produce to; {node} and {lane} are filled in.")] = "edge.{lane}"
    compression: Annotated[
        Literal["none", "lz4", "zstd"], option("Compression of what is produced; batches are compressed already.")
    ] = "none"
    linger_ns: Annotated[
        int, option("How long a message waits for others to share a request.", unit=DURATION, low=0, high=10 * S)
    ] = 5 * MS
    sasl: Annotated[
        Literal["none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        option("How `username` and `password_file` are proved, beside or instead of a certificate."),
    ] = "none"
