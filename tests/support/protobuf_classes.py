"""Messages of Google's protobuf for the text of a schema, and whether what one reads is what another wrote."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from gateway.schemas.protobuf_text import descriptor_set_of


def descriptor_set(text: str) -> bytes:
    return descriptor_set_of("test.proto", lambda _: text.encode())


def message_class(data: bytes, name: str):
    """Return the class of a message of a descriptor set."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def is_read_as_written(written, reader) -> bool:
    """Return whether each field that both know has the value that was written, as a parser's access returns it."""
    try:
        read = reader.FromString(written.SerializePartialToString())
    except (DecodeError, UnicodeDecodeError):
        return False
    return read.IsInitialized() and _are_same(written, read)


def _are_same(written, read) -> bool:
    known = written.DESCRIPTOR.fields_by_number
    both = [(known[field.number], field) for field in read.DESCRIPTOR.fields if field.number in known]
    return all(_is_same_field(written, one, read, other) for one, other in both)


def _is_same_field(written, one, read, other) -> bool:
    before, after = getattr(written, one.name), getattr(read, other.name)
    if is_map(one) or is_map(other):
        return one.is_repeated and other.is_repeated and _are_same_lists(_entries(one, before), _entries(other, after))
    if one.is_repeated and other.is_repeated:
        return _are_same_lists(before, after)
    if other.is_repeated:
        is_sent = written.HasField(one.name) if one.has_presence else bool(before)
        return _are_same_lists([before] if is_sent else [], after)
    if one.is_repeated:
        return not before or _are_same_lists(before, [after])
    return _is_same(before, after)


def _are_same_lists(before, after) -> bool:
    return len(before) == len(after) and all(_is_same(*pair) for pair in zip(before, after, strict=True))


def _entries(field, value) -> list:
    """Return a map, or a list of what could be its entries, as keys and values in an order of their own."""
    pairs = value.items() if is_map(field) else [(each.key, each.value) for each in value]
    return [each for pair in sorted(pairs, key=lambda pair: pair[0]) for each in pair]


def is_map(field) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_same(before, after) -> bool:
    if isinstance(before, Message):
        if isinstance(after, Message):
            return _are_same(before, after)
        return before.SerializePartialToString() == after
    if isinstance(before, str) and isinstance(after, bytes):
        return before.encode() == after
    return before == after or (before != before and after != after)  # noqa: PLR0124  # NaN
