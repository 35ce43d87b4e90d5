"""The Protocol Buffers wire format: bytes → numbered fields, nothing interpreted.

    field = tag (number << 3 | wire type) + what the wire type says
    0 varint   1 eight bytes   2 length and so many bytes   3 … 4 group   5 four bytes

Written here rather than taken from a library because a payload decides how many messages a library builds: two bytes
are an empty one. This reads one level at a time, builds nothing but a list that is as long as the fields of that level,
and says before the next level how much there is.

Invariant: work and memory of a call are in proportion to the bytes it is given, and it raises nothing but
`DecodeError`.

Source: https://protobuf.dev/programming-guides/encoding/; tags of at most 32 bits, varints of at most 10 bytes of which
64 bits count, groups nested at most 100 deep, as Google's own parsers have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import DecodeError

if TYPE_CHECKING:
    from typing import TypeAlias

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
GROUP: Final = 3
GROUP_END: Final = 4
FIXED32: Final = 5

FIELDS_MAX: Final = 65_536
"""Most fields of one message, those that nobody asked for included."""

_VARINT_BYTES_MAX: Final = 10
_TAG_MAX: Final = 2**32 - 1
_TAG_BYTES_MAX: Final = 5
_LENGTH_MAX: Final = 2**31 - 1
_GROUPS_MAX: Final = 100
_64_BITS: Final = 2**64 - 1

Field: TypeAlias = "tuple[int, int | bytes]"
"""Tag, and what it holds: an integer of 64 unsigned bits for a varint; the bytes for all others."""


def scan(data: bytes, fields_max: int = FIELDS_MAX) -> list[Field]:  # noqa: C901  # the hot path of every payload
    """Return the fields of a message in their order. Raises `DecodeError`."""
    found: list[Field] = []
    at, end = 0, len(data)
    try:
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:  # noqa: PLR2004  # the bit that says "goes on"
                tag, at = _tag(data, at - 1)
            kind = tag & 7
            value: int | bytes
            if kind == LENGTH and data[at] <= 0x7F:  # noqa: PLR2004
                start = at + 1
                at = start + data[at]
                if at > end:
                    raise _cut()
                value = data[start:at]
            elif kind == VARINT:
                value = data[at]
                at += 1
                if value > 0x7F:  # noqa: PLR2004
                    value, at = varint(data, at - 1)
            else:
                start, stop, at = _span(data, at, tag)
                if at > end:
                    raise _cut()
                value = data[start:stop]
            if tag < 8:  # noqa: PLR2004  # number 0
                raise _malformed("a field has the number 0")
            if len(found) >= fields_max:
                raise DecodeError("too_many_fields", f"a message of the payload has more than {fields_max} fields")
            found.append((tag, value))
    except IndexError:
        raise _cut() from None
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at `at`, and where it ends. Raises `DecodeError`, and `IndexError` past the end."""
    last = at
    while data[last] > 0x7F:  # noqa: PLR2004
        last += 1
    if last - at >= _VARINT_BYTES_MAX:
        raise _malformed(f"a varint has more than {_VARINT_BYTES_MAX} bytes")
    value = 0
    for place in range(last, at - 1, -1):
        value = value << 7 | data[place] & 0x7F
    return value & _64_BITS, last + 1


def varints(data: bytes, count_max: int) -> list[int]:
    """Return the varints that `data` is made of, as in packed fields. Raises `DecodeError`."""
    found: list[int] = []
    at = 0
    try:
        while at < len(data):
            value, at = varint(data, at)
            if len(found) >= count_max:
                raise DecodeError("too_many_fields", f"a packed field has more than {count_max} values")
            found.append(value)
    except IndexError:
        raise _cut() from None
    return found


def _tag(data: bytes, at: int) -> tuple[int, int]:
    tag, after = varint(data, at)
    if tag > _TAG_MAX or after - at > _TAG_BYTES_MAX:
        raise _malformed("a field's number is too large")
    return tag, after


def _span(data: bytes, at: int, tag: int) -> tuple[int, int, int]:
    """Return where the content of a field begins and ends, and where the next field begins."""
    kind = tag & 7
    if kind == LENGTH:
        length = data[at]
        at += 1
        if length > 0x7F:  # noqa: PLR2004
            length, at = varint(data, at - 1)
            if length > _LENGTH_MAX:
                raise _cut()
        return at, at + length, at + length
    if kind == FIXED64:
        return at, at + 8, at + 8
    if kind == FIXED32:
        return at, at + 4, at + 4
    if kind == GROUP:
        stop, after = _group_end(data, at, tag >> 3)
        return at, stop, after
    raise _malformed("a group ends that did not begin" if kind == GROUP_END else f"there is no wire type {kind}")


def _group_end(data: bytes, at: int, number: int) -> tuple[int, int]:
    """Return where the group `number`, whose content begins at `at`, ends: before and after the tag that says so."""
    open_groups = [number]
    while True:
        start = at
        tag, at = _tag(data, at)
        kind = tag & 7
        if kind == GROUP_END:
            if open_groups.pop() != tag >> 3:
                raise _malformed("a group ends that did not begin")
            if not open_groups:
                return start, at
        elif kind == GROUP:
            open_groups.append(tag >> 3)
            if len(open_groups) > _GROUPS_MAX:
                raise DecodeError("too_deep", f"groups are nested deeper than {_GROUPS_MAX}")
        elif kind == VARINT:
            _, at = varint(data, at)
        else:
            _, _, at = _span(data, at, tag)


def _cut() -> DecodeError:
    return DecodeError("malformed_protobuf", "the payload ends before its last field does")


def _malformed(fault: str) -> DecodeError:
    return DecodeError("malformed_protobuf", f"the payload is not Protobuf: {fault}")
