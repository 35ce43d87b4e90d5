"""CSV → one record for each line of cells.

The names of the columns come from the route, or from the first line. A cell is a number, `true` or `false`, or text; in
quotes it is text in any case, and a quote in it is written twice. An empty cell, and `NaN`, which data loggers write
for "no value", is no reading. Cells of the `series` columns name the record's series, joined by a slash. The time,
where there is a column of it, is the route's to read like any other field.

Reading is one pass of a pattern that never looks back, so it takes time in proportion to the payload.

Source: RFC 4180; delimiter and comments as data loggers have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.decode.contract import RECORDS_MAX, Record
from gateway.decode.flatten import check_names
from gateway.decode.scalar import typed
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.decode.contract import Limits, RecordDecoder
    from gateway.model import Row, Value

CELLS_MAX: Final = 1024
"""Cells in a line, whether they become fields or not."""

_NO_VALUE: Final = frozenset({b"", b"nan", b"null"})
_SHOWN_MAX: Final = 40


def decoder(
    limits: Limits,
    columns: Sequence[str] = (),
    series: Sequence[str] = (),
    delimiter: str = ",",
    comment: str = "",
) -> RecordDecoder:
    """Return a decoder under `limits`.

    `columns` are the names of the columns in order, an empty one for a column that is left out; none: the first line
    has them. `series` are columns whose cells name the series, `comment` begins lines that are passed over.
    """
    mark, blank = re.escape(delimiter.encode()), b"[ ]*+" if delimiter == "\t" else b"[ \t]*+"
    quoted = blank + rb'"((?:[^"]++|"")*+)"' + blank + b"(?=" + mark + rb"|\r?\n|\Z)"
    cell = re.compile(quoted + rb"|((?!" + blank + rb'")[^\r\n' + mark + rb"]*+|)")
    layout = _Layout(limits, tuple(columns), tuple(series), cell, delimiter.encode(), comment.encode())

    def decode(payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:  # noqa: ARG001  # the contract names it
        if not payload:
            raise DecodeError("empty", "the payload is empty")
        return list(layout.records(payload))

    return decode


class _Layout:
    """What the lines of a route look like."""

    __slots__ = ("_cell", "_columns", "_comment", "_delimiter", "_limits", "_series")

    def __init__(
        self,
        limits: Limits,
        columns: tuple[str, ...],
        series: tuple[str, ...],
        cell: re.Pattern[bytes],
        delimiter: bytes,
        comment: bytes,
    ) -> None:
        self._limits = limits
        self._columns = columns
        self._series = series
        self._cell = cell
        self._delimiter = delimiter
        self._comment = comment

    def records(self, payload: bytes) -> Iterator[Record]:
        """Yield a record for each line that has a field that is wanted. Raises `DecodeError`."""
        columns = self._columns
        number = found = 0
        for number, cells in enumerate(self._lines(payload), 1):
            if not columns:
                columns = self._header(cells)
                continue
            if number > RECORDS_MAX:
                raise DecodeError("too_many_records", f"the payload has more than {RECORDS_MAX} lines")
            if len(cells) != len(columns):
                fault = f"line {number} has {len(cells)} cells, {len(columns)} are expected"
                raise DecodeError("malformed_csv", fault)
            series, row = self._record(columns, cells)
            if row:
                found += 1
                yield Record(series, None, row)
        if not found:
            raise DecodeError("no_fields", f"none of {number} lines holds a field that is wanted")

    def _record(self, columns: tuple[str, ...], cells: list[tuple[bytes, bool]]) -> tuple[str, Row]:
        values: Row = {}
        names: dict[str, str] = {}
        for name, (cell, is_quoted) in zip(columns, cells, strict=True):
            if name in self._series:
                names[name] = _text(cell)
            elif name and (is_quoted or cell.strip().lower() not in _NO_VALUE):
                values[name] = _value(cell, is_quoted=is_quoted)
        wanted = self._limits.fields
        row = {name: values[name] for name in wanted if name in values} if wanted else values
        if len(row) > self._limits.field_count_max:
            raise DecodeError("too_many_fields", f"a line has more than {self._limits.field_count_max} fields")
        return "/".join(names.get(name, "") for name in self._series), row

    def _header(self, cells: list[tuple[bytes, bool]]) -> tuple[str, ...]:
        names = tuple(_text(cell).strip() for cell, _ in cells)
        check_names(names)
        for name in names:
            if name and names.count(name) > 1:
                raise DecodeError("duplicate_key", f"two columns are called {name[:_SHOWN_MAX]!r}")
        missing = [name for name in self._series if name not in names]
        if missing:
            raise DecodeError("malformed_csv", f"no column is called {missing[0]!r}, which names the series")
        return names

    def _lines(self, payload: bytes) -> Iterator[list[tuple[bytes, bool]]]:
        """Yield the cells of each line, with whether they were quoted."""
        at, size = 0, len(payload)
        while at < size:
            if self._comment and payload.startswith(self._comment, at):
                at = payload.find(b"\n", at) + 1 or size
                continue
            cells: list[tuple[bytes, bool]] = []
            while True:
                match = self._cell.match(payload, at)
                assert match is not None, "no cell at all is an empty one"
                quoted = match[1]
                cells.append((match[2], False) if quoted is None else (quoted.replace(b'""', b'"'), True))
                if len(cells) > CELLS_MAX:
                    raise DecodeError("too_many_fields", f"a line has more than {CELLS_MAX} cells")
                at = match.end()
                if not payload.startswith(self._delimiter, at):
                    break
                at += len(self._delimiter)
            if at < size and not payload.startswith((b"\n", b"\r\n"), at):
                raise DecodeError("malformed_csv", f"what follows a cell is neither {self._delimiter!r} nor a new line")
            at = payload.find(b"\n", at) + 1 or size
            if cells != [(b"", False)]:
                yield cells


def _value(cell: bytes, *, is_quoted: bool) -> Value:
    return _text(cell) if is_quoted else typed(cell)


def _text(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        raise DecodeError("not_utf8", "a cell is not UTF-8") from None
