"""A real mosquitto on a loopback port that the kernel chose, stopped by the process id that was started.

With `ca`, `certificate` and `key` it speaks TLS alone and refuses clients without a certificate of that CA. Every other
option is a line of its configuration. What it persists lies in its folder, so `kill` and `start` are a power cut.
It may listen on another address, which a `prefix` of its command line may put into another network namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.support.waiting import wait_for

START_S = 10.0
STOP_S = 10.0
PROBE_S = 2.0
ATTEMPTS = 5
SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


class Mosquitto:
    """One broker; the port stays the same over `stop`, `kill` and `start`."""

    def __init__(
        self,
        folder: Path,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        address: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
        **options: object,
    ) -> None:
        program = shutil.which("mosquitto", path=SEARCH)
        assert program, "the tests need mosquitto 2: apt-get install mosquitto"
        self._program = program
        self._folder = folder
        self._tls = {"cafile": ca, "certfile": certificate, "keyfile": key} if ca else {}
        self._options = options
        self._address = address
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):  # another process may take the port between our look and the broker's
            self.port = _free_port()
            self._configure()
            if self._started():
                return self
        raise AssertionError(f"mosquitto did not start: {self.log()}")

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id; the broker must be running."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it again, on the same port."""
        assert self._started(), f"mosquitto did not start: {self.log()}"

    def stop(self) -> None:
        """Ask it to end, and wait; it persists its sessions."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)

    def kill(self) -> None:
        """End it with SIGKILL; nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def configure(self, **options: object) -> None:
        """Change options; the next start takes them."""
        self._options.update(options)
        self._configure()

    def log(self) -> str:
        """Return what it wrote."""
        path = self._folder / "mosquitto.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _configure(self) -> None:
        lines = [
            f"listener {self.port} {self._address}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self._folder}/",
            "autosave_interval 1",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # as its own user it could not read a folder of the tests
        if self._tls:
            lines += ["require_certificate true", *(f"{name} {path}" for name, path in self._tls.items())]
        lines += [f"{name} {value}" for name, value in self._options.items()]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", "utf-8")

    def _started(self) -> bool:
        assert self._process is None, "mosquitto runs already"
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = [*self._prefix, self._program, "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(
            lambda: self._process.poll() is not None or _accepts(self._address, self.port), "mosquitto accepts", START_S
        )
        if self._process.poll() is None:
            return True
        self._process = None
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _accepts(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PROBE_S)
        return probe.connect_ex((address, port)) == 0
