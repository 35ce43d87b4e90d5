"""Reader of one real day of a weather and radiation station, minute by minute.

The file is NOAA SURFRAD, station Alamosa, 2016-01-01: two header lines, then one row a minute. A row holds year, day
of year, month, day, hour, minute, decimal hour, solar zenith angle, then for each of the 20 sensors its value and a
quality flag; -9999.9 means missing. It lies outside the project because data is never committed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

FILE_NAME = "surfrad-alamosa-20160101.dat"
FOLDER = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
MISSING = -9999.9
SENSORS = (
    *("dw_solar", "uw_solar", "direct_n", "diffuse", "dw_ir", "dw_casetemp", "dw_dometemp"),
    *("uw_ir", "uw_casetemp", "uw_dometemp", "uvb", "par", "netsolar", "netir"),
    *("totalnet", "temp", "rh", "windspd", "winddir", "pressure"),
)
HEADER_LINES = 2
COLUMNS_BEFORE = 8


class Observation(NamedTuple):
    """What one sensor said in one minute."""

    time_ns: int
    value: float
    flag: int


def observations() -> dict[str, list[Observation]]:
    """Return the whole day: sensor → its 1,440 observations in order of time, missing values included."""
    path = Path(os.environ.get("GATEWAY_DATA", FOLDER)) / FILE_NAME
    assert path.exists(), f"{path} is missing: put {FILE_NAME} there, or name its folder in GATEWAY_DATA"
    day: dict[str, list[Observation]] = {sensor: [] for sensor in SENSORS}
    for line in path.read_text("ascii").splitlines()[HEADER_LINES:]:
        cells = line.split()
        year, _, month, number, hour, minute = map(int, cells[:6])
        time_ns = int(datetime(year, month, number, hour, minute, tzinfo=UTC).timestamp()) * 10**9
        pairs = zip(cells[COLUMNS_BEFORE::2], cells[COLUMNS_BEFORE + 1 :: 2], strict=True)
        for sensor, (value, flag) in zip(SENSORS, pairs, strict=True):
            day[sensor].append(Observation(time_ns, float(value), int(flag)))
    return day
