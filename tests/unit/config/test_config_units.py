from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.units import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0s", 0),
        ("1ns", 1),
        ("250ms", 250_000_000),
        ("1.5h", 5400 * 10**9),
        ("7d", 604_800 * 10**9),
        ("2 s", 2 * 10**9),
    ],
)
def test_durations_are_read(text, nanoseconds) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("64kB", 64_000), ("8MiB", 8 << 20), ("1.5KiB", 1536), ("2TiB", 2 << 40)]
)
def test_sizes_are_read(text, size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("20", "without its unit"),
        ("20msec", "did you mean ms?"),
        ("20 seconds", "no duration has the unit"),
        ("-1s", "not a duration"),
        ("", "not a duration"),
        ("1h30m", "not a duration"),
        ("0.5ns", "whole number of ns"),
        ("1e9s", "not a duration"),
        ("٣s", "not a duration"),
        ("9" * 40 + "s", "not a duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_a_sentence(text, sentence) -> None:
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        parse_duration(text)


def test_a_unit_in_the_wrong_case_names_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean MiB\?"):
        parse_size("8mib")


@settings(max_examples=100)
@given(st.integers(0, 2**62))
def test_what_is_written_reads_back_as_the_same_number(number) -> None:
    assert parse_duration(duration_text(number)) == number
    assert parse_size(size_text(number)) == number
