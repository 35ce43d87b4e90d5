"""Durations and sizes as people write them, and back: "250ms" ↔ 250,000,000 ns, "8MiB" ↔ 8,388,608 bytes.

A number, then one unit, nothing else: "1h30m" is refused, "90m" says it. Units are case-sensitive, because kB and kb or
MB and Mb are different things. `*_text` returns the shortest text that reads back as the same number.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DURATION_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
SIZE_UNITS: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)? ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$"

_BINARY_SIZES: Final = {unit: size for unit, size in SIZE_UNITS.items() if unit == "B" or "i" in unit}
_TEXT: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,18})?) ?([^\s0-9.]*)", re.ASCII)


def parse_duration(text: str) -> int:
    """Return the nanoseconds that `text` says; raise ValueError with a sentence when it says none."""
    return _parse(text, DURATION_UNITS, "duration", "250ms")


def parse_size(text: str) -> int:
    """Return the bytes that `text` says; raise ValueError with a sentence when it says none."""
    return _parse(text, SIZE_UNITS, "size", "8MiB")


def duration_text(nanoseconds: int) -> str:
    """Return the duration with the largest unit that leaves a whole number."""
    return _text(nanoseconds, DURATION_UNITS, "s")


def size_text(size: int) -> str:
    """Return the size with the largest binary unit that leaves a whole number."""
    return _text(size, _BINARY_SIZES, "B")


def _parse(text: str, units: Mapping[str, int], what: str, example: str) -> int:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'not a {what}: write a number and a unit, like "{example}"')
    number, unit = match.groups()
    if unit not in units:
        known = ", ".join(units)
        if not unit:
            raise ValueError(f'a {what} without its unit: write "{number}" with one of {known}')
        close = get_close_matches(unit.lower(), [name.lower() for name in units], 1, 0.5)
        nearest = next((f", did you mean {name}?" for name in units if close and name.lower() == close[0]), "")
        raise ValueError(f'no {what} has the unit "{unit}"{nearest} (units: {known})')
    value = Fraction(number) * units[unit]
    if value.denominator != 1:
        raise ValueError(f"a {what} must be a whole number of {next(iter(units))}")
    return value.numerator


def _text(value: int, units: Mapping[str, int], unit_of_zero: str) -> str:
    if value == 0:
        return f"0{unit_of_zero}"
    unit = max((unit for unit in units if value % units[unit] == 0), key=units.__getitem__)
    return f"{value // units[unit]}{unit}"
