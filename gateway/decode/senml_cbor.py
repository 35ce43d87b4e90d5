"""SenML packs in CBOR → records.

Labels are integers here, and maps with integer keys are what a general parser must not be given: Python's hash of an
integer is the integer, so a payload could choose keys that all collide, and the time would grow with their square. This
reader therefore turns each label into its name before anything is hashed, and builds nothing but numbers, text, bytes
and booleans. What a label that is not known holds is stepped over.

- Arrays and maps may be of definite or indefinite length (section 6 wants the latter for streams); text and bytes of
  known labels are definite, as section 6 demands.
- Numbers are integers, floats of all sizes, and decimal fractions (tag 4), which become floats.
- Text labels that mean the same as an integer are taken, because translators from JSON write them; both of them in one
  record are a duplicate.

Source: RFC 8428, section 6, table 4; RFC 8949 for the bytes, its section 3.4.4 for decimal fractions.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import RECORDS_MAX
from gateway.decode.senml import LABELS_MAX, resolved
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Limits, Record, RecordDecoder

_SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
_LABELS: Final = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_NAMES: Final = frozenset(_LABELS.values())

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)
"""Major types (RFC 8949, section 3.1)."""
_BREAK: Final = 0xFF
_INDEFINITE: Final = 31
_DECIMAL_FRACTION: Final = 0xC4
_SMALL: Final[dict[int, object]] = (
    {head: head for head in range(24)}
    | {head: 0x1F - head for head in range(0x20, 0x38)}
    | {0xF4: False, 0xF5: True, 0xF6: None}
)
"""Values that are their head."""
_FLOATS: Final = {0xF9: Struct(">e"), 0xFA: Struct(">f"), 0xFB: Struct(">d")}
_ARGUMENTS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_STEPPED_OVER_MAX: Final = 10_000
"""Most items in what one pack has under labels that are not known."""


def decoder(limits: Limits, *, unit: bool = False) -> RecordDecoder:
    """Return a decoder of application/senml+cbor under `limits`; with `unit`, rows have a text field of that name."""

    def decode(payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:  # noqa: ARG001  # the contract names it
        return resolved(read_pack(payload), arrival_ns, limits, unit=unit)

    return decode


def read_pack(payload: bytes, /) -> list[dict[str, Any]]:
    """Return the records of a pack as label → value, under the labels of the JSON form. Raises `DecodeError`.

    Labels that are not known are there with the value None.
    """
    if not payload:
        raise DecodeError("empty", "the payload is empty")
    try:
        return _Reader(payload).pack()
    except IndexError:
        raise DecodeError("malformed_cbor", "the payload ends before its last value does") from None
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None


class _Reader:
    """One reading of one payload, from its first byte to its last. Past the end it raises `IndexError`."""

    __slots__ = ("_at", "_payload", "_stepped_over")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = len(_SELF_DESCRIBED) if payload.startswith(_SELF_DESCRIBED) else 0
        self._stepped_over = 0

    def pack(self) -> list[dict[str, Any]]:
        left = self._open(_ARRAY, "not_an_array")
        if left is not None and left > RECORDS_MAX:
            raise DecodeError("too_many_records", f"the pack has {left} records, {RECORDS_MAX} are allowed")
        records: list[dict[str, Any]] = []
        while not self._is_closed(left, len(records)):
            if len(records) == RECORDS_MAX:
                raise DecodeError("too_many_records", f"the pack has more than {RECORDS_MAX} records")
            records.append(self._record())
        if self._at != len(self._payload):
            raise DecodeError("malformed_cbor", "bytes follow the first data item")
        return records

    def _record(self) -> dict[str, Any]:
        left = self._open(_MAP, "not_an_object")
        record: dict[str, Any] = {}
        seen = 0
        while not self._is_closed(left, seen):
            seen += 1
            if seen > LABELS_MAX:
                raise DecodeError("too_many_fields", f"a SenML record has more than {LABELS_MAX} labels")
            label = self._label()
            if label in record:
                raise DecodeError("duplicate_key", f"a SenML record has the label {label[:80]!r} twice")
            if label in _NAMES:
                record[label] = self._value()
            else:
                record[label] = None
                self._step_over()
        return record

    def _open(self, major: int, reason: str) -> int | None:
        """Enter an array or map, and return how many items it has; None where a break says so."""
        head = self._payload[self._at]
        if head >> 5 != major:
            raise DecodeError(reason, "the payload is no array of SenML records, which are maps")
        self._at += 1
        return None if head & 0x1F == _INDEFINITE else self._argument(head)

    def _is_closed(self, left: int | None, seen: int) -> bool:
        if left is not None:
            return seen == left
        if self._payload[self._at] != _BREAK:
            return False
        self._at += 1
        return True

    def _argument(self, head: int) -> int:
        """Return the argument of a head that was passed just now (RFC 8949, section 3)."""
        short = head & 0x1F
        if short < 24:  # noqa: PLR2004  # the first that means "in the bytes that follow"
            return short
        width = _ARGUMENTS.get(short)
        if width is None:
            raise DecodeError("malformed_cbor", f"the byte {head:#04x} begins no data item")
        return int.from_bytes(self._take(width))

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._payload):
            raise IndexError
        taken = self._payload[self._at : end]
        self._at = end
        return taken

    def _label(self) -> str:
        head = self._payload[self._at]
        major = head >> 5
        if major not in (_UNSIGNED, _NEGATIVE, _TEXT):
            raise DecodeError("key_not_text", "a label is neither an integer nor text")
        if major == _TEXT:
            return self._string(head).decode()
        self._at += 1
        number = self._argument(head)
        number = -1 - number if major == _NEGATIVE else number
        return _LABELS.get(number) or f"integer {number}"

    def _string(self, head: int) -> bytes:
        self._at += 1
        return self._take(self._argument(head))

    def _value(self) -> object:
        head = self._payload[self._at]
        if head in _SMALL:
            self._at += 1
            return _SMALL[head]
        floats = _FLOATS.get(head)
        if floats is not None:
            self._at += 1
            value: float = floats.unpack(self._take(floats.size))[0]
            return value
        return self._long_value(head)

    def _long_value(self, head: int) -> object:
        major = head >> 5
        if major == _TEXT:
            return self._string(head).decode()
        if major == _BYTES:
            return self._string(head)
        if major in (_UNSIGNED, _NEGATIVE):
            return self._integer(head)
        if head == _DECIMAL_FRACTION:
            return self._decimal_fraction()
        if major in (_ARRAY, _MAP):
            raise DecodeError("field_invalid", "a label that is known holds an array or a map")
        raise DecodeError("unsupported_type", f"a label holds what begins with {head:#04x}, which no SenML value does")

    def _integer(self, head: int) -> int:
        major = head >> 5
        if major not in (_UNSIGNED, _NEGATIVE):
            raise DecodeError("unsupported_type", "a decimal fraction is of other things than integers of 64 bits")
        self._at += 1
        number = self._argument(head)
        return -1 - number if major == _NEGATIVE else number

    def _decimal_fraction(self) -> float:
        self._at += 1
        if self._open(_ARRAY, "unsupported_type") != 2:  # noqa: PLR2004  # exponent and mantissa
            raise DecodeError("unsupported_type", "a decimal fraction is not of two integers")
        exponent = self._integer(self._payload[self._at])
        mantissa = self._integer(self._payload[self._at])
        value = float(f"{mantissa}e{exponent}")
        if not isfinite(value):
            raise DecodeError("number_too_large", "a decimal fraction is too large")
        return value

    def _step_over(self) -> None:
        """Pass one data item of any kind; how deeply it is nested is bounded by how many items it may be of."""
        open_items: list[int | None] = [1]
        while open_items:
            left = open_items.pop()
            if self._is_closed(left, 0):
                continue
            open_items.append(None if left is None else left - 1)
            self._stepped_over += 1
            if self._stepped_over > _STEPPED_OVER_MAX:
                raise DecodeError("too_many_fields", f"unknown labels hold more than {_STEPPED_OVER_MAX} items")
            inner = self._head()
            if inner != 0:
                open_items.append(inner)

    def _head(self) -> int | None:
        """Pass one head, and its bytes or text; return how many items belong to it, None where a break ends them."""
        head = self._payload[self._at]
        major = head >> 5
        self._at += 1
        if head & 0x1F == _INDEFINITE and major in (_BYTES, _TEXT, _ARRAY, _MAP):
            return None
        argument = self._argument(head)
        if major in (_BYTES, _TEXT):
            self._take(argument)
        return {_ARRAY: argument, _MAP: 2 * argument, _TAG: 1}.get(major, 0)
