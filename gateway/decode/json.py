"""JSON objects → rows.

Nearly every payload is one flat object of numbers, text and booleans, so that is what the typed parser takes, with
all bounds checked inside it; whatever it refuses is parsed again without types, to take what is nested or null and to
say exactly what is wrong with the rest.

The parser keeps the last of two equal keys, silently. Outside of text every key has exactly one colon, so a payload
with as many colons as keys has no key twice; one with more may have colons in its text, which are subtracted, and only
where that does not come out even (or a backslash could hide a colon) the keys are counted one by one.

Source: RFC 8259; numbers beyond IEEE 754 doubles and 64-bit integers are refused, as its section 6 allows.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec

from gateway.decode.contract import FIELD_CHARACTERS_MAX, INTEGER_MAX, INTEGER_MIN
from gateway.decode.flatten import NESTING_MAX, check_names, flatten, select
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

_Integer = Annotated[int, msgspec.Meta(ge=INTEGER_MIN, le=INTEGER_MAX)]
_parse_flat: Final = cast(
    "Callable[[bytes], Row]", msgspec.json.Decoder(dict[str, _Integer | float | bool | str]).decode
)
_parse: Final = msgspec.json.Decoder().decode

_NOT_FINITE: Final = re.compile(rb"(?<![\w\"])-?(?:nan|inf|infinity)\b", re.IGNORECASE)
_WORD_BYTES: Final = 4
_AT_BYTE: Final = re.compile(r"\(byte (\d+)\)")


def decoder(limits: Limits) -> Decoder:
    """Return a decoder under `limits`."""
    fields, field_count_max = limits.fields, limits.field_count_max

    def decode(payload: bytes, /) -> Row:
        try:
            row = _parse_flat(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _nested(payload, limits)
        count = len(row)
        if count > field_count_max:
            raise DecodeError("too_many_fields", f"the payload has more than {field_count_max} fields")
        if payload.count(b":") != count:
            _check_keys(payload, row)
        if len(payload) > FIELD_CHARACTERS_MAX:
            check_names(row)
        if fields or not count:
            return select(row, fields)
        return row

    return decode


def parse(payload: bytes, /) -> object:
    """Return the document that `payload` is: plain values, lists, and dicts whose keys are unique.

    It is nested no deeper than `NESTING_MAX`; its values are still to be checked. Raises `DecodeError`.
    """
    document = _parsed(payload)
    if isinstance(document, dict | list):
        _check_keys(payload, document)
    return document


def _nested(payload: bytes, limits: Limits) -> Row:
    """Take what is no flat object of plain values, or say why it cannot be taken."""
    document = _parsed(payload)
    if not isinstance(document, dict):
        raise DecodeError("not_an_object", f"the payload is {_kind(document)}, not an object")
    row = flatten(document, limits)
    _check_keys(payload, document)
    return row


def _parsed(payload: bytes) -> object:
    if not payload:
        raise DecodeError("empty", "the payload is empty")
    try:
        return _parse(payload)
    except RecursionError:
        raise DecodeError("too_deep", "the payload is nested deeper than any limit") from None
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None
    except msgspec.ValidationError as error:
        reason = "integer_too_large" if "Integer" in str(error) else "number_too_large"
        raise DecodeError(reason, "a number in the payload is too large") from None
    except msgspec.DecodeError as error:
        if _is_not_finite(payload, str(error)):
            raise DecodeError("not_finite", "the payload holds NaN or Infinity") from None
        raise DecodeError("malformed_json", f"the payload is not JSON: {error}") from None


def _is_not_finite(payload: bytes, fault: str) -> bool:
    """Return whether what the parser stumbled over, at the byte that its `fault` names, is NaN or Infinity."""
    place = _AT_BYTE.search(fault)
    if place is None:
        return False
    at = int(place[1])
    starts = range(max(at - _WORD_BYTES, 0), at + 1)  # `n` may become `null`, so the word is read before it is refused
    return any(_NOT_FINITE.match(payload, start) for start in starts)


def _kind(document: object) -> str:
    match document:
        case list():
            return "an array"
        case None:
            return "null"
        case _:
            return "a bare value"


def _check_keys(payload: bytes, document: object) -> None:
    """Raise `DecodeError` when an object in `payload`, parsed as `document`, has a key twice."""
    colons = _colons(document)
    if b"\\" not in payload and payload.count(b":") == colons:
        return
    json.loads(payload, object_pairs_hook=_unique)


def _colons(document: object) -> int:
    """Return how many colons the text of `document` holds if no key was in it twice and nothing was escaped.

    Raises `DecodeError` when it is nested deeper than `NESTING_MAX`.
    """
    colons = 0
    level = [document]
    for _ in range(NESTING_MAX + 1):
        deeper: list[object] = []
        for outer in level:
            values = outer
            if isinstance(outer, dict):
                colons += len(outer) + "".join(outer).count(":")
                values = outer.values()
            for inner in cast("Iterable[object]", values):
                if isinstance(inner, str):
                    colons += inner.count(":")
                elif isinstance(inner, dict | list):
                    deeper.append(inner)
        if not deeper:
            return colons
        level = deeper
    raise DecodeError("too_deep", f"the payload is nested deeper than {NESTING_MAX}")


def _unique(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise DecodeError("duplicate_key", f"the payload holds two values for {key[:80]!r}")
        seen.add(key)
