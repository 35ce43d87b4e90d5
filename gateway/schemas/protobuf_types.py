"""Descriptor sets → messages and enums as the comparison sees them.

    descriptor set ─▶ Types: messages by name ─▶ fields by number ─▶ what is on the wire, what is in a row
                        └ roots: what is compared, with all that it holds

Where no message is named, the roots are the messages that no other one holds: the others are compared where they are
held, so that a message which only serves a new field does not count as one that old readers should know.

Invariant: each message and each enum is there once, so a pair of names stands for a pair of messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.schemas.protobuf_files import KINDS, TIMES, WHOSE_COMPARISON, files_of, package_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.schemas.protobuf_files import Files

Span: TypeAlias = tuple[int, int]
"""First and last of a range of numbers."""

_GOOGLE: Final = "google.protobuf."


@dataclass(slots=True)
class Enum:
    """One enum. `names` has the first name of each number; a closed one treats other numbers as unknown fields."""

    name: str
    names: Mapping[int, str]
    is_closed: bool
    reserved: tuple[Span, ...]


@dataclass(slots=True)
class Field:
    """One field. `kind` is the type's name in descriptor.proto without `TYPE_`, in small letters: `int32`, `message`.

    `default` is what an absent one is read as; `oneof` is empty where it is in none, or alone in one that only states
    presence (`optional` of proto3).
    """

    name: str
    number: int
    kind: str
    is_repeated: bool
    is_required: bool
    is_map: bool
    has_presence: bool
    oneof: str
    default: Any
    enum: Enum | None = None
    message: Message | None = None


@dataclass(slots=True)
class Message:
    """One message: its fields by number, extensions included. It may hold itself."""

    name: str
    reserved: tuple[Span, ...]
    is_entry: bool
    is_set: bool
    fields: dict[int, Field] = field(default_factory=dict)

    @property
    def is_time(self) -> bool:
        """Whether a row has one integer of ns for it."""
        return self.name in TIMES


@dataclass(slots=True)
class Types:
    """What one descriptor set defines. `roots` are names of messages."""

    messages: dict[str, Message]
    roots: tuple[str, ...]


def types_of(data: bytes, message: str = "") -> Types:
    """Return what the descriptor set `data` defines; one root where a message is named. Raises `ConfigError`."""
    files = files_of(data, WHOSE_COMPARISON)
    compiler = _Compiler(files)
    if message:
        compiler.message(files.message(message))
        return Types(compiler.messages, (message,))
    for each in _all_messages(files):
        compiler.message(each)
    return Types(compiler.messages, _roots(compiler.messages))


def _all_messages(files: Files) -> Iterator[Any]:
    waiting = [each for file in files.files for each in file.message_types_by_name.values()]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.nested_types


def _roots(messages: Mapping[str, Message]) -> tuple[str, ...]:
    """Return the messages that no other holds, and one of each circle that nothing else leads into."""
    own = sorted(name for name, each in messages.items() if not name.startswith(_GOOGLE) and not each.is_entry)
    held = {name: _held(each) for name, each in messages.items()}
    inner = {other for name in messages for other in held[name] if other != name}
    reached: set[str] = set()
    roots: list[str] = []
    for name in [*(name for name in own if name not in inner), *(name for name in own if name in inner)]:
        if name in reached:
            continue
        roots.append(name)
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += held[each]
    return tuple(roots)


def _held(message: Message) -> set[str]:
    return {each.message.name for each in message.fields.values() if each.message is not None}


class _Compiler:
    def __init__(self, files: Files) -> None:
        self.messages: dict[str, Message] = {}
        self._enums: dict[str, Enum] = {}
        self._pool = files.pool
        self._protos = {file.name: _proto_of(file) for file in files.files}
        self._reserved = {name: spans for proto in self._protos.values() for name, spans in _reserved_of(proto)}

    def message(self, descriptor: Any) -> Message:  # noqa: ANN401  # the package has no types of its own
        """Return a message with all that it holds, each made once."""
        name: str = descriptor.full_name
        if name in self.messages:
            return self.messages[name]
        options = descriptor.GetOptions()
        found = Message(name, self._reserved.get(name, ()), options.map_entry, options.message_set_wire_format)
        self.messages[name] = found
        for each in (*descriptor.fields, *self._pool.FindAllExtensions(descriptor)):
            found.fields[each.number] = self._field(each)
        return found

    def _field(self, descriptor: Any) -> Field:  # noqa: ANN401  # as above
        inner, oneof = descriptor.message_type, descriptor.containing_oneof
        enum = descriptor.enum_type
        is_repeated = bool(descriptor.is_repeated)
        return Field(
            name=f"[{descriptor.full_name}]" if descriptor.is_extension else descriptor.name,
            number=descriptor.number,
            kind=KINDS[descriptor.type],
            is_repeated=is_repeated,
            is_required=bool(descriptor.is_required),
            is_map=inner is not None and inner.GetOptions().map_entry,
            has_presence=bool(descriptor.has_presence),
            oneof=oneof.name if oneof is not None and len(oneof.fields) > 1 else "",
            default=None if is_repeated or inner is not None else descriptor.default_value,
            enum=None if enum is None else self._enum(enum),
            message=None if inner is None else self.message(inner),
        )

    def _enum(self, descriptor: Any) -> Enum:  # noqa: ANN401  # as above
        name: str = descriptor.full_name
        if name not in self._enums:
            names: dict[int, str] = {}
            for value in descriptor.values:
                names.setdefault(value.number, value.name)
            self._enums[name] = Enum(name, names, bool(descriptor.is_closed), self._reserved.get(name, ()))
        return self._enums[name]


def _proto_of(file: Any) -> Any:  # noqa: ANN401  # as above
    """Return the file as a message of descriptor.proto, which alone says what is reserved."""
    proto = package_of(WHOSE_COMPARISON)[0].FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _reserved_of(file: Any) -> Iterator[tuple[str, tuple[Span, ...]]]:  # noqa: ANN401  # as above
    """Yield what each message and enum of a file reserves, by its full name."""
    waiting = [(file.package, file.message_type, file.enum_type)]
    while waiting:
        space, messages, enums = waiting.pop()
        for enum in enums:
            spans = [(each.start, each.end) for each in enum.reserved_range]
            yield f"{space}.{enum.name}".lstrip("."), _joined(spans)
        for message in messages:
            name = f"{space}.{message.name}".lstrip(".")
            yield name, _joined([(each.start, each.end - 1) for each in message.reserved_range])
            waiting.append((name, message.nested_type, message.enum_type))


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Return the same numbers in as few ranges as possible, in order."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)
