"""Which decoder a route's `decoder` option names.

A format has one row a payload, or records of many rows: exactly one of the two functions is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode import cbor, json, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.config import schema
    from gateway.decode.contract import Decoder, Limits, RecordDecoder

FORMATS: Final[Mapping[str, Callable[[Limits], Decoder]]] = {
    "json": json.decoder,
    "cbor": cbor.decoder,
    "scalar": scalar.decoder,
}
RECORD_FORMATS: Final[dict[str, Callable[[schema.Route, Limits], RecordDecoder]]] = {}


def decoder_of(route: schema.Route, limits: Limits) -> tuple[Decoder | None, RecordDecoder | None]:
    """Return the decoder of a route, as one of single rows or as one of records."""
    if route.decoder in FORMATS:
        return FORMATS[route.decoder](limits), None
    return None, RECORD_FORMATS[route.decoder](route, limits)
