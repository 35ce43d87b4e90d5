"""Which decoder a route's options name.

A route has one row a payload, or records of many rows, as its `Decoding` says. Documents (JSON,
CBOR, MessagePack) may be held against a contract first, and may hold an array whose elements are rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.decode import avro, cbor, csv, json, line, msgpack, protobuf, raw, rows, scalar, senml, senml_cbor
from gateway.decode.sparkplug import decoder as sparkplug
from gateway.decode.sparkplug.topic import place_of
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

ITSELF: Final = "."
"""As path of the rows: the document itself is the array."""


class Decoding(NamedTuple):
    """How a route decodes: exactly one of `row` and `records` is there.

    `memory` is what the decoder learns from messages for those to come, `origin` gives the topic that stands for others
    of the same sensor.
    """

    row: Decoder | None = None
    records: RecordDecoder | None = None
    memory: sparkplug.Sparkplug | None = None
    origin: Callable[[str], str] | None = None


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
    if name == "protobuf":
        options = route.protobuf
        return Decoding(protobuf.decoder(limits, documents[options.descriptor_file], options.message))
    if name == "avro":
        return Decoding(avro.decoder(limits, documents[route.avro.schema_file], route.avro.framing))
    contract = Contract(documents[route.schema_file], route.schema_file) if route.schema_file else None
    if route.rows:
        path = () if route.rows == ITSELF else tuple(route.rows.split("."))
        return Decoding(records=rows.decoder(_kept(DOCUMENTS[name], contract), limits, path))
    decode = FORMATS[name](limits)
    return Decoding(decode if contract is None else _after(_kept(DOCUMENTS[name], contract), decode))


def _kept(parse: Parse, contract: Contract | None) -> Parse:
    """Return a parser that lets only documents through that keep the contract."""
    if contract is None:
        return parse

    def parsed(payload: bytes) -> object:
        document = parse(payload)
        contract.check(document)
        return document

    return parsed


def _after(check: Parse, decode: Decoder) -> Decoder:
    def decoded(payload: bytes, /) -> Row:
        check(payload)
        return decode(payload)

    return decoded
