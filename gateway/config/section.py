"""What options are declared with: units, bounds and a sentence for each, in Structs that are tables of the file."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Meta, Struct

MS: Final = 1_000_000
S: Final = 1_000 * MS
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

DURATION: Final = "duration"
SIZE: Final = "size"


def option(sentence: str, *, unit: str = "", low: float | None = None, high: float | None = None) -> Meta:
    """Describe one option: its sentence, its unit and its inclusive bounds (in ns or bytes where the unit says so)."""
    return Meta(description=sentence, extra={"unit": unit, "low": low, "high": high})


def _key(name: str) -> str:
    return name.removesuffix("_ns")


class Section(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, rename=_key):
    """A table of the file."""


Name: TypeAlias = str
"""1 to 64 of `a-z A-Z 0-9 . _ -`, starting with a letter or digit; checked for the paths in `NAME_OPTIONS`."""
