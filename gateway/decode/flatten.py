"""Nested documents → rows, for every format whose parser returns dicts and lists.

Work is bounded by the limits, not by the document: the walk ends at the first thing that exceeds them.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from gateway.decode.contract import FIELD_CHARACTERS_MAX, INTEGER_MAX, INTEGER_MIN
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.decode.contract import Limits
    from gateway.model import Row, Value

NESTING_MAX: Final = 200
"""Deepest nesting of a document, beyond every `depth_max`: what works on documents may call itself for each level."""

_AS_THEY_ARE: Final = frozenset({bool, str, bytes})


def flatten(document: Mapping[object, object], limits: Limits) -> Row:
    """Return the fields of `document` that `limits` ask for. Raises `DecodeError`."""
    walk = _Walk(limits)
    walk.into("", document.items(), 1)
    return select(walk.row, limits.fields)


def check_extent(document: object, depth_max: int, field_count_max: int | None = None) -> None:
    """Raise `DecodeError` when `document` is nested deeper, or holds more values, than `flatten` would take.

    For work that is to be bounded before `flatten` sees the document. `field_count_max` of None is no bound.
    """
    level, seen = [document], 0
    for _ in range(depth_max):
        deeper: list[object] = []
        for outer in level:
            values = outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else (outer,)
            inner = [value for value in values if value and isinstance(value, dict | list)]
            seen += len(values) - len(inner)
            if field_count_max is not None and seen > field_count_max:
                raise DecodeError("too_many_fields", f"the payload has more than {field_count_max} fields")
            deeper += inner
        if not deeper:
            return
        level = deeper
    raise DecodeError("too_deep", f"the payload is nested deeper than {depth_max}")


def select(row: Row, fields: tuple[str, ...]) -> Row:
    """Return the fields asked for; all when none are. Raises `DecodeError` when nothing is left."""
    if fields:
        row = {name: row[name] for name in fields if name in row}
    if not row:
        raise DecodeError("no_fields", "the payload holds none of the fields that are wanted")
    return row


def checked(value: object) -> Value:
    """Return `value` if a reading can hold it. Raises `DecodeError`."""
    kind = value.__class__
    if kind in _AS_THEY_ARE:
        return value  # type: ignore[return-value]  # the set says so
    if isinstance(value, float):
        if isfinite(value):
            return value
        raise DecodeError("not_finite", "the payload holds NaN or Infinity")
    if isinstance(value, int):
        if INTEGER_MIN <= value <= INTEGER_MAX:
            return value
        raise DecodeError("integer_too_large", "an integer does not fit 64 signed bits")
    raise DecodeError("unsupported_type", f"a value is of type {kind.__name__}, which a reading cannot hold")


def check_names(names: Iterable[str]) -> None:
    """Raise `DecodeError` when a name is too long."""
    for name in names:
        if len(name) > FIELD_CHARACTERS_MAX:
            raise DecodeError("field_name_too_long", f"a field's name has more than {FIELD_CHARACTERS_MAX} characters")


class _Walk:
    """One walk over one document."""

    __slots__ = ("_limits", "_seen", "row")

    def __init__(self, limits: Limits) -> None:
        self.row: Row = {}
        self._limits = limits
        self._seen = 0

    def into(self, prefix: str, items: Iterable[tuple[object, object]], depth: int) -> None:
        if depth > self._limits.depth_max:
            raise DecodeError("too_deep", f"the payload is nested deeper than {self._limits.depth_max}")
        for key, value in items:
            if key.__class__ is not str and key.__class__ is not int:
                raise DecodeError("key_not_text", "a key of an object is not text")
            name = f"{prefix}{key}"
            if isinstance(value, dict) and value:
                self.into(f"{name}.", value.items(), depth + 1)
            elif isinstance(value, list) and value:
                self.into(f"{name}.", enumerate(value), depth + 1)
            else:
                self._leaf(name, value)

    def _leaf(self, name: str, value: object) -> None:
        self._seen += 1
        if self._seen > self._limits.field_count_max:
            raise DecodeError("too_many_fields", f"the payload has more than {self._limits.field_count_max} fields")
        if value is None or value in ({}, []):
            return
        if name in self.row:
            raise DecodeError("duplicate_key", f"the payload holds two values for {name[:80]!r}")
        check_names((name,))
        self.row[name] = checked(value)
