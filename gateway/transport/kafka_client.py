"""What every client of a Kafka cluster is set up with, and what every record that we produce has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import PemFiles
    from gateway.transport.schema_registry import SchemaRegistry


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


def headers(message: Message) -> list[tuple[str, str | bytes | None]]:
    """Return a message's attributes as the binding of CloudEvents has them."""
    said: list[tuple[str, str | bytes | None]] = [("content-type", message.content_type)]
    said += [(f"ce_{name}", value) for name, value in message.attributes.items()]
    return said


def registry(
    options: schema.Registry, encoding: Literal["json", "avro", "protobuf"], ca: str, of: str
) -> SchemaRegistry | None:
    """Return the registry that is configured. Raises `ConfigError` when its extra is not installed."""
    if not options.url:
        return None
    try:
        from gateway.transport.schema_registry import SchemaRegistry  # noqa: PLC0415  # of an extra
    except ImportError as error:
        fault = f"{of}: the schema registry needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[registry]'") from error
    return SchemaRegistry(options, encoding, ca)
