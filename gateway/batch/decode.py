"""Any envelope → verified content: a batch, or a gap. The one entry point for consumers of the format.

`decode` returns only what passed every check: lengths, checksum, header, bounds, canonical order, counts, time range
and content hash. Whatever else the bytes are, it raises `BatchError` and nothing else, and its memory is bounded by
`gateway.batch.packing.RAW_BYTES_MAX` before anything is unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gateway.batch import body, columns, envelope, gap
from gateway.batch.columns import TEXT, Texts
from gateway.errors import BatchError
from gateway.model import Gap, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.batch.columns import Content
    from gateway.batch.envelope import Header
    from gateway.batch.packing import Array
    from gateway.model import Value


class Column(NamedTuple):
    """The readings of one series in order of time, as plain Python values."""

    topic: str
    field: str
    times_ns: list[int]
    values: list[Value]


class Table(NamedTuple):
    """All readings of one field and type, sorted by topic and time; three columns of equal length.

    `topics` (uint32) indexes `DecodedBatch.topics`. `values` is an int64, float64 or bool array, or a list of str or
    bytes. Tables of fields that came together share their `topics` and `times_ns`.
    """

    field: str
    topics: Array
    times_ns: Array
    values: Array | list[str] | list[bytes]


@dataclass(slots=True, frozen=True)
class DecodedBatch:
    """A batch that passed every check."""

    header: Header
    _content: Content

    @property
    def topics(self) -> list[str]:
        """The topics of the batch, ascending."""
        return self._content.topics

    @property
    def tables(self) -> list[Table]:
        """The readings as arrays, one table per field and type; made anew at each call."""
        content = self._content
        series = [np.repeat(key.series, key.counts) for key in content.keys]
        return [
            Table(content.fields[table.field], series[table.key], content.keys[table.key].times, _array_or_texts(table))
            for table in content.tables
        ]

    def columns(self) -> Iterator[Column]:
        """Yield the readings series by series; one whose type changed comes once for each type."""
        content = self._content
        times: dict[int, list[int]] = {}
        for table in content.tables:
            key = content.keys[table.key]
            if table.key not in times:
                times[table.key] = key.times.tolist()
            moments = times[table.key]
            found = _array_or_texts(table)
            values: list[Any] = found if isinstance(found, list) else found.tolist()
            begin = 0
            for series, count in zip(key.series.tolist(), key.counts.tolist(), strict=True):
                end = begin + count
                name = content.fields[table.field]
                yield Column(content.topics[series], name, moments[begin:end], values[begin:end])
                begin = end

    def readings(self) -> Iterator[Reading]:
        """Yield every reading, in the order of `columns`."""
        node = self.header.id.node
        for topic, field, times_ns, values in self.columns():
            for time_ns, value in zip(times_ns, values, strict=True):
                yield Reading(node, topic, field, time_ns, value)


def decode(data: bytes) -> DecodedBatch | Gap:
    """Return the verified batch or gap in an envelope; raise `BatchError` for anything that is not one."""
    found = envelope.opened(bytes(data))
    if found.kind == envelope.GAP:
        if found.body:
            raise BatchError("a gap has a body", body_bytes=len(found.body))
        return gap.of(found.fields)
    header = envelope.batch_header(found.fields)
    content = body.read(found.body, header.readings)
    first_ns = min(int(key.times.min()) for key in content.keys)
    last_ns = max(int(key.times.max()) for key in content.keys)
    if (first_ns, last_ns) != (header.first_ns, header.last_ns):
        raise BatchError("the times of a batch are not those of its header", first_ns=first_ns, last_ns=last_ns)
    if columns.content_hash(content, header.readings_before) != header.hash:
        raise BatchError("the content of a batch is not what its node sealed: the hash differs")
    return DecodedBatch(header, content)


def _array_or_texts(table: columns.Table) -> Array | list[str] | list[bytes]:
    if not isinstance(table.values, Texts):
        return table.values
    texts = table.values.split()
    return [text.decode() for text in texts] if table.kind == TEXT else texts
