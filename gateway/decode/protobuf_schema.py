"""Descriptor sets → what the fields of a message are, worked out once.

The package `protobuf` checks and resolves them when the configuration is read (see `gateway.schemas.protobuf_files`);
payloads never reach it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.schemas.protobuf_files import KINDS, TIMES, files_of

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        return self.name in TIMES and kinds == [("seconds", "int64", 0), ("nanos", "int32", 0)]


def message_of(data: bytes, name: str) -> Message:
    """Return the message `name` (with its package) of the descriptor set `data`. Raises `ConfigError`."""
    return _Compiler().message(files_of(data).message(name))


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
        kind = KINDS[descriptor.type]
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
