"""When a value differs enough from the last one that went on to go on itself.

A change is a function (last value that went on, as `remembered` keeps it; new value) → whether it is one. All of them
agree on what is no number: text, bytes and booleans change when they are another value or of another type, whatever the
band. Between two numbers, integer or float alike:

    absolute   |value - last| >= band
    percent    |value - last| >= max(floor, fraction · |last|), and value is not last
    on change  value is not last; exactly, also between integers that a float cannot hold

The band of percent follows the last value that went on, not the last one seen, so a slow drift cannot creep away: at
any time the last value that went on is less than one band from the newest. At 0 the band of percent is its floor; with
no floor every change from 0 is one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.model import Value

    Change: TypeAlias = Callable[[Value, Value], bool]

_NUMBERS: Final = frozenset({int, float})
_REMEMBERED_MAX: Final = 64
"""Longest text that is remembered as it is; of longer text a digest is."""


def absolute(band: float) -> Change:
    """Return the change by at least `band`, in the unit of the field."""

    def is_change(last: Value, value: Value) -> bool:
        if value.__class__ in _NUMBERS and last.__class__ in _NUMBERS:
            return abs(value - last) >= band  # type: ignore[operator,no-any-return]  # both are numbers
        return _is_other(last, value)

    return is_change


def percent(fraction: float, floor: float) -> Change:
    """Return the change by at least `fraction` of the last value that went on, and at least `floor`."""

    def is_change(last: Value, value: Value) -> bool:
        if value.__class__ in _NUMBERS and last.__class__ in _NUMBERS:
            band = max(floor, fraction * abs(last))  # type: ignore[arg-type]  # a number
            return value != last and abs(value - last) >= band  # type: ignore[operator]  # both are numbers
        return _is_other(last, value)

    return is_change


def any_change(last: Value, value: Value) -> bool:
    """Return whether the value is another one; 1 and 1.0 are the same number, 1 and true are not the same."""
    if value.__class__ in _NUMBERS and last.__class__ in _NUMBERS:
        return value != last
    return _is_other(last, value)


def remembered(value: Value) -> Value:
    """Return what is kept of a value to compare the next with: itself, or 16 bytes of BLAKE2b of longer text."""
    if isinstance(value, str | bytes) and len(value) > _REMEMBERED_MAX:
        return blake2b(value if isinstance(value, bytes) else value.encode(), digest_size=16).digest()
    return value


def _is_other(last: Value, value: Value) -> bool:
    value = remembered(value)
    return value.__class__ is not last.__class__ or value != last
