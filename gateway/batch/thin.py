"""Batches → fewer readings that still say what they said: per series and interval count, min, max, mean and last.

A field `f` becomes `f.count`, `f.min`, `f.max`, `f.mean` and `f.last`, with one reading each in every interval that has
any, at the interval's start (a multiple of its length, rounded towards the past). Count is of all values; min, max and
mean are of the numbers among them, and as floats min ≤ mean ≤ max; last is the latest value. Of equal times the last
of the later batch counts, and in one batch that of the type with the higher number in the format. Where no value is a
number there are count and last alone.

Batches that are thinned already (their header says so) go on from what they hold: counts are added, the least of the
least and the greatest of the greatest taken, means weighted by count, last is that of the latest interval. So two
levels say what one says, except where the finer one has forgotten: where text and numbers mix in one field and interval
the mean is weighted by the count of both, and of two batches that share an interval the later one has the last.

What such a batch holds is still checked. A field is taken as thinned only when, throughout the batch, each of its rows
has a count (an integer from 1) and a last, and has min, max and mean (numbers) together or none of them. Otherwise
each of its readings is taken as it is, `f.min` too, like any field of a batch that is not thinned.

All work is on columns: a **part** has rows that stand for one value or more each, and is combined by sorting it by
topic and time. The same batches give the same rows in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from gateway.batch.decode import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.batch.decode import DecodedBatch
    from gateway.batch.packing import Array
    from gateway.model import Row

COUNT: Final = "count"
MIN: Final = "min"
MAX: Final = "max"
MEAN: Final = "mean"
LAST: Final = "last"
_PLAIN: Final = frozenset({COUNT, LAST})
_MEASURED: Final = frozenset({COUNT, MIN, MAX, MEAN, LAST})

COUNT_MAX: Final = 1 << 40
"""Most readings that one row of a thinned batch may stand for: 35 years at 1 kHz. The rows of a batch fit 64 bits."""
_TIME_MIN: Final = -(1 << 63)


@dataclass(slots=True, frozen=True)
class Coarse:
    """`rows` as in an open batch, `readings` in them, and `originals`: the unthinned readings that they stand for."""

    rows: dict[str, tuple[list[int], list[Row]]]
    readings: int
    originals: int


class _Numbers(NamedTuple):
    """The mean (float64), the least and the greatest; these are int64, float64 or, where types mix, Python numbers."""

    means: Array
    lows: Array
    highs: Array


class _Part(NamedTuple):
    """Rows of one field: how many values each stands for, the latest of them, its time, and what numbers there are."""

    topics: Array
    times_ns: Array
    counts: Array
    lasts: Array
    numbers: _Numbers | None


def coarsened(batches: Iterable[DecodedBatch], interval_ns: int) -> Coarse:
    """Return the readings of `batches`, which are in order, at one row for each topic and interval."""
    places: dict[str, int] = {}
    parts: dict[str, list[_Part]] = {}
    originals = 0
    for batch in batches:
        mark = batch.header.thinned
        originals += batch.header.readings if mark is None else mark.readings
        own = np.array([places.setdefault(topic, len(places)) for topic in batch.topics])
        for name, part in map(_as_it_is, batch.tables) if mark is None else _as_thinned(batch.tables):
            shorter = _combined(part, interval_ns)
            parts.setdefault(name, []).append(shorter._replace(topics=own[shorter.topics]))
    if not parts:
        return Coarse({}, 0, originals)
    topics = sorted(places)
    ranks = np.argsort([places[topic] for topic in topics])
    fields = {
        name: _whole_and_measured([part._replace(topics=ranks[part.topics]) for part in parts[name]], interval_ns)
        for name in sorted(parts)
    }
    rows = _rows(fields, topics, interval_ns)
    return Coarse(rows, sum(sum(map(len, entries)) for _, entries in rows.values()), originals)


def _as_it_is(table: Table) -> tuple[str, _Part]:
    """Return a row for each reading of a table."""
    values = _array(table.values)
    numbers = _Numbers(values.astype(np.float64), values, values) if _is_numbers(values) else None
    return table.field, _Part(table.topics, table.times_ns, np.ones(len(values), np.int64), values, numbers)


def _as_thinned(tables: Iterable[Table]) -> Iterator[tuple[str, _Part]]:
    """Yield the fields of a thinned batch, and as they are the readings of those that are not whole."""
    fields: dict[str, dict[str, list[Table]]] = {}
    for table in tables:
        name, dot, end = table.field.rpartition(".")
        if dot:
            fields.setdefault(name, {}).setdefault(end, []).append(table)
        else:
            yield _as_it_is(table)
    for name, found in fields.items():
        parts = _taken({end: _one(same) for end, same in found.items()})
        if parts is None:
            for same in found.values():
                yield from map(_as_it_is, same)
        else:
            yield from ((name, part) for part in parts)


def _taken(columns: Mapping[str, Table]) -> list[_Part] | None:
    """Return the rows of a thinned field that have numbers and those that have none; None when it is not whole."""
    if columns.keys() not in (_PLAIN, _MEASURED) or not _is_counted(columns[COUNT], columns[LAST]):
        return None
    count = columns[COUNT]
    whole = _Part(count.topics, count.times_ns, _array(count.values), _array(columns[LAST].values), None)
    if MEAN not in columns:
        return [whole]
    numbers = _numbers(columns[MEAN], columns[MIN], columns[MAX])
    rows = None if numbers is None else _found(columns[MEAN], count)
    if rows is None:
        return None
    if len(rows) == len(whole.topics):
        return [whole._replace(numbers=numbers)]
    others = np.delete(np.arange(len(whole.topics)), rows)
    return [_chosen(whole, rows)._replace(numbers=numbers), _chosen(whole, others)]


def _is_counted(count: Table, last: Table) -> bool:
    """Whether both have the same rows, none twice, and all counts are in their bounds."""
    counts = _array(count.values)
    if counts.dtype != np.int64 or counts.min() < 1 or counts.max() > COUNT_MAX:
        return False
    return _is_aligned(count, last) and len(_begins(count.topics, count.times_ns)) == len(counts)


def _numbers(mean: Table, low: Table, high: Table) -> _Numbers | None:
    means, lows, highs = (_array(one.values) for one in (mean, low, high))
    if not (_is_aligned(mean, low) and _is_aligned(mean, high) and all(map(_is_numbers, (means, lows, highs)))):
        return None
    return _Numbers(means.astype(np.float64), lows, highs)


def _one(tables: Sequence[Table]) -> Table:
    """Return the tables of one field, which differ in type, as one."""
    if len(tables) == 1:
        return tables[0]
    topics = np.concatenate([table.topics for table in tables])
    times_ns = np.concatenate([table.times_ns for table in tables])
    values = _joined([_array(table.values) for table in tables])
    order = np.lexsort((times_ns, topics))
    return Table(tables[0].field, topics[order], times_ns[order], values[order])


def _found(some: Table, whole: Table) -> Array | None:
    """Return where in `whole` each row of `some` is; None when one is not there, or comes twice."""
    if _is_aligned(some, whole):
        return np.arange(len(whole.topics))
    rows = {place: row for row, place in enumerate(_places(whole))}
    found = np.array([rows.pop(place, -1) for place in _places(some)])
    return None if (found < 0).any() else found


def _places(table: Table) -> Iterator[tuple[int, int]]:
    return zip(table.topics.tolist(), table.times_ns.tolist(), strict=True)


def _chosen(part: _Part, rows: Array) -> _Part:
    return _Part(part.topics[rows], part.times_ns[rows], part.counts[rows], part.lasts[rows], None)


def _is_aligned(one: Table, other: Table) -> bool:
    return np.array_equal(one.times_ns, other.times_ns) and np.array_equal(one.topics, other.topics)


def _is_numbers(values: Array) -> bool:
    if values.dtype == object:
        return {value.__class__ for value in values} <= {int, float}
    return values.dtype != np.bool_


def _array(values: Array | list[str] | list[bytes]) -> Array:
    if not isinstance(values, list):
        return values
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _joined(arrays: Sequence[Array]) -> Array:
    """Return the arrays end to end; every value keeps its type."""
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)


def _end_to_end(parts: Sequence[_Part]) -> _Part:
    """Return the rows of all parts; with numbers when all have them."""
    numbers = [part.numbers for part in parts if part.numbers is not None]
    return _Part(
        np.concatenate([part.topics for part in parts]),
        np.concatenate([part.times_ns for part in parts]),
        np.concatenate([part.counts for part in parts]),
        _joined([part.lasts for part in parts]),
        _Numbers(*map(_joined, zip(*numbers, strict=True))) if len(numbers) == len(parts) else None,
    )


def _whole_and_measured(parts: Sequence[_Part], interval_ns: int) -> tuple[_Part, _Part | None]:
    """Return one row for each topic and interval, and those that have numbers: the same object when all do."""
    measured = [part for part in parts if part.numbers is not None]
    whole = _combined(_end_to_end(parts), interval_ns)
    if len(measured) == len(parts):
        return whole, whole
    return whole, _combined(_end_to_end(measured), interval_ns) if measured else None


def _combined(part: _Part, interval_ns: int) -> _Part:
    """Return one row for each topic and interval, ascending; its time is that of the latest value."""
    topics, times_ns, counts, lasts, numbers = part
    if (topics[1:] < topics[:-1]).any() or ((times_ns[1:] < times_ns[:-1]) & (topics[1:] == topics[:-1])).any():
        order = np.lexsort((times_ns, topics))  # stable: what came later stays the later one of equal times
        topics, times_ns, counts, lasts = (column[order] for column in part[:4])
        numbers = None if numbers is None else _Numbers(*(column[order] for column in numbers))
    begins = _begins(topics, times_ns // interval_ns)
    latest = np.append(begins[1:], len(topics)) - 1
    if numbers is not None:
        lows, highs = np.minimum.reduceat(numbers.lows, begins), np.maximum.reduceat(numbers.highs, begins)
        means = _means(numbers.means, counts, begins).clip(lows.astype(np.float64), highs.astype(np.float64))
        numbers = _Numbers(means, lows, highs)
    return _Part(topics[begins], times_ns[latest], np.add.reduceat(counts, begins), lasts[latest], numbers)


def _means(values: Array, counts: Array, begins: Array) -> Array:
    """Return the weighted mean of each run: from the sum, which is more exact, or where that overflows from shares."""
    with np.errstate(over="ignore", invalid="ignore"):
        totals = np.add.reduceat(counts, begins)
        means = np.add.reduceat(values * counts, begins) / totals
        if np.isfinite(means).all():
            return means
        shares = values * (counts / np.repeat(totals, np.diff(begins, append=len(counts))))
        return np.where(np.isfinite(means), means, np.add.reduceat(shares, begins))


def _begins(topics: Array, numbers: Array) -> Array:
    """Return where the runs of equal (topic, number) begin."""
    return np.concatenate(([0], np.flatnonzero((topics[1:] != topics[:-1]) | (numbers[1:] != numbers[:-1])) + 1))


def _rows(
    fields: Mapping[str, tuple[_Part, _Part | None]], topics: Sequence[str], interval_ns: int
) -> dict[str, tuple[list[int], list[Row]]]:
    """Return the rows of an open batch: topics, times and names ascending."""
    parts = []
    for whole, measured in fields.values():
        parts += [whole] if measured is None or measured is whole else [whole, measured]
    series = np.concatenate([part.topics for part in parts])
    intervals = np.concatenate([part.times_ns for part in parts]) // interval_ns
    order = np.lexsort((intervals, series))
    begins = _begins(series[order], intervals[order])
    places = np.empty(len(order), np.int64)
    places[order] = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(order)))
    entries: list[Row] = [{} for _ in begins]
    ends = np.cumsum([len(part.topics) for part in parts])[:-1]
    _fill(fields, ([entries[place] for place in own.tolist()] for own in np.split(places, ends)))
    firsts = order[begins]
    times = [max(number * interval_ns, _TIME_MIN) for number in intervals[firsts].tolist()]
    bounds = np.searchsorted(series[firsts], np.arange(len(topics) + 1)).tolist()
    return {
        topic: (times[begin:end], entries[begin:end])
        for topic, begin, end in zip(topics, bounds[:-1], bounds[1:], strict=True)
    }


def _fill(fields: Mapping[str, tuple[_Part, _Part | None]], rows: Iterator[list[Row]]) -> None:
    """Write each field into its rows: `rows` yields those of each part, of one that is twice the same only once."""
    for name, (whole, measured) in fields.items():
        all_of = next(rows)
        _write(all_of, f"{name}.{COUNT}", whole.counts)
        if measured is not None and measured.numbers is not None:
            some = all_of if measured is whole else next(rows)
            means, lows, highs = measured.numbers
            for end, values in ((MIN, lows), (MAX, highs), (MEAN, means)):
                _write(some, f"{name}.{end}", values)
        _write(all_of, f"{name}.{LAST}", whole.lasts)


def _write(rows: list[Row], name: str, values: Array) -> None:
    for row, value in zip(rows, values.tolist(), strict=True):
        row[name] = value
