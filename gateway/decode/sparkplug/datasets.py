"""Data sets: tables inside of a metric, of which each row becomes a row.

Tags as in `payload`, from the messages DataSet, Row and DataSetValue. A value that is not there is null and left out.

Source: Sparkplug 3.0.0, section 6.4.11 to 6.4.14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.decode.contract import RECORDS_MAX
from gateway.decode.flatten import check_names
from gateway.decode.sparkplug.payload import BOOLEAN, DOUBLE, FLOAT, INT, LONG, STRING, text_of
from gateway.decode.sparkplug.values import value_of
from gateway.decode.wire import scan, varints
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.decode.wire import Field
    from gateway.model import Row

_COUNT: Final = 1 << 3
_COLUMN: Final = 2 << 3 | 2
_TYPE: Final = 3 << 3
_TYPES_PACKED: Final = 3 << 3 | 2
_ROW: Final = 4 << 3 | 2
_ELEMENT: Final = 1 << 3 | 2

_VALUES: Final = {
    1 << 3: INT,
    2 << 3: LONG,
    3 << 3 | 5: FLOAT,
    4 << 3 | 1: DOUBLE,
    5 << 3: BOOLEAN,
    6 << 3 | 2: STRING,
}
"""Tag in a DataSetValue → tag of the same in a metric."""


def rows_of(data: bytes, columns_max: int) -> Iterator[Row]:
    """Yield the rows of a data set, those without any value included. Raises `DecodeError`."""
    fields = scan(data)
    columns = [text_of(value) for tag, value in fields if tag == _COLUMN]  # type: ignore[arg-type]  # the tag says so
    types = _types(fields, columns_max)
    rows: list[bytes] = [value for tag, value in fields if tag == _ROW]  # type: ignore[misc]  # as above
    if len(columns) > columns_max:
        raise DecodeError("too_many_fields", f"a data set has {len(columns)} columns, {columns_max} are allowed")
    if len(rows) > RECORDS_MAX:
        raise DecodeError("too_many_records", f"a data set has {len(rows)} rows, {RECORDS_MAX} are allowed")
    if len(set(columns)) < len(columns):
        raise DecodeError("duplicate_key", "a data set has two columns of one name")
    if len(types) != len(columns) or dict(fields).get(_COUNT, len(columns)) != len(columns):
        raise DecodeError("dataset_invalid", "the columns of a data set, their number and their types do not agree")
    check_names(columns)
    for row in rows:
        yield _row(row, columns, types)


def _types(fields: Sequence[Field], count_max: int) -> list[int]:
    """Return the types of the columns, which may come one by one or packed."""
    types: list[int] = []
    for tag, value in fields:
        if tag == _TYPE:
            types.append(value)  # type: ignore[arg-type]  # a varint
        elif tag == _TYPES_PACKED:
            types += varints(value, count_max)  # type: ignore[arg-type]  # bytes
    return types


def _row(data: bytes, columns: Sequence[str], types: Sequence[int]) -> Row:
    elements = [value for tag, value in scan(data) if tag == _ELEMENT]
    if len(elements) != len(columns):
        raise DecodeError("dataset_invalid", f"a row has {len(elements)} elements, the data set {len(columns)} columns")
    row: Row = {}
    for column, datatype, element in zip(columns, types, elements, strict=True):
        values = [(tag, raw) for tag, raw in scan(element) if tag in _VALUES]  # type: ignore[arg-type]  # bytes
        if values:
            tag, raw = values[-1]
            row[column] = value_of(datatype, _VALUES[tag], raw)
    return row
