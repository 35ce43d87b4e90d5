"""Real readings from source distributions on the Python index, pinned by version and SHA-256, never committed.

- `water`: a gauge of the US Geological Survey (01581752, Plumtree Run at Bel Air), five sensors each five minutes for
  three years: temperature, discharge, height, conductance, turbidity. In hydrofunctions 0.2.4 (MIT; the data is public
  domain).
- `motion`: nine channels of accelerometers at 64 Hz, from the Daphnet data set (UCI, CC BY 4.0), in aeon 1.6.0 (BSD).

What is downloaded stays in `tests/.data`.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
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
