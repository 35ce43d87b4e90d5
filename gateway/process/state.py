"""The pipeline's state in slices: small enough that none holds the loop for long, whatever the state's size.

Each part of the pipeline (a lane's builder, a route's samplers, its windows, …) gives its state as a run of records:
tuples of plain data of which none is larger than a row, a topic's sampler or the marks of one group. A slice is a
MessagePack array: the part's name, then as many of its records as fit, in order. Making one costs time by records and
by bytes, so both are bounded; the last record may pass the bound of bytes. A part without records has no slice.

The records are made as they are packed, so the state must not change between the first slice and the last.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SLICE_RECORDS_MAX: Final = 1_000
SLICE_BYTES_MAX: Final = 64 * 1024

_ARRAY = struct.Struct(">BI")
_ARRAY_32: Final = 0xDD
"""Tag of a MessagePack array whose length takes 32 bits: it is written when the length is known."""


class Part(NamedTuple):
    """What has a state of its own: `state` yields records, `restore` takes them in runs, in the same order."""

    state: Callable[[], Iterator[tuple[object, ...]]]
    restore: Callable[[Sequence[Any]], None]


def slices(parts: Mapping[str, Part]) -> Iterator[bytes]:
    """Yield the states of all parts, slice by slice."""
    encoder = msgspec.msgpack.Encoder()
    for name, part in parts.items():
        packed, number = bytearray(), 0
        for record in part.state():
            if not packed:
                packed += _ARRAY.pack(_ARRAY_32, 0)
                encoder.encode_into(name, packed, -1)
            encoder.encode_into(record, packed, -1)
            number += 1
            if number == SLICE_RECORDS_MAX or len(packed) >= SLICE_BYTES_MAX:
                yield _closed(packed, number)
                packed, number = bytearray(), 0
        if packed:
            yield _closed(packed, number)


def _closed(packed: bytearray, records: int) -> bytes:
    _ARRAY.pack_into(packed, 0, _ARRAY_32, 1 + records)
    return bytes(packed)


def restore_slice(parts: Mapping[str, Part], slice_: bytes) -> None:
    """Hand the records in a slice to their part. Raises `StoreError` when they do not fit these parts."""
    try:
        name, *records = msgspec.msgpack.decode(slice_)
        parts[name].restore(records)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        raise StoreError(f"the state does not fit the settings that it belongs to: {error!r}") from error
