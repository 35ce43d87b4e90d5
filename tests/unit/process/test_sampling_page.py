"""The examples of docs/reference/sampling.md come out as the page says."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.config.schema import Sample
from gateway.process.hashed import is_chosen
from gateway.process.sample import Sampler, Steps
from tests.support.straight import through_door

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "sampling.md").read_text("utf-8")


def cells(name: str) -> list[list[str]]:
    """Return the cells of each row of a table that has that name, without it."""
    rows = re.findall(rf"^\| {name} \|(.*)\|$", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_the_example_of_percent_goes_on_as_the_page_says() -> None:
    values, went_on = cells("value")[0], cells("goes on")[0]
    assert "With 5 percent and a floor of 2.5:" in PAGE
    sampler = Sampler(Steps(Sample(percent={"v": 5.0}, floor={"v": 2.5})))
    found = ["yes" if sampler.thinned({"v": int(value)}, 0) else "no" for value in values]
    assert found == went_on


def test_the_example_of_the_swinging_door_goes_on_as_the_page_says() -> None:
    times, values, went_on = cells("time")[0], cells("value")[1], cells("goes on")[1]
    assert "With a bound of 0.5, one reading a second:" in PAGE
    kept, held = through_door([(int(time), float(value)) for time, value in zip(times[:-1], values, strict=False)], 0.5)
    assert held is not None
    assert [str(one.time_ns) for one in [*kept, held]] == [cell for cell in went_on if cell]
    assert went_on[-1] == str(held.time_ns)
    columns = [times[index] for index, cell in enumerate(went_on) if cell]
    assert columns == ["0", "6", "7", "then `idle`"]


def test_the_example_of_the_interval_goes_on_as_the_page_says() -> None:
    line = re.search(r'^interval = "5s"   (\S.*?)    by time', PAGE, re.MULTILINE)
    assert line is not None
    sampler = Sampler(Steps(Sample(interval_ns=5)))
    rows = [(time_ns, mark) for time_ns, mark in enumerate(line[1]) if mark != " "]
    assert all(bool(sampler.thinned({"v": 1}, time_ns)) == (mark == "●") for time_ns, mark in rows)
    kept = [str(time_ns) for time_ns, mark in rows if mark == "●"]
    assert f"at {', '.join(kept[:-1])} and {kept[-1]} s" in PAGE


def test_the_command_of_the_page_names_the_hash_that_is_used() -> None:
    # printf 'plant/press/1' | b2sum -l 64
    share = 0xD0EDC2A4ECD80B4B / 2**64
    assert "printf 'plant/press/1' | b2sum -l 64" in PAGE
    assert is_chosen(share * 1.000001, "plant/press/1")
    assert not is_chosen(share * 0.999999, "plant/press/1")
