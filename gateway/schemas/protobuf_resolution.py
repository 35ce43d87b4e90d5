"""Can messages written with one Protobuf schema be read with another?

    writer ─ messages, pair by pair, from the roots down ─┐
                                                          ├─▶ each field that both know: the same values?
    reader ───────────────────────────────────────────────┘

A parser hardly ever fails: what it does not know it passes over, what it knows under another type it takes for that.
So the question is whether each field that both sides know has, once read, the value that was written. A field that
only one side knows is passed over or absent, which is how this format is meant to change.

Asked of the **wire** alone, a value is what a parser's access returns: numbers count, names and presence do not. Asked
of **rows** (and of JSON), the names of fields and of enum values must be the same too, a list must not stand where a
single value did, and a field that was left out must not be read as 0, nor a 0 as left out.

Invariant: no finding means that every message of the writer is read by the reader with the same values.

Sources: https://protobuf.dev/programming-guides/proto3/#updating, .../encoding/, .../field_presence/.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from gateway.schemas.document import pointer
from gateway.schemas.finding import FINDINGS_MAX, STEPS_MAX, TOO_LARGE, Finding, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.schemas.protobuf_types import Enum, Field, Message, Types

_RANGES: Final = {
    "varint": {
        "bool": (0, 1), "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1),
        "uint64": (0, 2**64 - 1), "enum": (-(2**31), 2**31 - 1),
    },
    "zigzag": {"sint32": (-(2**31), 2**31 - 1), "sint64": (-(2**63), 2**63 - 1)},
    "fixed32": {"fixed32": (0, 2**32 - 1), "sfixed32": (-(2**31), 2**31 - 1)},
    "fixed64": {"fixed64": (0, 2**64 - 1), "sfixed64": (-(2**63), 2**63 - 1)},
}  # fmt: skip
"""Families of integers that are written in the same way, and what each kind can hold."""

_WIRE_TYPES: Final = {
    0: {*_RANGES["varint"], *_RANGES["zigzag"]},
    1: {*_RANGES["fixed64"], "double"},
    2: {"string", "bytes", "message"},
    3: {"group"},
    5: {*_RANGES["fixed32"], "float"},
}

_KNOWN: Final = {
    ("string", "bytes"): "",
    ("message", "bytes"): "",
    ("bytes", "string"): "bytes may be written that are no UTF-8, which no string takes",
    ("bytes", "message"): "bytes may be written that are no such message",
}
"""(written, read) → what is wrong with that."""


def unreadable(writer: Types, reader: Types) -> tuple[Finding, ...]:
    """Return what of the writer's messages is another row with `reader`; nothing when all is the same."""
    return _compared(writer, reader, of_rows=True)


def unreadable_on_wire(writer: Types, reader: Types) -> tuple[Finding, ...]:
    """Return what `reader` does not read as it was written; names and presence do not count."""
    return _compared(writer, reader, of_rows=False)


def message_pairs(writer: Types, reader: Types) -> Iterator[tuple[Message, Message]]:
    """Yield each pair of messages of which one may be read as the other, once. Raises `TooLargeError`."""
    both = [name for name in writer.roots if name in reader.messages]
    waiting = [(writer.messages[name], reader.messages[name]) for name in reversed(both)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        pair = waiting.pop()
        names = pair[0].name, pair[1].name
        if names in seen:
            continue
        if len(seen) >= STEPS_MAX:
            raise TooLargeError
        seen.add(names)
        yield pair
        fields = [(each, pair[1].fields.get(number)) for number, each in pair[0].fields.items()]
        waiting += [
            (one.message, other.message)
            for one, other in reversed(fields)
            if other is not None and one.message is not None and other.message is not None
        ]


def enum_pairs(writer: Message, reader: Message) -> Iterator[tuple[Enum, Enum]]:
    """Yield the enums of which one is read as the other, in these two messages."""
    for number, field in writer.fields.items():
        other = reader.fields.get(number)
        if other is not None and field.enum is not None and other.enum is not None:
            yield field.enum, other.enum


def _compared(writer: Types, reader: Types, *, of_rows: bool) -> tuple[Finding, ...]:
    try:
        return tuple(islice(dict.fromkeys(_findings(writer, reader, of_rows=of_rows)), FINDINGS_MAX))
    except TooLargeError:
        return (TOO_LARGE,)


def _findings(writer: Types, reader: Types, *, of_rows: bool) -> Iterator[Finding]:
    for name in writer.roots:
        if name not in reader.messages:
            yield Finding(pointer("", name), "the message may be written, and is not known")
    for one, other in message_pairs(writer, reader):
        if one.is_set != other.is_set:
            yield Finding(pointer("", other.name), "one is a message set and the other is none: fields lie elsewhere")
        yield from _of_message(one, other, of_rows=of_rows)


def _of_message(writer: Message, reader: Message, *, of_rows: bool) -> Iterator[Finding]:
    numbers = {field.name: number for number, field in writer.fields.items()}
    for number, field in reader.fields.items():
        path = pointer("", reader.name, field.name)
        written = writer.fields.get(number)
        if field.is_required and (written is None or not written.is_required):
            yield Finding(path, f"it is required, and {'is not' if written is None else 'need not be'} written")
        if written is not None:
            yield from (Finding(path, reason) for reason in _of_field(written, field))
            yield from _of_enums(written, field)
            if of_rows:
                reasons = _of_rows(written, field, is_entry=writer.is_entry)
                yield from (Finding(path, reason) for reason in reasons)
        elif of_rows and field.name in numbers:
            yield Finding(path, f"it is written as number {numbers[field.name]}, and read as number {number}")
    yield from _of_oneofs(writer, reader)


def _of_field(writer: Field, reader: Field) -> Iterator[str]:
    """Yield why values of one field are not what was written."""
    reason = _of_kind(writer, reader)
    if reason:
        yield reason
    elif not writer.is_repeated and not reader.is_repeated and _plain(writer.default) != _plain(reader.default):
        yield f"left out it means {_shown(writer.default)}, and is read as {_shown(reader.default)}"
    if writer.is_repeated and not reader.is_repeated:
        yield "several values may be written, and one is read"
    elif reader.is_map and writer.is_repeated and not writer.is_map:
        yield "several entries of one key may be written, and one is read"


def _of_kind(writer: Field, reader: Field) -> str:
    """Return why a single value of the writer's type is not the same in the reader's."""
    one, other = writer.kind, reader.kind
    if {one, other} <= _RANGES["varint"].keys():
        return _of_varint(writer, reader)
    if one == other or (one, other) in _KNOWN:
        return _KNOWN.get((one, other), "")
    for kinds in _RANGES.values():
        if one in kinds and other in kinds:
            return _beyond(kinds[one], kinds[other], one, other)
    is_same = any(one in kinds and other in kinds for kinds in _WIRE_TYPES.values())
    if is_same:
        return f"{one} may be written, and its bytes mean something else as {other}"
    return f"{one} may be written, and cannot be read as {other}: its wire type is another"


def _of_varint(writer: Field, reader: Field) -> str:
    one, other = writer.kind, reader.kind
    held = _RANGES["varint"][one]
    if writer.enum is not None:
        held = min(writer.enum.names), max(writer.enum.names)
    if reader.enum is None or writer.enum is not None:
        return _beyond(held, _RANGES["varint"][other], one, other)
    if reader.enum.is_closed and not (one == "bool" and {0, 1} <= reader.enum.names.keys()):
        return f"{one} may be written, and a closed enum does not take all its numbers"
    return _beyond(held, _RANGES["varint"]["enum"], one, other)


def _beyond(written: tuple[int, int], held: tuple[int, int], one: str, other: str) -> str:
    if held[0] <= written[0] and written[1] <= held[1]:
        return ""
    if other == "bool":
        return f"{one} may be written, and every number but 0 is read as true"
    far = written[1] if written[1] > held[1] else written[0]
    return f"{one} may be written, and {other} cannot hold {far}, which is read as another number"


def _of_enums(writer: Field, reader: Field) -> Iterator[Finding]:
    if writer.enum is None or reader.enum is None or not reader.enum.is_closed:
        return
    for number, name in writer.enum.names.items():
        if number not in reader.enum.names:
            reason = f"{name} = {number} may be written, and this closed enum passes over it"
            yield Finding(pointer("", reader.enum.name), reason)


def _of_oneofs(writer: Message, reader: Message) -> Iterator[Finding]:
    """Yield the oneofs that keep the last only of what may be written together."""
    members: dict[str, list[Field]] = {}
    for number, field in reader.fields.items():
        if field.oneof and number in writer.fields:
            members.setdefault(field.oneof, []).append(writer.fields[number])
    for name, fields in members.items():
        groups = {field.oneof or f"{field.number}" for field in fields}
        if len(groups) > 1:
            shown = ", ".join(field.name for field in fields)
            reason = f"several of {shown} may be written together, and the last only is read"
            yield Finding(pointer("", reader.name, name), reason)


def _of_rows(writer: Field, reader: Field, *, is_entry: bool) -> Iterator[str]:
    """Yield what makes another row of the same value."""
    if writer.name != reader.name:
        reason = f"number {reader.number} is written as {writer.name}"
        yield f"{reason}: it was renamed, or is used for something else, which nobody can tell apart"
    if writer.enum is not None and reader.enum is not None:
        yield from _of_names(writer.enum, reader.enum)
    shown = [_in_rows(field) for field in (writer, reader)]
    if shown[0] != shown[1] and not _of_kind(writer, reader):
        yield f"it is written as {shown[0]}, and a row has {shown[1]} where it is read"
    if writer.is_map != reader.is_map or (reader.is_repeated and not writer.is_repeated):
        shape = "a map" if writer.is_map else "a list" if writer.is_repeated else "one value"
        yield f"{shape} is written, and {'a map' if reader.is_map else 'a list'} is read: rows name it otherwise"
    if not (writer.is_repeated or reader.is_repeated or is_entry):
        yield from _of_presence(writer, reader)


def _in_rows(field: Field) -> str:
    """Return what the value is in a row, as far as kinds that read each other differ in that."""
    if field.message is not None:
        return "a time" if field.message.is_time else "a message"
    return {"string": "text", "bytes": "bytes", "enum": "the name of a value"}.get(field.kind, "a number")


def _of_names(writer: Enum, reader: Enum) -> Iterator[str]:
    for number, name in writer.names.items():
        if reader.names.get(number, name) != name:
            yield f"{name} = {number} may be written, and is read as {reader.names[number]}"


def _of_presence(writer: Field, reader: Field) -> Iterator[str]:
    if writer.has_presence and not writer.is_required and not reader.has_presence:
        yield f"it may be left out, and is read as {_shown(reader.default)} then"
    elif reader.has_presence and not writer.has_presence:
        yield f"{_shown(writer.default)} is not sent, and is read as if it was left out"


def _plain(default: Any) -> object:  # noqa: ANN401  # any scalar
    """Return a default so that it can be compared across the kinds that read each other."""
    value = default.encode() if isinstance(default, str) else default
    return repr(value) if value != value else value or 0  # noqa: PLR0124  # NaN


def _shown(default: Any) -> str:  # noqa: ANN401  # any scalar
    if isinstance(default, str | bytes):
        return repr(default)[:80] if default else "empty"
    return str(default).lower()
