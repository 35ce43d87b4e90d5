"""Line protocol: what another writer wrote comes back, and nothing makes the reader fail otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decode import line
from gateway.decode.contract import RECORDS_MAX, Limits, Record
from gateway.errors import DecodeError

KEYS = st.text(st.characters(exclude_characters="\\\n\r\t", exclude_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda key: not key.startswith("#")
)
VALUES = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
)
LINES = st.tuples(
    KEYS,
    st.dictionaries(KEYS, KEYS, max_size=3),
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=4),
    st.none() | st.integers(-(10**18), 10**18),
)


def escaped(text: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text)


def written(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "f"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def series(measurement: str, tags: dict[str, str]) -> str:
    pairs = sorted((escaped(key, ",= "), escaped(value, ",= ")) for key, value in tags.items())
    return ",".join([escaped(measurement, ", "), *(f"{key}={value}" for key, value in pairs)])


def decode(payload: bytes, precision: str = "ns", **limits) -> list[Record]:
    return line.decoder(Limits(**limits), precision=precision)(payload, "t", 0)


@given(st.lists(LINES, min_size=1, max_size=5))
def test_lines_come_back_as_they_were_written(lines) -> None:
    text = ""
    for measurement, tags, fields, time in lines:
        tag_text = "".join(f",{escaped(key, ',= ')}={escaped(value, ',= ')}" for key, value in tags.items())
        field_text = ",".join(f"{escaped(key, ',= ')}={written(value)}" for key, value in fields.items())
        text += f"{escaped(measurement, ', ')}{tag_text} {field_text}{'' if time is None else f' {time}'}\n"
    found = decode(text.encode())
    assert found == [Record(series(name, tags), time, fields) for name, tags, fields, time in lines]
    assert [[type(value) for value in record.row.values()] for record in found] == [
        [type(value) for value in fields.values()] for _, _, fields, _ in lines
    ]


@given(st.binary(max_size=200) | st.text('ab,= \\"\n#1itf.-', max_size=80).map(str.encode))
def test_whatever_comes_is_records_or_a_decode_error(payload: bytes) -> None:
    try:
        found = decode(payload, field_count_max=3)
    except DecodeError:
        return
    assert all(0 < len(record.row) <= 3 for record in found)


@pytest.mark.parametrize(("precision", "time_ns"), [("s", 7 * 10**9), ("ms", 7 * 10**6), ("us", 7000), ("ns", 7)])
def test_times_are_in_the_unit_of_the_route(precision: str, time_ns: int) -> None:
    assert decode(b"m a=1 7", precision)[0].time_ns == time_ns


def test_only_wanted_fields_are_taken_in_their_order_and_lines_without_are_left_out() -> None:
    found = decode(b"m a=1i,b=2i\nm c=3i\nm b=4i", fields=("b", "a"))
    assert [list(record.row.items()) for record in found] == [[("b", 2), ("a", 1)], [("b", 4)]]
    with pytest.raises(DecodeError, match="none of the fields"):
        decode(b"m c=3i", fields=("b",))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"\xff", "not_utf8"),
        (b"# nothing\n\n", "no_fields"),
        (b"m a=1\n" * (RECORDS_MAX + 1), "too_many_records"),
        (b"m " + b",".join(b"f%d=1" % number for number in range(300)), "too_many_fields"),
        (b"m" + b"".join(b",t%d=1" % number for number in range(300)) + b" a=1", "too_many_fields"),
        (b"m " + b"f" * 300 + b"=1", "field_name_too_long"),
        (b"m a=1e999", "number_too_large"),
    ],
)
def test_what_cannot_be_taken_has_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert caught.value.reason == reason


def test_a_fault_names_its_line_and_what_stands_there() -> None:
    with pytest.raises(DecodeError, match=r"line 3: expected a field, found 'x y=1'"):
        decode(b"m a=1\n\nm x y=1\n")


def test_digits_without_end_cost_no_more_than_other_bytes() -> None:
    for payload in (b"m a=" + b"1" * 500_000 + b"x 1", b"m a=" + b"1" * 500_000, b"m a=1." + b"1" * 500_000 + b"e 1"):
        with pytest.raises(DecodeError):
            decode(payload)
