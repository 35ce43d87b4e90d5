"""One bare value → a row with the one field `value`.

A number, `true` or `false` in ASCII, blanks around it ignored; everything else that is UTF-8 is text, kept as it is.
`null` and NaN are what sensors write for "no value": the first is `no_fields`, the second `not_finite`.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.decode.flatten import select
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row, Value

FIELD: Final = "value"

_NUMBER: Final = re.compile(rb"[+-]?(?:\d+(\.\d*)?|(\.\d+))([eE][+-]?\d+)?")
_NOT_FINITE: Final = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_WORDS: Final[dict[bytes, Row]] = {b"true": {FIELD: True}, b"false": {FIELD: False}, b"null": {}}
_BOOLEANS: Final = frozenset({b"true", b"false"})
_DIGITS_MAX: Final = 20
"""More than any 64-bit integer has, its sign included; leading zeros count."""


def decoder(limits: Limits) -> Decoder:
    """Return a decoder under `limits`, of which only `fields` has a meaning here."""
    fields = limits.fields

    def decode(payload: bytes, /) -> Row:
        if not payload:
            raise DecodeError("empty", "the payload is empty")
        bare = payload.strip()
        word = _WORDS.get(bare)
        return select({FIELD: _value(bare, payload)} if word is None else dict(word), fields)

    return decode


def typed(cell: bytes) -> Value:
    """Return the number, boolean or text that a cell of some larger format is. Raises `DecodeError`."""
    bare = cell.strip()
    return bare == b"true" if bare in _BOOLEANS else _value(bare, bare)


def _value(bare: bytes, payload: bytes) -> Value:
    number = _NUMBER.fullmatch(bare)
    if number is None:
        return _text(bare, payload)
    if not any(number.groups()):
        return _integer(bare)
    value = float(bare)
    if not isfinite(value):
        raise DecodeError("number_too_large", "the number is too large")
    return value


def _integer(bare: bytes) -> int:
    value = int(bare) if len(bare) <= _DIGITS_MAX else INTEGER_MAX + 1
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise DecodeError("integer_too_large", "the integer does not fit 64 signed bits")
    return value


def _text(bare: bytes, payload: bytes) -> str:
    if _NOT_FINITE.fullmatch(bare):
        raise DecodeError("not_finite", "the payload is NaN or Infinity")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "the payload is neither a number nor UTF-8 text") from None
