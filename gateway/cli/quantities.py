"""Quantities as people read them at a glance: few digits, a unit, never more than eleven characters."""

from __future__ import annotations

from typing import Final

NONE: Final = "-"

_DECIMAL: Final = 1000, ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY: Final = 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS: Final = ((86400, "d"), (3600, "h"), (60, "min"))
_LONG_S: Final = 1000 * 86400
_TEN: Final = 10
_HUNDRED: Final = 100


def count(number: float) -> str:
    """Return a count, all digits."""
    return f"{number:,.0f}"


def rate(number: float | None) -> str:
    """Return a number per second: one decimal below a hundred, where it tells something."""
    if number is None:
        return NONE
    return f"{number:,.1f}" if 0 < number < _HUNDRED else f"{number:,.0f}"


def size(number: float | None) -> str:
    """Return bytes of a line or a file system with three digits: "0 B", "1.23 kB", "45.6 MB"."""
    return _size(number, *_DECIMAL)


def room(number: float | None) -> str:
    """Return bytes of a ring or file of ours, which are sized in powers of two: "64.0 MiB"."""
    return _size(number, *_BINARY)


def some(number: int, what: str) -> str:
    """Return a count with its noun, in the plural where it is not one."""
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def _size(number: float | None, step: int, units: tuple[str, ...]) -> str:
    if number is None:
        return NONE
    value, unit = float(number), 0
    while value >= step - 0.5 and unit < len(units) - 1:
        value /= step
        unit += 1
    if not unit:
        return f"{value:.0f} {units[0]}"
    digits = 2 if value < _TEN else 1 if value < _HUNDRED else 0
    return f"{value:.{digits}f} {units[unit]}"


def share(part: float | None) -> str:
    """Return a share in percent; below one percent with a decimal."""
    if part is None:
        return NONE
    return f"{part:.1%}" if 0 < part < 0.01 else f"{part:.0%}"  # noqa: PLR2004  # one percent


def span(seconds: float | None) -> str:
    """Return how long, in its two largest units: "12 s", "3 min 5 s", "2 h 10 min", "4 d 3 h"."""
    if seconds is None:
        return NONE
    if seconds >= _LONG_S:
        return "> 999 d"
    whole = int(seconds)
    for (length, unit), (smaller, small_unit) in zip(_SPANS, (*_SPANS[1:], (1, "s")), strict=True):
        if whole >= length:
            rest = whole % length // smaller
            return f"{whole // length} {unit} {rest} {small_unit}" if rest else f"{whole // length} {unit}"
    return f"{whole} s"
