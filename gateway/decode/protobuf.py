"""Protobuf messages by a schema → rows.

What the schema says is read as `protobuf_schema` compiled it; the bytes are read by `wire`, level by level, and the
nested result becomes a row as every document does:

- messages and groups are nested: `radio.rssi`; maps likewise, by their keys; repeated fields by number: `axes.0`;
- enums are the names of their values; a number without a name stays a number;
- google.protobuf.Timestamp and Duration are integers of ns;
- a field without presence (proto3 without `optional`) that was not sent is its default, 0 or empty, because that is how
  such a field sends it; with presence it is left out. Empty text and bytes are values;
- fields that the schema does not know are ignored, those of another wire type likewise, as every parser does;
- sent more than once, the last one counts, messages are merged, and of a oneof the last field counts.

Invariant: no more values are made than the limit of fields, and each level of nesting reads every byte once.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.decode.flatten import flatten
from gateway.decode.protobuf_schema import Field, Message, message_of
from gateway.decode.wire import FIXED32, FIXED64, GROUP, LENGTH, VARINT, scan, varints
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

    Raw = int | bytes

_SECOND_NS: Final = 1_000_000_000
_WIDTH: Final = {FIXED32: 4, FIXED64: 8}


def decoder(limits: Limits, descriptor_set: bytes, message: str) -> Decoder:
    """Return a decoder of the message `message` (with its package) of a descriptor set. Raises `ConfigError`."""
    schema = message_of(descriptor_set, message)

    def decode(payload: bytes, /) -> Row:
        return flatten(_Reading(limits).message(schema, (payload,), 1), limits)

    return decode


class _Reading:
    """The reading of one payload: so many values may still be made, and so many messages that hold them."""

    __slots__ = ("_depth_max", "_left", "_limits", "_messages_left")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._depth_max = limits.depth_max
        self._left = limits.field_count_max
        self._messages_left = limits.field_count_max * limits.depth_max

    def message(self, schema: Message, pieces: Sequence[bytes], depth: int) -> dict[object, object]:
        """Return the fields of a message by name, in the order of the schema. Raises `DecodeError`.

        It may have been sent in several pieces, each of which is a message.
        """
        if depth > self._depth_max:
            raise DecodeError("too_deep", f"the payload is nested deeper than {self._depth_max}")
        found: dict[int, Any] = {}
        for piece in pieces:
            for tag, raw in scan(piece):
                field = schema.fields.get(tag >> 3)
                if field is not None and self._take(found, field, tag & 7, raw) and field.others:
                    self._forget_others(found, field, schema, depth)
        document: dict[object, object] = {}
        for number, field in schema.fields.items():
            if number in found:
                document[field.name] = self._value(field, found[number], depth)
            elif field.default is not None:
                self._count(1)
                document[field.name] = field.default
        return document

    def _take(self, found: dict[int, Any], field: Field, wire_type: int, raw: Raw) -> bool:
        """Keep what was sent for one field: a list of what a repeated one or a message has, else the value.

        Return whether it was anything that counts.
        """
        if field.message is not None:
            if wire_type != (GROUP if field.kind == "group" else LENGTH):
                return False
            found.setdefault(field.number, []).append(raw)
            return True
        values = self._scalars(field, wire_type, raw)
        if field.is_repeated and values:
            self._count(len(values))
            found.setdefault(field.number, []).extend(values)
        elif values:
            found[field.number] = values[-1]
        return bool(values)

    def _scalars(self, field: Field, wire_type: int, raw: Raw) -> list[object]:
        """Return the values that were sent, packed or one; none where they are as good as unknown."""
        expected, convert = _SCALARS[field.kind]
        if wire_type == expected:
            several: list[Raw] = [raw]
        elif wire_type == LENGTH and field.is_repeated and expected != LENGTH and isinstance(raw, bytes):
            several = self._packed(expected, raw)
        else:
            return []
        if field.kind != "enum":
            return [convert(each) for each in several]
        numbers = [convert(each) for each in several]
        if field.is_closed:
            numbers = [number for number in numbers if number in field.symbols]
        return [field.symbols.get(number, number) for number in numbers]

    def _packed(self, expected: int, raw: bytes) -> list[Raw]:
        if expected == VARINT:
            return list(varints(raw, self._left))
        width = _WIDTH[expected]
        if len(raw) % width:
            raise DecodeError("malformed_protobuf", "a packed field ends before its last value does")
        self._check(len(raw) // width)
        return [raw[at : at + width] for at in range(0, len(raw), width)]

    def _forget_others(self, found: dict[int, Any], field: Field, schema: Message, depth: int) -> None:
        """Drop what was sent for other fields of the oneof; it must have been sound nevertheless."""
        for number in field.others:
            sent, other = found.pop(number, None), schema.fields[number]
            if sent is not None and other.message is not None:
                self._value(other, sent, depth)

    def _value(self, field: Field, sent: Any, depth: int) -> object:  # noqa: ANN401  # as `_take` keeps it
        schema = field.message
        if schema is None:
            if not field.is_repeated:
                self._count(1)
            return sent
        self._messages_left -= len(sent) if field.is_repeated else 1
        if self._messages_left < 0:
            raise self._too_many()
        if field.is_map:
            return self._map(schema, sent, depth)
        if not field.is_repeated:
            return self._nested(schema, sent, depth)
        return [self._nested(schema, (each,), depth + 1) for each in sent]

    def _nested(self, schema: Message, pieces: Sequence[bytes], depth: int) -> object:
        document = self.message(schema, pieces, depth + 1)
        if not schema.is_time:
            return document
        self._left += 1  # two values become one
        return _time_ns(document)

    def _map(self, schema: Message, entries: list[bytes], depth: int) -> dict[str, object]:
        """Return a map; of two entries with one key the last counts, and what an entry lacks is the default."""
        _, value_field = schema.fields.values()
        document: dict[str, object] = {}
        for entry in entries:
            said = self.message(schema, (entry,), depth + 1)
            if "key" in said:
                self._left += 1  # it is a name, no value
            key = said.get("key", _ABSENT.get(schema.fields[1].kind, 0))
            value = said.get("value")
            if value is None:
                if value_field.is_closed and any(tag >> 3 == value_field.number for tag, _ in scan(entry)):
                    continue  # a value that the enum does not know makes the whole entry unknown
                value = self._absent(value_field, depth + 1)
            document[str(key).lower() if isinstance(key, bool) else str(key)] = value
        return document

    def _absent(self, field: Field, depth: int) -> object:
        if field.message is not None:
            return self._nested(field.message, (), depth)
        if field.kind == "enum":
            return next(iter(field.symbols.values()))
        return _ABSENT.get(field.kind, 0)

    def _count(self, values: int) -> None:
        self._check(values)
        self._left -= values

    def _check(self, values: int) -> None:
        if values > self._left:
            raise self._too_many()

    def _too_many(self) -> DecodeError:
        return DecodeError("too_many_fields", f"the payload has more than {self._limits.field_count_max} fields")


_ABSENT: Final[dict[str, object]] = {"string": "", "bytes": b"", "bool": False, "double": 0.0, "float": 0.0}
"""What is meant where an entry of a map lacks a key or a value, other than 0."""


def _time_ns(document: dict[object, object]) -> int:
    """Return the ns that seconds and nanos are together. Raises `DecodeError`."""
    time_ns: int = document["seconds"] * _SECOND_NS + document["nanos"]  # type: ignore[operator]  # integers
    if not INTEGER_MIN <= time_ns <= INTEGER_MAX:
        raise DecodeError("time_invalid", "a time lies before 1678 or after 2262")
    return time_ns


def _signed(raw: int, bits: int) -> int:
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _zigzag(raw: int) -> int:
    return raw >> 1 ^ -(raw & 1)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None


def _unpacked(form: str) -> Callable[[Any], Any]:
    unpack = struct.Struct(form).unpack
    return lambda raw: unpack(raw)[0]


_SCALARS: Final[dict[str, tuple[int, Callable[[Any], Any]]]] = {
    "double": (FIXED64, _unpacked("<d")),
    "float": (FIXED32, _unpacked("<f")),
    "int64": (VARINT, lambda raw: _signed(raw, 64)),
    "uint64": (VARINT, int),
    "int32": (VARINT, lambda raw: _signed(raw, 32)),
    "fixed64": (FIXED64, _unpacked("<Q")),
    "fixed32": (FIXED32, _unpacked("<I")),
    "bool": (VARINT, bool),
    "string": (LENGTH, _text),
    "bytes": (LENGTH, bytes),
    "uint32": (VARINT, lambda raw: raw & 0xFFFF_FFFF),
    "enum": (VARINT, lambda raw: _signed(raw, 32)),
    "sfixed32": (FIXED32, _unpacked("<i")),
    "sfixed64": (FIXED64, _unpacked("<q")),
    "sint32": (VARINT, lambda raw: _zigzag(raw & 0xFFFF_FFFF)),
    "sint64": (VARINT, _zigzag),
}
