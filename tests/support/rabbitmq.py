"""A real RabbitMQ with mutual TLS, on a port that the kernel chose, with its own Erlang port mapper."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.support.waiting import wait_for

START_S = 90.0
STOP_S = 30.0
SEARCH = "/usr/lib/rabbitmq/bin:/usr/sbin"

CONFIG = """
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_cert_login_from = common_name
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
default_user = {user}
default_pass = secret
loopback_users = none
log.console = true
log.file = false
"""


class RabbitMq:
    """One broker; ports stay the same over `kill` and `start`. Its user has the password "secret"."""

    def __init__(self, folder: Path, *, ca: Path, certificate: Path, key: Path, user: str) -> None:
        program = shutil.which("rabbitmq-server", path=SEARCH)
        assert program, "the tests need RabbitMQ: apt-get install rabbitmq-server"
        self._program = program
        self._folder = folder
        self._files = {"ca": ca, "certificate": certificate, "key": key}
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, mapper, distribution = _free_ports(3)
        (folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port, user=self._user, **self._files), "utf-8")
        (folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n", "utf-8")
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        # Its port mapper is a daemon of its own.
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, check=False)

    def start(self) -> None:
        """Start it, and wait until it accepts."""
        assert self._process is None, "it runs already"
        with (self._folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        process = self._process
        wait_for(lambda: process.poll() is not None or self._accepts(), "RabbitMQ accepts", START_S, 0.2)
        assert process.poll() is None, f"RabbitMQ ended: {self.log()}"

    def kill(self) -> None:
        """End it with SIGKILL, with all that it started; nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        file = self._folder / "pid"
        if file.exists():  # the broker itself, which its scripts do not take with them
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text("ascii")), signal.SIGKILL)
            file.unlink()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)
        wait_for(lambda: not self._accepts(), "the broker is gone", STOP_S)

    def log(self) -> str:
        """Return the end of what it wrote."""
        return (self._folder / "out.log").read_text("utf-8", "replace")[-3000:]

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
