"""Batches → fewer readings that still say what they said: per series and interval count, min, max, mean and last.

A series `topic/field` becomes up to five, `field.count` and so on, with one reading in each interval that has any, at
the interval's start (a multiple of its length, rounded towards the past). Count is of all values; min, max and mean are
of the numbers among them; last is the latest value, of equal times the one that came last. Text, bytes and booleans
have count and last alone.

Batches that are thinned already (their header says so) go on from what they hold: counts are added, the least of the
least and the greatest of the greatest taken, means weighted by count. Where text and numbers mix in one field and
interval the weight is the count of both. A field of such a batch that has no count beside it is taken as it is.

Means are combined as weighted parts, never from a sum, so none overflows. The same batches give the same rows in the
same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.batch.decode import Column, DecodedBatch, Table
    from gateway.batch.packing import Array
    from gateway.model import Row, Value

COUNT: Final = "count"
MIN: Final = "min"
MAX: Final = "max"
MEAN: Final = "mean"
LAST: Final = "last"
_SUFFIXES: Final = frozenset({COUNT, MIN, MAX, MEAN, LAST})
_TIME_MIN: Final = -(1 << 63)


@dataclass(slots=True, frozen=True)
class Coarse:
    """`rows` as in an open batch, `readings` in them, and `originals`: the unthinned readings that they stand for."""

    rows: dict[str, tuple[list[int], list[Row]]]
    readings: int
    originals: int


class _Cell:
    """One series in one interval."""

    __slots__ = ("count", "high", "last", "last_ns", "low", "mean", "weight")

    def __init__(self) -> None:
        self.count = 0
        self.weight = 0
        self.mean = 0.0
        self.low: float = 0
        self.high: float = 0
        self.last: Value = 0
        self.last_ns = _TIME_MIN

    def take_numbers(self, weight: int, mean: float, low: float, high: float) -> None:
        if self.weight:
            whole = self.weight + weight
            self.mean = self.mean * (self.weight / whole) + mean * (weight / whole)
            self.low, self.high = min(self.low, low), max(self.high, high)
        else:
            self.mean, self.low, self.high = mean, low, high
        self.weight += weight

    def take_last(self, time_ns: int, value: Value) -> None:
        if time_ns >= self.last_ns:
            self.last_ns, self.last = time_ns, value

    def row(self, name: str) -> Row:
        row: Row = {f"{name}.{COUNT}": self.count}
        if self.weight:
            row |= {f"{name}.{MIN}": self.low, f"{name}.{MAX}": self.high}
            row[f"{name}.{MEAN}"] = min(max(self.mean, float(self.low)), float(self.high))
        row[f"{name}.{LAST}"] = self.last
        return row


_Cells = dict[tuple[str, int, str], _Cell]
"""(topic, interval, field) → cell."""


def coarsened(batches: Iterable[DecodedBatch], interval_ns: int) -> Coarse:
    """Return the readings of `batches`, which are in order, at one row for each topic and interval."""
    cells: _Cells = {}
    originals = 0
    for batch in batches:
        mark = batch.header.thinned
        originals += batch.header.readings if mark is None else mark.readings
        if mark is None:
            for table in batch.tables:
                _take_table(cells, batch.topics, table, interval_ns)
        else:
            _take_thinned(cells, batch.columns(), interval_ns)
    rows: dict[str, tuple[list[int], list[Row]]] = {}
    readings = 0
    previous: tuple[str, int] | None = None
    for topic, number, name in sorted(cells):
        times, entries = rows.setdefault(topic, ([], []))
        if previous != (topic, number):
            times.append(max(number * interval_ns, _TIME_MIN))
            entries.append({})
            previous = (topic, number)
        row = cells[topic, number, name].row(name)
        entries[-1].update(row)
        readings += len(row)
    return Coarse(rows, readings, originals)


def _take_table(cells: _Cells, topics: list[str], table: Table, interval_ns: int) -> None:
    """Take in a table, whose rows are sorted by topic and time: each cell is one run of them."""
    numbers = table.times_ns // interval_ns
    changes = (table.topics[1:] != table.topics[:-1]) | (numbers[1:] != numbers[:-1])
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    ends = np.append(starts[1:], len(numbers))
    names = [topics[index] for index in table.topics[starts].tolist()]
    last_times = table.times_ns[ends - 1].tolist()
    statistics: Iterator[tuple[float, float, float] | None]
    if isinstance(table.values, list):
        values: list[Value] = [table.values[end - 1] for end in ends.tolist()]
        statistics = iter([None] * len(starts))
    else:
        values = table.values[ends - 1].tolist()
        statistics = (
            _statistics(table.values, starts, ends) if table.values.dtype != np.bool_ else iter([None] * len(starts))
        )
    counts = (ends - starts).tolist()
    for topic, number, count, found, last_ns, value in zip(
        names, numbers[starts].tolist(), counts, statistics, last_times, values, strict=True
    ):
        cell = _cell(cells, topic, number, table.field)
        cell.count += count
        if found is not None:
            cell.take_numbers(count, *found)
        cell.take_last(last_ns, value)


def _statistics(values: Array, starts: Array, ends: Array) -> Iterator[tuple[float, float, float]]:
    """Yield (mean, min, max) of each run."""
    counts = ends - starts
    shares = values.astype(np.float64) / np.repeat(counts, counts)
    means = np.add.reduceat(shares, starts).tolist()
    lows, highs = np.minimum.reduceat(values, starts).tolist(), np.maximum.reduceat(values, starts).tolist()
    return zip(means, lows, highs, strict=True)


def _take_thinned(cells: _Cells, columns: Iterable[Column], interval_ns: int) -> None:
    parts: dict[tuple[str, int, str], dict[str, Value]] = {}
    for column in columns:
        name, _, suffix = column.field.rpartition(".")
        if suffix not in _SUFFIXES:
            name, suffix = column.field, ""
        for time_ns, value in zip(column.times_ns, column.values, strict=True):
            parts.setdefault((column.topic, time_ns, name), {})[suffix] = value
    for (topic, time_ns, name), part in parts.items():
        number, count = time_ns // interval_ns, part.get(COUNT)
        if not isinstance(count, int) or count.__class__ is bool:
            for suffix, value in part.items():
                _take_value(_cell(cells, topic, number, f"{name}.{suffix}" if suffix else name), time_ns, value)
            continue
        cell = _cell(cells, topic, number, name)
        cell.count += count
        if MIN in part and MAX in part and MEAN in part:
            mean, low, high = (cast("float", part[suffix]) for suffix in (MEAN, MIN, MAX))
            cell.take_numbers(count, mean, low, high)
        if LAST in part:
            cell.take_last(time_ns, part[LAST])


def _take_value(cell: _Cell, time_ns: int, value: Value) -> None:
    cell.count += 1
    if value.__class__ is int or value.__class__ is float:
        number = cast("float", value)
        cell.take_numbers(1, float(number), number, number)
    cell.take_last(time_ns, value)


def _cell(cells: _Cells, topic: str, number: int, name: str) -> _Cell:
    cell = cells.get((topic, number, name))
    if cell is None:
        cell = cells[topic, number, name] = _Cell()
    return cell
