"""Which decoder a route's `decoder` option names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode import cbor, json, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.decode.contract import Decoder, Limits

FORMATS: Final[Mapping[str, Callable[[Limits], Decoder]]] = {
    "json": json.decoder,
    "cbor": cbor.decoder,
    "scalar": scalar.decoder,
}
