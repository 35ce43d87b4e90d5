"""What every client of a Kafka cluster is set up with, and what every record that we produce has."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.errors import ConfigError
from gateway.transport.tls import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import KafkaError

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials, PemFiles
    from gateway.transport.schema_registry import SchemaRegistry


NO_BROKER: Final = "_ALL_BROKERS_DOWN"
ASKED_AGAIN_S: Final = 10.0

_DETAILS: Final = re.compile(r" \(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)")
_CERTIFICATE: Final = "certificate verify failed"


class Reasons:
    """Puts what the library says of a connection into words for people.

    The same fault is the same text: how long it took is left out. Why a broker's certificate is refused the library
    does not say; so a handshake of our own is made, once in `ASKED_AGAIN_S`, which takes as long at most.
    """

    def __init__(self, host: str, port: int, credentials: Credentials) -> None:
        self._host = host
        self._port = port
        self._credentials = credentials
        self._refused = ""
        self._ask_at = 0.0

    def of(self, error: KafkaError) -> str:
        """Return the words; empty when it says no more than that something is wrong. May block."""
        fault = _DETAILS.sub("", error.str())
        return "" if error.name() == NO_BROKER else self.of_certificate(fault)

    def of_certificate(self, fault: str) -> str:
        """Return why the certificate is refused, where `fault` says that one is; else `fault`. May block."""
        if _CERTIFICATE not in fault:
            return fault
        if time.monotonic() >= self._ask_at:
            reason = refusal(self._host, self._port, self._credentials.context(), ASKED_AGAIN_S)
            self._refused = f"cannot connect to {self._host}:{self._port}: {reason or _CERTIFICATE}"
            self._ask_at = time.monotonic() + ASKED_AGAIN_S
        return self._refused


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
