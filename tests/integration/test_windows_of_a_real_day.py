"""A real day of a weather station in windows, each function against polars. No broker is needed."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from gateway.config.schema import Window
from gateway.process.sketch import RELATIVE_ERROR
from gateway.process.window import Windows
from tests.support import surfrad

MINUTE = 60 * 10**9
FUNCTIONS = ("count", "sum", "min", "max", "mean", "first", "last", "stddev", "p50", "p95")
SENSORS = ["temp", "pressure", "dw_solar", "windspd", "netir"]


def frame(sensor: str) -> pl.DataFrame:
    """Return the measurements of a day, in order of time."""
    day = [one for one in surfrad.observations()[sensor] if one.value != surfrad.MISSING]
    columns = {"time": [one.time_ns for one in day], "v": [one.value for one in day]}
    return pl.DataFrame(columns).with_columns(pl.col("time").cast(pl.Datetime("ns")))


def windows_of(data: pl.DataFrame, options: Window) -> dict[int, dict[str, float]]:
    """Return what the gateway makes of it: start in ns → function → value."""
    windows, found = Windows(options), {}
    for time_ns, value in zip(data["time"].cast(pl.Int64).to_list(), data["v"].to_list(), strict=True):
        assert windows.take("t", time_ns, {"v": value}, 0)
    while windows.expire(None) or windows.has_due:
        for _, start, row in windows.due(1000):
            found[start] = {name.removeprefix("v."): value for name, value in row.items()}
    return found


def grouped(data: pl.DataFrame, every: int, period: int) -> list[dict[str, float]]:
    """Return the same by polars: windows of `period` minutes, one beginning every `every`."""
    spans = data.group_by_dynamic(
        "time", every=timedelta(minutes=every), period=timedelta(minutes=period), start_by="window"
    )
    value = pl.col("v")
    quantiles = [value.quantile(share, "lower").alias(name) for name, share in (("p50", 0.5), ("p95", 0.95))]
    rows = spans.agg(
        value.len().alias("count"), value.sum().alias("sum"), value.min().alias("min"), value.max().alias("max"),
        value.mean().alias("mean"), value.first().alias("first"), value.last().alias("last"),
        value.std().alias("stddev"), *quantiles,
    ).with_columns(pl.col("time").cast(pl.Int64))  # fmt: skip
    return rows.to_dicts()


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize(("every", "period"), [(15, 15), (10, 30), (60, 60)])
def test_windows_of_a_real_day_are_those_of_another_program(sensor: str, every: int, period: int) -> None:
    data = frame(sensor)
    hop_ns = 0 if every == period else every * MINUTE
    options = Window(size_ns=period * MINUTE, hop_ns=hop_ns, lateness_ns=10**15, functions=FUNCTIONS)
    found, compared = windows_of(data, options), 0
    for row in grouped(data, every, period):
        mine = found.pop(row.pop("time"))
        for name, wanted in row.items():
            if wanted is None:
                assert name not in mine
                continue
            error = RELATIVE_ERROR * abs(wanted) * 1.0001 if name in {"p50", "p95"} else 1e-9 * max(1, abs(wanted))
            assert abs(mine[name] - wanted) <= error, (name, row)
            compared += 1
    first_ns = data["time"].cast(pl.Int64)[0]
    assert all(start < first_ns for start in found), "polars begins with the first row, we with the first window"
    assert compared > 200


@pytest.mark.parametrize("sensor", ["pressure", "temp"])
def test_the_mean_by_time_of_an_even_day_is_that_of_another_program(sensor: str) -> None:
    data = frame(sensor)
    options = Window(size_ns=60 * MINUTE, lateness_ns=10**15, functions=("twmean", "count"))
    found = windows_of(data, options)
    means = {row["time"]: row["mean"] for row in grouped(data, 60, 60)}
    whole = [start for start, row in found.items() if row["count"] == 60]
    assert len(whole) == 24
    assert all(found[start]["twmean"] == pytest.approx(means[start], abs=1e-9) for start in whole)
