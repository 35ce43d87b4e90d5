"""Avro schemas → functions that read their data, composed once.

Written here, with the package only for the schema, because a payload may claim what it does not hold: eleven bytes are
an array of 2**62 nulls, and a schema that holds itself makes a native reader call itself until its stack is gone. Here
what a payload may make is counted down before it is made: `leaves` (values), `containers` (records, arrays and maps in
arrays and maps) and `depth`. And what no writer could have written is refused, not read as something else: a negative
branch of a union, a varint of eleven bytes, an int past 32 bits, a boolean 7, a key twice.

Invariant: reading ends after at most as many steps as there are bytes, leaves and containers together.

Source: Apache Avro specification 1.12, "Binary Encoding" and "Logical Types".
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.errors import ConfigError, DecodeError
from gateway.schemas.document import HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.decode.contract import Limits

    Read: TypeAlias = Callable[["Input"], Any]

_VARINT_BYTES_MAX: Final = 10
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_DECIMAL_BYTES_MAX: Final = 256
_SCALE_MAX: Final = 300
_UUID_BYTES: Final = 16

_MS_NS, _US_NS = 1_000_000, 1_000
TIMES: Final = {
    ("long", "timestamp-millis"): _MS_NS,
    ("long", "timestamp-micros"): _US_NS,
    ("long", "timestamp-nanos"): 1,
    ("long", "local-timestamp-millis"): _MS_NS,
    ("long", "local-timestamp-micros"): _US_NS,
    ("long", "local-timestamp-nanos"): 1,
    ("int", "time-millis"): _MS_NS,
    ("long", "time-micros"): _US_NS,
}
"""(type, logical type) → ns of its unit."""


class Input:
    """One body being read at `at`, and what may still be made of it."""

    __slots__ = ("at", "containers", "data", "depth", "leaves", "limits")

    def __init__(self, data: bytes, at: int, limits: Limits) -> None:
        self.data = data
        self.at = at
        self.limits = limits
        self.leaves = limits.field_count_max
        self.containers = limits.field_count_max * limits.depth_max
        self.depth = limits.depth_max

    def enter(self, leaves: int) -> None:
        """Begin a container with so many values of its own. Raises `DecodeError`."""
        self.depth -= 1
        if self.depth < 0:
            raise DecodeError("too_deep", f"the payload is nested deeper than {self.limits.depth_max}")
        self.leaves -= leaves
        if self.leaves < 0:
            raise self.too_many()

    def too_many(self) -> DecodeError:
        """Return the refusal of a payload of too many values."""
        return DecodeError("too_many_fields", f"the payload has more than {self.limits.field_count_max} fields")


class Type(NamedTuple):
    """How to read one type. A leaf is one value; what is none counts itself as it is read."""

    read: Read
    is_leaf: bool
    is_document: bool = False


def compiled(schema: Any) -> Type:  # noqa: ANN401  # what the package makes of JSON
    """Return how to read `schema`, in which all names are whole, as the package fastavro leaves it."""
    return Compiler().type_of(schema)


class Compiler:
    """The types of one schema. A named type may be used inside of itself, so it is looked up when it is read."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def type_of(self, schema: Any) -> Type:  # noqa: ANN401  # any JSON
        """Return how to read a type: a union is a list, a name is text, all others are objects with a `type`."""
        if isinstance(schema, list):
            return union_of([self.type_of(each) for each in schema])
        if isinstance(schema, str):
            return PRIMITIVE[schema] if schema in PRIMITIVE else self._by_name(schema)
        return self._complex(schema["type"], schema)

    def _complex(self, kind: str, schema: Mapping[str, Any]) -> Type:
        match kind:
            case "record" | "error":
                return self._record(schema)
            case "array":
                return array_of(self.type_of(schema["items"]))
            case "map":
                return map_of(self.type_of(schema["values"]))
            case "enum":
                return self._named.setdefault(schema["name"], enum_of(schema["symbols"]))
            case "fixed":
                return self._named.setdefault(schema["name"], fixed_of(schema))
        return logical_of(kind, schema)

    def _by_name(self, name: str) -> Type:
        known = self._named.get(name)
        if known is None:
            raise ConfigError(f"the schema has no type {name[:80]!r}", hint=HINT)
        return known

    def _record(self, schema: Mapping[str, Any]) -> Type:
        fields: list[tuple[str, Read]] = []
        leaves = [0]
        record = Type(partial(_record, fields, leaves), is_leaf=False, is_document=True)
        self._named[schema["name"]] = record
        for field in schema["fields"]:
            inner = self.type_of(field["type"])
            fields.append((field["name"], inner.read))
            leaves[0] += inner.is_leaf
        if len(dict(fields)) < len(fields):
            raise ConfigError(f"the record {schema['name'][:80]} has two fields of one name", hint=HINT)
        return record


def _record(fields: Sequence[tuple[str, Read]], leaves: Sequence[int], source: Input) -> dict[str, Any]:
    source.enter(leaves[0])
    record = {name: read(source) for name, read in fields}
    source.depth += 1
    return record


def array_of(items: Type) -> Type:
    """Return an array of a type."""
    return Type(partial(_array, items), is_leaf=False)


def map_of(values: Type) -> Type:
    """Return a map to a type."""
    return Type(partial(_map, values), is_leaf=False, is_document=True)


def _array(items: Type, source: Input) -> list[Any]:
    source.enter(0)
    values: list[Any] = []
    read = items.read
    while count := _count(source, items):
        values += [read(source) for _ in range(count)]
    source.depth += 1
    return values


def _map(inner: Type, source: Input) -> dict[str, Any]:
    source.enter(0)
    entries: dict[str, Any] = {}
    while count := _count(source, inner):
        for _ in range(count):
            key = _string(source)
            if key in entries:
                raise DecodeError("duplicate_key", f"the payload holds two values for {key[:80]!r}")
            entries[key] = inner.read(source)
    source.depth += 1
    return entries


def _count(source: Input, items: Type) -> int:
    """Return how many items the next block has, 0 at the end. Raises `DecodeError` when there may not be so many."""
    count = _long(source)
    if count < 0:
        count = -count
        if _long(source) < 0:
            raise _malformed("a block has a negative size")
    if items.is_leaf:
        source.leaves -= count
    else:
        source.containers -= count
    if source.leaves < 0 or source.containers < 0:
        raise source.too_many()
    return count


def union_of(branches: Sequence[Type]) -> Type:
    """Return a union. It is a leaf only where all its branches are; else the branch that is one counts itself."""
    is_leaf = all(branch.is_leaf for branch in branches)
    leaves = tuple(0 if is_leaf else int(branch.is_leaf) for branch in branches)
    reads = tuple(branch.read for branch in branches)

    def read(source: Input) -> Any:  # noqa: ANN401  # whatever the branch holds
        index = _long(source)
        if not 0 <= index < len(reads):
            raise _malformed(f"a union has no branch {index}")
        source.leaves -= leaves[index]
        if source.leaves < 0:
            raise source.too_many()
        return reads[index](source)

    return Type(read, is_leaf, is_document=any(branch.is_document for branch in branches))


def enum_of(symbols: Sequence[str]) -> Type:
    """Return an enum, by what each of its numbers is read as."""

    def read(source: Input) -> str:
        index = _long(source)
        if not 0 <= index < len(symbols):
            raise _malformed(f"an enum has no symbol {index}")
        return symbols[index]

    return Type(read, is_leaf=True)


def fixed_of(schema: Mapping[str, Any], plain: Read | None = None) -> Type:
    """Return a fixed; `plain` gives its bytes where they are not read."""
    size = schema["size"]
    if type(size) is not int or size < 0:
        raise ConfigError(f"the type {schema['name'][:80]} has no size in bytes", hint=HINT)
    read: Read = plain or partial(_take, size)
    if schema.get("logicalType") == "decimal":
        return Type(_decimal(read, schema), is_leaf=True)
    if schema.get("logicalType") == "uuid" and size == _UUID_BYTES:
        return Type(lambda source: _uuid(read(source)), is_leaf=True)
    return Type(read, is_leaf=True)


def logical_of(kind: str, schema: Mapping[str, Any], plain: Type | None = None) -> Type:
    """Return a primitive type with what its logical type makes of it; an unknown one makes nothing of it.

    `plain` reads the value where it is not read as `kind` is.
    """
    plain = plain or PRIMITIVE.get(kind)
    if plain is None:
        raise ConfigError(f"the schema has no type {kind[:80]!r}", hint=HINT)
    logical = schema.get("logicalType")
    if kind == "bytes" and logical == "decimal":
        return Type(_decimal(plain.read, schema), is_leaf=True)
    unit_ns = TIMES.get((kind, str(logical)))
    return plain if unit_ns is None else Type(partial(_time, plain.read, unit_ns), is_leaf=True)


def _decimal(read: Read, schema: Mapping[str, Any]) -> Read:
    scale = schema.get("scale", 0)
    if not isinstance(scale, int) or not 0 <= scale <= _SCALE_MAX:
        raise ConfigError(f"a decimal has a scale that is not 0 to {_SCALE_MAX}", hint=HINT)
    divisor: int = 10**scale

    def decimal(source: Input) -> float:
        unscaled: bytes = read(source)
        if len(unscaled) > _DECIMAL_BYTES_MAX:
            raise DecodeError("number_too_large", f"a decimal has more than {_DECIMAL_BYTES_MAX} bytes")
        try:
            return int.from_bytes(unscaled, signed=True) / divisor
        except OverflowError:
            raise DecodeError("number_too_large", "a decimal is too large") from None

    return decimal


def _time(read: Read, unit_ns: int, source: Input) -> int:
    time_ns: int = read(source) * unit_ns
    if not INTEGER_MIN <= time_ns <= INTEGER_MAX:
        raise DecodeError("time_invalid", "a time lies before 1678 or after 2262")
    return time_ns


def _uuid(data: bytes) -> str:
    digits = data.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _null(_: Input) -> None:
    return None


def _boolean(source: Input) -> bool:
    byte = source.data[source.at]
    source.at += 1
    if byte > 1:
        raise _malformed(f"a boolean is {byte}")
    return byte == 1


def _long(source: Input) -> int:
    data, at = source.data, source.at
    byte = data[at]
    at += 1
    value = byte & 0x7F
    if byte > 0x7F:  # noqa: PLR2004  # the bit that says "goes on"
        shift = 7
        while byte > 0x7F:  # noqa: PLR2004
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 7 * _VARINT_BYTES_MAX:
                raise _malformed(f"a number has more than {_VARINT_BYTES_MAX} bytes")
        if value >> 64:
            raise _malformed("a long has more than 64 bits")
    source.at = at
    return value >> 1 ^ -(value & 1)


def _int(source: Input) -> int:
    value = _long(source)
    if not _INT_MIN <= value <= _INT_MAX:
        raise _malformed("an int has more than 32 bits")
    return value


def _take(count: int, source: Input) -> bytes:
    end = source.at + count
    if count < 0 or end > len(source.data):
        raise _malformed("it ends before its last value does")
    taken = source.data[source.at : end]
    source.at = end
    return taken


def _bytes(source: Input) -> bytes:
    return _take(_long(source), source)


def _string(source: Input) -> str:
    try:
        return _bytes(source).decode()
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None


def _floating(form: struct.Struct, source: Input) -> float:
    at = source.at
    source.at = end = at + form.size
    if end > len(source.data):
        raise IndexError
    value: float = form.unpack_from(source.data, at)[0]
    return value


def _malformed(fault: str) -> DecodeError:
    return DecodeError("malformed_avro", f"the payload is not of the schema: {fault}")


PRIMITIVE: Final = {
    "null": Type(_null, is_leaf=True),
    "boolean": Type(_boolean, is_leaf=True),
    "int": Type(_int, is_leaf=True),
    "long": Type(_long, is_leaf=True),
    "float": Type(partial(_floating, struct.Struct("<f")), is_leaf=True),
    "double": Type(partial(_floating, struct.Struct("<d")), is_leaf=True),
    "bytes": Type(_bytes, is_leaf=True),
    "string": Type(_string, is_leaf=True),
}
