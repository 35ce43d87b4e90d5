"""Documents that are arrays of objects → one record for each object.

What sensors write when they send what they kept: `[{"t":1,"x":2},{"t":2,"x":3}]`, or the same somewhere inside of an
object, which `path` leads to. Where an object stands in place of the array, it is the only one.

Only what the path leads to is taken. The limits hold for each object as if it had come alone. All records belong to
the topic itself and state no time: where a field of theirs holds one, it is the route's to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.decode.contract import RECORDS_MAX, Record
from gateway.decode.flatten import flatten
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.decode.contract import Limits, RecordDecoder


def decoder(parse: Callable[[bytes], object], limits: Limits, path: tuple[str, ...] = ()) -> RecordDecoder:
    """Return a decoder for documents that `parse` reads, under `limits`; `path` leads to the array, key by key."""

    def decode(payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:  # noqa: ARG001  # the contract names it
        return rows(parse(payload), limits, path)

    return decode


def rows(document: object, limits: Limits, path: tuple[str, ...] = ()) -> list[Record]:
    """Return a record for each object of the array that `path` leads to in `document`, in its order.

    Objects without any of the fields that are wanted are left out. Raises `DecodeError`.
    """
    for key in path:
        if not isinstance(document, dict) or key not in document:
            raise DecodeError("path_missing", f"the payload has nothing at {'.'.join(path)[:80]!r}")
        document = document[key]
    objects = document if isinstance(document, list) else [document]
    if len(objects) > RECORDS_MAX:
        raise DecodeError("too_many_records", f"the array has {len(objects)} elements, {RECORDS_MAX} are allowed")
    records = []
    for number, element in enumerate(objects):
        if not isinstance(element, dict):
            raise DecodeError("not_an_object", f"element {number} is no object")
        try:
            records.append(Record("", None, flatten(element, limits)))
        except DecodeError as error:
            if error.reason != "no_fields":
                raise
    if not records:
        raise DecodeError("no_fields", "no object of the payload holds any of the fields that are wanted")
    return records
