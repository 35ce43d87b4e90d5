"""What happens to single fields of a row right after it was decoded: renamed, rescaled, removed, hashed, encrypted.

Changes apply in the order in which they are configured, each to the name that the field has then; what is not there is
passed over. A protected value is replaced before any step can remember it, so no state, checkpoint or batch ever holds
it; the journal and the quarantine hold payloads as they came, for as long as these keep them.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, TypeAlias

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.config import schema
    from gateway.model import Row
    from gateway.process.protect import Protection

    Change: TypeAlias = Callable[[Row, str, int], None]


def changes(fields: Sequence[schema.Field], key: bytes | None) -> tuple[Change, ...]:
    """Return what is to be done with each row, as functions of row, topic and time in ns that change the row.

    They raise `DecodeError`. Without a key, fields that should be hashed or encrypted are removed: what cannot be
    protected must not go on.
    """
    protection = None
    if key is not None:
        from gateway.process.protect import Protection  # noqa: PLC0415  # cryptography takes long to load

        protection = Protection(key)
    return tuple(change for field in fields for change in _changes_of(field, protection))


def _changes_of(field: schema.Field, protection: Protection | None) -> list[Change]:
    found: list[Change] = []
    name = field.name
    if field.rename:
        found.append(_renamed(name, field.rename))
        name = field.rename
    if field.factor != 1 or field.offset:
        found.append(_rescaled(name, field.factor, field.offset))
    if field.protect == "remove" or (field.protect != "none" and protection is None):
        found.append(_removed(name))
    elif field.protect == "hash" and protection is not None:
        found.append(_hashed(name, protection))
    elif field.protect == "encrypt" and protection is not None:
        found.append(_encrypted(name, protection))
    return found


def _renamed(old: str, new: str) -> Change:
    def change(row: Row, _topic: str, _time_ns: int) -> None:
        if old in row:
            if new in row:
                raise DecodeError("duplicate_key", f"{old!r} is renamed to {new!r}, which is there already")
            row[new] = row.pop(old)

    return change


def _rescaled(name: str, factor: float, offset: float) -> Change:
    is_whole = factor.is_integer() and offset.is_integer()
    whole_factor, whole_offset = (int(factor), int(offset)) if is_whole else (0, 0)

    def change(row: Row, _topic: str, _time_ns: int) -> None:
        value = row.get(name)
        if value.__class__ is int and is_whole:
            scaled = value * whole_factor + whole_offset
            row[name] = scaled if INTEGER_MIN <= scaled <= INTEGER_MAX else _finite(float(scaled))
        elif value.__class__ is float or value.__class__ is int:
            row[name] = _finite(value * factor + offset)

    def _finite(scaled: float) -> float:
        if not isfinite(scaled):
            raise DecodeError("number_too_large", f"{name!r} is too large after it was rescaled")
        return scaled

    return change


def _removed(name: str) -> Change:
    def change(row: Row, _topic: str, _time_ns: int) -> None:
        row.pop(name, None)

    return change


def _hashed(name: str, protection: Protection) -> Change:
    def change(row: Row, _topic: str, _time_ns: int) -> None:
        if name in row:
            row[name] = protection.hashed(row[name])

    return change


def _encrypted(name: str, protection: Protection) -> Change:
    def change(row: Row, topic: str, time_ns: int) -> None:
        if name in row:
            row[name] = protection.encrypted(topic, name, time_ns, row[name])

    return change
