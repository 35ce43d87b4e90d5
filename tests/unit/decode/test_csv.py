"""CSV: what another writer wrote comes back; odd files are records or a reason."""

from __future__ import annotations

import csv as standard
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decode import csv
from gateway.decode.contract import RECORDS_MAX, Limits, Record
from gateway.errors import DecodeError

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=10)
CELLS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
TABLES = st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6)


def decode(payload: bytes, limits: Limits | None = None, **options) -> list[Record]:
    return csv.decoder(limits or Limits(), **options)(payload, "t", 0)


@given(TABLES, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_tables_come_back_as_another_writer_wrote_them(table, delimiter: str, end: str) -> None:
    file = io.StringIO()
    writer = standard.writer(file, delimiter=delimiter, quoting=standard.QUOTE_NONNUMERIC, lineterminator=end)
    writer.writerows([["a", "b", "c"], *table])
    found = decode(file.getvalue().encode(), delimiter=delimiter)
    assert [list(record.row.values()) for record in found] == table
    assert [list(map(type, record.row.values())) for record in found] == [list(map(type, row)) for row in table]


@given(st.binary(max_size=200) | st.text('ab,"\n\r 1.NaN;', max_size=80).map(str.encode))
def test_whatever_comes_is_records_or_a_decode_error(payload: bytes) -> None:
    try:
        found = decode(payload, Limits(field_count_max=3), comment="#")
    except DecodeError:
        return
    assert all(0 < len(record.row) <= 3 for record in found)


def test_quotes_that_never_end_cost_no_more_than_other_bytes() -> None:
    for payload in (b'a\n"' + b'"' * 1_000_000, b"a\n" + b'"x' * 300_000, b'a,b\n"' + b"x," * 300_000):
        with pytest.raises(DecodeError):
            decode(payload)


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan", "null"])
def test_a_cell_without_a_value_is_no_reading(cell: str) -> None:
    assert decode(f"a,b\n{cell},1\n".encode()) == [Record("", None, {"b": 1})]


def test_a_quoted_cell_is_text_in_any_case() -> None:
    assert decode(b'a,b\n"1","NaN"\n') == [Record("", None, {"a": "1", "b": "NaN"})]


def test_columns_of_the_series_name_it_and_are_no_fields() -> None:
    options = {"columns": ("site", "room", "", "t"), "series": ("room", "site")}
    assert decode(b"s1,hall,7,21\n", **options) == [Record("hall/s1", None, {"t": 21})]


def test_only_wanted_fields_are_taken_in_their_order() -> None:
    found = decode(b"a,b,c\n1,2,3\n,5,6\n", Limits(fields=("c", "a")))
    assert [list(record.row.items()) for record in found] == [[("c", 3), ("a", 1)], [("c", 6)]]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"a\n\xff\n", "not_utf8"),
        (b"a\n" + b"1\n" * (RECORDS_MAX + 1), "too_many_records"),
        (b"," * 2000, "too_many_fields"),
        (b",".join(b"f%d" % number for number in range(300)) + b"\n" + b",".join([b"1"] * 300), "too_many_fields"),
        (b"f" * 300 + b"\n1\n", "field_name_too_long"),
        (b"a\n99999999999999999999\n", "integer_too_large"),
        (b"a\n1e999\n", "number_too_large"),
        (b'a\n"x\n', "malformed_csv"),
        (b'a\n"1"2\n', "malformed_csv"),
    ],
)
def test_what_cannot_be_taken_has_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.reason == reason
