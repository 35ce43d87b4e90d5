"""When a row was true: the time its payload gives, in nanoseconds since the Unix epoch.

The time field is taken out of the row: it is the time of the readings, not a reading. Integers are exact. A float is
rounded to whole microseconds, because a double holds no more of today's dates and the rest would be noise of the
conversion. ISO 8601 text without an offset is UTC.

A time further after the arrival than allowed is refused, or one sensor with a wrong clock would close everyone's
windows and make all honest readings late. A time long past is taken: sensors do send what they kept.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN, UNIT_NS
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import schema
    from gateway.model import Row, Value

    TimeOf = Callable[[Row, int], int]

_US: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_CHARACTERS_MAX: Final = 64


def time_reader(options: schema.Time) -> TimeOf | None:
    """Return a function (row, latest ns allowed) → ns that takes the time out of the row; None for time of arrival.

    It raises `DecodeError` with reason `time_missing`, `time_invalid` or `time_ahead`.
    """
    field = options.field
    if not field:
        return None
    to_ns = _from_text if options.unit == "iso8601" else _from_number(UNIT_NS[options.unit])

    def time_of(row: Row, latest_ns: int) -> int:
        value = row.pop(field, None)
        if value is None:
            raise DecodeError("time_missing", f"the payload has no time field {field!r}")
        return checked_time(to_ns(value), latest_ns, f"the time field {field!r}")

    return time_of


def checked_time(time_ns: int, latest_ns: int, what: str = "a time in the payload") -> int:
    """Return a time that can be used. Raises `DecodeError`."""
    if not INTEGER_MIN <= time_ns <= INTEGER_MAX:
        raise DecodeError("time_invalid", f"{what} lies before 1678 or after 2262")
    if time_ns > latest_ns:
        raise DecodeError("time_ahead", f"{what} lies {(time_ns - latest_ns) / 1e9:.3f} s past what is allowed")
    return time_ns


def _from_number(unit_ns: int) -> Callable[[Value], int]:
    per_us = unit_ns / _US

    def to_ns(value: Value) -> int:
        if value.__class__ is int:
            return value * unit_ns
        if isinstance(value, float):
            return round(value * per_us) * _US if abs(value) <= INTEGER_MAX else INTEGER_MAX + 1
        raise DecodeError("time_invalid", f"the time field is {type(value).__name__}, not a number")

    return to_ns


def _from_text(value: Value) -> int:
    if not isinstance(value, str) or len(value) > _TEXT_CHARACTERS_MAX:
        raise DecodeError("time_invalid", "the time field is not ISO 8601 text")
    try:
        time = datetime.fromisoformat(value.strip())
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return (time - _EPOCH) // timedelta(microseconds=1) * _US
    except (ValueError, OverflowError):
        raise DecodeError("time_invalid", f"the time field {value!r} is not ISO 8601 text") from None
