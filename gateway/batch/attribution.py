"""Which topics the bytes of a sealed batch come from.

They are shared out column by column, as they are stored: a column of numbers or times by how many of its rows a topic
has, text by its bytes, topic names by their length; what belongs to nobody (header, field names, structure) by
readings. So a topic whose values compress better than those of its neighbours in the same column is charged with as
much as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.batch import columns, envelope
from gateway.batch.columns import Texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.batch.columns import Content
    from gateway.batch.packing import Array
    from gateway.model import OpenBatch, SealedBatch

_CONTINUES: Final = 0x80
_CODEC_BITS: Final = 2


def sealed(batch: OpenBatch, boot: str, number: int) -> tuple[SealedBatch, list[tuple[str, float]]]:
    """Seal a batch, and return with it what its `number` largest topics have in it; see `largest`. 0: nothing."""
    content = columns.content(batch.rows)
    made = envelope.seal(batch, boot, content)
    return made, largest(content, made.data, number) if number else []


def shared_out(content: Content, data: bytes) -> Array:
    """Return, for each topic of a batch, the bytes of its envelope `data` that come from it; they sum to all of it."""
    number = len(content.topics)
    sizes = _column_bytes(envelope.opened(data).body)
    rows: list[Array] = [np.bincount(key.series, key.counts, number) for key in content.keys]
    readings: Array = np.sum([rows[table.key] for table in content.tables], axis=0)
    names = np.array([len(topic.encode()) for topic in content.topics], np.float64)
    found: Array = np.zeros(number)
    shared = 0

    def share(weights: Array) -> None:
        nonlocal found, shared
        size = next(sizes)
        total = weights.sum()
        if total:
            found = found + weights * (size / total)
            shared += size

    for weights in (np.ones(number), names, *[np.zeros(number)] * 6):  # the six are of nobody, see `gateway.batch.body`
        share(weights)
    for key, key_rows in zip(content.keys, rows, strict=True):
        runs: Array = np.bincount(key.series, minlength=number)
        for weights in (runs, runs, key_rows):
            share(weights)
    for table in content.tables:
        share(rows[table.key])
        if isinstance(table.values, Texts):
            key = content.keys[table.key]
            share(np.bincount(np.repeat(key.series, key.counts), table.values.lengths, number))
    found += readings * ((len(data) - shared) / readings.sum())
    return found


def _column_bytes(body: bytes) -> Iterator[int]:
    """Yield the bytes that each column of a body takes, in order; the four counts before them are left out."""
    offset = 0
    for _ in range(4):
        _, offset = _varint(body, offset)
    while offset < len(body):
        begin = offset
        head, offset = _varint(body, offset)
        offset += head >> _CODEC_BITS
        yield offset - begin


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[offset]
        number |= (byte & _CONTINUES - 1) << shift
        offset += 1
        if byte < _CONTINUES:
            return number, offset
        shift += 7


def largest(content: Content, data: bytes, number: int) -> list[tuple[str, float]]:
    """Return topic and bytes of the `number` largest topics of a batch, and the bytes of all others under ""."""
    if len(content.topics) == 1:  # an alarm, as a rule, and somebody waits for it
        return [(content.topics[0], float(len(data)))]
    sizes = shared_out(content, data)
    if len(sizes) <= number:
        return list(zip(content.topics, sizes.tolist(), strict=True))
    chosen = np.argpartition(sizes, -number)[-number:]
    found = [(content.topics[index], float(sizes[index])) for index in chosen.tolist()]
    return [*found, ("", float(sizes.sum() - sizes[chosen].sum()))]
