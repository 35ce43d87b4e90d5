"""A whole site in one folder: configuration, the daemon and the receiver as real processes, and what they left behind.

Brokers are not part of it: their ports are given. Every wait polls a condition and is bounded; a process that ends too
early fails the wait at once, with the end of its log.
"""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = str(Path(sys.executable).with_name("gateway"))
READY_S = 20.0
STOP_S = 20.0
STATUS_S = 5.0
LOG_END = 3000


class Reading(NamedTuple):
    """One reading as a sink of the receiver holds it."""

    topic: str
    field: str
    time_ns: int
    value: float | int | str | bool


class Program:
    """One of our own programs: started, stopped and killed as often as a test likes.

    `prefix` stands before its command line from the next start on, for example a tracer that becomes it; `environment`
    takes the place of ours.
    """

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        self._folder = folder
        self._name = name
        self._arguments = arguments
        self._starts = 0
        self.prefix: tuple[str, ...] = ()
        self.environment: dict[str, str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the program must be running."""
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        """Start the program and return at once."""
        assert self.process is None, f"{self._name} runs already"
        self._starts += 1
        with self._path("out").open("wb") as out, self._path("err").open("wb") as err:
            self.process = subprocess.Popen(
                [*self.prefix, PROGRAM, *self._arguments], stdout=out, stderr=err, env=self.environment
            )

    def start(self, timeout_s: float = READY_S) -> None:
        """Start the program and wait until it says `ready`."""
        self.spawn()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until the program, already started, says `ready`."""
        wait_for(self.is_ready, f"{self._name} says ready", timeout_s)

    def is_ready(self) -> bool:
        """Whether this start of the program has said `ready`; fails when it ended instead."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self._name} ended with {self.process.returncode}: {self.log()}"
        return "ready" in self._path("out").read_text("utf-8").splitlines()

    def stop(self) -> None:
        """Ask the program to end (SIGTERM) and check that it does so without a fault."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self._name} did not stop within {STOP_S} s: {self.log()}") from None
        assert code == 0, f"{self._name} ended with {code}: {self.log()}"

    def kill(self) -> None:
        """End the program with SIGKILL, as a crash would; nothing when it does not run."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def log_path(self) -> Path:
        """Where the last start writes its standard error."""
        return self._path("err")

    def log(self) -> str:
        """Return the end of what the last start wrote to its standard error."""
        return self.log_path.read_text("utf-8", "replace")[-LOG_END:]

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._name}-{self._starts}.{suffix}"


class Site:
    """A node with its daemon, and a region with its receiver.

    `routes` is TOML: `[[route]]` tables, and whatever else the test wants in the file (`[journal]`, …). `broker` is
    what stands in `[broker]`, `region` what is added to `[[region]]`. Without a region port there is no receiver.
    """

    def __init__(
        self,
        folder: Path,
        routes: str,
        *,
        broker_port: int,
        region_port: int | None = None,
        pki: Path | None = None,
        broker: str = "",
        region: str = "",
        lane: str = 'linger = "100ms"',
    ) -> None:
        self.folder = folder
        self.broker_port = broker_port
        self.state = folder / "node"
        self.socket = self.state / "gateway.sock"
        self.region_state = folder / "region"
        self.configuration = folder / "gateway.toml"
        receiver = folder / "receiver.toml"
        text = NODE.format(state=self.state, port=broker_port, broker=broker, lane=lane) + routes
        if region_port is not None:
            assert pki is not None
            text += REGION.format(port=region_port, region=region, **pems(pki, "node"))
            names = pems(pki, "receiver")
            receiver.write_text(RECEIVER.format(state=self.region_state, port=region_port, **names), "utf-8")
        self.configuration.write_text(text, "utf-8")
        self.daemon = Program(folder, "daemon", ("run", "-c", str(self.configuration)))
        self.receiver = Program(folder, "receiver", ("region", "run", "-c", str(receiver)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.kill()
        self.receiver.kill()

    def status(self) -> dict[str, Any]:
        """Ask the daemon for its status."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(STATUS_S)
            link.connect(str(self.socket))
            parts = []
            while part := link.recv(65536):
                parts.append(part)
        return json.loads(b"".join(parts))

    def shown_status(self) -> str:
        """Return what `gateway status` prints."""
        command = [PROGRAM, "status", "-c", str(self.configuration)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=STATUS_S).stdout

    def ledger(self) -> dict[str, int]:
        """Return the daemon's ledger: fate → count."""
        return self.status()["ledger"]

    def wait_received(self, messages: int, timeout_s: float = 30.0) -> None:
        """Wait until the pipeline has decided so many messages."""

        def missing() -> bool:
            return self.ledger().get("message.received", 0) >= messages

        wait_for(missing, f"{messages} messages in the ledger", timeout_s)

    def readings(self) -> list[Reading]:
        """Return what the receiver's SQLite sink holds, in the order in which it was written."""
        with sqlite3.connect(f"file:{self.region_state / 'region.sqlite'}?mode=ro", uri=True) as database:
            return [Reading(*row) for row in database.execute(READINGS_SQL)]

    def ndjson(self) -> list[Reading]:
        """Return what the receiver's NDJSON sink holds, file by file."""
        lines = [
            json.loads(line)
            for path in sorted(self.region_state.rglob("*.ndjson"))
            for line in path.read_text("utf-8").splitlines()
        ]
        return [Reading(line["topic"], line["field"], line["time_ns"], line["value"]) for line in lines]


READINGS_SQL = "SELECT topic, field, time_ns, value FROM reading ORDER BY rowid"

NODE = """
[node]
id = "node-1"
state_folder = "{state}"

[broker]
port = {port}
{broker}

[[spool.lanes]]
name = "telemetry"
bytes_max = "64MiB"
{lane}
"""

REGION = """
[[region]]
name = "centre"
host = "localhost"
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
backoff_min = "50ms"
backoff_max = "1s"
resend_after = "2s"
{region}
"""

RECEIVER = """
[receiver]
port = {port}
tls_ca = "{ca}"
tls_certificate = "{certificate}"
tls_key = "{key}"
state_folder = "{state}"
sinks = ["ndjson", "sqlite"]
"""


def pems(pki: Path, who: str) -> dict[str, str]:
    """Return the files of one party of the development PKI."""
    return {"ca": f"{pki}/ca.pem", "certificate": f"{pki}/{who}.pem", "key": f"{pki}/{who}.key"}


def region_tls(pki: Path) -> dict[str, Any]:
    """Return the options that make a mosquitto the region's broker: mTLS, no client without a certificate."""
    return {"ca": pki / "ca.pem", "certificate": pki / "server.pem", "key": pki / "server.key"}
