"""The envelope that says which batches of a lane will never come, how many readings they held, and why.

A gap travels the way of a batch, under the same magic, version and checksum; it has kind 2 and no body.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.batch.envelope import GAP, Name, Number, Sequence, converted, enclose
from gateway.errors import BatchError
from gateway.model import Gap


class GapFields(msgspec.Struct, kw_only=True):
    """The header of a gap as it is written; keys that a reader does not know are ignored."""

    node: Name
    lane: Name
    epoch: Number
    first: Sequence
    last: Sequence
    readings: Number
    readings_before: Number
    reason: Annotated[str, Meta(min_length=1, max_length=64)]


def encode(gap: Gap) -> bytes:
    """Return the envelope of the gap."""
    fields = {name: getattr(gap, name) for name in GapFields.__struct_fields__}
    return enclose(GAP, fields, b"")


def of(fields: dict[str, Any]) -> Gap:
    """Return the gap in the header map of an envelope; raise `BatchError`."""
    held = converted(fields, GapFields)
    if held.last < held.first:
        raise BatchError("a gap ends before it begins", first=held.first, last=held.last)
    return Gap(**msgspec.structs.asdict(held))
