"""Descriptor sets → what the fields of a message are, worked out once.

A descriptor set is what `protoc --include_imports --descriptor_set_out=…` writes. The package `protobuf` checks and
resolves it (imports, editions, presence, closed enums), when the configuration is read; payloads never reach it.

Sources: `google/protobuf/descriptor.proto`; https://protobuf.dev/programming-guides/editions/ for what its features
mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTOR_BYTES_MAX: Final = 256 * 1024
HINT: Final = "protoc --include_imports --descriptor_set_out=FILE SOURCE.proto makes it"

_TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


@dataclass(slots=True)
class Field:
    """One field. `kind` is the type's name in descriptor.proto without `TYPE_`, in small letters: `int32`, `message`.

    `others` are the numbers of the other fields of its oneof; `default` is what an absent field means, None where
    absence means absence.
    """

    name: str
    number: int
    kind: str
    is_repeated: bool
    is_map: bool
    is_closed: bool
    others: tuple[int, ...] = ()
    default: Any = None
    symbols: Mapping[int, str] = field(default_factory=dict)
    message: Message | None = None


@dataclass(slots=True)
class Message:
    """One message: its fields by number, in the order of the schema. It may hold itself."""

    name: str
    fields: dict[int, Field] = field(default_factory=dict)

    @property
    def is_time(self) -> bool:
        """Whether it is one of Google's two messages of seconds and ns."""
        kinds = [(field.name, field.kind, field.default) for field in self.fields.values()]
        return self.name in _TIMES and kinds == [("seconds", "int64", 0), ("nanos", "int32", 0)]


def message_of(data: bytes, name: str) -> Message:
    """Return the message `name` (with its package) of the descriptor set `data`. Raises `ConfigError`."""
    try:
        from google.protobuf import (  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, without types
            descriptor_pb2,
            descriptor_pool,
            message,
        )
    except ImportError:
        hint = "pip install 'edge-gateway[protobuf]'"
        raise ConfigError("the decoder protobuf needs the package protobuf", hint=hint) from None
    if len(data) > DESCRIPTOR_BYTES_MAX:
        raise ConfigError(f"the descriptor set has {len(data)} bytes, {DESCRIPTOR_BYTES_MAX} are allowed", hint=HINT)
    pool = descriptor_pool.DescriptorPool()
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(data).file
        for file in files:
            pool.Add(file)
        known = [file for file in files for file in (pool.FindFileByName(file.name),)]
    except (message.DecodeError, TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"the file is no descriptor set: {_first_line(error)}", hint=HINT) from None
    try:
        found = pool.FindMessageTypeByName(name)
    except KeyError:
        names = sorted(f"{file.package}.{each}".lstrip(".") for file in known for each in file.message_types_by_name)
        fault = f"the descriptor set has no message {name!r}, it has {', '.join(names)[:200]}"
        raise ConfigError(fault, hint="name the message with its package") from None
    return _Compiler().message(found)


class _Compiler:
    def __init__(self) -> None:
        self._done: dict[str, Message] = {}

    def message(self, descriptor: Any) -> Message:  # noqa: ANN401  # the package has no types of its own
        name: str = descriptor.full_name
        if name in self._done:
            return self._done[name]
        message = self._done[name] = Message(name)
        for each in descriptor.fields:
            message.fields[each.number] = self._field(each)
        return message

    def _field(self, descriptor: Any) -> Field:  # noqa: ANN401  # as above
        kind = _KINDS[descriptor.type]
        enum, inner = descriptor.enum_type, descriptor.message_type
        is_repeated = bool(descriptor.is_repeated)
        is_implicit = not is_repeated and not descriptor.has_presence
        symbols: dict[int, str] = {}
        for value in () if enum is None else enum.values:
            symbols.setdefault(value.number, value.name)
        default: Any = descriptor.default_value if is_implicit else None
        oneof = descriptor.containing_oneof
        return Field(
            name=descriptor.name,
            number=descriptor.number,
            kind=kind,
            is_repeated=is_repeated,
            is_map=inner is not None and inner.GetOptions().map_entry,
            is_closed=enum is not None and enum.is_closed,
            others=() if oneof is None else tuple(f.number for f in oneof.fields if f.number != descriptor.number),
            default=symbols.get(default, default) if enum is not None else default,
            symbols=symbols,
            message=None if inner is None else self.message(inner),
        )


_KINDS: Final = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
    10: "group", 11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32",
    18: "sint64",
}  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
