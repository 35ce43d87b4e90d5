"""MessagePack maps → rows.

A flat map of numbers, text and booleans is what the typed parser takes in one call, with their bounds checked inside
it. The parser keeps the last of two equal keys, silently, but the head of the map says how many it was sent: a row that
is smaller had a key twice.

Whatever the typed parser refuses is walked over first, without building anything: the walk follows the heads alone,
which say how long everything is, and ends at the first thing that exceeds a limit, that is no text where a key must be,
or that is of an extension type (what those mean is for applications to say; even the predefined timestamp is not read).
Only what came through is parsed, so that no payload chooses what is computed or how much is built.

Source: the MessagePack specification, https://github.com/msgpack/msgpack/blob/master/spec.md; it leaves duplicate keys
to the application, which refuses them.
"""

from __future__ import annotations

from sys import float_info
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, cast

import msgspec

from gateway.decode.contract import FIELD_CHARACTERS_MAX, INTEGER_MAX, INTEGER_MIN, RECORDS_MAX
from gateway.decode.flatten import NESTING_MAX, check_names, flatten, select
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

_LEAVES_MAX: Final = 64 * RECORDS_MAX
"""Most values in one document of many rows."""

_Integer = Annotated[int, msgspec.Meta(ge=INTEGER_MIN, le=INTEGER_MAX)]
_Finite = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)]
_parse_flat: Final = cast(
    "Callable[[bytes], Row]", msgspec.msgpack.Decoder(dict[str, _Integer | _Finite | bool | str]).decode
)
_parse: Final = msgspec.msgpack.Decoder().decode

_FIXED_MAP: Final = range(0x80, 0x90)
_FIXED_ARRAY: Final = range(0x90, 0xA0)
_FIXED_TEXT: Final = range(0xA0, 0xC0)
_LENGTH_BYTES: Final = {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""Head byte → bytes of the length that follows: of bytes, text, arrays and maps."""
_VALUE_BYTES: Final = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
} | dict.fromkeys((*range(0x80), *range(0xE0, 0x100)), 0)  # fmt: skip
"""Head byte → bytes of the value that follows: of nil, booleans and numbers."""
_TEXTS: Final = frozenset({*_FIXED_TEXT, 0xD9, 0xDA, 0xDB})
_ARRAYS: Final = frozenset({*_FIXED_ARRAY, 0xDC, 0xDD})
_MAPS: Final = frozenset({*_FIXED_MAP, 0xDE, 0xDF})
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)})


def decoder(limits: Limits) -> Decoder:
    """Return a decoder under `limits`."""
    fields, field_count_max = limits.fields, limits.field_count_max

    def decode(payload: bytes, /) -> Row:
        try:
            row = _parse_flat(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _nested(payload, limits)
        count = len(row)
        if _length(payload, 0) != count:
            _refuse_duplicate()
        if count > field_count_max:
            raise DecodeError("too_many_fields", f"the payload has more than {field_count_max} fields")
        if len(payload) > FIELD_CHARACTERS_MAX:
            check_names(row)
        return select(row, fields) if fields or not count else row

    return decode


def parse(payload: bytes, /) -> object:
    """Return the document that `payload` is: plain values, lists and dicts whose keys are text and unique.

    Raises `DecodeError`.
    """
    return _parsed(payload, _LEAVES_MAX, NESTING_MAX)


def _nested(payload: bytes, limits: Limits) -> Row:
    """Take what is no flat map of plain values, or say why it cannot be taken."""
    if payload and payload[0] not in _MAPS:
        raise DecodeError("not_an_object", "the payload is no map")
    return flatten(cast("dict[object, object]", _parsed(payload, limits.field_count_max, limits.depth_max)), limits)


def _parsed(payload: bytes, leaves_max: int, depth_max: int) -> object:
    if not payload:
        raise DecodeError("empty", "the payload is empty")
    keys = _Walk(payload, leaves_max, depth_max).keys()
    try:
        document: object = _parse(payload)
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None
    except msgspec.DecodeError as error:
        raise DecodeError("malformed_msgpack", f"the payload is not MessagePack: {error}") from None
    if _keys_in(document) != keys:
        _refuse_duplicate()
    return document


def _refuse_duplicate() -> NoReturn:
    raise DecodeError("duplicate_key", "the payload holds a key twice")


def _length(payload: bytes, at: int) -> int:
    """Return the length that the head of a map, an array, text or bytes at `at` says."""
    head = payload[at]
    width = _LENGTH_BYTES.get(head)
    if width is None:
        return head & 0x1F if head in _FIXED_TEXT else head & 0x0F
    if at + width >= len(payload):
        raise _cut()
    return int.from_bytes(payload[at + 1 : at + 1 + width])


def _cut() -> DecodeError:
    return DecodeError("malformed_msgpack", "the payload ends before its last value does")


def _keys_in(document: object) -> int:
    """Return how many keys all maps of `document` have together."""
    if isinstance(document, dict):
        return len(document) + sum(map(_keys_in, document.values()))
    return sum(map(_keys_in, document)) if isinstance(document, list) else 0


class _Walk:
    """One walk over the heads of one payload.

    `_open` holds, for every array and map that the walk is in, how many items it still has to come; an item of a map is
    a key and its value. What counts as a leaf is what `flatten` counts: plain values, and containers that are empty.
    """

    __slots__ = ("_at", "_depth_max", "_leaves", "_open", "_payload")

    def __init__(self, payload: bytes, leaves_max: int, depth_max: int) -> None:
        self._payload = payload
        self._at = 0
        self._leaves = leaves_max
        self._depth_max = depth_max
        self._open: list[tuple[int, bool]] = []

    def keys(self) -> int:
        """Return how many keys the payload's first value holds. Raises `DecodeError`."""
        keys = 0
        self._value()
        while self._open:
            left, is_map = self._open.pop()
            if not left:
                continue
            self._open.append((left - 1, is_map))
            if is_map:
                keys += 1
                self._key()
            self._value()
        return keys

    def _head(self) -> int:
        if self._at >= len(self._payload):
            raise _cut()
        return self._payload[self._at]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._payload):
            raise _cut()

    def _key(self) -> None:
        head = self._head()
        if head not in _TEXTS:
            raise DecodeError("key_not_text", "a key of a map is not text")
        self._skip(1 + _LENGTH_BYTES.get(head, 0) + _length(self._payload, self._at))

    def _value(self) -> None:
        head = self._head()
        width = _VALUE_BYTES.get(head)
        if width is not None:
            self._leaf(1 + width)
        elif head in _EXTENSIONS:
            raise DecodeError("unsupported_type", "the payload holds an extension type, which a reading cannot hold")
        elif head in _ARRAYS or head in _MAPS:
            self._enter(head, _length(self._payload, self._at))
        elif head in _TEXTS or head in _LENGTH_BYTES:
            self._leaf(1 + _LENGTH_BYTES.get(head, 0) + _length(self._payload, self._at))
        else:
            raise DecodeError("malformed_msgpack", f"the byte {head:#04x} begins no value")

    def _enter(self, head: int, length: int) -> None:
        self._skip(1 + _LENGTH_BYTES.get(head, 0))
        if not length:
            self._leaf(0)
            return
        if len(self._open) >= self._depth_max:
            raise DecodeError("too_deep", f"the payload is nested deeper than {self._depth_max}")
        self._open.append((length, head in _MAPS))

    def _leaf(self, bytes_taken: int) -> None:
        self._leaves -= 1
        if self._leaves < 0:
            raise DecodeError("too_many_fields", "the payload has more fields than are allowed")
        self._skip(bytes_taken)
