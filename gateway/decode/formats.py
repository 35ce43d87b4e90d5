"""Which decoder a route's options name.

A route has one row a payload, or records of many rows: exactly one of the two functions is there. Documents (JSON,
CBOR, MessagePack) may be held against a contract first, and may hold an array whose elements are rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode import cbor, csv, json, line, msgpack, raw, rows, scalar, senml, senml_cbor
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


def decoder_of(
    route: schema.Route, limits: Limits, documents: Mapping[str, bytes]
) -> tuple[Decoder | None, RecordDecoder | None]:
    """Return the decoder of a route, as one of single rows or as one of records.

    `documents` holds the files that the route names. Raises `ConfigError` for a schema that cannot be used.
    """
    name = route.decoder
    if name in RECORD_FORMATS:
        return None, RECORD_FORMATS[name](route, limits)
    contract = Contract(documents[route.schema_file], route.schema_file) if route.schema_file else None
    if route.rows:
        path = () if route.rows == ITSELF else tuple(route.rows.split("."))
        return None, rows.decoder(_kept(DOCUMENTS[name], contract), limits, path)
    decode = FORMATS[name](limits)
    return (decode if contract is None else _after(_kept(DOCUMENTS[name], contract), decode)), None


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
