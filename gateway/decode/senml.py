"""SenML packs in JSON → records.

A pack is an array of SenML records. Base fields hold from the record that states them to the next one that states them
again; what they give a record is worked out here, so that every record that leaves stands on its own ("resolved"):

    bn + n → series    bt + t → time    bv + v → field `value`    bs + s → field `sum`    u, else bu → field `unit`

- A record without any regular field carries no measurement, it only sets base fields. One with a regular field has
  exactly one value (v, vs, vb or vd), or a sum. A base value stands for a missing `v` only where the record has no
  other value and no sum; a base sum gives a sum to every record, as section 4.5.4 has it.
- Times below 2**28 seconds are relative to the arrival. Zero means that the sensor does not know: no time is stated.
  Times with a fraction are rounded to whole microseconds, since a double holds no more of today's dates.
- A number without a fraction stays an integer, as in every other format.
- Records stay in the order of the payload, which the RFC leaves to senders; resolved packs are chronological.
- Labels that are not known are ignored, those that end in "_" refuse the payload.

One record that breaks a rule refuses the whole pack: what it would have set for the others is not known.

Source: RFC 8428, sections 4 and 5. The CBOR form differs only in how records are read, see `senml_cbor`.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import FIELD_CHARACTERS_MAX, INTEGER_MAX, INTEGER_MIN, RECORDS_MAX, Record
from gateway.decode.flatten import checked
from gateway.decode.json import parse
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.decode.contract import Limits, RecordDecoder
    from gateway.model import Row, Value

VERSION: Final = 10
"""What a pack has that states no version, and the newest that is understood (section 4.4)."""
LABELS_MAX: Final = 64
"""Most labels of one record; the RFC knows 15."""

_NOW_S: Final = 2**28
_SECOND_NS: Final = 1_000_000_000
_SECOND_US: Final = 1_000_000
_US_NS: Final = 1_000
_SECONDS_MAX: Final = 2**34
"""Beyond every time that fits 64 bits of nanoseconds."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*")
_BASE64URL: Final = re.compile(r"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2,3})?")

_NUMBER: Final = frozenset({int, float})
_TEXT: Final = frozenset({str})
_KINDS: Final[Mapping[str, frozenset[type]]] = {
    "bn": _TEXT,
    "bt": _NUMBER,
    "bu": _TEXT,
    "bv": _NUMBER,
    "bs": _NUMBER,
    "bver": frozenset({int}),
    "n": _TEXT,
    "u": _TEXT,
    "v": _NUMBER,
    "vs": _TEXT,
    "vb": frozenset({bool}),
    "vd": frozenset({bytes}),
    "s": _NUMBER,
    "t": _NUMBER,
    "ut": _NUMBER,
}
"""Label → classes of what it holds (table 1); data that was base64url text in JSON is bytes by then."""
_REGULAR: Final = frozenset({"n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"})
_BASE: Final = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_VALUES: Final = ("v", "vs", "vb", "vd")


def decoder(limits: Limits, *, unit: bool = False) -> RecordDecoder:
    """Return a decoder of application/senml+json under `limits`; with `unit`, rows have a text field of that name."""

    def decode(payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:  # noqa: ARG001  # the contract names it
        return resolved(_pack(parse(payload)), arrival_ns, limits, unit=unit)

    return decode


def _pack(document: object) -> list[dict[str, Any]]:
    if not isinstance(document, list):
        raise DecodeError("not_an_array", "the payload is no array of SenML records")
    for number, record in enumerate(document):
        if not isinstance(record, dict):
            raise DecodeError("not_an_object", f"element {number} is no SenML record")
        data = record.get("vd")
        if data.__class__ is str:
            record["vd"] = _octets(data)
    return document


def _octets(text: str) -> bytes:
    """Return what base64url `text` without padding stands for (RFC 4648, section 5)."""
    if not _BASE64URL.fullmatch(text):
        raise DecodeError("field_invalid", "data is not base64url without padding")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def resolved(pack: Sequence[Mapping[str, Any]], now_ns: int, limits: Limits, *, unit: bool) -> list[Record]:
    """Return the measurements of `pack`, whose records map label → value, with all base fields applied.

    `now_ns` is the Unix time that times below 2**28 are relative to. Raises `DecodeError`.
    """
    if len(pack) > RECORDS_MAX:
        raise DecodeError("too_many_records", f"the pack has {len(pack)} records, {RECORDS_MAX} are allowed")
    base: dict[str, Any] = {"bver": pack[0].get("bver", VERSION) if pack else VERSION}
    records = []
    for record in pack:
        _check(record)
        _update(base, record)
        if _REGULAR.isdisjoint(record):
            continue
        row = _row(base, record, unit=unit)
        if len(row) > limits.field_count_max:
            raise DecodeError("too_many_fields", f"a record has more than {limits.field_count_max} fields")
        if limits.fields:
            row = {name: row[name] for name in limits.fields if name in row}
        series, time_ns = _series(base, record), _time_ns(base, record, now_ns)
        if row:
            records.append(Record(series, time_ns, row))
    if not records:
        raise DecodeError("no_fields", "the pack holds no measurement, or none of the fields that are wanted")
    return records


def _check(record: Mapping[str, Any]) -> None:
    """Raise `DecodeError` when a label must be understood and is not, or holds what it must not."""
    if len(record) > LABELS_MAX:
        raise DecodeError("too_many_fields", f"a SenML record has more than {LABELS_MAX} labels")
    for label, value in record.items():
        kinds = _KINDS.get(label)
        if kinds is None:
            if label[-1:] == "_":
                raise DecodeError("must_understand", f"the label {label[-80:]!r} must be understood, and is not")
        elif type(value) not in kinds:
            raise DecodeError("field_invalid", f"the label {label} holds a value of type {type(value).__name__}")
        elif kinds is _NUMBER and not INTEGER_MIN <= value <= INTEGER_MAX:
            checked(value)


def _update(base: dict[str, Any], record: Mapping[str, Any]) -> None:
    """Take over the base fields of `record`."""
    if _BASE.isdisjoint(record):
        return
    version = record.get("bver", base["bver"])
    if not 1 <= version <= VERSION:
        raise DecodeError("version_unsupported", f"the pack is of version {version}, 1 to {VERSION} are understood")
    if version != base["bver"]:
        raise DecodeError("version_mixed", f"a record is of version {version}, those before it are of {base['bver']}")
    base.update((label, record[label]) for label in _BASE if label in record)


def _series(base: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return the name of what was measured (section 4.5.1)."""
    first: str = base.get("bn", "")
    last: str = record.get("n", "")
    if len(first) + len(last) > FIELD_CHARACTERS_MAX:
        raise DecodeError("name_invalid", f"a name has more than {FIELD_CHARACTERS_MAX} characters")
    name = first + last
    if not _NAME.fullmatch(name):
        raise DecodeError("name_invalid", f"the name {name[:80]!r} is empty or holds a character that is not allowed")
    return name


def _time_ns(base: Mapping[str, Any], record: Mapping[str, Any], now_ns: int) -> int | None:
    """Return the Unix time in ns that holds for `record` (section 4.5.3), None where that is "now"."""
    seconds: int | float = base.get("bt", 0) + record.get("t", 0)
    if not seconds:
        return None
    if not -_SECONDS_MAX < seconds < _SECONDS_MAX:
        raise DecodeError("time_invalid", "a time lies before 1678 or after 2262")
    if isinstance(seconds, int):
        time_ns = seconds * _SECOND_NS
    else:
        parts, in_second = seconds.as_integer_ratio()
        time_ns = (2 * _SECOND_US * parts + in_second) // (2 * in_second) * _US_NS
    if seconds < _NOW_S:
        time_ns += now_ns
    if not INTEGER_MIN <= time_ns <= INTEGER_MAX:
        raise DecodeError("time_invalid", "a time lies before 1678 or after 2262")
    return time_ns


def _row(base: Mapping[str, Any], record: Mapping[str, Any], *, unit: bool) -> Row:
    """Return the value, the sum and the unit that hold for `record`. Raises `DecodeError`."""
    row: Row = {}
    values = [label for label in _VALUES if label in record]
    if len(values) > 1:
        raise DecodeError("value_ambiguous", f"a record has the values {' and '.join(values)}")
    if values and values[0] != "v":
        row["value"] = record[values[0]]
    elif values or ("bv" in base and "s" not in record):
        row["value"] = _added(base.get("bv"), record.get("v"))
    if "s" in record or "bs" in base:
        row["sum"] = _added(base.get("bs"), record.get("s"))
    if not row:
        raise DecodeError("value_missing", "a record has neither a value nor a sum")
    if unit:
        text = record.get("u") or base.get("bu")
        if text:
            row["unit"] = text
    return row


def _added(first: float | None, second: float | None) -> Value:
    """Return the sum of two numbers, what is missing being zero."""
    if first is None or second is None:
        return second if first is None else first  # type: ignore[return-value]  # one of them is there
    total = first + second
    if not isfinite(total):
        raise DecodeError("number_too_large", "a value and its base value are too large together")
    return checked(total)
