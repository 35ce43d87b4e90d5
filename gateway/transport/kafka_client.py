"""What every client of a Kafka cluster is set up with: where it is, whom to trust, who we are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transport.credentials import PemFiles


def client_settings(
    servers: Sequence[str], files: PemFiles, sasl: str = "", username: str = "", password: str = ""
) -> dict[str, Any]:
    """Return settings of librdkafka: TLS that trusts `files.ca` alone, and SASL where a mechanism is named."""
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(servers),
        "security.protocol": "sasl_ssl" if sasl else "ssl",
        "ssl.ca.pem": files.ca.decode(errors="replace"),
        "ssl.endpoint.identification.algorithm": "https",
        "allow.auto.create.topics": False,
        "topic.metadata.propagation.max.ms": 1000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        "log_level": 0,
    }
    if files.certificate:
        settings["ssl.certificate.pem"] = files.certificate.decode(errors="replace")
        settings["ssl.key.pem"] = files.key.decode(errors="replace")
    if sasl:
        settings |= {"sasl.mechanism": sasl, "sasl.username": username, "sasl.password": password}
    return settings
