"""Metrics → rows: those that follow each other with the same time share one.

A row ends where its fields reach the limit or a name comes again. An array becomes fields `<metric>.0`, `<metric>.1`
and so on; the rows of a data set become records of the series `<metric>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode.contract import RECORDS_MAX, Record
from gateway.decode.flatten import check_names
from gateway.decode.sparkplug.datasets import rows_of
from gateway.decode.sparkplug.payload import DATASET
from gateway.decode.sparkplug.values import DATASET_TYPE, array_of, is_array, time_ns_of, value_of
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Limits
    from gateway.decode.sparkplug.payload import Metric
    from gateway.model import Row, Value

HISTORICAL: Final = "is_historical"
"""Field of rows that the edge node kept while it was offline, where the route asks for it."""


def stated(time_ms: int | None) -> int | None:
    """Return the ns that a time in ms is; 0 states none. Raises `DecodeError`."""
    return time_ns_of(time_ms) if time_ms else None


class Rows:
    """Rows in the making, from metrics in the order of the payload."""

    def __init__(self, limits: Limits, count_max: int, *, marks: bool) -> None:
        self._wanted = limits.fields
        self._fields_max = limits.field_count_max - marks or 1
        self._count_max = count_max
        self._marks = marks
        self._records: list[Record] = []
        self._row: Row = {}
        self._time_ms: int | None = None
        self._is_historical = False

    def take(self, metric: Metric, time_ms: int | None) -> None:
        """Take one metric that has a value. Raises `DecodeError`."""
        if self._time_ms != time_ms or self._is_historical is not metric.is_historical:
            self._close()
            self._time_ms, self._is_historical = time_ms, metric.is_historical
        datatype = metric.datatype
        if datatype == DATASET_TYPE:
            self._data_set(metric)
        elif is_array(datatype):
            values = array_of(datatype, metric.tag, metric.raw, self._fields_max)
            check_names((f"{metric.name}.{len(values)}",))
            for number, value in enumerate(values):
                self._put(f"{metric.name}.{number}", value)
        else:
            self._put(metric.name, value_of(datatype, metric.tag, metric.raw))

    def closed(self) -> list[Record]:
        """Return all records."""
        self._close()
        return self._records

    def _put(self, name: str, value: Value) -> None:
        row = self._row
        if name in row or len(row) >= self._fields_max:
            self._close()
            row = self._row
        row[name] = value

    def _close(self) -> None:
        row, self._row = self._row, {}
        self._append("", row)

    def _data_set(self, metric: Metric) -> None:
        if metric.tag != DATASET or not isinstance(metric.raw, bytes):
            raise DecodeError("value_mismatch", f"the metric {metric.name[:80]!r} is a data set, and its value is none")
        self._close()
        for row in rows_of(metric.raw, self._fields_max):
            self._append(metric.name, row)

    def _append(self, series: str, row: Row) -> None:
        if self._wanted:
            row = {name: row[name] for name in self._wanted if name in row}
        if not row:
            return
        if self._is_historical and self._marks:
            row[HISTORICAL] = True
        if len(self._records) >= self._count_max:
            raise DecodeError("too_many_records", f"the payload makes more than {RECORDS_MAX} records")
        self._records.append(Record(series, stated(self._time_ms), row))
