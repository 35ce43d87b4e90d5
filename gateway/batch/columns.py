"""Rows → topics, fields, keys and tables: the content of a batch, in the one order that its hash is taken over.

A batch has one **table** per field name and type of value; a field that held integers and floats has two. The rows of
a table are sorted by (topic, time); values of one topic at one time keep the order in which they came. What is common
to the tables of the fields that a topic always sends together, topic and time of each row, is a **key**, held once and
referred to. The topics of a key are run-length: `series` names the topic of each run, `counts` its rows.

Canonical order, which a decoder demands: topics and fields ascending by their UTF-8 bytes, each used; tables ascending
by (field, kind); no two keys equal, numbered by first use. So equal readings make equal content whatever order the
topics came in, and `content_hash` is a function of the readings, not of a library's way to compress them.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from gateway.batch.packing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.model import Row, Value

INT: Final = 1
FLOAT: Final = 2
BOOL: Final = 3
TEXT: Final = 4
BYTES: Final = 5

HASH_BYTES: Final = 16

_KINDS: Final[dict[type, int]] = {int: INT, float: FLOAT, bool: BOOL, str: TEXT, bytes: BYTES}
_DTYPES: Final = {INT: np.dtype(np.int64), FLOAT: np.dtype(np.float64), BOOL: np.dtype(np.bool_)}


@dataclass(slots=True, frozen=True)
class Key:
    """Topic and time of each row of a table: `series` and `counts` are uint32, one a run, `times` int64, one a row."""

    series: Array
    counts: Array
    times: Array


@dataclass(slots=True, frozen=True)
class Texts:
    """Text or bytes of a table: the length of each in bytes (uint32), and all of them joined."""

    lengths: Array
    joined: bytes

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Texts:
        """Return the column of these values."""
        return cls(np.fromiter(map(len, values), np.uint32, len(values)), b"".join(values))

    def split(self) -> list[bytes]:
        """Return the values one by one."""
        ends = np.cumsum(self.lengths, dtype=np.int64).tolist()
        return [self.joined[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@dataclass(slots=True, frozen=True)
class Table:
    """All values of one field and kind; `field` and `key` are indexes into the content's."""

    field: int
    kind: int
    key: int
    values: Array | Texts


@dataclass(slots=True, frozen=True)
class Content:
    """What a batch says, without its identity."""

    topics: list[str]
    fields: list[str]
    keys: list[Key]
    tables: list[Table]


Piece: TypeAlias = tuple[Array, Array, "Sequence[Value]"]
"""Rows of one (field, kind): topic index, time, value; sorted, and no other piece of the table has its topics."""


@dataclass(slots=True)
class _Shape:
    """Topics whose rows all have the same fields: their times and rows end to end, `counts` of each topic."""

    topics: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Cells:
    """One field of the topics whose rows differ in their fields."""

    topics: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


def content(rows: Mapping[str, tuple[list[int], list[Row]]]) -> Content:
    """Return the content of an open batch's rows. Every value must be of the model's types, text valid Unicode."""
    topics = sorted(rows)
    shapes: dict[frozenset[str], _Shape] = {}
    scattered: dict[str, _Cells] = {}
    for index, topic in enumerate(topics):
        times, entries = rows[topic]
        names: frozenset[str] = frozenset(chain.from_iterable(entries))
        if len(names) * len(entries) == sum(map(len, entries)):
            shape = shapes.setdefault(names, _Shape())
            shape.topics.append(index)
            shape.counts.append(len(entries))
            shape.times += times
            shape.rows += entries
        else:
            _scatter(scattered, index, times, entries)
    pieces: dict[tuple[str, int], list[Piece]] = {}
    for names, shape in shapes.items():
        _add_shape(pieces, names, shape)
    for name, cells in scattered.items():
        _add_cells(pieces, name, cells)
    return _assembled(topics, pieces)


def content_hash(what: Content, readings_before: int) -> bytes:
    """Return the 16-byte BLAKE2b of the content in canonical form; the form is on the format's page."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    counts = (len(what.topics), len(what.fields), len(what.keys), len(what.tables))
    digest.update(struct.pack("<Q4I", readings_before, *counts))
    for names in (what.topics, what.fields):
        texts = Texts.of([name.encode() for name in names])
        digest.update(texts.lengths.tobytes())
        digest.update(texts.joined)
    for key in what.keys:
        digest.update(struct.pack("<I", len(key.series)))
        for column in (key.series, key.counts, key.times):
            digest.update(column.data)
    for table in what.tables:
        digest.update(struct.pack("<III", table.field, table.kind, table.key))
        if isinstance(table.values, Texts):
            digest.update(table.values.lengths.data)
            digest.update(table.values.joined)
        else:
            digest.update(table.values.data)
    return digest.digest()


def readings(what: Content) -> int:
    """Return how many readings the content holds."""
    return sum(len(what.keys[table.key].times) for table in what.tables)


def _scatter(scattered: dict[str, _Cells], index: int, times: list[int], entries: list[Row]) -> None:
    for time_ns, row in zip(times, entries, strict=True):
        for name, value in row.items():
            cells = scattered.get(name)
            if cells is None:
                cells = scattered[name] = _Cells()
            cells.topics.append(index)
            cells.times.append(time_ns)
            cells.values.append(value)


def _add_shape(pieces: dict[tuple[str, int], list[Piece]], names: frozenset[str], shape: _Shape) -> None:
    series = np.repeat(np.array(shape.topics, np.uint32), shape.counts)
    times = np.array(shape.times, np.int64)
    rows = shape.rows
    order = _order(series, times)
    if order is not None:
        times = times[order]
        rows = [rows[index] for index in order.tolist()]
    for name in names:
        _add(pieces, name, series, times, list(map(itemgetter(name), rows)))


def _add_cells(pieces: dict[tuple[str, int], list[Piece]], name: str, cells: _Cells) -> None:
    series, times = np.array(cells.topics, np.uint32), np.array(cells.times, np.int64)
    values = cells.values
    order = _order(series, times)
    if order is not None:
        times = times[order]
        values = [values[index] for index in order.tolist()]
    _add(pieces, name, series, times, values)


def _order(series: Array, times: Array) -> Array | None:
    """Return the stable order by (series, time), or None when it is so already; `series` never falls."""
    if bool(((times[1:] >= times[:-1]) | (series[1:] != series[:-1])).all()):
        return None
    return np.lexsort((times, series))


def _add(
    pieces: dict[tuple[str, int], list[Piece]], name: str, series: Array, times: Array, values: Sequence[Value]
) -> None:
    """Add a piece for each type among the values."""
    types = set(map(type, values))
    if len(types) == 1:
        pieces.setdefault((name, _KINDS[types.pop()]), []).append((series, times, values))
        return
    for kind in types:
        chosen = [index for index, value in enumerate(values) if type(value) is kind]
        piece = (series[chosen], times[chosen], [values[index] for index in chosen])
        pieces.setdefault((name, _KINDS[kind]), []).append(piece)


def _merged(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    series = np.concatenate([piece[0] for piece in pieces])
    times = np.concatenate([piece[1] for piece in pieces])
    values = list(chain.from_iterable(piece[2] for piece in pieces))
    order = np.argsort(series, kind="stable")
    return series[order], times[order], [values[index] for index in order.tolist()]


def _assembled(topics: list[str], pieces: dict[tuple[str, int], list[Piece]]) -> Content:
    fields = sorted({name for name, _ in pieces})
    numbers = {name: number for number, name in enumerate(fields)}
    keys: list[Key] = []
    known: dict[tuple[bytes, bytes], int] = {}
    last: tuple[Array, Array, int] | None = None
    tables = []
    for name, kind in sorted(pieces):
        series, times, values = _merged(pieces[name, kind])
        if last is None or last[0] is not series or last[1] is not times:
            number = known.setdefault((series.tobytes(), times.tobytes()), len(keys))
            if number == len(keys):
                keys.append(_key(series, times))
            last = (series, times, number)
        tables.append(Table(numbers[name], kind, last[2], _column(kind, values)))
    return Content(topics, fields, keys, tables)


def _key(series: Array, times: Array) -> Key:
    begins = np.concatenate(([0], np.flatnonzero(series[1:] != series[:-1]) + 1))
    counts = np.diff(begins, append=len(series)).astype(np.uint32)
    return Key(series[begins], counts, times)


def _column(kind: int, values: Sequence[Value]) -> Array | Texts:
    if kind == TEXT:
        return Texts.of([value.encode() for value in values if isinstance(value, str)])
    if kind == BYTES:
        return Texts.of([value for value in values if isinstance(value, bytes)])
    return np.array(values, _DTYPES[kind])
