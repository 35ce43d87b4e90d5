"""A real day of a weather station through the steps of sampling, against plain computations. No broker is needed."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from gateway.config.schema import Sample
from gateway.process.sample import Sampler, Steps
from tests.support import surfrad
from tests.support.straight import computed, distance, lost_between, through_door

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE


def points(sensor: str) -> list[tuple[int, float]]:
    return [(one.time_ns, one.value) for one in surfrad.observations()[sensor]]


@pytest.mark.parametrize("sensor", ["temp", "pressure", "dw_solar", "windspd"])
def test_a_real_day_is_thinned_by_a_door_as_computed_and_can_be_drawn_again_within_the_bound(sensor) -> None:
    day, bound = points(sensor), 0.2503
    kept, held = through_door(day, bound, HOUR)
    assert (kept, held) == computed(day, bound, HOUR)
    kept += [held] if held else []
    assert 2 < len(kept) < len(day)
    for before, after, lost in lost_between(day, kept):
        assert all(distance(before, after, one) <= Fraction(bound) + Fraction(1, 2**30) for one in lost)


@pytest.mark.parametrize("sensor", ["rh", "windspd", "direct_n", "pressure"])
def test_a_real_day_under_percent_and_on_change_goes_on_as_computed(sensor) -> None:
    options = Sample(percent={"percent": 5.0}, floor={"percent": 0.4}, on_change=("change",), silence_ns=HOUR)
    sampler, found = Sampler(Steps(options)), {"percent": [], "change": []}
    for time_ns, value in points(sensor):
        for name in sampler.thinned({"percent": value, "change": value}, time_ns):
            found[name].append((time_ns, value))
    wanted = {"percent": [], "change": []}
    for point in points(sensor):
        for name, kept in wanted.items():
            band = max(0.4, 5.0 / 100 * abs(kept[-1][1])) if kept and name == "percent" else 1e-300
            if not kept or point[0] - kept[-1][0] >= HOUR or abs(point[1] - kept[-1][1]) >= band:
                kept.append(point)
    assert found == wanted
    assert 2 < len(found["percent"]) < len(found["change"]) <= len(points(sensor))


def test_the_table_of_the_page_on_sampling_says_what_a_real_day_comes_to() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "sampling.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    for sensor, bound, *numbers in rows:
        day = points(sensor)
        kept, held = through_door(day, float(bound), HOUR)
        band = Sampler(Steps(Sample(deadband={"v": float(bound)}, silence_ns=HOUR)))
        sent = sum(bool(band.thinned({"v": value}, time_ns)) for time_ns, value in day)
        assert [len(day), sent, len(kept) + (held is not None)] == [int(number) for number in numbers], sensor
