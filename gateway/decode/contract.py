"""What every decoder promises, whatever its format.

A decoder turns one payload into one row, or into records where a format has many; or it raises `DecodeError`. No
payload makes it raise anything else, run long or take memory out of proportion, because payloads come from whoever may
publish. What it returns is final. A row is

- flat: nested names are joined by a dot, elements of arrays are named by their number (`axes.0`);
- never empty, and never more than `field_count_max` fields (what is null counts as one, and is then left out);
- integers fit 64 signed bits, floats are finite, text is Unicode.

Reasons are short words that the ledger counts: `empty`, `malformed_json`, `malformed_cbor`, `not_utf8`,
`not_an_object`, `not_finite`, `number_too_large`, `integer_too_large`, `duplicate_key`, `key_not_text`,
`unsupported_type`, `too_deep`, `too_many_fields`, `field_name_too_long`, `no_fields`, `too_many_records`,
`malformed_msgpack`, `malformed_line`, `malformed_csv`, `schema_violated`, `path_missing`, `not_an_array`,
`field_invalid`, `name_invalid`, `time_invalid`, `value_missing`, `value_ambiguous`, `must_understand`,
`version_unsupported`, `version_mixed`, `malformed_protobuf`, `malformed_avro`, `schema_unknown`, `topic_invalid`,
`compressed`, `seq_invalid`, `birth_missing`, `stale_death`, `name_missing`, `duplicate_alias`, `too_many_metrics`,
`value_mismatch`, `array_invalid`, `dataset_invalid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.model import Row

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1

UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Units of times in payloads."""

FIELD_CHARACTERS_MAX: Final = 256
"""Longest name of a field, path included: names live as long as the series they name."""


@dataclass(slots=True, frozen=True)
class Limits:
    """What a payload may hold. `fields` are the names to take, in this order; empty takes all."""

    fields: tuple[str, ...] = ()
    field_count_max: int = 256
    depth_max: int = 8


class Decoder(Protocol):
    """One format under the limits of one route."""

    def __call__(self, payload: bytes, /) -> Row:
        """Return the row that `payload` holds; the caller owns it. Raises `DecodeError`."""


RECORDS_MAX: Final = 10_000
"""Records of one payload."""


class Record(NamedTuple):
    """One row of a payload that has many.

    `series` is appended to the topic as `<topic>/<series>`, empty for the topic itself. `time_ns` is the Unix time that
    the payload states for this row, None where it states none.
    """

    series: str
    time_ns: int | None
    row: Row


class RecordDecoder(Protocol):
    """One format whose payloads hold many rows, under the limits of one route."""

    def __call__(self, payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:
        """Return up to `RECORDS_MAX` records in the payload's order; the caller owns them. Raises `DecodeError`.

        None only for a message that by its nature holds no readings, like a command.

        `topic` is that of the message, `arrival_ns` the wall time at which it came.
        """
