"""The content of a batch ↔ the bytes of its body: counts, then packed columns in a fixed order.

    varints   topics T, fields F, keys K, tables N
    columns   topic lengths (uint32, T), topics joined (UTF-8)
              field lengths (uint32, F), fields joined (UTF-8)
              runs of each key (uint32, K)
              field, kind and key of each table (uint32, N each)
              for each key: series (uint32, a run), counts (uint32, a run), times (int64, a row)
              for each table: int64, float64 or bits a row; or text: lengths (uint32, a row), joined

`read` trusts nothing: it bounds every count before it reads a column of that many items, and checks all of the
canonical order of `gateway.batch.columns`, so that equal content has exactly one form.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.batch.columns import BOOL, BYTES, FLOAT, INT, TEXT, Content, Key, Table, Texts
from gateway.batch.packing import Packer, Unpacker
from gateway.errors import BatchError

if TYPE_CHECKING:
    from gateway.batch.packing import Array

READINGS_MAX: Final = 1 << 22
"""Most readings of one batch: four times the largest `batch_readings_max`."""

NAME_BYTES_MAX: Final = 65535
"""Longest topic (MQTT's own limit) and longest field name."""

_CONTINUATION: Final = 0x80
_CONTINUATION_MASK: Final = 0xC0


def write(what: Content) -> bytes:
    """Return the body of this content."""
    packer = Packer()
    for number in (len(what.topics), len(what.fields), len(what.keys), len(what.tables)):
        packer.count(number)
    for names in (what.topics, what.fields):
        _write_texts(packer, Texts.of([name.encode() for name in names]))
    packer.numbers(np.array([len(key.series) for key in what.keys], np.uint32))
    for column in zip(*((table.field, table.kind, table.key) for table in what.tables), strict=True):
        packer.numbers(np.array(column, np.uint32))
    for key in what.keys:
        packer.numbers(key.series)
        packer.numbers(key.counts)
        packer.numbers(key.times)
    for table in what.tables:
        if isinstance(table.values, Texts):
            _write_texts(packer, table.values)
        elif table.kind == BOOL:
            packer.bits(table.values)
        else:
            packer.numbers(table.values)
    return packer.done()


def read(data: bytes, readings: int) -> Content:
    """Return the content of a body that must hold exactly `readings` readings; raise `BatchError` when it does not."""
    unpacker = Unpacker(data)
    if not 0 < readings <= READINGS_MAX:
        raise BatchError("a batch has no readings, or too many", readings=readings, limit=READINGS_MAX)
    topics, fields, keys, tables = (unpacker.count(readings) for _ in range(4))
    content = Content(_read_names(unpacker, topics), _read_names(unpacker, fields), [], [])
    runs = unpacker.numbers(np.uint32, keys)
    table_fields, kinds, table_keys = (unpacker.numbers(np.uint32, tables) for _ in range(3))
    _check_tables(content, table_fields, kinds, table_keys, keys)
    for number in runs.tolist():
        content.keys.append(_read_key(unpacker, number, topics, readings))
    _check_keys(content, table_keys, readings)
    for field, kind, key in zip(table_fields.tolist(), kinds.tolist(), table_keys.tolist(), strict=True):
        content.tables.append(Table(field, kind, key, _read_values(unpacker, kind, len(content.keys[key].times))))
    unpacker.end()
    return content


def _write_texts(packer: Packer, texts: Texts) -> None:
    packer.numbers(texts.lengths)
    packer.blob(texts.joined)


def _read_texts(unpacker: Unpacker, items: int) -> Texts:
    lengths = unpacker.numbers(np.uint32, items)
    return Texts(lengths, unpacker.blob(int(lengths.sum(dtype=np.uint64))))


def _read_names(unpacker: Unpacker, items: int) -> list[str]:
    texts = _read_texts(unpacker, items)
    if items and int(texts.lengths.max()) > NAME_BYTES_MAX:
        raise BatchError("a topic or field name is too long", limit=NAME_BYTES_MAX)
    _check_unicode(texts)
    names = [name.decode() for name in texts.split()]
    if any(second <= first for first, second in pairwise(names)):
        raise BatchError("topics or field names are not in ascending order")
    return names


def _check_unicode(texts: Texts) -> None:
    """All of it must be UTF-8, and no character may lie across the end of a text."""
    try:
        texts.joined.decode()
    except UnicodeDecodeError as error:
        raise BatchError(f"text is not UTF-8: {error.reason}") from error
    begins = np.cumsum(texts.lengths, dtype=np.int64)
    begins = begins[begins < len(texts.joined)]
    if (np.frombuffer(texts.joined, np.uint8)[begins] & _CONTINUATION_MASK == _CONTINUATION).any():
        raise BatchError("text is divided within a character")


def _read_key(unpacker: Unpacker, runs: int, topics: int, rows_max: int) -> Key:
    series, counts = (unpacker.numbers(np.uint32, runs) for _ in range(2))
    rows = int(counts.sum(dtype=np.uint64))
    if not runs or rows > rows_max or not counts.all():
        raise BatchError("a key is empty, has an empty run, or more rows than the batch has readings", rows=rows)
    if (series[1:] <= series[:-1]).any() or series[-1] >= topics:
        raise BatchError("the topics of a key are not ascending, or not in the batch")
    times = unpacker.numbers(np.int64, rows)
    falls = times[1:] < times[:-1]
    falls[np.cumsum(counts[:-1], dtype=np.int64) - 1] = False
    if falls.any():
        raise BatchError("the times of a topic are not in order")
    return Key(series, counts, times)


def _check_tables(content: Content, fields: Array, kinds: Array, keys: Array, keys_count: int) -> None:
    """Tables ascend by (field, kind), use each field, and number the keys by first use."""
    ranks = fields.astype(np.uint64) << np.uint64(32) | kinds
    if not len(ranks) or (ranks[1:] <= ranks[:-1]).any():
        raise BatchError("a batch has no tables, or they are not in order")
    if kinds.min() < INT or kinds.max() > BYTES:
        raise BatchError("a table has an unknown type", kinds=np.unique(kinds).tolist())
    if not np.array_equal(np.unique(fields), np.arange(len(content.fields))):
        raise BatchError("the tables do not use exactly the fields of the batch")
    used, first = np.unique(keys, return_index=True)
    if not np.array_equal(used, np.arange(keys_count)) or (first[1:] < first[:-1]).any():
        raise BatchError("the tables do not use exactly the keys of the batch, in order")


def _check_keys(content: Content, table_keys: Array, readings: int) -> None:
    """No two keys are equal, together they use every topic, and the tables' rows are the readings of the batch."""
    same = {(key.series.tobytes(), key.counts.tobytes(), key.times.tobytes()) for key in content.keys}
    if len(same) < len(content.keys):
        raise BatchError("two keys of a batch are equal")
    used = np.zeros(len(content.topics), np.bool_)
    for key in content.keys:
        used[key.series] = True
    if not used.all():
        raise BatchError("a topic of the batch has no readings")
    rows = np.array([len(key.times) for key in content.keys], np.uint64)
    total = int(rows[table_keys].sum())
    if total != readings:
        raise BatchError("a batch holds another number of readings than it says", said=readings, held=total)


def _read_values(unpacker: Unpacker, kind: int, rows: int) -> Array | Texts:
    if kind == INT:
        return unpacker.numbers(np.int64, rows)
    if kind == FLOAT:
        return unpacker.numbers(np.float64, rows)
    if kind == BOOL:
        return unpacker.bits(rows)
    texts = _read_texts(unpacker, rows)
    if kind == TEXT:
        _check_unicode(texts)
    return texts
