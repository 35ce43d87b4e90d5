"""The files of the demo's site and region: configurations, and reading what the region's sinks hold."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.demo.books import Sink
from gateway.errors import StoreError
from gateway.region.watermarks import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE: Final = "node-1"
REGION: Final = "centre"

_GATEWAY: Final = """\
# A made-up site: the routes show each kind of decision the gateway takes.
[node]
id = "{node}"
state_folder = {state}

[broker]
port = {local_port}

[spool]
bytes_max = "64MiB"
segment_bytes = "1MiB"

[[spool.lanes]]
name = "alarm"
bytes_max = "8MiB"
batch_bytes_max = "128KiB"
linger = "50ms"

[[spool.lanes]]
name = "telemetry"
bytes_max = "48MiB"
batch_bytes_max = "256KiB"
linger = "500ms"

[[route]]
name = "state"
topics = ["plant/state/+"]
decoder = "cbor"
lane = "alarm"
time = {{ field = "t", unit = "ms" }}

[[route]]
name = "climate"
topics = ["plant/climate/+"]
qos = 0
lane = "telemetry"
time = {{ field = "t", unit = "ms" }}

[[route]]
name = "power"
topics = ["plant/power/+"]
lane = "telemetry"
keep = "quality == 'good'"
time = {{ field = "t", unit = "ms" }}
sample = {{ deadband = {{ watts = 20.0, volts = 0.5, quality = 1.0 }}, silence = "5s" }}

[[route]]
name = "vibration"
topics = ["plant/vibration/+"]
fields = ["t", "rms"]
lane = "telemetry"
time = {{ field = "t", unit = "ms" }}
window = {{ size = "1s", lateness = "500ms", idle = "2s", functions = ["count", "min", "max", "mean"] }}

[[route]]
name = "legacy"
topics = ["plant/legacy/+"]
lane = "telemetry"
time = {{ field = "t", unit = "ms" }}

[[region]]
name = "{region}"
host = "localhost"
port = {uplink_port}
tls_ca = {ca}
tls_certificate = {certificate}
tls_key = {key}
backoff_min = "50ms"
backoff_max = "1s"
resend_after = "2s"
"""

_RECEIVER: Final = """\
[receiver]
port = {inside_port}
tls_ca = {ca}
tls_certificate = {certificate}
tls_key = {key}
state_folder = {state}
sinks = ["sqlite", "ndjson"]
"""


def credentials(pki: Path, who: str) -> dict[str, Path]:
    """Return the files of one party of the development PKI."""
    return {"ca": pki / "ca.pem", "certificate": pki / f"{who}.pem", "key": pki / f"{who}.key"}


def write_node(file: Path, state: Path, pki: Path, *, local_port: int, uplink_port: int) -> None:
    """Write the node's `gateway.toml`."""
    words = {"state": state, **credentials(pki, "node")}
    quoted = {name: json.dumps(str(path)) for name, path in words.items()}
    text = _GATEWAY.format(node=NODE, region=REGION, local_port=local_port, uplink_port=uplink_port, **quoted)
    file.write_text(text, "utf-8")


def write_receiver(file: Path, state: Path, pki: Path, *, inside_port: int) -> None:
    """Write the receiver's configuration."""
    words = {"state": state, **credentials(pki, "receiver")}
    quoted = {name: json.dumps(str(path)) for name, path in words.items()}
    file.write_text(_RECEIVER.format(inside_port=inside_port, **quoted), "utf-8")


def sinks(state: Path) -> dict[str, Sink]:
    """Return what the receiver's sinks hold. Raises `StoreError`."""
    found = {"sqlite": Sink(), "ndjson": Sink()}
    try:
        database = sqlite3.connect(f"{(state / FILE_NAME).absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(database):
            found["sqlite"].add(database.execute("SELECT topic, field, value FROM reading"))
        for path in sorted(state.rglob("*.ndjson")):
            found["ndjson"].add(_lines(path))
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        raise StoreError(f"cannot read the sinks in {state}: {error}", path=str(state)) from error
    return found


def _lines(path: Path) -> Iterator[tuple[str, str, object]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # the receiver may be in the middle of one
                row = msgspec.json.decode(line)
                yield row["topic"], row["field"], row["value"]
