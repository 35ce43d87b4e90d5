r"""InfluxDB line protocol → one record for each line, under the series that measurement and tags name.

    weather,location=us-midwest,season=summer temperature=82,humidity=71i 1465839830100400200

The series is the measurement and its tags, sorted by their keys, in the escaped form of the protocol: so no two sets of
tags have the same name. A backslash before a comma, an equals sign or a space (in a string: before a quote or a
backslash) takes its meaning away, before anything else it is a backslash. A line without a time states none.

Reading is one pass of patterns that never look back, so it takes time in proportion to the payload.

Source: the line protocol reference of InfluxDB v2, https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final, NoReturn

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN, RECORDS_MAX, UNIT_NS, Record
from gateway.decode.flatten import check_names, select
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Limits, RecordDecoder
    from gateway.model import Row, Value

_BLANK: Final = re.compile(r"[ \t\r\n]+|#[^\n]*")
_MEASUREMENT: Final = re.compile(r"(?:[^\\, \n]|\\[^\n])++")
_TAG: Final = re.compile(r",((?:[^\\,= \n]|\\[^\n])++)=((?:[^\\,= \n]|\\[^\n])++)")
_SPACES: Final = re.compile(r" +")
_FIELD: Final = re.compile(r'((?:[^\\,= \n]|\\[^\n])++)=("(?:[^"\\]++|\\.)*+"|[^", \r\n]++)', re.DOTALL)
_TIME: Final = re.compile(r" +(-?[0-9]{1,19})(?![0-9])")
_END: Final = re.compile(r" *\r?(?:\n|\Z)")

_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_INTEGER: Final = re.compile(r"([+-]?[0-9]{1,20})[iu]")
_WORDS: Final = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_ESCAPED: Final = re.compile(r"\\([,= ])")
_ESCAPED_IN_TEXT: Final = re.compile(r'\\(["\\])')
_SHOWN_MAX: Final = 40


def decoder(limits: Limits, *, precision: str = "ns") -> RecordDecoder:
    """Return a decoder under `limits`; times are in the unit `precision`: "s", "ms", "us" or "ns"."""
    unit_ns = UNIT_NS[precision]

    def decode(payload: bytes, topic: str, arrival_ns: int, /) -> list[Record]:  # noqa: ARG001  # the contract names it
        if not payload:
            raise DecodeError("empty", "the payload is empty")
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise DecodeError("not_utf8", "the payload is not UTF-8") from None
        return _Reader(text, limits, unit_ns).records()

    return decode


class _Reader:
    """One walk over one payload."""

    __slots__ = ("_at", "_limits", "_text", "_unit_ns")

    def __init__(self, text: str, limits: Limits, unit_ns: int) -> None:
        self._text = text
        self._limits = limits
        self._unit_ns = unit_ns
        self._at = 0

    def records(self) -> list[Record]:
        """Return a record for each line that has fields that are wanted. Raises `DecodeError`."""
        found = []
        lines = 0
        while self._skip_blanks():
            lines += 1
            if lines > RECORDS_MAX:
                raise DecodeError("too_many_records", f"the payload has more than {RECORDS_MAX} lines")
            record = self._line()
            if record is not None:
                found.append(record)
        if not found:
            raise DecodeError("no_fields", "the payload holds none of the fields that are wanted")
        return found

    def _skip_blanks(self) -> bool:
        """Go to the next line; False at the end."""
        while (blank := _BLANK.match(self._text, self._at)) is not None:
            self._at = blank.end()
        return self._at < len(self._text)

    def _line(self) -> Record | None:
        series = self._series()
        row = self._fields()
        time_ns = None
        stated = _TIME.match(self._text, self._at)
        if stated is not None:
            time_ns = int(stated[1]) * self._unit_ns
            self._at = stated.end()
        end = _END.match(self._text, self._at)
        if end is None:
            self._fail("a time and the end of the line")
        self._at = end.end()
        wanted = self._limits.fields
        if wanted and not any(name in row for name in wanted):
            return None
        return Record(series, time_ns, select(row, wanted))

    def _series(self) -> str:
        measurement = _MEASUREMENT.match(self._text, self._at)
        if measurement is None:
            self._fail("a measurement")
        self._at = measurement.end()
        tags: dict[str, str] = {}
        while (tag := _TAG.match(self._text, self._at)) is not None:
            if tag[1] in tags:
                raise DecodeError("duplicate_key", f"a line has the tag {tag[1][:_SHOWN_MAX]!r} twice")
            if len(tags) >= self._limits.field_count_max:
                raise DecodeError("too_many_fields", f"a line has more than {self._limits.field_count_max} tags")
            tags[tag[1]] = tag[2]
            self._at = tag.end()
        return ",".join([measurement[0], *(f"{key}={tags[key]}" for key in sorted(tags))])

    def _fields(self) -> Row:
        spaces = _SPACES.match(self._text, self._at)
        if spaces is None:
            self._fail("a tag or a space before the fields")
        self._at = spaces.end()
        row: Row = {}
        while True:
            field = _FIELD.match(self._text, self._at)
            if field is None:
                self._fail("a field")
            name = _ESCAPED.sub(r"\1", field[1])
            if name in row:
                raise DecodeError("duplicate_key", f"a line has the field {name[:_SHOWN_MAX]!r} twice")
            if len(row) >= self._limits.field_count_max:
                raise DecodeError("too_many_fields", f"a line has more than {self._limits.field_count_max} fields")
            row[name] = self._value(field[2])
            self._at = field.end()
            if self._text[self._at : self._at + 1] != ",":
                check_names(row)
                return row
            self._at += 1

    def _value(self, text: str) -> Value:
        if text[0] == '"':
            return _ESCAPED_IN_TEXT.sub(r"\1", text[1:-1])
        word = _WORDS.get(text)
        if word is not None:
            return word
        integer = _INTEGER.fullmatch(text)
        if integer is not None:
            return _integer(int(integer[1]), is_unsigned=text[-1] == "u")
        if _FLOAT.fullmatch(text) is None:
            raise DecodeError("malformed_line", f"{self._where()}: {text[:_SHOWN_MAX]!r} is no value")
        value = float(text)
        if not isfinite(value):
            raise DecodeError("number_too_large", f"{self._where()}: a number is too large")
        return value

    def _where(self) -> str:
        return f"line {self._text.count(chr(10), 0, self._at) + 1}"

    def _fail(self, wanted: str) -> NoReturn:
        found = self._text[self._at : self._at + _SHOWN_MAX].partition("\n")[0] or "the end of the line"
        raise DecodeError("malformed_line", f"{self._where()}: expected {wanted}, found {found!r}")


def _integer(value: int, *, is_unsigned: bool) -> int:
    if is_unsigned and value < 0:
        raise DecodeError("malformed_line", "an unsigned integer is negative")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise DecodeError("integer_too_large", "an integer does not fit 64 signed bits")
    return value
