"""Real readings from source distributions on the Python index, pinned by version and SHA-256, never committed.

- `water`: a gauge of the US Geological Survey (01581752, Plumtree Run at Bel Air), five sensors each five minutes for
  three years: temperature, discharge, height, conductance, turbidity. In hydrofunctions 0.2.4 (MIT; the data is public
  domain).
- `motion`: nine channels of accelerometers at 64 Hz, from the Daphnet data set (UCI, CC BY 4.0), in aeon 1.6.0 (BSD).
- `sunlight`: twelve channels of a weather station beside photovoltaics (NREL RMIS), each five minutes for four days, in
  pvanalytics 0.2.2 (MIT).
- `meters`: electricity of buildings, outdoor temperature and irradiance, each hour, in opendsm 1.2.7 (Apache 2.0).
- `plugs`: current of household appliances at 30 kHz, from the PLAID data set (CC BY), in sktime 1.2.0 (BSD).

What is downloaded stays in `tests/.data`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

KEPT = Path(__file__).resolve().parents[1] / "tests" / ".data"
SECOND_NS = 10**9
FETCH_S = 300.0
MS = 10**6
MOTION_NS = 1_300_000_000 * SECOND_NS
"""The clock of the file begins in 1970; any start will do."""
PLUGS_NS = 1_372_636_800 * SECOND_NS
"""The file has no clock; any start will do."""
PLUGS_HZ = 30_000

Rows = dict[str, tuple[list[int], list[dict]]]


class Source(NamedTuple):
    """A file in a source distribution, and the SHA-256 of both."""

    requirement: str
    archive_sha256: str
    member: str
    sha256: str


WATER = Source(
    "hydrofunctions==0.2.4",
    "4cfd7ef59d62206d71c36309020a201e3a37d0604e9f41a991880310be4cc0d6",
    "hydrofunctions-0.2.4/docs/notebooks/graphing-2.parquet",
    "6e51991129f0d07466d679214ca6fd69002580440e13030d9245a6a38e41221d",
)
MOTION = Source(
    "aeon==1.6.0",
    "4bc3d9ee64caf4befdf98371997052c294502ea8ad117cc8a6df6045081af381",
    "aeon-1.6.0/aeon/datasets/data/Daphnet_S06R02E0/S06R02E0.csv",
    "5a1d2990fec3846c3e1bc43487f0860e63434bd06b3df763012e97ce23d0d84c",
)
SUNLIGHT = Source(
    "pvanalytics==0.2.2",
    "38d786244c6081478bccddc34bf32bcdcd57ced8f3241b47ffca39924122fff6",
    "pvanalytics-0.2.2/pvanalytics/data/rmis_weather_data.csv",
    "6d2c726bbb1af2ef1a1ecf5a51b80fdd7fb6371acf946bd813d53dcdda902b35",
)
METERS = Source(
    "opendsm==1.2.7",
    "0b3e84b7ca290df93bac26468d05665424346d923153352c28d62fbe547d439f",
    "opendsm-1.2.7/data/hourly_data_2.parquet",
    "840cef7cba22982e9e471ac00d24c8eaa7e67b74b817bf8ac2d5d01ee33ab485",
)
PLUGS = Source(
    "sktime==1.2.0",
    "641425178b3215a0a8dbcf4e6948a8b589e46def39c91989f71d9fa297bc3709",
    "sktime-1.2.0/sktime/datasets/data/PLAID/PLAID_TEST.ts",
    "aa6da0dc1461e8d374e068a940ce37d1b0bb1a9844596d818920c8af696d656d",
)
SENSORS = {
    "00010": "temperature",
    "00060": "discharge",
    "00065": "height",
    "00095": "conductance",
    "63680": "turbidity",
}


def water(first: int, rows: int) -> Rows:
    """Return rows of five sensors from the `first` on; a value that is missing is left out of its row."""
    table = pq.read_table(io.BytesIO(fetched(WATER))).slice(first, rows)
    moments = table["datetimeUTC"].cast("int64").to_numpy() * 1000
    columns = {
        name: table[f"USGS:01581752:{code}:00000"].to_numpy(zero_copy_only=False) for code, name in SENSORS.items()
    }
    entries = [
        {name: float(values[index]) for name, values in columns.items() if not np.isnan(values[index])}
        for index in range(len(moments))
    ]
    kept = [index for index, entry in enumerate(entries) if entry]
    return {"usgs/01581752": ([int(moments[index]) for index in kept], [entries[index] for index in kept])}


def motion(first: int, rows: int) -> Rows:
    """Return rows of nine channels from the `first` on."""
    head, *lines = fetched(MOTION).decode("ascii").splitlines()
    places = head.split(",")[1:10]
    times, entries = [], []
    for line in lines[first : first + rows]:
        moment, *values = line.split(",")
        times.append(MOTION_NS + int(np.datetime64(moment, "ms").astype("int64")) * MS)
        entries.append(dict(zip(places, map(int, values[:9]), strict=True)))
    return {"daphnet/s06": (times, entries)}


def sunlight(rows: int) -> Rows:
    """Return the first rows of twelve channels; a value that is missing is left out of its row."""
    head, *lines = csv.reader(io.StringIO(fetched(SUNLIGHT).decode("ascii")))
    chosen = [line for line in lines[:rows] if any(line[1:])]
    moments = [datetime.strptime(line[0], "%m/%d/%Y %H:%M").replace(tzinfo=UTC) for line in chosen]
    times = [int(moment.timestamp()) * SECOND_NS for moment in moments]
    entries = [{name: float(value) for name, value in zip(head[1:], line[1:], strict=True) if value} for line in chosen]
    return {"rmis/station": (times, entries)}


def meters(rows: int) -> Rows:
    """Return the first rows of three sensors each, meter after meter; a value that is missing is left out."""
    table = pq.read_table(io.BytesIO(fetched(METERS))).slice(0, rows)
    names = {"temperature": "temperature", "ghi_baseline": "irradiance", "observed_baseline": "electricity"}
    columns = {name: table[column].to_pylist() for column, name in names.items()}
    times, found = table["datetime"].cast("int64").to_pylist(), {}
    for index, meter in enumerate(table["id"].to_pylist()):
        entry = {name: values[index] for name, values in columns.items() if values[index] is not None}
        if entry:
            of_meter = found.setdefault(f"meter/{meter}", ([], []))
            of_meter[0].append(times[index])
            of_meter[1].append(entry)
    return found


def plugs(appliances: int) -> Rows:
    """Return the current of so many appliances, up to 1,000 samples of each."""
    _, data = fetched(PLUGS).decode("utf-8-sig").split("@data\n")
    found: Rows = {}
    for number, line in enumerate(data.splitlines()[:appliances]):
        samples = [float(one) for one in line.rsplit(":", 1)[0].split(",")]
        times = [PLUGS_NS + index * SECOND_NS // PLUGS_HZ for index in range(len(samples))]
        found[f"plaid/{number}"] = (times, [{"current": sample} for sample in samples])
    return found


def fetched(source: Source) -> bytes:
    """Return a file, downloaded when it is not there yet. Raises `RuntimeError` when it cannot be had."""
    path = KEPT / Path(source.member).name
    if not path.exists():
        _fetch(source, path)
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != source.sha256:
        raise RuntimeError(f"{path} is not the file that was measured before: remove it")
    return found


def _fetch(source: Source, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        try:
            subprocess.run(
                [*command, "--dest", folder, source.requirement],
                check=True,
                capture_output=True,
                text=True,
                timeout=FETCH_S,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(f"{source.requirement} cannot be downloaded: {error.stderr or error}") from error
        (archive,) = Path(folder).iterdir()
        if hashlib.sha256(archive.read_bytes()).hexdigest() != source.archive_sha256:
            raise RuntimeError(f"{archive.name} is not the archive that was measured before")
        with tarfile.open(archive) as tar:
            member = tar.extractfile(source.member)
            assert member is not None, source.member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.read())
