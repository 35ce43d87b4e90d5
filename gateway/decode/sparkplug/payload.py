"""The messages of a Sparkplug B payload, field by field.

Each tag below is (number << 3 | wire type) of a field in Eclipse Tahu's `sparkplug_b/sparkplug_b.proto`; a field with
another wire type is another tag, and like all that are not named here it is ignored. That is metadata and properties of
metrics, parameters of templates, and extensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.decode.wire import scan
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Payload
PAYLOAD_TIMESTAMP: Final = 1 << 3
PAYLOAD_METRIC: Final = 2 << 3 | 2
PAYLOAD_SEQ: Final = 3 << 3
PAYLOAD_UUID: Final = 4 << 3 | 2

# Metric
NAME: Final = 1 << 3 | 2
ALIAS: Final = 2 << 3
TIMESTAMP: Final = 3 << 3
DATATYPE: Final = 4 << 3
IS_HISTORICAL: Final = 5 << 3
IS_TRANSIENT: Final = 6 << 3
IS_NULL: Final = 7 << 3
INT: Final = 10 << 3
LONG: Final = 11 << 3
FLOAT: Final = 12 << 3 | 5
DOUBLE: Final = 13 << 3 | 1
BOOLEAN: Final = 14 << 3
STRING: Final = 15 << 3 | 2
BYTES: Final = 16 << 3 | 2
DATASET: Final = 17 << 3 | 2
TEMPLATE: Final = 18 << 3 | 2

# Template
TEMPLATE_METRIC: Final = 2 << 3 | 2
TEMPLATE_IS_DEFINITION: Final = 5 << 3

VALUES: Final = frozenset({INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, BYTES, DATASET, TEMPLATE})
"""The fields of which a metric has one: the last that is sent."""

SEQ_NUMBERS: Final = 256
METRICS_MAX: Final = 20_000
"""Most metrics of one payload, or of one template."""

_COMPRESSED: Final = b"SPBV1.0_COMPRESSED"


class Payload(NamedTuple):
    """One payload. `seq` is 0 to 255, or None where the payload has none; `time_ms` likewise."""

    time_ms: int | None
    seq: int | None
    metrics: Sequence[bytes]


class Metric(NamedTuple):
    """One metric under its whole name and with its type. Without a value `tag` is 0 and `raw` empty."""

    name: str
    alias: int | None
    time_ms: int | None
    datatype: int
    is_historical: bool
    is_transient: bool
    tag: int
    raw: int | bytes


def payload_of(data: bytes) -> Payload:
    """Return the payload that `data` is. Raises `DecodeError`."""
    if not data:
        raise DecodeError("empty", "the payload is empty")
    fields = scan(data, METRICS_MAX)
    metrics = [value for tag, value in fields if tag == PAYLOAD_METRIC]
    others = dict(fields)
    if others.get(PAYLOAD_UUID) == _COMPRESSED:
        raise DecodeError("compressed", "the payload is compressed; let the edge node send it as it is")
    seq: Any = others.get(PAYLOAD_SEQ)
    if seq is not None and seq >= SEQ_NUMBERS:
        raise DecodeError("seq_invalid", f"the sequence number {seq} is beyond {SEQ_NUMBERS - 1}")
    return Payload(others.get(PAYLOAD_TIMESTAMP), seq, metrics)  # type: ignore[arg-type]  # tags say what they hold


def metric_fields(data: bytes) -> tuple[dict[int, Any], int, int | bytes]:
    """Return the fields of a metric by tag, the last of each, and its value's tag and content. Raises `DecodeError`."""
    fields = scan(data)
    found = dict(fields)
    tag, raw = fields[-1] if fields else (0, b"")
    if found.get(IS_NULL):
        return found, 0, b""
    if tag not in VALUES:
        tag, raw = next((field for field in reversed(fields) if field[0] in VALUES), (0, b""))
    return found, tag, raw


def template_of(data: bytes) -> Sequence[bytes] | None:
    """Return the metrics of a template's instance, None for a definition. Raises `DecodeError`."""
    fields = scan(data, METRICS_MAX)
    if dict(fields).get(TEMPLATE_IS_DEFINITION):
        return None
    return [value for tag, value in fields if tag == TEMPLATE_METRIC]  # type: ignore[misc]  # the tag says bytes


def text_of(data: bytes) -> str:
    """Return what `data` says in UTF-8. Raises `DecodeError`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None
