"""Any payload → a row with the one field `value`: its bytes as they are, for whoever reads them at the region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode.flatten import select
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

FIELD: Final = "value"


def decoder(limits: Limits) -> Decoder:
    """Return a decoder under `limits`, of which only `fields` has a meaning here."""
    fields = limits.fields

    def decode(payload: bytes, /) -> Row:
        if not payload:
            raise DecodeError("empty", "the payload is empty")
        return select({FIELD: payload}, fields)

    return decode
