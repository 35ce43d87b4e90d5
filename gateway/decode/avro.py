"""Avro data by a schema → rows.

The payload is what one datum is in Avro's binary encoding: bare, or in single-object encoding, which puts a mark and
the fingerprint of the schema before it. Files of Avro, which carry their schema, are no messages and not read.

The package `fastavro` checks the schema and resolves its names when the configuration is read, and computes the
fingerprint; payloads are read by `avro_types`, and never reach it. Where a reader's schema is given too, `avro_reader`
composes what reads data of the one as data of the other. The nested result becomes a row as every document does:
records and maps by a dot, arrays by number, null left out.

Source: Apache Avro specification 1.12, "Binary Encoding", "Single-object encoding", "Schema Fingerprints".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.decode.avro_reader import resolved
from gateway.decode.avro_types import Input, compiled
from gateway.decode.flatten import flatten
from gateway.errors import ConfigError, DecodeError
from gateway.schemas.avro_resolution import unreadable
from gateway.schemas.document import HINT, schema_document

if TYPE_CHECKING:
    from gateway.decode.avro_types import Type
    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

_MARK: Final = b"\xc3\x01"
_FINGERPRINT: Final = "CRC-64-AVRO"
_HEADER_BYTES: Final = 10


def decoder(
    limits: Limits, schema: bytes, framing: Literal["bare", "single-object"] = "bare", reader_schema: bytes = b""
) -> Decoder:
    """Return a decoder of data of `schema`, the JSON text of an Avro schema. Raises `ConfigError`.

    `reader_schema` is what the data is read as; empty: as it was written.
    """
    parsed, fingerprint = _parsed(schema)
    type_ = _read_as(schema, parsed, reader_schema) if reader_schema else compiled(parsed)
    if not type_.is_document:
        raise ConfigError("the schema is of no record or map, which are what becomes a row", hint=HINT)
    header = _MARK + fingerprint if framing == "single-object" else b""

    def decode(payload: bytes, /) -> Row:
        if not payload and header:
            raise DecodeError("empty", "the payload is empty")
        if payload[: len(header)] != header:
            raise _header_refused(payload, fingerprint)
        source = Input(payload, len(header), limits)
        try:
            document = type_.read(source)
        except IndexError:
            raise DecodeError("malformed_avro", "the payload ends before its last value does") from None
        if source.at != len(payload):
            raise DecodeError("malformed_avro", "bytes follow the last value of the schema")
        if not isinstance(document, dict):
            raise DecodeError("not_an_object", "the payload is of a branch that is no record or map")
        return flatten(document, limits)

    return decode


def _read_as(schema: bytes, parsed: Any, reader_schema: bytes) -> Type:  # noqa: ANN401  # what the package makes of JSON
    """Return how data of one schema is read as that of another. Raises `ConfigError` when it may not always be."""
    try:
        wanted, _ = _parsed(reader_schema)
        findings = unreadable(schema_document(schema), schema_document(reader_schema))
    except ConfigError as error:
        raise ConfigError(f"the reader's schema: {error.fault}", hint=error.hint) from None
    if findings:
        fault = f"the reader's schema does not read the writer's: {findings[0].path or '/'}: {findings[0].reason}"
        raise ConfigError(fault, hint="`gateway schema check WRITER READER` tells all reasons")
    return resolved(parsed, wanted)


def _header_refused(payload: bytes, fingerprint: bytes) -> DecodeError:
    if not payload.startswith(_MARK) or len(payload) < _HEADER_BYTES:
        return DecodeError("malformed_avro", "the payload does not begin as single-object encoding does: c3 01")
    found = payload[len(_MARK) : _HEADER_BYTES].hex()
    fault = f"the payload is of the schema with the fingerprint {found}, the route's has {fingerprint.hex()}"
    return DecodeError("schema_unknown", fault)


def _parsed(schema: bytes) -> tuple[Any, bytes]:
    """Return the schema as the package leaves it, and its fingerprint as it lies in payloads. Raises `ConfigError`."""
    try:
        from fastavro import schema as package  # noqa: PLC0415  # an extra
    except ImportError:
        hint = "pip install 'edge-gateway[avro]'"
        raise ConfigError("the decoder avro needs the package fastavro", hint=hint) from None
    document = schema_document(schema)
    try:
        parsed = package.parse_schema(document)
        fingerprint = package.fingerprint(package.to_parsing_canonical_form(document), _FINGERPRINT)
    except (
        package.SchemaParseException,
        package.UnknownType,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise ConfigError(f"the file is no Avro schema: {_first_line(error)}", hint=HINT) from None
    return parsed, bytes.fromhex(fingerprint)


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).partition("\n")[0][:200]
