"""The encoding that events are configured for; those that need an extra of the package are imported when chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.events.json import JsonEncoding

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.events.cloud_event import Encoding


def encoding(options: schema.Events) -> Encoding:
    """Return the encoding. Raises `ConfigError` when its extra is not installed."""
    match options.encoding:
        case "avro":
            from gateway.events.avro import AvroEncoding  # noqa: PLC0415  # of an extra

            return AvroEncoding()
        case "protobuf":
            from gateway.events.protobuf import ProtobufEncoding  # noqa: PLC0415  # of an extra

            return ProtobufEncoding()
    return JsonEncoding()
