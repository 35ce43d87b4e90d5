"""Which decoder a route's options name.

A route has one row a payload, or records of many rows, as its `Decoding` says. Documents (JSON,
CBOR, MessagePack) may be held against a contract first, and may hold an array whose elements are rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.decode import avro, cbor, csv, json, line, msgpack, protobuf, raw, rows, scalar, senml, senml_cbor
from gateway.decode.flatten import check_extent
from gateway.decode.sparkplug import decoder as sparkplug
from gateway.decode.sparkplug.topic import place_of
from gateway.errors import DecodeError
from gateway.schemas.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.config import schema
    from gateway.decode.contract import Decoder, Limits, RecordDecoder
    from gateway.model import Row

    Parse = Callable[[bytes], object]

FORMATS: Final[Mapping[str, Callable[[Limits], Decoder]]] = {
    "json": json.decoder,
    "cbor": cbor.decoder,
    "msgpack": msgpack.decoder,
    "scalar": scalar.decoder,
    "raw": raw.decoder,
}
DOCUMENTS: Final[Mapping[str, Parse]] = {"json": json.parse, "cbor": cbor.parse, "msgpack": msgpack.parse}
RECORD_FORMATS: Final[dict[str, Callable[[schema.Route, Limits], RecordDecoder]]] = {
    "line": lambda route, limits: line.decoder(limits, precision=route.line.precision),
    "csv": lambda route, limits: csv.decoder(
        limits, route.csv.columns, route.csv.series, route.csv.delimiter, route.csv.comment
    ),
    "senml-json": lambda route, limits: senml.decoder(limits, unit=route.senml.unit),
    "senml-cbor": lambda route, limits: senml_cbor.decoder(limits, unit=route.senml.unit),
}
_SCHEMATIC: Final[Mapping[str, Callable[[schema.Route, Limits, Mapping[str, bytes]], Decoder]]] = {
    "protobuf": lambda route, limits, documents: protobuf.decoder(
        limits, documents[route.protobuf.descriptor_file], route.protobuf.message
    ),
    "avro": lambda route, limits, documents: avro.decoder(
        limits,
        documents[route.avro.schema_file],
        route.avro.framing,
        documents[route.avro.reader_schema_file] if route.avro.reader_schema_file else b"",
    ),
}
"""What cannot be read without a schema."""

ITSELF: Final = "."
"""As path of the rows: the document itself is the array."""


class Decoding(NamedTuple):
    """How a route decodes: exactly one of `row` and `records` is there.

    `memory` is what the decoder learns from messages for those to come, `origin` gives the topic that stands for others
    of the same sensor. `schema` names the schema that payloads keep or are written in, with its version; empty: none.
    """

    row: Decoder | None = None
    records: RecordDecoder | None = None
    memory: sparkplug.Sparkplug | None = None
    origin: Callable[[str], str] | None = None
    schema: str = ""


def decoding_of(route: schema.Route, limits: Limits, documents: Mapping[str, bytes]) -> Decoding:
    """Return the decoder of a route.

    `documents` holds the files that the route names. Raises `ConfigError` for a schema that cannot be used.
    """
    name = route.decoder
    if name == "sparkplug":
        memory = sparkplug.Sparkplug(limits, route.sparkplug)
        return Decoding(records=memory.decode, memory=memory, origin=lambda topic: place_of(topic).origin)
    if name in RECORD_FORMATS:
        return Decoding(records=RECORD_FORMATS[name](route, limits))
    named = schema_name(route)
    if name in _SCHEMATIC:
        decode = _SCHEMATIC[name](route, limits, documents)
        return Decoding(_naming(decode, named) if route.schema_version else decode, schema=named)
    contract = Contract(documents[route.schema_file], named) if route.schema_file else None
    if route.rows:
        path = () if route.rows == ITSELF else tuple(route.rows.split("."))
        extent = limits.depth_max + 1 + len(path), None
        return Decoding(records=rows.decoder(_kept(DOCUMENTS[name], contract, *extent), limits, path), schema=named)
    decode = FORMATS[name](limits)
    if contract is not None:
        decode = _after(_kept(DOCUMENTS[name], contract, limits.depth_max, limits.field_count_max), decode)
    return Decoding(decode, schema=named)


def schema_name(route: schema.Route) -> str:
    """Return which schema a route has, by its file and its version; empty when it has none."""
    files = {"protobuf": route.protobuf.descriptor_file, "avro": route.avro.schema_file}
    file = files.get(route.decoder, route.schema_file)
    return f"{file} version {route.schema_version}" if file and route.schema_version else file


def _kept(parse: Parse, contract: Contract | None, depth_max: int, field_count_max: int | None) -> Parse:
    """Return a parser that lets only documents through that keep the contract.

    What is beyond the limits is refused first: a schema that refers to itself in several branches takes time that
    grows with a power of the depth.
    """
    if contract is None:
        return parse

    def parsed(payload: bytes) -> object:
        document = parse(payload)
        check_extent(document, depth_max, field_count_max)
        contract.check(document)
        return document

    return parsed


def _after(check: Parse, decode: Decoder) -> Decoder:
    def decoded(payload: bytes, /) -> Row:
        check(payload)
        return decode(payload)

    return decoded


def _naming(decode: Decoder, name: str) -> Decoder:
    """Return a decoder whose refusals name the schema that the payload was read by."""

    def decoded(payload: bytes, /) -> Row:
        try:
            return decode(payload)
        except DecodeError as error:
            raise DecodeError(error.reason, f"{error.fault} ({name})") from None

    return decoded
